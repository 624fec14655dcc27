"""QONNX, which Brevitas and FINN export: a graph of nodes becomes a Network.

A reader for the core (:mod:`xnorflow.bnn.frontends.core`): it tells constants from what depends on the input, and the
core what each node does. Element-wise nodes, quantisers among them, are executed by onnxruntime, one by one and in
float32, on every value that the integers before them can take. ``BipolarQuant`` and a signed ``Quant`` of one bit give
+1 at 0, as qonnx has them; ``Sign`` gives 0 there, which makes three values where 0 is reached.

Sums that float32 may round are bounded for any order of summation (:mod:`xnorflow.bnn.frontends.core.sums`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from xnorflow.bnn.errors import NetworkError, UserError
from xnorflow.bnn.frontends import qonnx_file as file
from xnorflow.bnn.frontends.core.assembler import Assembler, Conversion, Geometry, Observed, Value, Window
from xnorflow.bnn.frontends.core.check import Survey
from xnorflow.bnn.frontends.core.fixed import Fixed
from xnorflow.bnn.frontends.qonnx_model import Prepared, prepare
from xnorflow.bnn.frontends.qonnx_step import computing
from xnorflow.bnn.network import Input, IntArray
from xnorflow.bnn.qonnx_lowering import QUANTISERS, Attributes, limits, named, session

_MOST = 256  # values of an activation


@dataclass(frozen=True, eq=False)
class QonnxConversion(Conversion):
    """A converted model; places are names of tensors.

    Attributes
    ----------
    model : onnx.ModelProto
        The file's model, its constants folded.
    batch : int
        Vectors that it takes at a time.
    input : Observed
        The tensor that takes the Network's input, not always that of the whole graph.
    whole : bool
        Whether it is.
    """

    model: onnx.ModelProto
    batch: int
    input: Observed
    whole: bool


def trace(
    model: onnx.ModelProto, name: str, describe: Callable[[tuple[int, ...]], Input], fixed: Fixed | None = None
) -> QonnxConversion:
    """Convert a model that :func:`xnorflow.bnn.frontends.qonnx_file.load` has read.

    Parameters
    ----------
    model : onnx.ModelProto
    name : str
        Name of the Network.
    describe : callable
        From the input's shape, channels last, to the Input of a model that does not tell which integers it takes: one
        that neither quantises its input nor annotates it with a QONNX data type.
    fixed : Fixed, optional
        To how many bits real weights are rounded, which are refused without it.

    Raises
    ------
    UserError
        For anything that cannot be converted; the message names the node, what it is and what is supported.
    """
    reader = _QonnxReader(_prepared(model, name), name, describe, fixed)
    return reader.conversion(reader.walk())


def check(
    model: onnx.ModelProto, name: str, describe: Callable[[tuple[int, ...]], Input], fixed: Fixed | None = None
) -> Survey:
    """Say of every node of a model whether :func:`trace` takes it, and if not, why.

    Parameters
    ----------
    model : onnx.ModelProto
        That :func:`xnorflow.bnn.frontends.qonnx_file.load` has read, of whatever operators.
    name, describe, fixed
        As :func:`trace` takes them.

    Raises
    ------
    UserError
        If its constants cannot be computed, or it has no input that can be described.
    """
    survey = Survey()
    reader = _QonnxReader(_prepared(model, name), name, describe, fixed, survey)
    value = reader.walk()
    if value is not None:
        reader.core.check_end(value, name, reader.chosen)
    return survey


def _prepared(model: onnx.ModelProto, name: str) -> Prepared:
    try:
        return prepare(model)
    except UserError as error:
        raise UserError(f"model {name!r}, {error}") from None


class _QonnxReader:
    """Walks the nodes in order, with the value of each tensor."""

    def __init__(
        self,
        prepared: Prepared,
        name: str,
        describe: Callable[[tuple[int, ...]], Input],
        fixed: Fixed | None,
        survey: Survey | None = None,
    ) -> None:
        self.name, self.prepared, self.describe, self.survey = name, prepared, describe, survey
        self.model, self.constants, self.shapes = prepared.model, prepared.constants, prepared.shapes
        self.core = Assembler(f"model {name!r}", survey=survey, fixed=fixed)
        self.chosen = False

    def walk(self) -> Value:
        """Take all nodes; return the result that the network is to give."""
        nodes = list(self.model.graph.node)
        following = self._begin(nodes)
        if self.survey:
            for node in nodes[: len(nodes) - len(following)]:
                self.survey.take(self._named(node))
        for node in following:
            self.core.at(self._named(node), node.output[0])
            if self.survey:
                self.survey.take(self.core.where)
            self.core.taking(lambda: self._convert(node), lambda: self._stand_in(node))  # noqa: B023 (called at once)
        return self._end()

    def _named(self, node: onnx.NodeProto) -> str:
        return f"model {self.name!r}, {named(node)}"

    def _stand_in(self, node: onnx.NodeProto) -> None:
        self.values |= {name: self.core.stand_in(self._shape(name) or (1,)) for name in node.output if name}

    def conversion(self, value: Value) -> QonnxConversion:
        """End with a result."""
        core, prepared = self.core, self.prepared
        try:
            network, scores = core.finish(value, self.name, self.chosen)
        except NetworkError as error:
            raise UserError(f"model {self.name!r}: {error}") from None
        if prepared.batch > 1:
            core.notes.append(
                f"model {self.name!r}: exported for {prepared.batch} vectors at a time; the network takes one"
            )
        notes, known = tuple(core.notes), (core.ambiguous, core.observed)
        return QonnxConversion(
            network, notes, *known, scores, core.rounded, self.model, prepared.batch, self.taken, self.whole
        )  # fmt: skip

    # The ends

    def _end(self) -> Value:
        """Return the result that the network is to give: a class before scores."""
        for output in self.model.graph.output:
            if output.name not in self.values:
                raise UserError(f"model {self.name!r}: no node computes its output {output.name!r}")
        ends = [output.name for output in self.model.graph.output]
        first = next((name for name in ends if self.values[name].ended), ends[0])
        value = self.values[first]
        if any(self.values[name].sources != value.sources for name in ends):
            raise UserError(f"model {self.name!r}: expected one output, got {', '.join(ends)}")
        return value

    def _begin(self, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """Make the Input; returns the nodes that follow it."""
        whole = self.model.graph.input[0].name
        shape = self._shape(whole)
        first = self._is_channels_last(nodes, whole)
        last = shape if first else (*shape[1:], shape[0])
        if len(last) == 2:
            last = (1, *last)
        index = np.arange(int(np.prod(last))).reshape(last)
        self.whole_positions = (index if first else np.moveaxis(index, -1, 0)).reshape(shape)
        tensor, positions = whole, self.whole_positions
        host, made, scale, after, every = False, None, 1.0, 0, True
        for number, node in enumerate(nodes, 1):
            after = number
            self.core.at(self._named(node), node.output[0])
            alone = [other for other in nodes if tensor in other.input] == [node]
            if alone and node.op_type in QUANTISERS and (found := self._quantised(node, last)):
                made, scale, every = found
                tensor = tensor if every else node.output[0]
                break
            if alone and node.op_type in ("Mul", "Div", "Add", "Sub"):
                tensor, host = node.output[0], True
            elif alone and node.op_type in file.VIEWS:
                tensor, positions = node.output[0], self._moved(node, tensor, positions)
            elif alone and node.op_type in file.NO_EFFECT:
                tensor = node.output[0]
            else:
                break
        if made is None:
            made = self._annotated(whole, last) or self.describe(last)
            tensor, positions, host, after, scale = whole, self.whole_positions, False, 0, 2.0**-made.fraction
        if not nodes:
            raise UserError(f"model {self.name!r}: expected layers of weights, got none")
        if host:
            self.core.notes.append(
                f"model {self.name!r}: what stands before {named(nodes[after - 1])}, the quantiser of the input, is "
                "left to the host"
            )
        if not every:
            self.core.notes.append(
                f"model {self.name!r}: {named(nodes[after - 1])}, the quantiser of the input, never gives the lowest "
                f"or highest integer of its {made.bits} bits; the network takes that, too"
            )
        if made.kind != "bipolar" and scale != 2.0**-made.fraction:
            self.core.notes.append(f"model {self.name!r}: the input is given as integers, multiples of {scale:g}")
        channels = made.shape[-1]
        self.taken = Observed(tensor, positions, np.full(channels, scale), np.zeros(channels))
        self.whole = every and not host
        self.core.place = nodes[after - 1].output[0] if after else whole
        value = self.core.start(made, positions, scale)
        self.values = {str(self.core.place): value}
        return nodes[after:]

    def _is_channels_last(self, nodes: list[onnx.NodeProto], tensor: str) -> bool:
        """Whether the first thing that happens to the input's axes is that its last one comes to the front.

        Or that it alone is multiplied.
        """
        for node in nodes:
            if tensor in node.input:
                axes = len(self.shapes[tensor])
                if node.op_type == "MatMul":
                    return axes > 2
                if node.op_type == "Transpose":
                    return list(_attributes(node).get("perm", [])) == [0, axes - 1, *range(1, axes - 1)]
                if node.op_type not in (*file.ELEMENTWISE, *file.NO_EFFECT):
                    return False
                tensor = node.output[0]
        return False

    def _quantised(self, node: onnx.NodeProto, shape: tuple[int, ...]) -> tuple[Input, float, bool] | None:
        """Return the Input that a quantiser gives, its scale, and whether it gives every integer that the Input takes.

        None if it is an activation of other integers.
        """
        if node.op_type not in ("BipolarQuant", "Quant", "IntQuant"):
            return None
        values = []
        for source in node.input[1:]:
            if source not in self.constants or self.constants[source].size != 1:
                raise self.core.fail("one constant scale, zero point and bit width", f"{source!r}, which is none")
            values.append(float(self.constants[source].item()))
        scale = values[0]
        if not scale > 0:
            raise self.core.fail("a scale above 0", scale)
        if node.op_type == "BipolarQuant":
            return Input("input", (), shape), scale, True
        attributes, (_, zero_point, width) = _attributes(node), values
        signed, bits = bool(attributes.get("signed", 1)), int(width)
        if zero_point or not 1 <= width <= 16 or width != bits:
            raise self.core.fail("zero point 0 and 1 to 16 bits", f"zero point {zero_point:g} and {width:g} bits")
        if bits == 1 and signed:  # as qonnx has it
            return Input("input", (), shape), scale, True
        low, high = limits(bits, signed, bool(attributes.get("narrow", 0)))
        if not (every := high - low + 1 == 2**bits):
            if high - low < _MOST and self._annotated(self.model.graph.input[0].name, shape):
                return None
            if high - low < 16:
                return None
        fraction = -np.log2(scale)
        kind: Literal["signed", "unsigned"] = "signed" if signed else "unsigned"
        fixed = fraction == int(fraction) and fraction >= 0
        return Input("input", (), shape, kind, bits, int(fraction) if fixed else 0), scale, every

    def _annotated(self, tensor: str, shape: tuple[int, ...]) -> Input | None:
        """Return the Input that QONNX's annotation of the graph's input tells, None without one."""
        for annotation in self.model.graph.quantization_annotation:
            entries = {entry.key: entry.value for entry in annotation.quant_parameter_tensor_names}
            kind = entries.get("finn_datatype", "")
            if annotation.tensor_name == tensor and kind not in ("", "FLOAT32"):
                if kind == "BIPOLAR":
                    return Input("input", (), shape)
                kind = {"BINARY": "UINT1", "TERNARY": "INT2"}.get(kind, kind)
                sign, bits = ("unsigned", kind[4:]) if kind.startswith("UINT") else ("signed", kind[3:])
                if "INT" in kind and bits.isdigit():
                    return Input("input", (), shape, sign, int(bits))  # type: ignore[arg-type]
                raise UserError(
                    f"model {self.name!r}: expected an input BIPOLAR, BINARY, TERNARY, UINTn or INTn, got {kind}"
                )
        return None

    # Nodes

    def _convert(self, node: onnx.NodeProto) -> None:
        kind, core = node.op_type, self.core
        operands = [name for name in dict.fromkeys(node.input) if name and name not in self.constants]
        missing = [name for name in operands if name not in self.values]
        if missing:
            raise core.fail("what follows the quantiser of the input", f"{missing[0]!r}, which stands before it")
        values = [self.values[name] for name in operands]
        ended = next((value.ended for value in values if value.ended), "")
        value = values[0]
        if ended and kind not in (*file.TAILS, *file.NO_EFFECT):
            raise UserError(f"{ended}: expected it at the end of the model, got {named(node)} after it")
        if kind in file.NO_EFFECT:
            result = value
        elif kind in ("Add", "Sub") and len(values) == 2 and not values[0].same_integers(values[1]):
            result = core.sum_of(values) if kind == "Add" else core.difference_of(*values)
        elif kind in file.ELEMENTWISE:
            result = self._elementwise(node, values)
        elif kind == "Concat":
            result = self._concatenated(node, values)
        elif len(values) != 1:
            raise core.fail("one operand that is not constant", ", ".join(operands))
        elif kind == "Split":
            for index, name in enumerate(node.output):
                self.values[name] = core.view(value, self._moved(node, operands[0], value.positions, index))
            return
        elif kind in file.VIEWS:
            result = core.view(value, self._moved(node, operands[0], value.positions))
        elif kind in ("MatMul", "Gemm"):
            result = self._dense(node, value)
        elif kind in ("Conv", "ConvTranspose"):
            result = self._convolution(node, value)
        elif kind in file.WHOLE:
            result = self._over_image(node, value)
        elif kind in file.MAXIMA:
            result = self._max_pool(node, value)
        elif kind in file.AVERAGES:
            result = self._average(node, value)
        elif kind == "Pad":
            result = self._pad(node, value)
        elif kind in file.SOFTMAX:
            self._check_axis(node, value, _attributes(node).get("axis", -1))
            result = core.end(value, "the softmax is left out; it does not change the order of the scores")
        elif reason := file.unsupported(node):
            raise UserError(f"{core.where}: {reason}")
        else:
            result = self._tail(node, value)
        self.values |= dict.fromkeys((name for name in node.output if name), result)

    def _shape(self, tensor: str) -> tuple[int, ...]:
        """Return a tensor's shape without its batch axis."""
        return tuple(self.shapes[tensor][1:])

    # Element by element

    def _elementwise(self, node: onnx.NodeProto, values: list[Value]) -> Value:
        shape, kind = values[0].positions.shape, node.op_type
        names = [name for name in dict.fromkeys(node.input) if name and name in self.constants]
        single = {name: self.constants[name] for name in names if self.constants[name].size == 1}
        axis = (-1, *[1] * (len(shape) - 1))
        columns: list[tuple[str, NDArray[Any]]] = []
        for name in names:
            constant = self.constants[name]
            if kind == "MultiThreshold":
                columns += [(name, level) for level in self._thresholds(node, constant, shape)]
            elif kind == "BatchNormalization":
                columns.append((name, constant.reshape(axis)))
            elif name not in single:
                columns.append((name, self._for_each_vector(constant, shape)))
        values, found = self.core.by_channel(values, [column for _, column in columns])
        fixed = {name: constant.reshape([] if kind == "Clip" else [1]) for name, constant in single.items()}
        for name, _ in columns:
            mine = [column for (other, _), column in zip(columns, found, strict=True) if other == name]
            fixed[name] = np.stack(mine, axis=1) if kind == "MultiThreshold" else mine[0]
        kinds: dict[str, Literal["sign", "scores"]] = {"Sign": "sign", **dict.fromkeys(file.SCORES, "scores")}
        axes = len(shape) + 1
        return self.core.step(values, computing(self.model, node, fixed, axes), kinds.get(kind, ""))

    def _for_each_vector(self, constant: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return a constant as it meets one vector of a batch."""
        whole = (self.prepared.batch, *shape)
        try:
            spread = np.broadcast_to(constant, whole)
        except ValueError:
            raise self.core.fail(f"constants that fit shape {whole}", f"one of shape {constant.shape}") from None
        if not (spread == spread[:1]).all():
            raise self.core.fail("the same constants for every vector", "others")
        by_channel: NDArray[Any] = spread[0]
        return by_channel

    def _thresholds(
        self, node: onnx.NodeProto, constant: NDArray[Any], shape: tuple[int, ...]
    ) -> list[NDArray[Any]]:  # fmt: skip
        """Return the thresholds of each level, as they broadcast to a tensor's shape."""
        last = _attributes(node).get("data_layout", b"NCHW").decode() in ("NHWC", "NWC")
        if constant.ndim != 2 or constant.shape[0] not in (1, shape[-1] if last else shape[0]):
            raise self.core.fail(f"thresholds (channels, levels) for shape {shape}", f"shape {constant.shape}")
        return [level if last else level.reshape(-1, *[1] * (len(shape) - 1)) for level in constant.T]

    # Views

    def _moved(self, node: onnx.NodeProto, tensor: str, positions: IntArray, output: int = 0) -> IntArray:
        """Return the positions after a node that moves, drops or repeats elements: by executing it on them."""
        core, batch, size = self.core, self.prepared.batch, int(positions.max(initial=0)) + 1
        attributes = _attributes(node)
        if node.op_type == "Resize" and attributes.get("mode", b"nearest") != b"nearest":
            raise core.fail("mode nearest", attributes["mode"].decode())
        if size * batch >= 2**24:
            raise core.fail(f"at most {2**24:,} values", f"{size * batch:,}")
        index = positions + size * np.arange(batch).reshape(-1, *[1] * positions.ndim)
        used = [name for name in dict.fromkeys(node.input) if name in self.constants]
        graph = helper.make_graph(
            [node],
            "view",
            [helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None)],
            [onnx.ValueInfoProto(name=node.output[output])],
            [numpy_helper.from_array(self.constants[name], name) for name in used],
        )
        single = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        try:
            (moved,) = session(single, [node.output[output]]).run(None, {tensor: index.astype(np.float32)})
        except UserError:
            raise
        except Exception as error:  # onnxruntime has an exception of its own for each kind of failure
            raise core.fail("a view that can be computed", str(error).splitlines()[0]) from None
        moved = moved.astype(np.int64)
        offset = size * np.arange(batch).reshape(-1, *[1] * (moved.ndim - 1))
        if moved.shape[:1] != (batch,) or moved.ndim < 2 or not np.array_equal(moved, moved[:1] + offset):
            raise core.fail("a view that leaves the batch axis in front", f"shape {moved.shape}")
        return np.ascontiguousarray(moved[0])

    def _concatenated(self, node: onnx.NodeProto, values: list[Value]) -> Value:
        axis = _attributes(node).get("axis", 1)
        axes = values[0].positions.ndim + 1
        if axis % axes == 0:
            raise self.core.fail("a concatenation that leaves the batch axis alone", "axis 0")
        both = [self.values[name] if name in self.values else self._beside(self.constants[name]) for name in node.input]
        return self.core.concatenate(both, axis % axes - 1)

    def _beside(self, constant: NDArray[Any]) -> NDArray[np.float64]:
        """Return constants that are concatenated with a tensor, as they meet one vector of a batch."""
        return self._for_each_vector(constant, constant.shape[1:]).astype(np.float64)

    # Layers

    def _weights(self, node: onnx.NodeProto) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        if node.input[0] in self.constants or node.input[1] not in self.constants:
            raise self.core.fail("constant weights as the second operand", ", ".join(node.input))
        bias = None
        if len(node.input) > 2 and node.input[2]:
            if node.input[2] not in self.constants:
                raise self.core.fail("a constant bias", f"{node.input[2]!r}")
            bias = self.constants[node.input[2]].astype(np.float64).ravel()
        return self.constants[node.input[1]].astype(np.float32), bias

    def _dense(self, node: onnx.NodeProto, value: Value) -> Value:
        kernel, bias = self._weights(node)
        attributes = _attributes(node)
        if node.op_type == "Gemm":
            if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
                raise self.core.fail("alpha 1, beta 1 and transA 0", attributes)
            kernel = kernel if attributes.get("transB", 0) else kernel.T
        elif kernel.ndim == 2:
            kernel = kernel.T
        if kernel.ndim != 2:
            raise self.core.fail("a matrix of weights", f"shape {kernel.shape}")
        return self.core.dense(value, kernel, bias)

    def _convolution(self, node: onnx.NodeProto, value: Value) -> Value:
        kernel, bias = self._weights(node)
        attributes, axes = _attributes(node), value.positions.ndim - 1
        if kernel.ndim != axes + 2 or axes not in (1, 2):
            raise self.core.fail(
                "an image and a 2-D convolution, or a sequence and a 1-D one", f"weights {kernel.shape}"
            )
        if axes == 1:
            kernel = kernel[:, :, None]
        stride, dilation = (self._pair(attributes.get(of, [1] * axes)) for of in ("strides", "dilations"))
        groups = attributes.get("group", 1)
        if node.op_type == "Conv":
            padding = self._pads(node, value, self._pair(kernel.shape[2:]), stride, dilation)
            geometry = Geometry(stride, padding, dilation, groups)
            return self.core.convolution(value, kernel.transpose(0, 2, 3, 1), geometry, bias)
        if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or "output_shape" in attributes:
            raise self.core.fail("pads and output_padding, rather than auto_pad or output_shape", attributes)
        padding = _sides(attributes.get("pads", [0] * 2 * axes))
        extra = attributes.get("output_padding", [0] * axes)
        geometry = Geometry(stride, padding, dilation, groups)
        return self.core.transposed(
            value, kernel.transpose(0, 2, 3, 1), geometry, (0, extra[0]) if axes == 1 else tuple(extra), bias
        )  # fmt: skip

    def _pair(self, lengths: Any) -> tuple[int, int]:
        return (1, int(lengths[0])) if len(lengths) == 1 else (int(lengths[0]), int(lengths[1]))

    def _pads(
        self,
        node: onnx.NodeProto,
        value: Value,
        size: tuple[int, int],
        stride: tuple[int, int],
        dilation: tuple[int, int] = (1, 1),
    ) -> tuple[int, int, int, int]:
        """Return (top, bottom, left, right) for what the node says or asks onnx to find."""
        attributes, axes = _attributes(node), value.positions.ndim - 1
        auto = attributes.get("auto_pad", b"NOTSET").decode()
        if auto in ("NOTSET", "VALID"):
            return _sides(attributes.get("pads", [0] * 2 * axes) if auto == "NOTSET" else [0] * 2 * axes)
        whole = (1, *value.positions.shape[1:])[-2:]
        sides: list[int] = []
        for length, taps, step, apart in zip(whole, size, stride, dilation, strict=True):
            total = max((-(-length // step) - 1) * step + (taps - 1) * apart + 1 - length, 0)
            small, large = total // 2, total - total // 2
            sides += [small, large] if auto == "SAME_UPPER" else [large, small]
        top, bottom, left, right = sides
        return top, bottom, left, right

    def _pad(self, node: onnx.NodeProto, value: Value) -> Value:
        attributes = _attributes(node)
        pads = attributes.get("pads") or (self.constants[node.input[1]].tolist() if len(node.input) > 1 else [])
        real = float(attributes.get("value", 0.0))
        if len(node.input) > 2 and node.input[2]:
            real = float(self.constants[node.input[2]].item())
        axes = value.positions.ndim + 1
        if len(node.input) > 3 and node.input[3]:
            some, given = [int(axis) % axes for axis in self.constants[node.input[3]]], pads
            pads = [0] * 2 * axes
            for number, axis in enumerate(some):
                pads[axis], pads[axes + axis] = given[number], given[len(some) + number]
        half = len(pads) // 2
        if attributes.get("mode", b"constant") != b"constant" or half != axes or pads[0] or pads[half]:
            raise self.core.fail("constant padding of channels, rows and columns", f"pads {pads}")
        return self.core.padded(value, [*zip(pads[1:half], pads[half + 1 :], strict=True)], real)

    # Pools

    def _over_image(self, node: onnx.NodeProto, value: Value) -> Value:
        """Take the mean, the sum or the maximum over rows, columns or both of an image."""
        attributes = _attributes(node)
        over = attributes.get("axes", [])
        if len(node.input) > 1 and node.input[1]:  # since opset 18
            over = self.constants[node.input[1]].ravel().tolist()
        return self.core.over_image(value, over, file.WHOLE[node.op_type], keep=bool(attributes.get("keepdims", 1)))

    def _size(self, node: onnx.NodeProto, value: Value) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return size and stride of a pool."""
        attributes, axes = _attributes(node), value.positions.ndim - 1
        if axes not in (1, 2):
            raise self.core.fail("an image or a sequence to pool", f"shape (N, {value.positions.size})")
        if "kernel_shape" in attributes:
            if set(attributes.get("dilations", [1])) != {1} or len(attributes["kernel_shape"]) != axes:
                raise self.core.fail(f"a pool of {axes} dimensions with dilation 1", attributes)
            return self._pair(attributes["kernel_shape"]), self._pair(attributes.get("strides", [1] * axes))
        whole = self._pair(value.positions.shape[1:])
        return whole, whole

    def _max_pool(self, node: onnx.NodeProto, value: Value) -> Value:
        size, stride = self._size(node, value)
        top, _, left, _ = self._pads(node, value, size, stride)
        padding = [top, 0, left, 0]
        if "kernel_shape" in _attributes(node):  # what the last window lacks, whoever asks for it
            before, after = (self._pair(of) for of in (value.positions.shape[1:], self._shape(node.output[0])[1:]))
            for axis in range(2):
                lacking = (after[axis] - 1) * stride[axis] + size[axis] - before[axis] - padding[2 * axis]
                padding[2 * axis + 1] = max(0, lacking)
        return self.core.max_pool(value, Window(size, stride, (padding[0], padding[1], padding[2], padding[3])))

    def _average(self, node: onnx.NodeProto, value: Value) -> Value:
        size, stride = self._size(node, value)
        attributes = _attributes(node)
        padding = self._pads(node, value, size, stride)
        if attributes.get("ceil_mode", 0):
            raise self.core.fail("an AveragePool with ceil_mode 0", "1")
        if any(padding) and not attributes.get("count_include_pad", 0):
            raise self.core.fail("count_include_pad 1 where an AveragePool pads: all means of as many values", "0")
        return self.core.average(value, size, stride, padding)

    # The end

    def _check_axis(self, node: onnx.NodeProto, value: Value, axis: int) -> None:
        if axis % (value.positions.ndim + 1) != 1:
            raise self.core.fail("axis 1, the scores", f"axis {axis}")

    def _tail(self, node: onnx.NodeProto, value: Value) -> Value:
        attributes = _attributes(node)
        axis, k = attributes.get("axis", -1 if node.op_type == "TopK" else 0), 1
        if node.op_type == "TopK":
            k = int(self.constants[node.input[1]].item()) if len(node.input) > 1 else attributes.get("k", 1)
        if k != 1 or not attributes.get("largest", 1) or attributes.get("select_last_index", 0):
            raise self.core.fail("the index of the one largest score, the first of several", f"{attributes}, k={k}")
        self._check_axis(node, value, axis)
        self.chosen = True
        return self.core.end(value)


def _sides(pads: list[int]) -> tuple[int, int, int, int]:
    """Turn ONNX's pads of one or two axes, all begins first, into (top, bottom, left, right)."""
    top, left, bottom, right = pads if len(pads) == 4 else (0, pads[0], 0, pads[1])
    return top, bottom, left, right


def _attributes(node: onnx.NodeProto) -> Attributes:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
