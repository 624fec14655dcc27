"""Exact fault simulation: which vectors show which faults.

A fault changes one channel of one result. It is followed in three stages, each of which drops what has vanished:

1. the changed channel, from the sums and the fault alone. Where a dense layer takes bipolar values, all faults of a
   neuron's weights make no more than four different errors of its sum (-2, -1, +1, +2), so those are followed in their
   stead; which weight makes which error in which vector is told by the bits that come in, 64 vectors a word;
2. that channel through thresholds and pools, as long as channels do not mix: for most, the threshold is out of reach;
3. the rest of the network on the golden model's packed kernels, every different change of a channel once.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    Affine,
    Conv2d,
    Dense,
    IntArray,
    MultiThreshold,
    Network,
    Operation,
    Signal,
    Threshold,
)
from xnorflow.bnn.packing import WORD, pack_bits, words
from xnorflow.cosim import packed
from xnorflow.cosim.coverage import channels
from xnorflow.cosim.coverage.faults import Faults, plant
from xnorflow.cosim.engine import outputs
from xnorflow.cosim.golden import Golden, cores, tile_size
from xnorflow.cosim.sums import Sums

Bits = NDArray[np.bool_]
Words = NDArray[np.uint64]

#: Integers of one array that stage 1 makes at once.
_AT_ONCE = 1 << 22

#: Kinds of faults that are in a whole operation: few, and each is planted.
_WHOLE = ("padding", "order", "tie")


@dataclass(frozen=True, eq=False)
class Changes:
    """Changed channels of one operation's result, one a row.

    Attributes
    ----------
    vector, channel : int64 array, shape (rows,)
    values : int64 array, shape (rows, *positions)
        The channel's new values.
    """

    vector: IntArray
    channel: IntArray
    values: IntArray

    def __getitem__(self, rows: NDArray[Any]) -> "Changes":
        return Changes(self.vector[rows], self.channel[rows], self.values[rows])


@dataclass(frozen=True, eq=False)
class Vectors:
    """Some vectors and every operation's value for them.

    Attributes
    ----------
    inputs : integer array, shape (vectors, *input shape)
    values : mapping of operation name to packed value
    signals : mapping of operation name to Signal
    """

    inputs: NDArray[np.integer]
    values: Mapping[str, packed.Value]
    signals: Mapping[str, Signal]
    _integers: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.inputs)

    def integers(self, name: str) -> NDArray[Any]:
        """Return an operation's result as integers, shape (vectors, *shape)."""
        if name not in self._integers:
            self._integers[name] = packed.integers(self.values[name], self.signals[name])
        return self._integers[name]

    def channel(self, name: str, vector: IntArray, channel: IntArray) -> IntArray:
        """Return one channel of an operation's result per row, int64, shape (rows, *positions)."""
        whole = self.integers(name)
        rows = whole.reshape(len(whole), -1, whole.shape[-1])[vector, :, channel]
        return rows.astype(np.int64).reshape(len(rows), *whole.shape[1:-1])


