"""Integer weights as planes of ternary ones: equal results under the same names."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests import oracle, strategies

from xnorflow.bnn.network import Conv2d, Dense, Input, Network, weight_bits
from xnorflow.bnn.planes import ternary


@given(strategies.networks(weight_bits=16, operations=strategies.EVERY), st.integers(0, 2**32 - 1))
def test_equal_results_of_ternary_weights(network: Network, seed: int) -> None:
    made, parts = ternary(network)
    inputs = strategies.inputs_for(network, 8, seed)
    before, after = oracle.run(network, inputs), oracle.run(made, inputs)
    assert set(after) == set(before) | set(parts)
    assert all(np.array_equal(after[name], values) for name, values in before.items())
    layers = [operation for operation in made.operations if isinstance(operation, Dense | Conv2d)]
    assert all(weight_bits(operation.weight) <= 2 for operation in layers)
    assert ternary(made) == (made, {})


def test_a_name_that_is_taken_gets_another() -> None:
    weight = np.full((2, 2), 4)
    network = Network("n", (Input("d_plane2", (), shape=(2,)), Dense("d", ("d_plane2",), weight=weight)))
    made, parts = ternary(network)
    assert parts == {"d_plane2_": "d", "d_nothing": "d"}
    assert np.array_equal(oracle.run(made, np.ones((1, 2), int))["d"], [[8, 8]])
