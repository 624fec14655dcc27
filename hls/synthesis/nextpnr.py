"""The whole design placed and routed by nextpnr: what it takes of a device, how fast it runs, and what limits it.

The netlists of the modules (:mod:`xnorflow.hls.synthesis.yosys`) are joined as they are. The design's AXI4-Stream ports
have more bits than a package has pins, so they are put behind a serial port (``pins.v.j2``) of eleven pins: the
bitstream is one that works, all of the design lies between registers, where the frequency counts, and nothing needs the
out-of-context modes, which not every nextpnr has. What the serial port costs is told apart (:attr:`Placement.pins`).

nextpnr is not told which pins to use and takes any (:attr:`Placement.sites`), so that the bitstream is for no board.
Frequencies are those of its timing model at the slowest corner.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

import jinja2

from xnorflow.bnn.errors import UserError
from xnorflow.hls.rtl.config import Folded, RtlConfig
from xnorflow.hls.rtl.folding import Choice, choose
from xnorflow.hls.rtl.project import RtlProject
from xnorflow.hls.synthesis.targets import Resources
from xnorflow.hls.synthesis.tools import (
    SynthesisError,
    TimeLimit,
    Tool,
    ToolMissing,
    ToolProcesses,
    build_once,
    excerpt,
    find,
)
from xnorflow.hls.synthesis.yosys import BOXES, Synthesis, SynthesisedModule, box, synthesise_modules

#: Seconds that one attempt to place and route a design may take.
LIMIT_S = 600.0
#: nextpnr's placer and its seed, for each target. The analytic placer (heap) is faster on large designs. On iCE40 it
#: finds no legal placement for some that leave a fifth of the device free, where simulated annealing (sa) does.
ATTEMPTS = {
    "ecp5": (("heap", 1), ("sa", 1), ("heap", 2)),
    "ice40": (("sa", 1), ("heap", 1), ("sa", 2)),
}


@dataclass(frozen=True)
class Device:
    """A device that a design can be placed on.

    Attributes
    ----------
    name : str
    target : str
        The synthesis target that it belongs to.
    options : tuple of str
        For nextpnr.
    available : mapping of str to int
        nextpnr's name of a resource -> how many there are; to choose a device by.
    """

    name: str
    target: str
    options: tuple[str, ...]
    available: Mapping[str, int]


def _ecp5(size: str, luts: int, brams: int, dsps: int) -> Device:
    options = (f"--{size}", "--package", "CABGA381", "--speed", "6", "--lpf-allow-unconstrained")
    return Device(
        f"ecp5-{size}",
        "ecp5",
        options,
        {"TRELLIS_COMB": luts, "TRELLIS_FF": luts, "DP16KD": brams, "MULT18X18D": dsps},
    )


#: By name; of each target the smallest first.
DEVICES: Mapping[str, Device] = {
    device.name: device
    for device in (
        _ecp5("25k", 24288, 56, 28),
        _ecp5("45k", 43848, 108, 72),
        _ecp5("85k", 83640, 208, 156),
        Device(
            "ice40-up5k",
            "ice40",
            ("--up5k", "--package", "sg48"),
            {"ICESTORM_LC": 5280, "ICESTORM_RAM": 30, "ICESTORM_DSP": 8},
        ),
    )
}
#: nextpnr's name of a resource -> what people call it.
RESOURCES: Mapping[str, str] = {
    "TRELLIS_COMB": "LUTs",
    "TRELLIS_FF": "flip-flops",
    "TRELLIS_IO": "pins",
    "DP16KD": "block RAMs",
    "MULT18X18D": "multipliers",
    "ICESTORM_LC": "logic cells",
    "ICESTORM_RAM": "block RAMs",
    "ICESTORM_DSP": "multipliers",
    "SB_IO": "pins",
    "DCCA": "clock buffers (DCCA)",
    "EHXPLLL": "PLLs (EHXPLLL)",
    "SB_GB": "global buffers (SB_GB)",
    "ICESTORM_PLL": "PLLs",
    "ICESTORM_SPRAM": "single-port RAMs of 256 Kb",
    "ICESTORM_HFOSC": "oscillators, fast",
    "ICESTORM_LFOSC": "oscillators, slow",
}
#: The resources of which a smaller folding needs fewer, about as many fewer as it is estimated to need LUTs.
_LOGIC = ("TRELLIS_COMB", "TRELLIS_FF", "ICESTORM_LC")
#: Block RAM -> the (bits, words) that one can have. Wide memories of few words, as fast foldings have them, fill few of
#: its bits, so that the same weights take more of them.
_SHAPES = {
    "DP16KD": ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512)),
    "ICESTORM_RAM": ((2, 2048), (4, 1024), (8, 512), (16, 256)),
}
_STEPS, _SHRINK = 24, 0.85  # foldings that are looked at for one that fits, and each one's LUTs by the one's before


@dataclass(frozen=True)
class DeviceUsage:
    """Of one resource."""

    used: int
    available: int


@dataclass(frozen=True)
class PathStretch:
    """A stretch of the critical path.

    Attributes
    ----------
    layer : str
        The Network's layer; empty between the layers and in the serial port.
    signal : str
        The signal of our Verilog whose logic or wires it is, seen from the layer's module.
    logic_ns, routing_ns : float
    """

    layer: str
    signal: str
    logic_ns: float
    routing_ns: float


@dataclass(frozen=True)
class Placement:
    """A design that fits, placed and routed.

    Attributes
    ----------
    device : str
    tool : Tool
    usage : mapping of str to DeviceUsage
        By nextpnr's names (:data:`RESOURCES`); what is not used at all is left out.
    pins : Resources
        What of it is the serial port's.
    fmax_mhz : float
    critical_path : tuple of PathStretch
        From the register that it starts at to the one that it ends in.
    seconds : float
        That place and route has taken, perhaps some other time.
    cached : bool
        Whether it was some other time.
    bitstream : Path or None
    sites : mapping of str to str
        Pin of the serial port -> the device's input and output cell (by nextpnr's name) that it chose for it.
    no_bitstream : str
        Why there is none.
    folder : Path
        Holds nextpnr's report and log.
    """

    device: str
    tool: Tool
    usage: Mapping[str, DeviceUsage]
    pins: Resources
    fmax_mhz: float
    critical_path: tuple[PathStretch, ...]
    seconds: float
    cached: bool
    bitstream: Path | None
    no_bitstream: str
    folder: Path
    sites: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Unfit:
    """A design that does not fit.

    Attributes
    ----------
    device : str
        The largest that was tried.
    tool : Tool
    lacking : mapping of str to DeviceUsage
        The resources of which more are needed (`used`) than there are.
    folder : Path
        Holds nextpnr's log.
    """

    device: str
    tool: Tool
    lacking: Mapping[str, DeviceUsage]
    folder: Path

    def __str__(self) -> str:
        lacks = (
            f"{RESOURCES.get(name, name)}: {usage.used:,} needed, {usage.available:,} there "
            f"({usage.used / max(1, usage.available):.0%})"
            for name, usage in self.lacking.items()
        )
        return f"does not fit into {self.device}: {'; '.join(lacks)}"


@dataclass(frozen=True)
class Unrouted:
    """A design of which nobody knows whether it fits: nothing is lacking, but no attempt has come to an end.

    Attributes
    ----------
    device : str
        The largest that was tried.
    tool : Tool
    attempts : tuple of str
        What became of each.
    """

    device: str
    tool: Tool
    attempts: tuple[str, ...]

    def __str__(self) -> str:
        return f"not placed and routed in {self.device}: {'; '.join(self.attempts)}"


def place(
    project: RtlProject,
    synthesis: Synthesis,
    cache: Path,
    *,
    device: str | None = None,
    clock_ns: float = 10.0,
    native: bool = True,
    limit_s: float = LIMIT_S,
) -> Placement | Unfit | Unrouted:
    """Place and route a synthesised project.

    Where the placer finds no place for a design that should have one, or takes too long, another is tried:
    those of :data:`ATTEMPTS` in turn.

    Parameters
    ----------
    project : RtlProject
    synthesis : Synthesis
        Of `project`, for ``ecp5`` or ``ice40``.
    cache : Path
        Folder in which results are kept and looked for, as for :func:`xnorflow.hls.synthesis.yosys.synthesise`.
    device : str, optional
        One of :data:`DEVICES`; without it, the target's smallest into which the design fits.
    clock_ns : float
        The clock period to aim at; to miss it is no failure.
    native : bool
        Whether to take a nextpnr on PATH, if there is one.
    limit_s : float
        Seconds that each attempt may take.

    Raises
    ------
    UserError
        If there is no such device for the target.
    ToolMissing
        If there is no nextpnr.
    SynthesisError
        If nextpnr failed for another reason than that the design does not fit, or left an unreadable report.
    """
    devices = _devices(synthesis, device)
    tool = find(f"nextpnr-{synthesis.target.name}", native)
    joined = _join(project, synthesis, cache, limit_s)
    outcome: Placement | Unfit | Unrouted
    for candidate in devices:
        attempts: list[str] = []
        for placer, seed in ATTEMPTS[candidate.target]:
            try:
                outcome = _place(project, joined, candidate, tool, cache, clock_ns, native, limit_s, placer, seed)
                break
            except TimeLimit:
                attempts.append(f"placer {placer}, seed {seed}: not finished after {limit_s:g} s")
            except _NoPlacement:
                attempts.append(f"placer {placer}, seed {seed}: no legal placement found")
        else:
            outcome = Unrouted(candidate.name, tool, tuple(attempts))
        if isinstance(outcome, Placement):
            break
    return outcome


def smaller(project: RtlProject, synthesis: Synthesis, unfit: Unfit, config: RtlConfig) -> Choice | None:
    """Choose a folding of the same network that would fit, the fastest by the estimate; None where none would.

    Of logic the estimate is of 6-input LUTs; of block RAM it is what the layers' memories take in its best shape. Each
    is scaled to the device's by what the design at hand has come to in both; then a tenth of the logic is left free.

    Parameters
    ----------
    project : RtlProject
    synthesis : Synthesis
    unfit : Unfit
        What :func:`place` has returned for these two.
    config : RtlConfig
        The configuration of `project`; the architecture of its layers is what is chosen anew.
    """
    available = DEVICES[unfit.device].available
    cells, (ram,) = next(iter(available)), (name for name in available if name in _SHAPES)
    if not unfit.lacking or any(name not in (*_LOGIC, ram) for name in unfit.lacking):
        return None
    now, need = choose(project.network, config), synthesis.total
    used: dict[str, DeviceUsage] = {
        cells: DeviceUsage(need.lut, available[cells]),
        ram: DeviceUsage(need.bram, available[ram]),
        **unfit.lacking,
    }
    share = max(of.used / of.available for name, of in used.items() if name in _LOGIC)
    scale = used[ram].used / estimated if used[ram].used and (estimated := _rams(now, ram)) else 1.0
    room = now.luts * min(1.0, 0.9 / share if share else 1.0)
    for step in range(_STEPS):
        try:
            choice = choose(project.network, replace(config, layers={}), max_luts=int(room * _SHRINK**step))
        except UserError:  # the smallest is larger
            return None
        if _rams(choice, ram) * scale <= available[ram]:
            return choice
    return None


def _rams(choice: Choice, ram: str) -> int:
    """Estimate the block RAMs of a folding's memories."""
    total = 0
    for of in choice.layers:
        if isinstance(of.architecture, Folded) and of.memory_bits:
            width = of.architecture.pe * of.architecture.simd
            words = ceil(of.neurons / of.architecture.pe) * ceil(of.inputs / of.architecture.simd)
            total += min(ceil(width / bits) * ceil(words / depth) for bits, depth in _SHAPES[ram])
    return total


