"""Functional Keras models with branches, averages, paddings and biases: what Keras predicts is what golden computes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.bnn.frontends.keras_models import FIXED, IMAGE, INTEGERS, PIXELS, VECTOR, agree, hostile, keras, lq, qkeras
from tests.narrowed import a

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.keras import convert
from xnorflow.bnn.network import Add, Argmax, Conv2d, Dense, Input, Network, SumPool2d

L = keras.layers
QConv2D, QDense = qkeras.QConv2D, qkeras.QDense
QuantConv2D, QuantDense = lq.layers.QuantConv2D, lq.layers.QuantDense

ONE = {"kernel_quantizer": "binary(alpha=1)", "use_bias": False}
LARQ = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "use_bias": False}
FIRST = {"kernel_quantizer": "ste_sign", "use_bias": False}


def kinds(network: Network) -> Any:
    return " ".join(type(operation).__name__ for operation in network.operations)


def sign(x: Any, scale: bool = True) -> Any:
    return qkeras.QActivation("binary")(L.BatchNormalization(scale=scale)(x))


def residual(bias: bool = False) -> Any:
    """Sums of integers go round two blocks, as in Bi-Real nets, with batch norm and sign inside the blocks."""
    options = ONE | {"use_bias": bias}
    x = keras.Input((8, 9, 3))
    y = QConv2D(6, 3, strides=2, padding="same", **options)(x)
    for _ in range(2):
        y = L.Add()([y, QConv2D(6, 3, padding="same", **options)(sign(y))])
    y = L.Flatten()(L.AveragePooling2D(2)(sign(y)))
    return keras.Model(x, L.Activation("softmax")(L.BatchNormalization()(QDense(4, **ONE)(y))))


@pytest.mark.parametrize("input", [IMAGE, PIXELS, FIXED], ids=["bipolar", "pixels", "fixed"])
def test_residual_sums(input: Input) -> None:
    conversion = agree(hostile(residual(), input.bits), input, 1)
    if not input.fraction:
        assert kinds(conversion.network) == (
            "Input Conv2d Threshold Conv2d Add Threshold Conv2d Add Threshold SumPool2d Flatten Dense Affine Argmax"
        )
        assert {"add1", "add2", "pool1"} <= set(conversion.observed)
    assert "the softmax is left out" in conversion.notes[0]


@pytest.mark.parametrize("values", [(0, 1, -2, 0.5), (0.3, -0.7, 0.0, 1e-3)], ids=["exact", "rounded"])
def test_residual_sums_with_biases(values: tuple[Any, ...]) -> None:
    """Halves are added exactly; where float32 rounds, the bounds decide all that can be decided."""
    model = hostile(residual(bias=True), 2, halves=True)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, QConv2D):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.choice(values, bias.shape)])
    agree(model, PIXELS, 2)


def test_residual_sums_of_larq_and_a_shortcut_with_weights() -> None:
    x = keras.Input((8, 9, 3))
    y = L.MaxPooling2D(2)(QuantConv2D(6, 3, **FIRST)(x))
    z = L.BatchNormalization(scale=False)(y)
    y = L.add([QuantConv2D(5, 2, pad_values=1.0, padding="same", **LARQ)(z), QuantConv2D(5, 1, **LARQ)(z)])
    y = QuantDense(4, **LARQ)(L.Flatten()(L.BatchNormalization()(y)))
    network = agree(hostile(keras.Model(x, y), 3), FIXED, 3).network
    assert isinstance(network["add1"], Add) and a(Conv2d, network["conv2"]).pad_value == 1


def test_three_summands_and_one_that_is_added_twice() -> None:
    x = keras.Input((20,))
    y = QDense(6, **ONE)(x)
    z = lq.quantizers.SteSign()(L.Add()([y, QDense(6, **ONE)(x), y, QDense(6, **ONE)(x)]))
    z = qkeras.QActivation("binary")(L.Add()([z, z]))
    agree(hostile(keras.Model(x, QDense(3, **ONE)(z)), 4), INTEGERS, 4)


@pytest.mark.parametrize("factor", [2, 3, 0.5, 0.75, 20])
def test_summands_of_different_scales(factor: float) -> None:
    """A sum of 2 a + b, or 3 a + 4 b, is one of integers."""
    x = keras.Input((6, 6, 3))
    y = QConv2D(5, 3, **ONE)(x)
    z = QConv2D(5, 3, kernel_quantizer=f"binary(alpha={factor})", use_bias=False)(x)
    y = L.Flatten()(sign(L.Add()([y, z])))
    agree(hostile(keras.Model(x, QDense(3, **ONE)(y)), 5), Input("x", (), shape=(6, 6, 3)), 5)


def test_summands_whose_scales_differ_from_channel_to_channel() -> None:
    """Depthwise weights of one bit and a scale each; the weights of the next product grow by them."""
    x = keras.Input((6, 6, 4))
    options = {"use_bias": False, "padding": "same"}
    y = L.DepthwiseConv2D(2, **options)(x)
    z = L.Add()([y, qkeras.QConv2D(4, 1, **ONE)(x)])
    z = sign(QConv2D(5, 2, kernel_quantizer="ternary(alpha=1)", **options)(z))
    model = hostile(keras.Model(x, QDense(3, **ONE)(L.Flatten()(z))), 12)
    scales = np.array([0.25, 0.75, 2, 7], np.float32)[:, None]
    model.layers[1].set_weights([np.sign(model.layers[1].get_weights()[0] + 1e-3) * scales])
    network = agree(model, Input("x", (), (6, 6, 4), "signed", 3), 12).network
    assert kinds(network).endswith("Add Conv2d Threshold Flatten Dense Argmax")


def test_the_weights_of_two_branches_may_be_the_same() -> None:
    """A layer that is called twice."""
    x = keras.Input((20,))
    shared = QDense(20, **ONE)
    y = qkeras.QActivation("binary")(shared(x))
    y = L.Add()([shared(y), y])
    network = agree(hostile(keras.Model(x, y), 6), VECTOR, 6).network
    first, second = (a(Dense, network[name]).weight for name in ("dense1", "dense2"))
    assert first is not second and np.array_equal(first, second)


@pytest.mark.parametrize(
    "pool",
    [L.AveragePooling2D(2), L.AveragePooling2D((3, 2), (2, 1)), L.GlobalAveragePooling2D(),
     L.GlobalAveragePooling2D(keepdims=True), L.GlobalMaxPooling2D(), qkeras.QAveragePooling2D(2),
     qkeras.QAveragePooling2D((2, 3), average_quantizer="quantized_bits(8,0,1)"),
     qkeras.QGlobalAveragePooling2D(average_quantizer="quantized_bits(8,0,1,alpha=1)", activation="binary")],
    ids=lambda pool: pool.name,
)  # fmt: skip
@pytest.mark.parametrize("behind", ["sums", "sign"])
def test_pools(pool: Any, behind: str) -> None:
    """Averages of sums before a batch norm, and of signs before weights; a division by 6 rounds."""
    x = keras.Input((8, 9, 3))
    pool = type(pool).from_config(pool.get_config())
    y = QConv2D(5, 3, kernel_quantizer="ternary(alpha=1)", use_bias=False)(x)
    y = pool(y) if behind == "sums" else pool(sign(y))
    y = L.Flatten()(sign(y) if behind == "sums" else y)
    y = L.BatchNormalization()(QDense(4, **ONE)(y))
    model = hostile(keras.Model(x, y), 7, halves=True)
    for layer in model.layers[1:-1]:
        if isinstance(layer, L.BatchNormalization):  # no mean is a multiple of a sixth, which float32 has not exactly
            gamma, beta, _, variance = layer.get_weights()
            layer.set_weights([gamma, beta, np.full_like(beta, 0.37), variance])
    network = agree(model, PIXELS, 7).network
    assert ("Max" in pool.name or "max" in pool.name) != any(isinstance(op, SumPool2d) for op in network.operations)


def test_scores_that_are_averages() -> None:
    """Of a convolution with one filter for each class."""
    x = keras.Input((8, 9, 3))
    y = L.Softmax()(L.GlobalAveragePooling2D()(QuantConv2D(4, 3, use_bias=True, kernel_quantizer="ste_sign")(x)))
    network = agree(hostile(keras.Model(x, y), 8), FIXED, 8).network
    assert kinds(network) == "Input Conv2d SumPool2d Flatten Affine Argmax"


@pytest.mark.parametrize("dilation", [2, (1, 3)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_dilations(dilation: int | tuple[int, ...], padding: str) -> None:
    x = keras.Input((8, 9, 3))
    y = sign(QConv2D(6, (3, 2), dilation_rate=dilation, padding=padding, **ONE)(x))
    y = L.ZeroPadding2D(((1, 2), (0, 1)))(y)
    y = L.BatchNormalization()(QuantConv2D(4, 3, dilation_rate=2, kernel_quantizer="ste_sign")(y))
    y = QuantDense(3, **LARQ)(L.Flatten()(y))
    network = agree(hostile(keras.Model(x, y), 9), PIXELS, 9).network
    assert isinstance(conv := network["conv2"], Conv2d) and conv.weight.shape[1:3] == (5, 5) and any(conv.padding)


def test_a_softmax_inside_the_last_layer() -> None:
    x = keras.Input((20,))
    y = QDense(9, activation="binary", **ONE)(x)
    y = L.Dropout(0.5)(QDense(5, activation="softmax", kernel_quantizer="binary(alpha=1)")(y))
    conversion = agree(hostile(keras.Model(x, y), 10), INTEGERS, 10)
    assert isinstance(conversion.network.output, Argmax) and "softmax" in conversion.notes[0]


@pytest.mark.parametrize(
    ("words", "make"),
    [
        (r"'add.*\(Add\): expected the sum of results whose scales.*a batch norm belongs behind the sum",
         lambda x: L.Add()([L.BatchNormalization()(QDense(5, **ONE)(x)), QDense(5, **ONE)(x)])),
        (r"'add.*\(Add\): expected the sum of results whose scales.*in a ratio",
         lambda x: L.Add()([QDense(5, kernel_quantizer="binary(alpha='auto')")(x), QDense(5, **ONE)(x)])),
        (r"\(Add\): expected results of one shape and order of axes to add",
         lambda x: L.Add()([QDense(1, **ONE)(x), QDense(5, **ONE)(x)])),
        (r"\(Multiply\): not supported.*use Add", lambda x: L.Multiply()([x, QDense(20, **ONE)(x)])),
        (r"\(TFOpLambda\): expected operands from one layer of weights", lambda x: x * QDense(20, **ONE)(x)),
        ("softmax only at the end", lambda x: L.Add()([QDense(5, **ONE)(x), L.Softmax()(QDense(5, **ONE)(x))])),
    ],
)  # fmt: skip
def test_refused(words: str, make: Callable[..., Any]) -> None:
    x = keras.Input((20,))
    with pytest.raises(UserError, match=words) as error:
        convert(hostile(keras.Model(x, make(x)), 0), "n", VECTOR)
    assert str(error.value).startswith("model 'n', layer '") and "\n" not in str(error.value)
