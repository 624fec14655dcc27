"""Rounding what is not binary: which layers, to how many bits, and how far that takes the model.

A real weight becomes an integer times a power of two, one for each output: the smallest by which all its weights fit
into the layer's bits. Halves go to the even integer. Scales and shifts of the operand, such as an input's
normalisation, are taken into the weights and the sum before they are rounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.core.sums import FloatArray

ALLOW = "or let it be rounded: table [fixed] with bits = 8 in the configuration file (CONFIG=FILE), or FIXED=8"
"""What to do where something is refused that could be rounded."""

LEAST, MOST = 2, 16
"""Bits of a rounded weight."""

MOST_OF_VALUES = 8
"""Bits of a rounded value between layers."""

_SLACK = 2.0**-50  # of a product of float64 numbers, and what is taken off it


class NotExact(UserError):
    """Weights or scales that are no small integers, which could be rounded."""


class ScalesError(NotExact):
    """Results stand for multiples of numbers that have no small common measure."""


@dataclass(frozen=True)
class Fixed:
    """To how many bits weights are rounded where a layer is neither binary nor of few integers.

    Attributes
    ----------
    bits : int
        2 to 16.
    layers : mapping of layer name to int
        Of single layers of the Network.
    """

    bits: int = 8
    layers: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, bits in {"bits": self.bits, **self.layers}.items():
            if not LEAST <= bits <= MOST:
                raise UserError(f"fixed: {name}: expected {LEAST} to {MOST} bits, got {bits}")

    def of(self, layer: str) -> int:
        """Return the bits of a layer's weights."""
        return self.layers.get(layer, self.bits)

    @property
    def of_values(self) -> int:
        """Bits of real values between layers: as many thresholds as a level of that many bits has are the most."""
        return min(self.bits, MOST_OF_VALUES)


@dataclass(frozen=True, eq=False)
class Rounded:
    """What the rounding of a layer's weights has done.

    Attributes
    ----------
    bits : int
    scale : float64 array, shape (outputs,)
        Powers of two: the trained model's sum is near ``scale * n + shift`` for the sum n of integers.
    bound : float64 array, shape (outputs,)
        How far from that the trained model's sum is at most, for every operand in its range, its own rounding included.
    errors : mapping of layer name to float64 array
        Of each layer of weights that the sum is made of: real less rounded weight, in the weights' shape. By how much
        the rounding changes a sum is the layer applied to these.
    """

    bits: int
    scale: FloatArray
    bound: FloatArray
    errors: Mapping[str, FloatArray]


def rounded(
    weight: FloatArray, bits: int, scale: FloatArray | None = None
) -> tuple[NDArray[np.int16], FloatArray, FloatArray]:
    """Round real weights.

    Parameters
    ----------
    weight : float64 array, outputs first
    bits : int
    scale : float64 array, shape (outputs,), optional
        Powers of two, where they are given.

    Returns
    -------
    rounded : int16 array of the weights' shape
        Magnitudes below ``2**(bits - 1)``, where no scale is given.
    scale : float64 array, shape (outputs,)
        Powers of two; 1 where all weights are 0.
    error : float64 array of the weights' shape
        ``weight - scale * rounded``.
    """
    rows = weight.reshape(len(weight), -1)
    if scale is None:
        largest = np.abs(rows).max(axis=1)
        with np.errstate(divide="ignore"):
            exponent = np.ceil(np.log2(largest / ((1 << bits - 1) - 1)))
        scale = np.where(largest > 0, np.exp2(np.where(largest > 0, exponent, 0)), 1.0)
    whole = np.rint(rows / scale[:, None])
    error = rows - scale[:, None] * whole
    return whole.astype(np.int16).reshape(weight.shape), scale, error.reshape(weight.shape)


def largest_error(error: FloatArray, weight: FloatArray, magnitude: FloatArray) -> FloatArray:
    """Bound by how much rounding changes the sums of each output.

    Parameters
    ----------
    error, weight : float64 array, shape (outputs, terms)
        The error that was computed, and the real weights.
    magnitude : float64 array, shape (terms,)
        Of the operand's integers.
    """
    bound: FloatArray = (np.abs(error) + _SLACK * np.abs(weight)) @ magnitude * (1 + error.shape[1] * _SLACK)
    return bound


def constant_scale(constant: FloatArray, scale: FloatArray, most: int) -> int:
    """Return the power of two that constants have to be divided by to be integers up to `most` times a scale."""
    largest = (np.abs(constant).max(axis=1) / scale).max()
    return 1 << max(0, int(np.ceil(np.log2(max(largest, 1) / most))))


def grid(low: FloatArray, high: FloatArray, bits: int) -> tuple[FloatArray, FloatArray, int]:
    """Choose multiples of powers of two that ranges of values are rounded to, channel by channel.

    Returns
    -------
    unit : float64 array
        Powers of two.
    base : float64 array
        The lowest multiple.
    count : int
        Steps from there to the highest, in the channel that has most: below ``2**bits``.
    """
    most = (1 << bits) - 1
    with np.errstate(divide="ignore"):
        exponent = np.where(high > low, np.ceil(np.log2((high - low) / most)), 0)
    unit = np.exp2(exponent)
    unit = np.where(np.rint(high / unit) - np.rint(low / unit) > most, 2 * unit, unit)
    return unit, np.rint(low / unit), int((np.rint(high / unit) - np.rint(low / unit)).max())


def spread(values: FloatArray, lowest: FloatArray, highest: FloatArray, whole: bool) -> FloatArray:
    """Bound by how far what lies between two ends may be from values, which only rise or only fall.

    Parameters
    ----------
    values, lowest, highest : float64 array, shape (integers, channels)
        At ascending integers: the values, and their ends.
    whole : bool
        Whether these are all integers. At those in between, all are between what they are at both neighbours.
    """
    rises = values[-1:] >= values[:1]
    middle, up, down = (np.where(rises, a, -b) for a, b in ((values, values), (highest, lowest), (lowest, highest)))
    steps: FloatArray
    if whole or len(values) == 1:
        steps = np.maximum((up - middle).max(axis=0), (middle - down).max(axis=0))
        return steps
    steps = np.maximum((up[1:] - middle[:-1]).max(axis=0), (middle[1:] - down[:-1]).max(axis=0))
    return steps
