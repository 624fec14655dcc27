"""What a framework's float32 sums are, where ours are integers: scale, shift, and how far rounding may take them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import IntArray, Signal

FloatArray = NDArray[np.float64]

UNIT = 2.0**-24
"""Half the distance of 1 to the next float32: the relative error of one rounding."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """What the framework has in place of our integers: a float32 near ``scale * n + shift``, channel by channel.

    It is at most ``fixed + relative * abs(scale * n + shift)`` away. Arrays of shape (channels,).
    """

    scale: FloatArray
    shift: FloatArray
    fixed: FloatArray
    relative: FloatArray

    @classmethod
    def common(cls, channels: int, scale: float, shift: float, error: float = 0.0) -> "Encoding":
        return cls(*(np.full(channels, value) for value in (scale, shift, error, 0.0)))

    @property
    def exact(self) -> bool:
        return not self.fixed.any() and not self.relative.any()

    @property
    def is_common(self) -> bool:
        """Whether the integers stand for the same values in all channels, up to the error."""
        return len(np.unique(self.scale)) == 1 and len(np.unique(self.shift)) == 1

    def settled(self, signal: Signal) -> "Encoding":
        """Return the same with a relative error of 0, for the integers of `signal`."""
        fixed = self.fixed + self.relative * _magnitude(self, signal)
        return replace(self, fixed=fixed, relative=np.zeros_like(fixed))

    def values(self, integers: IntArray, end: float) -> NDArray[np.float32]:
        """Give the framework's values: the lowest (-1) or highest (+1) possible, between them, or without error (0)."""
        center = self.scale * integers + self.shift
        if end == 0 or self.exact:
            return center.astype(np.float32)
        error = self.fixed + self.relative * np.abs(center)
        outer = (center + end * error).astype(np.float32)
        return np.where(error > 0, np.nextafter(outer, np.float32(end * np.inf)), outer)


def _lowest_bit(values: FloatArray) -> FloatArray:
    """Give the largest power of two that divides each value; infinity for 0."""
    mantissa, exponent = np.frexp(values)
    integer = np.abs(np.ldexp(mantissa, 53)).astype(np.int64)
    return np.where(values == 0, np.inf, np.ldexp((integer & -integer).astype(np.float64), exponent - 53))


def _magnitude(encoding: Encoding, signal: Signal) -> FloatArray:
    """Give the largest magnitude of each channel, without the error."""
    magnitude: FloatArray = np.maximum(
        *(np.abs(encoding.scale * end + encoding.shift) for end in (signal.low, signal.high))
    )
    return magnitude


def _unit(*encodings: Encoding) -> FloatArray:
    """Give what all values of each channel are multiples of."""
    lowest: FloatArray = np.min(
        [_lowest_bit(part) for encoding in encodings for part in (encoding.scale, encoding.shift)], axis=0
    )
    return lowest


def added(first: Encoding, second: Encoding, x: Signal, y: Signal) -> Encoding:
    """Say what the framework's sum of two results is, whose integers stand for multiples of the same scale.

    Parameters
    ----------
    first, second : Encoding
        Of equal scales.
    x, y : Signal
        The integers' ranges.
    """
    left, right = _magnitude(first, x), _magnitude(second, y)
    inherited = first.fixed + first.relative * left + second.fixed + second.relative * right
    exact = (inherited == 0) & (left + right <= _unit(first, second) * 2**24)
    fixed = np.where(exact, 0, (inherited + UNIT * (left + right)) * (1 + 4 * UNIT))
    return Encoding(first.scale, first.shift + second.shift, fixed, np.zeros_like(fixed))


def rearranged(total: Encoding, signal: Signal, hidden: float, operands: int) -> FloatArray:
    """Say how far a sum may be off if some of its operands are ``x + (q - x)``, with x of up to `hidden` in all.

    TensorFlow may add all of these terms in any order, which leaves less of q than was there before.
    """
    return 6 * operands * UNIT * (_magnitude(total, signal) + 2 * hidden)


def averaged(operand: Encoding, signal: Signal, terms: int, divisor: int) -> Encoding:
    """Say what the framework's sums of `terms` values by `divisor` are, where ours are sums of that many integers.

    Any order of summation is allowed, and a division or a product with the reciprocal.
    """
    magnitude = _magnitude(operand, signal)
    total, inherited = terms * magnitude, terms * (operand.fixed + operand.relative * magnitude)
    whole = (inherited == 0) & (total <= _unit(operand) * 2**24)
    summed = np.where(whole, 0, inherited + (terms - 1) * UNIT * (total + inherited))
    divided = 0.0 if divisor & (divisor - 1) == 0 else 2 * UNIT
    slack = 1 + 4 * terms * UNIT
    return Encoding(
        operand.scale / divisor,
        operand.shift * (terms / divisor),
        summed / divisor * slack,
        np.full_like(summed, divided * slack),
    )


