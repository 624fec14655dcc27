"""What the hardware takes and reaches by every tool, side by side: the open ones' figures and the vendor's."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_KIB_OF_BLOCK = 36  # of AMD's block RAM, which the vendor counts in
_LUTS, _REGISTERS, _BLOCKS, _MULTIPLIERS = ("LUTs", "logic cells"), ("flip-flops",), ("block RAMs",), ("multipliers",)


@dataclass(frozen=True)
class Made:
    """A design as one tool has made it; None for what the tool does not say.

    Attributes
    ----------
    design : str
        "rtl", or the engine whose hls4ml project it is.
    by : str
        The tool, and what for.
    stage : str
        How far: synthesised, placed and routed, or what the vendor's report says.
    provenance : str
        One of the schema's.
    lut, ff : int or None
        Memory in LUTs among the LUTs.
    bram : str
        Blocks, and their size.
    dsp : int or None
    fmax_mhz : float or None
    latency, interval : int or None
        In cycles, at most.
    power_w : float or None
    """

    design: str
    by: str
    stage: str
    provenance: str
    lut: int | None
    ff: int | None
    bram: str
    dsp: int | None
    fmax_mhz: float | None = None
    latency: int | None = None
    interval: int | None = None
    power_w: float | None = None

    @property
    def latency_us(self) -> float | None:
        """At the highest clock."""
        return self.latency / self.fmax_mhz if self.latency is not None and self.fmax_mhz else None

    @property
    def per_second(self) -> float | None:
        """Vectors, at the highest clock."""
        return 1e6 * self.fmax_mhz / self.interval if self.interval and self.fmax_mhz else None


def made(report: dict[str, Any]) -> list[Made]:
    """Return what a report tells of the hardware: the RTL by the open tools, then the vendor's jobs."""
    return [*_open(report), *_vendor(report)]


def _open(report: dict[str, Any]) -> Iterator[Made]:
    cycles = {what: report["rtl"][what] for what in ("latency", "interval")} if report["rtl"] else {}
    for row in report["synthesis"]:
        if not row["total"]:
            continue
        total, placed = row["total"], row["placement"]
        yield Made(
            "rtl", f"{row['tool']} for {row['title']}", "synthesised", "synthesised",
            total["lut"] + total["lutram"], total["ff"], _blocks(total["bram"], row["bram_unit"]), total["dsp"],
            **cycles,
        )  # fmt: skip
        if placed and placed["fmax_mhz"]:
            used = {of["name"]: of["used"] for of in placed["usage"]}
            lut, ff, bram, dsp = (
                next((used[name] for name in names if name in used), None)
                for names in (_LUTS, _REGISTERS, _BLOCKS, _MULTIPLIERS)
            )
            yield Made(
                "rtl", f"{placed['tool']} on {placed['device']}", "placed and routed", "placed-and-routed",
                lut, ff, _blocks(bram or 0, row["bram_unit"]), dsp or 0, placed["fmax_mhz"], **cycles,
            )  # fmt: skip


def _vendor(report: dict[str, Any]) -> Iterator[Made]:
    for job in report["vendor"]:
        figures = job["figures"]
        tops = {kind: [of for of in figures[kind] if of["top"]] for kind in ("resources", "latency", "timing", "power")}
        simulated = sorted(tops["latency"], key=lambda of: of["stage"] != "simulated")  # a measured one is better
        cycles = {what: simulated[0][f"{what}_max"] for what in ("latency", "interval")} if simulated else {}
        if job["job"] == "rtl" and report["rtl"]:
            cycles = {what: report["rtl"][what] for what in ("latency", "interval")}
        for of in tops["resources"]:
            same = {
                kind: next((other for other in tops[kind] if other["stage"] == of["stage"]), None)
                for kind in ("timing", "power")
            }
            bram = "–" if of["bram"] is None else _blocks(of["bram"], f"{_KIB_OF_BLOCK} Kb")
            yield Made(
                job["job"], f"{of['tool']} for {of['target']}", of["stage"] or "–", "vendor",
                of["lut"], of["ff"], bram, of["dsp"],
                same["timing"]["fmax_mhz"] if same["timing"] else None,
                power_w=same["power"]["total_w"] if same["power"] else None,
                **cycles,
            )  # fmt: skip


def _blocks(count: float, unit: str) -> str:
    return f"{count:g} × {unit}" if count else "0"
