import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xnorflow.bnn.errors import UserError
from xnorflow.reports.figures import Contender, front, pareto
from xnorflow.reports.index import index, row


def test_without_reports_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make flow"):
        index(tmp_path)
    assert not (tmp_path / "index.html").exists()


def test_a_damaged_report_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "report.json").write_text(json.dumps({"schema_version": 0}))
    with pytest.raises(UserError, match="odd"):
        index(tmp_path)


def test_the_front_has_only_what_nothing_beats() -> None:
    contenders = [
        Contender(name, accuracy, luts, ("360 images of digits", None))
        for name, accuracy, luts in (("large", 0.9, 30), ("small", 0.8, 10), ("beaten", 0.7, 20), ("equal", 0.9, 40))
    ]
    assert [one.model for one in front(contenders)] == ["small", "large"]
    drawn = pareto(contenders, "LUTs")
    assert all(name in drawn for name in ("small", "beaten", "large", "equal"))


def test_what_lacks_a_figure_is_listed_but_not_drawn(passing: Any, tmp_path: Path) -> None:
    for model, latency in (("known", passing["latency"]), ("unknown", [])):
        (tmp_path / model).mkdir()
        (tmp_path / model / "report.json").write_text(json.dumps(passing | {"model": model, "latency": latency}))
    table, _, charts = index(tmp_path)[0].read_text().partition('<section id="pareto">')
    assert "unknown" in table and charts.count(">unknown<") == charts.count(">known<") - 1


def test_a_flow_that_failed_is_listed_but_is_no_choice(passing: Any, tmp_path: Path) -> None:
    for model, verdict in (("sound", "pass"), ("broken", "fail")):
        (tmp_path / model).mkdir()
        (tmp_path / model / "report.json").write_text(json.dumps(passing | {"model": model, "verdict": verdict}))
    page, left_out = index(tmp_path)
    table, _, charts = page.read_text().partition('<section id="pareto">')
    assert left_out == [] and "broken" in table and "sound" in charts and "broken" not in charts


def test_two_flows_of_one_model_can_be_told_apart(passing: Any, tmp_path: Path) -> None:
    for folder in (passing["model"], "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "report.json").write_text(json.dumps(passing))
    page, _ = index(tmp_path)
    table, _, charts = page.read_text().partition('<section id="pareto">')
    for part in (table, charts):
        assert f"{passing['model']} (other)" in part and f"{passing['model']} ({passing['model']})" not in part


def lines(svg: str) -> list[tuple[int, str]]:
    """The numbers of points of the lines with two or more, drawn without markers; grid lines left out."""
    paths = re.findall(
        r'<g id="[^"]*-line2d_\d+">\s*<path d="([^"]*)" clip-path[^>]*style="fill: none; stroke: ([^;]*)', svg
    )
    return [(len(re.findall("[ML]", path)), colour) for path, colour in paths if colour != "var(--line)"]


def test_a_line_joins_models_on_the_same_images_only() -> None:
    mnist, digits, fewer = ("10,000 images of mnist", "a"), ("360 images of digits", "b"), ("500 images of mnist", "a")
    other = ("360 images of digits", "c")
    of = Contender
    rows = [of("small", 0.8, 10, digits), of("large", 0.9, 30, digits), of("mid", 0.85, 20, mnist)]
    rows += [of("few", 0.84, 15, fewer), of("big", 0.95, 50, mnist), of("else", 0.7, 5, other)]
    drawn = pareto(rows, "LUTs")
    joined = [(points, colour) for points, colour in lines(drawn) if points > 1]
    assert [points for points, _ in joined] == [2, 2] and len({colour for _, colour in joined}) == 2
    for name in (
        "10,000 images of mnist",
        "500 images of mnist",
        "360 images of digits (b)",
        "360 images of digits (c)",
    ):
        assert name in drawn
    alone = pareto([row for row in rows if row.images == digits], "LUTs")
    assert [points for points, _ in lines(alone)] == [2] and "360 images" not in alone  # nothing to tell apart


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report["inputs"].update(dataset_digest="e" * 64),
        lambda report: report["accuracy"].update(golden_count=100),
        lambda report: report["accuracy"].update(golden_dataset="mnist"),
    ],
)
def test_the_images_of_two_reports_differ_in_any_of_three_ways(
    report: Any, passing: Any, change: Callable[..., Any]
) -> None:
    assert row(report, "here").images == row(passing, "here").images is not None
    change(report)
    assert row(report, "here").images != row(passing, "here").images


@pytest.mark.parametrize(("least", "most"), [(1500, 3100), (1000, 1001), (1e3, 5e4), (20, 5e6)])
def test_a_logarithmic_axis_has_a_few_labels(least: float, most: float) -> None:
    contenders = [Contender(f"m{n}", 0.9, cost, ("digits", None)) for n, cost in enumerate((least, most))]
    texts = re.findall(r">([^<>]+)</text>", pareto(contenders, "LUTs"))
    assert 2 <= texts.index("LUTs") <= 8, texts  # the labels of the x axis stand before its title
