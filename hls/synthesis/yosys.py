"""Every unit of a project synthesised apart by Yosys, in parallel, and only if it has changed."""

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from xnorflow.hls.rtl.project import RtlProject
from xnorflow.hls.synthesis.targets import Resources, Target, parse, target
from xnorflow.hls.synthesis.tools import SynthesisError, Tool, ToolProcesses, build_once, find

#: A unit takes seconds to a few minutes; after this many something is wrong.
LIMIT_S = 1800.0
#: Name of the file that declares the modules which a module only joins.
BOXES = "boxes.v"


Counted = TypeVar("Counted", bound="Summable", covariant=True)


class Summable(Protocol):
    """What may be added to its like."""

    def __add__(self, other: Any, /) -> Any: ...


class Family(Protocol[Counted]):
    """What is synthesised for: a family of FPGAs, or a library of standard cells."""

    @property
    def name(self) -> str:
        """For the names of folders."""

    def commands(self, top: str) -> list[str]:
        """Return the Yosys commands that map a module."""

    def count(self, cells: Mapping[str, int]) -> Counted:
        """Return what cells, by type, come to; a SynthesisError if there is one that is not known."""


@dataclass(frozen=True)
class SynthesisedModule:
    """A module that is synthesised apart.

    Attributes
    ----------
    name : str
    layer : str or None
        The Network's layer that it computes; None for the top module, which only joins the others.
    files : mapping of str to bytes
        What it is made from: Verilog and the memories that it reads, by file name.
    """

    name: str
    layer: str | None
    files: Mapping[str, bytes]

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the Verilog files; the others' ports stand in ``boxes.v``."""
        return tuple(name for name in self.files if name.endswith(".v") and name != BOXES)


@dataclass(frozen=True)
class Synthesised(Generic[Counted]):
    """What became of a :class:`SynthesisedModule`.

    Attributes
    ----------
    name : str
    layer : str or None
    resources : Resources, or what else the family counts
    seconds : float
        That its synthesis has taken, perhaps some other time.
    cached : bool
        Whether it was some other time.
    folder : Path
        Holds ``netlist.il`` (Yosys's RTLIL), ``stat.json`` and the log.
    """

    name: str
    layer: str | None
    resources: Counted
    seconds: float
    cached: bool
    folder: Path


class Whole(Generic[Counted]):
    """All modules of a project: the top module, which joins the units, then the units in their order."""

    modules: tuple[Synthesised[Counted], ...]

    @property
    def total(self) -> Counted:
        """The sum of the modules; see :mod:`xnorflow.hls.synthesis`."""
        return reduce(add, (module.resources for module in self.modules))

    @property
    def layers(self) -> dict[str, Counted]:
        """The sums over the units of each layer, in the pipeline's order; the top module is under ``""``."""
        found: dict[str, Counted] = {}
        for module in (*self.modules[1:], self.modules[0]):
            name = module.layer or ""
            found[name] = found[name] + module.resources if name in found else module.resources
        return found


@dataclass(frozen=True)
class Synthesis(Whole[Resources]):
    """A project on an FPGA.

    Attributes
    ----------
    target : Target
    tool : Tool
    modules : tuple of Synthesised
    """

    target: Target
    tool: Tool
    modules: tuple[Synthesised[Resources], ...]


def synthesise(
    project: RtlProject, name: str, cache: Path, *, native: bool = True, limit_s: float = LIMIT_S
) -> Synthesis:
    """Synthesise `project`.

    Parameters
    ----------
    project : RtlProject
    name : {"xilinx7", "ultrascale+", "ecp5", "ice40"}
        The target.
    cache : Path
        Folder in which the modules' netlists are kept and looked for. It may serve many projects.
    native : bool
        Whether to take a Yosys on PATH, if there is one.
    limit_s : float
        Seconds that one module may take.

    Raises
    ------
    UserError
        If there is no such target.
    ToolMissing
        If there is no Yosys.
    SynthesisError
        If Yosys failed, ran out of time or left something that cannot be read; the message names the log.
    """
    family, tool = target(name), find("yosys", native)
    return Synthesis(family, tool, synthesise_modules(modules(project), family, tool, cache, limit_s))


