"""Estimates of area, in 6-input LUTs: to choose by, and not to report.

The constants are those of Yosys for AMD's 7 series, unit by unit, over the zoo's networks in their default folding and
``mnist_sfc`` at a frame every 16 cycles; ``tests/hls/rtl/test_area.py`` holds the totals against what is synthesised.

A folded layer counts

- one LUT per bit of the rotating input vector (load or rotate), and one more per inside flag; or, where words of it
  come into a memory, what :func:`halves_luts` says,
- per neuron in parallel and input in parallel what :func:`_lane_luts` says: the weight's memory, the match and its
  share of the sum,
- per neuron in parallel two LUTs per bit of the accumulator, and one more for 64 biases,
- 40 for control.

An unrolled layer counts what :mod:`xnorflow.hls.rtl.adders` prices its adders at. A recurrence counts 1.3 per bit of
its sums besides its layer. The units without weights depend little on the folding.
"""

from math import ceil

from xnorflow.hls.rtl.config import Folded
from xnorflow.hls.rtl.units import (
    Fifo,
    GlobalSum,
    MultiThresholdUnit,
    Mvtu,
    NarrowingConverter,
    ParallelAffine,
    Pool,
    Recurrence,
    SerialAffine,
    SerialArgmax,
    SlidingWindow,
    Sum,
    SumPool,
    ThresholdUnit,
    TreeArgmax,
    Unit,
    UnrolledMvtu,
    WideningConverter,
    in_block_memory,
)

WIDENING, NARROWING = 10, 6
"""LUTs of a width converter: in all, or besides those of its source's bits."""


def luts(unit: Unit) -> int:
    """Estimate the LUTs of a unit; see :mod:`xnorflow.hls.rtl.area`.

    Raises
    ------
    TypeError
        If there is no estimate for the unit's class.
    """
    if isinstance(unit, Mvtu):
        held = halves_luts(unit.source.vectors, unit.source.width) if unit.in_words else vector_luts(unit, unit.folding)
        return held + neurons_luts(unit, unit.folding)
    if isinstance(unit, UnrolledMvtu):
        return unit.circuit.estimated_luts
    if isinstance(unit, Recurrence):
        return luts(unit.feedback) + loop_luts(unit)
    if isinstance(unit, SlidingWindow):
        lines = unit.kernel[0] - 1
        control = 24 * (1 + unit.flagged) if lines else 5
        return control + memory_luts(unit.columns, lines * unit.pixel_bits)
    if isinstance(unit, Fifo):
        pointers = 6 * (unit.depth - 1).bit_length()
        return 3 if unit.depth == 1 else 4 + pointers + memory_luts(unit.depth, unit.source.width)
    if isinstance(unit, SerialAffine):
        return ceil(2.6 * unit.source.channels * unit.result.bits)  # its multipliers are DSPs
    if isinstance(unit, MultiThresholdUnit):
        return unit.source.width * unit.threshold.shape[1]
    if isinstance(unit, ThresholdUnit):
        return ceil(unit.source.width / 5)
    if isinstance(unit, Pool):
        return ceil(unit.source.width / 4) + 2
    if isinstance(unit, Sum):
        return ceil(unit.source.width / len(unit.operands))
    if isinstance(unit, GlobalSum):
        return unit.source.channels * (unit.result.bits + 1)
    if isinstance(unit, WideningConverter):
        return WIDENING
    if isinstance(unit, NarrowingConverter):
        return NARROWING + unit.source.width
    if isinstance(unit, SumPool | ParallelAffine | SerialArgmax | TreeArgmax):
        return unit.source.width
    raise TypeError(f"no estimate of the LUTs of {type(unit).__name__}")


def loop_luts(unit: Recurrence) -> int:
    """Estimate the LUTs of a recurrence without its layer."""
    return ceil(1.3 * unit.source.channels * unit.held_bits) + 40


def vector_luts(unit: Mvtu, folding: Folded) -> int:
    """Estimate the LUTs of the rotating vector that a folded layer would have in this folding."""
    neurons, inputs = unit.weights.shape
    _, input_folds = folding.folds(neurons, inputs)
    return inputs * (unit.source.bits + bool(unit.flag_channels)) if input_folds > 1 else 0


def memory_luts(words: int, bits: int) -> int:
    """Estimate the LUTs of a memory of `words` of `bits`: 6 bits of 32 words or 3 of 64 in 4 LUTs, or block memory."""
    if in_block_memory(words, bits):
        return 2 * bits  # what is read in the cycle in which it is written goes past it
    return 4 * ceil(bits / 6) if words <= 32 else 4 * ceil(bits / 3) * ceil(words / 64)


def halves_luts(words: int, bits: int) -> int:
    """Estimate the LUTs of two halves of a memory, each of `words` of `bits`, with their pointers."""
    depth = 2 << max(1, (words - 1).bit_length())
    return 20 + (0 if in_block_memory(depth, bits) else memory_luts(depth, bits))


def neurons_luts(unit: Mvtu, folding: Folded) -> int:
    """Estimate the LUTs that a folded layer would have in this folding, without its vector."""
    neurons, inputs = unit.weights.shape
    neuron_folds, input_folds = folding.folds(neurons, inputs)
    pe, simd = ceil(neurons / neuron_folds), ceil(inputs / input_folds)
    lane = _lane_luts(unit, neuron_folds * input_folds, pe * simd)
    biases = ceil(neuron_folds / 64) if neuron_folds > 1 else 0
    return ceil(pe * (simd * lane + (2 + biases) * unit.accumulator_bits) + 40)


def _lane_luts(unit: Mvtu, depth: int, lanes: int) -> float:
    """Estimate the LUTs of one input of one neuron that has `depth` weights: memory, match and share of the sum.

    A LUT holds 64 weights, and compares one with a bit besides if there are at most 32, or 16 and a flag. An integer
    becomes a term of as many bits, added or subtracted; few weights are but constants to the synthesis.
    """
    block = in_block_memory(depth, lanes * (1 + unit.masked))
    held = 0.0 if block or depth <= 32 else 1.0 if depth <= 64 else 1.33 * depth / 64
    if not unit.source.bipolar:
        return held + (unit.term_bits / (5 - depth) if depth <= 2 else unit.term_bits + 1.0) + 0.5 * unit.masked
    match = 1.0 if block else 1.5 if depth <= 8 else 1.7
    flag = 0.9 if unit.flag_channels and not block and depth > 16 else 0.0
    return held * (1 + unit.masked) + (match if unit.counting else 2 * match) + flag
