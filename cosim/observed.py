"""What a framework has in place of an operation's integers, as integers."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.cosim.engine import EngineError

if TYPE_CHECKING:
    from xnorflow.bnn.frontends.core.value import Observed

_OFF = 0.1
"""How far from an integer a float32 sum may lie, in steps of one: sums with scales that are no power of two round."""


def integers(
    name: str, values: NDArray[Any], observed: "Observed", shape: tuple[int, ...], framework: str
) -> NDArray[np.int64]:
    """Return an operation's integers, (N, *shape) and channels last, from the tensors that hold them.

    Raises
    ------
    EngineError
        If these are no integers.
    """
    flat = np.empty((len(values), observed.positions.size))
    flat[:, observed.positions.ravel()] = values.reshape(len(values), -1)
    real = (flat.reshape(len(values), *shape) - observed.shift) / observed.scale
    if not np.isfinite(real).all():
        raise EngineError(f"layer {name}: expected integers from {framework}, got NaN or infinity")
    rounded = np.rint(real)
    if real.size and np.abs(real - rounded).max() > _OFF:
        raise EngineError(f"layer {name}: expected integers from {framework}, got fractions")
    whole: NDArray[np.int64] = rounded.astype(np.int64)
    return whole
