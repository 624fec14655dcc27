"""Depthwise, separable and one-dimensional convolutions of Keras, QKeras and Larq: what they predict is the Network's.

Batch norms are hostile, and the pixels, bipolar values and signed fixed-point numbers that come in have zeros among
them where they can.
"""

from typing import Any

import numpy as np
import pytest
from tests.bnn.frontends.keras_models import FIXED, IMAGE, PIXELS, agree, hostile, keras, lq, qkeras

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.keras import convert
from xnorflow.bnn.network import Conv2d, Input, MaxPool2d, SumPool2d, Threshold

L = keras.layers
QDense = qkeras.QDense
QuantDense = lq.layers.QuantDense

ONE = {"kernel_quantizer": "binary(alpha=1)", "use_bias": False}
DEPTH = {"depthwise_quantizer": "binary(alpha=1)", "use_bias": False}
STE = {"kernel_quantizer": "ste_sign", "use_bias": False}
STE_DEPTH = {"depthwise_quantizer": "ste_sign", "use_bias": False}
LENGTH = Input("x", (), shape=(1, 24, 3))
SAMPLES = Input("x", (), shape=(1, 24, 3), kind="signed", bits=6, fraction=3)


def sequential(shape: Any, *layers: tuple[Any, ...]) -> Any:
    return keras.Sequential([L.InputLayer(shape), *layers])


def ending(layer: Any, sign: Any) -> Any:
    """Signs of what a layer gives, into scores."""
    return (layer, L.BatchNormalization(), sign, L.Flatten(), QDense(4, **ONE), L.BatchNormalization())


@pytest.mark.parametrize("input", [IMAGE, PIXELS, FIXED], ids=["bipolar", "pixels", "fixed"])
@pytest.mark.parametrize(
    "options",
    [{}, {"padding": "same"}, {"strides": 2, "padding": "same"}, {"dilation_rate": (2, 1)}],
    ids=["valid", "same", "strided", "dilated"],
)
def test_depthwise(options: dict[str, Any], input: Input) -> None:
    """QKeras first, of pixels and of signs; then Larq's, with two results for each channel, and padding of its own."""
    pad = {"pad_values": 1.0} if options.get("padding") == "same" else {}
    sign = qkeras.QActivation("binary")
    model = sequential(
        input.shape,
        *(qkeras.QDepthwiseConv2D(3, **options, **DEPTH), L.BatchNormalization(), sign),
        *(qkeras.QConv2D(5, 1, **ONE), L.BatchNormalization()),
        *ending(
            lq.layers.QuantDepthwiseConv2D(
                2, depth_multiplier=2, input_quantizer="ste_sign", **options, **pad, **STE_DEPTH
            ),
            lq.quantizers.SteSign(),
        ),
    )
    network = agree(hostile(model, 10), input, 10).network
    first, second = network["conv1"], network["conv3"]
    assert isinstance(first, Conv2d) and isinstance(second, Conv2d)
    assert np.array_equal(np.abs(first.weight).max(axis=(1, 2)), np.eye(3))  # each result reads a single channel
    assert np.array_equal(np.abs(second.weight).max(axis=(1, 2)), np.eye(5).repeat(2, axis=0))
    assert second.pad_value == (1 if pad else 0)


@pytest.mark.parametrize("bias", [False, True])
def test_depthwise_with_scales_and_biases(bias: bool) -> None:
    """A scale for every channel; the biases are halves, and what float32 rounds."""
    options = {"use_bias": bias, "depth_multiplier": 3, "padding": "same"}
    x = keras.Input(PIXELS.shape)
    y = lq.layers.QuantDepthwiseConv2D(3, depthwise_quantizer=lq.quantizers.SteTern(0.3), **options)(x)
    y = qkeras.QActivation("binary")(L.BatchNormalization()(L.MaxPooling2D(2)(y)))
    y = L.DepthwiseConv2D(2, depthwise_constraint=lq.constraints.WeightClip(1), use_bias=bias)(y)
    y = QDense(4, **ONE)(L.Flatten()(qkeras.QActivation("binary")(L.BatchNormalization()(y))))
    model = hostile(keras.Model(x, y), 11, halves=True)
    layer = next(layer for layer in model.layers if type(layer) is L.DepthwiseConv2D)
    kernel, *rest = layer.get_weights()  # a plain layer has no quantizer: its weights have to be as they should
    layer.set_weights([np.where(kernel < 0, np.float32(-0.5), np.float32(0.5)), *rest])
    agree(model, PIXELS, 11)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("kind", ["qkeras", "larq"])
