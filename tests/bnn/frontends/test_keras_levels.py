"""Keras values of more than two levels: ternary and multi-bit activations, weights of up to 8 bits, biases.

What each quantizer gives half-way between its values, and at exactly zero, is its own: QKeras rounds to even, Larq's
``SteTern`` has a sign's 0 at 0. Inputs are chosen so that the sums do come there.
"""

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
from tests.narrowed import a

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.keras import convert, trace
from xnorflow.bnn.network import (
    Add,
    Affine,
    Conv2d,
    Dense,
    Input,
    MultiThreshold,
    Network,
    SumPool2d,
    Threshold,
    weight_bits,
)

L = keras.layers
QActivation, QConv2D, QDense = qkeras.QActivation, qkeras.QConv2D, qkeras.QDense
QuantConv2D, QuantDense = lq.layers.QuantConv2D, lq.layers.QuantDense

ONE = {"kernel_quantizer": "binary(alpha=1)", "use_bias": False}
STE = {"kernel_quantizer": "ste_sign", "use_bias": False}

#: Activations by name: lowest, step and number of values.
LEVELS = {
    "ternary": (-1, 1, 3),
    "ternary(alpha=1,threshold=0.5)": (-1, 1, 3),
    "ternary(alpha=2,threshold=1.0)": (-1, 1, 3),
    "stochastic_ternary": (-1, 1, 3),
    "stochastic_ternary(alpha=1)": (-1, 1, 3),
    "quantized_bits(2,1,1,alpha=1)": (-1, 1, 3),
    "quantized_bits(2,1,0,alpha=1)": (-2, 1, 4),
    "quantized_bits(4,2,1,alpha=1)": (-7, 1, 15),
    "quantized_bits(3,2,0,alpha=1)": (-4, 1, 8),
    "quantized_bits(2,1,keep_negative=0,alpha=1)": (0, 1, 4),
    "quantized_relu(2)": (0, 1, 4),
    "quantized_relu(3,2)": (0, 1, 8),
    "quantized_relu(4,4)": (0, 1, 16),
    "quantized_tanh(3)": (-4, 1, 8),
    "quantized_sigmoid(2)": (0, 1, 4),
}
TERNARY = ["ternary", "ternary(alpha=1,threshold=0.5)", "quantized_bits(2,1,1,alpha=1)"]


def larq(name: str) -> Any:
    return {
        "SteTern": lambda: lq.quantizers.SteTern(),
        "SteTern half": lambda: lq.quantizers.SteTern(threshold_value=0.5),
        "DoReFa 2": lambda: lq.quantizers.DoReFa(2),
        "DoReFa 3": lambda: lq.quantizers.DoReFa(3),
        "DoReFa 4": lambda: lq.quantizers.DoReFa(4),
    }[name]()


LARQ_LEVELS = {"SteTern": (-1, 1, 3), "SteTern half": (-1, 1, 3), "DoReFa 2": (0, 1, 4), "DoReFa 3": (0, 1, 8),
               "DoReFa 4": (0, 1, 16)}  # fmt: skip


def levels(network: Network, name: str = "threshold1") -> Any:
    operation = network[name]
    assert isinstance(operation, MultiThreshold)
    return operation.low, operation.step, operation.threshold.shape[1] + 1


@pytest.mark.parametrize("quantizer", [*LEVELS, *LARQ_LEVELS])
@pytest.mark.parametrize("alpha", [1, 0.25])
def test_ties(quantizer: str, alpha: float) -> None:
    """Integers and quarters go straight into the quantizer, exact zeros among them: every tie is met."""
    kernel = {"kernel_quantizer": f"binary(alpha={alpha})", "use_bias": False}
    activation = larq(quantizer) if quantizer in LARQ_LEVELS else QActivation(quantizer)
    model = keras.Sequential([L.InputLayer((9,)), QDense(9, **kernel), activation, QDense(4, **ONE)])
    input = Input("x", (), shape=(9,), kind="signed", bits=4)
    exact = "DoReFa" not in quantizer  # sums of thirds, sevenths and fifteenths are rounded
    network = agree(hostile(model, 1), input, 1, count=200, ambiguous=not exact).network
    cut = alpha == 1 and (quantizer == "quantized_relu(2)" or not exact)  # of integers, 0 and 1 are all that it gives
    assert isinstance(network["threshold1"], Threshold) if cut else levels(network) == (LEVELS | LARQ_LEVELS)[quantizer]


