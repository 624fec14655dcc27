"""A flow with a Liberty file: the report has area, timing and power, and the netlist gives golden's integers."""

import io as text
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.flows import fakes
from tests.hls.synthesis import cells

from xnorflow.bnn import io
from xnorflow.bnn.errors import UserError
from xnorflow.flows import options, run, subject
from xnorflow.flows.asic import names
from xnorflow.flows.engines import ENGINES
from xnorflow.hls.synthesis import asic

needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("yosys", "iverilog", "sta"))), reason="needs yosys, iverilog and opensta"
)


@pytest.fixture
def flow(tmp_path: Path) -> Any:
    """Return a function that runs a flow with the netlist as its only engine, and returns its report."""
    io.save(fakes.network(), tmp_path / "small.safetensors")
    kinds = tuple(kind for kind in ENGINES if kind.name == "netlist")
    (tmp_path / "asic.toml").write_text(
        '[rtl]\nclock_ns = 20.0\n[synthesis]\ntargets = []\nliberty = ["small cells.lib"]\n'
    )

    def go() -> Any:
        outcome = run.run(
            subject.find(str(tmp_path / "small.safetensors")),
            Console(file=text.StringIO()),
            vectors=40,
            options=options.read(tmp_path / "asic.toml"),
            build=tmp_path / "build",
            reports=tmp_path / "reports",
            out=tmp_path / "out",
            engines=kinds,
        )
        return json.loads((outcome.report / "report.json").read_text()), outcome.report

    return go


@needs_tools
@pytest.mark.slow
def test_a_flow_makes_an_asic(flow: Any, tmp_path: Path) -> None:
    cells.write(tmp_path)
    report, folder = flow()
    (row,) = report["asic"]
    assert (report["verdict"], row["status"], row["library"], row["clock_ns"]) == ("pass", "pass", "small_tt", 20.0)
    assert row["total"]["gates"] == pytest.approx(row["total"]["area_um2"] / cells.NAND)
    assert row["timing"]["status"] == row["power"]["status"] == "pass" and row["power"]["total_w"] > 0
    engine = report["engines"]["netlist"]
    assert engine["status"] == "pass" and engine["title"].endswith("for small_tt")
    assert {path.name for path in (folder / "asic_small_cells").iterdir()} >= {"netlist.v", "constraints.sdc"}
    assert "GE" in (folder / "report.md").read_text() and 'id="asic"' in (folder / "report.html").read_text()
    steps = {step["name"]: step["summary"] for step in report["steps"]}
    assert "small_tt" in steps["synthesis"] and "µm²" in steps["synthesis"]


@needs_tools
@pytest.mark.slow
def test_a_memory_that_needs_a_macro_is_told_and_fails_nothing(
    flow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.write(tmp_path)
    monkeypatch.setattr(asic, "ROM_BITS", 10)
    report, _ = flow()
    (row,) = report["asic"]
    assert (row["status"], row["total"]) == ("unfit", None) and "needs a macro" in row["reason"]
    assert report["engines"]["netlist"]["status"] == "skipped"


def test_a_file_that_is_no_library_is_told_before_the_golden_model_runs(flow: Any, tmp_path: Path) -> None:
    (tmp_path / "small cells.lib").write_text("nothing")
    with pytest.raises(UserError, match="expected a library of cells in Liberty format"):
        flow()
    assert not (tmp_path / "build" / "small" / "golden").exists() and not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_told(flow: Any) -> None:
    with pytest.raises(UserError, match=r"small cells\.lib: cannot be read"):
        flow()


def test_an_endless_file_is_not_read_to_its_end(flow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xnorflow.hls.synthesis.liberty.LARGEST", 1000)
    (tmp_path / "small cells.lib").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"small cells\.lib: expected at most 1,000 bytes, got more"):
        flow()


@pytest.mark.parametrize(
    "files", [("a/x.lib", "b/x.lib"), ("x.lib", "x.lib.gz"), ("x", "y.lib", "x.gz"), ("a b", "a_b")]
)
def test_files_whose_results_would_be_in_one_folder_are_refused(files: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=f"results of {files[0]} and {files[-1]} would be in one folder"):
        names(files)


def test_a_folder_is_named_after_the_file() -> None:
    assert names(("/a/b c.lib.gz", "tt.lib", "x")) == ["asic_b_c", "asic_tt", "asic_x"]
