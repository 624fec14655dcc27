import shutil

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from xnorflow.hls.rtl import bench
from xnorflow.hls.rtl.popcount import build

app = typer.Typer()
app.command()(bench.main)
YOSYS = shutil.which("yosys")


@pytest.mark.skipif(YOSYS is None, reason="no yosys: apt-get install yosys")
@pytest.mark.slow
def test_synthesis_needs_about_the_estimated_luts() -> None:
    weight = bench.random_weights("40x8")
    area = bench.synthesise(bench.ours(weight, "fast"), YOSYS)  # type: ignore[arg-type]
    estimate = build(weight, 1, False, False, None, "fast")[0].luts()
    assert abs(area.luts - estimate) <= 0.05 * estimate
    assert area.carries > 0
    assert area.depth > 3


@pytest.mark.skipif(YOSYS is None, reason="no yosys: apt-get install yosys")
@pytest.mark.slow
def test_table_says_how_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "da4ml", lambda weight: None)
    result = CliRunner().invoke(app, ["--size", "8x2"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "skipped: pip install da4ml" in result.output


def test_wrong_size_is_one_line_and_exit_2() -> None:
    result = CliRunner().invoke(app, ["--size", "64"])
    assert result.exit_code == 2
    assert "expected inputs x neurons" in result.output


def test_weights_are_the_same_every_time() -> None:
    assert np.array_equal(bench.random_weights("64x32"), bench.random_weights("64x32"))
    assert bench.random_weights("64x32").shape == (32, 64)


def test_the_growth_table_measures_every_size_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "GROWING", ("16x4", "64x16"))
    console = Console(width=160, record=True)
    bench.scaling(console)
    rows = [line.split("│") for line in console.export_text().splitlines() if line.startswith("│")]
    assert [row[1].strip() for row in rows] == ["16x4", "64x16"]
    assert [int(row[2].replace(",", "")) for row in rows] == [64, 1024]
    assert all(float(row[4]) >= 0 and float(row[6]) >= 0 for row in rows)
