"""The vectors that are made here: drawn at random, always the same."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xnorflow.bnn.network import Input, Network

SEED = 0
"""Of the random vectors."""


def random_inputs(taken: "Input", count: int) -> NDArray[np.int32]:
    """Draw vectors over the input's whole range, always the same: int32, shape (count, *input shape)."""
    random = np.random.default_rng(SEED)
    if taken.kind == "bipolar":
        return random.integers(0, 2, (count, *taken.shape), np.int32) * 2 - 1
    low = -(2 ** (taken.bits - 1)) if taken.kind == "signed" else 0
    return random.integers(low, low + 2**taken.bits, (count, *taken.shape), np.int32)


def classes(network: "Network") -> int:
    """Return the number of classes that a network tells apart: the size of its scores, two by the sign of one."""
    from xnorflow.cosim.engine import outputs

    return max(2, network.signals[outputs(network)[0]].size)
