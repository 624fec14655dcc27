"""Dense layers and convolutions of Keras, QKeras and Larq: what each multiplies by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnn.errors import UserError

_EQUAL = 2.0**-16  # weights of a channel that differ by less than this part are one magnitude, rounded differently


@dataclass(frozen=True, eq=False)
class Linear:
    """What a layer computes in inference: ``activation(kernel * input_quantizer(x) + bias)``.

    Attributes
    ----------
    kernel : float32 array, shape (outputs, inputs) or (outputs, kernel_h, kernel_w, inputs)
        As the framework quantizes it.
    bias : float32 array, shape (outputs,), or None
        Likewise.
    input_quantizer, activation : callable or None
        On TensorFlow tensors.
    pad_value : float
        Of padding 'same'.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    input_quantizer: Callable[[Any], Any] | None
    activation: Any
    pad_value: float


def read(layer: Any, where: str) -> Linear:
    """Read a Dense or Conv2D of Keras, a QDense or QConv2D of QKeras, a QuantDense or QuantConv2D of Larq.

    Raises
    ------
    UserError
        If a quantizer of the layer cannot be evaluated; it starts with `where`.
    """
    try:
        if type(layer).__module__.startswith("larq."):
            import larq  # type: ignore[import-untyped]

            with larq.context.quantized_scope(True):
                kernel = np.asarray(layer.kernel.read_value())
        else:
            kernel = _quantize(layer.kernel, getattr(layer, "kernel_quantizer_internal", None))
        bias = _quantize(layer.bias, getattr(layer, "bias_quantizer_internal", None)) if layer.use_bias else None
        pad_value = float(np.asarray(getattr(layer, "pad_values", 0.0)))
    except Exception as error:  # whatever the framework raises
        raise UserError(f"{where}: its quantizers cannot be evaluated: {str(error).splitlines()[0]}") from None
    return Linear(
        np.moveaxis(kernel, -1, 0),  # Keras has the outputs last
        bias,
        getattr(layer, "input_quantizer", None),
        layer.activation,
        pad_value,
    )


def _quantize(variable: Any, quantizer: Callable[[Any], Any] | None) -> NDArray[np.float32]:
    value = variable.read_value()
    return np.asarray(value if quantizer is None else quantizer(value))


def factor(
    kernel: NDArray[np.float32], where: str
) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64]]:
    """Take a kernel apart into signs, a scale for each output, and what is left.

    Returns
    -------
    weight : int8 array of the kernel's shape, values -1, 0, +1
    alpha : float64 array, shape (outputs,)
        Positive, 1 where all weights are zero.
    deviation : float64 array of the kernel's shape
        ``kernel - alpha * weight``: zero, or the last bits of a quantizer that computes ``x + (q - x)``.

    Raises
    ------
    UserError
        If an output has weights of several magnitudes, or not finite ones; it starts with `where`.
    """
    rows = kernel.reshape(len(kernel), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise UserError(f"{where}: expected finite weights, got NaN or infinity from its quantizer")
    magnitudes = np.abs(rows)
    weight = np.sign(rows).astype(np.int8)
    alpha = np.ones(len(rows))
    for output, row in enumerate(magnitudes):
        present = row[row > 0]
        if present.size == 0:
            continue
        lowest, alpha[output], highest = np.quantile(present, (0, 0.5, 1), method="lower")
        if highest - lowest > _EQUAL * highest:
            raise UserError(
                f"{where}: expected weights -a, 0 and +a with one a for each output, got "
                f"{', '.join(f'{value:g}' for value in np.unique(rows[output])[:6])}, ... for output {output}; use a "
                "binary or ternary kernel quantizer (weights of more bits are not supported)"
            )
    deviation = rows - alpha[:, None] * weight
    return weight.reshape(kernel.shape), alpha, deviation.reshape(kernel.shape)
