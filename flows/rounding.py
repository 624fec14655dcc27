"""What rounding does: that of weights to the sums, signs and classes; and the framework's own to its sums."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.flows.facts import FOLD
from xnorflow.flows.graph import View
from xnorflow.flows.results import (
    AMBIGUOUS,
    ERRORS,
    IntArray,
    directed,
    golden,
    images,
    inputs,
    labels,
    network,
    read_arrays,
    read_results,
)

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network
    from xnorflow.reports.records import (
        Deviation,
        DifferentClasses,
        DifferentSigns,
        RoundedAccuracy,
        RoundedLayer,
    )

DEVIATION_VECTORS = 256
"""Vectors on which is measured what the rounding of weights does to the sums."""


def deviation(view: View) -> "Deviation | None":
    """Say of the layers whose weights are rounded what is proved, and what rounding does on the vectors at most.

    What the trained model itself shows is not in it. None where no weights are rounded.
    """
    from xnorflow.cosim.deviation import largest as largest_error
    from xnorflow.cosim.golden import Golden

    rounded, vectors = view[FOLD].facts["rounded"], inputs(view)[:DEVIATION_VECTORS]
    if not rounded:
        return None
    engine = Golden()
    engine.prepare(network(view))
    errors: dict[str, dict[str, NDArray[Any]]] = {}
    with np.load(view[FOLD].folder / ERRORS) as file:
        for key in file.files:
            layer, _, name = key.partition(".")
            errors.setdefault(layer, {})[name] = file[key]
    largest = dict.fromkeys(errors, 0.0)
    for start in range(0, len(vectors), 16):  # windows of real numbers, in every layer, could fill the memory
        results = engine.run(vectors[start : start + 16], every_layer=True)
        for layer, of in errors.items():
            largest[layer] = max(largest[layer], largest_error(network(view), of, results))
    layers: list[RoundedLayer] = [{**of, "measured": largest.get(of["name"])} for of in rounded]
    nobody: Deviation = {
        "by": None,
        "signs": [],
        "classes": None,
        "accuracy": None,
        "layers": layers,
        "vectors": len(vectors),
    }
    return nobody


def different_signs(
    network: "Network", expected: Mapping[str, IntArray], got: Mapping[str, IntArray]
) -> "list[DifferentSigns]":
    """Return how many signs of each layer the trained model has otherwise, as the report has it."""
    from xnorflow.cosim.deviation import signs_that_differ

    found = signs_that_differ(network, expected, got)
    return [{"name": name, "different": different, "of": of} for name, (different, of) in found.items()]


def by_rounding(view: View, replay: Path, layer: str) -> str:
    """Say how far the framework's own rounding explains where the trained model first differs from the golden model.

    Parameters
    ----------
    replay : Path
        Results of vectors that differ, see :func:`xnorflow.flows.mismatch.locate`.
    layer : str
        The first that differs.

    Returns
    -------
    str
        Behind the mismatch in words; empty where rounding has no share in the layer.
    """
    from xnorflow.bnn.frontends.core.value import Ambiguous
    from xnorflow.bnn.network import Affine, Argmax, MultiThreshold, Threshold
    from xnorflow.cosim.golden import Golden

    facts, operation = view[FOLD].facts, network(view)[layer]
    kept = read_arrays(replay)
    if f"got.{layer}" not in kept:
        return ""
    engine = Golden()
    engine.prepare(network(view))
    operand = engine.run(kept["inputs"], every_layer=True)[operation.inputs[0]]
    at = np.nonzero(kept[f"expected.{layer}"] != kept[f"got.{layer}"])
    pairs = facts["conversion"]["ambiguous"].get(layer, 0)
    if pairs and isinstance(operation, Threshold | MultiThreshold):
        runs = Ambiguous(pairs, read_results(view[FOLD], AMBIGUOUS)[layer].astype(np.int64))
        wrong, count = int((~runs.holds(at[-1], operand[at].astype(np.int64))).sum()), len(at[0])
        told = f"the {pairs:,} (channel, accumulator) pairs for which it depends on how the framework rounds its sums"
        if wrong:
            return f"; {wrong:,} of {count:,} results that differ there are of none of {told}: these are wrong"
        return f"; all {count:,} results that differ there are of {told}: none is proved wrong"
    scores = network(view)[operation.inputs[0]]
    if isinstance(operation, Argmax) and isinstance(scores, Affine) and scores.ambiguous:
        mine, theirs = (operand[(*at[:-1], kept[f"{of}.{layer}"][at])] for of in ("expected", "got"))
        return (
            f"; {int((mine == theirs).sum()):,} of {len(at[0]):,} classes that differ have equal scores, between which "
            f"the framework's rounding decides, as it may in {scores.ambiguous:,} pairs of scores in all"
        )
    if pairs:
        return f"; {pairs:,} results of this layer depend on how the framework rounds its sums"
    return ""


@dataclass(frozen=True)
class Judgement:
    """What the trained model shows beside a golden model of rounded weights.

    Attributes
    ----------
    status : {"agrees", "fail", "skipped"}
    reason : str
    different : int
        Classes that differ.
    classes : DifferentClasses or None
    accuracy : RoundedAccuracy or None
    """

    status: Literal["agrees", "fail", "skipped"]
    reason: str
    different: int = 0
    classes: "DifferentClasses | None" = None
    accuracy: "RoundedAccuracy | None" = None


def judged(view: View, got: Mapping[str, IntArray], count: int) -> Judgement:
    """Judge the trained model beside a golden model of rounded weights: by the classes that differ alone."""
    from xnorflow.cosim.classes import classes as classes_of

    of = network(view)
    labelled = images(view)[images(view) < count]
    mine, right = classes_of(of, {name: result[:count] for name, result in golden(view).items()}, labels(view))
    theirs = classes_of(of, got, labels(view))[0] if of.output.name in got else None
    if mine is None or theirs is None:
        reason = "the trained model shows no class, by which to judge a network of rounded weights"
        return Judgement("skipped", reason)
    some = np.setdiff1d(np.arange(count), directed(view))  # those are near thresholds on purpose
    count, allowed = len(some), view.options.classes_may_differ
    different = int((mine[some] != theirs[some]).sum())
    told = f"{different:,} of {count:,} classes differ from those of rounded weights"
    agrees = different <= allowed * count
    reason = told if agrees else f"{told}: more than [fixed] classes_may_differ = {allowed:g} allows"
    accuracy: RoundedAccuracy | None = None
    if len(labelled):
        trained, rounded = (float((of[labelled] == right[: len(labelled)]).mean()) for of in (theirs, mine))
        accuracy = {"trained": trained, "rounded": rounded, "images": len(labelled)}
    classes: DifferentClasses = {"different": different, "of": count, "allowed": allowed}
    return Judgement("agrees" if agrees else "fail", reason, different, classes, accuracy)
