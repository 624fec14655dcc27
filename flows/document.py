"""A flow's results as the document that ``reports/report.schema.json`` describes."""

import itertools
import json
import platform
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from xnorflow.flows.cache import PROJECT, tool_versions
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.flow import LAYERS, EngineKind, Flow, read_results
from xnorflow.flows.formats import FORMATS, Subject
from xnorflow.flows.vendor import jobs
from xnorflow.flows.version import version
from xnorflow.reports.findings import findings

_SAMPLES = 4  # vectors that are shown with every layer's bits
_FEW_BITS = 4  # of a value that is shown
_ESTIMATED_INPUTS = 6  # of the look-up tables that xnorflow.hls.rtl.folding estimates


def document(flow: Flow) -> dict[str, Any]:
    """Put together the report of a flow whose steps up to ``compare`` are done."""
    load, fold, golden = (flow.entries[step].facts for step in ("load", "fold", "golden"))
    kinds = [kind for kind in ENGINES if kind.takes(flow.subject.kind)]
    vendor = [job | {"folder": _inside(job["folder"])} for job in jobs(flow)]
    engines = {"golden": _reference(golden)} | {kind.name: _engine(flow, kind) for kind in kinds}
    report = {
        "schema_version": 2,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model": flow.subject.name,
        "description": _description(flow),
        "network_digest": fold["digest"],
        "source": {
            "kind": flow.subject.kind,
            "path": _path(flow.subject),
            "digest": flow.model_digest,
        },
        "inputs": {
            name: load[name] for name in ("dataset", "count", "digest", "images", "random", "note", "dataset_digest")
        },
        "accuracy": _accuracy(flow),
        "argmax": _argmax(golden["meaning"], fold["ambiguous"], fold["conversion"]["ambiguous"], engines),
        "conversion": fold["conversion"],
        "engines": engines,
        "input": fold["input"],
        "layers": fold["layers"],
        "samples": _samples(flow),
        "memory": fold["memory"],
        "rtl": _rtl(flow),
        "latency": [
            row for kind in kinds if kind.counts_cycles and not kind.vendor_made for row in _latency(flow, kind)
        ],
        "energy": flow.entries["energy"].facts if "energy" in flow.entries else None,
        "synthesis": flow.entries["synthesis"].facts["targets"],
        "asic": flow.entries["synthesis"].facts["asic"],
        "vendor": vendor,
        "predicted": _predicted(flow, vendor),
        "baseline": _baseline(flow),
        "steps": [
            {"name": name, "seconds": entry.seconds, "summary": entry.summary}
            for name, entry in flow.entries.items()
            if name != "report"
        ],
        "tools": _tools(),
    }
    return report | {"verdict": _verdict(report)}


def _path(subject: Subject) -> str:
    """Return the model's file, or what makes it and the file of its parameters."""
    if subject.factory is None:
        return _inside(subject.path)
    return subject.factory + (f" with {_inside(subject.weights)}" if subject.weights else "")


def _description(flow: Flow) -> str:
    from xnorflow.models.zoo import ZOO

    if flow.subject.zoo:
        return ZOO[flow.subject.zoo].description
    return FORMATS[flow.subject.kind].title if flow.subject.kind in FORMATS else "a Network file"


def _inside(path: Path) -> str:
    """Return a path as it reads from where the flow was started, or from the project: nothing of the machine."""
    for form, place in itertools.product((path.absolute(), path.resolve()), (Path.cwd(), PROJECT)):
        if form.is_relative_to(place):
            return str(form.relative_to(place))
    return str(path.resolve())


def _reference(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": "golden model: bit-packed XNOR and popcount",
        "status": "pass",
        "vectors": facts["vectors"],
        "mismatches": 0,
        "seconds": facts["seconds"],
        "build_seconds": None,
        "reason": "the reference that all others are compared with",
        "project": None,
        "first_mismatch": None,
        "waveform": None,
        "layers": {},
    }


