"""The golden model's kernels: XNOR, mask and popcount on uint64 words, compiled by numba.

Every kernel runs on one thread and releases the GIL; :mod:`cosim.golden` runs several at once. A vector's bits are one
stream along its flattened shape (row-major, channels last): element i is bit ``i % 64`` of word ``i // 64``. So
flattening costs nothing, and a row of a convolution's patch is one run of bits.

Two things are written in LLVM's own vector types, because no loop of Python makes LLVM keep a tile of sums in
registers or turn 64 comparisons into one word. LLVM lowers them to what the machine has: with AVX-512 VPOPCNTDQ one
``vpternlogq``, one ``vpopcntq`` and one ``vpaddq`` for 8 words.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from bnn.packing import WORD, pack_bits, words

#: Words in one vector of the tile. LLVM splits it where the machine's registers are shorter.
_LANES = 8
#: A tile is ROWS patches times NEURONS neurons: 16 sums of 8 words, half of AVX-512's registers.
ROWS, NEURONS = 4, 4 * _LANES

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_I64, _LANES)


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


@intrinsic  # type: ignore[misc]
def _count(typing_context: Any, patches: Any, rows: Any, weight: Any, block: Any, counts: Any) -> Any:
    """Write ``popcount((x ^ w) & m)``, summed over a patch's words, for one tile into `counts`, (ROWS, NEURONS).

    `rows` is a tuple of ROWS row numbers of `patches`. Of several planes, the first weighs most: each doubles the sum
    of those before it.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def array(number: int) -> Any:
            return context.make_array(signature.args[number])(context, builder, arguments[number])

        def index(*terms: Any) -> Any:
            return builder.mul(terms[0], index(*terms[1:])) if len(terms) > 1 else terms[0]

        def load(pointer: Any, offset: Any) -> Any:
            return builder.load(builder.bitcast(builder.gep(pointer, [offset]), _VECTOR.as_pointer()), align=8)

        x, w, out = array(0), array(2), array(4)
        _, planes, length = cgutils.unpack_tuple(builder, x.shape)
        popcount = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), f"llvm.ctpop.v{_LANES}i64"
        )
        everywhere = ir.Constant(ir.VectorType(_I32, _LANES), [0] * _LANES)
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        vectors = range(NEURONS // _LANES)
        starts = [
            builder.gep(x.data, [index(row, planes, length)]) for row in cgutils.unpack_tuple(builder, arguments[1])
        ]
        first = builder.gep(w.data, [index(arguments[3], length, _I64(2 * NEURONS))])
        sums = [[cgutils.alloca_once_value(builder, _VECTOR([0] * _LANES)) for _ in vectors] for _ in range(ROWS)]
        with cgutils.for_range(builder, planes) as plane:
            for row in sums:
                for total in row:
                    builder.store(builder.shl(builder.load(total), _VECTOR([1] * _LANES)), total)
            with cgutils.for_range(builder, length) as word:
                here = builder.gep(first, [index(word.index, _I64(2 * NEURONS))])
                signs = [load(here, _I64(v * _LANES)) for v in vectors]
                masks = [load(here, _I64(NEURONS + v * _LANES)) for v in vectors]
                offset = builder.add(index(plane.index, length), word.index)
                for start, row in zip(starts, sums, strict=True):
                    bits = builder.insert_element(nothing, builder.load(builder.gep(start, [offset])), _I32(0))
                    bits = builder.shuffle_vector(bits, nothing, everywhere)
                    for sign, mask, total in zip(signs, masks, row, strict=True):
                        differ = builder.and_(builder.xor(bits, sign), mask)
                        builder.store(builder.add(builder.load(total), builder.call(popcount, [differ])), total)
        element = context.get_data_type(signature.args[4].dtype)
        result = ir.VectorType(element, _LANES)
        for r, row in enumerate(sums):
            for v, total in enumerate(row):
                value = builder.load(total)
                if element.width < _I64.width:
                    value = builder.trunc(value, result)
                target = builder.gep(out.data, [_I64(r * NEURONS + v * _LANES)])
                builder.store(value, builder.bitcast(target, result.as_pointer()), align=element.width // 8)
        return context.get_dummy_value()

    return types.void(patches, rows, weight, block, counts), generate


@intrinsic  # type: ignore[misc]
def _gather_bit(typing_context: Any, octets: Any, first: Any, bit: Any) -> Any:
    """Return bit `bit` (uint8 with that one bit set) of ``octets[first : first + 64]`` as a word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), WORD)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(array.data, [arguments[1]]), vector.as_pointer())
        every = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[2], _I32(0))
        every = builder.shuffle_vector(every, every, ir.Constant(ir.VectorType(_I32, WORD), [0] * WORD))
        chosen = builder.and_(builder.load(pointer, align=1), every)
        return builder.bitcast(builder.icmp_unsigned("!=", chosen, vector([0] * WORD)), _I64)

    return types.uint64(octets, first, bit), generate


@njit(nogil=True, cache=True)
def accumulate(patches, weight, bias, kinds, shift, out):  # type: ignore[no-untyped-def]
    """``out = bias - (count << shift)``, where count is how often a patch differs from a neuron's weights.

    Parameters
    ----------
    patches : uint64 array, shape (rows, planes, words)
        Bit planes, most significant first.
    weight : uint64 array, shape (blocks, words, 2, NEURONS)
        See :func:`block_weights`.
    bias : integer array, shape (kinds, neurons), of `out`'s type
    kinds : int64 array, shape (positions,)
        Which bias the patch of a position takes; row r is position ``r % positions``.
    shift : int
        Difference between neighbouring values, as a power of two: 1 for bipolar, 0 for integers.
    out : int32 or int64 array, shape (rows, neurons)
    """
    rows, neurons = out.shape
    counts = np.empty((ROWS, NEURONS), out.dtype)
    scale = out.dtype.type(shift)
    for block in range(weight.shape[0]):
        first = block * NEURONS
        last = min(first + NEURONS, neurons)
        for row in range(0, rows, ROWS):
            end = rows - 1  # a tile that hangs over the end does the last row again
            tile = (row, min(row + 1, end), min(row + 2, end), min(row + 3, end))
            _count(patches, tile, weight, block, counts)
            for i in range(ROWS):
                offset = bias[kinds[tile[i] % len(kinds)]]
                for j in range(first, last):
                    out[tile[i], j] = offset[j] - (counts[i, j - first] << scale)


@njit(nogil=True, cache=True)
def pack_planes(octets, planes, out):  # type: ignore[no-untyped-def]
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
        for plane in range(planes):
            bit = np.uint8(1 << (planes - 1 - plane))
            for word in range(whole):
                out[row, plane, word] = _gather_bit(octets[row], word * WORD, bit)
            if whole < out.shape[2]:
                rest = np.uint64(0)
                for i in range(whole * WORD, count):
                    rest |= np.uint64((octets[row, i] & bit) != 0) << np.uint64(i % WORD)
                out[row, plane, whole] = rest


@njit(nogil=True, cache=True)
def compare(values, threshold, flip, out):  # type: ignore[no-untyped-def]
    """Pack ``(values >= threshold) ^ flip``.

    Parameters
    ----------
    values : int32 or int64 array, shape (rows, n)
    threshold : array of the same type, shape (n,)
    flip : uint64 array, shape (ceil(n / 64),)
    out : uint64 array, shape (rows, ceil(n / 64))
    """
    rows, count = values.shape
    octets = np.zeros(out.shape[1] * WORD, np.uint8)
    for row in range(rows):
        for i in range(count):
            octets[i] = values[row, i] >= threshold[i]
        for word in range(out.shape[1]):
            out[row, word] = _gather_bit(octets, word * WORD, np.uint8(1)) ^ flip[word]


@njit(nogil=True, cache=True)
def _or_bits(source, start, count, target, position):  # type: ignore[no-untyped-def]
    """``target[position : position + count] |= source[start : start + count]``, counted in bits."""
    while count > 0:
        size = min(count, WORD)
        word, shift = start // WORD, start % WORD
        bits = source[word] >> np.uint64(shift)
        if shift + size > WORD:
            bits |= source[word + 1] << np.uint64(WORD - shift)
        if size < WORD:
            bits &= (np.uint64(1) << np.uint64(size)) - np.uint64(1)
        word, shift = position // WORD, position % WORD
        target[word] |= bits << np.uint64(shift)
        if shift + size > WORD:
            target[word + 1] |= bits >> np.uint64(WORD - shift)
        start, position, count = start + size, position + size, count - size


@njit(nogil=True, cache=True)
def patches(bits, shape, kernel, stride, corner, positions, out):  # type: ignore[no-untyped-def]
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
    for image in range(bits.shape[0]):
        for position in range(out.shape[1]):
            top = position // positions[1] * stride[0] - corner[0]
            left = position % positions[1] * stride[1] - corner[1]
            first = max(left, 0)
            count = (min(left + kernel[1], width) - first) * channels
            for row in range(max(top, 0), min(top + kernel[0], height)):
                start = (row * width + first) * channels
                target = ((row - top) * kernel[1] + first - left) * channels
                for plane in range(bits.shape[1]):
                    _or_bits(bits[image, plane], start, count, out[image, position, plane], target)


@njit(nogil=True, cache=True)
def pool(bits, shape, size, stride, positions, out):  # type: ignore[no-untyped-def]
    """Max-pool packed bipolar images: the largest of bits is their OR.

    Parameters
    ----------
    bits : uint64 array, shape (images, words)
        Images of `shape`.
    shape : (int, int, int)
        Height, width, channels.
    size, stride : (int, int)
    positions : (int, int)
        Height and width of the result.
    out : uint64 array of zeros, shape (images, result words)
    """
    _, width, channels = shape
    for image in range(bits.shape[0]):
        for row in range(positions[0]):
            for column in range(positions[1]):
                target = (row * positions[1] + column) * channels
                for y in range(row * stride[0], row * stride[0] + size[0]):
                    for x in range(column * stride[1], column * stride[1] + size[1]):
                        _or_bits(bits[image], (y * width + x) * channels, channels, out[image], target)
