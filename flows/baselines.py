"""Baselines: what a model computed and cost when its file was last written, as JSON."""

import json
from pathlib import Path

from pydantic import ConfigDict, ValidationError, with_config
from typing_extensions import TypedDict

from xnorflow.bnn.errors import UserError
from xnorflow.flows.typed import typed
from xnorflow.reports.records import ResourceRow

_CONFIG = ConfigDict(extra="forbid")


@with_config(_CONFIG)
class BaselineResources(TypedDict):
    """What synthesis by a tool gave."""

    total: ResourceRow
    layers: dict[str, ResourceRow]


@with_config(_CONFIG)
class BaselineSynthesis(TypedDict):
    """Synthesised resources, by tool."""

    target: str
    by: dict[str, BaselineResources]


@with_config(_CONFIG)
class BaselineRtl(TypedDict, total=False):
    """Exact cycles and each layer's architecture, with the default options; or why there is no RTL."""

    latency: int
    interval: int
    layers: dict[str, str]
    unsupported: str


@with_config(_CONFIG)
class BaselineFile(TypedDict, total=False):
    """A baseline; one of an earlier version may lack some of it."""

    model: str
    origin: str
    """Of a model outside the zoo: its file, relative to the project, or its factory."""
    recorded_accuracy: float | None
    vectors: int
    """Random ones, always the same, of which is told what the golden model gives."""
    outputs: str
    """Digest of the integers of every compared result."""
    layers: dict[str, str]
    """Kinds and shapes."""
    parameters: dict[str, str]
    """Digest of each array of each layer."""
    rtl: BaselineRtl
    synthesis: BaselineSynthesis | str
    """Of the default RTL; or why it failed. Left out where there was no tool, and where there is no RTL."""


def read(path: Path) -> BaselineFile:
    """Return a baseline; an empty one where there is no file.

    Raises
    ------
    UserError
        If it is damaged.
    """
    try:
        return typed(json.loads(path.read_bytes()), BaselineFile)
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"][:2])) or "the whole"
        reason = f"no baseline: {where}: {fault['msg']}"
    except ValueError as error:
        reason = f"not JSON ({error})"
    raise UserError(f"{path} is {reason}; write it again: make regress UPDATE=1")
