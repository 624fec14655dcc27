"""The golden model's sums: XNOR, mask and popcount of packed bits, compiled by numba for what the machine has.

A tile of sums stays in registers: a few patches times some neurons, which lie side by side in the lanes of a vector.
How a tile counts differing bits depends on the machine (:data:`PATH`, the first of :data:`PATHS` that it can run):

- :class:`WordTile` XORs a patch's word, in every lane, with words of different neurons, and counts the bits of each
  lane. With AVX-512 VPOPCNTDQ that is one ``vpternlogq``, one ``vpopcntq`` and one ``vpaddq`` for 8 words. A machine
  that counts bits of bytes only (NEON) adds up bytes, and folds them late.
- :class:`TableTile` looks 4 bits of 16, 32 or 64 neurons up at once: a byte shuffle takes the table of a patch's 4
  bits, ``popcount(patch ^ weights)`` for each of 16 possible weights, and the neurons' 4 bits as its indices. One
  shuffle and one addition of bytes do what XOR and popcount do in eight operations, where the machine has no popcount
  of vectors (AVX2).

``NUMBA_CPU_FEATURES`` forces a lower path: ``-avx512f``, ``-avx2`` or ``-ssse3`` takes away what its name says and all
that builds on it. The results are the same.

Both are written in LLVM's own vector types, because no loop of Python makes LLVM keep a tile of sums in registers.
"""

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numpy.typing import NDArray

from xnorflow.bnn.packing import WORD, pack_bits, words
from xnorflow.cosim.bitstream import Integers, Octets, Words, splat

#: numba's own type has the intrinsics called with their typing context.
_intrinsic: Any = intrinsic

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))

#: Bits of a patch and of a weight that one look-up takes.
_NIBBLE = 4


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


