"""The trained PyTorch module itself."""

from pathlib import Path

from xnorflow.cosim.engine import Engine, EngineUnavailable
from xnorflow.flows.formats import READ, converted
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind


def _make(view: View, folder: Path) -> Engine:
    from xnorflow.cosim.pytorch import PyTorch

    model = converted(view).model
    if model is None:
        raise EngineUnavailable("the flow started from a Network file, which has no PyTorch module")
    return PyTorch(model)


PYTORCH = EngineKind(
    "pytorch",
    "the trained PyTorch module",
    builds=False,
    stage="pytorch",
    make=_make,
    packages=("numpy", "torch"),
    trained=True,
    options=READ,
    subjects=("checkpoint", "network", "module"),
)
