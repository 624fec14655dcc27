"""Coverage: predicted to be shown exactly where the planted fault changes an integer, and redundant where none can."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracle, strategies
from tests.cosim.covered import image, signs

from xnorflow.bnn.network import (
    MAX_WEIGHT,
    Add,
    Affine,
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    MaxPool2d,
    MultiThreshold,
    Network,
    Recurrent,
    SumPool2d,
    Threshold,
)
from xnorflow.bnn.packing import unpack_bits
from xnorflow.cosim.coverage import backwards, measure, vectors
from xnorflow.cosim.coverage.agreement import never_agree
from xnorflow.cosim.coverage.faults import Faults, faults, plant
from xnorflow.cosim.coverage.redundancy import redundant
from xnorflow.cosim.coverage.simulation import Simulator
from xnorflow.cosim.engine import outputs


def truth(network: Network, group: Faults, index: int, inputs: NDArray[Any], observed: tuple[str, ...]) -> NDArray[Any]:
    """Say which vectors show a fault that is planted into the network, by the oracle."""
    right, got = oracle.run(network, inputs), oracle.run(plant(network, group, index), inputs)
    shown = np.zeros(len(inputs), np.bool_)
    for name in set(observed) & set(got):
        shown |= (got[name] != right[name]).reshape(len(inputs), -1).any(axis=1)
    return shown


@settings(max_examples=40, deadline=None)
@given(
    network=strategies.networks(
        width=5, hidden=3, input_bits=4, weight_bits=16, grown=True, operations=strategies.EVERY
    ),
    count=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
    every_layer=st.booleans(),
)
def test_prediction_equals_planting(network: Network, count: int, seed: int, every_layer: bool) -> None:
    inputs = strategies.inputs_for(network, count, seed)
    observed = tuple(network.signals) if every_layer else outputs(network)
    simulator = Simulator(network, observed)
    block = simulator.vectors(inputs)
    evidence = measure.measure(network, inputs, observed)
    for group, never, first in zip(evidence.groups, evidence.redundant, evidence.first, strict=True):
        if group.kind == "carry" and isinstance(network[group.layer], Recurrent):
            continue  # which is in no network
        every = np.arange(len(group))
        predicted = unpack_bits(simulator.shown(group, every, block), count)
        for index in every[:: max(1, len(group) // 10)].tolist():
            shown = truth(network, group, index, inputs, observed)
            where = f"{group.layer}, {group.kind} {index} of\n{network}"
            assert (predicted[index] == shown).all(), where
            assert first[index] == (-1 if never[index] or not shown.any() else shown.argmax()), where


@settings(max_examples=40, deadline=None)
@given(
    network=strategies.networks(
        width=5, hidden=3, input_bits=2, weight_bits=16, grown=True, operations=strategies.EVERY
    )
)
def test_no_input_at_all_shows_what_is_proved_redundant(network: Network) -> None:
    taken = network.signals[network.input.name]
    values = np.arange(taken.low[0], taken.high[0] + 1, taken.step)
    if len(values) ** taken.size <= 1 << 10:
        inputs = np.array(list(product(values, repeat=taken.size))).reshape(-1, *taken.shape)
    else:
        inputs = np.random.default_rng(1).choice(values, (300, *taken.shape))
        inputs[:2] = values[[0, -1]].reshape(-1, *[1] * len(taken.shape))
    groups = faults(network)
    for group, never in zip(groups, redundant(network, groups), strict=True):
        for index in np.flatnonzero(never)[:6].tolist():
            shown = truth(network, group, index, inputs, outputs(network))
            assert not shown.any(), f"{group.layer}, {group.kind} {index} of\n{network}"


def constant() -> Network:
    """Neuron 0 is always on, 1 and 2 are neither, and neuron 3 is read by nobody."""
    low = np.array([-7, 1, 1, 1])
    weight = signs(2, 4)
    weight[:, 3] = 0
    return Network(
        "constant",
        (
            Input("x", (), shape=(7,)),
            Dense("dense1", ("x",), signs(4, 7)),
            Threshold("sign", ("dense1",), low, np.array([1, 1, -1, 1], np.int8)),
            Dense("dense2", ("sign",), weight),
            Argmax("argmax", ("dense2",)),
        ),
    )


def test_each_bit_of_an_integer_weight_is_flipped() -> None:
    weight = np.array([[3, -4], [0, 1]])
    network = Network("integers", (Input("x", (), shape=(2,)), Dense("dense", ("x",), weight)))
    weights = faults(network)[0]
    assert weights.value.reshape(2, 2, 4).tolist() == [[[2, 1, 7, -5], [-3, -2, -8, 4]], [[1, 2, 4, -8], [0, 3, 5, -7]]]
    wide = replace(network.operations[1], weight=np.array([[MAX_WEIGHT, 0]]))  # type: ignore[call-arg]
    values = faults(Network("wide", (network.input, wide)))[0].value
    assert len(values) == 31 and -MAX_WEIGHT - 1 not in values  # which no weight may be


def test_what_is_redundant_is_proved_by_every_proof() -> None:
    groups = faults(constant())
    never = {
        (g.layer, g.kind): n.reshape(4, -1) if g.layer in ("dense1", "sign") and g.kind != "threshold" else n
        for g, n in zip(groups, redundant(constant(), groups), strict=True)
    }
    assert never["dense1", "weight"].all(axis=1).tolist() == [True, False, False, True]
    assert never["dense1", "weight"].any(axis=1).tolist() == [True, False, False, True]
    assert never["dense1", "carry"].all(axis=1).tolist() == [True, False, False, True]
    up, down = never["sign", "threshold"].reshape(2, 4).tolist()
    assert (up, down) == ([False, False, False, True], [True, False, False, True])
    assert never["sign", "direction"].ravel().tolist() == [False, False, False, True]
    assert not never["dense2", "weight"].any() and not never["argmax", "tie"].any()


def shadowed() -> Network:
    """Neuron 0 is always on until a zero of it becomes a weight; neuron 2 is read by one that is always on alone."""
    ones = np.ones(3, np.int8)
    weight = np.array([[0, 1, -1, 0, 0], [1, 1, 1, -1, 1], [1, -1, 1, 1, 1]], np.int8)
    return Network(
        "shadowed",
        (
            Input("x", (), shape=(5,)),
            Dense("dense1", ("x",), weight),
            Threshold("sign1", ("dense1",), np.array([-2, 1, 1]), ones),
            Dense("dense2", ("sign1",), np.array([[0, 0, 1], [1, 1, 0], [1, -1, 0]], np.int8)),
            Threshold("sign2", ("dense2",), np.array([-1, 0, 1]), ones),
            Dense("dense3", ("sign2",), signs(2, 3)),
        ),
    )


def test_nothing_that_an_input_shows_is_called_redundant() -> None:
    network = shadowed()
    groups = faults(network)
    proved = redundant(network, groups)
    for group, never in zip(groups, proved, strict=True):
        for index in np.flatnonzero(never).tolist():
            assert not truth(network, group, index, bits(5), outputs(network)).any(), f"{group.layer}, {group.kind}"
    flipped, zeroed, to_one = (
        (group.channel[never], int((~never & (group.channel == 0)).sum())) for group, never in zip(groups[:3], proved)
    )
    assert [np.bincount(channel, minlength=3).tolist() for channel, _ in (flipped, zeroed)] == [[2, 0, 5]] * 2
    assert to_one[1] == 3  # which takes the sum below where the neuron is always on


def test_operands_that_are_proved_never_to_agree_never_do() -> None:
    random, proved, unproved = np.random.default_rng(1), 0, 0
    inputs = bits(8)
    for _ in range(12):
        low = random.integers(-2, 3, 12) * 2
        network = Network(
            "agree",
            (
                Input("x", (), shape=(8,)),
                Dense("dense1", ("x",), random.choice(np.array([-1, 1], np.int8), (12, 8))),
                Threshold("sign", ("dense1",), low, random.choice(np.array([-1, 1], np.int8), 12)),
                Dense("dense2", ("sign",), random.choice(np.array([-1, 1], np.int8), (20, 12))),
            ),
        )
        dense = network["dense2"]
        assert isinstance(dense, Dense)
        agree = (oracle.run(network, inputs)["dense2"] == 12).any(axis=0)
        never = never_agree(network, dense)
        assert not (agree & never).any()
        proved, unproved = proved + int(never.sum()), unproved + int((~agree & ~never).sum())
    assert proved > 5 * unproved  # what is left has no proof of this kind, or not yet


def test_sums_of_different_parity_never_tie() -> None:
    x = Input("x", (), shape=(3,))
    scores = Affine("scores", ("dense",), scale=np.array([2, 2]), offset=np.array([0, 1]))
    network = Network("odd", (x, Dense("dense", ("x",), signs(2, 3)), scores, Argmax("argmax", ("scores",))))
    group = faults(network)[-1]
    assert group.kind == "tie" and redundant(network, (group,))[0].all()


def pooled(pad_value: int) -> Network:
    """Ternary convolutions whose sums are pooled, or added and pooled, before thresholds of both directions."""
    weight = signs(3, 3, 3, 2)
    weight[:, 1, ::2] = 0
    return Network(
        "pooled",
        (
            Input("x", (), shape=(5, 7, 2)),
            Conv2d("conv1", ("x",), weight, padding=(1, 1, 1, 1), pad_value=pad_value),
            MaxPool2d("pool1", ("conv1",), size=(2, 3), stride=(2, 2)),
            Threshold("sign1", ("pool1",), np.array([5, 1, 3]), np.array([1, -1, -1], np.int8)),
            Conv2d("conv2", ("sign1",), signs(3, 1, 2, 3), padding=(0, 0, 1, 0), pad_value=pad_value),
            Conv2d("conv3", ("sign1",), signs(3, 2, 2, 3), padding=(1, 0, 1, 0)),
            Add("add", ("conv2", "sign1", "conv3")),
            MaxPool2d("pool2", ("add",), size=(2, 2), stride=(1, 1), padding=(1, 0, 0, 0)),
            Threshold("sign2", ("pool2",), np.array([0, 2, 4]), np.array([-1, 1, 1], np.int8)),
            Flatten("flat", ("sign2",)),
            Dense("dense", ("flat",), signs(4, 12)),
        ),
    )


@pytest.mark.parametrize("network", [image(1), image(-1), pooled(0), pooled(1)], ids=["up", "down", "zeros", "ones"])
def test_every_fault_of_a_convolution_is_predicted(network: Network) -> None:
    inputs = strategies.inputs_for(network, 12, seed=4)
    simulator = Simulator(network)
    block, seen = simulator.vectors(inputs), []
    for group in faults(network):
        predicted = unpack_bits(simulator.shown(group, np.arange(len(group)), block), len(inputs))
        for index in range(len(group)):
            shown = truth(network, group, index, inputs, outputs(network))
            assert (predicted[index] == shown).all(), f"{group.layer}, {group.kind} {index}"
            seen.append(shown.mean())
    assert min(seen) == 0 and max(seen) == 1 and 0.2 < np.mean(seen) < 0.8


@pytest.mark.parametrize("direction", [1, -1])
def test_the_order_of_pool_and_threshold_matters_where_one_points_down(direction: int) -> None:
    network = image(direction)
    evidence = measure.measure(network, strategies.inputs_for(network, 20))
    found = {group.kind: i for i, group in enumerate(evidence.groups)}
    assert evidence.redundant[found["order"]].tolist() == [direction > 0]
    assert (evidence.first[found["order"]] >= 0).tolist() == [direction < 0]


def test_a_weight_that_only_meets_padding_is_redundant() -> None:
    conv = Conv2d("conv", ("x",), signs(2, 3, 3, 2), padding=(1, 1, 1, 1))
    network = Network("dot", (Input("x", (), shape=(1, 1, 2)), conv, Flatten("flat", ("conv",))))
    weights = faults(network)[0]
    assert redundant(network, (weights,))[0].reshape(2, 3, 3, 2).all(axis=(0, 3)).tolist() == [
        [True, True, True],
        [True, False, True],
        [True, True, True],
    ]


@pytest.mark.parametrize("channels", [1, 2])
def test_a_step_of_a_threshold_between_even_sums_is_redundant_where_padding_lets_it_be(
    channels: int,
) -> None:
    conv = Conv2d("conv", ("x",), signs(3, 3, 3, channels), padding=(1, 1, 1, 1))
    limits = Threshold("sign", ("conv",), np.array([0, -2, 2]), np.ones(3, np.int8))
    network = Network("even", (Input("x", (), shape=(3, 3, channels)), conv, limits, Flatten("flat", ("sign",))))
    group = next(group for group in faults(network) if group.kind == "threshold")
    assert group.value.tolist() == [1, -1, 3, -1, -3, 1]  # 1 is what signals know
    proved = redundant(network, (group,))[0].tolist()
    assert proved == ([False] * 3 + [True] * 3 if channels == 2 else [False] * 6)


def test_counts_add_up_and_the_first_vectors_are_the_flow_s() -> None:
    network = image(-1)
    inputs = strategies.inputs_for(network, 90, seed=5)
    evidence = measure.measure(network, inputs)
    for count in (1, 2, 7, 90):
        part, alone = evidence.coverage(count), measure.measure(network, inputs[:count]).coverage()
        assert part.total == alone.total and part.layers == alone.layers and part.total.exact
        assert sum(of.shown for of in part.layers.values()) == part.total.shown
        assert sum(of.faults for of in part.kinds.values()) == part.total.faults
        assert sum(row[2] for row in part.weakest) == part.total.detectable - part.total.shown
    both = evidence.coverage(1) | measure.measure(network, inputs[:1], tuple(network.signals)).coverage()
    assert evidence.coverage(1).total.shown < both.total.shown < both.total.detectable


def test_comparisons_of_some_results_are_seen_as_if_each_were_measured_alone() -> None:
    network = image(-1)
    inputs = strategies.inputs_for(network, 40, seed=5)
    last, every = dict.fromkeys(outputs(network), 40), dict.fromkeys(network.signals, 3)
    asked = [last, every | last, {"dense": 5}, every, {"dense": 40, "sign1": 2, "conv2": 7}, {}]
    for names, found in zip(asked, measure.compared(network, inputs, asked), strict=True):
        alone = measure.measure(network, inputs[:0]).coverage()
        for count in set(names.values()):
            observed = [name for name, of in names.items() if of >= count]
            alone |= measure.measure(network, inputs[:count], observed).coverage()
        assert found.total == alone.total and found.layers == alone.layers


def test_the_first_vector_is_told_behind_many_that_show_nothing_new() -> None:
    network = image(-1)
    one = strategies.inputs_for(network, 40, seed=5)
    inputs = np.concatenate([np.repeat(one[:1], 230, axis=0), one])
    evidence, simulator = measure.measure(network, inputs), Simulator(network)
    for group, first in zip(evidence.groups, evidence.first, strict=True):
        words = simulator.shown(group, np.arange(len(group)), simulator.vectors(inputs))
        shown = unpack_bits(words, len(inputs))
        assert (first == np.where(shown.any(axis=1), shown.argmax(axis=1), -1)).all()
    assert max(int(first.max()) for first in evidence.first) > 230


def test_what_is_not_affordable_is_drawn_and_the_interval_holds_the_truth() -> None:
    network = image(-1)
    wide = Network(
        "wide",
        (
            Input("x", (), shape=(6, 6, 20)),
            Conv2d("conv0", ("x",), signs(60, 2, 2, 20)),
            MultiThreshold("levels", ("conv0",), np.tile([-4, 6], (60, 1)), signs(60)),
            SumPool2d("sums", ("levels",), size=(5, 5), stride=(1, 1)),
            Flatten("flat", ("sums",)),
            Dense("dense", ("flat",), signs(2, 60)),
        ),
    )
    assert measure.measure(network, strategies.inputs_for(network, 2), affordable=1).coverage().total.exact
    inputs = strategies.inputs_for(wide, 3)
    drawn, every = (measure.measure(wide, inputs, affordable=most).coverage().layers["conv0"] for most in (1, 1e15))
    assert every.exact and not drawn.exact and drawn.faults == every.faults
    assert drawn.low < every.shown < drawn.high and drawn.high - drawn.low < 0.1 * every.faults
    assert drawn.shown != every.shown


def bits(count: int) -> NDArray[Any]:
    return np.array(list(product([-1, 1], repeat=count)), np.int8)


def test_the_best_vectors_come_first() -> None:
    network = image(-1)
    inputs = strategies.inputs_for(network, 60, seed=2)
    order = vectors.best(network, inputs)
    alone = [measure.measure(network, inputs[[i]]).coverage().total.shown for i in range(len(inputs))]
    assert alone[order[0]] == max(alone) > min(alone)
    by_count = [measure.measure(network, inputs[order[:n]]).coverage().total.shown for n in range(1, 11)]
    gains = np.diff([0, *by_count])
    assert (gains[1:] <= gains[:-1]).all() and by_count[-1] > measure.measure(
        network, inputs[:10]
    ).coverage().total.shown
    assert sorted(order) == list(range(60))
    led = vectors.best(network, inputs, leading=3, among=5)
    assert set(led[:3]) <= set(range(5)) and sorted(led) == list(range(60)) and led[3] not in range(5)
    assert sorted(vectors.best(network, inputs, budget=1)) == list(range(60))


@pytest.mark.parametrize("network", [constant(), image(-1)], ids=["dense", "image"])
def test_directed_vectors_show_what_random_ones_miss(network: Network) -> None:
    inputs = strategies.inputs_for(network, 2, seed=1)
    new, ended = vectors.directed(network, inputs, 40, seed=3)
    assert new.dtype == inputs.dtype and set(np.unique(new)) <= {-1, 1} and 0 < len(new) <= 40
    assert (new == vectors.directed(network, inputs, 40, seed=3)[0]).all()
    found = measure.measure(network, np.concatenate([inputs, new])).coverage().total
    assert found.shown > measure.measure(network, inputs).coverage().total.shown
    if network.name == "constant":
        assert found.shown == measure.measure(network, bits(7)).coverage().total.shown
    else:
        assert found.share == 1 and len(new) < 20 and ended == "goal"


def deep() -> Network:
    """Three dense layers, thresholds of both directions between them, and sums far from those of random inputs."""
    random = np.random.default_rng(7)
    return Network(
        "deep",
        (
            Input("x", (), shape=(8, 8)),
            Flatten("flat", ("x",)),
            Dense("dense1", ("flat",), signs(60, 64)),
            Threshold("sign1", ("dense1",), random.integers(-4, 5, 60), signs(60)),
            Dense("dense2", ("sign1",), signs(50, 60)),
            Threshold("sign2", ("dense2",), random.integers(-4, 5, 50), signs(50)),
            Dense("dense3", ("sign2",), signs(40, 50)),
            Argmax("argmax", ("dense3",)),
        ),
    )


@pytest.mark.parametrize(("layer", "wanted"), [("dense1", 40), ("dense2", 28), ("dense3", 20)])
def test_a_search_backwards_finds_sums_that_random_inputs_do_not_have(layer: str, wanted: int) -> None:
    network = deep()
    path, x = backwards.stages(network, layer), strategies.inputs_for(network, 400, seed=2)[2:42]
    assert path and len(path) == int(layer[-1])
    channel, low = np.arange(40), np.where(np.arange(40) % 2, wanted, -wanted - 1)
    found = backwards.drive(path, channel, low, low + 1, x.reshape(40, -1), np.random.default_rng(1))
    assert set(np.unique(found)) == {-1, 1}
    before, after = (oracle.run(network, of.reshape(x.shape))[layer][channel, channel] for of in (x, found))
    assert not ((before >= low) & (before <= low + 1)).any()
    assert ((after >= low) & (after <= low + 1)).mean() > 0.7
    assert (np.abs(after - low) <= 3).all()  # and the others are next to it


def test_a_search_backwards_takes_dense_layers_of_a_bipolar_input_alone() -> None:
    for network, layer in ((shadowed(), "dense3"), (image(1), "dense"), (recurrent(last=True), "dense")):
        assert (backwards.stages(network, layer) is None) == (network.name != "shadowed")


def test_no_more_vectors_than_the_goal_or_the_budget_asks_for() -> None:
    network = image(1)
    inputs = strategies.inputs_for(network, 2, seed=1)
    none, ended = vectors.directed(network, inputs, 40, budget=0)
    assert len(none) == 0 and ended == "budget"
    assert vectors.directed(network, inputs, 2, goal=1.0)[1] == "number"
    few, many = (len(vectors.directed(network, inputs, 40, goal=goal)[0]) for goal in (0.9, 1.0))
    assert 0 < few < many


def recurrent(*, last: bool, shift: int = 0, read: bool = True) -> Network:
    """A ternary layer for each of 4 steps and a state of 3 bits behind it, all of whose thresholds are within reach."""
    weight = signs(3, 3)
    weight[1, 0] = 0
    state = Recurrent(
        "state", ("layer",), weight, np.array([1, -1, 0]), np.array([0, 1, -1]), np.array([1, -1, 1], np.int8), shift,
        last,
    )  # fmt: skip
    flat = () if last else (Flatten("flat", ("state",)),)
    dense = Dense("dense", ("state" if last else "flat",), signs(4, 3 if last else 12))
    return Network(
        "recurrent",
        (
            Input("x", (), shape=(1, 4, 2), kind="signed", bits=3),
            Conv2d("layer", ("x",), np.array([[1, -1], [1, 0], [1, 1]], np.int8).reshape(3, 1, 1, 2)),
            state,
            *((*flat, dense, Argmax("argmax", ("dense",))) if read else ()),
        ),
    )


def lost(network: Network, group: Faults, index: int, inputs: NDArray[Any]) -> NDArray[Any]:
    """Return a recurrent layer's result with a carry lost in it, written to be read."""
    layer, x = network[group.layer], oracle.run(network, inputs)[network[group.layer].inputs[0]]
    assert isinstance(layer, Recurrent)
    channel, value = int(group.channel[index]), int(group.value[index])
    least = int(layer.sums(network.signals[layer.inputs[0]]).low[channel])
    states = np.zeros_like(x)
    for vector in range(len(x)):
        for t in range(x.shape[2]):
            sums = x[vector, 0, t].copy()
            if t:
                sums += 2**layer.shift * (layer.weight.astype(int) @ states[vector, 0, t - 1])
                sums[channel] -= value if sums[channel] >= least + value else 0
            for c, limit in enumerate(layer.threshold if t else layer.first):
                passed = sums[c] >= limit if layer.direction[c] > 0 else sums[c] <= limit
                states[vector, 0, t, c] = 1 if passed else -1
    return states[:, 0, -1] if layer.last else states


