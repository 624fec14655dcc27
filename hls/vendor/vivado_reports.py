"""Reports of Vivado: ``report_utilization``, ``report_timing_summary`` and ``report_power``, as text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from xnorflow.hls.vendor.text import Lines, Resources, header

Stage = Literal["synthesised", "placed", "routed"]


@dataclass(frozen=True)
class Design:
    """What a report is about.

    Attributes
    ----------
    name : str
        Of the top module.
    part : str
    version : str
        Of Vivado, such as ``2022.2``.
    stage : {"synthesised", "placed", "routed"} or None
        How far the design was; None if the report does not say.
    """

    name: str
    part: str
    version: str
    stage: Stage | None


@dataclass(frozen=True)
class Utilisation:
    """Resources of a design."""

    design: Design
    resources: Resources


@dataclass(frozen=True)
class Timing:
    """Slacks of a design.

    Attributes
    ----------
    design : Design
    wns_ns : float or None
        Worst slack of the setup times, negative if they are not met; None without constrained paths.
    whs_ns : float or None
        Worst slack of the hold times.
    clock_ns : float or None
        Period of the clock; None with no clock or more than one.
    """

    design: Design
    wns_ns: float | None
    whs_ns: float | None
    clock_ns: float | None

    @property
    def fmax_mhz(self) -> float | None:
        """Highest clock frequency, 1 / (period - WNS): what this run has reached, not what a tighter clock would."""
        if self.wns_ns is None or self.clock_ns is None or self.clock_ns <= self.wns_ns:
            return None
        return 1000 / (self.clock_ns - self.wns_ns)


@dataclass(frozen=True)
class Power:
    """Vivado's estimate of a design's power.

    Attributes
    ----------
    design : Design
    total_w, dynamic_w, static_w : float
    confidence : str
        Low, Medium or High.
    activity : str or None
        The simulation's activity file that it rests on; None if the switching is assumed.
    """

    design: Design
    total_w: float
    dynamic_w: float
    static_w: float
    confidence: str
    activity: str | None


def utilisation(text: str, name: str = "utilization.rpt") -> Utilisation:
    """Read ``report_utilization``, of 7-series or UltraScale(+).

    Raises
    ------
    ReportError
        If it is no such report, or incomplete.
    """
    lines = Lines(text, name)
    design = _design(lines)
    start, _ = lines.find("^Utilization Design Information", "'Utilization Design Information'")

    def used(expected: str, *names: str, required: bool = True) -> tuple[int, str] | None:
        column = None
        for index, cells in lines.rows(start):
            if "Used" in cells and cells[0] in ("Site Type", "Ref Name"):
                column = cells.index("Used")
            elif column is not None and cells[0].rstrip("*") in names:
                if column >= len(cells):
                    raise lines.error(index, expected)
                return index, cells[column]
        if required:
            raise lines.error(len(lines.lines), f"a row {expected}")
        return None

    def count(*names: str) -> int | None:
        found = used(names[0], *names, required=False)
        return None if found is None else lines.whole(*found, names[0])

    def needed(*names: str) -> tuple[int, str]:
        found = used(" or ".join(names), *names)
        assert found is not None
        return found

    lut = lines.whole(*needed("Slice LUTs", "CLB LUTs"), "LUTs")
    ff = lines.whole(*needed("Slice Registers", "CLB Registers"), "registers")
    bram = lines.decimal(*needed("Block RAM Tile"), "block RAMs")
    dsp = lines.whole(*needed("DSPs"), "DSPs")
    # Carry blocks are among the primitives, and none in a report cut short would look like none at all.
    contents, _ = lines.find(r"^[0-9]+\. Instantiated Netlists", "the table of contents", start)
    lines.find(r"^[0-9]+\. Black Boxes", "'Black Boxes', the section behind the primitives", contents + 1)
    return Utilisation(design, Resources(lut, ff, bram, count("URAM"), dsp, count("CARRY4", "CARRY8") or 0))


def timing(text: str, name: str = "timing_summary.rpt") -> Timing:
    """Read ``report_timing_summary``.

    Raises
    ------
    ReportError
        If it is no such report, or incomplete.
    """
    lines = Lines(text, name)
    design = _design(lines)
    lines.find("^Timing Summary Report", "'Timing Summary Report'")
    start, _ = lines.find(r"^\| Design Timing Summary", "'| Design Timing Summary'")
    head, _ = lines.find(r"^ *WNS\(ns\) +TNS\(ns\)", "the columns WNS(ns) and TNS(ns)", start)
    columns = re.split(r"  +", lines.lines[head].strip())
    if "WHS(ns)" not in columns:
        raise lines.error(head, "a column WHS(ns)")
    row = head + 2  # below the line of dashes
    cells = lines.lines[row].split() if row < len(lines.lines) else []
    if len(cells) != len(columns):
        raise lines.error(row, f"{len(columns)} values, the first of them WNS")

    def slack(column: str) -> float | None:
        cell = cells[columns.index(column)]
        return None if cell in ("inf", "NA") else lines.decimal(row, cell, column)

    periods: list[float] = []
    clocks, _ = lines.find(r"^\| Clock Summary", "'| Clock Summary'", row)
    for index in range(clocks + 1, len(lines.lines)):
        line = lines.lines[index]
        if line.startswith("| "):
            if periods or "Intra Clock Table" in line:
                break
            continue
        match = re.match(r" *\S+ +\{[-0-9. ]+\} +(\S+) +\S+ *$", line)
        if match:
            periods.append(lines.decimal(index, match[1], "the clock's period"))
    else:
        raise lines.error(len(lines.lines), "'| Intra Clock Table'")
    return Timing(design, slack("WNS(ns)"), slack("WHS(ns)"), periods[0] if len(periods) == 1 else None)


def power(text: str, name: str = "power.rpt") -> Power:
    """Read ``report_power``.

    Raises
    ------
    ReportError
        If it is no such report, or incomplete.
    """
    lines = Lines(text, name)
    design = _design(lines)
    start, _ = lines.find("^Power Report", "'Power Report'")

    def watts(row: str) -> float:
        index, cells = lines.row(row, f"the row {row}", start)
        value = re.match(r"<?([0-9.]+)( \(.*\))?$", cells[1] if len(cells) > 1 else "")  # "(Junction temp exceeded!)"
        if not value:
            raise lines.error(index, f"{row} (a number)")
        return lines.decimal(index, value[1], row)

    total, dynamic, static = watts("Total On-Chip Power (W)"), watts("Dynamic (W)"), watts("Device Static (W)")
    index, cells = lines.row("Confidence Level", "the row Confidence Level", start)
    if len(cells) < 2 or cells[1] not in ("Low", "Medium", "High"):
        raise lines.error(index, "a confidence level of Low, Medium or High")
    lines.find(r"^[0-9.]* *On-Chip Components", "'On-Chip Components'", index)
    activity = next((row[-1] for _, row in lines.rows(start) if row[0] == "Simulation Activity File"), "---")
    return Power(design, total, dynamic, static, cells[1], None if activity in ("---", "") else activity)


def _design(lines: Lines) -> Design:
    facts = header(lines)
    for key in ("Tool Version", "Design", "Device"):
        if key not in facts:
            raise lines.error(0, f"a header with '| {key} :'")
    version = re.match(r"Vivado v\.([0-9]{4}\.[0-9.]*[0-9])", facts["Tool Version"])
    if not version:
        line, _ = lines.find(r"^\| Tool Version", "'| Tool Version'")
        raise lines.error(line, "'Vivado v.' and its version")
    part = facts["Device"].split()[0] if facts["Device"] else ""
    if re.match(r"[0-9]", part):
        part = f"xc{part}"  # some versions leave it out
    return Design(facts["Design"], part, version[1], _stage(facts))


def _stage(facts: Mapping[str, str]) -> Stage | None:
    state = facts.get("Design State", "").lower()
    if "rout" in state:
        return "routed"
    if "plac" in state:
        return "placed"
    return "synthesised" if state.startswith(("synth", "optim")) else None
