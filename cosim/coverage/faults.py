"""The fault model: which single errors are asked for, and a Network that has one of them.

=========== ======================================== ===================================================================
kind        where                                    the error
=========== ======================================== ===================================================================
weight      each weight                              flipped; in a layer that has zeros, each of the other two values;
                                                     of integers, each bit of their two's complement flipped
carry       each neuron, each bit of its sum but the one carry into the bit is lost: the sum, counted in steps from its
            lowest                                   least, is short by 2**bit where it reaches 2**bit
threshold   each threshold                           one step up, and one down: a step is the distance of sums that
                                                     occur
direction   each channel of thresholds               turned
scale       each channel of an affine                the lowest bit of the factor flipped
offset      each channel of an affine                the lowest bit flipped
padding     each convolution with padding            each of the other values padded with, where the operand is bipolar
order       each max pool beside a threshold         pooled on the other side of it
tie         each argmax                              ties go to the highest index
=========== ======================================== ===================================================================

A recurrent layer has the faults of a dense layer and of its thresholds, the same at every step; the thresholds of the
first step are constants of their own, and have faults of their own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    MAX_WEIGHT,
    OPERATIONS,
    Add,
    Affine,
    Argmax,
    Conv2d,
    Dense,
    IntArray,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    Recurrent,
    Signal,
    Threshold,
    refusal,
    weight_bits,
)

Kind = Literal["weight", "carry", "threshold", "direction", "scale", "offset", "padding", "order", "tie"]


@dataclass(frozen=True, eq=False)
class Faults:
    """Faults of one kind in one operation.

    Attributes
    ----------
    layer : str
    kind : str
    channel : int64 array, shape (faults,)
        The neuron; 0 where the fault is in the whole operation (padding, order, tie).
    place : int64 array, shape (faults,)
        Of a weight, its index among those of the neuron (row-major); of a carry, the bit; of several thresholds, the
        level; of a recurrent layer's thresholds, 1 for those of the first step; else 0.
    value : int64 array, shape (faults,)
        What stands there in place of the right value; of a carry, what the sum is short by.
    """

    layer: str
    kind: Kind
    channel: IntArray
    place: IntArray
    value: IntArray

    def __len__(self) -> int:
        return len(self.channel)


def faults(network: Network) -> tuple[Faults, ...]:
    """Return every fault of the model, in the order of the operations.

    Raises
    ------
    NetworkError
        If the network holds an operation of an unknown class.
    """
    found: list[Faults] = []
    for operation in network.operations:
        if type(operation) not in OPERATIONS.values():
            raise refusal(operation, "the fault model")
        found += (group for group in _faults(network, operation) if len(group))
    return tuple(found)


def _faults(network: Network, operation: Operation) -> Iterator[Faults]:
    operands = [network.signals[source] for source in operation.inputs]
    match operation:
        case Dense() | Conv2d():
            yield from _weights(operation)
            yield _carries(operation.name, network.signals[operation.name])
            if isinstance(operation, Conv2d) and any(operation.padding) and operands[0].bipolar:
                others = sorted({-1, 0, 1} - {operation.pad_value})
                yield _made(operation, "padding", np.zeros(2), np.zeros(2), np.array(others))
        case Threshold() | MultiThreshold():
            yield from _thresholds(operation, operands[0])
        case Recurrent():
            sums = operation.sums(operands[0])
            yield from _weights(operation)
            yield _carries(operation.name, sums)
            limits, steps = np.stack([operation.threshold, operation.first], axis=1), (sums.step, operands[0].step)
            yield from _stepped(operation, limits, np.array(steps))
        case Affine():
            channels = np.arange(len(operation.scale))
            yield _made(operation, "scale", channels, 0 * channels, operation.scale ^ 1)
            yield _made(operation, "offset", channels, 0 * channels, operation.offset ^ 1)
        case Argmax() if operands[0].channels > 1:
            yield _made(operation, "tie", *np.zeros((3, 1)))
    if swapped(network, operation) is not None:
        yield _made(operation, "order", *np.zeros((3, 1)))


def _made(operation: Operation, kind: Kind, *columns: NDArray[np.integer[Any]] | NDArray[np.floating[Any]]) -> Faults:
    return Faults(operation.name, kind, *(np.asarray(column).astype(np.int64).ravel() for column in columns))


def _weights(operation: Dense | Conv2d | Recurrent) -> Iterator[Faults]:
    weight = operation.weight.reshape(len(operation.weight), -1)
    bits = weight_bits(weight)
    if bits > 2:
        every, bit = np.indices(weight.shape), np.arange(bits)
        sign = 1 << (bits - 1)
        flipped = weight[..., None].astype(np.int64) ^ np.where(bit == bits - 1, -sign, 1 << bit)
        able = np.abs(flipped) <= MAX_WEIGHT
        yield _made(operation, "weight", *(np.repeat(of[..., None], bits, axis=2)[able] for of in every), flipped[able])
        return
    some = np.nonzero(weight)
    yield _made(operation, "weight", *some, -weight[some])
    if not operation.weight.all():
        yield _made(operation, "weight", *some, np.zeros(len(some[0])))
        none = np.nonzero(weight == 0)
        for value in (1, -1):
            yield _made(operation, "weight", *none, np.full(len(none[0]), value))


def _carries(layer: str, sums: Signal) -> Faults:
    steps = ((sums.high - sums.low) // sums.step).tolist()
    where = [(channel, bit) for channel, most in enumerate(steps) for bit in range(1, most.bit_length())]
    channel, bit = np.array(where, np.int64).reshape(-1, 2).T
    return Faults(layer, "carry", channel, bit, np.int64(sums.step) << bit)


def _thresholds(operation: Threshold | MultiThreshold, x: Signal) -> Iterator[Faults]:
    yield from _stepped(operation, operation.threshold.reshape(len(operation.direction), -1), np.array(x.step))


def _stepped(
    operation: Threshold | MultiThreshold | Recurrent, threshold: IntArray, step: IntArray
) -> Iterator[Faults]:
    channel, level = np.indices(threshold.shape)
    stepped = np.stack([threshold + step, threshold - step])
    yield _made(operation, "threshold", np.stack([channel] * 2), np.stack([level] * 2), stepped)
    channels = np.arange(len(operation.direction))
    yield _made(operation, "direction", channels, 0 * channels, -operation.direction)


def largest_change(operation: Dense | Conv2d) -> int:
    """Return by how much a fault changes a weight at most."""
    bits = weight_bits(operation.weight)
    return 2 if bits <= 2 else 1 << (bits - 1)


def swapped(network: Network, operation: Operation) -> Operation | None:
    """Return the operation before this one if they are a max pool and a threshold that nobody reads in between."""
    if not isinstance(operation, MaxPool2d | Threshold | MultiThreshold):
        return None
    before = network[operation.inputs[0]]
    other = (Threshold, MultiThreshold) if isinstance(operation, MaxPool2d) else MaxPool2d
    return before if isinstance(before, other) and len(network.consumers(before.name)) == 1 else None


def plant(network: Network, group: Faults, index: int) -> Network:
    """Return the network with one fault of a group in it.

    A result that is compared bears its own name in it. What was added for the fault has a name of its own, and so has
    the operation before a pool that changed its place. A carry lost in a recurrent layer is in no Network.
    """
    name, operation = group.layer, network[group.layer]
    channel, place, value = (int(column[index]) for column in (group.channel, group.place, group.value))
    new: list[Operation] = [operation]
    gone = ""
    match group.kind, operation:
        case "weight", Dense() | Conv2d():
            weight = operation.weight.copy()
            weight.reshape(len(weight), -1)[channel, place] = value
            new = [replace(operation, weight=weight)]
        case "weight", Recurrent():
            weight = operation.weight.copy()
            weight[channel, place] = value
            new = [replace(operation, weight=weight)]
        case "carry", Dense() | Conv2d():
            new = _short(network, operation, channel, value)
        case "threshold", Recurrent():
            limits = (operation.threshold.copy(), operation.first.copy())
            limits[place][channel] = value
            new = [replace(operation, threshold=limits[0], first=limits[1])]
        case "threshold", Threshold() | MultiThreshold():
            threshold = operation.threshold.copy()
            threshold.reshape(len(threshold), -1)[channel, place] = value
            if isinstance(operation, MultiThreshold):
                threshold.sort(axis=1)  # their number that is passed does not depend on the order
            new = [replace(operation, threshold=threshold)]
        case "direction", Threshold() | MultiThreshold() | Recurrent():
            direction = operation.direction.copy()
            direction[channel] = value
            new = [replace(operation, direction=direction)]
        case (("scale" | "offset"), Affine()):
            values = getattr(operation, group.kind).copy()
            values[channel] = value
            new = [replace(operation, **{group.kind: values})]
        case "padding", Conv2d():
            new = [replace(operation, pad_value=value)]
        case "tie", Argmax():
            channels = network.signals[operation.inputs[0]].channels
            places = np.arange(channels)
            ranked = Affine(_fresh(network), operation.inputs, scale=np.full(channels, channels), offset=places)
            new = [ranked, replace(operation, inputs=(ranked.name,))]
        case "order", _:
            before = swapped(network, operation)
            assert before is not None
            first = replace(operation, name=_fresh(network), inputs=before.inputs)
            new, gone = [first, replace(before, name=name, inputs=(first.name,))], before.name
        case _:
            raise TypeError(group.kind)
    operations: list[Operation] = []
    for other in network.operations:
        operations += new if other.name == name else [] if other.name == gone else [other]
    return Network(network.name, tuple(_fitted(operations)))


def _fresh(network: Network) -> str:
    """Return a name that no layer bears."""
    return next(
        name
        for name in (f"fault_{number}" for number in range(len(network.operations) + 1))
        if name not in network.signals
    )


def _short(network: Network, sums: Operation, channel: int, amount: int) -> list[Operation]:
    """Return operations that give the sums, one of them short by an amount where it is at least its least plus that."""
    signal = network.signals[sums.name]
    whole = replace(sums, name=_fresh(network))
    always = signal.high.copy()  # the other channels are never short
    always[channel] = signal.low[channel] + amount - 1
    down = np.full(len(always), -1, np.int8)
    less = MultiThreshold(f"{whole.name}_less", (whole.name,), always[:, None], down, low=-amount, step=amount)
    return [whole, less, Add(sums.name, (whole.name, less.name))]


def _fitted(operations: list[Operation]) -> Iterator[Operation]:
    """Give the operations with thresholds clamped to their operands' ranges, which a fault may have changed."""
    signals: dict[str, Signal] = {}
    for operation in operations:
        operands = [signals[source] for source in operation.inputs]
        if isinstance(operation, Threshold | MultiThreshold):
            (x,), up = operands, operation.direction > 0
            low, high = x.low - ~up, x.high + up
            by_level = operation.threshold.reshape(len(up), -1).T.clip(low, high).T
            operation = replace(operation, threshold=by_level.reshape(operation.threshold.shape))
        elif isinstance(operation, Recurrent):
            (x,), up = operands, operation.direction > 0
            sums = operation.sums(x)
            threshold, first = (
                limit.clip(of.low - ~up, of.high + up)
                for limit, of in ((operation.threshold, sums), (operation.first, x))
            )
            operation = replace(operation, threshold=threshold, first=first)
        signals[operation.name] = operation.infer(*operands)
        yield operation
