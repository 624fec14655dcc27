"""Timing and power of an ASIC's netlist by OpenSTA, before there are wires.

Power is that of the switching which a simulation of the same netlist has seen, net by net: without glitches, for the
simulation has no delays, and without wires and clock tree, which are not there yet. Where the library has a model of
the wires that a net of some fan-out may need, OpenSTA takes that.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from xnorflow.bnn.files import Json
from xnorflow.hls.energy import toggles
from xnorflow.hls.rtl.project import RtlProject
from xnorflow.hls.synthesis.asic import CONSTRAINTS, NAMES, NETLIST, RESET, Asic
from xnorflow.hls.synthesis.liberty import Library
from xnorflow.hls.synthesis.tools import SynthesisError, Tool, ToolProcesses, build_once, find

#: A netlist of some hundred thousand cells takes minutes.
LIMIT_S = 1800.0


@dataclass(frozen=True)
class StaTiming:
    """What a netlist reaches at a clock.

    Attributes
    ----------
    tool : Tool
    clock_ns, slack_ns : float
        The period, and what is left of it on the slowest path; negative: it is missed by so much.
    path : tuple of str
        The slowest path: each instance with its cell, and a port with "in" or "out".
    """

    tool: Tool
    clock_ns: float
    slack_ns: float
    path: tuple[str, ...]

    @property
    def fmax_mhz(self) -> float:
        """The highest clock frequency."""
        return 1e3 / (self.clock_ns - self.slack_ns)


@dataclass(frozen=True)
class StaPower:
    """Watts.

    Attributes
    ----------
    tool : Tool
    groups : mapping of str to float
        "internal" (inside of cells, at every clock edge, too), "switching" (of nets), "leakage"; they make the total.
    layers : mapping of str to float
        Of each layer; the top module, which joins the units, under "".
    nets : int
        Whose switching the simulation tells; no others have any.
    """

    tool: Tool
    groups: Mapping[str, float]
    layers: Mapping[str, float]
    nets: int

    @property
    def total(self) -> float:
        """The sum."""
        return sum(self.groups.values())


def timing(netlist: RtlProject, asic: Asic, cache: Path, *, limit_s: float = LIMIT_S) -> StaTiming:
    """Find the slowest path of a netlist that :func:`xnorflow.hls.synthesis.asic.physical` has written.

    Parameters
    ----------
    netlist : RtlProject
    asic : Asic
        That it was written from.
    cache : Path
        In which the other folders lie.
    limit_s : float
        Seconds that it may take.

    Raises
    ------
    ToolMissing
        If there is no OpenSTA.
    SynthesisError
        If it failed, ran out of time, or said something that cannot be read.
    """
    tool = find("sta")
    said = _run(tool, netlist, asic, ["report_checks -path_delay max -digits 6"], cache, limit_s)
    slack = re.search(r"^ *(-?[\d.]+) +slack \(", said, re.M)
    if not slack:
        raise SynthesisError(f"{tool}: told no slack")
    clock_ns = asic.target.clock_ns
    if not float(slack[1]) < clock_ns:
        raise SynthesisError(f"{tool}: told a slack of {slack[1]} ns at a clock of {clock_ns:g} ns")
    path = re.findall(r"^ *-?[\d.]+ +-?[\d.]+ [v^] (\S+?)(?:/\w+)? \((\w+)\)", said, re.M)
    return StaTiming(
        tool, clock_ns, float(slack[1]), tuple(cell for cell, _ in groupby(f"{cell} ({kind})" for cell, kind in path))
    )


def power(
    netlist: RtlProject, asic: Asic, waveform: Path, clock: str, cache: Path, *, limit_s: float = LIMIT_S
) -> StaPower:
    """Compute the power of a netlist with the switching in a waveform of its simulation.

    Parameters
    ----------
    netlist, asic, cache, limit_s
        As for :func:`timing`.
    waveform : Path
        FST or VCD.
    clock : str
        Name of the clock signal in it.

    Raises
    ------
    UserError
        If the waveform cannot be read, or has no such clock.
    ToolMissing, SynthesisError
        As :func:`timing`.
    """
    tool = find("sta")
    cycles, seen = toggles(waveform, clock)
    modules = json.loads((netlist.folder / NAMES).read_text())["modules"]
    rates = {name: count / cycles for name, count in seen.items()}
    commands, nets = _annotated(modules, netlist.top, rates, asic.target.library)
    layers = {module.name: module.layer or "" for module in asic.modules}
    units = {
        name: layers[cell["type"]] for name, cell in modules[netlist.top]["cells"].items() if cell["type"] in layers
    }
    report = [
        "set corner [sta::cmd_corner]",
        "sta::design_power $corner",  # what a simulation has told is kept from here on
        *commands,
        'puts "design [sta::design_power $corner]"',
        *(
            f"set sum 0\nforeach cell [get_cells {{{unit}/*}}] "
            f'{{ set sum [expr {{$sum + [lindex [sta::instance_power $cell $corner] 3]}}] }}\nputs "unit {unit} $sum"'
            for unit in units
        ),
    ]
    text = _without_ties((netlist.folder / NETLIST).read_text(), asic.target.library)
    said = _run(tool, netlist, asic, report, cache, limit_s, text)
    design = re.search(r"^design ([-+.e\d]+) ([-+.e\d]+) ([-+.e\d]+) ", said, re.M)
    by_unit = dict(re.findall(r"^unit (\S+) ([-+.e\d]+)$", said, re.M))
    if not design or set(by_unit) != set(units):
        raise SynthesisError(f"{tool}: told no power")
    internal, switching, leakage = map(float, design.groups())
    by_layer: dict[str, float] = {}
    for unit, layer in units.items():
        by_layer[layer] = by_layer.get(layer, 0.0) + float(by_unit[unit])
    groups = {"internal": internal, "switching": switching, "leakage": leakage}
    if len(modules[netlist.top]["cells"]) > len(units):
        by_layer[""] = sum(groups.values()) - sum(by_layer.values())
    return StaPower(tool, groups, by_layer, nets)


def _annotated(modules: Json, top: str, seen: Mapping[str, float], library: Library) -> tuple[list[str], int]:
    """Return commands that tell OpenSTA how often each pin of a cell changes in a cycle, and of how many nets."""
    commands: list[str] = []
    nets: set[str] = set()
    ties = {name for name, _ in library.ties or ()}
    gate = (*library.gate.inputs, *library.gate.outputs)
    for path, cell, kind, connections, names in _cells(modules, top, ""):
        if kind in ties:
            commands += [_changes(f"{path}{cell}/{pin}", 0.0) for pin in gate]
            continue
        for pin, bit in connections.items():
            name = next((f"{path}{name}" for name in names.get(bit, ()) if f"{path}{name}" in seen), None)
            if name is not None:
                nets.add(name)
                commands.append(_changes(f"{path}{cell}/{pin}", seen[name]))
    return commands, len(nets)


def _changes(pin: str, rate: float) -> str:
    return f"sta::set_power_pin_activity [get_pins {{{pin}}}] {rate:.6g} 0.5"


def _without_ties(netlist: str, library: Library) -> str:
    """Return a netlist in which a gate of still inputs stands in for each constant: OpenSTA 2.0 may crash on those."""
    first, second = library.gate.inputs
    (output,) = library.gate.outputs
    for cell, pin in dict.fromkeys(library.ties or ()):
        netlist = re.sub(
            rf"^  {re.escape(cell)} (\S+) \(\n    \.{re.escape(pin)}\((.*)\)\n",
            rf"  {library.gate.name} \1 (\n    .{first}({RESET}), .{second}({RESET}), .{output}(\2)\n",
            netlist,
            flags=re.M,
        )
    return netlist


def _cells(
    modules: Json, module: str, path: str
) -> Iterator[tuple[str, str, str, dict[str, int], dict[int, list[str]]]]:
    """Yield the library's cells: path, name, type, the bits at the pins, and the names of bits in the module."""
    names: dict[int, list[str]] = {}
    for name, net in modules[module]["netnames"].items():
        for index, bit in enumerate(net["bits"]):
            names.setdefault(bit, []).append(name if len(net["bits"]) == 1 else f"{name}[{index}]")
    for name, cell in modules[module]["cells"].items():
        if cell["type"] in modules:
            yield from _cells(modules, cell["type"], f"{path}{name}/")
        else:
            yield (
                path,
                name,
                cell["type"],
                {pin: bits[0] for pin, bits in cell["connections"].items() if len(bits) == 1},
                names,
            )


