"""The synthesised netlist as a project of its own, so that it can be simulated like the RTL that it was made from."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from xnorflow.hls.rtl.project import RtlProject
from xnorflow.hls.synthesis.targets import parse
from xnorflow.hls.synthesis.tools import SynthesisError, ToolProcesses, build_once, excerpt
from xnorflow.hls.synthesis.yosys import LIMIT_S, Synthesis

#: The target of which Yosys has models of all cells.
MODELLED = "ice40"


class NoModel(Exception):
    """Yosys has no simulation model of a cell in the netlist; the message names it."""


def write(project: RtlProject, synthesis: Synthesis, cache: Path, *, limit_s: float = LIMIT_S) -> RtlProject:
    """Write the netlist of `project` as Verilog: in place of each cell stands what Yosys's model says that it does.

    Ports and timing are those of `project`, so it is run and compared in the same way; there are no probes, because
    synthesis has moved what they would watch. Of the memories in block RAM only iCE40's have models.

    Parameters
    ----------
    project : RtlProject
    synthesis : Synthesis
        Of `project`.
    cache : Path
        As for :func:`xnorflow.hls.synthesis.yosys.synthesise`; the netlist's folder is made in there.
    limit_s : float
        Seconds that it may take.

    Raises
    ------
    NoModel
        If a cell cannot be simulated.
    SynthesisError
        If Yosys failed.
    """
    modules = synthesis.modules
    for module in modules:
        cells = parse((module.folder / "stat.json").read_text(), module.name)
        for cell in cells:
            if re.fullmatch(synthesis.target.unmodelled, cell):
                raise _no_model(cell, synthesis)
    commands = [
        *(f"read_verilog -defer +/{model}" for model in synthesis.target.models),  # some that are not used are huge
        *(f"read_rtlil module{number}.il" for number in range(len(modules))),
        f"hierarchy -check -top {project.top}",
        "proc",
        "flatten",
        "opt_expr -mux_bool",
        "splitnets -driver",  # else whatever reads a register wakes up whenever any other one of its vector changes
        "opt_clean -purge",
        f"write_verilog -noattr {project.top}.v",
    ]
    key = hashlib.sha256("\0".join([*(module.folder.name for module in modules), *commands]).encode())
    folder = cache.resolve() / f"{project.top}-{synthesis.target.name}-{key.hexdigest()[:16]}.netlist"

    def build(private: Path) -> None:
        for number, module in enumerate(modules):
            (private / f"module{number}.il").write_bytes((module.folder / "netlist.il").read_bytes())
        (private / "netlist.ys").write_text("\n".join([*commands, ""]))
        with ToolProcesses() as processes:
            status = processes.run(synthesis.tool, ["-q", "-s", "netlist.ys"], private, limit_s, check=False)
        log = (private / "log").read_text(errors="replace")
        if status:
            missing = re.search(r"Module `\\?(\w+)' referenced in module .* is not part of the design", log)
            if missing:
                raise _no_model(missing[1], synthesis)
            raise SynthesisError(f"{synthesis.tool}: failed with exit status {status}{excerpt(private / 'log')}")
        if not (private / f"{project.top}.v").is_file():
            raise SynthesisError(f"{synthesis.tool}: left no netlist")
        for number in range(len(modules)):
            (private / f"module{number}.il").unlink()

    build_once(folder, build)
    return replace(project, folder=folder, sources=(folder / f"{project.top}.v",), probes={})


def _no_model(cell: str, synthesis: Synthesis) -> NoModel:
    return NoModel(f"Yosys has no simulation model of {cell} ({synthesis.target.title})")
