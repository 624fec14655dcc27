"""The canonical form computes the same, points up wherever it can, and says what it negated."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracle, strategies

from xnorflow.bnn.canonical import canonicalise, canonicalise_with_signs
from xnorflow.bnn.network import Add, Argmax, Conv2d, Dense, Flatten, Input, MaxPool2d, Network, Operation, Threshold

RNG = np.random.default_rng(1)


@given(strategies.networks(weight_bits=16, grown=True, operations=strategies.EVERY), st.integers(0, 2**32 - 1))
def test_same_results_up_to_the_signs(network: Network, seed: int) -> None:
    inputs = strategies.inputs_for(network, 8, seed)
    canonical, signs = canonicalise_with_signs(network)
    before, after = oracle.run(network, inputs), oracle.run(canonical, inputs)
    assert network.output.name not in signs
    for name, values in before.items():
        assert np.array_equal(values * signs.get(name, 1), after[name]), name
    assert canonicalise(canonical) == canonical


def weight(*shape: int) -> NDArray[Any]:
    return RNG.choice([-1, 0, 1], shape)


def threshold(name: str, source: str, channels: int) -> Threshold:
    return Threshold(
        name, (source,), threshold=RNG.integers(-3, 3, channels), direction=np.where(np.arange(channels) % 2, 1, -1)
    )


X = Input("x", (), shape=(6, 6, 4))
CONV = Conv2d("c", ("x",), weight=weight(4, 3, 3, 4), padding=(1, 1, 1, 1))
POOL = MaxPool2d("p", ("c",))
BEHIND_POOL = threshold("t", "p", 4)
TO_SIGN = (X, CONV, POOL, BEHIND_POOL)


@pytest.mark.parametrize(
    ("turned", "operations"),
    [
        pytest.param(True, (X, CONV, threshold("t", "c", 4)), id="straight from a convolution"),
        pytest.param(True, (X, CONV, threshold("t", "c", 4), MaxPool2d("p", ("t",))), id="pool behind the sign"),
        pytest.param(True, (*TO_SIGN, Conv2d("d", ("t",), weight=weight(3, 2, 2, 4))), id="conv reads"),
        pytest.param(
            True,
            (*TO_SIGN, Conv2d("d", ("t",), weight=weight(3, 2, 2, 4), padding=(1, 1, 1, 0))),
            id="zero padding",
        ),
        pytest.param(
            False,
            (*TO_SIGN, Conv2d("d", ("t",), weight=weight(3, 2, 2, 4), padding=(1, 1, 1, 0), pad_value=1)),
            id="padding of +1",
        ),
        pytest.param(
            True,
            (*TO_SIGN, Flatten("f", ("t",)), Dense("d", ("f",), weight=weight(5, 36)), Argmax("a", ("d",))),
            id="flatten and dense read",
        ),
        pytest.param(False, TO_SIGN, id="the output"),
        pytest.param(False, (*TO_SIGN, MaxPool2d("q", ("t",), size=(1, 1))), id="a pool reads"),
        pytest.param(False, (X, threshold("t", "x", 4)), id="straight from the input"),
    ],
)  # fmt: skip
def test_turned_where_possible(turned: bool, operations: tuple[Operation, ...]) -> None:
    if operations[-1].name == "t" and operations[-1].inputs == ("x",):
        operations = (X, Threshold("t", ("x",), threshold=np.array([1, 1, -1, -1]), direction=np.array([1, -1, 1, -1])))
    network = Network("n", operations)
    canonical = canonicalise(network)
    result = canonical["t"]
    assert isinstance(result, Threshold)
    assert (result.direction > 0).all() == turned
    inputs = strategies.inputs_for(network, 50, 3)
    assert np.array_equal(
        oracle.run(network, inputs)[network.output.name], oracle.run(canonical, inputs)[network.output.name]
    )


@pytest.mark.parametrize("other", ["sum", "second threshold"])
def test_sums_that_another_branch_reads_are_not_negated(other: str) -> None:
    """The weights of a layer with two readers cannot take the sign of one of them."""
    down = Threshold("t", ("d",), threshold=np.array([1, 0, -1]), direction=np.array([-1, 1, -1]))
    first = (Input("x", (), shape=(5,)), Dense("d", ("x",), weight=RNG.choice([-1, 1], (3, 5))), down)
    after = Dense("e", ("t",), weight=RNG.choice([-1, 1], (3, 3)))
    rest: tuple[Operation, ...] = (after, Add("a", ("d", "e")))
    if other == "second threshold":
        up = Threshold("u", ("d",), threshold=np.array([2, 1, 0]), direction=np.ones(3, np.int8))
        rest = (after, up, Add("a", ("e", "u")))
    network = Network("n", (*first, *rest))
    canonical, signs = canonicalise_with_signs(network)
    assert canonical["d"] == network["d"] and "d" not in signs
    inputs = strategies.inputs_for(network, 32, 3)
    before, after_all = oracle.run(network, inputs), oracle.run(canonical, inputs)
    for name, values in before.items():
        assert np.array_equal(values * signs.get(name, 1), after_all[name]), name
