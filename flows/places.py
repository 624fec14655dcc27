"""The folders that flows write to, in the folder where they are started: which they may take, publish to, and remove.

A flow takes a folder that is not there, that is empty, or that has the mark of an earlier flow, the file
:data:`MARK`. So nothing that is not a flow's is overwritten or removed. What somebody has added to a folder of a flow
stays, too. Links are not followed where something is removed.
"""

import contextlib
import filecmp
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from xnorflow.bnn.errors import UserError
from xnorflow.flows import locks
from xnorflow.flows.cache import kept, write
from xnorflow.hls.folders import digests
from xnorflow.reports import index

BUILD, REPORTS = Path("build"), Path("reports")
"""Where the caches and the reports are, in the folder where a flow is started."""

MARK = ".xnorflow"
"""The file that says that a flow has made a folder, and what it is."""

TRACEBACK = "traceback-{}.txt"
"""Name, in the build folder, of what is told of an error that nobody has foreseen."""

PUBLISHED = ("report.md", "report.html", "report.json")
"""What every report has; the last is what says that all are there."""

SWEEP = ("sweep.csv", "sweep.html")
"""What a sweep leaves in a folder of reports of its own."""

SHOWN = ("mismatch_*.npz", "waveform_*.fst", "bitstream_*")
"""What is published beside a report, where there is any."""

LOCK = ".xnorflow.lock"
"""In the folder of a report: held by the flow that publishes it."""

_REPORT, _COPY, _CACHE = "report", "copy of a project", "cache"
_DRAFT = ".xnorflow.unfinished"
_SET_ASIDE = ".set_aside"
_POLL_SECONDS = 0.05


# --- marks


def _marked(folder: Path) -> dict[str, object]:
    """Return what the mark of a folder says; empty where it has none."""
    try:
        said = json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) and said.get("made by") == "xnorflow" else {}


def is_cache(folder: Path) -> bool:
    """Say whether a folder is a model's cache that a flow has made."""
    there = folder.is_dir() and not folder.is_symlink()
    return there and (_marked(folder).get("what") == _CACHE or lock_of(folder).is_file())


def _mark(folder: Path, what: str, **more: object) -> None:
    write(folder / MARK, json.dumps({"made by": "xnorflow", "what": what, **more}, indent=1) + "\n")


def _content(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name not in (LOCK, MARK)]


def _check(folder: Path, what: str) -> None:
    """Raise a UserError if a folder is there and somebody else's."""
    advice = f"choose another OUT, or move it away; an earlier version's {what} can be removed"
    if folder.is_symlink() and not folder.exists():
        raise UserError(f"{folder} is a link that leads nowhere; a {what} needs a folder: choose another OUT")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder, which a {what} needs: choose another OUT")
    if _marked(folder).get("what") != what and (found := _content(folder)):
        raise UserError(
            f"{folder} has files that no flow has put there ({min(found).name!r}): {advice} (a flow's {what} has the "
            f"file {MARK})"
        )


def judge(target: Path, copies: Iterable[str] = ()) -> None:
    """Refuse a folder for a report, and copies of projects of these names in it, before there is any work done.

    Raises
    ------
    UserError
        If it is no folder, or has files that no flow has put there, or nothing can be written there.
    """
    try:
        _check(target, _REPORT)
        for name in copies:
            _check(target / name, _COPY)
        there = next(path for path in (target, *target.absolute().parents) if path.exists())
        longest = os.pathconf(there, "PC_NAME_MAX") if there.is_dir() else 0
        for part in target.parts:
            if there.is_dir() and len(os.fsencode(part)) > longest:
                raise UserError(f"{target}: a name of more than {longest} bytes; choose another OUT")
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(f"no report can be written to {target} ({error.strerror}); choose another OUT") from None


def lock_of(cache: Path) -> Path:
    """Return the lock of a model's cache."""
    return cache.with_name(f".{cache.name}.lock")


@contextlib.contextmanager
def locked(path: Path, holder: str, console: Console, shared: bool = False) -> Iterator[None]:
    """Wait until nobody else is in such a block; `holder` tells the user what is waited for.

    With `shared`, others may be in it that share it, too.
    """

    def wait(first: bool) -> None:
        if first:
            console.print(f"waiting for {holder}")
        time.sleep(_POLL_SECONDS)

    with locks.held(path, wait, shared):
        yield


@contextlib.contextmanager
def claimed(cache: Path, console: Console, shared: bool = False) -> Iterator[None]:
    """Have the folder for the cache of a model, alone, or with others that share it.

    Raises
    ------
    UserError
        If it has files that no flow has put there.
    """
    earlier = lock_of(cache).is_file()  # versions that left no mark left this
    if cache.is_dir() and not earlier and not _marked(cache) and (found := _content(cache)):
        raise UserError(
            f"{cache} has files that no flow has put there ({min(found).name!r}): move it away, or run elsewhere"
        )
    with locked(lock_of(cache), f"another flow on {cache.name}", console, shared):
        cache.mkdir(exist_ok=True)
        if not _marked(cache):
            _mark(cache, _CACHE)
        yield


