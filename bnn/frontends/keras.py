"""Keras 2, QKeras and Larq: a graph of layers becomes a Network.

A reader for the core (:mod:`xnorflow.bnn.frontends.core`): it tells the core what each layer does. Kernels are
quantized by the framework itself. Batch norm and activations are computed by TensorFlow, in its float32, on every value
that the integers before them can take: an element-wise function with two values is a sign, whatever it is called and
whatever it gives at zero.

What the framework adds up
--------------------------
Our accumulators are integers; the framework's are float32 sums of ``kernel * value``. Where all terms are multiples of
one power of two and the sum of their magnitudes stays below 2**24 of it, every partial sum is exact, in any order:
then the float is ``alpha`` times the integer, and folding is exact. Otherwise (alpha that is not a power of two, such
as XNOR-Net's mean of magnitudes; QKeras' ``x + (q - x)``, which in float32 is not quite q) the float lies within a
bound of it that holds for any order of summation, see :mod:`xnorflow.bnn.frontends.core.sums`. Results that the bound
leaves open are counted in :attr:`Conversion.ambiguous`, and there the fold says what the exact sum would give.

A bias is added to the finished sum, as TensorFlow's kernels for the CPU do (measured, not promised by TensorFlow).

Layers of one dimension are layers of images of height 1: their Network takes (1, length, channels). The core has
channels first: positions, in what this module gives, too, are of Keras's tensors with their last axis moved there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import NetworkError, UserError
from xnorflow.bnn.frontends import keras_file, keras_op
from xnorflow.bnn.frontends.core.assembler import Assembler, Conversion, Geometry, Value, Window
from xnorflow.bnn.frontends.core.check import Survey
from xnorflow.bnn.frontends.core.fixed import Fixed
from xnorflow.bnn.frontends.core.layout import canonical
from xnorflow.bnn.frontends.core.levels import reachable
from xnorflow.bnn.frontends.core.sums import rearranged
from xnorflow.bnn.frontends.core.value import spread
from xnorflow.bnn.frontends.keras_file import check_finite, unsupported
from xnorflow.bnn.frontends.keras_linear import Linear, read
from xnorflow.bnn.frontends.keras_step import Activation, Function, batch_norm
from xnorflow.bnn.network import Input, MultiThreshold, Network, Threshold


@dataclass(frozen=True, eq=False)
class Place:
    """Where Keras computes something.

    Attributes
    ----------
    tensor : KerasTensor
        Of the model's graph; ``tf_keras.Model(model.inputs, tensor)`` computes it.
    then : callable or None
        What is to be applied to it: Larq's input quantizer, or a layer without its activation.
    """

    tensor: Any
    then: Function | None = None


def convert(model: Any, name: str, input: Input) -> Network:
    """Convert a trained model to a Network.

    Parameters
    ----------
    model : tf_keras.Model
        Sequential or functional; see :data:`xnorflow.bnn.frontends.keras_file.SUPPORTED`. It is not changed, and is
        taken in inference.
    name : str
        Name of the Network.
    input : Input
        What the model takes; the model itself takes float32 (N, *shape) of the values ``integer / 2**fraction``, of
        (N, length, channels) where the shape is (1, length, channels) and its layers have one dimension.

    Returns
    -------
    Network
        Equal to ``model.predict``, except for what :attr:`Conversion.ambiguous` of :func:`trace` counts. Trailing
        scales, biases and batch norm become an Affine, whose argmax is proved or not as
        :class:`~xnorflow.bnn.network.Affine` says. A vector of scores is followed by an Argmax.

    Raises
    ------
    UserError
        For anything that cannot be converted; the message names the layer, what it is and what is supported.
    """
    return trace(model, name, input).network


def trace(model: Any, name: str, input: Input, fixed: Fixed | None = None) -> Conversion:
    """Convert as :func:`convert` does, and say what it takes to judge and to compare the Network.

    Places are :class:`Place`; that of the scores is before a softmax, whose float32 makes different scores equal.
    """
    reader = _KerasReader(model, name, input, fixed)
    return reader.conversion(reader.walk())


def check(model: Any, name: str, input: Input, fixed: Fixed | None = None) -> Survey:
    """Say of every layer of a model whether :func:`convert` takes it, and if not, why.

    Raises
    ------
    UserError
        If the model has no graph of layers, or not one input and one output.
    """
    reader = _KerasReader(model, name, input, fixed, survey := Survey())
    value = reader.walk()
    reader.core.check_end(value, name, reader.chosen)
    return survey


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of a tensor.

    Attributes
    ----------
    value : Value
    hidden : tuple of Activation
        That it is made from without a layer of weights between, which may hide how large their operands were.
    """

    value: Value
    hidden: tuple[Activation, ...] = field(default=())


