"""What the hardware takes and reaches by every tool, side by side: the open ones' figures and the vendor's."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from xnorflow.reports.records import ReportRow

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
        The tool, and what for; with the vendor's, how far its design was.
    provenance : str
        One of the schema's.
    lut, ff : int or None
        Those used as memories among the LUTs.
    bram_kb : float or None
        Size of all block RAMs in kibibits, whole blocks whatever is in them.
    blocks : float or None
        How many they are, as the tool counts them.
    dsp : int or None
    fmax_mhz : float or None
    latency, interval : int or None
        In cycles, at most.
    power_w : float or None
    target : str or None
        What it was synthesised for; None with the vendor's tools.
    """

    design: str
    by: str
    provenance: str
    lut: int | None
    ff: int | None
    bram_kb: float | None
    dsp: int | None
    fmax_mhz: float | None = None
    latency: int | None = None
    interval: int | None = None
    power_w: float | None = None
    blocks: float | None = None
    target: str | None = None

    @property
    def latency_us(self) -> float | None:
        """At the highest clock."""
        return self.latency / self.fmax_mhz if self.latency is not None and self.fmax_mhz else None

    @property
    def per_second(self) -> float | None:
        """Vectors, at the highest clock."""
        return 1e6 * self.fmax_mhz / self.interval if self.interval and self.fmax_mhz else None


def made(report: "ReportRow") -> list[Made]:
    """Return what a report tells of the hardware: the RTL by the open tools, as an ASIC, then hls4ml projects."""
    return [*_open(report), *_asic(report), *_estimated(report), *_vendor(report)]


def _open(report: "ReportRow") -> Iterator[Made]:
    cycles = _cycles(report)
    for row in report["synthesis"]:
        if not row["total"]:
            continue
        total, placed = row["total"], row["placement"]
        yield Made(
            "rtl", f"{row['tool']} for {row['title']}", "synthesised",
            total["lut"], total["ff"], total["bram"] * row["bram_kib"], total["dsp"],
            blocks=total["bram"], target=row["target"], **cycles,
        )  # fmt: skip
        if placed and placed["fmax_mhz"]:
            used = {of["name"]: of["used"] for of in placed["usage"]}
            lut, ff, bram, dsp = (
                next((used[name] for name in names if name in used), None)
                for names in (_LUTS, _REGISTERS, _BLOCKS, _MULTIPLIERS)
            )
            yield Made(
                "rtl", f"{placed['tool']} on {placed['device']}", "placed-and-routed",
                lut, ff, (bram or 0) * row["bram_kib"], dsp or 0, placed["fmax_mhz"],
                blocks=bram or 0, target=row["target"], **cycles,
            )  # fmt: skip


def _asic(report: "ReportRow") -> Iterator[Made]:
    for row in report["asic"]:
        if row["total"]:
            yield Made(
                "rtl", f"{row['tool']} for {row['library']}", "synthesised",
                None, row["total"]["flip_flops"], None, None, row["timing"]["fmax_mhz"] if row["timing"] else None,
                power_w=row["power"]["total_w"] if row["power"] else None, **_cycles(report),
            )  # fmt: skip


def _estimated(report: "ReportRow") -> Iterator[Made]:
    """Yield what the packed project is expected to take; its flip-flops, memories and clock are not."""
    if hls := report["hls"]:
        cycles: Cycles = {"latency": hls["latency"], "interval": hls["interval"]}
        yield Made("hls4ml_packed", "our estimate", "estimated", hls["luts"], None, None, None, **cycles)


def _vendor(report: "ReportRow") -> Iterator[Made]:
    for job in report["vendor"]:
        figures = job["figures"]
        latencies = (of for of in figures["latency"] if of["top"])
        known = min(latencies, key=lambda of: of["stage"] != "simulated", default=None)  # a measured one is better
        cycles: Cycles = {"latency": known["latency_max"], "interval": known["interval_max"]} if known else {}
        if job["job"] == "rtl" and report["rtl"]:
            cycles = _cycles(report)
        for of in figures["resources"]:
            if not of["top"]:
                continue
            timing = next((t for t in figures["timing"] if t["top"] and t["stage"] == of["stage"]), None)
            power = next((p for p in figures["power"] if p["top"] and p["stage"] == of["stage"]), None)
            bram = None if of["bram"] is None else of["bram"] * _KIB_OF_BLOCK
            yield Made(
                job["job"], ", ".join(filter(None, (f"{of['tool']} for {of['target']}", of["stage"]))), "vendor",
                of["lut"], of["ff"], bram, of["dsp"],
                timing["fmax_mhz"] if timing else None,
                power_w=power["total_w"] if power else None,
                blocks=of["bram"],
                **cycles,
            )  # fmt: skip


class Cycles(TypedDict, total=False):
    """Of an inference, as far as they are known."""

    latency: int | None
    interval: int | None


def _cycles(report: "ReportRow") -> Cycles:
    """Return the RTL's cycles, by its exact model."""
    rtl = report["rtl"]
    return {"latency": rtl["latency"], "interval": rtl["interval"]} if rtl else {}
