"""Coverage: which faults some vectors show, counted by layer and by neuron."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Network
from xnorflow.cosim.coverage.faults import Faults, faults
from xnorflow.cosim.coverage.redundancy import redundant
from xnorflow.cosim.coverage.simulation import Simulator

Bits = NDArray[np.bool_]

_LARGEST_BLOCK = 256


@dataclass(frozen=True)
class Count:
    """Numbers of faults.

    Attributes
    ----------
    faults : int
        All of the model.
    redundant : int
        Of these, proved to be shown by no input.
    shown : int
        Of the others, shown by at least one vector.
    """

    faults: int
    redundant: int
    shown: int

    @property
    def detectable(self) -> int:
        """Faults that are not proved redundant."""
        return self.faults - self.redundant

    @property
    def share(self) -> float:
        """Share of the detectable faults that are shown; 1 where there are none."""
        return self.shown / self.detectable if self.detectable else 1.0


@dataclass(frozen=True, eq=False)
class Coverage:
    """Which faults of a network some vectors show.

    Attributes
    ----------
    vectors : int
    groups : tuple of Faults
        Every fault, as :func:`xnorflow.cosim.coverage.faults.faults` gives them.
    redundant, shown : tuple of bool arrays, shape (faults,)
        By group; none is both.
    """

    vectors: int
    groups: tuple[Faults, ...]
    redundant: tuple[Bits, ...]
    shown: tuple[Bits, ...]

    @property
    def total(self) -> Count:
        """Of the whole network."""
        return self._count(range(len(self.groups)))

    @property
    def layers(self) -> dict[str, Count]:
        """By operation, in their order, those that have faults."""
        return {
            layer: self._count([i for i, group in enumerate(self.groups) if group.layer == layer])
            for layer in dict.fromkeys(group.layer for group in self.groups)
        }

    @property
    def kinds(self) -> dict[str, Count]:
        """By kind of fault."""
        return {
            kind: self._count([i for i, group in enumerate(self.groups) if group.kind == kind])
            for kind in dict.fromkeys(group.kind for group in self.groups)
        }

    def missed(self, layer: str) -> NDArray[np.int64]:
        """Return how many detectable faults of each channel of an operation no vector shows."""
        channels = [
            group.channel[~(redundant | shown)]
            for group, redundant, shown in zip(self.groups, self.redundant, self.shown)
            if group.layer == layer
        ]
        return np.bincount(np.concatenate(channels)).astype(np.int64)

    def _count(self, groups: Sequence[int]) -> Count:
        return Count(
            sum(len(self.groups[i]) for i in groups),
            sum(int(self.redundant[i].sum()) for i in groups),
            sum(int(self.shown[i].sum()) for i in groups),
        )


def measure(network: Network, vectors: NDArray[np.integer], observed: Sequence[str] | None = None) -> Coverage:
    """Find out which faults of a network some vectors show; exact.

    Parameters
    ----------
    network : Network
    vectors : integer array, shape (vectors, *input shape)
    observed : sequence of operation names, optional
        The results that are compared; by default those of :func:`xnorflow.cosim.engine.outputs`.

    Raises
    ------
    NetworkError
        If the network holds an operation of an unknown class.
    """
    groups = faults(network)
    simulator = Simulator(network, observed)
    proved = tuple(redundant(network, group) for group in groups)
    shown = tuple(np.zeros(len(group), np.bool_) for group in groups)
    for block in _blocks(len(vectors)):
        now = simulator.vectors(vectors[block])
        for group, never, seen in zip(groups, proved, shown):
            left = np.flatnonzero(~(seen | never))
            seen[left] = simulator.shown(group, left, now).any(axis=1)
    return Coverage(len(vectors), groups, proved, shown)


def _blocks(count: int) -> Iterator[slice]:
    """Give blocks of vectors that grow: the first vectors show most faults, which are not asked for again."""
    first, size = 0, 1
    while first < count:
        yield slice(first, first + size)
        first, size = first + size, min(2 * first + size, _LARGEST_BLOCK)
