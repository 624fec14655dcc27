"""Reports of Vivado HLS and Vitis HLS: C-simulation, C-synthesis, C/RTL co-simulation and export."""

import re
from dataclasses import dataclass
from typing import Literal
from xml.parsers import expat

from xnorflow.hls.vendor.text import DeviceResources, Lines

#: A tool of which a report says no more than that it is one of the two.
EITHER = "Vitis HLS or Vivado HLS"

Outcome = Literal["passed", "failed", "not compiled", "only set up", "interrupted"]


@dataclass(frozen=True)
class CSimulation:
    """The log of a C-simulation (``<top>_csim.log``).

    Attributes
    ----------
    outcome : {"passed", "failed", "not compiled", "only set up", "interrupted"}
        Of a log with several results the last decides, but one that failed is never outweighed by one that passed.
        "only set up" is ``csim_design -setup``, which compiles and runs nothing; "interrupted" is a log that ends
        before a result.
    errors : int or None
        That the tool counts; None where it does not.
    vectors, wrong : int or None
        As the project's own test bench counts them; None with another test bench.
    """

    outcome: Outcome
    errors: int | None
    vectors: int | None
    wrong: int | None

    @property
    def passed(self) -> bool | None:
        """Whether the simulation passed; None where none was asked for."""
        return None if self.outcome == "only set up" else self.outcome == "passed"


@dataclass(frozen=True)
class CSynthesis:
    """Estimates of C-synthesis for a function: the top function, or one that it calls.

    Attributes
    ----------
    function : str
    tool : str
        "Vivado HLS" or "Vitis HLS"; :data:`EITHER` where the report does not say, as XML of version 2020.1 does not.
    version : str
        Of the tool, such as ``2022.2``.
    part : str
    clock_target_ns, clock_estimated_ns : float
        Clock periods.
    latency_min, latency_max, interval_min, interval_max : int or None
        In cycles; None if the tool cannot tell.
    resources, available : DeviceResources
    """

    function: str
    tool: str
    version: str
    part: str
    clock_target_ns: float
    clock_estimated_ns: float
    latency_min: int | None
    latency_max: int | None
    interval_min: int | None
    interval_max: int | None
    resources: DeviceResources
    available: DeviceResources

    @property
    def fmax_mhz(self) -> float | None:
        """Clock frequency that the tool estimates, without the uncertainty that it keeps in hand."""
        return megahertz(self.clock_estimated_ns)


@dataclass(frozen=True)
class CoSimulation:
    """C/RTL co-simulation (``<top>_cosim.rpt``).

    Attributes
    ----------
    language : str
        Of the RTL.
    passed : bool
    latency_min, latency_max, interval_min, interval_max : int or None
        In cycles, measured; None if the tool has not.
    latency_avg, interval_avg : float or None
    """

    language: str
    passed: bool
    latency_min: int | None
    latency_avg: float | None
    latency_max: int | None
    interval_min: int | None
    interval_avg: float | None
    interval_max: int | None


@dataclass(frozen=True)
class Export:
    """What Vivado made of an exported design (``<top>_export.rpt``, ``export_syn.rpt``, ``export_impl.rpt``).

    Attributes
    ----------
    version : str or None
        Of Vivado.
    part : str
    stage : {"synthesised", "routed"}
    resources : DeviceResources
    clock_target_ns : float
    clock_achieved_ns : float or None
        Clock period reached; None for a design without a path between registers.
    met : bool or None
        Whether the target was.
    """

    version: str | None
    part: str
    stage: Literal["synthesised", "routed"]
    resources: DeviceResources
    clock_target_ns: float
    clock_achieved_ns: float | None
    met: bool | None

    @property
    def fmax_mhz(self) -> float | None:
        """Highest clock frequency, as the report has it; None where the target was missed."""
        return megahertz(self.clock_achieved_ns) if self.met and self.clock_achieved_ns is not None else None


def megahertz(period_ns: float) -> float | None:
    """Return the frequency of a period, rounded to 0.01 MHz; None for no period."""
    return round(1000 / period_ns, 2) if period_ns > 0 else None


