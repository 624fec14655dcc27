import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracle, strategies

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import (
    Affine,
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    MaxPool2d,
    Network,
    Operation,
    Recurrent,
    Threshold,
)
from xnorflow.bnn.packing import pack
from xnorflow.cosim.engine import EngineError, EngineUnavailable
from xnorflow.cosim.golden import Golden

WIDTHS = (1, 63, 64, 65, 130)


def check(network: Network, inputs: NDArray[Any], threads: int = 2) -> Any:
    """Run the golden model on `inputs` and compare every layer with the oracle, and both ways of running."""
    golden = Golden(threads)
    golden.prepare(network)
    results, expected = golden.run(inputs, every_layer=True), oracle.run(network, inputs)
    assert list(results) == list(expected)
    for name, values in expected.items():
        assert np.issubdtype(results[name].dtype, np.integer)
        np.testing.assert_array_equal(results[name], values, err_msg=f"layer {name} of\n{network!r}")
    for name, values in golden.run(inputs).items():  # type: ignore[assignment]
        np.testing.assert_array_equal(values, expected[name])
    return results


def chain(*operations: Any) -> Any:
    return Network("chain", operations)


def weights(seed: int, *shape: Any, ternary: bool = False) -> Any:
    values = [-1, 0, 1] if ternary else [-1, 1]
    return np.random.default_rng(seed).choice(np.array(values, np.int8), shape)


