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
    place_limit_s = 600   # for each of at most three attempts to place and route

Table ``vendor`` says with which projects the vendor's tools are run, where there are any, and how long each step may
take::

    [vendor]
    run = ["hls4ml_stock", "hls4ml_packed", "rtl"]
    limit_s = 7200

Table ``input`` says which integers a model takes that does not tell: settings of :class:`xnorflow.bnn.network.Input`,
its shape for a PyTorch module alone::

    [input]
    shape = [28, 28, 1]
    kind = "unsigned"
    bits = 8
    fraction = 0
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from xnorflow.bnn.errors import UserError
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Backend = Literal["vitis", "vivado"]

TARGET_FPS = 50_000.0
"""Rate that the RTL is folded for where the user gives no goal, or the highest below it: small and soon simulated."""

LUTS = 20_000
"""Where the user gives no goal, the estimated LUTs within which the RTL stays, at less than that rate if need be."""

TARGETS = ("xilinx7", "ecp5")
"""What the RTL is synthesised for where the user says nothing."""

VENDOR_JOBS = ("hls4ml_stock", "hls4ml_packed", "rtl")
"""Projects for which there are scripts of the vendor's tools."""

VENDOR_RUN = ("hls4ml_packed", "rtl")
"""Those with which the tools are run where the user says nothing: stock layers can take the tools hours."""

_CHOSEN_ELSEWHERE = ("style", "backend")  # both styles are always built, and the back end is an option
_ARCHITECTURES = {"folded": Folded, "unrolled": Unrolled}


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
    place_limit_s : float
        Seconds that each attempt to place and route may take.
    vendor_run : tuple of str
        Of :data:`VENDOR_JOBS`, those that the vendor's tools are run with.
    vendor_limit_s : float
        Seconds that a step of theirs may take.
    input : mapping or None
        Settings of :class:`xnorflow.bnn.network.Input`, for a model that does not tell them.
    waves : bool
        Whether a waveform of the RTL's whole simulation is kept, too, not only one of what goes wrong.
    """

    backend: Backend = "vitis"
    hls: Mapping[str, Any] = field(default_factory=dict)
    rtl: RtlConfig = field(default_factory=RtlConfig)
    target_fps: float | None = TARGET_FPS
    max_luts: int | None = None
    goal_given: bool = False
    targets: tuple[str, ...] = TARGETS
    place_limit_s: float = 600.0
    vendor_run: tuple[str, ...] = VENDOR_RUN
    vendor_limit_s: float = 3600.0
    input: Mapping[str, Any] | None = None
    waves: bool = False


def read(
    config: Path | None = None,
    backend: Backend = "vitis",
    target_fps: float | None = None,
    max_luts: int | None = None,
    waves: bool = False,
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

    Raises
    ------
    UserError
        If the file is missing or not TOML, or a setting is unknown or has a bad value; the message lists the choices.
    """
    content = _content(config) if config else {}
    try:
        if unknown := sorted(set(content) - {"hls", "rtl", "synthesis", "vendor", "input"}):
            raise UserError(
                f"unknown table or setting {', '.join(unknown)}; "
                "there are [hls], [rtl], [synthesis], [vendor] and [input]"
            )
        taken = _input(content["input"]) if "input" in content else None
        synthesis = _synthesis(content.get("synthesis", {}))
        vendor = _vendor(content.get("vendor", {}))
        hls = _hls(content.get("hls", {}))
        rtl, goal = _rtl(content.get("rtl", {}), {"target_fps": target_fps, "max_luts": max_luts})
    except UserError as error:
        raise UserError(f"{config}: {error}" if config else str(error)) from None
    return Options(backend, hls, rtl, **goal, **synthesis, **vendor, input=taken, waves=waves)


def _content(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text())
    except OSError as error:
        raise UserError(f"{config}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{config}: not a TOML file: {error}") from None


def _input(settings: Any) -> Mapping[str, Any]:
    from xnorflow.bnn.errors import NetworkError
    from xnorflow.bnn.network import Input

    _check_table("input", settings, ["shape", "kind", "bits", "fraction"])
    shape = settings.get("shape", [1])
    if not isinstance(shape, list) or not shape or any(type(size) is not int or size < 1 for size in shape):
        raise UserError(f"input: shape must be a list of whole numbers above 0, got {shape!r}")
    for name in ("bits", "fraction"):
        if type(settings.get(name, 0)) is not int:
            raise UserError(f"input: {name} must be a whole number, got {settings[name]!r}")
    try:
        Input("input", (), **{"shape": shape, **settings})
    except NetworkError as error:
        raise UserError(str(error)) from None
    return settings


