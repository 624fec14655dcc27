"""The oracle: every operation on plain unpacked int64 arrays, written to be read, not to be fast.

What the tests of all engines compare to. It shares no code with any of them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    Add,
    Affine,
    Argmax,
    Conv2d,
    Dense,
    DepthToSpace,
    Flatten,
    Input,
    MaxPool2d,
    MultiThreshold,
    Operation,
    Recurrent,
    SumPool2d,
    Threshold,
)

IntArray = NDArray[np.int64]


def run(network: Any, inputs: NDArray[np.integer[Any]]) -> dict[str, IntArray]:
    """Compute every operation's result.

    Parameters
    ----------
    network : Network
    inputs : integer array, shape (vectors, *input shape)

    Returns
    -------
    dict of int64 array, shape (vectors, *signal shape), by operation name
        Bipolar values are -1 and +1.
    """
    results: dict[str, IntArray] = {}
    for operation in network.operations:
        operands = [results[source] for source in operation.inputs] or [np.asarray(inputs, np.int64)]
        results[operation.name] = apply(operation, *operands)
    return results


def apply(operation: Operation, *operands: IntArray) -> IntArray:
    """Compute one operation's result from its operands, int64, shape (vectors, *operand shape); Input is identity."""
    return _APPLY[type(operation)](operation, *operands)


def _input(_: Input, x: IntArray) -> IntArray:
    return x


def _dense(operation: Dense, x: IntArray) -> IntArray:
    return x @ operation.weight.astype(np.int64).T


def _conv2d(operation: Conv2d, x: IntArray) -> IntArray:
    top, bottom, left, right = operation.padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=operation.pad_value)
    outputs, kernel_h, kernel_w, _ = operation.weight.shape
    stride_h, stride_w = operation.stride
    height, width = (x.shape[1] - kernel_h) // stride_h + 1, (x.shape[2] - kernel_w) // stride_w + 1
    acc = np.zeros((len(x), height, width, outputs), np.int64)
    for row in range(height):
        for column in range(width):
            y, z = row * stride_h, column * stride_w
            window = x[:, y : y + kernel_h, z : z + kernel_w, :]
            acc[:, row, column] = np.einsum("nhwi,ohwi->no", window, operation.weight.astype(np.int64))
    return acc


def _pool2d(operation: MaxPool2d | SumPool2d, x: IntArray) -> IntArray:
    if isinstance(operation, MaxPool2d):
        top, bottom, left, right = operation.padding
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=np.iinfo(np.int64).min)
    reduce = np.max if isinstance(operation, MaxPool2d) else np.sum
    (size_h, size_w), (stride_h, stride_w) = operation.size, operation.stride
    height, width = (x.shape[1] - size_h) // stride_h + 1, (x.shape[2] - size_w) // stride_w + 1
    result = np.zeros((len(x), height, width, x.shape[3]), np.int64)
    for row in range(height):
        for column in range(width):
            y, z = row * stride_h, column * stride_w
            result[:, row, column] = reduce(x[:, y : y + size_h, z : z + size_w], axis=(1, 2))
    return result


def _add(operation: Add, *operands: IntArray) -> IntArray:
    shifts = operation.shift or [0] * len(operands)
    total: IntArray = np.sum([x * 2**shift for x, shift in zip(operands, shifts, strict=True)], axis=0)
    return total


def _threshold(operation: Threshold, x: IntArray) -> IntArray:
    up, down = x >= operation.threshold, x <= operation.threshold
    return np.where(np.where(operation.direction > 0, up, down), 1, -1)


def _multi_threshold(operation: MultiThreshold, x: IntArray) -> IntArray:
    up, down = x[..., None] >= operation.threshold, x[..., None] <= operation.threshold
    passed = np.where(operation.direction[:, None] > 0, up, down).sum(axis=-1)
    levels: IntArray = operation.low + operation.step * passed
    return levels


def _recurrent(operation: Recurrent, x: IntArray) -> IntArray:
    result = np.zeros(x.shape, np.int64)
    steps, states = x.reshape(len(x), -1, x.shape[-1]), result.reshape(len(x), -1, x.shape[-1])
    for step in range(steps.shape[1]):
        sums, threshold = steps[:, step], operation.first
        if step:
            sums = sums + 2**operation.shift * (states[:, step - 1] @ operation.weight.astype(np.int64).T)
            threshold = operation.threshold
        passed = np.where(operation.direction > 0, sums >= threshold, sums <= threshold)
        states[:, step] = np.where(passed, 1, -1)
    return states[:, -1] if operation.last else result


def _flatten(_: Flatten, x: IntArray) -> IntArray:
    return x.reshape(len(x), int(np.prod(x.shape[1:])))


def _depth_to_space(operation: DepthToSpace, x: IntArray) -> IntArray:
    block_h, block_w = operation.block
    count, height, width, channels = x.shape
    result = np.zeros((count, height * block_h, width * block_w, channels // (block_h * block_w)), np.int64)
    for y in range(block_h):
        for z in range(block_w):
            result[:, y::block_h, z::block_w] = x[..., y * block_w + z :: block_h * block_w]
    return result


def _affine(operation: Affine, x: IntArray) -> IntArray:
    return operation.scale * x + operation.offset


def _argmax(_: Argmax, x: IntArray) -> IntArray:
    winner: IntArray = np.argmax(x, axis=-1, keepdims=True)
    return winner


_APPLY: Mapping[type[Operation], Callable[..., IntArray]] = {
    Input: _input,
    Dense: _dense,
    Conv2d: _conv2d,
    MaxPool2d: _pool2d,
    SumPool2d: _pool2d,
    Add: _add,
    Threshold: _threshold,
    MultiThreshold: _multi_threshold,
    Recurrent: _recurrent,
    Flatten: _flatten,
    DepthToSpace: _depth_to_space,
    Affine: _affine,
    Argmax: _argmax,
}
