"""What synthesis has made of the RTL: the netlist of a target's cells, simulated as the RTL is."""

from collections.abc import Mapping

from cosim.rtl import Project
from cosim.rtl_cxxrtl import RtlCxxrtl


class RtlNetlist(RtlCxxrtl):
    """Vectors through the AXI4-Stream ports of a synthesised netlist, in compiled C++.

    Parameters
    ----------
    project : Project
        The netlist, such as :func:`hls.synthesis.netlist.write` makes it from Yosys's own models of the cells.
    tool : str
        What has synthesised it, with its version.

    Attributes
    ----------
    max_vectors : int
        A cycle costs as much as all the cells of the device do: a flow should run no more than this, and say so.
    """

    name = "netlist"
    max_vectors = 24

    def __init__(self, project: Project, tool: str) -> None:
        super().__init__(project)
        self.tool = tool

    def tools(self) -> Mapping[str, str]:
        """Return the versions of what made the results."""
        return {"synthesis": self.tool, **super().tools()}
