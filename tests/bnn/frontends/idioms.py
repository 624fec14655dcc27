"""One idiom at a time in every front end that can express it, and the table of what comes of each.

`python -m tests.bnn.frontends.idioms` writes the table into the manual.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests import oracle
from tests.bnn.frontends import keras_models, torch_modules
from tests.bnn.frontends.brevitas_modules import Weight, norm, sign
from tests.bnn.frontends.keras_models import keras, lq, qkeras
from tests.bnn.frontends.onnx_graph import Graph
from tests.strategies import inputs_for
from torch import nn
from torch.nn import functional as F

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import brevitas, qonnx, qonnx_file
from xnorflow.bnn.frontends.core.value import Conversion
from xnorflow.bnn.network import Affine, Input
from xnorflow.cosim.qonnx_source import QonnxSource

L = keras.layers
MANUAL = Path(__file__).parents[3] / "docs" / "guide" / "idioms.md"
TAKEN = Input("x", (), (6, 6, 2), "signed", 4)
CHANNELS, CLASSES, SEED, VECTORS = 4, 3, 3, 60
BIAS = (0.5, -1.0, 2.0, 0.0)


@dataclass(frozen=True)
class Idiom:
    """One way to write something, in the three languages; None where a language has no words for it.

    Attributes
    ----------
    name : str
    at : str
        Where it stands: on the sums of a convolution, of shape (4, 4, 4), between their batch norm and sign, on the
        bits of that, or on the scores.
    torch, keras : callable or None
        Takes a tensor and returns one.
    onnx : callable or None
        Takes the graph in the making and appends nodes to it.
    """

    name: str
    at: str
    torch: Callable[[Any], Any] | None
    keras: Callable[[Any], Any] | None
    onnx: Callable[[Any], Any] | None


def _tf() -> Any:
    import tensorflow as tf

    return tf


def _kernel(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).choice([-1.0, 1.0], shape).astype(np.float32)


def _bits(x: Any) -> Any:
    return torch.where(x >= 0, 1.0, -1.0)


def _conv(outputs: int, inputs: int, size: int, **options: Any) -> Callable[[Any], Any]:
    """A convolution as an idiom, with a sign behind."""
    weight = torch.tensor(_kernel(outputs, inputs, size, size))
    return lambda x: _bits(F.conv2d(x, weight, **options))


def _keras_conv(kind: Any, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    def made(x: Any) -> Any:
        layer = kind(*arguments, use_bias=False, **options)
        x = layer(x)
        layer.set_weights([_kernel(*value.shape) for value in layer.get_weights()])
        return lq.quantizers.SteSign()(x)

    return made


def _graph_conv(outputs: int, inputs: int, size: int, **options: Any) -> Callable[[Any], Any]:
    return lambda g: (g.conv(outputs, inputs, size, size, **options), g.bipolar())


def _slice(*where: Any) -> tuple[Any, ...]:
    return tuple(np.array(of) for of in where)


def _halves(g: Any) -> Any:
    source = g.last
    first = g.node("Slice", *_slice([0], [2], [1]), source=source)
    second = g.node("Slice", *_slice([2], [4], [1]), source=source)
    g.node("Concat", first, source=second, axis=1)


def _branches(g: Any) -> Any:
    source = g.last
    pooled = g.node("MaxPool", source=source, kernel_shape=[2, 2], strides=[2, 2])
    g.node("Slice", *_slice([0, 0], [99, 99], [2, 3], [2, 2]), source=source)
    g.node("Add", pooled)
    g.bipolar()


def _resize(g: Any, rows: float, columns: float) -> Any:
    g.node("Resize", "", np.array([1, 1, rows, columns], np.float32), mode="nearest", nearest_mode="floor",
           coordinate_transformation_mode="asymmetric")  # fmt: skip


def _shuffled(g: Any) -> Any:
    g.node("Reshape", np.array([1, 2, 2, 4, 4]))
    g.node("Transpose", perm=[0, 2, 1, 3, 4])
    g.node("Reshape", np.array([1, 4, 4, 4]))


def _pad(g: Any, pads: list[int], value: float = 0.0) -> Any:
    g.node("Pad", np.array(pads), value)


def _prelu() -> Any:
    return L.PReLU(keras.initializers.Constant(SLOPES.reshape(1, 1, 4)), shared_axes=[1, 2])


SLOPES = np.array([0.25, 0.5, 2.0, 0.125], np.float32)
ON_SUMS, ON_NORM, ON_BITS, ON_SCORES = "sums", "batch norm", "bits", "scores"

IDIOMS = (
    Idiom("nothing", ON_SUMS, lambda x: x, lambda x: x, lambda g: None),
    Idiom("a bias, added apart", ON_SUMS, lambda x: x + torch.tensor(BIAS)[:, None, None],
          lambda x: x + np.array(BIAS, np.float32), lambda g: g.node("Add", np.array(BIAS).reshape(4, 1, 1))),
    Idiom("a bias, added in place", ON_SUMS, lambda x: x.add_(torch.tensor(BIAS)[:, None, None]), None, None),
    Idiom("ReLU", ON_SUMS, F.relu, lambda x: L.ReLU()(x), lambda g: g.node("Relu")),
    Idiom("LeakyReLU", ON_SUMS, lambda x: F.leaky_relu(x, 0.25), lambda x: L.LeakyReLU(0.25)(x),
          lambda g: g.node("LeakyRelu", alpha=0.25)),
    Idiom("PReLU, a slope per channel", ON_SUMS, lambda x: F.prelu(x, torch.tensor(SLOPES)), lambda x: _prelu()(x),
          lambda g: g.node("PRelu", SLOPES.reshape(4, 1, 1))),
    Idiom("Hardtanh, clip", ON_SUMS, lambda x: F.hardtanh(x, -2, 3), lambda x: _tf().clip_by_value(x, -2, 3),
          lambda g: g.node("Clip", -2.0, 3.0)),
    Idiom("ELU", ON_SUMS, F.elu, lambda x: L.ELU()(x), lambda g: g.node("Elu")),
    Idiom("SELU", ON_SUMS, F.selu, lambda x: L.Activation("selu")(x), lambda g: g.node("Selu")),
    Idiom("tanh", ON_SUMS, torch.tanh, lambda x: L.Activation("tanh")(x), lambda g: g.node("Tanh")),
    Idiom("sigmoid", ON_SUMS, torch.sigmoid, lambda x: L.Activation("sigmoid")(x), lambda g: g.node("Sigmoid")),
    Idiom("negation", ON_SUMS, lambda x: -x, lambda x: -x, lambda g: g.node("Neg")),
    Idiom("a peak at 0, which is not monotonic", ON_SUMS, lambda x: 16 - torch.abs(x), lambda x: -_tf().abs(x) + 16,
          lambda g: (g.node("Abs"), g.node("Neg"), g.node("Add", 16.0))),
    Idiom("maximum pool", ON_SUMS, lambda x: F.max_pool2d(x, 2), lambda x: L.MaxPooling2D()(x),
          lambda g: g.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])),
    Idiom("maximum pool, padded", ON_SUMS, lambda x: F.max_pool2d(x, 3, 2, 1),
          lambda x: L.MaxPooling2D(3, 2, "same")(x),
          lambda g: g.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    Idiom("maximum pool with ceil_mode", ON_SUMS, lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), None,
          lambda g: g.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
    Idiom("average pool", ON_SUMS, lambda x: F.avg_pool2d(x, 2), lambda x: L.AveragePooling2D()(x),
          lambda g: g.node("AveragePool", kernel_shape=[2, 2], strides=[2, 2])),
    Idiom("average pool between batch norm and sign", ON_NORM, lambda x: F.avg_pool2d(x, 2),
          lambda x: L.AveragePooling2D()(x), lambda g: g.node("AveragePool", kernel_shape=[2, 2], strides=[2, 2])),
    Idiom("dropout", ON_NORM, lambda x: F.dropout(x, 0.5, False), lambda x: L.Dropout(0.5)(x),
          lambda g: g.node("Dropout")),
    Idiom("maximum pool, padded, behind the sign", ON_BITS, lambda x: F.max_pool2d(x, 3, 2, 1),
          lambda x: L.MaxPooling2D(3, 2, "same")(x),
          lambda g: g.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    Idiom("maximum of the whole image", ON_BITS, lambda x: x.amax((2, 3)), lambda x: L.GlobalMaxPooling2D()(x),
          lambda g: g.node("GlobalMaxPool")),
    Idiom("mean of the whole image", ON_BITS, lambda x: x.mean((2, 3)), lambda x: L.GlobalAveragePooling2D()(x),
          lambda g: g.node("GlobalAveragePool")),
    Idiom("mean over rows alone", ON_BITS, lambda x: x.mean(2), lambda x: _tf().reduce_mean(x, 1),
          lambda g: g.node("ReduceMean", axes=[2], keepdims=0)),
    Idiom("mean over channels", ON_BITS, lambda x: x.mean(1), lambda x: _tf().reduce_mean(x, 3),
          lambda g: g.node("ReduceMean", axes=[1], keepdims=0)),
    Idiom("concatenation of halves, swapped", ON_BITS, lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
          lambda x: _tf().concat(_tf().split(x, 2, -1)[::-1], -1), _halves),
    Idiom("sum of two branches", ON_BITS, lambda x: _bits(F.max_pool2d(x, 2) + x[:, :, ::2, ::2]),
          lambda x: lq.quantizers.SteSign()(L.Add()([L.MaxPooling2D()(x), x[:, ::2, ::2]])), _branches),
    Idiom("channels shuffled", ON_BITS, lambda x: F.channel_shuffle(x, 2),
          lambda x: L.Reshape((4, 4, 4))(_tf().transpose(L.Reshape((4, 4, 2, 2))(x), [0, 1, 2, 4, 3])), _shuffled),
    Idiom("channels to pixels (PixelShuffle)", ON_BITS, lambda x: F.pixel_shuffle(x, 2),
          lambda x: _tf().nn.depth_to_space(x, 2), lambda g: g.node("DepthToSpace", blocksize=2, mode="CRD")),
    Idiom("channels to pixels, then a convolution", ON_BITS, lambda x: _conv(3, 1, 3)(F.pixel_shuffle(x, 2)),
          lambda x: _keras_conv(L.Conv2D, 3, 3)(_tf().nn.depth_to_space(x, 2)),
          lambda g: (g.node("DepthToSpace", blocksize=2, mode="CRD"), _graph_conv(3, 1, 3)(g))),
    Idiom("pixels to channels", ON_BITS, lambda x: F.pixel_unshuffle(x, 2), lambda x: _tf().nn.space_to_depth(x, 2),
          lambda g: g.node("SpaceToDepth", blocksize=2)),
    Idiom("nearest neighbours, twice as large", ON_BITS, lambda x: F.interpolate(x, scale_factor=2),
          lambda x: L.UpSampling2D()(x), lambda g: _resize(g, 2.0, 2.0)),
    Idiom("nearest neighbours, then a convolution", ON_BITS, lambda x: _conv(3, 4, 3)(F.interpolate(x, scale_factor=2)),
          lambda x: _keras_conv(L.Conv2D, 3, 3)(L.UpSampling2D()(x)),
          lambda g: (_resize(g, 2.0, 2.0), _graph_conv(3, 4, 3)(g))),
    Idiom("cropped, enlarged, then a convolution", ON_BITS,
          lambda x: _conv(3, 4, 3)(F.interpolate(x[:, :, 1:, :3], scale_factor=2)),
          lambda x: _keras_conv(L.Conv2D, 3, 3)(L.UpSampling2D()(L.Cropping2D(((1, 0), (0, 1)))(x))),
          lambda g: (g.node("Slice", *_slice([1, 0], [99, 3], [2, 3])), _resize(g, 2.0, 2.0), _graph_conv(3, 4, 3)(g))),
    Idiom("resized to half, nearest", ON_BITS, lambda x: F.interpolate(x, scale_factor=0.5),
          lambda x: L.Resizing(2, 2, interpolation="nearest")(x), lambda g: _resize(g, 0.5, 0.5)),
    Idiom("resized by 1.5, nearest", ON_BITS, lambda x: F.interpolate(x, size=(6, 6)),
          lambda x: L.Resizing(6, 6, interpolation="nearest")(x), lambda g: _resize(g, 1.5, 1.5)),
    Idiom("bilinear resizing", ON_BITS, lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
          lambda x: L.UpSampling2D(interpolation="bilinear")(x),
          lambda g: g.node("Resize", "", np.array([1, 1, 2, 2], np.float32), mode="linear")),
    Idiom("rows cut away", ON_BITS, lambda x: F.pad(x, (0, 0, -1, 0)), lambda x: L.Cropping2D(((1, 0), (0, 0)))(x),
          lambda g: g.node("Slice", *_slice([1], [99], [2]))),
    Idiom("every other pixel", ON_BITS, lambda x: x[:, :, ::2, 1::2], lambda x: x[:, ::2, 1::2],
          lambda g: g.node("Slice", *_slice([0, 1], [99, 99], [2, 3], [2, 2]))),
    Idiom("channels of 0 beside", ON_BITS, lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)),
          lambda x: _tf().pad(x, [[0, 0], [0, 0], [0, 0], [1, 2]]), lambda g: _pad(g, [0, 1, 0, 0, 0, 2, 0, 0])),
    Idiom("convolution padded with 0", ON_BITS, _conv(3, 4, 3, padding=1), _keras_conv(L.Conv2D, 3, 3, padding="same"),
          _graph_conv(3, 4, 3, pads=[1, 1, 1, 1])),
    *(Idiom(f"convolution padded with {value}", ON_BITS,
            lambda x, value=value: _conv(3, 4, 3)(F.pad(x, (1, 1, 1, 1), value=value)),  # type: ignore[misc]
            lambda x, value=value: _keras_conv(L.Conv2D, 3, 3)(  # type: ignore[misc]
                _tf().pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=float(value))),
            lambda g, value=value: (_pad(g, [0, 0, 1, 1, 0, 0, 1, 1], float(value)),  # type: ignore[misc]
                                    _graph_conv(3, 4, 3)(g))) for value in (-1, 1)),
    Idiom("depthwise convolution", ON_BITS, _conv(4, 1, 3, groups=4), _keras_conv(L.DepthwiseConv2D, 3),
          _graph_conv(4, 1, 3, group=4)),
    Idiom("grouped convolution", ON_BITS, _conv(6, 2, 3, groups=2), None, _graph_conv(6, 2, 3, group=2)),
    Idiom("dilated convolution", ON_BITS, _conv(3, 4, 2, dilation=2), _keras_conv(L.Conv2D, 3, 2, dilation_rate=2),
          _graph_conv(3, 4, 2, dilations=[2, 2])),
    Idiom("transposed convolution", ON_BITS,
          lambda x: _bits(F.conv_transpose2d(x, torch.tensor(_kernel(4, 3, 3, 3)), stride=2)),
          _keras_conv(L.Conv2DTranspose, 3, 3, 2),
          lambda g: (g.node("ConvTranspose", _kernel(4, 3, 3, 3), strides=[2, 2]), g.bipolar())),
    Idiom("rows and columns exchanged", ON_BITS, lambda x: x.transpose(2, 3), lambda x: L.Permute((2, 1, 3))(x),
          lambda g: g.node("Transpose", perm=[0, 1, 3, 2])),
    Idiom("softmax", ON_SCORES, lambda x: F.softmax(x, 1), lambda x: L.Softmax()(x),
          lambda g: g.node("Softmax", axis=1)),
    Idiom("log softmax", ON_SCORES, lambda x: F.log_softmax(x, 1), lambda x: _tf().nn.log_softmax(x),
          lambda g: g.node("LogSoftmax", axis=1)),
    Idiom("sigmoid of the scores", ON_SCORES, torch.sigmoid, lambda x: L.Activation("sigmoid")(x),
          lambda g: g.node("Sigmoid")),
    Idiom("scores with a temperature and a bias", ON_SCORES, lambda x: x * 0.125 + torch.tensor([0.5, -1.0, 0.25]),
          lambda x: x * 0.125 + np.array([0.5, -1.0, 0.25], np.float32),
          lambda g: (g.node("Mul", 0.125), g.node("Add", np.array([0.5, -1.0, 0.25])))),
)  # fmt: skip


class Module(nn.Module):
    """Convolution, batch norm, sign and scores in PyTorch, or in Brevitas, with an idiom somewhere."""

    def __init__(self, idiom: Idiom, quantised: bool) -> None:
        super().__init__()
        torch.manual_seed(SEED)
        self.idiom, self.quantised = idiom, quantised
        if quantised:
            from brevitas import nn as layers

            self.conv: Any = layers.QuantConv2d(2, CHANNELS, 3, bias=False, weight_quant=Weight)
            self.norm, self.sign = norm(nn.BatchNorm2d, CHANNELS, np.random.default_rng(SEED)), sign()
        else:
            self.conv, self.norm, self.sign = nn.Conv2d(2, CHANNELS, 3, bias=False), nn.BatchNorm2d(CHANNELS), _bits
            nn.init.constant_(self.conv.weight, 1).data[1::2].neg_()
        features = self.eval()._features(torch.zeros(1, *TAKEN.shape[-1:], *TAKEN.shape[:-1])).shape[1]
        self.last = nn.Parameter(torch.ones(CLASSES, features))
        self.last.data.copy_(torch.tensor(_kernel(*self.last.shape)))

    def _at(self, at: str, x: Any) -> Any:
        return self.idiom.torch(x) if self.idiom.at == at and self.idiom.torch else x

    def _features(self, x: Any) -> Any:
        x = self._at(ON_NORM, self.norm(self._at(ON_SUMS, self.conv(x))))
        return self._at(ON_BITS, self.sign(x)).flatten(1)

    def forward(self, x: Any) -> Any:
        return self._at(ON_SCORES, F.linear(self._features(x), self.last))


def _keras_model(idiom: Idiom, conv: Any, activation: Any) -> Any:
    def at(place: str, x: Any) -> Any:
        return idiom.keras(x) if idiom.at == place and idiom.keras else x

    x = y = keras.Input(TAKEN.shape)
    first, batch_norm = conv(), L.BatchNormalization()
    y = at(ON_NORM, batch_norm(at(ON_SUMS, first(y))))
    y = at(ON_BITS, activation(y))
    dense = L.Dense(CLASSES, use_bias=False)
    y = dense(L.Flatten()(y))
    model = keras.Model(x, at(ON_SCORES, y))
    keras_models.hostile(_Only((first, batch_norm)), SEED)
    dense.set_weights([_kernel(*dense.get_weights()[0].shape)])
    return model


@dataclass
class _Only:
    """Some layers of a model, whose parameters become hostile."""

    layers: tuple[Any, ...]


def _equal(model: Any, conversion: Any) -> Conversion:
    """Hold every layer that an ONNX file computes against the oracle; what differs is within its own rounding."""
    network = canonicalise(conversion.network)
    inputs = inputs_for(network, VECTORS, SEED)
    engine, want = QonnxSource(model, conversion), oracle.run(network, inputs)
    with tempfile.TemporaryDirectory() as folder:
        engine.prepare(network, Path(folder))
        got = engine.run(inputs, every_layer=True)
    assert len(got) > 1
    assert network.output.name in got or isinstance(network.output, Affine)
    for name, result in got.items():
        assert np.array_equal(result, want[name]), name
    return conversion  # type: ignore[no-any-return]


def _torch(idiom: Idiom) -> Conversion:
    return torch_modules.agree(torch_modules.hostile(Module(idiom, False), SEED), TAKEN, SEED, VECTORS)


def _brevitas(idiom: Idiom) -> Conversion:
    model = brevitas.export(Module(idiom, True), TAKEN, "net")
    return _equal(model, qonnx.trace(model, "net", lambda shape: TAKEN))


def _larq(idiom: Idiom) -> Conversion:
    model = _keras_model(idiom, lambda: lq.layers.QuantConv2D(CHANNELS, 3, kernel_quantizer="ste_sign", use_bias=False),
                         lq.quantizers.SteSign())  # fmt: skip
    return keras_models.agree(model, TAKEN, SEED, VECTORS, ambiguous=True)


def _qkeras(idiom: Idiom) -> Conversion:
    binary = "binary(alpha=1)"
    model = _keras_model(idiom, lambda: qkeras.QConv2D(CHANNELS, 3, kernel_quantizer=binary, use_bias=False),
                         qkeras.QActivation(binary))  # fmt: skip
    return keras_models.agree(keras_models.tame(model), TAKEN, SEED, VECTORS, ambiguous=True)


def _onnx(idiom: Idiom) -> Conversion:
    def at(place: str) -> None:
        if idiom.at == place and idiom.onnx:
            idiom.onnx(graph)

    graph = Graph((2, 6, 6), SEED)
    graph.conv(CHANNELS, 2, 3, 3)
    at(ON_SUMS)
    graph.norm(CHANNELS)
    at(ON_NORM)
    graph.bipolar()
    at(ON_BITS)
    graph.node("Flatten")
    graph.dense(Module(idiom, False).last.shape[1])
    at(ON_SCORES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "idiom.onnx"
        path.write_bytes(graph.model().SerializeToString())
        model = qonnx_file.load(path)
        return _equal(model, qonnx.trace(model, "idiom", lambda shape: TAKEN))


FRONT_ENDS: dict[str, tuple[str, Callable[[Idiom], Conversion]]] = {
    "PyTorch": ("torch", _torch),
    "Brevitas": ("torch", _brevitas),
    "Larq": ("keras", _larq),
    "QKeras": ("keras", _qkeras),
    "QONNX": ("onnx", _onnx),
}
"""By name: the language its idioms are written in, and the conversion and comparison of one."""


def cell(idiom: Idiom, front_end: str) -> str:
    """Convert an idiom in a front end and hold it against the framework; return what comes of it.

    Raises
    ------
    AssertionError
        If it is taken and not equal.
    """
    language, tried = FRONT_ENDS[front_end]
    if getattr(idiom, language) is None:
        return "-"
    try:
        conversion = tried(idiom)
    except UserError:
        return "refused"
    return "equal, rounds" if conversion.ambiguous else "equal"


def table() -> Iterator[str]:
    """Yield the lines of the table, as they come about."""
    yield "| idiom | on the | " + " | ".join(FRONT_ENDS) + " |"
    yield "| --- " * (2 + len(FRONT_ENDS)) + "|"
    for idiom in IDIOMS:
        yield f"| {idiom.name} | {idiom.at} | " + " | ".join(cell(idiom, name) for name in FRONT_ENDS) + " |"


if __name__ == "__main__":
    text, old = MANUAL.read_text(), [line for line in MANUAL.read_text().splitlines() if line.startswith("|")]
    MANUAL.write_text(text.replace("\n".join(old), "\n".join(table())))
