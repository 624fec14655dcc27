"""Running a flow: what was asked for, its steps, and publishing the report."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from xnorflow.bnn.errors import UserError
from xnorflow.flows import asic, tidy
from xnorflow.flows.cache import Entry, Store, tool_versions
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.execute import execute
from xnorflow.flows.extras import needing
from xnorflow.flows.facts import ReportFacts, SynthesisFacts
from xnorflow.flows.formats import CONVERTED, FORMATS, Subject, model_digest, read_subject
from xnorflow.flows.graph import SYNTHESISED, Asked, Flow, Step, View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.options import Options
from xnorflow.flows.places import BUILD, LOCK, PUBLISHED, REPORTS, claimed, judge, locked, publish
from xnorflow.flows.results import network
from xnorflow.flows.stages import steps
from xnorflow.flows.steps import vendor
from xnorflow.flows.steps.synthesis import Synthesise, synthesised
from xnorflow.flows.take import Executor
from xnorflow.reports.findings import Finding

if TYPE_CHECKING:
    from xnorflow.flows.formats import Converted
    from xnorflow.models.labelled import Labelled
    from xnorflow.reports.records import RtlRow


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
    rtl : RtlRow or None
        As the report has it.
    findings : list of Finding
    """

    verdict: str
    report: Path
    projects: dict[str, Path]
    rtl: "RtlRow | None"
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
    copy: bool = True,
    build: Path = BUILD,
    reports: Path = REPORTS,
    given: "Converted | None" = None,
    engines: Sequence[EngineKind] = ENGINES,
    synthesise: Synthesise = synthesised,
    executor: Executor | None = None,
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
    copy : bool
        Whether `out` gets copies of the projects, too.
    build, reports : Path
        Where the cache and the reports are, relative to the working directory.
    given : Converted or None
        The subject, where it was converted before, in this process.
    engines : sequence of EngineKind
        Those to compare with the golden model, as far as they serve the subject's kind.
    synthesise : callable
        What synthesises the RTL.
    executor : Executor or None
        Where steps are run; None for this process.

    Raises
    ------
    UserError
        If something that the user gave cannot be used, ``out`` before anything is done.
    EngineError
        If the golden model itself broke: there is nothing to compare with.
    """
    options = options or Options()
    store = Store(build.absolute() / subject.name)
    target = out or reports / subject.name
    kinds = [kind for kind in engines if kind.serves(subject.kind)]
    plan = steps(kinds, synthesise, bool(options.liberty))
    jobs = [step for step in plan if step.name.startswith(vendor.STEP)]
    names = [*(kind.name for kind in kinds if kind.builds), *(step.folder for step in jobs)]
    names += asic.names(options.liberty)
    judge(target, names if out and copy else ())
    most = tidy.limit()
    with claimed(store.root, console, shared=not force), needing(subject.origin, UserError):
        flow = Flow(_asked(subject, vectors, data, options, given), store.root)
        if given:
            flow.once(CONVERTED, lambda: given)
        if force:
            shutil.rmtree(store.root / SYNTHESISED, ignore_errors=True)  # else what the tools made would be taken

        def check(step: str) -> None:
            if step == "fold":
                options.check(network(View(flow, next(one for one in plan if one.name == "rtl"))))

        asic.check(options.liberty, store.root / SYNTHESISED)
        # A report must not outlive the results that it speaks of.
        withdraw = partial((target / PUBLISHED[-1]).unlink, missing_ok=True)
        started = time.time()
        execute(flow, plan, store, console, force=force, before_making=withdraw, after=check, executor=executor)
        made = {name: of for name, of in flow.results.items() if isinstance(of, Entry)}
        projects = {kind.name: made[kind.build_step].folder / "project" for kind in kinds if kind.build_step in made}
        of_asic: Entry[SynthesisFacts] = made["synthesis"]
        projects |= {row["folder"]: of_asic.folder / row["folder"] for row in of_asic.facts["asic"] if row["folder"]}
        projects |= {job.folder: vendor.folder(made[job.name]) for job in jobs if _has_project(made, job)}
        with locked(target / LOCK, f"another flow that writes to {target}", console):
            copies = publish(target, made["report"].folder, projects if out and copy else {})
    if not all(entry.reused for entry in made.values()):
        tidy.prune(build.absolute(), most, started)
    facts: ReportFacts = made["report"].facts
    return Outcome(facts["verdict"], target, projects | copies, facts["rtl"], facts["findings"])


def _has_project(made: dict[str, Entry], job: Step) -> bool:
    return job.name in made and bool(made[job.name].facts["steps"])


def _asked(
    subject: Subject,
    vectors: int | None,
    data: "Path | Labelled | None",
    options: Options,
    given: "Converted | None",
) -> dict[str, Asked]:
    """Return by name what the user decides, and what tells one such choice from another."""
    known = FORMATS.get(subject.kind)

    def model() -> dict[str, object]:
        """Tell models apart by what they compute; code that makes one has to be run for that."""
        found = given or (read_subject(subject, options.input, options.fixed) if subject.factory else None)
        return {
            "name": subject.name,
            "kind": subject.kind,
            "zoo": subject.zoo,
            "model": model_digest(subject, found),
            "frameworks": tool_versions(known.packages) if known else None,
        }

    where = [subject.origin, str(subject.path), subject.recorded]
    asked = {spec.name: getattr(options, spec.name) for spec in fields(options)}
    return {
        "subject": Asked(subject, model),
        "origin": Asked(subject, lambda: where),
        "vectors": Asked(vectors, lambda: vectors),
        "data": Asked(data, lambda: str(data) if isinstance(data, Path) else getattr(data, "digest", None)),
        **{name: Asked(value, partial(_json, value)) for name, value in asked.items()},
    }


def _json(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
