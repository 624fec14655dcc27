"""Bipolar values to bits in uint64 words and back (layout: see :mod:`bnn`)."""

import numpy as np
from numpy.typing import NDArray

WORD = 64


def words(count: int) -> int:
    """Return the number of uint64 words that `count` bits take."""
    return -(-count // WORD)


def pack_bits(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack bits along the last axis.

    Parameters
    ----------
    bits : bool array, shape (..., n)

    Returns
    -------
    uint64 array, shape (..., ceil(n / 64))
        Element i is bit ``i % 64`` of word ``i // 64``; unused bits are 0.
    """
    packed = np.packbits(bits, axis=-1, bitorder="little")
    padded = np.zeros((*bits.shape[:-1], words(bits.shape[-1]) * 8), np.uint8)
    padded[..., : packed.shape[-1]] = packed
    return padded.view("<u8").astype(np.uint64, copy=False)


def unpack_bits(packed: NDArray[np.uint64], count: int) -> NDArray[np.bool_]:
    """Undo :func:`pack_bits`: (..., words) uint64 to (..., `count`) bool."""
    octets = np.ascontiguousarray(packed.astype("<u8", copy=False)).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=count, bitorder="little").astype(np.bool_)


def pack(values: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Pack bipolar values, shape (..., n), into words, shape (..., ceil(n / 64)): +1 is bit 1."""
    return pack_bits(values > 0)


def unpack(packed: NDArray[np.uint64], count: int) -> NDArray[np.int8]:
    """Undo :func:`pack`: (..., words) uint64 to (..., `count`) int8 of -1 and +1."""
    return np.where(unpack_bits(packed, count), np.int8(1), np.int8(-1))
