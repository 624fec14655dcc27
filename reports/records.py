"""The records that a report is made of.

A report is JSON, so its records are typed dictionaries: what makes and what shows them is checked by mypy.
:mod:`xnorflow.reports.schema` says the same to others.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config
from pydantic.config import JsonDict
from typing_extensions import NotRequired, TypedDict  # pydantic asks for this one before Python 3.12

from xnorflow.hls.vendor.figures import VendorFigures

_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(ge=0)]
_Positive = Annotated[int, Field(ge=1)]
_NotNegative = Annotated[float, Field(ge=0)]
_Above0 = Annotated[float, Field(gt=0)]
_Text = Annotated[str, Field(min_length=1)]
_Part = Annotated[float, Field(ge=0, le=1)]
_Share = _Part | None
_Seconds = _NotNegative | None
_Shape = Annotated[list[_Positive], Field(min_length=1)]
Resource = Literal["lut", "lutram", "ff", "carry", "bram", "dsp"]
Meaning = Literal["class", "score", "values"]
Required = Literal[
    "latency_ns", "images_per_second", "clock_mhz", "lut", "bram", "power_mw", "energy_nj", "accuracy", "coverage"
]
Search = Literal["goal", "number", "vain", "budget"]
_Provenance = Literal["simulated", "placed-and-routed", "synthesised", "vendor", "estimated"]

_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def _told(passed: JsonDict, of: tuple[str, ...] = ("pass",)) -> ConfigDict:
    """Demand what is in `passed` of a record whose status is one of `of`, and a reason of every other one."""
    rule: JsonDict = {
        "if": {"properties": {"status": {"enum": list(of)}}},
        "then": {"properties": passed},
        "else": {"properties": {"reason": {"type": "string", "minLength": 1}}},
    }
    return _CONFIG | ConfigDict(json_schema_extra=rule)


@with_config(_CONFIG)
class SpreadRow(TypedDict):
    """Clock cycles over all measured frames."""

    minimum: _Count
    median: _NotNegative
    maximum: _Count


@with_config(_CONFIG)
class ResourceRow(TypedDict):
    """What is taken of an FPGA.

    Lut is all look-up tables, also those used as memories or shift registers, of which there are lutram.
    """

    name: NotRequired[str]
    """Layer."""
    lut: _Count
    ff: _Count
    carry: _Count
    lutram: _Count
    bram: _Count
    dsp: _Count


@with_config(_CONFIG)
class AreaRow(TypedDict):
    """Cells of an ASIC, the flip-flops among them, and their area."""

    name: NotRequired[str]
    """Layer."""
    cells: _Count
    flip_flops: _Count
    area_um2: _NotNegative
    gates: _NotNegative


@with_config(_CONFIG)
class PackedArray(TypedDict):
    """Integers, see reports/arrays.py."""

    shape: list[_Count]
    type: Literal["bits", "int32", "int64"]
    data: str


@with_config(_CONFIG)
class SourceRow(TypedDict):
    """The model's file."""

    kind: Literal["checkpoint", "network", "keras", "onnx", "module", "brevitas", "bnn_pynq"]
    path: str
    digest: _Digest


@with_config(_CONFIG)
class Inputs(TypedDict):
    """The vectors."""

    dataset: str
    count: _Count
    digest: _Digest
    """Of the vectors."""
    images: _Count
    random: _Count
    directed: _Count
    """Made to show faults that the others do not show."""
    note: str
    dataset_digest: _Digest | None


@with_config(_CONFIG)
class FaultCount(TypedDict):
    """Single small faults in the network, and how many of them were shown."""

    faults: _Count
    redundant: _NotNegative
    """Proved to be shown by no input."""
    shown: _NotNegative
    share: _Part
    """Shown / (faults - redundant)."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    """Of the share, at 95 % confidence, where faults were drawn; null where all were simulated."""


@with_config(_CONFIG)
class EngineCoverage(FaultCount):
    """What an engine's comparison would have shown."""

    name: str
    vectors: _Count


