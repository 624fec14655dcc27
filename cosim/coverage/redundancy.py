"""Faults that no input can show, where the proof is cheap: ranges of values, and channels that nobody reads."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    Affine,
    Argmax,
    Conv2d,
    Dense,
    DepthToSpace,
    Flatten,
    IntArray,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    Signal,
    SumPool2d,
    Threshold,
)
from xnorflow.cosim.coverage.faults import Faults, swapped

Bits = NDArray[np.bool_]


def redundant(network: Network, group: Faults) -> Bits:
    """TODO."""
    return np.zeros(len(group), np.bool_)
