"""Larq models: what Larq predicts is what the Network computes, and refusals say why."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bnn.frontends.keras_models import FIXED, IMAGE, INTEGERS, PIXELS, VECTOR, agree, hostile, keras, lq

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.keras import convert, trace
from xnorflow.bnn.network import Conv2d, Input, MaxPool2d, Threshold

L = keras.layers
QuantConv2D, QuantDense = lq.layers.QuantConv2D, lq.layers.QuantDense

BINARY = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "use_bias": False}
FIRST = {"kernel_quantizer": "ste_sign", "use_bias": False}


def example(shape: Any, filters: Any = (6, 8, 5), units: int = 9, classes: int = 4) -> Any:
    """Larq's own MNIST example, with fewer filters."""
    norm = {"scale": False}
    return keras.Sequential(
        [
            L.InputLayer(shape),
            *(QuantConv2D(filters[0], 3, **FIRST), L.MaxPooling2D(2), L.BatchNormalization(**norm)),
            *(QuantConv2D(filters[1], 3, padding="same", **BINARY), L.MaxPooling2D(2), L.BatchNormalization(**norm)),
            *(QuantConv2D(filters[2], 3, padding="same", **BINARY), L.BatchNormalization(**norm), L.Flatten()),
            *(QuantDense(units, **BINARY), L.BatchNormalization(**norm)),
            *(QuantDense(classes, **BINARY), L.BatchNormalization(**norm), L.Activation("softmax")),
        ]
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_mnist_example(seed: int) -> None:
    """Convolution, pool, batch norm without scale, and the sign at the input of the next layer."""
    pixels = Input("x", (), shape=(14, 12, 1), kind="unsigned", bits=8, fraction=7)
    conversion = agree(hostile(example(pixels.shape), seed), pixels, seed)
    kinds = " ".join(type(operation).__name__ for operation in conversion.network.operations)
    assert kinds == (
        "Input Conv2d MaxPool2d Threshold Conv2d MaxPool2d Threshold Conv2d Threshold Flatten Dense Threshold Dense "
        "Affine Argmax"
    )
    assert {"conv1", "threshold1", "threshold2", "threshold3", "dense2"} <= set(conversion.observed)
    assert "softmax" in conversion.notes[0]


@pytest.mark.parametrize("sign", ["ste_sign", "approx_sign", "swish_sign", "ste_heaviside"])
def test_signs(sign: str) -> None:
    """Also those with values 0 and 1, and what each gives at exactly zero, found by evaluating it."""
    model = keras.Sequential([L.InputLayer((4,)), QuantDense(3, **FIRST),
                              QuantDense(2, input_quantizer=sign, **FIRST)])  # fmt: skip
    threshold = agree(model, Input("x", (), shape=(4,)), 0, count=16).network["threshold1"]
    assert isinstance(threshold, Threshold)
    assert threshold.threshold.tolist() == [2 if sign == "ste_heaviside" else 0] * 3
    model = keras.Sequential(
        [L.InputLayer((8, 9, 3)), QuantConv2D(6, 3, **FIRST), L.BatchNormalization(),
         QuantConv2D(5, 3, padding="same", input_quantizer=sign, kernel_quantizer="approx_sign"),
         L.BatchNormalization(), lq.quantizers.SteSign(), L.Flatten(), QuantDense(4, **BINARY)]
    )  # fmt: skip
    network = agree(hostile(model, 1), IMAGE, 1).network
    assert isinstance(conv := network["conv2"], Conv2d) and conv.pad_value == (-1 if sign == "ste_heaviside" else 0)


@pytest.mark.parametrize(
    ("kernel", "options"),
    [("approx_sign", {}), ("swish_sign", {}), ("ste_tern", {}), ("ste_tern", {"threshold_value": 0.5}),
     ("ste_tern", {"ternary_weight_networks": True}), ("magnitude_aware_sign", {})],
    ids=["approx", "swish", "tern", "tern half", "tern twn", "magnitude aware"],
)  # fmt: skip
def test_kernels(kernel: str, options: dict[str, Any]) -> None:
    kernel_class = type(lq.quantizers.get(kernel))
    arguments = {"input_quantizer": "ste_sign", "kernel_quantizer": kernel_class(**options), "use_bias": False}
    halves = kernel_class is lq.quantizers.MagnitudeAwareSign  # its sums have ties of unequal floats, like XNOR-Net's
    model = keras.Sequential(
        [L.InputLayer((8, 9, 3)), QuantConv2D(6, 3, kernel_quantizer=kernel_class(**options)), L.MaxPooling2D(2),
         L.BatchNormalization(), QuantConv2D(5, 2, **arguments), L.BatchNormalization(), L.Flatten(),
         QuantDense(9, **arguments), L.BatchNormalization(scale=False), QuantDense(4, **arguments)]
    )  # fmt: skip
    agree(hostile(model, 2, halves=halves), PIXELS, 2)
    agree(hostile(model, 3, halves=halves), IMAGE, 3)


def test_xnor_net_ties_are_counted() -> None:
    model = keras.Sequential([L.InputLayer((20,)),
                              QuantDense(8, kernel_quantizer="magnitude_aware_sign", use_bias=False),
                              lq.quantizers.SteSign()])  # fmt: skip
    assert set(trace(hostile(model, 0), "n", VECTOR).ambiguous) == {"threshold1"}


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("stride", [1, 2])
def test_pad_values(value: float, stride: int) -> None:
    model = keras.Sequential(
        [L.InputLayer((8, 9, 3)), QuantConv2D(6, 3, **FIRST), L.BatchNormalization(),
         QuantConv2D(5, (3, 2), strides=stride, padding="same", pad_values=value, **BINARY), L.BatchNormalization(),
         L.Flatten(), QuantDense(4, **BINARY)]
    )  # fmt: skip
    network = agree(hostile(model, 4), PIXELS, 4).network
    assert isinstance(conv := network["conv2"], Conv2d) and conv.pad_value == value and any(conv.padding)


def test_zero_padding_before_a_sign_is_what_the_sign_makes_of_zero() -> None:
    for quantizer, value in (("ste_sign", 1), ("ste_heaviside", -1), (None, 0)):
        model = keras.Sequential(
            [L.InputLayer((8, 9, 3)), QuantConv2D(6, 3, **FIRST), L.BatchNormalization(), lq.quantizers.SteSign(),
             L.ZeroPadding2D(((1, 1), (2, 0))),
             QuantConv2D(5, 3, input_quantizer=quantizer, kernel_quantizer="ste_sign"),
             L.BatchNormalization(), L.Flatten(), QuantDense(4, **BINARY)]
        )  # fmt: skip
        network = agree(hostile(model, 5), PIXELS, 5).network
        conv = network["conv2"]
        assert isinstance(conv, Conv2d) and conv.pad_value == value and conv.padding == (1, 1, 2, 0)


def test_a_binary_input_is_left_alone() -> None:
    """The sign of an input that is -1 or +1 changes nothing; that of integers is a threshold."""
    model = hostile(keras.Sequential([L.InputLayer((20,)), QuantDense(7, **BINARY), L.BatchNormalization()]), 6)
    assert [type(operation).__name__ for operation in agree(model, VECTOR, 6).network.operations] == [
        "Input", "Dense", "Affine", "Argmax"]  # fmt: skip
    assert isinstance(agree(model, INTEGERS, 6).network["threshold1"], Threshold)


def test_pools() -> None:
    for middle in (
        [L.BatchNormalization(), L.MaxPooling2D(2)],
        [L.BatchNormalization(), lq.quantizers.ApproxSign(), L.MaxPooling2D(3, 1)],
        [L.MaxPooling2D((1, 2), (2, 1)), L.BatchNormalization()],
    ):
        model = keras.Sequential(
            [L.InputLayer((8, 9, 3)), QuantConv2D(6, 3, kernel_quantizer="ste_sign"), *middle,
             QuantConv2D(5, 2, **BINARY), L.BatchNormalization(), L.Flatten(), QuantDense(4, **BINARY)]
        )  # fmt: skip
        network = agree(hostile(model, 7), FIXED, 7).network
        assert any(isinstance(operation, MaxPool2d) for operation in network.operations)


@given(st.data())
@settings(max_examples=6)
@pytest.mark.slow
def test_random_architectures(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([IMAGE, PIXELS, FIXED]))
    sign = data.draw(st.sampled_from(["ste_sign", "approx_sign", "ste_heaviside"]))
    kernel = data.draw(st.sampled_from(["ste_sign", "ste_tern"]))
    layers = [L.InputLayer(kind.shape)]
    for depth in range(data.draw(st.integers(1, 3))):
        padding = data.draw(st.sampled_from(["same", "valid"]))
        layers.append(
            QuantConv2D(data.draw(st.integers(1, 9)), data.draw(st.integers(1, 3)), padding=padding,
                        strides=data.draw(st.integers(1, 2)), kernel_quantizer=kernel,
                        use_bias=data.draw(st.booleans()), input_quantizer=sign if depth else None)
        )  # fmt: skip
        layers.append(L.BatchNormalization(scale=data.draw(st.booleans())))
        layers.insert(-data.draw(st.integers(0, 1)) or len(layers), L.MaxPooling2D((data.draw(st.integers(1, 2)), 1)))
    layers += [L.Flatten(), QuantDense(data.draw(st.integers(1, 9)), kernel_quantizer=kernel, input_quantizer=sign)]
    seed = data.draw(st.integers(0, 2**32 - 1))
    try:
        model = keras.Sequential(layers)
    except ValueError:  # an image that has shrunk to nothing
        return
    agree(hostile(model, seed), kind, seed, count=20)


@pytest.mark.parametrize(
    ("words", "layers", "input"),
    [
        ("one value at a time, got magnitude_aware_sign",
         (QuantDense(3, **FIRST), QuantDense(3, input_quantizer="magnitude_aware_sign")), VECTOR),
        ("weights -a, 0 and", (QuantDense(3),), VECTOR),
        (r"Reshape\): expected an image, got a vector; give the Input the shape \(6, 36\)",
         (L.Flatten(), L.Reshape((6, 36)), lq.layers.QuantSeparableConv1D(2, 2)), IMAGE),
        (r"got 1 where the operand has 0 \+ n \* 1",
         (QuantConv2D(3, 3, padding="same", pad_values=1.0, **FIRST),), PIXELS),
        ("got 0.5 where the operand has 0",
         (QuantConv2D(3, 3, padding="same", pad_values=0.5, **BINARY),), IMAGE),
        ("one padding before a convolution",
         (L.ZeroPadding2D(1), QuantConv2D(3, 2, padding="same", pad_values=1.0, **FIRST)),
         IMAGE),
    ],
)  # fmt: skip
def test_refused(words: str, layers: tuple[Any, ...], input: Input) -> None:
    model = hostile(keras.Sequential([L.InputLayer(input.shape), *layers]), 0)
    with pytest.raises(UserError, match=words) as error:
        convert(model, "n", input)
    assert str(error.value).startswith("model 'n', layer '") and "\n" not in str(error.value)


def test_the_model_is_left_alone() -> None:
    model = hostile(example((14, 12, 1)), 0)
    weights, nodes = model.get_weights(), [len(layer._inbound_nodes) for layer in model.layers]
    convert(model, "n", Input("x", (), shape=(14, 12, 1)))
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]
