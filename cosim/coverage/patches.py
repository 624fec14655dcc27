"""What a convolution's weights are multiplied by."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Conv2d


def patches(operation: Conv2d, x: NDArray[Any], pad_value: int) -> NDArray[Any]:
    """Return a view of the operand, padded: shape (vectors, height, width, inputs, kernel_h, kernel_w).

    Parameters
    ----------
    operation : Conv2d
    x : array, shape (vectors, *operand shape)
    pad_value : int
    """
    top, bottom, left, right = operation.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=pad_value)
    kernel, axes = operation.weight.shape[1:3], (1, 2)
    every = np.lib.stride_tricks.sliding_window_view(padded, kernel, axes)  # type: ignore[call-overload]  # takes tuples
    chosen: NDArray[Any] = every[:, :: operation.stride[0], :: operation.stride[1]]
    return chosen
