"""Estimates of area, in 6-input LUTs: to choose by, and not to report.

A folded layer counts

- one LUT per bit of the rotating input vector (load or rotate), and one more per inside flag; or, where words of it
  come into a memory, what :func:`halves_luts` says,
- per neuron in parallel and input in parallel: 1.5 for a bipolar value (match and its share of the popcount), twice
  that where disagreements are counted, too (zero padding and zero weights); 1 per bit for an integer; 0.5 more with
  zero weights,
- per neuron in parallel two LUTs per bit of the accumulator,
- 40 for control.

An unrolled layer counts what :mod:`xnorflow.hls.rtl.adders` prices its adders at. A recurrence counts two adders per
channel besides its layer. The units without weights depend little on the folding and are counted as one LUT per bit of
their input vector (a window: per 16 bits of its line buffer), a serial affine with its multiplier.
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

#: Counted as one LUT per bit of their input vector.
_BY_WIDTH = (
    WideningConverter,
    NarrowingConverter,
    Fifo,
    Pool,
    SumPool,
    Sum,
    GlobalSum,
    ThresholdUnit,
    ParallelAffine,
    SerialArgmax,
    TreeArgmax,
)


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
        return 40 + (unit.kernel[0] - 1) * unit.pixel_bits * unit.columns // 16
    if isinstance(unit, SerialAffine):
        return unit.source.channels * unit.source.bits * unit.result.bits
    if isinstance(unit, MultiThresholdUnit):
        return unit.source.width * unit.threshold.shape[1]
    if isinstance(unit, _BY_WIDTH):
        return unit.source.width
    raise TypeError(f"no estimate of the LUTs of {type(unit).__name__}")


def loop_luts(unit: Recurrence) -> int:
    """Estimate the LUTs of a recurrence without its layer."""
    return 2 * unit.source.channels * unit.held_bits + 40


def vector_luts(unit: Mvtu, folding: Folded) -> int:
    """Estimate the LUTs of the rotating vector that a folded layer would have in this folding."""
    neurons, inputs = unit.weights.shape
    _, input_folds = folding.folds(neurons, inputs)
    return inputs * (unit.source.bits + bool(unit.flag_channels)) if input_folds > 1 else 0


def halves_luts(words: int, bits: int) -> int:
    """Estimate the LUTs of two halves of a memory, each of `words` of `bits`, with their pointers.

    Distributed memory holds 3 bits of 64 words in 4 LUTs.
    """
    depth = 2 << max(1, (words - 1).bit_length())
    return 20 + (0 if in_block_memory(depth, bits) else 4 * ceil(bits / 3) * ceil(depth / 64))


def neurons_luts(unit: Mvtu, folding: Folded) -> int:
    """Estimate the LUTs that a folded layer would have in this folding, without its vector."""
    neurons, inputs = unit.weights.shape
    neuron_folds, input_folds = folding.folds(neurons, inputs)
    pe, simd = ceil(neurons / neuron_folds), ceil(inputs / input_folds)
    lane = (1.5 if unit.counting else 3.0) if unit.source.bipolar else unit.term_bits
    lane += 0.5 * unit.masked
    return ceil(pe * (simd * lane + 2 * unit.accumulator_bits) + 40)
