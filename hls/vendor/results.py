"""All reports of a folder, wherever the tools have run, as one result."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from xnorflow.bnn.errors import UserError
from xnorflow.hls.vendor import hls_reports, vivado_reports
from xnorflow.hls.vendor.figures import (
    Stage,
    VendorFigure,
    VendorFigures,
    VendorLatency,
    VendorResources,
    VendorTiming,
)
from xnorflow.hls.vendor.hls_reports import EITHER, CoSimulation, CSimulation, CSynthesis, Export
from xnorflow.hls.vendor.steps import FOLDER, STAMPED, JobDesign
from xnorflow.hls.vendor.text import DeviceResources, ReportError
from xnorflow.hls.vendor.vivado_reports import Hierarchy, Paths, PowerReport, TimingReport, Utilisation, stage_in

Values = CSimulation | CSynthesis | CoSimulation | Export | Utilisation | Hierarchy | TimingReport | Paths | PowerReport
Parser = Callable[[str, str], Values]

#: What reads the files whose names end so.
_BY_NAME: dict[str, Parser] = {
    "_csim.log": hls_reports.csim,
    "csynth.xml": hls_reports.csynth_xml,
    "_csynth.rpt": hls_reports.csynth_text,
    "_cosim.rpt": hls_reports.cosim,
    **dict.fromkeys(("_export.rpt", "export_syn.rpt", "export_impl.rpt"), hls_reports.export),
    **dict.fromkeys(("synth_utilization.rpt", "impl_utilization.rpt"), vivado_reports.utilisation),
    **dict.fromkeys(("synth_hierarchy.rpt", "impl_hierarchy.rpt"), vivado_reports.hierarchy),
    **dict.fromkeys(("synth_timing.rpt", "impl_timing.rpt"), vivado_reports.timing),
    **dict.fromkeys(("synth_paths.rpt", "impl_paths.rpt"), vivado_reports.paths),
    **dict.fromkeys(("synth_power.rpt", "impl_power.rpt"), vivado_reports.power),
}
#: What reads the other files of :data:`_SUFFIXES` with such a line near their beginning: a report may have any name.
_BY_TITLE: tuple[tuple[str, Parser], ...] = (
    (r"1\. (Slice|CLB|Netlist) Logic", vivado_reports.utilisation),
    (r"1\. Utilization by Hierarchy", vivado_reports.hierarchy),
    (r"Timing Summary Report", vivado_reports.timing),
    (r"Timing Report", vivado_reports.paths),
    (r"Power Report", vivado_reports.power),
    (r"== (Vivado|Vitis) HLS Report for '.*'", hls_reports.csynth_text),
    (r"Implementation tool: .*Vivado.*|== Vivado (RTL Synthesis|Place & Route) Results", hls_reports.export),
    (r".*\*{3,} CSIM start \*{3,}", hls_reports.csim),
)
_SUFFIXES = (".rpt", ".txt")
_TITLE_WITHIN = 4000  # characters


@dataclass(frozen=True)
class VendorReport:
    """A report and what it says.

    Attributes
    ----------
    source : str
        The file, relative to the folder.
    tool : str
        With its version, such as "Vivado 2022.2"; only "Vitis HLS or Vivado HLS" for a simulation without a C-synthesis
        beside it.
    target : str or None
        The FPGA part.
    stage : {"simulated", "estimated", "synthesised", "placed", "routed"} or None
        What the figures rest on ("estimated": C-synthesis, before any netlist); None if the report does not say.
    module : str or None
        What they are of; None for a simulation.
    top : bool
        Whether they are of the whole design, not of one of its functions.
    values : CSimulation, CSynthesis, CoSimulation, Export, Utilisation, Hierarchy, TimingReport, Paths or PowerReport
    note : str or None
        What a reader of the figures must know.
    """

    source: str
    tool: str
    target: str | None
    stage: Stage | None
    module: str | None
    top: bool
    values: Values
    note: str | None = None

    @property
    def _solution(self) -> PurePosixPath:
        """The folder of the HLS tool's solution; a report lies in its ``syn/report``, ``sim/report``, ..."""
        return PurePosixPath(self.source).parent.parent.parent


