"""QONNX models: the trained one itself, and the network as one."""

from pathlib import Path

from xnorflow.cosim.engine import Engine
from xnorflow.flows.formats import converted
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind


def _make_trained(view: View, folder: Path) -> Engine:
    from xnorflow.cosim.qonnx_source import QonnxSource

    return QonnxSource(*converted(view).model)


def _make(view: View, folder: Path) -> Engine:
    from xnorflow.cosim.qonnx import Qonnx

    return Qonnx()


ONNX = EngineKind(
    "onnx",
    "the trained model in its QONNX file, executed by onnxruntime",
    builds=False,
    stage="onnx",
    make=_make_trained,
    packages=("numpy", "qonnx", "onnx", "onnxruntime"),
    trained=True,
    options=("subject", "input"),
    subjects=("onnx", "brevitas"),
)

QONNX = EngineKind(
    "qonnx",
    "QONNX model, executed by onnxruntime",
    builds=True,
    stage="qonnx",
    make=_make,
    packages=("numpy", "onnx", "onnxruntime"),
)
