"""A content-addressed cache of folders: the key of an entry names everything that determined it.

An entry is made in its final place, and becomes one by the record that is written last, in one rename. The record
holds the digest of every file, and its own. An entry is only taken while its files are these, each as it was, and
there is none beside them. A process that is killed leaves a folder without a record, which nobody mistakes for a
result. Whoever finds or makes an entry holds its lock meanwhile (:meth:`Store.alone`).
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

from xnorflow.flows import locks
from xnorflow.hls.folders import digests

PROJECT = Path(__file__).resolve().parent.parent

RECORD = "entry.json"
"""File that makes a folder an entry."""
_DIGEST = "digest"  # in the record: its own
_PREVIOUS = ".previous"
_SET_ASIDE = ".set_aside"

LOCKS = ".locks"
"""Folder of a store that has the locks of its entries."""


def digest(value: object) -> str:
    """SHA-256 of a JSON value, as hexadecimal text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@lru_cache
def tool_versions(packages: tuple[str, ...], commands: tuple[str, ...] = ()) -> dict[str, str]:
    """Versions of Python packages and programs; "missing" for what is not there.

    A program is asked with ``--version``, unless its name is followed by another option.
    """
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    for command in commands:
        name, *option = command.split()
        try:
            call = [name, *(option or ["--version"])]
            output = subprocess.run(call, capture_output=True, text=True, check=True, timeout=60)
            found[name] = (output.stdout or output.stderr).splitlines()[0]
        except (OSError, subprocess.SubprocessError, IndexError):
            found[name] = "missing"
    return found


@dataclass
class Entry:
    """One result of a step.

    Attributes
    ----------
    folder : Path
        Has the files that the step made.
    key : str
    facts : dict
        What there is to know about the result; JSON, and the same whenever the result is.
    measured : dict
        What was measured while it was made, such as times; JSON.
    summary : str
        The same in a line, for people.
    seconds : float
        How long the step took when it ran.
    reused : bool
        Whether it was found, not made.
    failed : bool
        Whether what it tells is a failure, for the log.
    keep : bool
        Whether it may be found again; not where a tool has failed, which it may not do the next time.
    tracked : bool
        Whether its files must stay as they are; not where the user may put something beside or over them.
    previous : Path or None
        While it is made: the folder of the result with the same key that it takes the place of, which need not exist.
    anew : bool
        Whether the user wants nothing of that result taken.
    content : str
        Once it is made, the digest of `facts`, and of its files where these are tracked: what later steps' keys have.
    """

    folder: Path
    key: str
    facts: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    summary: str = ""
    seconds: float = 0.0
    reused: bool = False
    failed: bool = False
    keep: bool = True
    tracked: bool = True
    previous: Path | None = None
    anew: bool = False
    content: str = ""


class Store:
    """The cache in `root`: one folder per step, in it one per key."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, step: str, key: str) -> Entry | None:
        """Return the entry if it is there, none of its files was changed or removed since, and none has come."""
        folder = self.folder(step, key)
        record = _read(folder)
        try:
            if not record or record["key"] != key or record["files"] not in (None, _digests(folder)):
                return None
            os.utime(folder)  # marks it as used
        except OSError:
            return None
        told = {what: record[what] for what in ("facts", "measured", "summary", "seconds", "failed")}
        return Entry(folder, key, **told, reused=True, content=_content(record))

    @contextmanager
    def alone(self, step: str, key: str, wait: Callable[[bool], None]) -> Iterator[None]:
        """Let nobody else find or make this entry in the block; `wait`, told whether it is the first time, waits."""
        with locks.held(self.root / LOCKS / f"{step}-{key[:16]}.lock", wait):
            yield

    @contextmanager
    def making(self, step: str, key: str, anew: bool = False) -> Iterator[Entry]:
        """Give an entry to fill, in an empty folder, and record it when the block ends, if it is to be kept.

        Where the block raises, what was written stays, for the user to look at, but without a record; of a block that
        wrote nothing, nothing stays. Until then, what was there before lies in the entry's folder `previous`. A former
        entry to which somebody has added files is set aside, for good.
        """
        folder = self.folder(step, key)
        previous = folder.with_name(folder.name + _PREVIOUS)
        if _has_strangers(folder):
            number = next(n for n in count(1) if not folder.with_name(f"{folder.name}{_SET_ASIDE}{n}").exists())
            folder.rename(folder.with_name(f"{folder.name}{_SET_ASIDE}{number}"))
        (folder / RECORD).unlink(missing_ok=True)  # first, so that a half-made folder is no entry
        shutil.rmtree(previous, ignore_errors=True)
        if folder.exists():
            folder.rename(previous)
        folder.mkdir(parents=True)
        entry = Entry(folder, key, previous=previous, anew=anew)
        start = time.perf_counter()
        try:
            yield entry
        except BaseException:
            shutil.rmtree(previous, ignore_errors=True)
            with suppress(OSError):  # not empty
                for empty in (folder, folder.parent, self.root):
                    empty.rmdir()
            raise
        shutil.rmtree(previous, ignore_errors=True)
        entry.seconds = round(time.perf_counter() - start, 3)
        record = {
            "key": key,
            "facts": entry.facts,
            "measured": entry.measured,
            "summary": entry.summary,
            "seconds": entry.seconds,
            "failed": entry.failed,
            "files": _digests(folder) if entry.tracked else None,
        }
        record = json.loads(json.dumps(record))  # as it will be read: JSON has no other keys than text
        entry.content = _content(record)
        if entry.keep:
            write(folder / RECORD, json.dumps(record | {_DIGEST: digest(record)}, indent=1))

    def folder(self, step: str, key: str) -> Path:
        """Return where an entry is, or would be."""
        return self.root / step / key[:16]


def write(path: Path, text: str | bytes) -> None:
    """Write a file, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(text.encode() if isinstance(text, str) else text)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _content(record: dict[str, Any]) -> str:
    return digest([record["facts"], record["files"]])


def _digests(folder: Path) -> dict[str, str]:
    return {name: of for name, of in digests(folder).items() if name != RECORD}


def _read(folder: Path) -> dict[str, Any] | None:
    """Return the record of an entry, as it was written; None if there is none, or it was changed."""
    try:
        record = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict):
        return None
    own = record.pop(_DIGEST, None)
    return record if own == digest(record) else None


def kept(folder: Path) -> bool:
    """Say whether a folder of the store has files that somebody has added to an entry."""
    return _SET_ASIDE in folder.name or _has_strangers(folder)


def _has_strangers(folder: Path) -> bool:
    """Say whether there are files beside those of an entry: somebody has worked in it."""
    record = _read(folder)
    if not record or record["files"] is None:
        return False
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return any(name not in record["files"] for name in names if name != RECORD)
