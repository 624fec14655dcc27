"""Look-up tables that share one: counted by hand, and on what Yosys makes of an adder and of a folded layer."""

import shutil
from pathlib import Path

import pytest
from tests.hls.rtl.networks import small_dense
from tests.hls.synthesis.rtlil import cell

from xnorflow.hls.rtl.config import Folded, RtlConfig
from xnorflow.hls.rtl.project import write
from xnorflow.hls.synthesis.rtlil import CARRY, LUT, Bit, Netlist, netlists, parse
from xnorflow.hls.synthesis.sharing import combined
from xnorflow.hls.synthesis.yosys import synthesise

WIRES = "module \\m\n" + "".join(f"  wire width 8 \\{name}\n" for name in "abcy")


def lut(number: int, *inputs: str, constant: bool = False) -> str:
    ports = {f"I{n}": f"\\{name}" for n, name in enumerate(inputs)}
    if constant:
        ports[f"I{len(inputs)}"] = "1'1"
    return cell(f"LUT{len(ports)}", f"l{number}", **ports, O=f"\\y [{number}]")


def left(*cells: str) -> int:
    return combined([Netlist("dense1", parse(WIRES + "".join(cells)))])


FIVE = ("a [0]", "a [1]", "a [2]", "b [0]", "b [1]")


def test_two_that_read_the_same_five_inputs_are_one_and_three_are_two() -> None:
    assert left(lut(0, *FIVE)) == 1
    assert left(lut(0, *FIVE), lut(1, *reversed(FIVE))) == 1
    assert left(lut(0, *FIVE), lut(1, *FIVE), lut(2, *FIVE)) == 2
    assert left(lut(0, *FIVE[:2]), lut(1, *FIVE[:2])) == 1


def test_what_reads_something_else_or_six_inputs_stays_alone() -> None:
    assert left(lut(0, *FIVE), lut(1, *FIVE[:4], "c [0]")) == 2
    assert left(lut(0, *FIVE), lut(1, *FIVE[:4])) == 2
    assert left(lut(0, *FIVE, "c [0]"), lut(1, *FIVE, "c [0]")) == 2


def test_names_of_one_bit_are_one_input_and_constants_none() -> None:
    other = "  connect \\c [3] \\a [0]\n"
    assert left(lut(0, *FIVE), lut(1, "c [3]", *FIVE[1:]), other) == 1
    assert left(lut(0, *FIVE), lut(1, *FIVE, constant=True)) == 1


def test_a_table_in_front_of_a_carry_chain_stays_alone() -> None:
    for port in ("S", "DI"):
        ports = {"S": "4'0000", "DI": "4'0000"} | {port: "{ 3'000 \\y [0] }"}
        chain = cell("CARRY4", "chain", CI="1'0", CYINIT="1'0", O="\\c [3:0]", CO="\\c [7:4]", **ports)
        assert left(lut(0, *FIVE), lut(1, *FIVE), chain) == 2


@pytest.mark.skipif(shutil.which("yosys") is None, reason="no yosys: apt-get install yosys")
@pytest.mark.slow
@pytest.mark.exhaustive
def test_no_pair_of_a_folded_layer_reads_more_than_a_table_has(tmp_path: Path) -> None:
    """The same count from the other end: pairs are formed one by one, and each is looked at."""
    project = write(small_dense(sizes=(48, 32, 4)), tmp_path / "rtl", RtlConfig(default=Folded(2, 48)))
    made = synthesise(project, "xilinx7", tmp_path / "cache")
    count = pairs = 0
    for module in (netlist.module for netlist in netlists(made)):
        chains = [of for of in module.cells if CARRY.fullmatch(of.kind)]
        busy = {module.driver(bit) for of in chains for port in ("S", "DI") for bit in of.ports[port]}
        alone: list[set[Bit]] = []
        for of in module.cells:
            if not LUT.fullmatch(of.kind):
                continue
            count += 1
            reads = {module.driver(bit) for port, bits in of.ports.items() if port != "O" for bit in bits} - {("", 0)}
            if busy.intersection(of.ports["O"]):
                continue
            if reads in alone:
                alone.remove(reads)
                assert len(reads) <= 5
                pairs += 1
            elif len(reads) <= 5:
                alone.append(reads)
    assert pairs > 30 and combined(netlists(made)) == count - pairs
    assert count + made.total.lutram == made.total.lut
