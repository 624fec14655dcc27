"""The stage of the vendor's tools: their scripts in every flow, and what they make of the projects, where they are.

A job is a project with its scripts: that of each hls4ml engine, and the RTL. Reports that were brought back into the
folder of a job from another machine count like those made here.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xnorflow.flows.cache import Entry
from xnorflow.flows.cache import write as write_file
from xnorflow.flows.facts import ACTIVITY, DoneStep, NoFacts, RunFacts, VendorFacts
from xnorflow.flows.facts import RTL as RTL_STEP
from xnorflow.flows.graph import Advance, Name, Step, View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.results import WAVEFORM, network
from xnorflow.flows.rtl import project as rtl_project
from xnorflow.flows.rtl import row as rtl_row
from xnorflow.flows.typed import typed

if TYPE_CHECKING:
    from xnorflow.hls.config import HlsConfig
    from xnorflow.hls.vendor.figures import VendorFigures
    from xnorflow.hls.vendor.steps import Job, JobStep
    from xnorflow.hls.vendor.tools import VendorTool
    from xnorflow.reports.records import VendorJob, VendorStep

PROJECT = "project"
"""Name of a job's folder in its entry."""

RTL = "rtl"
"""Name of the RTL's job; the others have their engines' names."""

STEP = "vendor "
"""What the names of the jobs' steps begin with."""

_STEPS = "steps.json"  # what became of the steps of a job of which one has failed


def step_of(job: str) -> Name[VendorFacts]:
    """Return the name of a job's step."""
    return Name(f"{STEP}{job}", VendorFacts)


def steps(kinds: Iterable[EngineKind]) -> list[Step]:
    """Return the steps: the switching in a simulation of the RTL, then one for each job."""
    kinds = list(kinds)
    projects = [kind for kind in kinds if kind.hls_style]
    return [
        *(_activity_step(kind) for kind in kinds if kind.keeps_waveform),
        *(_step(kind.name, partial(_write_hls, kind), (kind.build_step, "fold")) for kind in projects),
        _step(RTL, _write_rtl, ("rtl", "fold"), (ACTIVITY,)),
    ]


def _step(
    name: str, write: Callable[[View, Path], "Job"], takes: tuple[str, ...], may_take: tuple[str, ...] = ()
) -> Step[VendorFacts]:
    """Return the step of a job, whose project the steps that it takes have made."""
    return Step(
        step_of(name),
        f"vendor_{name}",
        partial(_make, name, write),
        takes=takes,
        may_take=may_take,
        options=("backend", "hls", "vendor_run"),
        limits=("vendor_limit_s",),
        packages=("jinja2",),
        outside=partial(_tools, name),
        waits=False,  # its tools take gigabytes and a licence each: one job at a time
    )


def _activity_step(kind: EngineKind) -> Step[NoFacts]:
    return Step(
        ACTIVITY,
        ACTIVITY,
        partial(_activity, kind.run_step),
        takes=("fold", "rtl", kind.run_step),
        packages=("numpy", "pywellen"),
        engine=kind.name,
    )


def _activity(ran: Name[RunFacts], view: View, entry: Entry[NoFacts], advance: Advance) -> None:
    """Write the switching in the waveform that an engine keeps as Vivado reads it."""
    from xnorflow.hls.vendor import saif
    from xnorflow.hls.vendor.scripts import CLOCK

    run, file = view[ran], entry.folder / ACTIVITY
    saif.write(run.folder / WAVEFORM, file, rtl_project(view).top, CLOCK, rtl_row(view)["clock_ns"])
    entry.summary = f"of {run.facts['layerwise']} frames, for the vendor's estimate of power"


def _tools(name: str, view: View) -> dict[str, str] | None:
    """Return which of the vendor's tools there are, or why there are none, if the job is to be run with them."""
    wanted = name in view.options.vendor_run
    return {tool: str(_find(view, tool)) for tool in ("hls", "vivado")} if wanted else None


