"""The stages of a flow, in order, as data: what determines each one's result, and the function that makes it.

load, fold, rtl (which refuses a goal out of reach, so that nothing runs in vain), golden, then every engine (what it
builds, then its run), energy, synthesis, the engines that need it, the vendor's tools, the engines that need those,
compare, report.
Those of the hardware are in :mod:`xnorflow.flows.hardware` and :mod:`xnorflow.flows.vendor`.
"""

import hashlib
import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.cosim.engine import EngineError
from xnorflow.flows import hardware, vendor
from xnorflow.flows.cache import Entry, tool_versions
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.flow import (
    BENCH_VECTORS,
    LAYERS,
    LAYERWISE,
    RESULTS,
    WAVEFORM,
    Advance,
    EngineKind,
    Flow,
    IntArray,
    Step,
    read_results,
)
from xnorflow.flows.formats import FORMATS
from xnorflow.flows.version import version

if TYPE_CHECKING:
    from xnorflow.bnn.network import Input, Network
    from xnorflow.cosim.engine import Engine
    from xnorflow.models.labelled import Labelled

SEED = 0
"""Of the random vectors."""

BASELINE_VECTORS = 256
"""Random vectors of which a baseline holds what the golden model makes."""

_MOST_VALUES = 1 << 30  # of all vectors, 4 bytes each

_PART_SECONDS = 4.0  # between two updates of the progress bar

_REPORT_TOOLS = ("numpy", "jinja2", "matplotlib", "jsonschema")


def steps(subject: str | None = None) -> list[Step]:
    """Return all steps, those for a kind of subject if one is given, in the order in which they run."""
    engines = [kind for kind in ENGINES if kind.takes(subject)]
    late = [kind for kind in engines if "synthesis" in kind.needs]
    last = [kind for kind in engines if kind.vendor_made]
    early = [kind for kind in engines if kind.builds and kind not in (*late, *last)]
    return [
        Step("load", "load", _load_basis, _load, ("bnn", "models"), ("numpy", "scikit-learn", "scipy")),
        Step("fold", "fold", _fold_basis, _fold, ("bnn", "models", "reports/measures.py"), ("numpy", "torch")),
        hardware.rtl_step(),
        Step("golden", "golden", _golden_basis, _golden, ("bnn", "cosim"), ("numpy", "numba")),
        *(_run_step(kind) for kind in engines if not kind.builds),
        *(_build_step(kind) for kind in early),
        *(_run_step(kind) for kind in early),
        *(hardware.energy_step(kind) for kind in engines if kind.keeps_waveform),
        hardware.synthesis_step(),
        *(_build_step(kind) for kind in late),
        *(_run_step(kind) for kind in late),
        *vendor.steps(engines),
        *(_build_step(kind) for kind in last),
        *(_run_step(kind) for kind in last),
        Step(
            "compare",
            "compare",
            _compare_basis,
            _compare,
            ("bnn", "cosim", "flows/mismatch.py", "reports/arrays.py"),
            ("numpy",),
        ),
        Step(
            "report",
            "report",
            _report_basis,
            _report,
            ("bnn", "models/*.py", "hls", "cosim", "flows", "reports/*.*", "reports/templates"),
            _REPORT_TOOLS,
        ),
    ]


# --- load: the vectors


def _load_basis(flow: Flow) -> dict[str, Any]:
    subject = flow.subject
    return {
        **_model_basis(flow),
        "zoo": subject.zoo,
        "vectors": flow.vectors,
        "data": _data_state(flow),
    }


def _model_basis(flow: Flow) -> dict[str, Any]:
    """Return what determines the Network that the subject is read as."""
    kind = FORMATS.get(flow.subject.kind)
    return {
        "model": flow.model_digest,
        "input": flow.options.input,
        "frameworks": tool_versions(kind.packages, ()) if kind else None,
    }


