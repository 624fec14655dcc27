"""What the steps keep in their entries, as it is read again."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import FOLD, GOLDEN, VECTORS
from xnorflow.flows.graph import View

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network

IntArray = NDArray[np.integer[Any]]

RESULTS, LAYERS = "results.npz", "layers.npz"
"""Files of a run: what every vector gave, and every layer of a few."""

LAYERWISE = 8
"""Vectors whose every layer is compared."""

WAVEFORM = "activity.fst"
"""File of a run that keeps a waveform, that of the vectors whose every layer is compared."""

NETWORK, VECTORS_FILE = "network.safetensors", "vectors.npz"
"""Files of the steps ``fold``, and ``load`` and ``vectors``."""

ERRORS = "errors.npz"
"""What the rounding of weights has left, beside the Network."""

AMBIGUOUS = "ambiguous.npz"
"""Where thresholds depend on how the framework rounds its sums, beside the Network."""


def read_results(entry: Entry, file: str = RESULTS) -> dict[str, IntArray]:
    """Read the results that a run has kept, those in `file`."""
    return read_arrays(entry.folder / file)


def read_arrays(path: Path) -> dict[str, IntArray]:
    """Read arrays of integers by their names."""
    with np.load(path) as kept:
        return dict(kept)


def network(view: View) -> "Network":
    """Return the canonical Network that step ``fold`` has made."""
    from xnorflow.bnn import io

    path = view[FOLD].folder / NETWORK
    return view.once("network", lambda: io.load(path))


def _vectors(view: View) -> Mapping[str, IntArray]:
    entry = view[VECTORS]
    return view.once("vectors", lambda: read_results(entry, VECTORS_FILE))


def inputs(view: View) -> IntArray:
    """Return the vectors, integer, shape (vectors, *input shape)."""
    return _vectors(view)["inputs"]


def images(view: View) -> IntArray:
    """Return which vectors are labelled images, int64, rising."""
    return _vectors(view)["images"]


def labels(view: View) -> IntArray:
    """Return the classes of those, int64."""
    return _vectors(view)["labels"]


def directed(view: View) -> IntArray:
    """Return which vectors were made to show faults, int64, rising."""
    return _vectors(view)["directed"]


def golden(view: View) -> Mapping[str, IntArray]:
    """Return what the golden model has computed: everything from the last accumulators on."""
    entry = view[GOLDEN]
    return view.once("golden", lambda: read_results(entry))
