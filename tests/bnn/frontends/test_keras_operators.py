"""Operators of TensorFlow outside layers: each Network equals what Keras computes, in memory and from a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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


def by_channel(x: Any) -> Any:
    """Constants for each channel, and for each feature, on both sides of an operator."""
    import tensorflow as tf

    y = tf.nn.bias_add(conv(4)(x) * [1.0, -2.0, 0.0, 0.25], tf.constant([0.0, 1.0, -1.0, 0.5]))
    y = tf.where(tf.maximum(y, [[[-3.0, 0.0, 0.0, -9.0]]]) >= tf.constant([0.0, -1.0, 0.0, 2.0]), 1.0, -1.0)
    y = L.Flatten()(y)
    return ends(tf.cast(np.linspace(-1, 1, 168, dtype=np.float32) - 0.3 * y > 0, "float32") * 2 - 1)


def compared(x: Any) -> Any:
    """Comparisons of one sum with several constants, put together."""
    import tensorflow as tf

    y = L.BatchNormalization()(conv(4)(x))
    inside = tf.logical_and(y > -2.0, tf.logical_not(tf.greater_equal(y, 3.0)))
    y = tf.where(tf.logical_or(y <= -2.0, tf.logical_and(inside, y < 1.0)), -1.0, 1.0)
    return ends(tf.where(y != 1.0, tf.sign(y) - 1.0, 1.0) + 0.5)


def moved(x: Any) -> Any:
    import tensorflow as tf

    y = sign(conv(8)(x))
    first, second = tf.split(y, 2, axis=-1)
    y = tf.concat([tf.reverse(second, [3]), tf.gather(first, [3, 1, 0, 0], axis=3)], -1)
    y = tf.roll(tf.repeat(tf.tile(y, [1, 1, 1, 2]), 2, axis=1), 3, 3)
    y = tf.squeeze(tf.unstack(tf.expand_dims(sign(conv(8)(y)), 1), axis=1)[0][:, None], 1)
    y = sign(conv(3)(tf.nn.depth_to_space(y, 2)))
    return ends(tf.reshape(tf.transpose(y, [0, 2, 1, 3]), [-1, 18 * 8 * 3]))


def over_rows_and_columns(x: Any) -> Any:
    import tensorflow as tf

    y = sign(conv(4)(x))
    mean, largest = tf.reduce_mean(tf.reduce_mean(y, 2), 1), tf.reduce_max(y[:, :3, :2], [1, 2])
    over = tf.reduce_sum(tf.reduce_max(conv(4)(y), 1, keepdims=True), [1, 2])
    return ends(tf.concat([tf.sign(mean - 0.1), largest, tf.sign(over - 0.5)], 1))


def chosen(x: Any) -> Any:
    import tensorflow as tf

    return tf.argmax(tf.nn.softmax(ends(sign(conv(4)(x)))), -1)


OPERATORS = {
    of.__name__: of
    for of in (option_a, arithmetic, differences, joined, averaged, summed, by_channel, compared, moved,
               over_rows_and_columns, chosen)
}  # fmt: skip


@pytest.mark.parametrize("name", list(OPERATORS))
@pytest.mark.parametrize("kept", [None, "h5", "keras"])
def test_is_taken_as_keras_computes_it(name: str, kept: str | None, tmp_path: Path) -> None:
    x = keras.Input((8, 9, 3))
    model = hostile(keras.Model(x, OPERATORS[name](x)), 3, halves=True)
    if kept:
        model.save(path := tmp_path / f"model.{kept}")
        if name == "compared":  # Keras saves such calls so that it cannot read them
            with pytest.raises(UserError, match="Keras cannot load it: TypeError: Missing required positional"):
                keras_file.load(path)
            return
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
        (r"\(TFOpLambda\): expected one of .*got the operator 'math.log'", lambda tf, x: tf.math.log(x)),
        (r"expected a mean over axes of the image, \[1, 2\] .*, got axes \[3\]", lambda tf, x: tf.reduce_mean(x, 3)),
        (r"the same for every position of the image", lambda tf, x: x * np.arange(126.0, dtype="f").reshape(6, 7, 3)),
        (r"leaves the batch axis in front", lambda tf, x: tf.reshape(x, [-1, 7, 3])),
        (r"expected axis -1, the scores, got 1", lambda tf, x: tf.nn.softmax(x, axis=1)),
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
    keras.Model(x, ends(tf.math.log(conv(3)(x)))).save(path := tmp_path / "model.h5")
    with pytest.raises(UserError, match=r"layer 'tf.math.log.*known, got 'math.log'; write it with layers, or"):
        keras_file.load(path)