def _engine(flow: Flow, kind: EngineKind) -> dict[str, Any]:
    build, run = flow.entries.get(kind.build_step), flow.entries.get(kind.run_step)
    described: dict[str, Any] = {
        "title": f"{kind.title}, {build.facts['about']}" if build and build.facts["about"] else kind.title,
        "vectors": 0,
        "mismatches": 0,
        "seconds": run.facts["seconds"] if run else None,
        "build_seconds": build.facts["seconds"] if build else None,
        "reason": None,
        "project": _inside(flow.project(kind)) if build else None,
        "first_mismatch": None,
        "waveform": kind.waveform if flow.waveform(kind) else None,
        "layers": {},
    }
    if kind.name in flow.problems:
        status, reason = flow.problems[kind.name]
        return described | {"status": status, "reason": reason}
    compared = flow.entries["compare"].facts["engines"][kind.name]
    if compared["status"] == "pass" and run:
        slow = compared["vectors"] < len(flow.inputs)
        few = f"slow: took the first {compared['vectors']:,} of the {len(flow.inputs):,} vectors" if slow else None
        described["reason"] = "; ".join(filter(None, (few, run.facts["detail"]))) or None
    return described | compared


def _rtl(flow: Flow) -> dict[str, Any] | None:
    facts = flow.entries["rtl"].facts
    return None if facts["unsupported"] else {name: value for name, value in facts.items() if name != "unsupported"}


def _latency(flow: Flow, kind: EngineKind) -> list[dict[str, Any]]:
    if kind.run_step not in flow.entries:
        return []
    facts = flow.entries[kind.run_step].facts
    return [
        {
            "source": f"{kind.name}, frames back to back",
            "frames": facts["vectors"],
            **facts["cycles"],
            "clock_ns": flow.entries["rtl"].facts["clock_ns"],
            "provenance": "simulated",
        }
    ]


