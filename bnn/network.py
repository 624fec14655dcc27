"""The Network IR: a binary network as a graph of small frozen records, in topological order.

The single source of truth of a flow. Engines and code generators are folds over :attr:`Network.operations` that
refuse a class they do not know. The meaning of the numbers is stated in :mod:`bnn`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import gcd, prod
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import NetworkError

IntArray = NDArray[np.int64]
Weights = NDArray[np.signedinteger[Any]]

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")

MAX_NAME = 100
"""Characters of a name: files are called after a Network and one of its layers, and file systems take 255 bytes."""

MAX_VALUES = 1 << 24
"""Values of one result: five times those of the largest layer of a network for ImageNet."""

MAX_WEIGHTS = 1 << 28
"""Weights of one layer."""

MAX_WEIGHT = (1 << 15) - 1
"""Magnitude of a weight: those of 16 bits whose negatives have 16 bits, too."""

MAX_MAGNITUDE = 1 << 53
"""Every value stays below: there float64 holds integers exactly, and int64 has room for sums of them."""

MAX_SHIFT = 30
"""Binary places by which an operand of a sum is shifted."""

MAX_FRACTION = 64
"""Binary places of an input; the values of more would leave the range that float32 represents well."""


def name_fault(name: object) -> str | None:
    """Return what was expected of the name of a network or layer, None where it is right."""
    if not isinstance(name, str) or not _NAME.match(name):
        return "a lower case letter followed by lower case letters, digits and '_'"
    return f"at most {MAX_NAME} characters" if len(name) > MAX_NAME else None


def _shown(name: object) -> str:
    """Return a name for a message, cut where it is long."""
    return repr(name) if len(text := str(name)) <= MAX_NAME else f"{text[:MAX_NAME]!r}..."


@dataclass(frozen=True, eq=False)
class Signal:
    """What is known about a value that flows between operations.

    Attributes
    ----------
    shape : tuple of int
        Shape of one vector, channels last, without the batch axis.
    low, high : int64 array, shape (channels,)
        Smallest and largest value of each channel, inclusive. Every value lies inside; the ends need not be reached.
    bipolar : bool
        True where the only values are -1 and +1.
    step : int
        Reachable values of a channel lie on ``low + k * step``, and so does `high`: 2 for bipolar values and sums of
        them, that of a :class:`MultiThreshold` for its results and sums of them, else 1.
    """

    shape: tuple[int, ...]
    low: IntArray
    high: IntArray
    bipolar: bool = False
    step: int = 1

    @property
    def channels(self) -> int:
        """Length of the last axis."""
        return self.shape[-1]

    @property
    def size(self) -> int:
        """Number of values of one vector."""
        return prod(self.shape)

    @property
    def signed(self) -> bool:
        """Whether the hardware needs a sign bit (never for a bipolar value, which is one bit)."""
        return not self.bipolar and bool(self.low.min() < 0)

    @property
    def bits(self) -> int:
        """Bits per value in hardware: 1 if bipolar, else two's complement or unsigned as `signed` says."""
        if self.bipolar:
            return 1
        low, high = int(self.low.min()), int(self.high.max())
        if low < 0:
            return max(high.bit_length(), (-low - 1).bit_length()) + 1
        return max(1, high.bit_length())