@pytest.mark.parametrize("observed", ["outputs", "every layer"])
@pytest.mark.parametrize(
    "network", [recurrent(last=False), recurrent(last=True, shift=1), recurrent(last=True, read=False)]
)
def test_every_fault_of_a_recurrent_layer_is_predicted(network: Network, observed: str) -> None:
    inputs = strategies.inputs_for(network, 70, seed=3)
    names = outputs(network) if observed == "outputs" else tuple(network.signals)
    simulator, right, kinds = Simulator(network, names), oracle.run(network, inputs), set()
    block = simulator.vectors(inputs)
    for group in (group for group in faults(network) if group.layer == "state"):
        predicted = unpack_bits(simulator.shown(group, np.arange(len(group)), block), len(inputs))
        for index in range(len(group)):
            if group.kind == "carry":
                got = dict(right, state=lost(network, group, index, inputs))
                for operation in network.operations[3:]:
                    got[operation.name] = oracle.apply(operation, *(got[source] for source in operation.inputs))
                differ = [(got[name] != right[name]).reshape(len(inputs), -1).any(axis=1) for name in names]
                shown = np.any(differ, axis=0)
            else:
                shown = truth(network, group, index, inputs, names)
            assert (predicted[index] == shown).all(), f"{group.kind} {index} of\n{network}"
            if shown.any():
                kinds.add(group.kind)
    assert kinds == {"weight", "carry", "threshold", "direction"}


def test_steps_of_a_recurrent_layer_s_thresholds_beyond_its_sums_are_redundant() -> None:
    network = recurrent(last=True)
    state = network["state"]
    assert isinstance(state, Recurrent)
    high = network.signals["layer"].high
    operations = tuple(
        replace(state, first=high + 1, direction=np.ones(3, np.int8)) if operation is state else operation
        for operation in network.operations
    )
    found = faults(Network("never", operations))
    group = next(group for group in found if group.layer == "state" and group.kind == "threshold")
    never = redundant(Network("never", operations), (group,))[0].reshape(2, 3, 2)
    assert never[..., 1].tolist() == [[True] * 3, [False] * 3] and not never[..., 0].any()
