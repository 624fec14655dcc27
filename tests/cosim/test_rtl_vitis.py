"""RTL in the conventions of Vitis HLS (by hand: no vendor tool is here) goes through the bench of our own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import oracle, strategies
from tests.cosim.vitis import NETWORK, needs_icarus, sample

from xnorflow.cosim.compare import Mismatch, compare
from xnorflow.cosim.engine import EngineError, EngineUnavailable
from xnorflow.cosim.rtl_icarus import RtlIcarus
from xnorflow.cosim.rtl_vitis import VitisProject, adapt
from xnorflow.cosim.timing import Spread


def first_difference(project: VitisProject, folder: Path, inputs: NDArray[Any]) -> Mismatch | None:
    engine = RtlIcarus(project)
    engine.prepare(NETWORK, folder)
    got = engine.run(inputs)
    assert set(got) == {"scores", "winner"}
    assert engine.timing is not None
    assert engine.timing.latency == Spread(4, 4.0, 4), "two stages of the kernel, a register on either side"
    return compare(NETWORK, oracle.run(NETWORK, inputs), got).first


@needs_icarus
def test_it_is_exact_in_all_passes_and_a_wrong_weight_bit_is_seen(tmp_path: Path) -> None:
    inputs = strategies.inputs_for(NETWORK, 60)
    project = sample(tmp_path)
    assert first_difference(project, tmp_path, inputs) is None
    rom = project.folder / "sample_top_weights.dat"
    first, *rest = rom.read_text().split()
    rom.write_text("\n".join([f"{int(first, 16) ^ 4:03x}", *rest]))
    difference = first_difference(project, tmp_path, inputs)
    assert difference is not None and (difference.layer, difference.channel) == ("scores", 0)


@needs_icarus
def test_a_kernel_that_never_ends_is_told(tmp_path: Path) -> None:
    project = sample(tmp_path, ("assign ap_done = ap_enable_reg_pp0_iter2;", "assign ap_done = 1'b0;"))
    engine = RtlIcarus(project)
    engine.prepare(NETWORK, tmp_path)
    with pytest.raises(EngineError, match="no result within"):
        engine.run(strategies.inputs_for(NETWORK, 3))


def test_what_is_no_such_project_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="has not synthesised the hls4ml project"):
        adapt(NETWORK, tmp_path, tmp_path / "rtl")
    with pytest.raises(EngineUnavailable, match="expected the ports of io_parallel"):
        sample(tmp_path / "stream", ("inputs_ap_vld", "inputs_TVALID"))
    with pytest.raises(EngineError, match="expected 12 bits in and 3 results of one width, got 16 bits"):
        sample(tmp_path / "wide", ("[11:0] inputs;", "[15:0] inputs;"))
    assert not list(tmp_path.glob("*/rtl")), "nothing half-written stays"


def test_words_and_results_lie_as_the_tool_puts_them(tmp_path: Path) -> None:
    project = VitisProject(NETWORK, tmp_path, (), 12, 5)
    inputs = np.where(np.arange(12) % 5 == 0, 1, -1)[np.newaxis]  # bits 0, 5 and 10
    assert project.pack(inputs).tolist() == [[[0b00100001, 0b00000100]]]
    got = project.unpack(np.array([[[0b10100, 0b01100, 0b11110]]], np.uint8))  # -12, 12, -2
    assert got["scores"].tolist() == [[-12, 12, -2]] and got["winner"].tolist() == [[1]]