@settings(max_examples=200, deadline=None)
@given(
    network=strategies.networks(input_bits=16, weight_bits=16, grown=True, operations=strategies.EVERY),
    count=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_oracle_on_random_networks(network: Network, count: int, seed: int) -> None:
    check(network, strategies.inputs_for(network, count, seed))


@settings(max_examples=30, deadline=None)
@given(
    network=strategies.networks(operations=strategies.EVERY, weight_bits=4).filter(
        lambda network: any(isinstance(operation, Recurrent) for operation in network.operations)
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_state_is_left_from_one_sequence_to_the_next(network: Any, seed: int) -> None:
    """A sequence gives what it gives alone, whatever came before it."""
    golden, inputs = Golden(1), strategies.inputs_for(network, 4, seed)
    golden.prepare(network)
    together = golden.run(inputs, every_layer=True)
    for vector in range(4):
        alone = golden.run(inputs[vector : vector + 1], every_layer=True)
        assert all(np.array_equal(alone[name][0], together[name][vector]) for name in together)


@pytest.mark.parametrize("channels", [5, 64, 65])
def test_a_shorter_sequence_is_that_of_a_network_with_fewer_steps(channels: Any) -> None:
    """What is read out after a step depends on no later one."""
    rng, x = np.random.default_rng(channels), Input("x", (), shape=(1, 7, 3), kind="signed", bits=8)
    layer = Conv2d("sums", ("x",), weight=weights(1, channels, 1, 1, 3))
    first, threshold = rng.integers(-20, 20, (2, channels))
    directions = weights(3, channels)
    state = Recurrent("state", ("sums",), weights(2, channels, channels), threshold, first, directions, shift=4)
    inputs = strategies.inputs_for(chain(x, layer, state), 20)
    every = check(chain(x, layer, state), inputs)["state"]
    for steps in range(1, 8):
        shorter = chain(replace(x, shape=(1, steps, 3)), layer, replace(state, last=True))
        np.testing.assert_array_equal(check(shorter, inputs[:, :, :steps])["state"], every[:, 0, steps - 1])


@pytest.mark.parametrize(("bits", "largest"), [(8, 127), (8, 2**15 - 1), (16, 2**15 - 1)])
def test_integer_weights_at_the_ends_of_floating_point(bits: int, largest: int) -> None:
    """Sums of less than 2**24, which float32 holds, and of more, which it does not."""
    rng = np.random.default_rng(bits)
    weight = largest - rng.integers(0, 3, (5, 3, 3, 30)) * rng.choice([-1, 1], (5, 3, 3, 30)) * (largest > 200)
    weight = np.clip(weight, -largest, largest) * rng.choice([-1, 1], (5, 1, 1, 1))
    conv = Conv2d("conv", ("x",), weight=weight, padding=(1, 1, 0, 2))
    check(chain(Input("x", (), shape=(4, 4, 30), kind="unsigned", bits=bits), conv), strategies.inputs_for(
        chain(Input("x", (), shape=(4, 4, 30), kind="unsigned", bits=bits)), 7))  # fmt: skip


@pytest.mark.parametrize("ternary", [False, True])
@pytest.mark.parametrize("outputs", WIDTHS)
@pytest.mark.parametrize("inputs", WIDTHS)
def test_dense_at_the_word_boundary(inputs: int, outputs: int, ternary: bool) -> None:
    network = chain(
        Input("x", (), shape=(inputs,)), Dense("sum", ("x",), weight=weights(1, outputs, inputs, ternary=ternary))
    )
    check(network, strategies.inputs_for(network, 7))


@pytest.mark.parametrize("pad_value", [-1, 0, 1])
@pytest.mark.parametrize("channels", WIDTHS)
def test_convolution_flatten_dense_at_the_word_boundary(channels: int, pad_value: int) -> None:
    network = chain(
        Input("x", (), shape=(4, 5, channels)),
        Conv2d(
            "conv",
            ("x",),
            weight=weights(2, channels, 3, 2, channels, ternary=True),
            stride=(1, 2),
            padding=(2, 1, 0, 1),
            pad_value=pad_value,
        ),
        Threshold("sign", ("conv",), threshold=np.zeros(channels, int), direction=weights(3, channels)),
        MaxPool2d("pool", ("sign",), size=(2, 2), stride=(1, 1)),
        Flatten("flat", ("pool",)),
        Dense("sum", ("flat",), weight=weights(4, 3, 4 * 2 * channels)),
        Argmax("class", ("sum",)),
    )
    check(network, strategies.inputs_for(network, 5))


def test_zero_padding_adds_nothing() -> None:
    network = chain(
        Input("x", (), shape=(2, 2, 1)),
        Conv2d("conv", ("x",), weight=np.ones((1, 3, 3, 1), np.int8), padding=(1, 1, 1, 1)),
    )
    golden = Golden()
    golden.prepare(network)
    results = golden.run(np.ones((1, 2, 2, 1), np.int8))
    np.testing.assert_array_equal(results["conv"], np.full((1, 2, 2, 1), 4))


@pytest.mark.parametrize(
    "kind, bits", [("unsigned", 8), ("signed", 8), ("unsigned", 16), ("signed", 16), ("signed", 9)]
)
def test_integer_inputs_are_exact_over_their_whole_range(kind: str, bits: int) -> None:
    source = Input("x", (), shape=(66,), kind=kind, bits=bits)  # type: ignore[arg-type]
    network = chain(source, Dense("sum", ("x",), weight=weights(5, 4, 66, ternary=True)))
    low, high = int(source.infer().low[0]), int(source.infer().high[0])
    every = np.resize(np.arange(low, high + 1), (-(-(high + 1 - low) // 66), 66))
    check(network, every)


def test_integers_between_layers() -> None:
    """Sums of sums need more than 32 bits in the end; max-pool and flatten take integers, too."""
    layers = [
        Input("x", (), shape=(4, 4, 3), kind="signed", bits=16),
        MaxPool2d("pool", ("x",), size=(2, 3), stride=(2, 1)),
        Conv2d("conv", ("pool",), weight=weights(6, 70, 2, 2, 3), padding=(1, 0, 1, 0)),
        Flatten("flat", ("conv",)),
        Dense("sum_0", ("flat",), weight=np.ones((100, 280), np.int8)),
        Dense("sum_1", ("sum_0",), weight=weights(7, 100, 100)),
        Dense("sum_2", ("sum_1",), weight=np.ones((2, 100), np.int8)),
    ]
    network = chain(*layers)
    assert network.signals["sum_2"].bits > 32
    results = check(network, strategies.inputs_for(network, 4))
    assert results["sum_2"].dtype == np.int64


@pytest.mark.parametrize("direction", [-1, 1])
def test_thresholds_on_ties_and_at_the_ends_of_the_range(direction: int) -> None:
    """One neuron of 5 inputs takes -5, -3, ..., 5; thresholds from "always" to "never", ties among them."""
    low, high = (-5, 6) if direction > 0 else (-6, 5)
    thresholds = np.arange(low, high + 1)
    network = chain(
        Input("x", (), shape=(5,)),
        Dense("sum", ("x",), weight=np.ones((len(thresholds), 5), np.int8)),
        Threshold("sign", ("sum",), threshold=thresholds, direction=np.full(len(thresholds), direction)),
    )
    inputs = np.where(np.arange(5) < np.arange(6)[:, None], 1, -1)
    results = check(network, inputs)
    reached = results["sum"] >= thresholds if direction > 0 else results["sum"] <= thresholds
    np.testing.assert_array_equal(results["sign"] == 1, reached)
    assert reached.all(axis=0).any() and not reached.any(axis=0).all()


def test_thresholds_of_bipolar_values_and_of_inputs() -> None:
    network = chain(
        Input("x", (), shape=(3,), kind="unsigned", bits=4),
        Threshold("bits", ("x",), threshold=np.array([0, 7, 16]), direction=np.array([1, -1, 1])),
        Threshold("again", ("bits",), threshold=np.array([1, -1, -2]), direction=np.array([1, -1, -1])),
    )
    check(network, np.stack([np.arange(16)] * 3, axis=1))


def test_affine_with_negative_and_zero_scales_and_ties_of_the_argmax() -> None:
    network = chain(
        Input("x", (), shape=(4,)),
        Dense("sum", ("x",), weight=np.ones((4, 4), np.int8)),
        Affine("score", ("sum",), scale=np.array([0, -3, 3, 3]), offset=np.array([5, 0, 0, 0]), fraction=2),
        Argmax("class", ("score",)),
    )
    inputs = np.array([[1, 1, 1, 1], [-1, -1, -1, -1], [1, 1, -1, -1]])
    results = check(network, inputs)
    np.testing.assert_array_equal(results["class"], [[2], [1], [0]])


@settings(max_examples=20, deadline=None)
@given(network=strategies.networks(), seed=st.integers(0, 99))
def test_results_do_not_depend_on_threads_or_on_the_split_into_tiles(network: Network, seed: int) -> None:
    inputs = strategies.inputs_for(network, 33, seed)
    one, many = Golden(1), Golden(5)
    one.prepare(network)
    many.prepare(network)
    expected = one.run(inputs, every_layer=True)
    for name, values in many.run(inputs, every_layer=True).items():
        np.testing.assert_array_equal(values, expected[name])
    for i in (0, 32):
        for name, values in one.run(inputs[i : i + 1], every_layer=True).items():
            np.testing.assert_array_equal(values[0], expected[name][i])


def test_more_vectors_than_a_tile_takes() -> None:
    network = chain(Input("x", (), shape=(70,)), Dense("sum", ("x",), weight=weights(8, 3000, 70)))
    check(network, strategies.inputs_for(network, 200))


def test_no_vectors_give_empty_results() -> None:
    network = chain(Input("x", (), shape=(3,)), Dense("sum", ("x",), weight=weights(9, 2, 3)))
    assert check(network, np.zeros((0, 3), np.int8))["sum"].shape == (0, 2)


@pytest.mark.parametrize("shape", [(105,), (5, 7, 3)])
def test_inputs_of_any_integer_dtype_and_layout(shape: tuple[int, ...]) -> None:
    layers = [Input("x", (), shape=shape), Flatten("f", ("x",)), Dense("d", ("f",), weight=weights(10, 4, 105))]
    inputs = strategies.inputs_for(chain(*layers), 8)
    for same in (inputs.astype(np.int64), np.asfortranarray(inputs), inputs[::-2], inputs.astype(">i2")):
        check(chain(*layers), same)
    check(chain(*layers), np.ones((2, *shape), np.uint64))


@pytest.mark.parametrize("channels", WIDTHS)
def test_unused_bits_are_zero(channels: int) -> None:
    from xnorflow.cosim import packed

    network = chain(
        Input("x", (), shape=(3,)),
        Dense("sum", ("x",), weight=weights(17, channels, 3)),
        Threshold("sign", ("sum",), threshold=np.full(channels, -3), direction=np.ones(channels, int)),
    )
    value = np.ones((2, 3), np.int8)
    for step in packed.steps(network).values():
        value = step(value)  # type: ignore[assignment]
    np.testing.assert_array_equal(value, pack(np.ones((2, channels), np.int8)))


SIGNS = chain(Input("x", (), shape=(2, 3)), Flatten("f", ("x",)), Dense("d", ("f",), weight=weights(11, 1, 6)))
PIXELS = chain(Input("x", (), shape=(6,), kind="unsigned", bits=8), Dense("d", ("x",), weight=weights(12, 1, 6)))
SIGNED = chain(Input("x", (), shape=(6,), kind="signed", bits=4), Dense("d", ("x",), weight=weights(13, 1, 6)))


WIDE = chain(Input("x", (), shape=(64,)), Dense("d", ("x",), weight=weights(16, 1, 64)))


def with_value(network: Network, value: Any, dtype: Any = np.int64) -> Any:
    inputs = np.ones((3, *network.input.shape), dtype)
    inputs.reshape(3, -1)[2, 4] = value
    return inputs


@pytest.mark.parametrize(
    "network, inputs, message",
    [
        (
            SIGNS,
            with_value(SIGNS, 0),
            r"input 'x' of network 'chain': vector 2, position \(1, 1\): expected -1 or \+1, got 0",
        ),
        (SIGNS, with_value(SIGNS, 3), "expected -1 or .1, got 3"),
        (SIGNS, with_value(SIGNS, 255, np.uint8), "expected -1 or .1, got 255"),
        (SIGNS, with_value(SIGNS, 0, np.int8), "expected -1 or .1, got 0"),
        (SIGNS, with_value(SIGNS, -128, np.int8), "expected -1 or .1, got -128"),
        (WIDE, with_value(WIDE, 0, np.int8), "expected -1 or .1, got 0"),
        (PIXELS, with_value(PIXELS, 2**64 - 1, np.uint64), "got 18446744073709551615"),
        (PIXELS, with_value(PIXELS, 300), "expected 0 to 255 .8 bits, unsigned., got 300"),
        (PIXELS, with_value(PIXELS, -1), "got -1"),
        (SIGNED, with_value(SIGNED, 8), "expected -8 to 7 .4 bits, signed., got 8"),
        (SIGNED, with_value(SIGNED, -9), "got -9"),
        (SIGNS, np.ones((3, 2, 3), np.float32), "expected an integer array, got float32"),
        (SIGNS, np.ones((3, 2, 3), bool), "expected an integer array, got bool"),
        (SIGNS, np.ones((3, 6), int), r"expected an array of shape \(vectors, 2, 3\), got \(3, 6\)"),
        (SIGNS, np.ones((2, 3), int), r"got \(2, 3\)"),
        (SIGNS, np.ones((), int), r"got \(\)"),
    ],
)
def test_refuses_inputs_that_the_network_cannot_take(network: Network, inputs: NDArray[Any], message: str) -> None:
    golden = Golden()
    golden.prepare(network)
    with pytest.raises(UserError, match=message):
        golden.run(inputs)


def test_names_the_vector_of_a_bad_value_in_a_later_tile() -> None:
    network = chain(Input("x", (), shape=(2,)), Dense("d", ("x",), weight=weights(14, 5000, 2)))
    inputs = np.ones((500, 2), np.int8)
    inputs[321, 1] = 0
    golden = Golden(2)
    golden.prepare(network)
    with pytest.raises(UserError, match=r"vector 321, position \(1,\)"):
        golden.run(inputs)


def test_refuses_an_unknown_operation() -> None:
    @dataclass(frozen=True, eq=False, repr=False)
    class Softmax(Operation):
        def infer(self, *operands: Any) -> Any:
            return operands[0]

    with pytest.raises(EngineUnavailable, match="layer 'soft': the golden model has no Softmax; it knows Input, Dense"):
        Golden().prepare(chain(Input("x", (), shape=(2,)), Softmax("soft", ("x",))))


def test_refuses_an_unknown_operation_even_of_a_known_base() -> None:
    @dataclass(frozen=True, eq=False, repr=False)
    class Scaled(Dense):
        pass

    with pytest.raises(EngineUnavailable, match="Scaled"):
        Golden().prepare(chain(Input("x", (), shape=(2,)), Scaled("d", ("x",), weight=weights(15, 2, 2))))


def test_refuses_to_run_unprepared_and_without_threads() -> None:
    with pytest.raises(EngineError, match="prepare"):
        Golden().run(np.ones((1, 1), np.int8))
    with pytest.raises(UserError, match="threads: expected at least 1, got 0"):
        Golden(0)


def test_import_loads_no_numba() -> None:
    code = "import sys, xnorflow.cosim.golden; xnorflow.cosim.golden.Golden(); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
