"""Activations of Keras, QKeras and Larq: recognised by what they do, and folded onto the integers before them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.folding import fold_multi_threshold, fold_threshold
from xnorflow.bnn.frontends.sums import UNIT, Encoding, FloatArray, count
from xnorflow.bnn.network import IntArray, MultiThreshold, Signal, Threshold

#: An element-wise function on TensorFlow tensors, float32 to float32.
Function = Callable[[Any], Any]
#: What an activation gets for the integers of an operation, (n, channels): the lowest (-1) or highest (+1) float32 that
#: the framework may have there, or what exact sums would give (0).
Values = Callable[[IntArray, Literal[-1, 0, 1]], NDArray[np.float32]]

_LARGEST = 16
_NOISE = 2.0**-10
"""How far from its values a result may lie, relative to their distance: QKeras computes ``x + (q - x)``."""
_PROBE = np.unique(np.concatenate([np.linspace(-(2.0**e), 2.0**e, 257) for e in range(-8, 11)])).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Step:
    """A floating-point step between an accumulator and its activation, channel by channel and monotonic."""

    where: str
    apply: Function
    real: Callable[[FloatArray], FloatArray]  # its meaning in real numbers
    bias: FloatArray | None = None  # where it is the addition of one, which never falls


@dataclass(frozen=True, eq=False)
class Activation:
    """An element-wise function whose values are among 2 to 16 that are evenly spaced.

    Attributes
    ----------
    function : callable
    what : str
        Its name.
    levels : float64 array
        Ascending.
    noisy : bool
        Whether its results are not quite these, as ``x + (q - x)`` is not quite q in float32.
    hidden : float
        Largest magnitude of x if it computes ``x + (q - x)``, infinite if that is what it gets, 0 if it does not.
    """

    function: Function
    what: str
    levels: FloatArray
    noisy: bool
    hidden: float

    @property
    def spacing(self) -> float:
        return float(self.levels[-1] - self.levels[0]) / (len(self.levels) - 1)

    @property
    def _integers(self) -> tuple[int, int]:
        """The integers that stand for the levels, lowest and step: multiples of what the levels are, if of anything."""
        if len(self.levels) == 2:
            return -1, 2
        for step in (1, 2):
            low = float(self.levels[0]) / self.spacing * step
            if abs(low - round(low)) < _NOISE:
                return round(low), step
        return 0, 1

    def nearest(self, values: FloatArray) -> IntArray:
        """Return the index of the level next to each value."""
        return np.rint((values - self.levels[0]) / self.spacing).clip(0, len(self.levels) - 1).astype(np.int64)

    def fold(
        self, name: str, source: str, values: Values, encoding: Encoding, signal: Signal, where: str
    ) -> tuple[Threshold | MultiThreshold, Encoding, int, float]:
        """Fold it onto the integers of an operation.

        Parameters
        ----------
        name, source
            Of the new operation, and of its operand.
        values : callable
            What it gets.
        encoding, signal
            Of the operand.
        where : str
            For error messages.

        Returns
        -------
        Threshold or MultiThreshold
            What exact sums would give.
        Encoding
            Of its results.
        int
            Number of (channel, integer) pairs whose result depends on how the framework rounds its sums.
        float
            As :attr:`hidden`, but finite.

        Raises
        ------
        UserError
            If it gives any other value.
        NetworkError
            If it is not monotonic.
        """
        low, step = self._integers
        distance = self.spacing / step
        shift = float(self.levels[0]) - low * distance
        if abs(shift) < _NOISE * distance:
            shift = 0.0
        steps = len(self.levels) - 1
        largest, noise = 0.0, float(np.abs(shift + (low + step * np.arange(steps + 1)) * distance - self.levels).max())

        def formula(end: Literal[-1, 0, 1]) -> Callable[[IntArray], NDArray[np.floating]]:
            def evaluate(accumulators: IntArray) -> NDArray[np.floating]:
                nonlocal largest, noise
                before = values(accumulators, end)
                after = np.asarray(self.function(before)).astype(np.float64)
                # All probed values and more: what is beyond them is not lost in x + (q - x) by every kernel alike.
                kept = np.asarray(self.function(np.clip(before, _PROBE[0], _PROBE[-1]))).astype(np.float64)
                index = self.nearest(kept) if np.isfinite(kept).all() else np.zeros(kept.shape, np.int64)
                away = np.abs(after - self.levels[index])
                wrong = ~(away <= _NOISE * self.spacing)
                if wrong.any():
                    row, channel = (int(i) for i in np.argwhere(wrong)[0])
                    raise UserError(
                        f"{where}: expected {self.what} to give {self.levels[index[row, channel]]:g} for "
                        f"{before[row, channel]:g} (accumulator {accumulators[row, channel]} of channel {channel}), "
                        f"got {after[row, channel]:g}; QKeras computes x + (q - x), which is not q where x is very "
                        "large, unless alpha is None"
                    )
                noise = max(noise, float(away.max()))
                largest = max(largest, float(np.abs(before).max()))
                if self.noisy and end:  # values inside the interval may round worse than its ends
                    noise = max(noise, 4 * UNIT * (largest + float(np.abs(self.levels).max())))
                return (low + step * index).astype(np.float64)

            return evaluate

        def fold(end: Literal[-1, 0, 1]) -> Threshold | MultiThreshold:
            if steps == 1:
                return fold_threshold(name, (source,), formula(end), signal)
            return fold_multi_threshold(name, (source,), formula(end), signal, low=low, step=step, levels=steps)

        folded, ambiguous = fold(0), 0
        if not encoding.exact:
            ambiguous = int(np.abs(count(fold(1), signal) - count(fold(-1), signal)).sum())
        hidden = self.hidden if np.isfinite(self.hidden) else largest
        return folded, Encoding.common(signal.channels, distance, shift, noise), ambiguous, hidden


def recognise(function: Function, where: str) -> Activation | None:
    """Find the values of an activation; None if they are not among 2 to 16 that are evenly spaced.

    Raises
    ------
    UserError
        If it cannot be evaluated, is random, or does not look at one value at a time; it starts with `where`.
    """
    what = name_of(function)
    few = np.array([-2.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2.5], np.float32)
    near_zero = np.linspace(-0.01, 0.01, 64, dtype=np.float32).reshape(8, 8)
    try:
        together = np.asarray(function(few.reshape(3, 3))).ravel()
        alone = np.array([np.asarray(function(value.reshape(1, 1))).item() for value in few], np.float32)
        once, twice = (np.asarray(function(near_zero)) for _ in range(2))
    except Exception as error:  # whatever the framework raises
        raise UserError(
            f"{where}: expected an activation that can be evaluated, got {what}: {str(error).splitlines()[0]}"
        ) from None
    if not np.array_equal(once, twice):
        raise UserError(
            f"{where}: expected an activation that gives the same every time, got {what}, which is random; "
            "stochastic_binary and stochastic_ternary are not, in inference"
        )
    if not np.array_equal(together, alone):
        raise UserError(
            f"{where}: expected an activation that looks at one value at a time, got {what}; a scale made from the "
            "magnitudes of what it gets (alpha 'auto' of QKeras, the input scale K of XNOR-Net) differs from input to "
            "input, and no integer stands for it: use alpha=1 or a plain sign here, and keep the scale for the kernel, "
            "where it is exact"
        )
    results = np.asarray(function(_PROBE[:, None]))[:, 0].astype(np.float64)
    levels = _levels(results)
    if levels is None:
        return None
    rng = np.random.default_rng(0)
    wild = (rng.choice([-1, 1], 999) * np.exp(rng.uniform(-6, 6, 999))).astype(np.float32)[:, None]
    noisy = not np.isin(np.asarray(function(wild)).astype(np.float64), levels).all()
    hidden = 2 * float(np.abs(levels).max()) if type(function).__module__.startswith("qkeras") else 0.0
    huge, ends = (np.array([[-of], [of]], np.float32) for of in (2.0**100, _PROBE[-1]))
    if not np.array_equal(np.asarray(function(huge)), np.asarray(function(ends))):
        hidden = np.inf
    return Activation(function, what, levels, noisy, hidden)


def _levels(results: FloatArray) -> FloatArray | None:
    """Return 2 to 16 evenly spaced values among which are those that the results for _PROBE stand for, if there are."""
    if not np.isfinite(results).all():
        return None
    order = np.argsort(results, kind="stable")
    gaps = np.diff(results[order]) > 2.0**-11  # more than float32 rounds off values of up to 1024
    if not 1 <= gaps.sum() < _LARGEST:
        return None
    levels = []
    for members in np.split(order, np.flatnonzero(gaps) + 1):
        if np.ptp(results[members]) > 2.0**-11:
            return None
        nearest = members[np.argmin(np.abs(results[members] - _PROBE[members]))]  # where x + (q - x) is q
        levels.append(results[nearest])
    values = np.array(levels)
    steps = np.rint((values - values[0]) / np.diff(values).min()).astype(np.int64)
    if steps[-1] >= _LARGEST:
        return None
    even = np.linspace(values[0], values[-1], steps[-1] + 1)
    if np.abs(even[steps] - values).max() > 2.0**-16 * (even[1] - even[0]):
        return None
    even[steps] = values
    return even


def run(steps: tuple[Step, ...], values: NDArray[np.float32], axes: int) -> NDArray[np.float32]:
    """Apply steps by TensorFlow, eagerly, to (values, channels), as images of one pixel where there are more axes.

    Batch norm of images is another kernel than that of vectors, and rounds differently.
    """
    import tensorflow  # type: ignore[import-untyped]

    x = tensorflow.constant(values.reshape(len(values), *[1] * (axes - 1), -1))
    for step in steps:
        x = step.apply(x)
    return np.asarray(x).reshape(values.shape)


def name_of(function: Any) -> str:
    """Name an activation as its author would."""
    if type(function).__str__ is not object.__str__ and type(function).__module__.startswith("qkeras"):
        return str(function)
    return str(getattr(function, "name", None) or getattr(function, "__name__", type(function).__name__))
