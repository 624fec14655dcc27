"""Netlists as Yosys writes them (RTLIL), read as far as timing and the sharing of look-up tables need it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from xnorflow.hls.synthesis.yosys import Synthesis

Bit = tuple[str, int]
"""A wire and a position; the constants are ``("", 0)``."""

CONSTANT: Bit = ("", 0)
LUT = re.compile(r"LUT[1-6]|INV")
CARRY = re.compile(r"CARRY[48]")
"""The look-up tables of AMD's families, and the cells of their carry chains."""


@dataclass
class Primitive:
    """A cell: its type, its numeric parameters, and the bits at each port, lowest first."""

    kind: str
    parameters: dict[str, int] = field(default_factory=dict)
    ports: dict[str, list[Bit]] = field(default_factory=dict)


@dataclass
class FlatModule:
    """A flat module."""

    cells: list[Primitive] = field(default_factory=list)
    inputs: list[Bit] = field(default_factory=list)
    outputs: list[Bit] = field(default_factory=list)
    widths: dict[str, int] = field(default_factory=dict)
    joined: dict[Bit, Bit] = field(default_factory=dict)  # what drives a bit that is another's name

    def driver(self, bit: Bit) -> Bit:
        """Return the bit that a bit is another name of, or itself."""
        while bit in self.joined:
            bit = self.joined[bit]
        return bit

    @cached_property
    def names(self) -> dict[Bit, str]:
        """A name of the Verilog's for each bit that has one."""
        public = ((wire, i) for wire, width in self.widths.items() if wire.startswith("\\") for i in range(width))
        return {self.driver((wire, i)): wire[1:] for wire, i in public}


@dataclass(frozen=True)
class Netlist:
    """The netlist of a unit, and the layer that it belongs to, or ``""``."""

    layer: str
    module: FlatModule


def netlists(synthesis: Synthesis) -> list[Netlist]:
    """Read the netlists of all units; the first module only joins the others."""
    return [
        Netlist(module.layer or "", parse((module.folder / "netlist.il").read_text()))
        for module in synthesis.modules[1:]
    ]


def parse(text: str) -> FlatModule:
    """Read a flat module."""
    module, cell = FlatModule(), Primitive("")
    for line in text.splitlines():
        words = line.split()
        match words[:1]:
            case ["wire"]:
                width = int(words[words.index("width") + 1]) if "width" in words else 1
                module.widths[words[-1]] = width
                bits = [(words[-1], i) for i in range(width)]
                module.inputs += bits if "input" in words else []
                module.outputs += bits if "output" in words else []
            case ["cell"]:
                module.cells.append(cell := Primitive(words[1][1:]))
            case ["parameter"] if re.fullmatch(r"\d+|\d+'[01]+", words[-1]):
                value = words[-1].partition("'")[2]
                cell.parameters[words[-2][1:]] = int(value, 2) if value else int(words[-1])
            case ["connect"] if line.startswith("    "):
                cell.ports[words[1][1:]] = _bits(iter(words[2:]), module.widths)
            case ["connect"]:
                tokens = iter(words[1:])
                driven, driver = _signal(next(tokens), tokens, module.widths)
                module.joined.update(zip(driven, _bits(driver, module.widths)))
    return module


def _bits(tokens: Iterator[str], widths: Mapping[str, int]) -> list[Bit]:
    """Read one signal, lowest bit first."""
    return _signal(next(tokens), tokens, widths)[0]


def _signal(token: str, tokens: Iterator[str], widths: Mapping[str, int]) -> tuple[list[Bit], Iterator[str]]:
    """Read the signal that begins with `token`; return it and the tokens behind it."""
    if token == "{":
        pieces: list[list[Bit]] = []
        token = next(tokens)
        while token != "}":
            piece, tokens = _signal(token, tokens, widths)
            pieces.append(piece)
            token = next(tokens)
        return [bit for piece in reversed(pieces) for bit in piece], tokens
    if token[0] not in "\\$":
        return [CONSTANT] * (int(token.partition("'")[0]) if "'" in token else 32), tokens
    bits = [(token, i) for i in range(widths[token])]
    following = next(tokens, "")
    if following.startswith("["):
        high, _, low = following[1:-1].partition(":")
        return bits[int(low or high) : int(high) + 1], tokens
    return bits, _pushed(following, tokens)


def _pushed(token: str, tokens: Iterator[str]) -> Iterator[str]:
    if token:
        yield token
    yield from tokens