def read(path: Path, folder: Path) -> VendorReport | None:
    """Read a file of `folder`; None if it is no report that can be read.

    Raises
    ------
    ReportError
        If it is one by its name or title, but cannot be understood.
    """
    parser = next((parser for ending, parser in _BY_NAME.items() if path.name.endswith(ending)), None)
    if parser is None and path.suffix not in _SUFFIXES:
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    if parser is None:
        titles = text[:_TITLE_WITHIN].splitlines()
        parser = next((one for title, one in _BY_TITLE if any(re.fullmatch(title, line) for line in titles)), None)
    if parser is None or (parser is vivado_reports.utilisation and _is_of_a_part(text)):
        return None
    source = path.relative_to(folder).as_posix()
    values = parser(text, source)
    if isinstance(values, CSimulation | CoSimulation):
        return VendorReport(source, EITHER, None, "simulated", None, True, values)
    if isinstance(values, CSynthesis):
        return _synthesised(path, source, values)
    if isinstance(values, Export):
        module = path.name.removesuffix("_export.rpt") if path.name.endswith("_export.rpt") else None
        tool = f"Vivado {values.version}" if values.version else "Vivado"
        return VendorReport(source, tool, values.part, values.stage, module, True, values)
    design = values.design
    stage = design.stage or stage_in(path.name)
    return VendorReport(source, f"Vivado {design.version}", design.part, stage, design.name, True, values)


def _is_of_a_part(text: str) -> bool:
    """Tell whether a utilisation is of some of the design's cells, or of an area of the device, not of the design."""
    return bool(re.search(r"^\| Command +: .* -(pblocks|cells)\b", text[:_TITLE_WITHIN], re.MULTILINE))


def _synthesised(path: Path, source: str, values: CSynthesis) -> VendorReport:
    """Return the report of a C-synthesis; XML is held against the text beside it, which also knows the tool's name.

    The intervals of Vivado HLS up to 2018 are one more in its XML than in its text.
    """
    note = None
    twin = path.with_name(f"{values.function}_csynth.rpt") if re.fullmatch(r"\w+", values.function) else path
    if path.suffix == ".xml" and twin.is_file():
        try:
            told = hls_reports.csynth_text(twin.read_text(encoding="utf-8", errors="replace"), twin.name)
        except ReportError:
            pass  # it is not what was asked for
        else:
            values = replace(values, tool=told.tool)
            if (told.interval_min, told.interval_max) != (values.interval_min, values.interval_max):
                note = f"the interval is the XML's; {twin.name} has {told.interval_min} to {told.interval_max}"
    top = path.name == "csynth.xml"
    tool = f"{values.tool} {values.version}"
    return VendorReport(source, tool, values.part, "estimated", values.function, top, values, note)


