"""Icarus under cocotb gives the right integers and cycles, and no fault of the RTL or the tool goes unseen."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests import oracle, strategies
from tests.cosim.faulty_rtl import FAULTS, faulty, network
from tests.cosim.rtl_by_hand import NETWORK, totals

from xnorflow.cosim.compare import compare
from xnorflow.cosim.engine import EngineError, EngineUnavailable
from xnorflow.cosim.rtl_icarus import RtlIcarus, _Effort
from xnorflow.cosim.timing import Spread, Timing
from xnorflow.hls.rtl.cycles import CycleModel, Frame

needs_icarus = pytest.mark.skipif(not shutil.which("iverilog"), reason="needs iverilog: apt-get install iverilog")


def engine(folder: Path, fault: str | None = None, **settings: object) -> RtlIcarus:
    made = RtlIcarus(totals(folder / "rtl", fault), **settings)  # type: ignore[arg-type]
    made.prepare(NETWORK, folder)
    return made


@needs_icarus
def test_results_and_cycles(tmp_path: Path) -> None:
    inputs = strategies.inputs_for(NETWORK, 40)
    icarus = engine(tmp_path)
    got = icarus.run(inputs)
    assert set(got) == {"scores", "winner"}
    assert compare(NETWORK, oracle.run(NETWORK, inputs), got).first is None
    # Counted by hand: 3 beats in, 5 out; the second result waits for the first, the third frame for the FIFO.
    assert icarus.timing is not None and icarus.waveform is None
    assert icarus.timing.first_in[:4].tolist() == [0, 3, 8, 13]
    assert icarus.timing.last_out[:4].tolist() == [7, 12, 17, 22]
    assert icarus.timing.latency == Spread(7, 9.0, 9) and icarus.timing.interval == Spread(5, 5.0, 5)
    assert icarus.tools().keys() == {"iverilog", "cocotb", "cocotbext-axi"}
    assert sorted(path.name.split("_")[0] for path in tmp_path.iterdir()) == ["icarus", "rtl"], "nothing left behind"
    assert icarus.detail == (
        "all vectors back to back; again, for the same integers: the first 32 with random stalls on both sides, "
        "the first 12 with gaps between them, some after each of 8 resets in the middle of frames"
    )
    icarus.run(inputs[:3], every_layer=True)
    assert icarus.detail == "all vectors back to back alone"


@needs_icarus
def test_one_frame_has_no_interval(tmp_path: Path) -> None:
    icarus = engine(tmp_path)
    icarus.run(strategies.inputs_for(NETWORK, 1))
    assert icarus.timing is not None
    assert icarus.timing.latency == Spread(7, 7.0, 7) and icarus.timing.interval is None


@needs_icarus
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("tready dropped", "pass stalls: m_axis"),
        ("tvalid taken back", "pass stalls: m_axis: tvalid fell"),
        ("tlast early", "pass back_to_back: .*frame 0: tlast after 4 beats instead of 5"),
        ("counter not reset", "pass resets: other results than back to back: vector"),
        ("stuck", "pass back_to_back: .*frame 0: no result within [0-9]+ clock cycles"),
    ],
)
def test_planted_faults_are_told_with_a_waveform(tmp_path: Path, fault: str, told: str) -> None:
    icarus = engine(tmp_path, fault)
    with pytest.raises(EngineError, match=told) as error:
        icarus.run(strategies.inputs_for(NETWORK, 20))
    assert icarus.waveform is not None and str(icarus.waveform) in str(error.value)
    assert icarus.waveform.stat().st_size > 1000


@needs_icarus
def test_wrong_integers_are_for_the_comparison_and_located_by_the_probe(tmp_path: Path) -> None:
    inputs = strategies.inputs_for(NETWORK, 20)
    expected = oracle.run(NETWORK, inputs)
    icarus = engine(tmp_path, "wrong sign")
    wrong = np.array(compare(NETWORK, expected, icarus.run(inputs)).wrong)
    assert wrong.size
    got = icarus.run(inputs[wrong], every_layer=True)
    first = compare(NETWORK, {name: values[wrong] for name, values in expected.items()}, got).first
    assert first is not None and first.layer == "scores" and first.channel == 1
    assert icarus.waveform is not None and icarus.waveform.stat().st_size > 1000


@needs_icarus
def test_fifo_overflow_is_seen_back_to_back(tmp_path: Path) -> None:
    inputs = strategies.inputs_for(NETWORK, 20)
    icarus = engine(tmp_path, "fifo off by one")
    try:
        got = icarus.run(inputs)
    except EngineError:
        return
    assert compare(NETWORK, oracle.run(NETWORK, inputs), got).mismatches


@needs_icarus
def test_broken_verilog_is_told_in_the_tools_words(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"totals\.v:[0-9]+: syntax error"):
        engine(tmp_path, "syntax")
    assert [path.name for path in tmp_path.iterdir()] == ["rtl"], "no half-built simulation stays"


@needs_icarus
def test_nothing_stale_stands_in_for_results(tmp_path: Path) -> None:
    inputs = strategies.inputs_for(NETWORK, 4)
    icarus = engine(tmp_path)
    icarus.run(inputs)
    (program,) = tmp_path.glob("icarus_*/sim.vvp")
    program.write_text("#! /usr/bin/vvp\n")
    with pytest.raises(EngineError, match="no results"):
        icarus.run(inputs)
    assert icarus.timing is None


@needs_icarus
def test_builds_once_for_the_same_files(tmp_path: Path) -> None:
    engine(tmp_path)
    (program,) = tmp_path.glob("icarus_*/sim.vvp")
    before = program.stat().st_mtime_ns
    engine(tmp_path)
    assert program.stat().st_mtime_ns == before
    engine(tmp_path, "wrong sign")
    assert len(list(tmp_path.glob("icarus_*/sim.vvp"))) == 2


@needs_icarus
def test_waveform_on_request(tmp_path: Path) -> None:
    icarus = engine(tmp_path, waves=True)
    icarus.run(strategies.inputs_for(NETWORK, 2))
    assert icarus.waveform is not None and icarus.waveform.suffix == ".fst" and icarus.waveform.stat().st_size > 1000


@needs_icarus
def test_simulation_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    icarus = engine(tmp_path)
    monkeypatch.setattr("xnorflow.cosim.rtl_icarus._LIMIT", 1)
    with pytest.raises(EngineError, match=r"vvp took longer than 1 s for back_to_back of totals"):
        icarus.run(strategies.inputs_for(NETWORK, 5000))


def test_deviation_from_the_cycle_model_is_told() -> None:
    model = CycleModel(7, 5, (Frame(0, 7), Frame(3, 12)), ())
    first_in, last_out = np.array([0, 3, 8, 13]), np.array([7, 12, 17, 22])
    assert Timing(first_in, last_out).deviation(model) is None
    assert Timing(first_in[:1], last_out[:1]).deviation(model) is None
    told = Timing(first_in, np.array([7, 12, 17, 23])).deviation(model)
    assert told == "frame 3 of 4 came in cycle 13 and left in cycle 23; the cycle model says 13 and 22"


def test_slow_designs_get_fewer_vectors(tmp_path: Path) -> None:
    fast, slow = (replace(totals(tmp_path), timing=CycleModel(cycles, cycles, (), ())) for cycles in (20, 20_000))
    quick, costly, large = (
        _Effort.of(project, size, budget)
        for project, size, budget in ((fast, 400_000, 2e10), (slow, 2_000_000, 8e10), (slow, 2_000_000, 2e10))
    )
    assert quick == _Effort(500, 32, 12, 8)
    assert costly == _Effort(vectors=2, stalled=1, gapped=1, resets=1)
    assert large == _Effort(vectors=2, stalled=0, gapped=0, resets=0)


@needs_icarus
def test_a_design_too_slow_for_two_frames_is_left_to_cxxrtl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = RtlIcarus(replace(totals(tmp_path / "rtl"), timing=CycleModel(700, 50, (), ())))
    slow.prepare(NETWORK, tmp_path)
    monkeypatch.setattr(RtlIcarus, "most", 1000)
    with pytest.raises(EngineUnavailable, match=r"two frames would take .* 750 cycles of a design of .* MB"):
        slow.attach(NETWORK, tmp_path)


@needs_icarus
def test_the_smallest_effort_still_finds_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xnorflow.cosim.rtl_icarus._Effort.of", lambda *_: _Effort(2, 1, 1, 1))
    inputs = strategies.inputs_for(NETWORK, 2)
    icarus = engine(tmp_path)
    assert compare(NETWORK, oracle.run(NETWORK, inputs), icarus.run(inputs)).first is None
    assert icarus.detail == (
        "all vectors back to back; again, for the same integers: the first 1 with random stalls on both sides, "
        "some after each of 1 resets in the middle of frames; none with gaps between them: too slow"
    )
    with pytest.raises(EngineError, match="pass stalls"):
        engine(tmp_path, "tready dropped").run(inputs)
    monkeypatch.setattr("xnorflow.cosim.rtl_icarus._Effort.of", lambda *_: _Effort(2, 0, 0, 0))
    icarus = engine(tmp_path)
    assert compare(NETWORK, oracle.run(NETWORK, inputs), icarus.run(inputs)).first is None
    assert icarus.detail == (
        "all vectors back to back alone; none with random stalls or with gaps between them or after resets: too slow"
    )


@needs_icarus
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_generated_rtl_are_found(tmp_path: Path, fault: str) -> None:
    images = network()
    icarus = RtlIcarus(faulty(tmp_path / "rtl", fault))
    icarus.prepare(images, tmp_path)
    inputs = strategies.inputs_for(images, 12)
    try:
        got = icarus.run(inputs)
    except EngineError as error:
        assert "pass " in str(error) and icarus.waveform is not None
    else:
        assert compare(images, oracle.run(images, inputs), got).mismatches


def test_missing_tool_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match="apt-get install iverilog"):
        engine(tmp_path)
