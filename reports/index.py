"""One page over all reports: a sortable table, and accuracy against latency and LUTs."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xnorflow.bnn.errors import UserError

if TYPE_CHECKING:
    from xnorflow.reports.figures import Contender, Images
    from xnorflow.reports.records import ReportRow

PAGE = "index.html"
"""Name of the page."""

_TITLE = b"<title>xnorflow: all flows</title>"


def is_index(page: Path) -> bool:
    """Say whether a file is such a page, and not somebody else's."""
    return page.is_file() and not page.is_symlink() and _TITLE in page.read_bytes()


def index(folder: Path) -> tuple[Path, list[str]]:
    """Write ``index.html`` into `folder` over every ``report.json`` in the folders inside it.

    Returns
    -------
    Path
        The page.
    list of str
        Folders whose report is left out: not readable, or not of this version's schema.

    Raises
    ------
    UserError
        If there is no report to show, or the page's name is taken by something else.
    """
    from jsonschema import ValidationError

    from xnorflow.reports.figures import pareto
    from xnorflow.reports.render import template, validate

    rows, left_out = [], []
    for path in sorted(folder.glob("*/report.json")):
        try:
            report = json.loads(path.read_text())
            validate(report)
        except (ValueError, OSError, ValidationError):
            left_out.append(path.parent.name)
            continue
        rows.append(row(report, path.parent.name))
    if not rows:
        odd = f" (left out, of another version or damaged: {', '.join(left_out)})" if left_out else ""
        raise UserError(f"no flow has left a report in {folder}{odd}; run one: make flow MODEL=digits_bnn")
    targets = list(dict.fromkeys(target for row in rows for target in row.luts))
    sound = [row for row in rows if row.verdict == "pass"]  # what computes something else is no choice
    figures = {"latency": pareto(_contenders(sound, [row.latency_us for row in sound]), "latency in µs")}
    for target in targets:
        figures[target] = pareto(_contenders(sound, [row.luts.get(target) for row in sound]), f"LUTs, {target}")
    page, draft = folder / PAGE, folder / f".{PAGE}.{os.getpid()}"
    if not is_index(page) and (page.exists() or page.is_symlink()):
        raise UserError(f"{page} is no index of reports that xnorflow has written: move it away")
    text = template("index.html.j2").render(rows=rows, targets=targets, figures=figures, left_out=left_out)
    try:
        draft.write_text(text)
        os.replace(draft, page)
    finally:
        draft.unlink(missing_ok=True)
    return page, left_out


def _contenders(rows: "Sequence[ListedFlow]", costs: Sequence[float | None]) -> "list[Contender]":
    from xnorflow.reports.figures import Contender

    return [
        Contender(row.model, row.accuracy, cost, row.images)
        for row, cost in zip(rows, costs, strict=True)
        if cost and row.accuracy is not None and row.images
    ]


def _images(report: "ReportRow") -> "Images | None":
    accuracy = report["accuracy"]
    if accuracy["golden"] is None:
        return None
    return f"{accuracy['golden_count']:,} images of {accuracy['golden_dataset']}", report["inputs"]["dataset_digest"]


@dataclass(frozen=True)
class ListedFlow:
    """What the index shows of a report; None where the flow has no such figure.

    Attributes
    ----------
    folder, model, verdict : str
    vectors : int
    accuracy : float or None
    images : Images or None
        What it was measured on.
    latency_us : float or None
        The least latency in the simulation of most frames, at the clock that the project is meant for.
    per_second : float or None
        The rate of results at that clock.
    luts : dict of int, by target
        Synthesised.
    ratio : float
        Of the memory of 32-bit floats to that of the network.
    created : str
    """

    folder: str
    model: str
    verdict: str
    vectors: int
    accuracy: float | None
    images: "Images | None"
    latency_us: float | None
    per_second: float | None
    luts: dict[str, int]
    ratio: float
    created: str


def row(report: "ReportRow", folder: str) -> ListedFlow:
    """Return what the index shows of the report in a folder."""
    latency = max((x for x in report["latency"] if x["clock_ns"]), key=lambda x: x["frames"], default=None)
    clock_ns = latency["clock_ns"] if latency else None
    interval = latency["interval"] if latency else None
    model = report["model"]
    return ListedFlow(
        folder=folder,
        model=model if folder == model else f"{model} ({folder})",
        verdict=report["verdict"],
        vectors=report["inputs"]["count"],
        accuracy=report["accuracy"]["golden"],
        images=_images(report),
        latency_us=latency["latency"]["minimum"] * clock_ns / 1000 if latency and clock_ns else None,
        per_second=1e9 / (interval["median"] * clock_ns) if interval and clock_ns else None,
        luts={x["title"]: x["total"]["lut"] for x in report["synthesis"] if x["total"]},
        ratio=report["memory"]["ratio"],
        created=report["created"],
    )
