"""Every way of counting bits, next to NumPy's own."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numpy.typing import NDArray

from xnorflow.bnn.packing import pack_bits
from xnorflow.cosim import paths, popcount
from xnorflow.cosim.table_tile import TableTile
from xnorflow.cosim.word_tile import WordTile

#: What this machine can run: NEON's code is LLVM's own and runs everywhere.
HERE = [tile for tile in paths.PATHS if tile.needs - {"neon"} <= paths.features()]


@cache
def kernels(tile: TableTile | WordTile, rows: Any) -> Any:
    add, compare = popcount.make_sum(tile, rows), popcount.make_compare(tile, rows)

    @njit
    def sums(patches: Any, weight: Any, kinds: Any, bias: Any, shift: Any, out: Any) -> None:
        for block in range(len(weight)):
            for first in range(0, len(patches), rows):
                add(patches, weight, kinds, block, first, bias, shift, out)

    @njit
    def bits(patches: Any, weight: Any, kinds: Any, limit: Any, flip: Any, out: Any) -> None:
        for block in range(len(weight)):
            for first in range(0, len(patches), rows):
                compare(patches, weight, kinds, block, first, limit, flip, out)

    return sums, bits


def counts(tile: TableTile | WordTile, rows: Any, values: NDArray[Any], planes: Any, weight: Any) -> Any:
    """Differing bits of integers' bit planes and signs, planes weighted, and the packed planes."""
    bits = [values >> plane & 1 for plane in reversed(range(planes))]
    differ = [((part[:, None, :] != (weight > 0)) & (weight != 0)).sum(-1) for part in bits]
    total = sum(count << plane for count, plane in zip(differ, reversed(range(planes)), strict=True))
    return total, np.ascontiguousarray(np.stack([pack_bits(part) for part in bits], axis=1))  # type: ignore[arg-type]


def check(
    tile: TableTile | WordTile,
    rows: Any,
    inputs: Any,
    neurons: Any,
    planes: Any,
    ternary: bool,
    seed: int,
    extreme: bool = False,
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.choice(np.array([-1, 0, 1] if ternary else [-1, 1], np.int8), (neurons, inputs))
    values = rng.integers(0, 1 << planes, (3 * rows, inputs))
    if extreme:  # every bit differs from the first neuron's: the largest counts there are
        values[:] = np.where(weight[0] > 0, 0, (1 << planes) - 1)
    expected, patches = counts(tile, rows, values, planes, weight)
    blocked = popcount.block_weights(weight, tile)
    filled = len(blocked) * tile.neurons
    kinds = rng.integers(0, 2, len(values))
    sums, compare = kernels(tile, rows)

    largest = ((1 << planes) - 1) * inputs
    shift = int(rng.integers(0, 2))
    for dtype in (np.int32, np.int64):
        bias = rng.integers(-99, 99, (2, filled)).astype(dtype)
        out = np.empty((len(values), filled), dtype)
        sums(patches, blocked, kinds, bias, shift, out)
        np.testing.assert_array_equal(out[:, :neurons], bias[kinds, :neurons] - (expected << shift))

    limit = np.full((2, filled), -1, tile.limit_type(largest))
    near = expected[rng.integers(0, len(expected), (2, neurons)), np.arange(neurons)]
    limit[:, :neurons] = (near + rng.integers(-1, 2, near.shape)).clip(-1, largest)
    flip = rng.random(filled) < 0.5
    octets = np.zeros((len(values), filled // 8), np.uint8)
    compare(patches, blocked, kinds, limit, np.packbits(flip, bitorder="little"), octets)
    got = np.unpackbits(octets, axis=1, bitorder="little")[:, :neurons].astype(bool)
    np.testing.assert_array_equal(got, (expected <= limit[kinds, :neurons]) ^ flip[:neurons])


@pytest.mark.parametrize("tile", HERE, ids=lambda tile: tile.name)
@settings(max_examples=60, deadline=None)
@given(
    whole=st.booleans(),
    inputs=st.integers(1, 700),
    neurons=st.integers(1, 140),
    planes=st.integers(1, 5),
    ternary=st.booleans(),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_tile_counts_as_numpy_does(
    tile: TableTile | WordTile,
    whole: bool,
    inputs: NDArray[Any],
    neurons: int,
    planes: int,
    ternary: bool,
    extreme: bool,
    seed: int,
) -> None:
    check(tile, tile.rows if whole else 1, inputs, neurons, planes, ternary, seed, extreme)


@pytest.mark.parametrize("ternary", [False, True])
@pytest.mark.parametrize("tile", HERE, ids=lambda tile: tile.name)
def test_sums_that_take_more_than_16_bits(tile: TableTile | WordTile, ternary: bool) -> None:
    check(tile, tile.rows, 70_000, 3, 1, ternary, seed=1, extreme=True)
    check(tile, tile.rows, 33_000, 3, 3, ternary, seed=2, extreme=True)


FORCED = {"-avx512vpopcntdq": "AVX-512 BW", "-avx512f": "AVX2", "-avx2": "SSSE3", "-ssse3": "plain"}


@pytest.mark.slow
@pytest.mark.parametrize("flag, name", FORCED.items())
def test_a_forced_lower_path_passes_the_golden_models_tests(flag: str, name: str, tmp_path: Path) -> None:
    if not any(tile.name == name for tile in HERE):
        pytest.skip(f"this machine cannot run {name}")
    environment = {**os.environ, "NUMBA_CPU_FEATURES": flag, "NUMBA_CACHE_DIR": str(tmp_path)}
    code = "from xnorflow.cosim.paths import PATH; print(PATH.name)"
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == name
    tests = ["-q", "-p", "no:cacheprovider", "tests/cosim/test_golden.py", "-k", "not random"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *tests], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
