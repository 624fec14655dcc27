"""What Keras models hold besides signs and binary weights, one idiom at a time; and what a check says of the rest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.bnn.frontends.keras_models import (
    FIXED,
    IMAGE,
    INTEGERS,
    PIXELS,
    VECTOR,
    agree,
    hostile,
    keras,
    lq,
    qkeras,
    tame,
)

from xnorflow.bnn.frontends.keras import check
from xnorflow.bnn.frontends.keras_file import foreign
from xnorflow.bnn.network import Input, MaxPool2d, MultiThreshold

L = keras.layers
QActivation, QConv2D, QDense = qkeras.QActivation, qkeras.QConv2D, qkeras.QDense
QuantConv2D = lq.layers.QuantConv2D

ONE = {"kernel_quantizer": "binary(alpha=1)", "use_bias": False}
STE = {"kernel_quantizer": "ste_sign", "use_bias": False}


def ending(x: Any) -> Any:
    """Signs into scores."""
    return QDense(3, **ONE)(L.Flatten()(QActivation("binary")(L.BatchNormalization()(x))))


def image(*layers: Callable[[Any], Any], input: Input = PIXELS, seed: int = 1) -> Any:
    """A convolution, layers, signs and scores; its Network, equal to what Keras computes."""
    x = y = keras.Input(input.shape)
    y = QConv2D(4, 3, **ONE)(y)
    for layer in layers:
        y = layer(y)
    return agree(tame(hostile(keras.Model(x, ending(y)), seed)), input, seed).network


@pytest.mark.parametrize("pool", [L.MaxPooling2D(3, 2, "same"), L.MaxPooling2D((4, 3), (3, 1), "same")])
@pytest.mark.parametrize("behind", ["sums", "norm", "sign"])
def test_pools_that_reach_out(pool: Any, behind: str) -> None:
    """Padding never is a maximum, whichever way the batch norm behind the pool turns."""
    pool = type(pool).from_config(pool.get_config())
    before = {"sums": [], "norm": [L.BatchNormalization()], "sign": [L.BatchNormalization(), QActivation("binary")]}
    network = image(*before[behind], pool)
    (made,) = [operation for operation in network.operations if isinstance(operation, MaxPool2d)]
    assert any(made.padding)


@pytest.mark.parametrize("input", [PIXELS, FIXED], ids=["pixels", "fixed"])
@pytest.mark.parametrize(
    "layers",
    [
        [L.ReLU()],
        [L.BatchNormalization(), L.ReLU(6.0), L.MaxPooling2D(2)],
        [L.LeakyReLU(), L.BatchNormalization(), L.ELU()],
        [L.Activation("tanh"), L.AlphaDropout(0.5)],
        [L.MaxPooling2D(2), L.BatchNormalization(), L.MaxPooling2D((1, 2)), L.BatchNormalization()],
        [L.BatchNormalization(), L.ZeroPadding2D(1), lq.quantizers.SteSign(), QuantConv2D(3, 3, **STE)],
    ],
    ids=["relu", "relu6", "leaky", "tanh", "two pools", "padding before a sign"],
)  # fmt: skip
def test_what_rises_or_falls_may_stand_before_a_sign(layers: list[Any], input: Input) -> None:
    layers = [type(layer).from_config(layer.get_config()) for layer in layers]
    if any(isinstance(layer, L.ZeroPadding2D) for layer in layers):  # what it holds has one sign in all channels
        layers[0] = L.BatchNormalization(scale=False, beta_constraint=None, beta_initializer="zeros")
    x = y = keras.Input(input.shape)
    y = QConv2D(4, 3, **ONE)(y)
    for layer in layers:
        y = layer(y)
    agree(tame(hostile(keras.Model(x, ending(y)), 2)), input, 2)


@pytest.mark.parametrize(
    "quantizer",
    ["quantized_relu(5)", "quantized_relu(8,8)", "quantized_bits(8,7,0,alpha=1)", "quantized_bits(8,1,1,alpha=1)",
     "quantized_relu_po2(3)"],
)  # fmt: skip
def test_quantizers_of_up_to_eight_bits(quantizer: str) -> None:
    fine = quantizer in ("quantized_relu(5)", "quantized_bits(8,1,1,alpha=1)")
    kernel = {"kernel_quantizer": "binary(alpha=0.03125)" if fine else "binary(alpha=1)"}
    x = y = keras.Input((20,))
    y = QActivation(quantizer)(QDense(9, use_bias=False, **kernel)(y))
    y = QDense(3, **ONE)(QActivation("binary")(L.BatchNormalization()(QDense(8, **ONE)(y))))
    network = agree(tame(hostile(keras.Model(x, y), 3)), INTEGERS, 3).network
    threshold = network["threshold1"]
    assert isinstance(threshold, MultiThreshold) and 16 < threshold.levels < 256


def test_branches_are_concatenated() -> None:
    """Signs, values of three levels and sums, and one branch twice; each keeps its own thresholds."""
    x = keras.Input(IMAGE.shape)
    y, z = (L.BatchNormalization()(QConv2D(3, 3, padding="same", **ONE)(x)) for _ in range(2))
    y, z = QActivation("binary")(y), QActivation("ternary(alpha=1)")(z)
    y = L.Concatenate()([y, z, QConv2D(2, 1, **ONE)(x), y])
    y = ending(QConv2D(5, 2, **ONE)(y))
    agree(tame(hostile(keras.Model(x, y), 4)), IMAGE, 4)
    x = keras.Input((20,))
    y = L.Concatenate()([QActivation("binary")(QDense(5, **ONE)(x)), QActivation("binary")(QDense(3, **ONE)(x))])
    agree(hostile(keras.Model(x, QDense(3, **ONE)(y)), 5), VECTOR, 5)


@pytest.mark.parametrize(
    "layer",
    [L.UpSampling2D((2, 3)), L.Cropping2D(((1, 0), (2, 1))), L.Permute((2, 1, 3)), L.Reshape((6, 7, 4)),
     L.Reshape((-1,))],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
@pytest.mark.parametrize("behind", ["sums", "sign"])
def test_views(layer: Any, behind: str) -> None:
    layer = type(layer).from_config(layer.get_config())
    image(*([] if behind == "sums" else [L.BatchNormalization(), QActivation("binary")]), layer)


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (2, 2), (2, 3), ((3, 1), (1, 2))])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_transposed_convolutions(size: int | tuple[int, ...], stride: int | tuple[int, ...], padding: str) -> None:
    """Images grow, by kernels larger and smaller than the stride."""
    options = {"padding": padding, "strides": stride}
    x = keras.Input((4, 5, 3))
    y = lq.layers.QuantConv2DTranspose(4, size, kernel_quantizer="ste_tern", use_bias=True, **options)(x)
    y = QActivation("binary")(L.BatchNormalization()(y))
    y = lq.layers.QuantConv2DTranspose(2, size, **options, **STE)(y)
    agree(tame(hostile(keras.Model(x, ending(y)), 6)), Input("x", (), (4, 5, 3), "signed", 4), 6)


@pytest.mark.parametrize("mode", ["ema_stats_folding", "batch_stats_folding"])
def test_batch_norm_inside_the_convolution(mode: str) -> None:
    """Folded into the kernel before it is quantized, and into the bias."""
    options = {"bias_quantizer": "quantized_bits(8,3,1,alpha=1)", "folding_mode": mode, "padding": "same"}
    x = y = keras.Input(PIXELS.shape)
    y = qkeras.QConv2DBatchnorm(4, 3, kernel_quantizer="ternary(alpha=1)", use_bias=False, **options)(y)
    y = QActivation("binary")(y)
    y = qkeras.QDepthwiseConv2DBatchnorm(2, depthwise_quantizer="quantized_bits(4,0,1,alpha=1)", **options)(y)
    y = QDense(3, **ONE)(L.Flatten()(QActivation("ternary(alpha=1)")(y)))
    model, rng = keras.Model(x, y), np.random.default_rng(7)
    for layer in model.layers:
        layer.set_weights([
            of if of.dtype == np.int64 else
            (rng.uniform(0.5, 4, of.shape) if "variance" in variable.name else rng.uniform(-1, 1, of.shape))
            for variable, of in zip(layer.weights, layer.get_weights(), strict=True)
        ])  # fmt: skip
    agree(model, PIXELS, 7)


def test_a_monotone_activation_of_the_scores_is_left_out() -> None:
    x = keras.Input((20,))
    y = QDense(4, activation="sigmoid", **ONE)(x)
    conversion = agree(hostile(keras.Model(x, y), 8), INTEGERS, 8)
    assert "left out; it does not change the order of the scores" in conversion.notes[0]


# What stands in the way


def test_a_check_tells_every_layer_that_stands_in_the_way() -> None:
    x = y = keras.Input(IMAGE.shape)
    y = QConv2D(4, 3, name="real", kernel_quantizer="quantized_bits(12,0,1,alpha=1)")(y)
    y = QActivation("binary", name="sign")(L.BatchNormalization(axis=1, name="norm")(y))
    y = L.AveragePooling2D(2, padding="same", name="mean")(y)
    y = L.BatchNormalization(name="behind")(QConv2D(4, 2, name="fine", **ONE)(y))
    model = hostile(keras.Model(x, QDense(3, name="last", **ONE)(L.Flatten(name="flat")(y))), 9)
    judged = check(model, "n", IMAGE).judged
    assert [of.where.split("'")[3] for of in judged] == [layer.name for layer in model.layers[1:]]
    wrong = {of.where.split("'")[3]: of.reason for of in judged if not of.taken}
    assert list(wrong) == ["real", "norm", "mean", "behind"]
    assert "at most 8 bits" in wrong["real"] and "axis 3" in wrong["norm"] and "same" in wrong["mean"]
    assert "sign or quantiser after it (before layer 'last'" in wrong["behind"]


def test_a_check_of_what_cannot_be_loaded_goes_by_classes(tmp_path: Path) -> None:
    class BinaryDense(L.Dense):  # type: ignore[name-defined]
        pass

    x = keras.Input((20,))
    y = L.LayerNormalization(name="norm")(BinaryDense(5, name="mine")(QDense(8, name="fine", **ONE)(x)))
    keras.Model(x, L.Lambda(lambda x: x, name="code")(y)).save(path := tmp_path / "m.h5")
    survey = foreign(path)
    assert survey is not None and survey.by_kind
    wrong = {of.where.split("'")[1]: of.reason for of in survey.judged if not of.taken}
    assert list(wrong) == ["mine", "norm", "code"] and "'fine'" in survey.judged[1].where
    assert "class of your own" in wrong["mine"] and "holds code" in wrong["code"]


def test_a_check_of_a_model_that_is_taken_refuses_nothing(tmp_path: Path) -> None:
    x = keras.Input(IMAGE.shape)
    model = hostile(keras.Model(x, L.Softmax()(ending(QConv2D(4, 3, **ONE)(x)))), 10)
    assert all(of.taken for of in check(model, "n", IMAGE).judged)
    model.save(path := tmp_path / "m.h5")
    assert foreign(path) is None
