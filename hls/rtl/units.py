"""The units of a generated pipeline: what each computes, what it takes and gives, and when.

A unit says everything that its Verilog (:mod:`xnorflow.hls.rtl.verilog`) and its timing
(:mod:`xnorflow.hls.rtl.cycles`) are made from.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import IntArray
from xnorflow.hls.rtl import popcount
from xnorflow.hls.rtl.config import Folded


@dataclass(frozen=True)
class Stream:
    """Vectors on their way from one unit to the next.

    Attributes
    ----------
    name : str
        Prefix of its wires ``<name>_data``, ``<name>_valid`` and ``<name>_ready``.
    channels : int
        Values per vector.
    bits : int
        Per value.
    signed, bipolar : bool
        Two's complement or unsigned; one bit that means -1 or +1.
    vectors : int
        Per frame.
    extra : int
        Bits above the channels: which taps of a window lie inside the image, or the class beside the scores.
    """

    name: str
    channels: int
    bits: int
    signed: bool
    bipolar: bool
    vectors: int
    extra: int = 0

    @property
    def width(self) -> int:
        """Bits of one vector."""
        return self.channels * self.bits + self.extra

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value that `bits` can hold."""
        if self.bipolar:
            return -1, 1
        return (-(1 << self.bits - 1), (1 << self.bits - 1) - 1) if self.signed else (0, (1 << self.bits) - 1)


@dataclass(frozen=True)
class VectorStep:
    """What one source vector does to a unit, in enabled cycles counted from the one in which it is accepted.

    Attributes
    ----------
    busy : int
        The next vector is accepted after this many cycles, or later.
    emits : tuple of int
        The output register is loaded at the end of these cycles.
    """

    busy: int = 1
    emits: tuple[int, ...] = (0,)


@dataclass(frozen=True, eq=False)
class Unit:
    """One module of the pipeline.

    Attributes
    ----------
    layer : str
        The Network's layer it is part of, for comments and messages.
    source, result : Stream
        `result` bears the unit's name.
    """

    layer: str
    source: Stream
    result: Stream

    @property
    def name(self) -> str:
        """The name of the unit and of its module behind the network's."""
        return self.result.name

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        """What each source vector of a frame does; in words (:attr:`Mvtu.in_words`), once all are there."""
        return (VectorStep(),) * self.source.vectors

    @property
    def interval(self) -> int:
        """Enabled cycles per frame: the unit alone takes a frame this often at best."""
        return sum(step.busy for step in self.steps)


def in_block_memory(words: int, bits: int) -> bool:
    """Return whether `words` of `bits` belong into block memory rather than LUTs.

    A LUT holds one bit of up to 64 words, and compares it with an input besides if there are at most 32. Block memories
    hold 4 to 36 kilobits.
    """
    return words > 64 and words * bits >= 4096


@dataclass(frozen=True, eq=False)
class WideningConverter(Unit):
    """A width converter: `count` source vectors into one, the first lowest; a flatten, or a wide vector's beats."""

    count: int

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        return (*[VectorStep(emits=())] * (self.count - 1), VectorStep()) * self.result.vectors


@dataclass(frozen=True, eq=False)
class NarrowingConverter(Unit):
    """A width converter: sends one source vector as `count` vectors, the lowest bits first."""

    count: int

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        return (VectorStep(self.count, tuple(range(self.count))),) * self.source.vectors


@dataclass(frozen=True, eq=False)
class Fifo(Unit):
    """A FIFO: takes vectors in while the units behind it are busy, and breaks the combinational path of ready signals.

    Unlike the other units it does not stall as a whole: it accepts while fewer than `depth` vectors are in it.
    """

    depth: int


