"""The golden model's kernels: XNOR, mask and popcount on uint64 words, compiled by numba.

Every kernel runs on one thread and releases the GIL; :mod:`xnorflow.cosim.golden` runs several at once. A vector's bits
are one stream along its flattened shape (row-major, channels last): element i is bit ``i % 64`` of word ``i // 64``. So
flattening costs nothing, and a row of a convolution's patch is one run of bits.

Two things are written in LLVM's own vector types, because no loop of Python makes LLVM keep a tile of sums in
registers or turn 64 comparisons into one word. LLVM lowers them to what the machine has: with AVX-512 VPOPCNTDQ one
``vpternlogq``, one ``vpopcntq`` and one ``vpaddq`` for 8 words.
"""

import itertools
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from xnorflow.bnn.packing import WORD, pack_bits, words

Words = NDArray[np.uint64]
Octets = NDArray[np.uint8]
Integers = NDArray[np.signedinteger[Any]]
Shape = tuple[int, ...]

#: numba's own type has the intrinsics called with their typing context.
_intrinsic: Any = intrinsic

#: Words in one vector of the tile. LLVM splits it where the machine's registers are shorter.
LANES = 8
#: A tile is ROWS patches times NEURONS neurons: 16 sums of 8 words, half of AVX-512's registers.
ROWS, NEURONS = 4, 4 * LANES

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_I64, LANES)
_VECTORS = range(0, NEURONS, LANES)


def block_weights(weight: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Lay weights out for :func:`accumulate`.

    Parameters
    ----------
    weight : int8 array, shape (neurons, inputs), values -1, 0, +1

    Returns
    -------
    uint64 array, shape (blocks, words, 2, NEURONS)
        Sign bits and mask bits of word k of NEURONS neurons side by side, so that one vector holds the same word of
        different neurons. Neurons that fill up the last block are masked. Aligned to 64 bytes (a cache line).
    """
    neurons, inputs = weight.shape
    blocks = -(-neurons // NEURONS)
    shape = (blocks, words(inputs), 2, NEURONS)
    memory = np.zeros(int(np.prod(shape)) + 8, np.uint64)
    first = -memory.ctypes.data % 64 // 8
    blocked = memory[first : first + int(np.prod(shape))].reshape(shape)
    filled = np.zeros((blocks * NEURONS, inputs), np.int8)
    filled[:neurons] = weight
    for part, bits in enumerate((filled > 0, filled != 0)):
        blocked[:, :, part] = pack_bits(bits).reshape(blocks, NEURONS, -1).transpose(0, 2, 1)
    return blocked


def _load_word(context: Any, builder: Any, kind: Any, value: Any, first: Any) -> Any:
    """Elements ``value[first : first + 64]`` of a one-dimensional array."""
    array = context.make_array(kind)(context, builder, value)
    vector = ir.VectorType(context.get_data_type(kind.dtype), WORD)
    pointer = builder.bitcast(builder.gep(array.data, [first]), vector.as_pointer())
    return builder.load(pointer, align=kind.dtype.bitwidth // 8)


def _to_word(builder: Any, comparison: str, first: Any, second: Any) -> Any:
    """Bits of the comparison of two vectors of 64 elements."""
    return builder.bitcast(builder.icmp_signed(comparison, first, second), _I64)


def _vector_at(builder: Any, pointer: Any, offset: Any, vector: Any) -> Any:
    """Pointer to a vector that starts at element `offset`."""
    return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())


def splat(builder: Any, vector: Any, value: Any) -> Any:
    """Return a vector of equal elements, of LLVM's type `vector`."""
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _I32(0))
    return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count))


