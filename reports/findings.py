"""What went wrong in a flow, and what a design cannot do: the same list for the verdict, the pages and the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import ReadOnly, TypedDict

if TYPE_CHECKING:
    from xnorflow.hls.vendor.figures import VendorTiming
    from xnorflow.reports.records import ReportRow

    class _WithStatus(TypedDict):
        status: ReadOnly[str]
        reason: ReadOnly[str | None]


@dataclass(frozen=True)
class Finding:
    """One thing that a reader must not miss.

    Attributes
    ----------
    what : str
        The engine, the target or the step.
    status : {"fail", "unfit", "unrouted", "unmet", "unknown"}
        "fail" fails the flow: something is not exact, or a requirement is not met. The others are findings about the
        hardware, which is as exact as before: it needs more than the device has, its wires found no way within the
        limit, it does not meet the timing asked for, or nothing tells whether it meets a requirement.
    reason : str
    """

    what: str
    status: str
    reason: str


def findings(report: "ReportRow") -> list[Finding]:
    """Return the findings that a report tells of, engines first."""
    return [Finding(what, of["status"], of["reason"] or "") for what, of in _parts(report) if _is_finding(of)]


def _is_finding(of: "_WithStatus") -> bool:
    return of["status"] not in ("pass", "skipped", "agrees")


def _parts(report: "ReportRow") -> Iterator[tuple[str, "_WithStatus"]]:
    """Yield everything that has a status and a reason, by name."""
    yield from report["engines"].items()
    for required in report["requirements"]:
        yield f"requirement {required['what']}", required
    for made in report["synthesis"]:
        yield f"synthesis for {made['title']}", made
        if made["placement"]:
            yield f"place and route for {made['title']}", made["placement"]
    for asic in report["asic"]:
        yield f"ASIC of {asic['library']}", asic
        if asic["timing"]:
            yield f"timing of the ASIC of {asic['library']}", asic["timing"]
        if asic["power"]:
            yield f"power of the ASIC of {asic['library']}", asic["power"]
    for job in report["vendor"]:
        for step in job["steps"]:
            yield f"vendor's {step['name']} of {job['job']}", step
        for problem in job["problems"]:
            yield f"vendor's reports of {job['job']}", {"status": "fail", "reason": problem}
        for of in _final(job["figures"]["timing"]):
            if of["met"] is False:
                slacks = {"WNS": of["wns_ns"], "WHS": of["whs_ns"], "WPWS": of["wpws_ns"]}
                told = ", ".join(f"{what} {slack:g} ns" for what, slack in slacks.items() if slack is not None)
                asked = f" at {of['clock_ns']:g} ns" if of["clock_ns"] is not None else ""
                reason = f"timing not met{asked}{': ' + told if told else ''} ({of['source']})"
                yield f"{of['tool']} for {job['job']}, {of['stage']}", {"status": "unmet", "reason": reason}


def _final(timing: "list[VendorTiming]") -> "list[VendorTiming]":
    """Return the figures of routed designs: what is known before that does not count any more."""
    return [of for of in timing if of["stage"] == "routed"] or timing