def _make(
    name: str, write: Callable[[View, Path], "Job"], view: View, entry: Entry[VendorFacts], advance: Advance
) -> None:
    if name == RTL and view[RTL_STEP].facts["made"] is None:
        entry.facts = {"design": None, "steps": []}
        entry.summary = "nothing to synthesise"
        return
    from xnorflow.hls.vendor.steps import STAMPED

    job = write(view, folder(entry))
    passed_before = {} if entry.anew else _resume(entry, job)
    rows: list[DoneStep] = []
    for done, step in enumerate(job.steps):
        advance(done, len(job.steps))
        rows.append(passed_before.get(step.name) or _attempt(name, view, job, step, rows))
    if all(row["status"] == "skipped" for row in rows):
        _bring_along(entry, [STAMPED, *(output for row in rows for output in row["outputs"])])
    entry.facts, entry.tracked = {"design": job.design, "steps": rows}, False
    entry.keep = all(row["status"] != "fail" for row in rows)
    entry.failed = not entry.keep
    if not entry.keep:
        write_file(entry.folder / _STEPS, json.dumps(rows))
    passed = [row for row in rows if row["status"] == "pass"]
    reasons = dict.fromkeys(_brief(row) for row in rows if row["reason"])
    by = ", ".join(dict.fromkeys(row["tool"] for row in passed if row["tool"]))
    told = [f"{', '.join(row['name'] for row in passed)} by {by}"] if passed else ["scripts written"]
    entry.summary = "; ".join([*told, *reasons])


def _resume(entry: Entry, job: "Job") -> dict[str, DoneStep]:
    """Go on in the folder of the same job where a step has failed before; return the rows of the steps that passed.

    The tools keep more between the steps than the outputs that are known, so that it must be the same folder.
    """
    from xnorflow.hls.vendor.steps import STAMP

    before = entry.previous
    if not before or not (before / _STEPS).is_file() or not (before / PROJECT / STAMP).is_file():
        return {}
    if (before / PROJECT / STAMP).read_text().strip() != job.design.digest:
        return {}
    try:
        rows = typed(json.loads((before / _STEPS).read_bytes()), list[DoneStep])
    except ValueError:  # damaged
        return {}
    shutil.rmtree(folder(entry))
    shutil.move(before / PROJECT, folder(entry))
    return {row["name"]: row for row in rows if row["status"] == "pass"}


def _bring_along(entry: Entry, outputs: Iterable[str]) -> None:
    """Keep what was brought from another machine for the same project, where it is made anew and no tool is here."""
    for output in outputs:
        there, here = entry.previous / PROJECT / output if entry.previous else None, folder(entry) / output
        if there and there.exists() and not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(there, here)


def _brief(row: DoneStep) -> str:
    """Return why a step has no result: in full where it failed, in a sentence where it was not run."""
    reason = row["reason"] or ""
    return reason if row["status"] == "fail" else reason.partition(". ")[0]


def _attempt(name: str, view: View, job: "Job", step: "JobStep", before: list[DoneStep]) -> DoneStep:
    """Run a step of a job; or say why it was not run, or what went wrong."""
    from xnorflow.hls.vendor.run import run
    from xnorflow.hls.vendor.tools import VendorError, VendorTool, VendorToolMissing

    row: DoneStep = {
        "name": step.name, "status": "pass", "reason": None, "tool": None, "seconds": None, "log": step.log,
        "outputs": [*step.outputs],
    }  # fmt: skip
    if name not in view.options.vendor_run:
        return {**row, "status": "skipped", "reason": f"not asked for: table [vendor] has {name} not in its list 'run'"}
    tool = _find(view, step.tool)
    if not isinstance(tool, VendorTool):
        return {**row, "status": "skipped" if isinstance(tool, VendorToolMissing) else "fail", "reason": str(tool)}
    lacking = [other["name"] for other in before if other["status"] != "pass" and other["name"] in step.needs]
    if lacking:
        return {**row, "status": "skipped", "reason": f"needs {lacking[0]}"}
    row["tool"] = f"{tool.name} {tool.version}"
    try:
        (ran,) = run(job, {step.tool: tool}, [step.name], view.options.vendor_limit_s)
    except VendorError as error:
        return {**row, "status": "fail", "reason": str(error)}
    return {**row, "seconds": round(ran.seconds, 3)}


def _find(view: View, tool: str) -> "VendorTool | Exception":
    """Return the tool, or why there is none."""
    return _found(tool, view.options.backend, frozenset(os.environ.items()))


@lru_cache
def _found(tool: str, backend: str, environ: frozenset[tuple[str, str]]) -> "VendorTool | Exception":
    from xnorflow.hls.vendor.tools import VendorError, VendorToolMissing, find_hls, find_vivado

    try:
        return find_vivado(dict(environ)) if tool == "vivado" else find_hls(backend, dict(environ))
    except (VendorToolMissing, VendorError) as problem:
        return problem


