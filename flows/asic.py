"""The RTL as an ASIC, for each Liberty file that the user names: area, timing, power, and a folder to take along."""

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.files import read_bytes
from xnorflow.flows.attempt import attempt
from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import BENCH, SynthesisFacts
from xnorflow.flows.graph import View
from xnorflow.flows.results import network, read_results
from xnorflow.flows.rtl import project as rtl_project
from xnorflow.flows.rtl import row as rtl_row
from xnorflow.flows.typed import record
from xnorflow.reports.records import AreaRow, AsicPower, AsicRow, AsicTiming

if TYPE_CHECKING:
    from xnorflow.hls.rtl.project import RtlProject
    from xnorflow.hls.synthesis.asic import Asic
    from xnorflow.hls.synthesis.liberty import Library

_FRAMES = 4  # whose switching counts, back to back
_TAKEN = ("netlist.v", "cells.v", "constraints.sdc", "config.json", "README.md")

_Status = Literal["pass", "fail", "skipped"]


def names(liberty: tuple[str, ...]) -> list[str]:
    """Return the name of the folder to take along, for each Liberty file.

    Raises
    ------
    UserError
        If two would have the same.
    """
    of: dict[str, str] = {}
    for path in liberty:
        name = "asic_" + re.sub(r"[^A-Za-z0-9_.-]", "_", re.sub(r"(\.lib)?(\.gz)?$", "", Path(path).name))
        if other := of.get(name):
            raise UserError(f"synthesis: liberty: the results of {other} and {path} would be in one folder, {name}")
        of[name] = path
    return list(of)


def state(view: View) -> list[str]:
    """Return what tells one state of the Liberty files' content from another."""
    return [_digest(path) for path in view.options.liberty]


