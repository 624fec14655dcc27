"""What synthesis has made of the RTL: the netlist of a target's cells, simulated as the RTL is."""

from collections.abc import Mapping

from xnorflow.cosim.rtl import AxiProject
from xnorflow.cosim.rtl_icarus import RtlIcarus


class RtlNetlist(RtlIcarus):
    """Vectors through the AXI4-Stream ports of a synthesised netlist, simulated with four states by Icarus Verilog.

    Icarus, because it compiles thousands of cells in seconds, where CXXRTL and g++ need minutes. Its budget leaves few
    vectors for large netlists: a cycle costs what all cells that change cost. They go back to back alone; stalls, gaps
    and resets are for the RTL that the netlist was made from.

    Parameters
    ----------
    project : AxiProject
        The netlist, such as :func:`xnorflow.hls.synthesis.netlist.write` makes it from Yosys's own models of the cells.
    tool : str
        What has synthesised it, with its version.
    target : str
        What for.

    Attributes
    ----------
    about : str
        Tool and target, for people.
    """

    name = "netlist"
    passes = RtlIcarus.passes[:1]
    budget = 8e10
    most = float("inf")  # its size is known before it is written, and is asked for there: xnorflow.flows.engines

    def __init__(self, project: AxiProject, tool: str, target: str) -> None:
        super().__init__(project)
        self.tool = tool
        self.about = f"by {tool} for {target}"

    def tools(self) -> Mapping[str, str]:
        """Return the versions of what made the results."""
        return {"synthesis": self.tool, **super().tools()}
