"""QKeras models: what QKeras predicts is what the Network computes, and refusals say why."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bnn.frontends.keras_models import FIXED, IMAGE, INTEGERS, PIXELS, VECTOR, agree, hostile, keras, qkeras
from tests.narrowed import a

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.keras import convert, trace
from xnorflow.bnn.network import Affine, Argmax, Conv2d, Dense, Flatten, Input, MaxPool2d, MultiThreshold, Threshold

L = keras.layers
QActivation, QBatchNormalization = qkeras.QActivation, qkeras.QBatchNormalization
QConv2D, QDense = qkeras.QConv2D, qkeras.QDense

#: Quantizers of kernels whose sums are exact in float32.
EXACT = ["binary(alpha=1)", "ternary(alpha=1)", "ternary(alpha=1,threshold=0.6)", "quantized_bits(1,0,1,alpha=1)",
         "quantized_bits(2,1,1,alpha=1)", "stochastic_binary(alpha=1)", "stochastic_ternary(alpha=1)"]  # fmt: skip
#: Those with a scale for each channel.
SCALED = ["binary", "binary(alpha='auto')", "binary(alpha='auto_po2')", "ternary(alpha='auto')", "ternary",
          "ternary(alpha='auto_po2')", "stochastic_binary(alpha='auto')", "stochastic_ternary"]  # fmt: skip


def mlp(
    kernel: str, activation: str = "binary", norm: Any = L.BatchNormalization, bias: bool = False, size: int = 20
) -> Any:
    return keras.Sequential(
        [
            L.InputLayer((size,)),
            *(QDense(17, kernel_quantizer=kernel, use_bias=bias), norm(), QActivation(activation), L.Dropout(0.5)),
            *(QDense(9, kernel_quantizer=kernel, use_bias=bias), norm(), QActivation(activation)),
            *(QDense(4, kernel_quantizer=kernel, use_bias=bias), norm(), L.Activation("softmax")),
        ]
    )


@pytest.mark.parametrize("kernel", EXACT)
def test_exact_kernels(kernel: str) -> None:
    conversion = agree(hostile(mlp(kernel), 1), VECTOR, 1)
    assert len(conversion.observed) == 5 and "softmax is left out" in conversion.notes[0]
    agree(hostile(mlp(kernel, bias=True), 2), INTEGERS, 2)


def test_quantized_batch_norm() -> None:
    """QKeras' own batch norm, whose four parameters are rounded to powers of two."""
    agree(hostile(mlp("binary(alpha=1)", norm=QBatchNormalization), 1), VECTOR, 1)
    model = hostile(conv_net(norm=QBatchNormalization), 5)
    model.layers[-1].set_weights([np.full(7, value, np.float32) for value in (0.7, 0.3, 2.9, 11)])
    affine = agree(model, PIXELS, 5).network["affine"]
    assert isinstance(affine, Affine) and affine.ambiguous == 0
    assert len(set(affine.scale)) == 1 and affine.scale[0] / 2.0**affine.fraction == pytest.approx(0.5 / 4, rel=0.1)


@pytest.mark.parametrize("kernel", SCALED)
def test_scaled_kernels(kernel: str) -> None:
    """A scale of its own for every channel, folded into its threshold; the means lie between the accumulators."""
    model = hostile(mlp(kernel), 3, halves=True)
    conversion = agree(model, VECTOR, 3)
    affine = conversion.network["affine"]
    assert isinstance(affine, Affine) and len(np.unique(affine.scale)) > 1


@pytest.mark.parametrize(
    "activation", ["binary", "binary(alpha=1)", "binary(use_01=1)", "binary(alpha=0.5)", "binary(1,alpha=0.3)",
                   "stochastic_binary", "quantized_bits(1,0,1)"]
)  # fmt: skip
def test_activations(activation: str) -> None:
    """Levels 0 and 1, halves, 0.3: whatever the two values are, the next sums are integers all the same."""
    model = hostile(mlp("binary(alpha=1)", activation), 4, halves=True)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization) and layer.name != model.layers[-2].name:
            gamma, *rest = layer.get_weights()
            layer.set_weights([np.clip(gamma, -2, 2), *rest])  # x + (q - x) loses q at 1e30
    agree(model, VECTOR, 4)


