"""A flow's results as the document that ``reports/report.schema.json`` describes."""

import itertools
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from xnorflow.flows import baselines
from xnorflow.flows.baselines import BaselineFile
from xnorflow.flows.cache import PROJECT, Entry, tool_versions
from xnorflow.flows.facts import (
    COMPARE,
    COVERAGE,
    ENERGY,
    FOLD,
    GOLDEN,
    LOAD,
    RTL,
    SYNTHESIS,
    VECTORS,
    FoldFacts,
    GoldenFacts,
)
from xnorflow.flows.formats import FORMATS, Subject
from xnorflow.flows.graph import Problem, View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.results import LAYERS, inputs, network, read_results
from xnorflow.flows.steps.vendor import jobs
from xnorflow.flows.typed import record
from xnorflow.flows.version import version
from xnorflow.hls import power
from xnorflow.reports import requirements
from xnorflow.reports.findings import findings
from xnorflow.reports.records import TargetPower

if TYPE_CHECKING:
    from xnorflow.reports.records import (
        Accuracy,
        Baseline,
        Decision,
        Energy,
        EngineRow,
        HlsRow,
        Latency,
        Meaning,
        Prediction,
        ReportRow,
        Sample,
        VendorJob,
    )

SHOWN = (LOAD, VECTORS, FOLD, RTL, GOLDEN, SYNTHESIS, COMPARE, COVERAGE)
"""Steps without whose results there is no report."""

_SAMPLES = 4  # vectors that are shown with every layer's bits
_FEW_BITS = 4  # of a value that is shown
_ESTIMATED_INPUTS = 6  # of the look-up tables that xnorflow.hls.rtl.folding estimates


def document(view: View, kinds: Sequence[EngineKind], steps: Sequence[str]) -> "ReportRow":
    """Put together the report of a flow whose steps up to ``compare`` are done.

    Parameters
    ----------
    view : View
        Sees all steps.
    kinds : sequence of EngineKind
        The flow's engines.
    steps : sequence of str
        The flow's steps, in order.
    """
    load, vectors, fold, golden = view[LOAD].facts, view[VECTORS].facts, view[FOLD].facts, view[GOLDEN].facts
    subject: Subject = view.options.subject
    vendor = jobs(view, steps, kinds)
    for job in vendor:
        job["folder"] = _inside(Path(job["folder"]))
    engines = {"golden": _reference(view[GOLDEN])} | {kind.name: _engine(view, kind, steps) for kind in kinds}
    trained = [engines[kind.name] for kind in kinds if kind.trained]
    report: ReportRow = {
        "schema_version": 3,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model": subject.name,
        "description": _description(subject),
        "network_digest": fold["digest"],
        "source": {
            "kind": cast("Any", subject.kind),  # the formats' names
            "path": _path(subject),
            "digest": fold["model_digest"],
        },
        "inputs": {
            "dataset": load["dataset"],
            "count": vectors["count"],
            "digest": vectors["digest"],
            "images": vectors["images"],
            "random": vectors["random"],
            "directed": vectors["directed"],
            "note": load["note"],
            "dataset_digest": load["dataset_digest"],
        },
        "accuracy": _accuracy(view),
        "argmax": _argmax(golden["meaning"], fold, trained),
        "coverage": view[COVERAGE].facts,
        "deviation": view[COMPARE].facts["deviation"],
        "conversion": fold["conversion"],
        "engines": engines,
        "input": fold["input"],
        "layers": fold["layers"],
        "samples": _samples(view),
        "memory": fold["memory"],
        "rtl": view[RTL].facts["made"],
        "hls": _hls(view, kinds),
        "latency": [
            row for kind in kinds if kind.counts_cycles and not kind.vendor_made for row in _latency(view, kind)
        ],
        "energy": _energy(view),
        "synthesis": view[SYNTHESIS].facts["targets"],
        "asic": view[SYNTHESIS].facts["asic"],
        "vendor": vendor,
        "predicted": _predicted(view, kinds, vendor),
        "baseline": _baseline(view),
        "steps": [
            {"name": name, "seconds": entry.seconds, "summary": entry.summary}
            for name in steps
            if (entry := view.entry(name))
        ],
        "tools": _tools(kinds),
        "requirements": [],  # these and the verdict are told by all that is above
        "verdict": "pass",
    }
    report["requirements"] = requirements.check(report, view.options.require)
    report["verdict"] = _verdict(report)
    return report