class _KerasReader:
    """Walks the layers from the input to the output."""

    def __init__(self, model: Any, name: str, input: Input, fixed: Fixed | None, survey: Survey | None = None) -> None:
        self.keras = keras_file.import_keras()
        self.model, self.name, self.input, self.survey = model, name, input, survey
        self.core = Assembler(f"model {name!r}", survey=survey, fixed=fixed)
        self.core.channels_last = True
        self.known: dict[Any, _Known | tuple[_Known, ...]] = {}  # of each call; several results of some
        self.chosen = False  # whether the model itself chooses the class

    def walk(self) -> Value:
        """Take all layers; return the model's result."""
        for layer, node in self._layers():
            self.core.at(self._at(layer), Place(node.outputs))
            if self.survey is not None and type(layer).__name__ != "InputLayer":
                self.survey.take(self.core.where)
            self.known[(layer, node)] = self.core.taking(
                lambda: self._convert(layer, node),  # noqa: B023 (called at once)
                lambda: self._stand_in(node.outputs),  # noqa: B023
            )
        return self._of(self.model.outputs[0]).value

    def _of(self, tensor: Any) -> _Known:
        """Return what is known of a tensor."""
        known, (_, _, index) = self.known[_call(tensor)], tensor._keras_history
        return known[index] if isinstance(known, tuple) else known

    def _stand_in(self, outputs: Any) -> _Known | tuple[_Known, ...]:
        if isinstance(outputs, list):
            return tuple(_Known(self.core.stand_in(_channels_first(of.shape[1:]))) for of in outputs)
        return _Known(self.core.stand_in(_channels_first(outputs.shape[1:])))

    def conversion(self, value: Value) -> Conversion:
        """End with the model's result."""
        core = self.core
        try:
            network, scores = core.finish(value, self.name, self.chosen)
        except NetworkError as error:
            raise UserError(f"model {self.name!r}: {error}") from None
        return Conversion(network, tuple(core.notes), core.ambiguous, core.observed, scores, core.rounded)

    def _at(self, layer: Any) -> str:
        return f"model {self.name!r}, layer {layer.name!r} ({type(layer).__name__})"

    def _layers(self) -> list[tuple[Any, Any]]:
        """List the layers and their nodes that the output is made from, each after those whose results it takes."""
        model = self.model
        if not isinstance(model, self.keras.Model):
            raise self.core.fail("a tf_keras.Model", type(model).__name__)
        if not getattr(model, "_is_graph_network", False):
            raise self.core.fail(
                "a Sequential model with an input shape, or a functional one",
                f"{type(model).__name__} without a graph of layers",
            )
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise self.core.fail("one input and one output", f"{len(model.inputs)} and {len(model.outputs)}")
        ordered: list[tuple[Any, Any]] = []
        done: set[Any] = set()
        waiting = [model.outputs[0]]
        while waiting:
            layer, node = _call(waiting[-1])
            operands = [tensor for tensor in node.keras_inputs if _call(tensor) not in done]
            waiting += operands[::-1]
            if not operands:
                waiting.pop()
                if (layer, node) not in done:
                    done.add((layer, node))
                    ordered.append((layer, node))
        return ordered

    # Layers

    def _convert(self, layer: Any, node: Any) -> _Known | tuple[_Known, ...]:
        kind, core = type(layer).__name__, self.core
        if kind not in keras_file.LAYERS:
            raise UserError(f"{core.where}: {unsupported(kind)}")
        if layer.compute_dtype != "float32":
            raise core.fail("float32", layer.compute_dtype)
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise core.fail("data_format 'channels_last'", repr(layer.data_format))
        check_finite(core.where, layer)
        if kind == "InputLayer":
            return _Known(self._start(layer))
        operands = [self._of(tensor) for tensor in node.keras_inputs]
        if len(operands) > 1 and kind not in (*keras_file.BRANCHES, *keras_op.KINDS):
            raise core.fail("one operand", len(operands))
        value, hidden = operands[0].value, tuple(dict.fromkeys(of for operand in operands for of in operand.hidden))
        ended = next((operand.value.ended for operand in operands if operand.value.ended), "")
        chosen = kind in keras_op.KINDS and keras_op.name_of(layer) == keras_op.CHOSEN
        if ended and not chosen and kind not in keras_file.NO_EFFECT:
            raise UserError(f"{ended}: expected a softmax only at the end of the model")
        if kind in keras_file.NO_EFFECT:
            return operands[0]
        if kind in keras_op.KINDS:
            return self._operator(layer, node, operands, hidden)
        if kind in keras_file.LINEAR:
            return self._linear(layer, node, value)
        if kind in ("QActivation", "Activation", *keras_file.LARQ_QUANTIZERS, *keras_file.ACTIVATIONS):
            function = {"QActivation": "quantizer", "Activation": "activation"}.get(kind)
            return self._activated(getattr(layer, function) if function else layer, operands[0])
        if kind == "Add":
            return _Known(self._add([operand.value for operand in operands], hidden), hidden)
        handlers: dict[str, Callable[[Any, Value], Value]] = {
            **dict.fromkeys(keras_file.NORMALISATION, self._batch_norm),
            **dict.fromkeys(keras_file.PADDING, self._zero_padding),
            **dict.fromkeys(keras_file.MAXIMA, self._max_pool),
            **dict.fromkeys(keras_file.VIEWS, self._view),
            "Softmax": self._softmax,
            "PReLU": self._prelu,
        }
        if kind in keras_file.AVERAGES:
            made = self._average_pool(layer, node, value)
            return self._activated(getattr(layer, "activation", None), _Known(made, hidden), Place(node.outputs))
        if kind == "Concatenate":
            return _Known(self._concatenate(layer, [operand.value for operand in operands]), hidden)
        return _Known(handlers[kind](layer, value), hidden)

    def _start(self, layer: Any) -> Value:
        (shape,) = [layer.output_shape] if isinstance(layer.output_shape, tuple) else layer.output_shape
        taken = self.input
        if len(shape) == 2 and keras_file.image_of(self.model) == taken.shape:
            return self.core.start(taken, np.arange(shape[1]), 2.0**-taken.fraction)
        if tuple(shape[1:]) != taken.shape and (len(shape) != 3 or (1, *shape[1:]) != taken.shape):
            raise self.core.fail(f"an input of shape {taken.shape}, as the Input says", tuple(shape[1:]))
        positions = canonical(taken.shape).reshape(_channels_first(shape[1:]))
        return self.core.start(taken, positions, 2.0**-taken.fraction)

    def _linear(self, layer: Any, node: Any, value: Value) -> _Known:
        linears, core = read(layer, self.core.where), self.core
        taken, last = node.keras_inputs[0], linears[-1]
        known = _Known(value)
        if (quantizer := linears[0].input_quantizer) is not None:
            known = self._activated(quantizer, known, Place(taken, quantizer))
        value = known.value
        plain = last.activation in (None, self.keras.activations.linear)
        whole = Place(node.outputs) if plain else Place(taken, _Without(layer))
        for linear in linears:
            core.place = whole if linear is last and last.bias is None else None
            value = self._product(linear, value)
        if last.bias is not None:
            core.place, bias = whole, last.bias
            values, (column,) = core.by_channel([value], [bias.reshape(-1, *[1] * (value.positions.ndim - 1))])
            value = core.step(values, lambda x: x + column)
        return self._activated(last.activation, _Known(value), Place(node.outputs))

    def _product(self, linear: Linear, value: Value) -> Value:
        """Multiply by the weights of a dense layer or a convolution."""
        kernel, core = linear.kernel, self.core
        if kernel.ndim == 2 and value.positions.ndim == 1:
            return core.dense(value, kernel)
        if kernel.ndim == 2:  # of every pixel
            return core.convolution(value, kernel[:, None, None], Geometry())
        around = [side for axis in range(2) for side in self._sides(linear, value, axis)]
        sides = (around[0], around[1], around[2], around[3])
        if linear.transposed:
            return core.transposed(value, kernel, *self._growth(linear, value))
        if linear.pad_value:
            value, sides = core.pad(value, sides, linear.pad_value), (0, 0, 0, 0)
        return core.convolution(value, kernel, Geometry(linear.stride, sides, linear.dilation, linear.groups))

    def _sides(self, linear: Linear, value: Value, axis: int) -> tuple[int, int]:
        """Return the padding that a convolution puts before and behind an axis of an image."""
        extent = (linear.kernel.shape[1 + axis] - 1) * linear.dilation[axis] + 1
        if linear.padding == "valid":
            return 0, 0
        if linear.padding == "causal":
            return (extent - 1, 0) if axis else (0, 0)
        if linear.padding != "same":
            raise self.core.fail("padding 'same', 'valid' or 'causal'", repr(linear.padding))
        length = (1, *value.positions.shape[1:])[-2:][axis] + sum(value.padding[2 * axis : 2 * axis + 2])
        return _same(length, extent, linear.stride[axis])

    def _growth(self, linear: Linear, value: Value) -> tuple[Geometry, tuple[int, int]]:
        """Return what a transposed convolution cuts off, and how many rows and columns of zeros it adds."""
        cut, extra = [], []
        for axis in range(2):
            over = (linear.kernel.shape[1 + axis] - 1) * linear.dilation[axis] + 1 - linear.stride[axis]
            cut += [max(over, 0) // 2, max(over, 0) - max(over, 0) // 2] if linear.padding == "same" else [0, 0]
            extra.append(max(-over, 0))
        around = (cut[0], cut[1], cut[2], cut[3])
        return Geometry(linear.stride, around, linear.dilation, linear.groups), (extra[0], extra[1])

    def _batch_norm(self, layer: Any, value: Value) -> Value:
        axes = value.positions.ndim
        if list(layer.axis) != [axes]:
            raise self.core.fail(f"axis {axes}, the channels", list(layer.axis))
        compute, features = batch_norm(layer, axes), len(value.positions)
        numbers = np.arange(features).reshape(-1, *[1] * (axes - 1))
        values, (index,) = self.core.by_channel([value], [numbers])
        if not np.array_equal(index, numbers.ravel()):
            compute = spread(compute, index, features)
        return self.core.step(values, compute)

    def _prelu(self, layer: Any, value: Value) -> Value:
        shape = (*value.positions.shape[1:], *value.positions.shape[:1])
        slope = np.moveaxis(np.broadcast_to(layer.get_weights()[0], shape), -1, 0)
        (value,), (slope,) = self.core.by_channel([value], [slope])
        return self.core.step([value], lambda x: np.maximum(x, 0) - slope.astype(x.dtype) * np.maximum(-x, 0))

    def _zero_padding(self, layer: Any, value: Value) -> Value:
        (top, bottom), (left, right) = ((0, 0), layer.padding) if value.positions.ndim == 2 else layer.padding
        return self.core.pad(value, (top, bottom, left, right), 0.0)

    def _softmax(self, layer: Any, value: Value) -> Value:
        if layer.axis not in (-1, value.positions.ndim):
            raise self.core.fail("axis -1, the scores", layer.axis)
        return self._ended(value)

    def _ended(self, value: Value) -> Value:
        return self.core.end(value, "the softmax is left out; it does not change the order of the scores")

    # Operators outside layers

    def _operator(
        self, layer: Any, node: Any, operands: list[_Known], hidden: tuple[Activation, ...]
    ) -> _Known | tuple[_Known, ...]:
        function, core, value = keras_op.name_of(layer), self.core, operands[0].value
        if function not in keras_op.TAKEN:
            raise core.fail(f"one of {', '.join(sorted(keras_op.TAKEN))}, or layers", f"the operator {function!r}")
        if function in keras_op.SAME:
            return operands[0]
        values = [operand.value for operand in operands]
        summed = function in keras_op.SUMS and len(values) == 2
        try:
            if summed and (hidden or not values[0].same_integers(values[1])):
                return _Known(self._add(values, hidden, keras_op.SUMS[function] < 0), hidden)
            if function in keras_op.ELEMENTWISE:
                return _Known(self._elementwise(layer, node), hidden)
            if function in keras_op.VIEWS:
                parts = keras_op.moved(layer, node, np.moveaxis(value.positions, 0, -1))
                made = [core.view(value, np.ascontiguousarray(np.moveaxis(last, -1, 0))) for last in parts]
                several = isinstance(node.outputs, list)
                return tuple(_Known(of, hidden) for of in made) if several else _Known(made[0], hidden)
            given = keras_op.arguments(layer, node)
            if function == keras_op.JOINED:
                return _Known(self._joined(given), hidden)
            if function == keras_op.PADDED:
                return _Known(self._padded_by(value, given), hidden)
            if function in keras_op.WHOLE:
                return _Known(self._whole(value, given, keras_op.WHOLE[function]), hidden)
            return _Known(self._tail(value, given, function == keras_op.CHOSEN), hidden)
        except (ValueError, IndexError, KeyError, TypeError) as error:
            if isinstance(error, UserError):
                raise
            raise core.fail(f"{function} as it can be taken", str(error).splitlines()[0]) from None

    def _elementwise(self, layer: Any, node: Any) -> Value:
        """Take an operator that treats every value by itself, with constants for each channel perhaps."""
        function, core = keras_op.name_of(layer), self.core
        tensors = {id(tensor): tensor for tensor in node.keras_inputs}
        values = [self._of(tensor).value for tensor in tensors.values()]
        shape, last = values[0].positions.shape, tuple(int(n) for n in next(iter(tensors.values())).shape[1:])
        if _channels_first(node.outputs.shape[1:]) != shape:
            raise core.fail("constants that leave the shape as it is", f"shape {tuple(node.outputs.shape[1:])}")
        columns = [np.moveaxis(np.broadcast_to(of, (1, *last))[0], -1, 0) for of in keras_op.constants(node)]
        values, found = core.by_channel(values, columns)
        kind: Literal["", "sign", "scores"] = "sign" if function == "math.sign" else ""
        return core.step(
            values, keras_op.computing(layer, node, found), "scores" if function in keras_op.SCORES else kind
        )  # fmt: skip

    def _tail(self, value: Value, given: keras_op.Arguments, chosen: bool) -> Value:
        """Take a softmax or an argmax over the scores."""
        axis = given.get("axis", 0 if chosen else -1)
        if axis not in (-1, value.positions.ndim):
            raise self.core.fail("axis -1, the scores", axis)
        self.chosen |= chosen
        return self.core.end(value) if chosen else self._ended(value)

    def _joined(self, given: keras_op.Arguments) -> Value:
        tensors, axis = given["values"], int(given["axis"])
        known = {id(tensor): self._of(tensor).value for tensor in tensors if hasattr(tensor, "_keras_history")}
        axes = next(iter(known.values())).positions.ndim
        axis %= axes + 1
        if axis == 0:
            raise self.core.fail("a concatenation that leaves the batch axis alone", "axis 0")
        both = [
            known[id(of)] if id(of) in known else np.moveaxis(np.asarray(of, np.float64)[0], -1, 0) for of in tensors
        ]
        return self.core.concatenate(both, 0 if axis == axes else axis)

    def _padded_by(self, value: Value, given: keras_op.Arguments) -> Value:
        sides, real = np.asarray(given["paddings"]).tolist(), float(given.get("constant_values", 0))
        if str(given.get("mode", "CONSTANT")).upper() != "CONSTANT" or any(sides[0]):
            raise self.core.fail("constant padding that leaves the batch axis alone", sides)
        return self.core.padded(value, [sides[-1], *sides[1:-1]], real)

    def _whole(self, value: Value, given: keras_op.Arguments, what: Literal["mean", "sum", "maximum"]) -> Value:
        """Take the mean, the sum or the maximum over rows, columns or both of an image."""
        axes = np.atleast_1d(np.asarray(given.get("axis", ()), np.int64)).tolist()
        return self.core.over_image(value, axes, what, keep=bool(given.get("keepdims")))

    # Pools, views and branches

    def _window(self, layer: Any, value: Value) -> Window:
        """Return the window of a pool, that of the whole image for a global one."""
        height, width = (1, *value.positions.shape[1:])[-2:]
        if not hasattr(layer, "pool_size"):
            return Window((height, width), (height, width))
        size, stride = ((1, *np.atleast_1d(pair).tolist())[-2:] for pair in (layer.pool_size, layer.strides))
        around = [0, 0, 0, 0]
        if layer.padding == "same":
            around = [side for of in zip((height, width), size, stride, strict=True) for side in _same(*of)]
        return Window(size, stride, (around[0], around[1], around[2], around[3]))

    def _pooled(self, layer: Any, value: Value) -> Value:
        """Drop the axes of the image behind a global pool."""
        if hasattr(layer, "pool_size") or layer.keepdims:
            return value
        return self.core.view(value, value.positions.ravel())

    def _max_pool(self, layer: Any, value: Value) -> Value:
        return self._pooled(layer, self.core.max_pool(value, self._window(layer, value)))

    def _average_pool(self, layer: Any, node: Any, value: Value) -> Value:
        core, window = self.core, self._window(layer, value)
        if any(window.padding):
            raise core.fail("padding 'valid', or 'same' that adds nothing: all means of as many values", "'same'")
        plain = getattr(layer, "activation", None) in (None, self.keras.activations.linear)
        quantizer = layer.average_quantizer_internal if getattr(layer, "average_quantizer", None) else None
        core.place = Place(node.outputs) if plain and quantizer is None else None
        value = core.average(value, window.size, window.stride)
        if quantizer is not None:  # QKeras multiplies the mean by the area and a rounded 1 / area
            area = np.float32(window.size[0] * window.size[1])
            reciprocal = np.float32(np.asarray(quantizer(1.0 / float(area))))
            if not reciprocal > 0:
                raise core.fail("an average_quantizer that gives a positive 1 / area", reciprocal)
            core.place = Place(node.outputs) if plain else None
            value = core.step([value], lambda x: x * area * reciprocal)
        return self._pooled(layer, value)

    def _view(self, layer: Any, value: Value) -> Value:
        last = np.moveaxis(value.positions, 0, -1)
        kind = type(layer).__name__
        if kind == "Flatten":
            last = last.reshape(-1)
        elif kind == "Reshape":
            image = (1, *layer.target_shape)[-3:]
            if last.ndim == 1 and all(part.shape != image for part in self.core.parts(value)):
                raise self.core.fail("an image", f"a vector; give the Input the shape {layer.output_shape[1:]}")
            last = last.reshape(layer.target_shape)
        elif kind == "Permute":
            last = last.transpose([axis - 1 for axis in layer.dims])
        elif kind in ("UpSampling1D", "UpSampling2D"):
            if getattr(layer, "interpolation", "nearest") != "nearest":
                raise self.core.fail("interpolation 'nearest'", repr(layer.interpolation))
            for axis, times in enumerate(np.atleast_1d(layer.size).tolist()):
                last = last.repeat(times, axis)
        elif kind == "Resizing":
            if layer.interpolation != "nearest":
                raise self.core.fail(
                    "interpolation 'nearest' (any other gives means of neighbours; leave them to what makes the input)",
                    repr(layer.interpolation),
                )
            if last.max(initial=0) >= 2**24:  # the layer takes float32
                raise self.core.fail(f"at most {2**24:,} values", f"{int(last.max()) + 1:,}")
            last = np.asarray(layer(last[None].astype(np.float32)))[0].astype(np.int64)
        else:  # a cropping
            sides = [layer.cropping] if last.ndim == 2 else layer.cropping
            for axis, (before, after) in enumerate(sides):
                last = last.take(np.arange(before, last.shape[axis] - after), axis)
        return self.core.view(value, np.ascontiguousarray(np.moveaxis(last, -1, 0)))

    def _add(self, values: list[Value], hidden: tuple[Activation, ...], negative: bool = False) -> Value:
        """Add results of layers; of two, the second may be `negative`."""
        core, place = self.core, self.core.place
        total, *rest = values
        for number, value in enumerate(rest, 1):
            core.place = place if number == len(rest) else None
            total = core.difference_of(total, value) if negative else core.sum_of([total, value])
        if largest := sum(of.hidden for of in hidden):
            total = core.blurred(total, rearranged(total.encoding, core.joined(total), largest, len(values)))
        return total

    def _concatenate(self, layer: Any, values: list[Value]) -> Value:
        axes = values[0].positions.ndim
        axis = layer.axis % (axes + 1)
        if axis == 0:
            raise self.core.fail("a concatenation that leaves the batch axis alone", "axis 0")
        return self.core.concatenate(values, 0 if axis == axes else axis)

    # Activations

    def _activated(self, function: Any, known: _Known, place: Place | None = None) -> _Known:
        """Take an activation: nothing, a softmax, or what treats every value by itself; `place` is its result."""
        core, activations = self.core, self.keras.activations
        core.place = place or core.place
        if function is None or function is activations.linear:
            return known
        if function in (activations.softmax, getattr(activations, "log_softmax", None)):
            return _Known(self._ended(known.value), known.hidden)
        found = Activation(function, core.where)
        if known.value.step is None and not known.value.pools and self._changes_nothing(found, known.value):
            value = replace(known.value, place=core.place)
            if self._is_quantised(value):
                core.observe(value)
            else:
                core.notes.append(f"{core.where}: {found.name} is left out; it changes no value that it can get here")
            return _Known(value, known.hidden)
        kept = function in (activations.sigmoid, activations.tanh, activations.softplus, activations.softsign)
        value = core.step([known.value], found, "scores" if kept else "")
        return _Known(value, (found,))

    def _is_quantised(self, value: Value) -> bool:
        made = [operation for operation in self.core.operations if operation.name in value.sources]
        thresholds = all(isinstance(operation, Threshold | MultiThreshold) for operation in made)
        return thresholds or self.core.joined(value).bipolar

    def _changes_nothing(self, function: Activation, value: Value) -> bool:
        """Whether an activation maps every value that there can be to itself."""
        if not value.encoding.exact or any(value.padding):
            return False
        signal = self.core.joined(value)
        for integers in (np.stack([signal.low, signal.high]), *reachable(signal)):
            values = value.encoding.values(integers, 0)
            try:
                if not np.array_equal(function(values), values):
                    return False
            except UserError:  # of a value that it loses
                return False
        return True


class _Without:
    """A layer without its activation."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._made: Any = None

    def __call__(self, values: Any) -> Any:
        if self._made is None:
            self._made = type(self._layer).from_config(self._layer.get_config() | {"activation": None})
            self._made.build(values.shape)
            self._made.set_weights(self._layer.get_weights())
        return self._made(values)


def _same(length: int, window: int, stride: int) -> tuple[int, int]:
    """Return the padding 'same' before and behind an axis."""
    total = max((-(-length // stride) - 1) * stride + window - length, 0)
    return total // 2, total - total // 2


def _channels_first(shape: Any) -> tuple[int, ...]:
    *rest, channels = (int(length) for length in shape or (1,))
    return (channels, *rest)


def _call(tensor: Any) -> tuple[Any, Any]:
    """Return the layer whose result a tensor is, and the node of the call."""
    layer, index, _ = tensor._keras_history
    return layer, layer._inbound_nodes[index]


def run(model: Any, places: list[Place], values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Compute what a model has at some places, its channels first."""
    graph = keras_file.import_keras().Model(model.inputs, [place.tensor for place in places])
    results = graph(values.reshape(len(values), *model.inputs[0].shape[1:]), training=False)
    results = results if isinstance(results, list) else [results]
    made = [result if place.then is None else place.then(result) for place, result in zip(places, results, strict=True)]
    return [np.moveaxis(np.asarray(result), -1, 1) for result in made]
