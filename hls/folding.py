"""How the layers of a packed hls4ml project are folded: by the same goal as the RTL's, a frame rate and an area.

All layers run side by side, so each gets the cheapest folding that keeps up with one interval. **The area is an
estimate**, in 6-input LUTs, by :data:`PRICES`. Logic synthesis of the same logic, written as Verilog, is what they are
fitted to (:mod:`xnorflow.hls.calibration`): within 24 % of each of the layers there, and between 26 % less and 57 %
more of the others that they are held against. No HLS tool has been asked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Conv2d, Dense, Network
from xnorflow.hls.config import PARTITIONED, HlsConfig
from xnorflow.hls.storage import Storage, packed

UNROLLED = 4096
"""Most weights that a layer may have to be unrolled without being asked for: where HLS tools stop partitioning."""

_RESHAPED = 4096  # bits of a word of a reshaped memory
_SHIFTED = 32  # bits of a shift register that is a LUT
_TREE = 512  # bits that one neuron takes in per cycle: one compressor tree


@dataclass(frozen=True)
class Price:
    """A constant of an estimate.

    Attributes
    ----------
    name : str
    value : float
    unit : str
        What it counts, and per what.
    source : str
        What it rests on.
    """

    name: str
    value: float
    unit: str
    source: str


_FIT = (
    "fitted to what Yosys 0.23 makes of the same logic for 7 series: within 24 % of 13 layers, and 26 % less to 57 % "
    "more of 6 others"
)
LANE = Price("lane", 1.8, "LUTs per bipolar input and neuron in parallel", _FIT)
INTEGER = Price("integer lane", 3.0, "LUTs per bit of an integer input, and neuron in parallel", _FIT)
MASK = Price("mask", 0.65, "LUTs more per input and neuron in parallel, with zero weights or padding", _FIT)
ACCUMULATOR = Price("accumulator", 1.0, "LUTs per bit and neuron in parallel", "an adder's bit is a LUT")
CHOICE = Price("choice", 0.75, "LUTs per bit of a window that is taken in parts", _FIT)
RESULT = Price("result", 1.0, "LUTs per neuron of a layer whose neurons are computed group by group", _FIT)
CONTROL = Price("control", 20.0, "LUTs of a layer", _FIT)
ADDER = Price("shared adder", 0.3, "LUTs per hard-wired weight and bit of its input", _FIT)
PRICES = (LANE, INTEGER, MASK, ACCUMULATOR, CHOICE, RESULT, CONTROL, ADDER)
"""Of the estimated LUTs."""


@dataclass(frozen=True)
class Neurons:
    """A layer with weights, as far as its folding depends on it.

    Attributes
    ----------
    name : str
    neurons, taps : int
        Neurons, and pixels of the operand in a window.
    storage : Storage
        Of the operand.
    vectors, positions : int
        Windows that are due, and pixels scanned, of a frame.
    masked : bool
        Whether some terms count as zero.
    line_buffer : int
        LUTs of the rows of pixels that wait above the window: a shift register of up to 32 bits is one.
    """

    name: str
    neurons: int
    taps: int
    storage: Storage
    vectors: int
    positions: int
    masked: bool
    line_buffer: int = 0

    @property
    def inputs(self) -> int:
        """Inputs of a neuron."""
        return self.taps * self.storage.channels

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.neurons * self.inputs

    @property
    def input_bits(self) -> int:
        """Bits of an input."""
        return 1 if self.binary else self.storage.bits

    @property
    def binary(self) -> bool:
        """Whether the operand is bipolar."""
        return self.storage.kind == "packed"


@dataclass(frozen=True)
class Folding:
    """`pe` neurons at a time, `group` parts of `part_bits` bits (or integers) of their inputs per cycle."""

    layer: Neurons
    pe: int
    part_bits: int
    group: int

    @property
    def parts_per_word(self) -> int:
        """Parts of an element of the operand."""
        return ceil(self.layer.storage.bits / self.part_bits) if self.layer.binary else 1

    @property
    def parts(self) -> int:
        """Parts of a window."""
        return self.layer.taps * self.layer.storage.elements * self.parts_per_word

    @property
    def simd(self) -> int:
        """Inputs of a neuron per cycle."""
        return self.group * (self.part_bits if self.layer.binary else 1)

    @property
    def input_folds(self) -> int:
        """Cycles for a neuron."""
        return ceil(self.parts / self.group)

    @property
    def neuron_folds(self) -> int:
        """Groups of neurons."""
        return ceil(self.layer.neurons / self.pe)

    @property
    def cycles(self) -> int:
        """Cycles for a window."""
        return self.input_folds * self.neuron_folds

    @property
    def interval(self) -> int:
        """Cycles for a frame: those of the windows, and one for each other pixel that is scanned."""
        return self.layer.positions - self.layer.vectors + self.layer.vectors * self.cycles

    @cached_property
    def words(self) -> int:
        """Words of weights per neuron and cycle."""
        return self.group if self.layer.binary else ceil(self.group / 64)

    @property
    def word_bits(self) -> int:
        """Bits of such a word's type."""
        used = self.part_bits if self.layer.binary else min(64, self.group)
        return max(8, 1 << (used - 1).bit_length())

    @property
    def possible(self) -> bool:
        """Whether tools take it."""
        return (
            self.simd <= _TREE
            and self.input_folds * self.group <= PARTITIONED
            and self.pe * self.words * self.word_bits <= _RESHAPED
            and self.neuron_folds * (1 if self.layer.binary else self.pe) <= PARTITIONED
        )

    @property
    def accumulator_bits(self) -> int:
        """Bits of an accumulator, at most."""
        layer = self.layer
        return (2 * layer.inputs).bit_length() + 1 + (0 if layer.binary else layer.storage.bits)

    @property
    def memory_bits(self) -> int:
        """Bits of weights, with their masks, and of what accumulators start from."""
        starts = self.neuron_folds * self.pe * self.accumulator_bits
        return self.neuron_folds * self.input_folds * self.pe * self.simd * (1 + self.layer.masked) + starts

    @cached_property
    def luts(self) -> int:
        """Estimated 6-input LUTs; see the module."""
        layer = self.layer
        lane = (LANE.value if layer.binary else INTEGER.value * self.part_bits) + MASK.value * layer.masked
        window = layer.inputs * layer.input_bits
        neuron = self.simd * lane + ACCUMULATOR.value * self.accumulator_bits
        choice = CHOICE.value * window * (self.input_folds > 1)
        kept = RESULT.value * layer.neurons * (self.neuron_folds > 1)
        return ceil(self.pe * neuron + choice + kept + CONTROL.value) + layer.line_buffer

    def __str__(self) -> str:
        return f"{self.pe} PE x {self.simd} SIMD"


