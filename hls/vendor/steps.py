"""The steps of vendor synthesis: which tool runs them, and which reports they must leave."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: Folder of the scripts, logs and Vivado's reports, inside that of a job.
FOLDER = "vendor"

#: How often each bit changes in our simulation of the RTL, for ``report_power``; only beside RTL that was simulated.
ACTIVITY = f"{FOLDER}/activity.saif"

#: File with the digest of what the scripts work on.
STAMP = f"{FOLDER}/design.sha256"

#: Its copy, left with the reports by whatever makes them.
STAMPED = f"{FOLDER}/reports/design.sha256"


#: What Vivado reports of a design, the last part of each file's name.
VIVADO_REPORTS = ("utilization", "hierarchy", "timing", "paths", "power")


@dataclass(frozen=True)
class JobStep:
    """One run of a tool.

    Attributes
    ----------
    name : str
    tool : {"hls", "vivado"}
    outputs : tuple of str
        Files and folders that it makes, relative to the job's folder. They are removed before it runs, so that what is
        there afterwards is new.
    reports : tuple of str
        Files among them that must be there afterwards.
    needs : tuple of str
        Names of the steps of which it takes what they have made; it can run whatever became of the others.
    """

    name: str
    tool: Literal["hls", "vivado"]
    outputs: tuple[str, ...]
    reports: tuple[str, ...]
    needs: tuple[str, ...] = ()

    @property
    def script(self) -> str:
        """Its Tcl script, relative to the job's folder."""
        return f"{FOLDER}/{self.name}.tcl"

    @property
    def log(self) -> str:
        """What the tool prints, relative to the job's folder."""
        return f"{FOLDER}/logs/{self.name}.log"


@dataclass(frozen=True)
class JobDesign:
    """What reports must be of to count as a job's.

    Attributes
    ----------
    top : str
        Name of the top function or module.
    part : str
        FPGA part.
    digest : str
        SHA-256, in hexadecimal, of the sources and scripts.
    """

    top: str
    part: str
    digest: str


@dataclass(frozen=True)
class Job:
    """A folder with scripts in it, and the steps that they run, in order.

    Attributes
    ----------
    folder : Path
        Every step's working directory.
    design : JobDesign
    steps : tuple of JobStep
    """

    folder: Path
    design: JobDesign
    steps: tuple[JobStep, ...]


def solution(top: str) -> str:
    """Return the folder in which the HLS tools keep what they make of an hls4ml project."""
    return f"{top}_prj/solution1"


def hls_steps(top: str) -> tuple[JobStep, ...]:
    """Return the steps for an hls4ml project with a top function."""
    made = solution(top)
    return (
        JobStep("csim", "hls", (f"{made}/csim",), (f"{made}/csim/report/{top}_csim.log",)),
        JobStep("csynth", "hls", (f"{made}/syn",), (f"{made}/syn/report/csynth.xml",)),
        JobStep("cosim", "hls", (f"{made}/sim",), (f"{made}/sim/report/{top}_cosim.rpt",), ("csynth",)),
        JobStep("export", "hls", (f"{made}/impl",), (f"{made}/impl/ip/component.xml",), ("csynth",)),
        *vivado_steps(("csynth",)),
    )


def vivado_steps(needs: tuple[str, ...] = ()) -> tuple[JobStep, ...]:
    """Return the steps for Verilog, which the steps `needs` make."""

    def step(name: str, needs: tuple[str, ...]) -> JobStep:
        reports = tuple(f"{FOLDER}/reports/{name}_{kind}.rpt" for kind in VIVADO_REPORTS)
        return JobStep(name, "vivado", (f"{FOLDER}/{name}.dcp", *reports), reports, needs)

    return step("synth", needs), step("impl", ("synth",))
