"""Keras 2, QKeras and Larq: a chain of layers becomes a Network.

Kernels are quantized by the framework itself and taken apart into ``alpha * w`` with w in {-1, 0, +1} and one alpha per
channel. Activations are recognised by behaviour: an element-wise function that gives exactly two values is a sign,
whatever it is called and whatever it gives at zero. Biases, batch norm and sign are evaluated by TensorFlow, in its
float32, on every value that the accumulator can take (:mod:`bnn.folding`).

What the framework adds up
--------------------------
Our accumulators are integers; the framework's are float32 sums of ``kernel * value``. Where all terms are multiples of
one power of two and the sum of their magnitudes stays below 2**24 of it, every partial sum is exact, in any order:
then the float is ``alpha`` times the integer, and folding is exact. Otherwise (alpha that is not a power of two, such
as XNOR-Net's mean of magnitudes; QKeras' ``x + (q - x)``, which in float32 is not quite q) the float lies within a
bound of it that holds for any order of summation, see :func:`sum_error`. All steps up to the sign are monotonic in
float32 too, so the fold is proved wherever both ends of the interval give the same sign; the accumulators for which
they do not are counted in :attr:`Conversion.undecided`, and there the fold says what the exact sum would give.

A bias is added to the finished sum, as TensorFlow's kernels for the CPU do (measured, not promised by TensorFlow).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bnn.errors import NetworkError, UserError
from bnn.folding import fold_affine, fold_threshold
from bnn.frontends import keras_file
from bnn.frontends.builder import Builder
from bnn.frontends.keras_file import check_finite, unsupported
from bnn.frontends.keras_linear import Linear, factor, read
from bnn.frontends.sums import UNIT, Encoding, FloatArray, count, sum_error
from bnn.network import (
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    IntArray,
    MaxPool2d,
    Network,
    Operation,
    Threshold,
)

#: An element-wise function on TensorFlow tensors, float32 to float32.
Function = Callable[[Any], Any]

_NOISE = 2.0**-10  # how far from its two values a sign's result may lie, relative to their distance


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
class Conversion:
    """A converted model.

    Attributes
    ----------
    network : Network
    notes : tuple of str
        What was left out, a sentence each: a softmax at the end, an activation that changes nothing.
    undecided : mapping of str to int
        For thresholds whose equality with the framework is not proved: the number of (channel, accumulator) pairs for
        which the sign depends on how the framework rounds its sums. Absent where proved.
    observed : mapping of str to Observed
        For the sums of layers without bias, and for bipolar results, that the framework computes as such.
    """

    network: Network
    notes: tuple[str, ...]
    undecided: Mapping[str, int]
    observed: Mapping[str, Observed]


def convert(model: Any, name: str, input: Input) -> Network:
    """Convert a trained model to a Network.

    Parameters
    ----------
    model : tf_keras.Model
        Sequential or functional, a plain chain of layers; see :data:`bnn.frontends.keras_file.SUPPORTED`. It is not
        changed, and is taken in inference.
    name : str
        Name of the Network.
    input : Input
        What the model takes; the model itself takes float32 (N, *shape) of the values ``integer / 2**fraction``.

    Returns
    -------
    Network
        Equal to ``model.predict``, except for what :attr:`Conversion.undecided` of :func:`trace` counts. Trailing
        scales, biases and batch norm become an Affine, whose argmax is proved or not as
        :class:`~bnn.network.Affine` says. A vector of scores is followed by an Argmax.

    Raises
    ------
    UserError
        For anything that cannot be converted; the message names the layer, what it is and what is supported.
    """
    return trace(model, name, input).network


def trace(model: Any, name: str, input: Input) -> Conversion:
    """Convert as :func:`convert` does, and say what it takes to judge and to compare the Network."""
    return _Converter(model, name, input).conversion


@dataclass(frozen=True, eq=False)
class _Step:
    """A floating-point step between an accumulator and its sign, channel by channel and monotonic."""

    where: str
    apply: Function
    real: Callable[[FloatArray], FloatArray]  # its meaning in real numbers
    rising: bool  # surely non-decreasing in every channel


class _Converter(Builder):
    """Walks the layers, keeping the last operation, what its integers stand for, and the steps that wait for a sign."""

    def __init__(self, model: Any, name: str, input: Input) -> None:
        self.keras = keras_file.import_keras()
        self.name = name
        super().__init__(f"model {name!r}")
        self.append(input)
        self.encoding = Encoding.common(input.shape[-1], 2.0**-input.fraction, 0.0)
        self.pending: list[_Step] = []
        self.delayed: list[Callable[[], Operation]] = []  # pools and flattens that wait for the sign before them
        self.padding: tuple[int, int, int, int] | None = None  # of a ZeroPadding2D that waits for its convolution
        self.pad_real = 0.0
        self.softmax = ""
        self.notes: list[str] = []
        self.undecided: dict[str, int] = {}
        self.observed: dict[str, Observed] = {}
        for layer, node in self._chain(model):
            self.where = f"model {name!r}, layer {layer.name!r} ({type(layer).__name__})"
            try:
                self._convert(layer, node)
            except NetworkError as error:
                raise UserError(f"{self.where}: {error}") from None
        self._finish()
        self.conversion = Conversion(self.network(name), tuple(self.notes), self.undecided, self.observed)

    # The graph

    def _chain(self, model: Any) -> list[tuple[Any, Any]]:
        """List the layers and their nodes from input to output."""
        if not isinstance(model, self.keras.Model):
            raise self.fail("a tf_keras.Model", type(model).__name__)
        if not getattr(model, "_is_graph_network", False):
            raise self.fail(
                "a Sequential model with an input shape, or a functional one",
                f"{type(model).__name__} without a graph of layers",
            )
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise self.fail("one input and one output", f"{len(model.inputs)} and {len(model.outputs)}")
        chain: list[tuple[Any, Any]] = []
        tensor = model.outputs[0]
        while True:
            layer, node_index, _ = tensor._keras_history
            node = layer._inbound_nodes[node_index]
            chain.append((layer, node))
            if isinstance(layer, self.keras.layers.InputLayer):
                break
            kind = type(layer).__name__
            where = f"model {self.name!r}, layer {layer.name!r} ({kind})"
            if kind not in keras_file.LAYERS:
                raise UserError(f"{where}: {unsupported(kind)}")
            if len(node.keras_inputs) != 1:
                raise UserError(f"{where}: expected one operand, got {len(node.keras_inputs)}")
            tensor = node.keras_inputs[0]
        return chain[::-1]

    def _observe(self, tensor: Any, quantizer: Function | None = None) -> None:
        self.observed[self.last.name] = Observed(tensor, quantizer, self.encoding.scale, self.encoding.shift)

    # Layers

    def _convert(self, layer: Any, node: Any) -> None:
        kind = type(layer).__name__
        if self.softmax and kind not in keras_file.NO_EFFECT:
            raise UserError(f"{self.softmax}: expected a softmax only at the end of the model")
        if layer.compute_dtype != "float32":
            raise self.fail("float32", layer.compute_dtype)
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise self.fail("data_format 'channels_last'", repr(layer.data_format))
        check_finite(self.where, layer)
        if kind == "InputLayer":
            (shape,) = [layer.output_shape] if isinstance(layer.output_shape, tuple) else layer.output_shape
            if tuple(shape[1:]) != self.signal.shape:
                raise self.fail(f"an input of shape {self.signal.shape}, as the Input says", tuple(shape[1:]))
        elif kind in keras_file.NO_EFFECT:
            pass
        elif kind in keras_file.LINEAR:
            self._linear(layer, node)
        elif kind in keras_file.NORMALISATION:
            self._batch_norm(layer)
        elif kind == "MaxPooling2D":
            self._max_pool(layer)
        elif kind == "Flatten":
            self._flatten()
        elif kind == "ZeroPadding2D":
            self._zero_padding(layer)
        elif kind == "Softmax":
            if layer.axis not in (-1, len(self.signal.shape)):
                raise self.fail("axis -1, the scores", layer.axis)
            self._softmax()
        elif kind in keras_file.LARQ_QUANTIZERS:
            self._activation(layer, node.outputs, None)
        elif kind == "QActivation":
            self._activation(layer.quantizer, node.outputs, None)
        else:
            self._activation(layer.activation, node.outputs, None)

    def _linear(self, layer: Any, node: Any) -> None:
        linear = read(layer, self.where)
        if linear.input_quantizer is not None:
            self._activation(linear.input_quantizer, node.keras_inputs[0], linear.input_quantizer)
        self._nothing_pending()
        if self.encoding.relative.any() or not self.encoding.is_common:
            raise self.fail("a sign between two layers of weights", f"the scaled sums of {self.last.name!r}")
        weight, alpha, deviation = factor(linear.kernel, self.where)
        source, operand, encoding = (self.last.name,), self.signal, self.encoding
        magnitude = np.maximum(
            np.abs(encoding.scale * operand.low + encoding.shift),
            np.abs(encoding.scale * operand.high + encoding.shift),
        )
        operation: Operation
        if weight.ndim == 2:
            if self.padding is not None:
                raise self.fail("a convolution after ZeroPadding2D", "a dense layer")
            operation = Dense(self.new_name("dense"), source, weight=weight)
        else:
            padding, pad_value = self._padding(layer, linear, weight)
            operation = Conv2d(
                self.new_name("conv"),
                source,
                weight=weight,
                stride=tuple(layer.strides),
                padding=padding,
                pad_value=pad_value,
            )
            magnitude = np.tile(
                np.maximum(magnitude, abs(self.pad_real) if any(padding) else 0), weight[0, :, :, 0].size
            )
        self.append(operation)
        self.padding = None
        self.encoding = sum_error(
            weight.reshape(len(weight), -1), alpha, deviation.reshape(len(weight), -1), encoding, magnitude
        )
        if linear.bias is not None and linear.bias.any():
            bias = linear.bias
            self.pending.append(
                _Step(self.where, lambda x: x + bias, lambda x: x + bias.astype(np.float64), rising=True)
            )
        elif linear.activation in (None, self.keras.activations.linear):
            self._observe(node.outputs)
        self._activation(linear.activation, node.outputs, None)

    def _padding(
        self, layer: Any, linear: Linear, weight: NDArray[np.int8]
    ) -> tuple[tuple[int, int, int, int], Literal[-1, 0, 1]]:
        """Combine a ZeroPadding2D before the convolution with its own; find the integer that stands for the padding."""
        if tuple(layer.dilation_rate) != (1, 1) or layer.groups != 1:
            raise self.fail("dilation 1 and groups 1", f"dilation {layer.dilation_rate}, groups {layer.groups}")
        top, bottom, left, right = self.padding or (0, 0, 0, 0)
        values = {self.pad_real} if any((top, bottom, left, right)) else set()
        if layer.padding == "same" and len(self.signal.shape) == 3:
            own = []
            for size, extra, kernel, stride in zip(
                self.signal.shape, (top + bottom, left + right), weight.shape[1:3], layer.strides
            ):
                total = max((-(-(size + extra) // stride) - 1) * stride + kernel - size - extra, 0)
                own.append((total // 2, total - total // 2))
            if np.any(own):
                values.add(linear.pad_value)
            (top, bottom, left, right) = (top + own[0][0], bottom + own[0][1], left + own[1][0], right + own[1][1])
        elif layer.padding not in ("same", "valid"):
            raise self.fail("padding 'same' or 'valid'", repr(layer.padding))
        if len(values) > 1:
            raise self.fail("one value for all padding", sorted(values))
        self.pad_real = value = values.pop() if values else 0.0
        integer = (value - float(self.encoding.shift[0])) / float(self.encoding.scale[0])
        if not any((top, bottom, left, right)):
            return (0, 0, 0, 0), 0
        if integer not in (-1, 0, 1) or (integer and not self.signal.bipolar):
            raise self.fail(
                "padding with 0 or one of the two values of the activation before it",
                f"{value:g} where the activation gives "
                + " and ".join(f"{v:g}" for v in sorted(self.encoding.values(np.array([[-1], [1]]), 0)[:, 0])),
            )
        return (top, bottom, left, right), int(integer)  # type: ignore[return-value]

    def _batch_norm(self, layer: Any) -> None:
        if self.delayed or self.padding is not None:
            raise self.fail(
                "a sign between the pooling, flattening or padding before it and this batch norm",
                "none; put the batch norm before them, or the pooling right behind the convolution",
            )
        if list(layer.axis) != [len(self.signal.shape)]:
            raise self.fail(f"axis {len(self.signal.shape)}, the channels", list(layer.axis))
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

        self.pending.append(_Step(self.where, lambda x: layer(x, training=False), real, rising=False))

    def _max_pool(self, layer: Any) -> None:
        if self.padding is not None:
            raise self.fail("a convolution after ZeroPadding2D", "pooling")
        size, stride = tuple(layer.pool_size), tuple(layer.strides)
        if layer.padding == "same" and any(
            (-(-length // step) - 1) * step + window > length
            for length, window, step in zip(self.signal.shape, size, stride)
        ):
            raise self.fail("padding 'valid', or 'same' that adds nothing", f"'same' on {self.signal.shape}")
        self._in_place(lambda: MaxPool2d(self.new_name("pool"), (self.last.name,), size=size, stride=stride))

    def _flatten(self) -> None:
        if self.padding is not None:
            raise self.fail("a convolution after ZeroPadding2D", "Flatten")
        if len(self.signal.shape) > 1:
            self._in_place(lambda: Flatten(self.new_name("flatten"), (self.last.name,)), moves_channels=True)

    def _in_place(self, make: Callable[[], Operation], moves_channels: bool = False) -> None:
        """Add an operation that commutes with every rising function, behind the sign where steps wait for one.

        A maximum does not commute with a batch norm of negative scale, but it does with the batch norm and its sign
        taken together if it comes between the two: the sign itself is rising.
        """
        if self.delayed or not all(step.rising for step in self.pending) or (self.pending and moves_channels):
            self.delayed.append(make)
            return
        channels = self.signal.channels
        self.append(make())
        self.encoding = self.encoding.tile(self.signal.channels // channels)

    def _zero_padding(self, layer: Any) -> None:
        if self.padding is not None:
            raise self.fail("one ZeroPadding2D before a convolution", "two")
        (top, bottom), (left, right) = layer.padding
        self.padding, self.pad_real = (top, bottom, left, right), 0.0

    def _softmax(self) -> None:
        self.softmax = self.where
        self.notes.append(f"{self.where}: the softmax is left out; it does not change the order of the scores")

    # Activations

    def _nothing_pending(self) -> None:
        if self.pending or self.delayed:
            where = self.pending[0].where if self.pending else self.where
            raise UserError(
                f"{where}: expected a sign after it (before {self.where.partition(', ')[2]}), or the end of the model; "
                "values that are neither bipolar nor integer have no place in a binary network"
            )

    def _activation(self, function: Any, tensor: Any, input_quantizer: Function | None) -> None:
        """Take an activation: nothing, a softmax, or a sign. `tensor` (and `input_quantizer` on it) is its result."""
        keras = self.keras
        if function is None or function is keras.activations.linear:
            return
        if function in (keras.activations.softmax, getattr(keras.activations, "log_softmax", None)):
            self._softmax()
            return
        what = _name(function)
        values = self._probe(function, what)
        low, high = float(values[2]), float(values[6])  # for -0.5 and +0.5, where x + (q - x) is q for -1, 0 and +1
        nearest = np.where(values < (low + high) / 2, low, high)
        if not self.pending and not self.delayed and self._changes_nothing(function):
            if not self.signal.bipolar:
                self.notes.append(f"{self.where}: {what} is left out; it changes no value that it can get here")
        elif low < high and (np.abs(nearest - values) <= _NOISE * (high - low)).all():
            self._sign(function, what, low, high)
        else:
            shown = ", ".join(f"{value:g}" for value in np.unique(values))
            raise self.fail(
                "an activation with two values, such as a sign (ternary and multi-bit ones are not supported)",
                f"{what}, which gives {shown} for values of -2.5 to 2.5",
            )
        if self.padding is not None:
            self.pad_real = float(np.asarray(function(np.full((1, 1), self.pad_real, np.float32)))[0, 0])
        elif self.signal.bipolar:
            self._observe(tensor, input_quantizer)

    def _probe(self, function: Any, what: str) -> NDArray[np.float32]:
        """Give what an activation makes of -2.5, -1, -0.5, -0.25, 0 and their opposites; it must be element-wise."""
        probe = np.array([-2.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2.5], np.float32)
        near_zero = np.linspace(-0.01, 0.01, 64, dtype=np.float32).reshape(8, 8)
        try:
            together = np.asarray(function(probe.reshape(3, 3))).ravel()
            alone = np.array([np.asarray(function(value.reshape(1, 1))).item() for value in probe], np.float32)
            once, twice = (np.asarray(function(near_zero)) for _ in range(2))
        except Exception as error:  # whatever the framework raises
            raise self.fail("an activation that can be evaluated", f"{what}: {str(error).splitlines()[0]}") from None
        if not np.array_equal(once, twice):
            raise self.fail("an activation that gives the same every time", f"{what}, which is random")
        if not np.array_equal(together, alone):
            raise self.fail(
                "an activation that looks at one value at a time", f"{what}; its scale must not depend on the batch"
            )
        return alone

    def _changes_nothing(self, function: Any) -> bool:
        """Whether an activation maps every value that the last operation can give to itself."""
        if not (self.encoding.exact and self.encoding.is_common):
            return False
        channel = int(np.argmax(self.signal.high - self.signal.low))
        low, high = int(self.signal.low.min()), int(self.signal.high.max())
        integers = np.arange(low, high + 1, self.signal.step)
        values = self.encoding.scale[channel] * integers + self.encoding.shift[channel]
        values = values.astype(np.float32)[:, None]
        return np.array_equal(np.asarray(function(values)), values)

    def _sign(self, function: Any, what: str, low: float, high: float) -> None:
        """Fold the pending steps and a sign with values `low` and `high` onto the accumulators."""
        steps, encoding, spatial = list(self.pending), self.encoding, len(self.signal.shape) == 3
        where, noise = self.where, 0.0
        noisy = self._is_noisy(function, low, high)

        def formula(end: Literal[-1, 0, 1]) -> Callable[[IntArray], NDArray[np.floating]]:
            def evaluate(accumulators: IntArray) -> NDArray[np.floating]:
                nonlocal noise
                before = _run(steps, encoding.values(accumulators, end), spatial)
                after = np.asarray(function(before)).astype(np.float64).reshape(accumulators.shape)
                nearest = np.where(after < (low + high) / 2, low, high)
                away = np.abs(after - nearest)
                wrong = ~(away <= _NOISE * (high - low))
                if wrong.any():
                    row, channel = (int(i) for i in np.argwhere(wrong)[0])
                    value = before.reshape(accumulators.shape)[row, channel]
                    raise UserError(
                        f"{where}: expected {what} to give {low:g} or {high:g}, got {after[row, channel]:g} for "
                        f"{value:g} (accumulator {accumulators[row, channel]} of channel {channel}); QKeras computes "
                        "x + (q - x), which is not q where x is very large, unless alpha is None"
                    )
                noise = max(noise, float(away.max()))
                if noisy and end:  # values inside the interval may round worse than its ends
                    largest = float(np.abs(before).max()) + max(abs(low), abs(high))
                    noise = max(noise, 4 * UNIT * largest)
                return np.where(nearest == high, 1.0, -1.0)

            return evaluate

        def fold(end: Literal[-1, 0, 1]) -> Threshold:
            return fold_threshold(name, (self.last.name,), formula(end), self.signal)

        name = self.new_name("threshold")
        threshold = fold(0)
        if not encoding.exact:
            undecided = int(np.abs(count(fold(1), self.signal) - count(fold(-1), self.signal)).sum())
            if undecided:
                self.undecided[name] = undecided
        self.pending = []
        self.append(threshold)
        self.encoding = Encoding.common(self.signal.channels, (high - low) / 2, (high + low) / 2, noise)
        delayed, self.delayed = self.delayed, []
        for make in delayed:
            self._in_place(make)

    def _is_noisy(self, function: Any, low: float, high: float) -> bool:
        """Whether a sign's results are not quite its two values, as ``x + (q - x)`` is in float32."""
        rng = np.random.default_rng(0)
        probe = (rng.choice([-1, 1], 999) * np.exp(rng.uniform(-6, 6, 999))).astype(np.float32)[:, None]
        return not np.isin(np.asarray(function(probe)), np.array([low, high], np.float32)).all()

    # The end

    def _finish(self) -> None:
        if self.padding is not None:
            raise self.fail("a convolution after ZeroPadding2D", "the end of the model")
        signal, encoding = self.signal, self.encoding
        if self.delayed or self.pending or not (signal.bipolar or (encoding.exact and encoding.is_common)):
            if self.pending:
                self.where = self.pending[0].where
            if len(signal.shape) != 1 or self.delayed:
                raise self.fail("a sign after it, or the scores of a dense layer", f"values of shape {signal.shape}")
            steps = list(self.pending)

            def real(accumulator: int) -> FloatArray:
                values = encoding.scale * accumulator + encoding.shift
                for step in steps:
                    values = step.real(values)
                return values

            def formula(end: Literal[-1, 0, 1]) -> Callable[[IntArray], NDArray[np.floating]]:
                return lambda accumulators: _run(steps, encoding.values(accumulators, end), False)

            intercept = real(0)
            interval = None if encoding.exact else (formula(-1), formula(1))
            self.append(
                fold_affine(
                    "affine", (self.last.name,), formula(0), signal, real(1) - intercept, intercept, interval=interval
                )
            )
        signal = self.signal
        if not signal.bipolar and len(signal.shape) == 1 and signal.channels > 1:
            self.append(Argmax("argmax", (self.last.name,)))


def _run(steps: list[_Step], values: NDArray[np.float32], spatial: bool) -> NDArray[np.float32]:
    """Apply steps by TensorFlow, eagerly, to (values, channels), as images of one pixel where `spatial`.

    Batch norm of images is another kernel than that of vectors, and rounds differently.
    """
    import tensorflow  # type: ignore[import-untyped]

    x = tensorflow.constant(values[:, None, None, :] if spatial else values)
    for step in steps:
        x = step.apply(x)
    return np.asarray(x).reshape(values.shape)


def _quantized(layer: Any, what: str, variable: Any) -> FloatArray:
    """Give a parameter of batch norm as the layer uses it: 1 and 0 where it has none, quantized where QKeras does."""
    if variable is None:
        return np.asarray(1.0 if what == "gamma" else 0.0)
    quantizer = getattr(layer, f"{what}_quantizer_internal", None)
    return np.asarray(variable if quantizer is None else quantizer(variable)).astype(np.float64)


def _name(function: Any) -> str:
    """Name an activation as its author would."""
    if type(function).__str__ is not object.__str__ and type(function).__module__.startswith("qkeras"):
        return str(function)
    return str(getattr(function, "name", None) or getattr(function, "__name__", type(function).__name__))
