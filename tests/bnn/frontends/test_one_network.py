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


BEHIND = ("twice", "zeros", "every other", "add", "subtract")
"""What may come behind an activation: its channels beside themselves or beside constants, every other row and column, a
sum or a difference with what the layer of weights takes."""


@dataclass
class Block:
    """A layer of weights, batch norm, activation and perhaps a pool somewhere between them, and what comes behind.

    Its weights are (outputs, inputs, height, width), or (outputs, inputs) on vectors, all -1, 0 and +1.
    """

    weight: NDArray[Any]
    bias: NDArray[Any] | None
    norm: list[NDArray[Any]]  # gamma, beta, mean, variance: all exact in float32, and so are their products
    stride: int
    padding: int
    ternary: bool
    pool: tuple[int, int, int] | None  # size, stride, padding
    pool_at: int  # behind the weights, the batch norm or the activation
    behind: str | None  # one of BEHIND


@st.composite
def blocks(draw: st.DrawFn) -> Any:
    """A small network: the shape of an image (channels first) or vector, blocks, and the weights of the scores."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = draw(st.booleans())
    shape = (draw(st.integers(1, 3)), 6, 7) if image else (draw(st.integers(2, 70)),)
    start, made = shape, []  # type: ignore[var-annotated]
    for _ in range(draw(st.integers(1, 2))):
        outputs, size = draw(st.integers(1, 6)), draw(st.integers(1, 3))
        behind = draw(st.sampled_from([None, *BEHIND]))
        if behind in ("add", "subtract"):  # of one shape
            outputs, size = shape[0], 1
        weights = [-1, 1] if draw(st.booleans()) else [-1, 0, 1]
        weight = rng.choice(weights, (outputs, shape[0], size, size) if image else (outputs, shape[0]))
        norm = [rng.choice(values, outputs) for values in ([1, -1, 0.5, -2, 0], [0, 1, -0.5], [0, 1, -2, 0.5], [1, 4])]
        padding = draw(st.integers(0, 1)) if image and size > 1 and made and made[-1].ternary else 0
        alone = behind in ("add", "subtract")
        pool = draw(st.sampled_from([None, (2, 2, 0), (3, 1, 1)])) if image and not alone else None
        stride = draw(st.integers(1, 2)) if image and not alone else 1
        behind = None if behind == "every other" and not image else behind
        bias = rng.choice([0, 1, -0.5], outputs) if draw(st.booleans()) else None
        block = Block(weight, bias, norm, stride, padding, draw(st.booleans()), pool, draw(st.integers(0, 2)), behind)
        extents = [(length + 2 * padding - size) // block.stride + 1 for length in shape[1:]]
        if pool:
            extents = [(length + 2 * pool[2] - pool[0]) // pool[1] + 1 for length in extents]
        if behind == "every other":
            extents = [-(-extents[0] // 2), extents[1] // 2]
        if image and min(extents) < 1:
            break
        outputs = {"twice": 2 * outputs, "zeros": outputs + 3}.get(behind or "", outputs)
        shape = (outputs, *extents)  # type: ignore[assignment]
        made.append(block)
    last = rng.choice([-1, 1], (CLASSES, int(np.prod(shape))))  # of features with the channels first
    taken = (*start[1:], start[0])
    kind = draw(st.sampled_from([("bipolar", 1), ("unsigned", 4), ("signed", 5)]))
    return Input("x", (), taken, *kind), made, last, shape  # type: ignore[arg-type]


class Module(nn.Module):
    def __init__(self, made: Any, last: Any) -> None:
        super().__init__()
        self.made, self.last = made, nn.Parameter(torch.tensor(last, dtype=torch.float32))
        for number, block in enumerate(made):
            for name, value in zip(("weight", "bias", "gamma", "beta", "mean", "variance"),
                                   (block.weight, block.bias, *block.norm)):  # fmt: skip
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
            else:
                x = F.conv2d(x, weight, bias, block.stride, block.padding)
            for at in range(3):
                if at == 1:
                    x = F.batch_norm(x, mean, variance, gamma, beta, eps=0.0)
                elif at == 2 and block.ternary:
                    x = torch.sign(torch.sign(x + 0.5) + torch.sign(x - 0.5))
                elif at == 2:
                    x = torch.where(x >= 0, 1.0, -1.0)
                if block.pool and block.pool_at == at:
                    x = F.max_pool2d(x, *block.pool)
            if block.behind == "twice":
                x = torch.cat([x, x], 1)
            elif block.behind == "zeros":
                x = F.pad(x, (0, 0) * (x.ndim - 2) + (1, 2))
            elif block.behind == "every other":
                x = x[:, :, ::2, 1::2]
            elif block.behind:
                x = x + taken if block.behind == "add" else x - taken
        return x.flatten(1) @ self.last.t()


def keras_model(taken: Any, made: Any, last: Any, shape: Any) -> Any:
    import tensorflow as tf

    x = y = keras.Input(taken.shape)
    for block in made:
        operand = y
        options = {"use_bias": block.bias is not None}
        if block.padding:
            y = L.ZeroPadding2D(block.padding)(y)
        if block.weight.ndim == 2:
            layer = lq.layers.QuantDense(len(block.weight), **options)
        else:
            layer = L.Conv2D(len(block.weight), block.weight.shape[2], strides=block.stride, **options)
        y = layer(y)
        layer.set_weights([block.weight.T if block.weight.ndim == 2 else block.weight.transpose(2, 3, 1, 0),
                           *([] if block.bias is None else [block.bias])])  # fmt: skip
        for at in range(3):
            if at == 1:
                norm = L.BatchNormalization(epsilon=0.0)
                y = norm(y)
                norm.set_weights(block.norm)
            elif at == 2:
                y = (lq.quantizers.SteTern(threshold_value=0.5) if block.ternary else lq.quantizers.SteSign())(y)
            if block.pool and block.pool_at == at:
                y = L.MaxPooling2D(*block.pool[:2], "same" if block.pool[2] else "valid")(y)
        if block.behind == "twice":
            y = L.Concatenate()([y, y])
        elif block.behind == "zeros":
            y = tf.pad(y, [*[[0, 0]] * (len(y.shape) - 1), [1, 2]])
        elif block.behind == "every other":
            y = y[:, ::2, 1::2]
        elif block.behind:
            y = y + operand if block.behind == "add" else y - operand
    features = np.moveaxis(last.reshape(CLASSES, *shape), 1, -1).reshape(CLASSES, -1)
    dense = L.Dense(CLASSES, use_bias=False)
    y = dense(L.Flatten()(y))
    dense.set_weights([features.T])
    return keras.Model(x, y)


class Indices(list[int]):
    """A constant of integers."""


def onnx_model(taken: Any, made: Any, last: Any) -> Any:
    nodes, constants = [], []  # type: ignore[var-annotated]

    def node(kind: Any, x: Any, *operands: Any, domain: str = "", **attributes: Any) -> Any:
        names = []
        for operand in operands:
            kind_of = np.int64 if isinstance(operand, Indices) else np.float32
            constants.append(numpy_helper.from_array(np.asarray(operand, kind_of), f"c{len(constants)}"))
            names.append(constants[-1].name)
        nodes.append(helper.make_node(kind, [x, *names], [f"n{len(nodes)}"], domain=domain, **attributes))
        return nodes[-1].output[0]

    x = "x"
    for block in made:
        operand = x
        bias = [] if block.bias is None else [block.bias]
        if block.weight.ndim == 2:
            x = node("Gemm", x, block.weight, *bias, transB=1)
        else:
            x = node("Conv", x, block.weight, *bias, strides=[block.stride] * 2, pads=[block.padding] * 4)
        for at in range(3):
            if at == 1:
                x = node("BatchNormalization", x, *block.norm, epsilon=0.0)
            elif at == 2 and block.ternary:
                up, down = (node("Sign", node("Add", x, by)) for by in (0.5, -0.5))
                nodes.append(helper.make_node("Add", [up, down], [f"n{len(nodes)}"]))
                x = node("Sign", nodes[-1].output[0])
            elif at == 2:
                x = node("BipolarQuant", x, 1.0, domain="qonnx.custom_op.general")
            if block.pool and block.pool_at == at:
                size, stride, padding = block.pool
                x = node("MaxPool", x, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[padding] * 4)
        if block.behind in ("twice", "add", "subtract"):
            kind, other = {"twice": ("Concat", x), "add": ("Add", operand), "subtract": ("Sub", operand)}[block.behind]
            more: dict[str, Any] = {"axis": 1} if kind == "Concat" else {}
            nodes.append(helper.make_node(kind, [x, other], [f"n{len(nodes)}"], **more))
            x = nodes[-1].output[0]
        elif block.behind == "zeros":
            axes = block.weight.ndim
            x = node("Pad", x, Indices([0, 1, *[0] * (axes - 2), 0, 2, *[0] * (axes - 2)]))
        elif block.behind == "every other":
            x = node("Slice", x, *(Indices(of) for of in ([0, 1], [99, 99], [2, 3], [2, 2])))
    x = node("MatMul", node("Flatten", x), last.T)
    shape = [1, taken.shape[-1], *taken.shape[:-1]]
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, CLASSES])],
        constants,
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@given(blocks())
@settings(max_examples=5)
def test_three_front_ends_make_one_network(tmp_path_factory: pytest.TempPathFactory, drawn: Any) -> None:
    taken, made, last, shape = drawn
    folder = tmp_path_factory.mktemp("drawn")
    module, model = Module(made, last), keras_model(taken, made, last, shape)
    onnx.save(onnx_model(taken, made, last), path := folder / "drawn.onnx")
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