def _count(context: Any, builder: Any, kinds: Any, arguments: Any, block: Any, rows: Any) -> list[list[Any]]:
    """``sum over planes and words of popcount((x ^ w) & m)`` for one tile, as vectors [row][8 neurons].

    `kinds` and `arguments` are those of an intrinsic that takes patches and weights first.
    """

    def product(*terms: Any) -> Any:
        return builder.mul(terms[0], product(*terms[1:])) if len(terms) > 1 else terms[0]

    def load(pointer: Any, offset: int) -> Any:
        return builder.load(_vector_at(builder, pointer, _I64(offset), _VECTOR), align=8)

    patches, weight = (context.make_array(kinds[i])(context, builder, arguments[i]) for i in range(2))
    _, planes, length = cgutils.unpack_tuple(builder, patches.shape)
    starts = [builder.gep(patches.data, [product(row, planes, length)]) for row in rows]
    first = builder.gep(weight.data, [product(block, length, _I64(2 * NEURONS))])
    popcount = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), f"llvm.ctpop.v{LANES}i64"
    )
    # Memory on the stack that LLVM promotes to registers.
    counts = [[cgutils.alloca_once_value(builder, _VECTOR([0] * LANES)) for _ in _VECTORS] for _ in rows]
    with cgutils.for_range(builder, planes) as plane:
        for count in itertools.chain(*counts):
            builder.store(builder.shl(builder.load(count), _VECTOR([1] * LANES)), count)
        with cgutils.for_range(builder, length) as word:
            here = builder.gep(first, [product(word.index, _I64(2 * NEURONS))])
            signs, masks = ([load(here, part + lane) for lane in _VECTORS] for part in (0, NEURONS))
            offset = builder.add(product(plane.index, length), word.index)
            for start, row in zip(starts, counts, strict=True):
                bits = splat(builder, _VECTOR, builder.load(builder.gep(start, [offset])))
                for sign, mask, count in zip(signs, masks, row, strict=True):
                    differ = builder.and_(builder.xor(bits, sign), mask)
                    builder.store(builder.add(builder.load(count), builder.call(popcount, [differ])), count)
    return [[builder.load(count) for count in row] for row in counts]


@_intrinsic
def _sum_tile(typing_context: Any, patches: Any, weight: Any, bias: Any, shift: Any, out: Any, at: Any) -> Any:
    """Compute one tile of :func:`accumulate`; `at` is (block, rows of patches and out, rows of bias)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block, *numbers = cgutils.unpack_tuple(builder, arguments[5])
        rows, kinds = numbers[:ROWS], numbers[ROWS:]
        counts = _count(context, builder, signature.args, arguments, block, rows)
        offsets, sums = (context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (2, 4))
        columns = cgutils.unpack_tuple(builder, sums.shape)[1]
        element = context.get_data_type(out.dtype)
        vector, align = ir.VectorType(element, LANES), element.width // 8
        narrow = builder.trunc if element.width < _I64.width else lambda value, _: value
        left = splat(builder, vector, narrow(arguments[3], element))
        for row, kind, line in zip(rows, kinds, counts, strict=True):
            for lane, count in zip(_VECTORS, line, strict=True):
                column = builder.add(builder.mul(block, _I64(NEURONS)), _I64(lane))
                source, target = (
                    _vector_at(builder, array.data, builder.add(builder.mul(number, columns), column), vector)
                    for array, number in ((offsets, kind), (sums, row))
                )
                value = builder.shl(narrow(count, vector), left)
                builder.store(builder.sub(builder.load(source, align=align), value), target, align=align)
        return context.get_dummy_value()

    return types.void(patches, weight, bias, shift, out, at), generate


@_intrinsic
def _compare_tile(typing_context: Any, patches: Any, weight: Any, limit: Any, flip: Any, out: Any, at: Any) -> Any:
    """Compute one tile of :func:`accumulate_compare`; `at` is (block, rows of patches and out, rows of limit)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block, *numbers = cgutils.unpack_tuple(builder, arguments[5])
        rows, kinds = numbers[:ROWS], numbers[ROWS:]
        counts = _count(context, builder, signature.args, arguments, block, rows)
        limits, flips, octets = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (2, 3, 4)
        )
        neurons, columns = (cgutils.unpack_tuple(builder, array.shape)[1] for array in (limits, octets))
        for row, kind, line in zip(rows, kinds, counts, strict=True):
            for lane, count in zip(_VECTORS, line, strict=True):
                neuron = builder.add(builder.mul(block, _I64(NEURONS)), _I64(lane))
                octet = builder.udiv(neuron, _I64(LANES))
                source = _vector_at(builder, limits.data, builder.add(builder.mul(kind, neurons), neuron), _VECTOR)
                within = builder.icmp_signed("<=", count, builder.load(source, align=8))
                value = builder.xor(
                    builder.bitcast(within, ir.IntType(8)), builder.load(builder.gep(flips.data, [octet]))
                )
                builder.store(value, builder.gep(octets.data, [builder.add(builder.mul(row, columns), octet)]))
        return context.get_dummy_value()

    return types.void(patches, weight, limit, flip, out, at), generate


