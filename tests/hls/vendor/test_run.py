"""Steps run with the right arguments in the right place, and nothing but whole, new, good reports is success."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.hls.vendor import samples
from tests.hls.vendor.conftest import hls_job
from tests.hls.vendor.fakes import Fakes, good

from xnorflow.hls.vendor import results, tools
from xnorflow.hls.vendor.causes import CAUSES
from xnorflow.hls.vendor.run import run
from xnorflow.hls.vendor.steps import Job
from xnorflow.hls.vendor.tools import VendorError


def vivado(folder: Path) -> tuple[Fakes, dict[str, Any]]:
    fakes = Fakes(folder, vivado="2021.2")
    return fakes, {"vivado": tools.find_vivado(fakes.environ)}


def test_all_steps_of_an_hls4ml_project(tmp_path: Path) -> None:
    job = hls_job(tmp_path / "project")
    fakes = Fakes(tmp_path / "tools", vitis_run="2024.2", vivado="2024.2")
    fakes.plan(good(job))
    environ = {**fakes.environ, "XNORFLOW_VIVADO": str(fakes.folder)}
    found = {"hls": tools.find_hls("vitis", environ), "vivado": tools.find_vivado(environ)}
    ran = run(job, found, environ=environ)
    assert [r.step.name for r in ran] == ["csim", "csynth", "cosim", "export", "synth", "impl"]
    assert all(r.seconds > 0 for r in ran)
    for call, step in zip(fakes.calls, job.steps, strict=True):
        assert call["tool"] == {"hls": "vitis-run", "vivado": "vivado"}[step.tool]
        assert call["arguments"][-1] == f"vendor/{step.name}.tcl"
        assert call["cwd"] == str(job.folder.resolve())
        assert call["stdin"] == ""
        assert call["environment"]["LC_ALL"] == "C"
        assert call["environment"]["XILINX_VIVADO"] == str(fakes.folder)
        assert call["environment"]["PATH"].startswith(str(fakes.bin))
        assert (job.folder / step.log).read_text() == "INFO: it starts\nINFO: it ends\n"
    assert len(results.import_reports(job.folder)[0]) == 13


def test_chosen_steps_run_in_order(job: Job, tmp_path: Path) -> None:
    fakes, found = vivado(tmp_path / "tools")
    fakes.plan(good(job))
    assert [r.step.name for r in run(job, found, ["impl", "synth"])] == ["synth", "impl"]
    run(job, found, ["impl"])
    assert [call["arguments"][-1] for call in fakes.calls][2:] == ["vendor/impl.tcl"]
    with pytest.raises(VendorError, match="no step implement; there are synth, impl"):
        run(job, found, ["implement"])


def test_an_exit_status_is_honoured_even_with_all_reports(job: Job, tmp_path: Path) -> None:
    fakes, found = vivado(tmp_path / "tools")
    plan = good(job)
    plan["synth"] |= {"status": 3, "summary": "INFO: a\nERROR: [Synth 8-439] module 'tiny' not found\nINFO: b"}
    fakes.plan(plan)
    with pytest.raises(VendorError) as error:
        run(job, found)
    assert str(error.value) == (
        f"synth: vivado 2021.2 ended with exit status 3; log: {job.folder}/vendor/logs/synth.log\n"
        "ERROR: [Synth 8-439] module 'tiny' not found"
    )
    assert len(fakes.calls) == 1


@pytest.mark.parametrize("content", [None, ""])
def test_a_missing_or_empty_report_is_an_error(job: Job, tmp_path: Path, content: str | None) -> None:
    fakes, found = vivado(tmp_path / "tools")
    plan = good(job)
    if content is None:
        del plan["impl"]["files"]["vendor/reports/impl_timing.rpt"]
    else:
        plan["impl"]["files"]["vendor/reports/impl_timing.rpt"] = content
    fakes.plan(plan)
    with pytest.raises(
        VendorError, match=r"impl: vivado 2021\.2 ended well but left no vendor/reports/impl_timing\.rpt"
    ):
        run(job, found)


def test_a_report_cut_short_is_an_error(job: Job, tmp_path: Path) -> None:
    fakes, found = vivado(tmp_path / "tools")
    plan = good(job)
    path = "vendor/reports/impl_power.rpt"
    plan["impl"]["files"][path] = plan["impl"]["files"][path][:900]
    fakes.plan(plan)
    with pytest.raises(
        VendorError, match=r"impl: .* left an unreadable report: vendor/reports/impl_power\.rpt:\d+: exp"
    ):
        run(job, found)


def test_reports_of_an_earlier_run_are_not_taken(job: Job, tmp_path: Path) -> None:
    fakes, found = vivado(tmp_path / "tools")
    fakes.plan(good(job))
    run(job, found)
    fakes.plan({})
    with pytest.raises(VendorError, match=r"synth: .* left no vendor/reports/synth_utilization\.rpt"):
        run(job, found)
    assert not list((job.folder / "vendor" / "reports").glob("*.rpt"))
    fakes.plan(good(job))
    run(job, found)
    (fakes.bin / "vivado").unlink()
    with pytest.raises(VendorError, match=r"synth: cannot run .*vivado"):
        run(job, found)
    assert not list((job.folder / "vendor" / "reports").glob("*.rpt"))


def test_functions_of_an_earlier_synthesis_are_forgotten(tmp_path: Path) -> None:
    job = hls_job(tmp_path / "project")
    old = job.folder / "tiny_top_prj" / "solution1" / "syn" / "report" / "old_csynth.xml"
    old.parent.mkdir(parents=True)
    old.write_text(samples.csynth_xml("2022.2", "old"))
    fakes = Fakes(tmp_path / "tools", vitis_hls="2022.2")
    fakes.plan(good(job))
    run(job, {"hls": tools.find_hls("vitis", fakes.environ)}, ["csynth"])
    assert [report.module for report in results.import_reports(job.folder)[0]] == ["tiny_top"]


def test_a_step_that_takes_too_long_is_ended_with_its_children(job: Job, tmp_path: Path) -> None:
    fakes, found = vivado(tmp_path / "tools")
    fakes.plan({"synth": {"sleep": True}})
    start = time.monotonic()
    child = fakes.folder / "child"
    with pytest.raises(
        VendorError, match=r"synth: vivado 2021\.2 took longer than 2 s and was ended; log: .*\nINFO: it st"
    ):
        run(job, found, timeout_s=2)
    assert time.monotonic() - start < 30
    if child.exists():  # else the machine was too slow to get there
        status = Path(f"/proc/{child.read_text()}/stat")
        deadline = time.monotonic() + 20  # a killed process dies when the kernel gets to it
        while _lives(status) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _lives(status)
    assert "cwd" in fakes.calls[0]


def _lives(status: Any) -> Any:
    try:
        return status.read_text().split(")")[-1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_co_simulation_that_fails_with_status_0_is_told(tmp_path: Path) -> None:
    job = hls_job(tmp_path / "project")
    fakes = Fakes(tmp_path / "tools", vitis_hls="2022.2")
    plan = good(job)
    plan["cosim"]["files"] = dict.fromkeys(plan["cosim"]["files"], samples.cosim("2022.2", "Fail", "NA"))
    fakes.plan(plan)
    found = {"hls": tools.find_hls("vitis", fakes.environ)}
    with pytest.raises(VendorError, match=r"cosim: vitis_hls 2022\.2 ended well but the simulation failed; log"):
        run(job, found, ["cosim"])


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        # As public trackers have it, of Vivado HLS 2019.1 and of Vitis HLS 2021.1.
        (
            "bad lexical cast: source type value could not be interpreted as target\n    while executing\n"
            '"rdi::set_property core_revision 2201061327 {component component_1}"',
            "AMD answer record 76960 (y2k22_patch)",
        ),
        (
            "ERROR: '2201251806' is an invalid argument. Please specify an integer value.\n    while executing\n"
            '"rdi::set_property core_revision 2201251806 {component component_1}"',
            "AMD answer record 76960 (y2k22_patch)",
        ),
        ("ERROR: [HLS 200-1023] Part 'xczu7ev-2ffvc1156' is not installed.", "not installed or not licensed"),
        ("ERROR: [Coretcl 2-106] Specified part could not be found.", "not installed or not licensed"),
        (
            "ERROR: [Common 17-345] A valid license was not found for feature 'Synthesis' and/or device 'xcku060'.",
            "not licensed here",
        ),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "too little memory"),
    ],
)
@pytest.mark.parametrize("where", ["printed", "beside"])
def test_a_known_cause_is_told_with_its_remedy(tmp_path: Path, said: str, cause: str, where: str) -> None:
    job = hls_job(tmp_path / "project")
    fakes = Fakes(tmp_path / "tools", vitis_hls="2019.2")
    log = {"tiny_top_prj/solution1/impl/ip/vivado.log": said}
    fakes.plan({"export": {"status": 1, **({"summary": said} if where == "printed" else {"files": log})}})
    with pytest.raises(VendorError, match=r"export: vitis_hls 2019\.2 ended with exit status 1") as error:
        run(job, {"hls": tools.find_hls("vitis", fakes.environ)}, ["export"])
    assert cause in str(error.value)
    told = subprocess.run(
        ["sh", str(job.folder / "vendor" / "run.sh"), "export"],
        env={"PATH": fakes.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 1 and cause in told.stdout


def test_an_unknown_cause_is_not_guessed(job: Job, tmp_path: Path) -> None:
    fakes, found = vivado(tmp_path / "tools")
    fakes.plan({"synth": {"status": 1, "summary": "ERROR: [Synth 8-439] module 'tiny' not found"}})
    with pytest.raises(VendorError) as error:
        run(job, found)
    assert not any(known.told in str(error.value) for known in CAUSES)


def test_a_tool_that_is_killed(job: Job, tmp_path: Path) -> None:
    fakes, found = vivado(tmp_path / "tools")
    (fakes.bin / "vivado").write_text("#!/bin/sh\necho INFO: it starts\nkill -9 $$\n")
    with pytest.raises(VendorError, match=r"synth: vivado 2021\.2 ended with exit status -9; .*\n.*INFO: it starts"):
        run(job, found)


def test_logs_need_not_be_text(job: Job, tmp_path: Path) -> None:
    fakes, found = vivado(tmp_path / "tools")
    (fakes.bin / "vivado").write_text("#!/bin/sh\nprintf '\\377\\376'\nexit 9\n")
    with pytest.raises(VendorError, match="exit status 9"):
        run(job, found)
    assert (job.folder / "vendor" / "logs" / "synth.log").read_bytes() == b"\377\376"
