"""QONNX, which Brevitas exports: a graph of nodes becomes a Network.

Weights are taken as the file's own quantisers make them and taken apart into ``alpha * w`` with w in {-1, 0, +1}. What
stands between an accumulator and its sign is executed by onnxruntime, node by node in float32, on every value that the
accumulator can take (:mod:`xnorflow.bnn.folding`). Signs: ``BipolarQuant`` and a signed ``Quant`` of one bit give +1 at
0, as qonnx has them; ``Sign`` gives 0 there, and is refused where 0 can be reached. In the same way a ``Quant`` of 2 to
4 bits becomes several thresholds.

Sums that float32 may round are treated as in :mod:`xnorflow.bnn.frontends.keras`, whose bounds hold for any order.

Channels stand first in ONNX and last in a Network, and views (``Transpose``, ``Reshape``, ``Flatten``) may stand
anywhere: for each tensor it is kept which of the operation's values stands at each of its positions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from xnorflow.bnn.errors import NetworkError, UserError
from xnorflow.bnn.folding import fold_affine, fold_multi_threshold, fold_threshold
from xnorflow.bnn.frontends import qonnx_file
from xnorflow.bnn.frontends.builder import Builder
from xnorflow.bnn.frontends.keras_linear import factor
from xnorflow.bnn.frontends.sums import UNIT, Encoding, FloatArray, averaged, count, sum_error
from xnorflow.bnn.kernels import dilated, grouped
from xnorflow.bnn.network import (
    Affine,
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    IntArray,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    SumPool2d,
    Threshold,
)
from xnorflow.bnn.qonnx_lowering import limits, session

_REAL = {"Mul": "multiply", "Div": "divide", "Add": "add", "Sub": "subtract"}


@dataclass(frozen=True, eq=False)
class Observed:
    """Where the file computes an operation's result.

    Attributes
    ----------
    tensor : str
        Of :attr:`Conversion.model`.
    positions : int64 array, of the tensor's shape without its batch axis
        Index into the operation's values, channels last, of each of the tensor's.
    scale, shift : float64 array, shape (channels,)
        The tensor's value for the integer n is ``scale * n + shift``, but for rounding.
    """

    tensor: str
    positions: IntArray
    scale: FloatArray
    shift: FloatArray


@dataclass(frozen=True, eq=False)
class Conversion:
    """A converted model.

    Attributes
    ----------
    network : Network
    notes : tuple of str
        What was left out, a sentence each.
    ambiguous : mapping of str to int
        As :attr:`xnorflow.bnn.frontends.keras.Conversion.ambiguous`.
    observed : mapping of str to Observed
        For sums of any kind, and for what quantisers give.
    model : onnx.ModelProto
        The file's model, cleaned up.
    input : Observed
        The tensor that takes the Network's input, not always that of the whole graph.
    whole : bool
        Whether it is.
    """

    network: Network
    notes: tuple[str, ...]
    ambiguous: Mapping[str, int]
    observed: Mapping[str, Observed]
    model: onnx.ModelProto
    input: Observed
    whole: bool


def trace(model: onnx.ModelProto, name: str, describe: Callable[[tuple[int, ...]], Input]) -> Conversion:
    """Convert a model that :func:`xnorflow.bnn.frontends.qonnx_file.load` has read.

    Parameters
    ----------
    model : onnx.ModelProto
    name : str
        Name of the Network.
    describe : callable
        From the input's shape, channels last, to the Input of a model that does not tell which integers it takes: one
        that neither quantises its input nor annotates it with a QONNX data type.

    Raises
    ------
    UserError
        For anything that cannot be converted; the message names the node, what it is and what is supported.
    """
    return _Converter(qonnx_file.clean(model), name, describe).conversion


_MAX_LEVELS = 15  # of 4 bits


@dataclass(frozen=True)
class _Levels:
    """What a quantiser gives: ``scale * n + shift`` for n of ``low + step * k``, k from 0 to `count`."""

    low: int
    step: int
    count: int
    scale: float
    shift: float = 0.0


@dataclass(frozen=True, eq=False)
class _State:
    """What is known of a tensor: the operation, what its integers stand for, and the nodes that wait for a sign."""

    operation: Operation
    positions: IntArray
    encoding: Encoding
    pending: tuple[onnx.NodeProto, ...]
    pending_from: str
    delayed: tuple[Callable[[], Operation], ...]
    padding: tuple[int, int, int, int]
    pad_real: float
    ended: bool


class _Converter(Builder):
    """Walks the nodes in order; the state is that of the tensor which the node at hand takes."""

    def __init__(self, model: onnx.ModelProto, name: str, describe: Callable[[tuple[int, ...]], Input]) -> None:
        super().__init__(f"model {name!r}")
        self.model, self.name = model, name
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.pending: list[onnx.NodeProto] = []
        self.pending_from = ""  # the tensor before them
        self.delayed: list[Callable[[], Operation]] = []  # pools that wait for the sign before them
        self.padding, self.pad_real = (0, 0, 0, 0), 0.0  # of a Pad that waits for its convolution
        self.ended = False
        self.notes: list[str] = []
        self.ambiguous: dict[str, int] = {}
        self.observed: dict[str, Observed] = {}
        (value,) = [value for value in model.graph.input if value.name not in self.constants]
        self.tensor = value.name
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
        self.positions: IntArray = np.zeros(0, np.int64)
        nodes = self._begin(shape, _in_order(model, {self.tensor, *self.constants}), describe)
        self.states = {self.tensor: self._state()}
        for node in nodes:
            self._at(node)
            try:
                self._step(node)
            except NetworkError as error:
                raise UserError(f"{self.where}: {error}") from None
            self.states |= dict.fromkeys(node.output, self._state())
        ends = {output.name for output in model.graph.output}
        last = next((node for node in nodes if ends <= set(node.output)), None)
        if last is None:
            raise UserError(f"model {self.name!r}: expected its output at the end of its nodes, got {ends}")
        self._restore(last.output[0])
        self._finish()
        try:
            network = self.network(name)
        except NetworkError as error:
            raise UserError(f"model {self.name!r}: {error}") from None
        self.conversion = Conversion(
            network, tuple(self.notes), self.ambiguous, self.observed, model, self.taken, not self.notes
        )

    @property
    def last(self) -> Operation:
        """The operation whose result the tensor at hand is made of."""
        return self._operation

    def append(self, operation: Operation) -> None:
        super().append(operation)
        self._operation = operation

    def _state(self) -> _State:
        waiting = tuple(self.pending), self.pending_from, tuple(self.delayed)
        return _State(self.last, self.positions, self.encoding, *waiting, self.padding, self.pad_real, self.ended)

    def _restore(self, tensor: str) -> None:
        state = self.states[tensor]
        self.tensor, self._operation = tensor, state.operation
        self.positions, self.encoding = state.positions, state.encoding
        self.pending, self.pending_from, self.delayed = list(state.pending), state.pending_from, list(state.delayed)
        self.padding, self.pad_real, self.ended = state.padding, state.pad_real, state.ended

    def _at(self, node: onnx.NodeProto) -> None:
        self.where = f"model {self.name!r}, node {node.name!r} ({node.op_type})"

    def _step(self, node: onnx.NodeProto) -> None:
        """Convert a node, whose operands are there."""
        operands = [source for source in node.input if source and source not in self.constants]
        unknown = [source for source in operands if source not in self.states]
        if unknown:
            raise self.fail("what follows the quantiser of the input", f"{unknown[0]!r}, which stands before it")
        if node.op_type == "Add" and len(set(operands)) == 2:
            self._add(node)
        elif len(operands) == 1:
            self._restore(operands[0])
            self._convert(node)
        else:
            raise self.fail("one operand that is not constant, or the sum of two different ones", ", ".join(operands))

    def _begin(
        self, shape: list[int], nodes: list[onnx.NodeProto], describe: Callable[[tuple[int, ...]], Input]
    ) -> list[onnx.NodeProto]:
        """Make the Input; returns the nodes that follow it."""
        channels_last = (*shape[1:], shape[0])
        last = np.arange(int(np.prod(shape))).reshape(channels_last)
        self.positions = np.moveaxis(last, -1, 0)
        whole = self.tensor
        for index, node in enumerate(nodes):
            self._at(node)
            alone = [other for other in nodes if self.tensor in other.input] == [node]
            quantises = alone and node.op_type in qonnx_file.SIGNS and node.op_type != "Sign"
            if quantises and (found := self._quantised_input(node, channels_last)):
                made, scale = found
                break
            if alone and node.op_type in ("Mul", "Div", "Add", "Sub"):
                self.tensor = node.output[0]
            elif alone and node.op_type in qonnx_file.VIEWS:
                self._view(node)
                self.tensor = node.output[0]
            elif not alone or node.op_type not in qonnx_file.NO_EFFECT:
                index, self.tensor, self.positions = -1, whole, np.moveaxis(last, -1, 0)
                made = self._annotated(channels_last) or describe(channels_last)
                scale = 2.0**-made.fraction
                break
        else:
            raise UserError(f"model {self.name!r}: expected layers of weights, got none")
        if any(node.op_type in ("Mul", "Div", "Add", "Sub") for node in nodes[: index + 1]):
            self.notes.append(
                f"what stands before {nodes[index].name}, the quantiser of the input, is left to the host"
            )
        self.append(made)
        self.encoding = Encoding.common(made.shape[-1], scale, 0.0)
        channels = np.full(made.shape[-1], scale), np.zeros(made.shape[-1])
        self.taken = Observed(self.tensor, self.positions, *channels)
        if index >= 0:
            self.tensor = nodes[index].output[0]
        return nodes[index + 1 :]

    def _quantised_input(self, node: onnx.NodeProto, shape: tuple[int, ...]) -> tuple[Input, float] | None:
        """Return the Input that a quantiser gives, and its scale; None if it is an activation of other integers."""
        levels = self._levels(node)
        low, high, scale = levels.low, levels.low + levels.step * levels.count, levels.scale
        if node.op_type == "MultiThreshold":
            raise self.fail("a BipolarQuant or Quant of the input", "thresholds")
        if (low, levels.step, high) == (-1, 2, 1):
            return Input("input", (), shape), scale
        bits = (high - low + 1).bit_length() - 1
        whole = high - low + 1 == 2**bits and low in (0, -(2 ** (bits - 1)))
        if not whole and levels.count <= _MAX_LEVELS:
            return None
        if not whole or not 1 <= bits <= 16:
            raise self.fail("an input quantised to all integers of 1 to 16 bits (narrow=0)", f"{low} to {high}")
        fraction = -np.log2(scale)
        if fraction < 0 or fraction != int(fraction):
            raise self.fail("an input scale 2**-n, n >= 0", f"{scale:g}; Brevitas: restrict_scaling_type POWER_OF_TWO")
        kind: Literal["signed", "unsigned"] = "signed" if low else "unsigned"
        return Input("input", (), shape, kind, bits, int(fraction)), scale

    def _annotated(self, shape: tuple[int, ...]) -> Input | None:
        """Return the Input that QONNX's annotation of the graph's input tells, None without one."""
        for annotation in self.model.graph.quantization_annotation:
            named = {entry.key: entry.value for entry in annotation.quant_parameter_tensor_names}
            kind = named.get("finn_datatype", "")
            if annotation.tensor_name == self.tensor and kind not in ("", "FLOAT32"):
                if kind == "BIPOLAR":
                    return Input("input", (), shape)
                sign, bits = ("unsigned", kind[4:]) if kind.startswith("UINT") else ("signed", kind[3:])
                if "INT" in kind and bits.isdigit():
                    return Input("input", (), shape, sign, int(bits))  # type: ignore[arg-type]
                raise UserError(f"model {self.name!r}: expected an input BIPOLAR, UINTn or INTn, got {kind}")
        return None

    def _levels(self, node: onnx.NodeProto) -> _Levels:
        if node.op_type == "Sign":
            return _Levels(-1, 2, 1, 1.0)
        if node.op_type == "Trunc":
            raise self.fail("a BipolarQuant or Quant of the input", "a Trunc")
        attributes = _attributes(node)
        if node.op_type == "MultiThreshold":
            if node.input[1] not in self.constants:
                raise self.fail("constant thresholds", node.input[1])
            step, low = attributes.get("out_scale", 1.0), attributes.get("out_bias", 0.0)
            levels = self.constants[node.input[1]].shape[1]
            if not step > 0:
                raise self.fail("an out_scale above 0", step)
            if step == int(step) and low == int(low):
                return _Levels(int(low), int(step), levels, 1.0)
            return _Levels(0, 1, levels, step, low)
        values = []
        for source in node.input[1:]:
            if source not in self.constants or self.constants[source].size != 1:
                raise self.fail("one constant scale, zero point and bit width", f"{source!r}, which is none")
            values.append(float(self.constants[source].item()))
        scale = values[0]
        if not scale > 0:
            raise self.fail("a scale above 0", scale)
        if node.op_type == "BipolarQuant":
            return _Levels(-1, 2, 1, scale)
        _, zero_point, bits = values
        signed = bool(attributes.get("signed", 1))
        if zero_point or not 1 <= bits <= 16 or bits != int(bits):
            raise self.fail("zero point 0 and 1 to 16 bits", f"zero point {zero_point:g} and {bits:g} bits")
        if bits == 1 and signed:  # as qonnx has it
            return _Levels(-1, 2, 1, scale)
        low, high = limits(int(bits), signed, bool(attributes.get("narrow", 0)))
        return _Levels(low, 1, high - low, scale)

    def _observe(self, tensor: str) -> None:
        self.observed[self.last.name] = Observed(tensor, self.positions, self.encoding.scale, self.encoding.shift)

    def _convert(self, node: onnx.NodeProto) -> None:
        kind = node.op_type
        if self.ended:
            raise self.fail("the end of the model after TopK or ArgMax", "another node")
        if kind in qonnx_file.NO_EFFECT:
            return
        if any(self.padding) and kind != "Conv":
            raise self.fail("a Conv after a Pad", kind)
        if kind in qonnx_file.LINEAR:
            self._linear(node)
        elif kind in qonnx_file.SIGNS:
            self._quantiser(node)
        elif kind in qonnx_file.ELEMENTWISE:
            self._wait(node)
        elif kind in qonnx_file.VIEWS:
            if self.pending or self.delayed:
                raise self.fail("a sign before it", f"values of {self.pending_from!r} that wait for one")
            self._view(node)
        elif kind == "MaxPool":
            self._max_pool(node)
        elif kind in qonnx_file.AVERAGES:
            self._average_pool(node)
        elif kind == "Pad":
            self._pad(node)
        else:
            self._tail(node)

    # Views

    def _view(self, node: onnx.NodeProto) -> None:
        shape = next(
            [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*self.model.graph.value_info, *self.model.graph.output)
            if value.name == node.output[0]
        )
        batch = self.positions[None]
        if node.op_type == "Transpose":
            order = _attributes(node).get("perm", list(range(batch.ndim))[::-1])
            batch = batch.transpose(order) if order[0] == 0 else batch[0]
        elif int(np.prod(shape)) == batch.size and shape[:1] == [1]:
            batch = batch.reshape(shape)
        if list(batch.shape) != shape:
            raise self.fail("a view that leaves the batch axis in front", f"shape {shape}")
        self.positions = batch[0]

    def _canonical(self, shape: tuple[int, ...]) -> IntArray:
        return np.moveaxis(np.arange(int(np.prod(shape))).reshape(shape), -1, 0)

    def _settle(self) -> None:
        """See that the tensor is an image with channels first, or a vector; flatten in the Network what is one here."""
        if self.positions.ndim == 1 and len(self.signal.shape) > 1:
            copies = self.signal.size // self.signal.channels
            self.append(Flatten(self.new_name("flatten"), (self.last.name,)))
            self.encoding = self.encoding.tile(copies)
        if self.positions.ndim != 1 and not np.array_equal(self.positions, self._canonical(self.signal.shape)):
            raise self.fail("an operand (1, channels, height, width) or (1, features)", "another order of axes")

    # What waits for a sign

    def _wait(self, node: onnx.NodeProto) -> None:
        self._settle()
        if self.delayed:
            raise self.fail("a sign next after the MaxPool that follows a scale or batch norm", node.op_type)
        data = 0 if node.input[0] == self.tensor else 1
        constants = [source for index, source in enumerate(node.input) if index != data]
        if node.op_type == "BatchNormalization":
            if data != 0:
                raise self.fail("constant parameters", f"{node.input[0]!r} as the operand")
        elif node.op_type == "Div" and data != 0:
            raise self.fail("a division by a constant", "a division of a constant")
        else:
            for source in constants:
                shape = self.constants[source].shape
                spatial = shape[-2:] if self.positions.ndim > 1 else ()
                if len(shape) > self.positions.ndim + 1 or any(
                    n != 1 for n in (*spatial, *shape[: -self.positions.ndim])
                ):
                    raise self.fail("a constant for each channel", f"one of shape {shape}")
        if not self.pending:
            self.pending_from = self.tensor
        self.pending.append(node)

    def _evaluator(self, nodes: list[onnx.NodeProto], source: str) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
        """Return what executes `nodes` on (values, channels) of the tensor `source`, in the operation's order."""
        if not nodes:
            return lambda values: values
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            "pending",
            [helper.make_tensor_value_info(source, TensorProto.FLOAT, None)],
            [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
            [tensor for tensor in self.model.graph.initializer if tensor.name in used],
        )
        model = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        runner = session(model, [nodes[-1].output[0]])
        spatial, order = self.positions.ndim > 1, self.positions

        def evaluate(values: NDArray[np.float32]) -> NDArray[Any]:
            given = values[:, :, None, None] if spatial else values[:, order]
            (result,) = runner.run(None, {source: np.ascontiguousarray(given, np.float32)})
            result = np.asarray(result).reshape(values.shape)
            if not spatial:
                result[:, order] = result.copy()
            return result

        return evaluate

    def _quantiser(self, node: onnx.NodeProto) -> None:
        self._settle()
        nodes, encoding, signal = [*self.pending, node], self.encoding, self.signal
        evaluate = self._evaluator(nodes, self.pending_from if self.pending else self.tensor)
        levels = self._truncated(node, evaluate) if node.op_type == "Trunc" else self._levels(node)
        if not self.pending and not self.delayed and self._changes_nothing(evaluate):
            return
        low, step, steps = levels.low, levels.step, levels.count
        if steps > _MAX_LEVELS:
            raise self.fail(
                "a quantiser of 1 to 4 bits (more are supported for the input alone)", f"{steps + 1} values"
            )

        def formula(end: Literal[-1, 0, 1]) -> Callable[[IntArray], NDArray[np.floating]]:
            def integers(accumulators: IntArray) -> NDArray[np.floating]:
                values = evaluate(encoding.values(accumulators, end)).astype(np.float64)
                results = np.rint((values - levels.shift) / levels.scale)
                off = np.abs(results * levels.scale + levels.shift - values)
                results[off > 4 * UNIT * (np.abs(values) + abs(levels.shift))] = np.nan
                return results if steps > 1 else (results - low) * 2 / step - 1

            return integers

        name, source = self.new_name("threshold"), (self.last.name,)

        def fold(end: Literal[-1, 0, 1]) -> Threshold | MultiThreshold:
            if steps == 1:
                return fold_threshold(name, source, formula(end), signal)
            return fold_multi_threshold(name, source, formula(end), signal, low=low, step=step, levels=steps)

        threshold = fold(0)
        if not encoding.exact:
            ambiguous = int(np.abs(count(fold(1), signal) - count(fold(-1), signal)).sum())
            if ambiguous:
                self.ambiguous[name] = ambiguous
        self.pending = []
        delayed, self.delayed = self.delayed, []
        self.append(threshold)
        scale, shift = levels.scale, levels.shift
        if steps == 1:  # two values, whichever they are, are one bit
            scale, shift = step / 2 * scale, (low + step / 2) * scale + shift
        self.encoding = Encoding.common(self.signal.channels, scale, shift)
        for make in delayed:
            self.append(make())
            self.positions = self._canonical(self.signal.shape)
        self._observe(node.output[0])

    def _truncated(self, node: onnx.NodeProto, evaluate: Callable[[NDArray[np.float32]], NDArray[Any]]) -> _Levels:
        """Find what a Trunc gives: it says how many bits it cuts off, not always which are left."""
        scale = float(self.constants[node.input[4 if len(node.input) == 6 else 1]].item())
        ends = evaluate(self.encoding.values(np.stack([self.signal.low, self.signal.high]), 0)).astype(np.float64)
        low, high = int(np.rint(ends.min() / scale)), int(np.rint(ends.max() / scale))
        return _Levels(low, 1, max(high - low, 1), scale)

    def _changes_nothing(self, evaluate: Callable[[NDArray[np.float32]], NDArray[Any]]) -> bool:
        """Whether a quantiser maps every value that the last operation can give to itself."""
        if not self.encoding.exact or (self.signal.high - self.signal.low).max() > 2**16:
            return False
        steps = int(((self.signal.high - self.signal.low) // self.signal.step).max())
        integers = np.minimum(self.signal.low + np.arange(steps + 1)[:, None] * self.signal.step, self.signal.high)
        values = self.encoding.values(integers, 0)
        return np.array_equal(evaluate(values), values)

    def _absorb(self) -> None:
        """Take waiting nodes that map the values of the last operation to others, evenly apart, into the encoding."""
        if self.delayed:
            raise self.fail("a sign before it", "a MaxPool that waits for one")
        if not self.pending:
            return
        waiting = f"{self.pending[0].name!r} ({self.pending[0].op_type}), whose values are neither bipolar nor integer"
        if not self.encoding.exact or (self.signal.high - self.signal.low).max() > 2**16:
            raise self.fail("a sign before it", waiting)
        evaluate = self._evaluator(self.pending, self.pending_from)
        low = self.signal.low[0]
        steps = int(((self.signal.high - self.signal.low) // self.signal.step).max())
        integers = np.minimum(self.signal.low + np.arange(steps + 1)[:, None] * self.signal.step, self.signal.high)
        values = evaluate(self.encoding.values(integers, 0)).astype(np.float64)
        span = integers[-1, 0] - integers[0, 0]
        scale = (values[-1, 0] - values[0, 0]) / span if span else 0.0
        shift = values[0, 0] - scale * low
        if not scale > 0 or not np.array_equal(scale * integers + shift, values):
            raise self.fail("a sign before it", waiting)
        self.encoding = Encoding.common(self.signal.channels, scale, shift)
        self.pending = []

    # Layers

    def _linear(self, node: onnx.NodeProto) -> None:
        self._absorb()
        self._settle()
        self.encoding = self.encoding.settled(self.signal)
        if not self.encoding.is_common:
            raise self.fail("a sign between two layers of weights", f"the scaled sums of {self.last.name!r}")
        if node.input[0] != self.tensor or node.input[1] not in self.constants:
            raise self.fail("constant weights as the second operand", ", ".join(node.input))
        kernel, attributes = self.constants[node.input[1]], _attributes(node)
        encoding, operand, source = self.encoding, self.signal, (self.last.name,)
        magnitude = np.maximum(*(np.abs(encoding.scale * end + encoding.shift) for end in (operand.low, operand.high)))
        operation: Operation
        if node.op_type == "Conv":
            if kernel.ndim != 4:
                raise self.fail("a 2-D convolution", f"weights {kernel.shape}")
            if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
                raise self.fail("auto_pad NOTSET", attributes["auto_pad"].decode())
            groups, dilation = attributes.get("group", 1), attributes.get("dilations", [1, 1])
            weight, alpha, deviation = factor(kernel.transpose(0, 2, 3, 1), self.where)
            weight, deviation = (dilated(grouped(of, groups), tuple(dilation)) for of in (weight, deviation))
            padding, pad_value = self._conv_padding(attributes.get("pads", [0, 0, 0, 0]))
            operation = Conv2d(
                self.new_name("conv"),
                source,
                weight=weight,
                stride=tuple(attributes.get("strides", [1, 1])),
                padding=padding,
                pad_value=pad_value,
            )
            magnitude = np.tile(np.maximum(magnitude, abs(self.pad_real)), weight[0, ..., 0].size)
        else:
            if kernel.ndim != 2 or self.positions.ndim != 1:
                raise self.fail("a vector and a matrix", f"shapes {self.positions.shape} and {kernel.shape}")
            if node.op_type == "Gemm":
                if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
                    raise self.fail("alpha 1, beta 1 and transA 0", attributes)
                kernel = kernel.T if attributes.get("transB", 0) else kernel
            if len(kernel) != self.positions.size:
                raise self.fail(f"weights of {self.positions.size} inputs", f"shape {kernel.shape}")
            ordered = np.empty_like(kernel)
            ordered[self.positions] = kernel
            weight, alpha, deviation = factor(np.ascontiguousarray(ordered.T), self.where)
            operation = Dense(self.new_name("dense"), source, weight=weight)
        self.append(operation)
        rows = weight.reshape(len(weight), -1)
        self.encoding = sum_error(rows, alpha, deviation.reshape(rows.shape), encoding, magnitude)
        if len(node.input) > 2 and node.input[2]:
            self._bias(self.constants[node.input[2]].astype(np.float64).ravel(), rows, magnitude, alpha)
        self.padding, self.pad_real = (0, 0, 0, 0), 0.0
        self.positions = self._canonical(self.signal.shape)
        self._observe(node.output[0])

    def _bias(self, bias: FloatArray, rows: NDArray[np.int8], magnitude: FloatArray, alpha: FloatArray) -> None:
        """Add a bias inside a layer: as one more term, which may be added at any time."""
        bias = np.broadcast_to(bias, alpha.shape)
        total = (np.abs(rows) @ magnitude) * alpha + np.abs(bias)
        terms = np.count_nonzero(rows, axis=1) + 1
        error = np.where(bias == 0, 0.0, 2 * terms * UNIT * total)
        self.encoding = replace(
            self.encoding, shift=self.encoding.shift + bias, fixed=self.encoding.fixed + error
        )  # fmt: skip

    def _conv_padding(self, pads: list[int]) -> tuple[tuple[int, int, int, int], int]:
        top, left, bottom, right = pads
        inner, outer = (top, bottom, left, right), self.padding
        if any(inner) and any(outer):
            raise self.fail("either a Pad or pads of the Conv", "both")
        padding = outer if any(outer) else inner
        if not any(padding):
            return padding, 0
        scale, shift = float(self.encoding.scale[0]), float(self.encoding.shift[0])
        integer = (self.pad_real - shift) / scale
        if shift or integer not in ((-1, 0, 1) if self.signal.bipolar else (0,)):
            raise self.fail("padding by one of the operand's values, or by 0 that is no other", f"{self.pad_real:g}")
        return padding, int(integer)

    def _pad(self, node: onnx.NodeProto) -> None:
        self._absorb()
        self._settle()
        attributes = _attributes(node)
        pads = attributes.get("pads") or (self.constants[node.input[1]].tolist() if len(node.input) > 1 else [])
        self.pad_real = float(attributes.get("value", 0.0))
        if len(node.input) > 2 and node.input[2]:
            self.pad_real = float(self.constants[node.input[2]].item())
        if attributes.get("mode", b"constant") != b"constant" or len(pads) != 8 or any(pads[:2]) or any(pads[4:6]):
            raise self.fail("constant padding of rows and columns", f"pads {pads}")
        self.padding = (pads[2], pads[6], pads[3], pads[7])

    def _max_pool(self, node: onnx.NodeProto) -> None:
        self._settle()
        attributes = _attributes(node)
        size = attributes["kernel_shape"]
        rest = {"pads": {0}, "dilations": {1}}
        plain = all(set(attributes.get(key, allowed)) == allowed for key, allowed in rest.items())
        if not plain or attributes.get("ceil_mode", 0) or len(size) != 2 or self.positions.ndim != 3:
            raise self.fail("a 2-D MaxPool without padding, with dilation 1 and ceil_mode 0", attributes)
        if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise self.fail("auto_pad NOTSET", attributes["auto_pad"].decode())
        name, strides = self.new_name("pool"), attributes.get("strides", [1, 1])

        def make() -> Operation:
            return MaxPool2d(name, (self.last.name,), size=tuple(size), stride=tuple(strides))

        if self.pending or self.delayed:  # a maximum commutes with the sign that follows, which never falls
            self.delayed.append(make)
            self.pending.append(helper.make_node("Identity", [self.tensor], [node.output[0]], node.name))
            return
        self.append(make())
        self.positions = self._canonical(self.signal.shape)
        if self.signal.bipolar:
            self._observe(node.output[0])

    def _average_pool(self, node: onnx.NodeProto) -> None:
        self._absorb()
        self._settle()
        attributes = _attributes(node)
        if self.positions.ndim != 3:
            raise self.fail("an image to average", f"a tensor of shape (1, {len(self.positions)})")
        size = attributes.get("kernel_shape", list(self.signal.shape[:2]))
        if node.op_type == "ReduceMean":
            self._check_reduced_axes(node, attributes)
        if set(attributes.get("dilations", [1])) != {1} or attributes.get("ceil_mode", 0) or len(size) != 2:
            raise self.fail("a 2-D AveragePool with dilation 1 and ceil_mode 0", attributes)
        if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise self.fail("auto_pad NOTSET", attributes["auto_pad"].decode())
        top, left, bottom, right = attributes.get("pads", [0] * 4)
        stride, operand, source = tuple(attributes.get("strides", [1, 1])), self.signal, (self.last.name,)
        operation: Operation
        if not any((top, left, bottom, right)):
            operation = SumPool2d(self.new_name("pool"), source, size=tuple(size), stride=stride)
        elif not attributes.get("count_include_pad", 0):
            raise self.fail("count_include_pad 1 where an AveragePool pads: all means of as many values", "0")
        elif self.encoding.shift.any():
            raise self.fail("padding by 0 where the operand's integers are multiples of a scale", "others")
        else:  # a sum of each channel alone, in which positions around the image count as 0
            ones = np.ones((operand.channels, *size, 1), np.int8)
            operation = Conv2d(
                self.new_name("pool"),
                source,
                weight=grouped(ones, operand.channels),
                stride=stride,
                padding=(top, bottom, left, right),
            )
        self.encoding = averaged(self.encoding, operand, size[0] * size[1])
        self.append(operation)
        self.positions = self._canonical(self.signal.shape)
        if node.op_type == "ReduceMean" and not attributes.get("keepdims", 1):
            self.positions = self.positions.ravel()
        self._observe(node.output[0])

    def _check_reduced_axes(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        axes = attributes.get("axes", [])
        if len(node.input) > 1 and node.input[1]:  # since opset 18
            axes = self.constants[node.input[1]].ravel().tolist()
        if sorted(axis % 4 for axis in axes) != [2, 3]:
            raise self.fail("the mean over axes 2 and 3, height and width", f"axes {list(axes)}")

    def _add(self, node: onnx.NodeProto) -> None:
        """Add two results."""
        terms = []
        for source in node.input:
            self._restore(source)
            if any(self.padding) or self.ended:
                raise self.fail("a result to add", f"{source!r}")
            self._absorb()
            self._settle()
            terms.append((self.last.name, self.encoding, self.positions))
        (left, first, order), (right, second, other) = terms
        if not np.array_equal(order, other):
            raise self.fail("two results of one shape and order of axes", f"shapes {order.shape} and {other.shape}")
        self.encoding = self.add((left, right), (first, second))
        self._observe(node.output[0])

    # The end

    def _tail(self, node: onnx.NodeProto) -> None:
        attributes = _attributes(node)
        axis, k = attributes.get("axis", -1 if node.op_type == "TopK" else 0), 1
        if node.op_type == "TopK":
            k = int(self.constants[node.input[1]].item()) if len(node.input) > 1 else attributes.get("k", 1)
        if axis not in (1, -1) or k != 1 or not attributes.get("largest", 1) or attributes.get("select_last_index", 0):
            raise self.fail("the index of the one largest score, the first of several", f"{attributes}, k={k}")
        self.ended = True

    def _finish(self) -> None:
        self._settle()
        signal, encoding = self.signal, self.encoding
        if self.delayed or any(self.padding):
            raise self.fail("a sign, or a convolution, after it", "the end of the model")
        if self.positions.ndim != 1 or not np.array_equal(self.positions, np.arange(signal.size)):
            raise self.fail("the scores of a layer of weights, (1, classes)", f"shape {self.positions.shape}")
        if self.pending or not (signal.bipolar or (encoding.exact and encoding.is_common)):
            evaluate, nodes = self._evaluator(self.pending, self.pending_from), list(self.pending)

            def real(accumulator: int) -> FloatArray:
                values = encoding.scale * accumulator + encoding.shift
                for node in nodes:
                    values = self._real(node, values)
                return values

            intercept = real(0)
            slope = real(1) - intercept
            source = (self.last.name,)
            if any(self.constants[name].dtype == np.int64 for node in nodes for name in node.input[1:]):
                scores = Affine("affine", source, scale=slope.astype(np.int64), offset=intercept.astype(np.int64))
                if not (np.array_equal(scores.scale, slope) and np.array_equal(scores.offset, intercept)):
                    raise self.fail("integers all the way", "fractions that are cut off")
                self.append(scores)
            else:

                def formula(end: Literal[-1, 0, 1]) -> Callable[[IntArray], NDArray[np.floating]]:
                    return lambda accumulators: evaluate(encoding.values(accumulators, end))

                interval = None if encoding.exact else (formula(-1), formula(1))
                self.append(fold_affine("affine", source, formula(0), signal, slope, intercept, interval=interval))
        signal = self.signal
        if self.ended or (not signal.bipolar and signal.channels > 1):
            self.append(Argmax("argmax", (self.last.name,)))

    def _real(self, node: onnx.NodeProto, values: FloatArray) -> FloatArray:
        """Compute a waiting node in real numbers."""
        kind = node.op_type
        if kind in ("Cast", "Identity"):
            return values
        first = node.input[0] not in self.constants
        others = [self.constants[name].astype(np.float64).ravel() for name in node.input if name in self.constants]
        if kind == "BatchNormalization":
            gamma, beta, mean, variance = others
            return (values - mean) / np.sqrt(variance + _attributes(node).get("epsilon", 1e-5)) * gamma + beta
        (other,) = others
        left, right = (values, other) if first else (other, values)
        compute: Callable[[FloatArray, FloatArray], FloatArray] = getattr(np, _REAL[kind])
        return compute(left, right)


def _in_order(model: onnx.ModelProto, known: set[str]) -> list[onnx.NodeProto]:
    """List the nodes, each after those whose results it takes."""
    known, waiting, ordered = {"", *known}, list(model.graph.node), []
    while ready := [node for node in waiting if known.issuperset(node.input)]:
        ordered += ready
        known.update(output for node in ready for output in node.output)
        waiting = [node for node in waiting if node not in ready]
    if waiting:
        name, operand = waiting[0].name, next(source for source in waiting[0].input if source not in known)
        raise UserError(f"node {name!r} ({waiting[0].op_type}): no node computes its operand {operand!r}")
    return ordered


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
