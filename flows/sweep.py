"""Many foldings of one or more models: all by the cycle and the area model, then the best through the whole flow.

A point is a model, a goal or an architecture, and a clock. One that cannot be is a row of its own, which says what can.
A point is best (Pareto) if no other of its model is as fast with fewer LUTs, or faster with as many.
"""

import csv
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from xnorflow.bnn.errors import UserError
from xnorflow.flows import run
from xnorflow.flows.execute import Here, begun
from xnorflow.flows.extras import missing
from xnorflow.flows.folding import fold_rtl
from xnorflow.flows.formats import Subject
from xnorflow.flows.options import ARCHITECTURES, Options
from xnorflow.flows.places import BUILD, REPORTS, SWEEP, publish_pages
from xnorflow.flows.take import Executor

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network
    from xnorflow.flows.formats import Converted
    from xnorflow.models.labelled import Labelled

Which = Literal["pareto", "all", "none"]
"""Points that go through the whole flow."""

COLUMNS = (
    *("number", "model", "target_fps", "max_luts", "architecture", "clock_ns", "status", "reason"),
    *("fps", "latency_us", "interval", "latency", "luts", "reachable_fps", "reachable_luts", "pareto"),
    *("verdict", "accuracy", "synthesised_luts", "target", "luts_error", "energy_nj", "report"),
)
"""What is known of a point; :func:`sweep` says what each is."""