@pytest.mark.parametrize("quantizer", LEVELS)
def test_behind_batch_norm(quantizer: str) -> None:
    """Of negative, zero and large scales; padding is the level of zero, and pools take levels."""
    model = keras.Sequential(
        [
            L.InputLayer((8, 9, 3)),
            *(QConv2D(6, 3, **ONE), L.MaxPooling2D(2), L.BatchNormalization(), QActivation(quantizer)),
            *(QConv2D(5, 2, padding="same", **ONE), L.BatchNormalization(), QActivation(quantizer)),
            *(L.AveragePooling2D((1, 2)), L.MaxPooling2D((2, 1)), L.Flatten(), QDense(4, **ONE)),
            L.BatchNormalization(),
        ]
    )
    network = agree(tame(hostile(model, 2)), PIXELS, 2).network
    conv = network["conv2"]
    assert isinstance(conv, Conv2d) and any(conv.padding) and conv.pad_value == 0
    assert levels(network) == levels(network, "threshold2") == LEVELS[quantizer]
    assert any(isinstance(operation, SumPool2d) for operation in network.operations)


@pytest.mark.parametrize("quantizer", LARQ_LEVELS)
def test_input_quantizers_of_larq(quantizer: str) -> None:
    """Huge and vanishing scales, too: Larq's quantizers are exact wherever they are evaluated."""
    options = {"kernel_quantizer": "ste_tern", "use_bias": False}
    model = keras.Sequential(
        [
            L.InputLayer((8, 9, 3)),
            *(QuantConv2D(6, 3, **options), L.BatchNormalization(scale=True)),
            *(QuantConv2D(5, 2, padding="same", input_quantizer=larq(quantizer), **options), L.MaxPooling2D(2)),
            *(L.BatchNormalization(), L.Flatten(), QuantDense(4, input_quantizer=larq(quantizer), **options)),
        ]
    )
    conversion = agree(hostile(model, 3, halves=True), FIXED, 3, ambiguous="DoReFa" in quantizer)
    assert levels(conversion.network) == levels(conversion.network, "threshold2") == LARQ_LEVELS[quantizer]


def test_values_that_are_not_evenly_spaced_are_some_of_those_that_are() -> None:
    """0, 1/2 and 3/4 of a sigmoid's two bits; powers of two."""
    for quantizer, expected in (("quantized_relu(2,use_sigmoid=1)", (0, 1, 4)), ("quantized_relu_po2(2)", (1, 1, 8))):
        model = keras.Sequential([L.InputLayer((20,)), QDense(9, **ONE), L.BatchNormalization(),
                                  QActivation(quantizer), QDense(4, **ONE)])  # fmt: skip
        network = agree(tame(hostile(model, 4)), INTEGERS, 4, count=100).network
        assert levels(network) == expected
        passed = a(MultiThreshold, network["threshold1"]).threshold
        assert (passed[:, 1:] == passed[:, :-1]).any()


@pytest.mark.parametrize("quantizer", [*TERNARY, "quantized_relu(2,1)", "binary"])
def test_residual_sums_of_values(quantizer: str) -> None:
    """Of several levels and of integers: TensorFlow makes one sum of y and x + (q - x), so that ties are ambiguous."""
    x = keras.Input((8, 9, 3))
    y, z = (QActivation(quantizer)(L.BatchNormalization()(QConv2D(5, 3, **ONE)(x))) for _ in range(2))
    y = L.Add()([y, z, QConv2D(5, 3, **ONE)(x)])
    y = QDense(4, **ONE)(L.Flatten()(QActivation("binary")(L.BatchNormalization()(y))))
    model = keras.Model(x, y)
    network = agree(tame(hostile(model, 5, halves=True)), IMAGE, 5, ambiguous="relu" in quantizer).network
    assert isinstance(network["add1"], Add) and isinstance(network["add2"], Add)
    assert set(trace(tame(hostile(model, 5)), "n", IMAGE).ambiguous) == {"threshold3"}


def test_residual_sums_of_values_of_larq() -> None:
    x = keras.Input((8, 9, 3))
    y = lq.quantizers.SteTern()(L.BatchNormalization()(QuantConv2D(5, 3, **STE)(x)))
    y = L.Add()([y, QuantConv2D(5, 3, **STE)(x)])
    y = QuantDense(4, input_quantizer="ste_sign", **STE)(L.Flatten()(L.BatchNormalization()(y)))
    agree(hostile(keras.Model(x, y), 5), IMAGE, 5)


#: Kernels of several bits, with exact sums or (True) with such as float32 rounds.
WEIGHTS = {
    "quantized_bits(2,0,0,alpha=1)": False,
    "quantized_bits(4,0,1,alpha=1)": False,
    "quantized_bits(8,0,1,alpha=1)": False,
    "quantized_bits(8,0,0,alpha=1)": False,
    "quantized_bits(4,0,1,alpha='auto_po2')": False,
    "quantized_bits(4,0,1,alpha='auto')": True,
    "quantized_po2(4)": False,
}


