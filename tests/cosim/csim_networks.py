"""Networks that exercise the C-simulation."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    Add,
    Affine,
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    Recurrent,
    Signal,
    SumPool2d,
    Threshold,
)


class Builder:
    """Chains operations and knows the signal that each gives."""

    def __init__(self, name: str, source: Input, seed: int) -> None:
        self.name, self.operations, self.signal = name, [source], source.infer()
        self.rng = np.random.default_rng(seed)

    def add(self, make: Callable[..., Operation], name: str, **values: Any) -> "Builder":
        operation = make(name, (self.operations[-1].name,), **values)
        self.signal: Signal = operation.infer(self.signal)  # type: ignore[no-redef]
        self.operations.append(operation)  # type: ignore[arg-type]
        return self

    def weights(self, *shape: int, zeros: float = 0.0) -> NDArray[Any]:
        weight = self.rng.choice(np.array([-1, 1], np.int8), shape)
        weight[self.rng.random(shape) < zeros] = 0
        return weight

    def threshold(self, name: str, down: float = 0.5) -> "Builder":
        """Thresholds near the middle, of both directions; the first four channels are always or never."""
        channels = self.signal.channels
        direction = np.where(self.rng.random(channels) < down, -1, 1).astype(np.int8)
        low, high = self.signal.low - (direction < 0), self.signal.high + (direction > 0)
        threshold = np.clip(self.rng.integers(-6, 7, channels), low, high)
        threshold[0:2], threshold[2:4] = low[0:2], high[2:4]
        return self.add(Threshold, name, threshold=threshold, direction=direction)

    def network(self) -> Network:
        return Network(self.name, tuple(self.operations))


def vectors_network() -> Network:
    """Signed fixed-point inputs; binary and ternary dense layers; negative and zero scales; awkward names."""
    b = Builder("double", Input("inputs", (), (37,), "signed", 5, 2), 1)
    b.add(Dense, "input", weight=b.weights(70, 37, zeros=0.3)).threshold("sign1")
    b.add(Dense, "int", weight=b.weights(130, 70)).threshold("sign2")
    b.add(Dense, "fc3", weight=b.weights(6, 130, zeros=0.2))
    b.add(Affine, "affine", scale=np.array([3, -2, 0, -100, 1, 7]), offset=np.array([0, -9, 4, 0, 0, 1000]), fraction=4)
    return b.add(Argmax, "argmax").network()


def images_network(pool_stride: tuple[int, int] = (1, 2), channels: int = 65) -> Network:
    """8-bit images; zero padding on integers and on bits; ternary weights; max-pools before and after the sign."""
    b = Builder("images", Input("image", (), (7, 6, 2), "unsigned", 8), 2)
    b.add(Conv2d, "conv1", weight=b.weights(channels, 3, 3, 2, zeros=0.2), padding=(1, 1, 1, 1))
    b.add(MaxPool2d, "pool1", size=(2, 2), stride=pool_stride).threshold("sign1")
    b.add(Conv2d, "conv2", weight=b.weights(9, 2, 3, channels, zeros=0.1), stride=(2, 1), padding=(1, 0, 0, 2))
    b.threshold("sign2")
    b.add(MaxPool2d, "pool2", size=(2, 2), stride=(2, 2))
    b.add(Flatten, "flatten")
    b.add(Dense, "fc1", weight=b.weights(20, b.signal.size)).threshold("sign3")
    b.add(Dense, "fc2", weight=b.weights(4, 20))
    return b.add(Argmax, "argmax").network()


def padded_network(pad_value: int) -> Network:
    """Bipolar images; padding of the given value, on binary and ternary convolutions, strides, kernels of one row."""
    b = Builder("padded", Input("image", (), (5, 6, 3)), 3)
    b.add(Conv2d, "conv1", weight=b.weights(5, 3, 2, 3), stride=(1, 2), padding=(2, 1, 1, 0), pad_value=pad_value)
    b.threshold("sign1", down=0.0)
    b.add(Conv2d, "conv2", weight=b.weights(9, 1, 2, 5, zeros=0.3), padding=(0, 0, 1, 1), pad_value=pad_value)
    b.threshold("sign2", down=0.0)
    b.add(Flatten, "flatten")
    return b.add(Dense, "fc", weight=b.weights(3, b.signal.size)).network()


def padded_pools_network() -> Network:
    """Max pools that reach out on each side, with strides: of sums, and of bits on more channels than a word has."""
    b = Builder("pools", Input("image", (), (5, 6, 3)), 4)
    b.add(Conv2d, "conv1", weight=b.weights(70, 2, 2, 3), padding=(1, 0, 1, 0), pad_value=-1)
    b.threshold("sign1", down=0.0)
    b.add(MaxPool2d, "pool1", size=(3, 3), stride=(2, 1), padding=(1, 2, 1, 1))
    b.add(Conv2d, "conv2", weight=b.weights(9, 1, 2, 70))
    b.add(MaxPool2d, "pool_of_sums", size=(2, 2), padding=(1, 0, 0, 1))
    b.threshold("sign2")
    b.add(MaxPool2d, "pool2", size=(1, 2), stride=(1, 2), padding=(0, 0, 1, 1))
    b.add(Flatten, "flatten")
    return b.add(Dense, "fc", weight=b.weights(3, b.signal.size)).network()


def residual_network() -> Network:
    """Sums of bits and integers, three at a time and behind flattens; two activations of several levels; sum pools."""
    rng = np.random.default_rng(7)

    def weights(*shape: int) -> NDArray[Any]:
        return rng.choice([-1, 0, 1], shape)

    levels = np.sort(rng.integers(-40, 40, (65, 3)), axis=1)
    return Network(
        "residual",
        (
            Input("x", (), shape=(6, 5, 3), kind="signed", bits=4),
            Conv2d("conv1", ("x",), weight=weights(65, 3, 3, 3), padding=(1, 1, 1, 1)),
            Threshold("sign1", ("conv1",), threshold=np.arange(65) - 30, direction=np.ones(65, np.int8)),
            Conv2d("conv2", ("sign1",), weight=weights(65, 3, 3, 65), padding=(1, 1, 1, 1)),
            Add("sum1", ("conv2", "sign1", "conv1")),
            MultiThreshold("act", ("sum1",), threshold=levels, direction=rng.choice([-1, 1], 65), low=-3, step=2),
            Conv2d("conv3", ("act",), weight=weights(4, 2, 2, 65), stride=(2, 1), padding=(1, 0, 0, 1)),
            SumPool2d("mean", ("conv3",), size=(2, 3), stride=(1, 1)),
            SumPool2d("bits", ("sign1",), size=(5, 2), stride=(1, 3)),
            Flatten("flat", ("mean",)),
            Flatten("flat_bits", ("bits",)),
            Dense("dense", ("flat",), weight=weights(260, 24)),
            Add("sum2", ("dense", "flat_bits")),
            MultiThreshold(
                "tern", ("sum2",), threshold=np.array([[-9, 9]] * 260), direction=np.ones(260, np.int8), low=-1
            ),
            Dense("dense2", ("tern",), weight=weights(5, 260)),
            Argmax("argmax", ("dense2",)),
        ),
    )


def stock_residual_network() -> Network:
    """Sums of three and of two, a ternary activation, a sum pool: what hls4ml's own layers can express exactly."""
    rng = np.random.default_rng(7)

    def weights(*shape: int) -> NDArray[Any]:
        return rng.choice([-1, 1], shape)

    levels = np.sort(rng.integers(-40, 40, (5, 2)), axis=1)
    return Network(
        "residual",
        (
            Input("x", (), shape=(6, 5, 3), kind="signed", bits=4),
            Conv2d("conv1", ("x",), weight=weights(5, 3, 3, 3), padding=(1, 1, 1, 1)),
            Threshold("sign1", ("conv1",), threshold=np.arange(5) - 3, direction=np.ones(5, np.int8)),
            Conv2d("conv2", ("sign1",), weight=weights(5, 3, 3, 5), padding=(1, 1, 1, 1)),
            Add("sum1", ("conv2", "sign1", "conv1")),
            MultiThreshold("act", ("sum1",), threshold=levels, direction=np.ones(5, np.int8), low=-1),
            Conv2d("conv3", ("act",), weight=weights(4, 2, 2, 5), stride=(2, 2), padding=(1, 0, 0, 1)),
            SumPool2d("mean", ("conv3",), size=(2, 3), stride=(1, 1)),
            Flatten("flat", ("mean",)),
            Dense("dense", ("flat",), weight=weights(7, 8)),
            Threshold("sign2", ("dense",), threshold=np.arange(7) - 3, direction=np.ones(7, np.int8)),
            Dense("left", ("sign2",), weight=weights(5, 7)),
            Dense("right", ("sign2",), weight=weights(5, 7)),
            Add("sum2", ("left", "right")),
            Argmax("argmax", ("sum2",)),
        ),
    )


