"""All reports of a folder, wherever the tools have run, as one result."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from xnorflow.bnn.errors import UserError
from xnorflow.hls.vendor import hls_reports, vivado_reports
from xnorflow.hls.vendor.hls_reports import CoSimulation, CSimulation, CSynthesis
from xnorflow.hls.vendor.steps import FOLDER, STAMPED, Design
from xnorflow.hls.vendor.text import ReportError
from xnorflow.hls.vendor.vivado_reports import Power, Timing, Utilisation

Values = CSimulation | CSynthesis | CoSimulation | Utilisation | Timing | Power
Parser = Callable[[str, str], Values]

#: What reads the files whose names end so.
_BY_NAME: dict[str, Parser] = {
    "_csim.log": hls_reports.csim,
    "csynth.xml": hls_reports.csynth_xml,
    "_csynth.rpt": hls_reports.csynth_text,
    "_cosim.rpt": hls_reports.cosim,
    **dict.fromkeys(("synth_utilization.rpt", "impl_utilization.rpt"), vivado_reports.utilisation),
    **dict.fromkeys(("synth_timing.rpt", "impl_timing.rpt"), vivado_reports.timing),
    **dict.fromkeys(("synth_power.rpt", "impl_power.rpt"), vivado_reports.power),
}
#: What reads the other .rpt files with such a line near their beginning: Vivado's may have any name.
_BY_TITLE: dict[str, Parser] = {
    "1. Slice Logic": vivado_reports.utilisation,
    "1. CLB Logic": vivado_reports.utilisation,
    "Timing Summary Report": vivado_reports.timing,
    "Power Report": vivado_reports.power,
}
_TITLE_WITHIN = 4000  # characters


@dataclass(frozen=True)
class Report:
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
    values : CSimulation, CSynthesis, CoSimulation, Utilisation, Timing or Power
    """

    source: str
    tool: str
    target: str | None
    stage: str | None
    module: str | None
    top: bool
    values: Values

    @property
    def _solution(self) -> PurePosixPath:
        """The folder of the HLS tool's solution; a report lies in its ``syn/report``, ``sim/report``, ..."""
        return PurePosixPath(self.source).parent.parent.parent


def read(path: Path, folder: Path) -> Report | None:
    """Read a file of `folder`; None if it is no report that can be read.

    Raises
    ------
    ReportError
        If it is one by its name or title, but cannot be understood.
    """
    parser = next((parser for ending, parser in _BY_NAME.items() if path.name.endswith(ending)), None)
    if parser is None and path.suffix != ".rpt":
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    if parser is None:
        titles = text[:_TITLE_WITHIN].splitlines()
        parser = next((parser for title, parser in _BY_TITLE.items() if title in titles), None)
    if parser is None:
        return None
    source = path.relative_to(folder).as_posix()
    values = parser(text, source)
    if isinstance(values, CSimulation | CoSimulation):
        return Report(source, "Vitis HLS or Vivado HLS", None, "simulated", None, True, values)
    if isinstance(values, CSynthesis):
        top = path.name == "csynth.xml"
        return Report(source, _hls(values.version), values.part, "estimated", values.function, top, values)
    design = values.design
    stage = design.stage or {"synth": "synthesised", "impl": "routed"}.get(path.name.split("_")[0])
    return Report(source, f"Vivado {design.version}", design.part, stage, design.name, True, values)


def _hls(version: str) -> str:
    """Name the HLS tool of a version: Vivado HLS ended with 2020.1."""
    return f"{'Vivado' if version <= '2020.1' else 'Vitis'} HLS {version}"


def import_reports(folder: Path) -> list[Report]:
    """Read every report below a folder, in the order of their names.

    A C-synthesis is read from its XML; from its text only where there is none.

    Raises
    ------
    ReportError
        If a report cannot be understood; the message names the file, the line, and what was expected.
    UserError
        If the folder is missing, or without reports.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one that holds a project and its tools' reports")
    found, problems = _read_all(folder)
    if problems:
        raise problems[0]
    if not found:
        raise UserError(
            f"{folder}: no reports in it; looked for *_csim.log, *csynth.xml, *_csynth.rpt, *_cosim.rpt, and Vivado's"
            " utilization, timing summary and power (*.rpt). vendor/README.md in a project says how to make them"
        )
    return found


def reports_of(design: Design, folder: Path, without: Sequence[str] = ()) -> tuple[list[Report], list[str]]:
    """Read the reports of a design below a folder, and find what is wrong with them.

    Parameters
    ----------
    design : Design
    folder : Path
    without : sequence of str
        Files and folders, relative to `folder`, that are left out.

    Returns
    -------
    reports : list of Report
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
    problems += [f"{report.source}: the simulation failed" for report in own if not passed(report)]
    return own, problems