@dataclass(frozen=True, eq=False)
class SlidingWindow(Unit):
    """The sliding-window unit: patches of an image, row by row, with a line buffer.

    The padded image is scanned at one position per cycle; only positions inside the image take a source vector. The
    result holds the taps (kernel row, kernel column, channel) as a convolution's weights do and, with `flagged`, one
    bit per (kernel row, kernel column) above them: 1 inside the image.

    Attributes
    ----------
    height, width : int
        Of the source image.
    kernel, stride : (int, int)
        Vertical and horizontal.
    padding : (top, bottom, left, right)
    pad : int
        What each channel's bits are at padded positions.
    flagged : bool
    """

    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    pad: int
    flagged: bool

    @property
    def pixel_bits(self) -> int:
        """Bits of a pixel in the line buffer, its flag included."""
        return self.source.width + self.flagged

    @property
    def rows(self) -> int:
        """Rows that are scanned."""
        return self.height + self.padding[0] + self.padding[1]

    @property
    def columns(self) -> int:
        """Columns that are scanned: at least two, so that the line buffer can read one ahead."""
        return max(2, self.width + self.padding[2] + self.padding[3])

    @cached_property
    def _scan(self) -> tuple[tuple[VectorStep, ...], int]:
        """The steps, and the cycles in front of the first pixel."""
        top, _, left, right = self.padding
        steps: list[VectorStep] = []
        lead = 0
        for row in range(self.rows):
            for column in range(self.columns):
                if top <= row < top + self.height and left <= column < left + self.width:
                    steps.append(VectorStep(0, ()))
                y, x = row - self.kernel[0] + 1, column - self.kernel[1] + 1
                due = y >= 0 and x >= 0 and y % self.stride[0] == 0 and x % self.stride[1] == 0
                inside = column < self.width + left + right
                if not steps:
                    lead += 1
                    continue
                last = steps[-1]
                steps[-1] = VectorStep(last.busy + 1, (*last.emits, last.busy) if due and inside else last.emits)
        last = steps[-1]
        steps[-1] = VectorStep(last.busy + lead, last.emits)
        return tuple(steps), lead

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        return self._scan[0]


@dataclass(frozen=True, eq=False)
class Mvtu(Unit):
    """A matrix-vector-threshold unit: neurons, folded.

    It computes ``weights @ x``, either as integers or compared with thresholds (``>=``).

    Attributes
    ----------
    weights : int8 array, shape (neurons, inputs), values -1, 0, +1
    thresholds : int64 array, shape (neurons,), or None
    folding : Folded
        With the adders between two registers.
    core : str
        Name of the module that counts matches.
    memory_register : bool
        Whether what is read from block memory takes a register before it is compared, as a fast clock needs.
    taken : int64 array, shape (inputs,)
        Which of the source's channels the inputs are, in order; the others have no reader. All, where words come.
    flag_channels : int
        Channels per inside flag of the source; 0 without flags. A value whose flag is 0 counts as 0.
    """

    weights: NDArray[np.int8]
    thresholds: IntArray | None
    folding: Folded
    core: str
    memory_register: bool
    taken: IntArray
    flag_channels: int = 0

    @cached_property
    def masked(self) -> bool:
        """Whether there are zero weights, so that every weight needs a second bit."""
        return not self.weights.all()

    @property
    def counting(self) -> bool:
        """Whether a neuron counts matches alone: of bipolar values as many count for each neuron."""
        return self.source.bipolar and not (self.flag_channels and self.masked)

    @property
    def doubling(self) -> bool:
        """Whether each match counts twice in the accumulator: where that holds the sum, or counts flags, too."""
        return self.counting and (self.thresholds is None or bool(self.flag_channels))

    @cached_property
    def bias(self) -> IntArray:
        """What the accumulator of each neuron starts from, so that its result is the sum or its sign the comparison.

        A counting neuron of n weights with p matches has the sum ``2p - n``, and ``2p - n >= t`` is
        ``p - ceil((t + n) / 2) >= 0``. Of n values that count k less where k are outside the image, which adds k. With
        integers, ``-x`` is ``~x + 1``: the accumulator starts from the number of negative weights.
        """
        used: IntArray = np.abs(self.weights).sum(axis=1, dtype=np.int64) * self.counting
        if not self.source.bipolar:
            used = -(self.weights < 0).sum(axis=1, dtype=np.int64)
        if self.thresholds is None:
            return -used
        negated: IntArray = -(self.thresholds + used)
        return negated if self.doubling or not self.counting else negated // 2

    @cached_property
    def accumulator_bits(self) -> int:
        """Bits of the final accumulator (two's complement); sums on the way may wrap."""
        positive = (self.weights > 0).sum(axis=1, dtype=np.int64)
        negative = (self.weights < 0).sum(axis=1, dtype=np.int64)
        if self.counting:
            low, high = np.zeros_like(positive), (positive + negative) * (1 + self.doubling)
        else:
            smallest, largest = self.source.range
            below = 0 if self.source.bipolar else negative  # -x comes as ~x
            low = positive * smallest - negative * largest - below
            high = positive * largest - negative * smallest - below
        least, most = int((low + self.bias).min()), int((high + self.bias).max())
        return max(most.bit_length() if most > 0 else 0, (-least - 1).bit_length() if least < 0 else 0) + 1

    @property
    def folds(self) -> tuple[int, int]:
        """Groups of neurons and groups of inputs, one pair per cycle."""
        neurons, inputs = self.weights.shape
        return self.folding.folds(neurons, inputs)

    @property
    def in_words(self) -> bool:
        """Whether the source gives a vector per frame in words of as many inputs as are computed per cycle.

        They go into two halves of a memory in turn: one is filled while the other is read, once for each group of
        neurons.
        """
        return self.source.channels < self.weights.shape[1]

    @property
    def vectors(self) -> int:
        """Vectors per frame."""
        return 1 if self.in_words else self.source.vectors

    @property
    def grouped(self) -> bool:
        """Whether the results of each group of neurons are a vector of their own."""
        return self.result.channels < self.weights.shape[0]

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        neuron_folds, input_folds = self.folds
        cycles = neuron_folds * input_folds
        done = range(input_folds, cycles + 1, input_folds) if self.grouped else (cycles,)
        return (VectorStep(cycles, tuple(cycle + 2 + self.sum_stages for cycle in done)),) * self.vectors

    @property
    def interval(self) -> int:
        """As of any unit, but known before its adders are."""
        neuron_folds, input_folds = self.folds
        return self.vectors * neuron_folds * input_folds

    @property
    def simd(self) -> int:
        """Inputs per cycle."""
        return ceil(self.weights.shape[1] / self.folds[1])

    @property
    def term_bits(self) -> int:
        """Bits of what a neuron adds up for each input: an match, or the integer or its complement."""
        return self.source.bits + (not self.source.bipolar and not self.source.signed)

    @property
    def adders(self) -> popcount.UnrolledMatrix:
        """The circuit of one neuron's part of the sum.

        It counts matches and, unless the neuron is counting, takes disagreements away; or it adds up integers.
        """
        difference, signed = self.source.bipolar and not self.counting, not self.source.bipolar
        levels = self.folding.levels_per_stage
        assert levels is not None, "the configuration's clock says how many"
        if self.compressed:
            return _adders(self.core, self.triples, 2, False, False, self.partial_bits, levels)
        return _adders(self.core, self.simd, self.term_bits, difference, signed, self.partial_bits, levels)

    @property
    def partial_bits(self) -> int:
        """Bits of that part, signed unless the neuron is counting."""
        if self.compressed:
            return (3 * self.triples).bit_length()
        if not self.source.bipolar:
            return self.term_bits + (self.simd - 1).bit_length()
        return self.simd.bit_length() + (not self.counting)

    @property
    def in_block_memory(self) -> bool:
        """Whether the weights belong into block memory rather than LUTs."""
        neuron_folds, input_folds = self.folds
        bits = ceil(self.weights.shape[0] / neuron_folds) * self.simd * (1 + self.masked)
        return in_block_memory(neuron_folds * input_folds, bits)

    @property
    def compressed(self) -> bool:
        """Whether matches are counted by threes where they are compared: 2 LUTs of 6 inputs see three of both sides.

        In LUTs, memories are joined with the comparison instead; and with masks or flags there are too many inputs.
        """
        return self.counting and self.in_block_memory and not self.masked and not self.flag_channels

    @property
    def triples(self) -> int:
        """Counts of up to three matches."""
        return ceil(self.simd / 3)

    @property
    def sum_stages(self) -> int:
        """Cycles in which one neuron's part of the sum is formed.

        Block memories are slow, so what comes from them is compared in a cycle of its own.
        """
        return self.adders.latency + self.in_block_memory * (1 + self.memory_register)