_ALONE_SECONDS = 2.0  # of estimates in this process, before others are started to help
_PIECE = 16  # points that a process takes at a time


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model of a sweep.

    Attributes
    ----------
    subject : Subject
    network : Network
        Canonical.
    given : Converted or None
        The subject, where it was converted before, in this process.
    options : Options
        What all points of the model have in common.
    """

    subject: Subject
    network: "Network"
    given: "Converted | None"
    options: Options


@dataclass(frozen=True)
class Wish:
    """What a point asks for; None for what the options of the model say."""

    target_fps: float | None = None
    max_luts: int | None = None
    architecture: str | None = None
    clock_ns: float | None = None

    def applied(self, options: Options) -> Options:
        """Return options under which a flow makes the point.

        Raises
        ------
        UserError
            If a goal is given together with an architecture, or two goals are.
        """
        given = [name for name in ("target_fps", "max_luts", "architecture") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"sweep: a point has one of target_fps, max_luts and architecture, got {', '.join(given)}")
        if self.clock_ns is not None:
            options = replace(options, rtl=replace(options.rtl, clock_ns=self.clock_ns))
        if self.architecture is not None:
            default = ARCHITECTURES[self.architecture]()
            rtl = replace(options.rtl, default=default, layers={})
            return replace(options, rtl=rtl, target_fps=None, max_luts=None, goal_given=True)
        if given:
            return replace(options, target_fps=self.target_fps, max_luts=self.max_luts, goal_given=True)
        return options


def grid(
    target_fps: Iterable[float] = (),
    max_luts: Iterable[int] = (),
    architecture: Iterable[str] = (),
    clock_ns: Iterable[float] = (),
) -> list[Wish]:
    """Return the points of a grid: every goal and every architecture at every clock."""
    goals = [
        *(Wish(target_fps=rate) for rate in target_fps),
        *(Wish(max_luts=luts) for luts in max_luts),
        *(Wish(architecture=name) for name in architecture),
    ]
    clocks: list[float | None] = [*clock_ns]
    return [replace(goal, clock_ns=clock) for goal, clock in product(goals or [Wish()], clocks or [None])]


def sweep(
    candidates: Sequence[Candidate],
    wishes: Sequence[Wish],
    console: Console,
    *,
    name: str,
    which: Which = "pareto",
    vectors: int | None = 1000,
    data: "Path | Labelled | None" = None,
    build: Path = BUILD,
    reports: Path = REPORTS,
    executor: Executor | None = None,
    **parts: Any,
) -> list[dict[str, Any]]:
    """Estimate all points, run the flow on some, and write ``sweep.csv`` and ``sweep.html`` to ``reports/<name>``.

    What was finished is reused, so that a sweep that was stopped goes on when it is started again.

    Parameters
    ----------
    candidates : sequence of Candidate
    wishes : sequence of Wish
        Of every model.
    which : {"pareto", "all", "none"}
    vectors, data, build, reports, **parts
        As :func:`xnorflow.flows.run.run` takes them.
    executor : Executor or None
        Where steps are run. None for processes on all cores, with the flows side by side, if Dask is installed, or else
        for this process.

    Returns
    -------
    list of dict
        A row for each point, by :data:`COLUMNS`, None for what is not known: what was asked for; ``status``,
        "estimated" or "refused", and the ``reason``; ``fps`` vectors a second, ``latency_us``, and ``interval`` and
        ``latency`` in cycles, exact; ``luts``, estimated; ``reachable_fps`` and ``reachable_luts``, those of the
        nearest point that can be, where it is refused; ``pareto``; and of those that went through the flow the
        ``verdict``, the golden model's ``accuracy``, ``synthesised_luts`` for ``target``, ``luts_error`` of the
        estimate relative to these, ``energy_nj`` per inference, estimated, and the folder of the ``report``.

    Raises
    ------
    UserError
        If something that was given cannot be used, before any flow runs.
    """
    points = [(candidate, wish) for candidate in candidates for wish in wishes]
    rows = estimates(points)
    for number, row in enumerate(rows):
        row["number"] = number
    for candidate in candidates:
        best(row for row in rows if row["model"] == candidate.subject.name)
    folder = reports / name
    refused = sum(row["status"] == "refused" for row in rows)
    console.print(f"{len(rows):,} points: {len(rows) - refused:,} estimated, {refused:,} refused")
    _publish(folder, rows, name)
    chosen = [row for row in rows if row["pareto"] or (which == "all" and row["status"] == "estimated")]
    chosen = [] if which == "none" else chosen
    with _several(executor, len(chosen)) as several:
        shown = console if several.flows == 1 else Console(quiet=True)

        def go(row: dict[str, Any]) -> dict[str, Any]:
            candidate, wish = points[row["number"]]
            place = reports / f"{name}_{row['number']}"
            shown.print(f"point {row['number']}: {_told(row)}")
            run.run(
                candidate.subject, shown, vectors=vectors, data=data, options=wish.applied(candidate.options),
                out=place, copy=False, build=build, given=candidate.given, executor=several, **parts,
            )  # fmt: skip
            found = measured(json.loads((place / "report.json").read_text()), row["luts"])
            return found | {"report": place.name}

        for done, (row, found) in enumerate(_each(chosen, go, several.flows)):
            row |= found
            console.print(f"point {row['number']}, {done + 1} of {len(chosen)} done: {row['verdict']}; {_told(row)}")
            _publish(folder, rows, name)
    return rows


@contextmanager
def _several(executor: Executor | None, flows: int) -> Iterator[Executor]:
    """Give what runs the steps of several flows."""
    if executor or flows < 2 or missing("cluster"):
        yield executor or Here()
        return
    from xnorflow.flows.cluster import local

    with local() as cluster:
        yield cluster


def _each(
    rows: Sequence[dict[str, Any]], go: Callable[[dict[str, Any]], dict[str, Any]], flows: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each row with what becomes of it, as it is done; so many at a time."""
    if flows == 1:
        yield from ((row, go(row)) for row in rows)
        return
    waiting = list(rows)[::-1]
    running: dict[Future[dict[str, Any]], dict[str, Any]] = {}
    while waiting or running:
        while waiting and len(running) < flows:
            row = waiting.pop()
            running[begun(f"point {row['number']}", partial(go, row))] = row
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield running.pop(future), future.result()


