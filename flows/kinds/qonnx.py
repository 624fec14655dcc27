"""The network as a QONNX model."""

from pathlib import Path

from xnorflow.cosim.engine import Engine
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind


def _make(view: View, folder: Path) -> Engine:
    from xnorflow.cosim.qonnx import Qonnx

    return Qonnx()


QONNX = EngineKind(
    "qonnx",
    "QONNX model, executed by onnxruntime",
    builds=True,
    stage="qonnx",
    make=_make,
    packages=("numpy", "onnx", "onnxruntime"),
)