# --- publishing


def publish(target: Path, made: Path, projects: Mapping[str, Path]) -> dict[str, Path]:
    """Make a folder show the report in `made`, and copies of projects: all, or nothing.

    Everything is first made in a draft beside the old. Where that fails, all of the old stays; of a process that is
    killed while it puts the new in place, there is no ``report.json``.

    Returns
    -------
    dict of Path
        The copies of the projects, by the same names.

    Raises
    ------
    UserError
        If somebody has put files there meanwhile that are no flow's.
    OSError
        If it cannot be written.
    """
    judge(target, projects)
    shown = sorted(path for pattern in SHOWN for path in made.glob(pattern))
    files = [*shown, *(made / name for name in PUBLISHED)]
    stale = [path for pattern in SHOWN for path in target.glob(pattern) if path.name not in {of.name for of in shown}]
    copied = {name: target / name for name in projects}
    copies = {name: of for name, of in projects.items() if _marked(target / name).get("of") != str(of)}
    if not stale and not copies and all(_same(path, target / path.name) for path in files):
        return copied
    target.mkdir(parents=True, exist_ok=True)
    _mark(target, _REPORT)
    draft = target / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        for path in files:
            shutil.copyfile(path, draft / path.name)
        for name, source in copies.items():
            shutil.copytree(source, draft / name, symlinks=True)
            _mark(draft / name, _COPY, of=str(source), files=digests(source))
        (target / PUBLISHED[-1]).unlink(missing_ok=True)
        for name in copies:
            if (target / name).exists():
                (target / name).rename(draft / f"{name}.old" if _untouched(target / name) else _aside(target / name))
            (draft / name).rename(target / name)
        for path in stale:
            path.unlink()
        for path in files:
            os.replace(draft / path.name, target / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return copied


def publish_pages(folder: Path, pages: Mapping[str, str]) -> None:
    """Write pages into a folder of reports, each whole or not at all.

    Raises
    ------
    UserError
        If it is no folder, or has files that no flow has put there.
    """
    judge(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _mark(folder, _REPORT)
    for name, text in pages.items():
        write(folder / name, text)


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and not other.is_symlink() and filecmp.cmp(one, other, shallow=False)


def _untouched(copy: Path) -> bool:
    """Say whether a copy of a project is as a flow has left it."""
    found = digests(copy)
    found.pop(MARK, None)
    return found == _marked(copy).get("files")


def _aside(folder: Path) -> Path:
    """Return a new name for a folder in which somebody has worked."""
    return next(path for n in count(1) if not (path := folder.with_name(f"{folder.name}{_SET_ASIDE}{n}")).exists())


# --- removing


def clean(console: Console, build: Path = BUILD, reports: Path = REPORTS) -> None:
    """Remove what flows have made: caches, reports, copies of projects, the index. Says what it leaves, and why."""
    for cache in _folders(build):
        if is_cache(cache):
            with locked(lock_of(cache), f"another flow on {cache.name}", console):
                left = _clear_cache(cache)
                lock_of(cache).unlink()
            _tell(console, cache, left)
    for path in build.glob(TRACEBACK.format("*")):
        path.unlink()
    for folder in _folders(reports):
        if _marked(folder).get("what") == _REPORT:
            _tell(console, folder, _clear_report(folder))
        elif (folder / PUBLISHED[-1]).is_file():
            console.print(f"left: {escape(str(folder))}, which has not the mark of a flow, {MARK}; remove it yourself")
    if index.is_index(reports / index.PAGE):
        (reports / index.PAGE).unlink()
        _tell(console, reports / index.PAGE, [])
    for folder in (build, reports):
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.glob("*") if path.is_dir() and not path.is_symlink())


def _tell(console: Console, removed: Path, left: list[Path]) -> None:
    for path in left:
        console.print(f"left: {escape(str(path))}, which no flow has made")
    if not left:
        console.print(f"removed: {escape(str(removed))}")


def _clear_cache(cache: Path) -> list[Path]:
    """Remove a cache, except for entries in which somebody has worked; return these."""
    left = [entry for step in _folders(cache) for entry in _folders(step) if kept(entry)]
    if not left:
        shutil.rmtree(cache)
        return []
    for step in _folders(cache):
        for path in step.iterdir():
            if path not in left:
                _remove(path)
        with contextlib.suppress(OSError):
            step.rmdir()
    return left


def _clear_report(folder: Path) -> list[Path]:
    """Remove a report with what belongs to it; return what is left, which is not a flow's."""
    for copy in _folders(folder):
        if copy.name == _DRAFT or (_marked(copy).get("what") == _COPY and _untouched(copy)):
            shutil.rmtree(copy)
    for pattern in (*PUBLISHED, *SHOWN, *SWEEP):
        for path in folder.glob(pattern):
            if not path.is_dir() or path.is_symlink():
                path.unlink()
    left = _content(folder)
    if not left:
        shutil.rmtree(folder)
    return left


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