@dataclass(frozen=True, eq=False, repr=False)
class Operation:
    """One node of a Network.

    Attributes
    ----------
    name : str
        Unique in its Network; lower case letters, digits and underscores, so that it can name a module in every
        generated language; at most :data:`MAX_NAME` characters.
    inputs : tuple of str
        Names of the operations that produce the operands, in order.
    """

    name: str
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        if fault := name_fault(self.name):
            raise NetworkError(f"layer name {_shown(self.name)}: expected {fault}")
        object.__setattr__(self, "inputs", tuple(self.inputs))
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, np.ndarray):
                value = np.array(value, order="C")  # a private copy, so that freezing it freezes nobody else's
                value.flags.writeable = False
                object.__setattr__(self, spec.name, value)
        self._check()

    def _check(self) -> None:
        """Check what can be checked without knowing the operands."""

    def infer(self, *operands: Signal) -> Signal:
        """Return the signal this operation produces from `operands`.

        Raises
        ------
        NetworkError
            If the operands do not fit; the message names this layer, what was expected and what came.
        """
        raise NotImplementedError

    def _fail(self, expected: str, came: object) -> NetworkError:
        return NetworkError(f"layer {self.name!r} ({type(self).__name__}): expected {expected}, got {str(came)[:300]}")

    def _only(self, operands: tuple[Signal, ...]) -> Signal:
        if len(operands) != 1:
            raise self._fail("one operand", len(operands))
        return operands[0]

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Come to another process through construction, checked and with arrays that nobody changes."""
        return type(self), tuple(getattr(self, spec.name) for spec in fields(self))

    def __repr__(self) -> str:
        shown = [repr(self.name), *(repr(source) for source in self.inputs)]
        for spec in fields(self)[2:]:
            value = getattr(self, spec.name)
            text = f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
            shown.append(f"{spec.name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"


def refusal(operation: Operation, who: str) -> NetworkError:
    """Return the error of a walker that does not know the class of `operation`."""
    return NetworkError(f"layer {operation.name!r}: {who} does not know the operation {type(operation).__name__}")


@dataclass(frozen=True, eq=False, repr=False)
class Input(Operation):
    """The network's input: bipolar values, or integers of a fixed width.

    Attributes
    ----------
    shape : tuple of int
        Shape of one vector, channels last.
    kind : {"bipolar", "unsigned", "signed"}
    bits : int
        Width of an integer, 1 to 16; 1 for bipolar.
    fraction : int
        0 to :data:`MAX_FRACTION`. Binary places of a fixed-point input: the value is ``integer / 2**fraction``. The
        network computes on the integers; the front end has taken the scale into the thresholds.
    """

    shape: tuple[int, ...] = ()
    kind: Literal["bipolar", "unsigned", "signed"] = "bipolar"
    bits: int = 1
    fraction: int = 0

    def _check(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if self.inputs:
            raise self._fail("no operands", self.inputs)
        if not self.shape or min(self.shape) < 1:
            raise self._fail("a shape of positive lengths", self.shape)
        if prod(self.shape) > MAX_VALUES:
            raise self._fail(f"at most {MAX_VALUES:,} values", f"shape {self.shape}")
        if self.kind not in ("bipolar", "unsigned", "signed"):
            raise self._fail("kind 'bipolar', 'unsigned' or 'signed'", repr(self.kind))
        smallest = {"bipolar": 1, "unsigned": 1, "signed": 2}[self.kind]
        largest = 1 if self.kind == "bipolar" else 16
        if not smallest <= self.bits <= largest:
            raise self._fail(f"{smallest} to {largest} bits for {self.kind} values", self.bits)
        if not 0 <= self.fraction <= MAX_FRACTION:
            raise self._fail(f"fraction 0 to {MAX_FRACTION}", self.fraction)

    def infer(self, *operands: Signal) -> Signal:
        low, high = {
            "bipolar": (-1, 1),
            "unsigned": (0, 2**self.bits - 1),
            "signed": (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1),
        }[self.kind]
        channels = self.shape[-1]
        bipolar = self.kind == "bipolar"
        return Signal(self.shape, np.full(channels, low), np.full(channels, high), bipolar, step=2 if bipolar else 1)


def _check_weight(operation: "Dense | Conv2d | Recurrent", axes: int, layout: str) -> None:
    weight = operation.weight
    if weight.ndim != axes or 0 in weight.shape:
        raise operation._fail(f"weights of shape {layout}", weight.shape)
    if weight.size > MAX_WEIGHTS:
        raise operation._fail(f"at most {MAX_WEIGHTS:,} weights", f"shape {weight.shape}")
    largest = max(weight.max(), -weight.min().astype(np.float64))  # NaN is larger than nothing
    if not largest <= MAX_WEIGHT or (weight.dtype.kind not in "iu" and (weight != np.rint(weight)).any()):
        raise operation._fail(f"whole weights of -{MAX_WEIGHT:,} to {MAX_WEIGHT:,}", f"{np.unique(weight)[:8]}")
    narrow = np.int8 if largest <= np.iinfo(np.int8).max else np.int16
    object.__setattr__(operation, "weight", _frozen(weight.astype(narrow)))


def weight_bits(weight: Weights) -> int:
    """Return the bits of a weight: 1 where all are -1 and +1, 2 where some are 0, else of two's complement."""
    largest = int(np.abs(weight.astype(np.int32)).max())
    return 1 + largest.bit_length() if largest > 1 else 1 if weight.all() else 2


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _accumulate(weight: Weights, low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
    """Range of ``weight @ x`` for ``low <= x <= high``.

    float64 products are exact below :data:`MAX_MAGNITUDE`. Where the terms' magnitudes may add up to more, so that
    their order would matter, the range is one that a Network refuses.
    """
    positive, negative = np.maximum(weight, 0).astype(np.float64), np.maximum(-weight, 0).astype(np.float64)
    ends = _integers(positive @ low - negative @ high), _integers(positive @ high - negative @ low)
    too_large = (positive + negative) @ np.maximum(np.abs(low), np.abs(high)) >= MAX_MAGNITUDE
    return np.where(too_large, -MAX_MAGNITUDE, ends[0]), np.where(too_large, MAX_MAGNITUDE, ends[1])


def _integers(values: NDArray[np.float64]) -> IntArray:
    """Return the ends of a range as int64; a Network refuses what is cut here."""
    return np.clip(values, -MAX_MAGNITUDE, MAX_MAGNITUDE).astype(np.int64)


@dataclass(frozen=True, eq=False, repr=False)
class Dense(Operation):
    """A fully connected layer: ``acc = weight @ x``.

    Attributes
    ----------
    weight : int8 array, shape (outputs, inputs); int16 where a magnitude exceeds 127
        -1 and +1 of a binary layer; 0 is a masked position; integers up to :data:`MAX_WEIGHT` of a layer that is not
        binary.
    """

    weight: Weights = field(default_factory=lambda: np.zeros((0, 0), np.int8))

    def _check(self) -> None:
        _check_weight(self, 2, "(outputs, inputs)")

    def infer(self, *operands: Signal) -> Signal:
        x = self._only(operands)
        if x.shape != self.weight.shape[1:]:
            raise self._fail(f"an operand of shape {self.weight.shape[1:]} (flatten first?)", x.shape)
        low, high = _accumulate(self.weight, x.low, x.high)
        return Signal((self.weight.shape[0],), low, high, step=x.step)


@dataclass(frozen=True, eq=False, repr=False)
class Conv2d(Operation):
    """A 2-D convolution (cross-correlation, as PyTorch and Keras have it).

    Attributes
    ----------
    weight : int8 array, shape (outputs, kernel_h, kernel_w, inputs); int16 where a magnitude exceeds 127
        Values as in :class:`Dense`.
    stride : (int, int)
        Vertical and horizontal.
    padding : (top, bottom, left, right)
        Rows and columns added around the operand.
    pad_value : {0, -1, +1}
        Value of the added positions; 0 adds nothing to the sum. -1 and +1 only for a bipolar operand.
    """

    weight: Weights = field(default_factory=lambda: np.zeros((0, 0, 0, 0), np.int8))
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    pad_value: int = 0

    def _check(self) -> None:
        _check_weight(self, 4, "(outputs, kernel_h, kernel_w, inputs)")
        object.__setattr__(self, "stride", tuple(int(n) for n in self.stride))
        object.__setattr__(self, "padding", tuple(int(n) for n in self.padding))
        if len(self.stride) != 2 or not 1 <= min(self.stride) <= max(self.stride) <= MAX_VALUES:
            raise self._fail(f"two positive strides, at most {MAX_VALUES:,}", self.stride)
        if len(self.padding) != 4 or min(self.padding) < 0:
            raise self._fail("padding (top, bottom, left, right) >= 0", self.padding)
        if max(self.padding[:2]) >= self.weight.shape[1] or max(self.padding[2:]) >= self.weight.shape[2]:
            raise self._fail("padding smaller than the kernel", self.padding)
        if self.pad_value not in (0, -1, 1):
            raise self._fail("pad_value 0, -1 or +1", self.pad_value)

    def infer(self, *operands: Signal) -> Signal:
        x = self._only(operands)
        outputs, kernel_h, kernel_w, inputs = self.weight.shape
        if len(x.shape) != 3 or x.channels != inputs:
            raise self._fail(f"an operand of shape (height, width, {inputs})", x.shape)
        if self.pad_value and not x.bipolar:
            raise self._fail("pad_value 0 for an operand that is not bipolar", self.pad_value)
        top, bottom, left, right = self.padding
        height = (x.shape[0] + top + bottom - kernel_h) // self.stride[0] + 1
        width = (x.shape[1] + left + right - kernel_w) // self.stride[1] + 1
        if x.shape[0] + top + bottom < kernel_h or x.shape[1] + left + right < kernel_w:
            raise self._fail(f"an operand of at least the kernel's {kernel_h}x{kernel_w} after padding", x.shape)
        low, high = x.low, x.high
        if any(self.padding):
            low, high = np.minimum(low, self.pad_value), np.maximum(high, self.pad_value)
        taps = kernel_h * kernel_w
        low, high = _accumulate(self.weight.reshape(outputs, -1), np.tile(low, taps), np.tile(high, taps))
        # A position that adds 0 takes none of the operand's steps with it.
        step = x.step if not any(self.padding) or (x.bipolar and self.pad_value) else 1
        return Signal((height, width, outputs), low, high, step=step)


@dataclass(frozen=True, eq=False, repr=False)
class _Pool2d(Operation):
    """What all poolings share: windows that lie wholly inside the operand (no padding, the rest is dropped)."""

    size: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)

    def _check(self) -> None:
        for what in ("size", "stride"):
            object.__setattr__(self, what, tuple(int(n) for n in getattr(self, what)))
            lengths = getattr(self, what)
            if len(lengths) != 2 or not 1 <= min(lengths) <= max(lengths) <= MAX_VALUES:
                raise self._fail(f"two positive lengths as {what}, at most {MAX_VALUES:,}", lengths)

    def _pooled(self, operands: tuple[Signal, ...]) -> tuple[Signal, tuple[int, int, int]]:
        """Return the operand and the result's shape."""
        x = self._only(operands)
        if len(x.shape) != 3 or x.shape[0] < self.size[0] or x.shape[1] < self.size[1]:
            raise self._fail(f"an operand (height, width, channels) of at least {self.size}", x.shape)
        height = (x.shape[0] - self.size[0]) // self.stride[0] + 1
        width = (x.shape[1] - self.size[1]) // self.stride[1] + 1
        return x, (height, width, x.channels)