def _data_state(flow: Flow) -> list[Any] | None:
    """Return what tells one state of the data set's files from another without reading them; None without any."""
    from xnorflow.models import data, labelled, zoo

    if isinstance(flow.data, labelled.Labelled):
        return [flow.data.digest]
    if flow.data is not None and labelled.is_own(flow.data):
        return [str(flow.data), *labelled.state(flow.data)]
    if flow.data is not None:  # wrong, even where the model needs no data
        data.check_folder(flow.data, "data")
    if not flow.subject.zoo:
        return None
    files = data.evaluation_files(zoo.get(flow.subject.zoo), _folder(flow))
    return [str(flow.data), *([str(path), (state := path.stat()).st_size, state.st_mtime_ns] for path in files)]


def _load(flow: Flow, entry: Entry, advance: Advance) -> None:
    from xnorflow.models import data, zoo

    own = _own_data(flow)
    if own:
        taken, images, labels = flow.converted.network.input, own.x, own.y
        name, note, origin = own.name, own.note, own.digest
    elif flow.subject.zoo:
        definition = zoo.get(flow.subject.zoo)
        taken = definition.input
        dataset, name = data.evaluation_images(definition, _folder(flow))
        images, labels = data.encode(dataset.test_images, definition), dataset.test_labels
        note, origin = dataset.note, dataset.digest
    else:
        kind = FORMATS[flow.subject.kind].title if flow.subject.kind in FORMATS else "a Network file"
        if flow.vectors is None:
            raise UserError(
                f"{flow.subject.origin} is {kind} without test images: give a number of vectors, not 'all', or data of "
                "your own: DATA=my.npz with arrays x and y, or a folder of images by class"
            )
        taken = flow.converted.network.input
        images, labels = np.zeros((0, *taken.shape), np.int64), np.zeros(0, np.int64)
        name, note, origin = "random", f"{kind} brings no data set", None
    count = len(images) if flow.vectors is None else flow.vectors
    if count * math.prod(taken.shape) > _MOST_VALUES:
        raise UserError(
            f"vectors: {count:,} of shape {taken.shape} are more than {_MOST_VALUES:,} values, which have to fit into "
            "the memory; give a smaller number"
        )
    images, labels = images[:count], labels[:count]
    inputs = np.concatenate([images.astype(np.int32), random_inputs(taken, count - len(images))])
    np.savez_compressed(entry.folder / "vectors.npz", inputs=inputs, labels=labels)
    entry.facts = {
        "dataset": name,
        "note": note,
        "dataset_digest": origin,
        "count": count,
        "images": len(images),
        "random": count - len(images),
        "digest": _array_digest(inputs),
        "bench_digest": _array_digest(inputs[:BENCH_VECTORS]),
    }
    parts = [f"{len(images):,} test images of {name}"] if len(images) else []
    parts += [f"{count - len(images):,} random vectors"] if count > len(images) else []
    entry.summary = " and ".join(parts)


def _folder(flow: Flow) -> Path | None:
    return flow.data if isinstance(flow.data, Path) else None


def _own_data(flow: Flow) -> "Labelled | None":
    """Return the labelled data that the user has given, where it is no data set of the zoo."""
    from xnorflow.models import labelled, zoo

    if flow.data is None or isinstance(flow.data, labelled.Labelled):
        return flow.data
    if not labelled.is_own(flow.data):
        if not flow.subject.zoo:
            raise UserError(
                f"data: {flow.data} has no labelled data for {flow.subject.origin}: expected an .npz file with arrays "
                f"x and y, or a folder with one sub-folder of images ({', '.join(labelled.IMAGES)}) for each class"
            )
        return None
    network, definition = flow.converted.network, flow.subject.zoo and zoo.get(flow.subject.zoo)
    return labelled.read(flow.data, network.input, classes(network), definition.binarise_at if definition else None)


def classes(network: "Network") -> int:
    """Return the number of classes that a network tells apart: the size of its scores."""
    from xnorflow.cosim.engine import outputs

    return network.signals[outputs(network)[0]].size


