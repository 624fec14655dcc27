"""Many foldings of one or more models: all by the cycle and the area model, then the best through the whole flow.

A point is a model, a goal or an architecture, and a clock. One that cannot be is a row of its own, which says what can.
A point is best (Pareto) if no other of its model is as fast with fewer LUTs, or faster with as many.
"""

import csv
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
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
from xnorflow.reports.points import SweptPoint
from xnorflow.reports.sweep import page

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network
    from xnorflow.flows.formats import Converted
    from xnorflow.models.labelled import Labelled
    from xnorflow.reports.records import ReportRow

Which = Literal["pareto", "all", "none"]
"""Points that go through the whole flow."""

COLUMNS = tuple(spec.name for spec in fields(SweptPoint))
"""What is known of a point."""

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
class Goal:
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
) -> list[Goal]:
    """Return the points of a grid: every goal and every architecture at every clock."""
    goals = [
        *(Goal(target_fps=rate) for rate in target_fps),
        *(Goal(max_luts=luts) for luts in max_luts),
        *(Goal(architecture=name) for name in architecture),
    ]
    clocks: list[float | None] = [*clock_ns]
    return [replace(goal, clock_ns=clock) for goal, clock in product(goals or [Goal()], clocks or [None])]


def sweep(
    candidates: Sequence[Candidate],
    goals: Sequence[Goal],
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
) -> list[SweptPoint]:
    """Estimate all points, run the flow on some, and write ``sweep.csv`` and ``sweep.html`` to ``reports/<name>``.

    What was finished is reused, so that a sweep that was stopped goes on when it is started again.

    Parameters
    ----------
    candidates : sequence of Candidate
    goals : sequence of Goal
        Of every model.
    which : {"pareto", "all", "none"}
    vectors, data, build, reports, **parts
        As :func:`xnorflow.flows.run.run` takes them.
    executor : Executor or None
        Where steps are run. None for processes on all cores, with the flows side by side, if Dask is installed, or else
        for this process.

    Returns
    -------
    list of SweptPoint

    Raises
    ------
    UserError
        If something that was given cannot be used, before any flow runs.
    """
    asked = [(candidate, goal) for candidate in candidates for goal in goals]
    points = best(estimates(asked))
    folder = reports / name
    refused = sum(point.status == "refused" for point in points)
    console.print(f"{len(points):,} points: {len(points) - refused:,} estimated, {refused:,} refused")
    _publish(folder, points, name)
    chosen = [point for point in points if point.pareto or (which == "all" and point.status == "estimated")]
    chosen = [] if which == "none" else chosen
    with _several(executor, len(chosen)) as several:
        shown = console if several.flows == 1 else Console(quiet=True)

        def go(point: SweptPoint) -> SweptPoint:
            candidate, goal = asked[point.number]
            place = reports / f"{name}_{point.number}"
            shown.print(f"point {point.number}: {_told(point)}")
            run.run(
                candidate.subject, shown, vectors=vectors, data=data, options=goal.applied(candidate.options),
                out=place, copy=False, build=build, given=candidate.given, executor=several, **parts,
            )  # fmt: skip
            return measured(point, json.loads((place / "report.json").read_text()), place.name)

        for done, found in enumerate(_each(chosen, go, several.flows)):
            points[found.number] = found
            console.print(f"point {found.number}, {done + 1} of {len(chosen)} done: {found.verdict}; {_told(found)}")
            _publish(folder, points, name)
    return points


@contextmanager
def _several(executor: Executor | None, flows: int) -> Iterator[Executor]:
    """Give what runs the steps of several flows."""
    if executor or flows < 2 or missing("cluster"):
        yield executor or Here()
        return
    from xnorflow.flows.cluster import local

    with local() as cluster:
        yield cluster