def csim(text: str, name: str = "csim.log") -> CSimulation:
    """Read the log of a C-simulation.

    Raises
    ------
    ReportError
        If it is no such log.
    """
    lines = Lines(text, name)
    lines.find(r"\*{3,} CSIM start \*{3,}|CSim done with", "'CSIM start'")
    errors: list[int] = []
    counts: list[tuple[bool, int, int]] = []
    complaints, finished = [], False
    for index, line in enumerate(lines.lines):
        if match := re.search(r"CSim done with (\S+) errors?\b", line):
            errors.append(lines.whole(index, match[1], "the number of errors"))
        elif match := re.match(r"(PASS|FAIL): ([0-9]{1,15}) vectors, ([0-9]{1,15}) wrong", line):
            counts.append((match[1] == "FAIL" or match[3] != "0", int(match[2]), int(match[3])))
        elif re.match(r"\s*(?:(?:ERR|ERROR): \[|@E\b)", line):
            complaints.append(line)
        finished = finished or "CSIM finish" in line
    bad = next((count for count in reversed(errors) if count), None)
    count = next((count for count in reversed(counts) if count[0]), counts[-1] if counts else None)
    outcome: Outcome
    if any("compilation error" in line for line in complaints):
        outcome = "not compiled"
    elif complaints or bad or (count and count[0]):
        outcome = "failed"
    elif errors:
        outcome = "passed"
    else:
        outcome = "only set up" if finished and not counts else "interrupted"
    vectors, wrong = count[1:] if count else (None, None)
    return CSimulation(outcome, bad or (errors[-1] if errors else None), vectors, wrong)


def csynth_xml(text: str, name: str = "csynth.xml") -> CSynthesis:
    """Read ``csynth.xml`` or ``<function>_csynth.xml``.

    Raises
    ------
    ReportError
        If it is no such report, or incomplete.
    """
    lines = Lines(text, name)
    elements = _elements(text, lines)

    def element(path: str) -> tuple[str, int]:
        if path not in elements:
            raise lines.error(len(lines.lines), f"<{path.replace('/', '> with <')}> somewhere")
        return elements[path]

    def decimal(path: str) -> float:
        value, line = element(path)
        return lines.decimal(line, value, f"<{path}>")

    def cycles(path: str) -> int | None:
        value, line = element(f"PerformanceEstimates/SummaryOfOverallLatency/{path}")
        return _cycles(lines, line, value, f"<{path}>")

    def resources(path: str) -> DeviceResources:
        def count(*tags: str) -> int:
            present = [f"{path}/{tag}" for tag in tags if f"{path}/{tag}" in elements]
            value, line = element(present[0] if present else f"{path}/{tags[0]}")
            return lines.whole(line, value, f"<{tags[0]}>")

        uram = count("URAM") if f"{path}/URAM" in elements else None
        return DeviceResources(count("LUT"), count("FF"), count("BRAM_18K") / 2, uram, count("DSP", "DSP48E"))

    version, line = element("ReportVersion/Version")
    if not re.fullmatch(r"[0-9]{4}\.[0-9.]*[0-9]", version):
        raise lines.error(line, "<Version> (like 2022.2)")
    return CSynthesis(
        element("UserAssignments/TopModelName")[0],
        _tool(version),
        version,
        element("UserAssignments/Part")[0],
        decimal("UserAssignments/TargetClockPeriod"),
        decimal("PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod"),
        cycles("Best-caseLatency"),
        cycles("Worst-caseLatency"),
        cycles("Interval-min"),
        cycles("Interval-max"),
        resources("AreaEstimates/Resources"),
        resources("AreaEstimates/AvailableResources"),
    )


def _tool(version: str) -> str:
    """Name the tool of a version: Vivado HLS ended with 2020.1, with which Vitis HLS began."""
    year, release = (int(part) for part in version.split(".")[:2])
    if (year, release) == (2020, 1):
        return EITHER
    return "Vivado HLS" if (year, release) < (2020, 1) else "Vitis HLS"


def _cycles(lines: Lines, line: int, value: str, expected: str) -> int | None:
    return None if value in ("?", "undef", "-", "NA") else lines.whole(line, value, expected)