@lru_cache
def _adders(
    core: str, terms: int, bits: int, difference: bool, signed: bool, width: int, levels_per_stage: int
) -> popcount.UnrolledMatrix:
    signs = np.repeat(np.array([1, -1], np.int8), terms)[None] if difference else np.ones((1, terms), np.int8)
    return popcount.unrolled(core, signs, bits, signed, False, None, width, levels_per_stage, "fast")


@dataclass(frozen=True, eq=False)
class UnrolledMvtu(Unit):
    """What :class:`Mvtu` computes, with hard-wired weights and a vector in every cycle.

    Attributes
    ----------
    circuit : popcount.UnrolledMatrix
        The adders; a module of its own.
    core : str
        The name of that module.
    flag_channels : int
        As for :class:`Mvtu`; the values then go in as two's complement of two bits: -1, 0, +1.
    """

    circuit: popcount.UnrolledMatrix
    core: str
    flag_channels: int

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        return (VectorStep(1, (self.circuit.latency - 1,)),) * self.source.vectors


@dataclass(frozen=True, eq=False)
class Recurrence(Unit):
    """A binary state along a sequence, as :class:`xnorflow.bnn.network.Recurrent` has it, a step per source vector.

    A module with the state's weights stands inside: it is given the state when a vector comes, and the next vector is
    accepted when the sum of both has been compared.

    Attributes
    ----------
    feedback : Mvtu or UnrolledMvtu
        From the state to its part of the sums; both of its streams have one vector.
    threshold, first : int64 array, shape (channels,)
        Of the sums, and of the first vector of a frame; ``>=`` after negation.
    negated : bool array, shape (channels,)
        Channels of the source, and neurons of `feedback`, that count negatively.
    shift : int
    last : bool
        Whether the state is sent after the last step only.
    """

    feedback: Mvtu | UnrolledMvtu
    threshold: IntArray
    first: IntArray
    negated: NDArray[np.bool_]
    shift: int
    last: bool

    @property
    def held_bits(self) -> int:
        """Bits of a channel's sum, less its threshold: two's complement, whatever the bits of both parts hold."""
        smallest, largest = self.source.range
        low, high = self.feedback.result.range
        bounds = np.append(self.threshold, self.first)
        part = max(-low, high) << self.shift
        return (max(-smallest, largest) + part + int(np.abs(bounds).max())).bit_length() + 1

    @property
    def cycles(self) -> int:
        """Cycles per step: until the state's part is there, and one for its sum with the vector."""
        (step,) = self.feedback.steps
        return step.emits[-1] + 2

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        sent = VectorStep(self.cycles, (self.cycles - 1,))
        before = VectorStep(self.cycles, ()) if self.last else sent
        return (*[before] * (self.source.vectors - 1), sent)


