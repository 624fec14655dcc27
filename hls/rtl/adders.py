"""Sums of many bits on carry chains: a graph of wide adders, its compressor, its evaluation and its Verilog.

The only operator is the **absorbing adder**. On an FPGA with 6-input LUTs an adder spends one LUT per position, and that
LUT computes ``a XOR b`` from two of its six inputs. The other four are free: operand ``b`` may be any function of five
signals, so each three positions of ``b`` hold a whole count of five bits (``3 + 2·2`` or ``5·1`` fit into 0..7). With the
carry input, three LUTs take nine bits in and give four out: 0.6 LUTs for each bit removed, where a plain adder costs more
than 1 and a full adder built of LUTs costs 2. What limits this: operand ``a`` and the carry go straight to the carry
multiplexer, so they must be signals as they are, not their complement.

A *literal* is ``2 * signal + inverted``. Signal 0 is the constant 0, so the literals 0 and 1 are the constants.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bnn.network import IntArray

Columns = list[list[int]]  # Columns[c]: literals of weight 2**c; their sum is the value of the heap


@dataclass(frozen=True)
class Group:
    """Some bits counted inside operand ``b``: ``columns[c]`` are literals of weight 2**c, counted modulo 2**len(columns)."""

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


def compress(graph: Graph, columns: Columns, width: int, uses: int = 0) -> Columns:
    """Add up a heap of bits with as few LUTs as a greedy choice finds.

    Parameters
    ----------
    graph : Graph
        Receives the adders.
    columns : list of lists of int
        Literals of each weight; not changed.
    width : int
        The sum is wanted modulo 2**width.
    uses : int
        0: down to one bit per column. Else the number of heaps that the result goes into: adders are built only where
        that is cheaper than leaving the work to each of them.

    Returns
    -------
    list of lists of int
        Columns (at most `width`) of the same sum modulo 2**width.
    """
    heap = [list(column) for column in columns[:width]]
    heap += [[] for _ in range(width - len(heap))]
    level = 0
    while True:
        ready = [[bit for bit in column if graph.levels[bit >> 1] <= level] for column in heap]
        waiting = any(len(a) < len(b) for a, b in zip(ready, heap))
        done = False
        for price in _PRICES:
            if done or (waiting and price < _PATIENCE) or (uses and price * uses * _LATER_LUTS < 1):
                break
            while step := _best_step(_profile(graph, ready), price, price == _PRICES[-1]):
                _apply(graph, ready, heap, step)
                done = True
        if all(len(column) <= 1 for column in heap) or not (done or waiting):
            while heap and not heap[-1]:
                heap.pop()
            return heap
        level += 1


# Bits that an adder must remove for each LUT to be worth it, tried from the best adders down to any at all.
_PRICES = (1.4, 1.2, 0.99, 0.7, 0.4, 0.01)
_PATIENCE = 0.9  # while bits are still being computed elsewhere, wait rather than build an adder below this price
_LATER_LUTS = 0.65  # LUTs that one bit left in a heap costs later


def _profile(graph: Graph, ready: Columns) -> tuple[tuple[int, int], ...]:
    # More than eight bits of a kind in a column change no choice.
    return tuple(
        (min(8, sum(not bit & 1 or bit == 1 for bit in column)), min(8, sum(bit & 1 and bit != 1 for bit in column)))
        for column in ready
    )


Step = tuple[int, int, tuple[tuple[int, ...], ...], tuple[int, ...], int]
"""First column, carry (0 or 1), bits per column of each group, direct (0 or 1) per position, width of the sum."""


def _group_shapes() -> list[tuple[int, ...]]:
    shapes = [(0,), (1,), (2, 0), (3, 0), (1, 1, 0), (2, 1, 0)]
    for a in range(7):
        for b in range(4):
            for c in range(2):
                if 3 <= a + b + c <= 6 and 3 < a + 2 * b + 4 * c <= 7:
                    shapes.append((a, b, c))
    return shapes


_SHAPES = _group_shapes()
_TOP_SHAPES = [(n,) for n in range(2, 7)] + [(a, b) for a in range(7) for b in range(7 - a) if a + 2 * b > 3]
"""Groups that only fit at the top of a heap, where what overflows is not wanted."""


@cache
def _best_step(profile: tuple[tuple[int, int], ...], price: float, finishing: bool) -> Step | None:
    """The adder that removes the most bits beyond `price` per LUT from columns of (plain, inverted) bits, or None."""
    best: tuple[float, Step] | None = None
    size = len(profile)
    for start in range(size):
        if sum(profile[start]) < 2:
            continue
        for carry in (0, 1):
            if profile[start][0] < carry:
                continue
            # reach[i]: best (gain, groups, direct, largest sum) of the positions from start to before i.
            reach: dict[int, tuple[float, tuple[tuple[int, ...], ...], tuple[int, ...], int]] = {
                start: (carry, (), (), carry)
            }
            for i in range(start, size):
                if i not in reach:
                    continue
                gain, groups, direct, largest = reach[i]
                for shape in _SHAPES if i + 2 < size else _SHAPES + [s for s in _TOP_SHAPES if i + len(s) == size]:
                    end = i + len(shape)
                    if end > size:
                        continue
                    a = []
                    inputs = 0
                    for k, count in enumerate(shape):
                        plain, inverted = profile[i + k]
                        if i == start and k == 0:
                            plain -= carry
                        inputs += count
                        if count > plain + inverted or inputs > 6:
                            break
                        a.append(int(plain > 0 and count < plain + inverted and inputs < 6))
                    else:
                        if not any(shape) and not any(a):
                            continue
                        luts = len(shape) if any(shape) else 0
                        value = gain + sum(shape) + sum(a) - len(shape) - price * luts
                        value += 1e-3 * finishing * (not any(shape))
                        if end not in reach or value > reach[end][0]:
                            total = sum((count + d) << k for k, (count, d) in enumerate(zip(shape, a)))
                            reach[end] = (value, (*groups, shape), (*direct, *a), largest + (total << (i - start)))
            for end, (gain, groups, direct, largest) in reach.items():
                width = end - start
                overflow = int(largest >> width > 0 and end < size)
                if end > start and gain - overflow > 1e-9 and (best is None or gain - overflow > best[0] + 1e-9):
                    best = gain - overflow, (start, carry, groups, direct, width + overflow)
    return best[1] if best else None


def _apply(graph: Graph, ready: Columns, heap: Columns, step: Step) -> None:
    """Build the adder of a step: take its bits out of `ready` and `heap`, put its sum into `heap`."""
    start, carry, shapes, direct, width = step

    def take(column: int, plain: bool) -> int:
        bits = ready[column]
        # Operand b takes inverted bits first: nothing else can.
        pick = next((i for i, bit in enumerate(bits) if (not bit & 1 or bit == 1) == plain), 0)
        bit = bits.pop(pick)
        heap[column].remove(bit)
        return bit

    carry_bit = take(start, True) if carry else 0
    direct_bits = [take(start + i, True) if d else 0 for i, d in enumerate(direct)]
    groups, position = [], start
    for shape in shapes:
        groups.append(Group(tuple(tuple(take(position + k, False) for _ in range(n)) for k, n in enumerate(shape))))
        position += len(shape)
    for i, bit in enumerate(graph.add(direct_bits, groups, carry_bit, width)):
        heap[start + i].append(bit)