@dataclass(frozen=True, eq=False, repr=False)
class MaxPool2d(_Pool2d):
    """Maximum over windows of the padded operand; what does not fill a window at its edge is dropped.

    Attributes
    ----------
    size, stride : (int, int)
        Vertical and horizontal.
    padding : (top, bottom, left, right)
        Rows and columns added around the operand, smaller than the window, so that each window holds a part of the
        operand; they never are the maximum.
    """

    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def _check(self) -> None:
        super()._check()
        object.__setattr__(self, "padding", tuple(int(n) for n in self.padding))
        if len(self.padding) != 4 or min(self.padding) < 0:
            raise self._fail("padding (top, bottom, left, right) >= 0", self.padding)
        if max(self.padding[:2]) >= self.size[0] or max(self.padding[2:]) >= self.size[1]:
            raise self._fail("padding smaller than the window", self.padding)

    def infer(self, *operands: Signal) -> Signal:
        x = self._only(operands)
        top, bottom, left, right = self.padding
        if len(x.shape) == 3:
            padded = (x.shape[0] + top + bottom, x.shape[1] + left + right, x.channels)
            x = Signal(padded, x.low, x.high, x.bipolar, x.step)
        x, shape = self._pooled((x,))
        return Signal(shape, x.low, x.high, x.bipolar, x.step)