@_intrinsic
def _have_bit(typing_context: Any, octets: Any, first: Any, bit: Any) -> Any:
    """Return ``octets[first : first + 64] & bit != 0`` as a word; one bit of the uint8 `bit` is set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        octet = _load_word(context, builder, octets, arguments[0], arguments[1])
        chosen = builder.and_(octet, splat(builder, octet.type, arguments[2]))
        return _to_word(builder, "!=", chosen, octet.type([0] * WORD))

    return types.uint64(octets, first, bit), generate


@_intrinsic
def _equal(typing_context: Any, octets: Any, first: Any, octet: Any) -> Any:
    """Return ``octets[first : first + 64] == octet`` as a word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left = _load_word(context, builder, octets, arguments[0], arguments[1])
        return _to_word(builder, "==", left, splat(builder, left.type, arguments[2]))

    return types.uint64(octets, first, octet), generate


@_intrinsic
def _at_least(typing_context: Any, values: Any, thresholds: Any, first: Any) -> Any:
    """Return ``values[first : first + 64] >= thresholds[first : first + 64]`` as a word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left = _load_word(context, builder, values, arguments[0], arguments[2])
        return _to_word(builder, ">=", left, _load_word(context, builder, thresholds, arguments[1], arguments[2]))

    return types.uint64(values, thresholds, first), generate


@_intrinsic
def _put_signs(typing_context: Any, word: Any, out: Any, first: Any) -> Any:
    """``out[first : first + 64]`` = -1 and +1 for the bits of a word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), WORD)
        bits = builder.bitcast(arguments[0], ir.VectorType(ir.IntType(1), WORD))
        signs = builder.select(bits, vector([1] * WORD), vector([-1] * WORD))
        array = context.make_array(out)(context, builder, arguments[1])
        builder.store(signs, _vector_at(builder, array.data, arguments[2], vector), align=1)
        return context.get_dummy_value()

    return types.void(word, out, first), generate


@njit(nogil=True, cache=True)
def _rows(count: int, kinds: NDArray[np.int64], block: int, first: int) -> Any:
    """What a tile is told: its block, its rows, and their kinds. Over the end it does the last row once more."""
    a, b, c, d = first, min(first + 1, count - 1), min(first + 2, count - 1), min(first + 3, count - 1)
    return block, a, b, c, d, kinds[a], kinds[b], kinds[c], kinds[d]