def _is_of(design: Design, report: Report) -> bool:
    """Tell whether a report may be of a design; some write the part without its speed grade or its dashes."""

    def plain(part: str) -> str:
        return part.lower().replace("-", "").replace("_", "")

    named = not report.top or report.module in (None, design.top)
    return named and (report.target is None or plain(design.part).startswith(plain(report.target)))


def passed(report: Report) -> bool:
    """Tell whether a report is not one of a simulation that failed."""
    match report.values:
        case CSimulation(errors=errors, wrong=wrong):
            return not errors and not wrong
        case CoSimulation(passed=passed):
            return passed
    return True


def _read_all(folder: Path, without: Sequence[str] = ()) -> tuple[list[Report], list[ReportError]]:
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
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)  # the tools' drafts lie there
        superseded = path.name.endswith("_csynth.rpt") and path.with_suffix(".xml").is_file()
        if path.is_file() and not path.is_symlink() and not hidden and not superseded:
            yield path


def _completed(found: Iterable[Report]) -> Iterator[Report]:
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


def neutral(found: Iterable[Report]) -> dict[str, list[dict[str, Any]]]:
    """Arrange reports by what they tell, JSON-ready.

    Every entry has ``provenance`` ("vendor") and the attributes ``source``, ``tool``, ``target``, ``stage``,
    ``module`` and ``top`` of :class:`Report`.

    Returns
    -------
    dict of list of dict
        ``simulation``: ``passed``, and ``vectors`` (None if the log does not tell).
        ``resources``: the attributes of :class:`xnorflow.hls.vendor.text.Resources`.
        ``latency``, in cycles: ``latency_min``, ``latency_avg``, ``latency_max``, ``interval_min``, ``interval_avg``,
        ``interval_max``; an average is None before simulation.
        ``timing``: ``clock_ns`` (asked for), ``fmax_mhz``; ``wns_ns`` and ``whs_ns``, None before Vivado.
        ``power``: ``total_w``, ``dynamic_w``, ``static_w``, ``confidence``, ``activity``.
    """
    told: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind in ("simulation", "resources", "latency", "timing", "power")
    }
    for report in found:
        values = report.values
        about = {name: getattr(report, name) for name in ("source", "tool", "target", "stage", "module", "top")}
        about["provenance"] = "vendor"
        match values:
            case CSimulation():
                told["simulation"].append({**about, "passed": passed(report), "vectors": values.vectors})
            case CoSimulation():
                told["simulation"].append({**about, "passed": values.passed, "vectors": None})
                if values.passed and values.latency_max is not None:
                    told["latency"].append({**about, **_cycles(values)})
            case CSynthesis():
                told["resources"].append({**about, **asdict(values.resources)})
                told["latency"].append({**about, **_cycles(values)})
                clocks = {"clock_ns": values.clock_target_ns, "fmax_mhz": values.fmax_mhz}
                told["timing"].append({**about, **clocks, "wns_ns": None, "whs_ns": None})
            case Utilisation():
                told["resources"].append({**about, **asdict(values.resources)})
            case Timing():
                clocks = {"clock_ns": values.clock_ns, "fmax_mhz": values.fmax_mhz}
                told["timing"].append({**about, **clocks, "wns_ns": values.wns_ns, "whs_ns": values.whs_ns})
            case Power():
                figures = asdict(values)
                del figures["design"]
                told["power"].append({**about, **figures})
    return told


def _cycles(values: CSynthesis | CoSimulation) -> dict[str, float | None]:
    return {
        f"{what}_{which}": getattr(values, f"{what}_{which}", None)
        for what in ("latency", "interval")
        for which in ("min", "avg", "max")
    }
