"""Dense layers and convolutions of Keras, QKeras and Larq: what each multiplies by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.kernels import dilated, grouped


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
