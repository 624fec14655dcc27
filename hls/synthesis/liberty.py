"""A library of standard cells in a Liberty file: what its cells take and do."""

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.files import read_bytes
from xnorflow.hls.folders import build_once

#: Bytes of a file, packed or not: large libraries have some hundred megabytes.
LARGEST = 1 << 29
_DEEPEST = 100  # groups within groups: libraries have some five
#: The file that tools read, in the library's folder.
CELLS = "cells.lib"


@dataclass(frozen=True)
class Cell:
    """A standard cell.

    Attributes
    ----------
    name : str
    area : float
        As the file has it: in square micrometres, which every foundry gives.
    outputs : mapping of str to str
        Output pin -> its function, empty where it has none.
    inputs : tuple of str
    sequential : bool
        Whether it is a flip-flop or a latch.
    usable : bool
        Whether synthesis may take it: not what the file marks as ``dont_use``, or what keeps its supply (``always_on``)
        where others are switched off.
    """

    name: str
    area: float
    outputs: Mapping[str, str]
    inputs: tuple[str, ...]
    sequential: bool
    usable: bool


@dataclass(frozen=True)
class Library:
    """A library.

    Attributes
    ----------
    name : str
        As the file names it, which says of which process and corner it is.
    folder : Path
        Has :data:`CELLS`, the file as tools read it: unpacked, what is not usable marked so.
    cells : mapping of str to Cell
    gate : Cell
        The smallest NAND of two inputs, whose area is one gate equivalent.
    ties : tuple of (str, str), or None
        Cell and output pin of the smallest constant 0 and 1; None if the library lacks one.
    """

    name: str
    folder: Path
    cells: Mapping[str, Cell]
    gate: Cell
    ties: tuple[tuple[str, str], tuple[str, str]] | None


def load(path: Path, cache: Path) -> Library:
    """Read a Liberty file.

    Parameters
    ----------
    path : Path
        Text, perhaps packed by gzip.
    cache : Path
        In which the library's folder is made, or found.

    Raises
    ------
    UserError
        If the file cannot be read, is no library, or has no flip-flop or no NAND of two inputs to map to.
    """
    content = read_bytes(path, LARGEST)
    if content.startswith(b"\x1f\x8b"):
        content = _unpacked(path, content)
    text = content.decode("utf-8", "replace")
    try:
        name, cells = _parse(text)
    except _TooDeep:
        raise UserError(f"{path}: expected groups in at most {_DEEPEST} others, as in Liberty format") from None
    if not cells:
        raise UserError(f"{path}: expected a library of cells in Liberty format, got none")
    usable = [cell for cell in cells.values() if cell.usable]
    if not any(cell.sequential for cell in usable):
        raise UserError(f"{path}: the library has no flip-flop, so that nothing can be mapped to it")
    gate = min((cell for cell in usable if _is_nand(cell)), key=lambda cell: cell.area, default=None)
    if gate is None:
        raise UserError(f"{path}: the library has no NAND of two inputs, so that nothing can be mapped to it")
    marked = _marked(text, [cell.name for cell in cells.values() if not cell.usable])
    folder = cache.resolve() / f"liberty-{hashlib.sha256(marked.encode()).hexdigest()[:16]}"

    def build(private: Path) -> None:
        (private / CELLS).write_text(marked)

    build_once(folder, build)
    low, high = (_tie(usable, constant) for constant in "01")
    return Library(name, folder, cells, gate, (low, high) if low and high else None)


def _unpacked(path: Path, content: bytes) -> bytes:
    try:
        unpacked = gzip.GzipFile(fileobj=io.BytesIO(content)).read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: damaged: {error}") from None
    if len(unpacked) > LARGEST:
        raise UserError(f"{path}: expected at most {LARGEST:,} bytes, got more")
    return unpacked


def _marked(text: str, names: list[str]) -> str:
    """Mark cells as not to be used, in the words that all tools know."""
    if not names:
        return text
    heads = re.compile(rf'\bcell\s*\(\s*"?({"|".join(map(re.escape, names))})"?\s*\)\s*\{{')
    return heads.sub(lambda head: f"{head[0]} dont_use : true;", text)


# --- the format: groups ``name (arguments) { ... }`` of attributes ``name : value ;``

_TABLES = re.compile(r"\b(?:values|index_\d)\s*\([^()]*\)\s*;?")  # nearly all of a file, and for nobody here
_COMMENT = re.compile(r"/\*.*?\*/|\\\r?\n", re.S)
_TOKEN = re.compile(r'"[^"]*"|[{};]|[^"{};]+')
_GROUP = re.compile(r"(\w+)\s*\(([^()]*)\)\s*\Z")
_ATTRIBUTE = re.compile(r'(\w+)\s*:\s*(?:"([^"]*)"|([^\s;]+))')


class _TooDeep(Exception): ...


