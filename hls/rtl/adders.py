"""Sums of many bits on carry chains: a graph of wide adders, the compressor that builds it, and its evaluation.

The only operator is the **absorbing adder**. On an FPGA with 6-input LUTs an adder spends one LUT per position, which
computes ``a XOR b`` from two of its six inputs. The other four are free: a bit of operand ``b`` may be any function of
five signals, so three positions of ``b`` take a whole count of five bits (``3 + 2·2`` or ``5·1`` fit into 0..7). With
the carry input, three LUTs take nine bits in and give four out: 0.6 LUTs for each bit removed, where a plain adder
needs more than 1 and a full adder built of LUTs needs 2. What limits this: operand ``a`` and the carry go straight to
the carry multiplexer, so they must be signals as they are, not their complement.

A *literal* is ``2 * signal + inverted``. Signal 0 is the constant 0, so the literals 0 and 1 are the constants. A
*heap* is the sum of some literals, listed by weight.
"""

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import IntArray

Columns = list[list[int]]  # Columns[c]: literals of weight 2**c; their sum is the value of the heap


@dataclass(frozen=True)
class Group:
    """Bits counted inside operand ``b``, modulo ``2**len(columns)``; ``columns[c]`` are literals of weight 2**c."""

    columns: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Adder:
    """``direct + groups + carry`` modulo 2**width.

    Attributes
    ----------
    first : int
        Signal of bit 0 of the sum; the other bits follow.
    direct : tuple of int
        One literal per position, not inverted (or a constant).
    groups : tuple of Group
        Side by side from position 0 on.
    carry : int
        The literal added at position 0, not inverted.
    width : int
        Bits of the sum.
    level : int
        Adders on the longest way from an input to this sum, itself included.
    """

    first: int
    direct: tuple[int, ...]
    groups: tuple[Group, ...]
    carry: int
    width: int
    level: int

    def literals(self) -> list[int]:
        """Everything that is added."""
        return [*self.direct, self.carry, *(bit for group in self.groups for column in group.columns for bit in column)]