@pytest.mark.parametrize("quantizer", ["binary", "binary(alpha=1)", "stochastic_binary", "quantized_bits(1,0,1)"])
def test_zero_counts_as_positive(quantizer: str) -> None:
    """What each sign gives at exactly zero is found by evaluating it: +1 for all of these."""
    model = keras.Sequential([L.InputLayer((4,)), QDense(3, kernel_quantizer="binary(alpha=1)", use_bias=False),
                              QActivation(quantizer)])  # fmt: skip
    threshold = agree(model, Input("x", (), shape=(4,)), 0, count=16).network.output
    assert isinstance(threshold, Threshold) and threshold.threshold.tolist() == [0, 0, 0]
    assert threshold.direction.tolist() == [1, 1, 1]


def conv_net(pool: str="behind conv", *, padding: str="valid", stride: int=1, activation: str="binary",
             kernel: str="binary(alpha=1)", norm: Any=L.BatchNormalization, shape: Any=(8, 9, 3)) -> Any:  # fmt: skip
    norm1, sign, pool1 = norm(), QActivation(activation), L.MaxPooling2D(2)
    middle = {
        "behind conv": (pool1, norm1, sign),
        "behind norm": (norm1, pool1, sign),
        "behind sign": (norm1, sign, pool1),
        "none": (norm1, sign),
    }[pool]
    return keras.Sequential(
        [
            L.InputLayer(shape),
            QConv2D(6, 3, strides=stride, padding=padding, kernel_quantizer=kernel, use_bias=False),
            *middle,
            *(L.ZeroPadding2D(((1, 0), (0, 1))), QConv2D(5, 2, kernel_quantizer=kernel, use_bias=False)),
            *(norm(), QActivation(activation), L.Flatten()),
            *(QDense(7, kernel_quantizer=kernel, use_bias=False), norm()),
        ]
    )


@pytest.mark.parametrize("pool", ["behind conv", "behind norm", "behind sign", "none"])
@pytest.mark.parametrize("input", [IMAGE, PIXELS, FIXED], ids=["bipolar", "pixels", "fixed"])
def test_convolution(pool: str, input: Input) -> None:
    seed = 3 * len(pool) + input.bits
    padding, stride = [("valid", 1), ("same", 1), ("same", 2)][seed % 3]
    agree(hostile(conv_net(pool, padding=padding, stride=stride), seed), input, seed)


def test_convolution_with_other_levels() -> None:
    """With levels 0 and 1 the padding of zeros is the lower level, -1 in the Network."""
    network = agree(hostile(conv_net(activation="binary(use_01=1)"), 5), IMAGE, 5).network
    assert isinstance(conv := network["conv2"], Conv2d) and conv.pad_value == -1 and conv.padding == (1, 0, 0, 1)


def test_structure() -> None:
    network = convert(hostile(conv_net("behind norm"), 0), "n", IMAGE)
    kinds = " ".join(type(operation).__name__ for operation in network.operations)
    assert kinds == "Input Conv2d Threshold MaxPool2d Conv2d Threshold Flatten Dense Affine Argmax"
    model = keras.Sequential([L.InputLayer((8, 9, 3)), QConv2D(4, 3, kernel_quantizer="binary(alpha=1)"),
                              L.MaxPooling2D((2, 7), padding="same"), QActivation("binary"), L.Flatten()])  # fmt: skip
    network = agree(hostile(model, 1), PIXELS, 1).network
    assert [type(operation) for operation in network.operations[2:]] == [Threshold, MaxPool2d, Flatten]
    assert isinstance(network.output, Flatten)


def test_activation_inside_the_layer_and_functional_graph() -> None:
    x = y = keras.Input((20,))
    y = QDense(
        9,
        kernel_quantizer=qkeras.binary(alpha=1),
        bias_quantizer=qkeras.quantized_bits(4, 2),
        activation=qkeras.binary(),
    )(y)
    y = QDense(3, kernel_quantizer=qkeras.ternary(alpha=1), use_bias=False)(y)
    conversion = agree(hostile(keras.Model(x, y), 3), VECTOR, 3)
    assert isinstance(conversion.network.output, Argmax) and conversion.network.output.inputs == ("dense2",)
    assert set(conversion.observed) == {"threshold1", "dense2"}


def test_quantized_inputs_that_change_nothing_are_left_out() -> None:
    model = keras.Sequential([L.InputLayer((20,)), QActivation("quantized_bits(8,4,1)"),
                              QDense(5, kernel_quantizer="binary(alpha=1)"), QActivation("binary")])  # fmt: skip
    conversion = agree(hostile(model, 6), INTEGERS, 6)
    assert "changes no value" in conversion.notes[0]
    wide = Input("x", (), shape=(20,), kind="signed", bits=8)
    assert isinstance(agree(model, wide, 6).network["threshold1"], MultiThreshold)