def modules(project: RtlProject) -> tuple[SynthesisedModule, ...]:
    """Return the modules of `project`: the top module, then the units."""
    texts = [path.read_text() for path in project.sources]
    boxes = "".join(box(text, path.stem) for text, path in zip(texts[1:], project.sources[1:]))
    found = [SynthesisedModule(project.top, None, {f"{project.top}.v": texts[0].encode(), BOXES: boxes.encode()})]
    for path, text, layer in zip(project.sources[1:], texts[1:], project.layers.values(), strict=True):
        memories = re.findall(r'\$readmemh\("([^"]+)"', text)
        files = {path.name: text.encode(), **{name: (project.folder / name).read_bytes() for name in memories}}
        found.append(SynthesisedModule(path.stem, layer, files))
    return tuple(found)


def box(text: str, module: str) -> str:
    """Return a module's ports alone, for those who only join it with others."""
    head = re.search(rf"^module {module} \(.*?^\);$", text, re.M | re.S)
    if not head:
        raise SynthesisError(f"no ports of a module {module} found in its file")
    return f"(* blackbox *)\n{head[0]}\nendmodule\n"


def script(family: Family[Counted], module: SynthesisedModule) -> str:
    """Return the Yosys script for a module, run in a folder with its files."""
    boxes = [f"read_verilog -lib {BOXES}"] if BOXES in module.files else []
    return "\n".join(
        [
            *boxes,
            f"read_verilog {' '.join(module.sources)}",
            *family.commands(module.name),
            "delete t:$scopeinfo",  # remember the hierarchy, and are no cells
            "tee -q -o stat.json stat -json",
            "setattr -unset src *",
            "delete =A:blackbox =A:whitebox",
            "write_rtlil netlist.il",
            "",
        ]
    )


def synthesise_modules(
    wanted: tuple[SynthesisedModule, ...], family: Family[Counted], tool: Tool, cache: Path, limit_s: float = LIMIT_S
) -> tuple[Synthesised[Counted], ...]:
    """Synthesise modules, as many at once as there are processors; see :func:`synthesise`."""
    largest_first = sorted(wanted, key=lambda module: -sum(map(len, module.files.values())))
    with ThreadPoolExecutor(os.cpu_count()) as pool, ToolProcesses() as processes:
        futures = {
            module.name: pool.submit(_synthesise, module, family, tool, cache.resolve(), limit_s, processes)
            for module in largest_first
        }
        return tuple(futures[module.name].result() for module in wanted)


def _synthesise(
    module: SynthesisedModule,
    family: Family[Counted],
    tool: Tool,
    cache: Path,
    limit_s: float,
    processes: ToolProcesses,
) -> Synthesised[Counted]:
    commands = script(family, module)
    key = hashlib.sha256()
    for text in (str(tool), commands, *module.files):
        key.update(text.encode() + b"\0")
    for name, content in module.files.items():
        key.update(f"{name}\0{len(content)}\0".encode() + content)
    folder = cache / f"{module.name}-{family.name}-{key.hexdigest()[:16]}"

    def build(private: Path) -> None:
        for name, content in module.files.items():
            (private / name).write_bytes(content)
        (private / "synth.ys").write_text(commands)
        start = time.perf_counter()
        processes.run(tool, ["-q", "-s", "synth.ys"], private, limit_s)
        _count(module, family, private)
        if not (private / "netlist.il").is_file():
            raise SynthesisError(f"{tool}: left no netlist")
        (private / "seconds.json").write_text(json.dumps(round(time.perf_counter() - start, 2)))

    try:
        made = build_once(folder, build)
    except SynthesisError as error:
        raise SynthesisError(f"{module.name} for {family.name}: {error}\n(log: {folder}.log)") from None
    seconds = json.loads((folder / "seconds.json").read_text())
    return Synthesised(module.name, module.layer, _count(module, family, folder), seconds, not made, folder)


def _count(module: SynthesisedModule, family: Family[Counted], folder: Path) -> Counted:
    stat = folder / "stat.json"
    if not stat.is_file():
        raise SynthesisError("Yosys left no statistics")
    boxes = re.findall(r"^module (\w+)", module.files.get(BOXES, b"").decode(), re.M)
    cells = parse(stat.read_text(errors="replace"), module.name)
    return family.count({cell: number for cell, number in cells.items() if cell not in boxes})