def random_inputs(taken: "Input", count: int) -> NDArray[np.int32]:
    """Draw vectors over the input's whole range, always the same: int32, shape (count, *input shape)."""
    random = np.random.default_rng(SEED)
    if taken.kind == "bipolar":
        return random.integers(0, 2, (count, *taken.shape), np.int32) * 2 - 1
    low = -(2 ** (taken.bits - 1)) if taken.kind == "signed" else 0
    return random.integers(low, low + 2**taken.bits, (count, *taken.shape), np.int32)


def _array_digest(*arrays: IntArray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.shape}".encode())
        sha.update(np.ascontiguousarray(array, "<i8").data)
    return sha.hexdigest()


# --- fold: the trained model becomes a Network


def _fold_basis(flow: Flow) -> dict[str, Any]:
    return {**_model_basis(flow), "name": flow.subject.name}


def _fold(flow: Flow, entry: Entry, advance: Advance) -> None:
    from xnorflow.bnn import io
    from xnorflow.bnn.canonical import canonicalise
    from xnorflow.bnn.network import Conv2d, Dense
    from xnorflow.reports import measures

    network = canonicalise(flow.converted.network)
    if not any(isinstance(operation, Dense | Conv2d) for operation in network.operations):
        raise UserError(f"{flow.subject.origin}: expected layers of weights, got none")
    io.save(network, entry.folder / "network.safetensors")
    entry.facts = {
        "digest": network.digest,
        "input": measures.taken(network),
        "layers": measures.layers(network),
        "memory": measures.memory(network),
        "ambiguous": measures.ambiguous(network),
        "conversion": {"notes": list(flow.converted.notes), "ambiguous": dict(flow.converted.ambiguous)},
    }
    layers = entry.facts["layers"]
    bits = sum(layer["weight_bits"] for layer in layers)
    entry.summary = f"{len(layers)} layers, {bits:,} weight bits, {entry.facts['memory']['ratio']:.1f} times smaller"
    entry.summary += "".join(f"; {note}" for note in flow.converted.notes)
    if unproved := sum(flow.converted.ambiguous.values()):
        entry.summary += f"; {unproved:,} accumulators' signs depend on how the framework rounds its sums"


# --- golden: the reference


def _golden_basis(flow: Flow) -> dict[str, Any]:
    return {
        "network": flow.entries["fold"].facts["digest"],
        "inputs": flow.entries["load"].facts["digest"],
    }


def _golden(flow: Flow, entry: Entry, advance: Advance) -> None:
    from xnorflow.cosim.classes import classes, meaning
    from xnorflow.cosim.golden import Golden

    golden = Golden()
    golden.prepare(flow.network, entry.folder)
    results, seconds = _timed_run(golden, flow.inputs, advance)
    results |= _scores(flow.network, golden, flow.inputs)
    np.savez(entry.folder / RESULTS, **results)
    count, images = len(flow.inputs), len(flow.labels)
    found, labels = classes(flow.network, results, flow.labels)
    wrong = np.flatnonzero(found[:images] != labels) if found is not None else np.zeros(0, np.int64)
    right = images - len(wrong) if images and found is not None else None
    kept = list(range(min(LAYERWISE, count)))
    kept += [int(wrong[0])] if len(wrong) and wrong[0] not in kept else []  # the report shows how it came about
    np.savez(entry.folder / LAYERS, **golden.run(flow.inputs[kept], every_layer=True))
    entry.facts = {
        "vectors": count,
        "seconds": seconds,
        "right": right,
        "images": images,
        "meaning": meaning(flow.network),
        "kept": [
            {
                "vector": i,
                "class": int(found[i]) if found is not None else None,
                "label": int(labels[i]) if i < images else None,
            }
            for i in kept
        ],
        "outputs": outputs_digest(flow.network, golden),
        "confusion": _confusion(labels, found[:images]) if images and found is not None else None,
    }
    accuracy = f", {right / images:.2%} of {images:,} images right" if right is not None else ""
    entry.summary = f"{count:,} vectors at {count / seconds:,.0f} a second{accuracy}"


