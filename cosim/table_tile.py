"""Tiles that look the count of a few bits up in a table, by a shuffle of bytes."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils
from numpy.typing import NDArray

from xnorflow.bnn.packing import WORD, pack_bits, words
from xnorflow.cosim.llvm import I8, I16, I32, I64, Accumulators, Patches, aligned, groups, load, product

#: Bits of a patch and of a weight that one look-up takes.
NIBBLE = 4
#: Look-ups of a word.
_STEPS = WORD // NIBBLE
#: Look-ups whose counts 4 bits hold; words whose counts a byte holds; and (a multiple) whose counts 16 bits hold.
LOOKUPS, _GROUP, _SEGMENT = 3, 3, 1020
#: The lower 4 bits of each byte of a word.
_LOW = 0x0F0F_0F0F_0F0F_0F0F


@dataclass(frozen=True)
class TableTile:
    """Look up how 4 bits of two patches differ from those of `lanes` neurons, by one shuffle.

    The 4 bits of the two patches choose a table of 16 bytes. Byte w holds ``popcount(a ^ w)`` in its lower half and
    ``popcount(b ^ w)`` in its upper one, and the neurons' 4 bits are the indices of the shuffle. Three look-ups are
    added before a half can overflow. Then the upper halves are added up, and so are whole bytes, modulo 256: what the
    upper halves do not account for is what the lower ones counted.

    Binary weights take one pass. Weights with zeros among them take two: the bits of the patch where the weight is -1,
    and the bits of its complement where it is +1.

    Attributes
    ----------
    name : str
    needs : frozenset of str
        LLVM's names of the machine's features.
    lanes, vectors, rows : int
        Bytes in a vector; vectors and patches in a tile.
    shuffle : str
        LLVM's name of the shuffle.
    """

    name: str
    needs: frozenset[str]
    lanes: int
    vectors: int
    rows: int
    shuffle: str

    @property
    def neurons(self) -> int:
        """Neurons in a tile."""
        return self.lanes * self.vectors

    def lay_out(self, weight: NDArray[np.int8]) -> NDArray[np.uint8]:
        """4 bits of a block's neurons side by side, in a byte each: shape (blocks, passes, words, 16, neurons).

        Neuron i of a vector is in byte 2i, neuron i of its upper half in byte 2i + 1: so they are in order when even
        and odd bytes are split.
        """
        blocks, length = len(weight) // self.neurons, words(weight.shape[1])
        signs = (weight > 0,) if weight.all() else (weight < 0, weight > 0)
        laid = aligned((blocks, len(signs), length, _STEPS, self.neurons), np.uint8)
        for part, bits in enumerate(signs):
            octets = pack_bits(bits).view(np.uint8)
            nibbles = np.stack([octets & 15, octets >> 4], axis=-1)
            shape = (blocks, self.vectors, 2, self.lanes // 2, length * _STEPS)
            laid[:, part] = nibbles.reshape(shape).transpose(0, 4, 1, 3, 2).reshape(laid[:, part].shape)
        return laid

    def limit_type(self, largest: int) -> type[np.signedinteger[Any]]:
        """Return the type in which counts up to `largest` are compared."""
        return next(kind for kind in (np.int16, np.int32, np.int64) if largest <= np.iinfo(kind).max)

    def count(self, builder: Any, patches: Patches, weight: Any, shape: Any, block: Any, kind: Any) -> Accumulators:
        """See :meth:`xnorflow.cosim.word_tile.WordTile.count`."""
        octets, pairs = ir.VectorType(I8, self.lanes), ir.VectorType(I16, self.lanes // 2)
        tables = cgutils.global_constant(builder, "differing_bits", _TABLES)
        tables.align = 64
        tables = builder.bitcast(tables, I8.as_pointer())
        rows, passes = len(patches.starts), shape[1]
        couples = -(-rows // 2)
        step = _STEPS * self.neurons
        both = Accumulators(builder, couples, self.vectors, octets)
        upper = Accumulators(builder, couples, self.vectors, octets)
        halves = Accumulators(builder, rows, 2 * self.vectors, pairs)
        sums = Accumulators(builder, rows, 2 * self.vectors, ir.VectorType(kind, self.lanes // 2))

        def add(first: Any, table: Any, plane: Any, word: Any) -> None:
            here = builder.gep(first, [builder.mul(word, I64(step))])
            bits = [patches.load(builder, start, plane, word) for start in patches.starts]
            offsets = [_Offsets(builder, *couple) for couple in zip(bits[::2], bits[1::2] or bits, strict=True)]
            for lookups in (range(i, min(i + LOOKUPS, _STEPS)) for i in range(0, _STEPS, LOOKUPS)):
                for couple, offset in enumerate(offsets):
                    chosen = [
                        _everywhere(builder, builder.gep(table, [offset.at(step)]), self.lanes) for step in lookups
                    ]
                    for j in range(self.vectors):
                        indices = (load(builder, here, octets, i * self.neurons + j * self.lanes) for i in lookups)
                        counts = [self.look_up(builder, *each) for each in zip(chosen, indices, strict=True)]
                        for kept, value in zip((both, upper), add_up(builder, counts), strict=True):
                            kept.add(couple, j, value)

        def fold_bytes() -> None:
            for couple, j, high in upper.items():
                low = builder.sub(both[couple, j], builder.shl(high, high.type([NIBBLE] * self.lanes)))
                for row, value in zip(range(2 * couple, rows), (low, high), strict=False):
                    value = builder.bitcast(value, pairs)
                    halves.add(row, 2 * j, builder.and_(value, pairs([255] * pairs.count)))
                    halves.add(row, 2 * j + 1, builder.lshr(value, pairs([8] * pairs.count)))

        def count_segment(segment: Any, end: Any, first: Any, table: Any, plane: Any) -> None:
            halves.clear()
            with groups(builder, segment, end, _GROUP) as (start, stop):
                both.clear()
                upper.clear()
                with cgutils.for_range_slice(builder, start, stop, I64(1), I64) as (word, _):
                    add(first, table, plane, word)
                fold_bytes()
            for row, i, value in halves.items():
                sums.add(row, i, value if kind == I16 else builder.zext(value, sums.vector))

        with cgutils.for_range(builder, patches.planes) as plane:
            sums.double()
            with cgutils.for_range(builder, passes) as part:
                number = builder.add(builder.mul(block, passes), part.index)
                first = builder.gep(weight, [product(builder, number, patches.length, I64(step))])
                one_of = builder.select(builder.icmp_signed("==", passes, I64(1)), I64(0), I64(1))
                table = builder.gep(tables, [builder.mul(builder.add(part.index, one_of), I64(_TABLE_BYTES))])
                with groups(builder, I64(0), patches.length, _SEGMENT) as (segment, end):
                    count_segment(segment, end, first, table, plane.index)
        return sums

    def look_up(self, builder: Any, table: Any, indices: Any) -> Any:
        """Shuffle each 16 bytes of `table` by 16 `indices`."""
        octets = ir.VectorType(I8, self.lanes)
        shuffle = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(octets, [octets, octets]), self.shuffle
        )
        return builder.call(shuffle, [table, indices])


class _Offsets:
    """Offsets of the tables for 4 bits of two words at a time."""

    def __init__(self, builder: Any, a: Any, b: Any) -> None:
        low, four = I64(_LOW), I64(NIBBLE)
        self._builder = builder
        self._parts = (
            builder.or_(builder.and_(a, low), builder.shl(builder.and_(b, low), four)),
            builder.or_(builder.and_(builder.lshr(a, four), low), builder.and_(b, builder.not_(low))),
        )

    def at(self, step: int) -> Any:
        """Offset of the table for bits ``4 * step`` and up: their byte, times the table's 16 bytes."""
        by = step // 2 * 8 - NIBBLE
        move = self._builder.lshr if by > 0 else self._builder.shl
        return self._builder.and_(move(self._parts[step % 2], I64(abs(by))), I64(255 << NIBBLE))


