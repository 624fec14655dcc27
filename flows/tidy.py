"""The caches of all models in a build folder: how large they are, and the least recently used of it removed."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from xnorflow.bnn.errors import UserError
from xnorflow.flows import locks
from xnorflow.flows.cache import LOCKS, RECORD, kept
from xnorflow.flows.places import is_cache, lock_of

GB = 10**9

LIMIT = 20.0
"""GB within which flows keep the cache, unless the environment says otherwise."""

VARIABLE = "XNORFLOW_CACHE_GB"
"""Environment variable with another limit."""


@dataclass(frozen=True)
class Held:
    """An entry of a cache, or what lies in the place of one.

    Attributes
    ----------
    folder : Path
    model, step : str
    bytes : int
    used : float
        When a flow last took it, seconds since the epoch.
    """

    folder: Path
    model: str
    step: str
    bytes: int
    used: float


def limit() -> int:
    """Return the bytes within which flows keep the cache.

    Raises
    ------
    UserError
        If the environment variable is no number of 0 or more.
    """
    text = os.environ.get(VARIABLE, "") or str(LIMIT)
    with suppress(ValueError, OverflowError):
        if float(text) >= 0:
            return int(float(text) * GB)
    raise UserError(f"environment variable {VARIABLE}: expected a number of GB, 0 or more, got {text[:80]!r}")


def held(build: Path) -> list[Held]:
    """Return all entries of the caches in a build folder, the least recently used first."""
    found = []
    for cache in build.glob("*"):
        if not is_cache(cache):
            continue
        for step in cache.iterdir():
            if step.name == LOCKS or not step.is_dir() or step.is_symlink():
                continue
            for folder in step.iterdir():
                with suppress(FileNotFoundError):  # a flow is at work
                    if folder.is_dir() and not folder.is_symlink():
                        found.append(Held(folder, cache.name, step.name, _size(folder), folder.lstat().st_mtime))
    return sorted(found, key=lambda one: one.used)


def _size(folder: Path) -> int:
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):
                total += (Path(place) / name).lstat().st_size
    return total


def prune(build: Path, most: float, before: float, tell: Callable[[Held], None] = lambda _: None) -> int:
    """Remove the least recently used entries until at most `most` bytes are left.

    What somebody has worked in stays, and so does what was used since `before`, and all of a model on which a flow is
    running.

    Returns
    -------
    int
        Bytes that are left.
    """
    entries = held(build)
    left = sum(entry.bytes for entry in entries)
    for entry in entries:
        if left <= most or entry.used >= before:
            break
        with locks.held_if_free(lock_of(build / entry.model)) as free:
            if not free or kept(entry.folder):
                continue
            (entry.folder / RECORD).unlink(missing_ok=True)  # first, so that what is half removed is no entry
            shutil.rmtree(entry.folder, ignore_errors=True)
        left -= entry.bytes
        tell(entry)
    return left
