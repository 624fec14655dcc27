"""QONNX files: read without running anything that is in them, checked, and brought to a common opset."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper

from xnorflow.bnn.errors import UserError
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
MAXIMA = ("MaxPool", "GlobalMaxPool", "ReduceMax")
AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")
SOFTMAX = ("Softmax", "LogSoftmax")
TAILS = ("TopK", "ArgMax")

SUPPORTED = (*LINEAR, *ELEMENTWISE, *MAXIMA, *AVERAGES, "Pad", "Concat", *VIEWS, *NO_EFFECT, *SOFTMAX, *TAILS)
_SHAPES = ("Shape", "ConstantOfShape", "Range")  # of which exporters make shapes

MAX_VALUES = 1 << 27
"""Of one tensor."""

_MAX_BYTES = 1 << 28
_OLDEST_OPSET = 9
_OPSET = 13  # what older files are converted to

_FINN = ("finn.custom_op.fpgadataflow", "finn.custom_op.hls", "finn.custom_op.rtl")


def load(path: Path) -> onnx.ModelProto:
    """Read a model as it is in the file.

    Raises
    ------
    UserError
        If the file is no ONNX model, or holds anything that is not supported: another operator or domain, functions,
        data in other files, numbers that are not finite, an input whose shape is not fixed.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise UserError(f"{path}: expected at most {_MAX_BYTES:,} bytes, got {size:,}")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        model = onnx.load_model_from_string(content)
    except Exception:  # whatever protobuf raises
        raise UserError(f"{path}: not an ONNX model (truncated or corrupt?)") from None
    if not model.graph.node or not model.graph.output:
        raise UserError(f"{path}: not an ONNX model: it has no graph")
    try:
        _check(model)
        model = model if opset(model) >= _OPSET else _modern(model, _OPSET)
        return _real_weights(model)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def judge(node: onnx.NodeProto) -> None:
    """Refuse a node that depends on the input and is not supported."""
    if node.op_type not in (*SUPPORTED, *_SHAPES):
        raise UserError(f"{named(node)}: not supported; supported are {', '.join(SUPPORTED)}")


def _check(model: onnx.ModelProto) -> None:
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise UserError("expected a plain graph, got functions of its own, training steps or sparse tensors")
    if (version := opset(model)) < _OLDEST_OPSET:
        raise UserError(f"expected opset {_OLDEST_OPSET} or newer, got {version}")
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        where = named(node)
        if node.op_type in QUANTISERS:
            if node.domain not in DOMAINS:
                raise UserError(f"{where}: expected domain {' or '.join(DOMAINS)}, got {node.domain!r}")
        elif node.op_type == "StreamingDataflowPartition" or node.domain.startswith(_FINN):
            raise UserError(
                f"{where}: a node of FINN's hardware; give the file of an earlier step of FINN's flow, before its "
                "layers are converted to hardware (step_streamline, or the file that Brevitas exported)"
            )
        elif node.domain not in ("", "ai.onnx"):
            raise UserError(f"{where}: expected an operator of ONNX or QONNX, got one of domain {node.domain!r}")
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
    return versions.get("", versions.get("ai.onnx", 0))


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
    """Return a model whose weights are float32, as its sums are: FINN's own execution takes integers for them, too."""
    weights = {node.input[1] for node in model.graph.node if node.op_type in LINEAR and len(node.input) > 1}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name in weights and np.issubdtype(values.dtype, np.integer):
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return model
