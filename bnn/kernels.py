"""Convolutions that the Network expresses by zeros among its weights: a zero is a masked position.

All take weights as :class:`~xnorflow.bnn.network.Conv2d` has them, channels last.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import NetworkError


def grouped(weight: NDArray[Any], groups: int) -> NDArray[Any]:
    """Return the weights of a grouped convolution as those of a whole one.

    Parameters
    ----------
    weight : array, shape (outputs, kernel_h, kernel_w, inputs / groups)
        Group g computes outputs ``g * outputs / groups`` and on, from as large a part of the inputs. A depthwise
        convolution has as many groups as inputs.
    groups : int

    Returns
    -------
    array, shape (outputs, kernel_h, kernel_w, inputs)
        Zero wherever an output does not read an input.
    """
    outputs, *kernel, inputs = weight.shape
    if groups < 1 or outputs % groups:
        raise NetworkError(f"grouped convolution: expected groups that divide the {outputs} outputs, got {groups}")
    whole = np.zeros((groups, outputs // groups, *kernel, groups, inputs), weight.dtype)
    for group, part in enumerate(weight.reshape(groups, outputs // groups, *kernel, inputs)):
        whole[group, ..., group, :] = part
    return whole.reshape(outputs, *kernel, groups * inputs)


def dilated(weight: NDArray[Any], dilation: tuple[int, int]) -> NDArray[Any]:
    """Return the weights of a dilated convolution as those of a larger kernel with zeros in between.

    Parameters
    ----------
    weight : array, shape (outputs, kernel_h, kernel_w, inputs)
    dilation : (int, int)
        Distance of neighbouring taps, vertical and horizontal; 1 leaves them as they are.

    Returns
    -------
    array, shape (outputs, (kernel_h - 1) * dilation + 1, likewise for kernel_w, inputs)
    """
    if min(dilation) < 1:
        raise NetworkError(f"dilated convolution: expected positive dilations, got {dilation}")
    outputs, *kernel, inputs = weight.shape
    size = [(taps - 1) * distance + 1 for taps, distance in zip(kernel, dilation, strict=True)]
    whole = np.zeros((outputs, *size, inputs), weight.dtype)
    whole[:, :: dilation[0], :: dilation[1]] = weight
    return whole