def _scores(network: "Network", golden: "Engine", inputs: IntArray) -> dict[str, IntArray]:
    """Compute the accumulators before a last affine, since PyTorch computes those as integers, but not the affine."""
    from xnorflow.bnn.network import Affine, Argmax

    names, operation = [], network.output
    while isinstance(operation, Affine | Argmax):
        operation = network[operation.inputs[0]]
        names.append(operation.name)
    return _layers(golden, inputs, names)


def _layers(golden: "Engine", inputs: IntArray, names: Sequence[str]) -> dict[str, IntArray]:
    """Compute what the layers of these names give."""
    parts: dict[str, list[IntArray]] = {name: [] for name in names}
    for start in range(0, len(inputs), 256):  # every layer of every vector at once could fill the memory
        results = golden.run(inputs[start : start + 256], every_layer=True)
        for name in names:
            parts[name].append(results[name])
    return {name: np.concatenate(part) for name, part in parts.items()}


def outputs_digest(network: "Network", golden: "Engine") -> str:
    """SHA-256 of what the golden model computes from vectors that are always the same: what the baselines hold."""
    from xnorflow.cosim.engine import outputs

    results = golden.run(random_inputs(network.input, BASELINE_VECTORS))
    sha = hashlib.sha256()
    for result in outputs(network):
        sha.update(f"{result}{results[result].shape}".encode())
        sha.update(np.ascontiguousarray(results[result], "<i8").data)
    return sha.hexdigest()


def _confusion(labels: IntArray, classes: IntArray) -> list[list[int]]:
    """Count the images of each label (row) that were taken for each class (column)."""
    counts = np.zeros((1 + int(max(labels.max(), classes.max())),) * 2, np.int64)
    np.add.at(counts, (labels, classes), 1)
    return counts.tolist()


def _timed_run(engine: "Engine", inputs: IntArray, advance: Advance) -> tuple[dict[str, IntArray], float]:
    """Run all inputs, in parts that show progress, and return the results and the seconds that the runs took."""
    engine.run(inputs[:1])  # what a first run does once (loading, compiling) is not the engine's speed
    parts: list[Mapping[str, IntArray]] = []
    done, size, seconds = 0, 32, 0.0
    while done < len(inputs):
        advance(done, len(inputs))
        start = time.perf_counter()
        parts.append(engine.run(inputs[done : done + size]))
        taken = time.perf_counter() - start
        seconds += taken
        done += size
        size = int(np.clip(size * _PART_SECONDS / max(taken, 1e-6), size, 8 * size))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, seconds


# --- engines: what each builds, and its run


def _engine_basis(flow: Flow, kind: EngineKind) -> dict[str, Any]:
    return {
        "engine": kind.name,
        "model": flow.model_digest if kind.trained else None,
        "network": flow.entries["fold"].facts["digest"],
        "settings": kind.settings(flow.options),
        "needs": flow.keys(*kind.needs),
        "vendor": kind.vendor_made(flow) if kind.vendor_made else None,
    }


def _build_step(kind: EngineKind) -> Step:
    return Step(
        kind.build_step,
        kind.name,
        _build_basis(kind),
        _build(kind),
        kind.sources,
        kind.packages,
        kind.commands,
        engine=kind,
        needs=kind.needs,
    )


def _run_step(kind: EngineKind) -> Step:
    return Step(
        kind.run_step,
        f"{kind.name}_results",
        _run_basis(kind),
        _run(kind),
        kind.sources,
        kind.packages,
        kind.commands,
        engine=kind,
        needs=(kind.build_step,) if kind.builds else (),
    )


def _build_basis(kind: EngineKind) -> Callable[[Flow], dict[str, Any]]:
    def basis(flow: Flow) -> dict[str, Any]:
        bench = flow.entries["load"].facts["bench_digest"] if kind.takes_vectors else None
        return {**_engine_basis(flow, kind), "bench": bench}

    return basis


def _build(kind: EngineKind) -> Callable[[Flow, Entry, Advance], None]:
    def make(flow: Flow, entry: Entry, advance: Advance) -> None:
        start = time.perf_counter()
        flow.entries[kind.build_step] = entry
        flow.project(kind).mkdir()
        flow.build(kind)
        about = getattr(flow.engine(kind), "about", None)
        entry.facts = {"seconds": time.perf_counter() - start, "about": about}
        entry.summary = f"written and compiled{f', {about}' if about else ''}"

    return make


