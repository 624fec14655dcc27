"""Running a flow: one step after the other, reusing what is there, and publishing the report."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from xnorflow.bnn.errors import UserError
from xnorflow.cosim.engine import EngineError, EngineUnavailable
from xnorflow.flows import asic, vendor
from xnorflow.flows.cache import Entry, Store
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.extras import needing
from xnorflow.flows.flow import Flow, Step
from xnorflow.flows.formats import Subject
from xnorflow.flows.options import Options
from xnorflow.flows.places import BUILD, LOCK, PUBLISHED, REPORTS, claimed, judge, locked, publish
from xnorflow.flows.stages import steps
from xnorflow.reports.findings import Finding

if TYPE_CHECKING:
    from xnorflow.flows.formats import Converted
    from xnorflow.models.labelled import Labelled


@dataclass(frozen=True)
class Outcome:
    """What a flow ends with.

    Attributes
    ----------
    verdict : {"pass", "fail"}
    report : Path
        Folder of the report.
    projects : dict of Path, by engine
        Folders of what was built.
    rtl : dict or None
        As the report has it.
    findings : list of Finding
    """

    verdict: str
    report: Path
    projects: dict[str, Path]
    rtl: dict[str, Any] | None
    findings: list[Finding]


def run(
    subject: Subject,
    console: Console,
    *,
    vectors: int | None = 1000,
    data: "Path | Labelled | None" = None,
    options: Options | None = None,
    out: Path | None = None,
    force: bool = False,
    build: Path = BUILD,
    reports: Path = REPORTS,
    given: "Converted | None" = None,
) -> Outcome:
    """Run a flow to its report.

    Parameters
    ----------
    vectors : int or None
        Number of vectors; None for all test images.
    data : Path, Labelled or None
        The zoo's data set, or labelled data of the user's own.
    options : Options or None
        What the user decides about the hardware; None for the defaults.
    out : Path or None
        Folder for the report and copies of the projects; without it the report goes to ``reports/<name>``.
    force : bool
        Redo everything.
    build, reports : Path
        Where the cache and the reports are, relative to the working directory.
    given : Converted or None
        The subject, where it was converted before, in this process.

    Raises
    ------
    UserError
        If something that the user gave cannot be used, ``out`` before anything is done.
    EngineError
        If the golden model itself broke: there is nothing to compare with.
    """
    store = Store(build.absolute() / subject.name)
    target = out or reports / subject.name
    names = [*(kind.name for kind in ENGINES if kind.builds), *(step.folder for step in vendor.steps(ENGINES))]
    names += asic.names(options.liberty if options else ())
    judge(target, names if out else ())
    with claimed(store.root, console), needing(subject.origin, UserError):
        flow = Flow(subject, vectors, data, options or Options(), store, force, given)
        for step in steps(subject.kind):
            _take(flow, step, console, target)
        projects = {kind.name: flow.project(kind) for kind in ENGINES if kind.build_step in flow.entries}
        projects |= {f"vendor_{job['job']}": job["folder"] for job in vendor.jobs(flow)}
        made = flow.entries["synthesis"]
        projects |= {row["folder"]: made.folder / row["folder"] for row in made.facts["asic"] if row["folder"]}
        with locked(target / LOCK, f"another flow that writes to {target}", console):
            copies = publish(target, flow.entries["report"].folder, projects if out else {})
    facts = flow.entries["report"].facts
    told = [Finding(**finding) for finding in facts["findings"]]
    return Outcome(facts["verdict"], target, projects | copies, facts["rtl"], told)


def _take(flow: Flow, step: Step, console: Console, target: Path) -> None:
    """Put a step's result into the flow: reused, or made anew; or note why its engine has none."""
    if any(need not in flow.entries for need in step.needs):
        return
    key = step.key(flow)
    entry = None if flow.force else flow.store.find(step.folder, key)
    if entry is None:
        (target / PUBLISHED[-1]).unlink(missing_ok=True)  # a report must not outlive the results that it speaks of
        try:
            with needing(step.name, EngineUnavailable) if step.engine else nullcontext():
                entry = _make(flow, step, key, console)
        except (EngineUnavailable, EngineError) as error:
            if step.engine is None:
                raise
            status = "skipped" if isinstance(error, EngineUnavailable) else "fail"
            flow.problems[step.engine.name] = (status, str(error))
            flow.entries.pop(step.name, None)
            mark, style = ("-", "yellow") if status == "skipped" else ("✗", "red")
            console.print(f"[{style}]{mark}[/] {step.name:<22} {status}: {escape(str(error))}")
            return
    flow.entries[step.name] = entry
    time = "[cyan] reused[/]" if entry.reused else f"{entry.seconds:5.1f} s"
    differs = step.name == "compare" and not all(e["status"] == "pass" for e in entry.facts["engines"].values())
    failed = differs or not entry.keep
    console.print(f"{'[red]✗[/]' if failed else '[green]✓[/]'} {step.name:<22} {time}  {escape(entry.summary)}")


def _make(flow: Flow, step: Step, key: str, console: Console) -> Entry:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(
            *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
        ) as bar,
        flow.store.making(step.folder, key) as entry,
    ):
        task = bar.add_task(f"{step.name:<22}", total=None)
        step.make(flow, entry, lambda done, total: bar.update(task, completed=done, total=total))
    return entry
