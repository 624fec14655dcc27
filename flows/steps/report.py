"""Step ``report``: all that was found, as pages and as JSON."""

import shutil
from collections.abc import Sequence
from functools import partial

from xnorflow.flows.cache import Entry
from xnorflow.flows.document import SHOWN, document
from xnorflow.flows.facts import COMPARE, REPORT, SYNTHESIS, ReportFacts
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.steps import vendor
from xnorflow.flows.version import version
from xnorflow.hls.folders import file_digest
from xnorflow.reports import measures


def step(kinds: Sequence[EngineKind], others: Sequence[Step]) -> Step[ReportFacts]:
    """Return the step, which sees the results of all others."""
    names = tuple(step.name for step in others)
    return Step(
        REPORT,
        "report",
        partial(_report, tuple(kinds), names),
        takes=SHOWN,
        may_take=tuple(name for name in dict.fromkeys((*names, "energy")) if name not in SHOWN),
        options=("subject", "origin", "require"),
        packages=tuple(
            dict.fromkeys(("jinja2", "matplotlib", "jsonschema", *(p for kind in kinds for p in kind.packages)))
        ),
        commands=tuple(dict.fromkeys(command for kind in kinds for command in kind.commands)),
        outside=partial(_outside, tuple(kinds), names),
    )


def _outside(kinds: Sequence[EngineKind], others: Sequence[str], view: View) -> dict[str, object]:
    """Return what the report shows beside the results' contents, which do not have it."""
    baseline = measures.baseline(view.options.subject.name)
    return {
        "told": [entry.whole for name in others if (entry := view.entry(name))],
        "vendor": vendor.jobs(view, others, kinds),
        "version": version(),
        "baseline": file_digest(baseline) if baseline.is_file() else None,
    }


def _report(
    kinds: Sequence[EngineKind], others: Sequence[str], view: View, entry: Entry[ReportFacts], advance: Advance
) -> None:
    from xnorflow.reports.findings import findings
    from xnorflow.reports.render import render

    report = document(view, kinds, others)
    render(report, entry.folder)
    for made in (*view[COMPARE].folder.glob("mismatch_*.npz"), *view[SYNTHESIS].folder.glob("bitstream_*")):
        shutil.copyfile(made, entry.folder / made.name)
    for kind in kinds:
        if waveform := kind.kept_waveform(view):
            shutil.copyfile(waveform, entry.folder / kind.waveform)
    entry.facts = {"verdict": report["verdict"], "rtl": report["rtl"], "findings": findings(report)}
    entry.summary = "report.html, report.md, report.json"
