"""Stand-ins for the vendor's tools: executables that note how they were called and leave reports, or something else."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.hls.vendor import samples

from xnorflow.hls.vendor.steps import Job

_TOOL = """#!{python}
import json, os, subprocess, sys, time
from pathlib import Path
name, here = Path(sys.argv[0]).name, Path({folder!r})
arguments = sys.argv[1:]
if arguments in (["-version"], ["--version"]):
    print({banner!r})
    sys.exit(0)
step = Path(arguments[-1]).stem
top = Path(arguments[-1]).read_text().split(" of ")[1].split()[0].rstrip(",;")
told = {{"tool": name, "arguments": arguments, "cwd": os.getcwd(), "stdin": sys.stdin.read(),
        "environment": {{k: os.environ.get(k) for k in ("PATH", "LC_ALL", "XILINX_VIVADO")}}}}
with open(here / "calls", "a") as calls:
    calls.write(json.dumps(told) + "\\n")
plans = json.loads((here / "plan.json").read_text())
plan = plans.get(f"{{top}} {{step}}", plans.get(step, {{}}))
print("INFO: it starts", flush=True)
if plan.get("sleep"):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (here / "child").write_text(str(child.pid))
    time.sleep(60)
for path, text in plan.get("files", {{}}).items():
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text.replace("THE_TOP", top))
print(plan.get("summary", "INFO: it ends"))
sys.exit(plan.get("status", 0))
"""

BANNERS = {
    "vitis-run": "\n****** vitis-run v{} (64-bit)\n  **** SW Build 5239630 on 2024-11-10-11:19:46\n",
    "vitis_hls": "Vitis HLS - High-Level Synthesis from C, C++ and OpenCL v{} (64-bit)\nSW Build 3670227\n",
    "vivado_hls": "Vivado(TM) HLS - High-Level Synthesis from C, C++ and SystemC v{} (64-bit)\nSW Build 2708876\n",
    "vivado": "Vivado v{} (64-bit)\nSW Build 3671981 on Fri Oct 14 04:59:54 MDT 2022\n",
}


class Fakes:
    """A folder of fake tools, with a plan of what each step of a job does.

    Parameters
    ----------
    folder : Path
        An installation: the tools lie in its ``bin``.
    **versions : str
        Version by tool, ``_`` for ``-``.
    """

    def __init__(self, folder: Path, **versions: str) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        for key, version in versions.items():
            name = key.replace("vitis_run", "vitis-run")
            banner = BANNERS[name].format(version) if version else "Hello"
            path = self.bin / name
            path.write_text(_TOOL.format(python=sys.executable, folder=str(folder), banner=banner))
            path.chmod(0o755)
        self.environ = {**os.environ, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}
        self.plan(steps={})

    def plan(self, steps: dict[str, dict[str, Any]]) -> None:
        """Say, by step, what it leaves (``files``) and ``summary``, its ``status``, or that it is to ``sleep``.

        What is said of ``<top> <step>`` goes before what is said of the step.
        """
        (self.folder / "plan.json").write_text(json.dumps(steps))

    @property
    def calls(self) -> list[dict[str, Any]]:
        calls = self.folder / "calls"
        return [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


def good(job: Job, hls: str = "2022.2", vivado: str = "2021.2") -> dict[str, dict[str, Any]]:
    """Return the plan in which every step leaves all its reports, of the design that its script names."""
    top, part = job.design.top, job.design.part
    of = {"part": part, "design": "THE_TOP"}
    texts = {
        "csim.log": samples.csim(hls),
        "csynth.xml": samples.csynth_xml(hls, top, part=part),
        "cosim.rpt": samples.cosim(hls),
        "component.xml": "<component/>",
        "synth_utilization.rpt": samples.utilization(vivado, "Synthesized", 6000, **of),
        "impl_utilization.rpt": samples.utilization(vivado, "Routed", 5432, **of),
        "synth_hierarchy.rpt": samples.hierarchy(vivado, "Synthesized", **of),  # type: ignore[arg-type]
        "impl_hierarchy.rpt": samples.hierarchy(vivado, **of),  # type: ignore[arg-type]
        "synth_paths.rpt": samples.paths(vivado, ("0.500",), **of),
        "impl_paths.rpt": samples.paths(vivado, **of),
        "synth_timing.rpt": samples.timing(vivado, "0.500", **of),
        "impl_timing.rpt": samples.timing(vivado, **of),
        "synth_power.rpt": samples.power(vivado, "synthesized", "0.300", **of),
        "impl_power.rpt": samples.power(vivado, **of),
    }
    return {
        step.name: {"files": {path: text for path in step.reports for end, text in texts.items() if path.endswith(end)}}
        for step in job.steps
    }
