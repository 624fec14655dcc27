"""Toggles counted by hand, and an estimate that can be checked with pencil and paper."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.hls.vendor.conftest import network

from xnorflow.bnn.errors import UserError
from xnorflow.hls import energy
from xnorflow.hls.energy import Activity
from xnorflow.hls.rtl import project as rtl_project
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled

VCD = """$timescale 1 ns $end
$scope module top $end
$var wire 1 ! aclk $end
$var wire 4 " data [3:0] $end
$var wire 1 & lonely $end
$var parameter 4 % WIDTH $end
$scope module inner $end
$var wire 1 ! aclk $end
$var reg 4 # data [3:0] $end
$var wire 2 $ term [1:0] $end
$upscope $end
$upscope $end
$enddefinitions $end
#0
0!
bx "
bx #
bx $
b100 %
x&
#5
1!
b0101 "
b0101 #
b01 $
0&
#10
0!
#15
1!
b0110 "
b0110 #
b10 $
1&
#20
0!
#25
1!
bx110 "
bx110 #
0&
#30
0!
b1110 "
b1110 #
"""


def counted(folder: Path, text: str = VCD, clock: str = "aclk", frames: int = 2, memory_bits: float = 0.0) -> Any:
    path = folder / "wave.vcd"
    path.write_text(text)
    return energy.activity(path, clock, frames, memory_bits)


def test_toggles(tmp_path: Path) -> None:
    # data: bits 0 and 1 change at 15, bit 3 at 30; the register drives all, `data` and `term` outside are the same
    # nets. lonely changes at 15 and 25. 4 register bits for 3 rising edges.
    assert counted(tmp_path, memory_bits=7) == Activity(3 / 2, 2 / 2, 4 * 3 / 2, 7)


def test_becoming_known_is_no_toggle_and_other_times_are_other_nets(tmp_path: Path) -> None:
    late = VCD.replace("b10 $\n", "").replace("#20\n", "#16\nb10 $\n#20\n")
    assert counted(tmp_path, late, frames=1) == Activity(3, 4, 12, 0)


def test_equal_registers_of_one_module_are_two_nets_and_of_two_modules_one(tmp_path: Path) -> None:
    twin = VCD.replace("$var wire 2 $ term [1:0] $end", '$var reg 4 " twin [3:0] $end')
    assert counted(tmp_path, twin) == Activity(2 * 3 / 2, 2 / 2, 8 * 3 / 2, 0)
    apart = VCD.replace("$var wire 2 $ term", "$upscope $end\n$scope module other $end\n$var reg 2 $ term")
    assert counted(tmp_path, apart) == Activity(3 / 2, 2 / 2, 6 * 3 / 2, 0)


def test_a_waveform_of_icarus(tmp_path: Path) -> None:
    if not shutil.which("iverilog"):
        pytest.skip("no iverilog here; apt-get install iverilog")
    (tmp_path / "t.v").write_text(
        """
        module add(input wire aclk, input wire [3:0] in_data, output reg [3:0] out_data);
            always @(posedge aclk) out_data <= in_data + 4'd1;
        endmodule
        module top(input wire aclk, input wire [3:0] in_data, output wire [3:0] out_data);
            wire [3:0] between;
            add first(aclk, in_data, between);
            add second(aclk, between, out_data);
        endmodule
        module bench;
            reg aclk = 0;
            reg [3:0] in_data = 0;
            wire [3:0] out_data;
            top dut(aclk, in_data, out_data);
            always #5 aclk = ~aclk;
            initial begin
                $dumpfile("wave.vcd");
                $dumpvars(0, dut);
                #52 in_data = 4'd3;
                #50 $finish;
            end
        endmodule
        """
    )
    subprocess.run(["iverilog", "-g2005", "-o", "t", "t.v"], cwd=tmp_path, check=True)
    subprocess.run(["vvp", "t"], cwd=tmp_path, check=True, capture_output=True)
    # in_data 0 -> 3: two wires. The registers: 1 -> 4, which is 2 bits, then 2 -> 5, which is 3. 10 cycles of 8 bits.
    assert energy.activity(tmp_path / "wave.vcd", "aclk", 1, 0) == Activity(5, 2, 80, 0)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no signal clk, the clock, in it"):
        counted(tmp_path, clock="clk")
    with pytest.raises(UserError, match="a waveform of 0 frames"):
        counted(tmp_path, frames=0)
    with pytest.raises(UserError, match="not a waveform in VCD or FST format"):
        counted(tmp_path, "garbage")
    with pytest.raises(UserError, match="not a waveform in VCD or FST format"):
        energy.activity(tmp_path / "missing.vcd", "aclk", 1, 0)


def test_memory_bits() -> None:
    net = network()

    def bits(default: Any, **layers: Any) -> Any:
        return energy.memory_bits(rtl_project.plan(net, RtlConfig(default=default, layers=layers)))

    assert bits(Unrolled()) == 0
    # fc1: 8 neurons of 70 inputs in 8 x 9 words of 8 (the last group of inputs is filled up); fc2: 3 of 8 in 3 of 8.
    assert bits(Folded(pe=1, simd=8)) == 8 * 9 * 8 + 3 * 8
    assert bits(Folded(pe=1, simd=8), fc1=Unrolled()) == 3 * 8
    assert bits(Folded(pe=8, simd=70), fc2=Unrolled()) == 8 * 70


def test_the_estimate_is_the_sum_of_its_terms() -> None:
    made = energy.estimate(Activity(1000, 2000, 3000, 4000))
    toggle, clock, bit = 0.1 / 32 * 14, 0.044 / 100e6 / 23097 * 1e12, 10 / 64
    assert made.picojoules == pytest.approx(3000 * toggle + 3000 * clock + 4000 * bit, rel=1e-12)
    assert made.picojoules == sum(term.picojoules for term in made.terms)
    assert (made.low, made.high) == (made.picojoules / 3, made.picojoules * 3)
    assert [term.count for term in made.terms] == [1000, 2000, 3000, 4000]
    assert all(term.source for term in made.terms)


def test_constants_are_of_the_order_of_a_vendors_figures() -> None:
    # Vivado's report that UNCERTAINTY names: LUTs and signals, at 12.5 % of 100 MHz.
    vendor = (0.016 / 20365 + 0.027 / 35602) / (0.125 * 100e6) * 1e12
    ours = energy.CONSTANTS["wire_toggles"].picojoules
    assert ours < vendor <= ours * energy.UNCERTAINTY * 1.05
