"""The code that a function can reach: its own module, and all of the project that this imports, at any depth.

It is told from the text alone, imports inside functions included; those for types alone reach nothing. A file that is
no Python, such as a template, belongs to the modules that name it, or its folder, in a piece of text. The records of
facts do not count: what is kept is checked against them when it is found.
"""

import ast
import hashlib
import sys
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from xnorflow.flows.cache import PROJECT
from xnorflow.hls.folders import file_digest

FOLDERS = ("bnn", "models", "hls", "cosim", "reports", "flows")
"""Where the project's code is."""

_NAME = "xnorflow."
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # of statements
_RECORDS = {PROJECT / "flows" / "facts.py", PROJECT / "reports" / "records.py"}
_NO_CODE = ("__pycache__", "checkpoints", "baselines")  # what is read as data, and known by its digest


def imported(path: Path, types: bool = False) -> set[Path]:
    """Return the files of the project that a Python file imports, anywhere in it.

    Parameters
    ----------
    path : Path
        Below :data:`xnorflow.flows.cache.PROJECT`.
    types : bool
        Count those for types alone, too.

    Raises
    ------
    ValueError
        If it has a relative import, which nobody follows here.
    """
    names: set[str] = set()
    waiting: list[ast.AST] = list(ast.parse(path.read_bytes()).body)
    while waiting:
        node = waiting.pop()
        if (
            isinstance(node, ast.If)
            and not types
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
        ):
            waiting += node.orelse
            continue
        for part in _BLOCKS:  # statements are in statements alone
            waiting += getattr(node, part, ())
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}: a relative import")
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {file for name in names for file in _files(name)}


@cache
def _files(module: str) -> tuple[Path, ...]:
    """Return the files that are run when a module of the project is imported: none of others."""
    if not module.startswith(_NAME):
        return ()
    *packages, last = module.removeprefix(_NAME).split(".")
    folders = [PROJECT.joinpath(*packages[: n + 1]) / "__init__.py" for n in range(len(packages))]
    place = PROJECT.joinpath(*packages, last)
    return tuple(file for file in (*folders, place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def _named(path: Path) -> set[Path]:
    """Return the files beside a module that are no Python, and that it names: by themselves, or by their folder."""
    text = path.read_text()
    found: set[Path] = set()
    for beside in _beside(path.parent):
        if f'"{beside.name}"' in text:
            found |= {file for file in ([beside] if beside.is_file() else beside.rglob("*")) if file.is_file()}
    return {file for file in found if file.suffix != ".py" and "__pycache__" not in file.parts}


@cache
def _beside(folder: Path) -> tuple[Path, ...]:
    """Return what is in a folder that may have files of another kind than Python's."""
    return tuple(path for path in folder.iterdir() if path.suffix != ".py" and path.name not in _NO_CODE)


@cache
def _next(path: Path) -> frozenset[Path]:
    ours = path.suffix == ".py" and any(path.is_relative_to(PROJECT / folder) for folder in FOLDERS)
    return frozenset((imported(path) | _named(path)) - _RECORDS) if ours else frozenset()


_parsing = threading.Lock()  # Python 3.11 cannot parse in several threads at a time (its issue 106905)


@cache
def reach(modules: frozenset[str]) -> frozenset[Path]:
    """Return all files that modules, by name, can reach; of a module outside the project, its own file."""
    waiting: list[Path] = []
    for module in modules:
        found = _files(module)
        source = getattr(sys.modules.get(module), "__file__", None)
        waiting += found or ([Path(source)] if source else [])
    reached: set[Path] = set()
    with _parsing:
        while waiting:
            path = waiting.pop()
            if path not in reached:
                reached.add(path)
                waiting += _next(path)
    return frozenset(reached)


@cache
def _digest_of(path: Path) -> str:
    return file_digest(path)


def digest(modules: Iterable[str]) -> str:
    """SHA-256 of all files that modules can reach."""
    sha = hashlib.sha256()
    for path in sorted(reach(frozenset(modules))):
        name = path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path.name
        sha.update(f"{name}\0{_digest_of(path)}\n".encode())
    return sha.hexdigest()
