"""What is known of a framework's tensors, as immutable values; what a conversion gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.frontends.core.sums import Encoding, FloatArray
from xnorflow.bnn.network import IntArray, MaxPool2d, Network

if TYPE_CHECKING:
    from xnorflow.bnn.frontends.core.fixed import Rounded

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Elementwise:
    """An operator that treats every value by itself, as the framework computes it, channel by channel.

    Attributes
    ----------
    where : str
        Its name for people, which starts messages.
    compute : callable
        From one array (n, channels) per operand to its results, of the same shape. It computes in the precision of
        what it is given: float32 as the framework does, float64 as near to real numbers as it can; it may leave these
        types where the framework does (bool, int64).
    operands : tuple of Elementwise or None
        None is the value that the integers stand for.
    before : object
        The reader's key of the tensor that it takes, the first of several.
    kind : {"", "sign", "scores"}
        ``sign`` for one that is known to give 0 at 0, so that a note can say where it does; ``scores`` for one that
        changes no order, which is left out at the end of a model.
    """

    where: str
    compute: Callable[..., Array]
    operands: tuple["Elementwise | None", ...]
    before: Any
    kind: Literal["", "sign", "scores"] = ""


def run(values: Array, *steps: Elementwise | None, behind: Elementwise | None = None) -> tuple[Array, ...]:
    """Compute steps, and what they need, on values (n, channels), which `behind` gave; each is computed once."""
    known: dict[Elementwise | None, Array] = {behind: values}

    def of(step: Elementwise | None) -> Array:
        if step not in known:
            assert step is not None
            known[step] = step.compute(*(of(operand) for operand in step.operands))
        return known[step]

    return tuple(of(step) for step in steps)


def steps_of(step: Elementwise | None) -> list[Elementwise]:
    """List a step and all that it needs, each once."""
    found: dict[Elementwise, None] = {}
    waiting = [step]
    while waiting:
        of = waiting.pop()
        if of is not None and of not in found:
            found[of] = None
            waiting += of.operands
    return list(found)


def reindexed(step: Elementwise | None, index: IntArray, channels: int) -> Elementwise | None:
    """Return a step for other channels: the one numbered i is treated as channel ``index[i]`` of `channels` was."""
    if step is None:
        return None
    return Elementwise(step.where, spread(lambda values: run(values, step)[0], index, channels), (None,), step.before)


def spread(compute: Callable[[Array], Array], index: IntArray, channels: int) -> Callable[[Array], Array]:
    """Return what computes on other channels: on the one numbered i as `compute` does on ``index[i]`` of `channels`."""
    copies = np.zeros(len(index), np.int64)
    for channel in range(channels):
        (members,) = np.nonzero(index == channel)
        copies[members] = np.arange(len(members))

    def on_all(values: Array) -> Array:
        wide = np.zeros((int(copies.max(initial=0)) + 1, len(values), channels), values.dtype)
        wide[copies, :, index] = values.T
        result = compute(wide.reshape(-1, channels))
        return np.ascontiguousarray(result.reshape(wide.shape)[copies, :, index].T)

    return on_all


@dataclass(frozen=True, eq=False)
class Window:
    """A maximum over windows: its size, stride and padding (top, bottom, left, right), whose positions never win."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def operation(self, name: str, source: str) -> MaxPool2d:
        return MaxPool2d(name, (source,), size=self.size, stride=self.stride, padding=self.padding)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of its result."""
        top, bottom, left, right = self.padding
        height = (shape[0] + top + bottom - self.size[0]) // self.stride[0] + 1
        width = (shape[1] + left + right - self.size[1]) // self.stride[1] + 1
        return height, width, shape[2]


@dataclass(frozen=True, eq=False)
class Value:
    """What a tensor is made from: the integers of operations, what they stand for, and what waits.

    Attributes
    ----------
    sources : tuple of str
        The operations, more than one where their channels are concatenated.
    positions : int64 array, of the tensor's shape without its batch axis
        Index into the operations' values, one operation after the other and channels last, of each of the tensor's.
        Views, slices and concatenations change nothing else.
    encoding : Encoding
        Of the channels of all operations.
    place : object
        The reader's key of the tensor; None where it has none.
    step : Elementwise or None
        What has been done with these values since, element by element.
    pools : tuple of (Window, Elementwise or None)
        Maxima that wait for an activation, and what came before each.
    padding : (top, bottom, left, right)
        That was put around the image, and waits for its convolution.
    pad_real : float64 array, shape (channels,)
        What the padding holds, where it was put.
    pad_step : Elementwise or None
        What came before it.
    ended : str
        Where a softmax or an argmax came, behind which nothing may follow.
    """

    sources: tuple[str, ...]
    positions: IntArray
    encoding: Encoding
    place: Any
    step: Elementwise | None = None
    pools: tuple[tuple[Window, Elementwise | None], ...] = ()
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    pad_real: FloatArray | None = None
    pad_step: Elementwise | None = None
    ended: str = ""

    def same_integers(self, other: "Value") -> bool:
        """Whether two tensors hold functions of the same integers at the same positions."""
        return (
            self.sources == other.sources
            and self.pools == other.pools
            and self.padding == other.padding
            and self.pad_step is other.pad_step
            and np.array_equal(self.pad_real, other.pad_real)  # type: ignore[arg-type]
            and np.array_equal(self.positions, other.positions)
            and all(
                np.array_equal(getattr(self.encoding, part), getattr(other.encoding, part))
                for part in ("scale", "shift", "fixed", "relative")
            )
        )


@dataclass(frozen=True, eq=False)
class Observed:
    """Where the framework computes an operation's result.

    Attributes
    ----------
    place : object
        The reader's key of the tensor.
    positions : int64 array, of the tensor's shape without its batch axis
        Index into the operation's values, channels last, of each of the tensor's.
    scale, shift : float64 array, shape (channels,)
        The tensor's value for the integer n is ``scale * n + shift``, but for rounding.
    """

    place: Any
    positions: IntArray
    scale: FloatArray
    shift: FloatArray


@dataclass(frozen=True, eq=False)
class Ambiguous:
    """Accumulators for which a threshold's result depends on how the framework rounds its sums.

    Attributes
    ----------
    pairs : int
        The number of (channel, accumulator).
    runs : int64 array, shape (runs, 3)
        Channel, lowest and highest accumulator of each row of neighbours; none of a loop over time, whose accumulators
        no engine shows.
    """

    pairs: int
    runs: IntArray

    def holds(self, channels: IntArray, accumulators: IntArray) -> NDArray[np.bool_]:
        """Say of accumulators, one in each of the channels, whether they are among these."""
        channel, lowest, highest = self.runs.T[..., None]
        among: NDArray[np.bool_] = (
            (channel == channels) & (lowest <= accumulators) & (accumulators <= highest)
        ).any(axis=0)  # fmt: skip
        return among

    def turned(self, signs: NDArray[np.int8]) -> "Ambiguous":
        """Return the same where the accumulators are multiplied by a sign for each channel."""
        sign = signs[self.runs[:, 0]].astype(np.int64)[:, None]
        ends = np.sort(self.runs[:, 1:] * sign, axis=1)
        return Ambiguous(self.pairs, np.concatenate([self.runs[:, :1], ends], axis=1))


@dataclass(frozen=True, eq=False)
class Conversion:
    """A converted model.

    Attributes
    ----------
    network : Network
    notes : tuple of str
        What was left out, and what else the user should know, a sentence each.
    ambiguous : mapping of str to Ambiguous
        For thresholds whose equality with the framework is not proved: where it depends on how the framework rounds its
        sums. Absent where proved.
    observed : mapping of str to Observed
        For operations whose integers the framework computes.
    scores : object
        The reader's key of the tensor whose argmax is the class, before softmax and its like.
    rounded : mapping of str to Rounded
        For layers whose weights are rounded: the Network deviates from the framework's model by as much as that says.
        Empty where it is exact.
    """

    network: Network
    notes: tuple[str, ...]
    ambiguous: Mapping[str, Ambiguous]
    observed: Mapping[str, Observed]
    scores: Any
    rounded: Mapping[str, "Rounded"]
