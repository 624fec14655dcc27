"""The vendor's tools in a flow: scripts without them, figures with them, and nothing of a step that failed."""

import html
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from tests.flows import fakes
from tests.hls.vendor import samples
from tests.hls.vendor.fakes import Fakes, good
from typer.testing import CliRunner

from xnorflow.bnn.io import save
from xnorflow.bnn.network import Network
from xnorflow.flows import cli, run, subject
from xnorflow.flows.cache import PROJECT
from xnorflow.flows.options import Options
from xnorflow.hls import project
from xnorflow.hls.config import HlsConfig
from xnorflow.hls.vendor.steps import Job, JobDesign, hls_steps
from xnorflow.hls.vendor.tools import VITIS, VIVADO
from xnorflow.reports.render import validate

NOTHING = np.zeros((0, 1), np.int8)
JOBS = ("hls4ml_packed", "rtl")
PART = HlsConfig().part


class Project(fakes.FakeBuilder):
    """Has the file of an hls4ml project that the vendor's tools begin with."""

    def prepare(self, network: Network, folder: Path, inputs: NDArray[Any], expected: Any) -> None:  # type: ignore[override]
        super().prepare(network, folder, inputs, expected)
        (folder / "project.tcl").write_text("")
        (folder / "build").mkdir()
        self.estimate = project.write(network, folder.parent / "real", HlsConfig(), NOTHING, NOTHING).estimate


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        job = Job(folder, JobDesign("small_top", PART, ""), hls_steps("small_top"))
        self.plan = good(job, "2022.2", "2022.2")
        save(fakes.network(), folder / "small.safetensors")
        plain, packed, _ = fakes.kinds(log=folder / "built.log")
        packed = replace(
            packed,
            name="hls4ml_packed",
            hls_style="packed",
            make=lambda view, into: Project("x", None, folder / "built.log"),
        )
        self.parts = fakes.parts(engines=(plain, packed))
        self.fakes: Any = None

    def tools(self, environment: Any, **versions: Any) -> None:
        """Put fake tools on PATH."""
        self.fakes = Fakes(self.folder / "tools", **versions)
        self.fakes.plan(self.plan)
        environment.setenv("PATH", self.fakes.environ["PATH"])

    def flow(self, force: bool | bool = False, **options: Any) -> Any:
        console = Console(file=io.StringIO(), record=True, width=200)
        outcome = run.run(
            subject.find(str(self.folder / "small.safetensors")), console, vectors=30, options=Options(**options),
            force=force, **self.parts,
            build=self.folder / "build", reports=self.folder / "reports",
        )  # fmt: skip
        self.report = outcome.report
        self.printed = console.export_text()
        report = json.loads((outcome.report / "report.json").read_text())
        validate(report)
        return report, {job["job"]: job for job in report["vendor"]}

    def pages(self) -> Any:
        return [(self.report / name).read_text() for name in ("report.md", "report.html")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for variable in (VITIS, VIVADO):
        monkeypatch.delenv(variable, raising=False)
    return Place(tmp_path)


def statuses(job: Any) -> Any:
    return {step["name"]: step["status"] for step in job["steps"]}


def test_without_tools_the_scripts_are_there_and_the_report_says_what_to_do_with_them(place: Place) -> None:
    report, jobs = place.flow()
    assert report["verdict"] == "pass"
    assert tuple(jobs) == JOBS
    for name, job in jobs.items():
        assert job["status"] == "skipped" and set(statuses(job).values()) == {"skipped"}
        folder = PROJECT / job["folder"]
        assert (folder / "vendor" / "run.sh").is_file() and (folder / "vendor" / "synth.tcl").is_file()
        assert (folder / "rtl" / "small_dense1.v").is_file() if name == "rtl" else (folder / "project.tcl").is_file()
        assert not (folder / "build").exists()
        for page in place.pages():
            assert job["folder"] in page and "import-reports" in page
    assert "Vitis HLS is not here" in jobs["hls4ml_packed"]["steps"][0]["reason"]
    assert "Vivado is not here" in jobs["rtl"]["steps"][0]["reason"]
    assert "Vivado is not here" in place.pages()[0]


def test_figures_of_the_tools_stand_beside_ours(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.tools(monkeypatch, vitis_hls="2022.2", vivado="2022.2")
    report, jobs = place.flow()
    assert report["verdict"] == "pass"
    for name, steps in zip(JOBS, (["csim", "csynth", "cosim", "export", "synth", "impl"], ["synth", "impl"])):
        assert statuses(jobs[name]) == dict.fromkeys(steps, "pass")
    assert sorted(call["tool"] for call in place.fakes.calls) == ["vitis_hls"] * 4 + ["vivado"] * 4
    figures = jobs["rtl"]["figures"]
    assert [(row["lut"], row["source"]) for row in figures["resources"]] == [
        (5432, "vendor/reports/impl_utilization.rpt"),
        (6000, "vendor/reports/synth_utilization.rpt"),
    ]
    assert {row["provenance"] for rows in figures.values() for row in rows} == {"vendor"}
    assert [s["passed"] for s in jobs["hls4ml_packed"]["figures"]["simulation"]] == [True, True]
    for page in place.pages():
        for told in ("5,432", "6,000", "Vivado 2022.2 for", "Vitis HLS 2022.2 for", "routed", "estimated"):
            assert told in page
    assert "vendor/reports/impl_utilization.rpt" in place.pages()[1]
    assert "latency 7 cycles, interval 2 to 3: Vitis HLS 2022.2, estimated" in place.pages()[1]
    whole = [row for row in report["predicted"] if row["provenance"] == "vendor" and row["what"] == "LUTs of all"]
    assert [(row["measured"], row["by"]) for row in whole] == [
        (5432, "Vivado 2022.2, routed"),
        (6000, "Vivado 2022.2, synthesised"),
    ]
    place.flow()
    assert len(place.fakes.calls) == 8, "the second flow takes what is there"


def test_a_tool_that_fails_fails_the_flow_and_gives_no_figures(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.plan["csynth"] |= {"status": 7, "summary": "ERROR: [HLS 200-70] Synthesizability check failed."}
    place.plan["impl"] |= {"status": 1, "summary": "ERROR: [Place 30-640] Place Check: over-utilised"}
    place.tools(monkeypatch, vitis_hls="2022.2", vivado="2022.2")
    report, jobs = place.flow()
    assert report["verdict"] == "fail"
    skipped = dict.fromkeys(("cosim", "export", "synth", "impl"), "skipped")
    assert statuses(jobs["hls4ml_packed"]) == {"csim": "pass", "csynth": "fail", **skipped}
    failed = {step["name"]: step for step in jobs["hls4ml_packed"]["steps"]}
    assert "vitis_hls 2022.2 ended with exit status 7" in failed["csynth"]["reason"]
    assert "Synthesizability check failed" in failed["csynth"]["reason"]
    assert failed["export"]["reason"] == "needs csynth"
    assert (PROJECT / jobs["hls4ml_packed"]["folder"] / failed["csynth"]["log"]).is_file()
    assert not jobs["hls4ml_packed"]["figures"]["resources"]
    assert [row["lut"] for row in jobs["rtl"]["figures"]["resources"]] == [6000], "synth's, which did not fail"
    for page in place.pages():
        assert "exit status 7" in page and "over-utilised" in page
    place.plan["csynth"]["status"] = place.plan["impl"]["status"] = 0
    place.fakes.plan(place.plan)
    before = len(place.fakes.calls)
    assert place.flow()[0]["verdict"] == "pass", "it is tried again"
    steps = [Path(call["arguments"][-1]).stem for call in place.fakes.calls[before:]]
    assert sorted(steps) == ["cosim", "csynth", "export", "impl", "impl", "synth"], "csim and the RTL's synth passed"
    before = len(place.fakes.calls)
    assert place.flow(force=True)[0]["verdict"] == "pass"
    assert len(place.fakes.calls) == before + 8


def test_an_export_that_fails_stops_nothing_and_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.plan["export"] = {"status": 1, "summary": 'ERROR: "set_property core_revision 2201061327"'}
    place.plan["csim"]["status"] = 1
    place.tools(monkeypatch, vitis_hls="2020.1", vivado="2022.2")
    report, jobs = place.flow()
    assert report["verdict"] == "fail"
    of = statuses(jobs["hls4ml_packed"])
    assert of == {"csim": "fail", "csynth": "pass", "cosim": "pass", "export": "fail", "synth": "pass", "impl": "pass"}
    assert [row["lut"] for row in jobs["hls4ml_packed"]["figures"]["resources"] if row["stage"] == "routed"] == [5432]
    for page in place.pages():
        assert "AMD answer record 76960 (y2k22_patch)" in html.unescape(page)


def test_luts_by_layer_and_paths_stand_beside_our_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.tools(monkeypatch, vivado="")
    report, _ = place.flow(vendor_run=())
    units = {f"U_{unit['name']}": unit for unit in report["rtl"]["units"]}
    hierarchy = {"part": PART, "design": "small_", "instances": {name: 100 + n for n, name in enumerate(units)}}
    late = samples.paths("2022.2", ("-0.250",), PART, "small_").replace("U_fc1", next(iter(units)))
    place.plan["impl"]["files"] |= {
        "vendor/reports/impl_hierarchy.rpt": samples.hierarchy("2022.2", **hierarchy),  # type: ignore[arg-type]
        "vendor/reports/impl_timing.rpt": samples.timing("2022.2", "-0.250", part=PART, design="small_"),
        "vendor/reports/impl_paths.rpt": late,
        "vendor/reports/impl_power.rpt": samples.power("2022.2", part=PART, design="small_", activity="activity.saif"),
    }
    place.fakes.plan(place.plan)
    report, jobs = place.flow(vendor_run=("rtl",))
    assert report["verdict"] == "pass", "a clock that is too fast makes no integer wrong"
    assert jobs["rtl"]["steps"][0]["tool"] == "vivado (version unknown)"
    figures = jobs["rtl"]["figures"]
    routed = [row for row in figures["hierarchy"] if row["stage"] == "routed"]
    assert [(row["layer"], row["lut"], row["estimated_luts"]) for row in routed] == [
        (unit["layer"], 100 + n, unit["luts"]) for n, unit in enumerate(units.values())
    ]
    layers = {unit["layer"] for unit in units.values()}
    for layer in layers:
        (row,) = (r for r in report["predicted"] if r["what"] == f"LUTs of {layer}" and "routed" in r["by"])
        mine = [n for n, unit in enumerate(units.values()) if unit["layer"] == layer]
        assert row["measured"] == sum(100 + n for n in mine) and row["provenance"] == "vendor"
    assert figures["paths"][0]["start_layer"] == next(iter(units.values()))["layer"]
    assert figures["power"][0]["matched_percent"] == 56
    assert [row["fmax_mhz"] for row in figures["timing"] if row["met"] is False] == [None]
    markdown, page = place.pages()
    assert "timing not met at 5 ns: WNS -0.25 ns" in markdown
    assert '<span class="status fail">timing not met</span> WNS -0.25 ns' in page
    assert all(f"<code>{name}</code>" in page for name in units)


def test_an_hls_project_of_which_much_went_wrong_is_told_layer_by_layer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.tools(monkeypatch, vitis_hls="2020.1", vivado="2022.2")
    estimated = place.flow(vendor_run=())[0]["hls"]
    assert [(layer["name"], layer["config"]) for layer in estimated["layers"]] == [
        ("dense1", "config2"),
        ("dense2", "config3"),
    ]
    of = {"part": PART, "design": "small_top"}
    instances = {f"packed_unrolled_array_ap_uint_16_{layer['config']}_U0": 30 for layer in estimated["layers"]}
    late = samples.paths("2022.2", ("-0.250",), **of).replace("U_fc1", next(iter(instances)))
    place.plan["export"] = {"status": 1, "summary": "bad lexical cast\nset_property core_revision 2201061327"}
    place.plan["small_top impl"] = {
        "files": {
            **place.plan["impl"]["files"],
            "vendor/reports/impl_hierarchy.rpt": samples.hierarchy("2022.2", **of, instances=instances | {"fifo_U": 5}),
            "vendor/reports/impl_timing.rpt": samples.timing("2022.2", "-0.250", **of),
            "vendor/reports/impl_paths.rpt": late,
        }
    }
    place.fakes.plan(place.plan)
    report, jobs = place.flow()
    figures = jobs["hls4ml_packed"]["figures"]
    told = [
        (row["layer"], row["lut"], row["estimated_luts"]) for row in figures["hierarchy"] if row["stage"] == "routed"
    ]
    assert told == [*((layer["name"], 30, layer["luts"]) for layer in estimated["layers"]), (None, 5, None)]
    assert figures["paths"][0]["start_layer"] == "dense1"
    (reason,) = (step["reason"] for step in jobs["hls4ml_packed"]["steps"] if step["name"] == "export")
    assert "log: vendor/logs/export.log\n" in reason and "AMD answer record 76960 (y2k22_patch)" in reason
    markdown, page = place.pages()
    assert "timing not met at 5 ns: WNS -0.25 ns" in markdown and "y2k22_patch" in page
    assert "beside the estimate of the project" in page
    for layer in estimated["layers"]:
        row = (
            rf'>{layer["name"]}</th>.*Vivado 2022.2, routed</td><td class="n">30</td><td class="n">{layer["luts"]}</td>'
        )
        assert re.search(row, page)
    assert [of["fmax_mhz"] for of in figures["timing"] if of["met"] is False] == [None]
    assert (report["verdict"], jobs["hls4ml_packed"]["status"], jobs["rtl"]["status"]) == ("fail", "fail", "pass")


@pytest.mark.parametrize(
    ("log", "garbage", "status", "told"),
    [
        (samples.csim("2022.2"), True, 2, "bad_csynth.rpt:1: expected"),
        (samples.csim("2022.2", wrong=3), True, 1, "a_csim.log: the simulation failed: 3 of 100 vectors wrong"),
        (samples.csim("2022.2", wrong=3), False, 1, "a_csim.log: the simulation failed: 3 of 100 vectors wrong"),
        (samples.csim("2022.2", ends="only set up"), False, 0, ""),
    ],
)
def test_import_shows_what_can_be_read_and_then_what_cannot(
    tmp_path: Path, log: str, garbage: bool, status: int, told: str
) -> None:
    (tmp_path / "impl_timing.rpt").write_text(samples.timing("2022.2", "-0.250"))
    (tmp_path / "a_csim.log").write_text(log)
    if garbage:
        (tmp_path / "bad_csynth.rpt").write_text("garbage")
    for arguments in ([], ["--json"]):
        done = CliRunner().invoke(cli.app, ["import-reports", *arguments, str(tmp_path)])
        assert done.exit_code == status, done.output
        assert told in done.stderr.replace("\n", "") and ("problem:" in done.stderr) == bool(told)
        assert "-0.25" in done.stdout
        assert ("timing not met" in " ".join(done.stdout.split())) == (not arguments)
    assert [len(json.loads(done.stdout)["problems"]), len(json.loads(done.stdout)["timing"])] == [int(garbage), 1]


def test_a_co_simulation_that_takes_too_long_stops_no_other_step(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.plan["cosim"] = {"sleep": True}
    place.tools(monkeypatch, vitis_hls="2022.2", vivado="2022.2")
    report, jobs = place.flow(vendor_run=("hls4ml_packed",), vendor_limit_s=2.0)
    assert report["verdict"] == "fail"
    status = statuses(jobs["hls4ml_packed"])
    assert status.pop("cosim") == "fail" and set(status.values()) == {"pass"}
    (reason,) = (step["reason"] for step in jobs["hls4ml_packed"]["steps"] if step["name"] == "cosim")
    assert "took longer than 2 s and was ended" in reason
    assert all("took longer than 2 s" in page for page in place.pages())
    assert [row["lut"] for row in jobs["hls4ml_packed"]["figures"]["resources"] if row["stage"] == "routed"] == [5432]
    assert jobs["rtl"]["status"] == "skipped" and "not asked for" in jobs["rtl"]["steps"][0]["reason"]


def test_reports_from_another_machine_are_taken_when_they_are_back(place: Place) -> None:
    _, jobs = place.flow()
    folder = PROJECT / jobs["rtl"]["folder"]
    away = place.folder / "away"
    shutil.copytree(folder, away)
    report = away / "vendor" / "reports" / "impl_utilization.rpt"
    report.write_text(samples.utilization("2021.2", "Routed", 7654, PART, "small_"))
    told = CliRunner().invoke(cli.app, ["import-reports", "--json", str(away)])
    assert json.loads(told.stdout)["resources"][0]["lut"] == 7654
    shutil.copytree(away, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    for force in (False, True):
        _, jobs = place.flow(force=force)
        assert jobs["rtl"]["status"] == "skipped", jobs["rtl"]["problems"]
        assert [row["lut"] for row in jobs["rtl"]["figures"]["resources"]] == [7654]
        assert all("7,654" in page for page in place.pages())


@pytest.mark.parametrize(
    ("report", "text", "problem"),
    [
        ("small_top_prj/solution1/sim/report/small_top_cosim.rpt", samples.cosim("2022.2", "Fail"), "the simulation"),
        ("small_top_prj/solution1/csim/report/small_top_csim.log", samples.csim("2022.2", 3), "the simulation"),
        ("vendor/reports/impl_utilization.rpt", samples.utilization("2021.2", part=PART, design="other"), "of other"),
        (
            "vendor/reports/impl_power.rpt",
            samples.power("2021.2", part="xc7a35tcpg236-1", design="small_top"),
            "for xc7a35t",
        ),
        ("small_top_prj/solution1/syn/report/dense1_csynth.xml", "<profile>", r"dense1_csynth.xml:1: expected"),
        ("vendor/reports/design.sha256", "0" * 64, "made from other sources"),
    ],
)
def test_reports_that_tell_of_a_failure_or_of_something_else_fail_the_flow(
    place: Place, report: str, text: str, problem: str
) -> None:
    folder = PROJECT / place.flow()[1]["hls4ml_packed"]["folder"]
    (folder / report).parent.mkdir(parents=True, exist_ok=True)
    (folder / report).write_text(text)
    found, jobs = place.flow()
    assert found["verdict"] == jobs["hls4ml_packed"]["status"] == "fail" and jobs["rtl"]["status"] == "skipped"
    (told,) = jobs["hls4ml_packed"]["problems"]
    assert problem in told and report in told
    assert not jobs["hls4ml_packed"]["figures"]["resources"] + jobs["hls4ml_packed"]["figures"]["power"]
    for page in place.pages():
        assert html.unescape(page).count(told) >= 1


def test_a_latency_that_the_tool_cannot_tell_is_a_dash(place: Place) -> None:
    folder = PROJECT / place.flow()[1]["hls4ml_packed"]["folder"]
    report = folder / "small_top_prj/solution1/syn/report/csynth.xml"
    report.parent.mkdir(parents=True)
    report.write_text(samples.csynth_xml("2022.2", "small_top", latency="undef", part=PART))
    found, _ = place.flow()
    assert found["verdict"] == "pass"
    assert "latency – cycles" in place.pages()[1]
