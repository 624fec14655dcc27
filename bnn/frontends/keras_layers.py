"""Layers of Keras, QKeras and Larq, one by one: what each adds to a Network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import keras_file
from xnorflow.bnn.frontends.builder import Builder
from xnorflow.bnn.frontends.core.weights import factor
from xnorflow.bnn.frontends.keras_activation import Function, Step, name_of, recognise, run
from xnorflow.bnn.frontends.keras_file import check_finite
from xnorflow.bnn.frontends.keras_linear import Linear, read
from xnorflow.bnn.frontends.sums import Encoding, FloatArray, averaged, biased, multiplied, rearranged, sum_error
from xnorflow.bnn.network import (
    Conv2d,
    Dense,
    Flatten,
    Input,
    IntArray,
    MaxPool2d,
    MultiThreshold,
    Operation,
    SumPool2d,
    Threshold,
)

_LARGEST_WEIGHT = 128  # of 8 bits
_NO_PADDING = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Observed:
    """Where the framework computes an operation's result.

    Attributes
    ----------
    tensor : KerasTensor
        Of the model's graph; ``tf_keras.Model(model.inputs, tensor)`` computes it.
    quantizer : callable or None
        Larq's input quantizer, to be applied to it.
    scale, shift : float64 array, shape (channels,)
        The framework's value of the integer n is ``scale * n + shift``, but for its rounding.
    """

    tensor: Any
    quantizer: Function | None
    scale: FloatArray
    shift: FloatArray


@dataclass(frozen=True, eq=False)
class Value:
    """What is known of a tensor: the operation it is made from, what its integers stand for, and what waits.

    Attributes
    ----------
    source : str
        The operation.
    axes : int
        Of the framework's tensor of its result, without the batch.
    encoding : Encoding
    steps : tuple of Step
        That wait for an activation.
    delayed : tuple of callable
        Pools and flattens that wait for it, too.
    padding : (top, bottom, left, right)
        Of a ZeroPadding that waits for its convolution.
    pad_real : float
        The value of that padding.
    hidden : float
        Largest magnitude of x in sums ``x + (q - x)`` that it consists of.
    softmax : str
        Where there was one, which has to be at the end.
    """

    source: str
    axes: int
    encoding: Encoding
    steps: tuple[Step, ...] = ()
    delayed: tuple[Callable[[str], Operation], ...] = ()
    padding: tuple[int, int, int, int] = _NO_PADDING
    pad_real: float = 0.0
    hidden: float = 0.0
    softmax: str = ""


class Layers(Builder):
    """A Network in the making, to which layers are added.

    Attributes
    ----------
    notes, ambiguous, observed
        As :class:`xnorflow.bnn.frontends.keras.Conversion` has them.
    """

    def __init__(self, name: str, input: Input) -> None:
        self.keras = keras_file.import_keras()
        self.name = name
        super().__init__(f"model {name!r}")
        self.append(input)
        self.notes: list[str] = []
        self.ambiguous: dict[str, int] = {}
        self.observed: dict[str, Observed] = {}

    def at(self, layer: Any) -> str:
        """Name a layer for error messages."""
        return f"model {self.name!r}, layer {layer.name!r} ({type(layer).__name__})"

    def is_softmax(self, function: Any) -> bool:
        softmaxes = (self.keras.activations.softmax, getattr(self.keras.activations, "log_softmax", None))
        return function is not None and function in softmaxes

    def _observe(self, value: Value, tensor: Any, quantizer: Function | None = None) -> None:
        self.observed[value.source] = Observed(tensor, quantizer, value.encoding.scale, value.encoding.shift)

    # Layers

    def convert(self, layer: Any, node: Any, operands: list[Value]) -> Value:
        """Add a layer.

        Parameters
        ----------
        layer : tf_keras.layers.Layer
        node : of the layer's call
        operands : list of Value
            What is known of its operands.

        Returns
        -------
        Value
            What is known of its result.

        Raises
        ------
        UserError, NetworkError
            If that is not possible; a UserError says where.
        """
        kind = type(layer).__name__
        if layer.compute_dtype != "float32":
            raise self.fail("float32", layer.compute_dtype)
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise self.fail("data_format 'channels_last'", repr(layer.data_format))
        check_finite(self.where, layer)
        if kind == "InputLayer":
            return self._input(layer)
        value = operands[0]
        ended = next((operand.softmax for operand in operands if operand.softmax), "")
        if ended and kind not in keras_file.NO_EFFECT:
            raise UserError(f"{ended}: expected a softmax only at the end of the model")
        if kind in keras_file.NO_EFFECT:
            return value
        if kind in keras_file.LINEAR:
            return self._linear(layer, node, value)
        if kind in keras_file.NORMALISATION:
            return self._batch_norm(layer, value)
        if kind in keras_file.PADDING:
            return self._zero_padding(layer, value)
        if kind == "Softmax":
            if layer.axis not in (-1, len(node.outputs.shape) - 1):
                raise self.fail("axis -1, the scores", layer.axis)
            return self._softmax(value)
        if kind in keras_file.LARQ_QUANTIZERS:
            return self._activation(layer, value, node.outputs)
        if kind in ("QActivation", "Activation"):
            return self._activation(layer.quantizer if kind == "QActivation" else layer.activation, value, node.outputs)
        if any(any(operand.padding) for operand in operands):
            raise self.fail("a convolution after ZeroPadding2D", {"Flatten": kind, "Add": "a sum"}.get(kind, "pooling"))
        if kind == "Add":
            return self._add_branches(operands, node.outputs)
        if kind in keras_file.MAXIMA:
            return self._max_pool(layer, value)
        if kind in keras_file.AVERAGES:
            return self._average_pool(layer, value, node.outputs)
        return self._flatten(value)

    def _input(self, layer: Any) -> Value:
        (shape,) = [layer.output_shape] if isinstance(layer.output_shape, tuple) else layer.output_shape
        taken = self.input
        if tuple(shape[1:]) != taken.shape and (len(shape) != 3 or (1, *shape[1:]) != taken.shape):
            raise self.fail(f"an input of shape {taken.shape}, as the Input says", tuple(shape[1:]))
        encoding = Encoding.common(taken.shape[-1], 2.0**-taken.fraction, 0.0)
        return Value(taken.name, len(shape) - 1, encoding)

    def _linear(self, layer: Any, node: Any, value: Value) -> Value:
        linears = read(layer, self.where)
        if linears[0].input_quantizer is not None:
            value = self._activation(
                linears[0].input_quantizer, value, node.keras_inputs[0], linears[0].input_quantizer
            )  # fmt: skip
        for linear in linears:
            value = self._product(linear, value)
        last = linears[-1]
        if last.bias is not None and last.bias.any():
            value = replace(value, steps=(self._bias_step(last.bias),))
        elif last.activation in (None, self.keras.activations.linear):
            self._observe(value, node.outputs)
        return self._activation(last.activation, value, node.outputs)

    def _bias_step(self, bias: NDArray[np.float32]) -> Step:
        wide = bias.astype(np.float64)
        return Step(self.where, lambda x: x + bias, lambda x: x + wide, bias=wide)

    def _product(self, linear: Linear, value: Value) -> Value:
        """Append the dense layer or convolution itself."""
        value = self._sums(value)
        source, encoding = self.even(value.source, value.encoding)
        value, operand = replace(value, source=source, encoding=encoding), self.signals[source]
        encoding = encoding.settled(operand)
        if not encoding.is_common:
            raise self.fail("a sign between two layers of weights", f"the scaled sums of {value.source!r}")
        weight, alpha, deviation = factor(linear.kernel, self.where, _LARGEST_WEIGHT)
        # TensorFlow may compute x + (q - x) as (x - x) + q, and then other weights of the channel are off.
        off = 2 * np.abs(deviation).max(axis=tuple(range(1, deviation.ndim)), keepdims=True)
        weight, deviation = linear.whole(weight), linear.whole(np.broadcast_to(off, weight.shape))
        magnitude = np.maximum(*(np.abs(encoding.scale * end + encoding.shift) for end in (operand.low, operand.high)))
        if weight.ndim == 2:
            if any(value.padding):
                raise self.fail("a convolution after ZeroPadding2D", "a dense layer")
            self.weighted(weight, lambda plane: Dense(self.new_name("dense"), (value.source,), weight=plane))
        else:
            padding, pad_real = self._padding(linear, weight.shape[1:3], value)
            pad_value = self._pad_value(pad_real, value) if any(padding) else 0
            self.weighted(
                weight,
                lambda plane: Conv2d(
                    self.new_name("conv"),
                    (value.source,),
                    weight=plane,
                    stride=linear.stride,
                    padding=padding,
                    pad_value=pad_value,
                ),
            )
            magnitude = np.tile(np.maximum(magnitude, abs(pad_real) if any(padding) else 0), weight[0, :, :, 0].size)
        rows = weight.reshape(len(weight), -1)
        encoding = sum_error(rows, alpha, deviation.reshape(rows.shape), encoding, magnitude)
        return Value(self.last.name, value.axes, encoding)

    def _padding(
        self, linear: Linear, kernel: tuple[int, ...], value: Value
    ) -> tuple[tuple[int, int, int, int], float]:
        """Combine a ZeroPadding before the convolution with its own; return the value, too."""
        top, bottom, left, right = value.padding
        values = {value.pad_real} if any(value.padding) else set()
        shape = self.signals[value.source].shape
        own = [(0, 0), (0, 0)]
        if linear.padding == "same" and len(shape) == 3:
            own = []
            for size, extra, taps, stride in zip(shape, (top + bottom, left + right), kernel, linear.stride):
                total = max((-(-(size + extra) // stride) - 1) * stride + taps - size - extra, 0)
                own.append((total // 2, total - total // 2))
        elif linear.padding == "causal":
            own[1] = (kernel[1] - 1, 0)
        elif linear.padding not in ("same", "valid"):
            raise self.fail("padding 'same', 'valid' or 'causal'", repr(linear.padding))
        if np.any(own):
            values.add(linear.pad_value)
        if len(values) > 1:
            raise self.fail("one value for all padding", sorted(values))
        padding = (top + own[0][0], bottom + own[0][1], left + own[1][0], right + own[1][1])
        return padding, values.pop() if values else 0.0

    def _pad_value(self, real: float, value: Value) -> Literal[-1, 0, 1]:
        """Find the integer that stands for the padding."""
        scale, shift = float(value.encoding.scale[0]), float(value.encoding.shift[0])
        integer, bipolar = (real - shift) / scale, self.signals[value.source].bipolar
        if integer not in (-1, 0, 1) or (integer and not bipolar):
            gives = " and ".join(f"{level:g}" for level in (shift - scale, shift + scale)) if bipolar else "others"
            raise self.fail(
                "padding with 0 or one of the two values of the activation before it",
                f"{real:g} where the activation gives {gives}",
            )
        return int(integer)  # type: ignore[return-value]

    def _batch_norm(self, layer: Any, value: Value) -> Value:
        if value.delayed or any(value.padding):
            raise self.fail(
                "a sign between the pooling, flattening or padding before it and this batch norm",
                "none; put the batch norm before them, or the pooling right behind the convolution",
            )
        if list(layer.axis) != [value.axes]:
            raise self.fail(f"axis {value.axes}, the channels", list(layer.axis))
        parameters = {
            what: _quantized(layer, what, variable)
            for what, variable in (
                ("gamma", layer.gamma),
                ("beta", layer.beta),
                ("mean", layer.moving_mean),
                ("variance", layer.moving_variance),
            )
        }

        def real(x: FloatArray) -> FloatArray:
            slope = parameters["gamma"] / np.sqrt(parameters["variance"] + layer.epsilon)
            return (x - parameters["mean"]) * slope + parameters["beta"]

        return replace(value, steps=(*value.steps, Step(self.where, lambda x: layer(x, training=False), real)))

    def _zero_padding(self, layer: Any, value: Value) -> Value:
        if any(value.padding):
            raise self.fail("one ZeroPadding2D before a convolution", "two")
        (top, bottom), (left, right) = ((0, 0), layer.padding) if value.axes == 2 else layer.padding
        return replace(value, padding=(top, bottom, left, right), pad_real=0.0)

    def _softmax(self, value: Value) -> Value:
        self.notes.append(f"{self.where}: the softmax is left out; it does not change the order of the scores")
        return replace(value, softmax=self.where)

    # Pools, views and sums

    def _window(self, layer: Any, value: Value) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return size and stride of a pool, that of the whole image for a global one."""
        shape = self.signals[value.source].shape[:2]
        if not hasattr(layer, "pool_size"):
            return shape, shape  # type: ignore[return-value]
        size, stride = ((1, *np.atleast_1d(pair).tolist())[-2:] for pair in (layer.pool_size, layer.strides))
        if layer.padding == "same" and any(
            (-(-length // step) - 1) * step + window > length for length, window, step in zip(shape, size, stride)
        ):
            raise self.fail("padding 'valid', or 'same' that adds nothing", f"'same' on {shape}")
        return size, stride

    def _max_pool(self, layer: Any, value: Value) -> Value:
        size, stride = self._window(layer, value)
        value = self._in_place(
            value, lambda source: MaxPool2d(self.new_name("pool"), (source,), size=size, stride=stride)
        )
        return value if hasattr(layer, "pool_size") or layer.keepdims else self._flatten(value)

    def _flatten(self, value: Value) -> Value:
        if value.axes == 1:
            return value
        value = self._in_place(value, lambda source: Flatten(self.new_name("flatten"), (source,)), moves_channels=True)
        return value if value.delayed else replace(value, axes=1)

    def _in_place(self, value: Value, make: Callable[[str], Operation], moves_channels: bool = False) -> Value:
        """Add an operation that commutes with every rising function, behind the activation where steps wait for one.

        A maximum does not commute with a batch norm of negative scale, but it does with the batch norm and its
        activation taken together if it comes between the two: the activation itself is rising.
        """
        if value.delayed or any(step.bias is None for step in value.steps) or (value.steps and moves_channels):
            return replace(value, delayed=(*value.delayed, make))
        channels = self.signals[value.source].channels
        self.append(make(value.source))
        return replace(value, source=self.last.name, encoding=value.encoding.tile(self.signal.channels // channels))

    def _average_pool(self, layer: Any, value: Value, tensor: Any) -> Value:
        value = self._sums(value)
        size, stride = self._window(layer, value)
        terms = size[0] * size[1]
        encoding = averaged(value.encoding, self.signals[value.source], terms)
        self.append(SumPool2d(self.new_name("pool"), (value.source,), size=size, stride=stride))
        if getattr(layer, "average_quantizer", None):  # QKeras multiplies the mean by the area and a rounded 1 / area
            reciprocal = float(np.asarray(layer.average_quantizer_internal(1.0 / terms)))
            if not reciprocal > 0:
                raise self.fail("an average_quantizer that gives a positive 1 / area", reciprocal)
            for by in (float(terms), reciprocal):
                encoding = multiplied(encoding, self.signal, by)
        value = replace(value, source=self.last.name, encoding=encoding)
        if not hasattr(layer, "pool_size") and not layer.keepdims:
            value = self._flatten(value)
        activation = getattr(layer, "activation", None)
        if activation is None:
            self._observe(value, tensor)
        return self._activation(activation, value, tensor)

    def _add_branches(self, operands: list[Value], tensor: Any) -> Value:
        total, *rest = [self._sums(value) for value in operands]
        for value in rest:
            encoding = self.add((total.source, value.source), (total.encoding, value.encoding))
            total = replace(total, source=self.last.name, encoding=encoding, hidden=total.hidden + value.hidden)
        encoding = rearranged(total.encoding, self.signal, total.hidden, len(operands))
        total = replace(total, encoding=encoding)
        self._observe(total, tensor)
        return total

    def _sums(self, value: Value) -> Value:
        """Return a value whose integers stand for what the tensor holds: with its biases, and nothing that waits."""
        encoding = value.encoding
        for step in value.steps:
            if step.bias is None:
                raise UserError(
                    f"{step.where}: expected a sign after it (before {self.where.partition(', ')[2]}), or the end of "
                    "the model; values that are neither bipolar nor integer have no place in a binary network (a "
                    "batch norm belongs behind the sum of branches, or behind the average)"
                )
            encoding = biased(encoding, self.signals[value.source], step.bias)
        if value.delayed:
            raise self.fail("a sign before it", "a pool or Flatten that waits for one")
        return replace(value, encoding=encoding, steps=())

    # Activations

    def _activation(self, function: Any, value: Value, tensor: Any, input_quantizer: Function | None = None) -> Value:
        """Take an activation: nothing, a softmax, or one of 2 to 16 values.

        `tensor` (and `input_quantizer` on it) is its result.
        """
        if function is None or function is self.keras.activations.linear:
            return value
        if self.is_softmax(function):
            return self._softmax(value)
        found = recognise(function, self.where)
        operand = self.signals[value.source]
        thresholds = isinstance(self._operation(value.source), Threshold | MultiThreshold)
        if not value.steps and not value.delayed and self._changes_nothing(function, value):
            if not operand.bipolar and not thresholds:
                self.notes.append(
                    f"{self.where}: {name_of(function)} is left out; it changes no value that it can get here"
                )
        elif found is None:
            probe = np.array([-2.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2.5], np.float32)[:, None]
            shown = ", ".join(f"{result:g}" for result in np.unique(np.asarray(function(probe))))
            raise self.fail(
                "an activation with 2 to 16 values, evenly spaced, such as a sign or a quantizer of 1 to 4 bits",
                f"{name_of(function)}, which gives {shown} for values of -2.5 to 2.5",
            )
        else:

            def before(accumulators: IntArray, end: Literal[-1, 0, 1]) -> NDArray[np.float32]:
                return run(value.steps, value.encoding.values(accumulators, end), value.axes)

            name = self.new_name("threshold")
            folded, encoding, ambiguous, hidden = found.fold(
                name, value.source, before, value.encoding, operand, self.where
            )
            if ambiguous:
                self.ambiguous[name] = ambiguous
            self.append(folded)
            delayed = value.delayed
            value = replace(value, source=name, encoding=encoding, steps=(), delayed=(), hidden=hidden)
            for make in delayed:
                value = self._in_place(value, make)
            value = replace(value, axes=min(value.axes, len(self.signal.shape)))
        if any(value.padding):
            real = np.full((1, 1), value.pad_real, np.float32)
            return replace(value, pad_real=float(np.asarray(function(real))[0, 0]))
        if isinstance(self._operation(value.source), Threshold | MultiThreshold) or self.signals[value.source].bipolar:
            self._observe(value, tensor, input_quantizer)
        return value

    def _operation(self, name: str) -> Operation:
        return next(operation for operation in self.operations if operation.name == name)

    def _changes_nothing(self, function: Any, value: Value) -> bool:
        """Whether an activation maps every value that the operation can give to itself."""
        encoding, operand = value.encoding, self.signals[value.source]
        if not (encoding.exact and encoding.is_common):
            return False
        channel = int(np.argmax(operand.high - operand.low))
        integers = np.arange(int(operand.low.min()), int(operand.high.max()) + 1, operand.step)
        values = (encoding.scale[channel] * integers + encoding.shift[channel]).astype(np.float32)[:, None]
        return np.array_equal(np.asarray(function(values)), values)


def _quantized(layer: Any, what: str, variable: Any) -> FloatArray:
    """Give a parameter of batch norm as the layer uses it: 1 and 0 where it has none, quantized where QKeras does."""
    if variable is None:
        return np.asarray(1.0 if what == "gamma" else 0.0)
    quantizer = getattr(layer, f"{what}_quantizer_internal", None)
    return np.asarray(variable if quantizer is None else quantizer(variable)).astype(np.float64)
