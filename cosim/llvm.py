"""LLVM code for tiles of sums: vectors, loops, memory."""

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils
from numpy.typing import NDArray

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def splat(builder: Any, vector: Any, value: Any) -> Any:
    """Return a vector of equal elements, of LLVM's type `vector`."""
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, I32(0))
    return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count))


def product(builder: Any, *terms: Any) -> Any:
    """Multiply integers."""
    return builder.mul(terms[0], product(builder, *terms[1:])) if len(terms) > 1 else terms[0]


def load(builder: Any, pointer: Any, vector: Any, offset: int, align: int = 0) -> Any:
    """Vector that starts at element `offset`."""
    place = builder.bitcast(builder.gep(pointer, [I64(offset)]), vector.as_pointer())
    return builder.load(place, align=align or vector.element.width // 8)


@contextmanager
def groups(builder: Any, start: Any, stop: Any, size: int) -> Iterator[tuple[Any, Any]]:
    """Split ``range(start, stop)`` into ranges of `size`."""
    with cgutils.for_range_slice(builder, start, stop, I64(size), I64) as (first, _):
        end = builder.add(first, I64(size))
        yield first, builder.select(builder.icmp_signed("<", end, stop), end, stop)


@dataclass(frozen=True)
class Patches:
    """Where a tile finds its patches: LLVM values.

    Attributes
    ----------
    starts : list
        Pointers to the first word of each row's first bit plane.
    planes, length
        Bit planes, and words of each.
    """

    starts: list[Any]
    planes: Any
    length: Any

    def load(self, builder: Any, start: Any, plane: Any, word: Any) -> Any:
        """One word of a row."""
        offset = builder.add(builder.mul(plane, self.length), word)
        return builder.load(builder.gep(start, [offset]))


class Accumulators:
    """A table of vectors that are added up, on the stack: LLVM promotes them to registers."""

    def __init__(self, builder: Any, rows: int, columns: int, vector: Any) -> None:
        self.builder, self.vector = builder, vector
        self._places = {
            place: cgutils.alloca_once(builder, vector) for place in itertools.product(range(rows), range(columns))
        }
        self.clear()

    def __getitem__(self, place: tuple[int, int]) -> Any:
        return self.builder.load(self._places[place])

    def clear(self) -> None:
        """Set all to zero."""
        for pointer in self._places.values():
            self.builder.store(self.vector([0] * self.vector.count), pointer)

    def double(self) -> None:
        """Double all."""
        for pointer in self._places.values():
            value = self.builder.load(pointer)
            self.builder.store(self.builder.add(value, value), pointer)

    def add(self, row: int, column: int, value: Any) -> None:
        """Add a vector to the one at `row`, `column`."""
        pointer = self._places[row, column]
        self.builder.store(self.builder.add(self.builder.load(pointer), value), pointer)

    def items(self) -> Iterator[tuple[int, int, Any]]:
        """Row, column, vector of each, row by row."""
        for row, column in self._places:
            yield row, column, self[row, column]


def aligned(shape: tuple[int, ...], dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """Zeros, aligned to 64 bytes (a cache line)."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    return memory[first : first + size].view(dtype).reshape(shape)