@dataclass(frozen=True)
class HardWired:
    """Hard-wired weights: a graph of adders that the neurons share, a window per cycle."""

    layer: Neurons

    cycles, memory_bits = 1, 0

    @property
    def interval(self) -> int:
        """Cycles for a frame."""
        return self.layer.positions

    @property
    def luts(self) -> int:
        """Estimated 6-input LUTs; see the module."""
        return ceil(ADDER.value * self.layer.weights * self.layer.input_bits + CONTROL.value) + self.layer.line_buffer

    def __str__(self) -> str:
        return "unrolled"


Architecture = Folding | HardWired


@dataclass(frozen=True)
class Plan:
    """How the layers are folded, and why.

    Attributes
    ----------
    layers : mapping of layer name to Folding or HardWired
    notes : tuple of str
        What could not be had, and what is large for a tool.
    """

    layers: Mapping[str, Architecture]
    notes: tuple[str, ...]

    @property
    def interval(self) -> int:
        """Cycles for a frame: the slowest layer's."""
        return max((layer.interval for layer in self.layers.values()), default=1)

    @property
    def luts(self) -> int:
        """Estimated 6-input LUTs of the layers with weights."""
        return sum(layer.luts for layer in self.layers.values())


def plan(network: Network, config: HlsConfig) -> Plan:
    """Fold the layers of `network`: the slowest that reach the target rate, slower where they exceed the area.

    Raises
    ------
    UserError
        If a layer is too large for any folding that tools take, or is to be unrolled although it has too many weights.
    """
    layers = neurons(network)
    cycle_rate = 1e9 / config.clock_ns
    wanted = int(cycle_rate / config.target_fps) if config.target_fps is not None else 1

    def folded(interval: int) -> dict[str, Architecture]:
        return {layer.name: _architecture(layer, interval, config) for layer in layers}

    interval = max(wanted, 1)
    made = folded(interval)
    if config.max_luts is not None and sum(layer.luts for layer in made.values()) > config.max_luts:
        low, high = interval, max(interval, *(layer.positions + layer.weights for layer in layers))
        while low < high:
            middle = (low + high) // 2
            if sum(layer.luts for layer in folded(middle).values()) <= config.max_luts:
                high = middle
            else:
                low = middle + 1
        made = folded(low)
    return Plan(made, tuple(_notes(Plan(made, ()), config)))


