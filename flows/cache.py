"""A content-addressed cache of folders: the key of an entry names everything that determined it.

An entry is made in its final place, and becomes one by the record that is written last, in one rename. The record
holds the digest of every file, and its own. An entry is only taken while its files are these, each as it was, there is
none beside them, and its facts fit the type that they are wanted as. A process that is killed leaves a folder without a
record, which nobody mistakes for a result.
Whoever finds or makes an entry holds its lock meanwhile (:meth:`Store.alone`).
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any, Generic, cast

from pydantic import ValidationError
from typing_extensions import TypeVar, get_type_hints

from xnorflow.bnn.files import Json
from xnorflow.flows import locks
from xnorflow.flows.typed import typed
from xnorflow.hls.folders import digests

_F = TypeVar("_F", default=Any)

PROJECT = Path(__file__).resolve().parent.parent

RECORD = "entry.json"
"""File that makes a folder an entry."""
_DIGEST = "digest"  # in the record: its own
_PREVIOUS = ".previous"
_SET_ASIDE = ".set_aside"

LOCKS = ".locks"
"""Folder of a store that has the locks of its entries."""

MEASURED = "measured"
"""Marks, in an ``Annotated`` type of a fact, what may be another value each time, such as a time: no later step's key
has it.
"""


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
class Entry(Generic[_F]):
    """One result of a step.

    Attributes
    ----------
    folder : Path
        Has the files that the step made.
    key : str
    facts : typed dictionary
        What there is to know about the result, see :mod:`xnorflow.flows.facts`; empty until it is made.
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
    damaged : bool
        Whether that result was kept, but is not as it was left, or its facts are not what they must be.
    content : str
        Once it is made, the digest of `facts` but for what is :data:`MEASURED`, and of its files where these are
        tracked: what later steps' keys have.
    whole : str
        The digest of all that is kept of it.
    """

    folder: Path
    key: str
    facts: _F
    summary: str = ""
    seconds: float = 0.0
    reused: bool = False
    failed: bool = False
    keep: bool = True
    tracked: bool = True
    previous: Path | None = None
    anew: bool = False
    damaged: bool = False
    content: str = ""
    whole: str = ""


class Store:
    """The cache in `root`: one folder per step, in it one per key."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, step: str, key: str, facts: type[_F]) -> Entry[_F] | None:
        """Return the entry if it is there and as it was left: its files, none more and none less, and its facts.

        Parameters
        ----------
        step : str
            Folder of its step.
        key : str
        facts : type
            What its facts must be; where they are not, it is none.
        """
        folder = self.folder(step, key)
        record = _read(folder)
        try:
            if not record or record["key"] != key or record["files"] not in (None, _digests(folder)):
                return None
            found = typed(record["facts"], facts)
            told = {what: record[what] for what in ("summary", "seconds", "failed")}
            os.utime(folder)  # marks it as used
        except (OSError, KeyError, ValidationError):
            return None
        return Entry(folder, key, found, **told, reused=True, content=_content(record, facts), whole=digest(record))

    @contextmanager
    def alone(self, step: str, key: str, wait: Callable[[bool], None]) -> Iterator[None]:
        """Let nobody else find or make this entry in the block; `wait`, told whether it is the first time, waits."""
        with locks.held(self.root / LOCKS / f"{step}-{key[:16]}.lock", wait):
            yield

    @contextmanager
    def making(self, step: str, key: str, facts: type[_F], anew: bool = False) -> Iterator[Entry[_F]]:
        """Give an entry to fill, in an empty folder, and record it when the block ends, if it is to be kept.

        Its facts must then be of type `facts`: a ValidationError is a fault of the step's.

        Where the block raises, what was written stays, for the user to look at, but without a record; of a block that
        wrote nothing, nothing stays. Until then, what was there before lies in the entry's folder `previous`. A former
        entry to which somebody has added files is set aside, for good.
        """
        folder = self.folder(step, key)
        previous = folder.with_name(folder.name + _PREVIOUS)
        if _has_strangers(folder):
            number = next(n for n in count(1) if not folder.with_name(f"{folder.name}{_SET_ASIDE}{n}").exists())
            folder.rename(folder.with_name(f"{folder.name}{_SET_ASIDE}{number}"))
        damaged = not anew and (folder / RECORD).exists()
        (folder / RECORD).unlink(missing_ok=True)  # first, so that a half-made folder is no entry
        shutil.rmtree(previous, ignore_errors=True)
        if folder.exists():
            folder.rename(previous)
        folder.mkdir(parents=True)
        entry = Entry(folder, key, cast(_F, {}), previous=previous, anew=anew, damaged=damaged)
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
            "summary": entry.summary,
            "seconds": entry.seconds,
            "failed": entry.failed,
            "files": _digests(folder) if entry.tracked else None,
        }
        record = json.loads(json.dumps(record, default=asdict))  # as it will be read
        entry.facts, entry.content, entry.whole = typed(record["facts"], facts), _content(record, facts), digest(record)
        if entry.keep:
            write(folder / RECORD, json.dumps(record | {_DIGEST: entry.whole}, indent=1))

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


@lru_cache
def _measured(facts: type) -> frozenset[str]:
    """Return the names of facts that are :data:`MEASURED`."""
    hints = get_type_hints(facts, include_extras=True)
    return frozenset(name for name, hint in hints.items() if MEASURED in getattr(hint, "__metadata__", ()))


def _content(record: Json, facts: type) -> str:
    lasting = {name: value for name, value in record["facts"].items() if name not in _measured(facts)}
    return digest([lasting, record["files"]])


def _digests(folder: Path) -> dict[str, str]:
    return {name: of for name, of in digests(folder).items() if name != RECORD}


def _read(folder: Path) -> Json | None:
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
