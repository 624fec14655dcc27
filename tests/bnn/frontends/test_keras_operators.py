"""Operators of TensorFlow outside layers: each Network equals what Keras computes, in memory and from a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.bnn.frontends.keras_models import IMAGE, PIXELS, agree, hostile, keras, lq

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import keras_file
from xnorflow.bnn.frontends.keras import trace
from xnorflow.bnn.network import Input

L = keras.layers


def conv(channels: int, size: int = 3, **options: Any) -> Any:
    return lq.layers.QuantConv2D(channels, size, kernel_quantizer="ste_sign", use_bias=False, **options)


def sign(x: Any) -> Any:
    return lq.quantizers.SteSign()(L.BatchNormalization()(x))


def ends(x: Any) -> Any:
    return lq.layers.QuantDense(3, kernel_quantizer="ste_sign", use_bias=False)(L.Flatten()(x))


def option_a(x: Any) -> Any:
    import tensorflow as tf

    y = sign(conv(4)(x))
    short = tf.pad(y[:, ::2, 1::2], [[0, 0], [0, 0], [0, 0], [1, 3]])
    return ends(sign(conv(8, strides=2, padding="same")(y)[:, :, :3] + short))


def arithmetic(x: Any) -> Any:
    import tensorflow as tf

    y = tf.nn.relu(conv(4)(x) / 2.0 - 1.0)
    return ends(tf.sign(0.25 - tf.clip_by_value(y, 0.0, 3.0)))


def differences(x: Any) -> Any:
    import tensorflow as tf

    y = sign(conv(4)(x))
    return ends(sign(tf.stop_gradient(conv(4, padding="same")(y)) - y))


def joined(x: Any) -> Any:
    import tensorflow as tf

    y = sign(conv(4)(x))
    y = tf.pad(tf.concat([y[:, :, :, :2], y], -1), [[0, 0], [1, 1], [0, 2], [0, 0]], constant_values=1)
    return ends(sign(conv(3)(y)))


def averaged(x: Any) -> Any:
    import tensorflow as tf

    y = sign(conv(4)(x))
    total, mean = tf.reduce_sum(y, axis=(1, 2), keepdims=True), tf.reduce_mean(y[:, 1:5, 1:5], [1, 2])
    return ends(tf.concat([tf.sign(total[:, 0, 0] - 0.5), tf.sign(mean + 0.125)], axis=1))


def summed(x: Any) -> Any:
    import tensorflow as tf

    return ends(tf.math.reduce_sum(sign(conv(4)(x)), [1, 2]))


OPERATORS = {of.__name__: of for of in (option_a, arithmetic, differences, joined, averaged, summed)}


@pytest.mark.parametrize("name", list(OPERATORS))
@pytest.mark.parametrize("kept", [None, "h5", "keras"])
def test_is_taken_as_keras_computes_it(name: str, kept: str | None, tmp_path: Path) -> None:
    x = keras.Input((8, 9, 3))
    model = hostile(keras.Model(x, OPERATORS[name](x)), 3, halves=True)
    if kept:
        model.save(path := tmp_path / f"model.{kept}")
        model = keras_file.load(path)
    agree(model, PIXELS if name == "differences" else IMAGE, 3)


def test_operators_inside_an_inner_model(tmp_path: Path) -> None:
    inner, x = keras.Input((6, 7, 4)), keras.Input((8, 9, 3))
    block = keras.Model(inner, sign(conv(4, padding="same")(inner) + inner))
    model = hostile(keras.Model(x, ends(block(sign(conv(4)(x))))), 4)
    model.save(path := tmp_path / "model.h5")
    agree(keras_file.load(path), IMAGE, 4)


def test_a_vector_that_becomes_an_image(tmp_path: Path) -> None:
    x = keras.Input((8 * 9 * 3,))
    model = hostile(keras.Model(x, ends(sign(conv(4)(L.Reshape((8, 9, 3))(x))))), 5)
    assert keras_file.image_of(model) == (8, 9, 3)
    assert agree(model, PIXELS, 5).network.input.shape == (8, 9, 3)
    both = keras.Model(x, L.Concatenate()([L.Flatten()(L.Reshape((8, 9, 3))(x)), x]))
    assert keras_file.image_of(both) is None


@pytest.mark.parametrize(
    ("words", "make"),
    [
        (r"\(TFOpLambda\): expected one of .*got the operator 'math.exp'", lambda tf, x: tf.exp(x)),
        (r"expected the image's axes, \[1, 2\], got \[3\]", lambda tf, x: tf.reduce_mean(x, 3)),
        (r"expected one number as each constant, got one of shape \(3,\)", lambda tf, x: x * [1.0, 2.0, 3.0]),
        (r"constant padding that leaves the batch axis alone", lambda tf, x: tf.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]],
                                                                                      "REFLECT")),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused(words: str, make: Callable[..., Any]) -> None:
    import tensorflow as tf

    x = keras.Input((8, 9, 3))
    model = keras.Model(x, ends(make(tf, sign(conv(3)(x)))))
    with pytest.raises(UserError, match=words):
        trace(model, "n", Input("x", (), (8, 9, 3)))


def test_a_file_with_an_unknown_operator_is_not_loaded(tmp_path: Path) -> None:
    import tensorflow as tf

    x = keras.Input((8, 9, 3))
    keras.Model(x, ends(tf.exp(conv(3)(x)))).save(path := tmp_path / "model.h5")
    with pytest.raises(UserError, match=r"layer 'tf.math.exp.*known, got 'math.exp'; write it with layers, or"):
        keras_file.load(path)
