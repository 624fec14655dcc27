"""What all parsers of reports share: lines, tables, numbers, and errors that say where."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xnorflow.bnn.errors import UserError


class ReportError(UserError):
    """A report cannot be read; the message names the file, the line, and what was expected there."""


@dataclass(frozen=True)
class DeviceResources:
    """What a design takes of an FPGA, or an FPGA has; None where the report does not say.

    Attributes
    ----------
    lut, ff : int
        Look-up tables and registers.
    bram : float or None
        Block RAMs of 36 Kib; halves are single RAMs of 18 Kib.
    uram, dsp : int or None
    carry : int or None
        CARRY4 or CARRY8 blocks.
    """

    lut: int
    ff: int
    bram: float | None = None
    uram: int | None = None
    dsp: int | None = None
    carry: int | None = None


class Lines:
    """The lines of a report.

    Parameters
    ----------
    text : str
    name : str
        Of the file, for error messages.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.lines = [line.rstrip("\r") for line in text.split("\n")]

    def error(self, line: int, expected: str) -> ReportError:
        """Return an error about the line with an index; behind the last line, the report has ended too early."""
        if line < len(self.lines):
            return ReportError(f"{self.name}:{line + 1}: expected {expected}, got {self.lines[line].strip()[:200]!r}")
        return ReportError(f"{self.name}:{len(self.lines)}: expected {expected}, but the report ends here")

    def find(self, pattern: str, expected: str, start: int = 0) -> tuple[int, re.Match[str]]:
        """Return the index of the first line, from `start` on, that the pattern is found in, and the match."""
        for index in range(start, len(self.lines)):
            match = re.search(pattern, self.lines[index])
            if match:
                return index, match
        raise self.error(len(self.lines), expected)

    def rows(self, start: int = 0) -> Iterator[tuple[int, list[str]]]:
        """Yield the index and the cells of every line like ``| a | b |``, from `start` on."""
        for index in range(start, len(self.lines)):
            line = self.lines[index].strip()
            if len(line) > 1 and line[0] == line[-1] == "|":
                yield index, [cell.strip() for cell in line[1:-1].split("|")]

    def row(self, name: str, expected: str, start: int = 0) -> tuple[int, list[str]]:
        """Return the first row whose first cell is `name`."""
        for index, cells in self.rows(start):
            if cells[0] == name:
                return index, cells
        raise self.error(len(self.lines), expected)

    def whole(self, line: int, cell: str, expected: str) -> int:
        """Read a whole number."""
        if not re.fullmatch(r"[0-9]{1,15}", cell):
            raise self.error(line, f"{expected} (a whole number)")
        return int(cell)

    def decimal(self, line: int, cell: str, expected: str) -> float:
        """Read a decimal number."""
        if not re.fullmatch(r"[-+]?[0-9]{1,12}(\.[0-9]{1,12})?", cell):
            raise self.error(line, f"{expected} (a number)")
        return float(cell)


def header(lines: Lines) -> Mapping[str, str]:
    """Return the ``| Key : value`` lines at the top of a report of Vivado."""
    found: dict[str, str] = {}
    for line in lines.lines[:40]:
        match = re.match(r"\| (\w[\w ]*?) *: (.*)", line)
        if match:
            found[match[1]] = match[2].strip()
    return found
