"""Any Liberty file is a target: its cells are read, mapped to, simulated, timed, and their power computed."""

import gzip
import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import oracle, strategies
from tests.hls.synthesis import cells
from tests.hls.synthesis.tiny import made, needs_native, small

from xnorflow.bnn.errors import UserError
from xnorflow.cosim.engine import EngineError
from xnorflow.cosim.rtl_netlist import RtlNetlist
from xnorflow.hls.energy import toggles
from xnorflow.hls.synthesis import asic, opensta, tools
from xnorflow.hls.synthesis.liberty import CELLS, _value, load
from xnorflow.hls.synthesis.tools import SynthesisError, ToolMissing

CLOCK_NS = 10.0
FAN_OUT = 6
needs_sta = pytest.mark.skipif(not shutil.which("sta"), reason="needs OpenSTA: apt-get install opensta")


@pytest.mark.parametrize("packed", [False, True])
def test_a_library_is_read(tmp_path: Path, packed: bool) -> None:
    path = cells.write(tmp_path)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    library = load(path, tmp_path / "cache")
    assert (library.name, library.gate.name, library.gate.area) == ("small_tt", "NAND2", cells.NAND)
    assert {name for name, cell in library.cells.items() if not cell.usable} == {"BUF_ALWAYS", "AND2_NEVER"}
    assert [name for name, cell in library.cells.items() if cell.sequential] == ["DFF"]
    assert library.ties == (("TIE", "LO"), ("TIE", "HI"))
    assert library.cells["NOR2"].inputs == ("A", "B") and library.cells["NOR2"].outputs == {"Y": "(A+B)'"}
    assert "cell (BUF_ALWAYS) { dont_use : true;" in (library.folder / CELLS).read_text()
    assert load(path, tmp_path / "cache").folder == library.folder


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("!(A&B)", 0b0111), ("(A*B)'", 0b0111), ("!A|!B", 0b0111), ("A'+B'", 0b0111), ("(!A) | (!B)", 0b0111),
        ("(A B)'", 0b0111), ("A+B", 0b1110), ("A^B", 0b0110), ("A B + !A !B", 0b1001), ("A^B A", 0b0010),
        ("1", 0b1111), ("0 + A", 0b1010),
    ],
)  # fmt: skip
def test_functions_are_those_of_liberty(function: str, expected: int) -> None:
    for number in range(4):
        pins = {"A": bool(number & 1), "B": bool(number & 2)}
        assert _value(function, pins) == bool(expected >> number & 1)


