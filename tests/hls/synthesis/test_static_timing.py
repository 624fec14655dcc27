"""The estimate of a netlist's clock: by hand on a small one, and on what Yosys makes."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.hls.rtl.networks import small_dense
from tests.hls.synthesis.rtlil import cell

from xnorflow.bnn.network import Affine, Argmax
from xnorflow.hls.delays import DELAYS
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.project import write
from xnorflow.hls.synthesis.rtlil import netlists, parse
from xnorflow.hls.synthesis.static_timing import path_of, slowest
from xnorflow.hls.synthesis.tools import SynthesisError
from xnorflow.hls.synthesis.yosys import synthesise

TIMES = DELAYS["xilinx7"]


WIRES = r"""
module \m
  wire input 1 \clk
  wire output 2 \out
  wire width 4 \a
  wire \b
  wire $x
  wire $y
  wire width 8 $c
  wire width 8 $o
"""


def register(q: str, d: str, enable: str = "1'1") -> str:
    return cell("FDRE", f"r{q}{d}".replace(" ", ""), C="\\clk", CE=enable, D=d, Q=q, R="1'0")


def test_a_path_is_the_sum_of_its_cells_and_nets() -> None:
    text = (
        WIRES
        + register("\\a [0]", "\\a [1]")
        + cell("LUT2", "l1", I0="\\a [0]", I1="\\a [2]", O="$x")
        + cell("LUT3", "l2", I0="$x", I1="\\a [0]", I2="\\a [0]", O="$y")
        + register("\\b", "$y")
    )
    path = path_of(parse(text), TIMES)
    assert (path.start, path.end, path.luts, path.carries) == ("a", "b", 2, 0)
    nets = TIMES.wire(3) + TIMES.wire(1)  # what l2 drives is its own slice's flip-flop
    assert path.ns == pytest.approx(TIMES.clock_to_q + nets + 2 * TIMES.lut + TIMES.setup)


def test_a_carry_chain_is_passed_at_its_own_speed() -> None:
    wide = "{ \\a [3] \\a [2] \\a [1] \\a [0] }"
    text = (
        WIRES
        + "".join(register(f"\\a [{i}]", "1'0") for i in range(4))
        + cell("CARRY4", "c1", CI="1'0", CYINIT="1'0", DI=wide, S="4'0000", CO="$c [3:0]", O="$o [3:0]")
        + cell("CARRY4", "c2", CI="$c [3]", CYINIT="1'0", DI="4'0000", S="4'0000", CO="$c [7:4]", O="$o [7:4]")
        + "  connect $x $o [7]\n"
        + register("\\b", "$x")
    )
    path = path_of(parse(text), TIMES)
    assert (path.start, path.end, path.luts, path.carries) == ("a", "b", 0, 2)
    on_the_way = TIMES.carry_in + TIMES.carry_out
    assert path.ns == pytest.approx(TIMES.clock_to_q + TIMES.wire(1) + on_the_way + TIMES.setup)


def test_an_enable_and_a_reset_must_be_there_earlier_than_a_value() -> None:
    value, enable = (
        path_of(parse(WIRES + register("\\a [0]", "1'0") + cell("LUT1", "l", I0="\\a [0]", O="$x") + last), TIMES).ns
        for last in (register("\\b", "$x"), register("\\b", "1'0", enable="$x"))
    )
    assert enable - value == pytest.approx(TIMES.enable - TIMES.setup + TIMES.wire(1))


@pytest.mark.parametrize("registers, slow", [("AB", ""), ("A", "B"), ("B", "A"), ("", "AB")])
def test_each_operand_of_a_multiplier_may_have_its_own_register(registers: str, slow: str) -> None:
    settings = "".join(f"    parameter \\{port}REG {int(port in registers)}\n" for port in "AB")
    for port in "AB":
        operands = {"A": "1'0", "B": "1'0"} | {port: "\\a [0]"}
        dsp = cell("DSP48E1", "d", C="1'0", D="1'0", P="$x", **operands)
        text = WIRES + register("\\a [0]", "1'0") + dsp.replace("$d\n", f"$d\n{settings}")
        last = TIMES.multiplier if port in slow else TIMES.setup
        assert path_of(parse(text), TIMES).ns == pytest.approx(TIMES.clock_to_q + TIMES.wire(1) + last)


def test_what_is_not_known_and_what_never_ends_is_refused() -> None:
    with pytest.raises(SynthesisError, match="ODD is a cell of unknown speed"):
        path_of(parse(WIRES + cell("ODD", "l", I="\\b", O="$x")), TIMES)
    loop = cell("LUT1", "l1", I0="$x", O="$y") + cell("LUT1", "l2", I0="$y", O="$x")
    with pytest.raises(SynthesisError, match="a loop without a register"):
        path_of(parse(WIRES + loop), TIMES)


@pytest.mark.skipif(shutil.which("yosys") is None, reason="no yosys: apt-get install yosys")
@pytest.mark.slow
def test_a_longer_pipeline_has_a_shorter_period(tmp_path: Path) -> None:
    network = small_dense(sizes=(64, 8, 4))
    paths = []
    for levels in (1, 6):
        project = write(network, tmp_path / f"rtl{levels}", RtlConfig(default=Unrolled(levels)))
        paths.append(slowest(netlists(synthesise(project, "xilinx7", tmp_path / "cache")), "xilinx7"))
    short, long = paths
    assert short and long
    assert short.ns + 1 < long.ns and long.layer == "dense1" and long.carries > short.carries
    assert slowest(netlists(synthesise(project, "ice40", tmp_path / "cache")), "ice40") is None


@pytest.mark.skipif(shutil.which("yosys") is None, reason="no yosys: apt-get install yosys")
@pytest.mark.slow
def test_memories_and_multipliers_have_a_speed(tmp_path: Path) -> None:
    network = small_dense(sizes=(64, 80, 4))
    scale = np.arange(4) + 900_001
    tail = (Affine("affine", ("dense2",), scale, scale), Argmax("argmax", ("affine",)))
    network = replace(network, operations=(*network.operations[:-1], *tail))
    project = write(network, tmp_path / "rtl", RtlConfig(default=Folded(1, 32)))
    made = synthesise(project, "xilinx7", tmp_path / "cache")
    assert made.total.bram and made.total.dsp
    path = slowest(netlists(made), "xilinx7")
    assert path and 2 < path.ns < 9