def _hls(settings: Any) -> Mapping[str, Any]:
    from xnorflow.hls.config import HlsConfig

    _check_table("hls", settings, [spec.name for spec in fields(HlsConfig) if spec.name not in _CHOSEN_ELSEWHERE])
    HlsConfig(**settings)
    return settings


def _rtl(settings: Any, given: Mapping[str, Any]) -> tuple[RtlConfig, Mapping[str, Any]]:
    """Return the configuration, and the goal as arguments of :class:`Options`: the one `given`, or the table's."""
    _check_table("rtl", settings, [*(spec.name for spec in fields(RtlConfig)), *given])
    settings = dict(settings)
    written = {name: settings.pop(name, None) for name in given}
    goal = given if any(value is not None for value in given.values()) else written
    _check_goal(goal)
    chosen = [name for name, value in goal.items() if value is not None]
    if "default" in settings:
        if chosen:
            raise UserError(
                f"rtl: {chosen[0]} has nothing to choose where [rtl.default] gives all layers an architecture"
            )
        settings["default"] = _architecture("default", settings["default"])
    elif not chosen:
        goal = {}
    settings["layers"] = {name: _architecture(name, table) for name, table in settings.get("layers", {}).items()}
    return RtlConfig(**settings), {**goal, "goal_given": True} if goal else {}


def _synthesis(settings: Any) -> dict[str, Any]:
    """Return arguments of :class:`Options`."""
    from xnorflow.hls.synthesis.targets import target

    _check_table("synthesis", settings, ["targets", "place_limit_s"])
    names = settings.get("targets", TARGETS)
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UserError(f"synthesis: targets must be a list of names, got {names!r}")
    limit_s = _seconds("synthesis", "place_limit_s", settings.get("place_limit_s", Options.place_limit_s))
    return {"targets": tuple(target(name).name for name in names), "place_limit_s": limit_s}


def _seconds(table: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise UserError(f"{table}: {name} must be a number of seconds above 0, got {value!r}")
    return float(value)


def _vendor(settings: Any) -> dict[str, Any]:
    """Return arguments of :class:`Options`."""
    _check_table("vendor", settings, ["run", "limit_s"])
    jobs, limit_s = settings.get("run", VENDOR_RUN), settings.get("limit_s", Options.vendor_limit_s)
    if not isinstance(jobs, list | tuple) or not all(job in VENDOR_JOBS for job in jobs):
        raise UserError(f"vendor: run must be a list of {', '.join(VENDOR_JOBS)}, got {jobs!r}")
    return {"vendor_run": tuple(jobs), "vendor_limit_s": _seconds("vendor", "limit_s", limit_s)}


def _architecture(name: str, table: Any) -> Folded | Unrolled:
    if not isinstance(table, dict):
        raise UserError(f"rtl: {name}: expected a table, got {table!r}")
    settings = dict(table)
    chosen = settings.pop("architecture", "folded")
    if chosen not in _ARCHITECTURES:
        raise UserError(f"rtl: {name}: architecture must be one of {', '.join(_ARCHITECTURES)}, got {chosen!r}")
    kind = _ARCHITECTURES[chosen]
    names = [spec.name for spec in fields(kind)]
    if unknown := sorted(set(settings) - set(names)):
        raise UserError(
            f"rtl: {name}: unknown setting {', '.join(unknown)}; architecture {chosen!r} has {', '.join(names)}"
        )
    return kind(**settings)


def _check_goal(goal: Mapping[str, Any]) -> None:
    if all(value is not None for value in goal.values()):
        raise UserError("rtl: give either a rate (target_fps) or a limit of area (max_luts), not both")
    for name, value in goal.items():
        whole = name == "max_luts"
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value <= 0
        ):
            raise UserError(f"rtl: {name} must be a {'whole ' if whole else ''}number above 0, got {value!r}")


def _check_table(name: str, settings: Any, known: list[str]) -> None:
    """Raise a UserError unless `settings` is a table of known settings, and its ``layers`` one of tables."""
    if not isinstance(settings, dict):
        raise UserError(f"{name}: expected a table, got {settings!r}")
    if unknown := sorted(set(settings) - set(known)):
        raise UserError(f"{name}: unknown setting {', '.join(unknown)}; there are {', '.join(known)}")
    layers = settings.get("layers", {})
    if not isinstance(layers, dict) or not all(isinstance(layer, dict) for layer in layers.values()):
        raise UserError(f"{name}: layers must be tables, [{name}.layers.NAME]")