def _elements(text: str, lines: Lines) -> dict[str, tuple[str, int]]:
    """Return, for the paths below ``profile``, the text of their first element and the index of its line."""
    found: dict[str, tuple[str, int]] = {}
    path: list[str] = []
    content: list[str] = []
    parser = expat.ParserCreate("utf-8")

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not path and tag != "profile":
            raise lines.error(parser.CurrentLineNumber - 1, "<profile>")
        path.append(tag)
        content.clear()

    def end(tag: str) -> None:
        if len(path) < 6:
            found.setdefault("/".join(path[1:]), ("".join(content).strip(), parser.CurrentLineNumber - 1))
        path.pop()
        content.clear()

    def refuse(*declaration: object) -> None:
        raise lines.error(parser.CurrentLineNumber - 1, "no document type")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = content.append
    parser.StartDoctypeDeclHandler = refuse  # entities would let a small file grow without bounds
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise lines.error(error.lineno - 1, f"well-formed XML ({expat.ErrorString(error.code)})") from None
    return found


def csynth_text(text: str, name: str = "csynth.rpt") -> CSynthesis:
    """Read ``<function>_csynth.rpt``.

    Raises
    ------
    ReportError
        If it is no such report, or incomplete.
    """
    lines = Lines(text, name)
    top, title = lines.find(r"== (Vivado|Vitis) HLS Report for '(.+)'", "'== Vivado HLS Report for' or '== Vitis ...'")
    _, version = lines.find(r"\* Version: +([0-9.]+)", "'* Version:'", top)
    _, part = lines.find(r"\* Target device: +(\S+)", "'* Target device:'", top)

    timing, _ = lines.find(r"^\+ Timing\b", "'+ Timing'", top)
    head, columns = _row(lines, timing, "Clock", "the clocks' table")
    if "Target" not in columns or "Estimated" not in columns:
        raise lines.error(head, "columns Target and Estimated")
    clock, cells = _next(lines, head, len(columns), "a clock")

    def period(column: str) -> float:
        return lines.decimal(clock, cells[columns.index(column)].removesuffix("ns").strip(), f"the {column} period")

    target, estimated = period("Target"), period("Estimated")
    latency, _ = lines.find(r"^\+ Latency\b", "'+ Latency'", clock)
    head, columns = _row(lines, latency, "min", "the latencies' table")
    if [column for column in columns if column in ("min", "max")] not in (["min", "max"] * 2, ["min", "max"] * 3):
        raise lines.error(head, "min and max of latency and interval")  # older versions have no time beside the cycles
    line, cells = _next(lines, head, len(columns), "latency and interval")
    latencies, intervals = columns.index("min"), len(columns) - 1 - columns[::-1].index("min")

    def cycles(column: int, expected: str) -> int | None:
        return _cycles(lines, line, cells[column], expected)

    best, worst = cycles(latencies, "the minimal latency"), cycles(latencies + 1, "the maximal latency")
    least, most = cycles(intervals, "the minimal interval"), cycles(intervals + 1, "the maximal interval")

    used, _ = lines.find(r"^== Utilization Estimates", "'== Utilization Estimates'", line)
    head, columns = _row(lines, used, "Name", "the resources' table")

    def resources(row: str) -> DeviceResources:
        index, cells = lines.row(row, f"the row {row}", head)
        if len(cells) != len(columns):
            raise lines.error(index, f"{len(columns)} columns")
        counts = dict(zip(columns, cells))

        def count(*names: str) -> int:
            for column in names:
                if column in counts:
                    return lines.whole(index, counts[column], column)
            raise lines.error(head, f"a column {names[0]}")

        uram = count("URAM") if "URAM" in counts else None
        return DeviceResources(count("LUT"), count("FF"), count("BRAM_18K") / 2, uram, count("DSP", "DSP48E"))

    return CSynthesis(
        title[2],
        f"{title[1]} HLS",
        version[1],
        part[1],
        target,
        estimated,
        best,
        worst,
        least,
        most,
        resources("Total"),
        resources("Available"),
    )


def _row(lines: Lines, start: int, word: str, expected: str) -> tuple[int, list[str]]:
    """Return the first row from `start` on with a cell `word`."""
    for index, cells in lines.rows(start):
        if word in cells:
            return index, cells
    raise lines.error(len(lines.lines), expected)


def _next(lines: Lines, row: int, columns: int, expected: str) -> tuple[int, list[str]]:
    """Return the row behind another one."""
    for index, cells in lines.rows(row + 1):
        if len(cells) != columns:
            raise lines.error(index, f"{expected}, in {columns} columns")
        return index, cells
    raise lines.error(len(lines.lines), expected)


