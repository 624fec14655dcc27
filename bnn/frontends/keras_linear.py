"""Dense layers and convolutions of Keras, QKeras and Larq: what each multiplies by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.kernels import dilated, grouped

_EQUAL = 2.0**-16  # weights of a channel that differ by less than this part are one magnitude, rounded differently


@dataclass(frozen=True, eq=False)
class Linear:
    """What a layer computes in inference: ``activation(kernel * input_quantizer(x) + bias)``.

    Attributes
    ----------
    kernel : float32 array, shape (outputs, inputs) or (outputs, kernel_h, kernel_w, inputs / groups)
        As the framework quantizes it. One dimension is one of height 1.
    bias : float32 array, shape (outputs,), or None
        Likewise.
    input_quantizer, activation : callable or None
        On TensorFlow tensors.
    padding : {"valid", "same", "causal"}
    pad_value : float
        Of all padding but 'valid'.
    stride, dilation : (int, int)
        Vertical and horizontal.
    groups : int
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None
    input_quantizer: Callable[[Any], Any] | None = None
    activation: Any = None
    padding: str = "valid"
    pad_value: float = 0.0
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def whole(self, weight: NDArray[Any]) -> NDArray[Any]:
        """Write weights of the kernel's shape with zeros for what groups and dilation leave out."""
        return weight if weight.ndim == 2 else dilated(grouped(weight, self.groups), self.dilation)


def read(layer: Any, where: str) -> tuple[Linear, ...]:
    """Read a layer: one product, or two in a row for a separable convolution.

    Raises
    ------
    UserError
        If a quantizer of the layer cannot be evaluated; it starts with `where`.
    """
    names = [name for name in ("kernel", "depthwise_kernel", "pointwise_kernel") if hasattr(layer, name)]
    try:
        kernels = [_kernel(layer, name) for name in names]
        bias = _quantize(layer.bias, getattr(layer, "bias_quantizer_internal", None)) if layer.use_bias else None
        pad_value = float(np.asarray(getattr(layer, "pad_values", 0.0)))
    except Exception as error:  # whatever the framework raises
        raise UserError(f"{where}: its quantizers cannot be evaluated: {str(error).splitlines()[0]}") from None
    first, *rest = kernels
    quantizer = getattr(layer, "input_quantizer", None)
    if first.ndim == 2:
        return (Linear(first.T, bias, quantizer, layer.activation),)
    groups = getattr(layer, "groups", 1)
    if names[0] == "depthwise_kernel":
        height, width, groups, multiplier = first.shape
        first = first.reshape(height, width, 1, groups * multiplier)
    stride, dilation = ((1, *pair)[-2:] for pair in (layer.strides, layer.dilation_rate))
    convolution = {"padding": layer.padding, "pad_value": pad_value, "stride": stride, "dilation": dilation}
    outer = {"bias": bias, "activation": layer.activation}
    inner = outer if not rest else {}
    linears = [Linear(np.moveaxis(first, -1, 0), input_quantizer=quantizer, groups=groups, **convolution, **inner)]
    return (*linears, *(Linear(np.moveaxis(kernel, -1, 0), **outer) for kernel in rest))


def _kernel(layer: Any, name: str) -> NDArray[np.float32]:
    """Return a quantized kernel, that of one dimension as one of height 1."""
    variable = getattr(layer, name)
    if type(layer).__module__.startswith("larq."):
        import larq  # type: ignore[import-untyped]

        with larq.context.quantized_scope(True):
            kernel = np.asarray(variable.read_value())
    else:
        kernel = _quantize(variable, getattr(layer, f"{name.removesuffix('_kernel')}_quantizer_internal", None))
    return kernel[None] if kernel.ndim == 3 else kernel


def _quantize(variable: Any, quantizer: Callable[[Any], Any] | None) -> NDArray[np.float32]:
    value = variable.read_value()
    return np.asarray(value if quantizer is None else quantizer(value))


def factor(
    kernel: NDArray[np.float32], where: str, largest: int = 1
) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64]]:
    """Take a kernel apart into integers, a scale for each output, and what is left.

    Parameters
    ----------
    kernel : float32 array, outputs first
    where : str
    largest : int
        Of the integers' magnitudes: 1 for binary and ternary weights, up to 128.

    Returns
    -------
    weight : int8 array of the kernel's shape
    alpha : float64 array, shape (outputs,)
        Positive, 1 where all weights are zero. One for all outputs where that is possible with weights above 1.
    deviation : float64 array of the kernel's shape
        ``kernel - alpha * weight``: zero, or the last bits of a quantizer that computes ``x + (q - x)``.

    Raises
    ------
    UserError
        If an output has weights of other ratios, or not finite ones; it starts with `where`.
    """
    rows = kernel.reshape(len(kernel), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise UserError(f"{where}: expected finite weights, got NaN or infinity from its quantizer")
    alpha = np.ones(len(rows))
    for output, row in enumerate(np.abs(rows)):
        if row.any():
            found = _unit_of(row[row > 0], largest)
            if found is None:
                shown = ", ".join(f"{value:g}" for value in np.unique(rows[output])[:6])
                expected = "weights -a, 0 and +a with one a for each output"
                advice = "use a binary or ternary kernel quantizer (weights of more bits are not supported)"
                if largest > 1:
                    expected += f", or integers up to {largest} times that"
                    advice = "use a binary or ternary kernel quantizer, or one of at most 8 bits"
                raise UserError(f"{where}: expected {expected}, got {shown}, ... for output {output}; {advice}")
            alpha[output] = found
    weight = np.rint(rows / alpha[:, None])
    if np.abs(weight).max(initial=0) > 1:
        used = rows.any(axis=1)
        ratio = alpha[used] / alpha[used].min()
        if np.array_equal(ratio, np.rint(ratio)) and np.abs(weight[used] * ratio[:, None]).max() <= largest:
            alpha = np.full(len(rows), alpha[used].min())
            weight = np.rint(rows / alpha[:, None])
    if weight.max(initial=0) > 127:
        raise UserError(f"{where}: expected weights of 8 bits, -128 to 127 times their scale, got {weight.max():g}")
    deviation = rows - alpha[:, None] * weight
    return weight.astype(np.int8).reshape(kernel.shape), alpha, deviation.reshape(kernel.shape)


def _unit_of(magnitudes: NDArray[np.float64], largest: int) -> float | None:
    """Find what positive magnitudes are multiples of, by up to `largest`; None if of nothing."""
    for times in range(1, largest + 1):
        ratio = magnitudes / magnitudes.max() * times
        if (np.abs(ratio - np.rint(ratio)) <= _EQUAL * ratio).all():
            return float(np.quantile(magnitudes / np.rint(ratio), 0.5, method="lower"))
    return None
