"""Kernels as integers times a scale."""

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.core.fixed import NotExact

LARGEST = 128
"""Of the integers' magnitudes: weights of 8 bits."""

_EQUAL = 2.0**-16  # weights of a channel that differ by less than this part are one magnitude, rounded differently


def factor(
    kernel: NDArray[np.float32], where: str, largest: int = 1
) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64]]:
    """Take a kernel apart into integers, a scale for each output, and what is left.

    Parameters
    ----------
    kernel : float32 array, outputs first
    where : str
    largest : int
        Of the integers' magnitudes: 1 for binary and ternary weights, up to 128.

    Returns
    -------
    weight : int8 array of the kernel's shape
    alpha : float64 array, shape (outputs,)
        Positive, 1 where all weights are zero. One for all outputs where that is possible with weights above 1.
    deviation : float64 array of the kernel's shape
        ``kernel - alpha * weight``: zero, or the last bits of a quantizer that computes ``x + (q - x)``.

    Raises
    ------
    NotExact
        If an output has weights of other ratios; it starts with `where`.
    UserError
        If some are not finite.
    """
    rows = kernel.reshape(len(kernel), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise UserError(f"{where}: expected finite weights, got NaN or infinity from its quantizer")
    alpha = np.ones(len(rows))
    for output, row in enumerate(np.abs(rows)):
        if row.any():
            found = _unit_of(row[row > 0], largest)
            if found is None:
                shown = ", ".join(f"{value:g}" for value in np.unique(rows[output])[:6])
                expected = "weights -a, 0 and +a with one a for each output"
                advice = "use a binary or ternary kernel quantizer (weights of more bits are not supported)"
                if largest > 1:
                    expected += f", or integers up to {largest} times that"
                    advice = "use a binary or ternary kernel quantizer, or one of at most 8 bits"
                raise NotExact(f"{where}: expected {expected}, got {shown}, ... for output {output}; {advice}")
            alpha[output] = found
    weight = np.rint(rows / alpha[:, None])
    if np.abs(weight).max(initial=0) > 1:
        used = rows.any(axis=1)
        ratio = alpha[used] / alpha[used].min()
        if np.array_equal(ratio, np.rint(ratio)) and np.abs(weight[used] * ratio[:, None]).max() <= largest:
            alpha = np.full(len(rows), alpha[used].min())
            weight = np.rint(rows / alpha[:, None])
    if weight.max(initial=0) > 127:
        raise NotExact(f"{where}: expected weights of 8 bits, -128 to 127 times their scale, got {weight.max():g}")
    deviation = rows - alpha[:, None] * weight
    return weight.astype(np.int8).reshape(kernel.shape), alpha, deviation.reshape(kernel.shape)


def _unit_of(magnitudes: NDArray[np.float64], largest: int) -> float | None:
    """Find what positive magnitudes are multiples of, by up to `largest`; None if of nothing."""
    for times in range(1, largest + 1):
        ratio = magnitudes / magnitudes.max() * times
        if (np.abs(ratio - np.rint(ratio)) <= _EQUAL * ratio).all():
            return float(np.quantile(magnitudes / np.rint(ratio), 0.5, method="lower"))
    return None