def _path(subject: Subject) -> str:
    """Return the model's file, or what makes it and the file of its parameters."""
    if subject.factory is None:
        return _inside(subject.path)
    return subject.factory + (f" with {_inside(subject.weights)}" if subject.weights else "")


def _description(subject: Subject) -> str:
    from xnorflow.models.zoo import ZOO

    if subject.zoo:
        return ZOO[subject.zoo].description
    return FORMATS[subject.kind].title if subject.kind in FORMATS else "a Network file"


def _inside(path: Path) -> str:
    """Return a path as it reads from where the flow was started, or from the project: nothing of the machine."""
    for form, place in itertools.product((path.absolute(), path.resolve()), (Path.cwd(), PROJECT)):
        if form.is_relative_to(place):
            return str(form.relative_to(place))
    return str(path.resolve())


def _reference(golden: Entry[GoldenFacts]) -> "EngineRow":
    return {
        "title": "golden model: bit-packed XNOR and popcount",
        "status": "pass",
        "vectors": golden.facts["vectors"],
        "mismatches": 0,
        "seconds": golden.facts["seconds"],
        "build_seconds": None,
        "reason": "the reference that all others are compared with",
        "project": None,
        "first_mismatch": None,
        "waveform": None,
        "layers": {},
    }


def _engine(view: View, kind: EngineKind, steps: Sequence[str]) -> "EngineRow":
    build, run = view.entry(kind.build_step) if kind.builds else None, view.entry(kind.run_step)
    described: EngineRow = {
        "title": f"{kind.title}, {build.facts['about']}" if build and build.facts["about"] else kind.title,
        "status": "pass",
        "vectors": 0,
        "mismatches": 0,
        "seconds": run.facts["seconds"] if run else None,
        "build_seconds": build.facts["seconds"] if build else None,
        "reason": None,
        "project": _inside(kind.project(view)) if build else None,
        "first_mismatch": None,
        "waveform": kind.waveform if kind.kept_waveform(view) else None,
        "layers": {},
    }
    if problem := _problem(view, kind, steps):
        return {**described, "status": problem.status, "reason": problem.reason}
    compared = view[COMPARE].facts["engines"][kind.name]
    if compared["status"] == "pass" and run:
        slow = compared["vectors"] < len(inputs(view))
        few = f"slow: took the first {compared['vectors']:,} of the {len(inputs(view)):,} vectors" if slow else None
        reason = "; ".join(filter(None, (few, run.facts["detail"]))) or None
        return {**described, **compared, "reason": reason}
    return {**described, **compared}


def _problem(view: View, kind: EngineKind, steps: Sequence[str]) -> Problem | None:
    """Return what became of an engine that has not run through."""
    problems = (result for step in steps if isinstance(result := view.result(step), Problem))
    return next((problem for problem in problems if problem.engine == kind.name), None)


def _hls(view: View, kinds: Sequence[EngineKind]) -> "HlsRow | None":
    """Return the estimate of the hls4ml project that has one."""
    built = (view.entry(kind.build_step) for kind in kinds if kind.hls_style)
    return next((entry.facts["estimate"] for entry in built if entry and entry.facts["estimate"]), None)


def _latency(view: View, kind: EngineKind) -> "list[Latency]":
    run, rtl = view.entry(kind.run_step), view[RTL].facts["made"]
    if run is None or rtl is None or (cycles := run.facts["cycles"]) is None:
        return []
    return [
        {
            "source": f"{kind.name}, frames back to back",
            "frames": run.facts["vectors"],
            "latency": cycles["latency"],
            "interval": cycles["interval"],
            "clock_ns": rtl["clock_ns"],
            "provenance": "simulated",
        }
    ]


def _energy(view: View) -> "Energy | None":
    """Return the estimate, and what it comes to on each target at the rate required, or else the highest one."""
    entry = view.entry(ENERGY)
    if entry is None or not (rtl := view[RTL].facts["made"]):
        return None
    wanted = view.options.require.get("images_per_second")
    asked = wanted["limit"] if isinstance(wanted, Mapping) else wanted
    rates = {
        row["target"]: asked
        or (row["placement"]["images_per_second"] if row["placement"] else None)
        or 1e9 / rtl["interval"] / rtl["clock_ns"]
        for row in view[SYNTHESIS].facts["targets"]
        if row["total"]
    }
    picojoules = {term["name"]: term["picojoules"] for term in entry.facts["terms"]}
    at_rates = [power.at_rate(target, picojoules, rate) for target, rate in rates.items()]
    told = [record(TargetPower, at, formula=power.FORMULA, provenance="estimated") for at in at_rates]
    return {**entry.facts, "targets": told}