def _run_basis(kind: EngineKind) -> Callable[[Flow], dict[str, Any]]:
    def basis(flow: Flow) -> dict[str, Any]:
        waves = flow.options.waves and kind.keeps_waveform
        return {**_engine_basis(flow, kind), "inputs": flow.entries["load"].facts["digest"], "waves": waves}

    return basis


def _run(kind: EngineKind) -> Callable[[Flow, Entry, Advance], None]:
    def make(flow: Flow, entry: Entry, advance: Advance) -> None:
        engine: Any = flow.engine(kind)
        inputs = flow.inputs[: engine.max_vectors] if kind.counts_cycles else flow.inputs
        count = len(inputs)
        layers = _every_layer(kind, flow, entry) if kind.sees_layers else 0
        if kind.counts_cycles:
            start = time.perf_counter()
            results = engine.run(inputs)
            seconds = time.perf_counter() - start
        else:
            results, seconds = _timed_run(engine, inputs, advance)
        _expect(kind, results, count)
        np.savez(entry.folder / RESULTS, **results)
        _keep_waveform(kind, engine, entry)
        if not kind.sees_layers:
            layers = min(LAYERWISE, count)
            np.savez(entry.folder / LAYERS, **{name: result[:layers] for name, result in results.items()})
        detail = getattr(engine, "detail", None)
        entry.facts = {"vectors": count, "seconds": seconds, "cycles": None, "layerwise": layers, "detail": detail}
        rate = count / seconds
        entry.summary = f"{count:,} vectors at {rate:,.{0 if rate >= 10 else 2}f} a second"
        if kind.counts_cycles:
            entry.facts["cycles"] = {
                what: asdict(spread) if (spread := getattr(engine.timing, what)) else None
                for what in ("latency", "interval")
            }
            model = engine.project.timing
            if model and (deviation := engine.timing.deviation(model)):
                raise EngineError(f"{kind.name}: {deviation}")

    return make


def _every_layer(kind: EngineKind, flow: Flow, entry: Entry) -> int:
    """Keep every layer that an engine can observe of a few vectors, and the waveform if it makes one.

    Returns
    -------
    int
        How many vectors.
    """
    engine: Any = flow.engine(kind)
    inputs = flow.inputs[:LAYERWISE][: getattr(engine, "max_vectors", None)]
    results = engine.run(inputs, every_layer=True)
    _expect(kind, results, len(inputs))
    np.savez(entry.folder / LAYERS, **results)
    if kind.keeps_waveform:
        shutil.move(engine.waveform, entry.folder / WAVEFORM)
    return len(inputs)


def _keep_waveform(kind: EngineKind, engine: Any, entry: Entry) -> str:
    """Take the waveform that an engine's last run has left, if any, into the entry; return where it is, in words."""
    waveform = getattr(engine, "waveform", None)
    if not waveform or not waveform.is_file():
        return ""
    shutil.move(waveform, entry.folder / kind.waveform)
    return f"; waveform: {kind.waveform}"


def _expect(kind: EngineKind, results: Mapping[str, IntArray], count: int) -> None:
    if not results or any(len(result) != count for result in results.values()):
        lengths = {name: len(result) for name, result in results.items()}
        raise EngineError(f"{kind.name}: expected results of {count} vectors, got {lengths or 'none'}")


# --- compare: every engine with the golden model


def _compare_basis(flow: Flow) -> dict[str, Any]:
    return {"results": flow.keys("golden", *(kind.run_step for kind in ENGINES))}


