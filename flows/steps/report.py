"""Step ``report``: all that was found, as pages and as JSON."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from xnorflow.flows.cache import Entry
from xnorflow.flows.document import FACTS, document
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.steps import vendor
from xnorflow.flows.version import version
from xnorflow.hls.folders import file_digest
from xnorflow.reports import measures


def step(kinds: Sequence[EngineKind], others: Sequence[Step]) -> Step:
    """Return the step, which sees the results of all others."""
    names = tuple(step.name for step in others)
    return Step(
        "report",
        "report",
        partial(_report, tuple(kinds), names),
        takes=FACTS,
        may_take=tuple(name for name in dict.fromkeys((*names, "energy")) if name not in FACTS),
        options=("subject", "origin", "require"),
        packages=tuple(
            dict.fromkeys(("jinja2", "matplotlib", "jsonschema", *(p for kind in kinds for p in kind.packages)))
        ),
        commands=tuple(dict.fromkeys(command for kind in kinds for command in kind.commands)),
        outside=partial(_outside, names),
    )


def _outside(others: Sequence[str], view: View) -> dict[str, Any]:
    """Return what the report shows beside the results' contents, which do not have it."""
    baseline = measures.baseline(view.options.subject.name)
    entries = [entry for name in others if (entry := view.entry(name))]
    return {
        "measured": [[entry.measured, entry.summary, entry.seconds] for entry in entries],
        "vendor": [job | {"folder": str(job["folder"])} for job in vendor.jobs(view, others)],
        "version": version(),
        "baseline": file_digest(baseline) if baseline.is_file() else None,
    }


def _report(kinds: Sequence[EngineKind], others: Sequence[str], view: View, entry: Entry, advance: Advance) -> None:
    from xnorflow.reports.findings import findings
    from xnorflow.reports.render import render

    report = document(view, kinds, others)
    render(report, entry.folder)
    for step, pattern in (("compare", "mismatch_*.npz"), ("synthesis", "bitstream_*")):
        for made in view[step].folder.glob(pattern):
            shutil.copyfile(made, entry.folder / made.name)
    for kind in kinds:
        if waveform := kind.kept_waveform(view):
            shutil.copyfile(waveform, entry.folder / kind.waveform)
    told = [asdict(finding) for finding in findings(report)]
    entry.facts = {"verdict": report["verdict"], "rtl": report["rtl"], "findings": told}
    entry.summary = "report.html, report.md, report.json"
