from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xnorflow.cosim.moves import plan


@settings(max_examples=100, deadline=None)
@given(
    runs=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 200), st.integers(0, 300)), max_size=8),
    planes=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_moves_are_those_of_single_bits(runs: Any, planes: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (2, planes, 512), np.uint8)
    packed = np.packbits(bits, axis=-1, bitorder="little").view(np.uint64)
    expected = np.zeros((2, planes, 512), np.uint8)
    for start, count, target in runs:
        expected[:, :, target : target + count] |= bits[:, :, start : start + count]
    start, count, target = np.array(runs, np.int64).reshape(-1, 3).T
    moved = plan(8 * planes, start, count, target)(packed, step=8)
    np.testing.assert_array_equal(
        np.unpackbits(moved.view(np.uint8), axis=-1, bitorder="little").reshape(2, planes, 512), expected
    )
