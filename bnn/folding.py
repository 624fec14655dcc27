"""Exact folding: a framework's floating-point layers become integer thresholds and fixed-point scores.

Nothing here does algebra on real numbers. The framework's own formula is evaluated on every value that an
accumulator can take, and the integers are chosen to agree with what came out.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import NetworkError
from xnorflow.bnn.network import Affine, IntArray, MultiThreshold, Signal, Threshold

#: The framework's formula: accumulators, int64 (values, channels), to its floating-point results of the same shape.
Formula = Callable[[IntArray], NDArray[np.floating]]

_CHUNK = 1 << 22  # values evaluated at a time, to bound memory
_MAX_SCORE_BITS = 40


def _reachable(signal: Signal) -> tuple[IntArray, NDArray[np.bool_]]:
    """All values of all channels, (values, channels), and which of them are real (short channels repeat their end)."""
    steps = (signal.high - signal.low) // signal.step
    k = np.arange(steps.max() + 1)[:, None]
    return signal.low + np.minimum(k, steps) * signal.step, k <= steps


def fold_threshold(name: str, inputs: tuple[str, ...], formula: Formula, signal: Signal) -> Threshold:
    """Fold batch norm and sign (or anything monotonic that ends in a sign) into a threshold per channel.

    Parameters
    ----------
    name, inputs
        Of the new operation.
    formula : callable
        The framework's own computation, ending in its sign: int64 (values, channels) to -1 and +1.
    signal : Signal
        The accumulators' range.

    Returns
    -------
    Threshold
        Equal to `formula` on every reachable accumulator, because every one was evaluated. Where a channel changes
        sign, the threshold is itself a reachable value.

    Raises
    ------
    NetworkError
        If the formula gives anything but -1 and +1 somewhere (``torch.sign`` gives 0 at 0; NaN), or is not
        monotonic; the message names the channel and the accumulator.
    """
    real, positive = _levels(name, formula, signal, -1, 2, 1)
    threshold, direction = _thresholds(name, real, positive, signal, 1)
    return Threshold(name, inputs, threshold=threshold[:, 0], direction=direction)


def fold_multi_threshold(
    name: str, inputs: tuple[str, ...], formula: Formula, signal: Signal, *, low: int, step: int, levels: int
) -> MultiThreshold:
    """Fold batch norm and an activation of several levels into a :class:`~xnorflow.bnn.network.MultiThreshold`.

    As :func:`fold_threshold`, for a formula whose results are ``low + step * k`` with k from 0 to `levels`: a quantiser
    of 2 to 4 bits (which takes its scale out first), a ternary sign.

    Raises
    ------
    NetworkError
        If the formula gives any other value somewhere, or is not monotonic.
    """
    real, reached = _levels(name, formula, signal, low, step, levels)
    threshold, direction = _thresholds(name, real, reached, signal, levels)
    return MultiThreshold(name, inputs, threshold=threshold, direction=direction, low=low, step=step)


def _levels(
    name: str, formula: Formula, signal: Signal, low: int, step: int, levels: int
) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Evaluate a formula on all reachable values: which rows are real, and the number of the level that each gives."""
    rows = max(1, _CHUNK // signal.channels)
    grid, real = _reachable(signal)
    reached = np.empty(grid.shape, np.uint8)
    for start in range(0, len(grid), rows):
        values = formula(grid[start : start + rows])
        level = (values - low) / step
        neither = ~np.isin(level, np.arange(levels + 1))
        if neither.any():
            row, channel = (int(i) for i in np.argwhere(neither)[0])
            expected, advice = f"one of {levels + 1} levels from {low} to {low + step * levels}", "finite parameters"
            if (low, step, levels) == (-1, 2, 1):
                expected, advice = "a sign of -1 or +1", "finite parameters and a sign with sign(0) = +1"
            raise NetworkError(
                f"layer {name!r}: expected {expected}, got {values[row, channel]} for accumulator "
                f"{grid[start + row, channel]} of channel {channel}; use {advice}"
            )
        reached[start : start + rows] = level
    return real, reached


def _thresholds(
    name: str, real: NDArray[np.bool_], reached: NDArray[np.uint8], signal: Signal, levels: int
) -> tuple[IntArray, NDArray[np.int8]]:
    """Return the thresholds, ascending, shape (channels, levels), and directions by which all levels are reached."""
    rises, falls = (reached[1:] > reached[:-1]).any(axis=0), (reached[1:] < reached[:-1]).any(axis=0)
    if (rises & falls).any():
        channel = int(np.argmax(rises & falls))
        changes = (reached[1:, channel] != reached[:-1, channel]).sum()
        raise NetworkError(
            f"layer {name!r}: expected results that only rise or only fall over the accumulators of channel {channel}, "
            f"got {changes} changes in both directions: not a threshold"
        )
    counts = np.stack([((reached >= level) & real).sum(axis=0) for level in range(1, levels + 1)])
    up = np.where(counts, signal.high + (1 - counts) * signal.step, signal.high + 1)
    down = np.where(counts, signal.low + (counts - 1) * signal.step, signal.low - 1)[::-1]
    return np.where(falls, down, up).T, np.where(falls, -1, 1)


def fold_affine(
    name: str,
    inputs: tuple[str, ...],
    formula: Formula,
    signal: Signal,
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
    interval: tuple[Formula, Formula] | None = None,
) -> Affine:
    """Turn a trailing affine (batch norm, bias, scale) into a fixed-point :class:`~xnorflow.bnn.network.Affine`.

    The scores are the narrowest for which the argmax of the integers equals the argmax of the framework's own
    floating-point scores, ties to the lowest index included, for *every* combination of reachable accumulators. Where
    no width up to 40 bits decides all of them, the narrowest that leaves fewest is taken and their number is kept in
    :attr:`~xnorflow.bnn.network.Affine.ambiguous`.

    A single score is not compared with others; it may be a regressor's, or its sign a classifier's. So it has to be 0
    or more where the framework's is, and nearer to the real score of its own accumulator than to that of any other.

    Parameters
    ----------
    formula : callable
        The framework's own computation: int64 (values, channels) to floating-point scores.
    slope, intercept : float64 array, shape (channels,)
        Its real-valued meaning, ``slope * acc + intercept``, finite.
    interval : (callable, callable), optional
        Where the framework's scores are not known exactly, because its sums are rounded in an unknown order: formulas
        for two ends (in any order) between which they surely lie. Pairs that the interval leaves open are ambiguous.
    """
    if not (np.isfinite(slope).all() and np.isfinite(intercept).all()):
        raise NetworkError(f"layer {name!r}: expected finite scales and offsets, got NaN or infinity")
    grid, real = _reachable(signal)
    values = [grid[real[:, c], c] for c in range(signal.channels)]
    ends = [end(grid) for end in interval or (formula, formula)]
    lows = [np.minimum(*(end[real[:, c], c] for end in ends)) for c in range(signal.channels)]
    highs = [np.maximum(*(end[real[:, c], c] for end in ends)) for c in range(signal.channels)]
    largest = max(np.abs(slope * end + intercept).max() for end in (signal.low, signal.high))
    largest_exponent = int(np.frexp(max(largest, np.abs(slope).max(), np.abs(intercept).max()))[1])
    best: tuple[int, int, Affine] | None = None
    for score_bits in range(2, _MAX_SCORE_BITS + 1):
        fraction = score_bits - 1 - largest_exponent  # one bit is the sign
        scale = np.rint(np.ldexp(slope, fraction)).astype(np.int64)
        offset = np.rint(np.ldexp(intercept, fraction)).astype(np.int64)
        integers = [scale[c] * values[c] + offset[c] for c in range(signal.channels)]
        vague = 0
        if signal.channels > 1:
            ambiguous = _disagreements(lows, highs, integers)
        else:
            ambiguous = _unsure_signs(lows[0], highs[0], integers[0])
            vague = _vague(integers[0], np.ldexp(slope[0] * values[0] + intercept[0], fraction))
        if best is None or (ambiguous, vague) < best[:2]:
            affine = Affine(name, inputs, scale=scale, offset=offset, fraction=fraction, ambiguous=ambiguous)
            best = ambiguous, vague, affine
        if not ambiguous and not vague:
            break
    assert best is not None
    return best[2]


def _unsure_signs(low: NDArray[np.floating], high: NDArray[np.floating], integers: IntArray) -> int:
    """Count the accumulators whose integer score may be 0 or more where the framework's is not, or the reverse."""
    return int(np.where(integers >= 0, low < 0, high >= 0).sum())


def _vague(integers: IntArray, real: NDArray[np.float64]) -> int:
    """Count the integer scores that lie half a step of the real scores or more from their own one."""
    if len(real) < 2 or real[0] == real[-1]:
        return 0
    return int((2 * np.abs(integers - real) >= abs(real[1] - real[0])).sum())


def _disagreements(
    lows: list[NDArray[np.floating]], highs: list[NDArray[np.floating]], integers: list[IntArray]
) -> int:
    """Count (class pair, accumulator pair) combinations in which the two kinds of score do not surely choose alike.

    For classes i < j, i wins where its score is at least j's. Scores are monotonic in the accumulator, all kinds in
    the same direction, so the accumulators of j that lose to a given score of i are a prefix of its sorted scores:
    those that surely lose, those that may, and those whose integers lose. Combinations outside the first two that
    the third has on the other side are counted by the differences of their lengths.
    """
    sorted_lows = [np.sort(score) for score in lows]
    sorted_highs = [np.sort(score) for score in highs]
    sorted_integers = [np.sort(score) for score in integers]
    total = 0
    for i in range(len(integers)):
        for j in range(i + 1, len(integers)):
            surely = np.searchsorted(sorted_highs[j], lows[i], side="right")
            maybe = np.searchsorted(sorted_lows[j], highs[i], side="right")
            lost = np.searchsorted(sorted_integers[j], integers[i], side="right")
            total += int((np.maximum(lost - surely, 0) + np.maximum(maybe - lost, 0)).sum())
    return total