def sum_error(
    weight: NDArray[np.int8], alpha: FloatArray, deviation: FloatArray, operand: Encoding, magnitude: FloatArray
) -> Encoding:
    """Say what the framework's sums are, of a kernel ``alpha * weight`` that is off by up to `deviation`.

    Parameters
    ----------
    weight, deviation : arrays, shape (outputs, terms)
        The weights are integers.
    alpha : float64 array, shape (outputs,)
    operand : Encoding
        Of the summed values, of one scale: of each term, or of the channels that the terms repeat.
    magnitude : float64 array, shape (inputs,) or (terms,)
        Largest magnitude of each value.

    Notes
    -----
    Let T be the sum of all terms' magnitudes and a the final sum. Whatever the order, a partial sum S and the rest
    a - S together are at most T, so S is at most (T + abs(a)) / 2, and each of the n additions rounds by at most 2**-24
    of that (Higham, Accuracy and Stability of Numerical Algorithms, 4.2); each product rounds by 2**-24 of itself.
    """
    scale, shift, error = float(operand.scale[0]), np.resize(operand.shift, weight.shape[1]), float(operand.fixed.max())
    magnitudes = np.abs(weight.astype(np.int64))
    terms = np.count_nonzero(weight, axis=1)
    total = (magnitudes * (magnitude + error)).sum(axis=1) * alpha
    offset = alpha * (weight @ shift)
    unit = _lowest_bit(alpha) * _lowest_bit(np.append(shift, scale)).min()
    exact = (total <= unit * 2**24) & ~deviation.any(axis=1) & (error == 0)
    slack = 1 + (terms + 2) * 4 * UNIT  # of second order
    relative = np.where(exact, 0, 0.5 * terms * UNIT * slack)
    rounding = (0.5 * terms + 1) * UNIT * total * slack
    inherited = (np.abs(deviation) * (magnitude + error)).sum(axis=1) + alpha * error * magnitudes.sum(axis=1)
    fixed = np.where(exact, 0, rounding + inherited * slack)
    return replace(operand, scale=alpha * scale, shift=offset, fixed=fixed, relative=relative)


def add_bias(
    sums: Encoding, bias: FloatArray, weight: NDArray[np.int8], alpha: FloatArray, magnitude: FloatArray
) -> Encoding:
    """Say what sums are to which the framework adds a bias as one more term, at any time.

    Parameters
    ----------
    sums : Encoding
        As :func:`sum_error` gives it.
    bias : float64 array, shape (outputs,)
    weight, alpha, magnitude
        As :func:`sum_error` takes them.
    """
    total = (np.abs(weight) @ np.broadcast_to(magnitude, weight.shape[1:])) * alpha + np.abs(bias)
    unit = np.minimum(_lowest_bit(sums.scale), np.minimum(_lowest_bit(sums.shift), _lowest_bit(bias)))
    exact = (bias == 0) | ((sums.fixed == 0) & (sums.relative == 0) & (total <= unit * 2**24))
    terms = np.count_nonzero(weight, axis=1) + 1
    error = np.where(exact, 0.0, 2 * terms * UNIT * total)
    return replace(sums, shift=sums.shift + bias, fixed=sums.fixed + error)


def rounded_sum(
    kernel: FloatArray, operand: Encoding, magnitude: FloatArray, bias: FloatArray, alpha: FloatArray, error: FloatArray
) -> Encoding:
    """Say what the framework's sums are where ours are of rounded weights.

    Parameters
    ----------
    kernel : float64 array, shape (outputs, terms)
        The framework's weights.
    operand : Encoding
        Of each term, its relative error 0.
    magnitude : float64 array, shape (terms,)
        Largest magnitude of what the framework multiplies.
    bias, alpha, error : float64 array, shape (outputs,)
        What the framework adds as one more term, what an integer of ours stands for, and by how much the rounding of
        the weights changes a sum at most.

    Notes
    -----
    For the framework's own rounding see :func:`sum_error`.
    """
    terms = kernel.shape[1] + 1
    total = np.abs(kernel) @ (magnitude + operand.fixed) + np.abs(bias)
    slack = 1 + (terms + 2) * 4 * UNIT
    fixed = error + np.abs(kernel) @ operand.fixed + (terms + 1) * UNIT * total
    relative = np.full_like(fixed, 0.5 * terms * UNIT * slack)
    return Encoding(alpha, kernel @ operand.shift + bias, fixed * slack, relative)
