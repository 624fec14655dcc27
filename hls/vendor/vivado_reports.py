"""Reports of Vivado as text: of utilisation, of the whole timing and of single paths, of power."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from xnorflow.hls.vendor.hls_reports import megahertz
from xnorflow.hls.vendor.text import DeviceResources, Lines, header

Stage = Literal["synthesised", "placed", "routed"]


@dataclass(frozen=True)
class ReportedDesign:
    """What a report is about.

    Attributes
    ----------
    name : str
        Of the top module.
    part : str
    version : str
        Of Vivado, such as ``2022.2``.
    stage : {"synthesised", "placed", "routed"} or None
        How far the design was; None if neither the state of the design nor the command that made the report says so.
    """

    name: str
    part: str
    version: str
    stage: Stage | None


@dataclass(frozen=True)
class Utilisation:
    """Resources of a design."""

    design: ReportedDesign
    resources: DeviceResources


@dataclass(frozen=True)
class Instance:
    """One instance of a design's hierarchy, with all that is inside it.

    Attributes
    ----------
    path : tuple of str
        Names of the instances from below the top module down to this one; empty for the top module.
    module : str
    resources : DeviceResources
    """

    path: tuple[str, ...]
    module: str
    resources: DeviceResources


@dataclass(frozen=True)
class Hierarchy:
    """Resources of every instance of a design, the top module first."""

    design: ReportedDesign
    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class TimingReport:
    """Slacks of a design.

    Attributes
    ----------
    design : ReportedDesign
    wns_ns : float or None
        Worst slack of the setup times, negative if they are not met; None without constrained paths.
    whs_ns : float or None
        Worst slack of the hold times.
    wpws_ns : float or None
        Worst slack of the clock's pulse width.
    clock_ns : float or None
        Period of the clock; None with no clock or more than one.
    """

    design: ReportedDesign
    wns_ns: float | None
    whs_ns: float | None
    wpws_ns: float | None
    clock_ns: float | None

    @property
    def met(self) -> bool | None:
        """Whether every slack is 0 or more; None without any."""
        slacks = [slack for slack in (self.wns_ns, self.whs_ns, self.wpws_ns) if slack is not None]
        return all(slack >= 0 for slack in slacks) if slacks else None

    @property
    def fmax_mhz(self) -> float | None:
        """Highest clock frequency, 1 / (period - WNS): what this run has reached, not what a tighter clock would.

        None where a slack is negative: the design does not work at the clock that was asked for, and with a negative
        slack of hold or pulse width it works at no other either.
        """
        if self.wns_ns is None or self.clock_ns is None or not self.met:
            return None
        return megahertz(self.clock_ns - self.wns_ns)


@dataclass(frozen=True)
class TimingPath:
    """A path between two registers or ports.

    Attributes
    ----------
    slack_ns : float
    start, end : str
        Pins or ports, such as ``U_dense1/sum_reg[3]/C``.
    levels : int
        Cells on the way.
    delay_ns : float
    """

    slack_ns: float
    start: str
    end: str
    levels: int
    delay_ns: float


@dataclass(frozen=True)
class Paths:
    """The constrained paths of a design with the least slack, in the report's order."""

    design: ReportedDesign
    paths: tuple[TimingPath, ...]


@dataclass(frozen=True)
class PowerReport:
    """Vivado's estimate of a design's power.

    Attributes
    ----------
    design : ReportedDesign
    total_w, dynamic_w, static_w : float
    confidence : str
        Low, Medium or High.
    activity : str or None
        The simulation's activity file that it rests on; None if the switching is assumed.
    matched_percent : float or None
        Nets of the design that the activity file knows; None without one.
    """

    design: ReportedDesign
    total_w: float
    dynamic_w: float
    static_w: float
    confidence: str
    activity: str | None
    matched_percent: float | None