def cosim(text: str, name: str = "cosim.rpt") -> CoSimulation:
    """Read ``<top>_cosim.rpt``.

    Raises
    ------
    ReportError
        If it is no such report, or tells of no simulation.
    """
    lines = Lines(text, name)
    results: list[CoSimulation] = []
    for index, cells in lines.rows():
        if cells[0] not in ("VHDL", "Verilog"):
            continue
        if len(cells) < 8:
            raise lines.error(index, "a status, three latencies and three intervals")
        status, measured = cells[1], cells[2:8]
        if status == "NA":
            continue
        if status not in ("Pass", "Fail"):
            raise lines.error(index, "Pass, Fail or NA")
        low, average, high = measured[0::3], measured[1::3], measured[2::3]
        numbers = [
            (
                _cycles(lines, index, low[i], f"the minimal {what}"),
                None if average[i] == "NA" else lines.decimal(index, average[i], f"the average {what}"),
                _cycles(lines, index, high[i], f"the maximal {what}"),
            )
            for i, what in enumerate(("latency", "interval"))
        ]
        results.append(CoSimulation(cells[0], status == "Pass", *numbers[0], *numbers[1]))
        lines.find(r"^\+-", "the end of the table", index)  # else the row may be cut short
    if not results:
        raise lines.error(len(lines.lines), "a row of Verilog or VHDL with its status")
    return next((result for result in results if not result.passed), results[0])


def export(text: str, name: str = "export.rpt") -> Export:
    """Read ``<top>_export.rpt``, or what newer versions leave beside it: ``export_syn.rpt``, ``export_impl.rpt``.

    Block RAMs are counted in halves of 18 Kib there.

    Raises
    ------
    ReportError
        If it is no such report, or incomplete.
    """
    lines = Lines(text, name)
    _, part = lines.find(r"(?:Device target|\* Target device): +(\S+)", "the target device")
    used, kind = lines.find(
        r"#=== (?:Post-(\w+) )?Resource usage|^== (?:RTL (Synthesis)|Place & Route) Resource Summary",
        "the resources",
    )
    synthesised = "Synthesis" in (kind[1], kind[2])
    timing, _ = lines.find(r"#=== Final timing|^== .*Timing Summary", "the timing", used)
    counts: dict[str, int] = {}
    for index in range(used + 1, timing):
        if row := re.match(r"(\w+): +(\S+)", lines.lines[index]):
            counts[row[1]] = lines.whole(index, row[2], row[1])
    for needed in ("LUT", "FF"):
        if needed not in counts:
            raise lines.error(timing, f"a row {needed}")
    bram = counts["BRAM"] / 2 if "BRAM" in counts else None
    size = DeviceResources(counts["LUT"], counts["FF"], bram, counts.get("URAM"), counts.get("DSP"))
    periods: dict[str, float] = {}
    met: bool | None = None
    verdict, whole = False, kind[0].startswith("#")  # else a table with an end
    for index in range(timing + 1, len(lines.lines)):
        line = lines.lines[index]
        if re.match(r"== ", line):
            break
        if row := re.match(r"CP (required|achieved [-\w]+): +(\S+)|\| ((?:Target|Post-)\S*) *\| (\S+) *\|", line):
            label, value = (row[1], row[2]) if row[1] else (row[3], row[4])
            if value != "NA":
                periods[label.removeprefix("achieved ").lower()] = lines.decimal(index, value, f"{label} (ns)")
        elif row := re.match(r"(?:\* )?Timing (?:was )?(not )?met\b|No Sequential Path", line):
            verdict, met = True, None if line.startswith("No") else row[1] is None
        elif line.startswith("+-") and periods:
            whole = True
    if not whole:
        raise lines.error(len(lines.lines), "the end of the table")
    if not verdict:
        raise lines.error(len(lines.lines), "whether timing was met")
    target = periods.get("required", periods.get("target"))
    if target is None:
        raise lines.error(len(lines.lines), "the clock period that was asked for")
    wanted = ("post-route", "post-implementation", "post-synthesis")
    achieved = next((periods[label] for label in wanted if label in periods), None)
    tool = re.search(r"^Implementation tool: .*Vivado v\.?([0-9.]+[0-9])|^ *\* Version: +([0-9.]+[0-9])", text, re.M)
    version = (tool[1] or tool[2]) if tool else None
    return Export(version, part[1], "synthesised" if synthesised else "routed", size, target, achieved, met)
