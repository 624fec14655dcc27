"""Coverage: which faults some vectors show, counted by layer, by kind and by neuron."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Conv2d, Dense, IntArray, Network, Recurrent
from xnorflow.cosim.coverage.faults import Faults, faults
from xnorflow.cosim.coverage.redundancy import redundant
from xnorflow.cosim.coverage.simulation import Simulator, products

Bits = NDArray[np.bool_]

#: Vectors that are simulated at once.
_LARGEST_BLOCK = 256

#: Bits of a block's patches, which decide how many vectors it has.
_BLOCK_BITS = 1 << 27

#: Multiplications that the faults of one group may take; beyond, so many are drawn as keep to them.
AFFORDABLE = 2e12

#: Vectors that a fault takes on average until it is shown, for the choice between all and drawn ones.
_VECTORS_EACH = 8

_SMALLEST_SAMPLE = 1000


@dataclass(frozen=True)
class Count:
    """Numbers of faults.

    Attributes
    ----------
    faults : int
        All of the model.
    redundant : float
        Of these, proved to be shown by no input.
    shown : float
        Of the others, shown by at least one vector. Where faults were drawn, this and `redundant` are estimates.
    low, high : float
        Interval of `shown` at a confidence of 95 %; `shown` itself where every fault was simulated.
    """

    faults: int
    redundant: float
    shown: float
    low: float
    high: float

    @property
    def detectable(self) -> float:
        """Faults that are not proved redundant."""
        return self.faults - self.redundant

    @property
    def share(self) -> float:
        """Share of the detectable faults that are shown; 1 where there are none."""
        return self.shown / self.detectable if self.detectable else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """Of :attr:`share`, at a confidence of 95 %."""
        return (self.low / self.detectable, self.high / self.detectable) if self.detectable else (1.0, 1.0)

    @property
    def exact(self) -> bool:
        """Whether every fault was simulated."""
        return self.low == self.high


@dataclass(frozen=True, eq=False)
class Coverage:
    """Which faults of a network some vectors show.

    Attributes
    ----------
    groups : tuple of Faults
        Those that were simulated: every fault, or some of a group that were drawn.
    population : tuple of int
        Faults of each group, simulated or not.
    redundant, shown : tuple of bool arrays, shape (faults,)
        By group; none is both.
    """

    groups: tuple[Faults, ...]
    population: tuple[int, ...]
    redundant: tuple[Bits, ...]
    shown: tuple[Bits, ...]

    def __or__(self, other: "Coverage") -> "Coverage":
        """Return what is shown by either of two comparisons of the same faults."""
        return replace(self, shown=tuple(a | b for a, b in zip(self.shown, other.shown, strict=True)))

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

    @cached_property
    def weakest(self) -> list[tuple[str, int, int, int]]:
        """Channels with missed faults: operation, channel, missed faults, detectable ones; most missed first.

        Of faults that were simulated.
        """
        rows: list[tuple[str, int, int, int]] = []
        for layer in self.layers:
            of = [i for i, group in enumerate(self.groups) if group.layer == layer]
            channel = np.concatenate([self.groups[i].channel[~self.redundant[i]] for i in of])
            missed = np.concatenate([~self.shown[i][~self.redundant[i]] for i in of])
            faults, without = np.bincount(channel), np.bincount(channel, missed).astype(np.int64)
            rows += [(layer, int(c), int(without[c]), int(faults[c])) for c in np.flatnonzero(without)]
        return sorted(rows, key=lambda row: (-row[2], row[:2]))

    def _count(self, groups: Sequence[int]) -> Count:
        redundant = shown = low = high = 0.0
        for i in groups:
            group, population = self.groups[i], self.population[i]
            seen, never = int(self.shown[i].sum()), int(self.redundant[i].sum())
            factor = population / len(group)
            redundant, shown = redundant + never * factor, shown + seen * factor
            ends = (seen / len(group),) * 2 if population == len(group) else _interval(seen, len(group))
            low, high = low + ends[0] * population, high + ends[1] * population
        return Count(sum(self.population[i] for i in groups), redundant, shown, low, high)


def _interval(seen: int, of: int) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share at a confidence of 95 %."""
    from scipy.stats import binomtest

    interval = binomtest(seen, of).proportion_ci(0.95)
    return float(interval.low), float(interval.high)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What vectors show, vector by vector: the coverage of the first few of them, for any number.

    Attributes
    ----------
    groups, population, redundant
        As those of a :class:`Coverage`.
    first : tuple of int64 arrays, shape (faults,)
        The first vector that shows a fault, -1 where none does; by group.
    """

    groups: tuple[Faults, ...]
    population: tuple[int, ...]
    redundant: tuple[Bits, ...]
    first: tuple[IntArray, ...]

    def coverage(self, vectors: int | None = None) -> Coverage:
        """Return the coverage of the first so many vectors, by default of all."""
        shown = tuple((first >= 0) & (vectors is None or first < vectors) for first in self.first)
        return Coverage(self.groups, self.population, self.redundant, shown)


def measure(
    network: Network,
    vectors: NDArray[np.integer[Any]],
    observed: Sequence[str] | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
    affordable: float = AFFORDABLE,
    but: Sequence[Bits] | None = None,
) -> Evidence:
    """Find out which faults of a network some vectors show.

    Exact, but for groups of faults beyond what is affordable: of those, faults are drawn, always the same.

    Parameters
    ----------
    network : Network
    vectors : integer array, shape (vectors, *input shape)
    observed : sequence of operation names, optional
        The results that are compared; by default those of :func:`xnorflow.cosim.engine.outputs`.
    advance : callable
        Told how much is done, and of how much.
    affordable : float
        Multiplications that one group of faults may take.
    but : sequence of bool arrays, shape (faults,), by group, optional
        Faults that are not asked for, and count as not shown.

    Raises
    ------
    NetworkError
        If the network holds an operation of an unknown class.
    """
    every = faults(network)
    groups = tuple(_drawn(group, _affordable(network, group, affordable)) for group in every)
    simulator = Simulator(network, observed)
    proved = redundant(network, groups)
    spared = proved if but is None else [never | other for never, other in zip(proved, but, strict=True)]
    first = tuple(np.full(len(group), -1) for group in groups)
    simulated, total = 0, len(vectors) * sum(map(len, groups))
    for block in _blocks(len(vectors), _largest_block(network)):
        now = simulator.vectors(vectors[block])
        for group, not_asked, seen in zip(groups, spared, first, strict=True):
            advance(simulated, total)
            left = np.flatnonzero((seen < 0) & ~not_asked)
            by_vector = simulator.shown(group, left, now)
            word = (by_vector != 0).argmax(axis=1)
            bits = by_vector[np.arange(len(left)), word]
            lowest = np.frexp((bits & -bits).astype(np.float64))[1] - 1  # a power of two is exact as a float
            seen[left] = np.where(bits != 0, block.start + word * 64 + lowest, -1)
            simulated += len(group) * (block.stop - block.start)
    advance(total, total)
    return Evidence(groups, tuple(map(len, every)), proved, first)


def compared(
    network: Network,
    vectors: NDArray[np.integer[Any]],
    comparisons: Sequence[Mapping[str, int]],
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Coverage]:
    """Return what comparisons show that see some results of some vectors, and others of fewer.

    Parameters
    ----------
    network : Network
    vectors : integer array, shape (vectors, *input shape)
    comparisons : sequence of mappings of operation name to int
        Of how many vectors, the first ones, each result is compared.
    advance : callable
        As :func:`measure` has it, for the comparison of the most vectors.

    Returns
    -------
    list of Coverage
        One for each comparison, of the same faults.
    """
    seen = [
        {frozenset(name for name, of in each.items() if of >= count): count for count in each.values() if count}
        for each in comparisons
    ]
    most: dict[frozenset[str], int] = {}
    for observed, count in (item for each in seen for item in each.items()):
        most[observed] = max(count, most.get(observed, 0))
    found: dict[frozenset[str], Evidence] = {}
    for observed, count in sorted(most.items(), key=lambda item: -item[1]):
        least = min(each[observed] for each in seen if observed in each)
        before = next((evidence for names, evidence in found.items() if names < observed), None)
        but = before.coverage(least).shown if before else None  # what is seen there is seen here
        new = measure(network, vectors[:count], sorted(observed), advance if not found else _silent, but=but)
        if before and but:
            first = tuple(
                np.where(here, one, other) for here, one, other in zip(but, before.first, new.first, strict=True)
            )
            new = replace(new, first=first)
        found[observed] = new
    if not found:
        found[frozenset()] = measure(network, vectors[:0])
    nothing = next(iter(found.values())).coverage(0)
    return [reduce(or_, (found[names].coverage(of) for names, of in each.items()), nothing) for each in seen]


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


def _blocks(count: int, largest: int) -> Iterator[slice]:
    """Give blocks of vectors that grow: the first vectors show most faults, which are not asked for again."""
    first, size = 0, 1
    while first < count:
        yield slice(first, min(count, first + size))
        first, size = first + size, min(2 * first + size, largest)


def _largest_block(network: Network) -> int:
    patches = [
        network.signals[operation.name].size // len(operation.weight) * operation.weight[0].size
        for operation in network.operations
        if isinstance(operation, Dense | Conv2d)
    ]
    return int(np.clip(_BLOCK_BITS // max(patches, default=1), 8, _LARGEST_BLOCK))


def _affordable(network: Network, group: Faults, most: float) -> int:
    """Return how many faults of a group may be simulated: those of a dense layer are followed by neuron."""
    names, operation = list(network.signals), network[group.layer]
    first = names.index(group.layer) + (not isinstance(operation, Recurrent))
    each = _VECTORS_EACH * sum(products(network, name) for name in names[first:])
    if group.kind == "weight" and isinstance(operation, Dense) and network.signals[operation.inputs[0]].bipolar:
        return len(group)
    return max(_SMALLEST_SAMPLE, int(most // max(1, each)))


def _drawn(group: Faults, most: int) -> Faults:
    """Return a group of faults, or so many of them drawn at random, always the same."""
    if len(group) <= most:
        return group
    chosen = np.sort(np.random.default_rng(0).choice(len(group), most, replace=False))
    return replace(group, **{name: getattr(group, name)[chosen] for name in ("channel", "place", "value")})
