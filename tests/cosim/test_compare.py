"""The comparison finds every difference, names the earliest layer, and takes no silence for agreement."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import oracle, strategies
from tests.narrowed import there

from xnorflow.bnn.network import Network
from xnorflow.cosim.compare import compare
from xnorflow.cosim.engine import EngineError


@given(strategies.networks(), st.data())
def test_one_changed_integer_is_located(network: Network, data: st.DataObject) -> None:
    expected = oracle.run(network, strategies.inputs_for(network, 5))
    assert compare(network, expected, expected).first is None
    layer = data.draw(st.sampled_from(list(expected)))
    place = tuple(data.draw(st.integers(0, length - 1)) for length in expected[layer].shape)
    got = {name: values.copy() for name, values in expected.items()}
    got[layer][place] += data.draw(st.sampled_from([-2, -1, 1, 2]))
    comparison = compare(network, expected, got)
    assert comparison.wrong == (place[0],) and comparison.mismatches == 1 and comparison.vectors == 5
    assert {layer: wrong for layer, wrong in comparison.layers.items() if wrong} == {there(comparison.first).layer: 1}
    assert set(comparison.layers) == set(expected)
    first = comparison.first
    assert first is not None
    assert (first.vector, first.layer, first.index, first.channel) == (place[0], layer, place[1:], place[-1])
    assert (first.expected, first.got) == (expected[layer][place], got[layer][place])
    assert f"layer {layer}" in str(first) and f"vector {place[0]}" in str(first)


@given(strategies.networks())
def test_missing_results_are_errors(network: Network) -> None:
    expected = oracle.run(network, strategies.inputs_for(network, 4))
    name = network.output.name
    for got in (
        {},
        {"nonsense": expected[name]},
        {name: expected[name][:3]},
        {name: expected[name].reshape(-1)[: expected[name].size - 1]},
        {name: expected[name].astype(np.float64)},
    ):
        with pytest.raises(EngineError):
            compare(network, expected, got)  # type: ignore[arg-type]


def test_earliest_layer_wins_over_earliest_vector() -> None:
    network = strategies_example()
    expected = oracle.run(network, strategies.inputs_for(network, 6))
    got = {name: values.copy() for name, values in expected.items()}
    first_layer, last_layer = network.operations[1].name, network.output.name
    got[last_layer][0] += 1
    got[first_layer][4] += 1
    comparison = compare(network, expected, got)
    assert comparison.first is not None and comparison.first.layer == first_layer and comparison.first.vector == 4
    assert comparison.wrong == (0, 4)


def strategies_example() -> Network:
    from xnorflow.bnn.network import Dense, Input, Threshold

    return Network(
        "n",
        (
            Input("x", (), shape=(8,)),
            Dense("d", ("x",), weight=np.ones((2, 8), np.int8)),
            Threshold("t", ("d",), threshold=np.array([0, 2]), direction=np.array([1, -1])),
        ),
    )


def test_results_under_a_name_that_is_no_layer_are_errors() -> None:
    """Beside sound ones, too: what an engine reports under a wrong name was compared with nothing."""
    network = strategies_example()
    expected = oracle.run(network, strategies.inputs_for(network, 6))
    with pytest.raises(EngineError, match="expected results of layers of n, got x, d, t, odd"):
        compare(network, expected, {**expected, "odd": expected["t"]})
