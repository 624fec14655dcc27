"""Vectors that show much: the best few of many, and new ones for what no vector has shown yet.

A wrong weight shows where its neuron's sum is next to the threshold, so sums are driven there: where a dense layer
reads bipolar inputs, by setting the bits that the neuron's weights name; behind more such layers by a search backwards
(:mod:`~xnorflow.cosim.coverage.backwards`); else by one that changes a few inputs at a time and keeps what comes
closer. Whether the flipped bit reaches the outputs is left to the simulation, which chooses among the candidates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    Add,
    Dense,
    IntArray,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    SumPool2d,
    Threshold,
    weight_bits,
)
from xnorflow.bnn.packing import unpack_bits
from xnorflow.cosim.coverage.backwards import Stage, drive, products, stages
from xnorflow.cosim.coverage.faults import Faults, faults
from xnorflow.cosim.coverage.measure import AFFORDABLE, Evidence, measure
from xnorflow.cosim.coverage.simulation import Simulator

Bits = NDArray[np.bool_]
Inputs = NDArray[np.integer[Any]]

#: Share of the faults that can be shown at which it is enough.
GOAL = 0.999

#: Faults that vectors are chosen by; drawn where there are more.
_JUDGES = 20_000

#: New vectors of a round: those tried, of which so many aim at a fault, and the most that are kept.
_TRIED, _AIMED, _KEPT = 96, 32, 8

#: Rounds without any new vector after which no more are tried.
_VAIN = 5

#: Vectors that are simulated at once.
_BLOCK = 256

#: Parts in which faults to choose by are drawn.
_CHUNKS = 16

#: Groups of faults that a budget is for, about.
_GROUPS = 10

#: Of a search: steps, and vectors of each.
_STEPS, _EACH = 12, 32


Ended = Literal["goal", "number", "vain", "budget"]
"""Why no more vectors were made: enough is shown, there are as many as asked for, none helps, or it takes too long."""


def best(
    network: Network,
    vectors: Inputs,
    *,
    leading: int = 0,
    among: int = 0,
    seed: int = 0,
    budget: float = float("inf"),
) -> IntArray:
    """Put vectors into an order in which each adds most to what those before it show.

    Parameters
    ----------
    network : Network
    vectors : integer array, shape (vectors, *input shape)
    leading, among : int
        The first `leading` are of the first `among` vectors alone.
    seed : int
        Of the faults that are drawn to choose by.
    budget : float
        Multiplications, see :attr:`Simulator.work`, after which no more faults are drawn.

    Returns
    -------
    int64 array, shape (vectors,)
        Indices; those that add nothing come last, as they were.
    """
    simulator, random = Simulator(network), np.random.default_rng(seed)
    groups = faults(network)
    share = min(1.0, _JUDGES / sum(map(len, groups)))
    drawn = [random.permutation(len(group))[: ceil(share * len(group))] for group in groups]
    parts = []
    for chunk in range(_CHUNKS):
        parts.append(_by_vector(simulator, groups, [of[chunk::_CHUNKS] for of in drawn], vectors))
        if simulator.work > budget:
            break
    shown = np.concatenate(parts)
    first = _greedy(shown[:, :among], leading)
    rest = _greedy(shown[~shown[:, first].any(axis=1)], len(vectors))
    chosen = np.concatenate([first, rest])
    return np.concatenate([chosen, np.setdiff1d(np.arange(len(vectors)), chosen)])


def directed(
    network: Network,
    vectors: Inputs,
    most: int,
    *,
    seed: int = 0,
    goal: float = GOAL,
    budget: float = float("inf"),
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Inputs, Ended]:
    """Make vectors that show faults which the given ones do not show; always the same.

    Parameters
    ----------
    network : Network
    vectors : integer array, shape (vectors, *input shape), at least one
    most : int
        Number of new vectors at most; fewer where all together reach the `goal`, or nothing more is found.
    seed : int
    goal : float
        Share of the faults that are not proved redundant.
    budget : float
        Multiplications, see :attr:`Simulator.work`, after which the search ends.
    advance : callable
        Told how many vectors have been made, and how many at most.

    Returns
    -------
    integer array, shape (new vectors, *input shape)
    Ended
    """
    affordable = min(AFFORDABLE, budget / _GROUPS)
    search = _Search(network, np.random.default_rng(seed), vectors, measure(network, vectors, affordable=affordable))
    made, vain = 0, 0
    while not (ended := _ended(search, most - made, vain, goal, budget)):
        advance(made, most)
        kept = search.round(min(_KEPT, most - made))
        made, vain = made + kept, 0 if kept else vain + 1
    return search.pool[len(vectors) :], ended


def _ended(search: "_Search", left: int, vain: int, goal: float, budget: float) -> Ended | None:
    if search.share >= goal:
        return "goal"
    if not left:
        return "number"
    if search.simulator.work >= budget:
        return "budget"
    return "vain" if vain >= _VAIN else None


@dataclass(eq=False)
class _Search:
    """A search for vectors: those so far, and which faults they leave.

    Attributes
    ----------
    network : Network
    random : Generator
    pool : integer array, shape (vectors, *input shape)
    evidence : Evidence
        Of the vectors that were given.
    left : list of bool arrays, by group
        Faults that nothing has shown, not redundant.
    """

    network: Network
    random: np.random.Generator
    pool: Inputs
    evidence: Evidence
    left: list[Bits] = field(init=False)
    _paths: dict[str, list[Stage] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.simulator = Simulator(self.network)
        self.left = [
            (first < 0) & ~never for first, never in zip(self.evidence.first, self.evidence.redundant, strict=True)
        ]

    @property
    def share(self) -> float:
        """Share of the simulated faults that are shown, of those not redundant."""
        all_of_them = sum(int((~never).sum()) for never in self.evidence.redundant)
        return 1 - sum(int(left.sum()) for left in self.left) / max(1, all_of_them)

    def round(self, most: int) -> int:
        """Try vectors and keep the best; return how many."""
        tried = [*self._aimed(), *self._changed(self.pool[self.random.integers(len(self.pool), size=_TRIED)])]
        candidates = np.unique(np.array(tried[:_TRIED]), axis=0)
        many = sum(int(of.sum()) for of in self.left)
        asked = [np.flatnonzero(of & (self.random.random(len(of)) * many < _JUDGES)) for of in self.left]
        shown = _by_vector(self.simulator, self.evidence.groups, asked, candidates)
        new = candidates[_greedy(shown, most)]
        if len(new):
            vectors = self.simulator.vectors(new)
            for group, left in zip(self.evidence.groups, self.left, strict=True):
                those = np.flatnonzero(left)
                left[those] = ~self.simulator.shown(group, those, vectors).any(axis=1)
            self.pool = np.concatenate([self.pool, new])
        return len(new)

    def _changed(self, bases: Inputs) -> Inputs:
        """Change some inputs of each vector: one, or up to all of them."""
        signal = self.network.signals[self.network.input.name]
        flat = bases.reshape(len(bases), -1).copy()
        share = 2.0 ** -self.random.uniform(0, np.log2(signal.size) + 1, (len(flat), 1))
        where = self.random.random(flat.shape) < share
        where[np.arange(len(flat)), self.random.integers(signal.size, size=len(flat))] = True
        low, high = int(signal.low[0]), int(signal.high[0])
        new = -flat if signal.bipolar else self.random.integers(low, high, flat.shape, endpoint=True)
        return np.where(where, new, flat).astype(bases.dtype).reshape(bases.shape)

    def _aimed(self) -> list[Inputs]:
        """Make vectors for neurons that have faults left, drawn by how many."""
        groups = [i for i, of in enumerate(self.evidence.groups) if of.kind in ("weight", "carry", "threshold")]
        numbers = np.array([int(self.left[i].sum()) for i in groups], float)
        if not numbers.any():
            return []
        made: list[Inputs] = []
        driven: dict[str, list[tuple[int, int, int]]] = {}
        bipolar = self.network.input.kind == "bipolar"
        for chosen in self.random.choice(groups, _AIMED, p=(share := np.sqrt(numbers)) / share.sum()):
            group, left = self.evidence.groups[chosen], np.flatnonzero(self.left[chosen])
            fault = int(self.random.choice(left))
            base = self.pool[self.random.integers(len(self.pool))]
            layer, low, high = self._wanted(group, fault)
            channel = int(group.channel[fault])
            summed = self.network[layer]
            settable = bipolar and summed.inputs == (self.network.input.name,)
            if settable and isinstance(summed, Dense) and weight_bits(summed.weight) <= 2:
                mine = left[group.channel[left] == channel]
                places = group.place[mine] if group.kind == "weight" else np.zeros(0, np.int64)
                made.append(self._set(summed, channel, places, low, high, base))
            elif self._path(layer):
                driven.setdefault(layer, []).append((channel, low, high))
            else:
                made.append(self._searched(layer, channel, low, high, base))
        for layer, goals in driven.items():
            made += self._driven(layer, np.array(goals))
        return made

    def _path(self, layer: str) -> list[Stage] | None:
        if layer not in self._paths:
            self._paths[layer] = stages(self.network, layer)
        return self._paths[layer]

    def _driven(self, layer: str, goals: IntArray) -> list[Inputs]:
        """Search backwards for goals, each a channel of a result and its range."""
        path = self._path(layer)
        assert path
        bases = self.pool[self.random.integers(len(self.pool), size=len(goals))]
        self.simulator.work += len(goals) * products(path)
        channel, low, high = goals.T
        found = drive(path, channel, low, high, bases.reshape(len(bases), -1), self.random)
        return list(found.astype(bases.dtype).reshape(bases.shape))

    def _wanted(self, group: Faults, fault: int) -> tuple[str, int, int]:
        """Return a result and the range in which its channel's value should be for a fault to make a difference."""
        network, channel = self.network, int(group.channel[fault])
        layer = network[group.layer]
        sign = layer if isinstance(layer, Threshold | MultiThreshold) else self._sign(layer)
        at = sign.inputs[0] if sign else layer.name
        signal, short = network.signals[at], int(group.value[fault])
        low, high = int(signal.low[channel]), int(signal.high[channel])
        reached = low + short if group.kind == "carry" else low
        if sign is None:
            return at, min(reached, high), high
        edge = int(self.random.choice(sign.threshold.reshape(len(sign.direction), -1)[channel]))
        edge += int(sign.direction[channel] < 0)  # the least value on its upper side
        if group.kind == "carry":
            return at, max(reached, edge), max(reached, edge + short - 1)
        return (at, edge, edge + signal.step - 1) if self.random.integers(2) else (at, edge - signal.step, edge - 1)

    def _sign(self, operation: Operation) -> Threshold | MultiThreshold | None:
        """Return the thresholds that take a layer's sums, perhaps added to others or pooled."""
        readers = self.network.consumers(operation.name)
        if len(readers) != 1 or not isinstance(readers[0], Threshold | MultiThreshold | Add | MaxPool2d | SumPool2d):
            return None
        reader = readers[0]
        return reader if isinstance(reader, Threshold | MultiThreshold) else self._sign(reader)

    def _set(self, dense: Dense, channel: int, places: IntArray, low: int, high: int, base: Inputs) -> Inputs:
        """Set a neuron's sum into a range by its own bits, all products at some places alike."""
        x, weight = base.ravel().copy(), dense.weight[channel]
        alike = self.random.choice([-1, 1])
        some = places[self.random.random(len(places)) < self.random.choice([0.5, 1.0])]
        x[some] = np.where(weight[some] == 0, x[some], alike * weight[some])
        free = np.setdiff1d(np.flatnonzero(weight), some)
        total = int(weight.astype(np.int64) @ x)
        goal = int(np.clip(total, low, high))
        turn = 1 if goal > total else -1
        able = self.random.permutation(free[weight[free] * x[free] == -turn])
        flipped = able[: -(-abs(goal - total) // 2)]
        x[flipped] *= -1
        return x.reshape(base.shape)

    def _searched(self, layer: str, channel: int, low: int, high: int, base: Inputs) -> Inputs:
        """Change inputs, a few at a time, towards a channel's value in a range."""
        for _ in range(_STEPS):
            around = np.concatenate([base[None], self._changed(np.repeat(base[None], _EACH, axis=0))])
            values = self.simulator.vectors(around).integers(layer)
            of = values.reshape(len(around), -1, values.shape[-1])[:, :, channel].astype(np.int64)
            distance = np.maximum(np.maximum(low - of, of - high), 0).min(axis=1)
            base = around[distance.argmin()]
            if distance.min() == 0:
                break
        return base


def _by_vector(simulator: Simulator, groups: tuple[Faults, ...], asked: Sequence[IntArray], vectors: Inputs) -> Bits:
    """Return which vector shows which of the faults asked for, by group: shape (faults, vectors)."""
    parts = []
    for first in range(0, len(vectors), _BLOCK):
        block = simulator.vectors(vectors[first : first + _BLOCK])
        words = [simulator.shown(group, which, block) for group, which in zip(groups, asked, strict=True)]
        parts.append(unpack_bits(np.concatenate(words), len(block)))
    return np.concatenate(parts, axis=1)


def _greedy(shown: Bits, count: int) -> IntArray:
    """Choose vectors, each the one that shows most of what those before it do not, until none shows more."""
    chosen: list[int] = []
    while len(chosen) < count:
        gain = shown.sum(axis=0)
        if not len(gain) or not gain.max():
            break
        chosen.append(int(gain.argmax()))
        shown = shown[~shown[:, chosen[-1]]]
    return np.array(chosen, np.int64)
