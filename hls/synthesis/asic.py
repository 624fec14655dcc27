"""An ASIC of standard cells: every unit of a project mapped to a Liberty file's cells, area, and what to take along.

Yosys maps flip-flops and, by ABC, logic: for the clock, with buffers where a gate has more than :data:`FAN_OUT`
readers, and with the gates' drive strengths chosen by their loads. ABC does not touch what registers and inputs drive,
however many readers that has. There are no wires yet, and no clock tree: a physical flow adds and mends all of these.

Memories become cells, too: what is only read becomes logic, the rest flip-flops. That is the way for small ones only,
so that beyond :data:`ROM_BITS` and :data:`RAM_BITS` a design is refused.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from xnorflow.hls.rtl.project import RtlProject
from xnorflow.hls.synthesis.liberty import CELLS, Library
from xnorflow.hls.synthesis.tools import SynthesisError, Tool, ToolProcesses, build_once, find
from xnorflow.hls.synthesis.yosys import LIMIT_S, Synthesised, SynthesisedModule, Whole, modules, synthesise_modules

#: Of the top module and of every unit.
CLOCK, RESET = "aclk", "aresetn"
#: Readers of a gate's output, at most.
FAN_OUT = 16
#: Bits of a memory that is only read, and of one that is written, which are mapped to cells at most.
ROM_BITS, RAM_BITS = 1 << 18, 1 << 14
#: Share of a clock period that is taken outside of the chip, before inputs and behind outputs.
OUTSIDE = 0.2
#: Files of :func:`physical`: for a physical flow; what the cells do, for simulation; and the netlist once more.
NETLIST, CONSTRAINTS, MODELS, NAMES = "netlist.v", "constraints.sdc", "cells.v", "names.json"


class TooLarge(Exception):
    """A memory needs a macro; the message says which, and what would help."""


@dataclass(frozen=True)
class CellArea:
    """Cells of a module.

    Attributes
    ----------
    cells, flip_flops : int
        All cells, and those that are flip-flops or latches.
    area_um2 : float
        Square micrometres.
    gates : float
        Gate equivalents: the area in NANDs of two inputs, the library's smallest.
    """

    cells: int = 0
    flip_flops: int = 0
    area_um2: float = 0.0
    gates: float = 0.0

    def __add__(self, other: "CellArea") -> "CellArea":
        return CellArea(*(getattr(self, key.name) + getattr(other, key.name) for key in fields(self)))


@dataclass(frozen=True)
class Cells:
    """A library at a clock period: what Yosys maps to (:class:`xnorflow.hls.synthesis.yosys.Family`).

    Attributes
    ----------
    library : Library
    clock_ns : float
    """

    library: Library
    clock_ns: float

    @property
    def name(self) -> str:
        return "cells"

    @property
    def file(self) -> str:
        """The library as a folder beside its own sees it: a name that no tool trips over."""
        return f"../{self.library.folder.name}/{CELLS}"

    def commands(self, top: str) -> list[str]:
        picoseconds = round(self.clock_ns * 1e3)
        steps = (
            "strash", "ifraig", "scorr", "dc2", "dch,-f", "map,-B,0.9,{D}", "topo", f"buffer,-c,-N,{FAN_OUT}",
            "upsize,{D}", "dnsize,{D}",
        )  # fmt: skip
        ties = self.library.ties
        return [
            f"synth -flatten -top {top}",
            f"dfflibmap -liberty {self.file}",
            f"abc -liberty {self.file} -D {picoseconds} -script +{';'.join(steps)}",
            "setundef -zero",
            *([f"hilomap -locell {' '.join(ties[0])} -hicell {' '.join(ties[1])}"] if ties else []),
            "opt_clean -purge",
        ]

    def count(self, cells: Mapping[str, int]) -> CellArea:
        counted = CellArea()
        for name, number in cells.items():
            if name not in self.library.cells:
                raise SynthesisError(
                    f"{self.library.name}: {number} cells of the type {name}, which the library has not"
                )
            cell = self.library.cells[name]
            area = number * cell.area
            counted += CellArea(number, number * cell.sequential, area, area / self.library.gate.area)
        return counted


@dataclass(frozen=True)
class Asic(Whole[CellArea]):
    """A project, mapped to cells.

    Attributes
    ----------
    target : Cells
    tool : Tool
    modules : tuple of Synthesised
    """

    target: Cells
    tool: Tool
    modules: tuple[Synthesised[CellArea], ...]


def synthesise(
    project: RtlProject, library: Library, clock_ns: float, cache: Path, *, limit_s: float = LIMIT_S
) -> Asic:
    """Map `project` to a library's cells.

    Parameters
    ----------
    project : RtlProject
    library : Library
        Loaded into `cache`.
    clock_ns : float
        The clock period that ABC chooses cells for.
    cache : Path
        As for :func:`xnorflow.hls.synthesis.yosys.synthesise`.
    limit_s : float
        Seconds that one module may take.

    Raises
    ------
    TooLarge
        If a memory is beyond what is made of cells.
    ToolMissing
        If there is no Yosys.
    SynthesisError
        If Yosys failed, ran out of time or left something that cannot be read; the message names the log.
    """
    tool = find("yosys")
    wanted = modules(project)
    for module in wanted:
        _check_memories(module)
    cells = Cells(library, clock_ns)
    return Asic(cells, tool, synthesise_modules(wanted, cells, tool, cache, limit_s))


def _check_memories(module: SynthesisedModule) -> None:
    for name in module.sources:
        text = module.files[name].decode()
        for memory in re.finditer(r"reg (?:\[(\d+):0\] )?(\w+) \[0:(\d+)\];", text):
            bits = (int(memory[1] or 0) + 1) * (int(memory[3]) + 1)
            fixed = re.search(rf"\$readmemh\(.*, {memory[2]}\)", text)
            most = ROM_BITS if fixed else RAM_BITS
            if bits > most:
                what = "is only read and would become logic" if fixed else "would become flip-flops"
                raise TooLarge(
                    f"{module.layer or module.name}: its memory {memory[2]} of {bits:,} bits {what}, which is done up "
                    f"to {most:,} bits: it needs a macro; unroll the layer, or take a smaller network"
                )


def physical(project: RtlProject, asic: Asic, cache: Path, *, limit_s: float = LIMIT_S) -> RtlProject:
    """Write what a physical flow needs into a folder in `cache`: netlist, constraints, the library's name, a start.

    The netlist keeps a module per unit. ``config.json`` is for LibreLane (OpenROAD), which brings cells and routing
    rules of a process itself: see ``README.md`` in the folder. With the models of the cells, which say what the Liberty
    file says, it is a project that is run and compared as `project` is; there are no probes, because synthesis has
    moved what they would watch.

    Raises
    ------
    SynthesisError
        If Yosys failed.
    """
    library, top = asic.target.library, project.top
    commands = [
        f"read_liberty -ignore_miss_func -ignore_miss_dir {asic.target.file}",  # without what has no function
        f"write_verilog -noattr {MODELS}",
        "setattr -mod -set blackbox 1 *",
        *(f"read_rtlil module{number}.il" for number in range(len(asic.modules))),
        f"hierarchy -check -top {top}",
        "splitnets",  # OpenSTA takes no concatenation on the left of an assignment
        "opt_clean -purge",
        "rename -enumerate",  # the same names in both files
        f"write_verilog -noattr -noexpr -nohex -nodec {NETLIST}",
        "delete =A:blackbox",
        f"write_json {NAMES}",
    ]
    key = hashlib.sha256("\0".join([*(module.folder.name for module in asic.modules), *commands, "random"]).encode())
    folder = cache.resolve() / f"{top}-physical-{key.hexdigest()[:16]}"

    def build(private: Path) -> None:
        for number, module in enumerate(asic.modules):
            (private / f"module{number}.il").write_bytes((module.folder / "netlist.il").read_bytes())
        (private / "physical.ys").write_text("\n".join([*commands, ""]))
        with ToolProcesses() as processes:
            processes.run(asic.tool, ["-q", "-s", "physical.ys"], private, limit_s)
        for name in (NETLIST, MODELS, NAMES):
            if not (private / name).is_file():
                raise SynthesisError(f"{asic.tool}: left no {name}")
        # Silicon wakes up with a 0 or a 1 in each register, not with an X that gates would spread further than it goes.
        models = re.sub(
            r"^  reg (\S+) *;$", r"\g<0>\n  initial \1 = $random;", (private / MODELS).read_text(), flags=re.M
        )
        (private / MODELS).write_text(models)
        (private / NETLIST).write_text(_split((private / NETLIST).read_text()))
        for path in (*private.glob("module*.il"), private / "physical.ys", private / "log"):
            path.unlink()
        values = {"top": top, "clock_ns": asic.target.clock_ns, "outside_ns": OUTSIDE * asic.target.clock_ns}
        (private / CONSTRAINTS).write_text(_CONSTRAINTS.format(**values))
        settings = {
            "DESIGN_NAME": top,
            "VERILOG_FILES": [f"dir::{NETLIST}"],
            "SYNTH_ELABORATE_ONLY": True,
            "CLOCK_PORT": CLOCK,
            "CLOCK_PERIOD": asic.target.clock_ns,
            "PNR_SDC_FILE": f"dir::{CONSTRAINTS}",
            "SIGNOFF_SDC_FILE": f"dir::{CONSTRAINTS}",
        }
        (private / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
        (private / "README.md").write_text(_README.format(library=library.name, tool=asic.tool, **values))

    build_once(folder, build)
    return replace(project, folder=folder, sources=(folder / NETLIST, folder / MODELS), probes={})


def _split(netlist: str) -> str:
    """Return a netlist whose assignments have one bit on their left: OpenSTA's reader takes no concatenation there.

    Only ports are wider than a bit; what is assigned to their bits are other bits of ports, and constants.
    """

    def apart(assignment: re.Match[str]) -> str:
        left, right = _bits(assignment[1]), _bits(assignment[2])
        if len(left) != len(right):
            raise SynthesisError(f"Yosys's netlist: sides of different widths in: {assignment[0].strip()[:100]}")
        return "\n".join(f"  assign {to} = {of};" for to, of in zip(left, right))

    return re.sub(r"^  assign (\{.*) = (.*);$", apart, netlist, flags=re.M)


def _bits(side: str) -> list[str]:
    """Return the bits of one side of an assignment, the highest first."""
    found = []
    for piece in side.strip("{} ").split(", ") if side.startswith("{") else [side]:
        constant, slice_ = (
            re.fullmatch(r"\d+'b([01x]+)", piece.strip()),
            re.fullmatch(r"(\w+)\[(\d+):(\d+)\]", piece.strip()),
        )
        if constant:
            found += [f"1'b{'1' if bit == '1' else '0'}" for bit in constant[1]]
        elif slice_:
            found += [f"{slice_[1]}[{bit}]" for bit in range(int(slice_[2]), int(slice_[3]) - 1, -1)]
        else:
            found.append(f"{piece.strip()} ")  # an escaped name ends with a space
    return found


_CONSTRAINTS = """\
create_clock -name aclk -period {clock_ns:g} [get_ports aclk]
set_input_delay {outside_ns:g} -clock aclk [get_ports {{aresetn s_axis_tdata s_axis_tvalid s_axis_tlast m_axis_tready}}]
set_output_delay {outside_ns:g} -clock aclk [all_outputs]
"""

_README = """\
# {top} for a physical flow

`netlist.v`: cells of the library `{library}`, mapped by {tool} for a clock of {clock_ns:g} ns, a module per unit.
Placement, the clock tree and wires are for the flow to add, and so is the sizing of buffers that follows from them.
`cells.v` says what the cells do, for simulation, and `names.json` has the netlist once more, for programs.
`constraints.sdc`: the clock, and a fifth of it outside of the chip before inputs and behind outputs.

`config.json` is for LibreLane: `librelane config.json`, with the PDK and its cell library that the name above says. It
has been written, not run. For OpenROAD alone: read the LEF and Liberty files of the library, then `netlist.v` and
`constraints.sdc`.
"""
