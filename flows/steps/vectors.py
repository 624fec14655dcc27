"""Step ``vectors``: those that every engine runs: of what is loaded, and of directed ones, what shows most first."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from xnorflow.bnn.errors import UserError
from xnorflow.flows.cache import Entry
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.results import LAYERWISE, VECTORS, IntArray, network, read_results

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network

_SHARE = 4
"""Of the vectors one in so many may be a directed one; of the random ones, every second of all vectors."""

_MOST = 500

_SEARCH, _CHOICE = 5e11, 2e11
"""Multiplications that the search for directed vectors may take, and the choice of the best: some 10 and 5 seconds."""


def step() -> Step:
    """Return the step."""
    return Step("vectors", "vectors", _vectors, takes=("load", "fold"), packages=("numpy", "numba", "scipy"))


def _vectors(view: View, entry: Entry, advance: Advance) -> None:
    loaded = read_results(view["load"], VECTORS)
    inputs, labels, every = loaded["inputs"], loaded["labels"], view["load"].facts["all"]
    order: IntArray = np.arange(len(inputs))
    new, ended, refusal = inputs[:0], None, None
    try:
        new, ended = _directed(network(view), inputs, len(labels), every, advance)
        kept = len(inputs) if every else len(inputs) - len(new)
        inputs, labels = np.concatenate([inputs[:kept], new]), labels[:kept]
        order = _order(network(view), inputs, len(labels))
    except UserError as refused:  # an operation whose faults nobody has named
        refusal = str(refused)
    places = np.argsort(order)  # of what was loaded
    images = np.sort(places[: len(labels)])
    kinds = np.repeat([0, 1, 2], [len(labels), len(inputs) - len(labels) - len(new), len(new)])[order]
    np.savez_compressed(
        entry.folder / VECTORS,
        inputs=inputs[order],
        images=images,
        labels=labels[order[images]],
        directed=np.flatnonzero(kinds == 2),
    )
    count = {name: int((kinds == kind).sum()) for kind, name in enumerate(("images", "random", "directed"))}
    entry.facts = {"count": len(inputs), **count, "ended": ended, "refusal": refusal, "digest": _digest(inputs[order])}
    parts = [f"{number:,} {name}" for name, number in count.items() if number]
    entry.summary = f"{', '.join(parts)}; {refusal or 'those that show most first'}"


def _directed(
    computed: "Network", inputs: IntArray, images: int, beside: bool, advance: Advance
) -> tuple[IntArray, str | None]:
    """Return new vectors for what those loaded leave, and why there are no more."""
    from xnorflow.cosim.coverage.vectors import directed

    most = min(_MOST, max(len(inputs) // _SHARE, min(len(inputs) - images, len(inputs) // 2)))
    if not most:
        return inputs[:0], "number"
    given = inputs if beside else inputs[: len(inputs) - most]
    return directed(computed, given, most, budget=_SEARCH, advance=advance)


def _order(computed: "Network", inputs: IntArray, images: int) -> IntArray:
    """Return the order; the first few are images, since what is estimated and shown of them is to be typical."""
    from xnorflow.cosim.coverage.vectors import best

    return best(computed, inputs, leading=min(LAYERWISE, images), among=images, budget=_CHOICE)


def _digest(array: IntArray) -> str:
    sha = hashlib.sha256()
    sha.update(f"{array.shape}".encode())
    sha.update(np.ascontiguousarray(array, "<i8").data)
    return sha.hexdigest()
