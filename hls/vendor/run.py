"""Running the steps of vendor synthesis with the tools of this machine."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xnorflow.hls.processes import NotStarted, Processes
from xnorflow.hls.vendor import results
from xnorflow.hls.vendor.causes import cause
from xnorflow.hls.vendor.steps import STAMP, STAMPED, Job, JobStep
from xnorflow.hls.vendor.text import ReportError
from xnorflow.hls.vendor.tools import VendorError, VendorTool, environment

_GRACE_SECONDS = 10  # between asking a tool to end and ending it


@dataclass(frozen=True)
class Ran:
    """A step that has run.

    Attributes
    ----------
    step : JobStep
    tool : VendorTool
    seconds : float
    """

    step: JobStep
    tool: VendorTool
    seconds: float


def run(
    job: Job,
    tools: Mapping[str, VendorTool],
    steps: Sequence[str] = (),
    timeout_s: float = 3600,
    environ: Mapping[str, str] = os.environ,
) -> list[Ran]:
    """Run steps of a job, in their order, and check the reports that they leave; logs stay in ``vendor/logs``.

    The outputs of these steps are removed first: what :func:`xnorflow.hls.vendor.results.import_reports` then finds of
    them is new.

    Parameters
    ----------
    job : Job
    tools : mapping of {"hls", "vivado"} to VendorTool
        Those that the steps need.
    steps : sequence of str
        Their names; none for all.
    timeout_s : float
        Limit for each step.
    environ : mapping of str to str

    Raises
    ------
    VendorError
        If a step exits with another status than 0, exceeds the limit, or leaves a report missing or unreadable.
    """
    known = {step.name: step for step in job.steps}
    unknown = [name for name in steps if name not in known]
    if unknown:
        raise VendorError(f"no step {unknown[0]}; there are {', '.join(known)}")
    chosen = [step for step in job.steps if not steps or step.name in steps]
    for step in chosen:
        for name in (*step.outputs, step.log):
            _remove(job.folder / name)
    shutil.copyfile(job.folder / STAMP, job.folder / STAMPED)
    return [_run(job, step, tools[step.tool], timeout_s, environ) for step in chosen]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run(job: Job, step: JobStep, tool: VendorTool, timeout_s: float, environ: Mapping[str, str]) -> Ran:
    log = job.folder / step.log
    log.parent.mkdir(parents=True, exist_ok=True)
    command = tool.command(step.script)
    told = f"{step.name}: {tool.name} {tool.version}"
    start = time.perf_counter()
    try:
        with log.open("wb") as output, Processes(_GRACE_SECONDS) as processes:
            status = processes.call(command, job.folder, output, timeout_s, environment(environ))
    except subprocess.TimeoutExpired:
        raise VendorError(
            f"{told} took longer than {timeout_s:g} s and was ended; log: {log}\n{_excerpt(job, step)}"
        ) from None
    except NotStarted as error:
        raise VendorError(f"{step.name}: cannot run {tool.path}: {error}") from None
    seconds = time.perf_counter() - start
    if status:
        raise VendorError(f"{told} ended with exit status {status}; log: {log}\n{_excerpt(job, step)}")
    for report in step.reports:
        path = job.folder / report
        if not path.is_file() or not path.stat().st_size:
            raise VendorError(f"{told} ended well but left no {report}; log: {log}\n{_excerpt(job, step)}")
        try:
            read = results.read(path, job.folder)
        except ReportError as error:
            raise VendorError(f"{told} left an unreadable report: {error}; log: {log}") from None
        if read and (wrong := results.failure(read)):
            raise VendorError(f"{told} ended well but {wrong}; log: {log}\n{_excerpt(job, step)}")
    return Ran(step, tool, seconds)


def _excerpt(job: Job, step: JobStep) -> str:
    """Return the cause, if it is a known one, and the log's first lines that tell of errors, or its end."""
    text = (job.folder / step.log).read_text(errors="replace")
    lines = text.splitlines()
    errors = [line for line in lines if re.match(r"\s*(ERROR|ERR|@E)\b", line)]
    known = cause("\n".join([text, *_other_logs(job, step)]))
    return "\n".join([*([known] if known else []), *(errors[:8] or lines[-8:])]) or "(it said nothing)"


def _other_logs(job: Job, step: JobStep) -> Iterator[str]:
    """Yield the logs among what a step has made: an export runs Vivado, whose words stay in its own log."""
    for name in step.outputs:
        for log in sorted((job.folder / name).rglob("*.log")):
            if log.is_file() and not log.is_symlink():
                yield log.read_text(errors="replace")
