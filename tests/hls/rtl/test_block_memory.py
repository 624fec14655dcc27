"""Weights from block memory, with the register that a fast clock puts behind them and without."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from tests import strategies
from tests.hls.rtl.checks import assert_equal, assert_on_time, replace_text
from tests.hls.rtl.icarus import needs_icarus, run, simulate
from tests.hls.rtl.networks import BLOCK_MEMORY, in_block_memory

from xnorflow.bnn.network import Network
from xnorflow.hls.delays import DELAYS, memory_register
from xnorflow.hls.rtl.lowering import lower
from xnorflow.hls.rtl.project import write
from xnorflow.hls.rtl.units import Mvtu

SLOW, FAST = 20.0, 4.0


def unit(made: Network, clock_ns: float) -> Mvtu:
    units = lower(made, replace(BLOCK_MEMORY, clock_ns=clock_ns)).units
    return next(unit for unit in units if isinstance(unit, Mvtu) and unit.layer == "conv")


def test_the_register_comes_where_the_clock_leaves_no_time_for_three_luts() -> None:
    assert memory_register(FAST) and memory_register(5) and not memory_register(10)
    for delays in DELAYS.values():
        assert not memory_register(delays.block_to_q + 3 * (delays.wire(2) + delays.lut) + delays.setup + 1e-9)


@needs_icarus
@pytest.mark.parametrize("clock_ns", [SLOW, FAST])
@pytest.mark.parametrize("kind", ["bipolar", "signed"])
@pytest.mark.parametrize("values", [(-1, 1), (-1, 0, 1)])
def test_what_comes_from_it_meets_its_own_values(
    tmp_path: Path, kind: Literal["bipolar", "signed"], values: Sequence[int], clock_ns: float
) -> None:
    made = in_block_memory(kind, values)
    neurons = unit(made, clock_ns)
    assert neurons.in_block_memory and neurons.memory_register == (clock_ns == FAST)
    assert bool(neurons.flag_channels) == (kind == "bipolar") and neurons.masked == (0 in values)
    project = write(made, tmp_path / "rtl", replace(BLOCK_MEMORY, clock_ns=clock_ns))
    vectors = strategies.inputs_for(made, 2)
    clean = simulate(project, vectors)
    assert_equal(made, vectors, clean)
    assert_on_time(project, len(vectors), clean)
    assert_equal(made, vectors, run(project, vectors, stall=40))


@needs_icarus
@pytest.mark.parametrize("lost", ["word <= word_1", "values <= values_1", "present <= present_1"])
def test_a_register_left_out_is_found(tmp_path: Path, lost: str) -> None:
    made = in_block_memory("bipolar", (-1, 1))
    project = write(made, tmp_path / "rtl", replace(BLOCK_MEMORY, clock_ns=FAST))
    vectors = strategies.inputs_for(made, 2)
    assert_equal(made, vectors, simulate(project, vectors))
    first = {"word_1": "weight_memory[address]", "values_1": "vector[71:0]", "present_1": "flags[71:0]"}
    name = lost.split()[-1]
    replace_text("conv", lost, lost.replace(name, first[name]))(project.folder)
    with pytest.raises(AssertionError):
        assert_equal(made, vectors, simulate(project, vectors))