@dataclass(frozen=True)
class WordTile:
    """Count bits of whole words, the same word of `lanes` neurons in one vector.

    Attributes
    ----------
    name : str
    needs : frozenset of str
        LLVM's names of the machine's features.
    lanes, vectors, rows : int
        Words in a vector; vectors and patches in a tile.
    by_bytes : bool
        Add up the bits of bytes, not of words, and fold them to words before they can overflow.
    """

    name: str
    needs: frozenset[str]
    lanes: int
    vectors: int
    rows: int
    by_bytes: bool

    @property
    def neurons(self) -> int:
        """Neurons in a tile."""
        return self.lanes * self.vectors

    def lay_out(self, weight: NDArray[np.int8]) -> NDArray[np.uint64]:
        """Signs and masks of word k of a block's neurons side by side: shape (blocks, words, 2, neurons)."""
        blocks = len(weight) // self.neurons
        laid = _aligned((blocks, words(weight.shape[1]), 2, self.neurons), np.uint64)
        for part, bits in enumerate((weight > 0, weight != 0)):
            laid[:, :, part] = pack_bits(bits).reshape(blocks, self.neurons, -1).transpose(0, 2, 1)
        return laid

    def limit_type(self, largest: int) -> type[np.signedinteger[Any]]:
        """Return the type in which counts up to `largest` are compared."""
        return np.int64

    def count(self, builder: Any, patches: Patches, weight: Any, shape: Any, block: Any, kind: Any) -> list[list[Any]]:
        """Count a tile's differing bits: vectors of LLVM's integers `kind`, [row][vector], neurons in order."""
        vector = ir.VectorType(_I64, self.lanes)
        octets = ir.VectorType(_I8, 8 * self.lanes)
        counted = octets if self.by_bytes else vector
        popcount = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(counted, [counted]), f"llvm.ctpop.v{counted.count}i{counted.element.width}"
        )
        first = builder.gep(weight, [_product(builder, block, patches.length, _I64(2 * self.neurons))])
        sums = _Sums(builder, len(patches.starts), self.vectors, vector)
        bytes_ = _Sums(builder, len(patches.starts), self.vectors, octets) if self.by_bytes else None

        def add(plane: Any, word: Any) -> None:
            here = builder.gep(first, [builder.mul(word, _I64(2 * self.neurons))])
            signs, masks = (
                [_load(builder, here, vector, part + i * self.lanes) for i in range(self.vectors)]
                for part in (0, self.neurons)
            )
            for row, start in enumerate(patches.starts):
                bits = splat(builder, vector, patches.load(builder, start, plane, word))
                for i, (sign, mask) in enumerate(zip(signs, masks, strict=True)):
                    differ = builder.and_(builder.xor(bits, sign), mask)
                    (bytes_ or sums).add(row, i, builder.call(popcount, [builder.bitcast(differ, counted)]))

        with cgutils.for_range(builder, patches.planes) as plane:
            sums.double()
            if bytes_ is None:
                with cgutils.for_range(builder, patches.length) as word:
                    add(plane.index, word.index)
            else:
                with _groups(builder, _I64(0), patches.length, 255 // 8) as (start, stop):
                    bytes_.clear()
                    with cgutils.for_range_slice(builder, start, stop, _I64(1), _I64) as (word, _):
                        add(plane.index, word)
                    for row, i, value in bytes_.items():
                        sums.add(row, i, _fold(builder, value, vector))
        return sums.values(kind)


@dataclass(frozen=True)
class TableTile:
    """Look the count of 4 differing bits up by a byte shuffle, `lanes` neurons in one vector.

    Binary weights take one look-up: ``popcount(x ^ w)``. Weights with zeros among them take two: the bits of x where
    the weight is -1, and the bits of ~x where it is +1.

    Attributes
    ----------
    name, needs, vectors, rows
        See :class:`WordTile`.
    lanes : int
        Bytes in a vector.
    shuffle : str
        LLVM's name of the shuffle.
    """

    name: str
    needs: frozenset[str]
    lanes: int
    vectors: int
    rows: int
    shuffle: str

    #: Look-ups of a word.
    _STEPS = WORD // _NIBBLE
    #: Words whose counts a byte holds, and (a multiple) whose counts 16 bits hold.
    _GROUP, _SEGMENT = 3, 1020

    @property
    def neurons(self) -> int:
        """Neurons in a tile."""
        return self.lanes * self.vectors

    def lay_out(self, weight: NDArray[np.int8]) -> NDArray[np.uint8]:
        """4 bits of a block's neurons side by side, in a byte each: shape (blocks, look-ups, words, 16, neurons).

        Neuron i of a vector is in byte 2i, neuron i of its upper half in byte 2i + 1: so they are in order when even
        and odd bytes are split.
        """
        blocks, length = len(weight) // self.neurons, words(weight.shape[1])
        signs = (weight > 0,) if weight.all() else (weight < 0, weight > 0)
        laid = _aligned((blocks, len(signs), length, self._STEPS, self.neurons), np.uint8)
        for part, bits in enumerate(signs):
            octets = pack_bits(bits).view(np.uint8)
            nibbles = np.stack([octets & 15, octets >> 4], axis=-1)
            shape = (blocks, self.vectors, 2, self.lanes // 2, length * self._STEPS)
            laid[:, part] = nibbles.reshape(shape).transpose(0, 4, 1, 3, 2).reshape(laid[:, part].shape)
        return laid

    def limit_type(self, largest: int) -> type[np.signedinteger[Any]]:
        """Return the type in which counts up to `largest` are compared."""
        return next(kind for kind in (np.int16, np.int32, np.int64) if largest <= np.iinfo(kind).max)

    def count(self, builder: Any, patches: Patches, weight: Any, shape: Any, block: Any, kind: Any) -> list[list[Any]]:
        """See :meth:`WordTile.count`."""
        octets = ir.VectorType(_I8, self.lanes)
        shuffle = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(octets, [octets, octets]), self.shuffle
        )
        tables = cgutils.global_constant(builder, "differing_bits", _TABLES)
        tables.align = 64
        tables = builder.bitcast(tables, _I8.as_pointer())
        rows, parts = len(patches.starts), shape[1]
        step = self._STEPS * self.neurons
        bytes_ = _Sums(builder, rows, self.vectors, octets)
        halves = _Sums(builder, rows, 2 * self.vectors, ir.VectorType(_I16, self.lanes // 2))
        sums = _Sums(builder, rows, 2 * self.vectors, ir.VectorType(kind, self.lanes // 2))

        def add(first: Any, table: Any, plane: Any, word: Any) -> None:
            here = builder.gep(first, [builder.mul(word, _I64(step))])
            bits = [patches.load(builder, start, plane, word) for start in patches.starts]
            for i in range(self._STEPS):
                indices = [
                    _load(builder, here, octets, i * self.neurons + j * self.lanes) for j in range(self.vectors)
                ]
                for row, value in enumerate(bits):
                    # Moved to bits 4 to 7, the 4 bits are the offset of a table of 16 bytes.
                    move, by = (builder.lshr, i - 1) if i else (builder.shl, 1)
                    offset = builder.and_(move(value, _I64(by * _NIBBLE)), _I64(15 << _NIBBLE))
                    chosen = _load(builder, builder.gep(table, [offset]), ir.VectorType(_I8, 16), 0, align=16)
                    everywhere = ir.Constant(ir.VectorType(_I32, self.lanes), [k % 16 for k in range(self.lanes)])
                    chosen = builder.shuffle_vector(chosen, chosen, everywhere)
                    for j, index in enumerate(indices):
                        bytes_.add(row, j, builder.call(shuffle, [chosen, index]))

        def fold(segment: Any, end: Any, first: Any, table: Any, plane: Any) -> None:
            halves.clear()
            with _groups(builder, segment, end, self._GROUP) as (start, stop):
                bytes_.clear()
                with cgutils.for_range_slice(builder, start, stop, _I64(1), _I64) as (word, _):
                    add(first, table, plane, word)
                for row, i, value in bytes_.items():
                    pairs = builder.bitcast(value, halves.vector)
                    halves.add(row, 2 * i, builder.and_(pairs, halves.vector([255] * halves.vector.count)))
                    halves.add(row, 2 * i + 1, builder.lshr(pairs, halves.vector([8] * halves.vector.count)))
            for row, i, value in halves.items():
                sums.add(row, i, value if kind == _I16 else builder.zext(value, sums.vector))

        with cgutils.for_range(builder, patches.planes) as plane:
            sums.double()
            with cgutils.for_range(builder, parts) as part:
                number = builder.add(builder.mul(block, parts), part.index)
                first = builder.gep(weight, [_product(builder, number, patches.length, _I64(step))])
                one_of = builder.select(builder.icmp_signed("==", parts, _I64(1)), _I64(0), _I64(1))
                table = builder.gep(tables, [builder.mul(builder.add(part.index, one_of), _I64(256))])
                with _groups(builder, _I64(0), patches.length, self._SEGMENT) as (segment, end):
                    fold(segment, end, first, table, plane.index)
        return sums.values(kind)


_TABLES = ir.Constant(
    ir.ArrayType(_I8, 3 * 256),
    [
        count.bit_count()
        for differ in (lambda x, w: x ^ w, lambda x, w: x & w, lambda x, w: ~x & w)
        for x, w in itertools.product(range(16), repeat=2)
        for count in (differ(x, w),)
    ],
)


class _Sums:
    """A tile of vectors, on the stack: LLVM promotes them to registers."""

    def __init__(self, builder: Any, rows: int, columns: int, vector: Any) -> None:
        self.builder, self.vector = builder, vector
        self._places = [[cgutils.alloca_once(builder, vector) for _ in range(columns)] for _ in range(rows)]
        self.clear()

    def clear(self) -> None:
        for place in itertools.chain(*self._places):
            self.builder.store(self.vector([0] * self.vector.count), place)

    def double(self) -> None:
        for place in itertools.chain(*self._places):
            self.builder.store(
                self.builder.shl(self.builder.load(place), self.vector([1] * self.vector.count)), place
            )

    def add(self, row: int, column: int, value: Any) -> None:
        place = self._places[row][column]
        self.builder.store(self.builder.add(self.builder.load(place), value), place)

    def items(self) -> Iterator[tuple[int, int, Any]]:
        for row, places in enumerate(self._places):
            for column, place in enumerate(places):
                yield row, column, self.builder.load(place)

    def values(self, kind: Any) -> list[list[Any]]:
        """Return all as vectors of the integers `kind`, [row][column]."""
        return [[_resize(self.builder, self.builder.load(place), kind) for place in places] for places in self._places]


def _resize(builder: Any, value: Any, kind: Any) -> Any:
    """Cut a vector's counts to the integers `kind`."""
    vector = ir.VectorType(kind, value.type.count)
    return value if value.type == vector else builder.trunc(value, vector)


def _fold(builder: Any, octets: Any, vector: Any) -> Any:
    """Sum of the bytes of each word."""
    value = octets
    for kind in (_I16, _I32, _I64):
        wide = ir.VectorType(kind, vector.count * 64 // kind.width)
        pairs = builder.bitcast(value, wide)
        half = kind.width // 2
        low = builder.and_(pairs, wide([2**half - 1] * wide.count))
        value = builder.add(low, builder.lshr(pairs, wide([half] * wide.count)))
    return value


@contextmanager
def _groups(builder: Any, start: Any, stop: Any, size: int) -> Iterator[tuple[Any, Any]]:
    """Split ``range(start, stop)`` into ranges of `size`."""
    with cgutils.for_range_slice(builder, start, stop, _I64(size), _I64) as (first, _):
        end = builder.add(first, _I64(size))
        yield first, builder.select(builder.icmp_signed("<", end, stop), end, stop)


def _product(builder: Any, *terms: Any) -> Any:
    return builder.mul(terms[0], _product(builder, *terms[1:])) if len(terms) > 1 else terms[0]


def _load(builder: Any, pointer: Any, vector: Any, offset: int, align: int = 0) -> Any:
    """Vector that starts at element `offset`."""
    place = builder.bitcast(builder.gep(pointer, [_I64(offset)]), vector.as_pointer())
    return builder.load(place, align=align or vector.element.width // 8)


def _aligned(shape: tuple[int, ...], dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """Zeros, aligned to 64 bytes (a cache line)."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    return memory[first : first + size].view(dtype).reshape(shape)


_SSSE3 = frozenset({"sse3", "ssse3"})
_AVX2 = _SSSE3 | {"sse4.1", "sse4.2", "avx", "avx2"}
_AVX512 = _AVX2 | {"avx512f"}

#: From the fastest down; the last one runs everywhere.
PATHS: tuple[WordTile | TableTile, ...] = (
    # 16 sums of 8 words: half of the 32 registers.
    WordTile("AVX-512 VPOPCNTDQ", _AVX512 | {"avx512vpopcntdq"}, lanes=8, vectors=4, rows=4, by_bytes=False),
    TableTile("AVX-512 BW", _AVX512 | {"avx512bw"}, lanes=64, vectors=1, rows=4, shuffle="llvm.x86.avx512.pshuf.b.512"),
    # 8 sums of 32 bytes: half of the 16 registers.
    TableTile("AVX2", _AVX2, lanes=32, vectors=2, rows=4, shuffle="llvm.x86.avx2.pshuf.b"),
    TableTile("SSSE3", _SSSE3, lanes=16, vectors=2, rows=4, shuffle="llvm.x86.ssse3.pshuf.b.128"),
    WordTile("NEON", frozenset({"neon"}), lanes=2, vectors=4, rows=4, by_bytes=True),
    WordTile("plain", frozenset(), lanes=2, vectors=4, rows=1, by_bytes=True),
)


def features() -> frozenset[str]:
    """Return LLVM's names of the features that numba compiles for."""
    _, name, flags = cpu_target.target_context.codegen().magic_tuple()
    have = set()
    if name == binding.get_host_cpu_name():
        have = {feature for feature, there in binding.get_host_cpu_features().items() if there}
    for flag in filter(None, flags.split(",")):
        (have.add if flag[0] == "+" else have.discard)(flag[1:])
    return frozenset(have)


PATH = next(path for path in PATHS if path.needs <= features())


def block_weights(weight: NDArray[np.int8]) -> NDArray[np.unsignedinteger[Any]]:
    """Lay weights out for :func:`accumulate`.

    Parameters
    ----------
    weight : int8 array, shape (neurons, inputs), values -1, 0, +1

    Returns
    -------
    unsigned array, shape (blocks, ...)
        What the path's tile reads, aligned to 64 bytes; ``blocks * PATH.neurons`` neurons. What those count that only
        fill up the last block means nothing.
    """
    blocks = -(-len(weight) // PATH.neurons)
    filled = np.ones((blocks * PATH.neurons, weight.shape[1]), np.int8)
    filled[: len(weight)] = weight
    return PATH.lay_out(filled)


def _tile(context: Any, builder: Any, kinds: Any, arguments: Any, rows: int, element: Any) -> Iterator[Any]:
    """Count a tile for an intrinsic whose arguments are patches, weight, kinds, block, first, ...

    Yields, for each vector of counts: row of patches, its kind, first neuron, counts.
    """
    patches, weight, positions = (context.make_array(kinds[i])(context, builder, arguments[i]) for i in range(3))
    block, first = arguments[3:5]
    _, planes, length = cgutils.unpack_tuple(builder, patches.shape)
    numbers = [builder.add(first, _I64(row)) for row in range(rows)]
    starts = [builder.gep(patches.data, [_product(builder, number, planes, length)]) for number in numbers]
    shape = cgutils.unpack_tuple(builder, weight.shape)
    counts = PATH.count(builder, Patches(starts, planes, length), weight.data, shape, block, element)
    for number, line in zip(numbers, counts, strict=True):
        kind = builder.load(builder.gep(positions.data, [number]))
        for i, count in enumerate(line):
            neuron = builder.add(builder.mul(block, _I64(PATH.neurons)), _I64(i * count.type.count))
            yield number, kind, neuron, count


def _at(builder: Any, array: Any, row: Any, column: Any, vector: Any) -> Any:
    """Pointer to a vector within a row of a two-dimensional array."""
    columns = cgutils.unpack_tuple(builder, array.shape)[1]
    return builder.bitcast(builder.gep(array.data, [builder.add(builder.mul(row, columns), column)]), vector.as_pointer())


def _make_sum(rows: int) -> Any:
    """Return the intrinsic that computes a tile of :func:`accumulate`."""

    def tile(
        typing_context: Any,
        patches: Any,
        weight: Any,
        kinds: Any,
        block: Any,
        first: Any,
        bias: Any,
        shift: Any,
        out: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            offsets, sums = (context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (5, 7))
            element = context.get_data_type(out.dtype)
            align = element.width // 8
            left = builder.trunc(arguments[6], element) if element.width < _I64.width else arguments[6]
            for row, kind, neuron, count in _tile(context, builder, signature.args, arguments, rows, element):
                vector = count.type
                base = builder.load(_at(builder, offsets, kind, neuron, vector), align=align)
                value = builder.sub(base, builder.shl(count, splat(builder, vector, left)))
                builder.store(value, _at(builder, sums, row, neuron, vector), align=align)
            return context.get_dummy_value()

        return types.void(patches, weight, kinds, types.int64, types.int64, bias, types.int64, out), generate

    return _intrinsic(tile)


def _make_compare(rows: int) -> Any:
    """Return the intrinsic that computes a tile of :func:`accumulate_compare`."""

    def tile(
        typing_context: Any,
        patches: Any,
        weight: Any,
        kinds: Any,
        block: Any,
        first: Any,
        limit: Any,
        flip: Any,
        out: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            limits, flips, octets = (
                context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (5, 6, 7)
            )
            element = context.get_data_type(limit.dtype)
            within: list[Any] = []
            for row, kind, neuron, count in _tile(context, builder, signature.args, arguments, rows, element):
                source = _at(builder, limits, kind, neuron, count.type)
                within.append(builder.icmp_signed("<=", count, builder.load(source, align=element.width // 8)))
                bits = sum(part.type.count for part in within)
                if bits < 8:
                    continue
                octet = builder.udiv(builder.sub(neuron, _I64(bits - count.type.count)), _I64(8))
                packed = ir.VectorType(_I8, bits // 8)
                value = builder.bitcast(_concatenate(builder, within), packed)
                turn = builder.load(
                    builder.bitcast(builder.gep(flips.data, [octet]), packed.as_pointer()), align=1
                )
                builder.store(builder.xor(value, turn), _at(builder, octets, row, octet, packed), align=1)
                within = []
            return context.get_dummy_value()

        return types.void(patches, weight, kinds, types.int64, types.int64, limit, flip, out), generate

    return _intrinsic(tile)


def _concatenate(builder: Any, vectors: list[Any]) -> Any:
    """Join vectors of the same type; their number is a power of two."""
    while len(vectors) > 1:
        both = 2 * vectors[0].type.count
        order = ir.Constant(ir.VectorType(_I32, both), list(range(both)))
        vectors = [builder.shuffle_vector(a, b, order) for a, b in zip(vectors[::2], vectors[1::2], strict=True)]
    return vectors[0]


_ROWS = PATH.rows
_sum_tile, _sum_row = _make_sum(_ROWS), _make_sum(1)
_compare_tile, _compare_row = _make_compare(_ROWS), _make_compare(1)


@njit(nogil=True, cache=True)
def _repeat(kinds: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Kinds of `count` rows from the kinds of the positions (np.tile without its divisions)."""
    result = np.empty(count, np.int64)
    for first in range(0, count, len(kinds)):
        result[first : first + len(kinds)] = kinds
    return result


@njit(nogil=True, cache=True)
def accumulate(
    patches: Words, weight: Any, bias: Integers, kinds: NDArray[np.int64], shift: int, out: Integers
) -> None:
    """``out = bias - (count << shift)``, where count is how often a patch differs from a neuron's weights.

    Parameters
    ----------
    patches : uint64 array, shape (rows, planes, words)
        Bit planes, most significant first: what a plane counts weighs twice what the next one counts.
    weight : unsigned array, shape (blocks, ...)
        See :func:`block_weights`.
    bias : integer array, shape (kinds, blocks * PATH.neurons), of `out`'s type
    kinds : int64 array, shape (positions,)
        Which bias a position takes; row r is a patch of position ``r % positions``.
    shift : int
        Difference between neighbouring values, as a power of two: 1 for bipolar, 0 for integers.
    out : int32 or int64 array, shape (rows, blocks * PATH.neurons)
    """
    count = len(patches)
    kinds = _repeat(kinds, count)
    for block in range(len(weight)):
        for first in range(0, count - _ROWS + 1, _ROWS):
            _sum_tile(patches, weight, kinds, block, first, bias, shift, out)
        for first in range(count - count % _ROWS, count):
            _sum_row(patches, weight, kinds, block, first, bias, shift, out)


@njit(nogil=True, cache=True)
def accumulate_compare(
    patches: Words, weight: Any, limit: Integers, kinds: NDArray[np.int64], flip: Octets, out: Octets
) -> None:
    """``out = (count <= limit) ^ flip`` as bits: :func:`accumulate` and threshold without the sums in between.

    Parameters
    ----------
    patches, weight, kinds
        See :func:`accumulate`.
    limit : array of ``PATH.limit_type(largest count)``, shape (kinds, blocks * PATH.neurons)
    flip : uint8 array, shape (blocks * PATH.neurons / 8,)
        8 neurons' bits in each octet.
    out : uint8 array, shape (rows, octets), octets >= blocks * PATH.neurons / 8
    """
    count = len(patches)
    kinds = _repeat(kinds, count)
    for block in range(len(weight)):
        for first in range(0, count - _ROWS + 1, _ROWS):
            _compare_tile(patches, weight, kinds, block, first, limit, flip, out)
        for first in range(count - count % _ROWS, count):
            _compare_row(patches, weight, kinds, block, first, limit, flip, out)
