"""Step ``vectors``: those that every engine runs: of what is loaded, and of directed ones, what shows most first."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xnorflow.bnn.digest import digest
from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import LOAD, VECTORS, VectorsFacts
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.results import LAYERWISE, VECTORS_FILE, IntArray, network, read_results

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network
    from xnorflow.cosim.coverage.vectors import Ended

_SHARE = 4
"""Of the vectors one in so many may be a directed one; of the random ones, every second of all vectors."""

_MOST = 500

_SEARCH, _CHOICE = 5e11, 2e11
"""Multiplications that the search for directed vectors may take, and the choice of the best: minutes at most."""


def step() -> Step[VectorsFacts]:
    """Return the step."""
    return Step(VECTORS, "vectors", _vectors, takes=("load", "fold"), packages=("numpy", "numba", "scipy"))


@dataclass(frozen=True, eq=False)
class Chosen:
    """The vectors of a flow, in the order in which they are run.

    Attributes
    ----------
    inputs : integer array, shape (vectors, *input shape)
    images, directed : int64 array
        Which of them are labelled images, and which were made to show faults; both rising.
    labels : int64 array, shape (images,)
    ended : str
        Why no more were made, see :data:`xnorflow.cosim.coverage.vectors.Ended`.
    """

    inputs: IntArray
    images: IntArray
    directed: IntArray
    labels: IntArray
    ended: "Ended"


def choose(
    computed: "Network",
    inputs: IntArray,
    labels: IntArray,
    *,
    beside: bool,
    advance: Advance = lambda done, total: None,
) -> Chosen:
    """Make directed vectors for what those loaded leave, and put what shows most first.

    Parameters
    ----------
    computed : Network
    inputs : integer array, shape (vectors, *input shape)
        Images first.
    labels : int64 array, shape (images,)
    beside : bool
        Whether directed vectors come on top; else they take the place of the last.
    advance : callable
    """
    new, ended = _directed(computed, inputs, len(labels), beside, advance)
    kept = len(inputs) if beside else len(inputs) - len(new)
    inputs, labels = np.concatenate([inputs[:kept], new]), labels[:kept]
    order = _order(computed, inputs, len(labels))
    images = np.flatnonzero(order < len(labels))
    made = np.flatnonzero(order >= len(inputs) - len(new))
    return Chosen(inputs[order], images, made, labels[order[images]], ended)


def _vectors(view: View, entry: Entry[VectorsFacts], advance: Advance) -> None:
    loaded = read_results(view[LOAD], VECTORS_FILE)
    beside = view[LOAD].facts["all"]
    made = choose(network(view), loaded["inputs"], loaded["labels"], beside=beside, advance=advance)
    arrays = {name: getattr(made, name) for name in ("inputs", "images", "labels", "directed")}
    np.savez_compressed(entry.folder / VECTORS_FILE, **arrays)
    count, images, directed = len(made.inputs), len(made.images), len(made.directed)
    entry.facts = {
        "count": count,
        "images": images,
        "random": count - images - directed,
        "directed": directed,
        "ended": made.ended,
        "digest": digest([("", made.inputs)]),
    }
    numbers = {"images": images, "random": count - images - directed, "directed": directed}
    told = ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number)
    entry.summary = f"{told}; those that show most first"


def _directed(
    computed: "Network", inputs: IntArray, images: int, beside: bool, advance: Advance
) -> "tuple[IntArray, Ended]":
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
