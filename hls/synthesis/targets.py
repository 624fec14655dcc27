"""What is synthesised for: how Yosys is told, and what the cells of each family count as.

============ ===================== ============= ============== ===================
target       ``lut``               ``carry``     ``bram``       ``dsp``
============ ===================== ============= ============== ===================
xilinx7      LUT1 to LUT6, INV     CARRY4        RAMB18 (18 Kb) DSP48E1
ultrascale+  LUT1 to LUT6, INV     CARRY4/CARRY8 RAMB18 (18 Kb) DSP48E2
ecp5         LUT4                  CCU2C         EBR (18 Kb)    MULT18X18D
ice40        SB_LUT4               SB_CARRY      EBR (4 Kb)     SB_MAC16
============ ===================== ============= ============== ===================

A RAMB36 counts as two RAMB18; a CCU2C is made of two LUT4 and counts as these, too. ``ff`` are flip-flops. ``lut`` are
all look-up tables, as in the vendors' reports: beside the cells above those that are used as memories or shift
registers, of which there are ``lutram``. Multiplexers between LUTs (MUXF7, PFUMX, ...) come with the LUTs and are not
counted.

Lattice's are mapped by ABC9, the default of newer Yosys. For folded layers it takes a quarter longer than plain ABC
in Yosys 0.23, and up to a third of the LUTs less.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, Literal

from xnorflow.bnn.errors import UserError
from xnorflow.hls.synthesis.tools import SynthesisError


@dataclass(frozen=True)
class Resources:
    """Cells of a module, by neutral keys; see :mod:`xnorflow.hls.synthesis.targets`."""

    lut: int = 0
    ff: int = 0
    carry: int = 0
    lutram: int = 0
    bram: int = 0
    dsp: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(*(getattr(self, key.name) + getattr(other, key.name) for key in fields(self)))


def total(resources: Iterable[Resources]) -> Resources:
    """Return the sum."""
    return reduce(Resources.__add__, resources, Resources())


@dataclass(frozen=True)
class Target:
    """A family of FPGAs.

    Attributes
    ----------
    name : str
    title : str
        For people.
    synth : str
        The Yosys command.
    library : tuple of str
        Yosys commands that declare the cells.
    models : tuple of str
        Yosys's simulation models of the cells, inside its folder of data.
    unmodelled : str
        Regular expression for the cells that these leave empty.
    lut_inputs : {4, 6}
        How many inputs a look-up table has, 6 or 4: LUTs of two families compare only where it is the same.
    shares : bool
        Whether two look-up tables that read the same take the place of one, see :mod:`xnorflow.hls.synthesis.sharing`.
    bram_unit : str
        What one ``bram`` is.
    bram_kib : int
        Its size in kibibits.
    cells : mapping of str to Resources
        Regular expression for a cell's type -> what it counts as; the first that matches.
    """

    name: str
    title: str
    synth: str
    library: tuple[str, ...]
    models: tuple[str, ...]
    unmodelled: str
    lut_inputs: Literal[4, 6]
    shares: bool
    bram_unit: str
    bram_kib: int
    cells: Mapping[str, Resources]

    def commands(self, top: str) -> list[str]:
        """Return the Yosys commands that map a module."""
        return [f"{self.synth} -top {top}"]

    def count(self, cells: Mapping[str, int]) -> Resources:
        """Return what cells, by type, come to.

        Raises
        ------
        SynthesisError
            If there is a type that is not known, and would go uncounted.
        """
        kinds = []
        for cell, number in cells.items():
            worth = next((worth for kind, worth in self.cells.items() if re.fullmatch(kind, cell)), None)
            if worth is None:
                raise SynthesisError(f"{self.name}: {number} cells of the unknown type {cell}")
            kinds.append(Resources(*(number * getattr(worth, key.name) for key in fields(worth))))
        return total(kinds)


_NOTHING = Resources()
_XILINX_CELLS = {
    r"LUT[1-6]|INV": Resources(lut=1),
    r"FD[RSCP]E(_1)?|LD[CP]E": Resources(ff=1),
    r"CARRY[48]": Resources(carry=1),
    r"SRL16E|SRLC16E|SRLC32E|RAM(32|64)X1S": Resources(lut=1, lutram=1),
    r"RAM(32|64)X1D|RAM128X1S": Resources(lut=2, lutram=2),
    r"RAM128X1D|RAM256X1S|RAM32M|RAM64M": Resources(lut=4, lutram=4),
    r"RAM256X1D|RAM512X1S|RAM32M16|RAM64M8": Resources(lut=8, lutram=8),
    r"RAMB18E[12]": Resources(bram=1),
    r"RAMB36E[12]": Resources(bram=2),
    r"DSP48E[12]": Resources(dsp=1),
    r"MUXF[789]|BUFG|VCC|GND": _NOTHING,
}


def _xilinx(name: str, title: str, family: str) -> Target:
    return Target(
        name,
        title,
        # Without -abc9, which takes fewer LUTs but makes Yosys 0.23 crash on block RAMs of AMD's; and without wide
        # LUTs, which plain ABC prefers: several LUTs with multiplexers, where LUTs alone are smaller and faster.
        f"synth_xilinx -family {family} -flatten -noiopad -noclkbuf -nowidelut",
        ("read_verilog -lib +/xilinx/cells_sim.v", "read_verilog -lib +/xilinx/cells_xtra.v"),
        ("xilinx/cells_sim.v",),
        r"RAMB.*",
        6,
        True,
        "RAMB18",
        18,
        _XILINX_CELLS,
    )


#: By name.
TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        _xilinx("xilinx7", "AMD 7 series", "xc7"),
        _xilinx("ultrascale+", "AMD UltraScale+", "xcup"),
        Target(
            "ecp5",
            "Lattice ECP5",
            "synth_ecp5 -abc9",
            ("read_verilog -lib -specify +/ecp5/cells_sim.v +/ecp5/cells_bb.v",),
            ("ecp5/cells_sim.v",),
            r"DP16KD|PDPW16KD|MULT18X18D",
            4,
            False,
            "EBR of 18 Kb",
            18,
            {
                r"LUT4": Resources(lut=1),
                r"CCU2C": Resources(lut=2, carry=1),
                r"TRELLIS_FF": Resources(ff=1),
                r"TRELLIS_DPR16X4": Resources(lut=4, lutram=4),
                r"DP16KD|PDPW16KD": Resources(bram=1),
                r"MULT18X18D": Resources(dsp=1),
                r"PFUMX|L6MUX21|VHI|VLO": _NOTHING,
            },
        ),
        Target(
            "ice40",
            "Lattice iCE40 UltraPlus",
            "synth_ice40 -dsp -device u -abc9",
            ("read_verilog -D ICE40_U -icells -lib -specify +/ice40/cells_sim.v",),
            ("ice40/cells_sim.v",),
            "",
            4,
            False,
            "EBR of 4 Kb",
            4,
            {
                r"SB_LUT4": Resources(lut=1),
                r"SB_DFF\w*": Resources(ff=1),
                r"SB_CARRY": Resources(carry=1),
                r"SB_RAM40_4K\w*": Resources(bram=1),
                r"SB_MAC16": Resources(dsp=1),
            },
        ),
    )
}


def target(name: str) -> Target:
    """Return a target by its name.

    Raises
    ------
    UserError
        If there is none.
    """
    if name not in TARGETS:
        raise UserError(f"synthesis: no target {name!r}; there are {', '.join(TARGETS)}")
    return TARGETS[name]


def parse(text: str, module: str) -> dict[str, int]:
    """Read the cells of a module, by type, from what Yosys's ``stat -json`` has written.

    Raises
    ------
    SynthesisError
        If `text` is no such thing.
    """
    try:
        data: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise SynthesisError(f"Yosys's statistics of {module}, line {error.lineno}: {error.msg}") from None
    try:
        cells = data["modules"][f"\\{module}"]["num_cells_by_type"]
        return {str(cell).lstrip("\\"): int(number) for cell, number in cells.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SynthesisError(f"Yosys's statistics of {module}: expected the numbers of its cells, found none") from None
