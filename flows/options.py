"""What the user decides about a flow's hardware: the back end, and the settings in a configuration file.

The file is TOML. Table ``hls`` holds settings of :class:`hls.config.HlsConfig`, and ``hls.layers.<layer>`` those of a
layer::

    [hls]
    io_type = "io_stream"
    clock_ns = 4.0

    [hls.layers.dense1]
    strategy = "resource"
    reuse_factor = 28
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from bnn.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Backend = Literal["vitis", "vivado"]

_CHOSEN_ELSEWHERE = ("style", "backend")  # both styles are always built, and the back end is an option


@dataclass(frozen=True)
class Options:
    """Options of a flow that change what is built.

    Attributes
    ----------
    backend : {"vitis", "vivado"}
        Of hls4ml.
    hls : mapping
        Further settings of :class:`hls.config.HlsConfig`, for both styles.
    """

    backend: Backend = "vitis"
    hls: Mapping[str, Any] = field(default_factory=dict)


def read(config: Path | None, backend: Backend = "vitis") -> Options:
    """Read a configuration file.

    Parameters
    ----------
    config : Path or None
        None for the defaults.

    Raises
    ------
    UserError
        If the file is missing or not TOML, or a setting is unknown or has a bad value; the message lists the choices.
    """
    if config is None:
        return Options(backend)
    try:
        content = tomllib.loads(config.read_text())
    except OSError as error:
        raise UserError(f"{config}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{config}: not a TOML file: {error}") from None
    if unknown := sorted(set(content) - {"hls"}):
        raise UserError(f"{config}: unknown table or setting {', '.join(unknown)}; there is [hls]")
    settings = content.get("hls", {})
    try:
        _check(settings)
    except UserError as error:
        raise UserError(f"{config}: {error}") from None
    return Options(backend, settings)


def _check(settings: Any) -> None:
    from hls.config import HlsConfig

    names = [spec.name for spec in fields(HlsConfig) if spec.name not in _CHOSEN_ELSEWHERE]
    if not isinstance(settings, dict):
        raise UserError(f"hls: expected a table, got {settings!r}")
    if unknown := sorted(set(settings) - set(names)):
        raise UserError(f"hls: unknown setting {', '.join(unknown)}; there are {', '.join(names)}")
    layers = settings.get("layers", {})
    if not isinstance(layers, dict) or not all(isinstance(layer, dict) for layer in layers.values()):
        raise UserError("hls: layers must be tables, [hls.layers.NAME]")
    HlsConfig(**settings)
