"""Leaving out what cannot matter: neurons that the ranges of the data make constant, and values that nobody reads.

A constant neuron is not computed: its share in each sum behind it moves into the threshold or the offset there. What
then has no reader left goes, too: a value whose weights are all zero in the layer that takes it in. Either can make
more of the other, so constants are followed from the front to the back and readers from the back to the front.

Only a network without branches and loops is pruned. It is cut into *sections*, each a dense layer or convolution with
what follows it up to the next one; the neurons of a section can be left out, the values of the network's input cannot.
At least one neuron always stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    OPERATIONS,
    Affine,
    Conv2d,
    Dense,
    DepthToSpace,
    Flatten,
    IntArray,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    Recurrent,
    Signal,
    SumPool2d,
    Threshold,
    refusal,
)


@dataclass(frozen=True, eq=False)
class Remains:
    """How to tell a layer's results from those of the same layer in the pruned network.

    Attributes
    ----------
    kept : int64 array
        The channels that are still computed, in order.
    base : int64 array, shape (channels,)
        The values of the constant channels; for those kept, what has to be added.
    """

    kept: IntArray
    base: IntArray


@dataclass(frozen=True, eq=False)
class Pruned:
    """A network with less in it that computes the same output.

    Attributes
    ----------
    network : Network
        Its layers bear the same names.
    remains : mapping of layer name to Remains or None
        The layers whose results differ from the whole network's; None where something unread is gone.
    counts : mapping of layer name to (int, int)
        For each layer with weights: its neurons that are left out as constant, and its input channels without a reader.
    """

    network: Network
    remains: Mapping[str, Remains | None]
    counts: Mapping[str, tuple[int, int]]


@lru_cache(maxsize=8)  # each folding of a network asks for it
def prune(network: Network) -> Pruned:
    """Return `network` without constant neurons and values that nobody reads; exact.

    One with branches, with a state that is fed back, or that makes pixels of channels, stays as it is.
    """
    for operation in network.operations:
        if type(operation) not in OPERATIONS.values():
            raise refusal(operation, "pruning")
    if any(
        len(operation.inputs) > 1
        or len(network.consumers(operation.name)) > 1
        or isinstance(operation, DepthToSpace | Recurrent)
        for operation in network.operations
    ):
        weighted = (operation.name for operation in network.operations if isinstance(operation, Dense | Conv2d))
        return Pruned(network, {}, dict.fromkeys(weighted, (0, 0)))
    sections = _sections(network)
    constants = [0] * len(sections)
    signal = network.signals[network.input.name]
    for i, section in enumerate(sections):
        low, high = section.settle(signal)
        if i + 1 < len(sections) and not section.fixed:
            constant = sections[i + 1].removable(low, high)
            if constant.all():
                constant[0] = False
            sections[i + 1].absorb(constant, low)
            section.leave_out(constant, low)
            constants[i] = int(constant.sum())
        signal = section.signal(signal)
    unread = [0] * len(sections)
    for i in range(len(sections) - 1, 0, -1):
        unread[i] = sections[i].unread_inputs()
        nobody = ~sections[i].reads(sections[i - 1].channels)
        if nobody.any() and not sections[i - 1].fixed:
            if nobody.all():
                nobody[0] = False
            sections[i].forget(nobody)
            sections[i - 1].leave_out(nobody, None)
    operations = [operation for section in sections for operation in section.operations]
    remains = {name: left for section in sections for name, left in section.remains(network).items()}
    counts = {s.operations[0].name: (constants[i], unread[i]) for i, s in enumerate(sections) if i}
    return Pruned(Network(network.name, tuple(operations)), remains, counts)


def _sections(network: Network) -> list["_Section"]:
    starts = [0, *(i for i, op in enumerate(network.operations) if isinstance(op, Dense | Conv2d)), None]
    return [_Section(list(network.operations[start:end])) for start, end in pairwise(starts)]


class _Section:
    """The input or a layer with weights, and the operations that follow it channel by channel."""

    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations
        self.kept = np.arange(self.channels)  # numbers in the whole network
        self.values = np.zeros(self.channels, np.int64)  # of the constant channels
        self.shift: IntArray | None = None  # what the sums lack, where it is made good later in the section
        self.lost = False  # whether something that is not constant was left out

    @property
    def head(self) -> Operation:
        return self.operations[0]

    @property
    def channels(self) -> int:
        """Neurons of the head."""
        head = self.head
        return head.weight.shape[0] if isinstance(head, Dense | Conv2d) else head.infer().channels

    def signal(self, source: Signal) -> Signal:
        """Return what the section gives for what it takes."""
        for operation in self.operations:
            source = operation.infer(source) if operation.inputs else operation.infer()
        return source

    @property
    def fixed(self) -> bool:
        """Whether nothing can be left out: the input, or something behind a flatten that tells pixels apart."""
        kinds = [type(operation) for operation in self.operations]
        flattened = kinds[kinds.index(Flatten) :] if Flatten in kinds else []
        return not self.head.inputs or not {Threshold, MultiThreshold, Affine}.isdisjoint(flattened)

    def settle(self, source: Signal) -> tuple[IntArray, IntArray]:
        """Clamp thresholds to what reaches them; return the smallest and largest value of each channel at the end."""
        x = self.head.infer(source) if self.head.inputs else self.head.infer()
        for index, operation in enumerate(self.operations[1:], 1):
            if isinstance(operation, Threshold):
                up = operation.direction > 0
                bound = operation.threshold.clip(x.low - ~up, x.high + up)
                self.operations[index] = operation = replace(operation, threshold=bound)
                least, most = (
                    np.where(up, x.low >= bound, x.high <= bound),
                    np.where(up, x.high >= bound, x.low <= bound),
                )
                low, high = (2 * result.astype(np.int64) - 1 for result in (least, most))
                x = replace(operation.infer(x), low=low, high=high)
            elif isinstance(operation, MultiThreshold):
                up = operation.direction[:, None] > 0
                bound = operation.threshold.clip(x.low[:, None] - ~up, x.high[:, None] + up)
                self.operations[index] = operation = replace(operation, threshold=bound)
                x = operation.infer(x)
            else:
                x = operation.infer(x)
        return x.low[: self.channels], x.high[: self.channels]

    def _absorber(self) -> int | None:
        """Return the index of the operation that can take a constant into itself which the head's sums lack."""
        for index, operation in enumerate(self.operations[1:], 1):
            if isinstance(operation, Threshold) or (isinstance(operation, Affine) and index == 1):
                return index
            if not isinstance(operation, MaxPool2d):
                break
        return None

    def removable(self, low: IntArray, high: IntArray) -> NDArray[np.bool_]:
        """Return which of the source's channels are constant and can be done without."""
        constant: NDArray[np.bool_] = low == high
        if self._absorber() is None:
            return np.zeros_like(constant)
        if isinstance(self.head, Conv2d) and any(self.head.padding):
            constant &= low == self.head.pad_value  # else the borders see something else than the inside
        return constant

    def _columns(self, channels: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which positions of the weights' last axis read some of the source's channels."""
        assert isinstance(self.head, Dense | Conv2d)
        return np.tile(channels, self.head.weight.shape[-1] // channels.size)

    def unread_inputs(self) -> int:
        """Return how many positions of the weights' last axis hold nothing but zeros."""
        assert isinstance(self.head, Dense | Conv2d)
        return int((~self.reads(self.head.weight.shape[-1])).sum())

    def reads(self, channels: int) -> NDArray[np.bool_]:
        """Return which of the source's channels have a weight that is not zero."""
        assert isinstance(self.head, Dense | Conv2d)
        read: NDArray[np.bool_] = self.head.weight.reshape(-1, channels).any(0)
        return read

    def forget(self, channels: NDArray[np.bool_]) -> None:
        """Take some of the source's channels out of the weights."""
        assert isinstance(self.head, Dense | Conv2d)
        self.operations[0] = replace(self.head, weight=self.head.weight[..., ~self._columns(channels)])

    def absorb(self, channels: NDArray[np.bool_], values: IntArray) -> None:
        """Take channels of constant values out of the weights, and let the operation behind make it good."""
        index = self._absorber()
        if index is None or not channels.any():
            return
        head, columns = self.head, self._columns(channels)
        assert isinstance(head, Dense | Conv2d)
        each = np.tile(values, columns.size // values.size)
        shift = (head.weight[..., columns].astype(np.int64) * each[columns]).reshape(self.channels, -1).sum(1)
        self.forget(channels)
        absorber = self.operations[index]
        if isinstance(absorber, Threshold):
            self.operations[index] = replace(absorber, threshold=absorber.threshold - shift)
        else:
            assert isinstance(absorber, Affine)
            self.operations[index] = replace(absorber, offset=absorber.offset + absorber.scale * shift)
        self.shift = shift

    def leave_out(self, channels: NDArray[np.bool_], values: IntArray | None) -> None:
        """Leave out neurons whose result is constant (`values`) or unread (None)."""
        if not channels.any():
            return
        if values is None:
            self.lost = True
        else:
            self.values[self.kept[channels]] = values[channels]
        self.kept = self.kept[~channels]
        for index, operation in enumerate(self.operations):
            if isinstance(operation, Dense | Conv2d):
                operation = replace(operation, weight=operation.weight[~channels])
            elif isinstance(operation, Threshold | MultiThreshold):
                operation = replace(
                    operation, threshold=operation.threshold[~channels], direction=operation.direction[~channels]
                )
            elif isinstance(operation, Affine):
                operation = replace(operation, scale=operation.scale[~channels], offset=operation.offset[~channels])
            self.operations[index] = operation

    def remains(self, network: Network) -> dict[str, Remains | None]:
        """Return how each layer of the section differs from that of the whole network, where it does."""
        everything = self.values.size
        if self.kept.size == everything:
            absorber = self._absorber()
            if self.shift is None or absorber is None:
                return {}
            return {op.name: Remains(self.kept, self.shift) for op in self.operations[:absorber]}
        changing = (Threshold, MultiThreshold, Affine, SumPool2d)
        constant_from = max(i for i, op in enumerate(self.operations) if i == 0 or isinstance(op, changing))
        remains: dict[str, Remains | None] = {}
        for index, operation in enumerate(self.operations):
            copies = network.signals[operation.name].channels // everything
            kept = (np.arange(copies)[:, None] * everything + self.kept).ravel()
            known = index >= constant_from and not self.lost
            remains[operation.name] = Remains(kept, np.tile(self.values, copies)) if known else None
        return remains
