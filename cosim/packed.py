"""A Network as a sequence of steps on packed bits: the golden model's fold over the IR.

Between steps a bipolar value is uint64, shape (vectors, words), one stream of bits along the flattened shape; a layer's
sums are a :class:`xnorflow.cosim.sums.Sums`; any other value is int32 (int64 where the range needs it), shape (vectors,
*signal shape).

One sum serves all layers. An operand takes values ``low + step * u`` (bipolar: -1 + 2u; integers: low + u) and u is
written in bit planes ``u = sum 2**k u_k``. For a weight of -1, 0 or +1, with P the number of +1 among a neuron's
weights and D_k = popcount((u_k ^ w) & m) the number of unmasked places where plane k differs from the sign bits::

    sum w u_k = P - D_k        so        sum w x = low * sum w + step * ((2**planes - 1) * P - sum 2**k D_k)

Padding is cut out as u = 0, which stands for `low`; what the model pads with instead, ``(pad_value - low) * w``
summed over the places outside, is added to the bias of the positions that see it.

A layer of larger weights is a product of matrices in floating point: float32 holds every partial sum, in whatever order
they come, where the terms' magnitudes add up to less than 2**24, and float64 the others, below 2**53 by the Network.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    Signal,
    SumPool2d,
    Threshold,
    Weights,
    weight_bits,
)
from xnorflow.bnn.packing import pack_bits, words
from xnorflow.cosim import bitstream, moves, popcount
from xnorflow.cosim.engine import EngineUnavailable, OutOfRange
from xnorflow.cosim.paths import PATH
from xnorflow.cosim.sums import BlockedLayer, Sums

Array = NDArray[Any]
Shape = tuple[int, ...]
#: What flows between steps, for a tile of vectors.
Value = Array | Sums
Step = Callable[..., Value]

_FLOAT32_EXACT = 2**24  # every integer up to here is a float32


class Program:
    """A network's steps in order.

    Attributes
    ----------
    dtypes : dict
        Type of each operation's results, by operation name.

    Raises
    ------
    EngineUnavailable
        If the network holds an operation of an unknown class.
    """

    def __init__(self, network: Network) -> None:
        built = steps(network)
        self._signals = network.signals
        first, *rest = network.operations
        self._input, self._convert = first.name, built[first.name]
        self._rest = [(operation.name, operation.inputs, built[operation.name]) for operation in rest]
        self.dtypes = {name: np.int8 if signal.bipolar else dtype(signal) for name, signal in network.signals.items()}

    def run(self, inputs: NDArray[np.integer[Any]], results: Mapping[str, Array]) -> None:
        """Write the results of the operations that `results` names, for integers in C order.

        Raises
        ------
        OutOfRange
        """
        values = {self._input: self._convert(inputs)}
        for name, sources, step in self._rest:
            values[name] = step(*[values[source] for source in sources])
        for name, out in results.items():
            _store(values[name], self._signals[name], out)


def steps(network: Network, signals: Mapping[str, Signal] | None = None) -> dict[str, Step]:
    """Return what computes each operation's value from its operands' values, by operation name.

    The input's step takes integers of any dtype in C order, and raises :class:`OutOfRange`.

    Parameters
    ----------
    network : Network
    signals : mapping of operation name to Signal, optional
        The network's own by default; wider ones for values that faults take out of their ranges.

    Raises
    ------
    EngineUnavailable
        If the network holds an operation of an unknown class.
    """
    result: dict[str, Step] = {}
    for operation in network.operations:
        build = _STEPS.get(type(operation))
        if build is None:
            raise EngineUnavailable(
                f"layer {operation.name!r}: the golden model has no {type(operation).__name__}; "
                f"it knows {', '.join(known.__name__ for known in _STEPS)}"
            )
        operands = [(signals or network.signals)[source] for source in operation.inputs]
        result[operation.name] = build(operation, *operands)
    return result


def dtype(signal: Signal) -> type[np.signedinteger[Any]]:
    """Return the type of integers of `signal`, with room for the thresholds beside its range."""
    limits = np.iinfo(np.int32)
    fits = limits.min < signal.low.min() and signal.high.max() < limits.max
    return np.int32 if fits else np.int64


def integers(value: Value, signal: Signal) -> Array:
    """Return a value as integers, shape (vectors, *signal shape): int8 of -1 and +1 if bipolar."""
    if not signal.bipolar and not isinstance(value, Sums):
        return value
    out = np.empty((len(value), *signal.shape), np.int8 if signal.bipolar else dtype(signal))
    _store(value, signal, out)
    return out


def _store(value: Value, signal: Signal, out: Array) -> None:
    """Write a value as integers."""
    if isinstance(value, Sums):
        value.store(out)
    elif signal.bipolar:
        bitstream.unpack(value, out.reshape(len(value), -1))
    else:
        out[:] = value


def _input(operation: Input) -> Step:
    signal = operation.infer()
    kind, size = dtype(signal), signal.size
    low, high = int(signal.low[0]), int(signal.high[0])

    def convert(x: Array, to: type[np.signedinteger[Any]]) -> Array:
        if not (low <= x.min() and x.max() <= high):
            raise OutOfRange
        return x.astype(to)

    def bits(x: Array) -> Array:
        signs = x if x.dtype == np.int8 else convert(x, np.int8)
        out = np.empty((len(x), words(size)), np.uint64)
        if not bitstream.pack_signs(signs.reshape(len(x), size), out):
            raise OutOfRange
        return out

    return bits if signal.bipolar else lambda x: convert(x, kind)


def _planes(signal: Signal) -> tuple[int, Callable[[Value], Array]]:
    """Number of bit planes of a value, and what turns it into them: (vectors, planes, words), largest first."""
    if signal.bipolar:
        return 1, lambda bits: bits[:, None]
    low, size = int(signal.low.min()), signal.size
    count = max(1, (int(signal.high.max()) - low).bit_length())

    def split(value: Value) -> Array:
        x = integers(value, signal)
        result = np.empty((len(x), count, words(size)), np.uint64)
        offset = x.reshape(len(x), size) - x.dtype.type(low)
        for first in range(0, count, 8):
            octets = (offset >> first).astype(np.uint8)
            last = min(first + 8, count)
            bitstream.pack_planes(octets, last - first, result[:, count - last : count - first])
        return result

    return count, split


def _layer(
    weight: NDArray[np.int8], operand: Signal, signal: Signal, extra: NDArray[np.int64], kinds: NDArray[np.int64]
) -> BlockedLayer:
    """Pack a layer of `weight` (neurons, inputs); `extra` (kinds, neurons) is added by kind of position."""
    planes, _ = _planes(operand)
    shift, low = int(operand.bipolar), int(operand.low.min())
    ones = np.count_nonzero(weight > 0, axis=1)
    blocked = popcount.block_weights(weight)
    bias = np.zeros((len(extra), len(blocked) * PATH.neurons), np.int64)
    bias[:, : len(weight)] = extra + low * weight.sum(axis=1, dtype=np.int64) + ((2**planes - 1) * ones << shift)
    largest = (2**planes - 1) * weight.shape[1]
    return BlockedLayer(signal.shape, blocked, bias, kinds, shift, dtype(signal), largest)


def _product(weight: Weights, operand: Signal, signal: Signal) -> Callable[[Array], Array]:
    """Return what multiplies integers (vectors, ..., inputs) by `weight` (outputs, inputs), its magnitudes above 1."""
    magnitude = np.maximum(np.abs(operand.low), np.abs(operand.high)).max()
    largest = (np.abs(weight.astype(np.float64)).sum(axis=1) * float(magnitude)).max()
    real: type[np.floating[Any]] = np.float32 if largest < _FLOAT32_EXACT else np.float64
    matrix, kind = np.ascontiguousarray(weight.T, real), dtype(signal)
    return lambda values: (values.astype(real) @ matrix).astype(kind)


def _dense(operation: Dense, x: Signal) -> Step:
    if weight_bits(operation.weight) > 2:
        product = _product(operation.weight, x, operation.infer(x))
        return lambda value: product(integers(value, x))
    _, split = _planes(x)
    nothing = np.zeros((1, len(operation.weight)), np.int64)
    layer = _layer(operation.weight, x, operation.infer(x), nothing, np.zeros(1, np.int64))
    return lambda value: Sums(layer, split(value)[:, None])


def _conv2d(operation: Conv2d, x: Signal) -> Step:
    neurons, kernel_h, kernel_w, channels = operation.weight.shape
    height, width, _ = x.shape
    signal = operation.infer(x)
    if weight_bits(operation.weight) > 2:
        return _integer_conv2d(operation, x, signal)
    positions, (top, _, left, _) = signal.shape[:2], operation.padding
    planes, split = _planes(x)

    rows = np.arange(positions[0])[:, None] * operation.stride[0] - top + np.arange(kernel_h)
    columns = np.arange(positions[1])[:, None] * operation.stride[1] - left + np.arange(kernel_w)
    inside_h, inside_w = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    outside = ~(inside_h[:, None, :, None] & inside_w[None, :, None, :]).reshape(-1, kernel_h * kernel_w)
    outsides, kinds = np.unique(outside, axis=0, return_inverse=True)
    taps = operation.weight.sum(axis=3, dtype=np.int64).reshape(neurons, -1)
    extra = (operation.pad_value - int(x.low.min())) * (outsides.astype(np.int64) @ taps.T)
    layer = _layer(operation.weight.reshape(neurons, -1), x, signal, extra, kinds.reshape(-1))

    cut = moves.cut_patches(x.shape, (kernel_h, kernel_w), operation.stride, (top, left), positions, planes)
    length = words(kernel_h * kernel_w * channels)

    def step(value: Value) -> Sums:
        patches = cut(split(value), step=length)
        return Sums(layer, patches.reshape(-1, len(kinds), planes, length))

    return step


def _integer_conv2d(operation: Conv2d, x: Signal, signal: Signal) -> Step:
    product = _product(operation.weight.reshape(len(operation.weight), -1), _padded(operation, x), signal)

    return lambda value: product(windows(operation, integers(value, x)))


def windows(operation: Conv2d, values: Array) -> Array:
    """Return what a convolution multiplies: (vectors, height, width, terms), as the weights of an output lie."""
    top, bottom, left, right = operation.padding
    around = ((0, 0), (top, bottom), (left, right), (0, 0))
    whole = np.pad(values, around, constant_values=operation.pad_value)
    views: Array = np.lib.stride_tricks.sliding_window_view(  # type: ignore[call-overload]
        whole, operation.weight.shape[1:3], axis=(1, 2)
    )
    strided = views[:, :: operation.stride[0], :: operation.stride[1]]
    return strided.transpose(0, 1, 2, 4, 5, 3).reshape(*strided.shape[:3], -1)


def _padded(operation: Conv2d, x: Signal) -> Signal:
    """Return the range of the operand with its padding."""
    return replace(x, low=np.minimum(x.low, operation.pad_value), high=np.maximum(x.high, operation.pad_value))


def _max_pool2d(operation: MaxPool2d, x: Signal) -> Step:
    signal = operation.infer(x)
    positions = signal.shape[:2]
    top, bottom, left, right = operation.padding

    def numbers(value: Value) -> Array:
        around = ((0, 0), (top, bottom), (left, right), (0, 0))
        padded = np.pad(integers(value, x), around, constant_values=int(x.low.min()))
        pooled: Array = np.maximum.reduce(_window_views(padded, operation, positions))
        return pooled

    if not x.bipolar:
        return numbers
    pool = moves.pool(x.shape, operation.size, operation.stride, (top, left), positions)
    return lambda bits: pool(bits[:, None])


def _window_views(values: Array, operation: MaxPool2d | SumPool2d, positions: Shape) -> list[Array]:
    """Return a view of the values for each place of the pooling's window, all of the result's height and width."""
    (size_h, size_w), (stride_h, stride_w), (height, width) = operation.size, operation.stride, positions
    return [
        values[:, y : y + height * stride_h : stride_h, z : z + width * stride_w : stride_w][:, :height, :width]
        for y in range(size_h)
        for z in range(size_w)
    ]


def _sum_pool2d(operation: SumPool2d, x: Signal) -> Step:
    signal = operation.infer(x)
    kind, positions = dtype(signal), signal.shape[:2]

    def step(value: Value) -> Array:
        return _sum(_window_views(integers(value, x), operation, positions), kind)

    return step


def _add(operation: Add, *operands: Signal) -> Step:
    kind = dtype(operation.infer(*operands))

    def step(*values: Value) -> Array:
        terms = [integers(value, x).astype(kind) for value, x in zip(values, operands, strict=True)]
        return _sum([term << shift for term, shift in zip(terms, operation.shifts, strict=True)], kind)

    return step


def _sum(terms: list[Array], kind: type[np.signedinteger[Any]]) -> Array:
    total = terms[0].astype(kind)
    for term in terms[1:]:
        total += term
    return total


def _threshold(operation: Threshold, x: Signal) -> Step:
    size, copies = x.size, x.size // x.channels
    down = operation.direction < 0
    threshold = operation.threshold + down  # x <= t is the opposite of x >= t + 1
    kind = dtype(x)
    comparison = functools.cache(lambda layer: layer.comparison(threshold, down))
    thresholds, flips = np.tile(threshold, copies).astype(kind), pack_bits(np.tile(down, copies))

    def step(value: Value) -> Array:
        if isinstance(value, Sums):
            return value.compare(comparison(value.layer))
        numbers = integers(value, x).astype(kind, copy=False).reshape(len(value), size)
        out = np.empty((len(value), words(size)), np.uint64)
        bitstream.compare(numbers, thresholds, flips, out)
        return out

    return step


def _multi_threshold(operation: MultiThreshold, x: Signal) -> Step:
    kind = dtype(operation.infer(x))
    down = operation.direction < 0
    thresholds = (operation.threshold + down[:, None]).T.astype(dtype(x))  # passed where x <= t: not where x >= t + 1
    least = (operation.low + operation.step * operation.levels * down).astype(kind)
    steps = (operation.step * operation.direction).astype(kind)

    def step(value: Value) -> Array:
        numbers = integers(value, x)
        reached = np.zeros(numbers.shape, kind)
        for threshold in thresholds:
            reached += numbers >= threshold
        return least + steps * reached

    return step


def _recurrent(operation: Recurrent, x: Signal) -> Step:
    sums, ones = operation.sums(x), np.ones(x.channels, np.int64)
    state = Signal((x.channels,), -ones, ones, bipolar=True, step=2)
    fed_back = Dense("fed_back", ("state",), weight=operation.weight)
    add, of_state, kind = _dense(fed_back, state), fed_back.infer(state), dtype(sums)
    steps, down = x.size // x.channels, operation.direction < 0
    bounds = [(of + down).astype(kind) for of in (operation.first, operation.threshold)]
    flips, joined = pack_bits(down), moves.join(steps, x.channels)

    def step(value: Value) -> Array:
        numbers = integers(value, x).reshape(len(value), steps, x.channels)
        states: list[Array] = []
        for t in range(steps):
            total = numbers[:, t].astype(kind)
            if t:
                total += integers(add(states[-1]), of_state).astype(kind) << operation.shift
            states.append(np.empty((len(total), words(x.channels)), np.uint64))
            bitstream.compare(total, bounds[t > 0], flips, states[-1])
        return states[-1] if operation.last else joined(np.stack(states, axis=1)[:, None].reshape(len(value), 1, -1))

    return step


def _flatten(_: Flatten, x: Signal) -> Step:
    size = x.size

    def numbers(value: Value) -> Array:
        values = integers(value, x)
        return values.reshape(len(values), size)

    return (lambda bits: bits) if x.bipolar else numbers


def _depth_to_space(operation: DepthToSpace, x: Signal) -> Step:
    signal, (block_h, block_w) = operation.infer(x), operation.block
    height, width, _ = x.shape

    def numbers(value: Value) -> Array:
        apart = integers(value, x).reshape(-1, height, width, signal.channels, block_h, block_w)
        return np.ascontiguousarray(apart.transpose(0, 1, 4, 2, 5, 3)).reshape(-1, *signal.shape)

    def bits(value: Value) -> Array:
        signs = numbers(value)
        out = np.empty((len(signs), words(signal.size)), np.uint64)
        bitstream.pack_signs(signs.reshape(len(signs), -1), out)
        return out

    return bits if x.bipolar else numbers


def _affine(operation: Affine, x: Signal) -> Step:
    kind = dtype(operation.infer(x))
    return lambda value: (operation.scale * integers(value, x) + operation.offset).astype(kind)


def _argmax(_: Argmax, x: Signal) -> Step:
    return lambda value: integers(value, x).argmax(axis=-1)[..., None].astype(np.int32)


_STEPS: Mapping[type[Operation], Callable[..., Step]] = {
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
