"""Any Network as a QONNX model: standard ONNX operators between quantisers of ``qonnx.custom_op.general``.

What each operation becomes, in float32 and channels first, as Brevitas exports models:

- Input: ``BipolarQuant``, or ``Quant`` with scale ``2**-fraction`` and then a product that makes it integer;
- Dense, Conv2d: ``MatMul`` and ``Conv`` with weights behind a ``BipolarQuant`` (a ``Quant`` of 2 bits if some are 0,
  and of as many as the largest needs if it is above 1);
- Threshold: subtract the integer threshold, then ``BipolarQuant``, which is +1 from 0 on; several of them are a
  ``MultiThreshold``. A product with the direction stands before it where some point down;
- SumPool2d: a depthwise ``Conv`` with weights of 1, for the mean of an ``AveragePool`` would be rounded. Add: ``Add``;
- Recurrent: the loop unrolled, for a quantiser in the body of a ``Scan`` is unknown to the tools that read QONNX;
- Flatten: a transposition to channels last, then ``Flatten``;
- Affine: integers of 64 bits; its ``fraction`` is in the model's metadata. Argmax: ``TopK``, which takes the lowest
  index on a tie.

The result of every operation is the tensor of its name; what else there is has a dot in its name.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from xnorflow.bnn.network import (
    Add,
    Affine,
    Argmax,
    Conv2d,
    Dense,
    DepthToSpace,
    Flatten,
    Input,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    Recurrent,
    SumPool2d,
    Threshold,
    Weights,
    refusal,
    weight_bits,
)

INPUT = "input.real"
"""Name of the graph's input: float32, shape (1, channels, ...), of values ``integer / 2**fraction``."""

DOMAIN = "qonnx.custom_op.general"

_OPSET = 13
_IR_VERSION = 8


def write(network: Network, path: Path) -> None:
    """Write `network` as a QONNX file."""
    path.write_bytes(to_qonnx(network).SerializeToString(deterministic=True))


def to_qonnx(network: Network) -> onnx.ModelProto:
    """Return `network` as a QONNX model for one vector at a time.

    It equals the Network as long as float32 holds every sum, see :func:`largest_sum`.
    """
    builder = _GraphBuilder(network)
    for operation in network.operations:
        if type(operation) not in _WRITE:
            raise refusal(operation, "the QONNX export")
        _WRITE[type(operation)](builder, operation)
    last = network.output
    graph = helper.make_graph(
        builder.nodes,
        network.name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, builder.shape(network.input.name))],
        [helper.make_tensor_value_info(last.name, builder.element(last), builder.shape(last.name))],
        builder.initialisers,
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="xnorflow")
    fractions = [operation.fraction for operation in network.operations if isinstance(operation, Affine)]
    if fractions:
        helper.set_model_props(model, {"fraction": str(fractions[0])})
    return model


def unsupported(network: Network) -> str | None:
    """Name the first operation that has no QONNX model; None if there is none."""
    for operation in network.operations:
        if type(operation) not in _WRITE:
            return f"layer {operation.name}: the QONNX export has no {type(operation).__name__}"
        for source in operation.inputs:
            if isinstance(network[source], Affine) and not isinstance(operation, Argmax):
                return f"layer {operation.name}: the QONNX export has an Affine only at the end, for the scores"
    return None