def small_network() -> Network:
    """Unrolled in seconds: signed integers, zero padding and ternary weights of bits, two words, scores alone."""
    b = Builder("small", Input("image", (), (3, 4, 2), "signed", 3), 6)
    b.add(Conv2d, "conv1", weight=b.weights(6, 2, 2, 2, zeros=0.2), padding=(1, 0, 0, 1)).threshold("sign1")
    b.add(Conv2d, "conv2", weight=b.weights(8, 3, 3, 6, zeros=0.2), padding=(1, 1, 1, 1)).threshold("sign2")
    b.add(Flatten, "flatten")
    b.add(Dense, "fc1", weight=b.weights(66, b.signal.size, zeros=0.85)).threshold("sign3")
    last = b.weights(3, 66, zeros=0.5)
    last[0, :60], last[0, 60:] = 0, 1  # a sum of fewer bits than the accumulator has
    return b.add(Dense, "fc2", weight=last).network()


def wide_network() -> Network:
    """More than a word of channels padded with +1, of integers per cycle, and of thresholds than a fold has.

    Integers are pooled and then compared in both directions, and padding is left out of sums in several folds.
    """
    rng = np.random.default_rng(8)

    def weights(*shape: int) -> NDArray[Any]:
        return rng.choice([-1, 1], shape)

    levels, around = np.sort(rng.integers(-40, 40, (70, 15)), axis=1), (1, 0, 0, 1)
    return Network(
        "wide",
        (
            Input("x", (), shape=(3, 3, 2), kind="unsigned", bits=4),
            Conv2d("conv1", ("x",), weight=weights(66, 2, 2, 2), padding=(0, 1, 1, 0)),
            Threshold("sign1", ("conv1",), threshold=rng.integers(-9, 10, 66), direction=np.ones(66, np.int8)),
            Conv2d("conv2", ("sign1",), weight=weights(5, 2, 2, 66), padding=around, pad_value=1),
            Conv2d("conv3", ("sign1",), weight=weights(5, 2, 2, 66), padding=around),
            Add("sum1", ("conv2", "conv3")),
            MaxPool2d("pool", ("sum1",), size=(2, 2), stride=(1, 1)),
            Threshold("sign2", ("pool",), threshold=np.array([8, 20, 9, 30, 15]), direction=weights(5)),
            Flatten("flat", ("sign2",)),
            Flatten("flat_pool", ("pool",)),
            Dense("dense1", ("flat",), weight=weights(20, 20)),
            Add("sum2", ("dense1", "flat_pool")),
            Dense("dense2", ("sum2",), weight=weights(70, 20)),
            MultiThreshold("act", ("dense2",), threshold=levels, direction=weights(70)),
            Dense("dense3", ("act",), weight=rng.choice([-1, 0, 1], (3, 70))),
        ),
    )


