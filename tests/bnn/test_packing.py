"""Bits in words: little-endian, padding bits 0, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnorflow.bnn.packing import pack, pack_bits, unpack, unpack_bits, words


@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_round_trip_and_padding(count: int, seed: int) -> None:
    bits = np.random.default_rng(seed).random((3, count)) < 0.5
    packed = pack_bits(bits)
    assert packed.dtype == np.uint64 and packed.shape == (3, words(count))
    assert np.array_equal(unpack_bits(packed, count), bits)
    expected = [sum(int(bit) << i for i, bit in enumerate(row)) for row in bits]
    assert [sum(int(word) << 64 * i for i, word in enumerate(row)) for row in packed] == expected


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 130])
def test_bipolar(count: int) -> None:
    values = np.where(np.arange(2 * count).reshape(2, count) % 3 == 0, 1, -1).astype(np.int8)
    assert np.array_equal(unpack(pack(values), count), values)
    assert int(pack(np.ones((1, count), np.int8))[0, 0]) == 2 ** min(count, 64) - 1
