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


def apply(operation: Operation, x: NDArray[Any], channel: IntArray) -> NDArray[Any]:
    """Compute an operation's result.

    Parameters
    ----------
    operation : Operation of a class in :data:`CHANNELWISE`
    x : integer array, shape (rows, *positions)
        Values of one channel of the operand, bipolar ones as int8 of -1 and +1, else int64.
    channel : int64 array, shape (rows,)
        Which channel a row is.

    Returns
    -------
    integer array of the same kinds, shape (rows, *positions of the result)
    """
    results: NDArray[Any]
    match operation:
        case Threshold():
            return signs(x, operation.threshold[channel], operation.direction[channel])
        case MultiThreshold():
            return levels(operation, x, operation.threshold[channel], operation.direction[channel])
        case Affine():
            results = by_row(operation.scale[channel], x) * x + by_row(operation.offset[channel], x)
            return results
        case MaxPool2d():
            top, bottom, left, right = operation.padding
            padded = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=np.iinfo(x.dtype).min)
            results = np.maximum.reduce(_windows(operation, padded))
            return results
        case SumPool2d():
            results = np.sum(_windows(operation, x), axis=0, dtype=np.int64)
            return results
    raise TypeError(operation)


def signs(x: NDArray[Any], threshold: IntArray, direction: NDArray[np.signedinteger[Any]]) -> NDArray[np.int8]:
    """Return +1 where a row's threshold is passed in its direction, else -1."""
    return np.where(_passed(x, threshold, direction), np.int8(1), np.int8(-1))


def levels(
    operation: MultiThreshold, x: NDArray[Any], threshold: IntArray, direction: NDArray[np.signedinteger[Any]]
) -> NDArray[np.int64]:
    """Return an operation's result for other thresholds, shape (rows, levels), and directions, shape (rows,)."""
    number = np.zeros(x.shape, np.int64)
    for level in range(operation.levels):
        number += _passed(x, threshold[:, level], direction)
    return operation.low + operation.step * number


def _passed(x: NDArray[Any], threshold: IntArray, direction: NDArray[np.signedinteger[Any]]) -> NDArray[np.bool_]:
    limit = by_row(threshold, x)
    return np.where(by_row(direction, x) > 0, x >= limit, x <= limit)


def by_row(values: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    """Return one value per row in a shape that goes with `x`, shape (rows, *positions)."""
    return values.reshape(-1, *[1] * (x.ndim - 1))


def _windows(operation: MaxPool2d | SumPool2d, x: NDArray[Any]) -> list[NDArray[Any]]:
    """Return a view of the values for each place of the window, all of the result's height and width."""
    (size_h, size_w), (stride_h, stride_w) = operation.size, operation.stride
    height, width = (x.shape[1] - size_h) // stride_h + 1, (x.shape[2] - size_w) // stride_w + 1
    return [
        x[:, y : y + height * stride_h : stride_h, z : z + width * stride_w : stride_w][:, :height, :width]
        for y in range(size_h)
        for z in range(size_w)
    ]