def test_the_sign_of_an_input() -> None:
    model = keras.Sequential([L.InputLayer((20,)), L.BatchNormalization(), QActivation("binary"),
                              QDense(5, kernel_quantizer="binary(alpha=1)")])  # fmt: skip
    network = agree(hostile(model, 7), INTEGERS, 7).network
    assert isinstance(network.operations[1], Threshold)


def test_sums_that_depend_on_their_order_are_counted() -> None:
    """QKeras' own result at a tie of unequal floats depends on more than the accumulator: no Network equals it."""
    model = keras.Sequential([L.InputLayer((20,)), QDense(8, kernel_quantizer="binary(alpha='auto')", use_bias=False),
                              QActivation("binary")])  # fmt: skip
    conversion = trace(hostile(model, 0), "n", VECTOR)
    assert 1 <= conversion.ambiguous["threshold1"].pairs <= 8  # accumulator 0, except where alpha has few binary places
    inputs = np.random.default_rng(0).choice([-1, 1], (4000, 20))
    sums = inputs @ a(Dense, conversion.network["dense1"]).weight.T.astype(np.int64)
    got = model.predict(inputs.astype(np.float32), verbose=0)
    assert len(np.unique(got[sums == 0])) == 2
    assert np.array_equal(got[sums != 0], np.sign(sums[sums != 0]))


def test_scores_that_depend_on_their_order_are_counted() -> None:
    """Two classes with the same scale tie wherever their accumulators do, unless both sums are exact."""
    for quantizer, proved in (("binary(alpha='auto')", False), ("binary(alpha=1)", True)):
        model = keras.Sequential([L.InputLayer((20,)), QDense(2, kernel_quantizer=quantizer, use_bias=False),
                                  L.BatchNormalization()])  # fmt: skip
        rng = np.random.default_rng(0)
        model.layers[0].set_weights([rng.uniform(0.5, 0.9, (20, 1)) * rng.choice([-1, 1], (20, 2))])
        affine = trace(model, "n", VECTOR).network["affine"]
        assert isinstance(affine, Affine) and (affine.ambiguous == 0) == proved


def test_a_sign_that_rounds_spoils_exactness() -> None:
    """binary(alpha=0.3) is not quite 0.3 for large values, which reaches the next sums and is bounded there."""
    model = hostile(mlp("binary(alpha=1)", "binary(alpha=0.3)"), 3, halves=True)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights([np.full(n, value, np.float32) for value in (123.456, 0.1, 0.2, 1)])
    hidden = keras.Model(model.inputs, model.layers[2].output)
    values = hidden.predict(np.random.default_rng(0).choice([-1.0, 1.0], (50, 20)), verbose=0)
    assert len(np.unique(values)) > 2
    agree(model, VECTOR, 3)


def test_a_sign_that_loses_its_value_is_refused() -> None:
    """binary(alpha=1) is exact up to 2**24, where 1 - x is no longer what it was."""
    model = hostile(mlp("binary(alpha=1)", "binary(alpha=1)"), 3)
    with pytest.raises(UserError, match=r"'q_activation.*expected binary.* to give 1 for 1.*unless alpha is None"):
        convert(model, "n", VECTOR)


@given(st.data())
@settings(max_examples=6)
@pytest.mark.slow
def test_random_architectures(data: st.DataObject) -> None:
    kernel = data.draw(st.sampled_from(EXACT))
    kind = data.draw(st.sampled_from([IMAGE, PIXELS, FIXED]))
    layers = [L.InputLayer(kind.shape)]
    for _ in range(data.draw(st.integers(1, 2))):
        size = data.draw(st.integers(1, 3))
        layers.append(
            QConv2D(data.draw(st.integers(1, 9)), size, strides=data.draw(st.integers(1, 2)),
                    padding=data.draw(st.sampled_from(["same", "valid"])), kernel_quantizer=kernel,
                    use_bias=data.draw(st.booleans()))
        )  # fmt: skip
        middle = [data.draw(st.sampled_from([L.BatchNormalization, QBatchNormalization]))(), QActivation("binary")]
        middle.insert(data.draw(st.integers(0, 2)), L.MaxPooling2D((data.draw(st.integers(1, 2)), 1)))
        layers += middle
    layers += [L.Flatten(), QDense(data.draw(st.integers(1, 9)), kernel_quantizer=kernel), L.BatchNormalization()]
    seed = data.draw(st.integers(0, 2**32 - 1))
    try:
        model = keras.Sequential(layers)
    except ValueError:  # an image that has shrunk to nothing
        return
    agree(hostile(model, seed), kind, seed, count=20)


