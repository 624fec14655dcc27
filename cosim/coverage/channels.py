"""Operations that take each channel by itself, computed for one channel of a vector at a time.

What a fault changes is one channel, up to the first operation that mixes channels. So that far no more is computed,
for many faults and vectors at once, each row its own channel.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Affine, IntArray, MaxPool2d, MultiThreshold, Operation, SumPool2d, Threshold

#: The classes that :func:`apply` knows.
CHANNELWISE = (Threshold, MultiThreshold, Affine, MaxPool2d, SumPool2d)


def apply(operation: Operation, x: IntArray, channel: IntArray) -> IntArray:
    """Compute an operation's result.

    Parameters
    ----------
    operation : Operation of a class in :data:`CHANNELWISE`
    x : int64 array, shape (rows, *positions)
        Values of one channel of the operand, bipolar ones as -1 and +1.
    channel : int64 array, shape (rows,)
        Which channel a row is.

    Returns
    -------
    int64 array, shape (rows, *positions of the result)
    """
    match operation:
        case Threshold():
            return passed(x, operation.threshold[channel], operation.direction[channel]) * 2 - 1
        case MultiThreshold():
            return levels(operation, x, operation.threshold[channel], operation.direction[channel])
        case Affine():
            return by_row(operation.scale[channel], x) * x + by_row(operation.offset[channel], x)
        case MaxPool2d():
            top, bottom, left, right = operation.padding
            padded = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=np.iinfo(np.int64).min)
            return _windows(operation, padded).max(axis=(3, 4))
        case SumPool2d():
            return _windows(operation, x).sum(axis=(3, 4))
    raise TypeError(operation)


def passed(x: IntArray, threshold: IntArray, direction: NDArray[np.int8]) -> IntArray:
    """Return 1 where a row's threshold is passed in its direction, else 0."""
    limit, up = by_row(threshold, x), by_row(direction, x) > 0
    return np.where(up, x >= limit, x <= limit).astype(np.int64)


def levels(operation: MultiThreshold, x: IntArray, threshold: IntArray, direction: NDArray[np.int8]) -> IntArray:
    """Return an operation's result for other thresholds, shape (rows, levels), and directions, shape (rows,)."""
    number = sum(passed(x, threshold[:, level], direction) for level in range(operation.levels))
    return operation.low + operation.step * number


def by_row(values: NDArray[Any], x: IntArray) -> NDArray[Any]:
    """Return one value per row in a shape that goes with `x`, shape (rows, *positions)."""
    return values.reshape(-1, *[1] * (x.ndim - 1))


def _windows(operation: MaxPool2d | SumPool2d, x: IntArray) -> IntArray:
    every = np.lib.stride_tricks.sliding_window_view(x, operation.size, axis=(1, 2))
    return every[:, :: operation.stride[0], :: operation.stride[1]]