def _digest(path: str) -> str:
    state = None
    with suppress(OSError, ValueError):  # reading it tells the user
        state = Path(path).stat()
    return _digest_at(path, state and (state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache  # a flow asks several times, and the files are large
def _digest_at(path: str, _state: tuple[int, int, int] | None) -> str:
    from xnorflow.hls.synthesis.liberty import LARGEST

    return hashlib.sha256(read_bytes(path, LARGEST)).hexdigest()


def rows(view: View, entry: Entry[SynthesisFacts]) -> Iterator[AsicRow]:
    """Yield what came of each Liberty file, and leave the folder to take along in the entry."""
    for path, name in zip(view.options.liberty, names(view.options.liberty)):
        nothing = partial(_nothing, view, _library(view.synthesised, path))
        try:
            yield attempt(partial(_row, view, path, entry.folder / name), nothing)
        except _too_large() as error:
            yield nothing("unfit", str(error))


def _row(view: View, path: str, folder: Path) -> AsicRow:
    """Return what came of a Liberty file; make the folder to take along."""
    library = _library(view.synthesised, path)
    asic, netlist = _mapped(view, path)
    folder.mkdir()
    for file in _TAKEN:
        shutil.copyfile(netlist.folder / file, folder / file)
    return {
        **_nothing(view, library, "pass"),
        "folder": folder.name,
        "tool": str(asic.tool),
        "gate": library.gate.name,
        "total": record(AreaRow, asic.total),
        "layers": [record(AreaRow, area, name=of or "between the layers") for of, area in asic.layers.items()],
        "timing": attempt(partial(_timed, view, asic, netlist), _untimed),
        "power": attempt(partial(_powered, view, asic, netlist), _unpowered),
    }


def _nothing(
    view: View, library: "Library", status: Literal["pass", "fail", "skipped", "unfit"], reason: str | None = None
) -> AsicRow:
    """Return the row of a Liberty file of which nothing is known but its status."""
    return {
        "library": library.name, "folder": None, "clock_ns": rtl_row(view)["clock_ns"], "status": status,
        "reason": reason, "provenance": "synthesised", "tool": None, "gate": None, "total": None, "layers": [],
        "timing": None, "power": None,
    }  # fmt: skip


def _untimed(status: _Status, reason: str | None = None) -> AsicTiming:
    return {
        "status": status, "reason": reason, "provenance": "synthesised", "tool": None, "slack_ns": None,
        "fmax_mhz": None, "path": [],
    }  # fmt: skip


def _unpowered(status: _Status, reason: str | None = None) -> AsicPower:
    return {
        "status": status, "reason": reason, "provenance": "synthesised", "tool": None, "frames": None, "nets": None,
        "total_w": None, "groups": {}, "layers": [],
    }  # fmt: skip


def netlist(view: View) -> tuple["RtlProject", str, str]:
    """Return the netlist of the first Liberty file's cells, as a project, by what tool and for what it was made.

    Raises
    ------
    ToolMissing, SynthesisError, TooLarge
        As :func:`xnorflow.hls.synthesis.asic.synthesise`.
    """
    asic, project = _mapped(view, view.options.liberty[0])
    return project, str(asic.tool), asic.target.library.name


def brief(row: AsicRow) -> str:
    """Say in a few words what came of a Liberty file."""
    if not row["total"]:
        return f"{row['library']} {row['status']}"
    text = f"{row['library']} {row['total']['area_um2']:,.0f} µm²"
    timing, power = row["timing"], row["power"]
    if timing and timing["fmax_mhz"]:
        text += f" at {timing['fmax_mhz']:.1f} MHz"
    return text + (f", {1e3 * power['total_w']:.3g} mW" if power and power["total_w"] else "")


def _too_large() -> type[Exception]:
    from xnorflow.hls.synthesis.asic import TooLarge

    return TooLarge


def check(liberty: tuple[str, ...], cache: Path) -> None:
    """Raise a UserError if a Liberty file cannot be used; `cache` is where what is read of it is kept."""
    for path in liberty:
        _library(cache, path)


def _library(cache: Path, path: str) -> "Library":
    return _loaded(path, _digest(path), cache)


@lru_cache
def _loaded(path: str, _content: str, cache: Path) -> "Library":
    from xnorflow.hls.synthesis.liberty import load

    return load(Path(path), cache)


def _mapped(view: View, path: str) -> tuple["Asic", "RtlProject"]:
    from xnorflow.hls.synthesis.asic import physical, synthesise

    project = rtl_project(view)
    asic = synthesise(project, _library(view.synthesised, path), rtl_row(view)["clock_ns"], view.synthesised)
    return asic, physical(project, asic, view.synthesised)


def _timed(view: View, asic: "Asic", project: "RtlProject") -> AsicTiming:
    from xnorflow.hls.synthesis.opensta import timing

    found = timing(project, asic, view.synthesised)
    made: AsicTiming = {
        **_untimed("pass"), "tool": str(found.tool), "slack_ns": found.slack_ns, "fmax_mhz": found.fmax_mhz,
        "path": list(found.path),
    }  # fmt: skip
    if found.slack_ns >= 0:
        return made
    missed = f"timing not met at {found.clock_ns:g} ns: the slowest path takes {-found.slack_ns:.3g} ns more"
    return {**made, "status": "unmet", "reason": missed}


def _powered(view: View, asic: "Asic", project: "RtlProject") -> AsicPower:
    """Simulate a few frames through the netlist, and let OpenSTA compute the power of that."""
    from xnorflow.cosim.rtl_netlist import RtlNetlist
    from xnorflow.hls.synthesis.asic import CLOCK
    from xnorflow.hls.synthesis.opensta import power
    from xnorflow.hls.synthesis.tools import find

    if not asic.target.library.ties:
        reason = "the library has no cells of the constants 0 and 1, without which OpenSTA computes no power"
        return _unpowered("skipped", reason)
    find("sta")
    engine = RtlNetlist(project, str(asic.tool), asic.target.library.name)
    folder = view.synthesised / f"{project.folder.name}-simulated"
    engine.prepare(network(view), folder)
    frames = read_results(view[BENCH])["inputs"][: min(_FRAMES, engine.max_vectors or _FRAMES)]
    engine.run(frames, every_layer=True)
    assert engine.waveform is not None, "kept with every layer"
    found = power(project, asic, engine.waveform, CLOCK, view.synthesised)
    return {
        **_unpowered("pass"),
        "tool": str(found.tool),
        "frames": len(frames),
        "nets": found.nets,
        "total_w": found.total,
        "groups": dict(found.groups),
        "layers": [{"name": of or "between the layers", "watts": watts} for of, watts in found.layers.items()],
    }