@pytest.mark.parametrize("quantizer", WEIGHTS)
@pytest.mark.parametrize("input", [VECTOR, INTEGERS], ids=["bipolar", "integers"])
def test_weights_of_several_bits(quantizer: str, input: Input) -> None:
    """A layer of integer weights; quantized biases are added exactly."""
    options = {"kernel_quantizer": quantizer, "bias_quantizer": "quantized_bits(4,1,1,alpha=1)"}
    model = keras.Sequential(
        [
            L.InputLayer((20,)),
            *(QDense(7, **options), L.BatchNormalization(), QActivation("binary")),
            *(QDense(6, **ONE), L.BatchNormalization(), QActivation("ternary")),
            *(QDense(4, **options), L.Activation("softmax")),
        ]
    )
    conversion = agree(hostile(model, 6, halves=WEIGHTS[quantizer]), input, 6, ambiguous=WEIGHTS[quantizer])
    dense = [operation for operation in conversion.network.operations if isinstance(operation, Dense)]
    assert len(dense) == 3 and any(weight_bits(operation.weight) > 2 for operation in dense)


def test_first_and_last_layer_of_eight_bits() -> None:
    """As mixed networks have them: pixels into weights of 8 bits, and scores from such."""
    bits = {"kernel_quantizer": "quantized_bits(8,0,1,alpha=1)", "bias_quantizer": "quantized_bits(8,2,1,alpha=1)"}
    model = keras.Sequential(
        [
            L.InputLayer((8, 9, 3)),
            *(QConv2D(4, 3, strides=2, **bits), L.BatchNormalization(), QActivation("binary")),
            *(QConv2D(5, 2, **ONE), L.BatchNormalization(), QActivation("binary"), L.Flatten()),
            *(QDense(4, **bits), L.Softmax()),
        ]
    )
    conversion = agree(hostile(model, 7), FIXED, 7)
    affine = conversion.network["affine"]
    assert isinstance(affine, Affine) and affine.ambiguous == 0 and not conversion.ambiguous


def test_dorefa_weights() -> None:
    """Two bits: -1, -1/3, 1/3 and 1, three times an integer but for their rounding."""
    options = {"kernel_quantizer": lq.quantizers.DoReFa(2, mode="weights"), "use_bias": False}
    model = keras.Sequential(
        [
            L.InputLayer((20,)),
            *(QuantDense(9, **options), L.BatchNormalization()),
            *(QuantDense(4, input_quantizer="ste_sign", **options), L.BatchNormalization()),
        ]
    )
    conversion = agree(hostile(model, 8, halves=True), INTEGERS, 8, ambiguous=True)
    dense = [operation for operation in conversion.network.operations if isinstance(operation, Dense)]
    assert [np.unique(operation.weight).tolist() for operation in dense] == [[-3, -1, 1, 3]] * 2


@pytest.mark.parametrize(
    ("words", "layers"),
    [
        ("one value at a time, got ternary", (QDense(3, **ONE), QActivation("ternary(alpha='auto')"))),
        ("one value at a time, got ste_tern", (QDense(3, **ONE), lq.quantizers.SteTern(ternary_weight_networks=True))),
        ("'dense.*or integers up to 128 times that.*of at most 8 bits",
         (QDense(3, kernel_quantizer="quantized_bits(12,0,1,alpha=1)", name="dense12"),)),
        ("expected a sign or quantiser after it, or the end", (QDense(3, **ONE), QActivation("quantized_po2(6)"))),
    ],
)  # fmt: skip
def test_refused(words: str, layers: tuple[Any, ...]) -> None:
    model = hostile(keras.Sequential([L.InputLayer((20,)), *layers]), 0)
    with pytest.raises(UserError, match=words) as error:
        convert(model, "n", VECTOR)
    assert str(error.value).startswith("model 'n', layer '") and "\n" not in str(error.value)


@pytest.mark.parametrize("scale", [1e30, 12345678])
def test_a_value_that_float32_loses_is_refused(scale: float) -> None:
    """x + (q - x) is 0 where x is huge, unless TensorFlow rearranges it; ternary has a 0, but elsewhere."""
    model = keras.Sequential([L.InputLayer((20,)), QDense(3, **ONE), L.BatchNormalization(),
                              QActivation("ternary(alpha=1)")])  # fmt: skip
    hostile(model, 9).layers[1].set_weights([np.full(3, value, np.float32) for value in (scale, 0, 0.3, 1)])
    with pytest.raises(UserError, match=r"expected ternary.* to give -1 for -.*unless alpha is None"):
        trace(model, "n", VECTOR)