@with_config(_CONFIG)
class LayerCoverage(FaultCount):
    """What was shown of a layer's faults."""

    name: str
    engines: dict[str, _Part]
    """Each engine's share."""


@with_config(_CONFIG)
class WeakChannel(TypedDict):
    """A channel with faults that were not shown, of those simulated."""

    layer: str
    channel: _Count
    missed: _Count
    faults: _Count


@with_config(_CONFIG)
class FoundCoverage(FaultCount):
    """What the engine that shows most would have shown, and the others."""

    engine: str
    engines: list[EngineCoverage]
    layers: list[LayerCoverage]
    weakest: list[WeakChannel]


@with_config(_CONFIG)
class CoverageRow(TypedDict):
    """How much the vectors prove."""

    refusal: str | None
    """Why there is none."""
    search: Search
    """Why no more directed vectors were made: enough is shown, as many as asked for, none more helps, or the budget."""
    found: FoundCoverage | None


@with_config(_CONFIG)
class PrecisionRecall(TypedDict):
    """Precision and recall of two classes by one score."""

    positives: _Positive
    threshold: int
    """The smallest score that the network takes for class 1."""
    average_precision: Annotated[float, Field(ge=0, le=1)]
    points: Annotated[list[Annotated[list[int], Field(min_length=3, max_length=3)]], Field(min_length=1)]


@with_config(_CONFIG)
class Accuracy(TypedDict):
    """How many test images are classified rightly."""

    golden: _Share
    """Measured by this flow."""
    golden_count: _Count
    golden_dataset: str | None
    confusion: list[list[_Count]] | None
    """Images by label (row) and class that the golden model gives (column)."""
    precision_recall: PrecisionRecall | None
    """Of two classes by one score; points by falling score: a threshold, images of class 1 that reach it, images of
    class 0 that do.
    """
    recorded: _Share
    """As the checkpoint says, not measured here."""
    recorded_count: int | None
    recorded_dataset: str | None


@with_config(_CONFIG)
class Decision(TypedDict):
    """Whether what integer scores decide is what the framework decides."""

    of: Meaning
    claim: Literal["proved", "measured", "unknown", "rounded"]
    vectors: _Count
    ambiguous: _Count | None


@with_config(_CONFIG)
class RoundedWeights(TypedDict):
    """How a layer's weights are rounded."""

    name: str
    bits: Annotated[int, Field(ge=2, le=16)]
    step: float
    bound: _NotNegative


@with_config(_CONFIG)
class RoundedLayer(RoundedWeights):
    """A layer whose weights are rounded."""

    measured: _NotNegative | None


@with_config(_CONFIG)
class DifferentSigns(TypedDict):
    """Signs of a layer that differ from the trained model's."""

    name: str
    different: _Count
    of: _Count


@with_config(_CONFIG)
class DifferentClasses(TypedDict):
    """Classes that differ from the trained model's."""

    different: _Count
    of: _Count
    allowed: _Share


@with_config(_CONFIG)
class RoundedAccuracy(TypedDict):
    """Accuracy of the trained model, and of the network with rounded weights."""

    trained: _Share
    rounded: _Share
    images: _Count


@with_config(_CONFIG)
class Deviation(TypedDict):
    """How far a network of rounded weights is from the trained model."""

    layers: Annotated[list[RoundedLayer], Field(min_length=1)]
    """In the trained model's units: step, what an integer of its sums stands for at most; bound, how far they are from
    the trained model's for its operands, proved; measured, by how much the rounding of weights changes them on the
    first vectors, null of a layer that has none.
    """
    vectors: _Count
    """On which is measured."""
    by: str | None
    """The engine that is the trained model."""
    signs: list[DifferentSigns]
    classes: DifferentClasses | None
    """Allowed: the share that may differ."""
    accuracy: RoundedAccuracy | None


@with_config(_CONFIG)
class ConversionRow(TypedDict):
    """What a front end has to say."""

    notes: list[str]
    ambiguous: dict[str, _Count]


@with_config(_CONFIG)
class ComparedLayer(TypedDict):
    """A layer that was compared."""

    vectors: _Count
    mismatches: _Count


