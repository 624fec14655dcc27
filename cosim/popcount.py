"""The golden model's sums: kernels that count how packed bits differ, compiled by numba.

Every kernel runs on one thread and releases the GIL.
"""

import hashlib
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from xnorflow.cosim import llvm, paths, table_tile, word_tile
from xnorflow.cosim.bitstream import Integers, Octets, Words
from xnorflow.cosim.llvm import I8, I32, I64, Patches, product, splat
from xnorflow.cosim.paths import PATH, AnyTile

#: numba's own type has the intrinsics called with their typing context.
_intrinsic: Any = intrinsic


def block_weights(weight: NDArray[np.int8], tile: AnyTile = PATH) -> NDArray[np.unsignedinteger[Any]]:
    """Lay weights out for :func:`accumulate`.

    Parameters
    ----------
    weight : int8 array, shape (neurons, inputs), values -1, 0, +1

    Returns
    -------
    unsigned array, shape (blocks, ...)
        What the tile reads, aligned to 64 bytes; ``blocks * tile.neurons`` neurons. What those count that only
        fill up the last block means nothing.
    """
    blocks = -(-len(weight) // tile.neurons)
    filled = np.ones((blocks * tile.neurons, weight.shape[1]), np.int8)
    filled[: len(weight)] = weight
    return tile.lay_out(filled)


def _tile(
    tile: AnyTile, rows: int, context: Any, builder: Any, signature: Any, arguments: Any, element: Any
) -> Iterator[Any]:
    """Count a tile for an intrinsic whose arguments are patches, weight, kinds, block, first, ...

    Yields, for each vector of counts: row of patches, its kind, first neuron, counts.
    """
    patches, weight, positions = (
        context.make_array(signature.args[i])(context, builder, arguments[i]) for i in range(3)
    )
    block, first = arguments[3:5]
    _, planes, length = cgutils.unpack_tuple(builder, patches.shape)
    numbers = [builder.add(first, I64(row)) for row in range(rows)]
    starts = [builder.gep(patches.data, [product(builder, number, planes, length)]) for number in numbers]
    kinds = [builder.load(builder.gep(positions.data, [number])) for number in numbers]
    shape = cgutils.unpack_tuple(builder, weight.shape)
    counts = tile.count(builder, Patches(starts, planes, length), weight.data, shape, block, element)
    for row, i, count in counts.items():
        neuron = builder.add(builder.mul(block, I64(tile.neurons)), I64(i * count.type.count))
        narrow = ir.VectorType(element, count.type.count)
        yield numbers[row], kinds[row], neuron, count if count.type == narrow else builder.trunc(count, narrow)


def _at(builder: Any, array: Any, row: Any, column: Any, vector: Any) -> Any:
    """Pointer to a vector within a row of a two-dimensional array."""
    columns = cgutils.unpack_tuple(builder, array.shape)[1]
    return builder.bitcast(
        builder.gep(array.data, [builder.add(builder.mul(row, columns), column)]), vector.as_pointer()
    )


def make_sum(tile: AnyTile, rows: int) -> Any:
    """Return the intrinsic that computes a tile of :func:`accumulate`, or some of its rows."""

    def compute(
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
            left = builder.trunc(arguments[6], element) if element.width < I64.width else arguments[6]
            for row, kind, neuron, count in _tile(tile, rows, context, builder, signature, arguments, element):
                vector = count.type
                base = builder.load(_at(builder, offsets, kind, neuron, vector), align=align)
                value = builder.sub(base, builder.shl(count, splat(builder, vector, left)))
                builder.store(value, _at(builder, sums, row, neuron, vector), align=align)
            return context.get_dummy_value()

        return types.void(patches, weight, kinds, types.int64, types.int64, bias, types.int64, out), generate

    return _intrinsic(compute)


def make_compare(tile: AnyTile, rows: int) -> Any:
    """Return the intrinsic that computes a tile of :func:`accumulate_compare`, or some of its rows."""

    def compute(
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
            for row, kind, neuron, count in _tile(tile, rows, context, builder, signature, arguments, element):
                source = _at(builder, limits, kind, neuron, count.type)
                within.append(builder.icmp_signed("<=", count, builder.load(source, align=element.width // 8)))
                bits = sum(part.type.count for part in within)
                if bits < 8:
                    continue
                octet = builder.udiv(builder.sub(neuron, I64(bits - count.type.count)), I64(8))
                packed = ir.VectorType(I8, bits // 8)
                value = builder.bitcast(_concatenate(builder, within), packed)
                turn = builder.load(builder.bitcast(builder.gep(flips.data, [octet]), packed.as_pointer()), align=1)
                builder.store(builder.xor(value, turn), _at(builder, octets, row, octet, packed), align=1)
                within = []
            return context.get_dummy_value()

        return types.void(patches, weight, kinds, types.int64, types.int64, limit, flip, out), generate

    return _intrinsic(compute)


def _concatenate(builder: Any, vectors: list[Any]) -> Any:
    """Join vectors of the same type; their number is a power of two."""
    while len(vectors) > 1:
        both = 2 * vectors[0].type.count
        order = ir.Constant(ir.VectorType(I32, both), list(range(both)))
        vectors = [builder.shuffle_vector(a, b, order) for a, b in zip(vectors[::2], vectors[1::2], strict=True)]
    return vectors[0]


_sum_tile, _sum_row = make_sum(PATH, PATH.rows), make_sum(PATH, 1)
_compare_tile, _compare_row = make_compare(PATH, PATH.rows), make_compare(PATH, 1)
_ROWS = PATH.rows


@njit(nogil=True, cache=True)
def _repeat(kinds: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Kinds of `count` rows from the kinds of the positions (np.tile without its divisions)."""
    result = np.empty(count, np.int64)
    for first in range(0, count, len(kinds)):
        result[first : first + len(kinds)] = kinds
    return result


def _digest(*modules: ModuleType) -> str:
    return hashlib.sha256("".join(map(inspect.getsource, modules)).encode()).hexdigest()


def _kernels(sources: str) -> tuple[Any, Any]:
    """Compile the kernels. `sources` stands for the modules that they are made of.

    numba compiles a cached function anew when its own module or a value of its closure has changed, and looks at no
    other module.
    """

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
        _ = sources
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
        _ = sources
        count = len(patches)
        kinds = _repeat(kinds, count)
        for block in range(len(weight)):
            for first in range(0, count - _ROWS + 1, _ROWS):
                _compare_tile(patches, weight, kinds, block, first, limit, flip, out)
            for first in range(count - count % _ROWS, count):
                _compare_row(patches, weight, kinds, block, first, limit, flip, out)

    return accumulate, accumulate_compare


accumulate, accumulate_compare = _kernels(_digest(llvm, word_tile, table_tile, paths))
