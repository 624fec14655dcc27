"""The tables of a configuration file as records: which settings there are, of what type, and within what limits.

What else a setting has to fulfil (an ``io_type`` that exists, bits that go with the kind of input) is an invariant of
what is made of it: :class:`xnorflow.hls.config.HlsConfig`, :class:`xnorflow.bnn.network.Input` and their like.
"""

from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from xnorflow.bnn.errors import UserError
from xnorflow.hls import clock

_T = TypeVar("_T")

Table = dict[str, Any]
"""A table of TOML, of which no more is known."""

# A description goes into the message "NAME must be ..., got ...".
_Whole = Annotated[int, Field(description="a whole number")]
_Size = Annotated[int, Field(ge=1, lt=2**31, description="a whole number of 1 or more, of at most 31 bits")]
_Shape = Annotated[list[_Size], Field(min_length=1, description="a list of whole numbers above 0")]
_Name = Annotated[str, Field(max_length=100, description="a name")]
_Names = Annotated[list[_Name], Field(description="a list of names")]
_Path = Annotated[str, Field(min_length=1, max_length=4096)]
_Files = Annotated[list[_Path], Field(description="a list of files")]
_Job = Literal["hls4ml_stock", "hls4ml_packed", "rtl"]
_Jobs = Annotated[list[_Job], Field(description=f"a list of {', '.join(get_args(_Job))}")]
_Period = Annotated[float, Field(ge=clock.SHORTEST_NS, le=clock.LONGEST_NS, description=f"a period {clock.LIMITS}")]
_Seconds = Annotated[float, Field(gt=0, le=1e7, description="a number of seconds above 0, at most 10,000,000")]
_Rate = Annotated[float, Field(gt=0, description="a number above 0")]
_Luts = Annotated[int, Field(gt=0, lt=2**31, description="a whole number above 0, of at most 31 bits")]
_Width = Annotated[int, Field(ge=8, le=2**16, multiple_of=8, description="a multiple of 8 bits, 8 to 65,536")]
_Table = Annotated[Table, Field(description="a table")]
_Tables = Annotated[dict[str, _Table], Field(description="tables, one a layer")]

_Part = Annotated[float, Field(ge=0, le=1, description="a share of 0 to 1")]
_Layers = Annotated[dict[str, int], Field(description="a table with a whole number for each layer")]
_Provenance = Literal["vendor", "placed-and-routed", "measured", "simulated", "synthesised", "estimated", "quoted"]

_RECORD = with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))


@_RECORD
class InputTable(TypedDict, total=False):
    """Table ``input``."""

    shape: _Shape
    kind: _Name
    bits: _Whole
    fraction: _Whole


@_RECORD
class HlsTable(TypedDict, total=False):
    """Table ``hls``."""

    io_type: _Name
    part: _Name
    clock_ns: _Period
    strategy: _Name
    reuse_factor: _Size
    layers: _Tables


@_RECORD
class RtlTable(TypedDict, total=False):
    """Table ``rtl``."""

    layers: _Tables
    default: _Table
    clock_ns: _Period
    in_width: _Width
    out_width: _Width
    output: Annotated[Literal["scores", "class"], Field(description="'scores' or 'class'")]
    target_fps: _Rate
    max_luts: _Luts


@_RECORD
class SynthesisTable(TypedDict, total=False):
    """Table ``synthesis``."""

    targets: _Names
    liberty: _Files
    place_limit_s: _Seconds


@_RECORD
class VendorTable(TypedDict, total=False):
    """Table ``vendor``."""

    run: _Jobs
    limit_s: _Seconds


@_RECORD
class FixedTable(TypedDict, total=False):
    """Table ``fixed``."""

    bits: _Whole
    layers: _Layers
    classes_may_differ: _Part


@_RECORD
class Point(TypedDict, total=False):
    """A point of a sweep."""

    target_fps: _Rate
    max_luts: _Luts
    architecture: Literal["folded", "unrolled"]
    clock_ns: _Period


