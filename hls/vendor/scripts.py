"""Scripts that run vendor synthesis, here or on another machine: Tcl for each step, one shell script for all."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from xnorflow.bnn.errors import UserError
from xnorflow.hls import clock
from xnorflow.hls.config import HlsConfig
from xnorflow.hls.rtl.project import RtlProject
from xnorflow.hls.vendor import saif
from xnorflow.hls.vendor.causes import CAUSES
from xnorflow.hls.vendor.steps import (
    ACTIVITY,
    FOLDER,
    STAMP,
    STAMPED,
    Job,
    JobDesign,
    JobStep,
    hls_steps,
    solution,
    vivado_steps,
)
from xnorflow.hls.vendor.tools import arguments, hls_executables

#: The RTL's clock.
CLOCK = "aclk"

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_templates.globals["causes"] = CAUSES
_templates.globals["arguments"] = lambda name: " ".join(arguments(name))


def write_hls(folder: Path, top: str, config: HlsConfig) -> Job:
    """Write the scripts of an hls4ml project into ``vendor/`` inside it.

    C-simulation, C-synthesis, C/RTL co-simulation, export as IP, then Vivado's out-of-context synthesis and
    implementation of the RTL made.

    Parameters
    ----------
    folder : Path
        The project.
    top : str
        Name of its top function.
    config : HlsConfig
        The project's: part, clock and back end.
    """
    sources = (f"{solution(top)}/syn/verilog",)
    facts = _Facts(config.part, config.clock_ns, top, sources, "ap_clk", hls_executables(config.backend))
    return _write(folder, hls_steps(top), facts)


def write_rtl(project: RtlProject, folder: Path, part: str, clock_ns: float, activity: Path | None = None) -> Job:
    """Write a folder, made anew, with the RTL and the scripts for its out-of-context synthesis and implementation.

    Parameters
    ----------
    project : RtlProject
    folder : Path
        Not the project's own; the RTL is copied into it.
    part : str
        FPGA part, such as ``xc7z020clg400-1``.
    clock_ns : float
        Target clock period in nanoseconds.
    activity : Path, optional
        What :func:`xnorflow.hls.vendor.saif.write` has made of a simulation of the RTL, for ``report_power``.

    Raises
    ------
    UserError
        If `part` or `clock_ns` cannot be one.
    """
    if not part or not part.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"vivado: part must name an FPGA part such as xc7z020clg400-1, got {part!r}")
    clock.check(clock_ns, "vivado")
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(project.folder, folder / "rtl")
    memories = sorted(path.name for path in project.folder.glob("*.mem"))
    sources = tuple(f"rtl/{name}" for name in (*(path.name for path in project.sources), *memories))
    told = None
    if activity:
        (folder / ACTIVITY).parent.mkdir()
        shutil.copyfile(activity, folder / ACTIVITY)
        told = {"file": ACTIVITY, "instance": saif.instance(project.top)}
    return _write(folder, vivado_steps(), _Facts(part, clock_ns, project.top, sources, CLOCK, activity=told))


@dataclass(frozen=True)
class _Facts:
    """What the templates tell of a job."""

    part: str
    clock_ns: float
    top: str
    sources: tuple[str, ...]
    clock_port: str
    hls_executables: tuple[str, ...] = ()
    activity: Mapping[str, str] | None = None


def _write(folder: Path, steps: tuple[JobStep, ...], facts: _Facts) -> Job:
    scripts = folder / FOLDER
    for name in ("logs", "reports"):
        (scripts / name).mkdir(parents=True, exist_ok=True)
    told = {"steps": steps, "folder": FOLDER, "stamp": STAMP, "stamped": STAMPED, **vars(facts)}
    for step in steps:
        template = _templates.get_template(f"{step.tool}.tcl.j2")
        (folder / step.script).write_text(template.render(step=step, **told))
    for name in ("clock.xdc", "run.sh", "README.md"):
        (scripts / name).write_text(_templates.get_template(f"{name}.j2").render(told))
    digest = _digest(folder)
    (folder / STAMP).write_text(digest + "\n")
    return Job(folder, JobDesign(facts.top, facts.part, digest), steps)


def _digest(folder: Path) -> str:
    """Return the digest of everything in a folder, names and contents."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / STAMP):
        name, content = path.relative_to(folder).as_posix().encode(), path.read_bytes()
        digest.update(b"%d %b %d " % (len(name), name, len(content)) + content)
    return digest.hexdigest()
