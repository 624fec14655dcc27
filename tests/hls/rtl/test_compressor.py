"""Matches with weights from block memory are counted by threes in the LUTs that compare them."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies
from tests.hls.rtl.checks import assert_equal, assert_on_time, replace_text
from tests.hls.rtl.icarus import needs_icarus, run, simulate

from xnorflow.bnn.network import Argmax, Dense, Input, Network, Threshold
from xnorflow.hls.rtl.config import Folded, RtlConfig
from xnorflow.hls.rtl.lowering import lower
from xnorflow.hls.rtl.project import write
from xnorflow.hls.rtl.units import Mvtu

SIGNS = np.array([-1, 1], np.int8)


def network(inputs: int, neurons: int, seed: int = 0) -> Network:
    """A layer whose weights, folded, fill a block memory, and one whose weights do not."""
    rng = np.random.default_rng(seed)
    return Network(
        "wide",
        (
            Input("image", (), shape=(inputs,)),
            Dense("dense1", ("image",), rng.choice(SIGNS, (neurons, inputs))),
            Threshold("sign", ("dense1",), rng.integers(-5, 6, neurons), rng.choice(SIGNS, neurons)),
            Dense("dense2", ("sign",), rng.choice(SIGNS, (3, neurons))),
            Argmax("argmax", ("dense2",)),
        ),
    )


def first(made: Network, folding: Folded) -> Mvtu:
    """Return the unit of the first layer."""
    units = lower(made, RtlConfig(layers={"dense1": folding})).units
    return next(unit for unit in units if isinstance(unit, Mvtu))


@needs_icarus
@settings(max_examples=12, deadline=None)
@given(
    st.integers(60, 140),
    st.integers(70, 90),
    st.sampled_from([1, 2]),
    st.integers(30, 140),
    st.sampled_from([4.0, 10.0]),
    st.integers(0, 9),
)
def test_wide_folded_layers_are_exact_and_on_time(
    tmp_path_factory: pytest.TempPathFactory,
    inputs: int,
    neurons: int,
    pe: int,
    simd: int,
    clock_ns: float,
    seed: int,
) -> None:
    made, folding = network(inputs, neurons, seed), Folded(pe, simd, levels_per_stage=1 + seed % 4)
    project = write(
        made, tmp_path_factory.mktemp("wide") / "rtl", RtlConfig(layers={"dense1": folding}, clock_ns=clock_ns)
    )
    vectors = strategies.inputs_for(made, 3, seed)
    clean = simulate(project, vectors)
    assert_equal(made, vectors, clean)
    assert_on_time(project, len(vectors), clean)
    assert_equal(made, vectors, run(project, vectors, stall=40, seed=seed))


def test_block_memories_alone_are_counted_by_threes() -> None:
    unit = first(network(128, 80), Folded(1, 64))
    assert unit.in_block_memory and unit.compressed and unit.triples == 22
    assert not first(network(128, 80), Folded(10, 128)).compressed  # few words: in LUTs, with the comparison
    weights = unit.weights.copy()
    weights[0, 0] = 0
    assert not replace(unit, weights=weights).compressed


def test_it_takes_a_third_less() -> None:
    unit = first(network(1024, 80), Folded(1, 1024))
    plain = replace(unit, folding=replace(unit.folding, pe=2))
    assert unit.adders.estimated_luts + 2 * unit.triples < 0.7 * (plain.adders.estimated_luts + 1024)


@needs_icarus
@pytest.mark.parametrize("old, new", [(r"agree_0[2]", r"agree_0[1]"), (r" + agree_0[62]", "")])
def test_a_wrong_compressor_is_found(tmp_path: Path, old: str, new: str) -> None:
    made = network(128, 80)
    project = write(made, tmp_path / "rtl", RtlConfig(layers={"dense1": Folded(1, 64)}))
    assert re.search(r"counts_0\[\d+ \+: 2\] <= agree", (project.folder / "wide_dense1.v").read_text())
    vectors = strategies.inputs_for(made, 6)
    assert_equal(made, vectors, simulate(project, vectors))
    replace_text("dense1", old, new)(project.folder)
    with pytest.raises(AssertionError):
        assert_equal(made, vectors, simulate(project, vectors))