@dataclass(frozen=True, eq=False, repr=False)
class SumPool2d(_Pool2d):
    """Sum over windows that lie wholly inside the operand; bipolar values count as -1 and +1.

    Average pooling is this: its division by the window's size belongs to what follows (a threshold, an affine). Global
    pooling is a window of the operand's whole size.

    Attributes
    ----------
    size, stride : (int, int)
        Vertical and horizontal.
    """

    def infer(self, *operands: Signal) -> Signal:
        x, shape = self._pooled(operands)
        terms = float(self.size[0] * self.size[1])
        return Signal(shape, _integers(terms * x.low), _integers(terms * x.high), step=x.step)


@dataclass(frozen=True, eq=False, repr=False)
class Add(Operation):
    """Sum of two or more results of equal shape, as at the end of a residual branch; bipolar values are -1 and +1.

    Attributes
    ----------
    shift : tuple of int
        Each operand counts ``2**shift`` times, 0 to :data:`MAX_SHIFT`; empty where all count once.
    """

    shift: tuple[int, ...] = ()

    def _check(self) -> None:
        if len(self.inputs) < 2 or len(set(self.inputs)) < len(self.inputs):
            raise self._fail("two or more different operands", self.inputs)
        shift = tuple(int(n) for n in self.shift)
        if shift and (len(shift) != len(self.inputs) or not 0 <= min(shift) <= max(shift) <= MAX_SHIFT):
            raise self._fail(f"a shift of 0 to {MAX_SHIFT} for each of {len(self.inputs)} operands", shift)
        object.__setattr__(self, "shift", shift if any(shift) else ())

    @property
    def shifts(self) -> tuple[int, ...]:
        """The shift of each operand."""
        return self.shift or (0,) * len(self.inputs)

    def infer(self, *operands: Signal) -> Signal:
        first = operands[0]
        if any(x.shape != first.shape for x in operands):
            raise self._fail("operands of equal shape", ", ".join(str(x.shape) for x in operands))
        scales = [float(1 << shift) for shift in self.shifts]
        low, high = (
            _integers(np.sum([scale * getattr(x, end) for scale, x in zip(scales, operands, strict=True)], axis=0))
            for end in ("low", "high")
        )
        steps = [x.step << shift for shift, x in zip(self.shifts, operands, strict=True)]
        return Signal(first.shape, low, high, step=gcd(*steps))