def _devices(synthesis: Synthesis, name: str | None) -> list[Device]:
    fitting = [device for device in DEVICES.values() if device.target == synthesis.target.name]
    if not fitting:
        targets = ", ".join(dict.fromkeys(device.target for device in DEVICES.values()))
        raise UserError(f"place and route: not for {synthesis.target.name}, only for {targets}")
    if name is not None:
        chosen = [device for device in fitting if device.name == name]
        if not chosen:
            names = ", ".join(device.name for device in fitting)
            raise UserError(f"place and route: no device {name!r} for {synthesis.target.name}; there are {names}")
        return chosen
    need = synthesis.total
    least = {
        "TRELLIS_COMB": need.lut,
        "TRELLIS_FF": need.ff,
        "DP16KD": need.bram,
        "MULT18X18D": need.dsp,
    }
    enough = [
        device
        for device in fitting
        if all(amount <= device.available[kind] for kind, amount in least.items() if kind in device.available)
    ]
    return enough or fitting[-1:]


@dataclass(frozen=True)
class _Joined:
    """The design behind its pins, as nextpnr reads it."""

    top: str
    pins: Resources
    netlist: Path


def _join(project: RtlProject, synthesis: Synthesis, cache: Path, limit_s: float) -> _Joined:
    template = jinja2.Template(Path(__file__).with_name("pins.v.j2").read_text(), undefined=jinja2.StrictUndefined)
    top = f"{project.top}_pins"
    text = template.render(top=project.top, in_width=project.in_width, out_width=project.out_width)
    box_text = box(project.sources[0].read_text(), project.top)
    module = SynthesisedModule(top, None, {f"{top}.v": text.encode(), BOXES: box_text.encode()})
    (pins,) = synthesise_modules((module,), synthesis.target, synthesis.tool, cache, limit_s)
    modules = (pins, *synthesis.modules)
    key = hashlib.sha256("".join(f"{module.folder.name}\0" for module in modules).encode())
    folder = cache.resolve() / f"{top}-{synthesis.target.name}-{key.hexdigest()[:16]}.json"
    commands = [
        *synthesis.target.library,
        *(f"read_rtlil module{number}.il" for number in range(len(modules))),
        f"hierarchy -check -top {top}",
        "flatten",
        "delete t:$scopeinfo",
        "clean",
        "blackbox =A:whitebox",
        "write_json design.json",
    ]

    def build(private: Path) -> None:
        for number, module in enumerate(modules):
            (private / f"module{number}.il").write_bytes((module.folder / "netlist.il").read_bytes())
        (private / "join.ys").write_text("\n".join([*commands, ""]))
        with ToolProcesses() as processes:
            processes.run(synthesis.tool, ["-q", "-s", "join.ys"], private, limit_s)
        for number in range(len(modules)):
            (private / f"module{number}.il").unlink()
        if not (private / "design.json").is_file():
            raise SynthesisError(f"{synthesis.tool}: left no netlist of the whole design")

    build_once(folder, build)
    return _Joined(top, pins.resources, folder / "design.json")


