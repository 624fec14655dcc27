"""What the machine's registers can do at best: the golden model's operations without memory and without layers."""

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from xnorflow.bnn.packing import WORD
from xnorflow.cosim.llvm import I8, I32, I64, splat
from xnorflow.cosim.table_tile import LOOKUPS, NIBBLE, TableTile, add_up

#: Chains of operations that do not wait for each other.
_CHAINS = 4
_LANES = 8

#: Compiled loop of (times), and how many 64-bit words it counts at a time.
Limit = tuple[Callable[[int], int], int]


def words() -> Limit:
    """XOR, mask, popcount and add 64-bit words, by the machine's instructions that LLVM chooses."""
    vector = ir.VectorType(I64, _LANES)

    def turn(builder: Any, sums: list[Any], starts: list[Any]) -> list[Any]:
        popcount = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector]), f"llvm.ctpop.v{_LANES}i64"
        )
        differ = builder.and_(builder.xor(sums[0], starts[0]), starts[1])
        return [builder.add(sums[0], builder.call(popcount, [differ]))]

    return _loop(vector, 1, turn), _CHAINS * _LANES


def look_ups(tile: TableTile) -> Limit:
    """Look bits of two patches up and add them up, as a tile does."""

    def turn(builder: Any, sums: list[Any], starts: list[Any]) -> list[Any]:
        counts = [tile.look_up(builder, sums[0], start) for start in starts[:LOOKUPS]]
        return [builder.add(value, new) for value, new in zip(sums, add_up(builder, counts), strict=True)]

    return _loop(ir.VectorType(I8, tile.lanes), 2, turn), _CHAINS * 2 * LOOKUPS * NIBBLE * tile.lanes // WORD


def _loop(vector: Any, sums: int, turn: Callable[[Any, list[Any], list[Any]], list[Any]]) -> Callable[[int], int]:
    """Compile a loop that takes a `turn` of every chain of `sums` vectors."""

    def registers(typing_context: Any, times: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def unknown(i: int) -> Any:  # or LLVM would compute the result
                words = ir.VectorType(I64, vector.count * vector.element.width // WORD)
                return builder.bitcast(splat(builder, words, builder.mul(arguments[0], I64(2 * i + 3))), vector)

            starts = [unknown(i) for i in range(LOOKUPS)]
            chains = [
                [cgutils.alloca_once_value(builder, unknown(LOOKUPS + chain + i)) for i in range(sums)]
                for chain in range(_CHAINS)
            ]
            with cgutils.for_range(builder, arguments[0]):
                for places in chains:
                    values = turn(builder, [builder.load(place) for place in places], starts)
                    for place, value in zip(places, values, strict=True):
                        builder.store(value, place)
            everything = [builder.load(place) for places in chains for place in places]
            total = builder.extract_element(functools.reduce(builder.add, everything), I32(0))
            return builder.zext(total, I64) if vector.element.width < WORD else total

        return types.uint64(times), generate

    call: Any = intrinsic(registers)

    @njit(nogil=True)
    def run(times: int) -> int:
        result: int = call(times)
        return result

    return run
