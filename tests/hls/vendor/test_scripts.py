"""The scripts are whole, the same each time, and run anywhere with one command."""

import shutil
import subprocess

import pytest
from tests.hls.vendor.conftest import hls_job, rtl_job
from tests.hls.vendor.fakes import Fakes, good

from xnorflow.bnn.errors import UserError
from xnorflow.hls.vendor import results
from xnorflow.hls.vendor.steps import Job


def text(job: Job, name: str) -> str:
    return (job.folder / "vendor" / name).read_text()


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rtl(tmp_path):
    job = rtl_job(tmp_path / "a", "xc7a35ticsg324-1L", 2.5)
    assert [step.name for step in job.steps] == ["synth", "impl"]
    synth = text(job, "synth.tcl")
    assert "create_project -in_memory -part xc7a35ticsg324-1L\n" in synth
    assert "synth_design -top tiny -part xc7a35ticsg324-1L -mode out_of_context\n" in synth
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
def test_hls4ml(tmp_path, backend, tool):
    job = hls_job(tmp_path, backend)
    assert [step.name for step in job.steps] == ["csim", "csynth", "cosim", "export", "synth", "impl"]
    for name, command in {
        "csim": "csim_design",
        "csynth": "csynth_design",
        "cosim": "cosim_design -rtl verilog",
        "export": "export_design -format ip_catalog",
    }.items():
        assert f"    {command}" in text(job, f"{name}.tcl")
    assert "add_files tiny_top_prj/solution1/syn/verilog\n" in text(job, "synth.tcl")
    assert "synth_design -top tiny_top -part xc7z020clg400-1 -mode out_of_context\n" in text(job, "synth.tcl")
    assert text(job, "clock.xdc") == "create_clock -name clock -period 4.0 [get_ports ap_clk]\n"
    assert f"| csynth | {tool} |" in text(job, "README.md")
    assert "sh vendor/run.sh\n" in text(job, "README.md")


def test_writing_the_project_again_leaves_the_scripts(tmp_path):
    before = files(hls_job(tmp_path).folder)
    assert files(hls_job(tmp_path).folder) == before


@pytest.mark.parametrize(("part", "clock_ns"), [("", 4.0), ("xc7z020; exit", 4.0), ("xc7z020clg400-1", 0)])
def test_bad_options(tmp_path, part, clock_ns):
    with pytest.raises(UserError, match=r"^vivado: (part|clock_ns) must"):
        rtl_job(tmp_path, part, clock_ns)
    assert not (tmp_path / "job").exists()


STUBS = """
proc unknown {args} { puts "CALLED $args" }
if {[info exists env(FAIL)]} { rename unknown {}; proc unknown {args} {
    puts "CALLED $args"
    if {[lindex $args 0] eq $::env(FAIL)} { error "no luck" }
} }
source SCRIPT
"""


def tcl(job: Job, script: str, fail: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script in a plain Tcl interpreter that only tells of the tool's commands."""
    interpreter = shutil.which("tclsh")
    if not interpreter:
        pytest.skip("no tclsh here to run the scripts with; apt-get install tcl")
    program = STUBS.replace("SCRIPT", script)
    environ = {"FAIL": fail} if fail else {}
    return subprocess.run(
        [interpreter], input=program, cwd=job.folder, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("backend", ["vitis", "vivado"])
def test_the_tcl_runs_its_command_last_and_fails_with_it(tmp_path, backend):
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
        assert done.stdout.count("CALLED report_") == 3


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
def test_one_command_on_another_machine(tmp_path, backend, installed, first):
    fakes = Fakes(tmp_path / "tools", vivado="2022.2", **installed)
    job = hls_job(tmp_path / "project", backend)
    fakes.plan(good(job))
    done = shell(job, fakes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [call["arguments"][-1] for call in fakes.calls] == [step.script for step in job.steps]
    assert fakes.calls[0]["arguments"] == first
    assert {call["cwd"] for call in fakes.calls} == {str(job.folder.resolve())}
    assert len(results.import_reports(job.folder)[0]) == 13


def test_the_shell_script_takes_steps_and_installations(job, tmp_path):
    fakes = Fakes(tmp_path / "tools", vivado="2022.2")
    fakes.plan(good(job))
    environ = {"PATH": "/usr/bin:/bin", "XNORFLOW_VIVADO": str(fakes.folder)}
    assert shell(job, fakes, "impl", **environ).returncode == 0
    assert [call["arguments"][-1] for call in fakes.calls] == ["vendor/impl.tcl"]
    assert fakes.calls[0]["environment"]["XILINX_VIVADO"] == str(fakes.folder)
    done = shell(job, fakes, "place")
    assert done.returncode == 2 and done.stdout == "no step place\n"


def test_the_shell_script_stops_at_failures_and_leaves_no_old_reports(job, tmp_path):
    fakes = Fakes(tmp_path / "tools", vivado="2022.2")
    plan = good(job)
    fakes.plan(plan)
    assert shell(job, fakes).returncode == 0
    for failing in (
        {**plan["synth"], "status": 7, "summary": "ERROR: licence"},
        {"status": 7, "summary": "ERROR: licence"},
    ):
        before = len(fakes.calls)
        fakes.plan({**plan, "synth": failing})
        done = shell(job, fakes)
        assert done.returncode == 1
        assert "synth failed with exit status 7; its log ends:" in done.stdout and "ERROR: licence" in done.stdout
        assert len(fakes.calls) == before + 1
    assert not list((job.folder / "vendor" / "reports").glob("synth_*"))
    fakes.plan({})
    done = shell(job, fakes)
    assert done.returncode == 1 and "synth left no vendor/reports/synth_utilization.rpt" in done.stdout