@with_config(_CONFIG)
class TermRow(TypedDict):
    """What an accumulator adds up: factor * (plus - minus)."""

    factor: int
    plus: _Count
    minus: _Count


@with_config(_CONFIG)
class AccumulatorWindow(TypedDict):
    """How the golden model comes to the expected integer."""

    layer: str
    index: list[_Count]
    inputs: PackedArray
    weights: PackedArray
    terms: list[TermRow]
    accumulator: int
    got: int | None
    then: list[str]


@with_config(_CONFIG)
class FirstMismatch(TypedDict):
    """The first integer that differs."""

    vector: _Count
    layer: str
    channel: _Count
    index: list[_Count]
    expected: int
    got: int
    how: str
    replay: str
    """File beside the report with the inputs and every layer's results."""
    window: AccumulatorWindow | None
    """How the golden model comes to the expected integer; each term adds factor * (plus - minus)."""


_OfRounded = Field(
    description="Agrees: the trained model beside a network of rounded weights, whose classes differ on as few vectors "
    "as allowed; these are its mismatches."
)
_Observed = Field(description="What was compared with golden, layer by layer; one that is not here was not observed.")


@with_config(_CONFIG)
class Compared(TypedDict):
    """An engine's results beside the golden model's."""

    status: Annotated[Literal["pass", "fail", "skipped", "agrees"], _OfRounded]
    vectors: _Count
    mismatches: _Count
    reason: str | None
    layers: Annotated[dict[str, ComparedLayer], _Observed]
    first_mismatch: FirstMismatch | None


@with_config(_told({"mismatches": {"const": 0}, "vectors": {"minimum": 1}}))
class EngineRow(Compared):
    """What an engine computed, compared with the golden model."""

    title: str
    seconds: _Seconds
    """Of the run over all vectors."""
    build_seconds: _Seconds
    """Of writing and compiling the project."""
    project: str | None
    """Folder."""
    waveform: str | None
    """File beside the report: of the vectors that went wrong, or of the run if that was asked for."""


@with_config(_CONFIG)
class NetworkInput(TypedDict):
    """The network's input."""

    name: str
    shape: _Shape
    kind: Literal["bipolar", "unsigned", "signed"]
    bits: _Positive


@with_config(_CONFIG)
class LayerRow(TypedDict):
    """An operation of the network."""

    name: str
    kind: str
    operands: Annotated[list[str], Field(min_length=1)]
    """Names."""
    inputs: _Shape
    outputs: _Shape
    weight_bits: _Count
    xnor_ops: _Count
    """One-bit products per vector."""
    accumulator_bits: _Positive | None


@with_config(_CONFIG)
class SampledLayer(TypedDict):
    """What a layer gives for a vector."""

    name: str
    values: PackedArray


# A vector's number, the class that the golden model gives, and the label
KeptVector = TypedDict("KeptVector", {"vector": _Count, "class": _Count | None, "label": int | None})  # a keyword
KeptVector.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined]


@with_config(_CONFIG)
class Sample(KeptVector):
    """A vector with every layer's bits."""

    layers: list[SampledLayer]


@with_config(_CONFIG)
class Memory(TypedDict):
    """Bits of the weights."""

    binary_bits: _Count
    float32_bits: _Count
    ratio: _Above0
    formula: str


@with_config(_CONFIG)
class RtlUnit(TypedDict):
    """A module of the RTL."""

    name: str
    layer: str
    interval: _Count
    luts: _Count
    """Estimated."""
    frames: list[Annotated[list[_Count], Field(min_length=2, max_length=2)]]


@with_config(_CONFIG)
class PrunedRow(TypedDict):
    """What was left out of a layer."""

    neurons: _Count
    inputs: _Count


@with_config(_CONFIG)
class RtlLayer(TypedDict):
    """A layer as the RTL has it."""

    name: str
    neurons: _Count
    inputs: _Count
    vectors: _Count
    architecture: str
    cycles: _Count
    luts: _Count
    """Estimated."""
    memory_bits: _Count


