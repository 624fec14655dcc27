import json

import pytest

from xnorflow.bnn.errors import UserError
from xnorflow.reports.figures import front, pareto
from xnorflow.reports.index import index


def test_without_reports_it_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="make flow"):
        index(tmp_path)
    assert not (tmp_path / "index.html").exists()


def test_a_damaged_report_is_named(tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "report.json").write_text(json.dumps({"schema_version": 0}))
    with pytest.raises(UserError, match="odd"):
        index(tmp_path)


def test_the_front_has_only_what_nothing_beats():
    rows = [
        {"model": name, "accuracy": accuracy, "luts": luts}
        for name, accuracy, luts in (
            ("large", 0.9, 30), ("small", 0.8, 10), ("beaten", 0.7, 20), ("equal", 0.9, 40), ("unknown", 0.99, None),
        )
    ]  # fmt: skip
    assert [row["model"] for row in front(rows, "luts")] == ["small", "large"]
    drawn = pareto(rows, "luts", "LUTs")
    assert all(name in drawn for name in ("small", "beaten", "large", "equal"))
    assert "unknown" not in drawn


def test_a_flow_that_failed_is_listed_but_is_no_choice(passing, tmp_path):
    for model, verdict in (("sound", "pass"), ("broken", "fail")):
        (tmp_path / model).mkdir()
        (tmp_path / model / "report.json").write_text(json.dumps(passing | {"model": model, "verdict": verdict}))
    page, left_out = index(tmp_path)
    table, _, charts = page.read_text().partition('<section id="pareto">')
    assert left_out == [] and "broken" in table and "sound" in charts and "broken" not in charts


def test_two_flows_of_one_model_can_be_told_apart(passing, tmp_path):
    for folder in (passing["model"], "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "report.json").write_text(json.dumps(passing))
    page, _ = index(tmp_path)
    table, _, charts = page.read_text().partition('<section id="pareto">')
    for part in (table, charts):
        assert f"{passing['model']} (other)" in part and f"{passing['model']} ({passing['model']})" not in part