def largest_sum(network: Network) -> int:
    """Return the largest sum of magnitudes that an operation adds up, in whatever order."""
    largest = 0
    for operation in network.operations:
        operands = [network.signals[source] for source in operation.inputs]
        magnitudes = [np.maximum(np.abs(x.low), np.abs(x.high)) for x in operands]
        match operation:
            case Add():
                shifted = [of << shift for of, shift in zip(magnitudes, operation.shifts, strict=True)]
                largest = max(largest, int(np.sum(shifted, axis=0).max()))
            case SumPool2d():
                largest = max(largest, operation.size[0] * operation.size[1] * int(magnitudes[0].max()))
            case Dense() | Conv2d():
                (x,), (magnitude,) = operands, magnitudes
                weight = np.abs(operation.weight.astype(np.int64)).reshape(-1, x.channels)
                sums = (weight @ magnitude).reshape(len(operation.weight), -1).sum(axis=1)
                largest = max(largest, int(sums.max()))
            case Recurrent():
                (x,), (magnitude,) = operands, magnitudes
                reach = np.abs(operation.weight).sum(axis=1, dtype=np.int64) << operation.shift
                largest = max(largest, int((magnitude + reach).max()))
            case Input() | MaxPool2d() | Threshold() | MultiThreshold() | Flatten() | DepthToSpace():
                pass
            case Affine() | Argmax():
                pass  # of integers of 64 bits
            case _:
                raise refusal(operation, "the QONNX export")
    return largest


class _GraphBuilder:
    """Collects nodes and initialisers."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an operation's tensor, channels first."""
        shape = self.network.signals[name].shape
        return (1, shape[-1], *shape[:-1])

    def element(self, operation: Operation) -> int:
        """Type of the values of an operation's tensor."""
        return int(TensorProto.INT64 if isinstance(operation, Affine | Argmax) else TensorProto.FLOAT)

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        self.initialisers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str | list[str], domain: str = "", **attributes: Any) -> None:
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(kind, inputs, outputs, outputs[-1], domain=domain, **attributes))

    def bipolar(self, source: str, output: str) -> None:
        self.node("BipolarQuant", [source, self.constant(f"{output}.scale", 1)], output, DOMAIN)

    def quant(self, source: str, output: str, scale: float, bits: int, signed: bool, narrow: bool) -> None:
        parameters = [self.constant(f"{output}.scale", scale), self.constant(f"{output}.zero_point", 0)]
        inputs = [source, *parameters, self.constant(f"{output}.bits", bits)]
        self.node(
            "Quant", inputs, output, DOMAIN, signed=int(signed), narrow=int(narrow), rounding_mode="ROUND"
        )  # fmt: skip

    def weight(self, name: str, values: Weights) -> str:
        source, output, bits = self.constant(f"{name}.weight", values), f"{name}.weight_quant", weight_bits(values)
        if bits == 1:
            self.bipolar(source, output)
        else:
            self.quant(source, output, 1, bits=bits, signed=True, narrow=True)
        return output

    def by_channel(self, name: str, operand: str, value: NDArray[np.int64], dtype: Any = np.float32) -> str:
        """Add a constant with one value for each channel of the tensor `operand`."""
        return self.constant(name, value.reshape(-1, *[1] * (len(self.shape(operand)) - 2)), dtype)


def _input(builder: _GraphBuilder, operation: Input) -> None:
    if operation.kind == "bipolar":
        builder.bipolar(INPUT, operation.name)
        return
    quantised = f"{operation.name}.fixed" if operation.fraction else operation.name
    signed = operation.kind == "signed"
    builder.quant(INPUT, quantised, 2.0**-operation.fraction, operation.bits, signed, narrow=False)
    if operation.fraction:
        unit = builder.constant(f"{operation.name}.unit", 2.0**operation.fraction)
        builder.node("Mul", [quantised, unit], operation.name)


def _dense(builder: _GraphBuilder, operation: Dense) -> None:
    weight = builder.weight(operation.name, operation.weight.T)
    builder.node("MatMul", [operation.inputs[0], weight], operation.name)


