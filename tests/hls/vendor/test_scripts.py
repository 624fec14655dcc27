"""The scripts are whole, the same each time, and run anywhere with one command."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.hls.vendor.conftest import hls_job, network, rtl_job
from tests.hls.vendor.fakes import Fakes, good

from xnorflow.bnn.errors import UserError
from xnorflow.hls.rtl import project as rtl_project
from xnorflow.hls.rtl.config import RtlConfig
from xnorflow.hls.vendor import results, scripts
from xnorflow.hls.vendor.causes import CAUSES
from xnorflow.hls.vendor.steps import ACTIVITY, Job


def text(job: Job, name: str) -> str:
    return (job.folder / "vendor" / name).read_text()


def files(folder: Path) -> Any:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rtl(tmp_path: Path) -> None:
    job = rtl_job(tmp_path / "a", "xc7a35ticsg324-1L", 2.5)
    assert [(step.name, step.needs) for step in job.steps] == [("synth", ()), ("impl", ("synth",))]
    synth = text(job, "synth.tcl")
    assert "create_project -in_memory -part xc7a35ticsg324-1L\n" in synth
    assert "synth_design -top tiny -part xc7a35ticsg324-1L -mode out_of_context -flatten_hierarchy rebuilt\n" in synth
    sources = {line.split()[1] for line in synth.splitlines() if line.startswith("add_files")}
    listed = (job.folder / "rtl" / "files.f").read_text().split()
    assert sources == {f"rtl/{p.name}" for p in (job.folder / "rtl").iterdir() if p.suffix in (".v", ".mem")}
    assert {f"rtl/{name}" for name in listed} <= sources
    assert text(job, "clock.xdc") == "create_clock -name clock -period 2.5 [get_ports aclk]\n"
    for step in job.steps:
        for report in step.reports:
            assert f"-file {report}\n" in text(job, f"{step.name}.tcl")
    assert files(rtl_job(tmp_path / "b", "xc7a35ticsg324-1L", 2.5).folder) == files(job.folder)
    assert str(tmp_path).encode() not in b"".join(files(job.folder).values())


@pytest.mark.parametrize(("backend", "tool"), [("vitis", "vitis-run or vitis_hls"), ("vivado", "vivado_hls")])
def test_hls4ml(tmp_path: Path, backend: str, tool: str) -> None:
    job = hls_job(tmp_path, backend)
    first, made = [("csim", ()), ("csynth", ())], ("csynth",)
    behind = [("cosim", made), ("export", made), ("synth", made), ("impl", ("synth",))]
    assert [(step.name, step.needs) for step in job.steps] == [*first, *behind]
    for name, command in {
        "csim": "csim_design",
        "csynth": "csynth_design",
        "cosim": "cosim_design -rtl verilog",
        "export": "export_design -format ip_catalog",
    }.items():
        assert f"    {command}" in text(job, f"{name}.tcl")
    assert "add_files tiny_top_prj/solution1/syn/verilog\n" in text(job, "synth.tcl")
    assert "synth_design -top tiny_top -part xc7z020clg400-1 -mode out_of_context -flatten_hierarchy rebuilt\n" in text(
        job, "synth.tcl"
    )
    assert text(job, "clock.xdc") == "create_clock -name clock -period 4.0 [get_ports ap_clk]\n"
    assert f"| csynth | {tool} |" in text(job, "README.md")
    assert "sh vendor/run.sh\n" in text(job, "README.md")


def test_writing_the_project_again_leaves_the_scripts(tmp_path: Path) -> None:
    before = files(hls_job(tmp_path).folder)
    assert files(hls_job(tmp_path).folder) == before


@pytest.mark.parametrize(("part", "clock_ns"), [("", 4.0), ("xc7z020; exit", 4.0), ("xc7z020clg400-1", 0)])
def test_bad_options(tmp_path: Path, part: str, clock_ns: float) -> None:
    with pytest.raises(UserError, match=r"^vivado: (part|clock_ns) must"):
        rtl_job(tmp_path, part, clock_ns)
    assert not (tmp_path / "job").exists()


STUBS = """
proc get_parts {args} { puts "CALLED get_parts $args"; return $::parts }
set parts PARTS
proc unknown {args} { puts "CALLED $args" }
if {[info exists env(FAIL)]} { rename unknown {}; proc unknown {args} {
    puts "CALLED $args"
    if {[lindex $args 0] eq $::env(FAIL)} { error "no luck" }
} }
source SCRIPT
"""


def tcl(job: Job, script: str, fail: str | None = None, parts: str = "{a part}") -> subprocess.CompletedProcess[str]:
    """Run a script in a plain Tcl interpreter that only tells of the tool's commands."""
    interpreter = shutil.which("tclsh")
    if not interpreter:
        pytest.skip("no tclsh here to run the scripts with; apt-get install tcl")
    program = STUBS.replace("SCRIPT", script).replace("PARTS", parts)
    environ = {"FAIL": fail} if fail else {}
    return subprocess.run(
        [interpreter], input=program, cwd=job.folder, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("backend", ["vitis", "vivado"])
def test_the_tcl_runs_its_command_last_and_fails_with_it(tmp_path: Path, backend: str) -> None:
    job = hls_job(tmp_path, backend)
    for step in job.steps[:4]:
        done = tcl(job, step.script)
        called = [line.removeprefix("CALLED ").split()[0] for line in done.stdout.splitlines()]
        assert done.returncode == 0, done.stderr
        assert called[0] == "open_project" and called[-2:] == [
            {"csim": "csim_design", "csynth": "csynth_design", "cosim": "cosim_design", "export": "export_design"}[
                step.name
            ],
            "close_project",
        ]
        assert "set_part xc7z020clg400-1" in done.stdout and "create_clock -period 4.0" in done.stdout
        done = tcl(job, step.script, called[-2])
        assert done.returncode == 1 and f"ERROR: {step.name}: no luck" in done.stdout
    for step in job.steps[4:]:
        done = tcl(job, step.script)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("CALLED report_") == 5


def test_the_part_is_looked_for_first(job: Job, tmp_path: Path) -> None:
    done = tcl(job, "vendor/synth.tcl", parts="{}")
    assert done.returncode == 1 and "part xc7z020clg400-1 is not installed or not licensed here" in done.stdout
    assert done.stdout.count("CALLED") == 1, "nothing is done before"
    hls = hls_job(tmp_path / "project")
    done = tcl(hls, "vendor/csynth.tcl", "set_part")
    assert done.returncode == 1 and "part xc7z020clg400-1 is not installed or not licensed here: no luck" in done.stdout
    assert "csynth_design" not in done.stdout


def test_the_switching_of_our_simulation_goes_to_report_power(tmp_path: Path) -> None:
    made = rtl_project.write(network(), tmp_path / "generated", RtlConfig())
    activity = tmp_path / "activity"
    activity.write_text("(SAIFILE)")
    job = scripts.write_rtl(made, tmp_path / "job", "xc7z020clg400-1", 4.0, activity)
    assert (job.folder / ACTIVITY).read_text() == "(SAIFILE)"
    for step in job.steps:
        lines = text(job, f"{step.name}.tcl").splitlines()
        assert lines.index(f"read_saif -strip_path bench/tiny {ACTIVITY}") < lines.index(
            f"report_power -file vendor/reports/{step.name}_power.rpt"
        )
    without = rtl_job(tmp_path / "without")
    assert "read_saif" not in text(without, "synth.tcl") and without.design.digest != job.design.digest


def shell(job: Job, fakes: Fakes, *steps: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(job.folder / "vendor" / "run.sh"), *steps],
        env={"PATH": fakes.environ["PATH"], **environ},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("backend", "installed", "first"),
    [
        ("vitis", {"vitis_run": "2025.1"}, ["--mode", "hls", "--tcl", "vendor/csim.tcl"]),
        ("vitis", {"vitis_hls": "2022.2"}, ["-f", "vendor/csim.tcl"]),
        ("vivado", {"vivado_hls": "2019.2"}, ["-f", "vendor/csim.tcl"]),
    ],
)
def test_one_command_on_another_machine(
    tmp_path: Path, backend: str, installed: dict[str, str], first: list[str]
) -> None:
    fakes = Fakes(tmp_path / "tools", vivado="2022.2", **installed)
    job = hls_job(tmp_path / "project", backend)
    fakes.plan(good(job))
    done = shell(job, fakes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [call["arguments"][-1] for call in fakes.calls] == [step.script for step in job.steps]
    assert fakes.calls[0]["arguments"] == first
    assert {call["cwd"] for call in fakes.calls} == {str(job.folder.resolve())}
    assert len(results.import_reports(job.folder)[0]) == 13


def test_the_shell_script_takes_steps_and_installations(job: Job, tmp_path: Path) -> None:
    fakes = Fakes(tmp_path / "tools", vivado="2022.2")
    fakes.plan(good(job))
    environ = {"PATH": "/usr/bin:/bin", "XNORFLOW_VIVADO": str(fakes.folder)}
    assert shell(job, fakes, "impl", **environ).returncode == 0
    assert [call["arguments"][-1] for call in fakes.calls] == ["vendor/impl.tcl"]
    assert fakes.calls[0]["environment"]["XILINX_VIVADO"] == str(fakes.folder)
    done = shell(job, fakes, "place")
    assert done.returncode == 2 and done.stdout == "no step place\n"


def test_a_step_that_fails_stops_those_that_need_it_and_leaves_no_old_reports(job: Job, tmp_path: Path) -> None:
    fakes = Fakes(tmp_path / "tools", vivado="2022.2")
    plan = good(job)
    fakes.plan(plan)
    assert shell(job, fakes).returncode == 0
    for failing in (
        {**plan["synth"], "status": 7, "summary": "ERROR: no luck"},
        {"status": 7, "summary": "ERROR: no luck"},
    ):
        before = len(fakes.calls)
        fakes.plan({**plan, "synth": failing})
        done = shell(job, fakes)
        assert done.returncode == 1
        assert "synth failed with exit status 7; its log ends:" in done.stdout and "ERROR: no luck" in done.stdout
        assert "impl left out: needs synth" in done.stdout and "not done: synth impl" in done.stdout
        assert "cause:" not in done.stdout
        assert len(fakes.calls) == before + 1
    assert not list((job.folder / "vendor" / "reports").glob("*.rpt"))
    fakes.plan({})
    done = shell(job, fakes)
    assert done.returncode == 1 and "synth left no vendor/reports/synth_utilization.rpt" in done.stdout


@pytest.mark.parametrize(
    ("failing", "left_out"),
    [
        ("csim", []),
        ("cosim", []),
        ("export", []),
        ("csynth", ["cosim", "export", "synth", "impl"]),
        ("synth", ["impl"]),
    ],
)
def test_what_a_failure_stops(tmp_path: Path, failing: str, left_out: list[str]) -> None:
    job = hls_job(tmp_path / "project")
    fakes = Fakes(tmp_path / "tools", vitis_hls="2020.1", vivado="2022.2")
    fakes.plan({**good(job), failing: {"status": 1}})
    done = shell(job, fakes)
    ran = [call["arguments"][-1].removeprefix("vendor/").removesuffix(".tcl") for call in fakes.calls]
    assert ran == [step.name for step in job.steps if step.name not in left_out]
    assert done.returncode == 1 and f"not done: {' '.join([failing, *left_out])}\n" in done.stdout
    assert all(f"{name} left out: needs " in done.stdout for name in left_out)


def test_causes_can_stand_in_a_shell_script() -> None:
    for known in CAUSES:
        assert not set("'\"$`\\!") & set(known.told) and "'" not in known.pattern