def _check_threshold(
    operation: "Threshold | MultiThreshold | Recurrent", x: Signal, first: IntArray | None = None
) -> None:
    """Check that each threshold, or each of `first`, lies in its channel's range or right beside it."""
    threshold = operation.threshold if first is None else first
    if x.shape[-1:] != threshold.shape[:1]:
        raise operation._fail(f"an operand of {len(threshold)} channels", x.shape)
    up = operation.direction > 0
    by_level = threshold.reshape(len(up), -1).T
    outside = (by_level < x.low - ~up) | (by_level > x.high + up)
    if outside.any():
        level, channel = (int(i) for i in np.argwhere(outside)[0])
        raise operation._fail(
            f"the threshold of channel {channel} clamped to the operand's range "
            f"{x.low[channel]}..{x.high[channel]} (the ends mean 'always' and 'never')",
            by_level[level, channel],
        )


@dataclass(frozen=True, eq=False, repr=False)
class Threshold(Operation):
    """Integers to bipolar values, channel by channel.

    Attributes
    ----------
    threshold : int64 array, shape (channels,)
        Inside the operand's range: ``low <= threshold <= high + 1`` for direction +1 and
        ``low - 1 <= threshold <= high`` for -1, where the ends mean "always" and "never".
    direction : int8 array, shape (channels,), values -1 and +1
        +1: the result is +1 where ``x >= threshold``. -1: where ``x <= threshold``.
    """

    threshold: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    direction: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))

    def _check(self) -> None:
        if self.threshold.ndim != 1 or not np.issubdtype(self.threshold.dtype, np.integer):
            raise self._fail("integer thresholds of shape (channels,)", f"{self.threshold.dtype}{self.threshold.shape}")
        if self.direction.shape != self.threshold.shape or not np.isin(self.direction, (-1, 1)).all():
            raise self._fail(f"{self.threshold.size} directions of -1 or +1", f"shape {self.direction.shape}")
        object.__setattr__(self, "threshold", _frozen(self.threshold.astype(np.int64)))
        object.__setattr__(self, "direction", _frozen(self.direction.astype(np.int8)))

    def infer(self, *operands: Signal) -> Signal:
        x = self._only(operands)
        _check_threshold(self, x)
        ones = np.ones(x.channels, np.int64)
        return Signal(x.shape, -ones, ones, bipolar=True, step=2)