BAD = {
    "no file": (lambda path: path.unlink(), "cannot be read"),
    "empty": (lambda path: path.write_text(""), "expected a library of cells in Liberty format"),
    "another format": (lambda path: path.write_text('{"library": {"cell": 1}}'), "expected a library of cells"),
    "not text": (lambda path: path.write_bytes(bytes(range(256)) * 99), "expected a library of cells"),
    "cut": (lambda path: path.write_bytes(gzip.compress(path.read_bytes())[:300]), "damaged"),
    "unbalanced": (lambda path: path.write_text("}" * 9 + "library (x) {" * 9), "expected a library of cells"),
    "no flip-flop": (lambda path: path.write_text(cells.text(flip_flop=False)), "no flip-flop"),
    "no NAND": (lambda path: path.write_text(cells.text(nand="A&B")), "no NAND of two inputs"),
    "no function": (lambda path: path.write_text(cells.text(nand="(A (")), "no NAND of two inputs"),
    "deep": (lambda path: path.write_text(cells.text(nand="(" * 5000)), "no NAND of two inputs"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_library_is_told(tmp_path: Path, kind: str) -> None:
    spoil, message = BAD[kind]
    path = cells.write(tmp_path)
    spoil(path)
    with pytest.raises(UserError, match=f"{re.escape(str(path))}: .*{message}"):
        load(path, tmp_path / "cache")


def test_a_memory_that_needs_a_macro_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asic, "find", lambda _: tools.Tool("yosys", "0", ("yosys",), False))
    monkeypatch.setattr(asic, "ROM_BITS", 20)
    library = load(cells.write(tmp_path), tmp_path / "cache")
    with pytest.raises(asic.TooLarge, match=r"^dense1: its memory weight_memory of \d+ bits is only read .* macro"):
        asic.synthesise(made(tmp_path / "rtl"), library, CLOCK_NS, tmp_path / "cache")


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give the design mapped to the small library, its netlist, and the folder of both."""
    folder = tmp_path_factory.mktemp("asic")
    project = made(folder / "rtl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asic, "FAN_OUT", FAN_OUT)
        design = asic.synthesise(project, load(cells.write(folder), folder), CLOCK_NS, folder)
    return design, asic.physical(project, design, folder), folder


@needs_native
def test_the_area_is_that_of_the_cells(mapped: Any) -> None:
    design, netlist, _ = mapped
    modules = json.loads((netlist.folder / asic.NAMES).read_text())["modules"]
    kinds = [cell["type"] for module in modules.values() for cell in module["cells"].values()]
    kinds = [kind for kind in kinds if kind not in modules]
    areas = {"INV": 1.0, "BUF": 1.5, "NAND2": 2.0, "NAND2_BIG": 3.0, "NOR2": 2.1, "XOR2": 4.0, "DFF": 8.0, "TIE": 0.5}
    total = design.total
    assert total.cells == len(kinds) and total.flip_flops == kinds.count("DFF") > 0
    assert total.area_um2 == pytest.approx(sum(areas[kind] for kind in kinds))
    assert total.gates == pytest.approx(total.area_um2 / cells.NAND)
    assert sum(area.area_um2 for area in design.layers.values()) == pytest.approx(total.area_um2)
    assert list(design.layers) == ["dense1", "dense2", "argmax", ""]


@needs_native
def test_no_gate_has_many_readers(mapped: Any) -> None:
    _, netlist, _ = mapped
    modules = json.loads((netlist.folder / asic.NAMES).read_text())["modules"]
    for name in modules.keys() - {netlist.top}:
        pins = [(pin, bits) for cell in modules[name]["cells"].values() for pin, bits in cell["connections"].items()]
        gates = {bit for pin, bits in pins if pin == "Y" for bit in bits}
        readers = Counter(bit for pin, bits in pins if pin not in ("Y", "Q", "LO", "HI") for bit in bits)
        assert max(readers[gate] for gate in gates) <= FAN_OUT


@needs_native
@pytest.mark.skipif(not shutil.which("iverilog"), reason="needs iverilog: apt-get install iverilog")
@pytest.mark.slow
def test_the_netlist_gives_golden_integers_and_a_wrong_cell_does_not(mapped: Any, tmp_path: Path) -> None:
    design, netlist, _ = mapped
    inputs = strategies.inputs_for(small(), 12)
    expected = oracle.run(small(), inputs)
    for fault in (False, True):
        if fault:  # the models of the cells are taken from the Liberty file
            folder = shutil.copytree(netlist.folder, tmp_path / "wrong")
            models = folder / asic.MODELS
            text, count = re.subn(r"(module XOR2\(.*?)(assign Y = )", r"\1\2 ~", models.read_text(), flags=re.S)
            assert count == 1
            models.write_text(text)
            netlist = replace(netlist, folder=folder, sources=(folder / asic.NETLIST, models))
        engine = RtlNetlist(netlist, str(design.tool), "small_tt")
        engine.prepare(small(), tmp_path / f"run{fault}")
        try:
            got = engine.run(inputs)
        except EngineError:  # it may never end
            assert fault
        else:
            assert all(np.array_equal(got[name], expected[name]) for name in got) != fault


@needs_native
@needs_sta
def test_the_slowest_path_is_found(mapped: Any) -> None:
    design, netlist, folder = mapped
    found = opensta.timing(netlist, design, folder)
    assert str(found.tool).startswith("opensta 2.")
    assert 0 < found.slack_ns < CLOCK_NS and found.fmax_mhz == pytest.approx(1e3 / (CLOCK_NS - found.slack_ns))
    assert re.fullmatch(r"U_\w+/_\d+_ \(DFF\)|\w+ \(in\)", found.path[0])
    assert re.fullmatch(r"U_\w+/_\d+_ \(DFF\)|\w+ \(out\)", found.path[-1]) and len(found.path) > 2


@needs_native
@needs_sta
@pytest.mark.skipif(not shutil.which("iverilog"), reason="needs iverilog: apt-get install iverilog")
@pytest.mark.slow
def test_power_is_that_of_the_switching(mapped: Any) -> None:
    design, netlist, folder = mapped
    engine = RtlNetlist(netlist, str(design.tool), "small_tt")
    engine.prepare(small(), folder / "run")
    watts = {}
    inputs = strategies.inputs_for(small(), 6)
    for kind, vectors in (("random", inputs), ("the same", np.repeat(inputs[:1], 6, axis=0))):
        engine.run(vectors, every_layer=True)
        cycles, seen = toggles(engine.waveform, asic.CLOCK)  # type: ignore[arg-type]
        assert cycles > 6 and "U_dense1/out_valid" in seen
        watts[kind] = found = opensta.power(netlist, design, engine.waveform, asic.CLOCK, folder)  # type: ignore[arg-type]
        assert set(found.groups) == {"internal", "switching", "leakage"} and min(found.groups.values()) > 0
        assert sum(found.layers.values()) == pytest.approx(found.total, rel=1e-3)
        assert found.nets > design.total.flip_flops
        leaks = 0.5e-9 * design.total.cells
        assert found.groups["leakage"] == pytest.approx(leaks, rel=1e-3), "half a nanowatt each"
    assert watts["the same"].groups["switching"] < watts["random"].groups["switching"]
    assert watts["the same"].groups["leakage"] == watts["random"].groups["leakage"]


def fake_sta(folder: Path, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "bin" / "sta"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = -version ] && echo 9.9 && exit\ncat << END\n{said}\nEND\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")


@needs_native
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("Error: netlist.v, line 3 syntax error", "Error: netlist.v, line 3 syntax error"),
        ("Warning: module x not found.  Creating black box for u.", "Creating black box for u"),
        ("", "told no slack"),
        ("   12.0   slack (MET)", "told a slack of 12.0 ns at a clock of 10 ns"),
    ],
)
def test_what_opensta_cannot_tell_is_an_error(
    mapped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, message: str
) -> None:
    design, netlist, folder = mapped
    fake_sta(tmp_path, said, monkeypatch)
    cache = shutil.copytree(folder, tmp_path / "cache")
    with pytest.raises(SynthesisError, match=re.escape(message)):
        opensta.timing(netlist, design, cache)


@needs_native
def test_without_opensta_there_is_a_reason(mapped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    design, netlist, folder = mapped
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolMissing, match="apt-get install opensta"):
        opensta.timing(netlist, design, folder)


@needs_native
def test_what_a_physical_flow_needs_is_there(mapped: Any) -> None:
    _, netlist, _ = mapped
    settings = json.loads((netlist.folder / "config.json").read_text())
    assert (settings["DESIGN_NAME"], settings["CLOCK_PERIOD"]) == (netlist.top, CLOCK_NS)
    assert "create_clock -name aclk -period 10 [get_ports aclk]" in (netlist.folder / asic.CONSTRAINTS).read_text()
    assert "`small_tt`" in (netlist.folder / "README.md").read_text()
    assert not re.search(r"assign \{", (netlist.folder / asic.NETLIST).read_text())
