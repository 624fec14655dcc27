"""The RTL that step ``rtl`` has written, for the steps that take it."""

from typing import TYPE_CHECKING

from xnorflow.flows.graph import View
from xnorflow.flows.results import network

if TYPE_CHECKING:
    from xnorflow.hls.rtl.project import RtlProject


def project(view: View) -> "RtlProject":
    """Load the RTL that step ``rtl`` has written.

    Raises
    ------
    EngineUnavailable
        If there is no RTL for the network.
    """
    from xnorflow.cosim.engine import EngineUnavailable
    from xnorflow.hls.rtl.project import load

    entry = view["rtl"]
    if entry.facts["unsupported"]:
        raise EngineUnavailable(entry.facts["unsupported"])
    return load(network(view), entry.folder / "project")