def _conv2d(builder: _GraphBuilder, operation: Conv2d) -> None:
    weight = builder.weight(operation.name, operation.weight.transpose(0, 3, 1, 2))
    top, bottom, left, right = operation.padding
    source, pads = operation.inputs[0], [top, left, bottom, right]
    if any(pads) and operation.pad_value:
        around = builder.constant(f"{operation.name}.pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
        value = builder.constant(f"{operation.name}.pad_value", operation.pad_value)
        builder.node("Pad", [source, around, value], f"{operation.name}.padded")
        source, pads = f"{operation.name}.padded", [0, 0, 0, 0]
    kernel = list(operation.weight.shape[1:3])
    strides = list(operation.stride)
    builder.node("Conv", [source, weight], operation.name, kernel_shape=kernel, strides=strides, pads=pads)


def _max_pool2d(builder: _GraphBuilder, operation: MaxPool2d) -> None:
    size, strides = list(operation.size), list(operation.stride)
    top, bottom, left, right = operation.padding
    pads = [top, left, bottom, right]
    builder.node("MaxPool", [operation.inputs[0]], operation.name, kernel_shape=size, strides=strides, pads=pads)


def _sum_pool2d(builder: _GraphBuilder, operation: SumPool2d) -> None:
    channels = builder.network.signals[operation.name].channels
    size, strides = list(operation.size), list(operation.stride)
    weight = builder.weight(operation.name, np.ones((channels, 1, *size), np.int8))
    builder.node("Conv", [operation.inputs[0], weight], operation.name, group=channels, kernel_shape=size,
                 strides=strides)  # fmt: skip


def _add(builder: _GraphBuilder, operation: Add) -> None:
    terms = []
    for source, shift in zip(operation.inputs, operation.shifts, strict=True):
        terms.append(f"{operation.name}.{source}" if shift else source)
        if shift:
            factor = builder.constant(f"{operation.name}.factor_of_{source}", 1 << shift)
            builder.node("Mul", [source, factor], terms[-1])
    total, *rest = terms
    for count, source in enumerate(rest, 2):
        output = operation.name if count == len(operation.inputs) else f"{operation.name}.of_{count}"
        builder.node("Add", [total, source], output)
        total = output


def _turned(builder: _GraphBuilder, operation: Threshold | MultiThreshold) -> str:
    """Return the operand, negated where the thresholds point down."""
    source, direction = operation.inputs[0], operation.direction.astype(np.int64)
    if (direction > 0).all():
        return source
    turn = builder.by_channel(f"{operation.name}.direction", source, direction)
    builder.node("Mul", [source, turn], f"{operation.name}.turned")
    return f"{operation.name}.turned"


def _multi_threshold(builder: _GraphBuilder, operation: MultiThreshold) -> None:
    source, signal = _turned(builder, operation), builder.network.signals[operation.name]
    levels = np.sort(operation.threshold * operation.direction[:, None].astype(np.int64), axis=1)
    threshold = builder.constant(f"{operation.name}.threshold", levels)
    attributes: dict[str, object] = {
        "out_dtype": f"{'INT' if signal.signed else 'UINT'}{signal.bits}",
        "out_scale": float(operation.step),
        "out_bias": float(operation.low),
        "data_layout": "NC" if len(signal.shape) == 1 else "NCHW",
    }
    builder.node("MultiThreshold", [source, threshold], operation.name, DOMAIN, **attributes)


def _threshold(builder: _GraphBuilder, operation: Threshold) -> None:
    source = _turned(builder, operation)
    threshold = operation.threshold * operation.direction
    level = builder.by_channel(f"{operation.name}.threshold", operation.inputs[0], threshold)
    builder.node("Sub", [source, level], f"{operation.name}.above")
    builder.bipolar(f"{operation.name}.above", operation.name)


def _recurrent(builder: _GraphBuilder, operation: Recurrent) -> None:
    (source,), name, direction = operation.inputs, operation.name, operation.direction.astype(np.int64)
    *_, height, width = builder.shape(source)
    channels, steps = len(direction), height * width
    shape = builder.constant(f"{name}.line", [0, channels, steps], np.int64)
    builder.node("Reshape", [source, shape], f"{name}.steps")
    turned = operation.weight.T * operation.direction
    weight = builder.weight(name, turned)
    first = builder.constant(f"{name}.first", operation.first * direction)
    threshold = builder.constant(f"{name}.threshold", operation.threshold * direction)
    turn = builder.constant(f"{name}.direction", direction)
    factor = builder.constant(f"{name}.factor", 1 << operation.shift)
    states: list[str] = []
    for step in range(steps):
        index = builder.constant(f"{name}.index{step}", step, np.int64)
        sums, at = f"{name}.turned{step}", f"{name}.above{step}"
        builder.node("Gather", [f"{name}.steps", index], f"{name}.step{step}", axis=2)
        builder.node("Mul", [f"{name}.step{step}", turn], sums)
        if step:
            builder.node("MatMul", [states[-1], weight], f"{name}.fed_back{step}")
            builder.node("Mul", [f"{name}.fed_back{step}", factor], f"{name}.state_part{step}")
            builder.node("Add", [sums, f"{name}.state_part{step}"], f"{name}.sum{step}")
            sums = f"{name}.sum{step}"
        builder.node("Sub", [sums, threshold if step else first], at)
        states.append(name if operation.last and step == steps - 1 else f"{name}.state{step}")
        builder.bipolar(at, states[-1])
    if not operation.last:
        axis = builder.constant(f"{name}.axis", [2], np.int64)
        for state in states:
            builder.node("Unsqueeze", [state, axis], f"{state}.column")
        builder.node("Concat", [f"{state}.column" for state in states], f"{name}.line_of_states", axis=2)
        image = builder.constant(f"{name}.image", [0, channels, height, width], np.int64)
        builder.node("Reshape", [f"{name}.line_of_states", image], name)


def _flatten(builder: _GraphBuilder, operation: Flatten) -> None:
    source = operation.inputs[0]
    axes = len(builder.shape(source))
    if axes > 2:
        builder.node("Transpose", [source], f"{operation.name}.channels_last", perm=[0, *range(2, axes), 1])
        source = f"{operation.name}.channels_last"
    builder.node("Flatten", [source], operation.name, axis=1)


def _depth_to_space(builder: _GraphBuilder, operation: DepthToSpace) -> None:
    """By a view: the operator of this name takes square blocks alone."""
    (_, channels, height, width), (block_h, block_w) = builder.shape(operation.inputs[0]), operation.block
    apart, name = [0, channels // (block_h * block_w), block_h, block_w, height, width], operation.name
    shape = builder.constant(f"{name}.blocks", apart, np.int64)
    builder.node("Reshape", [operation.inputs[0], shape], f"{name}.apart")
    builder.node("Transpose", [f"{name}.apart"], f"{name}.moved", perm=[0, 1, 4, 2, 5, 3])
    whole = builder.constant(f"{name}.shape", [0, *builder.shape(name)[1:]], np.int64)
    builder.node("Reshape", [f"{name}.moved", whole], name)


def _affine(builder: _GraphBuilder, operation: Affine) -> None:
    name = operation.name
    builder.node("Cast", [operation.inputs[0]], f"{name}.integer", to=TensorProto.INT64)
    scale = builder.by_channel(f"{name}.scale", operation.inputs[0], operation.scale, np.int64)
    offset = builder.by_channel(f"{name}.offset", operation.inputs[0], operation.offset, np.int64)
    builder.node("Mul", [f"{name}.integer", scale], f"{name}.scaled")
    builder.node("Add", [f"{name}.scaled", offset], name)


def _argmax(builder: _GraphBuilder, operation: Argmax) -> None:
    one = builder.constant(f"{operation.name}.k", [1], np.int64)
    best = f"{operation.name}.score"
    builder.node("TopK", [operation.inputs[0], one], [best, operation.name], axis=1, largest=1, sorted=1)


_WRITE: Mapping[type[Operation], Callable[[_GraphBuilder, Any], None]] = {
    Input: _input,
    Dense: _dense,
    Conv2d: _conv2d,
    MaxPool2d: _max_pool2d,
    SumPool2d: _sum_pool2d,
    Add: _add,
    Threshold: _threshold,
    MultiThreshold: _multi_threshold,
    Recurrent: _recurrent,
    Flatten: _flatten,
    DepthToSpace: _depth_to_space,
    Affine: _affine,
    Argmax: _argmax,
}
