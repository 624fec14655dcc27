"""Will it fit: a design held against the FPGAs of common boards.

What a design takes is what synthesis, or placing and routing, has found for the board's own family. Where it was not
synthesised for that one, the figures of another family with look-up tables of as many inputs stand in, and the row
says so. Pins are not counted: a design sits behind a bus, or behind other logic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xnorflow.reports.records import ReportRow, SynthesisRow


@dataclass(frozen=True)
class Board:
    """A board and what its FPGA has.

    Attributes
    ----------
    name, device : str
    families : tuple of str
        Targets of synthesis whose figures serve, the best first.
    lut, ff, bram, dsp : int
    bram_kib : int
        Of one block RAM.
    own : bool
        Whether the first of the families is the board's own.
    source : str
        Where these figures were read, and which of them were not read in the vendor's own words.
    placed : str
        What nextpnr calls the device; empty where it does not place for it.
    """

    name: str
    device: str
    families: tuple[str, ...]
    lut: int
    ff: int
    bram: int
    bram_kib: int
    dsp: int
    source: str
    own: bool = True
    placed: str = ""


_AMD, _FOUR = ("xilinx7", "ultrascale+"), ("ecp5", "ice40")
_UP5K = "Lattice FPGA-DS-02008-1.9, iCE40 UltraPlus Family Data Sheet, table 2.1"
_ECP5 = "what nextpnr-ecp5 counts as available; Lattice FPGA-DS-02012 names the LUTs in thousands"
_9K = "LUT, FF, BRAM: Sipeed's page on the board; DSP: Gowin DS117 as others quote it, not read"
_20K = "Gowin DS102 (GW2A-18) and DS226 as others quote them, not read"
_35T = "LUT, FF: what Vivado's report_utilization has for an xc7a35t; BRAM, DSP: AMD DS180 as others quote it, not read"
_7020 = "what Vivado's report_utilization has for an xc7z020"
_ZU3 = "what Vivado's report_utilization has for an xczu3eg-sbva484"

#: From small to large. Of AMD's block RAMs, halves of 18 Kb are counted, as synthesis does.
BOARDS = (
    Board("iCEBreaker", "iCE40UP5K", ("ice40", "ecp5"), 5280, 5280, 30, 4, 8, _UP5K, placed="ice40-up5k"),
    Board("Tang Nano 9K", "GW1NR-9", _FOUR, 8640, 6480, 26, 18, 20, _9K, own=False),
    Board("Tang Nano 20K", "GW2AR-18", _FOUR, 20736, 15552, 46, 18, 48, _20K, own=False),
    Board("ULX3S 25F", "LFE5U-25F", _FOUR, 24288, 24288, 56, 18, 28, _ECP5, placed="ecp5-25k"),
    Board("ULX3S 85F", "LFE5U-85F", _FOUR, 83640, 83640, 208, 18, 156, _ECP5, placed="ecp5-85k"),
    Board("Basys 3", "XC7A35T", _AMD, 20800, 41600, 100, 18, 90, _35T),
    Board("Arty A7-35", "XC7A35T", _AMD, 20800, 41600, 100, 18, 90, _35T),
    Board("PYNQ-Z2", "XC7Z020", _AMD, 53200, 106400, 280, 18, 220, _7020),
    Board("Ultra96", "ZU3EG", ("ultrascale+", "xilinx7"), 70560, 141120, 432, 18, 360, _ZU3),
)


@dataclass(frozen=True)
class Fit:
    """Whether a design fits on a board.

    Attributes
    ----------
    board : Board
    used : mapping of str to int or None
        By resource ("LUT", "FF", "BRAM", "DSP") what it takes of the board's; None where nothing tells.
    lacking : str
        The first resource of which there is too little, with both numbers; empty where it fits.
    provenance : str
        "placed-and-routed", "synthesised", or "estimated" by another family's figures.
    by : str
        The tool, and what for.
    """

    board: Board
    used: Mapping[str, int]
    lacking: str
    provenance: str
    by: str

    @property
    def shares(self) -> Mapping[str, float]:
        """What it takes of each resource, of all that there is."""
        return {name: number / _available(self.board)[name] for name, number in self.used.items()}


def fits(report: "ReportRow") -> list[Fit]:
    """Hold a report's design against :data:`BOARDS`; none of those that nothing is known for."""
    rows = {row["target"]: row for row in report["synthesis"] if row["total"]}
    found = []
    for board in BOARDS:
        family = next((name for name in board.families if name in rows), None)
        if family:
            found.append(_fit(board, rows[family], own=board.own and family == board.families[0]))
    return found


def _available(board: Board) -> Mapping[str, int]:
    return {"LUT": board.lut, "FF": board.ff, "BRAM": board.bram, "DSP": board.dsp}


def _fit(board: Board, row: "SynthesisRow", own: bool) -> Fit:
    total, placed = row["total"], row["placement"]
    assert total
    blocks = (
        total["bram"] if row["bram_kib"] == board.bram_kib else ceil(total["bram"] * row["bram_kib"] / board.bram_kib)
    )
    used = {"LUT": total["lut"], "FF": total["ff"], "BRAM": blocks, "DSP": total["dsp"]}
    over = [name for name, number in used.items() if number > _available(board)[name]]
    lacking = f"{over[0]}: {used[over[0]]:,} of {_available(board)[over[0]]:,}" if over else ""
    if own and placed and placed["device"] == board.placed and placed["status"] in ("pass", "unfit", "unrouted"):
        reason = "" if placed["fmax_mhz"] else lacking or str(placed["reason"])
        return Fit(board, used, reason, "placed-and-routed", f"{placed['tool']} on {placed['device']}")
    if own:
        return Fit(board, used, lacking, "synthesised", f"{row['tool']} for {row['title']}")
    return Fit(board, used, lacking, "estimated", f"as {row['tool']} counts for {row['title']}, not for this family")