def sequential(*layers: tuple[Any, ...], shape: Any = (20,)) -> Any:
    return hostile(keras.Sequential([L.InputLayer(shape), *layers]), 0)


@pytest.mark.parametrize(
    ("words", "layers", "input"),
    [
        (r"layer 'd' \(Dense\): expected weights -a, 0 and \+a", (L.Dense(3, name="d"),), VECTOR),
        ("one of at most 8 bits", (QDense(3, kernel_quantizer="quantized_bits(12,0,1,alpha=1)"),), VECTOR),
        (r"\(LayerNormalization\): not supported; supported are Dense", (L.LayerNormalization(),), VECTOR),
        ("same every time, got bernoulli", (QDense(3, kernel_quantizer="binary"), QActivation("bernoulli")), VECTOR),
        ("one value at a time", (QDense(3, kernel_quantizer="binary"), QActivation("binary(alpha='auto')")), VECTOR),
        (r"\(QDense\): expected a sign or quantiser after it \(before layer 'q_dense",
         (QDense(3, kernel_quantizer="binary(alpha='auto')"), L.ReLU(name="relu"), L.BatchNormalization(),
          QDense(3, kernel_quantizer="binary")), VECTOR),
        ("expected a sign or quantiser after it", (QDense(3, kernel_quantizer="binary"), L.BatchNormalization(),
                                      QDense(3, kernel_quantizer="binary")), VECTOR),
        ("a sign or quantiser between two layers", (QDense(3, kernel_quantizer="binary(alpha='auto')", use_bias=False),
                                       QDense(3, kernel_quantizer="binary")), VECTOR),
        ("softmax only at the end", (QDense(3, kernel_quantizer="binary"), L.Softmax(),
                                     QDense(3, kernel_quantizer="binary")), VECTOR),
        ("an input of shape", (QDense(3, kernel_quantizer="binary"),), IMAGE),
        ("'same' that adds nothing", (L.AveragePooling2D(2, padding="same"),), IMAGE),
        (r"an image with its channels last.*\(N, 72, 3\), made from \(8, 9, 3\)",
         (L.Reshape((72, 3)), L.Conv1D(2, 3)), IMAGE),
        (r"DepthwiseConv2D\): expected weights -a", (L.DepthwiseConv2D(3),), IMAGE),
        ("a convolution after padding, got a view", (L.ZeroPadding2D(), L.Flatten()), IMAGE),
        ("a convolution after padding, got the end", (L.ZeroPadding2D(),), IMAGE),
        ("one padding before", (L.ZeroPadding2D(), L.ZeroPadding2D()), IMAGE),
        ("padding smaller", (L.ZeroPadding2D(3), QConv2D(2, 3, kernel_quantizer="binary")), IMAGE),
        ("axis 3", (QConv2D(2, 2, kernel_quantizer="binary"), L.BatchNormalization(axis=1)), IMAGE),
        ("Sequential.*inner model", (keras.Sequential([QDense(3, kernel_quantizer="binary")]),), VECTOR),
    ],
)  # fmt: skip
def test_refused(words: str, layers: tuple[Any, ...], input: Input) -> None:
    with pytest.raises(UserError, match=words) as error:
        convert(sequential(*layers, shape=input.shape if "an input" not in words else (20,)), "n", input)
    assert str(error.value).startswith("model 'n', layer '") and "\n" not in str(error.value)


def test_refused_models() -> None:
    x = keras.Input((20,))
    y = QDense(20, kernel_quantizer="binary")(x)
    for words, model in (
        (r"\(Average\): not supported.*use Add", keras.Model(x, L.Average()([x, y]))),
        ("one input and one output", keras.Model(x, [x, y])),
        ("without a graph", keras.Sequential([QDense(3)])),
        ("expected a tf_keras.Model, got QDense", QDense(3)),
        ("float32, got float64", keras.Sequential([L.InputLayer((20,), dtype="float64")])),
        ("not supported.*holds code", keras.Sequential([L.InputLayer((20,)), L.Lambda(lambda x: x)])),
    ):
        with pytest.raises(UserError, match=words):
            convert(model, "n", VECTOR)
    model = mlp("binary(alpha=1)")
    norm = model.layers[1]
    norm.set_weights([np.full(17, np.nan, np.float32), *norm.get_weights()[1:]])
    with pytest.raises(UserError, match="expected finite weights, got NaN or infinity in 'gamma'"):
        convert(model, "n", VECTOR)
