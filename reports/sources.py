"""Where each number of a report comes from: what is shown when a number is touched, and printed as a table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xnorflow.reports.records import FoundCoverage, ReportRow


@dataclass(frozen=True)
class Source:
    """Of one number, or of one kind of numbers.

    Attributes
    ----------
    what : str
        The number.
    provenance : str
        In a word: one of the schema's, or "measured" (by this flow), "quoted" (from a file), "exact" (follows from the
        Network or the cycle model alone).
    how : str
        The tool, the file or the formula.
    """

    what: str
    provenance: str
    how: str

    def __str__(self) -> str:
        return f"{self.what}: {self.provenance}. {self.how}"


def sources(report: "ReportRow") -> dict[str, Source]:
    """Return the sources of a report's numbers by the names that the templates know them by."""
    inputs, accuracy, rtl = report["inputs"], report["accuracy"], report["rtl"]
    found = {
        "model": Source("Model", "quoted", f"{report['source']['path']}, SHA-256 {report['source']['digest'][:16]}…"),
        "vectors": Source("Vectors", "exact", f"{inputs['images']:,} images of {inputs['dataset']}, {inputs['note']}; "
                          f"{inputs['random']:,} random, {inputs['directed']:,} directed"),
        "exactness": Source("Mismatches", "measured", "integers of every engine compared with the golden model's, for "
                            "equality; layers inside a network on the vectors that the grid names"),
        "speed": Source("Vectors per second", "measured", "wall-clock time on this machine, compiling left out"),
        "build": Source("Compiled in", "measured", "wall-clock time on this machine"),
        "recorded": Source("Accuracy, recorded", "quoted", f"the checkpoint, not measured here: "
                           f"{accuracy['recorded_count'] or 0:,} images of {accuracy['recorded_dataset']}"),
        "layers": Source("Shapes, bits and products of layers", "exact", "counted in the Network; an input of b bits "
                         "is b one-bit products, a weight that may be 0 has a mask bit"),
        "memory": Source("Memory", "exact", report["memory"]["formula"]),
        "samples": Source("Layers' bits", "measured", "the golden model's results"),
        "steps": Source("Times of stages", "measured", "wall-clock time of the run that made the result"),
    }  # fmt: skip
    if report["coverage"]["found"]:
        found["coverage"] = _coverage(report["coverage"]["found"])
    if report["deviation"]:
        found["deviation"] = Source("Deviation from the trained model", "measured", "bounds are proved: interval "
                                    "arithmetic over the range of each operand, the framework's rounding included; the "
                                    "rest is measured on the vectors")  # fmt: skip
    if accuracy["golden"] is not None:
        how = f"the golden model on {accuracy['golden_count']:,} images of {accuracy['golden_dataset']}"
        found["accuracy"] = Source("Accuracy", "measured", how)
    if accuracy["confusion"]:
        how = f"the golden model on {accuracy['golden_count']:,} images of {accuracy['golden_dataset']}"
        found["confusion"] = Source("Confusion matrix", "measured", how)
    if accuracy["precision_recall"]:
        how = f"scores of the golden model on {accuracy['golden_count']:,} images of {accuracy['golden_dataset']}"
        found["precision_recall"] = Source("Precision and recall", "measured", how)
    if rtl:
        met = sorted({row["by"] for row in report["predicted"] if "cycles" in row["what"]})
        how = f"the RTL's cycle model, which {' and '.join(met)} met" if met else "the RTL's cycle model, not simulated"
        found |= {
            "cycles": Source("Cycles of the RTL's layers", "exact", how),
            "pipeline": Source("Frames in the pipeline", "exact", how),
            "rtl_luts": Source("LUTs of the RTL's layers", "estimated", "a formula per unit, to choose foldings by"),
            "predicted_cycles": Source("Cycles, predicted and measured", "simulated", "the RTL's cycle model beside "
                                       "the engine that is named; latency is that of the frame that met no other"),
            "predicted_luts": Source("LUTs, predicted and measured", "synthesised", "a formula per unit, estimated, "
                                     "beside what the tool that is named has made"),
        }  # fmt: skip
    if report["hls"]:
        found["hls"] = Source("hls4ml project", report["hls"]["provenance"], report["hls"]["formula"])
    for row in sorted(report["latency"], key=lambda row: row["frames"])[-1:]:  # the one that the summary shows
        found["latency"] = Source("Latency", row["provenance"], f"{row['source']}, {row['frames']:,} frames; "
                                  f"nanoseconds at an assumed clock of {row['clock_ns']} ns")  # fmt: skip
        found["throughput"] = Source("Throughput", row["provenance"], f"cycles between results, {row['source']}; "
                                     f"at an assumed clock of {row['clock_ns']} ns")  # fmt: skip
    for made in report["synthesis"]:
        placed = made["placement"]
        if made["total"]:
            found[f"synthesis_{made['target']}"] = Source(
                f"Resources, {made['title']}", "synthesised", f"{made['tool']}, each layer apart"
            )
        if clock := made["clock"]:
            what = f"Clock, {made['title']}"
            found[f"clock_{made['target']}"] = Source(what, clock["provenance"], clock["source"])
        if placed and placed["fmax_mhz"]:
            found[f"placement_{made['target']}"] = Source(
                f"Usage and clock, {made['title']}",
                "placed-and-routed",
                f"{placed['tool']} on {placed['device']}; latency by the cycle model at that clock",
            )
    for number, asic in enumerate(report["asic"], 1):
        by = [f"area by {asic['tool']}, from the library's cells, each layer apart"]
        told = {"timing": asic["timing"], "power": asic["power"]}
        by += [f"{what} by {of['tool']}" for what, of in told.items() if of and of["tool"]]
        found[f"asic_{number}"] = Source(f"ASIC of {asic['library']}", "synthesised", "; ".join(by))
    found["fit"] = Source("Fit on boards", "as each row says", "the RTL's resources, of what the data sheet of the "
                          "board's FPGA says it has")  # fmt: skip
    found["hardware"] = Source("Hardware at a glance", "as each row says", "the tool that is named in it; latency and "
                               "throughput are cycles at its clock")  # fmt: skip
    if report["requirements"]:
        found["requirements"] = Source("Requirements", "as each row says", "the configuration's table [require], held "
                                       "against the best figure of this report")  # fmt: skip
    if report["vendor"]:
        found["vendor"] = Source("Vendor's figures", "vendor", "the report file of the tool that is named beside each")
    if report["energy"]:
        found["energy"] = Source("Energy", report["energy"]["provenance"], f"{report['energy']['source']}: "
                                 f"{report['energy']['formula']}")  # fmt: skip
    if report["baseline"]:
        found["baseline"] = Source("Baseline", "quoted", f"{report['baseline']['file']}; the figures now as above")
    return found


def _coverage(found: "FoundCoverage") -> Source:
    drawn = "of some layers, faults were drawn" if found["interval"] else "every fault simulated, none drawn"
    how = f"single faults in the Network, by the golden model's kernels; {drawn}; those proved redundant left out"
    return Source("Coverage", "measured" if found["interval"] else "exact", how)
