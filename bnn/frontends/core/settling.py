"""Steps between integers: folded into thresholds, or taken into what the integers stand for."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from xnorflow.bnn.errors import NetworkError, UserError
from xnorflow.bnn.folding import fold_multi_threshold, fold_threshold
from xnorflow.bnn.frontends.core import levels as found
from xnorflow.bnn.frontends.core.fixed import ALLOW, Fixed, Rounded, grid, spread
from xnorflow.bnn.frontends.core.layout import Layout
from xnorflow.bnn.frontends.core.levels import Levels
from xnorflow.bnn.frontends.core.sums import UNIT, Encoding
from xnorflow.bnn.frontends.core.value import Ambiguous, Array, Elementwise, Observed, Value, Window, run, steps_of
from xnorflow.bnn.network import IntArray, MultiThreshold, Operation, Signal, Threshold

_SAME = 2.0**-36  # part by which scales may differ that are one in real numbers
_INSIDE = (0, -1, -0.7, -0.3, 0.2, 0.6, 1)  # where between its ends a rounded sum is looked at
_EVALUATED = 1 << 22  # of rounded sums, pairs of channel and integer on which steps are judged
_NONE = np.zeros((0, 3), np.int64)  # runs of ambiguous accumulators
_SURE = 0.25  # how far from an integer the framework's value may lie for it to be observed, in steps of one


class Settling(Layout):
    """Steps, the pools among them, and what becomes of them.

    Attributes
    ----------
    notes, ambiguous, observed
        As :class:`xnorflow.bnn.frontends.core.value.Conversion` has them.
    rounded : dict of str to Rounded
        What the rounding of weights has done, by layer of the Network.
    tell_zeros : bool
        Whether notes say where weights are 0.
    fixed : Fixed or None
        To how many bits weights are rounded; None where nothing is.
    """

    def __init__(self, where: str, tell_zeros: bool = False, fixed: Fixed | None = None) -> None:
        super().__init__(where)
        self.tell_zeros, self.fixed = tell_zeros, fixed
        self.rounded: dict[str, Rounded] = {}
        self.notes: list[str] = []
        self.ambiguous: dict[str, Ambiguous] = {}
        self.observed: dict[str, Observed] = {}
        self.unsteady: set[str] = set()  # activations whose values in the framework are not quite the same every time
        self._done: dict[Any, Value | None] = {}  # what has been settled, for the next that asks

    def step(
        self, values: list[Value], compute: Callable[..., Array], kind: Literal["", "sign", "scores"] = ""
    ) -> Value:
        """Add an element-wise operator of one value, or of several that are made of the same integers.

        Parameters
        ----------
        values : list of Value
        compute, kind
            As :class:`~xnorflow.bnn.frontends.core.value.Elementwise` has them. A ``sign`` behind rounded weights gives
            +1 at 0: where a rounded sum is 0, the trained model's hardly is, and three values would cost a second bit.
        """
        first = values[0]
        if kind == "sign" and self.is_rounded(first):
            compute = _of_two_values(compute)
        if not all(value.same_integers(first) for value in values):
            raise self.fail("operands from one layer of weights", "results of different layers")
        step = Elementwise(self.where, compute, tuple(value.step for value in values), first.place, kind)
        return replace(first, step=step, place=self.place)

    def view(self, value: Value, positions: IntArray) -> Value:
        """Move, repeat or drop elements: `positions` are those of the result."""
        self.refuse_padding(value, "a view")
        return replace(value, positions=positions, place=self.place)

    def max_pool(self, value: Value, window: Window) -> Value:
        """Take the maximum over windows, now or behind the activation that follows."""
        self.refuse_padding(value, "a pool")
        settled = self.settle(value, rounded=False)
        value = value if settled is None else self.image(settled)
        channels = self.planes(value)
        value = replace(value, pools=(*value.pools, (window, value.step)), place=self.place)
        value = replace(value, positions=self._whole(value, channels, value.positions.ndim))
        return value if settled is None else self.observe(self.pooled(value))

    def image(self, value: Value) -> Value:
        """See that a tensor is an image of the Network, or make it one."""
        raise NotImplementedError

    def _whole(self, value: Value, plane: IntArray, axes: int) -> IntArray:
        """Return the positions of an image whose channels are those of `plane`."""
        images = []
        for channel in plane:
            part = next(part for part in self.parts(value) if channel < part.channels.stop)
            pixels = part.start + np.arange(part.stop - part.start).reshape(part.shape)
            images.append(pixels[..., channel - part.channel])
        stacked = np.stack(images)
        places: IntArray = stacked if axes == 3 else stacked[:, 0]
        return places

    def need(self, value: Value) -> Value:
        """Return a value as integers, its encoding up to date; round it where it is none, or refuse it."""
        settled = self.settle(value)
        if settled is None:
            step = value.step
            while step is not None and any(operand is not None for operand in step.operands):
                step = next(operand for operand in step.operands if operand is not None)
            if self.fixed is None:
                raise UserError(f"{self.not_here(step.where if step else self.where)}; {ALLOW}")
            return self.rounded_values(value)
        return settled

    def rounded_values(self, value: Value) -> Value:
        """Round real values, which only rise or only fall with the integers, to multiples of a power of two.

        They become a :class:`~xnorflow.bnn.network.MultiThreshold` of as many levels as the bits allow over the whole
        range that the values can take, so that none saturates; halves go to the even multiple.
        """
        assert self.fixed is not None
        where, signal, bits = value.step.where if value.step else self.where, self.joined(value), self.fixed.of_values
        rows, whole = found.sample(signal)
        shown = self._shown(value, rows).astype(np.float64)
        if found.directions(lambda some: self._evaluate(value, some), self._grid(value)) is None:
            raise UserError(f"{where}: expected real values that only rise or only fall with the sums before them")
        unit, base, count = grid(shown.min(axis=0), shown.max(axis=0), bits)

        def formula(integers: IntArray) -> Array:
            steps: Array = np.rint(self._evaluate(value, integers).astype(np.float64) / unit) - base
            return steps

        folded = fold_multi_threshold(
            "threshold", value.sources[:1], formula, signal, low=0, step=1, levels=max(2, count), rows=rows
        )
        levels = Levels(0, max(2, count), 1.0, 0.0, 0.0, np.zeros(0), np.zeros(0, np.int64))
        ends = [self._evaluate(value, rows, end).astype(np.float64) for end in (-1, 1)]
        off = unit / 2 + spread(shown, np.minimum(*ends), np.maximum(*ends), whole)
        start = len(self.operations)
        made = self._placed(value, folded, self._falling(value, signal, folded), levels, _NONE)
        for operation in self.operations[start:]:
            if isinstance(operation, MultiThreshold):
                self.rounded[operation.name] = Rounded(bits, unit, off, {})
        self.notes.append(f"{where}: not exact: its values are rounded to {bits} bits")
        return replace(made, encoding=Encoding(unit, unit * base, off, np.zeros_like(off)))

    def observe(self, value: Value) -> Value:
        """Note that a value's tensor, if it has one, holds its integers, if rounding leaves them to be told."""
        whole = value.step is None and not any(value.padding)
        if len(value.sources) == 1 and whole and value.place is not None:
            encoding, signal = value.encoding.settled(self.joined(value)), self.joined(value)
            whole = value.positions.size == signal.size and np.unique(value.positions).size == signal.size
            if whole and (np.abs(encoding.scale) * _SURE > encoding.fixed).all():
                self.observed[value.sources[0]] = Observed(
                    value.place, value.positions, encoding.scale, encoding.shift
                )  # fmt: skip
        return value

    def settle(self, value: Value, rounded: bool = True) -> Value | None:
        """Return a value as integers; None where its steps are neither an affine nor an activation.

        Parameters
        ----------
        value : Value
        rounded : bool
            Whether an affine may be one that float32 rounds; it then adds to what the integers may be off.
        """
        if value.step is None:
            return self.pooled(value)
        held = None if value.pad_real is None else value.pad_real.tobytes()
        key = (value.sources, value.step, value.pools, value.padding, held, value.pad_step, rounded)
        if key not in self._done:
            self._done[key] = self._settled(value, rounded)
        done = self._done[key]
        return done and self.observe(replace(done, positions=value.positions, place=value.place))

    def _settled(self, value: Value, rounded: bool) -> Value | None:
        integers, whole = found.sample(self.joined(value))
        shown = self._shown(value, integers)
        if shown.dtype == np.bool_:
            return None
        affine = self._affine(value, integers, shown.astype(np.float64), whole)
        if affine is None or self._wants_sign(value, shown):
            return self._activation(value, integers, shown)
        if not (rounded or affine.encoding.exact):
            return None
        return self.settle(self.pooled(value), rounded) if value.pools else affine

    def is_rounded(self, value: Value) -> bool:
        """Whether rounded weights have a share in a value's integers, with no threshold behind them."""
        waiting = [*value.sources]
        by_name = {operation.name: operation for operation in self.operations}
        while waiting:
            if (name := waiting.pop()) in self.rounded:
                return True
            if not isinstance(by_name[name], Threshold | MultiThreshold):
                waiting += by_name[name].inputs
        return False

    def _grid(self, value: Value) -> Iterable[IntArray]:
        """Give the integers on which steps are judged: all that are reachable.

        Of rounded sums, which equal no sum of the framework's, a sample where there are very many.
        """
        signal = self.joined(value)
        if self._many(value):
            return [found.sample(signal)[0]]
        return found.reachable(signal)

    def _many(self, value: Value) -> bool:
        signal = self.joined(value)
        return found.steps_of(signal) * signal.channels > _EVALUATED and self.is_rounded(value)

    def affine(self, value: Value) -> Value | None:
        """Return a value as integers if its steps only scale and shift; None if they do more."""
        if value.step is None:
            return value
        integers, whole = found.sample(self.joined(value))
        shown = self._shown(value, integers)
        return self._affine(value, integers, shown.astype(np.float64), whole)

    def _shown(self, value: Value, integers: IntArray) -> Array:
        shown = self._evaluate(value, integers)
        if not np.isfinite(shown).all():
            assert value.step is not None
            raise UserError(f"{value.step.where}: expected finite values, got NaN or infinity")
        return shown

    def _wants_sign(self, value: Value, shown: Array) -> bool:
        """Whether two values are not yet one bit."""
        return not self.joined(value).bipolar and len(np.unique(shown)) == 2

    def _evaluate(self, value: Value, integers: IntArray, end: float = 0) -> Array:
        return run(value.encoding.values(integers, end), value.step)[0]

    # Affine steps

    def _affine(self, value: Value, integers: IntArray, shown: Array, whole: bool) -> Value | None:
        """Take steps that only scale and shift into the encoding."""
        encoding = value.encoding
        for scale, shift in self._fits(value, integers, shown):
            if found.is_affine(shown, integers, scale, shift):
                break
        else:
            return None
        fixed = found.roundings(shown, scale, integers) if self._many(value) else np.zeros(len(scale))
        furthest = np.zeros(len(scale))
        ends = (0,) if encoding.exact else (-1, 0, 1)
        for end in ends:
            for some in [integers] if whole else self._grid(value):
                away = np.abs(self._evaluate(value, some, end).astype(np.float64) - (scale * some + shift))
                furthest = np.maximum(furthest, away.max(axis=0))
        fixed = fixed + furthest
        new = Encoding(scale, shift, fixed, np.zeros_like(fixed))
        pad = None if value.pad_real is None else self._padded(value)
        return replace(value, encoding=new, step=None, pad_real=pad, pad_step=None)

    def _fits(self, value: Value, integers: IntArray, shown: Array) -> list[tuple[Array, Array]]:
        """Return what affines the steps may be: by real numbers, and by the ends that were met."""
        encoding, fits = value.encoding, []
        nought = np.zeros((1, integers.shape[1]), np.int64)
        try:
            points = [(encoding.scale * (nought + n) + encoding.shift).astype(np.float64) for n in (0, 1)]
            shift, unit = (run(point, value.step)[0][0].astype(np.float64) for point in points)
            scale = unit - shift  # whose last bits depend on the shift: what is meant to be one scale stays one
            fits.append((np.where(np.abs(scale - scale[0]) <= _SAME * np.abs(scale[0]), scale[0], scale), shift))
        except UserError:
            pass
        span = integers[-1] - integers[0]
        scale = np.divide(shown[-1] - shown[0], span, out=np.zeros(len(span)), where=span > 0)
        fits.append((scale, shown[0] - scale * integers[0]))
        return [fit for fit in fits if np.isfinite(fit).all()]

    def _padded(self, value: Value) -> Array:
        """Say what padding becomes of by the steps behind it."""
        assert value.pad_real is not None
        (result,) = run(value.pad_real[None].astype(np.float32), value.step, behind=value.pad_step)
        return np.asarray(result[0].astype(np.float64))

    # Activations

    def _activation(self, value: Value, integers: IntArray, shown: Array) -> Value | None:
        """Fold the steps into thresholds, where they give few values, evenly spaced."""
        assert value.step is not None
        levels = self._rounded_levels(value, shown) if self.is_rounded(value) else self._levels(value, integers, shown)
        if levels is None:
            return None
        signal, reals = self.joined(value), levels.reals

        def evaluate(integers: IntArray) -> Array:
            return self._evaluate(value, integers)

        try:
            for attempt in range(2):
                try:
                    folded = self._fold(value, signal, levels)
                    break
                except NetworkError:  # perhaps of a value that the sample had not
                    more = None if self._many(value) else found.values_of(evaluate, signal)
                    again = None if more is None or len(more) == len(reals) else found.find_levels(more)
                    if attempt or levels.rounded or again is None:
                        raise
                    levels = again
            self._check_zero(value)
            mirrored = self._falling(value, signal, folded)
        except NetworkError as error:
            raise UserError(f"{value.step.where}: {str(error).partition(': ')[2]}") from None
        ambiguous = self._ambiguous(value, signal, levels)
        self._tell_zeros(value, signal, levels)
        if levels.rounded:
            levels = replace(levels, error=max(levels.error, self._noise(value, signal, levels)))
        return self._placed(value, folded, mirrored, levels, ambiguous)

    def _levels(self, value: Value, integers: IntArray, shown: Array) -> Levels | None:
        """Find the values that steps give; those that float32 spreads are one, which float64 tells."""
        ends = (0,) if value.encoding.exact else _INSIDE
        values = np.concatenate([value.encoding.values(integers, end) for end in ends])
        results = shown if value.encoding.exact else run(values, value.step)[0]
        reals, first = np.unique(results, return_index=True)
        reals = reals.astype(np.float64)
        levels = found.find_levels(reals) if len(reals) <= found.MOST else None
        if levels is not None or len(reals) == 1 or not np.isfinite(reals).all():
            return levels
        group = found.grouped(reals)
        if group is None:
            return None
        *inner, wide = run(values.astype(np.float64), None, *reversed(steps_of(value.step)))
        clear = np.unique(wide.ravel()[first[np.unique(group, return_index=True)[1]]])
        largest = np.maximum.reduce([np.abs(of) for of in inner])
        if not np.isfinite(clear).all() or not found.is_rounding(results, wide, largest, clear):
            return None
        levels = found.find_levels(clear.astype(np.float32).astype(np.float64))
        return None if levels is None else replace(levels, rounded=True)

    def _noise(self, value: Value, signal: Signal, levels: Levels) -> float:
        """Say how far results may be from the values that they stand for."""
        noise, largest = 0.0, float(np.abs(levels.reals).max())
        for integers in self._grid(value):
            for end in (0,) if value.encoding.exact else (-1, 0, 1):
                *inner, result = run(value.encoding.values(integers, end), None, *reversed(steps_of(value.step)))
                noise = max(noise, float(levels.away(result).max()))
                largest = max(largest, *(float(np.abs(of).max()) for of in inner))
        return noise if value.encoding.exact else max(noise, 8 * UNIT * largest)  # between the ends it may round worse

    def _rounded_levels(self, value: Value, shown: Array) -> Levels | None:
        """Find the values that steps behind rounded sums give, where the framework has nothing but these, too.

        Its operand lies beside the rounded one, and a clip of rounded values gives few values here, and any there.
        """
        reals = np.unique(shown).astype(np.float64)
        levels = found.find_levels(reals) if len(reals) <= found.MOST else None
        if levels is None:
            return None
        rows = found.sample(self.joined(value))[0]
        beside = [levels.number(self._evaluate(value, rows, end)) for end in (-1, 1)]
        return levels if np.isfinite(beside).all() else None

    def _fold(self, value: Value, signal: Signal, levels: Levels) -> Threshold | MultiThreshold:
        """Return one operation for the channels of all sources."""

        def formula(integers: IntArray) -> Array:
            results = self._evaluate(value, integers)
            numbers = levels.number(results)
            if not np.isfinite(numbers).all():
                row, channel = (int(i) for i in np.argwhere(~np.isfinite(numbers))[0])
                raise NetworkError(
                    f"layer: expected one of {levels.count + 1} evenly spaced values, got {results[row, channel]:g} "
                    f"for accumulator {integers[row, channel]} of channel {channel}"
                )
            return 2 * (numbers - levels.low) - 1 if levels.count == 1 else numbers

        return _folded(formula, value, signal, levels, found.sample(signal)[0] if self._many(value) else None)

    def _check_zero(self, value: Value) -> None:
        """A sum of zero may be -0.0, where all its terms are: an activation must not tell it from 0.0."""
        if not value.encoding.exact or value.encoding.shift.any() or value.step is None:
            return
        zero = np.zeros((1, len(value.encoding.scale)), np.float32)
        if not np.array_equal(run(zero, value.step)[0], run(-zero, value.step)[0]):
            raise UserError(
                f"{value.step.where}: expected an activation that gives the same for -0.0 as for 0.0, got one that "
                "tells them apart"
            )

    def _falling(self, value: Value, signal: Signal, folded: Threshold | MultiThreshold) -> Array:
        """Return in which channels what follows the pools that wait falls: there the maximum becomes a minimum."""
        mirrored = np.zeros(signal.channels, bool)
        behind = np.where(self._is_constant(folded, signal), 0, folded.direction)
        for number, (_, before) in enumerate(value.pools):
            relation = behind * self._directions(value, before)
            if number and ((relation < 0) != mirrored)[relation != 0].any():
                raise NetworkError("layer: expected pools that are all maxima or all minima, got both in one channel")
            mirrored |= relation < 0
        return mirrored

    def _directions(self, value: Value, step: Elementwise | None) -> IntArray:
        def evaluate(integers: IntArray) -> Array:
            return run(value.encoding.values(integers, 0), step)[0]

        result = found.directions(evaluate, self._grid(value))
        if result is None:
            raise NetworkError("layer: expected steps before a max pool that only rise or only fall, got others")
        return result

    @staticmethod
    def _is_constant(folded: Threshold | MultiThreshold, signal: Signal) -> Array:
        result = folded.infer(replace(signal, shape=(signal.channels,)))
        if isinstance(folded, MultiThreshold):
            return np.asarray(result.low == result.high)
        up = folded.direction > 0
        return np.asarray(
            np.where(up, folded.threshold > signal.high, folded.threshold < signal.low)
            | np.where(up, folded.threshold <= signal.low, folded.threshold >= signal.high)
        )

    def _ambiguous(self, value: Value, signal: Signal, levels: Levels) -> IntArray:
        """Find the accumulators whose activation depends on how the framework rounds its sums, as runs of neighbours.

        Rounded ones equal none of its sums; of them another count is kept, see :mod:`xnorflow.cosim.deviation`.
        """
        if value.encoding.exact or self.is_rounded(value):
            return _NONE
        runs = []
        steps = (signal.high - signal.low) // signal.step
        row = 0
        for integers in found.reachable(signal):
            low, high = (levels.number(self._evaluate(value, integers, end)) for end in (-1, 1))
            real = row + np.arange(len(integers))[:, None] <= steps
            edges = np.diff(((low != high) & real).T.astype(np.int8), axis=1, prepend=0, append=0)
            (channel, first), (_, beyond) = np.nonzero(edges > 0), np.nonzero(edges < 0)
            runs.append(np.stack([channel, integers[first, channel], integers[beyond - 1, channel]], axis=1))
            row += len(integers)
        return np.concatenate(runs)

    def _tell_zeros(self, value: Value, signal: Signal, levels: Levels) -> None:
        """Say where a sign gives 0."""
        signs: list[Elementwise] = []
        waiting = [value.step]
        while waiting:
            step = waiting.pop()
            if step is not None:
                waiting += step.operands
                signs += [step] if step.kind == "sign" else []
        if not signs or levels.reals.tolist() != [-1, 0, 1]:
            return
        steps = (signal.high - signal.low) // signal.step
        zeros, row = 0, 0
        for integers in found.reachable(signal):
            real = row + np.arange(len(integers))[:, None] <= steps
            zeros += int(((self._evaluate(value, integers) == 0) & real).sum())
            row += len(integers)
        self.notes.append(
            f"{signs[0].where}: a sign that gives 0 at 0, which {zeros:,} of {int((steps + 1).sum()):,} pairs of "
            "channel and sum reach: it has three values in the network, too"
        )

    def _placed(
        self, value: Value, folded: Threshold | MultiThreshold, mirrored: Array, levels: Levels, ambiguous: IntArray
    ) -> Value:
        """Append the threshold of each source, and the pools that waited for it."""
        if levels.count == 1:
            scale = levels.scale / 2
            common = (scale, levels.scale * (levels.low + 0.5) + levels.shift, levels.error)
        else:
            common = (levels.scale, levels.shift, levels.error)
        names = []
        pad = None if value.pad_real is None else self._padded(value)
        for part in self.parts(value):
            mine = part.channels
            turn, flip = folded.direction[mine].astype(np.int64), mirrored[mine]
            column = turn if levels.count == 1 else turn[:, None]
            flipped = flip if levels.count == 1 else flip[:, None]
            threshold = np.where(flipped, folded.threshold[mine] - column, folded.threshold[mine])
            operation: Operation = replace(
                folded,
                name=self.new_name("threshold"),
                inputs=(part.name,),
                threshold=threshold,
                direction=np.where(flip, -turn, turn).astype(np.int8),
            )
            self.append(operation)
            if levels.rounded:
                self.unsteady.add(operation.name)
            if len(runs := ambiguous[(ambiguous[:, 0] >= mine.start) & (ambiguous[:, 0] < mine.stop)]):
                pairs = int(((runs[:, 2] - runs[:, 1]) // self.signals[part.name].step + 1).sum())
                self.ambiguous[operation.name] = Ambiguous(pairs, runs - [mine.start, 0, 0])
            for window, _ in value.pools:
                self.append(window.operation(self.new_name("pool"), self.last.name))
            if flip.any():
                self.append(self._mirror(self.last.name, flip, folded))
            names.append(self.last.name)
        encoding = Encoding.common(len(mirrored), *common)
        return replace(
            value, sources=tuple(names), encoding=encoding, step=None, pools=(), pad_real=pad, pad_step=None
        )  # fmt: skip

    def _mirror(self, source: str, flip: Array, folded: Threshold | MultiThreshold) -> Operation:
        """Return the operation that turns the values of an activation round, lowest for highest, in some channels."""
        signal, name = self.signals[source], self.new_name("threshold")
        direction = np.where(flip, -1, 1).astype(np.int8)
        if isinstance(folded, Threshold):
            return Threshold(name, (source,), threshold=direction.astype(np.int64), direction=direction)
        up = ~flip[:, None]
        at = folded.low + np.arange(folded.levels) + up
        threshold = np.clip(at, (signal.low - flip)[:, None], (signal.high + ~flip)[:, None])
        return MultiThreshold(
            name, (source,), threshold=threshold, direction=direction, low=folded.low, step=folded.step
        )  # fmt: skip

    # Pools

    def pooled(self, value: Value) -> Value:
        """Take the maxima that wait on the integers: where what came before them falls, on their negatives."""
        if not value.pools:
            return value
        key = (value.sources, value.pools)
        if key not in self._done:
            self._done[key] = self._pooled(value)
        done = self._done[key]
        assert done is not None
        return replace(value, sources=done.sources, encoding=done.encoding, pools=())

    def _pooled(self, value: Value) -> Value:
        falls = np.zeros(len(value.encoding.scale), bool)
        for number, (_, before) in enumerate(value.pools):
            try:
                direction = self._directions(value, before)
            except NetworkError as error:
                raise UserError(f"{self.where}: {str(error).partition(': ')[2]}") from None
            if number and ((direction < 0) != falls)[direction != 0].any():
                raise self.fail("pools that are all maxima or all minima", "both in one channel")
            falls |= direction < 0
        names = []
        for part in self.parts(value):
            name = part.name
            if falls[part.channels].any():
                name = self.copy(name, np.where(falls[part.channels], -1, 1))
            for window, _ in value.pools:
                self.append(window.operation(self.new_name("pool"), name))
                name = self.last.name
            names.append(name)
        scale = np.where(falls, -value.encoding.scale, value.encoding.scale)
        return replace(value, sources=tuple(names), encoding=replace(value.encoding, scale=scale), pools=())


def _of_two_values(sign: Callable[..., Array]) -> Callable[..., Array]:
    def compute(*values: Array) -> Array:
        result = sign(*values)
        return np.where(result == 0, result.dtype.type(1), result)

    return compute


def _folded(
    formula: Callable[[IntArray], Array], value: Value, signal: Signal, levels: Levels, rows: IntArray | None
) -> Threshold | MultiThreshold:
    name, sources = "threshold", value.sources[:1]
    if levels.count == 1:
        return fold_threshold(name, sources, formula, signal, rows)
    return fold_multi_threshold(
        name, sources, formula, signal, low=levels.low, step=1, levels=levels.count, rows=rows
    )  # fmt: skip
