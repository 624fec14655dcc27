"""Exact fault simulation: which vectors show which faults.

A fault changes one channel of one result. It is followed in three stages, each of which drops what has vanished:

1. the changed channel, from the sums and the fault alone. Where a layer takes bipolar values, a wrong weight makes one
   of few errors of its neuron's sum (-2, -1, +1, +2; of integers, plus or minus a power of two), and which one is told
   by the bits that come in. So a dense layer's errors are followed in place of its faults, and each fault picks its
   own, 64 vectors a word; a convolution's faults pick, 64 positions a word, which comparisons with its threshold they
   turn;
2. that channel through sums, thresholds and pools, as long as channels do not mix: for most, the threshold is out of
   reach;
3. the rest of the network on the golden model's packed kernels, every different change of a channel once.

A fault of a recurrent layer changes more than a channel: :mod:`~xnorflow.cosim.coverage.recurrence` follows it there.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    Add,
    Affine,
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
)
from xnorflow.bnn.packing import WORD, pack_bits, unpack, words
from xnorflow.cosim import packed
from xnorflow.cosim.coverage import channels
from xnorflow.cosim.coverage.faults import Faults, largest_change, plant
from xnorflow.cosim.coverage.patches import patches
from xnorflow.cosim.coverage.recurrence import FaultyRecurrent
from xnorflow.cosim.engine import outputs
from xnorflow.cosim.golden import Golden, cores, largest_bytes, tile_size
from xnorflow.cosim.sums import Sums

Bits = NDArray[np.bool_]
Words = NDArray[np.uint64]

#: Values of one array that stage 1 makes at once.
_AT_ONCE = 1 << 22

#: As how many multiplications it counts to look at one position of a fault in one vector.
_PRODUCTS_EACH = 500

#: Kinds of faults that are in a whole operation: few, and each is planted.
_WHOLE = ("padding", "order", "tie")


@dataclass(frozen=True, eq=False)
class Changes:
    """Changed channels of one operation's result, one a row.

    Attributes
    ----------
    vector, channel : int64 array, shape (rows,)
    values : integer array, shape (rows, *positions)
        The channel's new values.
    """

    vector: IntArray
    channel: IntArray
    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.vector)

    def __getitem__(self, rows: NDArray[Any]) -> "Changes":
        return Changes(self.vector[rows], self.channel[rows], self.values[rows])

    def told_by(self) -> list[NDArray[Any]]:
        """Return columns of numbers that tell changes apart."""
        return [self.vector, self.channel]

    def value(self, vectors: "Vectors", name: str) -> packed.Value:
        """Return an operation's value for the rows' vectors, with the channels changed."""
        return _changed(vectors, name, self)


@dataclass(frozen=True, eq=False)
class States:
    """Changed results of an operation of bipolar values, one a row.

    Attributes
    ----------
    vector : int64 array, shape (rows,)
    values : int8 array, shape (rows, *result shape)
    """

    vector: IntArray
    values: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.vector)

    def __getitem__(self, rows: NDArray[Any]) -> "States":
        return States(self.vector[rows], self.values[rows])

    def told_by(self) -> list[NDArray[Any]]:
        """Return columns of numbers that tell changes apart."""
        return [self.vector]

    def value(self, vectors: "Vectors", name: str) -> packed.Value:
        """Return the operation's value."""
        return pack_bits(self.values.reshape(len(self), -1) > 0)


@dataclass(frozen=True, eq=False)
class Vectors:
    """Some vectors and every operation's value for them.

    Attributes
    ----------
    inputs : integer array, shape (vectors, *input shape)
    values : mapping of operation name to packed value
    signals : mapping of operation name to Signal
    """

    inputs: NDArray[np.integer[Any]]
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

    def channel(self, name: str, vector: IntArray, channel: IntArray) -> NDArray[Any]:
        """Return one channel of an operation's result per row, int64 or bipolar int8, shape (rows, *positions)."""
        whole = self.integers(name)
        rows = whole.reshape(len(whole), -1, whole.shape[-1])[vector, :, channel]
        kind = np.int8 if self.signals[name].bipolar else np.int64
        return rows.astype(kind, copy=False).reshape(len(rows), *whole.shape[1:-1])


