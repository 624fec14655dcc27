"""The RTL that step ``rtl`` has written, for the steps that take it."""

from typing import TYPE_CHECKING

from xnorflow.flows.facts import RTL
from xnorflow.flows.graph import View
from xnorflow.flows.results import network

if TYPE_CHECKING:
    from xnorflow.hls.rtl.project import RtlProject
    from xnorflow.reports.records import RtlRow


def row(view: View) -> "RtlRow":
    """Return what step ``rtl`` tells of the RTL.

    Raises
    ------
    EngineUnavailable
        If there is no RTL for the network.
    """
    from xnorflow.cosim.engine import EngineUnavailable

    facts = view[RTL].facts
    if facts["made"] is None:
        raise EngineUnavailable(facts["unsupported"])
    return facts["made"]


def project(view: View) -> "RtlProject":
    """Load the RTL that step ``rtl`` has written.

    Raises
    ------
    EngineUnavailable
        If there is no RTL for the network.
    """
    from xnorflow.hls.rtl.project import load

    row(view)
    return load(network(view), view[RTL].folder / "project")
