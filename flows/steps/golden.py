"""Steps ``golden``, the reference, and ``bench``, the few vectors for the test benches of projects."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xnorflow.bnn.digest import digest
from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import BENCH, GOLDEN, LOAD, GoldenFacts, NoFacts
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.results import (
    LAYERS,
    LAYERWISE,
    RESULTS,
    VECTORS_FILE,
    IntArray,
    images,
    inputs,
    labels,
    network,
    read_results,
)
from xnorflow.flows.timed import timed_run
from xnorflow.flows.typed import record
from xnorflow.flows.vectors import random_inputs
from xnorflow.reports.records import PrecisionRecall

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network
    from xnorflow.cosim.engine import Engine

BASELINE_VECTORS = 256
"""Random vectors of which a baseline holds what the golden model makes."""

BENCH_VECTORS = 100
"""Vectors that a project's own test bench gets."""


def step() -> Step[GoldenFacts]:
    """Return the step of the golden model."""
    return Step(GOLDEN, "golden", _golden, takes=("vectors", "fold"), packages=("numpy", "numba"))


def bench_step() -> Step[NoFacts]:
    """Return the step that cuts out what a test bench gets: the same, however many vectors there are."""
    return Step(BENCH, "bench", _bench, takes=("load", "fold"), packages=("numpy", "numba"))


def _bench(view: View, entry: Entry[NoFacts], advance: Advance) -> None:
    from xnorflow.cosim.engine import outputs
    from xnorflow.cosim.golden import Golden

    given, golden = read_results(view[LOAD], VECTORS_FILE)["inputs"][:BENCH_VECTORS], Golden()
    golden.prepare(network(view))
    np.savez(entry.folder / RESULTS, inputs=given, expected=golden.run(given)[outputs(network(view))[0]])
    entry.summary = f"{len(given)} vectors and their scores for the projects' own test benches"


def _golden(view: View, entry: Entry[GoldenFacts], advance: Advance) -> None:
    from xnorflow.cosim.classes import classes, meaning, precision_recall
    from xnorflow.cosim.golden import Golden

    computed, vectors, golden = network(view), inputs(view), Golden()
    golden.prepare(computed, entry.folder)
    results, seconds = timed_run(golden, vectors, advance)
    results |= _scores(computed, golden, vectors)
    np.savez(entry.folder / RESULTS, **results)
    count, labelled = len(vectors), images(view)
    of_images = {name: result[labelled] for name, result in results.items()}
    found, expected = classes(computed, results, labels(view))
    taken_for = found[labelled] if found is not None else None
    wrong = labelled[taken_for != expected] if taken_for is not None else np.zeros(0, np.int64)
    right = len(labelled) - len(wrong) if len(labelled) and taken_for is not None else None
    label = dict(zip(labelled.tolist(), expected.tolist(), strict=True))
    kept = list(range(min(LAYERWISE, count)))
    kept += [int(wrong[0])] if len(wrong) and wrong[0] not in kept else []  # the report shows how it came about
    np.savez(entry.folder / LAYERS, **golden.run(vectors[kept], every_layer=True))
    curve = precision_recall(computed, of_images, labels(view)) if len(labelled) else None
    entry.facts = {
        "vectors": count,
        "right": right,
        "images": len(labelled),
        "meaning": meaning(computed),
        "kept": [
            {
                "vector": i,
                "class": int(found[i]) if found is not None else None,
                "label": label.get(i),
            }
            for i in kept
        ],
        "outputs": outputs_digest(computed, golden),
        "confusion": _confusion(expected, taken_for) if len(labelled) and taken_for is not None else None,
        "precision_recall": record(PrecisionRecall, curve) if curve else None,
        "seconds": seconds,
    }
    accuracy = f", {right / len(labelled):.2%} of {len(labelled):,} images right" if right is not None else ""
    entry.summary = f"{count:,} vectors at {count / seconds:,.0f} a second{accuracy}"


def _scores(network: "Network", golden: "Engine", inputs: IntArray) -> dict[str, IntArray]:
    """Compute the accumulators before a last affine, since PyTorch computes those as integers, but not the affine."""
    from xnorflow.bnn.network import Affine, Argmax

    names, operation = [], network.output
    while isinstance(operation, Affine | Argmax):
        operation = network[operation.inputs[0]]
        names.append(operation.name)
    return layers(golden, inputs, names)


def layers(golden: "Engine", inputs: IntArray, names: Sequence[str]) -> dict[str, IntArray]:
    """Compute what the layers of these names give, all of all vectors."""
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
    return digest((name, results[name]) for name in outputs(network))


def _confusion(labels: IntArray, classes: IntArray) -> list[list[int]]:
    """Count the images of each label (row) that were taken for each class (column)."""
    counts = np.zeros((1 + int(max(labels.max(), classes.max())),) * 2, np.int64)
    np.add.at(counts, (labels, classes), 1)
    rows: list[list[int]] = counts.tolist()
    return rows
