import numpy as np
import pytest

from xnorflow.bnn.network import (
    Affine,
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    MaxPool2d,
    MultiThreshold,
    Network,
    Threshold,
)
from xnorflow.reports import measures


@pytest.fixture
def dense() -> Network:
    """6 bipolar inputs, 4 neurons (one weight masked), 3 classes with an affine."""
    weight = np.ones((4, 6), np.int8)
    weight[0, 0] = 0
    return Network(
        "net",
        (
            Input("input", (), (6,)),
            Dense("dense1", ("input",), weight),
            Threshold("threshold1", ("dense1",), np.zeros(4, np.int64), np.array([1, 1, 1, -1])),
            Dense("dense2", ("threshold1",), np.ones((3, 4), np.int8)),
            Affine("affine", ("dense2",), np.array([3, -4, 2]), np.array([0, 7, -8]), 2, ambiguous=5),
            Argmax("argmax", ("affine",)),
        ),
    )


@pytest.fixture
def convolution() -> Network:
    """8-bit pixels 6 x 6 x 1, 2 channels of 3 x 3 with padding, pooled to 3 x 3, 5 classes."""
    return Network(
        "net",
        (
            Input("input", (), (6, 6, 1), "unsigned", 8),
            Conv2d("conv1", ("input",), np.ones((2, 3, 3, 1), np.int8), padding=(1, 1, 1, 1)),
            MaxPool2d("pool1", ("conv1",)),
            Threshold("threshold1", ("pool1",), np.full(2, 100), np.ones(2, np.int8)),
            Flatten("flatten1", ("threshold1",)),
            Dense("dense1", ("flatten1",), np.ones((5, 18), np.int8)),
        ),
    )


def test_layers_of_a_dense_network(dense: Network) -> None:
    layers = measures.layers(dense)
    assert [layer["name"] for layer in layers] == ["dense1", "threshold1", "dense2", "affine", "argmax"]
    assert layers[0] == {
        "name": "dense1", "kind": "Dense", "operands": ["input"], "inputs": [6], "outputs": [4],
        "weight_bits": 2 * 24,  # a mask bit for each, since one is masked
        "xnor_ops": 24, "accumulator_bits": 4,  # -6..6
    }  # fmt: skip
    assert (layers[2]["weight_bits"], layers[2]["xnor_ops"], layers[2]["accumulator_bits"]) == (12, 12, 4)
    assert (layers[1]["weight_bits"], layers[1]["xnor_ops"], layers[1]["accumulator_bits"]) == (0, 0, None)


def test_several_thresholds_of_a_channel_each_take_memory(dense: Network) -> None:
    threshold, direction = np.array([[-2, 0, 2]] * 4), np.array([1, 1, 1, -1])
    levels = MultiThreshold("levels", ("dense1",), threshold, direction)
    several = Network("net", (*dense.operations[:2], levels))
    one = Network("net", dense.operations[:3])
    more, less = measures.memory(several), measures.memory(one)
    assert more["binary_bits"] - less["binary_bits"] == 2 * 4 * 4  # two more of 4 bits for each of 4 channels
    assert more["float32_bits"] == less["float32_bits"]


def test_a_convolution_counts_its_pixels_and_the_bit_planes_of_its_input(convolution: Network) -> None:
    layers = {layer["name"]: layer for layer in measures.layers(convolution)}
    assert layers["conv1"]["outputs"] == [6, 6, 2]
    assert layers["conv1"]["xnor_ops"] == 36 * 18 * 8
    assert layers["conv1"]["accumulator_bits"] == 12  # 0..9*255
    assert layers["dense1"]["xnor_ops"] == 90


def test_the_input(dense: Network, convolution: Network) -> None:
    assert measures.taken(dense) == {"name": "input", "shape": [6], "kind": "bipolar", "bits": 1}
    assert measures.taken(convolution) == {"name": "input", "shape": [6, 6, 1], "kind": "unsigned", "bits": 8}


def test_memory(dense: Network, convolution: Network) -> None:
    memory = measures.memory(dense)
    # weights and masks; 4 thresholds of 4 bits and 4 directions; 3 scales of 3 bits (-4..3), 3 offsets of 4 (-8..7)
    assert memory["binary_bits"] == (48 + 12) + (16 + 4) + (9 + 12)
    assert memory["float32_bits"] == 32 * (24 + 12 + 8 + 6)
    assert memory["ratio"] == memory["float32_bits"] / memory["binary_bits"]
    assert measures.memory(convolution)["binary_bits"] == 18 + 2 * 12 + 90


def test_ambiguous(dense: Network, convolution: Network) -> None:
    assert measures.ambiguous(dense) == 5
    assert measures.ambiguous(convolution) is None
