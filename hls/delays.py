"""Delays of the cells of FPGA families, from which the speed of a design is estimated before it is placed."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2


@dataclass(frozen=True)
class Delays:
    """Delays of a family in nanoseconds.

    Attributes
    ----------
    grade : str
        The family and its speed grade, for people.
    lut, mux : float
        Through a LUT, also one that is a memory and read; through a multiplexer between LUTs.
    carry_in, carry_through, carry_out : float
        From a LUT onto a chain and to the end of its cell; from cell to cell; from the chain to a sum.
    clock_to_q, memory_to_q, block_to_q, dsp_to_q : float
        From the clock to a flip-flop's output, that of a LUT as memory, of a block memory, of a DSP's register.
    multiplier : float
        Through a DSP's multiplier, or to its register.
    setup, enable, reset, block_setup : float
        What a value, an enable, a reset must be there before the clock, and anything before that of a block memory.
    net, net_per_doubling : float
        A net takes ``net + net_per_doubling * log2(1 + loads)``.
    source : str
        Where these come from.
    """

    grade: str
    lut: float
    mux: float
    carry_in: float
    carry_through: float
    carry_out: float
    clock_to_q: float
    memory_to_q: float
    block_to_q: float
    dsp_to_q: float
    multiplier: float
    setup: float
    enable: float
    reset: float
    block_setup: float
    net: float
    net_per_doubling: float
    source: str

    @property
    def formula(self) -> str:
        """How a period is estimated, for people."""
        return (
            f"the sum of cells ({self.lut} ns a LUT, {self.carry_in} ns onto a carry chain, {self.carry_through} ns a"
            f" carry cell) and nets ({self.net} ns + {self.net_per_doubling} ns x log2(1 + loads)) between two"
            f" registers of a unit: {self.source}"
        )

    @property
    def adder(self) -> float:
        """Through a net with two readers, a LUT and a carry chain of two cells: an adder of up to 8 bits."""
        return self.wire(2) + self.lut + self.carry_in + self.carry_through + self.carry_out

    def wire(self, loads: int) -> float:
        """Return the delay of a net."""
        return self.net + self.net_per_doubling * log2(1 + loads)


#: By target.
DELAYS: Mapping[str, Delays] = {
    "xilinx7": Delays(
        grade="AMD 7 series -1",
        lut=0.124,
        mux=0.24,
        carry_in=0.533,
        carry_through=0.117,
        carry_out=0.334,
        clock_to_q=0.456,
        memory_to_q=1.31,
        block_to_q=2.454,
        dsp_to_q=0.434,
        multiplier=3.84,
        setup=0.08,
        enable=0.205,
        reset=0.429,
        block_setup=0.566,
        net=0.63,
        net_per_doubling=0.12,
        source=(
            "LUTs, carries and nets as in published timing reports of Vivado for Artix-7 -1; registers, memories and"
            " DSPs by typical values that were not looked up; not calibrated against placed designs"
        ),
    )
}


#: The most adders in a row: more would save few registers.
_MOST_LEVELS = 3


def levels_per_stage(clock_ns: float) -> int:
    """Return how many adders in a row fit between two registers at a clock period, 1 to 3.

    The family is the slowest that is known, so that the same design does for the others.
    """
    delays = max(DELAYS.values(), key=lambda delays: delays.adder)
    return max(1, min(_MOST_LEVELS, int((clock_ns - delays.clock_to_q - delays.setup) / delays.adder)))


def memory_register(clock_ns: float) -> bool:
    """Return whether what is read from block memory needs a register before it is compared, at a clock period.

    Else it goes through three LUTs in that cycle: one chooses between the memories of a deep one.
    """
    return any(
        delays.block_to_q + 3 * (delays.wire(2) + delays.lut) + delays.setup > clock_ns for delays in DELAYS.values()
    )
