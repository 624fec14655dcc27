"""QONNX files: read without running anything that is in them, checked, and brought to a common opset."""

import math
from collections import Counter
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.files import read_bytes
from xnorflow.bnn.frontends.core.check import Survey
from xnorflow.bnn.frontends.qonnx_dialect import REWRITTEN, declare, is_finn, rewrite
from xnorflow.bnn.network import MAX_VALUES
from xnorflow.bnn.qonnx_lowering import DOMAINS, QUANTISERS, named

VIEWS = (
    *("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "Slice", "Gather", "Split", "Expand", "Tile"),
    *("DepthToSpace", "SpaceToDepth", "Resize"),
)
LINEAR = ("MatMul", "Gemm", "Conv", "ConvTranspose")
NO_EFFECT = ("Identity", "Dropout")
SCORES = ("Sigmoid", "Tanh", "Softplus", "Softsign", "Exp")  # of which none changes an order
ELEMENTWISE = (
    *(
        "Mul",
        "Div",
        "Add",
        "Sub",
        "BatchNormalization",
        "Cast",
        "Neg",
        "Abs",
        "Pow",
        "Sqrt",
        "Reciprocal",
        "Min",
        "Max",
    ),
    *("Relu", "Clip", "PRelu", "LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "HardSwish", "ThresholdedRelu"),
    *("Erf", "Log", "Floor", "Ceil", "Round", "Where", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"),
    *("Not", "And", "Or", "Sign", *SCORES, *QUANTISERS),
)
MAXIMA = ("MaxPool", "GlobalMaxPool")
AVERAGES = ("AveragePool", "GlobalAveragePool")
WHOLE: Mapping[str, Literal["mean", "sum", "maximum"]] = {
    "ReduceMean": "mean",
    "ReduceSum": "sum",
    "ReduceMax": "maximum",
}
"""Operators that take one value of all rows or columns of an image."""
SOFTMAX = ("Softmax", "LogSoftmax")
TAILS = ("TopK", "ArgMax")

SUPPORTED = (
    *(*LINEAR, *ELEMENTWISE, *MAXIMA, *AVERAGES, *WHOLE, "Pad", "Concat", *VIEWS, *NO_EFFECT, *SOFTMAX, *TAILS),
    *REWRITTEN,
)
_SHAPES = ("Shape", "ConstantOfShape", "Range")  # of which exporters make shapes

MAX_TENSOR = 1 << 27
"""Values of one tensor."""

_MAX_BYTES = 1 << 28
_MAX_NODES = 5_000
_OLDEST_OPSET = 9
_OPSET = 13  # what older files are converted to

_FINN = ("finn.custom_op.fpgadataflow", "finn.custom_op.hls", "finn.custom_op.rtl")


def load(path: Path, any_operator: bool = False) -> onnx.ModelProto:
    """Read a model as it is in the file.

    Parameters
    ----------
    path : Path
    any_operator : bool
        Whether nodes may be of operators of ONNX that are not supported.

    Raises
    ------
    UserError
        If the file is no ONNX model, or holds anything that is not supported: another operator or domain, functions,
        data in other files, numbers that are not finite, an input whose shape is not fixed.
    """
    model = _read(path)
    try:
        _check_names(model)
        _check(model)
        rewrite(model)
        for node in [] if any_operator else _reached(model):
            if reason := unsupported(node):
                raise UserError(f"{named(node)}: {reason}")
        _check_form(model)
        model = model if opset(model) >= _OPSET else _modern(model, _OPSET)
        return _real_weights(model)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def foreign(path: Path) -> Survey | None:
    """Judge the nodes of a model by their operators alone, if some of them are none of ONNX or QONNX; else None.

    Raises
    ------
    UserError
        If the file is no ONNX model.
    """
    model = _read(path)
    try:
        _check_names(model)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if not any(_is_foreign(node) for node in model.graph.node):
        return None
    survey = Survey(by_kind=True)
    for node in _reached(model):
        survey.take(named(node))
        if reason := _is_foreign(node) or unsupported(node):
            survey.refuse(f"{named(node)}: {reason}")
    return survey


def _read(path: Path) -> onnx.ModelProto:
    content = read_bytes(path, _MAX_BYTES)
    try:
        model = onnx.load_model_from_string(content)
    except Exception:  # whatever protobuf raises
        raise UserError(f"{path}: not an ONNX model (truncated or corrupt?)") from None
    if not model.graph.node or not model.graph.output:
        raise UserError(f"{path}: not an ONNX model: it has no graph")
    declare(model)
    return model


def _reached(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """List the nodes that depend on the input: what constants alone make may be anything."""
    known = {tensor.name for tensor in model.graph.initializer}
    reached, waiting = {value.name for value in model.graph.input} - known, list(model.graph.node)
    nodes = []
    while found := [node for node in waiting if reached.intersection(node.input)]:
        nodes += found
        reached.update(name for node in found for name in node.output)
        waiting = [node for node in waiting if not reached.intersection(node.output)]
    return nodes


def unsupported(node: onnx.NodeProto) -> str:
    """Say that a node's operator is not supported; "" if it is."""
    if node.op_type in (*SUPPORTED, *_SHAPES):
        return ""
    return f"not supported; supported are {', '.join(SUPPORTED)}"


def _is_foreign(node: onnx.NodeProto) -> str:
    """Say that a node is none of an operator of ONNX or QONNX; "" if it is one."""
    if node.op_type in QUANTISERS:
        return "" if node.domain in DOMAINS else f"expected domain {' or '.join(DOMAINS)}, got {node.domain!r}"
    if node.op_type == "StreamingDataflowPartition" or node.domain.startswith(_FINN):
        return (
            "a node of FINN's hardware; give the file of an earlier step of FINN's flow, before its layers are "
            "converted to hardware (step_streamline, or the file that Brevitas exported)"
        )
    if node.domain not in ("", "ai.onnx") and not is_finn(node):
        return f"expected an operator of ONNX or QONNX, got one of domain {node.domain!r}"
    return ""


_INT, _FLOAT, _STRING = onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT, onnx.AttributeProto.STRING
_ROUNDED = {"signed": _INT, "narrow": _INT, "rounding_mode": _STRING}
_QUANTISER_FORM: Mapping[str, tuple[tuple[int, ...], Mapping[str, int]]] = {
    "BipolarQuant": ((2,), {}),
    "Quant": ((4,), _ROUNDED),
    "IntQuant": ((4,), _ROUNDED),
    "Trunc": ((5, 6), _ROUNDED),
    "MultiThreshold": (
        (2,),
        {"out_scale": _FLOAT, "out_bias": _FLOAT, "out_dtype": _STRING, "data_layout": _STRING},
    ),
}
"""Of each quantiser, the numbers of operands that it may have, and the types of its attributes."""


def _check_names(model: onnx.ModelProto) -> None:
    """Check that every node can be named, and gives something."""
    if len(model.graph.node) > _MAX_NODES:
        raise UserError(f"expected at most {_MAX_NODES:,} nodes, got {len(model.graph.node):,}")
    for index, node in enumerate(model.graph.node):
        if not node.output or not node.output[0]:
            raise UserError(f"node {node.name or index!r} ({node.op_type}): expected a result, got none")
    names = Counter(node.name for node in model.graph.node if node.name)
    if names and (most := names.most_common(1)[0])[1] > 1:
        raise UserError(f"expected a name of its own for each node, got {most[1]} nodes of the name {most[0]!r}")


def _check_form(model: onnx.ModelProto) -> None:
    """Check what holds for any valid file of these operators; put nodes in order, and take out what none uses."""
    for tensor in model.graph.initializer:  # older checkers of onnx take negative lengths
        if min(tensor.dims, default=1) < 0 or (len(tensor.dims) > 1 and not all(tensor.dims)):
            raise UserError(f"initialiser {tensor.name!r}: expected values, got shape {tuple(tensor.dims)}")
    _sort(model.graph)
    checked = onnx.ModelProto()
    checked.CopyFrom(model)
    for value in checked.graph.output:
        value.type.tensor_type.shape.SetInParent()  # some writers leave it to be inferred
    try:
        onnx.checker.check_model(checked)
    except Exception as error:  # whatever onnx raises
        raise UserError(f"not a valid ONNX model: {' '.join(str(error).split())[:400]}") from None
    rank = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        _check_node(node)
        if node.op_type == "MultiThreshold" and rank.get(node.input[1], 2) != 2:
            raise UserError(f"initialiser {node.input[1]!r}: expected thresholds of shape (channels, levels)")
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
        if math.prod(max(size, 1) for size in shape) > MAX_VALUES:
            raise UserError(f"input {value.name!r}: expected at most {MAX_VALUES:,} values, got shape {tuple(shape)}")
    used = {source for node in model.graph.node for source in node.input}
    idle = {tensor.name for tensor in model.graph.initializer} - used
    for field in (model.graph.initializer, model.graph.input):  # else qonnx would take them for inputs of the model
        for entry in [entry for entry in field if entry.name in idle]:
            field.remove(entry)


def _sort(graph: onnx.GraphProto) -> None:
    """Put nodes behind those whose results they take, which ONNX asks for and some writers forget."""
    maker = {result: index for index, node in enumerate(graph.node) for result in node.output}
    needs = {
        index: {maker[source] for source in node.input if source in maker} for index, node in enumerate(graph.node)
    }
    if all(need < index for index, before in needs.items() for need in before):
        return
    try:
        ordered = [graph.node[index] for index in TopologicalSorter(needs).static_order()]
    except CycleError:
        raise UserError("expected a graph without circles, got nodes that need each other's results") from None
    del graph.node[:]
    graph.node.extend(ordered)


def _check_node(node: onnx.NodeProto) -> None:
    where = named(node)
    for attribute in node.attribute:
        if not all(map(math.isfinite, (attribute.f, *attribute.floats))):
            raise UserError(f"{where}: expected finite numbers, got NaN or infinity as {attribute.name}")
        if attribute.name == "perm" and sorted(attribute.ints) != list(range(len(attribute.ints))):
            raise UserError(f"{where}: expected each axis once in perm, got {list(attribute.ints)[:8]}")
    if node.op_type not in _QUANTISER_FORM:
        return
    counts, kinds = _QUANTISER_FORM[node.op_type]
    if len(node.input) not in counts or not all(node.input):
        expected = " or ".join(map(str, counts))
        raise UserError(f"{where}: expected {expected} operands, got {sum(map(bool, node.input))}")
    for attribute in node.attribute:
        if attribute.type != kinds.get(attribute.name, attribute.type):
            kind = onnx.AttributeProto.AttributeType.Name
            raise UserError(
                f"{where}: expected {attribute.name} of type {kind(kinds[attribute.name])}, got {kind(attribute.type)}"
            )


def _check(model: onnx.ModelProto) -> None:
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise UserError("expected a plain graph, got functions of its own, training steps or sparse tensors")
    if (version := opset(model)) < _OLDEST_OPSET:
        raise UserError(f"expected opset {_OLDEST_OPSET} or newer, got {version}")
    if version > (newest := onnx.defs.onnx_opset_version()):
        raise UserError(f"expected opset {newest} or older, got {version}; export it with an older opset_version")
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        where = named(node)
        if reason := _is_foreign(node):
            raise UserError(f"{where}: {reason}")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise UserError(f"{where}: expected no graph inside a node")
            if attribute.HasField("t"):
                tensors.append(attribute.t)
            tensors.extend(attribute.tensors)
    for tensor in tensors:
        where = f"initialiser {tensor.name!r}"
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise UserError(f"{where}: its data lie in another file; save the model as one file")
        try:
            values = numpy_helper.to_array(tensor)
        except Exception:  # whatever onnx raises
            raise UserError(f"{where}: its data are damaged") from None
        if values.dtype.kind not in "biuf":
            raise UserError(f"{where}: expected numbers, got {TensorProto.DataType.Name(tensor.data_type)}")
        if np.issubdtype(values.dtype, np.floating):
            if values.dtype != np.float32:
                raise UserError(f"{where}: expected float32, got {values.dtype}")
            if not np.isfinite(values).all():
                bad = "NaN" if np.isnan(values).any() else "infinity"
                raise UserError(f"{where}{_role(model, tensor.name)}: expected finite numbers, got {bad}")
    known = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in known]
    if len(inputs) != 1:
        raise UserError(f"expected one input, got {len(inputs)}: {', '.join(value.name for value in inputs)}")
    _check_input(inputs[0])


def _check_input(value: Any) -> None:
    where, kind = f"input {value.name!r}", value.type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        raise UserError(f"{where}: expected float32, got {TensorProto.DataType.Name(kind.elem_type)}")
    shape = [dim.dim_value or (dim.dim_param or "?") for dim in kind.shape.dim]
    if len(shape) not in (2, 3, 4) or not all(isinstance(n, int) and n > 0 for n in shape[1:]):
        raise UserError(
            f"{where}: expected a fixed shape (1, features), (1, channels, length) or (1, channels, height, width), "
            f"got {shape}"
        )


def _role(model: onnx.ModelProto, name: str) -> str:
    """Say what a constant is to the first node that takes it."""
    roles = {"Quant": ("", "scale", "zero point", "bit width"), "BipolarQuant": ("", "scale")}
    for node in model.graph.node:
        if name in node.input:
            index = list(node.input).index(name)
            known = roles.get("Quant" if node.op_type == "IntQuant" else node.op_type, ())
            what = known[index] if index < len(known) else ""
            return f", {'the ' + what if what else 'an operand'} of {named(node)}"
    return ""


def opset(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version: int = versions.get("", versions.get("ai.onnx", 0))
    return version


def _modern(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """Return a model of an old opset in terms of a newer one, by onnx's version converter.

    The converter knows ONNX's own operators alone. All quantisers treat every value by itself, so that each can be an
    Identity meanwhile, and what they take besides is kept aside.

    Raises
    ------
    UserError
        If the converter does not take the model.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    kept: dict[str, onnx.NodeProto] = {}
    for node in plain.graph.node:
        if node.op_type in QUANTISERS:
            kept[node.output[0]] = onnx.NodeProto()
            kept[node.output[0]].CopyFrom(node)
            first = node.input[0]
            del node.input[:], node.attribute[:]
            node.input.append(first)
            node.op_type, node.domain = "Identity", ""
    aside = {name for node in kept.values() for name in list(node.input)[1:]}
    domains = [entry for entry in model.opset_import if entry.domain not in ("", "ai.onnx")]
    (standard,) = [entry for entry in plain.opset_import if entry.domain in ("", "ai.onnx")]
    only = helper.make_opsetid("", standard.version)
    del plain.opset_import[:], plain.graph.value_info[:]
    plain.opset_import.append(only)
    initialisers = [tensor for tensor in plain.graph.initializer if tensor.name in aside]
    try:
        converted = onnx.version_converter.convert_version(plain, version)
    except Exception as error:  # whatever the converter raises
        lines = (str(error) or type(error).__name__).splitlines()
        raise UserError(
            f"opset {standard.version}: onnx cannot convert it to opset {version} ({lines[0][:200]}); export it with a "
            "newer opset_version"
        ) from None
    for node in converted.graph.node:
        if node.op_type == "Identity" and node.output[0] in kept:
            node.CopyFrom(kept[node.output[0]])
    there = {tensor.name for tensor in converted.graph.initializer}
    there |= {name for node in converted.graph.node for name in node.output}
    converted.graph.initializer.extend(tensor for tensor in initialisers if tensor.name not in there)
    converted.opset_import.extend(domains)
    del converted.graph.quantization_annotation[:]
    converted.graph.quantization_annotation.extend(model.graph.quantization_annotation)
    return converted


def _real_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose weights, scales and bit widths are float32: qonnx's own execution takes integers, too."""
    weights = {node.input[1] for node in model.graph.node if node.op_type in LINEAR and len(node.input) > 1}
    weights |= {name for node in model.graph.node if node.op_type in QUANTISERS for name in list(node.input)[1:]}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name in weights and np.issubdtype(values.dtype, np.integer):
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return model