@dataclass(frozen=True, eq=False, repr=False)
class Recurrent(Operation):
    """A binary state carried along a sequence: ``h[t] = threshold(x[t] + 2**shift * (weight @ h[t - 1]))``.

    The steps are the pixels of the operand, row by row, so that a sequence of T steps is an image (1, T, channels). No
    state is carried from one sequence to the next: the first step is compared with thresholds of its own, in which the
    initial state is, ``threshold - 2**shift * (weight @ initial)``.

    Attributes
    ----------
    weight : int8 array, shape (channels, channels), values -1, 0 and +1
        From the state (last axis) to the sums.
    threshold : int64 array, shape (channels,)
        Inside the range of the sums, as in :class:`Threshold`.
    first : int64 array, shape (channels,)
        Thresholds of the first step, inside the operand's range.
    direction : int8 array, shape (channels,), values -1 and +1
        As in :class:`Threshold`, of all steps.
    shift : int
        Binary places by which the state's part is shifted, 0 to :data:`MAX_SHIFT`.
    last : bool
        Whether the result is the state after the last step alone, shape (channels,), rather than after every step.
    """

    weight: Weights = field(default_factory=lambda: np.zeros((0, 0), np.int8))
    threshold: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    first: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    direction: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    shift: int = 0
    last: bool = False

    def _check(self) -> None:
        _check_weight(self, 2, "(channels, channels)")
        if self.weight.shape[0] != self.weight.shape[1] or weight_bits(self.weight) > 2:
            raise self._fail("weights -1, 0 and +1 of shape (channels, channels)", f"shape {self.weight.shape}")
        for what in ("threshold", "first"):
            value = getattr(self, what)
            if value.shape != self.weight.shape[:1] or not np.issubdtype(value.dtype, np.integer):
                raise self._fail(f"integer {what} of shape (channels,)", f"{value.dtype}{value.shape}")
            object.__setattr__(self, what, _frozen(value.astype(np.int64)))
        if self.direction.shape != self.threshold.shape or not np.isin(self.direction, (-1, 1)).all():
            raise self._fail(f"{self.threshold.size} directions of -1 or +1", f"shape {self.direction.shape}")
        object.__setattr__(self, "direction", _frozen(self.direction.astype(np.int8)))
        if not 0 <= self.shift <= MAX_SHIFT:
            raise self._fail(f"a shift of 0 to {MAX_SHIFT}", self.shift)

    def sums(self, x: Signal) -> Signal:
        """Return what is known of the sums of a step after the first, for the operand `x`."""
        reach = np.abs(self.weight).sum(axis=1, dtype=np.int64) << self.shift
        return Signal(x.shape, x.low - reach, x.high + reach, step=gcd(x.step, 2 << self.shift))

    def infer(self, *operands: Signal) -> Signal:
        x = self._only(operands)
        if len(x.shape) != 3 or x.shape[-1:] != self.threshold.shape:
            raise self._fail(f"an operand (height, width, {self.threshold.size}), a pixel for each step", x.shape)
        _check_threshold(self, self.sums(x))
        _check_threshold(self, x, self.first)
        ones = np.ones(x.channels, np.int64)
        return Signal(x.shape[-1:] if self.last else x.shape, -ones, ones, bipolar=True, step=2)


@dataclass(frozen=True, eq=False, repr=False)
class MultiThreshold(Operation):
    """Integers to ``low + step * (number of thresholds passed)``: an activation of more than two values.

    A ternary activation has two thresholds, ``low=-1`` and ``step=1``; one of 2 bits has three. What :class:`Threshold`
    can do, -1 and +1, is left to it.

    Attributes
    ----------
    threshold : int64 array, shape (channels, levels), 1 to 255 levels
        Ascending along a channel, each inside the operand's range as in :class:`Threshold`. Equal thresholds are
        passed together: the value between them does not occur.
    direction : int8 array, shape (channels,), values -1 and +1
        +1: a threshold is passed where ``x >= threshold``. -1: where ``x <= threshold``.
    low : int
        The value where none is passed.
    step : int
        Distance of neighbouring values, positive.
    """

    threshold: IntArray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    direction: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    low: int = 0
    step: int = 1

    def _check(self) -> None:
        value = self.threshold
        if value.ndim != 2 or not np.issubdtype(value.dtype, np.integer) or not 1 <= value.shape[1] <= 255:
            raise self._fail(
                "integer thresholds of shape (channels, levels), 1 to 255 levels", f"{value.dtype}{value.shape}"
            )
        if (value[:, 1:] < value[:, :-1]).any():
            raise self._fail("ascending thresholds", value[(value[:, 1:] < value[:, :-1]).any(axis=1)][0])
        if self.direction.shape != value.shape[:1] or not np.isin(self.direction, (-1, 1)).all():
            raise self._fail(f"{len(value)} directions of -1 or +1", f"shape {self.direction.shape}")
        for what in ("low", "step"):
            object.__setattr__(self, what, int(getattr(self, what)))
        if not 1 <= self.step < 1 << 31:
            raise self._fail("a positive step of 31 bits", self.step)
        if not -(1 << 31) <= self.low < 1 << 31:
            raise self._fail("a lowest value of 32 bits", self.low)
        if (self.levels, self.low, self.step) == (1, -1, 2):
            raise self._fail("a Threshold for results of -1 and +1", "one level with low -1 and step 2")
        object.__setattr__(self, "threshold", _frozen(value.astype(np.int64)))
        object.__setattr__(self, "direction", _frozen(self.direction.astype(np.int8)))

    @property
    def levels(self) -> int:
        """Number of thresholds of a channel."""
        return int(self.threshold.shape[1])

    def infer(self, *operands: Signal) -> Signal:
        x = self._only(operands)
        _check_threshold(self, x)
        up = self.direction[:, None] > 0
        ends = [np.where(up, end[:, None] >= self.threshold, end[:, None] <= self.threshold) for end in (x.low, x.high)]
        values = self.low + self.step * np.sort([passed.sum(axis=1) for passed in ends], axis=0)
        return Signal(x.shape, values[0], values[1], step=self.step)


