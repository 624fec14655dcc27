"""Scores of fewer bits with the same class.

Where the class alone is wanted, the affine's scale and offset may be coarser: of two classes the same one must win, a
tie included, for every two sums that their neurons can have. That is proved for each pair, not measured.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import IntArray, Signal

_PER_OCTAVE = 8
"""Divisors that are tried between one and its double."""


def narrowed(scale: IntArray, offset: IntArray, sums: Signal) -> tuple[IntArray, IntArray, tuple[int, int]]:
    """Return the smallest scale and offset found whose largest score is always that of the given ones.

    Parameters
    ----------
    scale, offset : int64 array, shape (classes,)
    sums : Signal
        What they are applied to.

    Returns
    -------
    scale, offset : int64 array, shape (classes,)
        The scores lie round zero.
    range : (int, int)
        The smallest and the largest score of all classes.
    """
    for divisor in _divisors(scale, offset):
        coarse = np.rint(scale / divisor).astype(np.int64), np.rint(offset / divisor).astype(np.int64)
        if _same_class((scale, offset), coarse, sums):
            scale, offset = coarse
            break
    ends = np.stack([scale * sums.low, scale * sums.high]) + offset
    low, high = int(ends.min()), int(ends.max())
    middle = (low + high + 1) // 2
    return scale, offset - middle, (low - middle, high - middle)


def _divisors(scale: IntArray, offset: IntArray) -> Iterator[float]:
    """Yield the divisors to try, from those that leave a bit or so."""
    most = max(int(np.abs(scale).max()), int(np.abs(offset).max()), 1).bit_length()
    for octaves in range(most * _PER_OCTAVE, 0, -1):
        yield 2 ** (octaves / _PER_OCTAVE)


def _same_class(given: tuple[IntArray, IntArray], coarse: tuple[IntArray, IntArray], sums: Signal) -> bool:
    pairs = combinations(range(sums.channels), 2)
    return all(np.array_equal(_wins(*given, sums, *pair), _wins(*coarse, sums, *pair)) for pair in pairs)


def _wins(scale: IntArray, offset: IntArray, sums: Signal, one: int, other: int) -> NDArray[np.int64]:
    """Return for each sum of class `one` over how many sums of class `other`, a later one, it wins.

    These are the sums of `other` from the end on where its score is smallest, so that their number tells which.
    """
    own = np.arange(sums.low[one], sums.high[one] + 1, sums.step)
    count = int(sums.high[other] - sums.low[other]) // sums.step + 1
    smallest = scale[other] * (sums.low if scale[other] > 0 else sums.high)[other] + offset[other]
    ahead = scale[one] * own + offset[one] - smallest
    if scale[other] == 0:
        return np.where(ahead >= 0, count, 0)
    wins: NDArray[np.int64] = np.clip(ahead // (abs(scale[other]) * sums.step) + 1, 0, count)
    return wins
