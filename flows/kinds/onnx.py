"""The trained model itself, of a QONNX file."""

from pathlib import Path

from xnorflow.cosim.engine import Engine
from xnorflow.flows.formats import READ, converted
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind


def _make(view: View, folder: Path) -> Engine:
    from xnorflow.cosim.qonnx_source import QonnxSource

    return QonnxSource(*converted(view).model)


ONNX = EngineKind(
    "onnx",
    "the trained model in its QONNX file, executed by onnxruntime",
    builds=False,
    stage="onnx",
    make=_make,
    packages=("numpy", "qonnx", "onnx", "onnxruntime"),
    trained=True,
    options=READ,
    subjects=("onnx", "brevitas"),
)
