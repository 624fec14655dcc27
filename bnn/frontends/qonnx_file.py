"""QONNX files: read without running anything that is in them, checked, and cleaned up by qonnx's own transformations.

qonnx imports the Python module that a node's domain names, so domains and operators are checked before qonnx sees the
model.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.qonnx_lowering import DOMAINS, QUANTISERS

ELEMENTWISE = ("Mul", "Div", "Add", "Sub", "BatchNormalization", "Cast")
_BINARY = ("Mul", "Div", "Add", "Sub", "MatMul")
VIEWS = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
LINEAR = ("MatMul", "Gemm", "Conv")
SIGNS = (*QUANTISERS, "Sign")
NO_EFFECT = ("Identity", "Dropout")
TAILS = ("TopK", "ArgMax")
AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")
_CONSTANTS = ("Constant", "Shape", "Gather", "Concat", "Slice")  # of which exporters make shapes

SUPPORTED = (*LINEAR, *SIGNS, *ELEMENTWISE, "MaxPool", *AVERAGES, "Pad", *VIEWS, *NO_EFFECT, *TAILS)

_MAX_BYTES = 1 << 28
_MAX_VALUES = 1 << 27  # of one tensor
_OLDEST_OPSET = 9


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
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return model


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a checked model with constants folded, quantised weights among them, and all shapes known.

    Raises
    ------
    UserError
        If its shapes do not fit each other, or qonnx cannot evaluate its constants.
    """
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes
    from qonnx.util.cleanup import cleanup_model

    wrapped = ModelWrapper(model, make_deepcopy=True)
    batch = wrapped.graph.input[_input_index(model)].type.tensor_type.shape.dim[0]
    if not batch.dim_value:
        batch.dim_value = 1
    try:
        wrapped = wrapped.transform(InferShapes())
        for tensor in wrapped.get_all_tensor_names():
            shape = wrapped.get_tensor_shape(tensor)
            if shape is not None and np.prod([float(n) for n in shape]) > _MAX_VALUES:
                raise UserError(f"tensor {tensor!r}: expected at most {_MAX_VALUES:,} values, got shape {shape}")
        return cleanup_model(wrapped, preserve_qnt_ops=False).model
    except UserError:
        raise
    except Exception as error:  # whatever qonnx, onnx and onnxruntime raise
        raise UserError(
            f"the graph is not consistent: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from None


def _input_index(model: onnx.ModelProto) -> int:
    known = {tensor.name for tensor in model.graph.initializer}
    (index,) = [i for i, value in enumerate(model.graph.input) if value.name not in known]
    return index


def _check(model: onnx.ModelProto) -> None:
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise UserError("expected a plain graph, got functions of its own, training steps or sparse tensors")
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = versions.get("", versions.get("ai.onnx", 0))
    if version < _OLDEST_OPSET:
        raise UserError(f"expected opset {_OLDEST_OPSET} or newer, got {version}")
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        where = f"node {node.name or node.output[0]!r} ({node.op_type})"
        if node.op_type in QUANTISERS:
            if node.domain not in DOMAINS:
                raise UserError(f"{where}: expected domain {' or '.join(DOMAINS)}, got {node.domain!r}")
        elif node.domain not in ("", "ai.onnx"):
            raise UserError(f"{where}: expected an operator of ONNX or QONNX, got one of domain {node.domain!r}")
        elif node.op_type not in (*SUPPORTED, *_CONSTANTS):
            raise UserError(
                f"{where}: not supported; supported are {', '.join(SUPPORTED)}{_WAYS.get(node.op_type, '')}"
            )
        if node.op_type in _BINARY and node.input[0] == node.input[1]:  # qonnx's cleanup would rename but one of them
            raise UserError(f"{where}: expected different operands, got {', '.join(node.input)}")
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
                raise UserError(f"{where}: expected finite numbers, got NaN or infinity")
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
    if len(shape) not in (2, 4) or not all(isinstance(n, int) and n > 0 for n in shape[1:]):
        raise UserError(f"{where}: expected a fixed shape (1, features) or (1, channels, height, width), got {shape}")
    if isinstance(shape[0], int) and shape[0] != 1:
        raise UserError(f"{where}: expected a batch of 1, got {shape[0]}; export the model with one example")


_WAYS = {
    "Softmax": "; export the model without its softmax, which changes no argmax",
    "LogSoftmax": "; export the model without its softmax, which changes no argmax",
    "Relu": "; a quantised network has a BipolarQuant or an unsigned Quant there",
}
