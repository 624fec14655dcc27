"""Switching counted by hand, in the syntax and with the names that Vivado's read_saif takes."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.hls.vendor.conftest import network
from tests.strategies import inputs_for

from xnorflow.bnn.errors import UserError
from xnorflow.cosim.rtl_icarus import RtlIcarus
from xnorflow.hls.rtl import project as rtl_project
from xnorflow.hls.rtl.config import RtlConfig
from xnorflow.hls.vendor import saif

VCD = """$timescale 1 ns $end
$scope module top $end
$var wire 1 ! aclk $end
$var wire 3 " data [2:0] $end
$var wire 1 % quiet $end
$var parameter 4 & WIDTH $end
$scope module U_first $end
$var wire 1 ! aclk $end
$var reg 3 " data [2:0] $end
$upscope $end
$upscope $end
$enddefinitions $end
#0
0!
bx "
#5
1!
b101 "
#10
0!
#15
1!
b110 "
#20
0!
#25
1!
bx10 "
#30
0!
b010 "
"""


def read(text: str) -> Any:
    """Return the header and, by path, the counts of every net, from the nested lists of a SAIF file."""
    tokens = re.findall(r'[()]|"[^"]*"|[^\s()]+', text)
    stack = [[]]  # type: ignore[var-annotated]
    for token in tokens:
        if token == "(":
            stack.append([])
        elif token == ")":
            inner = stack.pop()
            stack[-1].append(inner)
        else:
            stack[-1].append(token)
    ((kind, *entries),) = stack.pop()
    assert kind == "SAIFILE" and not stack
    header = {entry[0]: " ".join(entry[1:]) for entry in entries if entry[0] != "INSTANCE"}
    nets = {}

    def walk(entry: Any, path: Any) -> None:
        _, name, *inside = entry
        for part in inside:
            if part[0] == "INSTANCE":
                walk(part, (*path, name))
            else:
                assert part[0] == "NET"
                for net, *counts in part[1:]:
                    nets["/".join((*path, name, net))] = {what: int(count) for what, count in counts}

    for entry in entries:
        if entry[0] == "INSTANCE":
            walk(entry, ())
    return header, nets


def test_counts(tmp_path: Path) -> None:
    (tmp_path / "w.vcd").write_text(VCD)
    saif.write(tmp_path / "w.vcd", tmp_path / "a.saif", "top", "aclk", 4.0)
    header, nets = read((tmp_path / "a.saif").read_text())
    # A clock period is 10 ns in the simulation and 4 ns in the design: 30 ns become 12,000 ps.
    assert header == {
        "SAIFVERSION": '"2.0"', "DIRECTION": '"backward"', "DESIGN": '"top"', "VENDOR": '"xnorflow"', "DIVIDER": "/",
        "TIMESCALE": "1 ps", "DURATION": "12000",
    }  # fmt: skip
    data = [
        {"T0": 6000, "T1": 4000, "TX": 2000, "TC": 1},  # unknown until 5, 1 until 15
        {"T0": 4000, "T1": 6000, "TX": 2000, "TC": 1},
        {"T0": 0, "T1": 8000, "TX": 4000, "TC": 1},  # unknown until 5 and from 25 to 30, then 0, which ends the file
    ]
    clock = {"T0": 6000, "T1": 6000, "TX": 0, "TC": 6}
    expected = {f"bench/top/{scope}data\\[{bit}\\]": of for scope in ("", "U_first/") for bit, of in enumerate(data)}
    expected |= {"bench/top/aclk": clock, "bench/top/U_first/aclk": clock}
    expected["bench/top/quiet"] = {"T0": 0, "T1": 0, "TX": 12000, "TC": 0}
    assert nets == expected
    assert saif.instance("top") == "bench/top"


def test_a_simulation_of_the_rtl(tmp_path: Path) -> None:
    if not shutil.which("iverilog"):
        pytest.skip("no iverilog here; apt-get install iverilog")
    net = network()
    project = rtl_project.write(net, tmp_path / "rtl", RtlConfig())
    engine = RtlIcarus(project)
    engine.prepare(net, tmp_path / "build")
    engine.run(inputs_for(net, 3), every_layer=True)
    saif.write(engine.waveform, tmp_path / "a.saif", project.top, "aclk", 5.0)  # type: ignore[arg-type]
    header, nets = read((tmp_path / "a.saif").read_text())
    duration = int(header["DURATION"])
    assert all(abs(of["T0"] + of["T1"] + of["TX"] - duration) <= 2 for of in nets.values()), "rounding alone"
    assert abs(nets["bench/tiny/aclk"]["TC"] * 2500 - duration) <= 5000
    modules = {path.split("/")[2] for path in nets if path.count("/") == 3}
    assert modules >= {f"U_{unit}" for unit in project.layers}, "the instances of the Verilog"
    assert sum(of["TC"] for path, of in nets.items() if path.startswith("bench/tiny/U_fc1/")) > 0
    again = tmp_path / "again.saif"
    saif.write(engine.waveform, again, project.top, "aclk", 5.0)  # type: ignore[arg-type]
    assert again.read_bytes() == (tmp_path / "a.saif").read_bytes()


def test_errors(tmp_path: Path) -> None:
    (tmp_path / "w.vcd").write_text(VCD)
    for file, top, message in (
        ("w.vcd", "other", r"no two rising edges of other\.aclk"),
        ("none.vcd", "top", "not a waveform in VCD or FST format: no such file"),
    ):
        with pytest.raises(UserError, match=message):
            saif.write(tmp_path / file, tmp_path / "a.saif", top, "aclk", 4.0)
    assert not (tmp_path / "a.saif").exists()
