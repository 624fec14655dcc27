"""How fast each layer of a netlist is, before it is placed: an estimate by the delays of its cells.

No open tool places for AMD's families. What their own reports show is that nets take more than LUTs, and that carries
are next to free; so a path is the sum of its cells' delays and of a net for each, which grows with the logarithm of
what it drives. Nets inside of a slice take nothing: from a LUT that drives but one carry, multiplexer or flip-flop,
from a carry to its flip-flop, and along a chain. Each unit's ports count as registers, so that a path through several
units, as that of the ready signals, is cut there. Hold, clock skew and placement are not looked at.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from xnorflow.hls.delays import DELAYS, Delays
from xnorflow.hls.synthesis.rtlil import CARRY, CONSTANT, LUT, Bit, FlatModule, Netlist, Primitive
from xnorflow.hls.synthesis.tools import SynthesisError


@dataclass(frozen=True)
class Path:
    """The slowest path between registers of a layer, or from or to its ports.

    Attributes
    ----------
    ns : float
        Setup included: the shortest period.
    start, end : str
        Signals of the Verilog; empty where they have no name.
    luts, carries : int
        On the way; a carry cell counts once for each that is passed.
    layer : str
    """

    ns: float
    start: str
    end: str
    luts: int
    carries: int
    layer: str = ""


def slowest(netlists: Iterable[Netlist], target: str) -> Path | None:
    """Return the slowest path of all layers; None where nothing is known of the target's delays.

    Raises
    ------
    SynthesisError
        If a netlist has cells that are not known, or a loop without a register.
    """
    delays = DELAYS.get(target)
    if delays is None:
        return None
    paths = [replace(path_of(netlist.module, delays), layer=netlist.layer) for netlist in netlists]
    return max(paths, key=lambda path: path.ns, default=None)


def path_of(module: FlatModule, delays: Delays) -> Path:
    """Return the slowest path of a module.

    Raises
    ------
    SynthesisError
        If it has cells that are not known, or a loop without a register.
    """
    return _PathSearch(module, delays).slowest()


_MUX = re.compile(r"MUXF[789]")
_REGISTER = re.compile(r"FD[RSCP]E(_1)?")
_MEMORY = re.compile(r"RAM\d+(X1[SD]|M)|SRL(16E|C16E|C32E)")
_BLOCK = re.compile(r"RAMB(18|36)E1")
_DSP = re.compile(r"DSP48E1")
_CLOCKS = re.compile(r"C|CLK|WCLK|CLKARDCLK|CLKBWRCLK|RDCLK|WRCLK|REGCLK\w*|CASCADE\w*")
_OUTPUTS = re.compile(r"O|Q|Q15|Q31|CO|DO[A-H]?|DPO|SPO|P|DOADO|DOBDO|DOPADOP|DOPBDOP")
_ADDRESSES = re.compile(r"A\d*|ADDR[A-H]|DPRA\d*")


class _PathSearch:
    def __init__(self, module: FlatModule, delays: Delays) -> None:
        self.module, self.delays = module, delays
        self.arcs: dict[Bit, list[tuple[Bit, float, str]]] = defaultdict(list)  # from where, how long, through what
        self.kinds: dict[Bit, str] = {}  # what drives a bit
        self.starts: dict[Bit, float] = {}  # from the clock to a bit
        self.ends: list[tuple[Bit, float, str, str]] = []  # a bit, its setup, into what, and the name of that
        self.loads: Counter[Bit] = Counter()
        for cell in module.cells:
            self._add(cell)
        self.starts |= dict.fromkeys(module.inputs, delays.clock_to_q)
        for bit in module.outputs:
            self._end(module.driver(bit), delays.setup, "port", bit[0][1:])

    def _add(self, cell: Primitive) -> None:
        driver, delays, kind = self.module.driver, self.delays, cell.kind
        outputs = {port: bits for port, bits in cell.ports.items() if _OUTPUTS.fullmatch(port)}
        inputs = {
            port: [driver(bit) for bit in bits]
            for port, bits in cell.ports.items()
            if port not in outputs and not _CLOCKS.fullmatch(port)
        }
        self.loads.update(bit for bits in inputs.values() for bit in bits)
        self.kinds |= {bit: kind for bits in outputs.values() for bit in bits}
        name = next((self.module.names[driver(b)] for bits in outputs.values() for b in bits
                     if driver(b) in self.module.names), kind)  # fmt: skip
        if LUT.fullmatch(kind) or _MUX.fullmatch(kind):
            delay = delays.lut if LUT.fullmatch(kind) else delays.mux
            self._through(outputs, [bit for bits in inputs.values() for bit in bits], delay, kind)
        elif CARRY.fullmatch(kind):
            self._carry(cell, inputs)
        elif _REGISTER.fullmatch(kind):
            self._start(outputs, delays.clock_to_q)
            setups = {"D": delays.setup, "CE": delays.enable}
            for port, bits in inputs.items():
                for bit in bits:
                    self._end(bit, setups.get(port, delays.reset), kind if port == "D" else port, name)
        elif _MEMORY.fullmatch(kind):
            self._start(outputs, delays.memory_to_q)
            read = [bit for port, bits in inputs.items() if _ADDRESSES.fullmatch(port) for bit in bits]
            self._through(outputs, read, delays.lut, kind)
            for bits in inputs.values():
                for bit in bits:
                    self._end(bit, delays.enable, kind, name)
        elif _BLOCK.fullmatch(kind):
            self._start(outputs, delays.block_to_q)
            for bits in inputs.values():
                for bit in bits:
                    self._end(bit, delays.block_setup, kind, name)
        elif _DSP.fullmatch(kind):
            self._dsp(cell, outputs, inputs, name)
        else:
            raise SynthesisError(f"timing: {kind} is a cell of unknown speed")

    def _start(self, outputs: Mapping[str, list[Bit]], delay: float) -> None:
        self.starts |= {bit: delay for bits in outputs.values() for bit in bits}

    def _end(self, bit: Bit, setup: float, into: str, name: str) -> None:
        self.ends.append((bit, setup, into, name))

    def _through(self, outputs: Mapping[str, list[Bit]], inputs: list[Bit], delay: float, kind: str) -> None:
        for bits in outputs.values():
            for out in bits:
                self.arcs[out] += [(bit, delay, kind) for bit in inputs]

    def _carry(self, cell: Primitive, inputs: Mapping[str, list[Bit]]) -> None:
        delays = self.delays
        for port, out_delay in (("CO", delays.carry_through), ("O", delays.carry_out)):
            for i, out in enumerate(cell.ports.get(port, [])):
                own = [bit for side in ("S", "DI") for bit in inputs[side][: i + 1]]
                self.arcs[out] += [(bit, delays.carry_in, "CARRY4") for bit in [*own, *inputs.get("CYINIT", [])]]
                self.arcs[out] += [(bit, out_delay, "CARRY4") for bit in inputs.get("CI", [])]

    def _dsp(
        self, cell: Primitive, outputs: Mapping[str, list[Bit]], inputs: Mapping[str, list[Bit]], name: str
    ) -> None:
        delays, last, middle = self.delays, cell.parameters.get("PREG", 1), cell.parameters.get("MREG", 1)
        self._start(outputs, delays.dsp_to_q if last else delays.multiplier)
        for port in "ABCD":
            operands, first = inputs.get(port, []), cell.parameters.get(f"{port}REG", 1)
            if not (first or middle or last):
                self._through(outputs, operands, delays.multiplier, cell.kind)
            for bit in operands:
                self._end(bit, delays.setup if first else delays.multiplier, cell.kind, name)

    def slowest(self) -> Path:
        try:
            order = list(
                TopologicalSorter({out: {bit for bit, *_ in arcs} for out, arcs in self.arcs.items()}).static_order()
            )
        except CycleError:
            raise SynthesisError("timing: the netlist has a loop without a register") from None
        arrival: dict[Bit, float] = {}
        before: dict[Bit, tuple[Bit, str]] = {}
        for bit in order:
            arrival[bit] = self.starts.get(bit, 0.0)
            for source, delay, kind in self.arcs.get(bit, ()):
                found = arrival[source] + self._net(source, kind) + delay
                if found > arrival[bit]:
                    arrival[bit], before[bit] = found, (source, kind)
        worst, end, name = 0.0, CONSTANT, ""
        for bit, setup, into, target in self.ends:
            found = arrival.get(bit, self.starts.get(bit, 0.0)) + self._net(bit, into) + setup
            if bit != CONSTANT and found > worst:
                worst, end, name = found, bit, target
        kinds = []
        while end in before:
            end, kind = before[end]
            kinds.append(kind)
        luts = sum(bool(LUT.fullmatch(kind) or _MEMORY.fullmatch(kind)) for kind in kinds)
        return Path(
            worst, self.module.names.get(end, "a constant"), name, luts, sum(kind == "CARRY4" for kind in kinds)
        )

    def _net(self, bit: Bit, into: str) -> float:
        """Return the delay from the output of a cell to another cell."""
        kind, alone = self.kinds.get(bit, "port"), self.loads[bit] == 1
        if bit == CONSTANT or (into == kind == "CARRY4"):
            return 0.0
        from_logic = bool(LUT.fullmatch(kind) or _MUX.fullmatch(kind))
        inside = into == "CARRY4" or _MUX.fullmatch(into) or _REGISTER.fullmatch(into)
        if alone and ((from_logic and inside) or (kind == "CARRY4" and _REGISTER.fullmatch(into))):
            return 0.0
        return self.delays.wire(self.loads[bit])
