"""Exact comparison of two engines' results, and where they first differ."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xnorflow.bnn.network import Network
from xnorflow.cosim.engine import EngineError, Results


@dataclass(frozen=True)
class Mismatch:
    """One differing integer.

    Attributes
    ----------
    vector : int
        Index of the input vector.
    layer : str
        Name of the operation, the earliest in the network that differs for any vector.
    index : tuple of int
        Position inside the layer's result, channels last.
    expected, got : int
    """

    vector: int
    layer: str
    index: tuple[int, ...]
    expected: int
    got: int

    @property
    def channel(self) -> int:
        """Channel of the differing value."""
        return self.index[-1]

    def __str__(self) -> str:
        place = f"channel {self.channel}" + (f" at {self.index[:-1]}" if len(self.index) > 1 else "")
        return f"vector {self.vector}, layer {self.layer}, {place}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True)
class Comparison:
    """Outcome of a comparison.

    Attributes
    ----------
    vectors : int
        Vectors compared.
    wrong : tuple of int
        Indices of the vectors for which any compared integer differs, ascending.
    first : Mismatch or None
        Of the earliest layer that differs, the first vector and position; None if all are equal.
    layers : mapping of str to int
        Every layer compared, in order, and the number of vectors for which any integer of it differs.
    """

    vectors: int
    wrong: tuple[int, ...]
    first: Mismatch | None
    layers: Mapping[str, int]

    @property
    def mismatches(self) -> int:
        """Number of vectors with any difference."""
        return len(self.wrong)


def compare(network: Network, expected: Results, got: Results) -> Comparison:
    """Compare every layer that `got` holds with `expected`, for equality.

    Parameters
    ----------
    network : Network
    expected, got : mapping of layer name to integer array (vectors, *shape)
        `expected` must hold every layer of `got`.

    Raises
    ------
    EngineError
        If `got` holds nothing to compare, or an array of another shape or of anything but integers: missing results are
        a failure, not agreement.
    """
    layers = [operation.name for operation in network.operations if operation.name in got]
    if not layers or set(got) - set(layers):
        raise EngineError(f"expected results of layers of {network.name}, got {', '.join(got) or 'none'}")
    first: Mismatch | None = None
    wrong: set[int] = set()
    counts = dict.fromkeys(layers, 0)
    vectors = len(expected[layers[0]])
    for layer in layers:
        want, have = expected[layer], np.asarray(got[layer])
        if want.shape != (vectors, *network.signals[layer].shape) or have.shape != want.shape:
            raise EngineError(f"layer {layer}: expected results of shape {want.shape}, got {have.shape}")
        if not np.issubdtype(have.dtype, np.integer):
            raise EngineError(f"layer {layer}: expected integers, got {have.dtype}")
        different = want != have
        if not different.any():
            continue
        here = np.flatnonzero(different.reshape(vectors, -1).any(axis=1)).tolist()
        counts[layer] = len(here)
        wrong.update(here)
        if first is None:
            vector, *index = (int(i) for i in np.argwhere(different)[0])
            position = (vector, *index)
            first = Mismatch(vector, layer, tuple(index), int(want[position]), int(have[position]))
    return Comparison(vectors, tuple(sorted(wrong)), first, counts)