class Simulator:
    """Tells which faults vectors show.

    Parameters
    ----------
    network : Network
    observed : sequence of operation names, optional
        The results that are compared; by default those of :func:`xnorflow.cosim.engine.outputs`.

    Attributes
    ----------
    work : int
        Multiplications done so far, about: the same for the same questions, on whatever machine.
    """

    def __init__(self, network: Network, observed: Sequence[str] | None = None) -> None:
        self.network = network
        self.observed = frozenset(outputs(network) if observed is None else observed)
        self._signals = _wide(network)
        self._steps = packed.steps(network, self._signals)
        self._threads = cores()
        self._pool = ThreadPoolExecutor(self._threads)
        self._planted: dict[tuple[str, str, int], Golden] = {}
        self._products = {name: products(network, name) for name in network.signals}
        self.work = 0

    def vectors(self, inputs: NDArray[np.integer[Any]]) -> Vectors:
        """Compute every result for some inputs, as :meth:`xnorflow.cosim.golden.Golden.run` takes them."""
        values: dict[str, packed.Value] = {}
        for operation in self.network.operations:
            operands: list[Any] = [values[source] for source in operation.inputs] or [np.ascontiguousarray(inputs)]
            values[operation.name] = self._steps[operation.name](*operands)
        self.work += len(inputs) * sum(self._products.values())
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
        positions = self._signals[group.layer].size // self._signals[group.layer].channels
        self.work += _PRODUCTS_EACH * len(which) * len(vectors) * positions
        if group.kind in _WHOLE:
            return pack_bits(np.array([self._by_planting(group, int(index), vectors) for index in which]))
        if isinstance(operation, Recurrent):
            return self._by_states(operation, group, which, vectors)
        if group.kind == "weight" and self._signals[operation.inputs[0]].bipolar:
            if isinstance(operation, Dense):
                return self._by_error(operation, group, which, vectors)
            if (path := self._path(operation)) is not None:
                return self._by_flips(operation, path, group, which, vectors)
        result = []
        size = max(1, _AT_ONCE // (len(vectors) * positions))
        for first in range(0, len(which), size):
            some = which[first : first + size]
            fault = np.repeat(some, len(vectors))
            vector = np.tile(np.arange(len(vectors)), len(some))
            changes = Changes(vector, group.channel[fault], self._faulty(operation, group, fault, vector, vectors))
            result.append(pack_bits(self.visible(operation, changes, vectors).reshape(len(some), -1)))
        return np.concatenate(result)

    def visible(self, operation: Operation, changes: Changes, vectors: Vectors) -> Bits:
        """Say which changes of an operation's result change a result that is compared, shape (rows,)."""
        found = np.zeros(len(changes), np.bool_)
        rows = np.arange(len(found))
        while len(rows):
            now = vectors.channel(operation.name, changes.vector, changes.channel)
            differ = (now != changes.values).any(axis=tuple(range(1, now.ndim)))
            rows, changes = rows[differ], changes[differ]
            if operation.name in self.observed:
                found[rows] = True
                return found
            reader = self._only_reader(operation)
            if reader is None:
                break
            if isinstance(reader, Add):
                shift = reader.shifts[reader.inputs.index(operation.name)]
                more = (changes.values.astype(np.int64) - now[differ]) << shift
                changes = replace(changes, values=vectors.channel(reader.name, changes.vector, changes.channel) + more)
            elif isinstance(reader, channels.CHANNELWISE):
                changes = replace(changes, values=channels.apply(reader, changes.values, changes.channel))
            else:
                break
            operation = reader
        if len(rows):
            found[rows] = self._once(operation, changes, vectors)
        return found

    def _once(self, operation: Operation, changes: Changes | States, vectors: Vectors) -> Bits:
        """Say which changes are seen, by computing every different one once."""
        first, each = _distinct(changes, self._signals[operation.name].bipolar)
        return self._propagated(operation, changes[first], vectors)[each]

    def _only_reader(self, operation: Operation) -> Operation | None:
        """Return the operation that reads a result if there is one alone, and it reads it once."""
        readers = self.network.consumers(operation.name)
        return readers[0] if len(readers) == 1 and readers[0].inputs.count(operation.name) == 1 else None

    def _path(self, operation: Operation) -> list[Operation] | None:
        """Return what follows a convolution up to its threshold, if that is sums, perhaps a max pool, and no more."""
        path: list[Operation] = []
        at: Operation | None = operation
        while at is not None and at.name not in self.observed:
            at = self._only_reader(at)
            plain = (isinstance(at, Add) and not at.shift) or isinstance(at, MaxPool2d)
            if plain and not (path and isinstance(path[-1], MaxPool2d)):
                assert at is not None
                path.append(at)
            else:
                return [*path, at] if isinstance(at, Threshold) else None
        return None

    def _propagated(self, operation: Operation, changes: Changes | States, vectors: Vectors) -> Bits:
        """Say which changes are seen, by computing all that follows the operation."""
        count = len(changes)
        self.work += count * sum(self._products[follower.name] for follower, _ in self._followers[operation.name])
        size = tile_size(largest_bytes(self.network), count, self._threads)
        tiles = [slice(first, first + size) for first in range(0, count, size)]
        return np.concatenate(list(self._pool.map(lambda tile: self._tile(operation, changes[tile], vectors), tiles)))

    def _tile(self, operation: Operation, changes: Changes | States, vectors: Vectors) -> Bits:
        found = np.zeros(len(changes), np.bool_)
        rows, vector = np.arange(len(found)), changes.vector
        values = {operation.name: changes.value(vectors, operation.name)}
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
                (
                    operation,
                    all(
                        names <= {operation.name} | {later.name for later in behind[i + 1 :]} for names in read[i + 1 :]
                    ),
                )
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

    def _by_states(self, operation: Recurrent, group: Faults, which: IntArray, vectors: Vectors) -> Words:
        """Return what :meth:`shown` does, for faults of a recurrent layer."""
        source, right = operation.inputs[0], vectors.integers(operation.name)
        followed = FaultyRecurrent(operation, self.network.signals[source], vectors.integers(source))
        shown = np.zeros((len(which), len(vectors)), np.bool_)
        size = max(1, _AT_ONCE // (len(vectors) * self._signals[source].size))
        for some in (np.arange(first, min(first + size, len(which))) for first in range(0, len(which), size)):
            number, vector = np.repeat(some, len(vectors)), np.tile(np.arange(len(vectors)), len(some))
            turned = followed.turned(group, which[number], vector)
            number, vector = number[turned], vector[turned]
            self.work += len(vector) * self._products[operation.name]
            states = States(vector, followed.faulty(group, which[number], vector))
            differ = (states.values != right[vector]).any(axis=tuple(range(1, right.ndim)))
            if operation.name not in self.observed and differ.any():
                differ[differ] = self._once(operation, states[differ], vectors)
            shown[number, vector] = differ
        return pack_bits(shown)

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
                pack_bits(
                    self.visible(operation, Changes(vector, neuron, sums + error), vectors).reshape(len(neurons), -1)
                )[number]
                for error in (size, -size)
            )
            up = np.where(change[these, None] > 0, ones[these], ~ones[these])  # the product has the weight's sign
            shown[these] = (up & more) | (~up & less)
        return shown

    def _by_flips(
        self, operation: Operation, path: list[Operation], group: Faults, which: IntArray, vectors: Vectors
    ) -> Words:
        """Return what :meth:`shown` does, for weights of a convolution of bipolar operands, a `path` to a threshold.

        A pool goes behind the comparison: the largest value reaches a limit where any does.
        """
        *before, sign = path
        assert isinstance(operation, Conv2d) and isinstance(sign, Threshold)
        pool = before.pop() if before and isinstance(before[-1], MaxPool2d) else None
        count = len(vectors)
        channel, place = group.channel[which], group.place[which]
        change = group.value[which] - operation.weight.reshape(len(operation.weight), -1)[channel, place]
        seen = patches(operation, vectors.integers(operation.inputs[0]), operation.pad_value)
        taps = np.ascontiguousarray(seen.transpose(4, 5, 3, 0, 1, 2)).reshape(-1, count, seen.shape[1] * seen.shape[2])
        plus, minus = pack_bits(taps > 0), pack_bits(taps < 0)
        sums = _by_channel(vectors.integers((before or [operation])[-1].name))
        down = sign.direction < 0  # x <= t is the opposite of x >= t + 1
        limit = (sign.threshold + down)[:, None, None]
        above = sums >= limit
        now, positions = pack_bits(above), sums.shape[2]
        flipped = {
            error: pack_bits((sums + error >= limit) != above)
            for size in np.unique(np.abs(change)).tolist()
            for error in (size, -size)
        }
        shown = np.zeros((len(which), count), np.bool_)
        size = max(1, _AT_ONCE // (count * positions))
        for error in np.unique(change).tolist():
            these = np.flatnonzero(change == error)
            for some in (these[first : first + size] for first in range(0, len(these), size)):
                flips = plus[place[some]] & flipped[error][channel[some]]
                flips |= minus[place[some]] & flipped[-error][channel[some]]
                fault, vector = np.nonzero(flips.any(axis=2))
                neuron = channel[some[fault]]
                new = unpack(now[neuron, vector] ^ flips[fault, vector], positions)
                new = new.reshape(-1, *self._signals[operation.name].shape[:2])
                new = channels.apply(pool, new, neuron) if pool else new
                turned = channels.by_row(sign.direction[neuron], new)
                shown[some[fault], vector] = self.visible(sign, Changes(vector, neuron, new * turned), vectors)
        return pack_bits(shown)

    def _faulty(
        self, operation: Operation, group: Faults, fault: IntArray, vector: IntArray, vectors: Vectors
    ) -> NDArray[Any]:
        """Return the faults' channels with the faults in them, shape (rows, *positions)."""
        channel, place, value = (column[fault] for column in (group.channel, group.place, group.value))
        source = operation.inputs[0]
        changed: NDArray[Any]
        match group.kind, operation:
            case "weight", Dense():
                change = value - operation.weight[channel, place]
                sums = vectors.channel(operation.name, vector, channel)
                changed = sums + change * vectors.integers(source)[vector, place]
                return changed
            case "weight", Conv2d():
                change = value - operation.weight.reshape(len(operation.weight), -1)[channel, place]
                sums = vectors.channel(operation.name, vector, channel)
                y, x, i = np.unravel_index(place, operation.weight.shape[1:])
                changed = (
                    sums
                    + change[:, None, None]
                    * patches(operation, vectors.integers(source), operation.pad_value)[vector, :, :, i, y, x]
                )
                return changed
            case "carry", _:
                sums = vectors.channel(operation.name, vector, channel)
                amount = channels.by_row(value, sums)
                least = channels.by_row(self.network.signals[operation.name].low[channel], sums)
                changed = sums - np.where(sums - least >= amount, amount, 0)
                return changed
            case "threshold", Threshold():
                x = vectors.channel(source, vector, channel)
                return channels.signs(x, value, operation.direction[channel])
            case "direction", Threshold():
                x = vectors.channel(source, vector, channel)
                return channels.signs(x, operation.threshold[channel], value)
            case "threshold", MultiThreshold():
                x, threshold = vectors.channel(source, vector, channel), operation.threshold[channel]
                threshold[np.arange(len(fault)), place] = value
                return channels.levels(operation, x, threshold, operation.direction[channel])
            case "direction", MultiThreshold():
                x = vectors.channel(source, vector, channel)
                return channels.levels(operation, x, operation.threshold[channel], value)
            case (("scale" | "offset"), Affine()):
                x = vectors.channel(source, vector, channel)
                terms = {"scale": operation.scale[channel], "offset": operation.offset[channel], group.kind: value}
                changed = channels.by_row(terms["scale"], x) * x + channels.by_row(terms["offset"], x)
                return changed
        raise TypeError(group.kind)


def _wide(network: Network) -> Mapping[str, Signal]:
    """Return signals with room for what a single fault makes of the values."""
    signals: dict[str, Signal] = {}
    for operation in network.operations:
        operands = [signals[source] for source in operation.inputs]
        signal = operation.infer(*operands)
        if isinstance(operation, Dense | Conv2d | Affine):
            largest = max(1, *(int(np.abs(end).max()) for end in (operands[0].low, operands[0].high)))
            largest *= 2 if isinstance(operation, Affine) else largest_change(operation)
            signal = replace(signal, low=signal.low - largest, high=signal.high + largest, step=1)
        elif isinstance(operation, MultiThreshold):
            low = np.full_like(signal.low, operation.low)
            signal = replace(signal, low=low, high=low + operation.step * operation.levels)
        signals[operation.name] = signal
    return signals


def products(network: Network, name: str) -> int:
    """Return the multiplications of an operation for one vector, or else its values."""
    operation, values = network[name], network.signals[name].size
    if isinstance(operation, Recurrent):
        values = network.signals[operation.inputs[0]].size
    return values * operation.weight[0].size if isinstance(operation, Dense | Conv2d | Recurrent) else values


def _by_channel(x: NDArray[Any]) -> NDArray[Any]:
    """Return results, shape (vectors, *positions, channels), as (channels, vectors, positions)."""
    return np.ascontiguousarray(np.moveaxis(x.reshape(len(x), -1, x.shape[-1]), 2, 0))


def _distinct(changes: Changes | States, bipolar: bool) -> tuple[IntArray, IntArray]:
    """Return rows that hold every different change once, and which of them each row is."""
    values = changes.values.reshape(len(changes), -1)
    columns = [column[:, None] for column in changes.told_by()]
    columns.append(pack_bits(values > 0).view(np.int64) if bipolar else values.astype(np.int64))
    keys = np.concatenate(columns, axis=1)
    _, first, each = np.unique(keys.view(f"V{keys.itemsize * keys.shape[1]}"), return_index=True, return_inverse=True)
    return first, each.reshape(-1)


def _taken(value: packed.Value, vector: IntArray) -> packed.Value:
    return Sums(value.layer, value.patches[vector]) if isinstance(value, Sums) else value[vector]


def _changed(vectors: Vectors, name: str, changes: Changes) -> packed.Value:
    """Return an operation's value for the changes' vectors, with the channels changed."""
    signal, value = vectors.signals[name], vectors.values[name]
    new = changes.values.reshape(len(changes), -1)
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
