"""A folder brought home gives what a run at home gives: every figure with its file, tool, part and stage."""

import json
import shutil

import pytest
from tests.hls.vendor import samples
from tests.hls.vendor.conftest import hls_job
from tests.hls.vendor.fakes import Fakes, good

from xnorflow.bnn.errors import UserError
from xnorflow.hls.vendor import results, tools
from xnorflow.hls.vendor.run import run
from xnorflow.hls.vendor.text import ReportError


def lay(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def solution(version):
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
def test_an_hls_solution(tmp_path, version, tool):
    lay(tmp_path, solution(version))
    found = results.neutral(results.import_reports(tmp_path))
    assert json.loads(json.dumps(found)) == found
    about = {"tool": tool, "target": "xc7z020-clg400-1", "provenance": "vendor"}
    base = "tiny_top_prj/solution1"
    simulated = {**about, "stage": "simulated", "module": None, "top": True}
    assert found["simulation"] == [
        {**simulated, "source": f"{base}/csim/report/tiny_top_csim.log", "passed": True, "vectors": 100},
        {**simulated, "source": f"{base}/sim/report/tiny_top_cosim.rpt", "passed": True, "vectors": None},
    ]
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
        tuple(entry[f"{what}_{which}"] for what in ("latency", "interval") for which in ("min", "avg", "max"))
        for entry in whole
    ]
    assert [entry["stage"] for entry in whole] == ["simulated", "estimated"]
    assert cycles == [(7, 8, 9, 7, 8, 9), (7, None, 7, 2, None, 3)]
    (clock,) = (entry for entry in found["timing"] if entry["top"])
    assert (clock["clock_ns"], clock["fmax_mhz"], clock["wns_ns"], clock["whs_ns"]) == (5.0, 320, None, None)
    assert not found["power"]


def test_vivado_reports_by_title_and_stage(tmp_path):
    lay(
        tmp_path,
        {
            "runs/impl_1/any_name.rpt": samples.utilization("2021.2"),
            "runs/impl_1/other.rpt": samples.timing("2021.2"),
            "runs/impl_1/third.rpt": samples.power("2021.2"),
            "vendor/reports/synth_timing.rpt": samples.timing("2019.2", "0.100"),
            "runs/hierarchy.rpt": "Utilization Design Information\n\n1. Utilization by Hierarchy\n",
            "notes.rpt": "nothing",
        },
    )
    found = results.neutral(results.import_reports(tmp_path))
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
    assert {key: power[key] for key in figures} == figures
    assert power["stage"] == "routed"


def test_a_folder_brought_home_is_as_good_as_a_run_here(tmp_path):
    job = hls_job(tmp_path / "project")
    fakes = Fakes(tmp_path / "tools", vitis_hls="2022.2", vivado="2021.2")
    fakes.plan(good(job))
    run(job, {"hls": tools.find_hls("vitis", fakes.environ), "vivado": tools.find_vivado(fakes.environ)})
    shutil.copytree(job.folder, tmp_path / "home")
    assert results.import_reports(tmp_path / "home") == results.import_reports(job.folder)


def test_a_simulation_alone_does_not_know_its_tool(tmp_path):
    lay(tmp_path, {"sim/report/tiny_cosim.rpt": samples.cosim("2022.2", "Pass", "NA")})
    found = results.neutral(results.import_reports(tmp_path))
    assert [(s["tool"], s["target"]) for s in found["simulation"]] == [("Vitis HLS or Vivado HLS", None)]
    assert not found["latency"]


def test_failed_simulations_are_results(tmp_path):
    lay(tmp_path, {"a_csim.log": samples.csim("2022.2", wrong=2), "a_cosim.rpt": samples.cosim("2022.2", "Fail", "NA")})
    assert [s["passed"] for s in results.neutral(results.import_reports(tmp_path))["simulation"]] == [False, False]


@pytest.mark.parametrize("name", ["x_csynth.rpt", "csynth.xml", "y_cosim.rpt", "z_csim.log", "synth_power.rpt"])
def test_a_report_that_cannot_be_read_stops_the_import(tmp_path, name):
    lay(tmp_path, {**solution("2022.2"), f"sub/{name}": "garbage"})
    with pytest.raises(ReportError, match=rf"^sub/{name}:1: expected "):
        results.import_reports(tmp_path)


def test_no_reports(tmp_path):
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(UserError, match="no reports in it; looked for"):
        results.import_reports(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        results.import_reports(tmp_path / "none")
    with pytest.raises(UserError, match="no such folder"):
        results.import_reports(tmp_path / "file.txt")


def test_links_are_not_followed(tmp_path):
    (tmp_path / "outside_csim.log").write_text(samples.csim("2022.2"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a_csim.log").symlink_to(tmp_path / "outside_csim.log")
    with pytest.raises(UserError, match="no reports"):
        results.import_reports(tmp_path / "folder")