@with_config(_CONFIG)
class RtlRow(TypedDict):
    """The generated RTL; cycles are those of its exact model, which a simulation must meet."""

    goal: str
    """What the foldings were chosen by."""
    clock_ns: _Above0
    latency: _Count
    interval: _Count
    units: list[RtlUnit]
    """Interval: cycles per frame that each module would take alone; frames: for the first ones, back to back, the
    cycles in which they come into the module and leave it.
    """
    luts: _Count
    """Estimated."""
    pruned: dict[str, PrunedRow]
    """By layer: constant neurons, and inputs without a use, that were left out."""
    layers: list[RtlLayer]


@with_config(_CONFIG)
class HlsLayer(TypedDict):
    """A loop of the packed hls4ml project."""

    name: str
    config: str
    """Structure of its numbers in parameters.h, which HLS tools put into the name of its module."""
    folding: str | None
    """Of a layer with weights."""
    cycles: _Count
    """Per frame."""
    luts: _Count
    memory_bits: _Count


@with_config(_CONFIG)
class HlsPrice(TypedDict):
    """A constant of the estimate, and what it rests on."""

    name: _Text
    value: float
    unit: _Text
    source: _Text


@with_config(_CONFIG)
class HlsRow(TypedDict):
    """What the packed hls4ml project is expected to take; no vendor's tool was asked."""

    part: str
    io_type: Literal["io_parallel", "io_stream"]
    clock_ns: _Above0
    """Asked for."""
    goal: str
    """What the foldings were chosen by."""
    latency: _Count
    interval: _Count
    luts: _Count
    """Of six inputs."""
    memory_bits: _Count
    layers: Annotated[list[HlsLayer], Field(min_length=1)]
    notes: list[_Text]
    """What could not be had, and what is large for a tool."""
    formula: _Text
    constants: Annotated[list[HlsPrice], Field(min_length=1)]
    provenance: Literal["estimated"]


@with_config(_CONFIG)
class Latency(TypedDict):
    """Cycles of the frames that were simulated."""

    source: str
    frames: _Count
    latency: SpreadRow
    interval: SpreadRow | None
    clock_ns: _Above0 | None
    """Assumed where nothing was placed and routed."""
    provenance: _Provenance


@with_config(_CONFIG)
class EnergyTerm(TypedDict):
    """A term of the energy."""

    name: str
    count: _NotNegative
    picojoules_each: _NotNegative
    picojoules: _NotNegative
    source: _Text


@with_config(_CONFIG)
class TargetPower(TypedDict):
    """Power on a device at a rate."""

    target: str
    device: str | None
    static_mw: _Above0 | None
    dynamic_pj: _NotNegative
    images_per_second: _Above0
    power_mw: _Above0 | None
    energy_nj: _Above0 | None
    sources: Annotated[list[_Text], Field(min_length=1)]
    formula: str
    provenance: Literal["estimated"]


@with_config(_CONFIG)
class EstimatedEnergy(TypedDict):
    """Dynamic energy of an inference, of no target in particular."""

    source: str
    frames: _Positive
    images: _Count
    picojoules: _NotNegative
    low: _NotNegative
    high: _NotNegative
    terms: Annotated[list[EnergyTerm], Field(min_length=1)]
    formula: str
    uncertainty: Annotated[float, Field(ge=1)]
    provenance: Literal["estimated"]


@with_config(_CONFIG)
class Energy(EstimatedEnergy):
    """Dynamic energy of an inference."""

    targets: list[TargetPower]
    """Power at a rate; static power, and what needs it, is null where no data sheet is known."""


@with_config(_CONFIG)
class Prediction(TypedDict):
    """A figure of the RTL's models, and what was measured."""

    what: str
    predicted: _Count
    measured: _NotNegative
    by: str
    provenance: _Provenance


@with_config(_CONFIG)
class BaselineRow(TypedDict):
    """A figure of the baseline."""

    what: str
    before: str | float | None
    now: str | float | None


@with_config(_CONFIG)
class Baseline(TypedDict):
    """The model's committed baseline."""

    file: str
    target: str | None
    """Of the synthesised figures in it."""
    rows: list[BaselineRow]