def _reference(flow: Flow, names: Iterable[str], count: int) -> dict[str, IntArray]:
    """Return what the golden model makes of the first `count` vectors, in the layers of these names among others.

    What it has kept is enough for most engines. A framework whose last sums are no integers, for a bias is added to
    them, has other layers in common with it.
    """
    from xnorflow.cosim.golden import Golden

    results = {name: result[:count] for name, result in flow.golden.items()}
    if lacking := [name for name in names if name not in results and name in flow.network.signals]:
        golden = Golden()
        golden.prepare(flow.network)
        results |= _layers(golden, flow.inputs[:count], lacking)
    return results


def _compare(flow: Flow, entry: Entry, advance: Advance) -> None:
    from xnorflow.cosim.compare import compare
    from xnorflow.flows.mismatch import locate

    outcomes: dict[str, dict[str, Any]] = {}
    ambiguous = flow.entries["fold"].facts["conversion"]["ambiguous"]
    for kind in ENGINES:
        if kind.run_step not in flow.entries:
            continue
        try:
            count = flow.entries[kind.run_step].facts["vectors"]
            got = read_results(flow.entries[kind.run_step])
            comparison = compare(flow.network, _reference(flow, got, count), got)
            few = flow.entries[kind.run_step].facts["layerwise"]
            golden = {name: result[:few] for name, result in read_results(flow.entries["golden"], LAYERS).items()}
            layerwise = compare(flow.network, golden, read_results(flow.entries[kind.run_step], LAYERS))
        except EngineError as error:
            outcomes[kind.name] = {"status": "fail", "reason": str(error), "vectors": 0, "mismatches": 0, "layers": {}}
            continue
        outcome: dict[str, Any] = {
            "status": "pass",
            "vectors": comparison.vectors,
            "mismatches": len({*comparison.wrong, *layerwise.wrong}),
            "layers": {
                layer: {"vectors": of.vectors, "mismatches": of.layers[layer]}
                for of in (layerwise, comparison)
                for layer in of.layers
            },
        }
        if differing := next((of for of in (comparison, layerwise) if of.first), None):
            first = locate(flow, kind, differing, entry.folder / f"mismatch_{kind.name}.npz")
            reason = str(first.pop("text")) + _keep_waveform(kind, flow.engine(kind), entry)
            if kind.trained and (count := ambiguous.get(str(first["layer"]), 0)):
                reason += f" ({count:,} signs of this layer depend on how the framework rounds its sums)"
            outcome |= {"status": "fail", "reason": reason, "first_mismatch": first}
        outcomes[kind.name] = outcome
    entry.facts = {"engines": outcomes}
    wrong = [f"{name}: {outcome['reason']}" for name, outcome in outcomes.items() if outcome["status"] == "fail"]
    equal = [name for name, outcome in outcomes.items() if outcome["status"] == "pass"]
    entry.summary = "; ".join(wrong) or f"{', '.join(equal) or 'nothing to compare:'} equal to golden on every vector"


# --- report


def _report_basis(flow: Flow) -> dict[str, Any]:
    return {
        "results": flow.keys(*(step for step in flow.entries if step != "report")),
        "problems": flow.problems,
        "synthesis": flow.entries["synthesis"].facts,  # where a tool failed, the same key may come to something else
        "vendor": [job | {"folder": str(job["folder"])} for job in vendor.jobs(flow)],
        "recorded": flow.subject.recorded,
        "version": version(),
        "path": [flow.subject.origin, str(flow.subject.path)],
    }


def _report(flow: Flow, entry: Entry, advance: Advance) -> None:
    from xnorflow.flows.document import document
    from xnorflow.reports.findings import findings
    from xnorflow.reports.render import render

    report = document(flow)
    render(report, entry.folder)
    for step, pattern in (("compare", "mismatch_*.npz"), ("synthesis", "bitstream_*")):
        for made in flow.entries[step].folder.glob(pattern):
            shutil.copyfile(made, entry.folder / made.name)
    for kind in ENGINES:
        if waveform := flow.waveform(kind):
            shutil.copyfile(waveform, entry.folder / kind.waveform)
    told = [asdict(finding) for finding in findings(report)]
    entry.facts = {"verdict": report["verdict"], "rtl": report["rtl"], "findings": told}
    entry.summary = "report.html, report.md, report.json"
