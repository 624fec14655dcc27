"""Hypothesis strategies: random small Networks that hold what breaks engines, and inputs to match.

Widths cluster round the word boundary (1, 63, 64, 65, 130); thresholds sit on "always", on "never" and exactly on
accumulators that occur; classes tie.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracle

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
)

Kind = Literal["bipolar", "unsigned", "signed"]

#: What not every engine has: integers are summed and quantised within the network, and branches join.
INTEGER = (SumPool2d, Add, MultiThreshold)

#: And those besides that carry a state along a sequence.
EVERY = (*INTEGER, Recurrent)

#: Vectors carried through a network while it is drawn, so that thresholds can sit on real accumulators.
_SAMPLES = 8


def inputs_for(network: Network, count: int, seed: int = 0) -> NDArray[np.integer[Any]]:
    """Draw random inputs of a network, the same for the same arguments.

    Parameters
    ----------
    network : Network
    count : int
        Number of vectors. The first is all lowest values, the second all highest, the others uniform.
    seed : int

    Returns
    -------
    integer array, shape (`count`, *input shape)
        int8 for bipolar and signed values up to 8 bits, uint8 for unsigned ones up to 8 bits, else int16 or uint16.
    """
    return _inputs(network.input, count, seed)


def _inputs(source: Input, count: int, seed: int) -> NDArray[np.integer[Any]]:
    rng = np.random.default_rng(seed)
    signal = source.infer()
    low, high = int(signal.low[0]), int(signal.high[0])
    values = rng.integers(low, high, (count, *source.shape), endpoint=True)
    if source.kind == "bipolar":
        values = rng.choice([-1, 1], (count, *source.shape))
    values[:1], values[1:2] = low, high
    return values.astype(np.min_scalar_type(-high - 1 if low < 0 else high))


def widths(largest: int = 130) -> st.SearchStrategy[int]:
    """Draw a number of channels, 1 to `largest`, often next to a multiple of the word's 64 bits."""
    return st.one_of(
        st.integers(1, min(9, largest)), st.sampled_from([n for n in (1, 63, 64, 65, 130) if n <= largest])
    )


