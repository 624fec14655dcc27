"""What each step tells of its result: the names of the steps, and the records of their facts.

Facts are JSON, as the report is, so that most of them are its own records. :class:`xnorflow.flows.cache.Store` checks
what it keeps against these, and takes nothing that does not fit: so this file, and that of the report's records, are
in no step's key.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from xnorflow.flows.cache import MEASURED
from xnorflow.flows.graph import Name
from xnorflow.hls.vendor.steps import JobDesign
from xnorflow.reports.findings import Finding
from xnorflow.reports.records import (
    AsicRow,
    Compared,
    ConversionRow,
    CoverageRow,
    Deviation,
    EstimatedEnergy,
    HlsRow,
    KeptVector,
    LayerRow,
    Meaning,
    Memory,
    NetworkInput,
    PrecisionRecall,
    RoundedWeights,
    RtlRow,
    Search,
    SpreadRow,
    SynthesisRow,
    VendorStep,
)

_CONFIG = ConfigDict(extra="forbid")
_Seconds = Annotated[float, MEASURED]


@with_config(_CONFIG)
class NoFacts(TypedDict):
    """Of a step that leaves files alone."""


@with_config(_CONFIG)
class NotesFacts(TypedDict):
    """A network that was converted to be looked at."""

    notes: list[str]


@with_config(_CONFIG)
class LoadFacts(TypedDict):
    """The vectors that a flow starts from."""

    dataset: str
    note: str
    dataset_digest: str | None
    all: bool
    """Whether all images were asked for, so that further vectors come on top."""


@with_config(_CONFIG)
class FoldFacts(TypedDict):
    """The canonical Network."""

    digest: str
    model_digest: Annotated[str, MEASURED]
    """Of the model's file; another file may make the same Network."""
    input: NetworkInput
    layers: list[LayerRow]
    memory: Memory
    ambiguous: int | None
    """Scores that could decide otherwise than the framework's, see :func:`xnorflow.reports.measures.ambiguous`."""
    conversion: ConversionRow
    rounded: list[RoundedWeights]


@with_config(_CONFIG)
class RtlFacts(TypedDict):
    """The generated RTL, or why there is none."""

    unsupported: str | None
    made: RtlRow | None


@with_config(_CONFIG)
class VectorsFacts(TypedDict):
    """The vectors that every engine runs."""

    count: int
    images: int
    random: int
    directed: int
    ended: Search
    digest: str


@with_config(_CONFIG)
class GoldenFacts(TypedDict):
    """What the golden model computes."""

    vectors: int
    images: int
    right: int | None
    """Images that are classified as labelled; None where no class is known."""
    meaning: Meaning
    kept: list[KeptVector]
    """Vectors whose every layer is kept."""
    outputs: str
    """Digest of the outputs of vectors that are always the same."""
    confusion: list[list[int]] | None
    precision_recall: PrecisionRecall | None
    seconds: _Seconds


@with_config(_CONFIG)
class BuildFacts(TypedDict):
    """What an engine builds."""

    about: str | None
    estimate: HlsRow | None
    seconds: _Seconds


@with_config(_CONFIG)
class MeasuredCycles(TypedDict):
    """Clock cycles that a simulation has counted."""

    latency: SpreadRow
    interval: SpreadRow | None
    """None of a single frame."""


@with_config(_CONFIG)
class RunFacts(TypedDict):
    """An engine's run."""

    vectors: int
    cycles: MeasuredCycles | None
    layerwise: int
    """Vectors of which every layer is known that the engine shows."""
    detail: str | None
    seconds: _Seconds


@with_config(_CONFIG)
class EnergyFacts(EstimatedEnergy):
    """The dynamic energy of an inference."""


@with_config(_CONFIG)
class SynthesisFacts(TypedDict):
    """What open tools make of the RTL."""

    targets: list[SynthesisRow]
    asic: list[AsicRow]


@with_config(_CONFIG)
class DoneStep(VendorStep):
    """A step of a vendor's job, and what it leaves."""

    outputs: list[str]


@with_config(_CONFIG)
class VendorFacts(TypedDict):
    """A vendor's job; without steps where there is no project."""

    design: JobDesign | None
    steps: list[DoneStep]


@with_config(_CONFIG)
class CompareFacts(TypedDict):
    """Every engine beside the golden model."""

    engines: dict[str, Compared]
    deviation: Deviation | None


@with_config(_CONFIG)
class ReportFacts(TypedDict):
    """What a flow ends with."""

    verdict: Literal["pass", "fail"]
    rtl: RtlRow | None
    findings: list[Finding]


LOAD = Name("load", LoadFacts)
FOLD = Name("fold", FoldFacts)
RTL = Name("rtl", RtlFacts)
VECTORS = Name("vectors", VectorsFacts)
GOLDEN = Name("golden", GoldenFacts)
BENCH = Name("bench", NoFacts)
ACTIVITY = Name("activity", NoFacts)
ENERGY = Name("energy", EnergyFacts)
SYNTHESIS = Name("synthesis", SynthesisFacts)
COMPARE = Name("compare", CompareFacts)
COVERAGE = Name("coverage", CoverageRow)
REPORT = Name("report", ReportFacts)
