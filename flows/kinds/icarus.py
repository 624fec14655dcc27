"""Our RTL in Icarus Verilog."""

from pathlib import Path

from xnorflow.cosim.engine import Engine
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.rtl import project


def _make(view: View, folder: Path) -> Engine:
    from xnorflow.cosim.rtl_icarus import RtlIcarus

    return RtlIcarus(project(view), waves=view.options.waves)


ICARUS = EngineKind(
    "rtl_icarus",
    "RTL, simulated by Icarus Verilog under cocotb",
    builds=True,
    stage="cosim",
    make=_make,
    packages=("numpy", "cocotb", "cocotbext-axi"),
    commands=("iverilog -V",),
    options=("waves",),
    takes=("rtl",),
    counts_cycles=True,
    keeps_waveform=True,
    waits=True,
)
