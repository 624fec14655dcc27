"""What the vendor's reports tell, in records: as the project's own report has it."""

from typing import Literal

from pydantic import ConfigDict, with_config
from typing_extensions import NotRequired, TypedDict  # pydantic asks for this one before Python 3.12

Stage = Literal["simulated", "estimated", "synthesised", "placed", "routed"]
"""What figures rest on; "estimated": C-synthesis, before any netlist."""

_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@with_config(_CONFIG)
class VendorFigure(TypedDict):
    """Where a figure of the vendor's tools is from."""

    source: str
    """The report's file, inside the folder."""
    tool: str
    target: str | None
    stage: Stage | None
    module: str | None
    top: bool
    """Whether it is of the whole design, not of one of its functions."""
    provenance: Literal["vendor"]
    note: NotRequired[str | None]
    """What a reader of the figures must know."""


@with_config(_CONFIG)
class VendorSimulation(VendorFigure):
    """A simulation, of C or of RTL."""

    passed: bool | None
    vectors: int | None
    wrong: NotRequired[int | None]
    failure: str | None


@with_config(_CONFIG)
class VendorResources(VendorFigure):
    """What a design takes."""

    lut: int | None
    ff: int | None
    bram: float | None
    uram: int | None
    dsp: int | None
    carry: NotRequired[int | None]


@with_config(_CONFIG)
class VendorInstance(VendorResources):
    """What an instance of the top module takes, and what our own estimate of its layer is."""

    instance: str
    of: str
    layer: str | None
    estimated_luts: int | None


@with_config(_CONFIG)
class VendorLatency(VendorFigure):
    """Cycles; an average is known of a simulation alone."""

    latency_min: int | None
    latency_avg: float | None
    latency_max: int | None
    interval_min: int | None
    interval_avg: float | None
    interval_max: int | None


@with_config(_CONFIG)
class VendorTiming(VendorFigure):
    """The clock that was asked for, and what is reached."""

    clock_ns: float | None
    fmax_mhz: float | None
    met: bool | None
    wns_ns: float | None
    whs_ns: float | None
    wpws_ns: float | None


@with_config(_CONFIG)
class VendorPath(VendorFigure):
    """A path between registers."""

    slack_ns: float
    delay_ns: float
    levels: int
    start: str
    end: str
    start_layer: str | None
    end_layer: str | None


@with_config(_CONFIG)
class VendorPower(VendorFigure):
    """Power, and how sure the tool is of it."""

    total_w: float
    dynamic_w: float
    static_w: float
    confidence: str
    activity: str | None
    matched_percent: float | None


@with_config(_CONFIG)
class VendorFigures(TypedDict):
    """What the vendor's reports tell, by kind."""

    simulation: list[VendorSimulation]
    resources: list[VendorResources]
    hierarchy: list[VendorInstance]
    latency: list[VendorLatency]
    timing: list[VendorTiming]
    paths: list[VendorPath]
    """Least slack first."""
    power: list[VendorPower]
