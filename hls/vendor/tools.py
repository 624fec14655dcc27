"""Finding the vendor's tools, and asking them for their versions."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Environment variables that name installation folders, the ones with ``bin`` in them.
VITIS, VIVADO = "XNORFLOW_VITIS", "XNORFLOW_VIVADO"

#: hls4ml back end -> what its tool is called, its executables (first choice first), where they are installed.
#: ``vitis_hls`` is gone from newer versions; ``vitis-run`` takes the same Tcl.
_HLS = {
    "vitis": ("Vitis HLS", ("vitis-run", "vitis_hls"), VITIS),
    "vivado": ("Vivado HLS", ("vivado_hls",), VIVADO),
}
_VERSION = re.compile(r"\bv\.?(\d{4}\.\d+(?:\.\d+)?)\b")
UNKNOWN = "(version unknown)"
"""Version of a tool that does not say it: no reason not to run it."""

_VERSION_SECONDS = 120  # from a network drive, the first start takes long


class VendorToolMissing(Exception):
    """A vendor tool is not on this machine; the message says where it was looked for and how to name its place."""


class VendorError(Exception):
    """A vendor tool was there but failed; the message names the log."""


@dataclass(frozen=True)
class VendorTool:
    """An executable of the vendor.

    Attributes
    ----------
    name : str
        ``vitis-run``, ``vitis_hls``, ``vivado_hls`` or ``vivado``.
    path : Path
    version : str
        Such as ``2022.2``; :data:`UNKNOWN` where what the tool prints has none.
    """

    name: str
    path: Path
    version: str

    def command(self, script: str) -> list[str]:
        """Return the arguments, the executable first, that run a Tcl script and end."""
        return [str(self.path), *arguments(self.name), script]


def arguments(name: str) -> list[str]:
    """Return what an executable takes in front of the Tcl script that it shall run."""
    if name == "vivado":
        return ["-mode", "batch", "-nolog", "-nojournal", "-notrace", "-source"]
    return ["--mode", "hls", "--tcl"] if name == "vitis-run" else ["-f"]


def hls_executables(backend: str) -> tuple[str, ...]:
    """Return the names of the executables that can synthesise for a back end of hls4ml, first choice first."""
    return _HLS[backend][1]


def find_hls(backend: str, environ: Mapping[str, str] = os.environ) -> VendorTool:
    """Find the HLS tool of hls4ml's back end "vitis" or "vivado".

    Raises
    ------
    ToolMissing
        If it is not here.
    VendorError
        If it cannot be run.
    """
    return _find(*_HLS[backend], environ)


def find_vivado(environ: Mapping[str, str] = os.environ) -> VendorTool:
    """Find Vivado; raises as :func:`find_hls` does."""
    return _find("Vivado", ("vivado",), VIVADO, environ)


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment to run the tools in: installations on PATH, and reports that no locale has touched.

    C/RTL co-simulation takes its simulator from Vivado.
    """
    bins = [str(Path(environ[name]) / "bin") for name in (VITIS, VIVADO) if environ.get(name)]
    path = os.pathsep.join([*bins, environ.get("PATH", os.defpath)])
    vivado = {"XILINX_VIVADO": environ[VIVADO]} if environ.get(VIVADO) else {}
    return {**environ, **vivado, "PATH": path, "LC_ALL": "C"}


def _find(what: str, names: Sequence[str], variable: str, environ: Mapping[str, str]) -> VendorTool:
    folder = environ.get(variable)
    place = str(Path(folder) / "bin") if folder else environ.get("PATH", os.defpath)
    for name in names:
        found = shutil.which(name, path=place)
        if found:
            return VendorTool(name, Path(found), _version(name, found, environ))
    looked = f"in {place}, because {variable} is {folder}" if folder else "on PATH"
    raise VendorToolMissing(
        f"{what} is not here: no {' or '.join(names)} {looked}. Put it on PATH (the tool's settings64.sh does), or set"
        f" {variable} to its installation folder, the one that holds bin/"
    )


def _version(name: str, path: str, environ: Mapping[str, str]) -> str:
    command = [path, "--version" if name == "vitis-run" else "-version"]
    try:
        answer = subprocess.run(
            command,
            env=environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_VERSION_SECONDS,
            text=True,
            errors="replace",
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VendorError(f"{' '.join(command)}: {error}") from None
    found = _VERSION.search(answer)
    return found[1] if found else UNKNOWN
