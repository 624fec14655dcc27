"""Dialects of QONNX, in terms of ONNX and QONNX: early files of Brevitas, and what the first steps of FINN's flow make.

FINN's streamlined files hold convolutions as Im2Col and MatMul with channels last, pools of their own, and products of
bits 0 and 1. Every tensor that the file names keeps its name and values.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.qonnx_lowering import DOMAINS, QUANTISERS, Attributes, named

_FIRST, _LAST = [0, 3, 1, 2], [0, 2, 3, 1]  # channels first, channels last


def declare(model: onnx.ModelProto) -> None:
    """Give quantisers their domain, and the model its domains, where a file leaves them out."""
    for node in model.graph.node:
        if node.op_type in QUANTISERS and not node.domain:
            node.domain = DOMAINS[0]
    used = {node.domain for node in model.graph.node if node.domain in DOMAINS}
    for domain in sorted(used - {entry.domain for entry in model.opset_import}):
        model.opset_import.append(helper.make_opsetid(domain, 1))


def is_finn(node: onnx.NodeProto) -> bool:
    """Say whether :func:`rewrite` knows a node."""
    return node.op_type in REWRITTEN and node.domain in DOMAINS


def rewrite(model: onnx.ModelProto) -> None:
    """Write FINN's operators as those of ONNX.

    Raises
    ------
    UserError
        If one of them is not as FINN makes them; the message names the node.
    """
    if any(is_finn(node) for node in model.graph.node):
        _Rewriting(model.graph)


class _Rewriting:
    """Goes over the nodes once; those that it makes take the place of what they stand for."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.done: set[str] = set()  # results of nodes that went into another one's
        for node in graph.node:
            if is_finn(node):
                REWRITTEN[node.op_type](self, node)
            elif node.output[0] not in self.done:
                self.nodes.append(node)
        del graph.node[:]
        graph.node.extend(self.nodes)

    def xnor(self, node: onnx.NodeProto) -> None:
        """The number of equal bits: ``a * w + (1 - a) * (1 - w)``, summed."""
        bits = self.weights(node)
        if not np.isin(bits, (0, 1)).all():
            raise UserError(f"{named(node)}: expected weights 0 and 1, got others")
        signs = self.constant(node, "signs", 2 * bits - 1)
        made = self.op("MatMul", node, [node.input[0], signs], name=node.name)
        self.op("Add", node, [made, self.constant(node, "zeros", (1 - bits).sum(axis=0))], node.output[0])

    def im2col(self, node: onnx.NodeProto) -> None:
        """A convolution, with the product that follows."""
        given = self.attributes(node, kernel_size=2, stride=2, pad_amount=4, dilations=2)
        (size, stride) = (given.get(name) for name in ("kernel_size", "stride"))
        behind = [other for other in self.graph.node if node.output[0] in other.input]
        if size is None or stride is None or any(given.get(name) for name in ("pad_value", "depthwise")):
            raise UserError(f"{named(node)}: expected kernel_size, stride, pad_value 0 and depthwise 0, got {given}")
        if len(behind) != 1 or behind[0].op_type != "MatMul" or behind[0].input[0] != node.output[0]:
            raise UserError(f"{named(node)}: expected one MatMul behind it, which makes it a convolution")
        product = behind[0]
        weight, taps = self.weights(product), math.prod(size)
        if len(weight) % taps:
            raise UserError(f"{named(product)}: expected weights for windows of {size}, got shape {weight.shape}")
        kernel = weight.reshape(*size, -1, weight.shape[1]).transpose(3, 2, 0, 1)
        made = self.op(
            "Conv",
            product,
            [self.op("Transpose", product, [node.input[0]], perm=_FIRST), self.constant(product, "kernel", kernel)],
            name=product.name,
            strides=stride,
            pads=given.get("pad_amount", [0] * 4),
            dilations=given.get("dilations", [1, 1]),
        )
        self.op("Transpose", product, [made], product.output[0], perm=_LAST)
        self.done.add(product.output[0])

    def max_pool(self, node: onnx.NodeProto) -> None:
        given = self.attributes(node, kernel_shape=2, strides=2, pads=4, dilations=2)
        first = self.op("Transpose", node, [node.input[0]], perm=_FIRST)
        made = self.op("MaxPool", node, [first], name=node.name, **given)
        self.op("Transpose", node, [made], node.output[0], perm=_LAST)

    def constant(self, node: onnx.NodeProto, what: str, values: NDArray[Any]) -> str:
        name = f"{node.output[0]}.{what}"
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def op(
        self, kind: str, node: onnx.NodeProto, operands: list[str], output: str = "", name: str = "", **given: Any
    ) -> str:
        """Append an operator in place of `node`; return the name of its result."""
        output = output or f"{node.output[0]}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, operands, [output], name=name, **given))
        return output

    def weights(self, node: onnx.NodeProto) -> NDArray[Any]:
        """Return the constant second operand, a matrix."""
        name = node.input[1] if len(node.input) == 2 else ""
        if name not in self.constants or len(self.constants[name].dims) != 2:
            raise UserError(f"{named(node)}: expected a constant matrix of weights as the second of two operands")
        return numpy_helper.to_array(self.constants[name])

    @staticmethod
    def attributes(node: onnx.NodeProto, **lengths: int) -> Attributes:
        """Return the attributes; those named are lists of so many integers."""
        given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        for name, length in lengths.items():
            values = given.get(name, [1] * length)
            if not isinstance(values, list) or len(values) != length or not all(isinstance(n, int) for n in values):
                raise UserError(f"{named(node)}: expected {name} of {length} integers, got {values}")
        return given


REWRITTEN: dict[str, Callable[[_Rewriting, onnx.NodeProto], None]] = {
    "XnorPopcountMatMul": _Rewriting.xnor,
    "Im2Col": _Rewriting.im2col,
    "MaxPoolNHWC": _Rewriting.max_pool,
}