@dataclass(frozen=True, eq=False, repr=False)
class Flatten(Operation):
    """All axes into one, channels fastest (row-major over (height, width, channels))."""

    def infer(self, *operands: Signal) -> Signal:
        x = self._only(operands)
        copies = x.size // x.channels
        return Signal((x.size,), np.tile(x.low, copies), np.tile(x.high, copies), x.bipolar, x.step)


@dataclass(frozen=True, eq=False, repr=False)
class DepthToSpace(Operation):
    """Channels to pixels: an image whose pixels become blocks of pixels, as in PyTorch's PixelShuffle.

    Element (y, x) of a block is channel ``(channel * block_h + y) * block_w + x`` of the operand's pixel.

    Attributes
    ----------
    block : (int, int)
        Height and width of a block.
    """

    block: tuple[int, int] = (2, 2)

    def _check(self) -> None:
        object.__setattr__(self, "block", tuple(int(n) for n in self.block))
        if len(self.block) != 2 or min(self.block) < 1:
            raise self._fail("two positive lengths as block", self.block)

    def infer(self, *operands: Signal) -> Signal:
        x, many = self._only(operands), self.block[0] * self.block[1]
        if len(x.shape) != 3 or x.channels % many:
            raise self._fail(f"an operand (height, width, channels) whose channels {many} divides", x.shape)
        low, high = x.low.reshape(-1, many), x.high.reshape(-1, many)
        step = gcd(x.step, *(low - low[:, :1]).ravel().tolist())
        shape = (x.shape[0] * self.block[0], x.shape[1] * self.block[1], x.channels // many)
        return Signal(shape, low.min(axis=1), high.max(axis=1), x.bipolar, step)


@dataclass(frozen=True, eq=False, repr=False)
class Affine(Operation):
    """Fixed-point scale and offset of the last accumulators: ``scale * acc + offset``, a score times 2**fraction.

    Attributes
    ----------
    scale, offset : int64 array, shape (channels,)
    fraction : int
        Binary places of the scores; negative where they are huge.
    ambiguous : int
        Number of (class pair, accumulator pair) combinations in the accumulators' range for which the argmax of the
        fixed-point scores differs from the framework's; of a single channel, the number of accumulators for which
        the scores may lie on different sides of 0 (0 itself counting as positive). 0 means that equality is proved;
        behind rounded weights, of which nothing is proved pair by pair, it is the number of all.
    """

    scale: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    offset: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    fraction: int = 0
    ambiguous: int = 0

    def _check(self) -> None:
        for what in ("scale", "offset"):
            value = getattr(self, what)
            if value.ndim != 1 or not np.issubdtype(value.dtype, np.integer) or value.shape != self.scale.shape:
                raise self._fail(f"integer {what} of shape (channels,)", f"{value.dtype}{value.shape}")
            object.__setattr__(self, what, _frozen(value.astype(np.int64)))

    def infer(self, *operands: Signal) -> Signal:
        x = self._only(operands)
        if x.shape[-1:] != self.scale.shape:
            raise self._fail(f"an operand of {self.scale.size} channels", x.shape)
        largest = np.abs(self.scale.astype(float)) * np.maximum(np.abs(x.low), np.abs(x.high))
        largest += np.abs(self.offset.astype(float))
        if largest.max() >= MAX_MAGNITUDE:  # before int64 wraps around
            raise self._fail(f"scores below 2**{MAX_MAGNITUDE.bit_length() - 1}", f"{largest.max():.3g}")
        ends = np.stack([self.scale * x.low, self.scale * x.high]) + self.offset
        return Signal(x.shape, ends.min(axis=0), ends.max(axis=0))


@dataclass(frozen=True, eq=False, repr=False)
class Argmax(Operation):
    """Index of the largest value of a vector, or of every pixel of an image; ties go to the lowest index."""

    def infer(self, *operands: Signal) -> Signal:
        x = self._only(operands)
        return Signal((*x.shape[:-1], 1), np.zeros(1, np.int64), np.array([x.channels - 1]))


#: Every operation by class name, as files and messages name them.
OPERATIONS: Mapping[str, type[Operation]] = MappingProxyType(
    {
        cls.__name__: cls
        for cls in (
            *(Input, Dense, Conv2d, MaxPool2d, SumPool2d, Add),
            *(Threshold, MultiThreshold, Recurrent, Flatten, DepthToSpace, Affine, Argmax),
        )
    }
)


@dataclass(frozen=True, eq=False)
class Network:
    """A binary network: operations in topological order, the last of which is the output.

    Checked at construction: names are unique; exactly one :class:`Input`, which comes first; every operand comes
    from an earlier operation; every result but the last is used; every operation accepts its operands; a result has at
    most :data:`MAX_VALUES` values, all below :data:`MAX_MAGNITUDE`.

    Attributes
    ----------
    name : str
        Names the generated modules; same alphabet as an operation's name.
    operations : tuple of Operation
    """

    name: str
    operations: tuple[Operation, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))
        if fault := name_fault(self.name):
            raise NetworkError(f"network name {_shown(self.name)}: expected {fault}")
        if not self.operations or not isinstance(self.operations[0], Input):
            raise NetworkError(f"network {self.name!r}: expected an Input as the first operation")
        used: set[str] = set()
        for operation in self.operations:
            if operation is not self.operations[0] and isinstance(operation, Input):
                raise NetworkError(f"layer {operation.name!r}: expected a single Input, got another one")
            used.update(operation.inputs)
        _ = self.signals
        unused = [operation.name for operation in self.operations[:-1] if operation.name not in used]
        if unused:
            raise NetworkError(f"network {self.name!r}: nothing uses the result of {', '.join(unused)}")

    @cached_property
    def signals(self) -> Mapping[str, Signal]:
        """The signal that each operation produces, by operation name."""
        signals: dict[str, Signal] = {}
        for operation in self.operations:
            if operation.name in signals:
                raise NetworkError(f"layer {operation.name!r}: expected unique names, got this one twice")
            missing = [source for source in operation.inputs if source not in signals]
            if missing:
                raise NetworkError(
                    f"layer {operation.name!r}: expected operands from earlier layers ({', '.join(signals) or 'none'}),"
                    f" got {', '.join(missing)}"
                )
            signal = operation.infer(*(signals[source] for source in operation.inputs))
            if signal.size > MAX_VALUES:
                raise operation._fail(f"a result of at most {MAX_VALUES:,} values", f"shape {signal.shape}")
            if max(-signal.low.min(), signal.high.max()) >= MAX_MAGNITUDE:
                raise operation._fail(f"values below 2**{MAX_MAGNITUDE.bit_length() - 1}", "larger ones")
            signals[operation.name] = signal
        return MappingProxyType(signals)

    @property
    def input(self) -> Input:
        """The input operation."""
        first = self.operations[0]
        assert isinstance(first, Input)
        return first

    @property
    def output(self) -> Operation:
        """The last operation, whose result is the network's."""
        return self.operations[-1]

    def __getitem__(self, name: str) -> Operation:
        for operation in self.operations:
            if operation.name == name:
                return operation
        raise KeyError(f"no layer {name!r} in {self.name}; there are {', '.join(self.signals)}")

    def consumers(self, name: str) -> list[Operation]:
        """Return the operations that use the result of `name`."""
        return [operation for operation in self.operations if name in operation.inputs]

    def describe(self) -> dict[str, object]:
        """Return everything but the arrays as JSON-ready data (see :mod:`xnorflow.bnn.io` for the whole)."""
        return {
            "name": self.name,
            "operations": [
                {"operation": type(operation).__name__}
                | {f.name: v for f in fields(operation) if not isinstance(v := getattr(operation, f.name), np.ndarray)}
                for operation in self.operations
            ],
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole content, as hexadecimal text: equal for equal networks on every machine."""
        sha = hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode())
        for operation in self.operations:
            for spec in fields(operation):
                value = getattr(operation, spec.name)
                if isinstance(value, np.ndarray):
                    sha.update(f"{operation.name}.{spec.name}{value.shape}".encode())
                    sha.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
        return sha.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        return self.name == other.name and self.operations == other.operations

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, (self.name, self.operations)

    def __repr__(self) -> str:
        lines = [f"{self.name} ({self.digest[:12]})"]
        for operation in self.operations:
            signal = self.signals[operation.name]
            kind = "bipolar" if signal.bipolar else f"{signal.low.min()}..{signal.high.max()}"
            lines.append(f"  {operation!r} -> {'x'.join(map(str, signal.shape))} {kind}")
        return "\n".join(lines)