def _predicted(flow: Flow, vendor: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put beside each other what the RTL's models say and what simulation and synthesis have found."""
    rtl = flow.entries["rtl"].facts
    if rtl["unsupported"]:
        return []
    rows = [
        {
            "what": f"{what}, cycles",
            "predicted": rtl[what],
            # Frames that wait for others take longer than the one that the prediction is for, which meets nobody.
            "measured": facts["cycles"][what]["minimum" if what == "latency" else "median"],
            "by": kind.name,
            "provenance": "simulated",
        }
        for kind in ENGINES
        if kind.counts_cycles and not kind.vendor_made and kind.run_step in flow.entries
        for facts in [flow.entries[kind.run_step].facts]
        for what in ("latency", "interval")
        if facts["cycles"][what]
    ]
    estimated: Counter[str] = Counter()
    for unit in rtl["units"]:
        estimated[unit["layer"]] += unit["luts"]
    for row in flow.entries["synthesis"].facts["targets"]:
        if row["total"] and row["lut_inputs"] == _ESTIMATED_INPUTS:
            found = {of["name"]: of["lut"] for of in (*row["layers"], row["total"] | {"name": "all"})}
            rows += [
                {
                    "what": f"LUTs of {name}",
                    "predicted": luts,
                    "measured": found[name],
                    "by": row["title"],
                    "provenance": "synthesised",
                }
                for name, luts in (*estimated.items(), ("all", rtl["luts"]))
                if name in found
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
    ]
    return rows + _by_layer(vendor, estimated)


def _by_layer(vendor: list[dict[str, Any]], estimated: Mapping[str, int]) -> list[dict[str, Any]]:
    """Put the LUTs of every layer by the vendor's reports of the hierarchy beside what the RTL's model says."""
    found: Counter[tuple[str, str]] = Counter()
    for job in vendor:
        if job["job"] == "rtl":
            for row in job["figures"]["hierarchy"]:
                if row["layer"]:
                    found[f"{row['tool']}, {row['stage']}", row["layer"]] += row["lut"]
    return [
        {"what": f"LUTs of {layer}", "predicted": estimated[layer], "measured": luts, "by": by, "provenance": "vendor"}
        for (by, layer), luts in found.items()
    ]


def _baseline(flow: Flow) -> dict[str, Any] | None:
    """Put what the flow has found beside its model's committed baseline, as far as the flow knows it."""
    from xnorflow.reports import measures

    path = measures.baseline(flow.subject.name)
    if not path.is_file():
        return None
    fold, golden, rtl = (flow.entries[step].facts for step in ("fold", "golden", "rtl"))
    now: dict[str, Any] = {
        "recorded_accuracy": flow.subject.recorded.get("test", {}).get("accuracy"),
        "outputs": golden["outputs"],
        "layers": measures.shapes(fold["layers"]),
    }
    if not rtl["unsupported"]:
        layers = {layer["name"]: layer["architecture"] for layer in rtl["layers"]}
        now["rtl"] = {"latency": rtl["latency"], "interval": rtl["interval"], "layers": layers}
    baseline = json.loads(path.read_text())
    synthesis = baseline.pop("synthesis", None) or {"target": None, "by": {}}
    for row in flow.entries["synthesis"].facts["targets"]:
        if row["target"] == synthesis["target"] and row["tool"] in synthesis["by"]:  # figures of two tools tell nothing
            baseline["synthesis"] = synthesis["by"][row["tool"]]
            layers = {layer["name"]: {k: v for k, v in layer.items() if k != "name"} for layer in row["layers"]}
            now["synthesis"] = {"total": row["total"], "layers": layers}
    before, now = _flat(baseline), _flat(now)
    sections = {name.split(".")[0] for name in now}
    names = [*now, *(name for name in before if name not in now and "." in name and name.split(".")[0] in sections)]
    return {
        "file": _inside(path),
        "target": synthesis["target"],
        "rows": [{"what": name, "before": before.get(name), "now": now.get(name)} for name in names],
    }


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested objects by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _verdict(report: dict[str, Any]) -> str:
    """Return pass if every engine that ran agrees with golden, at least one ran, and no tool has failed."""
    ran = any(engine["status"] == "pass" for name, engine in report["engines"].items() if name != "golden")
    return "pass" if ran and all(finding.status != "fail" for finding in findings(report)) else "fail"


def _accuracy(flow: Flow) -> dict[str, Any]:
    golden, recorded = flow.entries["golden"].facts, flow.subject.recorded
    test, dataset = recorded.get("test", {}), recorded.get("dataset", {})
    images = golden["images"] if golden["right"] is not None else 0
    return {
        "golden": golden["right"] / images if images else None,
        "golden_count": images,
        "golden_dataset": flow.entries["load"].facts["dataset"] if images else None,
        "confusion": golden["confusion"],
        "recorded": test.get("accuracy"),
        "recorded_count": test.get("count"),
        "recorded_dataset": dataset.get("name"),
    }


def _samples(flow: Flow) -> list[dict[str, Any]]:
    """Return a few vectors, the first and one that was classified wrongly, with every layer's bits, and the scores."""
    from xnorflow.bnn.network import Argmax, Flatten
    from xnorflow.cosim.engine import outputs
    from xnorflow.reports.arrays import pack

    results = read_results(flow.entries["golden"], LAYERS)
    kept = flow.entries["golden"].facts["kept"]
    wrong = [i for i, of in enumerate(kept) if None not in (of["class"], of["label"]) and of["class"] != of["label"]]
    chosen = sorted({*range(min(_SAMPLES, len(kept))), *wrong[:1]})[-_SAMPLES:]
    network, scores = flow.network, outputs(flow.network)[0]
    shown = [
        operation.name
        for operation in network.operations
        if (network.signals[operation.name].bits <= _FEW_BITS and not isinstance(operation, Argmax | Flatten))
        or operation.name in (network.input.name, scores)
    ]
    return [{**kept[i], "layers": [{"name": name, "values": pack(results[name][i])} for name in shown]} for i in chosen]


def _argmax(
    meaning: str, affine: int | None, thresholds: dict[str, int], engines: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Say how it is known that integer scores decide as the framework's do; without an affine nothing is rounded.

    What thresholds leave ambiguous before the scores counts, too. The trained model shows its class and the sums before
    an affine, but no integer beside a single score: what an affine does to its sign is not measured.
    """
    ambiguous = (affine or 0) + sum(thresholds.values()) if thresholds else affine
    trained = [engines[kind.name] for kind in ENGINES if kind.trained and kind.name in engines]
    agreeing = [engine["vectors"] for engine in trained if engine["status"] == "pass"]
    if not ambiguous:
        return {"of": meaning, "claim": "proved", "vectors": 0, "ambiguous": ambiguous}
    measured = bool(agreeing) and (meaning == "class" or not affine)
    claim, vectors = ("measured", max(agreeing)) if measured else ("unknown", 0)
    return {"of": meaning, "claim": claim, "vectors": vectors, "ambiguous": ambiguous}


def _tools() -> dict[str, str]:
    packages = {package: None for kind in ENGINES for package in (*kind.packages, "numba")}
    commands = {command: None for kind in ENGINES for command in kind.commands}
    return {
        "xnorflow": version(),
        "python": platform.python_version(),
        **tool_versions(tuple(packages), tuple(commands)),
    }
