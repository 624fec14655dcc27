"""Moves of bits between streams, planned once: a convolution's patches, max-pools, joints of positions.

A stream is uint64 words; bit i is bit ``i % 64`` of word ``i // 64``. A plan lists, for all words that it writes, the
words that they take bits from, how far these are rotated, and which of their bits are taken. So the kernel that follows
it branches on nothing.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xnorflow.bnn.packing import WORD, words
from xnorflow.cosim.bitstream import Words

Indices = NDArray[np.int64]
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Moves:
    """``out[target] |= rotate_left(source[index], rotate) & mask``, for each element of these arrays.

    Attributes
    ----------
    length : int
        Words of a stream that is written.
    index, target : int32 array
    rotate : uint8 array, values 0 to 63
    mask : uint64 array
    """

    length: int
    index: NDArray[np.int32]
    target: NDArray[np.int32]
    rotate: NDArray[np.uint8]
    mask: NDArray[np.uint64]

    def __call__(self, bits: Words, step: int = 0) -> Words:
        """Move bits.

        Parameters
        ----------
        bits : uint64 array, shape (vectors, planes, words)
        step : int
            Words from what one plane writes to what the next one does.

        Returns
        -------
        uint64 array, shape (vectors, length)
            Bits that nothing is moved to are 0.
        """
        out = np.zeros((len(bits), self.length), np.uint64)
        _move(bits, self.index, self.target, self.rotate, self.mask, step, out)
        return out


@njit(nogil=True, cache=True)
def _move(
    bits: Words,
    index: NDArray[np.int32],
    target: NDArray[np.int32],
    rotate: NDArray[np.uint8],
    mask: NDArray[np.uint64],
    step: int,
    out: Words,
) -> None:
    full = np.uint64(WORD - 1)
    for vector in range(bits.shape[0]):
        for plane in range(bits.shape[1]):
            source, result = bits[vector, plane], out[vector, plane * step :]
            for i in range(len(index)):
                word, by = source[np.uint32(index[i])], np.uint64(rotate[i])
                result[np.uint32(target[i])] |= (word << by | word >> (-by & full)) & mask[i]


def plan(length: int, start: Indices, count: Indices, target: Indices) -> Moves:
    """Plan the move of ``count`` bits each from bit ``start`` to bit ``target``; where moves meet, bits are ORed.

    Parameters
    ----------
    length : int
        Words of a stream that is written.
    start, count, target : int64 array, shape (moves,)
    """
    there = count > 0
    start, count, target = start[there], count[there], target[there]
    # Cut where a word that is written ends, then where a word that is read ends.
    start, count, target = _cut(start, count, target, target)
    start, count, target = _cut(start, count, target, start)
    shift = (target % WORD).astype(np.uint64)
    ones = ~np.uint64(0) >> (WORD - count).astype(np.uint64)
    target_word = target // WORD
    # Moves to the same word come one after another, far apart, so that none waits for the one before.
    order = np.argsort(target_word, kind="stable")
    rank = np.empty(len(order), np.int64)
    _, first, sizes = np.unique(target_word[order], return_index=True, return_counts=True)
    rank[order] = np.arange(len(order)) - np.repeat(first, sizes)
    order = np.lexsort((target_word, rank))
    return Moves(
        length,
        (start // WORD)[order].astype(np.int32),
        target_word[order].astype(np.int32),
        ((target - start) % WORD)[order].astype(np.uint8),
        (ones << shift)[order],
    )


def _cut(start: Indices, count: Indices, target: Indices, place: Indices) -> tuple[Indices, Indices, Indices]:
    """Cut moves wherever bits from `place` on (`start` or `target`) go from one word to the next."""
    pieces = (place + count - 1) // WORD - place // WORD + 1
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    start, count, target, place = (np.repeat(array, pieces) for array in (start, count, target, place))
    done = np.where(number > 0, (place // WORD + number) * WORD - place, 0)
    rest = np.minimum(count, (place // WORD + number + 1) * WORD - place) - done
    return start + done, rest, target + done


def cut_patches(shape: Shape, kernel: Shape, stride: Shape, corner: Shape, positions: Shape, planes: int) -> Moves:
    """Cut a convolution's patches out of images; what lies outside the image is 0.

    The result of a vector is its patches, shape (positions, planes, patch words).

    Parameters
    ----------
    shape : (int, int, int)
        Height, width, channels of the image.
    kernel, stride : (int, int)
    corner : (int, int)
        Rows and columns of padding before the image.
    positions : (int, int)
        Height and width of the result.
    planes : int
        Bit planes of the image.
    """
    height, width, channels = shape
    top = np.arange(positions[0])[:, None, None] * stride[0] - corner[0]
    left = np.arange(positions[1])[None, :, None] * stride[1] - corner[1]
    tap = np.arange(kernel[0])
    row = top + tap
    first, last = left.clip(min=0), (left + kernel[1]).clip(max=width)
    count = (last - first).clip(min=0) * channels * ((row >= 0) & (row < height))
    patch = planes * words(kernel[0] * kernel[1] * channels)
    number = np.arange(positions[0] * positions[1]).reshape(*positions, 1)
    start = (row * width + first) * channels
    target = number * patch * WORD + (tap * kernel[1] + first - left) * channels
    return plan(patch * number.size, *_flat(start, count, target))


def pool(shape: Shape, size: Shape, stride: Shape, corner: Shape, positions: Shape) -> Moves:
    """Max-pool bipolar images: the largest of bits is their OR.

    Parameters
    ----------
    shape : (int, int, int)
        Height, width, channels of the image.
    size, stride : (int, int)
    corner : (int, int)
        Rows above and columns left of the image, all of -1.
    positions : (int, int)
        Height and width of the result.
    """
    height, width, channels = shape
    y = (np.arange(positions[0])[:, None] * stride[0] - corner[0] + np.arange(size[0]))[:, None, :, None]
    x = (np.arange(positions[1])[:, None] * stride[1] - corner[1] + np.arange(size[1]))[None, :, None, :]
    number = np.arange(positions[0] * positions[1]).reshape(*positions, 1, 1)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    moves = _flat((y * width + x) * channels, channels * inside, number * channels)
    return plan(words(number.size * channels), *moves)


def join(positions: int, channels: int) -> Moves:
    """Join positions, each of which begins a new word, to one stream."""
    number = np.arange(positions)
    moves = _flat(number * words(channels) * WORD, np.full(positions, channels), number * channels)
    return plan(words(positions * channels), *moves)


def _flat(*arrays: Indices) -> list[Indices]:
    return [array.reshape(-1) for array in np.broadcast_arrays(*arrays)]