def _parse(text: str) -> tuple[str, dict[str, Cell]]:
    """Return the library's name and its cells."""
    library, cells = "", {}
    cell = _CellGroup("")
    for groups, name, value in _statements(_TABLES.sub("", _COMMENT.sub(" ", text))):
        kinds = [kind for kind, _ in groups]
        if kinds[:1] == ["library"]:
            library = groups[0][1]
        if kinds[:2] != ["library", "cell"]:
            continue
        if groups[1][1] != cell.name or cell.name not in cells:
            cell = cells[groups[1][1]] = _CellGroup(groups[1][1])
        if len(groups) == 2:
            cell.own[name] = value
        elif kinds[2] in ("ff", "latch", "ff_bank", "latch_bank", "statetable"):
            cell.sequential = True
        elif kinds[2] == "pin" and len(groups) == 3:
            cell.pins.setdefault(groups[2][1], {})[name] = value
    return library, {name: _cell(found) for name, found in cells.items()}


def _statements(text: str) -> Iterator[tuple[list[tuple[str, str]], str, str]]:
    """Yield every attribute, and for a group its opening with an empty name, with the groups that it is in."""
    groups: list[tuple[str, str]] = []
    head: list[str] = []
    for token in _TOKEN.findall(text):
        if token not in ("{", "}", ";"):
            head.append(token)
            continue
        said = "".join(head)
        head = []
        for found in _ATTRIBUTE.finditer(said):  # a line's end may stand for the semicolon
            yield groups, found[1], found[2] if found[2] is not None else found[3]
        if token == "{":
            found_group = _GROUP.search(said)
            groups.append((found_group[1], found_group[2].strip(' \t\r\n"')) if found_group else ("", ""))
            if len(groups) > _DEEPEST:
                raise _TooDeep
            yield groups, "", ""
        elif token == "}" and groups:
            groups.pop()


@dataclass
class _CellGroup:
    """Attributes of a cell, and of its pins, as the file has them."""

    name: str
    own: dict[str, str] = field(default_factory=dict)
    pins: dict[str, dict[str, str]] = field(default_factory=dict)
    sequential: bool = False


def _cell(found: _CellGroup) -> Cell:
    own, pins = found.own, found.pins
    try:
        area = float(own.get("area", 0))
    except ValueError:
        area = 0.0
    return Cell(
        found.name,
        area,
        {name: pin.get("function", "") for name, pin in pins.items() if pin.get("direction") == "output"},
        tuple(name for name, pin in pins.items() if pin.get("direction") == "input"),
        found.sequential,
        area > 0 and not any(own.get(mark) == "true" for mark in ("dont_use", "always_on")),
    )


def _tie(cells: Iterable[Cell], constant: str) -> tuple[str, str] | None:
    """Return the smallest cell and its pin of a constant, if there is one."""
    found = [
        (cell.area, cell.name, pin)
        for cell in cells
        if not cell.inputs
        for pin, function in cell.outputs.items()
        if function.strip("() ") == constant
    ]
    return min(found)[1:] if found else None


def _is_nand(cell: Cell) -> bool:
    if cell.sequential or len(cell.inputs) != 2 or len(cell.outputs) != 1:
        return False
    (function,) = cell.outputs.values()
    try:
        return all(
            _value(function, dict(zip(cell.inputs, (a, b)))) != (a and b) for a, b in product((False, True), repeat=2)
        )
    except (KeyError, IndexError, RecursionError):
        return False


def _value(function: str, pins: Mapping[str, bool]) -> bool:
    """Return what a Liberty function gives.

    ``!`` or ``'`` inverts and binds most; then come ``^``, ``*`` or ``&`` or a space, and ``+`` or ``|``.

    Raises
    ------
    KeyError, IndexError
        If it is no such function of these pins.
    """
    tokens = re.findall(r"\w+(?:\[\d+\])?|\S", function)[::-1]

    def operand() -> bool:
        token = tokens.pop()
        if token == "!":
            return not operand()
        if token == "(":
            value = either()
            if tokens.pop() != ")":
                raise KeyError(function)
        else:
            value = {"0": False, "1": True, **pins}[token]
        while tokens and tokens[-1] == "'":
            tokens.pop()
            value = not value
        return value

    def differ() -> bool:
        value = operand()
        while tokens and tokens[-1] == "^":
            tokens.pop()
            value ^= operand()
        return value

    def both() -> bool:
        value = differ()
        while tokens and tokens[-1] not in ("+", "|", ")"):
            if tokens[-1] in ("*", "&"):
                tokens.pop()
            value &= differ()
        return value

    def either() -> bool:
        value = both()
        while tokens and tokens[-1] in ("+", "|"):
            tokens.pop()
            value |= both()
        return value

    result = either()
    if tokens:
        raise KeyError(function)
    return result