def _notes(made: Plan, config: HlsConfig) -> Iterator[str]:
    if config.max_luts is not None and made.luts > config.max_luts:
        yield f"estimated {made.luts:,} LUTs, more than the {config.max_luts:,} asked for: no folding is smaller"
    reached = 1e9 / (config.clock_ns * made.interval)
    if config.target_fps is not None and reached < config.target_fps * (1 - 1e-9):
        yield f"{reached:,.0f} frames/s at best, not the {config.target_fps:,.0f} asked for"
    for name, layer in made.layers.items():
        if isinstance(layer, HardWired) and layer.layer.weights > UNROLLED:
            yield (
                f"layer {name}: {layer.layer.weights:,} weights unrolled as asked for; HLS tools may take hours over "
                f"more than {UNROLLED:,}"
            )


def neurons(network: Network) -> list[Neurons]:
    """Return the layers with weights."""
    found = []
    for operation in network.operations:
        if isinstance(operation, Dense | Conv2d):
            storage = packed(network.signals[_behind_flatten(network, operation.inputs[0])])
            masked, line_buffer = not operation.weight.all(), 0
            if isinstance(operation, Dense):
                size = storage.pixels, 1, storage.pixels
            else:
                top, bottom, left, right = operation.padding
                height, width = storage.shape[:2]
                rows, columns, _ = network.signals[operation.name].shape
                size = (
                    operation.weight.shape[1] * operation.weight.shape[2],
                    rows * columns,
                    (height + top + bottom) * (width + left + right),
                )
                masked |= any(operation.padding) and operation.pad_value == 0 and storage.kind == "packed"
                line_buffer = line_luts(storage, operation.weight.shape[1], width + left + right)
            taps, vectors, positions = size
            size_of = len(operation.weight), taps, storage, vectors, positions
            found.append(Neurons(operation.name, *size_of, masked, line_buffer))
    return found


def line_luts(storage: Storage, rows: int, width: int) -> int:
    """Return the LUTs of a window's line buffers: `rows` of the window, `width` of the padded image."""
    return (rows - 1) * storage.elements * storage.bits * ceil(width / _SHIFTED)


def _behind_flatten(network: Network, name: str) -> str:
    from xnorflow.bnn.network import Flatten

    while isinstance(network[name], Flatten):
        name = network[name].inputs[0]
    return name


_LARGEST_UNROLLED = 16 * UNROLLED


def _architecture(layer: Neurons, interval: int, config: HlsConfig) -> Architecture:
    reuse_factor, strategy = config.of(layer.name)
    if strategy == "latency":
        if layer.weights > _LARGEST_UNROLLED:
            raise UserError(
                f"hls, layer {layer.name}: {layer.weights:,} weights are too many to unroll, {_LARGEST_UNROLLED:,} is"
                ' the most; use strategy "resource" or "auto"'
            )
        return HardWired(layer)
    budget = reuse_factor or 1
    if strategy == "auto" and reuse_factor is None:
        budget = (interval - (layer.positions - layer.vectors)) // layer.vectors
    if strategy == "auto" and budget <= 1 and layer.weights <= UNROLLED:
        return HardWired(layer)
    options = list(_foldings(layer))
    if not options:
        raise UserError(
            f"hls, layer {layer.name}: {layer.neurons:,} neurons of {layer.taps * layer.storage.channels:,} inputs are"
            " too large for an HLS tool; generate RTL instead"
        )
    in_time = [option for option in options if option.cycles <= budget]
    if not in_time:
        return min(options, key=lambda option: (option.cycles, option.luts))
    return min(in_time, key=lambda option: (option.luts, option.cycles))


def _foldings(layer: Neurons) -> Iterator[Folding]:
    """Yield the foldings that tools take, one for each useful number of neurons and inputs in parallel."""
    if layer.binary:
        word = layer.storage.bits  # cut into a power of two of parts, for which places are chosen by some of the bits
        widths = {ceil(word / (1 << k)) for k in range(7) if ceil(word / ceil(word / (1 << k))) == 1 << k}
    else:
        widths = {layer.storage.bits + (not layer.storage.signed)}
    pes = sorted({ceil(layer.neurons / folds) for folds in range(1, min(layer.neurons, PARTITIONED) + 1)})
    for width in sorted(widths):
        whole = not layer.binary or width == layer.storage.bits
        parts = Folding(layer, 1, width, 1).parts
        groups = sorted({ceil(parts / folds) for folds in range(1, min(parts, PARTITIONED) + 1)}) if whole else [1]
        for group in groups:
            for pe in pes:
                if (folding := Folding(layer, pe, width, group)).possible:
                    yield folding
