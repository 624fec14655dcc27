"""One network drawn at random, in PyTorch, Keras and ONNX: all come to one Network, equal to what each computes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests import oracle, strategies
from tests.bnn.frontends.keras_models import keras, lq
from torch import nn
from torch.nn import functional as F

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.frontends import keras as of_keras
from xnorflow.bnn.frontends import qonnx as of_onnx
from xnorflow.bnn.frontends import qonnx_file
from xnorflow.bnn.frontends import torch as of_torch
from xnorflow.bnn.network import Input
from xnorflow.cosim.keras import Keras
from xnorflow.cosim.pytorch import PyTorch
from xnorflow.cosim.qonnx_source import QonnxSource

L = keras.layers
VECTORS = 40
CLASSES = 3


BEFORE = ("relu", "leaky relu", "clip", "negative")
"""What may stand between a layer of weights and its batch norm."""

BEHIND = (
    *("twice", "zeros", "every other", "add", "subtract"),
    *("average", "enlarged", "halves swapped", "cropped", "transposed"),
)
"""What may come behind an activation: its channels beside themselves or beside constants, every other row and column,
a sum or a difference with what the layer of weights takes, an average pool, nearest neighbours, the halves of the
channels in the other order, fewer rows, a transposed convolution with a sign behind."""

ENDS = ("", "softmax", "log softmax", "sigmoid", "argmax", "mean")
"""What may come last; a mean over rows, then over columns, comes before the last layer."""


@dataclass
class Block:
    """A layer of weights, batch norm, activation and perhaps a pool somewhere between them, and what comes behind.

    Its weights are (outputs, inputs / groups, height, width), or (outputs, inputs) on vectors: whole numbers times a
    power of two for each output.
    """

    weight: NDArray[Any]
    bias: NDArray[Any] | None
    before: str | None  # one of BEFORE
    norm: list[NDArray[Any]]  # gamma, beta, mean, variance
    stride: int
    dilation: int
    groups: int
    padding: int
    padded_with: float
    activation: str  # sign, ternary, levels
    pool: tuple[int, int, int] | None  # size, stride, padding
    pool_at: int  # behind the weights, the batch norm or the activation
    behind: str | None  # one of BEHIND
    grown: NDArray[Any]  # (channels, channels, 2, 2), of the transposed convolution


def _behind(behind: str | None, extents: list[int]) -> list[int]:
    """Rows and columns behind what comes behind an activation."""
    match behind:
        case "every other":
            return [-(-extents[0] // 2), extents[1] // 2]
        case "average":
            return [length // 2 for length in extents]
        case "enlarged" | "transposed":
            return [2 * length for length in extents]
        case "cropped":
            return [extents[0] - 1, extents[1]]
    return extents


@st.composite
def blocks(draw: st.DrawFn) -> Any:
    """A small network: the shape of an image (channels first) or vector, blocks, and the weights of the scores."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = draw(st.booleans())
    shape = (draw(st.integers(1, 3)), 6, 7) if image else (draw(st.integers(2, 70)),)
    start, made = shape, []  # type: ignore[var-annotated]
    for _ in range(draw(st.integers(1, 2))):
        outputs, size = draw(st.integers(1, 6)), draw(st.integers(1, 3))
        behind = draw(st.sampled_from([None, *(BEHIND if image else ("twice", "zeros", "add", "subtract"))]))
        groups = shape[0] if image and draw(st.integers(0, 3)) == 0 else 1  # depthwise
        if groups > 1:
            outputs = groups * draw(st.integers(1, 2))
        alone = behind in ("add", "subtract")
        if alone:  # of one shape
            outputs, size, groups = shape[0], 1, 1
        kernel = (outputs, shape[0] // groups, size, size) if image else (outputs, shape[0])
        weight = rng.choice(draw(st.sampled_from([[-1, 1], [-1, 0, 1], [-5, -1, 2, 7]])), kernel).astype(np.float32)
        weight *= rng.choice([0.25, 1, 2], (outputs, *[1] * (weight.ndim - 1))) if draw(st.booleans()) else 1
        activation = draw(st.sampled_from(["sign", "ternary", "levels"]))
        gammas, betas = [1, -1, 0.5, -2, 0, 2.0**20, -(2.0**-20)], [1 / 256, 255 / 256, -127 / 256]
        betas += [0] if activation == "sign" else []  # TensorFlow has 0.9999999 for 1 / sqrt(1): no ties but at 0
        norm = [rng.choice(values, outputs) for values in (gammas, betas, [0, 1, -2, 0.5], [1, 4])]
        plain = bool(made) and made[-1].activation == "sign" and made[-1].behind is None
        padding = draw(st.integers(0, 1)) if image and size > 1 and (not made or made[-1].behind is None) else 0
        padded_with = draw(st.sampled_from([-1.0, 0.0, 1.0])) if padding and plain else 0.0
        pool = draw(st.sampled_from([None, (2, 2, 0), (3, 1, 1)])) if image and not alone else None
        stride = draw(st.integers(1, 2)) if image and not alone else 1
        dilation = draw(st.integers(1, 2)) if image and stride == 1 and groups == 1 else 1
        block = Block(
            weight, rng.choice([0, 1, -0.5], outputs) if draw(st.booleans()) else None,
            draw(st.sampled_from([None, *BEFORE])), norm, stride, dilation, groups, padding, padded_with,
            activation, pool, draw(st.integers(0, 2)), behind,
            rng.choice([-1, 1], (outputs, outputs, 2, 2)),
        )  # fmt: skip
        extents = [(length + 2 * padding - dilation * (size - 1) - 1) // stride + 1 for length in shape[1:]]
        if pool:
            extents = [(length + 2 * pool[2] - pool[0]) // pool[1] + 1 for length in extents]
        extents = _behind(behind, extents)
        if image and min(extents) < 1:
            break
        outputs = {"twice": 2 * outputs, "zeros": outputs + 3}.get(behind or "", outputs)
        shape = (outputs, *extents)  # type: ignore[assignment]
        made.append(block)
    end = draw(st.sampled_from(ENDS if image else ENDS[:-1]))
    last = rng.choice([-1, 1], (CLASSES, shape[0] if end == "mean" else int(np.prod(shape))))  # channels first
    taken = (*start[1:], start[0])
    kind = draw(st.sampled_from([("bipolar", 1), ("unsigned", 4), ("signed", 5)]))
    return Input("x", (), taken, *kind), made, last, shape, end  # type: ignore[arg-type]


class Module(nn.Module):
    def __init__(self, made: Any, last: Any, end: str) -> None:
        super().__init__()
        self.made, self.last, self.end = made, nn.Parameter(torch.tensor(last, dtype=torch.float32)), end
        for number, block in enumerate(made):
            for name, value in zip(("weight", "bias", "gamma", "beta", "mean", "variance", "grown"),
                                   (block.weight, block.bias, *block.norm, block.grown)):  # fmt: skip
                if value is not None:
                    self.register_buffer(f"{name}{number}", torch.tensor(value, dtype=torch.float32))

    def forward(self, x: Any) -> Any:
        for number, block in enumerate(self.made):
            taken = x
            weight, gamma, beta, mean, variance = (
                getattr(self, f"{name}{number}") for name in ("weight", "gamma", "beta", "mean", "variance")
            )
            bias = getattr(self, f"bias{number}", None)
            if block.weight.ndim == 2:
                x = F.linear(x, weight, bias)
            elif block.padded_with:
                x = F.pad(x, [block.padding] * 4, value=block.padded_with)
                x = F.conv2d(x, weight, bias, block.stride, 0, block.dilation, block.groups)
            else:
                x = F.conv2d(x, weight, bias, block.stride, block.padding, block.dilation, block.groups)
            for at in range(3):
                if at == 1:
                    x = self.stepped(x, block.before)
                    x = F.batch_norm(x, mean, variance, gamma, beta, eps=0.0)
                elif at == 2 and block.activation == "ternary":
                    x = torch.sign(torch.sign(x + 0.5) + torch.sign(x - 0.5))
                elif at == 2 and block.activation == "levels":
                    x = torch.clamp(torch.round(x), 0, 3)
                elif at == 2:
                    x = torch.where(x >= 0, 1.0, -1.0)
                if block.pool and block.pool_at == at:
                    x = F.max_pool2d(x, *block.pool)
            x = self.behind(x, taken, block, getattr(self, f"grown{number}"))
        x = x.mean(3).mean(2) if self.end == "mean" else x.flatten(1)
        x = x @ self.last.t()
        ends: Any = {"softmax": F.softmax, "log softmax": F.log_softmax, "argmax": torch.argmax}
        return torch.sigmoid(x) if self.end == "sigmoid" else ends[self.end](x, 1) if self.end in ends else x

    def stepped(self, x: Any, before: str | None) -> Any:
        if before == "leaky relu":
            return F.leaky_relu(x, 0.25)
        return {"relu": F.relu(x), "clip": F.hardtanh(x, -2, 3), "negative": -x}.get(before or "", x)

    def behind(self, x: Any, taken: Any, block: Block, grown: Any) -> Any:
        match block.behind:
            case "twice":
                return torch.cat([x, x], 1)
            case "zeros":
                return F.pad(x, (0, 0) * (x.ndim - 2) + (1, 2))
            case "every other":
                return x[:, :, ::2, 1::2]
            case "average":
                return F.avg_pool2d(x, 2)
            case "enlarged":
                return F.interpolate(x, scale_factor=2)
            case "halves swapped":
                return torch.cat(x.split([x.shape[1] // 2, x.shape[1] - x.shape[1] // 2], 1)[::-1], 1)
            case "cropped":
                return F.pad(x, (0, 0, -1, 0))
            case "transposed":
                return torch.where(F.conv_transpose2d(x, grown, stride=2) >= 0, 1.0, -1.0)
            case "add" | "subtract":
                return x + taken if block.behind == "add" else x - taken
        return x


def keras_model(taken: Any, made: Any, last: Any, shape: Any, end: str) -> Any:
    import tensorflow as tf

    x = y = keras.Input(taken.shape)
    for block in made:
        operand = y
        options: dict[str, Any] = {"use_bias": block.bias is not None}
        if block.padded_with:
            side = [block.padding] * 2
            y = tf.pad(y, [[0, 0], side, side, [0, 0]], constant_values=block.padded_with)
        elif block.padding:
            y = L.ZeroPadding2D(block.padding)(y)
        kernel = block.weight.T if block.weight.ndim == 2 else block.weight.transpose(2, 3, 1, 0)
        if block.weight.ndim == 2:
            layer = lq.layers.QuantDense(len(block.weight), **options)
        elif block.groups > 1:
            times = len(block.weight) // block.groups
            layer = L.DepthwiseConv2D(block.weight.shape[2], block.stride, depth_multiplier=times, **options)
            kernel = kernel.reshape(*kernel.shape[:2], block.groups, times)
        else:
            options |= {"strides": block.stride, "dilation_rate": block.dilation}
            layer = L.Conv2D(len(block.weight), block.weight.shape[2], **options)
        y = layer(y)
        layer.set_weights([kernel, *([] if block.bias is None else [block.bias])])
        for at in range(3):
            if at == 1:
                y = {"relu": L.ReLU(), "leaky relu": L.LeakyReLU(0.25), "clip": lambda y: tf.clip_by_value(y, -2, 3),
                     "negative": lambda y: -y}.get(block.before or "", lambda y: y)(y)  # fmt: skip
                norm = L.BatchNormalization(epsilon=0.0)
                y = norm(y)
                norm.set_weights(block.norm)
            elif at == 2 and block.activation == "levels":
                y = tf.clip_by_value(tf.round(y), 0, 3)
            elif at == 2:
                sign = block.activation == "sign"
                y = (lq.quantizers.SteSign() if sign else lq.quantizers.SteTern(threshold_value=0.5))(y)
            if block.pool and block.pool_at == at:
                y = L.MaxPooling2D(*block.pool[:2], "same" if block.pool[2] else "valid")(y)
        match block.behind:
            case "twice":
                y = L.Concatenate()([y, y])
            case "zeros":
                y = tf.pad(y, [*[[0, 0]] * (len(y.shape) - 1), [1, 2]])
            case "every other":
                y = y[:, ::2, 1::2]
            case "average":
                y = L.AveragePooling2D()(y)
            case "enlarged":
                y = L.UpSampling2D()(y)
            case "halves swapped":
                y = tf.concat(tf.split(y, [y.shape[-1] // 2, y.shape[-1] - y.shape[-1] // 2], -1)[::-1], -1)
            case "cropped":
                y = L.Cropping2D(((1, 0), (0, 0)))(y)
            case "transposed":
                layer = L.Conv2DTranspose(len(block.grown), 2, 2, use_bias=False)
                y = lq.quantizers.SteSign()(layer(y))
                layer.set_weights([block.grown.transpose(2, 3, 1, 0)])
            case "add" | "subtract":
                y = y + operand if block.behind == "add" else y - operand
    if end == "mean":
        features, y = last, tf.reduce_mean(tf.reduce_mean(y, 2), 1)
    else:
        features, y = np.moveaxis(last.reshape(CLASSES, *shape), 1, -1).reshape(CLASSES, -1), L.Flatten()(y)
    dense = L.Dense(CLASSES, use_bias=False)
    y = dense(y)
    dense.set_weights([features.T])
    ends: Any = {"softmax": L.Softmax(), "log softmax": tf.nn.log_softmax, "sigmoid": L.Activation("sigmoid"),
                 "argmax": lambda y: tf.argmax(y, -1)}  # fmt: skip
    return keras.Model(x, ends[end](y) if end in ends else y)


class Indices(list[int]):
    """A constant of integers."""


def onnx_model(taken: Any, made: Any, last: Any, end: str) -> Any:
    nodes, constants = [], []  # type: ignore[var-annotated]
    custom = "qonnx.custom_op.general"

    def node(kind: Any, x: Any, *operands: Any, domain: str = "", results: int = 1, **attributes: Any) -> Any:
        names = []
        for operand in operands:
            if isinstance(operand, str):
                names.append(operand)
                continue
            kind_of = np.int64 if isinstance(operand, Indices) else np.float32
            constants.append(numpy_helper.from_array(np.asarray(operand, kind_of), f"c{len(constants)}"))
            names.append(constants[-1].name)
        made = [f"n{len(nodes)}", *(f"n{len(nodes)}.{more}" for more in range(1, results))]
        nodes.append(helper.make_node(kind, [x, *names], made, domain=domain, **attributes))
        return made[0] if results == 1 else made

    x = "x"
    for block in made:
        operand = x
        bias = [] if block.bias is None else [block.bias]
        axes, side = block.weight.ndim, block.padding
        if axes == 2:
            x = node("Gemm", x, block.weight, *bias, transB=1)
        else:
            if block.padded_with:
                x, side = node("Pad", x, Indices([0, 0, side, side, 0, 0, side, side]), block.padded_with), 0
            options = {"strides": [block.stride] * 2, "dilations": [block.dilation] * 2, "group": block.groups}
            x = node("Conv", x, block.weight, *bias, pads=[side] * 4, **options)
        for at in range(3):
            if at == 1:
                step: Any = {"relu": ("Relu",), "leaky relu": ("LeakyRelu",), "clip": ("Clip", -2.0, 3.0),
                             "negative": ("Neg",)}.get(block.before or "")  # fmt: skip
                if step:
                    more: dict[str, Any] = {"alpha": 0.25} if block.before == "leaky relu" else {}
                    x = node(step[0], x, *step[1:], **more)
                x = node("BatchNormalization", x, *block.norm, epsilon=0.0)
            elif at == 2 and block.activation == "ternary":
                up, down = (node("Sign", node("Add", x, by)) for by in (0.5, -0.5))
                x = node("Sign", node("Add", up, down))
            elif at == 2 and block.activation == "levels":
                x = node("Quant", x, 1.0, 0.0, 2.0, domain=custom, signed=0, narrow=0, rounding_mode="ROUND")
            elif at == 2:
                x = node("BipolarQuant", x, 1.0, domain=custom)
            if block.pool and block.pool_at == at:
                size, stride, padding = block.pool
                x = node("MaxPool", x, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[padding] * 4)
        channels = len(block.weight)
        match block.behind:
            case "twice":
                x = node("Concat", x, x, axis=1)
            case "add" | "subtract":
                x = node({"add": "Add", "subtract": "Sub"}[block.behind], x, operand)
            case "zeros":
                x = node("Pad", x, Indices([0, 1, *[0] * (axes - 2), 0, 2, *[0] * (axes - 2)]))
            case "every other":
                x = node("Slice", x, *(Indices(of) for of in ([0, 1], [99, 99], [2, 3], [2, 2])))
            case "average":
                x = node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            case "enlarged":
                x = node("Resize", x, "", [1.0, 1.0, 2.0, 2.0], mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric")  # fmt: skip
            case "halves swapped":
                sizes = Indices([channels // 2, channels - channels // 2])
                if channels > 1:
                    first, second = node("Split", x, sizes, axis=1, results=2)
                    x = node("Concat", second, first, axis=1)
            case "cropped":
                x = node("Slice", x, *(Indices([of]) for of in (1, 99, 2)))
            case "transposed":
                x = node("BipolarQuant", node("ConvTranspose", x, block.grown, strides=[2, 2]), 1.0, domain=custom)
    if end == "mean":
        x = node("ReduceMean", node("ReduceMean", x, axes=[3], keepdims=0), axes=[2], keepdims=0)
    else:
        x = node("Flatten", x)
    x = node("MatMul", x, last.T)
    tail = {"softmax": "Softmax", "log softmax": "LogSoftmax", "sigmoid": "Sigmoid", "argmax": "ArgMax"}.get(end)
    if tail:
        axis: dict[str, Any] = {"axis": 1} if end != "sigmoid" else {}
        x = node(tail, x, **axis)
    shape = [1, taken.shape[-1], *taken.shape[:-1]]
    result = TensorProto.INT64 if end == "argmax" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(x, result, None)],
        constants,
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(custom, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@given(blocks())
@settings(max_examples=5)
def test_three_front_ends_make_one_network(tmp_path_factory: pytest.TempPathFactory, drawn: Any) -> None:
    taken, made, last, shape, end = drawn
    folder = tmp_path_factory.mktemp("drawn")
    module, model = Module(made, last, end), keras_model(taken, made, last, shape, end)
    onnx.save(onnx_model(taken, made, last, end), path := folder / "drawn.onnx")
    loaded = qonnx_file.load(path)
    conversions = {
        "torch": of_torch.trace(module, "n", taken),
        "keras": of_keras.trace(model, "n", taken),
        "onnx": of_onnx.trace(loaded, "n", lambda shape: taken),
    }
    first, *others = (canonicalise(conversion.network) for conversion in conversions.values())
    assert all(not conversion.ambiguous for conversion in conversions.values())
    assert all(other.digest == first.digest for other in others), (first, *others)
    inputs = strategies.inputs_for(first, VECTORS)
    expected = oracle.run(first, inputs)
    for engine in (
        PyTorch(conversions["torch"]),  # type: ignore[arg-type]
        Keras(model, conversions["keras"]),
        QonnxSource(loaded, conversions["onnx"]),  # type: ignore[arg-type]
    ):
        engine.prepare(first, folder)
        got = engine.run(inputs, every_layer=True)
        assert len(got) > 1 and "argmax" in got
        for name, result in got.items():
            assert np.array_equal(result, expected[name]), (engine.name, name)
