"""Many sums over the same inputs, with the work shared between them.

Take h rows of the matrix. A column shows them one of only 2**h patterns of signs, 2**(h-1) up to the sign of the whole
column: the columns of one pattern are a *cell*, and their sum is common to all h rows. So each column is added once for
h rows instead of once for each, and the rows are sums and differences of the cells (the "method of four Russians",
transposed). This repeats downwards: the cells of four of the rows are sums of cells of all eight, the cells of two rows
sums of cells of the four, and one row is the sum or the difference of the two cells of a pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xnorflow.hls.rtl.adders import Columns, Graph, Group, Prices, compress

Shape = tuple["Shape", ...] | int
"""How a group of rows is split: 1 is one row, a tuple its parts."""


@dataclass(frozen=True)
class Element:
    """One input as the hardware has it: `bits` signals from `first` on, two's complement where `signed`."""

    first: int
    bits: int
    signed: bool

    @property
    def low(self) -> int:
        """Smallest value."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest value."""
        return (1 << self.bits - self.signed) - 1


@dataclass
class Partial:
    """A sum under way: the heap of `columns` plus `offset`, known to lie in `low` to `high`."""

    columns: Columns
    offset: int = 0
    low: int = 0
    high: int = 0

    def accumulate(self, other: "Partial", sign: int) -> None:
        """Add or subtract another sum."""
        self.columns += [[] for _ in range(len(other.columns) - len(self.columns))]
        self.offset += sign * other.offset
        for c, column in enumerate(other.columns):
            if sign > 0:
                self.columns[c] += column
            else:  # -b = (1 - b) - 1
                self.columns[c] += [bit ^ 1 for bit in column]
                self.offset -= len(column) << c
        self.low += min(sign * other.low, sign * other.high)
        self.high += max(sign * other.low, sign * other.high)

    def width(self) -> int:
        """Bits that hold the heap without its offset."""
        return max(1, (self.high - self.offset).bit_length())


@dataclass(frozen=True)
class Row:
    """One wanted sum: weights in {-1, 0, +1} per input, and an integer added to it."""

    weights: NDArray[np.int8]
    addend: int = 0


@dataclass(frozen=True)
class Number:
    """Literals of a two's complement (`signed`) or unsigned number, lowest first."""

    bits: tuple[int, ...]
    signed: bool

    def extend(self, width: int) -> list[int]:
        """The lowest `width` bits of the number."""
        top = self.bits[-1] if self.signed else 0
        return [*self.bits[:width], *[top] * (width - len(self.bits))]


def number_bits(low: int, high: int) -> int:
    """Width of a number: unsigned if it is never negative, else two's complement."""
    if low < 0:
        return max(high.bit_length() if high > 0 else 0, (-low - 1).bit_length()) + 1
    return max(1, high.bit_length())


def finish(graph: Graph, partial: Partial, addend: int, prices: Prices) -> Number:
    """The number ``partial + addend``, in as many bits as its range needs."""
    low, high = partial.low + addend, partial.high + addend
    width = number_bits(low, high)
    columns = [list(column) for column in partial.columns[:width]] + [[] for _ in range(width - len(partial.columns))]
    constant = (partial.offset + addend) & ((1 << width) - 1)
    for c in range(width):
        if constant >> c & 1:
            columns[c].append(1)
    reduced = compress(graph, columns, width, prices)
    bits = [column[0] if column else 0 for column in reduced]
    return Number(tuple(bits + [0] * (width - len(bits))), low < 0)


def shared_sums(
    graph: Graph, elements: Sequence[Element], rows: Sequence[Row], shape: Shape, prices: Prices
) -> list[Number]:
    """Add up a few rows together.

    Parameters
    ----------
    graph : Graph
        Receives the adders.
    elements : sequence of Element
        The inputs.
    rows : sequence of Row
        As many as `shape` has.
    shape : Shape
        How to split them.
    prices : Prices
        How to choose the adders.

    Returns
    -------
    list of Number
        ``sum(weights * inputs) + addend`` of each row.
    """
    matrix = np.stack([row.weights for row in rows])
    used = np.flatnonzero(matrix.any(0))
    patterns, sign = _normalise(matrix[:, used])
    cells: dict[tuple[int, ...], Partial] = {}
    for pattern, s, k in zip(map(tuple, patterns.T.tolist()), sign.tolist(), used.tolist()):
        cell = cells.setdefault(pattern, Partial([]))
        cell.accumulate(_partial(elements[k]), s)
    return _split(graph, cells, rows, shape, prices)


def _normalise(patterns: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Columns with their first non-zero entry made +1, and the sign taken out."""
    first = (patterns != 0).argmax(0)
    sign = np.take_along_axis(patterns, first[None], 0)[0]
    return patterns * sign, sign


def _partial(element: Element) -> Partial:
    columns = [[2 * (element.first + i)] for i in range(element.bits)]
    if element.signed:
        columns[-1][0] ^= 1  # -2**c * b = 2**c * (1 - b) - 2**c
    return Partial(columns, element.low, element.low, element.high)


def size(shape: Shape) -> int:
    """Rows of a shape."""
    return 1 if isinstance(shape, int) else sum(map(size, shape))


def _split(
    graph: Graph, cells: dict[tuple[int, ...], Partial], rows: Sequence[Row], shape: Shape, prices: Prices
) -> list[Number]:
    if isinstance(shape, int):
        return [finish(graph, cells.get((1,), Partial([])), rows[0].addend, prices)]
    if shape == (1, 1) and set(cells) == {(1, 1), (1, -1)}:
        return _pair(graph, cells[1, 1], cells[1, -1], rows, prices)
    for cell in cells.values():
        cell.columns = compress(graph, cell.columns, cell.width(), prices, uses=len(shape))
    numbers = []
    start = 0
    for part in shape:
        end = start + size(part)
        merged: dict[tuple[int, ...], Partial] = {}
        for pattern, cell in cells.items():
            sub = pattern[start:end]
            sign = next((s for s in sub if s), 0)
            if sign:
                key = tuple(sign * s for s in sub)
                merged.setdefault(key, Partial([])).accumulate(cell, sign)
        numbers += _split(graph, merged, rows[start:end], part, prices)
        start = end
    return numbers


def _pair(graph: Graph, same: Partial, other: Partial, rows: Sequence[Row], prices: Prices) -> list[Number]:
    """``same + other`` and ``same - other``, each plus its row's addend.

    The addends cost no adder of their own: with a = same + c and b = other + d the results are a + b + carry and
    a + ~b + carry, where c, d and the two carries suffice for any two constants.
    """
    first, second = rows[0].addend, rows[1].addend + 1
    carries = ((first + second) & 1, 0)
    c = (first + second - carries[0]) // 2
    d = first - c - carries[0]
    a, b = finish(graph, same, c, prices), finish(graph, other, d, prices)
    numbers = []
    for row, sign, carry in zip(rows, (1, -1), carries):
        low = same.low + min(sign * other.low, sign * other.high) + row.addend
        high = same.high + max(sign * other.low, sign * other.high) + row.addend
        width = number_bits(low, high)
        groups = [Group(((bit ^ (sign < 0),),)) for bit in b.extend(width)]
        numbers.append(Number(tuple(graph.add(a.extend(width), groups, carry, width)), low < 0))
    return numbers