def _each(points: Sequence[SweptPoint], go: Callable[[SweptPoint], SweptPoint], flows: int) -> Iterator[SweptPoint]:
    """Yield what becomes of each point, as it is done; so many at a time."""
    if flows == 1:
        yield from map(go, points)
        return
    waiting = list(points)[::-1]
    running: set[Future[SweptPoint]] = set()
    while waiting or running:
        while waiting and len(running) < flows:
            point = waiting.pop()
            running.add(begun(f"point {point.number}", partial(go, point)))
        done, running = wait(running, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def estimates(asked: Sequence[tuple[Candidate, Goal]]) -> list[SweptPoint]:
    """Return the points, by the cycle and the area model alone; many by processes on all cores."""
    from joblib import Parallel, delayed

    from xnorflow.cosim.golden import cores

    points: list[SweptPoint] = []
    start = time.perf_counter()
    while len(points) < len(asked) and time.perf_counter() - start < _ALONE_SECONDS:
        candidate, goal = asked[len(points)]
        points += _estimates(candidate.subject.name, candidate.network, candidate.options, len(points), [goal])
    pieces: list[tuple[Candidate, int, list[Goal]]] = []
    for number, (candidate, goal) in enumerate(asked[len(points) :], len(points)):
        if not pieces or pieces[-1][0] is not candidate or len(pieces[-1][2]) == _PIECE:
            pieces.append((candidate, number, []))
        pieces[-1][2].append(goal)
    if pieces:
        work = (
            delayed(_estimates)(of.subject.name, of.network, of.options, first, goals) for of, first, goals in pieces
        )
        points += [point for made in Parallel(cores(), batch_size=1)(work) for point in made]
    return points


def _estimates(name: str, network: "Network", options: Options, first: int, goals: Iterable[Goal]) -> list[SweptPoint]:
    """Return points of a model, numbered from `first` on."""
    return [_estimate(n, name, network, goal, goal.applied(options)) for n, goal in enumerate(goals, first)]


def _estimate(number: int, name: str, network: "Network", goal: Goal, options: Options) -> SweptPoint:
    from xnorflow.hls.errors import Unsupported
    from xnorflow.hls.rtl.folding import OutOfReach

    clock = options.rtl.clock_ns
    point = SweptPoint(number, name, goal.target_fps, goal.max_luts, goal.architecture, clock, "refused")
    try:
        choice = fold_rtl(network, options)
    except OutOfReach as error:
        fps = error.nearest.timing.frames_per_second(clock)
        return replace(point, reason=str(error), reachable_fps=fps, reachable_luts=error.nearest.luts)
    except Unsupported as error:
        return replace(point, reason=str(error))
    timing = choice.timing
    return replace(
        point,
        status="estimated",
        fps=timing.frames_per_second(clock),
        latency_us=timing.latency * clock / 1e3,
        interval=timing.interval,
        latency=timing.latency,
        luts=choice.luts,
    )


def best(points: Iterable[SweptPoint]) -> list[SweptPoint]:
    """Mark the points that no other of their model beats: none as fast has fewer LUTs; of equal ones the first."""
    points = list(points)
    least: dict[str, int] = {}
    marked: set[int] = set()
    known = [(-point.fps, point.luts, point) for point in points if point.fps is not None and point.luts is not None]
    for _, luts, point in sorted(known, key=lambda one: (*one[:2], one[2].number)):
        if point.model not in least or luts < least[point.model]:
            least[point.model] = luts
            marked.add(point.number)
    return [replace(point, pareto=point.number in marked) for point in points]


def measured(point: SweptPoint, report: "ReportRow", folder: str) -> SweptPoint:
    """Return a point with what the report of its flow says."""
    made = (
        (row["title"], row["total"]["lut"]) for row in report["synthesis"] if row["total"] and row["lut_inputs"] == 6
    )
    target, luts = next(made, (None, None))
    energy = report["energy"]
    return replace(
        point,
        verdict=report["verdict"],
        accuracy=report["accuracy"]["golden"],
        synthesised_luts=luts,
        target=target,
        luts_error=point.luts / luts - 1 if luts and point.luts else None,
        energy_nj=energy["picojoules"] / 1e3 if energy else None,
        report=folder,
    )


def _told(point: SweptPoint) -> str:
    return f"{point.model}, {point.fps or 0:,.0f} vectors/s, estimated {point.luts or 0:,} LUTs"


def _publish(folder: Path, points: Sequence[SweptPoint], name: str) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, points))
    publish_pages(folder, dict(zip(SWEEP, (text.getvalue(), page(points, name)), strict=True)))
