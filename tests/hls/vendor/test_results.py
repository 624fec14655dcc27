"""A folder brought home gives what a run at home gives: every figure with its file, tool, part and stage."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.hls.vendor import samples
from tests.hls.vendor.conftest import hls_job
from tests.hls.vendor.fakes import Fakes, good

from xnorflow.bnn.errors import UserError
from xnorflow.hls.vendor import results, tools
from xnorflow.hls.vendor.run import run
from xnorflow.hls.vendor.steps import JobDesign


def lay(folder: Path, files: Any) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def imported(folder: Path) -> Any:
    found, problems = results.import_reports(folder)
    assert not problems
    return found


def solution(version: str) -> Any:
    base = "tiny_top_prj/solution1"
    return {
        f"{base}/csim/report/tiny_top_csim.log": samples.csim(version),
        f"{base}/syn/report/csynth.xml": samples.csynth_xml(version),
        f"{base}/syn/report/tiny_top_csynth.xml": samples.csynth_xml(version),
        f"{base}/syn/report/tiny_top_csynth.rpt": samples.csynth_text(version),
        f"{base}/syn/report/fc1_csynth.xml": samples.csynth_xml(version, "fc1", lut=40),
        f"{base}/syn/report/fc2_csynth.rpt": samples.csynth_text(version, "fc2"),
        f"{base}/syn/report/csynth.rpt": "== Synthesis Summary Report of 'tiny_top'",
        f"{base}/syn/report/csynth_design_size.xml": "<other/>",
        f"{base}/.autopilot/db/tiny_top_csynth.rpt": "a draft",
        f"{base}/sim/report/tiny_top_cosim.rpt": samples.cosim(version),
        f"{base}/impl/ip/component.xml": "<component/>",
    }


@pytest.mark.parametrize(("version", "tool"), [("2019.2", "Vivado HLS 2019.2"), ("2025.2", "Vitis HLS 2025.2")])
def test_an_hls_solution(tmp_path: Path, version: str, tool: str) -> None:
    lay(tmp_path, solution(version))
    found = results.neutral(imported(tmp_path))
    assert json.loads(json.dumps(found)) == found
    about = {"tool": tool, "target": "xc7z020-clg400-1", "provenance": "vendor", "note": None}
    base = "tiny_top_prj/solution1"
    simulated = {**about, "stage": "simulated", "module": None, "top": True}
    assert found["simulation"] == [
        {**simulated, "source": f"{base}/csim/report/tiny_top_csim.log", "passed": True, "vectors": 100, "wrong": 0,
         "failure": None},
        {**simulated, "source": f"{base}/sim/report/tiny_top_cosim.rpt", "passed": True, "vectors": None,
         "wrong": None, "failure": None},
    ]  # fmt: skip
    size = {"ff": 1234, "bram": 1.5, "uram": 0, "dsp": 5, "carry": None}
    estimated = {**about, "stage": "estimated"}
    assert found["resources"] == [
        {**estimated, "source": f"{base}/syn/report/{file}", "module": module, "top": top, "lut": lut, **size}
        for file, module, top, lut in (
            ("csynth.xml", "tiny_top", True, 4321),
            ("fc1_csynth.xml", "fc1", False, 40),
            ("fc2_csynth.rpt", "fc2", False, 4321),
        )
    ]
    whole = [entry for entry in found["latency"] if entry["top"]]
    cycles = [
        tuple(dict(entry)[f"{what}_{which}"] for what in ("latency", "interval") for which in ("min", "avg", "max"))
        for entry in whole
    ]
    assert [entry["stage"] for entry in whole] == ["simulated", "estimated"]
    assert cycles == [(7, 8, 9, 4, 5, 6), (7, None, 7, 2, None, 3)]
    (clock,) = (entry for entry in found["timing"] if entry["top"])
    assert (clock["clock_ns"], clock["fmax_mhz"], clock["met"], clock["wns_ns"]) == (5.0, 320, None, None)
    assert not found["power"]


def test_vivado_reports_by_title_and_stage(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "runs/impl_1/any_name.rpt": samples.utilization("2021.2"),
            "runs/impl_1/other.rpt": samples.timing("2021.2"),
            "runs/impl_1/third.rpt": samples.power("2021.2"),
            "vendor/reports/synth_timing.rpt": samples.timing("2019.2", "0.100"),
            "runs/hierarchy.rpt": samples.hierarchy("2021.2"),
            "runs/worst.txt": samples.paths("2021.2"),
            "runs/area_of_a_block.rpt": samples.utilization("2021.2").replace(
                "-file u", "-pblocks [get_pblocks a] -file u"
            ),
            "notes.rpt": "nothing",
        },
    )
    found = results.neutral(imported(tmp_path))
    (size,) = found["resources"]
    assert (size["source"], size["tool"], size["target"]) == (
        "runs/impl_1/any_name.rpt",
        "Vivado 2021.2",
        "xc7z020clg400-1",
    )
    assert (size["stage"], size["lut"], size["bram"], size["carry"], size["uram"]) == ("routed", 5432, 2.5, 321, None)
    assert [(t["stage"], t["wns_ns"]) for t in found["timing"]] == [(None, 0.213), ("synthesised", 0.1)]
    (power,) = found["power"]
    figures = {"total_w": 0.242, "dynamic_w": 0.137, "static_w": 0.105, "confidence": "Medium", "activity": None}
    assert figures.items() <= power.items()
    assert power["stage"] == "routed"
    instances = [(row["instance"], row["of"], row["lut"], row["top"]) for row in found["hierarchy"]]
    assert instances == [("U_fc1", "folded", 300, False), ("U_fc2", "other", 40, False)]
    assert [(row["slack_ns"], row["start"], row["source"]) for row in found["paths"]] == [
        (0.213, "U_fc1/sum_reg[0]/C", "runs/worst.txt"),
        (0.301, "U_fc1/sum_reg[1]/C", "runs/worst.txt"),
    ]


def test_exports_and_files_saved_as_text(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "a/tiny_top_export.rpt": samples.export("2023.1"),
            "a/export_impl.rpt": samples.export_table("2025.1", met=False),
            "mail/any.txt": samples.export_table("2022.2"),
            "mail/synthesis.txt": samples.csynth_text("2022.2"),
            "mail/usage.rpt.txt": samples.versal(),
            "mail/simulation.txt": samples.csim("2022.2", wrong=2),
            "mail/letter.txt": "Timing Summary Report of last week",
        },
    )
    found = results.neutral(imported(tmp_path))
    assert [(row["source"], row["stage"], row["module"], row["lut"], row["carry"]) for row in found["resources"]] == [
        ("a/export_impl.rpt", "routed", None, 5455, None),
        ("a/tiny_top_export.rpt", "routed", "tiny_top", 5455, None),
        ("mail/any.txt", "synthesised", None, 5455, None),
        ("mail/synthesis.txt", "estimated", "tiny_top", 4321, None),
        ("mail/usage.rpt.txt", "routed", "tiny", 5432, None),
    ]
    assert [(row["met"], row["fmax_mhz"], row["tool"]) for row in found["timing"]] == [
        (False, None, "Vivado 2025.1"),
        (True, 226.24, "Vivado 2023.1"),
        (True, 226.24, "Vivado 2022.2"),
        (None, 320, "Vitis HLS 2022.2"),
    ]
    assert [row["failure"] for row in found["simulation"]] == ["the simulation failed: 2 of 100 vectors wrong"]


def test_the_text_beside_the_xml_names_the_tool_and_other_intervals_are_noted(tmp_path: Path) -> None:
    xml = samples.csynth_xml("2020.1").replace("<Interval-max>3", "<Interval-max>4")
    lay(tmp_path, {"csynth.xml": xml, "tiny_top_csynth.rpt": samples.csynth_text("2020.1")})
    (report,) = imported(tmp_path)
    assert (report.tool, report.values.interval_max) == ("Vivado HLS 2020.1", 4)
    assert report.note == "the interval is the XML's; tiny_top_csynth.rpt has 2 to 3"
    (tmp_path / "tiny_top_csynth.rpt").write_text("== Vitis HLS Report for 'tiny_top'\ncut short")
    found, problems = results.import_reports(tmp_path)
    assert (found[0].tool, found[0].note) == ("Vitis HLS or Vivado HLS 2020.1", None)
    assert [problem.split(":")[0] for problem in problems] == ["tiny_top_csynth.rpt"]


def test_a_folder_brought_home_is_as_good_as_a_run_here(tmp_path: Path) -> None:
    job = hls_job(tmp_path / "project")
    fakes = Fakes(tmp_path / "tools", vitis_hls="2022.2", vivado="2021.2")
    fakes.plan(good(job))
    run(job, {"hls": tools.find_hls("vitis", fakes.environ), "vivado": tools.find_vivado(fakes.environ)})
    shutil.copytree(job.folder, tmp_path / "home")
    assert imported(tmp_path / "home") == imported(job.folder)


def test_a_simulation_alone_does_not_know_its_tool(tmp_path: Path) -> None:
    lay(tmp_path, {"sim/report/tiny_cosim.rpt": samples.cosim("2022.2", "Pass", "NA")})
    found = results.neutral(imported(tmp_path))
    assert [(s["tool"], s["target"]) for s in found["simulation"]] == [("Vitis HLS or Vivado HLS", None)]
    assert not found["latency"]


@pytest.mark.parametrize(
    ("log", "passed", "failure"),
    [
        (samples.csim("2022.2"), True, None),
        (samples.csim("2022.2", wrong=2), False, "the simulation failed: 2 of 100 vectors wrong"),
        (samples.csim("2022.2").replace("0 wrong", "2 wrong"), False, "the simulation failed: 2 of 100 vectors wrong"),
        (samples.csim("2022.2", ends="failed"), False, "the simulation failed"),
        (samples.csim("2022.2", ends="not compiled"), False, "the simulation was not compiled"),
        (samples.csim("2022.2", ends="interrupted"), False, "the simulation was interrupted"),
        (samples.csim("2022.2", ends="only set up"), None, None),
    ],
)
def test_what_became_of_a_simulation(tmp_path: Path, log: str, passed: bool | None, failure: str | None) -> None:
    lay(tmp_path, {"a_csim.log": log})
    (told,) = results.neutral(imported(tmp_path))["simulation"]
    assert (told["passed"], told["failure"]) == (passed, failure)


def test_a_co_simulation_that_failed_is_a_result(tmp_path: Path) -> None:
    lay(tmp_path, {"a_cosim.rpt": samples.cosim("2022.2", "Fail", "NA")})
    (told,) = results.neutral(imported(tmp_path))["simulation"]
    assert (told["passed"], told["failure"]) == (False, "the simulation failed")


@pytest.mark.parametrize(
    "name", ["x_csynth.rpt", "csynth.xml", "y_cosim.rpt", "z_csim.log", "synth_power.rpt", "a_export.rpt"]
)
def test_a_report_that_cannot_be_read_hides_no_other(tmp_path: Path, name: str) -> None:
    lay(tmp_path, solution("2022.2"))
    whole = imported(tmp_path)
    lay(tmp_path, {f"sub/{name}": "garbage"})
    found, problems = results.import_reports(tmp_path)
    assert found == whole
    assert len(problems) == 1 and problems[0].startswith(f"sub/{name}:1: expected ")


def test_no_reports(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(UserError, match="no reports in it; looked for"):
        results.import_reports(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        results.import_reports(tmp_path / "none")
    with pytest.raises(UserError, match="no such folder"):
        results.import_reports(tmp_path / "file.txt")


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside_csim.log").write_text(samples.csim("2022.2"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a_csim.log").symlink_to(tmp_path / "outside_csim.log")
    with pytest.raises(UserError, match="no reports"):
        results.import_reports(tmp_path / "folder")


@pytest.mark.parametrize(
    ("part", "told", "ours"),
    [
        ("xc7z020clg400-1", "xc7z020clg400-1", True),
        ("xc7z020clg400-1", "xc7z020-clg400-1", True),
        ("xc7z020clg400-1", "XC7Z020_CLG400", True),
        ("xc7z020clg400-1", None, True),
        ("xc7z020clg400-1", "xc7z010clg400-1", False),
        ("xc7z020clg400-1", "xc7z020clg484-1", False),
    ],
)
def test_a_part_is_the_same_without_its_dashes_and_its_speed_grade(part: str, told: str | None, ours: bool) -> None:
    report: Any = SimpleNamespace(top=True, module="tiny_top", target=told)
    assert results._is_of(JobDesign("tiny_top", part, ""), report) == ours
    report.module = "other_top"
    assert not results._is_of(JobDesign("tiny_top", part, ""), report)


def test_what_is_simulated_has_the_tool_of_the_synthesis_beside_it_and_of_no_other_report(tmp_path: Path) -> None:
    lay(tmp_path, {name: text for name, text in solution("2019.2").items() if "syn/report/csynth.xml" not in name})
    (simulated,) = (report for report in imported(tmp_path) if report.source.endswith("csim.log"))
    assert (simulated.tool, simulated.target) == ("Vitis HLS or Vivado HLS", None)
