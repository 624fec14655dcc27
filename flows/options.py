"""What the user decides about a flow's hardware: hls4ml's back end, and the settings in a configuration file.

The file is TOML. Table ``hls`` holds settings of :class:`xnorflow.hls.config.HlsConfig`, and ``hls.layers.<layer>``
those of a layer. Table ``rtl`` holds settings of :class:`xnorflow.hls.rtl.config.RtlConfig` and the goal that the
folding is chosen by (``target_fps`` or ``max_luts``); ``rtl.layers.<layer>`` gives a layer an architecture of its own,
``rtl.default`` gives one to all others, which leaves nothing to choose. Without any of these it is :data:`TARGET_FPS`,
or what :data:`LUTS` allow::

    [hls]
    io_type = "io_stream"
    clock_ns = 4.0

    [hls.layers.dense1]
    strategy = "resource"
    reuse_factor = 28

    [rtl]
    clock_ns = 5.0
    target_fps = 250_000

    [rtl.layers.dense2]
    architecture = "unrolled"
    levels_per_stage = 2

    [synthesis]
    targets = ["xilinx7", "ultrascale+", "ecp5", "ice40"]
    liberty = ["my_cells.lib.gz"]   # an ASIC of these cells, too; beside this file, if the path is not absolute
    place_limit_s = 600   # for each of at most three attempts to place and route

Table ``vendor`` says with which projects the vendor's tools are run, where there are any, and how long each step may
take::

    [vendor]
    run = ["hls4ml_stock", "hls4ml_packed", "rtl"]
    limit_s = 7200

Table ``require`` says what the design has to reach, or the flow fails: see :mod:`xnorflow.reports.requirements`. A
number is held against the best figure there is, or one of the provenance demanded, of the target named or any::

    [require]
    latency_ns = 20_000
    lut = { limit = 5280, provenance = "placed-and-routed" }
    target = "ice40"

Table ``input`` says which integers a model takes that does not tell: settings of :class:`xnorflow.bnn.network.Input`,
its shape for a PyTorch module alone::

    [input]
    shape = [28, 28, 1]
    kind = "unsigned"
    bits = 8
    fraction = 0

Table ``fixed`` allows weights to be rounded that are neither binary nor of few integers, first and last layers most of
all: to how many bits, 8 where it does not say, and of which share of the vectors the class may then be another than the
trained model's::

    [fixed]
    bits = 8
    classes_may_differ = 0.001

    [fixed.layers]
    conv1 = 12
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.files import read_bytes
from xnorflow.bnn.frontends.core.fixed import Fixed
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network
    from xnorflow.flows.settings import HlsTable, InputTable, Require, RtlTable, Table

Backend = Literal["vitis", "vivado"]

TARGET_FPS = 50_000.0
"""Rate that the RTL is folded for where the user gives no goal, or the highest below it: small and soon simulated."""

LUTS = 20_000
"""Where the user gives no goal, the estimated LUTs within which the RTL stays, at less than that rate if need be."""

TARGETS = ("xilinx7", "ecp5")
"""What the RTL is synthesised for where the user says nothing."""

VENDOR_RUN = ("hls4ml_packed", "rtl")
"""Projects with which the vendor's tools are run where the user says nothing: stock layers can take the tools hours."""

SWEEP = "sweep"
"""Table of a configuration file that is for :mod:`xnorflow.flows.sweep` alone."""

_GOALS = ("target_fps", "max_luts")
_LARGEST = 1 << 20  # bytes of a configuration file
ARCHITECTURES: Mapping[str, type[Folded] | type[Unrolled]] = {"folded": Folded, "unrolled": Unrolled}
"""What a layer can be, by name."""


def _empty() -> Any:
    """Return a table without settings."""
    return {}


