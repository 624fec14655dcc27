"""A checked QONNX model made ready: constants folded, all shapes known, every name as it is in the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import qonnx_file
from xnorflow.bnn.qonnx_lowering import lower, named, session

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What there is to convert.

    Attributes
    ----------
    model : onnx.ModelProto
        The file's, its constants folded and a free batch made 1; its nodes all depend on the input, in order.
    constants : mapping of str to array
    shapes : mapping of str to tuple of int
        Of all other tensors, with their batch axis.
    batch : int
    """

    model: onnx.ModelProto
    constants: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]
    batch: int


class _TensorTooLarge(UserError):
    """A tensor beyond what is worth holding."""


def prepare(model: onnx.ModelProto) -> Prepared:
    """Fold constants, and find all shapes.

    Raises
    ------
    UserError
        If a node's operands are missing, or shapes do not fit each other.
    """
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    graph = whole.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (taken,) = [value for value in graph.input if value.name not in constants]
    dims = taken.type.tensor_type.shape.dim
    if not dims[0].dim_value:
        dims[0].dim_value = 1
    ordered = _in_order(whole, {taken.name, *constants})
    left = _folded(whole, ordered, constants)
    results = _executed(whole, left, constants, taken)
    shaped: set[str] = set()  # what depends on the input's shape alone
    nodes = []
    for node in left:
        if node.op_type == "Shape" or (set(node.input) & shaped and not _data(node, constants, shaped)):
            shaped.update(node.output)
            constants.update({name: results[name] for name in node.output if name})
        else:
            nodes.append(node)
    del graph.node[:], graph.initializer[:], graph.value_info[:], graph.input[:]
    graph.input.append(taken)
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items() if name in used
    )  # fmt: skip
    shapes = {name: value.shape for name, value in results.items()}
    shapes[taken.name] = tuple(dim.dim_value for dim in dims)
    graph.value_info.extend(
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in results.items()
        if name not in {output.name for output in graph.output}
    )
    for output in graph.output:
        if output.name in constants:
            raise UserError(f"output {output.name!r}: expected a result of the input, got a constant")
    return Prepared(whole, constants, shapes, dims[0].dim_value)


def _data(node: onnx.NodeProto, constants: Mapping[str, Array], shaped: set[str]) -> bool:
    return any(name and name not in constants and name not in shaped for name in node.input)


def _in_order(model: onnx.ModelProto, known: set[str]) -> list[onnx.NodeProto]:
    """List the nodes that the outputs need, each after those whose results it takes."""
    made_by = {name: node for node in model.graph.node for name in node.output if name}
    needed, waiting = set(), [output.name for output in model.graph.output]
    while waiting:
        name = waiting.pop()
        if name and name not in needed and name not in known:
            needed.add(name)
            if name in made_by:
                waiting += made_by[name].input
    left = [node for node in model.graph.node if needed.intersection(node.output)]
    known, ordered = {"", *known}, []
    while ready := [node for node in left if known.issuperset(node.input)]:
        ordered += ready
        known.update(output for node in ready for output in node.output)
        left = [node for node in left if not known.issuperset(node.output)]
    if left:
        operand = next(source for source in left[0].input if source not in known)
        raise UserError(f"{named(left[0])}: no node computes its operand {operand!r}")
    return ordered


def _folded(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], constants: dict[str, Array]
) -> list[onnx.NodeProto]:  # fmt: skip
    """Compute what depends on constants alone; return the other nodes."""
    left = []
    for node in nodes:
        if not all(name in constants or not name for name in node.input):
            left.append(node)
            continue
        single = _alone(model, [node], {name: constants[name] for name in node.input if name})
        single.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
        inferred = onnx.shape_inference.infer_shapes(single, data_prop=True)
        for value in (*inferred.graph.output, *inferred.graph.value_info):
            size = np.prod([float(dim.dim_value or 1) for dim in value.type.tensor_type.shape.dim])
            if size > qonnx_file.MAX_TENSOR:
                raise UserError(f"{named(node)}: expected at most {qonnx_file.MAX_TENSOR:,} values, got {size:,.0f}")
        names = [name for name in node.output if name]
        try:
            constants.update(zip(names, session(single, names).run(None, {}), strict=True))
        except UserError as error:
            raise UserError(f"{named(node)}: {error}") from None
        except Exception as error:  # onnxruntime has an exception of its own for each kind of failure
            raise UserError(f"{named(node)}: it cannot be computed: {str(error).splitlines()[0]}") from None
    return left


def _alone(model: onnx.ModelProto, nodes: list[onnx.NodeProto], constants: Mapping[str, Array]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "part", [], [], [numpy_helper.from_array(value, name) for name, value in constants.items()]
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _executed(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], constants: Mapping[str, Array], taken: onnx.ValueInfoProto
) -> dict[str, Array]:
    """Execute nodes on an input of zeros; return all that they give."""
    used = {name for node in nodes for name in node.input if name in constants}
    part = _alone(model, nodes, {name: constants[name] for name in used})
    part.graph.input.append(taken)
    names = list(dict.fromkeys(name for node in nodes for name in node.output if name))
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    lowered = lower(part)
    try:
        known = onnx.shape_inference.infer_shapes(lowered)
        for value in (*known.graph.value_info, *known.graph.output):
            shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
            if np.prod([float(n) for n in shape]) > qonnx_file.MAX_TENSOR:
                raise _TensorTooLarge(
                    f"tensor {value.name!r}: expected at most {qonnx_file.MAX_TENSOR:,} values, got shape {shape}"
                )
        zeros = np.zeros([dim.dim_value for dim in taken.type.tensor_type.shape.dim], np.float32)
        return dict(zip(names, session(part, names).run(None, {taken.name: zeros}), strict=True))
    except _TensorTooLarge as error:
        raise UserError(str(error)) from None
    except Exception as error:  # whatever onnx and onnxruntime raise
        said = (str(error) or type(error).__name__).splitlines()[0].rpartition(" : ")[2]
        raise UserError(f"its graph: expected shapes and types that fit each other; onnxruntime says: {said}") from None
