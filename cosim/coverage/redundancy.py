"""Faults that no input can show in a network's outputs, where the proof is cheap.

The proofs use ranges of values: a neuron whose threshold every sum passes, or none does, hides its faults; a step of a
threshold beyond its sums changes nothing; and what only such neurons read is as good as not read at all. Carries into
the highest bit of a sum are left to :mod:`~xnorflow.cosim.coverage.agreement`. A fault that is not proved redundant may
be so all the same, where ranges do not tell that some values never meet.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    Add,
    Affine,
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    IntArray,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    Recurrent,
    Signal,
    Threshold,
)
from xnorflow.cosim.coverage.agreement import never_agree
from xnorflow.cosim.coverage.faults import Faults, swapped
from xnorflow.cosim.coverage.patches import patches
from xnorflow.cosim.engine import outputs

Bits = NDArray[np.bool_]

#: Values of one score beyond which ties are not looked for.
_MOST_SCORES = 1 << 20


def redundant(network: Network, groups: tuple[Faults, ...]) -> tuple[Bits, ...]:
    """Say which faults are proved to be shown by no input at all.

    Returns
    -------
    tuple of bool arrays, shape (faults,), by group
    """
    read, steps = _read(network), _steps(network)
    return tuple(_redundant(network, group, read, steps) for group in groups)


def _redundant(network: Network, group: Faults, read: Mapping[str, Bits], steps: Mapping[str, int]) -> Bits:
    operation = network[group.layer]
    operand = replace(network.signals[operation.inputs[0]], step=steps[operation.inputs[0]])
    match group.kind, operation:
        case "weight", Dense() | Conv2d():
            low, high, without = _with_weight(operation, operand, network.signals[operation.name], group)
            return without | _hidden(network, operation, group.channel, low, high, read)
        case "carry", _:
            sums = network.signals[operation.name]
            ends = sums.low[group.channel], sums.high[group.channel]
            never = _hidden(network, operation, group.channel, *ends, read)
            if isinstance(operation, Dense):
                only_the_most = ends[0] + group.value > ends[1] - sums.step
                never = never | (only_the_most & never_agree(network, operation)[group.channel])
            return never
        case "threshold", Threshold() | MultiThreshold():
            now = operation.threshold.reshape(len(operation.direction), -1)[group.channel, group.place]
            return ~read[operation.name][group.channel] | ~_between(operand, operation.direction, now, group)
        case "threshold", Recurrent():
            limits = np.stack([operation.threshold, operation.first], axis=1)[group.channel, group.place]
            later, first = (
                _between(of, operation.direction, limits, group) for of in (operation.sums(operand), operand)
            )
            return ~np.where(group.place == 0, later, first)
        case "direction", Threshold() | MultiThreshold():
            turned = replace(operation, direction=-operation.direction)
            (value, last), (other, _) = (_ends(kind, operand.low, operand.high) for kind in (operation, turned))
            same = (operand.low == operand.high) & (value == last) & (value == other)
            idle: Bits = ~read[operation.name] | same
            return idle[group.channel]
        case "scale", Affine():
            always_zero: Bits = (operand.low == 0) & (operand.high == 0)
            return always_zero[group.channel]
        case "padding", Conv2d():
            return np.full(len(group), not _outside(operation, operand).any())
        case "order", _:
            before = swapped(network, operation)
            sign = operation if isinstance(before, MaxPool2d) else before
            assert isinstance(sign, Threshold | MultiThreshold)
            ends = _ends(sign, *(getattr(network.signals[sign.inputs[0]], end) for end in ("low", "high")))
            return np.full(len(group), ((sign.direction > 0) | (ends[0] == ends[1])).all())
        case "tie", Argmax():
            return np.full(len(group), not _may_tie(network, operation))
    return np.zeros(len(group), np.bool_)


def _with_weight(
    operation: Dense | Conv2d, operand: Signal, sums: Signal, group: Faults
) -> tuple[IntArray, IntArray, Bits]:
    """Return ranges of the faulty sums, shape (faults,), and whether they always equal the right ones."""
    copies = operation.weight[0].size // operand.channels
    low, high = operand.low, operand.high
    same = np.tile((low == 0) & (high == 0), copies)
    if isinstance(operation, Conv2d) and any(operation.padding):
        low, high = np.minimum(low, operation.pad_value), np.maximum(high, operation.pad_value)
        if operation.pad_value == 0:
            same |= ~_inside(operation, operand).any(axis=0).ravel()
    ends = np.stack([np.tile(low, copies), np.tile(high, copies)])[:, group.place]
    weight = operation.weight.reshape(len(operation.weight), -1)[group.channel, group.place]
    old, new = np.sort(ends * weight, axis=0), np.sort(ends * group.value, axis=0)
    low, high = sums.low[group.channel] - old[0] + new[0], sums.high[group.channel] - old[1] + new[1]
    return low, high, same[group.place]


def _hidden(
    network: Network, sums: Operation, channel: IntArray, low: IntArray, high: IntArray, read: Mapping[str, Bits]
) -> Bits:
    """Say whether the threshold behind the sums takes no notice where they leave their ranges for these, by fault."""
    readers = network.consumers(sums.name)
    if sums.name in outputs(network) or len(readers) != 1 or not isinstance(readers[0], Threshold | MultiThreshold):
        return np.zeros(len(channel), np.bool_)
    sign, right = readers[0], network.signals[sums.name]
    low, high = np.minimum(low, right.low[channel]), np.maximum(high, right.high[channel])
    levels = sign.threshold.reshape(len(sign.direction), -1)[channel]
    first, last = (_passed(end, levels, sign.direction[channel]) for end in (low, high))
    idle: Bits = ~read[sign.name][channel] | (first == last)
    return idle


def _ends(sign: Threshold | MultiThreshold, low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
    """Return how many thresholds of each channel are passed at both ends of its range."""
    levels = sign.threshold.reshape(len(sign.direction), -1)
    return _passed(low, levels, sign.direction), _passed(high, levels, sign.direction)


def _passed(x: IntArray, threshold: IntArray, direction: NDArray[np.int8]) -> IntArray:
    passed = np.where(direction[:, None] > 0, x[:, None] >= threshold, x[:, None] <= threshold)
    counts: IntArray = passed.sum(axis=1)
    return counts


def _between(operand: Signal, direction: NDArray[np.int8], now: IntArray, group: Faults) -> Bits:
    """Say whether a value that may occur lies between a threshold and what stands in its place."""
    low, high, step = operand.low[group.channel], operand.high[group.channel], operand.step
    least, most = np.minimum(now, group.value), np.maximum(now, group.value)
    up = direction[group.channel] > 0
    first = np.where(up, least, least + 1)  # values from `first` on, as many as the threshold moved by, are between
    reached = np.maximum(low, low + -(-(first - low) // step) * step)
    reachable: Bits = (reached <= high) & (reached < first + (most - least))
    return reachable


def _steps(network: Network) -> dict[str, int]:
    """Return the distance of the values that occur, by operation: twice what signals know where padding lets it be.

    A convolution that is padded with zeros adds fewer products of -1 and +1 at the borders. Where everywhere their
    weights' sum is even, so is what the products would add, and all sums are even or odd together.
    """
    signals: dict[str, Signal] = {}
    for operation in network.operations:
        operands = [signals[source] for source in operation.inputs]
        signal = operation.infer(*operands)
        if isinstance(operation, Conv2d) and signal.step == 1 and operands[0].bipolar:
            odd = _outside(operation, operands[0]) % 2
            signal = replace(signal, step=1 if odd.any() else 2)
        signals[operation.name] = signal
    return {name: signal.step for name, signal in signals.items()}


def _inside(operation: Conv2d, operand: Signal) -> Bits:
    """Say which places of a kernel lie on the operand: shape (positions, kernel_h, kernel_w, inputs)."""
    seen = patches(operation, np.ones((1, *operand.shape), np.bool_), 0)
    return seen.transpose(0, 1, 2, 4, 5, 3).reshape(-1, *operation.weight.shape[1:])


def _outside(operation: Conv2d, operand: Signal) -> IntArray:
    """Return the sums of the weights that lie on the padding, shape (positions, neurons)."""
    chosen = ~_inside(operation, operand)[..., 0]
    sums: IntArray = np.einsum("pyx,oyx->po", chosen.astype(np.int64), operation.weight.sum(axis=3, dtype=np.int64))
    return sums


def _read(network: Network) -> dict[str, Bits]:
    """Say which channels of thresholds an output depends on, as far as ranges tell, shape (channels,).

    It holds for whatever values the thresholds give, so it holds for a fault before them or in them.
    """
    signals = _any_values(network)
    read = {name: np.zeros(signal.shape, np.bool_) for name, signal in signals.items()}
    for name in outputs(network):
        read[name][...] = True
    for operation in reversed(network.operations):
        for source in operation.inputs:
            read[source] |= _needed(operation, signals[source], read[operation.name])
    return {name: bits.reshape(-1, bits.shape[-1]).any(axis=0) for name, bits in read.items()}


def _needed(operation: Operation, operand: Signal, read: Bits) -> Bits:
    """Say which values of the operand those that are read of the result depend on, of the operand's shape."""
    used: Bits
    match operation:
        case Dense():
            used = (operation.weight[read] != 0).any(axis=0)
            return used
        case Conv2d():
            neurons = read.reshape(-1, read.shape[-1]).any(axis=0)
            used = (operation.weight[neurons] != 0).any(axis=(0, 1, 2))
            return np.broadcast_to(used, operand.shape)
        case Threshold() | MultiThreshold():
            first, last = _ends(operation, operand.low, operand.high)
            used = read & (first != last)
            return used
        case Affine():
            used = read & (operation.scale != 0)
            return used
        case Add():
            return read
        case Flatten():
            return read.reshape(operand.shape)
    return np.full(operand.shape, read.any())


def _any_values(network: Network) -> dict[str, Signal]:
    """Return signals for thresholds that give any of their values."""
    signals: dict[str, Signal] = {}
    for operation in network.operations:
        signal = operation.infer(*(signals[source] for source in operation.inputs))
        if isinstance(operation, MultiThreshold):
            low = np.full_like(signal.low, operation.low)
            signal = replace(signal, low=low, high=low + operation.step * operation.levels)
        signals[operation.name] = signal
    return signals


def _may_tie(network: Network, operation: Argmax) -> bool:
    """Say whether two scores may be equal, as far as their own ranges tell."""
    source = network[operation.inputs[0]]
    affine = source if isinstance(source, Affine) else None
    sums = network.signals[source.inputs[0] if affine else source.name]
    if ((sums.high - sums.low) // sums.step).max() > _MOST_SCORES:
        return True
    scores = [np.arange(low, high + 1, sums.step) for low, high in zip(sums.low, sums.high, strict=True)]
    if affine:
        scores = [a * x + b for a, x, b in zip(affine.scale, scores, affine.offset, strict=True)]
    return any(len(np.intersect1d(one, other)) for one, other in combinations(scores, 2))
