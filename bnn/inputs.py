"""Vectors that a user gives, as the integers that a Network takes."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xnorflow.bnn.errors import UserError

if TYPE_CHECKING:
    from xnorflow.bnn.network import Input


def integers(x: ArrayLike, taken: "Input", what: str = "x") -> NDArray[np.int32]:
    """Return vectors as the integers that an input takes, without rounding any.

    Parameters
    ----------
    x : array, shape (vectors, *input shape)
        Integers of the input, or floating-point numbers that are exactly integer / 2**fraction: what the trained model
        takes.
    taken : Input
    what : str
        Names the array in messages.

    Raises
    ------
    UserError
        If shape, type or a value is not so; names the first such value.
    """
    values = np.asarray(x)
    if values.ndim == 0 or values.shape[1:] != taken.shape:
        raise UserError(f"{what}: expected shape (vectors, {', '.join(map(str, taken.shape))}), got {values.shape}")
    signal = taken.infer()
    scaled: NDArray[Any] = values
    unit = 1
    if np.issubdtype(values.dtype, np.floating):
        # In no less than the type that came: a wider one's last places would be rounded away before they are looked at.
        scaled = np.ldexp(values.astype(np.promote_types(values.dtype, np.float64)), taken.fraction)
        unit = 2**taken.fraction
        multiples = "-1 or +1" if signal.bipolar else f"multiples of 1/{unit}" if taken.fraction else "integers"
        _refuse(scaled != np.rint(scaled), values, f"{what}: expected {multiples}, as the model takes")
    elif not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"{what}: expected integers or floating-point numbers, got {values.dtype}")
    low, high = int(signal.low.min()), int(signal.high.max())
    span = "-1 or +1" if signal.bipolar else f"{low / unit:.12g} to {high / unit:.12g}"
    wrong = (scaled < low) | (scaled > high) | ((scaled == 0) & signal.bipolar)
    _refuse(wrong, values, f"{what}: expected {span}, as the model takes")
    return scaled.astype(np.int32)


def _refuse(wrong: NDArray[np.bool_], values: NDArray[Any], expected: str) -> None:
    if wrong.any():
        place = tuple(int(n) for n in np.argwhere(wrong)[0])
        raise UserError(f"{expected}, got {values[place]} at {place}")
