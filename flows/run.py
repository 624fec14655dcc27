"""Running a flow: one step after the other, reusing what is there, and publishing the report."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from xnorflow.bnn.errors import UserError
from xnorflow.cosim.engine import EngineError, EngineUnavailable
from xnorflow.flows import vendor
from xnorflow.flows.cache import PROJECT, Entry, Store, write
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.flow import Flow, Step
from xnorflow.flows.options import Options
from xnorflow.flows.stages import steps
from xnorflow.flows.subject import Subject
from xnorflow.reports.findings import Finding

BUILD = PROJECT / "build"
REPORTS = PROJECT / "reports"

_SHOWN = ("mismatch_*.npz", "waveform_*.fst", "bitstream_*")  # published beside the report, where there are any
_PUBLISHED = ("report.md", "report.html", "report.json")  # the last is what says that all are there

_MARK = ".copied-from"  # in a copied project: the folder that it is a copy of


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
    data: Path | None = None,
    options: Options | None = None,
    out: Path | None = None,
    force: bool = False,
    build: Path = BUILD,
    reports: Path = REPORTS,
) -> Outcome:
    """Run a flow to its report.

    Parameters
    ----------
    vectors : int or None
        Number of vectors; None for all test images.
    options : Options or None
        What the user decides about the hardware; None for the defaults.
    out : Path or None
        Folder for the report and copies of the projects; without it the report goes to ``reports/<name>``.
    force : bool
        Redo everything.
    build, reports : Path
        Where the cache and the reports are.

    Raises
    ------
    UserError
        If something that the user gave cannot be used.
    EngineError
        If the golden model itself broke: there is nothing to compare with.
    """
    store = Store(build / subject.name)
    target = out or reports / subject.name
    with _locked(build / f".{subject.name}.lock", f"another flow on {subject.name}", console):
        flow = Flow(subject, vectors, data, options or Options(), store, force)
        for step in steps(subject.kind):
            _take(flow, step, console, target)
        projects = {kind.name: flow.project(kind) for kind in ENGINES if kind.build_step in flow.entries}
        projects |= {f"vendor_{job['job']}": job["folder"] for job in vendor.jobs(flow)}
        with _locked(target / ".xnorflow.lock", f"another flow that writes to {target}", console):
            _publish(flow.entries["report"], target)
            if out:
                projects = {name: _copy(folder, out / name) for name, folder in projects.items()}
    facts = flow.entries["report"].facts
    told = [Finding(**finding) for finding in facts["findings"]]
    return Outcome(facts["verdict"], target, projects, facts["rtl"], told)


@contextmanager
def _locked(path: Path, holder: str, console: Console) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.print(f"waiting for {holder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _take(flow: Flow, step: Step, console: Console, target: Path) -> None:
    """Put a step's result into the flow: reused, or made anew; or note why its engine has none."""
    if any(need not in flow.entries for need in step.needs):
        return
    key = step.key(flow)
    entry = None if flow.force else flow.store.find(step.folder, key)
    if entry is None:
        (target / _PUBLISHED[-1]).unlink(missing_ok=True)  # a report must not outlive the results that it speaks of
        try:
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


def _publish(entry: Entry, target: Path) -> None:
    """Make the folder of the report show this entry: whole files only, ``report.json`` last."""
    shown = [path.name for pattern in _SHOWN for path in entry.folder.glob(pattern)]
    for stale in [path for pattern in _SHOWN for path in target.glob(pattern)]:
        if stale.name not in shown:
            stale.unlink()
    for name in (*shown, *_PUBLISHED):
        content = (entry.folder / name).read_bytes()
        if not (target / name).is_file() or (target / name).read_bytes() != content:
            (target / _PUBLISHED[-1]).unlink(missing_ok=True)
            write(target / name, content)


def _copy(project: Path, target: Path) -> Path:
    """Copy a project, unless its copy is there; a folder that no flow has made is left alone."""
    mark = target / _MARK
    if mark.is_file():
        if mark.read_text() == str(project):
            return target
        mark.unlink()
        shutil.rmtree(target)
    elif target.exists():
        raise UserError(
            f"{target} exists and is no copy of a project that a flow has made: remove it, or choose another OUT"
        )
    draft = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(project, draft)
    (draft / _MARK).write_text(str(project))
    draft.rename(target)
    return target
