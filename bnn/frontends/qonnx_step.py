"""Element-wise nodes as onnxruntime computes them, on one number per channel."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.qonnx_lowering import lower, named, session

Array = NDArray[Any]


def computing(
    model: onnx.ModelProto, node: onnx.NodeProto, constants: Mapping[str, Array], axes: int
) -> Callable[..., Array]:
    """Return what computes a node from its operands that are not constant, each (n, channels).

    Parameters
    ----------
    model : onnx.ModelProto
        Whose opsets count.
    node : onnx.NodeProto
    constants : mapping of str to array
        By name: shape (channels,), or of one value, or (channels, levels) for the thresholds of a MultiThreshold.
    axes : int
        Of the node's tensors: a batch norm of images is another kernel than that of vectors, and may round differently.

    Returns
    -------
    callable
        It computes in the type of what it is given; where that is float64, in float64 throughout.
    """
    single = onnx.NodeProto()
    single.CopyFrom(node)
    data = list(dict.fromkeys(name for name in node.input if name and name not in constants))
    spatial = [1] * (axes - 2) if node.op_type == "BatchNormalization" else []
    for attribute in [a for a in single.attribute if a.name == "data_layout"]:
        single.attribute.remove(attribute)
    del single.output[1:]
    runs: dict[str, Callable[..., Any]] = {}

    def make(kinds: tuple[np.dtype[Any], ...]) -> Callable[..., Any]:
        wide = np.dtype(np.float64) in kinds
        fixed = [
            numpy_helper.from_array(value.astype(np.float64) if wide and value.dtype == np.float32 else value, name)
            for name, value in constants.items()
        ]
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(kind), None)
            for name, kind in zip(data, kinds, strict=True)
        ]
        nodes = onnx.NodeProto()
        nodes.CopyFrom(single)
        if wide and node.op_type == "Cast":
            for attribute in nodes.attribute:
                if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.DOUBLE
        output = onnx.ValueInfoProto(name=node.output[0])
        graph = helper.make_graph([nodes], "step", inputs, [output], fixed)
        whole = lower(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version))
        if wide:
            for made in whole.graph.node:
                for attribute in made.attribute:
                    if made.op_type == "Constant" and attribute.t.data_type == TensorProto.FLOAT:
                        values = numpy_helper.to_array(attribute.t).astype(np.float64)
                        attribute.t.CopyFrom(numpy_helper.from_array(values))
        try:
            run: Callable[..., Any] = session(whole, [node.output[0]]).run
        except UserError:
            if not wide:
                raise
            run = ReferenceEvaluator(whole).run  # onnxruntime has some operators for float32 alone
        return run

    def compute(*operands: Array) -> Array:
        given = dict(zip([name for name in node.input if name in data], operands, strict=True))
        kinds = tuple(given[name].dtype for name in data)
        key = str(kinds)
        try:
            if key not in runs:
                runs[key] = make(kinds)
            feeds = {name: np.ascontiguousarray(x.reshape(*x.shape, *spatial)) for name, x in given.items()}
            (result,) = runs[key](None, feeds)
        except UserError as error:
            raise UserError(f"{named(node)}: {error}") from None
        except Exception as error:  # onnxruntime has an exception of its own for each kind of failure
            raise UserError(f"{named(node)}: it cannot be computed: {str(error).splitlines()[0]}") from None
        return np.broadcast_to(np.asarray(result).reshape(len(operands[0]), -1), operands[0].shape)

    return compute
