"""Keras 2, QKeras and Larq: a graph of layers becomes a Network.

Kernels are quantized by the framework itself and taken apart into ``alpha * w``, w integers, mostly -1, 0 and +1, and
one alpha per channel. Activations are recognised by behaviour (:mod:`xnorflow.bnn.frontends.keras_activation`): an
element-wise function with two values is a sign, whatever it is called and whatever it gives at zero; one with up to 16
that are evenly spaced is an activation of several thresholds. Biases, batch norm and activations are evaluated by
TensorFlow, in its float32, on every value that the accumulator can take (:mod:`xnorflow.bnn.folding`).

What the framework adds up
--------------------------
Our accumulators are integers; the framework's are float32 sums of ``kernel * value``. Where all terms are multiples of
one power of two and the sum of their magnitudes stays below 2**24 of it, every partial sum is exact, in any order:
then the float is ``alpha`` times the integer, and folding is exact. Otherwise (alpha that is not a power of two, such
as XNOR-Net's mean of magnitudes; QKeras' ``x + (q - x)``, which in float32 is not quite q) the float lies within a
bound of it that holds for any order of summation, see :mod:`xnorflow.bnn.frontends.sums`. All steps up to the
activation are monotonic in float32 too, so the fold is proved wherever both ends of the interval give the same value;
where they do not is counted in :attr:`Conversion.ambiguous`, and there the fold says what the exact sum would give.

A bias is added to the finished sum, as TensorFlow's kernels for the CPU do (measured, not promised by TensorFlow).

Layers of one dimension are layers of images of height 1: their Network takes (1, length, channels).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import NetworkError, UserError
from xnorflow.bnn.folding import fold_affine
from xnorflow.bnn.frontends import keras_file
from xnorflow.bnn.frontends.keras_activation import run
from xnorflow.bnn.frontends.keras_file import unsupported
from xnorflow.bnn.frontends.keras_layers import Layers, Observed, Value
from xnorflow.bnn.frontends.sums import FloatArray
from xnorflow.bnn.network import Argmax, Input, IntArray, Network


@dataclass(frozen=True, eq=False)
class Conversion:
    """A converted model.

    Attributes
    ----------
    network : Network
    notes : tuple of str
        What was left out, a sentence each: a softmax at the end, an activation that changes nothing.
    ambiguous : mapping of str to int
        For thresholds whose equality with the framework is not proved: the number of (channel, accumulator) pairs for
        which the result depends on how the framework rounds its sums. Absent where proved.
    observed : mapping of str to Observed
        For sums, and for what activations give, that the framework computes as such.
    scores : KerasTensor
        The model's output before a softmax, whose float32 makes different scores equal.
    """

    network: Network
    notes: tuple[str, ...]
    ambiguous: Mapping[str, int]
    observed: Mapping[str, Observed]
    scores: Any


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


def trace(model: Any, name: str, input: Input) -> Conversion:
    """Convert as :func:`convert` does, and say what it takes to judge and to compare the Network."""
    return _Converter(model, name, input).conversion


class _Converter(Layers):
    """Walks the layers from the input to the output."""

    def __init__(self, model: Any, name: str, input: Input) -> None:
        super().__init__(name, input)
        values: dict[Any, Value] = {}
        for layer, node in self._layers(model):
            self.where = self.at(layer)
            try:
                value = self.convert(layer, node, [values[_place(tensor)] for tensor in node.keras_inputs])
            except NetworkError as error:
                raise UserError(f"{self.where}: {error}") from None
            values[_place(node.outputs)] = value
        try:
            self._finish(value)
            network = self.network(name)
        except NetworkError as error:
            raise UserError(f"model {name!r}: {error}") from None
        scores = self._scores(model.outputs[0])
        self.conversion = Conversion(network, tuple(self.notes), self.ambiguous, self.observed, scores)

    # The graph

    def _layers(self, model: Any) -> list[tuple[Any, Any]]:
        """List the layers and their nodes that the output is made from, each after those whose results it takes."""
        if not isinstance(model, self.keras.Model):
            raise self.fail("a tf_keras.Model", type(model).__name__)
        if not getattr(model, "_is_graph_network", False):
            raise self.fail(
                "a Sequential model with an input shape, or a functional one",
                f"{type(model).__name__} without a graph of layers",
            )
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise self.fail("one input and one output", f"{len(model.inputs)} and {len(model.outputs)}")
        ordered: list[tuple[Any, Any]] = []
        done: set[Any] = set()
        waiting = [model.outputs[0]]
        while waiting:
            layer, node = _place(waiting[-1])
            kind = type(layer).__name__
            if kind not in keras_file.LAYERS:
                raise UserError(f"{self.at(layer)}: {unsupported(kind)}")
            if not isinstance(layer, self.keras.layers.Add) and len(node.keras_inputs) > 1:
                raise UserError(f"{self.at(layer)}: expected one operand, got {len(node.keras_inputs)}")
            operands = [tensor for tensor in node.keras_inputs if _place(tensor) not in done]
            waiting += operands[::-1]
            if not operands:
                waiting.pop()
                if (layer, node) not in done:
                    done.add((layer, node))
                    ordered.append((layer, node))
        return ordered

    def _scores(self, tensor: Any) -> Any:
        """Return the tensor before softmaxes at the end, by a copy of its layer where that holds one."""
        layer, node = _place(tensor)
        if type(layer).__name__ in keras_file.NO_EFFECT or isinstance(layer, self.keras.layers.Softmax):
            return self._scores(node.keras_inputs[0]) if node.keras_inputs else tensor
        if not self.is_softmax(getattr(layer, "activation", None)):
            return tensor
        if isinstance(layer, self.keras.layers.Activation):
            return self._scores(node.keras_inputs[0])
        plain = type(layer).from_config(layer.get_config() | {"activation": None})
        scores = plain(node.keras_inputs[0])
        plain.set_weights(layer.get_weights())
        return scores

    # The end

    def _finish(self, value: Value) -> None:
        if any(value.padding):
            raise self.fail("a convolution after ZeroPadding2D", "the end of the model")
        signal, encoding = self.signals[value.source], value.encoding
        if value.delayed or value.steps or not (signal.bipolar or (encoding.exact and encoding.is_common)):
            if value.steps:
                self.where = value.steps[0].where
            if len(signal.shape) != 1 or value.delayed:
                raise self.fail("a sign after it, or the scores of a dense layer", f"values of shape {signal.shape}")

            def real(accumulator: int) -> FloatArray:
                values = encoding.scale * accumulator + encoding.shift
                for step in value.steps:
                    values = step.real(values)
                return values

            def formula(end: Literal[-1, 0, 1]) -> Callable[[IntArray], NDArray[np.floating]]:
                return lambda accumulators: run(value.steps, encoding.values(accumulators, end), value.axes)

            intercept = real(0)
            interval = None if encoding.exact else (formula(-1), formula(1))
            self.append(
                fold_affine(
                    "affine", (value.source,), formula(0), signal, real(1) - intercept, intercept, interval=interval
                )
            )
        signal = self.signal
        if not signal.bipolar and len(signal.shape) == 1 and signal.channels > 1:
            self.append(Argmax("argmax", (self.last.name,)))


def _place(tensor: Any) -> tuple[Any, Any]:
    """Return the layer whose result a tensor is, and the node of the call."""
    layer, index, _ = tensor._keras_history
    return layer, layer._inbound_nodes[index]