@with_config(_CONFIG)
class UsageRow(TypedDict):
    """A resource of a device."""

    name: str
    used: _Count
    available: _Count


@with_config(_CONFIG)
class PathStep(TypedDict):
    """A step of the critical path."""

    layer: str
    signal: str
    logic_ns: float
    routing_ns: float


@with_config(_told({"fmax_mhz": {"type": "number"}}))
class PlacementRow(TypedDict):
    """The design placed and routed."""

    status: Literal["pass", "fail", "skipped", "unfit", "unrouted"]
    reason: str | None
    provenance: Literal["placed-and-routed"]
    tool: str | None
    device: str | None
    usage: list[UsageRow]
    fmax_mhz: _Above0 | None
    latency_ns: _Above0 | None
    """At that frequency, cycles by the exact model."""
    images_per_second: _Above0 | None
    critical_path: list[PathStep]
    bitstream: str | None
    """File beside the report; for no board, since the tool chose the pins."""
    pins: str | None
    """File beside the report: which pin the tool chose for each port."""
    no_bitstream: str | None
    """Why there is none."""


@with_config(_CONFIG)
class ClockRow(TypedDict):
    """Whether the clock that was asked for is met."""

    met: bool
    period_ns: _Above0
    """The shortest."""
    wanted_ns: _Above0
    path: str
    """The slowest, in names of the Verilog."""
    source: str
    provenance: Literal["estimated", "placed-and-routed"]


@with_config(_told({"total": {"type": "object"}, "layers": {"minItems": 1}}))
class SynthesisRow(TypedDict):
    """What an open tool made of the RTL, for a target."""

    target: str
    title: str
    lut_inputs: Literal[4, 6]
    bram_unit: str
    bram_kib: _Positive
    """Size of such a block in kibibits."""
    status: Literal["pass", "fail", "skipped"]
    reason: str | None
    provenance: Literal["synthesised"]
    tool: str | None
    total: ResourceRow | None
    layers: list[ResourceRow]
    combined_luts: _Count | None
    """An estimate: look-up tables in all where two that read the same share one; None where they cannot."""
    placement: PlacementRow | None
    clock: ClockRow | None


@with_config(_CONFIG)
class RequirementRow(TypedDict):
    """What the user requires, and the best figure that there is."""

    what: Required
    limit: _Above0
    found: float | None
    provenance: str | None
    source: str | None
    status: Literal["pass", "fail", "unknown"]
    reason: _Text


@with_config(_told({"slack_ns": {"type": "number"}, "fmax_mhz": {"type": "number"}}, of=("pass", "unmet")))
class AsicTiming(TypedDict):
    """Timing of an ASIC, before placement."""

    status: Literal["pass", "fail", "skipped", "unmet"]
    reason: str | None
    provenance: Literal["synthesised"]
    tool: str | None
    slack_ns: float | None
    fmax_mhz: _Above0 | None
    path: list[str]
    """Cells of the slowest path."""


@with_config(_CONFIG)
class LayerPower(TypedDict):
    """A layer's power."""

    name: str
    watts: float


@with_config(_told({"total_w": {"type": "number"}}))
class AsicPower(TypedDict):
    """Power of an ASIC, before placement."""

    status: Literal["pass", "fail", "skipped"]
    reason: str | None
    provenance: Literal["synthesised"]
    tool: str | None
    frames: _Positive | None
    """Whose switching it is."""
    nets: _Count | None
    """Whose switching the simulation tells."""
    total_w: _NotNegative | None
    groups: dict[str, _NotNegative]
    layers: list[LayerPower]


@with_config(_told({"total": {"type": "object"}, "layers": {"minItems": 1}, "folder": {"type": "string"}}))
class AsicRow(TypedDict):
    """The RTL as an ASIC, before placement."""

    library: str
    folder: str | None
    """With netlist, constraints and a start for a physical flow."""
    clock_ns: _Above0
    status: Literal["pass", "fail", "skipped", "unfit"]
    reason: str | None
    provenance: Literal["synthesised"]
    tool: str | None
    gate: str | None
    total: AreaRow | None
    layers: list[AreaRow]
    timing: AsicTiming | None
    power: AsicPower | None