def import_reports(folder: Path) -> tuple[list[VendorReport], list[str]]:
    """Read every report below a folder.

    A C-synthesis is read from its XML; from its text only where there is none.

    Returns
    -------
    reports : list of VendorReport
        What can be read, in the order of the files' names.
    problems : list of str
        The reports that cannot be understood: the file, the line, and what was expected there.

    Raises
    ------
    UserError
        If the folder is missing, or without reports.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one that holds a project and its tools' reports")
    found, problems = _read_all(folder)
    if not found and not problems:
        raise UserError(
            f"{folder}: no reports in it; looked for *_csim.log, *csynth.xml, *_csynth.rpt, *_cosim.rpt, *_export.rpt,"
            " and Vivado's utilization, timing and power (*.rpt, *.txt). vendor/README.md in a project says how to make"
            " them"
        )
    return found, [str(problem) for problem in problems]


def reports_of(design: JobDesign, folder: Path, without: Sequence[str] = ()) -> tuple[list[VendorReport], list[str]]:
    """Read the reports of a design below a folder, and find what is wrong with them.

    Parameters
    ----------
    design : JobDesign
    folder : Path
    without : sequence of str
        Files and folders, relative to `folder`, that are left out.

    Returns
    -------
    reports : list of VendorReport
        Those that are of the design; a simulation that failed is one of them.
    problems : list of str
        Reports that are of another design, cannot be understood, or tell of a simulation that failed.
    """
    stamp = folder / STAMPED
    if stamp.is_file() and stamp.read_text(errors="replace").strip() != design.digest:
        return [], [
            f"{STAMPED}: the reports were made from other sources than those of {design.top} now; take this folder to "
            f"the tools again: sh {FOLDER}/run.sh"
        ]
    found, unread = _read_all(folder, without)
    foreign = [report for report in found if not _is_of(design, report)]
    problems = [str(problem) for problem in unread]
    problems += [
        f"{report.source}: of {report.module} for {report.target}, but this folder has {design.top} for {design.part}"
        for report in foreign
    ]
    own = [report for report in found if report not in foreign]
    problems += [f"{report.source}: {wrong}" for report in own if (wrong := failure(report))]
    return own, problems


def _is_of(design: JobDesign, report: VendorReport) -> bool:
    """Tell whether a report may be of a design; some write the part without its speed grade or its dashes."""

    def plain(part: str) -> str:
        return part.lower().replace("-", "").replace("_", "")

    named = not report.top or report.module in (None, design.top)
    return named and (report.target is None or plain(design.part).startswith(plain(report.target)))


def failure(report: VendorReport) -> str | None:
    """Say what went wrong, where a report is one of a simulation that did not pass."""
    match report.values:
        case CSimulation(outcome="not compiled"):
            return "the simulation was not compiled"
        case CSimulation(outcome="interrupted"):
            return "the simulation was interrupted"
        case CSimulation(outcome="failed", vectors=vectors, wrong=wrong) if wrong:
            return f"the simulation failed: {wrong} of {vectors} vectors wrong"
        case CSimulation(outcome="failed") | CoSimulation(passed=False):
            return "the simulation failed"
    return None


def _read_all(folder: Path, without: Sequence[str] = ()) -> tuple[list[VendorReport], list[ReportError]]:
    """Read what can be read."""
    left_out = [folder / name for name in without]
    found, problems = [], []
    for path in _files(folder):
        if any(path.is_relative_to(name) for name in left_out):
            continue
        try:
            report = read(path, folder)
        except ReportError as problem:
            problems.append(problem)
        else:
            found += [report] if report else []
    return list(_completed(found)), problems


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        drafts = any(part.startswith(".") for part in path.relative_to(folder).parts) or ".verbose." in path.name
        superseded = path.name.endswith("_csynth.rpt") and path.with_suffix(".xml").is_file()
        if path.is_file() and not path.is_symlink() and not drafts and not superseded:
            yield path


def _completed(found: Iterable[VendorReport]) -> Iterator[VendorReport]:
    """Let simulations have the tool and part of the C-synthesis beside them, and name a top function once."""
    found = list(found)
    tops = {r._solution: r for r in found if r.top and isinstance(r.values, CSynthesis)}
    for report in found:
        top = tops.get(report._solution)
        if isinstance(report.values, CSynthesis) and top and not report.top and report.module == top.module:
            continue  # <top>_csynth.xml says what csynth.xml does
        if isinstance(report.values, CSimulation | CoSimulation) and top:
            report = replace(report, tool=top.tool, target=top.target)
        yield report


def neutral(found: Iterable[VendorReport]) -> VendorFigures:
    """Arrange reports by what they tell, JSON-ready.

    Layers are not known yet: :mod:`xnorflow.flows.steps.vendor` adds them. A simulation's ``passed`` is None where it
    was only set up, ``vectors`` and ``wrong`` where the log does not tell; ``failure`` is what went wrong, in words.
    ``hierarchy`` has the top module's own instances.
    """
    told: VendorFigures = {
        "simulation": [], "resources": [], "hierarchy": [], "latency": [], "timing": [], "paths": [], "power": []
    }  # fmt: skip
    for report in found:
        values, about = report.values, _about(report)
        match values:
            case CSimulation():
                told["simulation"].append(
                    {**about, "passed": values.passed, "vectors": values.vectors, "wrong": values.wrong,
                     "failure": failure(report)}
                )  # fmt: skip
            case CoSimulation():
                told["simulation"].append(
                    {**about, "passed": values.passed, "vectors": None, "wrong": None, "failure": failure(report)}
                )
                if values.passed and values.latency_max is not None:
                    told["latency"].append(
                        {**_cycles(about, values), "latency_avg": values.latency_avg,
                         "interval_avg": values.interval_avg}
                    )  # fmt: skip
            case CSynthesis():
                told["resources"].append(_taken(about, values.resources))
                told["latency"].append(_cycles(about, values))
                told["timing"].append(_timing(about, values.clock_target_ns, values.fmax_mhz))
            case Export():
                told["resources"].append(_taken(about, values.resources))
                told["timing"].append(_timing(about, values.clock_target_ns, values.fmax_mhz, values.met))
            case Utilisation():
                told["resources"].append(_taken(about, values.resources))
            case Hierarchy():
                told["hierarchy"] += [
                    {**_taken(about, of.resources), "top": False, "instance": of.path[0], "of": of.module,
                     "layer": None, "estimated_luts": None}
                    for of in values.instances
                    if len(of.path) == 1
                ]  # fmt: skip
            case TimingReport():
                reached = _timing(about, values.clock_ns, values.fmax_mhz, values.met)
                told["timing"].append(
                    {**reached, "wns_ns": values.wns_ns, "whs_ns": values.whs_ns, "wpws_ns": values.wpws_ns}
                )
            case Paths():
                told["paths"] += [
                    {**about, "slack_ns": path.slack_ns, "delay_ns": path.delay_ns, "levels": path.levels,
                     "start": path.start, "end": path.end, "start_layer": None, "end_layer": None}
                    for path in sorted(values.paths, key=lambda path: path.slack_ns)
                ]  # fmt: skip
            case PowerReport():
                told["power"].append(
                    {**about, "total_w": values.total_w, "dynamic_w": values.dynamic_w, "static_w": values.static_w,
                     "confidence": values.confidence, "activity": values.activity,
                     "matched_percent": values.matched_percent}
                )  # fmt: skip
    return told


def _about(report: VendorReport) -> VendorFigure:
    return {
        "source": report.source, "tool": report.tool, "target": report.target, "stage": report.stage,
        "module": report.module, "top": report.top, "note": report.note, "provenance": "vendor",
    }  # fmt: skip


def _taken(about: VendorFigure, of: DeviceResources) -> VendorResources:
    return {
        **about, "lut": of.lut, "ff": of.ff, "bram": of.bram, "uram": of.uram, "dsp": of.dsp, "carry": of.carry
    }  # fmt: skip


def _cycles(about: VendorFigure, values: CSynthesis | CoSimulation) -> VendorLatency:
    return {
        **about,
        "latency_min": values.latency_min, "latency_avg": None, "latency_max": values.latency_max,
        "interval_min": values.interval_min, "interval_avg": None, "interval_max": values.interval_max,
    }  # fmt: skip


def _timing(
    about: VendorFigure, clock_ns: float | None, fmax_mhz: float | None, met: bool | None = None
) -> VendorTiming:
    return {
        **about, "clock_ns": clock_ns, "fmax_mhz": fmax_mhz, "met": met, "wns_ns": None, "whs_ns": None, "wpws_ns": None
    }  # fmt: skip
