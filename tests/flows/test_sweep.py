"""A sweep estimates all points, refuses some with what can be, and runs the flow on those that no other beats."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from tests.flows import fakes

import xnorflow as xf
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.io import save
from xnorflow.flows import cli
from xnorflow.flows.sweep import Goal, best, grid
from xnorflow.reports.points import SweptPoint


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    fakes.install(monkeypatch.setattr, log=tmp_path / "built.log")
    monkeypatch.setattr(
        "xnorflow.flows.sweep.missing", lambda extra: [extra]
    )  # one flow after the other, in this process
    save(fakes.network(), tmp_path / "small.safetensors")
    return tmp_path


def test_a_grid_has_every_goal_at_every_clock() -> None:
    points = grid([1e4, 1e5], [900], ["unrolled"], [5.0, 10.0])
    assert len(points) == 8 and Goal(max_luts=900, clock_ns=5.0) in points
    assert grid() == [Goal()]


def test_best_is_what_no_other_beats() -> None:
    figures: list[tuple[float, int]] = [(10, 5), (20, 9), (20, 9), (5, 5), (30, 9), (40, 100), (1, 4)]
    points = best(
        SweptPoint(n, "small", None, None, None, 10.0, "estimated", fps=fps, luts=luts)
        for n, (fps, luts) in enumerate(figures)
    )
    assert [point.number for point in points if point.pareto] == [0, 4, 5, 6]
    for point, (fps, luts) in zip(points, figures, strict=True):  # nothing is as good in both, and better in one
        beaten = any(other != (fps, luts) and other[0] >= fps and other[1] <= luts for other in figures)
        assert not (point.pareto and beaten)


def test_each_model_has_its_own_best() -> None:
    slow = SweptPoint(0, "slow", None, None, None, 10.0, "estimated", fps=1.0, luts=100)
    refused = SweptPoint(1, "slow", None, None, None, 10.0, "refused")
    fast = SweptPoint(2, "fast", None, None, None, 10.0, "estimated", fps=9.0, luts=10)
    assert [point.pareto for point in best([slow, refused, fast])] == [True, False, True]


def test_estimates_are_those_of_a_single_estimate_and_refusals_say_what_can_be(here: Path) -> None:
    clock: dict[str, Any] = {"clock_ns": [5], "run": "none", "quiet": True}
    found = xf.sweep("small.safetensors", target_fps=[1e5, 1e6, 1e9], max_luts=[1], **clock)
    slow, fast, beyond, tiny = found.to_dicts()
    net = xf.convert("small.safetensors")
    for row, rate in ((slow, 1e5), (fast, 1e6)):
        alone = net.estimate(target_fps=rate, clock_ns=5)
        assert (row["latency"], row["interval"], row["luts"]) == (alone.latency, alone.interval, alone.luts)
        assert row["fps"] == pytest.approx(alone.fps) and row["status"] == "estimated"
    assert beyond["status"] == tiny["status"] == "refused" and not beyond["pareto"]
    assert f"{beyond['reachable_fps']:,.0f} is the most" in beyond["reason"]
    assert f"estimated at {tiny['reachable_luts']:,}" in tiny["reason"]
    (reached,) = xf.sweep(net, target_fps=[beyond["reachable_fps"]], name="reached", **clock).to_dicts()
    assert reached["status"] == "estimated"
    with (found.folder / "sweep.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["estimated"] * 2 + ["refused"] * 2
    assert "is the most" in (found.folder / "sweep.html").read_text()


def test_estimates_by_several_processes_are_those_of_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid: dict[str, Any] = {
        "target_fps": [10**n for n in range(2, 9)],
        "max_luts": range(1, 2000, 100),
        "clock_ns": [5, 10],
    }
    asked: dict[str, Any] = {**grid, "run": "none", "quiet": True}
    nets = [xf.convert("small.safetensors"), xf.convert("digits_bnn")]
    alone = xf.sweep(nets, **asked).rows
    monkeypatch.setattr("xnorflow.flows.sweep._ALONE_SECONDS", 0)
    assert xf.sweep(nets, **asked).rows == alone
    assert {row[6] for row in alone} == {"estimated", "refused"}


def test_the_command_runs_the_points_that_are_not_beaten_and_links_their_reports(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "boards.toml").write_text(
        "[sweep]\nmodels = ['small.safetensors']\ntarget_fps = [1e5, 1e6]\nclock_ns = [10]\n"
        "points = [{target_fps = 1e6, clock_ns = 20}]\n[synthesis]\ntargets = ['xilinx7']\n"
    )

    def go() -> Any:
        with pytest.raises(SystemExit) as ended:
            cli.main(["sweep", "boards.toml", "--vectors", "40"])
        assert ended.value.code == 0
        with (here / "reports" / "boards" / "sweep.csv").open() as file:
            return list(csv.DictReader(file)), capsys.readouterr().out

    rows, said = go()
    assert [row["verdict"] for row in rows] == ["pass", "pass", ""]
    assert [row["pareto"] for row in rows] == ["True", "True", "False"]
    assert [row["synthesised_luts"] for row in rows] == ["17", "17", ""]
    assert float(rows[0]["luts_error"]) == pytest.approx(int(rows[0]["luts"]) / 17 - 1)
    assert said.count("golden  ") == 2 and "reused" in said.partition("point 1")[2], "shared steps are computed once"
    page = (here / "reports" / "boards" / "sweep.html").read_text()
    links = re.findall(r'href="\.\./([^"]*report.html)"', page)
    assert len(links) == 2 and all((here / "reports" / link).is_file() for link in links)
    again, said = go()
    assert again == rows and re.findall(r"✓ .* s  ", said.replace("reused", "")) == [], "what was finished is reused"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "names no models"),
        ("models = []", "sweep: models must be a list of models"),
        ("models = ['digits_bnn']\ntarget_fps = [0]", "sweep: target_fps must be a list of numbers above 0"),
        ("models = ['digits_bnn']\ntarget = [1]", "sweep: unknown setting target; there are target_fps"),
        ("models = ['digits_bnn']\npoints = [{target_fps = 1.0, max_luts = 1}]", "a point has one of target_fps"),
        ("models = ['no_such']", "unknown model 'no_such'"),
    ],
)
def test_what_cannot_be_swept_ends_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], table: str, message: str
) -> None:
    (here / "s.toml").write_text(f"[sweep]\n{table}\n")
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", "s.toml"])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (here / "reports").exists()


def test_a_point_has_one_goal() -> None:
    with pytest.raises(UserError, match="got target_fps, architecture"):
        Goal(target_fps=1, architecture="folded").applied(None)  # type: ignore[arg-type]


def test_a_sweep_does_not_write_among_the_baselines(here: Path) -> None:
    with pytest.raises(UserError, match="reports/baselines"):
        xf.sweep("small.safetensors", clock_ns=[5], run="none", name="baselines", quiet=True)
    assert not (here / "reports").exists()
