"""QONNX's quantisers in terms of standard ONNX operators, so that onnxruntime executes a QONNX model.

Each is what ``qonnx.custom_op.general`` computes, step by step, in the same order and precision. onnxruntime then runs
the graph without optimisations, which would fuse a batch norm into its convolution and so round elsewhere.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from xnorflow.bnn.errors import UserError

QUANTISERS = ("BipolarQuant", "Quant", "IntQuant", "MultiThreshold", "Trunc")
DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
"""What they have been exported under."""


def session(model: onnx.ModelProto, outputs: Iterable[str]) -> Any:
    """Make an ``onnxruntime.InferenceSession`` that computes the tensors `outputs` of a QONNX model.

    Raises
    ------
    UserError
        If onnxruntime does not take the model.
    """
    import onnxruntime

    lowered = lower(model)
    del lowered.graph.output[:]
    lowered.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(lowered.SerializeToString(), options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception of its own for each kind of failure
        raise UserError(f"onnxruntime does not take the model: {str(error).splitlines()[0]}") from None


def lower(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without quantisers of QONNX; all tensors keep their names.

    Raises
    ------
    UserError
        If a ``Quant`` has a bit width that is not constant, or an unknown rounding mode; if a ``MultiThreshold`` has
        thresholds that are not constant, or its channels elsewhere than on the second axis.
    """
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type in QUANTISERS and node.domain in DOMAINS:
            nodes.extend(_QuantiserNodes(node, constants).nodes)
        else:
            nodes.append(node)
    del lowered.graph.node[:]
    lowered.graph.node.extend(nodes)
    del lowered.graph.value_info[:]  # onnxruntime infers all shapes itself
    return lowered


Attributes = dict[str, Any]
"""A node's attributes, as ONNX has them."""


class _QuantiserNodes:
    """The nodes that compute one quantiser."""

    def __init__(self, node: onnx.NodeProto, constants: dict[str, NDArray[Any]]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.prefix = f"{node.output[0]}.lowered"
        if node.op_type == "BipolarQuant":
            self.op("Mul", self.sign(node.input[0]), node.input[1], output=node.output[0])
            return
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "MultiThreshold":
            self.count(node, attributes, constants)
            return
        if node.op_type == "Trunc":
            self.truncate(node, attributes, constants)
            return
        x, scale, zero_point, width = node.input
        if width not in constants or constants[width].size != 1 or float(constants[width].item()) % 1:
            raise UserError(f"{named(node)}: expected one constant bit width, a whole number")
        signed, bits = bool(attributes.get("signed", 1)), int(constants[width].item())
        y = self.op("Add", self.op("Div", x, scale), zero_point)
        if bits == 1 and signed:  # as qonnx has it: bipolar
            y = self.sign(y)
        else:
            low, high = limits(bits, signed, bool(attributes.get("narrow", 0)))
            y = self.op("Max", self.op("Min", y, self.constant(high)), self.constant(low))
            mode = attributes.get("rounding_mode", b"ROUND").decode().upper()
            y = self.rounded(y, mode, f"{named(node)}")
        self.op("Mul", self.op("Sub", y, zero_point), scale, output=node.output[0])

    def op(self, kind: str, *inputs: str, output: str = "") -> str:
        output = output or f"{self.prefix}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output]))
        return output

    def count(self, node: onnx.NodeProto, attributes: Attributes, constants: dict[str, NDArray[Any]]) -> None:
        """``out_bias + out_scale * (number of thresholds reached)``, one threshold of all channels after the other."""
        x, thresholds = node.input
        layout = attributes.get("data_layout", b"NCHW").decode()
        last = layout in ("NHWC", "NWC")
        if thresholds not in constants or not (last or layout in ("", "NC", "NCHW", "NCW")):
            raise UserError(
                f"{named(node)}: expected constant thresholds and data_layout NC, NCHW or NHWC, got {thresholds!r} and "
                f"{layout!r}"
            )
        flat = x if last else self.op("Reshape", x, self.constant([0, 0, -1], np.int64))  # (vectors, channels, rest)
        total = ""
        for level in constants[thresholds].T:
            reached = self.op("GreaterOrEqual", flat, self.constant(level if last else level[:, None]))
            counted = self.op("Where", reached, self.constant(1), self.constant(0))
            total = self.op("Add", total, counted) if total else counted
        scaled = self.op("Mul", total, self.constant(attributes.get("out_scale", 1.0)))
        biased = self.op("Add", scaled, self.constant(attributes.get("out_bias", 0.0)))
        self.op("Reshape", biased, self.op("Shape", x), output=node.output[0])

    def truncate(self, node: onnx.NodeProto, attributes: Attributes, constants: dict[str, NDArray[Any]]) -> None:
        """Integers, divided by a power of two and rounded: versions 1 (bits before and after) and 2 (scales)."""
        where = named(node)
        x, *names = node.input
        if len(names) not in (4, 5) or any(name not in constants or constants[name].size != 1 for name in names):
            raise UserError(f"{where}: expected constant scales, zero point 0 and bit widths")
        scale, zero_point, before, *result, after = (float(constants[name].item()) for name in names)
        if zero_point or not scale > 0:
            raise UserError(f"{where}: expected zero point 0 and a scale above 0, got {zero_point:g} and {scale:g}")
        places = np.round(np.log2(result[0] / scale)) if result else before - after
        y = self.op("Div", self.op("Round", self.op("Div", x, names[0])), self.constant(2.0**places))
        if result:
            low, high = limits(int(after), bool(attributes.get("signed", 1)), bool(attributes.get("narrow", 0)))
            y = self.op("Max", self.op("Min", y, self.constant(high)), self.constant(low))
        y = self.rounded(y, attributes.get("rounding_mode", b"FLOOR").decode().upper(), where)
        self.op("Mul", y, names[3] if result else names[0], output=node.output[0])

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        output = f"{self.prefix}.{len(self.nodes)}"
        tensor = numpy_helper.from_array(np.asarray(value, dtype))
        self.nodes.append(helper.make_node("Constant", [], [output], value=tensor))
        return output

    def sign(self, x: str) -> str:
        """-1 below 0, else +1."""
        return self.op("Where", self.op("Less", x, self.constant(0)), self.constant(-1), self.constant(1))

    def rounded(self, x: str, mode: str, where: str) -> str:
        if mode in ("ROUND", "HALF_EVEN"):
            return self.op("Round", x)
        if mode in ("CEIL", "FLOOR"):
            return self.op(mode.capitalize(), x)
        if mode not in (towards := {"UP": ("Ceil", 0.0), "DOWN": ("Floor", 0.0), "HALF_UP": ("Floor", 0.5),
                                    "HALF_DOWN": ("Ceil", -0.5)}):  # fmt: skip
            raise UserError(f"{where}: expected rounding_mode ROUND, CEIL, FLOOR, {', '.join(towards)}, got {mode!r}")
        kind, offset = towards[mode]
        magnitude = self.op(kind, self.op("Add", self.op("Abs", x), self.constant(offset)))
        return self.op("Mul", self.op("Sign", x), magnitude)


def named(node: onnx.NodeProto) -> str:
    """Name a node as the file does, or by what it gives where it has no name."""
    return f"node {node.name or next(iter(node.output), '')!r} ({node.op_type})"


def limits(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """Return the smallest and the largest integer of a ``Quant``; raise a UserError beyond 64 bits."""
    if not 1 <= bits <= 64:
        raise UserError(f"expected quantisers of 1 to 64 bits, got {bits:.3g}")
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow
