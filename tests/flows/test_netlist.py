"""The netlist after synthesis is compared with the golden model in a flow, and a fault in one of its cells is found."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.flows import fakes
from tests.hls.rtl.icarus import needs_icarus

import xnorflow.hls.synthesis.netlist
from xnorflow.bnn import io
from xnorflow.flows import run, subject
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.options import Options


@pytest.fixture
def flow(tmp_path: Path) -> Any:
    """Return a function that runs a flow with the netlist as its only engine, and returns the engine's module of it."""
    io.save(fakes.network(), tmp_path / "small.safetensors")
    kinds = tuple(kind for kind in ENGINES if kind.name == "netlist")

    def go(targets: Any = ("ice40",)) -> Any:
        outcome = run.run(
            subject.find(str(tmp_path / "small.safetensors")),
            Console(quiet=True),
            vectors=40,
            options=Options(targets=targets),
            build=tmp_path / "build",
            reports=tmp_path / "reports",
            **fakes.parts(engines=kinds),
        )
        report = json.loads((outcome.report / "report.json").read_text())
        return report["engines"]["netlist"], report

    return go


def wrong_cell(text: str) -> Any:
    """Turn the table of one cell of an accumulator."""
    return re.subn(
        r"(cell \\SB_LUT4 \\sum_0\.\S+\n[^\n]*LUT_INIT 16')([01]+)",
        lambda found: found[1] + found[2].translate(str.maketrans("01", "10")),
        text,
        count=1,
    )


@needs_icarus
@pytest.mark.slow
@pytest.mark.parametrize("fault", [False, True])
def test_a_wrong_cell_fails_the_flow(flow: Any, monkeypatch: pytest.MonkeyPatch, fault: bool) -> None:
    written = xnorflow.hls.synthesis.netlist.write

    def write(project: Any, synthesis: Any, cache: Any) -> Any:
        (module,) = (module for module in synthesis.modules if module.name.endswith("_dense2"))
        path = module.folder / "netlist.il"
        if fault and not path.with_name("changed").exists():
            text, count = wrong_cell(path.read_text())
            assert count == 1
            path.write_text(text)
            path.with_name("changed").touch()
        return written(project, synthesis, cache)

    monkeypatch.setattr(xnorflow.hls.synthesis.netlist, "write", write)
    engine, report = flow()
    assert report["verdict"] == engine["status"] == ("fail" if fault else "pass")
    assert re.search(r", by (yowasp-)?yosys \S+ for Lattice iCE40 UltraPlus$", engine["title"])
    assert engine["vectors"] >= 2 and (engine["mismatches"] > 0) == fault
    if fault:
        assert engine["first_mismatch"]["layer"] == "dense2"
    (timing,) = report["latency"]
    assert timing["latency"]["median"] == report["rtl"]["latency"], "the netlist's cycles are the RTL's"
    assert [row["by"] for row in report["predicted"]][:2] == ["netlist", "netlist"]


def test_a_target_without_models_makes_way_for_one_that_has_them(flow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def write(project: Any, synthesis: Any, cache: Any) -> None:
        tried.append(synthesis)
        raise xnorflow.hls.synthesis.netlist.NoModel(f"no model of a cell of {synthesis}")

    monkeypatch.setattr(xnorflow.hls.synthesis.netlist, "write", write)
    monkeypatch.setattr("xnorflow.hls.synthesis.yosys.synthesise", lambda project, target, cache: target)
    engine, _ = flow(targets=("xilinx7", "ecp5"))
    assert tried == ["xilinx7", "ecp5", "ice40"]
    assert (engine["status"], engine["reason"]) == ("skipped", "no model of a cell of ice40")


def test_a_netlist_that_would_take_too_long_is_skipped_with_the_figures(
    flow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xnorflow.flows.kinds.netlist._LIMIT", 1)
    engine, report = flow()
    assert engine["status"] == "skipped"
    cycles = report["rtl"]["latency"] + report["rtl"]["interval"]
    assert f"{cycles:,} cycles of about {report['rtl']['luts']:,} LUTs" in engine["reason"]


def test_without_targets_there_is_no_netlist(flow: Any) -> None:
    engine, _ = flow(targets=())
    assert (engine["status"], engine["reason"]) == ("skipped", "the flow synthesises for no target")