WIDE = {"io_type": "io_parallel", "strategy": "resource", "reuse_factor": 40, "layers": {"dense3": {"reuse_factor": 1}}}


def recurrent_network(units: int = 70) -> Network:
    """Two recurrent layers over six steps, the second of ternary weights, read out at the end."""
    rng = np.random.default_rng(units)

    def weights(*shape: int, zeros: float = 0.0) -> NDArray[np.int8]:
        made = rng.choice(np.array([-1, 1], np.int8), shape)
        made[rng.random(shape) < zeros] = 0
        return made

    ones = np.ones(9, np.int8)
    bounds = rng.integers(-9, 10, (2, units)), rng.integers(-3, 4, (2, 9))
    return Network(
        "recurrent",
        (
            Input("x", (), shape=(1, 6, 5), kind="signed", bits=6),
            Conv2d("sums1", ("x",), weights(units, 1, 1, 5)),
            Recurrent("state1", ("sums1",), weights(units, units), bounds[0][0], bounds[0][1], weights(units), 2),
            Conv2d("sums2", ("state1",), weights(9, 1, 1, units)),
            Recurrent("state2", ("sums2",), weights(9, 9, zeros=0.3), bounds[1][0], bounds[1][1], -ones, last=True),
            Dense("scores", ("state2",), weights(4, 9)),
        ),
    )  # fmt: skip