class _NoPlacement(SynthesisError):
    """The placer has given up, though there is enough of everything."""


def _place(
    project: RtlProject,
    joined: _Joined,
    device: Device,
    tool: Tool,
    cache: Path,
    clock_ns: float,
    native: bool,
    limit_s: float,
    placer: str,
    seed: int,
) -> Placement | Unfit:
    ecp5 = device.target == "ecp5"
    configuration = "design.config" if ecp5 else "design.asc"
    arguments = [
        *(*device.options, "--json", "design.json", "--top", joined.top, "--report", "report.json"),
        *("--textcfg" if ecp5 else "--asc", configuration, "--write", "placed.json"),
        *("--placer", placer, "--seed", str(seed)),
        *("--freq", f"{1e3 / clock_ns:g}", "--timing-allow-fail"),
    ]
    key = hashlib.sha256("\0".join([str(tool), joined.netlist.parent.name, *arguments]).encode())
    folder = cache.resolve() / f"{joined.top}-{device.name}-{key.hexdigest()[:16]}"

    def build(private: Path) -> None:
        (private / "design.json").write_bytes(joined.netlist.read_bytes())
        start = time.perf_counter()
        with ToolProcesses() as processes:
            status = processes.run(tool, arguments, private, limit_s, check=False)
        seconds = round(time.perf_counter() - start, 2)
        (private / "design.json").unlink()
        chosen: dict[str, str] = {}
        if status:
            log = (private / "log").read_text(errors="replace")
            if not lacking(log):
                if "Unable to find legal placement" in log:
                    raise _NoPlacement(f"{tool}: found no legal placement")
                raise SynthesisError(f"{tool}: failed with exit status {status}{excerpt(private / 'log')}")
        else:
            read_report(_text(private / "report.json", tool))  # must be one before it is kept
            _text(private / configuration, tool)
            chosen = sites(_text(private / "placed.json", tool))
            (private / "placed.json").unlink()  # as large as the design
        (private / "facts.json").write_text(json.dumps({"fits": not status, "seconds": seconds, "sites": chosen}))

    try:
        made = build_once(folder, build)
    except (TimeLimit, _NoPlacement):
        raise
    except SynthesisError as error:
        raise SynthesisError(f"{device.name}: {error}\n(log: {folder}.log)") from None
    facts = json.loads((folder / "facts.json").read_text())
    if not facts["fits"]:
        return Unfit(device.name, tool, lacking((folder / "log").read_text(errors="replace")), folder)
    report = read_report(_text(folder / "report.json", tool))
    bitstream, no_bitstream = _pack(folder / configuration, "ecppack" if ecp5 else "icepack", native, limit_s)
    return Placement(
        device=device.name,
        tool=tool,
        usage=report.usage,
        pins=joined.pins,
        fmax_mhz=report.fmax_mhz,
        critical_path=tuple(_tell(report.path, project)),
        seconds=facts["seconds"],
        cached=not made,
        bitstream=bitstream,
        no_bitstream=no_bitstream,
        folder=folder,
        sites=facts["sites"],
    )


