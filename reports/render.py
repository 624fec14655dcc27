"""A report's document as files: ``report.json``, ``report.md`` for pull requests, ``report.html`` for people."""

import json
from collections.abc import Callable
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from xnorflow.reports.records import PathStep, PrecisionRecall, ReportRow
from xnorflow.reports.schema import SCHEMA

FOLDER = Path(__file__).parent


def validate(report: ReportRow) -> None:
    """Check a report against the schema.

    Raises
    ------
    jsonschema.ValidationError
        If it breaks the schema: a mistake in the program, never the user's.
    """
    from jsonschema import Draft202012Validator

    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)


def render(report: ReportRow, folder: Path) -> None:
    """Write ``report.json``, ``report.md`` and ``report.html`` into `folder`."""
    from xnorflow.reports.advice import advice
    from xnorflow.reports.boards import fits
    from xnorflow.reports.figures import bottleneck, figures
    from xnorflow.reports.findings import findings
    from xnorflow.reports.hardware import made
    from xnorflow.reports.sources import sources

    validate(report)
    (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    boards = fits(report)
    told = {
        "report": report, "findings": findings(report), "sources": sources(report), "made": made(report),
        "fits": boards, "advice": advice(report, boards),
        "changes": [row for row in (report["baseline"] or {"rows": []})["rows"] if row["before"] != row["now"]],
    }  # fmt: skip
    (folder / "report.md").write_text(template("report.md.j2").render(told))
    slowest = bottleneck(report["rtl"]) if report["rtl"] else None
    page = template("report.html.j2").render(told, figures=figures(report), bottleneck=slowest)
    (folder / "report.html").write_text(page)


@lru_cache
def template(name: str) -> Any:
    """Return a template of ``reports/templates``, with the filters that write numbers."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    from xnorflow.reports.arrays import unpack
    from xnorflow.reports.figures import picture, quantity, small

    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "count": lambda value: "–" if value is None else f"{value:,.10g}",
        "percent": lambda value: f"{value:.2%}",
        "share": lambda value: f"{int(value * 1e4) / 100:.2f} %",  # never rounded up to all
        "shape": lambda value: "×".join(map(str, value)),
        "quantity": quantity,
        "small": small,
        "picture": picture,
        "unpack": unpack,
        "change": change,
        "first_name": lambda dotted: dotted.split(".")[0],
        "by_layer": by_layer,
        "thresholds": thresholds,
        "fullest": lambda usage: max(usage, key=lambda of: of["used"] / max(of["available"], 1)),
        "seconds": lambda value: f"{value:.1f} s" if value >= 0.1 else f"{value * 1000:.1f} ms",
        "cell": lambda value: str(value).replace("|", "\\|").replace("\n", " "),
    }
    environment.filters |= filters
    return environment.get_template(name)


def change(before: Any, now: Any) -> str:
    """Say how a number has changed, or that something has; nothing where it has not."""
    if before == now:
        return ""
    if before is None or now is None:
        return "new" if before is None else "gone"
    if isinstance(before, str) or isinstance(now, str) or not before:
        return "changed"
    return f"{100 * (now / before - 1):+.2f} %"


class LayerOnPath(NamedTuple):
    """The steps of a critical path that follow each other in one layer."""

    layer: str
    signals: list[str]
    logic_ns: float
    routing_ns: float


def by_layer(path: list[PathStep]) -> list[LayerOnPath]:
    """Join the steps of a critical path that follow each other in one layer."""
    grouped = ((layer, list(steps)) for layer, steps in groupby(path, lambda step: step["layer"]))
    return [
        LayerOnPath(
            layer,
            [step["signal"] for step in steps],
            round(sum(step["logic_ns"] for step in steps), 3),
            round(sum(step["routing_ns"] for step in steps), 3),
        )
        for layer, steps in grouped
    ]


RECALLS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


def thresholds(curve: PrecisionRecall) -> list[list[int]]:
    """Return the points of a precision-recall curve that are the first to reach each of :data:`RECALLS`."""
    first = (next(point for point in curve["points"] if point[1] >= r * curve["positives"]) for r in RECALLS)
    return [list(point) for point in dict.fromkeys(map(tuple, first))]
