"""What went wrong in a flow, and what a design cannot do: the same list for the verdict, the pages and the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that a reader must not miss.

    Attributes
    ----------
    what : str
        The engine, the target or the step.
    status : {"fail", "unfit", "unrouted"}
        "fail" fails the flow. The others are findings about the hardware, which is as exact as before: it needs more
        than the device has, or its wires found no way within the limit.
    reason : str
    """

    what: str
    status: str
    reason: str


def findings(report: dict[str, Any]) -> list[Finding]:
    """Return the findings that a report tells of, engines first."""
    return [Finding(what, of["status"], of["reason"]) for what, of in _parts(report) if _findingd(of)]


def _findingd(of: dict[str, Any]) -> bool:
    return of["status"] not in ("pass", "skipped")


def _parts(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield everything that has a status and a reason, by name."""
    yield from report["engines"].items()
    for row in report["synthesis"]:
        yield f"synthesis for {row['title']}", row
        if row["placement"]:
            yield f"place and route for {row['title']}", row["placement"]
    for job in report["vendor"]:
        for step in job["steps"]:
            yield f"vendor's {step['name']} of {job['job']}", step
        for problem in job["problems"]:
            yield f"vendor's reports of {job['job']}", {"status": "fail", "reason": problem}