def test_separable(kind: str, multiplier: int) -> None:
    """Two products in a row, the sums of the first into the second."""
    options = {"padding": "same", "depth_multiplier": multiplier, "use_bias": True}
    if kind == "larq":
        layer = lq.layers.QuantSeparableConv2D(
            *(6, 3), input_quantizer="ste_sign", depthwise_quantizer="ste_sign", pointwise_quantizer="ste_tern",
            pad_values=-1.0, **options
        )  # fmt: skip
    else:
        layer = qkeras.QSeparableConv2D(
            *(6, 3), depthwise_quantizer="binary(alpha=1)", pointwise_quantizer="ternary(alpha=1)", **options
        )  # fmt: skip
    sign = (qkeras.QActivation("binary"),) if kind == "qkeras" else ()
    model = sequential(
        FIXED.shape,
        *(lq.layers.QuantConv2D(4, 2, **STE), L.BatchNormalization(), *sign),
        *ending(layer, lq.quantizers.ApproxSign()),
    )
    network = agree(hostile(model, 12), FIXED, 12).network
    conv = network["conv2"]
    assert isinstance(conv, Conv2d) and conv.pad_value == (-1 if kind == "larq" else 0)
    assert conv.weight.shape == (4 * multiplier, 3, 3, 4) and isinstance(network["conv3"], Conv2d)


@pytest.mark.parametrize("input", [LENGTH, SAMPLES], ids=["bipolar", "fixed"])
@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize("framework", ["qkeras", "larq"])
def test_one_dimension(framework: str, padding: str, input: Input) -> None:
    """Layers of sequences are those of images of height 1."""
    pool = [L.MaxPooling1D(2), L.AveragePooling1D(4, 3)][padding == "same"]
    if framework == "qkeras":
        sign = qkeras.QActivation("binary")
        first = qkeras.QConv1D(6, 4, padding=padding, **ONE), L.BatchNormalization(), sign, pool
        second = qkeras.QConv1D(5, 3, dilation_rate=2, padding=padding, **ONE), L.BatchNormalization(), sign
    else:
        options = {"input_quantizer": "ste_sign", "padding": padding, **STE}
        first = lq.layers.QuantConv1D(6, 4, padding=padding, **STE), pool, L.BatchNormalization()  # type: ignore[assignment]
        second = lq.layers.QuantConv1D(5, 3, strides=2, **options), L.BatchNormalization(), lq.quantizers.SteSign()
    model = sequential(input.shape[1:], *first, *second, L.Flatten(), QDense(4, **ONE), L.BatchNormalization())
    network = agree(hostile(model, 13), input, 13).network
    conv = network["conv1"]
    assert isinstance(conv, Conv2d) and conv.weight.shape == (6, 1, 4, 3)
    assert conv.padding == {"valid": (0, 0, 0, 0), "same": (0, 0, 1, 2), "causal": (0, 0, 3, 0)}[padding]
    assert any(isinstance(operation, (MaxPool2d, SumPool2d)[padding == "same"]) for operation in network.operations)


@pytest.mark.parametrize("pool", [L.GlobalAveragePooling1D, L.GlobalMaxPooling1D])
def test_one_dimension_to_scores(pool: type[Any]) -> None:
    """A filter for each class, and zeros at both ends."""
    x = keras.Input(SAMPLES.shape[1:])
    y = qkeras.QActivation("binary")(L.BatchNormalization()(qkeras.QConv1D(6, 4, **ONE)(x)))
    y = pool()(lq.layers.QuantConv1D(4, 3, **STE)(L.ZeroPadding1D((2, 1))(y)))
    network = agree(hostile(keras.Model(x, L.Softmax()(y)), 14), SAMPLES, 14).network
    conv = network["conv2"]
    assert isinstance(conv, Conv2d) and conv.padding == (0, 0, 2, 1) and isinstance(network["threshold1"], Threshold)


@pytest.mark.parametrize(
    ("words", "layers"),
    [
        (r"\(QSeparableConv2D\): expected a sign or quantiser between two layers of weights, or scales",
         (qkeras.QSeparableConv2D(4, 3, depthwise_quantizer="binary(alpha='auto')", pointwise_quantizer="binary",
                                  depth_multiplier=2),)),
        (r"\(QuantDepthwiseConv2D\): expected weights -a, 0 and", (lq.layers.QuantDepthwiseConv2D(3),)),
        (r"\(QuantDepthwiseConv2D\): expected padding with 0 or one of",
         (lq.layers.QuantDepthwiseConv2D(3, padding="same", pad_values=2.0, **STE_DEPTH),)),
    ],
)  # fmt: skip
def test_refused(words: str, layers: tuple[Any, ...]) -> None:
    with pytest.raises(UserError, match=words) as error:
        convert(hostile(sequential(IMAGE.shape, *layers), 0), "n", IMAGE)
    assert str(error.value).startswith("model 'n', layer '") and "\n" not in str(error.value)
