"""Dense layers and convolutions of Keras, QKeras and Larq: what each multiplies by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError


@dataclass(frozen=True, eq=False)
class Linear:
    """What a layer computes in inference: ``activation(kernel * input_quantizer(x) + bias)``.

    Attributes
    ----------
    kernel : float32 array, shape (outputs, inputs) or (outputs, kernel_h, kernel_w, inputs / groups)
        As the framework quantizes it. One dimension is one of height 1.
    bias : float32 array, shape (outputs,), or None
        Likewise; None where it is 0.
    input_quantizer, activation : callable or None
        On TensorFlow tensors.
    padding : {"valid", "same", "causal"}
    pad_value : float
        Of all padding but 'valid'.
    stride, dilation : (int, int)
        Vertical and horizontal.
    groups : int
    transposed : bool
        Whether it convolves the other way; its kernel is then (inputs, kernel_h, kernel_w, outputs).
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
    transposed: bool = False


def read(layer: Any, where: str) -> tuple[Linear, ...]:
    """Read a layer: one product, or two in a row for a separable convolution.

    Raises
    ------
    UserError
        If a quantizer of the layer cannot be evaluated; it starts with `where`.
    """
    names = [name for name in ("kernel", "depthwise_kernel", "pointwise_kernel") if hasattr(layer, name)]
    try:
        if hasattr(layer, "get_folded_weights"):  # QKeras's, with a batch norm that is folded before it quantizes
            folded, bias = layer.get_folded_weights()
            kernels = [_quantized(layer, names[0], folded)]
            bias = _quantized(layer, "bias", bias)
        else:
            kernels = [_kernel(layer, name) for name in names]
            bias = _quantized(layer, "bias", layer.bias.read_value()) if layer.use_bias else None
        pad_value = float(np.asarray(getattr(layer, "pad_values", 0.0)))
    except Exception as error:  # whatever the framework raises
        raise UserError(f"{where}: its quantizers cannot be evaluated: {str(error).splitlines()[0]}") from None
    bias = None if bias is None or not bias.any() else bias
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
    transposed = "Transpose" in type(layer).__name__
    if transposed and layer.output_padding is not None:
        raise UserError(f"{where}: expected no output_padding, got {layer.output_padding}")
    outer = {"bias": bias, "activation": layer.activation}
    inner = (outer if not rest else {}) | {"transposed": transposed}
    linears = [Linear(np.moveaxis(first, -1, 0), input_quantizer=quantizer, groups=groups, **convolution, **inner)]
    return (*linears, *(Linear(np.moveaxis(kernel, -1, 0), **outer) for kernel in rest))


def _kernel(layer: Any, name: str) -> NDArray[np.float32]:
    """Return a quantized kernel, that of one dimension as one of height 1."""
    variable = getattr(layer, name)
    if type(layer).__module__.startswith("larq."):
        import larq

        with larq.context.quantized_scope(True):
            kernel = np.asarray(variable.read_value())
    else:
        kernel = _quantized(layer, name, variable.read_value())
    return kernel[None] if kernel.ndim == 3 else kernel


def _quantized(layer: Any, name: str, value: Any) -> NDArray[np.float32]:
    """Return what a weight is quantized to, if the layer is one of QKeras."""
    quantizer = getattr(layer, f"{name.removesuffix('_kernel')}_quantizer_internal", None)
    return np.asarray(value if quantizer is None else quantizer(value))
