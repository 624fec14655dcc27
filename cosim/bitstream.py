"""Kernels that move bits: pack, unpack and compare, on uint64 words, compiled by numba.

Every kernel runs on one thread and releases the GIL. A vector's bits are one stream along its flattened shape
(row-major, channels last): element i is bit ``i % 64`` of word ``i // 64``. So flattening costs nothing, and a row of a
convolution's patch is one run of bits.

What turns 64 comparisons into one word is written in LLVM's own vector types, because no loop of Python makes LLVM do
it.
"""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from xnorflow.bnn.packing import WORD
from xnorflow.cosim.llvm import I8, I64, splat

Words = NDArray[np.uint64]
Octets = NDArray[np.uint8]
Integers = NDArray[np.signedinteger[Any]]

#: numba's own type has the intrinsics called with their typing context.
_intrinsic: Any = intrinsic


def _load_word(context: Any, builder: Any, kind: Any, value: Any, first: Any) -> Any:
    """Elements ``value[first : first + 64]`` of a one-dimensional array."""
    array = context.make_array(kind)(context, builder, value)
    vector = ir.VectorType(context.get_data_type(kind.dtype), WORD)
    pointer = builder.bitcast(builder.gep(array.data, [first]), vector.as_pointer())
    return builder.load(pointer, align=kind.dtype.bitwidth // 8)


def _to_word(builder: Any, comparison: str, first: Any, second: Any) -> Any:
    """Bits of the comparison of two vectors of 64 elements."""
    return builder.bitcast(builder.icmp_signed(comparison, first, second), I64)


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
        vector = ir.VectorType(I8, WORD)
        bits = builder.bitcast(arguments[0], ir.VectorType(ir.IntType(1), WORD))
        signs = builder.select(bits, vector([1] * WORD), vector([-1] * WORD))
        array = context.make_array(out)(context, builder, arguments[1])
        builder.store(signs, builder.bitcast(builder.gep(array.data, [arguments[2]]), vector.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(word, out, first), generate


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
    return bool(valid == ~np.uint64(0))


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