@njit(nogil=True, cache=True)
def _repeat(kinds: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Kinds of `count` rows from the kinds of the positions (np.tile without its divisions)."""
    result = np.empty(count, np.int64)
    for first in range(0, count, len(kinds)):
        result[first : first + len(kinds)] = kinds
    return result


@njit(nogil=True, cache=True)
def accumulate(
    patches: Words, weight: Words, bias: Integers, kinds: NDArray[np.int64], shift: int, out: Integers
) -> None:
    """``out = bias - (count << shift)``, where count is how often a patch differs from a neuron's weights.

    Parameters
    ----------
    patches : uint64 array, shape (rows, planes, words)
        Bit planes, most significant first: what a plane counts weighs twice what the next one counts.
    weight : uint64 array, shape (blocks, words, 2, NEURONS)
        See :func:`block_weights`.
    bias : integer array, shape (kinds, blocks * NEURONS), of `out`'s type
    kinds : int64 array, shape (positions,)
        Which bias a position takes; row r is a patch of position ``r % positions``.
    shift : int
        Difference between neighbouring values, as a power of two: 1 for bipolar, 0 for integers.
    out : int32 or int64 array, shape (rows, blocks * NEURONS)
    """
    count = len(patches)
    kinds = _repeat(kinds, count)
    for block in range(len(weight)):
        for first in range(0, count, ROWS):
            _sum_tile(patches, weight, bias, shift, out, _rows(count, kinds, block, first))


@njit(nogil=True, cache=True)
def accumulate_compare(
    patches: Words, weight: Words, limit: NDArray[np.int64], kinds: NDArray[np.int64], flip: Octets, out: Octets
) -> None:
    """``out = (count <= limit) ^ flip`` as bits: :func:`accumulate` and threshold without the sums in between.

    Parameters
    ----------
    patches, weight, kinds
        See :func:`accumulate`.
    limit : int64 array, shape (kinds, blocks * NEURONS)
    flip : uint8 array, shape (blocks * NEURONS / 8,)
        8 neurons' bits in each octet.
    out : uint8 array, shape (rows, octets), octets >= blocks * NEURONS / 8
    """
    count = len(patches)
    kinds = _repeat(kinds, count)
    for block in range(len(weight)):
        for first in range(0, count, ROWS):
            _compare_tile(patches, weight, limit, flip, out, _rows(count, kinds, block, first))


@njit(nogil=True, cache=True)
def pack_signs(values: NDArray[np.int8], out: Words) -> bool:
    """Pack bipolar values, and return whether all are -1 or +1.

    Parameters
    ----------
    values : int8 array, shape (rows, n)
    out : uint64 array, shape (rows, ceil(n / 64))
    """
    rows, count = values.shape
    whole = count // WORD
    valid = ~np.uint64(0)
    for row in range(rows):
        line = values[row]
        for word in range(whole):
            plus = _equal(line, word * WORD, np.int8(1))
            valid &= plus | _equal(line, word * WORD, np.int8(-1))
            out[row, word] = plus
        if whole < out.shape[1]:
            rest = np.uint64(0)
            for i in range(whole * WORD, count):
                rest |= np.uint64(line[i] == 1) << np.uint64(i % WORD)
                if abs(line[i]) != 1:
                    valid = np.uint64(0)
            out[row, whole] = rest
    return valid == ~np.uint64(0)


@njit(nogil=True, cache=True)
def pack_planes(octets: Octets, planes: int, out: Words) -> None:
    """Pack bits ``planes - 1`` down to 0 of octets as bit planes.

    Parameters
    ----------
    octets : uint8 array, shape (rows, n)
    planes : int, 1 to 8
    out : uint64 array, shape (rows, planes, ceil(n / 64))
    """
    rows, count = octets.shape
    whole = count // WORD
    for row in range(rows):
        line = octets[row]
        for plane in range(planes):
            bit = np.uint8(1 << (planes - 1 - plane))
            for word in range(whole):
                out[row, plane, word] = _have_bit(line, word * WORD, bit)
            if whole < out.shape[2]:
                rest = np.uint64(0)
                for i in range(whole * WORD, count):
                    rest |= np.uint64((line[i] & bit) != 0) << np.uint64(i % WORD)
                out[row, plane, whole] = rest


@njit(nogil=True, cache=True)
def compare(values: Integers, threshold: Integers, flip: Words, out: Words) -> None:
    """Pack ``(values >= threshold) ^ flip``.

    Parameters
    ----------
    values : int32 or int64 array, shape (rows, n)
    threshold : array of the same type, shape (n,)
    flip : uint64 array, shape (ceil(n / 64),)
    out : uint64 array, shape (rows, ceil(n / 64))
    """
    rows, count = values.shape
    whole = count // WORD
    for row in range(rows):
        line = values[row]
        for word in range(whole):
            out[row, word] = _at_least(line, threshold, word * WORD) ^ flip[word]
        if whole < len(flip):
            rest = np.uint64(0)
            for i in range(whole * WORD, count):
                rest |= np.uint64(line[i] >= threshold[i]) << np.uint64(i % WORD)
            out[row, whole] = rest ^ flip[whole]


@njit(nogil=True, cache=True)
def unpack(bits: Words, out: NDArray[np.int8]) -> None:
    """Unpack bits to -1 and +1.

    Parameters
    ----------
    bits : uint64 array, shape (rows, ceil(n / 64))
    out : int8 array, shape (rows, n)
    """
    rows, count = out.shape
    whole = count // WORD
    for row in range(rows):
        line = out[row]
        for word in range(whole):
            _put_signs(bits[row, word], line, word * WORD)
        for i in range(whole * WORD, count):
            line[i] = np.int8((bits[row, whole] >> np.uint64(i % WORD)) & np.uint64(1)) * np.int8(2) - np.int8(1)


@njit(nogil=True, cache=True)
def _or_bits(source: Words, start: Any, count: Any, target: Words, position: Any) -> None:
    """``target[position : position + count] |= source[start : start + count]``, counted in bits."""
    one, six, word = np.uint64(1), np.uint64(6), np.uint64(WORD)  # unsigned, so that no index is taken for negative
    start, count, position = np.uint64(start), np.uint64(count), np.uint64(position)
    while count > 0:
        size = min(count, word)
        shift = start & (word - one)
        bits = source[start >> six] >> shift
        if shift + size > word:
            bits |= source[(start >> six) + one] << (word - shift)
        if size < word:
            bits &= (one << size) - one
        shift = position & (word - one)
        target[position >> six] |= bits << shift
        if shift + size > word:
            target[(position >> six) + one] |= bits >> (word - shift)
        start, position, count = start + size, position + size, count - size


@njit(nogil=True, cache=True)
def cut_patches(
    bits: Words, shape: Shape, kernel: Shape, stride: Shape, corner: Shape, positions: Shape, out: Words
) -> None:
    """Cut a convolution's patches out of packed images; what lies outside the image is 0.

    Parameters
    ----------
    bits : uint64 array, shape (images, planes, words)
        Images of `shape`.
    shape : (int, int, int)
        Height, width, channels.
    kernel, stride : (int, int)
    corner : (int, int)
        Rows and columns of padding before the image.
    positions : (int, int)
        Height and width of the result.
    out : uint64 array of zeros, shape (images, positions, planes, patch words)
    """
    height, width, channels = shape
    images, planes, length = bits.shape
    source, target, patch = bits.reshape(-1), out.reshape(-1), out.shape[3] * WORD
    end = 0
    for image in range(images):
        for y in range(positions[0]):
            top = y * stride[0] - corner[0]
            for x in range(positions[1]):
                left = x * stride[1] - corner[1]
                first = max(left, 0)
                count = (min(left + kernel[1], width) - first) * channels
                for row in range(max(top, 0), min(top + kernel[0], height)):
                    start = image * planes * length * WORD + (row * width + first) * channels
                    inside = ((row - top) * kernel[1] + first - left) * channels
                    for plane in range(planes):
                        _or_bits(source, start + plane * length * WORD, count, target, end + plane * patch + inside)
                end += planes * patch


@njit(nogil=True, cache=True)
def join(bits: Words, channels: int, out: Words) -> None:
    """Join positions, each of which begins a new word, to one stream.

    Parameters
    ----------
    bits : uint64 array, shape (images, positions, ceil(channels / 64))
    channels : int
    out : uint64 array of zeros, shape (images, ceil(positions * channels / 64))
    """
    images, positions, length = bits.shape
    for image in range(images):
        for position in range(positions):
            start = (image * positions + position) * length * WORD
            end = image * out.shape[1] * WORD + position * channels
            _or_bits(bits.reshape(-1), start, channels, out.reshape(-1), end)


@njit(nogil=True, cache=True)
def pool(bits: Words, shape: Shape, size: Shape, stride: Shape, corner: Shape, positions: Shape, out: Words) -> None:
    """Max-pool packed bipolar images: the largest of bits is their OR.

    Parameters
    ----------
    bits : uint64 array, shape (images, words)
        Images of `shape`.
    shape : (int, int, int)
        Height, width, channels.
    size, stride : (int, int)
    corner : (int, int)
        Rows above and columns left of the images, all of -1.
    positions : (int, int)
        Height and width of the result.
    out : uint64 array of zeros, shape (images, result words)
    """
    height, width, channels = shape
    source, target = bits.reshape(-1), out.reshape(-1)
    for image in range(bits.shape[0]):
        for row in range(positions[0]):
            for column in range(positions[1]):
                end = image * out.shape[1] * WORD + (row * positions[1] + column) * channels
                top, left = row * stride[0] - corner[0], column * stride[1] - corner[1]
                for y in range(max(top, 0), min(top + size[0], height)):
                    for x in range(max(left, 0), min(left + size[1], width)):
                        start = image * bits.shape[1] * WORD + (y * width + x) * channels
                        _or_bits(source, start, channels, target, end)
