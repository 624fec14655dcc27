"""Small networks that exercise the RTL."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from xnorflow.bnn.network import (
    Add,
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    MaxPool2d,
    Network,
    Recurrent,
    SumPool2d,
    Threshold,
)
from xnorflow.hls.rtl.config import Folded, RtlConfig


def small_dense(seed: int = 0, sizes: Any = (21, 7, 4)) -> Any:
    rng = np.random.default_rng(seed)
    inputs, hidden, classes = sizes
    return Network(
        "small",  # a reserved word of Verilog
        (
            Input("image", (), shape=(inputs,)),
            Dense("dense1", ("image",), rng.choice(np.array([-1, 1], np.int8), (hidden, inputs))),
            Threshold(
                "sign1", ("dense1",), rng.integers(-3, 4, hidden), rng.choice(np.array([-1, 1], np.int8), hidden)
            ),
            Dense("dense2", ("sign1",), rng.choice(np.array([-1, 1], np.int8), (classes, hidden))),
            Argmax("argmax", ("dense2",)),
        ),
    )


def small_image(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    down = np.array([-1, 1, -1], np.int8)
    return Network(
        "images",
        (
            Input("image", (), shape=(6, 7, 2), kind="unsigned", bits=4),
            Conv2d("conv1", ("image",), rng.choice(np.array([-1, 0, 1], np.int8), (3, 3, 3, 2)), padding=(1, 1, 1, 1)),
            MaxPool2d("pool1", ("conv1",)),
            Threshold("sign1", ("pool1",), np.array([2, 0, -1]), down),
            Conv2d("conv2", ("sign1",), rng.choice(np.array([-1, 1], np.int8), (5, 3, 3, 3)), padding=(1, 1, 1, 1)),
            Threshold("sign2", ("conv2",), np.array([0, 1, -1, 2, 0]), np.ones(5, np.int8)),
            Flatten("flatten", ("sign2",)),
            Dense("dense", ("flatten",), rng.choice(np.array([-1, 1], np.int8), (4, 45))),
            Argmax("argmax", ("dense",)),
        ),
    )


def small_residual(seed: int = 0) -> Any:
    """Two residual blocks of integers, and a sum of two convolutions whose windows lag differently."""
    rng = np.random.default_rng(seed)

    def weights(*shape: Any) -> Any:
        return rng.choice(np.array([-1, 1], np.int8), shape)

    def block(index: Any, source: Any) -> Any:
        threshold, direction = rng.integers(-2, 3, 4), weights(4)
        return (
            Threshold(f"sign{index}", (source,), threshold, direction),
            Conv2d(f"conv{index}", (f"sign{index}",), weights(4, 3, 3, 4), padding=(1, 1, 1, 1)),
            Add(f"add{index}", (source, f"conv{index}")),
        )

    return Network(
        "residual",
        (
            Input("image", (), shape=(6, 7, 2), kind="unsigned", bits=4),
            Conv2d("conv0", ("image",), weights(4, 3, 3, 2), padding=(1, 1, 1, 1)),
            *block(1, "conv0"),
            *block(2, "add1"),
            MaxPool2d("pool", ("add2",)),
            Threshold("sign3", ("pool",), np.zeros(4, np.int64), -np.ones(4, np.int8)),
            Conv2d("wide", ("sign3",), weights(3, 3, 3, 4), padding=(1, 1, 1, 1)),
            Conv2d("narrow", ("sign3",), weights(3, 1, 1, 4)),
            Add("add3", ("wide", "narrow")),
            SumPool2d("average", ("add3",), size=(3, 3), stride=(1, 1)),
            Flatten("flatten", ("average",)),
            Dense("dense", ("flatten",), weights(5, 3)),
            Argmax("argmax", ("dense",)),
        ),
    )


def small_recurrent(seed: int = 0) -> Any:
    """Two recurrent layers over five steps, the state of the first of which depends on all that came before."""
    rng: Any = np.random.default_rng(seed)

    def weights(*shape: Any) -> Any:
        return rng.choice(np.array([-1, 1], np.int8), shape)

    def pairs(low: int, high: int, count: int) -> tuple[Any, Any]:
        first, second = rng.integers(low, high, (2, count))
        return first, second

    return Network(
        "recurrent",
        (
            Input("image", (), shape=(1, 5, 3), kind="signed", bits=4),
            Conv2d("sums1", ("image",), weights(7, 1, 1, 3)),
            Recurrent("state1", ("sums1",), weights(7, 7), *pairs(-3, 4, 7), weights(7), shift=2),
            Conv2d("sums2", ("state1",), weights(6, 1, 1, 7)),
            Recurrent("state2", ("sums2",), np.sign(rng.integers(-1, 2, (6, 6))), *pairs(-1, 2, 6),
                      weights(6), last=True),
            Dense("dense", ("state2",), weights(4, 6)),
            Argmax("argmax", ("dense",)),
        ),
    )  # fmt: skip


# Folds the network below so that the convolution's weights fill a block memory.
BLOCK_MEMORY = RtlConfig(layers={"conv": Folded(1, 72)}, default=Folded(2, 64))


def in_block_memory(kind: Literal["bipolar", "signed"], values: Sequence[int], seed: int = 0) -> Network:
    """A convolution padded with zeros, which give flags to bipolar values; :data:`BLOCK_MEMORY` folds it."""
    rng = np.random.default_rng(seed)
    weight = rng.choice(np.array(values, np.int8), (80, 3, 3, 8))
    image = Input("image", (), shape=(2, 2, 8), kind=kind, bits=1 if kind == "bipolar" else 3)
    dense = Dense("dense", ("flatten",), rng.choice(np.array([-1, 1], np.int8), (3, 4 * 80)))
    padded = Conv2d("conv", ("image",), weight, padding=(1, 1, 1, 1))
    return Network("held", (image, padded, Flatten("flatten", ("conv",)), dense, Argmax("argmax", ("dense",))))