def utilisation(text: str, name: str = "utilization.rpt") -> Utilisation:
    """Read ``report_utilization``, of 7-series, UltraScale(+) or Versal.

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
    ff = lines.whole(*needed("Slice Registers", "CLB Registers", "Registers"), "registers")
    bram = lines.decimal(*needed("Block RAM Tile"), "block RAMs")
    dsp = lines.whole(*needed("DSPs", "DSP Slices"), "DSPs")
    # Carry blocks are among the primitives, and none in a report cut short would look like none at all.
    contents, _ = lines.find(r"^[0-9]+\. Instantiated Netlists", "the table of contents", start)
    lines.find(r"^[0-9]+\. Black Boxes", "'Black Boxes', the section behind the primitives", contents + 1)
    # Versal has no such blocks: its carries are of another kind, and not comparable.
    carry = None if "1. Netlist Logic" in lines.lines else count("CARRY4", "CARRY8") or 0
    return Utilisation(design, DeviceResources(lut, ff, bram, count("URAM"), dsp, carry))


def hierarchy(text: str, name: str = "hierarchy.rpt") -> Hierarchy:
    """Read ``report_utilization -hierarchical``.

    A row in brackets, which has what an instance holds beside its own instances, is left out.

    Raises
    ------
    ReportError
        If it is no such report, or incomplete.
    """
    lines = Lines(text, name)
    design = _design(lines)
    head, columns = next(
        ((index, cells) for index, cells in lines.rows() if cells[:2] == ["Instance", "Module"]), (len(lines.lines), [])
    )
    if "Total LUTs" not in columns or "FFs" not in columns:
        raise lines.error(head, "a table with Instance, Module, Total LUTs and FFs")
    dsp = next((column for column in columns if column.startswith("DSP")), "")
    instances: list[Instance] = []
    path: list[tuple[int, str]] = []  # how far each is indented, and its name
    for index in range(head + 2, len(lines.lines)):  # below the line of dashes
        line = lines.lines[index].rstrip()
        if line.lstrip().startswith("+-"):
            break
        cells = line.split("|")[1:-1]
        if len(cells) != len(columns) or not line.endswith("|"):
            raise lines.error(index, f"an instance, in {len(columns)} columns")

        named = cells[0].strip()
        indent = len(cells[0]) - len(cells[0].lstrip())
        if named.startswith("(") and path and path[-1][1] == named[1:-1]:
            continue
        while path and path[-1][0] >= indent:
            path.pop()
        if not path and instances:
            raise lines.error(index, "an instance inside the first one")
        path.append((indent, named))
        counts = {  # with -hierarchical_percentage, a share stands behind each
            column: lines.whole(index, re.sub(r" *\([0-9.<]+%\)$", "", cell.strip()), column)
            for column, cell in zip(columns, cells, strict=True)
            if column in ("Total LUTs", "FFs", "RAMB36", "RAMB18", "URAM", dsp)
        }
        bram = counts["RAMB36"] + counts["RAMB18"] / 2 if "RAMB36" in counts and "RAMB18" in counts else None
        size = DeviceResources(counts["Total LUTs"], counts["FFs"], bram, counts.get("URAM"), counts.get(dsp))
        instances.append(Instance(tuple(name for _, name in path[1:]), cells[1].strip(), size))
    else:
        raise lines.error(len(lines.lines), "the end of the table")
    if not instances:
        raise lines.error(head + 2, "an instance")
    return Hierarchy(design, tuple(instances))


def timing(text: str, name: str = "timing_summary.rpt") -> TimingReport:
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
    pulse = slack("WPWS(ns)") if "WPWS(ns)" in columns else None
    return TimingReport(design, slack("WNS(ns)"), slack("WHS(ns)"), pulse, periods[0] if len(periods) == 1 else None)


def paths(text: str, name: str = "timing.rpt") -> Paths:
    """Read ``report_timing``; paths without a constraint are left out.

    Raises
    ------
    ReportError
        If it is no such report, or a path in it is incomplete.
    """
    lines = Lines(text, name)
    design = _design(lines)
    start, _ = lines.find("^Timing Report", "'Timing Report'")
    heads = [index for index in range(start, len(lines.lines)) if re.match(r"Slack\b.*:", lines.lines[index])]
    if not heads and "No timing paths found" not in text:
        raise lines.error(len(lines.lines), "a path, which begins with 'Slack'")
    ends = [*heads[1:], len(lines.lines)]
    found = (_path(lines, head, end) for head, end in zip(heads, ends, strict=True))
    return Paths(design, tuple(path for path in found if path))


def _path(lines: Lines, head: int, end: int) -> TimingPath | None:
    """Read the path in the lines from `head` to `end`; None if it has no constraint."""
    slack = re.match(r"Slack(?: \(\w+\))? *: +(\S+?)(?:ns)?(?: |$)", lines.lines[head])
    if not slack:
        raise lines.error(head, "'Slack' and its value")
    if slack[1] == "inf":
        return None

    def fact(pattern: str, expected: str) -> tuple[int, str]:
        index, match = lines.find(pattern, expected, head)
        if index >= end:
            raise lines.error(head, f"{expected} below it")
        return index, match[1]

    _, start = fact(r"^  Source: +(\S+)", "'Source:'")
    _, destination = fact(r"^  Destination: +(\S+)", "'Destination:'")
    at_delay, delay = fact(r"^  Data Path Delay: +([-0-9.]+)ns", "'Data Path Delay:'")
    at_levels, levels = fact(r"^  Logic Levels: +([0-9]+)", "'Logic Levels:'")
    fact(r"^ +slack +(\S+)", "the slack again, below the path")
    return TimingPath(
        lines.decimal(head, slack[1], "the slack (ns)"),
        start,
        destination,
        lines.whole(at_levels, levels, "the levels of logic"),
        lines.decimal(at_delay, delay, "the delay (ns)"),
    )


def power(text: str, name: str = "power.rpt") -> PowerReport:
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
    told = {row[0]: (index, row[-1]) for index, row in lines.rows(start) if len(row) > 1}
    _, activity = told.get("Simulation Activity File", (0, "---"))
    at, share = told.get("Design Nets Matched", (0, "NA"))
    matched = (
        None if share == "NA" else lines.decimal(at, share.partition("%")[0].strip("<"), "Design Nets Matched (%)")
    )
    return PowerReport(design, total, dynamic, static, cells[1], None if activity in ("---", "") else activity, matched)


def _design(lines: Lines) -> ReportedDesign:
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
    return ReportedDesign(facts["Design"], part, version[1], _stage(facts))


def _stage(facts: Mapping[str, str]) -> Stage | None:
    state = facts.get("Design State", "")
    if state.lower().startswith(("synth", "optim")):
        return "synthesised"
    file = re.search(r"-file +\{?(\S+)", facts.get("Command", ""))
    return stage_in(state) or (stage_in(re.split(r"[/\\]", file[1])[-1]) if file else None)


#: Words for how far a design is, the last step first.
_STAGES: tuple[tuple[str, Stage], ...] = (
    ("routed?", "routed"),
    ("placed?", "placed"),
    ("synth|synthesis|synthesi[sz]ed|opt", "synthesised"),
    ("impl", "routed"),
)


def stage_in(words: str) -> Stage | None:
    """Return how far a design was, where a file's name or a state tells: ``top_timing_summary_routed.rpt``."""
    for pattern, stage in _STAGES:
        if re.search(rf"(?<![a-z])(post)?({pattern})(?![a-z])", words.lower()):
            return stage
    return None