def _pack(configuration: Path, packer: str, native: bool, limit_s: float) -> tuple[Path | None, str]:
    """Return the bitstream, or why there is none."""
    try:
        tool = find(packer, native)
    except ToolMissing as missing:
        return None, f"skipped: {missing}"
    folder = configuration.parent.with_name(f"{configuration.parent.name}.bitstream")

    def build(private: Path) -> None:
        (private / configuration.name).write_bytes(configuration.read_bytes())
        with ToolProcesses() as processes:
            processes.run(tool, [configuration.name, "design.bit"], private, limit_s)
        if not (private / "design.bit").is_file():
            raise SynthesisError(f"{tool}: left no bitstream")
        (private / configuration.name).unlink()

    build_once(folder, build)
    return folder / "design.bit", ""


def _text(path: Path, tool: Tool) -> str:
    if not path.is_file():
        raise SynthesisError(f"{tool}: left no {path.name}")
    return path.read_text(errors="replace")


def sites(text: str) -> dict[str, str]:
    """Read from the netlist that nextpnr has written which cell of the device each pin of the design is.

    Raises
    ------
    SynthesisError
        If `text` is no such netlist.
    """
    try:
        (module,) = json.loads(text)["modules"].values()
        return {
            name.partition("$")[0]: str(cell["attributes"]["NEXTPNR_BEL"])
            for name, cell in sorted(module["cells"].items())
            if cell["type"] in ("TRELLIS_IO", "SB_IO")
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SynthesisError(f"nextpnr's netlist: something is missing or of another kind ({error!r})") from None


def lacking(log: str) -> dict[str, DeviceUsage]:
    """Read from nextpnr's log of which resources the design needs more than there are."""
    table = re.findall(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%", log, re.M)
    found = {name: DeviceUsage(int(used), int(available)) for name, used, available in table}
    return {name: usage for name, usage in found.items() if usage.used > usage.available}


@dataclass(frozen=True)
class NextpnrReport:
    """What nextpnr has reported.

    Attributes
    ----------
    usage : mapping of str to DeviceUsage
        Of the resources that are used.
    fmax_mhz : float
    path : tuple of (str, bool, float)
        Of the critical path's segments: net or, for logic, cell; whether it is routing; nanoseconds.
    """

    usage: Mapping[str, DeviceUsage]
    fmax_mhz: float
    path: tuple[tuple[str, bool, float], ...]


def read_report(text: str) -> NextpnrReport:
    """Read nextpnr's ``--report``.

    Raises
    ------
    SynthesisError
        If `text` is no such report, or one of a design without exactly one clock.
    """
    try:
        data: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise SynthesisError(f"nextpnr's report, line {error.lineno}: {error.msg}") from None
    try:
        usage = {name: DeviceUsage(int(of["used"]), int(of["available"])) for name, of in data["utilization"].items()}
        clocks = {clock: float(of["achieved"]) for clock, of in data["fmax"].items()}
        if len(clocks) != 1:
            raise SynthesisError(f"nextpnr's report: expected one clock, got {', '.join(clocks) or 'none'}")
        ((clock, fmax),) = clocks.items()
        path = next(path["path"] for path in data["critical_paths"] if path["from"] == path["to"] == f"posedge {clock}")
        segments = tuple(
            (str(step.get("net", step["to"]["cell"])), step["type"] == "routing", float(step["delay"])) for step in path
        )
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise SynthesisError(f"nextpnr's report: something is missing or of another kind ({error!r})") from None
    return NextpnrReport({name: of for name, of in usage.items() if of.used}, fmax, segments)


#: What Yosys and nextpnr append to the name of one of our signals for the cells and wires that they make of it.
_MADE = re.compile(r"((\.\d+)+$|_(SB_|LUT\d|CCU2C|PFUMX|L6MUX21|TRELLIS_|DP16KD|PDPW16KD|MULT18X18D)|\$|\[|_RAM$).*$")


def _tell(path: tuple[tuple[str, bool, float], ...], project: RtlProject) -> list[PathStretch]:
    """Tell a path in layers and signals; segments that belong to the same signal become one step."""
    steps: list[PathStretch] = []
    for name, routing, delay in path:
        of, signal = located(name, project)
        if not steps or (steps[-1].layer, steps[-1].signal) != (of, signal):
            steps.append(PathStretch(of, signal, 0.0, 0.0))
        last = steps[-1]
        steps[-1] = (
            replace(last, routing_ns=round(last.routing_ns + delay, 3))
            if routing
            else replace(last, logic_ns=round(last.logic_ns + delay, 3))
        )
    return steps


def located(name: str, project: RtlProject) -> tuple[str, str]:
    """Return the layer (empty if none) and the signal that a net or cell of the netlist comes from."""
    inner = name.removeprefix(f"U_{project.top}.")
    scope, dot, rest = inner.partition(".")
    if dot and scope.startswith("U_"):
        return project.layers.get(scope.removeprefix("U_"), ""), _MADE.sub("", rest)
    signal = _MADE.sub("", inner)
    if inner == name:
        return "", signal
    units = [unit for unit in project.layers if signal.startswith(f"{unit}_")]  # the top module's wires behind a unit
    return project.layers[max(units, key=len)] if units else "", signal