@st.composite
def networks(
    draw: st.DrawFn,
    *,
    kinds: Sequence[Kind] = ("bipolar", "unsigned", "signed"),
    input_bits: int = 8,
    convolution: bool = True,
    ternary: bool = True,
    weight_bits: int = 1,
    pad_values: Sequence[int] = (0, -1, 1),
    directions: Sequence[int] = (1, -1),
    pooling: Sequence[str] = ("before", "after"),
    affine: bool = True,
    hidden: int = 3,
    width: int = 130,
    operations: Sequence[type[Operation]] = INTEGER,
    grown: bool = False,
) -> Network:
    """Draw a Network: an input, hidden blocks, and a last layer of integers with or without affine and argmax.

    A hidden block is a convolution or a dense layer, perhaps a pool, perhaps a sum with earlier results of its shape or
    with a second layer of other weights beside it, a threshold or several, perhaps a pool. Names are the operation's
    class in lower case and its position (``input_0``, ``conv2d_1``, ...).

    Parameters
    ----------
    kinds : sequence of {"bipolar", "unsigned", "signed"}
        Kinds of input.
    input_bits : int
        Largest width of an integer input; 8 is drawn often.
    convolution : bool
        Whether inputs may be images, and with that whether there are convolutions, max-pools and flattens.
    ternary : bool
        Whether weights may be 0.
    weight_bits : int
        Largest width of weights; with more than 1, some layers have integer ones, their extremes among them, and some
        sums shift their operands.
    pad_values : sequence of {0, -1, +1}
        What convolutions may pad with; the empty sequence means no padding.
    directions : sequence of {-1, +1}
        Directions of thresholds.
    pooling : sequence of {"before", "after"}
        Where pools may stand, seen from the threshold.
    affine : bool
        Whether a last affine may be drawn (with negative and zero scales).
    hidden : int
        Largest number of hidden blocks, 0 or more.
    width : int
        Largest number of channels.
    operations : sequence of classes
        Which of :data:`EVERY` may be drawn; a :class:`Recurrent` takes the pixels of any image as its steps.
    grown : bool
        Whether max pools may be padded and channels become pixels, which not all hardware has.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed of weights"))
    drawn: list[Operation] = []
    signals: dict[str, Signal] = {}
    results: dict[str, NDArray[np.int64]] = {}

    def name(kind: type[Operation], *operands: str) -> tuple[str, tuple[str, ...]]:
        return f"{kind.__name__.lower()}_{len(drawn)}", operands or (drawn[-1].name,)

    def append(operation: Any) -> None:
        nonlocal signal, values  # type: ignore[misc]
        signal = operation.infer(*(signals[source] for source in operation.inputs))
        values = oracle.apply(operation, *(results[source] for source in operation.inputs))
        signals[operation.name], results[operation.name] = signal, values
        drawn.append(operation)

    def weights(*shape: int) -> Weights:
        zeros = draw(st.sampled_from([0.0, 0.3, 1.0])) if ternary else 0.0
        weight = rng.choice(np.array([-1, 1], np.int8), shape)
        if weight_bits > 1 and draw(st.booleans()):
            largest = (1 << draw(st.integers(2, weight_bits)) - 1) - 1
            weight = rng.integers(-largest, largest, shape, np.int16, endpoint=True)
            weight[rng.random(shape) < 0.1] = largest * rng.choice([-1, 1])
        weight[rng.random(shape) < zeros] = 0
        weight[rng.random(len(weight)) < 0.2] = weight[0]  # equal neurons, for ties
        return weight

    def pool() -> None:
        height, columns = signal.shape[:2]
        size = (draw(st.integers(1, min(3, height))), draw(st.integers(1, min(3, columns))))
        stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        if SumPool2d in operations and draw(st.booleans()):
            whole = draw(st.booleans())
            append(SumPool2d(*name(SumPool2d), size=(height, columns) if whole else size, stride=stride))
        else:
            around = (0, 0, 0, 0)
            if grown:
                top, left = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
                bottom = draw(st.sampled_from([0, min(size[0], stride[0]) - 1]))
                around = (top, bottom if (height + top + bottom - size[0]) % stride[0] == 0 else 0, left, 0)
            append(MaxPool2d(*name(MaxPool2d), size=size, stride=stride, padding=around))

    def grow() -> None:
        """Make pixels of channels."""
        block = draw(st.sampled_from([block for block in ((1, 1), (2, 1), (1, 3), (2, 2)) if
                                      signal.channels % (block[0] * block[1]) == 0]))  # fmt: skip
        append(DepthToSpace(*name(DepthToSpace), block=block))

    def join(layer: Any) -> None:
        """Add to the layer's result some earlier ones of its shape, or another layer's beside it."""
        last = drawn[-1].name
        fitting = [key for key, known in signals.items() if known.shape == signal.shape and key != last]
        if not fitting or draw(st.booleans()):
            append(replace(layer, name=name(type(layer))[0], weight=weights(*layer.weight.shape)))
            others = [drawn[-1].name]
        else:
            others = draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=2, unique=True))
        operands = draw(st.permutations([last, *others]))
        shift = [draw(st.integers(0, 5)) for _ in operands] if weight_bits > 1 and draw(st.booleans()) else ()
        append(Add(*name(Add, *operands), shift=tuple(shift)))

    def recur(direction: NDArray[np.int8]) -> None:
        channels, shift = signal.channels, draw(st.sampled_from([0, 0, 1, 4]))
        weight = np.sign(weights(channels, channels)).astype(np.int8)
        first = _thresholds(rng, signal, values, direction)
        made = Recurrent(*name(Recurrent), weight, first, first, direction, shift, last=draw(st.booleans()))
        pixels = values.reshape(len(values), -1, channels)
        later = pixels[:, -1] + 2**shift * (rng.choice([-1, 1], pixels[:, -1].shape) @ weight.T.astype(np.int64))
        append(replace(made, threshold=_thresholds(rng, made.sums(signal), later, direction)))

    def quantise() -> None:
        direction = rng.choice(np.array(directions, np.int8), signal.channels)
        if Recurrent in operations and len(signal.shape) == 3 and draw(st.booleans()):
            recur(direction)
            return
        if MultiThreshold not in operations or draw(st.booleans()):
            threshold = _thresholds(rng, signal, values, direction)
            append(Threshold(*name(Threshold), threshold=threshold, direction=direction))
            return
        levels = draw(st.sampled_from([1, 2, 3, 7, 15]))
        low, step = draw(st.sampled_from([(0, 1), (-1, 1), (-levels, 2), (-(levels + 1) // 2, 1), (3, 5)]))
        threshold = np.sort([_thresholds(rng, signal, values, direction) for _ in range(levels)], axis=0).T
        if (levels, low, step) == (1, -1, 2):
            low = 1
        append(MultiThreshold(*name(MultiThreshold), threshold=threshold, direction=direction, low=low, step=step))

    kind = draw(st.sampled_from(list(kinds)))
    bits = 1
    if kind != "bipolar":
        bits = draw(st.one_of(st.integers(2, input_bits), st.just(min(8, input_bits))))
    shape: tuple[int, ...] = (draw(widths(width)),)
    if convolution and draw(st.booleans()):
        shape = (draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(widths(min(width, 70))))
    source = Input("input_0", (), shape=shape, kind=kind, bits=bits)
    signal, values = source.infer(), _inputs(source, _SAMPLES, int(rng.integers(2**32))).astype(np.int64)
    signals[source.name], results[source.name] = signal, values
    drawn.append(source)

    for _ in range(draw(st.integers(0, hidden), label="hidden blocks")):
        if len(signal.shape) == 3 and draw(st.booleans()):
            height, columns, channels = signal.shape
            kernel = (draw(st.integers(1, min(3, height))), draw(st.integers(1, min(3, columns))))
            allowed = [value for value in pad_values if signal.bipolar or value == 0]
            padding = (0, 0, 0, 0)
            if allowed:
                top, bottom = (draw(st.integers(0, kernel[0] - 1)) for _ in range(2))
                left, right = (draw(st.integers(0, kernel[1] - 1)) for _ in range(2))
                padding = (top, bottom, left, right)
            append(
                Conv2d(
                    *name(Conv2d),
                    weight=weights(draw(widths(min(width, 70))), *kernel, channels),
                    stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
                    padding=padding,
                    pad_value=draw(st.sampled_from(allowed)) if allowed else 0,
                )
            )
        else:
            if len(signal.shape) == 3:
                append(Flatten(*name(Flatten)))
            append(Dense(*name(Dense), weight=weights(draw(widths(width)), signal.size)))
        layer = drawn[-1]
        if Add in operations and draw(st.booleans()):
            join(layer)
        if len(signal.shape) == 3 and "before" in pooling and draw(st.booleans()):
            pool()
        if len(signal.shape) == 3 and grown and draw(st.booleans()):
            grow()
        quantise()
        if len(signal.shape) == 3 and "after" in pooling and draw(st.booleans()):
            pool()
        if len(signal.shape) == 3 and grown and draw(st.booleans()):
            grow()

    if len(signal.shape) == 3:
        append(Flatten(*name(Flatten)))
    append(Dense(*name(Dense), weight=weights(draw(widths(min(width, 10))), signal.size)))
    if affine and draw(st.booleans()):
        scale = rng.integers(-100, 100, signal.channels, np.int64, endpoint=True)
        scale[rng.random(signal.channels) < 0.2] = 0
        offset = rng.integers(-1000, 1000, signal.channels, np.int64, endpoint=True)
        offset[rng.random(signal.channels) < 0.3] = 0
        append(Affine(*name(Affine), scale=scale, offset=offset, fraction=draw(st.integers(0, 16))))
    if draw(st.booleans()):
        append(Argmax(*name(Argmax)))
    return Network("drawn", tuple(drawn))


def _thresholds(
    rng: np.random.Generator, signal: Signal, values: NDArray[np.int64], direction: NDArray[np.int8]
) -> NDArray[np.int64]:
    """Thresholds of each channel: an accumulator that occurs, one beside it, any in the range, always, or never."""
    down = direction < 0
    low, high = signal.low - down, signal.high + ~down
    seen = values.reshape(-1, signal.channels)
    tie = seen[rng.integers(0, len(seen), signal.channels), np.arange(signal.channels)]
    anywhere = rng.integers(low, high, endpoint=True)
    ways = np.stack([tie, tie + rng.integers(-1, 1, signal.channels, endpoint=True), anywhere, low, high])
    way = rng.choice(len(ways), signal.channels, p=[0.35, 0.25, 0.2, 0.1, 0.1])
    drawn: NDArray[np.int64] = np.clip(ways[way, np.arange(signal.channels)], low, high)
    return drawn