def estimates(points: Sequence[tuple[Candidate, Wish]]) -> list[dict[str, Any]]:
    """Return the row of each point, by the cycle and the area model alone; many by processes on all cores."""
    from joblib import Parallel, delayed

    from xnorflow.cosim.golden import cores

    rows: list[dict[str, Any]] = []
    start = time.perf_counter()
    while len(rows) < len(points) and time.perf_counter() - start < _ALONE_SECONDS:
        candidate, wish = points[len(rows)]
        rows += _estimates(candidate.subject.name, candidate.network, candidate.options, [wish])
    pieces: list[tuple[Candidate, list[Wish]]] = []
    for candidate, wish in points[len(rows) :]:
        if not pieces or pieces[-1][0] is not candidate or len(pieces[-1][1]) == _PIECE:
            pieces.append((candidate, []))
        pieces[-1][1].append(wish)
    if pieces:
        work = (delayed(_estimates)(of.subject.name, of.network, of.options, wishes) for of, wishes in pieces)
        rows += [row for made in Parallel(cores(), batch_size=1)(work) for row in made]
    return rows


def _estimates(name: str, network: "Network", options: Options, wishes: Iterable[Wish]) -> list[dict[str, Any]]:
    return [_estimate(name, network, wish, wish.applied(options)) for wish in wishes]


def _estimate(name: str, network: "Network", wish: Wish, options: Options) -> dict[str, Any]:
    from xnorflow.hls.errors import Unsupported
    from xnorflow.hls.rtl.folding import OutOfReach

    clock = options.rtl.clock_ns
    row = dict.fromkeys(COLUMNS) | {
        "model": name,
        "target_fps": wish.target_fps,
        "max_luts": wish.max_luts,
        "architecture": wish.architecture,
        "clock_ns": clock,
        "pareto": False,
    }
    try:
        choice = fold_rtl(network, options)
    except OutOfReach as error:
        nearest = error.nearest
        return row | {
            "status": "refused",
            "reason": str(error),
            "reachable_fps": nearest.timing.frames_per_second(clock),
            "reachable_luts": nearest.luts,
        }
    except Unsupported as error:
        return row | {"status": "refused", "reason": str(error)}
    timing = choice.timing
    return row | {
        "status": "estimated",
        "fps": timing.frames_per_second(clock),
        "latency_us": timing.latency * clock / 1e3,
        "interval": timing.interval,
        "latency": timing.latency,
        "luts": choice.luts,
    }


def best(rows: Iterable[dict[str, Any]]) -> None:
    """Mark the rows of a model that no other beats: none as fast has fewer LUTs; of equal ones the first."""
    known = [row for row in rows if row["status"] == "estimated"]
    least = float("inf")
    for row in sorted(known, key=lambda row: (-row["fps"], row["luts"], row["number"])):
        row["pareto"] = row["luts"] < least
        least = min(least, row["luts"])


def measured(report: Mapping[str, Any], luts: int) -> dict[str, Any]:
    """Return what a flow's report adds to the row of its point, whose LUTs were estimated."""
    found = next((row for row in report["synthesis"] if row["total"] and row["lut_inputs"] == 6), None)
    synthesised = found["total"]["lut"] if found else None
    energy = report["energy"]
    return {
        "verdict": report["verdict"],
        "accuracy": report["accuracy"]["golden"],
        "synthesised_luts": synthesised,
        "target": found["title"] if found else None,
        "luts_error": luts / synthesised - 1 if synthesised else None,
        "energy_nj": energy["picojoules"] / 1e3 if energy else None,
    }


def _told(row: Mapping[str, Any]) -> str:
    return f"{row['model']}, {row['fps']:,.0f} vectors/s, estimated {row['luts']:,} LUTs"


def _publish(folder: Path, rows: Sequence[Mapping[str, Any]], name: str) -> None:
    from xnorflow.reports.sweep import page

    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    publish_pages(folder, dict(zip(SWEEP, (text.getvalue(), page(rows, name)), strict=True)))
