"""Tiles that count the bits of whole words."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils
from numpy.typing import NDArray

from xnorflow.bnn.packing import pack_bits, words
from xnorflow.cosim.llvm import I8, I16, I32, I64, Accumulators, Patches, aligned, groups, load, product, splat


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
        laid = aligned((blocks, words(weight.shape[1]), 2, self.neurons), np.uint64)
        for part, bits in enumerate((weight > 0, weight != 0)):
            laid[:, :, part] = pack_bits(bits).reshape(blocks, self.neurons, -1).transpose(0, 2, 1)
        return laid

    def limit_type(self, largest: int) -> type[np.signedinteger[Any]]:
        """Return the type in which counts up to `largest` are compared."""
        return np.int64

    def count(self, builder: Any, patches: Patches, weight: Any, shape: Any, block: Any, kind: Any) -> Accumulators:
        """Count a tile's differing bits, in LLVM's integers `kind` or longer ones: by row, neurons in order."""
        vector = ir.VectorType(I64, self.lanes)
        octets = ir.VectorType(I8, 8 * self.lanes)
        counted = octets if self.by_bytes else vector
        popcount = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(counted, [counted]), f"llvm.ctpop.v{counted.count}i{counted.element.width}"
        )
        first = builder.gep(weight, [product(builder, block, patches.length, I64(2 * self.neurons))])
        sums = Accumulators(builder, len(patches.starts), self.vectors, vector)
        by_byte = Accumulators(builder, len(patches.starts), self.vectors, octets) if self.by_bytes else None

        def add(plane: Any, word: Any) -> None:
            here = builder.gep(first, [builder.mul(word, I64(2 * self.neurons))])
            signs, masks = (
                [load(builder, here, vector, part + i * self.lanes) for i in range(self.vectors)]
                for part in (0, self.neurons)
            )
            for row, start in enumerate(patches.starts):
                bits = splat(builder, vector, patches.load(builder, start, plane, word))
                for i, (sign, mask) in enumerate(zip(signs, masks, strict=True)):
                    differ = builder.and_(builder.xor(bits, sign), mask)
                    (by_byte or sums).add(row, i, builder.call(popcount, [builder.bitcast(differ, counted)]))

        with cgutils.for_range(builder, patches.planes) as plane:
            sums.double()
            if by_byte is None:
                with cgutils.for_range(builder, patches.length) as word:
                    add(plane.index, word.index)
            else:
                with groups(builder, I64(0), patches.length, 255 // 8) as (start, stop):
                    by_byte.clear()
                    with cgutils.for_range_slice(builder, start, stop, I64(1), I64) as (word, _):
                        add(plane.index, word)
                    for row, i, value in by_byte.items():
                        sums.add(row, i, _fold(builder, value, vector))
        return sums


def _fold(builder: Any, octets: Any, vector: Any) -> Any:
    """Sum of the bytes of each word."""
    value = octets
    for kind in (I16, I32, I64):
        wide = ir.VectorType(kind, vector.count * 64 // kind.width)
        pairs = builder.bitcast(value, wide)
        half = kind.width // 2
        low = builder.and_(pairs, wide([2**half - 1] * wide.count))
        value = builder.add(low, builder.lshr(pairs, wide([half] * wide.count)))
    return value