@with_config(_told({"tool": {"type": "string"}}))
class VendorStep(TypedDict):
    """A step of a vendor's job."""

    name: str
    status: Literal["pass", "fail", "skipped"]
    reason: str | None
    tool: str | None
    seconds: _Seconds
    log: str
    """Inside the folder."""


@with_config(_CONFIG)
class VendorJob(TypedDict):
    """A job of the vendor's tools."""

    job: Literal["hls4ml_stock", "hls4ml_packed", "rtl"]
    folder: str
    """With the scripts."""
    status: Literal["pass", "fail", "skipped"]
    steps: Annotated[list[VendorStep], Field(min_length=1)]
    problems: list[_Text]
    """With the reports: of another design, unreadable, or of a simulation that failed."""
    figures: VendorFigures


@with_config(_CONFIG)
class StepRow(TypedDict):
    """A step of the flow."""

    name: str
    seconds: _Seconds
    summary: str


@with_config(_CONFIG)
class ReportRow(TypedDict):
    """The report of a flow."""

    schema_version: Literal[3]
    created: str
    """UTC, ISO 8601."""
    model: _Text
    description: str
    network_digest: _Digest
    source: SourceRow
    verdict: Literal["pass", "fail"]
    """Pass: every engine that ran gave golden's integers, at least one did, no tool failed, and no requirement is
    known to be unmet.
    """
    inputs: Inputs
    accuracy: Accuracy
    coverage: CoverageRow
    argmax: Decision
    """Whether what integer scores decide (of: the class; the sign of a single score; or nothing, of other values) is
    the framework's: proved for every accumulator, measured on the vectors, unknown, or not so for weights are
    rounded (see deviation).
    """
    deviation: Deviation | None
    """How far a network of rounded weights is from the trained model; null where it is exact."""
    conversion: ConversionRow
    """What a front end has to say: what it left out, and by threshold the (channel, accumulator) pairs whose sign
    depends on how the framework rounds its sums.
    """
    engines: Annotated[dict[str, EngineRow], Field(min_length=1)]
    input: NetworkInput
    layers: list[LayerRow]
    samples: list[Sample]
    """A few vectors: what golden makes of them, layer by layer as far as it is bits, and the scores."""
    memory: Memory
    rtl: RtlRow | None
    """The generated RTL; cycles are those of its exact model, which a simulation must meet."""
    hls: HlsRow | None
    """The packed hls4ml project, by the estimate's formulas; null where there is none."""
    latency: list[Latency]
    """From a frame's first beat in to its last beat out, and between the last beats of successive frames."""
    energy: Energy | None
    """Dynamic energy of an inference; count and picojoules are per inference, images tells how many of the frames were
    test images.
    """
    predicted: list[Prediction]
    """What the RTL's models predict (cycles exactly, LUTs of six inputs by estimate, memory in LUTs among them) and
    what was measured, by an engine or by synthesis for a target with such LUTs.
    """
    baseline: Baseline | None
    """The model's committed baseline and what the flow has found, null where one lacks it."""
    synthesis: list[SynthesisRow]
    """What open tools made of the RTL, each layer apart; the numbers are synthesised, those of a placement placed-and-
    routed.
    """
    requirements: list[RequirementRow]
    """What the user requires, held against the best figure that there is, or one of the provenance demanded."""
    asic: list[AsicRow]
    """The RTL as an ASIC of the cells of a Liberty file, each layer apart, before placement: no wires, no clock tree;
    gates: area in the library's smallest NAND of two inputs (gate); power with the switching of the netlist's
    simulation.
    """
    vendor: list[VendorJob]
    """The vendor's tools: jobs with their steps, and the figures of all reports that lie in the folder of a job, made
    here or brought back.
    """
    steps: list[StepRow]
    """In order; seconds as measured when the step ran, which may have been in an earlier flow."""
    tools: Annotated[dict[str, str], Field(min_length=1)]