def _predicted(view: View, kinds: Sequence[EngineKind], vendor: "list[VendorJob]") -> "list[Prediction]":
    """Put beside each other what the RTL's models say and what simulation and synthesis have found."""
    rtl = view[RTL].facts["made"]
    if rtl is None:
        return []
    rows: list[Prediction] = []
    for kind in kinds:
        run = view.entry(kind.run_step)
        if kind.vendor_made or run is None or (cycles := run.facts["cycles"]) is None:
            continue
        # Frames that wait for others take longer than the one that the prediction is for, which meets nobody.
        found: list[tuple[str, int, float]] = [("latency", rtl["latency"], cycles["latency"]["minimum"])]
        found += [("interval", rtl["interval"], cycles["interval"]["median"])] if cycles["interval"] else []
        rows += [
            {"what": f"{what}, cycles", "predicted": due, "measured": got, "by": kind.name, "provenance": "simulated"}
            for what, due, got in found
        ]
    estimated: Counter[str] = Counter()
    for unit in rtl["units"]:
        estimated[unit["layer"]] += unit["luts"]
    for row in view[SYNTHESIS].facts["targets"]:
        if row["total"] and row["lut_inputs"] == _ESTIMATED_INPUTS:
            luts = {of["name"]: of["lut"] for of in row["layers"]} | {"all": row["total"]["lut"]}
            rows += [
                {
                    "what": f"LUTs of {name}",
                    "predicted": due,
                    "measured": luts[name],
                    "by": row["title"],
                    "provenance": "synthesised",
                }
                for name, due in (*estimated.items(), ("all", rtl["luts"]))
                if name in luts
            ]
    rows += [
        {
            "what": "LUTs of all",
            "predicted": rtl["luts"],
            "measured": figure["lut"],
            "by": f"{figure['tool']}, {figure['stage']}",
            "provenance": "vendor",
        }
        for job in vendor
        if job["job"] == "rtl"
        for figure in job["figures"]["resources"]
        if figure["lut"] is not None
    ]
    return rows + _by_layer(vendor, estimated)


def _by_layer(vendor: "list[VendorJob]", estimated: Mapping[str, int]) -> "list[Prediction]":
    """Put the LUTs of every layer by the vendor's reports of the hierarchy beside what the RTL's model says."""
    found: Counter[tuple[str, str]] = Counter()
    for job in vendor:
        if job["job"] == "rtl":
            for row in job["figures"]["hierarchy"]:
                if row["layer"] and row["lut"] is not None:
                    found[f"{row['tool']}, {row['stage']}", row["layer"]] += row["lut"]
    return [
        {"what": f"LUTs of {layer}", "predicted": estimated[layer], "measured": luts, "by": by, "provenance": "vendor"}
        for (by, layer), luts in found.items()
    ]


def _baseline(view: View) -> "Baseline | None":
    """Put what the flow has found beside its model's committed baseline, as far as the flow knows it."""
    from xnorflow.reports import measures

    subject: Subject = view.options.subject
    path = measures.baseline(subject.name)
    if not path.is_file():
        return None
    fold, golden, rtl = view[FOLD].facts, view[GOLDEN].facts, view[RTL].facts["made"]
    now: BaselineFile = {
        "recorded_accuracy": test["accuracy"] if (test := subject.recorded.get("test")) else None,
        "outputs": golden["outputs"],
        "layers": measures.shapes(fold["layers"]),
    }
    if rtl:
        architectures = {layer["name"]: layer["architecture"] for layer in rtl["layers"]}
        now["rtl"] = {"latency": rtl["latency"], "interval": rtl["interval"], "layers": architectures}
    baseline = baselines.read(path)
    kept = baseline.pop("synthesis", None)
    synthesis = None if isinstance(kept, str) else kept  # it had failed
    before, found = _flat(baseline), _flat(now)
    for row in view[SYNTHESIS].facts["targets"]:
        if synthesis and row["target"] == synthesis["target"] and row["tool"] in synthesis["by"]:
            layers = {layer["name"]: {k: v for k, v in layer.items() if k != "name"} for layer in row["layers"]}
            before |= _flat({"synthesis": synthesis["by"][row["tool"]]})  # figures of two tools tell nothing
            found |= _flat({"synthesis": {"total": row["total"], "layers": layers}})
    sections = {name.split(".")[0] for name in found}
    names = [*found, *(name for name in before if name not in found and "." in name and name.split(".")[0] in sections)]
    return {
        "file": _inside(path),
        "target": synthesis["target"] if synthesis else None,
        "rows": [{"what": name, "before": before.get(name), "now": found.get(name)} for name in names],
    }


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, str | float | None]:
    """Return the values of nested objects of JSON by dotted name."""
    flat: dict[str, str | float | None] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = cast("str | float | None", value)
    return flat