@dataclass(frozen=True)
class Options:
    """Options of a flow that change what is built.

    Attributes
    ----------
    backend : {"vitis", "vivado"}
        Of hls4ml.
    hls : mapping
        Further settings of :class:`xnorflow.hls.config.HlsConfig`, for both styles.
    rtl : RtlConfig
    target_fps, max_luts : number or None
        What the folding of the layers without an architecture in `rtl` is chosen by; both None takes `rtl` as it is.
    goal_given : bool
        Whether the user wants that rate; else a lower one will do where it cannot be reached.
    targets : tuple of str
        What the RTL is synthesised for, and placed and routed where an open tool can.
    liberty : tuple of str
        Liberty files of standard cells, for each of which the RTL becomes an ASIC.
    place_limit_s : float
        Seconds that each attempt to place and route may take.
    vendor_run : tuple of str
        Of the projects that there are scripts of the vendor's tools for, those that they are run with.
    vendor_limit_s : float
        Seconds that a step of theirs may take.
    input : mapping or None
        Settings of :class:`xnorflow.bnn.network.Input`, for a model that does not tell them.
    require : mapping
        What the flow is to fail without.
    waves : bool
        Whether a waveform of the RTL's whole simulation is kept, too, not only one of what goes wrong.
    fixed : Fixed or None
        To how many bits weights are rounded that are no few integers; None where they are refused.
    classes_may_differ : float
        Share of the vectors whose class may be another than the trained model's where weights are rounded.
    """

    backend: Backend = "vitis"
    hls: "HlsTable" = field(default_factory=_empty)
    rtl: RtlConfig = field(default_factory=RtlConfig)
    target_fps: float | None = TARGET_FPS
    max_luts: int | None = None
    goal_given: bool = False
    targets: tuple[str, ...] = TARGETS
    liberty: tuple[str, ...] = ()
    place_limit_s: float = 600.0
    vendor_run: tuple[str, ...] = VENDOR_RUN
    vendor_limit_s: float = 3600.0
    input: "InputTable | None" = None
    require: "Require" = field(default_factory=_empty)
    waves: bool = False
    fixed: Fixed | None = None
    classes_may_differ: float = 0.001

    def check(self, network: "Network") -> None:
        """Raise a UserError if a setting is for a layer that `network` has not."""
        from xnorflow.hls.config import HlsConfig

        HlsConfig(**self.hls).resolve(network)
        self.rtl.spread(network)


def read(
    config: Path | None = None,
    backend: Backend = "vitis",
    target_fps: float | None = None,
    max_luts: int | None = None,
    waves: bool = False,
    fixed: int | None = None,
) -> Options:
    """Read a configuration file.

    Parameters
    ----------
    config : Path or None
        None for the defaults.
    backend : {"vitis", "vivado"}
    target_fps, max_luts : number or None
        A goal that takes the place of the file's.
    waves : bool
    fixed : int or None
        Bits of rounded weights, in place of the file's.

    Raises
    ------
    UserError
        If the file is missing or not TOML, or a setting is unknown or has a bad value; the message lists the choices.
    """
    goal = {name: value for name, value in (("target_fps", target_fps), ("max_luts", max_luts)) if value is not None}
    content = tables(config) if config else {}
    content.pop(SWEEP, None)
    if fixed is not None and isinstance(table := content.get("fixed", {}), dict):
        content["fixed"] = {**table, "bits": fixed}
    if not content and not goal:
        return Options(backend, waves=waves)
    from xnorflow.bnn.network import Input
    from xnorflow.flows.settings import parse
    from xnorflow.hls.config import HlsConfig
    from xnorflow.hls.synthesis.targets import target

    try:
        if goal and isinstance(rtl := content.get("rtl", {}), dict):
            content["rtl"] = {name: rtl[name] for name in rtl if name not in _GOALS} | goal
        settings = parse(content)
        hls, synthesis, vendor = settings.get("hls", {}), settings.get("synthesis", {}), settings.get("vendor", {})
        HlsConfig(**hls)  # what it refuses is told before anything is done
        if "input" in settings:
            Input("input", (), **cast("Any", {"shape": [1], **settings["input"]}))
        rounding = settings.get("fixed", {})
        targets = tuple(target(name).name for name in synthesis.get("targets", TARGETS))
        if twice := [name for name in targets if targets.count(name) > 1]:
            raise UserError(f"synthesis: targets names {twice[0]} twice")
        options = Options(
            backend,
            hls,
            targets=targets,
            liberty=_beside(config, synthesis.get("liberty", [])),
            place_limit_s=synthesis.get("place_limit_s", Options.place_limit_s),
            vendor_run=tuple(vendor.get("run", VENDOR_RUN)),
            vendor_limit_s=vendor.get("limit_s", Options.vendor_limit_s),
            input=settings.get("input"),
            require=_require(settings.get("require", {}), targets),
            waves=waves,
            fixed=Fixed(rounding.get("bits", Fixed.bits), rounding.get("layers", {})) if "fixed" in settings else None,
            classes_may_differ=rounding.get("classes_may_differ", Options.classes_may_differ),
        )
        return _with_rtl(options, settings.get("rtl", {}))
    except UserError as error:
        raise UserError(f"{config}: {error}" if config else str(error)) from None