class Simulator:
    """Tells which faults vectors show.

    Parameters
    ----------
    network : Network
    observed : sequence of operation names, optional
        The results that are compared; by default those of :func:`xnorflow.cosim.engine.outputs`.
    """

    def __init__(self, network: Network, observed: Sequence[str] | None = None) -> None:
        self.network = network
        self.observed = frozenset(outputs(network) if observed is None else observed)
        self._signals = _wide(network)
        self._steps = packed.steps(network, self._signals)
        self._threads = cores()
        self._pool = ThreadPoolExecutor(self._threads)
        self._planted: dict[tuple[str, str, int], Golden] = {}

    def vectors(self, inputs: NDArray[np.integer]) -> Vectors:
        """Compute every result for some inputs, as :meth:`xnorflow.cosim.golden.Golden.run` takes them."""
        values: dict[str, packed.Value] = {}
        for operation in self.network.operations:
            operands: list[Any] = [values[source] for source in operation.inputs] or [np.ascontiguousarray(inputs)]
            values[operation.name] = self._steps[operation.name](*operands)
        return Vectors(inputs, values, self._signals)

    def shown(self, group: Faults, which: IntArray, vectors: Vectors) -> Words:
        """Return which vectors show which faults.

        Parameters
        ----------
        group : Faults
        which : int64 array, shape (faults,)
            Indices of faults of the group.
        vectors : Vectors

        Returns
        -------
        uint64 array, shape (faults, ceil(vectors / 64))
            Bit ``v % 64`` of word ``v // 64`` is 1 where vector v shows the fault.
        """
        operation = self.network[group.layer]
        if not len(which):
            return np.zeros((0, words(len(vectors))), np.uint64)
        if group.kind in _WHOLE:
            return pack_bits(np.array([self._by_planting(group, int(index), vectors) for index in which]))
        if group.kind == "weight" and isinstance(operation, Dense) and self._signals[operation.inputs[0]].bipolar:
            return self._by_error(operation, group, which, vectors)
        result = []
        signal = self._signals[group.layer]
        size = max(1, _AT_ONCE // (len(vectors) * (signal.size // signal.channels)))
        for first in range(0, len(which), size):
            some = which[first : first + size]
            fault = np.repeat(some, len(vectors))
            vector = np.tile(np.arange(len(vectors)), len(some))
            changes = Changes(vector, group.channel[fault], self._faulty(operation, group, fault, vector, vectors))
            result.append(pack_bits(self.visible(operation, changes, vectors).reshape(len(some), -1)))
        return np.concatenate(result)

    def visible(self, operation: Operation, changes: Changes, vectors: Vectors) -> Bits:
        """Say which changes of an operation's result change a result that is compared, shape (rows,)."""
        found = np.zeros(len(changes.vector), np.bool_)
        rows = np.arange(len(found))
        while True:
            now = vectors.channel(operation.name, changes.vector, changes.channel)
            differ = (now != changes.values).reshape(len(rows), -1).any(axis=1)
            rows, changes = rows[differ], changes[differ]
            if operation.name in self.observed:
                found[rows] = True
                return found
            readers = self.network.consumers(operation.name)
            if not len(rows) or len(readers) != 1 or not isinstance(readers[0], channels.CHANNELWISE):
                break
            operation = readers[0]
            changes = replace(changes, values=channels.apply(operation, changes.values, changes.channel))
        if len(rows):
            keys = np.column_stack([changes.vector, changes.channel, changes.values.reshape(len(rows), -1)])
            _, first, each = np.unique(keys, axis=0, return_index=True, return_inverse=True)
            found[rows] = self._propagated(operation, changes[first], vectors)[each.reshape(-1)]
        return found

    def _propagated(self, operation: Operation, changes: Changes, vectors: Vectors) -> Bits:
        """Say which changes are seen, by computing all that follows the operation."""
        count = len(changes.vector)
        size = tile_size(self.network, count, self._threads)
        tiles = [slice(first, first + size) for first in range(0, count, size)]
        return np.concatenate(list(self._pool.map(lambda tile: self._tile(operation, changes[tile], vectors), tiles)))

    def _tile(self, operation: Operation, changes: Changes, vectors: Vectors) -> Bits:
        found = np.zeros(len(changes.vector), np.bool_)
        rows, vector = np.arange(len(found)), changes.vector
        values = {operation.name: _changed(vectors, operation.name, changes)}
        for follower, cut in self._followers[operation.name]:
            operands = [
                values[source] if source in values else _taken(vectors.values[source], vector)
                for source in follower.inputs
            ]
            value = values[follower.name] = self._steps[follower.name](*operands)
            if follower.name in self.observed:
                found[rows[self._differs(follower.name, value, vectors, vector)]] = True
            if cut and not isinstance(value, Sums):
                going = self._differs(follower.name, value, vectors, vector) & ~found[rows]
                rows, vector = rows[going], vector[going]
                values = {follower.name: value[going]}
                if not len(rows):
                    break
        return found

    def _differs(self, name: str, value: packed.Value, vectors: Vectors, vector: IntArray) -> Bits:
        now = vectors.values[name]
        if isinstance(now, Sums) or isinstance(value, Sums):
            now, value = vectors.integers(name), packed.integers(value, self._signals[name])
        different: Bits = (now[vector] != value).reshape(len(vector), -1).any(axis=1)
        return different

    @cached_property
    def _followers(self) -> Mapping[str, list[tuple[Operation, bool]]]:
        """What has to be computed behind a change of an operation, each with whether what follows reads nothing else.

        Only what leads to a result that is compared.
        """
        result: dict[str, list[tuple[Operation, bool]]] = {}
        needed = set(self.observed)
        for operation in reversed(self.network.operations):
            if operation.name in needed:
                needed.update(operation.inputs)
        for start in self.network.operations:
            reached = {start.name}
            behind = []
            for operation in self.network.operations:
                if operation.name in needed and reached.intersection(operation.inputs):
                    reached.add(operation.name)
                    behind.append(operation)
            read = [set(operation.inputs) & reached for operation in behind]
            result[start.name] = [
                (operation, all(names <= {operation.name} | {later.name for later in behind[i + 1 :]} for names in read[i + 1 :]))
                for i, operation in enumerate(behind)
            ]
        return result

    def _by_planting(self, group: Faults, index: int, vectors: Vectors) -> Bits:
        """Say which vectors show a fault of a whole operation, by running the faulty network."""
        key = (group.layer, group.kind, index)
        if key not in self._planted:
            self._planted[key] = Golden()
            self._planted[key].prepare(plant(self.network, group, index))
        got = self._planted[key].run(vectors.inputs, every_layer=True)
        shown = np.zeros(len(vectors), np.bool_)
        for name in self.observed & set(got):
            shown |= (got[name] != vectors.integers(name)).reshape(len(shown), -1).any(axis=1)
        return shown

    def _by_error(self, operation: Operation, group: Faults, which: IntArray, vectors: Vectors) -> Words:
        """Return what :meth:`shown` does, for weights of a dense layer of bipolar operands."""
        assert isinstance(operation, Dense)
        channel, place = group.channel[which], group.place[which]
        change = group.value[which] - operation.weight[channel, place]
        ones = pack_bits(np.ascontiguousarray(vectors.integers(operation.inputs[0]).T > 0))[place]
        shown = np.zeros(ones.shape, np.uint64)
        for size in np.unique(np.abs(change)).tolist():
            these = np.flatnonzero(np.abs(change) == size)
            neurons, number = np.unique(channel[these], return_inverse=True)
            neuron, vector = np.repeat(neurons, len(vectors)), np.tile(np.arange(len(vectors)), len(neurons))
            sums = vectors.channel(operation.name, vector, neuron)
            more, less = (
                pack_bits(self.visible(operation, Changes(vector, neuron, sums + error), vectors).reshape(len(neurons), -1))[number]
                for error in (size, -size)
            )
            up = np.where(change[these, None] > 0, ones[these], ~ones[these])  # the product has the weight's sign
            shown[these] = (up & more) | (~up & less)
        return shown

    def _faulty(
        self, operation: Operation, group: Faults, fault: IntArray, vector: IntArray, vectors: Vectors
    ) -> IntArray:
        """Return the faults' channels with the faults in them, int64, shape (rows, *positions)."""
        channel, place, value = (column[fault] for column in (group.channel, group.place, group.value))
        source = operation.inputs[0]
        match group.kind, operation:
            case "weight", Dense():
                change = value - operation.weight[channel, place]
                sums = vectors.channel(operation.name, vector, channel)
                return sums + change * vectors.integers(source)[vector, place]
            case "weight", Conv2d():
                change = value - operation.weight.reshape(len(operation.weight), -1)[channel, place]
                sums = vectors.channel(operation.name, vector, channel)
                y, x, i = np.unravel_index(place, operation.weight.shape[1:])
                return sums + change[:, None, None] * _windows(operation, vectors.integers(source))[vector, :, :, i, y, x]
            case "carry", _:
                sums = vectors.channel(operation.name, vector, channel)
                amount = channels.by_row(value, sums)
                least = channels.by_row(self.network.signals[operation.name].low[channel], sums)
                return sums - np.where(sums - least >= amount, amount, 0)
            case "threshold", Threshold():
                x = vectors.channel(source, vector, channel)
                return channels.passed(x, value, operation.direction[channel]) * 2 - 1
            case "direction", Threshold():
                x = vectors.channel(source, vector, channel)
                return channels.passed(x, operation.threshold[channel], value) * 2 - 1
            case "threshold", MultiThreshold():
                x, threshold = vectors.channel(source, vector, channel), operation.threshold[channel]
                threshold[np.arange(len(fault)), place] = value
                return channels.levels(operation, x, threshold, operation.direction[channel])
            case "direction", MultiThreshold():
                x = vectors.channel(source, vector, channel)
                return channels.levels(operation, x, operation.threshold[channel], value)
            case ("scale" | "offset"), Affine():
                x = vectors.channel(source, vector, channel)
                terms = {"scale": operation.scale[channel], "offset": operation.offset[channel], group.kind: value}
                return channels.by_row(terms["scale"], x) * x + channels.by_row(terms["offset"], x)
        raise TypeError(group.kind)


def _wide(network: Network) -> Mapping[str, Signal]:
    """Return signals with room for what a single fault makes of the values."""
    signals: dict[str, Signal] = {}
    for operation in network.operations:
        operands = [signals[source] for source in operation.inputs]
        signal = operation.infer(*operands)
        if isinstance(operation, Dense | Conv2d | Affine):
            largest = max(1, *(int(np.abs(end).max()) for end in (operands[0].low, operands[0].high)))
            signal = replace(signal, low=signal.low - 2 * largest, high=signal.high + 2 * largest, step=1)
        elif isinstance(operation, MultiThreshold):
            low = np.full_like(signal.low, operation.low)
            signal = replace(signal, low=low, high=low + operation.step * operation.levels)
        signals[operation.name] = signal
    return signals


def _windows(operation: Conv2d, x: NDArray[Any]) -> NDArray[Any]:
    """Return a view of what each weight is multiplied by: (vectors, height, width, inputs, kernel_h, kernel_w)."""
    top, bottom, left, right = operation.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=operation.pad_value)
    every = np.lib.stride_tricks.sliding_window_view(padded, operation.weight.shape[1:3], axis=(1, 2))
    return every[:, :: operation.stride[0], :: operation.stride[1]]


def _taken(value: packed.Value, vector: IntArray) -> packed.Value:
    return Sums(value.layer, value.patches[vector]) if isinstance(value, Sums) else value[vector]


def _changed(vectors: Vectors, name: str, changes: Changes) -> packed.Value:
    """Return an operation's value for the changes' vectors, with the channels changed."""
    signal, value = vectors.signals[name], vectors.values[name]
    new = changes.values.reshape(len(changes.vector), -1)
    if not signal.bipolar:
        numbers = vectors.integers(name)[changes.vector]
        flat = numbers.reshape(len(new), -1, signal.channels)
        flat[np.arange(len(new)), :, changes.channel] = new
        return numbers
    assert isinstance(value, np.ndarray)
    bits = value[changes.vector]
    old = vectors.channel(name, changes.vector, changes.channel).reshape(new.shape)
    row, position = np.nonzero(old != new)
    bit = position * signal.channels + changes.channel[row]
    np.bitwise_xor.at(bits, (row, bit // WORD), np.uint64(1) << (bit % WORD).astype(np.uint64))
    return bits
