"""The hls4ml projects, of stock and of bit-packed layers, in C-simulation."""

from functools import partial
from pathlib import Path
from typing import Literal

from xnorflow.cosim.engine import Engine
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind


def _make(style: Literal["stock", "packed"], view: View, folder: Path) -> Engine:
    """Make the engine; its layers are folded by the RTL's goal where one was given."""
    from xnorflow.cosim.csim import CSim

    options = view.options
    goal = {"target_fps": options.target_fps, "max_luts": options.max_luts} if options.goal_given else {}
    return CSim(style, options.backend, **{**goal, **options.hls})


def _kind(style: Literal["stock", "packed"], title: str) -> EngineKind:
    return EngineKind(
        f"hls4ml_{style}",
        title,
        builds=True,
        stage="csim",
        make=partial(_make, style),
        packages=("numpy", "hls4ml"),
        commands=("g++",),
        options=("backend", "hls", "target_fps", "max_luts", "goal_given"),
        takes_vectors=True,
        hls_style=style,
        waits=True,
    )


STOCK = _kind("stock", "hls4ml project of stock layers")
PACKED = _kind("packed", "hls4ml project of bit-packed layers")
