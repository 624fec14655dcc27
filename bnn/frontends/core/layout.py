"""Positions: which integer of which operation each element of a framework's tensor is."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.core.building import Builder
from xnorflow.bnn.frontends.core.sums import Encoding
from xnorflow.bnn.frontends.core.value import Array, Value, reindexed
from xnorflow.bnn.network import Flatten, IntArray, Signal


@dataclass(frozen=True, eq=False)
class Operand:
    """One operation among the sources of a value.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of its values, behind the pools that wait.
    start : int
        First of its indices.
    channel : int
        First of its channels.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    channel: int

    @property
    def stop(self) -> int:
        return self.start + int(np.prod(self.shape))

    @property
    def channels(self) -> slice:
        return slice(self.channel, self.channel + self.shape[-1])


def canonical(shape: tuple[int, ...]) -> IntArray:
    """Return the positions of a tensor that holds values of `shape`, channels last, with its channels first."""
    return np.moveaxis(np.arange(int(np.prod(shape))).reshape(shape), -1, 0)


def concatenated(*encodings: Encoding) -> Encoding:
    """Return one encoding for the channels of several."""
    fields = ("scale", "shift", "fixed", "relative")
    return Encoding(*(np.concatenate([getattr(encoding, field) for encoding in encodings]) for field in fields))


def selected(encoding: Encoding, index: IntArray | slice) -> Encoding:
    """Return the encoding of some channels, in that order."""
    return Encoding(*(getattr(encoding, field)[index] for field in ("scale", "shift", "fixed", "relative")))


class Layout(Builder):
    """A Network in the making, and where its integers stand in tensors.

    Attributes
    ----------
    place : object
        The reader's key of the tensor at hand.
    """

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.place: object = None
        self.channels_last = False  # whether the framework has them there, for messages
        self._flat: dict[str, str] = {}

    def at(self, where: str, place: object) -> None:
        """Say which operator comes next: its name for people, and the reader's key of what it gives."""
        self.where, self.place = where, place

    def parts(self, value: Value) -> Iterator[Operand]:
        """Give the operations that a value is made from."""
        start = channel = 0
        for name in value.sources:
            shape = self.signals[name].shape
            for window, _ in value.pools:
                shape = window.shape(shape)
            part = Operand(name, shape, start, channel)
            yield part
            start, channel = part.stop, channel + shape[-1]

    def joined(self, value: Value) -> Signal:
        """Say what is known of the integers of all channels, before the pools that wait."""
        signals = [self.signals[name] for name in value.sources]
        if len(signals) == 1:
            return signals[0]
        low, high = (np.concatenate([getattr(signal, end) for signal in signals]) for end in ("low", "high"))
        step = int(np.gcd.reduce([signal.step for signal in signals]))
        return Signal((len(low),), low, high, all(signal.bipolar for signal in signals), step)

    def channels_of(self, value: Value) -> IntArray:
        """Return the channel of every element of the tensor."""
        result = np.empty_like(value.positions)
        for part in self.parts(value):
            inside = (value.positions >= part.start) & (value.positions < part.stop)
            result[inside] = part.channel + (value.positions[inside] - part.start) % part.shape[-1]
        return result

    def by_channel(self, values: list[Value], constants: list[Array]) -> tuple[list[Value], list[Array]]:
        """Turn constants into one number per channel of the integers that values are made of.

        Parameters
        ----------
        values : list of Value
            Made of the same integers.
        constants : list of array
            Each of the tensors' shape without their batch axis, or broadcast to it as the framework would.

        Returns
        -------
        list of Value
            The same; where elements of one channel meet different numbers, flattened, so that each has its own.
        list of array, shape (channels,)

        Raises
        ------
        UserError
            If they do in an image.
        """
        spread = [np.broadcast_to(constant, values[0].positions.shape).ravel() for constant in constants]
        if (found := self._gathered(values[0], spread)) is None and values[0].positions.ndim == 1:
            values = [self.flattened(value) for value in values]
            found = self._gathered(values[0], spread)
        if found is None:
            raise self.fail("the same for every position of the image", "constants that differ from one to the next")
        return values, found

    def _gathered(self, value: Value, constants: list[Array]) -> list[Array] | None:
        channels, found = self.channels_of(value).ravel(), []
        for constant in constants:
            result = np.full(len(value.encoding.scale), constant[0])
            result[channels] = constant
            if not np.array_equal(result[channels], constant):
                return None
            found.append(result)
        return found

    def flattened(self, value: Value) -> Value:
        """Make vectors of all images in the Network; positions stay what they are."""
        if all(len(self.signals[name].shape) == 1 for name in value.sources):
            return value
        value = self.pooled(value)
        names, index = [], []
        for part in self.parts(value):
            elements = np.arange(part.stop - part.start)
            index.append(part.channel + elements % part.shape[-1])
            if len(part.shape) == 1:
                names.append(part.name)
                continue
            if part.name not in self._flat:
                self._flat[part.name] = self.new_name("flatten")
                self.append(Flatten(self._flat[part.name], (part.name,)))
            names.append(self._flat[part.name])
        whole = np.concatenate(index)
        return replace(
            value,
            sources=tuple(names),
            encoding=selected(value.encoding, whole),
            step=reindexed(value.step, whole, len(value.encoding.scale)),
        )

    def pooled(self, value: Value) -> Value:
        """Take the maxima that wait, on the integers."""
        raise NotImplementedError

    def planes(self, value: Value) -> IntArray:
        """Return the channel that each of a tensor's channels is, of an image (channels, height, width) or (.., width).

        Raises
        ------
        UserError
            If the tensor is no such image, or its rows and columns are not those of the operations.
        """
        parts = list(self.parts(value))
        wanted = self.channels_of(value)
        plane = wanted.reshape(len(wanted), -1)[:, 0]
        if value.positions.ndim in (2, 3) and all(len(part.shape) == 3 for part in parts):
            heights = {part.shape[:2] for part in parts}
            rows = value.positions.reshape(len(wanted), -1)
            if len(heights) == 1 and rows.shape[1] == np.prod(parts[0].shape[:2]):
                expected = np.empty_like(rows)
                for part in parts:
                    mine = (plane >= part.channel) & (plane < part.channels.stop)
                    pixels = np.arange(rows.shape[1]) * part.shape[-1]
                    expected[mine] = part.start + pixels + (plane[mine, None] - part.channel)
                tall = value.positions.ndim == 2 and parts[0].shape[0] != 1
                if not tall and np.array_equal(rows, expected):
                    return plane
        layout = "last, (N, H, W, C)" if self.channels_last else "first, (N, C, H, W)"
        raise self.fail(f"an image with its channels {layout}", self.describe(value))

    def describe(self, value: Value) -> str:
        """Say what a tensor is, for messages."""
        shapes, shape = " and ".join(str(part.shape) for part in self.parts(value)), value.positions.shape
        shape = (*shape[1:], *shape[:1]) if self.channels_last else shape
        return f"shape (N, {', '.join(map(str, shape))}), made from {shapes} (channels last)"

    def refuse_padding(self, value: Value, what: str) -> None:
        if any(value.padding):
            raise self.fail("a convolution after padding", what)

    def not_here(self, step_where: str) -> UserError:
        """Return the error for real numbers where integers are needed."""
        here = self.where.partition(", ")[2]
        before = f" (before {here})" if here and not step_where.endswith(here) else ""
        return UserError(
            f"{step_where}: expected a sign or quantiser after it{before}, or the end of the model; values that are "
            "neither bipolar nor integer have no place in a binary network"
        )
