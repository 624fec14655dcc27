"""A binary layer's weights, and its sums for given patches: as integers, or compared to thresholds at once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.packing import WORD, words
from xnorflow.cosim import popcount
from xnorflow.cosim.moves import Moves, join
from xnorflow.cosim.paths import PATH


@dataclass(frozen=True, eq=False)
class BlockedLayer:
    """Weights of a layer, and what turns its counts of differing bits into sums.

    Attributes
    ----------
    shape : tuple of int
        Shape of the result, channels last.
    weight : unsigned array
        See :func:`xnorflow.cosim.popcount.block_weights`.
    bias : int64 array, shape (kinds, weight's neurons)
        ``sum = bias - (count << shift)``; neurons that only fill up a block have a bias of 0.
    kinds : int64 array, shape (positions,)
        Which bias a position takes.
    shift : int
        1 for a bipolar operand, else 0.
    dtype : type
        Of the sums.
    largest : int
        No count is larger.
    """

    shape: tuple[int, ...]
    weight: NDArray[np.unsignedinteger[Any]]
    bias: NDArray[np.int64]
    kinds: NDArray[np.int64]
    shift: int
    dtype: type[np.signedinteger[Any]]
    largest: int

    @cached_property
    def offsets(self) -> NDArray[np.signedinteger[Any]]:
        """The bias in the type of the sums."""
        return self.bias.astype(self.dtype)

    @cached_property
    def joint(self) -> Moves:
        """Plan that joins the bits of all positions to one stream."""
        return join(len(self.kinds), self.shape[-1])

    def comparison(self, threshold: NDArray[np.int64], flip: NDArray[np.bool_]) -> "SumThresholds":
        """Prepare ``(sum >= threshold) ^ flip``, both by channel."""
        channels = self.shape[-1]
        limit = np.full(self.bias.shape, -1)  # no count is that small: bits that fill up a block stay 0
        limit[:, :channels] = (self.bias[:, :channels] - threshold) >> self.shift
        limit = limit.clip(-1, self.largest).astype(PATH.limit_type(self.largest))
        flips = np.zeros(self.bias.shape[1], np.bool_)
        flips[:channels] = flip
        return SumThresholds(limit, np.packbits(flips, bitorder="little"))


@dataclass(frozen=True, eq=False)
class SumThresholds:
    """Thresholds of a layer's sums: a bit is ``(count <= limit) ^ flip``.

    Attributes
    ----------
    limit : integer array, shape (kinds, the weight's neurons)
    flip : uint8 array, shape (the weight's neurons / 8,)
    """

    limit: NDArray[np.signedinteger[Any]]
    flip: NDArray[np.uint8]


@dataclass(eq=False, slots=True)  # not frozen, which makes each of them take longer
class Sums:
    """A layer's sums, not computed yet: a threshold needs no more than their bits.

    Attributes
    ----------
    layer : PackedLayer
    patches : uint64 array, shape (vectors, positions, planes, words)
    """

    layer: BlockedLayer
    patches: NDArray[np.uint64]

    def _rows(self) -> NDArray[np.uint64]:
        return self.patches.reshape(-1, *self.patches.shape[2:])

    def __len__(self) -> int:
        return len(self.patches)

    def store(self, out: NDArray[np.signedinteger[Any]]) -> None:
        """Write the sums.

        Parameters
        ----------
        out : array of layer.dtype, shape (vectors, *layer.shape), in C order
        """
        layer, rows = self.layer, self._rows()
        blocks, channels = layer.bias.shape[1], layer.shape[-1]
        sums = out.reshape(len(rows), channels)
        filled = sums if channels == blocks else np.empty((len(rows), blocks), layer.dtype)
        popcount.accumulate(rows, layer.weight, layer.offsets, layer.kinds, layer.shift, filled)
        if filled is not sums:
            sums[:] = filled[:, :channels]

    def compare(self, comparison: SumThresholds) -> NDArray[np.uint64]:
        """Return the bits of a comparison that was made for the layer, as one stream per vector."""
        layer, rows, channels = self.layer, self._rows(), self.layer.shape[-1]
        out = np.zeros((len(rows), words(channels)), np.uint64)
        popcount.accumulate_compare(
            rows, layer.weight, comparison.limit, layer.kinds, comparison.flip, out.view(np.uint8)
        )
        bits = out.reshape(*self.patches.shape[:2], -1)
        if len(layer.kinds) == 1 or channels % WORD == 0:
            return bits.reshape(len(bits), -1)
        return layer.joint(bits.reshape(len(bits), 1, -1))
