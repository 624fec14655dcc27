"""The trained Keras model itself."""

from pathlib import Path

from xnorflow.cosim.engine import Engine
from xnorflow.flows.formats import READ, converted
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind


def _make(view: View, folder: Path) -> Engine:
    from xnorflow.cosim.keras import Keras

    return Keras(*converted(view).model)


KERAS = EngineKind(
    "keras",
    "the trained Keras model",
    builds=False,
    stage="keras",
    make=_make,
    packages=("numpy", "tensorflow", "tf_keras", "QKeras", "larq"),
    trained=True,
    options=READ,
    subjects=("keras",),
)