def _beside(config: Path | None, files: list[str]) -> tuple[str, ...]:
    """Return files, those of a relative path beside the configuration file that names them."""
    return tuple(str((config.parent if config else Path()) / file) for file in files)


def tables(config: Path) -> "Table":
    """Return a configuration file's content; raise a UserError if it is missing or not TOML."""
    try:
        return tomllib.loads(read_bytes(config, _LARGEST).decode())
    except ValueError as error:  # of TOML, of UTF-8, or of a number of thousands of digits
        raise UserError(f"{config}: not a TOML file: {error}") from None
    except RecursionError:
        raise UserError(f"{config}: not a TOML file that can be read: it is nested too deep") from None


def _require(table: "Require", targets: tuple[str, ...]) -> "Require":
    if table.get("target", targets[0] if targets else None) not in (*targets, None):
        raise UserError(
            f"require: target must be one of those synthesised for, {', '.join(targets)}, got {table['target']!r}"
        )
    return table


def _with_rtl(options: Options, table: "RtlTable") -> Options:
    """Return options with the configuration of the RTL, and the goal if there is one."""
    target_fps, max_luts = table.get("target_fps"), table.get("max_luts")
    goal = [name for name in _GOALS if name in table]
    if len(goal) == len(_GOALS):
        raise UserError("rtl: give either a rate (target_fps) or a limit of area (max_luts), not both")
    given: Table = {name: value for name, value in table.items() if name not in _GOALS}
    if "default" in given:
        if goal:
            raise UserError(
                f"rtl: {goal[0]} has nothing to choose where [rtl.default] gives all layers an architecture"
            )
        given["default"] = _architecture("default", given["default"])
    given["layers"] = {name: _architecture(name, layer) for name, layer in given.get("layers", {}).items()}
    options = replace(options, rtl=RtlConfig(**given))
    if goal or "default" in given:
        return replace(options, target_fps=target_fps, max_luts=max_luts, goal_given=True)
    return options


def _architecture(name: str, table: "Table") -> Folded | Unrolled:
    settings = dict(table)
    chosen = settings.pop("architecture", "folded")
    if not isinstance(chosen, str) or chosen not in ARCHITECTURES:
        raise UserError(f"rtl: {name}: architecture must be one of {', '.join(ARCHITECTURES)}, got {chosen!r}")
    kind = ARCHITECTURES[chosen]
    names = [spec.name for spec in fields(kind)]
    if unknown := sorted(set(settings) - set(names)):
        raise UserError(
            f"rtl: {name}: unknown setting {', '.join(unknown)}; architecture {chosen!r} has {', '.join(names)}"
        )
    return kind(**settings)
