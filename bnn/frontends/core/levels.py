"""Activations and affines, recognised in the numbers that they give."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from xnorflow.bnn.frontends.core.sums import UNIT, FloatArray
from xnorflow.bnn.frontends.core.value import Array
from xnorflow.bnn.network import IntArray, Signal

MOST = 256
"""Values of an activation: 8 bits."""

_CHUNK = 1 << 22  # values evaluated at a time, to bound memory
_SAMPLE = 1 << 16
_WIDE = 2.0**-49  # of the largest magnitude on the way: what float64 rounds in a few steps
_SHRINKS = 2.0**-16  # what is left of a rounding of float32, at most, in float64
_NOISE = 2.0**-10  # how far from its values an activation's results may lie, in steps of theirs
_ROUNDINGS = 8  # of the largest value, that an affine in float32 may be off
_CLEAR = 0.25  # how far it may be off, in steps of one integer


@dataclass(frozen=True, eq=False)
class Levels:
    """The values of an activation: near ``scale * (low + k) + shift``, k from 0 to `count`, at most `error` away.

    Attributes
    ----------
    reals : float64 array
        Those that were met, ascending.
    index : int64 array
        The k of each.
    rounded : bool
        Whether results are not quite these: a float32 ``x + (q - x)`` is not quite q.
    """

    low: int
    count: int
    scale: float
    shift: float
    error: float
    reals: FloatArray
    index: IntArray
    rounded: bool = False

    def number(self, results: Array) -> FloatArray:
        """Return ``low + k`` for each result; NaN for values that were not met."""
        away = self.away(results)
        met = away <= _NOISE * self.scale if self.rounded else away == 0
        return np.where(met, (self.low + self.index[self._nearest(results)]).astype(np.float64), np.nan)

    def away(self, results: Array) -> FloatArray:
        """Return how far each result is from the nearest value."""
        distance: FloatArray = np.abs(self.reals[self._nearest(results)] - results.astype(np.float64))
        return distance

    def _nearest(self, results: Array) -> IntArray:
        return np.searchsorted((self.reals[1:] + self.reals[:-1]) / 2, results.astype(np.float64))


def find_levels(reals: FloatArray) -> Levels | None:
    """Find what evenly spaced levels finite values are, ascending and different; None if there are none.

    Of all spacings the largest is taken, and integers that are multiples of it, if the values are.
    """
    if len(reals) == 1:  # a constant: where it may be a sign, say so
        reals = np.array([-1.0, 1.0]) if abs(reals[0]) == 1 else np.array([reals[0], reals[0] + 1])
    allowed = 4 * UNIT * float(np.abs(reals).max())
    span = float(reals[-1] - reals[0])
    for count in range(len(reals) - 1, MOST):
        unit = span / count
        if unit < 8 * allowed:
            break
        index = np.rint((reals - reals[0]) / unit)
        if np.abs(reals[0] + index * unit - reals).max() <= allowed:
            return _snapped(reals, index.astype(np.int64), count, unit, allowed)
    return None


def grouped(reals: FloatArray) -> IntArray | None:
    """Return the number of the group that each of ascending values belongs to; None if they make no groups.

    A group is a value that rounding has spread.
    """
    span = float(reals[-1] - reals[0])
    apart = np.diff(reals) > _NOISE * span
    group: IntArray = np.cumsum(np.append(0, apart))
    starts = np.append(0, np.flatnonzero(apart) + 1)
    widths = np.maximum.reduceat(reals, starts) - reals[starts]
    if not 2 <= len(starts) <= MOST or widths.max() > 2 * _NOISE * np.diff(reals)[apart].min():
        return None
    return group


def is_rounding(results: Array, wide: Array, largest: Array, clear: FloatArray) -> bool:
    """Whether results stand for some values, and float32 alone has taken them away: in float64 they are much nearer.

    Parameters
    ----------
    results, wide : array, shape (n, channels)
        Of steps in float32, and in float64.
    largest : float64 array, shape (n, channels)
        Magnitude on the way.
    clear : float64 array
        The values, ascending.
    """
    middles = (clear[1:] + clear[:-1]) / 2
    met = clear[np.searchsorted(middles, results)]
    away, away_wide = np.abs(results - met), np.abs(wide - clear[np.searchsorted(middles, wide)])
    same = (results == met.astype(np.float32)) & (away_wide <= _WIDE * largest)
    return bool((same | (away_wide <= _SHRINKS * away)).all())


def _snapped(reals: FloatArray, index: IntArray, count: int, unit: float, allowed: float) -> Levels:
    """Prefer a float32 as the scale that all values are rounded multiples of, and no shift."""
    low = int(np.rint(reals[0] / unit))
    integers, shift = low + index, 0.0
    if np.abs(integers * unit - reals).max() > allowed + UNIT * abs(reals[0]):
        low, integers, shift = 0, index, float(reals[0])
    else:
        largest = int(np.argmax(np.abs(integers)))
        unit = float(reals[largest] / integers[largest])
        for candidate in [*reals[np.abs(integers) == 1].tolist(), np.float32(unit).item()]:
            if np.array_equal((integers * np.float32(abs(candidate))).astype(np.float32), reals.astype(np.float32)):
                unit = abs(float(candidate))
                break
    error = float(np.abs(integers * unit + shift - reals).max())
    return Levels(low, count, unit, shift, error, reals, index)


def steps_of(signal: Signal) -> int:
    """Count the steps between the lowest and the highest integer of the channel that has most."""
    return int(((signal.high - signal.low) // signal.step).max())


def sample(signal: Signal) -> tuple[IntArray, bool]:
    """Return integers of all channels, (n, channels), both ends among them, and whether these are all."""
    steps = steps_of(signal)
    rows = np.unique(np.linspace(0, steps, min(steps + 1, _SAMPLE)).astype(np.int64))[:, None]
    return np.minimum(signal.low + rows * signal.step, signal.high), steps < _SAMPLE


def reachable(signal: Signal) -> Iterator[IntArray]:
    """Give all integers of all channels, (n, channels) at a time; short channels repeat their end."""
    steps, rows = steps_of(signal), max(2, _CHUNK // signal.channels)
    for start in range(0, steps + 1, rows):
        numbers = np.arange(start, min(start + rows, steps + 1))[:, None]
        yield np.minimum(signal.low + numbers * signal.step, signal.high)


def values_of(evaluate: Callable[[IntArray], Array], signal: Signal) -> FloatArray | None:
    """Collect the different values of a function of all integers; None if there are more than :data:`MOST`."""
    found = np.zeros(0)
    for integers in reachable(signal):
        found = np.union1d(found, evaluate(integers).astype(np.float64))
        if len(found) > MOST or not np.isfinite(found).all():
            return None
    return found


def directions(evaluate: Callable[[IntArray], Array], grid: Iterable[IntArray]) -> IntArray | None:
    """Return +1, -1 or 0 for channels in which a function never falls, never rises or is constant; None if neither.

    It is evaluated on ascending integers, (n, channels) at a time.
    """
    rises, falls = np.zeros(1, bool), np.zeros(1, bool)
    last: Array | None = None
    for integers in grid:
        values = evaluate(integers)
        whole = values if last is None else np.concatenate([last, values])
        rises = rises | (whole[1:] > whole[:-1]).any(axis=0)
        falls = falls | (whole[1:] < whole[:-1]).any(axis=0)
        last = values[-1:]
    return None if (rises & falls).any() else rises.astype(np.int64) - falls


def is_affine(results: Array, integers: IntArray, scale: FloatArray, shift: FloatArray) -> bool:
    """Whether results are ``scale * n + shift``, but for what float32 rounds in a few operations."""
    exact, varies = scale * integers + shift, integers.max(axis=0) > integers.min(axis=0)
    away = np.abs(exact - results).max(axis=0)
    largest = np.abs(exact).max(axis=0) + np.abs(exact - shift).max(axis=0) + np.abs(shift)
    small = (away <= _ROUNDINGS * UNIT * largest) & ((away <= _CLEAR * np.abs(scale)) | ~varies | (scale == 0))
    return bool(small.all() and (scale[varies].any() or not varies.any()))


def roundings(results: Array, scale: FloatArray, integers: IntArray) -> FloatArray:
    """Bound, channel by channel, what float32 rounds where an affine is taken on integers that were not evaluated."""
    bound: FloatArray = _ROUNDINGS * UNIT * (np.abs(results).max(axis=0) + np.abs(scale * integers).max(axis=0))
    return bound