def _run(
    tool: Tool, netlist: RtlProject, asic: Asic, commands: Sequence[str], cache: Path, limit_s: float, text: str = ""
) -> str:
    """Run commands on a netlist, or on `text` in its place, and return what OpenSTA has said."""
    beside = f"../{netlist.folder.name}"
    script = "\n".join(
        [
            f"read_liberty {asic.target.file}",
            f"read_verilog {NETLIST if text else f'{beside}/{NETLIST}'}",
            f"link_design {netlist.top}",
            f"read_sdc {beside}/{CONSTRAINTS}",
            *commands,
            "exit",
            "",
        ]
    )
    key = hashlib.sha256(f"{tool}\0{script}\0{beside}\0{text}".encode()).hexdigest()
    folder = cache.resolve() / f"{netlist.top}-sta-{key[:16]}"

    def build(private: Path) -> None:
        (private / "run.tcl").write_text(script)
        if text:
            (private / NETLIST).write_text(text)
        with ToolProcesses() as processes:
            processes.run(tool, ["-no_splash", "-exit", "run.tcl"], private, limit_s)
        wrong = re.search(r"^Error.*|.*Creating black box.*", (private / "log").read_text(errors="replace"), re.M)
        if wrong:  # it goes on after that, and ends well
            raise SynthesisError(f"{tool}: {wrong[0]}")

    try:
        build_once(folder, build)
    except SynthesisError as error:
        raise SynthesisError(f"{netlist.top}: {error}\n(log: {folder}.log)") from None
    return (folder / "log").read_text(errors="replace")
