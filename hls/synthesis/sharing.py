"""Look-up tables that share one: those of AMD's families have a second output.

A table of six inputs holds two functions of the same five inputs or fewer (LUT6_2; AMD UG474, "Look-Up Table"). Vendor
tools combine such pairs and count them once; Yosys counts each. Adders by threes have many, as sum and carry read the
same, and so have folded layers, where two neurons compare their own weights with the same value at the same address.
Pairs whose inputs differ but are five in all are left out, and so are tables in front of a carry chain, whose second
output often has no way out of the slice: the figure errs to the high side.
"""

from collections import Counter
from collections.abc import Iterable

from xnorflow.hls.synthesis.rtlil import CARRY, CONSTANT, LUT, Bit, Netlist

_SHARED = 5  # inputs of a table whose both outputs are used


def combined(netlists: Iterable[Netlist]) -> int:
    """Return how many look-up tables are left where two that read the same share one, memories not among them."""
    left = 0
    for module in (netlist.module for netlist in netlists):
        reading: Counter[frozenset[Bit]] = Counter()
        carried = {
            module.driver(bit)
            for cell in module.cells
            if CARRY.fullmatch(cell.kind)
            for port in ("S", "DI")
            for bit in cell.ports[port]
        }
        for cell in (cell for cell in module.cells if LUT.fullmatch(cell.kind)):
            if carried.isdisjoint(cell.ports["O"]):
                inputs = {module.driver(bit) for port, bits in cell.ports.items() if port != "O" for bit in bits}
                reading[frozenset(inputs - {CONSTANT})] += 1
            else:
                left += 1
        left += sum((n + 1) // 2 if len(inputs) <= _SHARED else n for inputs, n in reading.items())
    return left
