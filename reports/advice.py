"""What a reader of a report should do next: few sentences, the most urgent first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xnorflow.reports.boards import Fit

if TYPE_CHECKING:
    from xnorflow.reports.records import ReportRow

_ENOUGH = 0.99  # coverage below which more vectors are worth their time


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes
    ----------
    text : str
    section : str
        The section of the page that has more of it.
    """

    text: str
    section: str


def advice(report: "ReportRow", fits: Sequence[Fit]) -> list[Advice]:
    """Return what to do next."""
    return [Advice(text, section) for text, section in _told(report, fits)]


def _told(report: "ReportRow", fits: Sequence[Fit]) -> Iterator[tuple[str, str]]:
    engines, accuracy = report["engines"], report["accuracy"]
    for name, engine in engines.items():
        if engine["status"] == "fail":
            section = f"mismatch-{name}" if engine["first_mismatch"] else "findings"
            yield f"Find out why {name} is wrong before anything else is believed.", section
    for row in report["requirements"]:
        if row["status"] == "fail":
            yield (
                f"Change the design, or the requirement of {row['what'].replace('_', ' ')}: {row['reason']}.",
                "requirements",
            )
    if fits and all(fit.lacking for fit in fits):
        yield "Fold further to fit a board: make flow with MAX_LUTS=…, or a lower TARGET_FPS.", "fit"
    found = report["coverage"]["found"]
    if found and found["share"] < _ENOUGH:
        yield f"Run more vectors: of {found['engine']}'s faults only {found['share']:.1%} would have shown.", "coverage"
    if accuracy["golden"] is not None and accuracy["recorded_dataset"] not in (None, accuracy["golden_dataset"]):
        yield f"Give the data that it was trained for, DATA=…: {accuracy['golden_dataset']} stands in.", "confusion"
    if missing := [name for name, engine in engines.items() if engine["status"] == "skipped"]:
        yield f"Install what is missing, to have {', '.join(missing)} compared, too.", "engines"
    if report["verdict"] == "pass" and report["rtl"]:
        yield "Take the RTL into your design: its project folder is below, AXI4-Stream at both ends.", "rtl"
