"""Random graphs of QKeras and Larq layers together, and one of them through hls4ml: what Keras predicts is computed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies
from tests.bnn.frontends.keras_models import FIXED, IMAGE, PIXELS, agree, hostile, keras, lq, qkeras, tame

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.frontends.keras import trace
from xnorflow.bnn.network import Input
from xnorflow.cosim.compare import compare
from xnorflow.cosim.csim import CSim
from xnorflow.cosim.golden import Golden

L = keras.layers

#: Kernels and activations whose sums are exact, in QKeras' words and in Larq's.
KERNELS = ["binary(alpha=1)", "ternary(alpha=1)", "stochastic_ternary(alpha=1)", "quantized_bits(3,0,1,alpha=1)"]
LARQ_KERNELS = ["ste_sign", "approx_sign", "ste_tern"]
ACTIVATIONS = ["binary", "binary(use_01=1)", "ternary", "stochastic_ternary", "quantized_relu(2,1)",
               "quantized_bits(2,1,0,alpha=1)", "quantized_bits(4,2,1,alpha=1)", "quantized_relu(3)",
               "quantized_relu_po2(2)"]  # fmt: skip
LARQ_ACTIVATIONS = ["ste_sign", "ste_heaviside", "ste_tern", "approx_sign"]


def layer(data: Any, larq: Any, sequence: Any) -> Any:
    """One layer of weights on images, or on sequences."""
    kernel, bias = data.draw(st.sampled_from(LARQ_KERNELS if larq else KERNELS)), data.draw(st.booleans())
    size, multiplier = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    options = {"padding": data.draw(st.sampled_from(["same", "valid"])), "use_bias": bias}
    options |= data.draw(st.sampled_from([{}, {"strides": 2}, {"dilation_rate": 2}]))
    filters, kind = data.draw(st.integers(1, 6)), data.draw(st.sampled_from(["conv", "depthwise", "separable"]))
    of = lq.layers if larq else qkeras
    prefix = "Quant" if larq else "Q"
    if sequence:
        return getattr(of, f"{prefix}Conv1D")(filters, size, kernel_quantizer=kernel, **options)
    if kind == "conv":
        return getattr(of, f"{prefix}Conv2D")(filters, (size, 2), kernel_quantizer=kernel, **options)
    options |= {"depthwise_quantizer": kernel, "depth_multiplier": multiplier}
    if kind == "depthwise":
        return getattr(of, f"{prefix}DepthwiseConv2D")(size, **options)
    pointwise = data.draw(st.sampled_from(LARQ_KERNELS if larq else KERNELS))
    return getattr(of, f"{prefix}SeparableConv2D")(filters, size, pointwise_quantizer=pointwise, **options)


def activation(data: Any) -> Any:
    if data.draw(st.booleans()):
        return lq.quantizers.get(data.draw(st.sampled_from(LARQ_ACTIVATIONS)))
    return qkeras.QActivation(data.draw(st.sampled_from(ACTIVATIONS)))


@given(st.data())
@settings(max_examples=12)
@pytest.mark.slow
def test_random_graphs(data: st.DataObject) -> None:
    """Branches are added before the activation, and pools and batch norms stand on either side of it."""
    sequence = data.draw(st.booleans())
    input = data.draw(st.sampled_from([IMAGE, PIXELS, FIXED]))
    if sequence:
        input = Input("x", (), (1, 24, 3), input.kind, input.bits, input.fraction)
    x = y = keras.Input(input.shape[1:] if sequence else input.shape)
    pools = (L.MaxPooling1D, L.AveragePooling1D) if sequence else (L.MaxPooling2D, L.AveragePooling2D)
    try:
        for _ in range(data.draw(st.integers(1, 2))):
            y = layer(data, data.draw(st.booleans()), sequence)(y)
            if data.draw(st.booleans()):
                convolution = lq.layers.QuantConv1D if sequence else lq.layers.QuantConv2D
                z = convolution(y.shape[-1], 1, kernel_quantizer="ste_sign", use_bias=False)(x)
                y = L.Add()([y, z]) if z.shape == y.shape else y
            pool = data.draw(st.sampled_from([None, *pools]))
            y = pool(2)(y) if pool else y
            y = activation(data)(L.BatchNormalization(scale=data.draw(st.booleans()))(y))
            pool = data.draw(st.sampled_from([None, *pools]))
            y = pool(2)(y) if pool else y
        y = qkeras.QDense(4, kernel_quantizer="ternary(alpha=1)", use_bias=False)(L.Flatten()(y))
    except ValueError:  # an image that has shrunk to nothing
        return
    model = keras.Model(x, L.BatchNormalization()(y))
    agree(tame(hostile(model, data.draw(st.integers(0, 2**32 - 1)), halves=True)), input, 0, count=20, ambiguous=True)


@pytest.mark.slow
def test_hls4ml_computes_what_keras_does(tmp_path: Path) -> None:
    """Depthwise weights of both frameworks, three kinds of activation, a residual sum and an average, in C++."""
    x = keras.Input((6, 6, 2))
    y = qkeras.QDepthwiseConv2D(3, depthwise_quantizer="ternary(alpha=1)", padding="same", use_bias=False)(x)
    y = qkeras.QActivation("quantized_relu(2,1)")(L.BatchNormalization()(y))
    z = lq.layers.QuantSeparableConv2D(
        *(4, 2), depth_multiplier=2, padding="same", depthwise_quantizer="ste_sign", pointwise_quantizer="ste_tern"
    )(y)
    y = L.Add()([z, qkeras.QConv2D(4, 1, kernel_quantizer="quantized_bits(3,0,1,alpha=1)", use_bias=False)(y)])
    y = lq.quantizers.SteTern()(L.BatchNormalization()(L.AveragePooling2D(2)(y)))
    y = qkeras.QActivation("quantized_relu_po2(2)")(
        qkeras.QDense(5, kernel_quantizer="binary(alpha=1)")(L.Flatten()(y))
    )
    y = lq.layers.QuantDense(3, kernel_quantizer="ste_sign", use_bias=False)(y)
    model = tame(hostile(keras.Model(x, y), 1, halves=True))
    conversion = trace(model, "n", Input("x", (), shape=(6, 6, 2), kind="signed", bits=4))
    network = canonicalise(conversion.network)
    inputs = strategies.inputs_for(network, 60, 1)
    golden, packed = Golden(threads=1), CSim("packed", jobs=1)
    for engine in (golden, packed):
        engine.prepare(network, tmp_path / engine.name)
    got = packed.run(inputs, every_layer=True)
    assert compare(network, golden.run(inputs, every_layer=True), got).first is None
    assert np.array_equal(got["argmax"][:, 0], model.predict(inputs.astype(np.float32), verbose=0).argmax(axis=1))