@_RECORD
class SweepPoints(TypedDict, total=False):
    """The points of a sweep: a grid, and single ones."""

    target_fps: Annotated[list[_Rate], Field(description="a list of numbers above 0")]
    max_luts: Annotated[list[_Luts], Field(description="a list of whole numbers above 0, of at most 31 bits")]
    architecture: Annotated[list[Literal["folded", "unrolled"]], Field(description="a list of 'folded' and 'unrolled'")]
    clock_ns: Annotated[list[_Period], Field(description=f"a list of periods {clock.LIMITS}")]
    points: Annotated[
        list[Point],
        Field(description="tables with target_fps, max_luts or architecture, and clock_ns"),
    ]
    run: Annotated[Literal["pareto", "all", "none"], Field(description="'pareto', 'all' or 'none'")]


@_RECORD
class SweepTable(SweepPoints, total=False):
    """Table ``sweep``, of the file of a sweep."""

    models: Annotated[list[_Name], Field(min_length=1, description="a list of models")]


@_RECORD
class SweepFile(TypedDict, total=False):
    """What the file of a sweep has beside the tables of a configuration file."""

    sweep: SweepTable


@_RECORD
class Demand(TypedDict):
    """A limit, and where the figure must be from."""

    limit: Annotated[float, Field(gt=0)]
    provenance: _Provenance


@_RECORD
class DemandedShare(TypedDict):
    """The same of a share."""

    limit: Annotated[float, Field(gt=0, le=1)]
    provenance: _Provenance


_TABLE = f"or a table with a limit and a provenance, one of {', '.join(get_args(_Provenance))}"
_Limit = Annotated[Annotated[float, Field(gt=0)] | Demand, Field(description=f"a number above 0, {_TABLE}")]
_Share = Annotated[
    Annotated[float, Field(gt=0, le=1)] | DemandedShare, Field(description=f"a share above 0, at most 1, {_TABLE}")
]


@_RECORD
class Require(TypedDict, total=False):
    """Table ``require``."""

    latency_ns: _Limit
    images_per_second: _Limit
    clock_mhz: _Limit
    lut: _Limit
    bram: _Limit
    power_mw: _Limit
    energy_nj: _Limit
    accuracy: _Share
    coverage: _Share
    target: _Name


@_RECORD
class File(TypedDict, total=False):
    """A configuration file."""

    hls: HlsTable
    rtl: RtlTable
    synthesis: SynthesisTable
    vendor: VendorTable
    input: InputTable
    fixed: FixedTable
    require: Require


def parse(content: Table) -> File:
    """Return the settings that a configuration file gives.

    Raises
    ------
    UserError
        If a table or setting is unknown, which lists what there is, or a value is of a wrong type or beyond its limits.
    """
    return _parsed(File, content)


def parse_sweep(content: Table) -> SweepTable:
    """Return the settings of table ``sweep``, likewise."""
    return _parsed(SweepFile, content).get("sweep", {})


def _parsed(record: type[_T], content: Table) -> _T:
    try:
        return TypeAdapter(record).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise UserError(_told(record, content, tuple(map(str, first["loc"])), first["type"])) from None


def _told(record: type, content: Table, place: tuple[str, ...], fault: str) -> str:
    """Say what is wrong at a place in the file: a table, a setting in it, or something below that."""
    tables = get_type_hints(record, include_extras=True)
    table, setting, *_ = (*place, "")
    if table not in tables:
        *others, last = (f"[{name}]" for name in tables)
        return f"unknown table or setting {_short(table)}; there are {', '.join(others)} and {last}"
    if not setting:
        return f"{table}: expected a table, got {_short(repr(content[table]))}"
    settings = get_type_hints(tables[table], include_extras=True)
    if fault == "extra_forbidden" and len(place) == 2:
        return f"{table}: unknown setting {_short(setting)}; there are {', '.join(settings)}"
    expected = next(part.description for part in get_args(settings[setting]) if hasattr(part, "description"))
    return f"{table}: {setting} must be {expected}, got {_short(repr(content[table][setting]))}"


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
