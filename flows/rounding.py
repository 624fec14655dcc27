"""What the rounding of weights does: to the sums, to the signs and to the classes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xnorflow.flows.graph import View
from xnorflow.flows.results import ERRORS, IntArray, directed, golden, images, inputs, labels, network

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network

DEVIATION_VECTORS = 256
"""Vectors on which is measured what the rounding of weights does to the sums."""


def roundings(view: View) -> dict[str, Any]:
    """Say of the layers whose weights are rounded what is proved, and what rounding does on the vectors at most."""
    from xnorflow.cosim import deviation
    from xnorflow.cosim.golden import Golden

    rounded, vectors = view["fold"].facts["rounded"], inputs(view)[:DEVIATION_VECTORS]
    if not rounded:
        return {"layers": [], "vectors": 0}
    engine = Golden()
    engine.prepare(network(view))
    errors: dict[str, dict[str, Any]] = {}
    with np.load(view["fold"].folder / ERRORS) as file:
        for key in file.files:
            layer, _, name = key.partition(".")
            errors.setdefault(layer, {})[name] = file[key]
    largest = dict.fromkeys(errors, 0.0)
    for start in range(0, len(vectors), 16):  # windows of real numbers, in every layer, could fill the memory
        results = engine.run(vectors[start : start + 16], every_layer=True)
        for layer, of in errors.items():
            largest[layer] = max(largest[layer], deviation.largest(network(view), of, results))
    return {"layers": [of | {"measured": largest.get(of["name"])} for of in rounded], "vectors": len(vectors)}


def different_signs(
    network: "Network", expected: Mapping[str, IntArray], got: Mapping[str, IntArray]
) -> list[dict[str, Any]]:
    """Return how many signs of each layer the trained model has otherwise, as the report has it."""
    from xnorflow.cosim.deviation import signs_that_differ

    found = signs_that_differ(network, expected, got)
    return [{"name": name, "different": different, "of": of} for name, (different, of) in found.items()]


def judged(view: View, engine: str, got: Mapping[str, IntArray], count: int) -> dict[str, Any]:
    """Judge the trained model beside a golden model of rounded weights: by the classes that differ, and nothing else.

    Returns
    -------
    dict
        ``outcome`` for the engine; ``by``, ``classes`` and ``accuracy`` for the report.
    """
    from xnorflow.cosim.classes import classes

    of = network(view)
    labelled = images(view)[images(view) < count]
    mine, right = classes(of, {name: result[:count] for name, result in golden(view).items()}, labels(view))
    theirs = classes(of, got, labels(view))[0] if of.output.name in got else None
    if mine is None or theirs is None:
        reason = "the trained model shows no class, by which to judge a network of rounded weights"
        return {"by": engine, "outcome": {"status": "skipped", "reason": reason, "mismatches": 0}}
    some = np.setdiff1d(np.arange(count), directed(view))  # those are near thresholds on purpose
    count, allowed = len(some), view.options.classes_may_differ
    different = int((mine[some] != theirs[some]).sum())
    told = f"{different:,} of {count:,} classes differ from those of rounded weights"
    agrees = different <= allowed * count
    reason = told if agrees else f"{told}: more than [fixed] classes_may_differ = {allowed:g} allows"
    accuracy = None
    if len(labelled):
        share = {
            name: float((found[labelled] == right[: len(labelled)]).mean())
            for name, found in (("trained", theirs), ("rounded", mine))
        }
        accuracy = {**share, "images": len(labelled)}
    return {
        "by": engine,
        "classes": {"different": different, "of": count, "allowed": allowed},
        "accuracy": accuracy,
        "outcome": {"status": "agrees" if agrees else "fail", "reason": reason, "mismatches": different},
    }
