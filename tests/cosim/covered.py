"""A network whose faults are followed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    Conv2d,
    Dense,
    Flatten,
    Input,
    MaxPool2d,
    Network,
    Threshold,
)


def signs(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(shape).choice(np.array([-1, 1], np.int8), shape)


def image(direction: int, pool: tuple[int, int] = (2, 2)) -> Network:
    """A padded convolution of 2 channels and a pool behind thresholds that all point one way."""
    return Network(
        "image",
        (
            Input("x", (), shape=(6, 6, 2)),
            Conv2d("conv1", ("x",), signs(2, 3, 3, 2), padding=(1, 1, 1, 1), pad_value=-1),
            Threshold("sign1", ("conv1",), np.array([1, -3]), np.full(2, direction, np.int8)),
            MaxPool2d("pool", ("sign1",), size=pool, stride=pool),
            Conv2d("conv2", ("pool",), signs(3, 2, 2, 2)),
            Threshold("sign2", ("conv2",), np.array([1, -1, 0]), signs(3)),
            Flatten("flat", ("sign2",)),
            Dense("dense", ("flat",), signs(4, 12)),
        ),
    )
