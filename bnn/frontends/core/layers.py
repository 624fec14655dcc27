"""Products, sums and averages: what needs integers, and what it makes of them."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.core.fixed import (
    ALLOW,
    MOST,
    NotExact,
    Rounded,
    ScalesError,
    constant_scale,
    largest_error,
    rounded,
)
from xnorflow.bnn.frontends.core.layout import Operand, canonical, concatenated, selected
from xnorflow.bnn.frontends.core.loops import Loop, Term, distinct, loop_of, term_of
from xnorflow.bnn.frontends.core.settling import Settling
from xnorflow.bnn.frontends.core.sums import Encoding, FloatArray, add_bias, averaged, rounded_sum, sum_error
from xnorflow.bnn.frontends.core.value import Ambiguous, Array, Elementwise, Value, Window, run, steps_of
from xnorflow.bnn.frontends.core.weights import LARGEST, factor
from xnorflow.bnn.kernels import dilated, grouped
from xnorflow.bnn.network import (
    MAX_WEIGHT,
    Add,
    Conv2d,
    Dense,
    DepthToSpace,
    IntArray,
    MultiThreshold,
    Operation,
    SumPool2d,
    Threshold,
    Weights,
)

_NONE = (0, 0, 0, 0)


@dataclass(frozen=True)
class Geometry:
    """How a convolution moves over its image: vertical and horizontal; (top, bottom, left, right).

    That of a sequence has height 1.
    """

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = _NONE
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


class Layers(Settling):
    """Layers of weights, additions, averages, concatenations, and images that grow."""

    def padded(self, value: Value, sides: Sequence[tuple[int, int]], real: float) -> Value:
        """Put channels, rows and columns of the value `real` around a tensor; fewer than none cut some away.

        Parameters
        ----------
        value : Value
        sides : sequence of (int, int)
            Before and behind each axis, the channels' first.
        real : float
        """
        kept = [
            slice(max(0, -before), length - max(0, -behind))
            for (before, behind), length in zip(sides, value.positions.shape, strict=True)
        ]
        if any(min(side) < 0 for side in sides):
            value = self.view(value, np.ascontiguousarray(value.positions[tuple(kept)]))
        (front, back), *image = [(max(0, before), max(0, behind)) for before, behind in sides]
        (top, bottom), (left, right) = [(0, 0), (0, 0), *image][-2:]
        return self.pad(self.pad_channels(value, front, back, real), (top, bottom, left, right), real)

    def pad(self, value: Value, sides: tuple[int, int, int, int], real: float) -> Value:
        """Put rows and columns of the value `real` around an image: (top, bottom, left, right)."""
        if not any(sides):
            return value
        if any(value.padding):
            raise self.fail("one padding before a convolution", "two")
        value = self.settle(value, rounded=False) or value
        self.planes(value)
        held = np.full(len(value.encoding.scale), float(real))
        return replace(value, padding=sides, pad_real=held, pad_step=value.step, place=self.place)

    def pad_channels(self, value: Value, before: int, after: int, real: float) -> Value:
        """Put channels of the value `real` before and behind those of a tensor."""
        if not before and not after:
            return value
        own, shape = len(value.positions), value.positions.shape[1:]
        joined = self.concatenate([value, np.full((before + after, *shape), float(real))], 0)
        order = np.concatenate([np.arange(before) + own, np.arange(own), np.arange(after) + own + before])
        return self.view(joined, joined.positions[order])

    # Products

    def dense(self, value: Value, kernel: NDArray[np.float32], bias: FloatArray | None = None) -> Value:
        """Multiply a vector by constant weights.

        Parameters
        ----------
        value : Value
            Of shape (features,), or an image with its channels last, each pixel of which is multiplied.
        kernel : float32 array, shape (outputs, features)
        bias : float64 array, broadcast to (outputs,)
            What the framework adds as one more term of the sum.
        """
        needed = self.need(value)
        self.refuse_padding(needed, "a dense layer")
        if needed.positions.ndim > 1:
            moved, observed = replace(needed, positions=np.moveaxis(needed.positions, -1, 0)), dict(self.observed)
            made = self.convolution(moved, kernel[:, None, None, :], Geometry(), bias)
            self.observed = observed
            return self.observe(replace(made, positions=np.moveaxis(made.positions, 0, -1)))
        if needed.positions.ndim != 1 or kernel.ndim != 2 or kernel.shape[1] != needed.positions.size:
            raise self.fail(
                f"weights (outputs, {needed.positions.size}) for a vector of as many features",
                f"weights of shape {kernel.shape} for {self.describe(needed)}",
            )
        needed = self.flattened(needed)
        try:
            with self._scaled_by(value):
                return self._dense(needed, kernel, bias)
        except NotExact as error:
            self._allow(error)
        needed = self._one_source(needed)
        return self._rounded(needed, kernel[:, None, None, :], self.channels_of(needed), Geometry(), bias)

    @contextmanager
    def _scaled_by(self, value: Value) -> Iterator[None]:
        """Name the step that has made scales that fit nothing, if one has."""
        try:
            yield
        except ScalesError:
            scale = self.need(value).encoding.scale
            if value.step is not None and not np.array_equal(scale, value.encoding.scale):
                raise NotExact(str(self.not_here(steps_of(value.step)[-1].where))) from None
            raise

    def _dense(self, value: Value, kernel: NDArray[np.float32], bias: FloatArray | None) -> Value:
        weight, alpha, deviation = self._factor(kernel)
        channels = self.channels_of(value)
        operand, times = self._common(value, channels, weight)
        whole = np.zeros((len(weight), len(value.encoding.scale)), np.int64)
        for term, channel in enumerate(channels):
            whole[:, channel] += weight[:, term] * times[term]
        names = [
            self._weighted(whole[:, part.channels], lambda plane, name=part.name: Dense(  # type: ignore[misc]
                self.new_name("dense"), (name,), weight=plane))
            for part in self._varying(value)
        ]  # fmt: skip
        return self._product(names, weight, alpha, deviation, operand, self._magnitude(value)[channels], bias, 1)

    def convolution(
        self,
        value: Value,
        kernel: NDArray[np.float32],
        geometry: Geometry,
        bias: FloatArray | None = None,
    ) -> Value:
        """Convolve an image with constant weights.

        Parameters
        ----------
        value : Value
            Of shape (channels, height, width), or (channels, length) for a convolution of height 1.
        kernel : float32 array, shape (outputs, kernel_h, kernel_w, inputs / groups)
        geometry : Geometry
        bias : float64 array, broadcast to (outputs,)
        """
        needed = self.image(self.need(value))
        try:
            with self._scaled_by(value):
                return self._convolution(needed, kernel, geometry, bias)
        except NotExact as error:
            self._allow(error)
        needed = self._one_source(needed)
        whole = dilated(grouped(kernel, geometry.groups), geometry.dilation)
        return self._rounded(needed, whole, self.planes(needed), geometry, bias)

    def _convolution(
        self, value: Value, kernel: NDArray[np.float32], geometry: Geometry, bias: FloatArray | None
    ) -> Value:
        weight, alpha, deviation = self._factor(kernel)
        weight, deviation = (
                dilated(grouped(array, geometry.groups), geometry.dilation) for array in (weight, deviation)
            )  # fmt: skip
        return self._convolved(value, weight, alpha, deviation, geometry, bias)

    # Rounded products

    def _allow(self, error: NotExact) -> None:
        """Raise an error of something that could be rounded, if it may not."""
        if self.fixed is None:
            raise UserError(f"{error}; {ALLOW}") from None

    def _one_source(self, value: Value) -> Value:
        """Return a value of one operation, with its padding."""
        if len(value.sources) == 1:
            return value
        made = self.single(replace(value, padding=_NONE, pad_real=None))
        real = None if value.pad_real is None else value.pad_real[self.planes(value)]
        return replace(made, padding=value.padding, pad_real=real)

    def _rounded(
        self, value: Value, kernel: NDArray[np.float32], plane: IntArray, geometry: Geometry, bias: FloatArray | None
    ) -> Value:
        """Multiply by weights that have to be rounded, shape (outputs, kernel_h, kernel_w, terms of a pixel).

        The sum of ``kernel * (scale * n + shift)`` over a window has the weights ``kernel * scale`` for n, and a
        constant.
        """
        assert self.fixed is not None
        if not np.isfinite(kernel).all():
            raise self.fail("finite weights", "NaN or infinity")
        (source,) = value.sources
        signal, real_kernel, taps = self.signals[source], kernel.astype(np.float64), kernel[0, ..., 0].size
        operand = selected(value.encoding.settled(signal), np.tile(plane, taps))
        padding, real = self._padding(value, geometry)
        around = np.tile(real[plane], taps)
        kind = "dense" if len(signal.shape) == 1 else "conv"
        bits = self.fixed.of(name := self.new_name(kind))
        whole = np.zeros((*kernel.shape[:3], signal.channels))
        for term, channel in enumerate(plane):
            whole[..., channel] += real_kernel[..., term] * operand.scale[term]
        weight, alpha, error = rounded(whole, bits)
        rows = real_kernel.reshape(len(kernel), -1)
        reach = np.tile(np.maximum(np.abs(signal.low), np.abs(signal.high)), taps)
        bound = largest_error(error.reshape(len(kernel), -1), whole.reshape(len(kernel), -1), reach)
        lacking = (real_kernel * (operand.shift - around)[: len(plane)]).sum(axis=3)
        added = np.broadcast_to(0.0 if bias is None else bias, len(kernel)).astype(np.float64)
        errors = {name: error}
        if kind == "dense":
            self.append(Dense(name, (source,), weight=weight[:, 0, 0]))
            errors = {name: error[:, 0, 0]}
        elif any(padding) and lacking.any():
            more, of_edge = self._with_edge(name, source, weight, alpha, lacking, geometry.stride, padding)
            errors = {self.operations[-1].inputs[0]: error, self.operations[-1].inputs[1]: of_edge}
            bound, operand = bound + more, replace(operand, shift=around)
        else:
            self.append(Conv2d(name, (source,), weight=weight, stride=geometry.stride, padding=padding))
        magnitude = np.maximum(self._magnitude(value)[np.tile(plane, taps)], np.abs(around) if any(padding) else 0)
        made = rounded_sum(rows, operand, magnitude, added, alpha, bound)
        self.rounded[name] = Rounded(bits, alpha, made.settled(self.signal).fixed, errors)
        self.notes.append(f"{self.where}: not exact: the weights of {name} are rounded to {bits} bits")
        positions = canonical(self.signal.shape)
        if kind == "conv" and value.positions.ndim == 2:
            positions = positions[:, 0]
        return self.observe(Value((name,), positions, made, self.place))

    def _with_edge(
        self, name: str, source: str, weight: Weights, alpha: FloatArray, lacking: FloatArray, stride: tuple[int, int],
        padding: tuple[int, int, int, int],
    ) -> tuple[FloatArray, FloatArray]:  # fmt: skip
        """Append a padded convolution where the integer 0, by which it pads, does not stand for the padding.

        What it lacks inside the image for each tap, `lacking`, comes from a second one, of an image of one value.

        Returns
        -------
        bound : float64 array, shape (outputs,)
            By how much the rounding of that changes a sum at most.
        error : float64 array
            As :attr:`xnorflow.bnn.frontends.core.fixed.Rounded.errors` has it, of the second.
        """
        rows, channels = lacking.reshape(len(lacking), -1), self.signals[source].channels
        unit = constant_scale(rows, alpha, MAX_WEIGHT)
        whole, _, off = rounded(lacking, MOST, alpha * unit)
        image = self._constant(source, unit)
        only = np.eye(1, channels, dtype=np.int16)[0]
        inside, edge = self.new_name("inside"), self.new_name("edge")
        self.append(Conv2d(inside, (source,), weight=weight, stride=stride, padding=padding))
        self.append(Conv2d(edge, (image,), weight=whole[..., None] * only, stride=stride, padding=padding))
        self.append(Add(name, (inside, edge)))
        bound = largest_error(off.reshape(rows.shape), rows, np.ones(rows.shape[1]))
        return bound, off[..., None] / unit * only

    def _constant(self, source: str, value: int) -> str:
        """Append an image of one value, 1 or more, as large as the result of `source`."""
        always = self.signals[source].low[:, None]
        up = np.ones(len(always), np.int8)
        name = self.new_name("constant")
        self.append(MultiThreshold(name, (source,), threshold=always, direction=up, low=0, step=value))
        return name

    def _convolved(
        self,
        value: Value,
        weight: NDArray[np.int8],
        alpha: FloatArray,
        deviation: FloatArray,
        geometry: Geometry,
        bias: FloatArray | None,
    ) -> Value:
        plane, axes = self.planes(value), value.positions.ndim - 1
        if weight.shape[3] != len(plane):
            raise self.fail(f"weights for {len(plane)} channels", f"for {weight.shape[3]}")
        rows = weight.reshape(len(weight), -1)
        taps = weight[0, :, :, 0].size
        terms = np.tile(plane, taps)
        operand, times = self._common(value, terms, rows)
        padding, real = self._padding(value, geometry)
        pad_value = self._pad_value(value, plane, real) if any(padding) else 0
        wide = (rows * times).reshape(weight.shape)
        whole = np.zeros((*weight.shape[:3], len(value.encoding.scale)), np.int64)
        for term, channel in enumerate(plane):
            whole[..., channel] += wide[..., term]
        names = [
            self._weighted(whole[..., part.channels], lambda layer, name=part.name: Conv2d(  # type: ignore[misc]
                self.new_name("conv"), (name,), weight=layer, stride=geometry.stride, padding=padding,
                pad_value=pad_value))
            for part in self._varying(value)
        ]  # fmt: skip
        magnitude = np.maximum(self._magnitude(value), np.abs(real) if any(padding) else 0)[terms]
        return self._product(names, rows, alpha, deviation.reshape(rows.shape), operand, magnitude, bias, axes + 1)

    def _factor(self, kernel: NDArray[np.float32]) -> tuple[NDArray[np.int8], FloatArray, FloatArray]:
        weight, alpha, deviation = factor(np.ascontiguousarray(kernel), self.where, LARGEST)
        # A compiler may compute x + (q - x) as (x - x) + q, and then other weights of the channel are off.
        off = 2 * np.abs(deviation).max(axis=tuple(range(1, deviation.ndim)), keepdims=True)
        deviation = np.broadcast_to(off, deviation.shape)
        zeros = int((weight == 0).sum())
        if self.tell_zeros and zeros and not (np.abs(weight) > 1).any():
            self.notes.append(f"{self.where}: {zeros:,} of {weight.size:,} weights are 0 and add nothing")
        return weight, alpha, deviation

    def _weighted(self, weight: IntArray, make: Callable[[IntArray], Operation]) -> str:
        if (largest := np.abs(weight).max(initial=0)) > MAX_WEIGHT:
            raise NotExact(str(self.fail(
                f"weights up to {MAX_WEIGHT:,} times one scale, with all scales of their operands", f"{largest:,}"
            )))  # fmt: skip
        self.weighted(weight, make)
        return self.last.name

    def _product(
        self,
        names: list[str],
        weight: NDArray[np.int8],
        alpha: FloatArray,
        deviation: FloatArray,
        operand: Encoding,
        magnitude: FloatArray,
        bias: FloatArray | None,
        axes: int,
    ) -> Value:
        """Sum the products with all sources, and say what the framework has for it; weights as it adds them up."""
        if len(names) > 1:
            self._sum(tuple(names))
        encoding = sum_error(weight, alpha, deviation, operand, magnitude)
        if bias is not None and bias.any():
            encoding = add_bias(encoding, np.broadcast_to(bias, alpha.shape), weight, alpha, magnitude)
        positions = canonical(self.signal.shape)
        if axes == 2:
            positions = positions[:, 0]
        return self.observe(Value((self.last.name,), positions, encoding, self.place))

    def _magnitude(self, value: Value) -> FloatArray:
        signal, encoding = self.joined(value), value.encoding
        magnitude: FloatArray = np.maximum(
            *(np.abs(encoding.scale * end + encoding.shift) for end in (signal.low, signal.high))
        )
        return magnitude

    def _common(self, value: Value, terms: IntArray, weight: NDArray[np.int8]) -> tuple[Encoding, IntArray]:
        """Return what the terms of a sum are, of one scale, and the small integers by which their weights grow."""
        encoding = selected(value.encoding.settled(self.joined(value)), terms)
        scales = [Fraction(scale) for scale in np.unique(np.abs(encoding.scale)).tolist() if scale]
        whole = lcm(*(scale.denominator for scale in scales))
        unit = Fraction(gcd(*(int(scale * whole) for scale in scales)), whole) if scales else Fraction(1)
        if scales and max(scales) / unit * int(np.abs(weight).max(initial=1)) > LARGEST:
            raise ScalesError(str(self.fail(
                "a sign or quantiser between two layers of weights, or scales of its operand in a ratio of small "
                "integers",
                f"scales such as {', '.join(f'{float(scale):g}' for scale in scales[:3])}",
            )))  # fmt: skip
        times = np.rint(encoding.scale / float(unit)).astype(np.int64)
        return replace(encoding, scale=np.full(len(terms), float(unit))), times

    def _padding(self, value: Value, geometry: Geometry) -> tuple[tuple[int, int, int, int], FloatArray]:
        """Combine padding before a convolution with its own, of 0."""
        own, outer = geometry.padding, value.padding
        nothing = np.zeros(len(value.encoding.scale))
        real = value.pad_real if any(outer) and value.pad_real is not None else nothing
        if any(own) and real.any():
            raise self.fail("padding of one value", f"{real[0]:g} and 0")
        top, bottom, left, right = (a + b for a, b in zip(own, outer, strict=True))
        return (top, bottom, left, right), real

    def _pad_value(self, value: Value, plane: IntArray, real: FloatArray) -> int:
        """Find the integer that stands for the padding."""
        encoding, used = value.encoding, np.unique(plane)
        constant = (encoding.scale[used] == 0) & (encoding.shift[used] == real[used])  # the padding goes on with it
        used = used[~constant]
        scale, shift = encoding.scale[used], encoding.shift[used]
        if not used.size:
            return 0
        with np.errstate(divide="ignore", invalid="ignore"):
            integers = (real[used] - shift) / scale
        bipolar = all(self.signals[name].bipolar for name in value.sources)
        if not (integers == integers[0]).all() or integers[0] not in ((-1, 0, 1) if bipolar else (0,)):
            way = ""
            if not bipolar and shift.any():
                way = "; no integer of the operand stands for the padding: subtract the mean after it, or pad before it"
            raise NotExact(str(self.fail(
                "padding with 0 or one of the two values of the activation before it",
                f"{real[used][0]:g} where the operand has {shift[0]:g} + n * {scale[0]:g}{way}",
            )))  # fmt: skip
        return int(integers[0])

    # Images that grow

    def transposed(
        self,
        value: Value,
        kernel: NDArray[np.float32],
        geometry: Geometry,
        extra: tuple[int, int] = (0, 0),
        bias: FloatArray | None = None,
    ) -> Value:
        """Convolve the other way (ConvTranspose): each phase of the larger image is a convolution of the smaller one.

        Parameters
        ----------
        value : Value
            Of shape (channels, height, width) or (channels, length).
        kernel : float32 array, shape (inputs, kernel_h, kernel_w, outputs / groups)
        geometry : Geometry
            Its stride is by what the image grows, its padding what is cut off.
        extra : (int, int)
            Rows and columns added at the bottom and the right.
        bias : float64 array, broadcast to (outputs,)
        """
        value = self.image(self.need(value))
        self.refuse_padding(value, "a transposed one")
        groups = geometry.groups
        joint = np.concatenate([part.transpose(3, 1, 2, 0) for part in np.split(kernel, groups)])
        weight, alpha, deviation = self._factor(joint)
        weight = dilated(grouped(weight, groups), geometry.dilation)
        deviation = dilated(grouped(deviation, groups), geometry.dilation)
        height, width = next(iter(self.parts(value))).shape[:2]
        top, bottom, left, right = geometry.padding
        rows = _Phases(height, weight.shape[1], geometry.stride[0], top, bottom, extra[0])
        columns = _Phases(width, weight.shape[2], geometry.stride[1], left, right, extra[1])
        block = geometry.stride
        shape = (len(weight), *block, rows.taps, columns.taps, weight.shape[3])
        weights, deviations = np.zeros(shape, np.int8), np.zeros(shape)
        for to_row, from_row, tap_row in rows.moves():
            for to_column, from_column, tap_column in columns.moves():
                place = (slice(None), to_row, to_column, from_row, from_column)
                weights[place], deviations[place] = weight[:, tap_row, tap_column], deviation[:, tap_row, tap_column]
        weights, deviations = weights.reshape(-1, *shape[3:]), deviations.reshape(-1, *shape[3:])
        many = block[0] * block[1]
        spread = None if bias is None else np.repeat(np.broadcast_to(bias, alpha.shape), many)
        around = (rows.before, rows.after, columns.before, columns.after)
        axes, observed = value.positions.ndim, dict(self.observed)
        small = self._convolved(value, weights, np.repeat(alpha, many), deviations, Geometry(padding=around), spread)
        self.observed = observed  # no tensor of the framework holds the phases
        self.append(DepthToSpace(self.new_name("grow"), small.sources, block=block))
        encoding = self._of_phases(small.encoding, many)
        name = self._cropped(self.last.name, rows.size, columns.size)
        positions = canonical(self.signals[name].shape)
        return self.observe(Value((name,), positions if axes == 3 else positions[:, 0], encoding, self.place))

    def _of_phases(self, encoding: Encoding, many: int) -> Encoding:
        """Return what all phases of a channel are, which stand beside each other."""
        scale, shift, fixed, relative = (
            getattr(encoding, part).reshape(-1, many) for part in ("scale", "shift", "fixed", "relative")
        )
        if (scale != scale[:, :1]).any() or (shift != shift[:, :1]).any():
            raise self.fail("one scale and shift for all elements of a grown image", "several")
        return Encoding(scale[:, 0], shift[:, 0], fixed.max(axis=1), relative.max(axis=1))

    def _cropped(self, name: str, height: int, width: int) -> str:
        """Append what drops rows and columns at the bottom and the right, if there are too many."""
        tall, wide, channels = self.signals[name].shape
        if (tall, wide) == (height, width):
            return name
        weight = np.zeros((channels, tall - height + 1, wide - width + 1, channels), np.int8)
        weight[:, 0, 0] = np.diag(np.ones(channels, np.int8))
        self.append(Conv2d(self.new_name("crop"), (name,), weight=weight))
        return self.last.name

    def image(self, value: Value) -> Value:
        """Make an image of the Network of a tensor whose elements stand otherwise: upsampled, or shuffled to pixels."""
        try:
            self.planes(value)
        except UserError:
            merged = self._merged(value)
            made = self._grown(merged) or self._cut(merged) or self._cut_and_grown(merged)
            if made is None:
                raise
            return made
        return value

    def _merged(self, value: Value) -> Value:
        """Make one operation of several images of one size, all their channels side by side."""
        sizes = {part.shape[:2] for part in self.parts(value) if len(part.shape) == 3}
        if len(value.sources) == 1 or len(sizes) != 1 or any(value.padding):
            return value
        value = self.pooled(value)
        stacked = self._whole(value, np.arange(len(value.encoding.scale)), 3)
        made = self.single(replace(value, positions=stacked))
        places = np.empty(stacked.size, np.int64)
        places[stacked.ravel()] = made.positions.ravel()
        return replace(made, positions=places[value.positions])

    def _cut(self, value: Value) -> Value | None:
        """Take rows and columns of an image, evenly spaced, by a convolution that gives what it gets there."""
        parts, positions = list(self.parts(value)), value.positions
        if len(parts) != 1 or positions.ndim not in (2, 3) or len(parts[0].shape) != 3 or any(value.padding):
            return None
        height, width, channels = parts[0].shape
        tall = positions if positions.ndim == 3 else positions[:, None]
        plane = tall[:, 0, 0] % channels
        pixels = tall[0] // channels
        rows, columns = pixels[:, 0] // width, pixels[0] % width
        if not np.array_equal((rows[:, None] * width + columns) * channels + plane[:, None, None], tall):
            return None
        (top, down, tall_kernel), (left, right, wide_kernel) = _spaced(rows, height), _spaced(columns, width)
        if not down or not right:
            return None
        value = self.pooled(value)
        signal = self.signals[value.sources[0]]
        weight = np.zeros((len(plane), tall_kernel, wide_kernel, channels), np.int8)
        weight[:, top, left] = plane[:, None] == np.arange(channels)
        self.append(Conv2d(self.new_name("crop"), value.sources, weight=weight, stride=(down, right)))
        name = self._bipolar(self.last.name) if signal.bipolar else self.last.name
        made = canonical(self.signals[name].shape)
        return replace(
            value,
            sources=(name,),
            positions=made if positions.ndim == 3 else made[:, 0],
            encoding=selected(value.encoding, plane),
        )

    def _cut_and_grown(self, value: Value) -> Value | None:
        """Take rows and columns of an image, evenly spaced, each of whose pixels then becomes a block of pixels."""
        parts, positions = list(self.parts(value)), value.positions
        if len(parts) != 1 or positions.ndim not in (2, 3) or len(parts[0].shape) != 3:
            return None
        channels = parts[0].shape[2]
        tall = positions if positions.ndim == 3 else positions[:, None]
        pixels = tall[0] // channels
        down, right = (int((line == line[0]).cumprod().sum()) for line in (pixels[:, 0], pixels[0]))
        rows, columns = (np.arange(length) // size for length, size in zip(pixels.shape, (down, right), strict=True))
        small = pixels[::down, ::right]
        if not np.array_equal(tall // channels, np.broadcast_to(small[rows[:, None], columns], tall.shape)):
            return None
        cut = self._cut(replace(value, positions=small * channels + np.arange(channels)[:, None, None]))
        if cut is None:
            return None
        spread = cut.positions[tall % channels, rows[:, None], columns]
        return self._grown(replace(cut, positions=spread if positions.ndim == 3 else spread[:, 0]))

    def _looped(self, value: Value) -> Value:
        """Make one operation of all states of a loop over time, or of what a layer makes of each of them."""
        sources, count = value.sources, len(value.sources)
        if count < 2 or value.step is not None or len({self.signals[name].shape for name in sources}) > 1:
            return value
        known = distinct(self.operations)
        terms = [term_of(name, known) or Term(name, np.zeros((0, 0), np.int64)) for name in sources]
        if any(not np.array_equal(term.weight, terms[0].weight) for term in terms):
            return value
        loop = loop_of([term.source for term in terms], known, self.signals)
        channels = slice(len(value.encoding.scale) // count)
        encoding = selected(value.encoding, channels)
        if loop is None or any(
            not np.array_equal(getattr(value.encoding, part), np.tile(getattr(encoding, part), count))
            for part in ("scale", "shift", "fixed", "relative")
        ):
            return value
        name = self.loop(loop)
        if terms[0].weight.size:
            self.append(Conv2d(self.new_name("conv"), (name,), weight=terms[0].weight[:, None, None, :]))
            name = self.last.name
        return replace(value, sources=(name,), encoding=encoding)

    def loop(self, loop: Loop, last: bool = False) -> str:
        """Append the operations of a loop over time; return the name of its result."""
        source = loop.image if isinstance(loop.image, str) else self.loop(loop.image)
        for operation in loop.operations(source, self.new_name("conv"), self.new_name("recurrent"), last):
            self.append(operation)
        if doubtful := sum(self.ambiguous[state].pairs for state in loop.states if state in self.ambiguous):
            self.ambiguous[self.last.name] = Ambiguous(doubtful, np.zeros((0, 3), np.int64))
        return self.last.name

    def _grown(self, value: Value) -> Value | None:
        parts, positions = list(self.parts(value)), value.positions
        if len(parts) != 1 or positions.ndim not in (2, 3) or len(parts[0].shape) != 3 or any(value.padding):
            return None
        height, width, channels = parts[0].shape
        tall = positions if positions.ndim == 3 else positions[:, None]
        if tall.shape[1] % height or tall.shape[2] % width:
            return None
        block = (tall.shape[1] // height, tall.shape[2] // width)
        wanted = (tall % channels).reshape(len(tall), height, block[0], width, block[1])
        phase = wanted[:, 0, :, 0, :]  # (outputs, block_h, block_w): the channel that each is taken from
        pixels = np.arange(height)[:, None] * width + np.arange(width)
        spread = np.repeat(np.repeat(pixels, block[0], 0), block[1], 1) * channels
        index = np.tile(phase, (1, height, width))
        if not np.array_equal(spread + index, tall):
            return None
        value = self.pooled(value)
        name = self._chosen(value.sources[0], phase.ravel())
        self.append(DepthToSpace(self.new_name("grow"), (name,), block=block))
        encoding = self._of_phases(selected(value.encoding, phase.ravel()), block[0] * block[1])
        made = canonical(self.signal.shape)
        return replace(
            value,
            sources=(self.last.name,),
            positions=made if positions.ndim == 3 else made[:, 0],
            encoding=encoding,
        )

    def _chosen(self, name: str, channels: IntArray) -> str:
        """Append what gives some channels of a result, in some order; the result itself where that is all of them."""
        signal = self.signals[name]
        if np.array_equal(channels, np.arange(signal.channels)):
            return name
        weight = (channels[:, None] == np.arange(signal.channels)).astype(np.int8)
        operation: Operation
        if len(signal.shape) == 1:
            operation = Dense(self.new_name("copy"), (name,), weight=weight)
        else:
            operation = Conv2d(self.new_name("copy"), (name,), weight=weight[:, None, None, :])
        self.append(operation)
        return self._bipolar(self.last.name) if signal.bipolar else self.last.name

    def _bipolar(self, name: str) -> str:
        """Append what makes one bit of values that are -1 and +1."""
        ones = np.ones(self.signals[name].channels, np.int64)
        self.append(Threshold(self.new_name("threshold"), (name,), threshold=ones, direction=ones.astype(np.int8)))
        return self.last.name

    # Sums

    def concatenate(self, values: Sequence[Value | FloatArray], axis: int) -> Value:
        """Put tensors side by side, one of them a Value at least.

        Parameters
        ----------
        values : sequence of Value or float64 array
            The arrays are constants, of the tensors' shape but for the number of channels.
        axis : int
            That of the tensors without their batch axis, 0 where there are constants.
        """
        if axis and any(not isinstance(value, Value) for value in values):
            raise self.fail("constants beside the channels", "beside rows or columns")
        ready = []
        for value in [value for value in values if isinstance(value, Value)]:
            self.refuse_padding(value, "a concatenation")
            ready.append(self.pooled(self.settle(value, rounded=False) or value))
        if len(ready) < len(values):
            first = ready[0] = self.flattened(ready[0]) if ready[0].positions.ndim == 1 else self.image(ready[0])
            given = iter(ready)
            ready = [next(given) if isinstance(of, Value) else self._constants(first, of) for of in values]
        starts = np.cumsum([0, *(sum(part.stop - part.start for part in self.parts(value)) for value in ready)])
        positions = [value.positions + start for value, start in zip(ready, starts[:-1], strict=True)]
        widths = np.cumsum([0, *(len(value.encoding.scale) for value in ready)])
        step = None
        if any(value.step is not None for value in ready):

            def compute(values: Array) -> Array:
                columns = zip(ready, widths[:-1], widths[1:], strict=True)
                return np.concatenate([run(values[:, a:b], value.step)[0] for value, a, b in columns], axis=1)

            where = next(value.step.where for value in ready if value.step is not None)
            step = Elementwise(where, compute, (None,), ready[0].place)
        made = Value(
            tuple(name for value in ready for name in value.sources),
            np.concatenate(positions, axis=axis),
            concatenated(*(value.encoding for value in ready)),
            self.place,
            step,
        )
        return self._looped(made)

    def _constants(self, beside: Value, reals: FloatArray) -> Value:
        """Return constants as a tensor: the 0 of a layer without weights, which stands for each channel's value.

        Parameters
        ----------
        beside : Value
            Of an image, a sequence or a vector of the Network, from which that layer takes its operand.
        reals : float64 array
            Of the tensor's shape, but for the number of channels.
        """
        axes, channels = beside.positions.ndim, len(reals)
        held = reals.reshape(channels, -1)
        if reals.shape[1:] != beside.positions.shape[1:] or not np.isfinite(held).all():
            raise self.fail(f"finite constants beside {self.describe(beside)}", f"shape {reals.shape}")
        if (held != held[:, :1]).any():
            raise self.fail("constants that are the same for every position of the image", "others")
        source, name = beside.sources[0], self.new_name("constant")
        weight: Weights = np.zeros((channels, self.signals[source].channels), np.int8)
        if axes == 1:
            self.append(Dense(name, (source,), weight=weight))
        else:
            self.append(Conv2d(name, (source,), weight=weight[:, None, None]))
        positions, nought = canonical(self.signal.shape), np.zeros(channels)
        encoding = Encoding(nought, held[:, 0].astype(np.float64), nought, nought)
        return Value((name,), positions[:, 0] if axes == 2 else positions, encoding, None)

    def _varying(self, value: Value) -> list[Operand]:
        """Give the operations of a value, but for those that are always 0, if there are others."""
        parts = list(self.parts(value))
        found = [part for part in parts if self.signals[part.name].low.any() or self.signals[part.name].high.any()]
        return found or parts[:1]

    def single(self, value: Value) -> Value:
        """Make one operation of a value, whose positions are those of the tensor: the whole image, or vector."""
        if value.positions.ndim == 1:
            value = self.flattened(value)
            plane = self.channels_of(value)
        else:
            value = self.image(value)
            plane = self.planes(value)
        if len(value.sources) == 1 and np.array_equal(plane, np.arange(len(value.encoding.scale))):
            return value
        bipolar = all(self.signals[name].bipolar for name in value.sources)
        names = []
        for part in self._varying(value):
            inside = (plane >= part.channel) & (plane < part.channels.stop)
            weight = (np.arange(part.shape[-1]) == (plane - part.channel)[:, None]) & inside[:, None]
            made = weight.astype(np.int8)
            if len(part.shape) == 1:
                self.append(Dense(self.new_name("copy"), (part.name,), weight=made))
            else:
                self.append(Conv2d(self.new_name("copy"), (part.name,), weight=made[:, None, None, :]))
            names.append(self.last.name)
        if len(names) > 1:
            self._sum(tuple(names))
        if bipolar:
            self._bipolar(self.last.name)
        positions = canonical(self.signal.shape)
        return replace(
            value,
            sources=(self.last.name,),
            positions=positions[:, 0] if value.positions.ndim == 2 else positions,
            encoding=selected(value.encoding, plane),
        )

    def difference_of(self, first: Value, second: Value) -> Value:
        """Subtract the second from the first of two results of different layers."""
        negative = self.step([second], np.negative)
        return self.sum_of([first, replace(negative, place=None)])  # which no tensor of the framework holds

    def sum_of(self, values: list[Value]) -> Value:
        """Add two results of different layers."""
        ready = []
        for value in values:
            self.refuse_padding(value, "a sum")
            ready.append(self.single(self.need(value)))
        first, second = ready
        if not np.array_equal(first.positions, second.positions):
            raise self.fail(
                "results of one shape and order of axes to add", f"{self.describe(first)} and {self.describe(second)}"
            )
        (left, of_left), (right, of_right) = self._rising(first, second), self._rising(second, first)
        try:
            encoding = self.add((left, right), (of_left, of_right))
        except NotExact as error:
            self._allow(error)
            ready = [self.rounded_values(value) if _needs_rounding(value.encoding) else value for value in ready]
            if all(before is after for before, after in zip(ready, (first, second), strict=True)):
                raise
            return self.sum_of(ready)
        return self.observe(Value((self.last.name,), first.positions, encoding, self.place))

    def blurred(self, value: Value, error: FloatArray) -> Value:
        """Let what the framework has be off by some more than its operators tell, of shape (channels,)."""
        return replace(value, encoding=replace(value.encoding, fixed=value.encoding.fixed + error))

    def _rising(self, value: Value, other: Value) -> tuple[str, Encoding]:
        """Negate channels whose integers stand for falling values, and take out those that stand for one value."""
        turn, scale = np.sign(value.encoding.scale).astype(np.int64), np.abs(value.encoding.scale)
        if (turn > 0).all():
            return value.sources[0], value.encoding
        beside = np.abs(other.encoding.scale)
        scale = np.where(turn == 0, np.where(beside == 0, 1.0, beside), scale)
        return self.copy(value.sources[0], turn), replace(value.encoding, scale=scale)

    def average(
        self,
        value: Value,
        size: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int, int, int] = _NONE,
        divisor: int | None = None,
    ) -> Value:
        """Take the mean over windows of an image; positions of `padding` count as 0.

        `divisor` is by what the framework divides, if not by the window's size: 1 for a sum.
        """
        value = self.image(self.need(value))
        self.refuse_padding(value, "an average")
        channels = self.planes(value)
        signal, encoding = self.joined(value), value.encoding
        if any(padding) and encoding.shift.any():
            raise self.fail("padding by 0 where the operand's integers are multiples of a scale", "others")
        names = []
        for part in self.parts(value):
            operation: Operation = SumPool2d(self.new_name("pool"), (part.name,), size=size, stride=stride)
            if any(padding):  # a sum of each channel alone, in which positions around the image count as 0
                ones = grouped(np.ones((part.shape[-1], *size, 1), np.int8), part.shape[-1])
                operation = Conv2d(operation.name, operation.inputs, weight=ones, stride=stride, padding=padding)
            self.append(operation)
            names.append(operation.name)
        terms = size[0] * size[1]
        mean = averaged(encoding, signal, terms, divisor or terms)
        made = Value(tuple(names), value.positions, mean, self.place)
        made = replace(made, positions=self._whole(made, channels, value.positions.ndim))
        return self.observe(made)

    def over_image(
        self, value: Value, axes: Collection[int], what: Literal["mean", "sum", "maximum"], keep: bool
    ) -> Value:
        """Take the mean, the sum or the maximum over whole rows, columns or both of an image, or over a sequence.

        Parameters
        ----------
        value : Value
        axes : collection of int
            Of the framework's tensor, with its batch axis; negative ones count from behind.
        what : {"mean", "sum", "maximum"}
        keep : bool
            Whether the axes stay, with length 1.

        Raises
        ------
        UserError
            If any is none of an image's or a sequence's, or there are none.
        """
        many, first = value.positions.ndim, 1 if self.channels_last else 2
        image = range(first, first + many - 1)
        if not axes or not {axis % (many + 1) for axis in axes} <= {*image}:
            raise self.fail(
                f"a {what} over axes of the image, {[*image]} (over channels, as the input scales K of XNOR-Net take "
                "it, it has no place in a binary network)",
                f"axes {list(axes)}",
            )
        axes = {axis % (many + 1) - first + 1 for axis in axes}  # of positions, whose channels are first
        gone = () if keep else tuple(axes)
        if value.positions.ndim == 2:  # a sequence is a row of the Network, or a column, where columns are gone
            shape = next(self.parts(value)).shape
            across = 2 if len(shape) == 3 and shape[0] > 1 else 1
            gone, axes = (1, 2) if gone else (across,), (3 - across,)
            value = replace(value, positions=np.expand_dims(value.positions, across))
        height, width = (value.positions.shape[axis] if axis in axes else 1 for axis in (1, 2))
        if what == "maximum":
            made = self.max_pool(value, Window((height, width), (height, width)))
        else:
            made = self.average(value, (height, width), (height, width), divisor=1 if what == "sum" else None)
        return self.view(made, made.positions.squeeze(gone))


def _spaced(places: IntArray, length: int) -> tuple[int, int, int]:
    """Return where places on an axis begin, how far apart they are (0: unevenly), and the size of a window for them.

    Moved by that distance over the `length` of the axis it meets each of them, and no more.
    """
    first, step = int(places[0]), int(places[1] - places[0]) if len(places) > 1 else 1
    if step < 1 or not np.array_equal(places, first + step * np.arange(len(places))):
        return first, 0, 0
    return first, step, max(first + 1, length - step * len(places) + 1)


def _needs_rounding(encoding: Encoding) -> bool:
    """Whether some integers stand for multiples of anything but a power of two."""
    return bool((np.abs(np.frexp(encoding.scale)[0]) != 0.5).any())


@dataclass(frozen=True)
class _Phases:
    """One axis of a transposed convolution: output ``q * stride + r`` is a sum of inputs from ``q - before`` on."""

    length: int
    kernel: int
    stride: int
    start: int
    end: int
    extra: int

    @property
    def size(self) -> int:
        """Length of the result."""
        return (self.length - 1) * self.stride - self.start - self.end + self.kernel + self.extra

    @property
    def _offsets(self) -> list[tuple[int, int, int]]:
        """(phase, input relative to q, tap): full index ``q * stride + r + start`` is ``t * stride + tap``."""
        return [
            (phase, (phase + self.start - tap) // self.stride, tap)
            for phase in range(self.stride)
            for tap in range(self.kernel)
            if (phase + self.start - tap) % self.stride == 0
        ]

    @property
    def before(self) -> int:
        """Padding in front, with taps of 0 where that at the end would be as long as the kernel."""
        first, last = (end(offset for _, offset, _ in self._offsets) for end in (min, max))
        before = max(0, -first)
        return before + max(0, self.after - (max(0, last) + before))

    @property
    def taps(self) -> int:
        return max(0, max(offset for _, offset, _ in self._offsets)) + self.before + 1

    @property
    def after(self) -> int:
        last = max(0, max(offset for _, offset, _ in self._offsets))
        return max(0, -(-self.size // self.stride) + last - self.length)

    def moves(self) -> list[tuple[int, int, int]]:
        """Return (phase, tap of the small kernel, tap of the large one)."""
        return [(phase, offset + self.before, tap) for phase, offset, tap in self._offsets]
