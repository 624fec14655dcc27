"""What a user requires of a design, each held against the best figure that a report has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from xnorflow.reports.hardware import Made, made

if TYPE_CHECKING:
    from xnorflow.reports.records import ReportRow, Required, RequirementRow

#: From the figure to trust most to the one to trust least.
PROVENANCES = ("vendor", "placed-and-routed", "measured", "simulated", "synthesised", "estimated", "quoted")

#: What can be required -> its unit, and whether the figure may be no more than that (else no less).
KINDS: "Mapping[Required, tuple[str, bool]]" = {
    "latency_ns": ("ns", True),
    "images_per_second": ("images/s", False),
    "clock_mhz": ("MHz", False),
    "lut": ("LUTs", True),
    "bram": ("block RAMs", True),
    "power_mw": ("mW", True),
    "energy_nj": ("nJ per image", True),
    "accuracy": ("of the images", False),
    "coverage": ("of the faults", False),
}


@dataclass(frozen=True)
class Figure:
    """A number that a report has.

    Attributes
    ----------
    value : float
    provenance : str
        One of :data:`PROVENANCES`.
    source : str
        The tool, and what for.
    """

    value: float
    provenance: str
    source: str


Limits = Mapping[str, Any]
"""Table ``require`` of a configuration file, as :mod:`xnorflow.flows.settings` describes and checks it."""


def check(report: "ReportRow", require: Limits) -> "list[RequirementRow]":
    """Hold a report against requirements.

    Parameters
    ----------
    report : mapping
        All of the report but its verdict and these results.
    require : mapping
        By name of :data:`KINDS` a number, or a table of ``limit`` and ``provenance``, which the figure must then have.
        ``target`` leaves figures of other targets out; a vendor's count for any.

    Returns
    -------
    list of dict
        JSON-ready. ``what``, ``limit``, ``found``, ``provenance``, ``source``; ``status``: "pass", "fail", or "unknown"
        where there is no such figure; ``reason``, a sentence.
    """
    target = require.get("target")
    figures: dict[str, list[Figure]] = {what: [] for what in KINDS}
    for what, figure in (*_hardware(report, target), *_power(report, target), *_accuracy(report), *_coverage(report)):
        figures[what].append(figure)
    rows: list[RequirementRow] = []
    status: Literal["pass", "fail", "unknown"]
    for what, (unit, at_most) in KINDS.items():
        if what not in require:
            continue
        asked = require[what] if isinstance(require[what], Mapping) else {"limit": require[what]}
        limit, demanded = asked["limit"], asked.get("provenance")
        known = [of for of in figures[what] if demanded in (None, of.provenance)]
        best = min(known, key=lambda of: PROVENANCES.index(of.provenance), default=None)
        bound = f"{'at most' if at_most else 'at least'} {limit:,.10g} {unit} required"
        if best is None:
            which = f" {demanded}" if demanded else ""
            status, reason = "unknown", f"{bound}, and no figure{which}{f' for {target}' if target else ''} is there"
        else:
            met = best.value <= limit if at_most else best.value >= limit
            status = "pass" if met else "fail"
            reason = f"{bound}, {best.value:,.6g} found: {best.provenance}, {best.source}"
        rows.append(
            {
                "what": what,
                "limit": limit,
                "found": best.value if best else None,
                "provenance": best.provenance if best else demanded,
                "source": best.source if best else None,
                "status": status,
                "reason": reason,
            }
        )
    return rows


def _hardware(report: "ReportRow", target: str | None) -> Iterator[tuple[str, Figure]]:
    """Figures of the RTL: by the tools, then what its cycles come to at the clock that it was made for."""
    for of in made(report):
        if of.design != "rtl" or (target and of.target not in (None, target)):
            continue
        found = {
            "latency_ns": of.latency_us and of.latency_us * 1e3,
            "images_per_second": of.per_second,
            "clock_mhz": of.fmax_mhz,
            "lut": of.lut,
            "bram": of.blocks,
            "power_mw": of.power_w and of.power_w * 1e3,
            "energy_nj": _energy(of),
        }
        yield from ((what, Figure(value, of.provenance, of.by)) for what, value in found.items() if value is not None)
    rtl = report["rtl"]
    if rtl:
        simulated = [row for row in report["latency"] if row["clock_ns"]]
        provenance = "simulated" if simulated else "estimated"
        by = f"{rtl['latency']:,} and {rtl['interval']:,} cycles at {rtl['clock_ns']:g} ns, a clock not shown to be met"
        yield "latency_ns", Figure(rtl["latency"] * rtl["clock_ns"], provenance, by)
        yield "images_per_second", Figure(1e9 / (rtl["interval"] * rtl["clock_ns"]), provenance, by)
        yield "lut", Figure(rtl["luts"], "estimated", "the RTL's area model")


def _energy(of: Made) -> float | None:
    """Nanojoules of an image at the highest rate."""
    return of.power_w * 1e9 / of.per_second if of.power_w and of.per_second else None


def _power(report: "ReportRow", target: str | None) -> Iterator[tuple[str, Figure]]:
    for of in report["energy"]["targets"] if report["energy"] else []:
        if target in (None, of["target"]) and of["power_mw"] is not None and of["energy_nj"] is not None:
            by = f"for {of['device']} at {of['images_per_second']:,.6g} images/s"
            yield "power_mw", Figure(of["power_mw"], of["provenance"], by)
            yield "energy_nj", Figure(of["energy_nj"], of["provenance"], by)


def _accuracy(report: "ReportRow") -> Iterator[tuple[str, Figure]]:
    """The golden model's, if it was measured on the data that the recorded one was; else that is the better figure."""
    of = report["accuracy"]
    same = of["recorded"] is None or of["recorded_dataset"] == of["golden_dataset"]
    if of["golden"] is not None and same:
        by = f"the golden model on {of['golden_count']:,} images of {of['golden_dataset']}"
        yield "accuracy", Figure(of["golden"], "measured", by)
    if of["recorded"] is not None:
        by = f"the checkpoint: {of['recorded_count'] or 0:,} images of {of['recorded_dataset']}"
        yield "accuracy", Figure(of["recorded"], "quoted", by)


def _coverage(report: "ReportRow") -> Iterator[tuple[str, Figure]]:
    """What the engine that shows most would have shown; the low end of the interval where faults were drawn."""
    found = report["coverage"]["found"]
    if found:
        by = f"{found['engine']}, of {found['faults'] - found['redundant']:,.0f} faults"
        yield "coverage", Figure(found["interval"][0] if found["interval"] else found["share"], "measured", by)
