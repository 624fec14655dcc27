"""Exact folding: a framework's floating-point layers become integer thresholds and fixed-point scores.

Nothing here does algebra on real numbers. The framework's own formula is evaluated on every value that an
accumulator can take, and the integers are chosen to agree with what came out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import NetworkError
from xnorflow.bnn.network import Affine, IntArray, MultiThreshold, Signal, Threshold

#: The framework's formula: accumulators, int64 (values, channels), to its floating-point results of the same shape.
Formula = Callable[[IntArray], NDArray[np.floating[Any]]]

_CHUNK = 1 << 22  # values evaluated at a time, to bound memory
_MAX_SCORE_BITS = 40


def _reachable(signal: Signal) -> tuple[IntArray, NDArray[np.bool_]]:
    """All values of all channels, (values, channels), and which of them are real (short channels repeat their end)."""
    steps = (signal.high - signal.low) // signal.step
    k = np.arange(steps.max() + 1)[:, None]
    return signal.low + np.minimum(k, steps) * signal.step, k <= steps


def fold_threshold(
    name: str, inputs: tuple[str, ...], formula: Formula, signal: Signal, rows: IntArray | None = None
) -> Threshold:
    """Fold batch norm and sign (or anything monotonic that ends in a sign) into a threshold per channel.

    Parameters
    ----------
    name, inputs
        Of the new operation.
    formula : callable
        The framework's own computation, ending in its sign: int64 (values, channels) to -1 and +1.
    signal : Signal
        The accumulators' range.
    rows : int64 array, shape (values, channels), optional
        Ascending accumulators, where there are too many to evaluate them all. That the formula is monotonic between
        them is then taken for granted, and the thresholds are found by bisection.

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
    threshold, direction = _found(name, formula, signal, (-1, 2, 1), rows)
    return Threshold(name, inputs, threshold=threshold[:, 0], direction=direction)


def fold_multi_threshold(
    name: str, inputs: tuple[str, ...], formula: Formula, signal: Signal, *, low: int, step: int, levels: int,
    rows: IntArray | None = None,
) -> MultiThreshold:  # fmt: skip
    """Fold batch norm and an activation of several levels into a :class:`~xnorflow.bnn.network.MultiThreshold`.

    As :func:`fold_threshold`, for a formula whose results are ``low + step * k`` with k from 0 to `levels`: a quantiser
    of 2 to 4 bits (which takes its scale out first), a ternary sign.

    Raises
    ------
    NetworkError
        If the formula gives any other value somewhere, or is not monotonic.
    """
    threshold, direction = _found(name, formula, signal, (low, step, levels), rows)
    return MultiThreshold(name, inputs, threshold=threshold, direction=direction, low=low, step=step)


def _found(
    name: str, formula: Formula, signal: Signal, scheme: tuple[int, int, int], rows: IntArray | None
) -> tuple[IntArray, NDArray[np.int8]]:
    """Return the thresholds, ascending, shape (channels, levels), and directions; `scheme` is low, step, levels."""
    if rows is not None:
        return _searched(name, formula, signal, rows, scheme)
    grid, real = _reachable(signal)
    reached = _evaluated(name, formula, grid, *scheme)
    falls = _falls(name, reached)
    counts = np.stack([((reached >= level) & real).sum(axis=0) for level in range(1, scheme[2] + 1)])
    return _from_counts(counts, falls, signal)


def _evaluated(name: str, formula: Formula, grid: IntArray, low: int, step: int, levels: int) -> NDArray[np.uint8]:
    """Return the number of the level that a formula gives for each accumulator of `grid`, (values, channels)."""
    rows = max(1, _CHUNK // grid.shape[1])
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
    return reached


def _falls(name: str, reached: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return in which channels the levels fall over ascending accumulators."""
    rises: NDArray[np.bool_] = (reached[1:] > reached[:-1]).any(axis=0)
    falls: NDArray[np.bool_] = (reached[1:] < reached[:-1]).any(axis=0)
    if (rises & falls).any():
        channel = int(np.argmax(rises & falls))
        changes = (reached[1:, channel] != reached[:-1, channel]).sum()
        raise NetworkError(
            f"layer {name!r}: expected results that only rise or only fall over the accumulators of channel {channel}, "
            f"got {changes} changes in both directions: not a threshold"
        )
    return falls


def _from_counts(
    counts: IntArray, falls: NDArray[np.bool_], signal: Signal
) -> tuple[IntArray, NDArray[np.int8]]:  # fmt: skip
    """Return thresholds and directions that `counts`, shape (levels, channels), reachable values pass."""
    up = np.where(counts, signal.high + (1 - counts) * signal.step, signal.high + 1)
    down = np.where(counts, signal.low + (counts - 1) * signal.step, signal.low - 1)[::-1]
    return np.where(falls, down, up).T, np.where(falls, -1, 1)


def _searched(
    name: str, formula: Formula, signal: Signal, rows: IntArray, scheme: tuple[int, int, int]
) -> tuple[IntArray, NDArray[np.int8]]:
    reached = _evaluated(name, formula, rows, *scheme)
    falls = _falls(name, reached)
    steps = (signal.high - signal.low) // signal.step
    counts = []
    for level in range(1, scheme[2] + 1):
        first, beyond = np.zeros_like(steps), steps + 1  # the first that reaches the level lies between the two
        while (first < beyond).any():
            middle = (first + beyond) // 2
            index = np.clip(np.where(falls, steps - middle, middle), 0, steps)
            there = _evaluated(name, formula, (signal.low + index * signal.step)[None], *scheme)[0] >= level
            open_ = first < beyond
            beyond = np.where(there, middle, beyond)  # where they have met, middle is there, too
            first = np.where(there | ~open_, first, middle + 1)
        counts.append(steps + 1 - first)
    return _from_counts(np.stack(counts), falls, signal)


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


def _unsure_signs(low: NDArray[np.floating[Any]], high: NDArray[np.floating[Any]], integers: IntArray) -> int:
    """Count the accumulators whose integer score may be 0 or more where the framework's is not, or the reverse."""
    return int(np.where(integers >= 0, low < 0, high >= 0).sum())


def _vague(integers: IntArray, real: NDArray[np.float64]) -> int:
    """Count the integer scores that lie half a step of the real scores or more from their own one."""
    if len(real) < 2 or real[0] == real[-1]:
        return 0
    return int((2 * np.abs(integers - real) >= abs(real[1] - real[0])).sum())


def _disagreements(
    lows: list[NDArray[np.floating[Any]]], highs: list[NDArray[np.floating[Any]]], integers: list[IntArray]
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