# --- the folders


def folder(entry: Entry) -> Path:
    """Return the folder of a job, which is what goes to another machine."""
    return entry.folder / PROJECT


def _write_hls(kind: EngineKind, view: View, into: Path) -> "Job":
    """Copy the project of an hls4ml engine, without what was compiled of it, and write the scripts."""
    from xnorflow.hls.project import top_name
    from xnorflow.hls.vendor.scripts import write_hls

    assert kind.hls_style is not None
    shutil.copytree(kind.project(view), into, ignore=shutil.ignore_patterns("build"))
    return write_hls(into, top_name(network(view)), _config(view, kind.hls_style))


def _write_rtl(view: View, into: Path) -> "Job":
    from xnorflow.hls.vendor.scripts import write_rtl

    made = view.entry(ACTIVITY)
    activity = made.folder / ACTIVITY if made else None
    return write_rtl(rtl_project(view), into, _config(view, "packed").part, rtl_row(view)["clock_ns"], activity)


def _config(view: View, style: str) -> "HlsConfig":
    from xnorflow.hls.config import HlsConfig

    return HlsConfig(style=style, backend=view.options.backend, **view.options.hls)


# --- what the report has


def jobs(view: View, steps: Iterable[str], kinds: Iterable[EngineKind]) -> "list[VendorJob]":
    """Describe every job among steps of a flow, with all figures in the reports that lie in its folder."""
    from xnorflow.hls.vendor.results import neutral, reports_of

    told: list[VendorJob] = []
    for name in steps:
        entry = view.entry(step_of(name.removeprefix(STEP))) if name.startswith(STEP) else None
        if not entry or not (design := entry.facts["design"]):
            continue
        rows = entry.facts["steps"]
        status = {row["status"] for row in rows}
        failed = [output for row in rows if row["status"] == "fail" for output in row["outputs"]]
        found, problems = reports_of(design, folder(entry), without=failed)
        if problems:
            status.add("fail")
        figures = neutral(found)
        _name_layers(figures, _known(view, name.removeprefix(STEP), kinds))
        told.append(
            {
                "job": cast("Any", name.removeprefix(STEP)),  # the jobs' names
                "folder": str(folder(entry)),
                "status": "fail" if "fail" in status else "pass" if "pass" in status else "skipped",
                "steps": [_shown(row, f"{folder(entry)}/") for row in rows],
                "problems": problems,
                "figures": figures,
            }
        )
    return told


def _shown(row: DoneStep, folder: str) -> "VendorStep":
    """Return a step as it is told: its log by its place in the job's folder, here or on another machine."""
    return {
        "name": row["name"], "status": row["status"], "reason": row["reason"] and row["reason"].replace(folder, ""),
        "tool": row["tool"], "seconds": row["seconds"], "log": row["log"],
    }  # fmt: skip


def _known(view: View, job: str, kinds: Iterable[EngineKind]) -> list[tuple[str, str, int]]:
    """Return patterns of the instances of a job, with their layers and LUTs as estimated."""
    if job == RTL:
        return [(rf"U_{re.escape(unit['name'])}", unit["layer"], unit["luts"]) for unit in rtl_row(view)["units"]]
    built = (view.entry(kind.build_step) for kind in kinds if kind.name == job)
    estimates = (estimate for entry in built if entry and (estimate := entry.facts["estimate"]))
    return [  # HLS tools name a function's instance by its template's arguments
        (rf"\w+_{layer['config']}(_\w+)?", layer["name"], layer["luts"])
        for estimate in estimates
        for layer in estimate["layers"]
    ]


def _name_layers(figures: "VendorFigures", known: Sequence[tuple[str, str, int]]) -> None:
    """Add to instances and paths the layers of the network, and to instances what our estimate of them is."""

    def find(instance: str) -> tuple[str | None, int | None]:
        of = (found for found in known if re.fullmatch(found[0], instance))
        _, layer, luts = next(of, (None, None, None))
        return layer, luts

    for row in figures["hierarchy"]:
        row["layer"], row["estimated_luts"] = find(row["instance"])
    for path in figures["paths"]:
        path["start_layer"], _ = find(path["start"].partition("/")[0])
        path["end_layer"], _ = find(path["end"].partition("/")[0])