@dataclass
class Graph:
    """Adders in topological order over `inputs` one-bit inputs (signals 1 to `inputs`)."""

    inputs: int
    adders: list[Adder] = field(default_factory=list)
    levels: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.levels = [0] * (1 + self.inputs)

    @property
    def depth(self) -> int:
        """Adders on the longest way."""
        return max((adder.level for adder in self.adders), default=0)

    def add(self, direct: Sequence[int], groups: Sequence[Group], carry: int, width: int) -> list[int]:
        """Append an adder.

        Returns
        -------
        list of int
            The literals of its sum, lowest first.
        """
        first = len(self.levels)
        adder = Adder(first, tuple(direct), tuple(groups), carry, width, 0)
        level = 1 + max(self.levels[bit >> 1] for bit in adder.literals())
        self.adders.append(replace(adder, level=level))
        self.levels += [level] * width
        return [2 * (first + i) for i in range(width)]

    def luts(self) -> int:
        """Estimate of the LUTs: one for each position whose operand ``b`` is not empty."""
        return sum(_luts(adder) for adder in self.adders)

    def evaluate(self, inputs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Value of every signal.

        Parameters
        ----------
        inputs : bool array, shape (inputs, vectors)

        Returns
        -------
        bool array, shape (signals, vectors)
        """
        signals = np.zeros((len(self.levels), inputs.shape[1]), bool)
        signals[1 : 1 + self.inputs] = inputs

        def value(literals: Iterable[int], weight: int) -> IntArray:
            bits = [signals[bit >> 1] ^ bool(bit & 1) for bit in literals]
            return np.sum(bits, axis=0, dtype=np.int64) << weight if bits else np.zeros(inputs.shape[1], np.int64)

        for adder in self.adders:
            total = value([adder.carry], 0)
            for i, bit in enumerate(adder.direct):
                total += value([bit], i)
            position = 0
            for group in adder.groups:
                count = sum(value(column, i) for i, column in enumerate(group.columns))
                total += (count & ((1 << len(group.columns)) - 1)) << position
                position += len(group.columns)
            for i in range(adder.width):
                signals[adder.first + i] = (total >> i) & 1
        return signals


def _luts(adder: Adder) -> int:
    functions = set()  # the positions of a sign's extension share one LUT
    position = 0
    for group in adder.groups:
        for k in range(len(group.columns)):
            if any(bit > 1 for column in group.columns[: k + 1] for bit in column):
                functions.add((adder.direct[position + k], k, group.columns[: k + 1]))
        position += len(group.columns)
    return len(functions)


Prices = tuple[float, ...]
"""How adders are chosen: the bits that one must remove for each of its LUTs to be built.

Tried from the first on until some adder is worth it; at the last one any adder is. High first prices make sums of few
LUTs and many levels, low ones the reverse.
"""

_PATIENCE = 0.9  # while bits are still being computed elsewhere, wait rather than build an adder below this price
_LATER_LUTS = 0.65  # LUTs that one bit left in a heap costs later


def compress(graph: Graph, columns: Columns, width: int, prices: Prices, uses: int = 0) -> Columns:
    """Add up a heap of bits with as few LUTs as a greedy choice finds.

    Parameters
    ----------
    graph : Graph
        Receives the adders.
    columns : list of lists of int
        Literals of each weight; not changed.
    width : int
        The sum is wanted modulo 2**width.
    prices : Prices
        How to choose the adders.
    uses : int
        0: down to one bit per column. Else the number of heaps that the result goes into: adders are built only where
        that is cheaper than leaving the work to each of them.

    Returns
    -------
    list of lists of int
        Columns (at most `width`) of the same sum modulo 2**width.
    """
    waiting: dict[int, list[tuple[int, int]]] = defaultdict(list)  # (column, literal) by level
    for c, column in enumerate(columns[:width]):
        for bit in column:
            waiting[graph.levels[bit >> 1]].append((c, bit))
    ready: list[_Ready] = [(deque(), deque()) for _ in range(width)]
    level = 0
    while True:
        for c, bit in waiting.pop(level, ()):
            ready[c][_needs_inverter(bit)].append(bit)
        worked = False
        for price in prices:
            if worked or (waiting and price < _PATIENCE) or (uses and price * uses * _LATER_LUTS < 1):
                break
            while step := _best_step(_profile(ready), price, price == prices[-1]):
                start, literals = _build(graph, ready, step)
                waiting[level + 1] += [(start + i, bit) for i, bit in enumerate(literals)]
                worked = True
        if not waiting:
            result = [[*plain, *inverted] for plain, inverted in ready]
            while result and not result[-1]:
                result.pop()
            return result
        level += 1


_Ready = tuple[deque[int], deque[int]]
"""Bits of one column that can be added now: as they are, and complements (which only operand ``b`` can take)."""


def _needs_inverter(bit: int) -> int:
    return bit & 1 if bit != 1 else 0


_Profile = tuple[tuple[int, int], ...]
"""How many bits of each column there are as they are, and how many complements."""


def _profile(ready: Sequence[_Ready]) -> _Profile:
    # More than eight bits of a kind in a column change no choice.
    return tuple((min(8, len(plain)), min(8, len(inverted))) for plain, inverted in ready)


class _OneAdder(NamedTuple):
    """An adder over some columns of a heap, without its literals."""

    start: int  # first column
    carry: int  # 1: a bit of the first column goes into the carry input
    groups: tuple[tuple[int, ...], ...]  # bits per column
    direct: tuple[int, ...]  # per column, 1: a bit of it goes into operand a
    width: int  # of the sum


# Bits per column of the groups that are not two smaller groups side by side.
_SHAPES: tuple[tuple[int, ...], ...] = (
    *((0,), (1,), (2, 0), (3, 0), (2, 1, 0), (2, 2, 0), (3, 1, 0), (3, 2, 0)),
    *((4, 0, 0), (4, 1, 0), (5, 0, 0), (5, 1, 0), (6, 0, 0)),
)
# At the top of a heap what overflows is not wanted, so larger counts fit.
_TOP_SHAPES = (*((a,) for a in range(2, 7)), *((a, b) for a in range(2, 7) for b in range(7 - a) if a + 2 * b > 3))


@lru_cache(1 << 17)
def _best_step(profile: _Profile, price: float, finishing: bool) -> _OneAdder | None:
    """The adder that removes the most bits beyond `price` for each of its LUTs; None if none does.

    When `finishing`, the best adder is taken however poor, as long as a column has two bits.
    """
    best, best_gain = None, -math.inf if finishing else 1e-9
    for start in range(len(profile)):
        for carry in range(1 + (profile[start][0] > 0)):
            plain, inverted = profile[start]
            if plain + inverted < 2:
                continue
            left = (*profile[:start], (plain - carry, inverted), *profile[start + 1 :])
            for gain, step in _chains(left, start, carry, price, finishing):
                if gain > best_gain + 1e-9:
                    best, best_gain = step, gain
    return best


def _chains(
    profile: _Profile, start: int, carry: int, price: float, finishing: bool
) -> Iterator[tuple[float, _OneAdder]]:
    """The best adder from one column on to each other column, and what it gains."""
    # reach[i]: gain, groups, direct and largest sum of the positions before i.
    reach: dict[int, tuple[float, tuple[tuple[int, ...], ...], tuple[int, ...], int]] = {start: (carry, (), (), carry)}
    top = len(profile)
    for i in range(start, top):
        if i not in reach:
            continue
        gain, groups, direct, largest = reach[i]
        for shape in _SHAPES if i + 2 < top else _SHAPES + _TOP_SHAPES:
            end = i + len(shape)
            if end > top or (end < top and shape in _TOP_SHAPES):
                continue
            a = _direct(profile[i:end], shape)
            taken = sum(shape) + sum(a or ())
            if a is None or not taken or (i == start and carry + shape[0] + a[0] < 2):
                continue
            value = gain + taken - len(shape) - (price * len(shape) if any(shape) else -1e-3 * finishing)
            if end not in reach or value > reach[end][0]:
                total = sum((count + d) << k for k, (count, d) in enumerate(zip(shape, a)))
                reach[end] = (value, (*groups, shape), (*direct, *a), largest + (total << (i - start)))
    del reach[start]
    for end, (gain, groups, direct, largest) in reach.items():
        width = end - start
        overflow = int(end < top and largest >> width > 0)
        yield gain - overflow, _OneAdder(start, carry, groups, direct, width + overflow)


def _direct(profile: _Profile, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Which positions of a group can have a bit in operand a, too; None if there are too few bits for the group."""
    direct = []
    inputs = 0
    for (plain, inverted), count in zip(profile, shape):
        inputs += count  # of the LUT, which sees the group's bits up to its own position
        if count > plain + inverted:
            return None
        direct.append(int(plain > 0 and count < plain + inverted and inputs < 6))
    return tuple(direct)


def _build(graph: Graph, ready: Sequence[_Ready], step: _OneAdder) -> tuple[int, list[int]]:
    """Take the bits of a step out of `ready` and add them; the first column of the sum, and its literals."""
    start, carry, shapes, direct, width = step
    carry_bit = ready[start][0].popleft() if carry else 0
    direct_bits = [ready[start + i][0].popleft() if d else 0 for i, d in enumerate(direct)]
    groups, position = [], start
    for shape in shapes:
        columns = []
        for k, count in enumerate(shape):
            plain, inverted = ready[position + k]
            columns.append(tuple((inverted or plain).popleft() for _ in range(count)))
        groups.append(Group(tuple(columns)))
        position += len(shape)
    return start, graph.add(direct_bits, groups, carry_bit, width)