@dataclass(frozen=True, eq=False)
class Pool(Unit):
    """The maximum over the taps of a window, channel by channel.

    Attributes
    ----------
    taps : int
    all_of : bool array, shape (channels,)
        Channels of bits where the result is 1 if all taps are, rather than any.
    """

    taps: int
    all_of: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SumPool(Unit):
    """The sum of the `taps` values of a window, channel by channel; bipolar values are -1 and +1."""

    taps: int


@dataclass(frozen=True, eq=False)
class Sum(Unit):
    """The sum of vectors of several branches, value by value; bipolar values are -1 and +1.

    Attributes
    ----------
    operands : tuple of Stream
        Each the result of a :class:`Fifo`; side by side, the first lowest, they are the source.
    shifts : tuple of int
        Each counts ``2**shift`` times.
    """

    operands: tuple[Stream, ...]
    shifts: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class GlobalSum(Unit):
    """The sum of all pixels of an image, channel by channel, one pixel per cycle; bipolar values are -1 and +1."""

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        return (*[VectorStep(emits=())] * (self.source.vectors - 1), VectorStep())


@dataclass(frozen=True, eq=False)
class MultiThresholdUnit(Unit):
    """Integers of several thresholds, as :class:`xnorflow.bnn.network.MultiThreshold` has them.

    Attributes
    ----------
    threshold : int64 array, shape (channels, levels)
    direction : int8 array, shape (channels,)
    low, step : int
    """

    threshold: IntArray
    direction: NDArray[np.int8]
    low: int
    step: int


@dataclass(frozen=True, eq=False)
class ThresholdUnit(Unit):
    """Thresholds on their own, as a Network's Threshold has them: int64 and int8 arrays, shape (channels,)."""

    threshold: IntArray
    direction: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class SerialAffine(Unit):
    """``scale * x + offset`` of a few channels per vector; int64 arrays of shape (all channels,)."""

    scale: IntArray
    offset: IntArray

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        return (VectorStep(1, (3,)),) * self.source.vectors


@dataclass(frozen=True, eq=False)
class ParallelAffine(Unit):
    """``scale * x + offset`` with constant multipliers, a vector per cycle; int64 arrays of shape (channels,)."""

    scale: IntArray
    offset: IntArray

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        return (VectorStep(1, (1,)),) * self.source.vectors


@dataclass(frozen=True, eq=False)
class SerialArgmax(Unit):
    """The index of the largest score, above the scores if the result has channels for them; it takes one per cycle."""

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        return (*[VectorStep(emits=())] * (self.source.vectors - 1), VectorStep())


@dataclass(frozen=True, eq=False)
class TreeArgmax(Unit):
    """What :class:`SerialArgmax` gives, found by a tree of comparators; it takes all scores at once, in each cycle."""

    levels_per_stage = 2

    @property
    def levels(self) -> int:
        """Levels of the tree, 1 or more."""
        return max(1, (self.source.channels - 1).bit_length())

    @property
    def stages(self) -> int:
        """Registers on the way."""
        return ceil(self.levels / self.levels_per_stage)

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        return (VectorStep(1, (self.stages - 1,)),) * self.source.vectors