def _everywhere(builder: Any, pointer: Any, lanes: int) -> Any:
    """Load 16 bytes into each 16 lanes of a vector."""
    table = load(builder, pointer, ir.VectorType(I8, 16), 0, align=16)
    return builder.shuffle_vector(table, table, ir.Constant(ir.VectorType(I32, lanes), [k % 16 for k in range(lanes)]))


def add_up(builder: Any, counts: list[Any]) -> tuple[Any, Any]:
    """Sum of up to 3 look-ups, and the upper 4 bits of its bytes."""
    total = functools.reduce(builder.add, counts)
    return total, builder.lshr(total, total.type([NIBBLE] * total.type.count))


def _table(differ: Callable[[int, int], int]) -> list[int]:
    """Counts of differing bits of (b, a) and w, w fastest: b in the upper half of a byte."""
    fours = range(1 << NIBBLE)
    return [
        differ(a, w).bit_count() | differ(b, w).bit_count() << NIBBLE for b, a, w in itertools.product(fours, repeat=3)
    ]


#: Tables for binary weights, for weights of -1, for weights of +1.
_DIFFER = (lambda x, w: x ^ w, lambda x, w: x & w, lambda x, w: ~x & w)
_TABLE_BYTES = 16**3
_TABLES = ir.Constant(ir.ArrayType(I8, len(_DIFFER) * _TABLE_BYTES), list(itertools.chain(*map(_table, _DIFFER))))