def _verdict(report: "ReportRow") -> Literal["pass", "fail"]:
    """Return pass if every engine that ran agrees with golden, at least one ran, and no tool has failed."""
    ran = any(engine["status"] == "pass" for name, engine in report["engines"].items() if name != "golden")
    return "pass" if ran and all(finding.status != "fail" for finding in findings(report)) else "fail"


def _accuracy(view: View) -> "Accuracy":
    golden, recorded = view[GOLDEN].facts, cast("Subject", view.options.subject).recorded
    test, dataset = recorded.get("test"), recorded.get("dataset")
    images = golden["images"] if golden["right"] is not None else 0
    return {
        "golden": golden["right"] / images if images and golden["right"] is not None else None,
        "golden_count": images,
        "golden_dataset": view[LOAD].facts["dataset"] if images else None,
        "confusion": golden["confusion"],
        "precision_recall": golden["precision_recall"],
        "recorded": test["accuracy"] if test else None,
        "recorded_count": test["count"] if test else None,
        "recorded_dataset": dataset["name"] if dataset else None,
    }


def _samples(view: View) -> "list[Sample]":
    """Return a few vectors, the first and one that was classified wrongly, with every layer's bits, and the scores."""
    from xnorflow.bnn.network import Argmax, Flatten
    from xnorflow.cosim.engine import outputs
    from xnorflow.reports.arrays import pack

    results = read_results(view[GOLDEN], LAYERS)
    kept = view[GOLDEN].facts["kept"]
    wrong = [i for i, of in enumerate(kept) if None not in (of["class"], of["label"]) and of["class"] != of["label"]]
    chosen = sorted({*range(min(_SAMPLES, len(kept))), *wrong[:1]})[-_SAMPLES:]
    computed = network(view)
    scores = outputs(computed)[0]
    shown = [
        operation.name
        for operation in computed.operations
        if (computed.signals[operation.name].bits <= _FEW_BITS and not isinstance(operation, Argmax | Flatten))
        or operation.name in (computed.input.name, scores)
    ]
    return [
        {
            "vector": kept[i]["vector"],
            "class": kept[i]["class"],
            "label": kept[i]["label"],
            "layers": [{"name": name, "values": pack(results[name][i])} for name in shown],
        }
        for i in chosen
    ]


def _argmax(meaning: "Meaning", fold: FoldFacts, trained: Sequence["EngineRow"]) -> "Decision":
    """Say how it is known that integer scores decide as the framework's do; without an affine nothing is rounded.

    What thresholds leave ambiguous before the scores counts, too. The trained model shows its class and the sums before
    an affine, but no integer beside a single score: what an affine does to its sign is not measured. `trained` is what
    the report has of the engines that are the trained model itself.
    """
    affine, thresholds = fold["ambiguous"], fold["conversion"]["ambiguous"]
    if fold["rounded"]:
        return {"of": meaning, "claim": "rounded", "vectors": 0, "ambiguous": None}
    ambiguous = (affine or 0) + sum(thresholds.values()) if thresholds else affine
    agreeing = [engine["vectors"] for engine in trained if engine["status"] == "pass"]
    if not ambiguous:
        return {"of": meaning, "claim": "proved", "vectors": 0, "ambiguous": ambiguous}
    measured = bool(agreeing) and (meaning == "class" or not affine)
    if not measured:
        return {"of": meaning, "claim": "unknown", "vectors": 0, "ambiguous": ambiguous}
    return {"of": meaning, "claim": "measured", "vectors": max(agreeing), "ambiguous": ambiguous}


def _tools(kinds: Sequence[EngineKind]) -> dict[str, str]:
    packages = {package: None for kind in kinds for package in (*kind.packages, "numba")}
    commands = {command: None for kind in kinds for command in kind.commands}
    return {
        "xnorflow": version(),
        "python": platform.python_version(),
        **tool_versions(tuple(packages), tuple(commands)),
    }
