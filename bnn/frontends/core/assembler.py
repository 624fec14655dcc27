"""The assembler: everything that a reader calls, and the end of a model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import NetworkError, UserError
from xnorflow.bnn.folding import fold_affine
from xnorflow.bnn.frontends.core.check import Survey
from xnorflow.bnn.frontends.core.fixed import Fixed
from xnorflow.bnn.frontends.core.layers import Geometry, Layers
from xnorflow.bnn.frontends.core.levels import reachable
from xnorflow.bnn.frontends.core.loops import distinct, loops
from xnorflow.bnn.frontends.core.sums import Encoding, FloatArray
from xnorflow.bnn.frontends.core.value import Conversion, Elementwise, Observed, Value, Window, run
from xnorflow.bnn.network import Affine, Argmax, Input, IntArray, MultiThreshold, Network, Threshold

Made = TypeVar("Made")

__all__ = ["Assembler", "Conversion", "Elementwise", "Geometry", "Observed", "Value", "Window"]


class Assembler(Layers):
    """A Network in the making: one method for each thing that an operator can be.

    Every method takes values and returns a new one, and raises UserError, which names the operator as
    :meth:`~xnorflow.bnn.frontends.core.layout.Layout.at` was told, or NetworkError, to which the reader adds that name.

    Parameters
    ----------
    where : str
        Names the model in messages.
    tell_zeros : bool
        Whether notes say where weights are 0: for a framework whose binary weights may be.
    survey : Survey, optional
        Where to note what is refused, if the model is only checked.
    fixed : Fixed, optional
        To how many bits weights are rounded that are no few integers; without it they are refused.
    """

    def __init__(
        self, where: str, tell_zeros: bool = False, survey: Survey | None = None, fixed: Fixed | None = None
    ) -> None:
        super().__init__(where, tell_zeros, fixed)
        self.survey = survey

    def taking(self, take: Callable[[], Made], instead: Callable[[], Made]) -> Made:
        """Take an operator; where the model is only checked, note a refusal and go on with `instead`."""
        try:
            return take()
        except (NetworkError, UserError) as error:
            message = f"{self.where}: {error}" if isinstance(error, NetworkError) else str(error)
            if self.survey is None:
                raise UserError(message) from None
            self.survey.refuse(message)
            return instead()

    def start(
        self, taken: Input, positions: IntArray, scale: float | FloatArray, shift: FloatArray | float = 0.0
    ) -> Value:
        """Begin with the input.

        Parameters
        ----------
        taken : Input
        positions : int64 array, of the framework's tensor without its batch axis
            Index into the Input's values, channels last, of each of the tensor's.
        scale, shift : float or float64 array, shape (channels,)
            The tensor's value for the integer n is ``scale * n + shift``.
        """
        self.append(taken)
        channels = taken.shape[-1]
        none = np.zeros(channels)
        encoding = Encoding(none + scale, none + shift, none, none)
        return Value((taken.name,), positions, encoding, self.place)

    def stand_in(self, shape: tuple[int, ...]) -> Value:
        """Return integers of 8 bits in place of a tensor, channels first, that cannot be had, to go on from it.

        No Network comes of that: it is for :class:`xnorflow.bnn.frontends.core.check.Survey`.
        """
        last = (*shape[1:], shape[0])
        last = (1, *last) if len(last) == 2 else last
        made = Input(self.new_name("unknown"), (), last, "signed", 8)
        self.append(made)
        none = np.zeros(last[-1])
        positions = np.moveaxis(np.arange(int(np.prod(last))).reshape(last), -1, 0).reshape(shape)
        return Value((made.name,), positions, Encoding(none + 1.0, none, none, none), self.place)

    def end(self, value: Value, note: str = "") -> Value:
        """Take a softmax or an argmax over the channels, behind which nothing may follow."""
        if note:
            self.notes.append(f"{self.where}: {note}")
        return replace(value, ended=self.where)

    def finish(self, value: Value, name: str, chosen: bool) -> tuple[Network, Any]:
        """End with a tensor.

        Parameters
        ----------
        value : Value
        name : str
            Of the Network.
        chosen : bool
            Whether the model itself chooses the class, the largest of the channels.

        Returns
        -------
        Network
        object
            The key of the tensor of the scores.
        """
        self.refuse_padding(value, "the end of the model")
        while value.step is not None and value.step.kind == "scores":
            self.notes.append(f"{value.step.where}: left out; it does not change the order of the scores")
            value = replace(value, step=value.step.operands[0], place=value.step.before)
        scores, self.where = value.place, value.step.where if value.step else self.where
        affine = self.affine(value)
        settled = affine or self.settle(value)
        if settled is not None and self._are_scores(settled) and not self._integral(value):
            last = self.observe(self.single(self.pooled(settled)))
        else:
            if settled is not None and self.unsteady.intersection(settled.sources):
                value = settled
            last = self._scores(self._aligned(value))
        if len(self.operations) == 1:
            raise UserError(f"{self.where.partition(',')[0]}: expected at least one layer, got none")
        self._prune(last.sources[0])
        last = replace(last, sources=(self._rolled(last.sources[0]),))
        self._prune(last.sources[0])
        signal = self.signals[last.sources[0]]
        if chosen or (not signal.bipolar and len(signal.shape) == 1 and signal.channels > 1):
            self.append(Argmax("argmax", last.sources))
        if self.fixed is not None and (strange := sorted(set(self.fixed.layers) - set(self.rounded))):
            raise UserError(
                f"fixed: layers: no layer {strange[0]!r} whose weights are rounded; there are "
                f"{', '.join(self.rounded) or 'none'}"
            )
        return self.network(name), scores

    def check_end(self, value: Value, name: str, chosen: bool) -> None:
        """Note whether a model that is only checked can end with a tensor."""
        assert self.survey is not None
        try:
            self.finish(value, name, chosen)
        except (NetworkError, UserError) as error:
            if not isinstance(error, NetworkError):
                self.survey.refuse(str(error))
            elif all(of.taken for of in self.survey.judged):  # else of a stand-in, of which nothing can be made
                self.survey.refuse(f"{self.where}: {error}")

    def _integral(self, value: Value) -> bool:
        """Whether the framework itself computes in integers, as this project's own files have it."""
        lowest = self.joined(value).low[None]
        return value.step is not None and bool(np.issubdtype(self._evaluate(value, lowest).dtype, np.integer))

    def _are_scores(self, value: Value) -> bool:
        """Whether integers are in the order of what they stand for, in all channels together."""
        encoding = value.encoding
        if not encoding.is_common or not encoding.scale[0] > 0:
            return False
        made = [operation for operation in self.operations if operation.name in value.sources]
        if self.unsteady.intersection(value.sources):
            return False
        return encoding.exact or all(isinstance(operation, Threshold | MultiThreshold) for operation in made)

    def _aligned(self, value: Value) -> Value:
        """Put the channels of a value with steps in the order of the tensor, in one operation."""
        value = self.pooled(value)
        if value.positions.ndim == 1:
            value = self.flattened(value)
        whole = np.arange(len(value.encoding.scale))
        plane = self.channels_of(value) if value.positions.ndim == 1 else self.planes(value)
        if len(value.sources) != 1 or not np.array_equal(plane, whole):
            raise self.fail("the scores of one layer of weights", self.describe(value))
        return value

    def _scores(self, value: Value) -> Value:
        """Turn scales, biases and batch norm after the last layer into an Affine."""
        if self.is_rounded(value):
            return self._rounded_scores(value)
        signal, encoding, step = self.joined(value), value.encoding, value.step
        points = np.concatenate([np.full((1, signal.channels), n) for n in (0, 1)])
        middle = (signal.low + signal.high) // 2
        ends = np.stack([signal.low, middle, signal.high]).astype(np.int64)
        results = self._evaluate(value, np.concatenate([points, ends]))
        if np.issubdtype(results.dtype, np.integer):  # as this project's own files have it
            scale, offset = results[1] - results[0], results[0]
            exact = all(
                np.array_equal(scale * some + offset, self._evaluate(value, some)) for some in reachable(signal)
            )
            if not exact:
                raise self.fail("integers all the way", "fractions that are cut off")
            self.append(Affine("affine", value.sources, scale=scale, offset=offset))
            return replace(value, sources=("affine",), step=None)
        points = np.concatenate([points, ends])
        wide = (encoding.scale * points + encoding.shift).astype(np.float64)
        real = run(wide, step)[0].astype(np.float64)
        intercept, slope = real[0], real[1] - real[0]
        if not np.allclose(real, slope * points + intercept, rtol=1e-6, atol=1e-9 * float(np.abs(real).max() + 1)):
            raise self.not_here(step.where if step else self.where)

        def formula(end: Literal[-1, 0, 1]) -> Callable[[IntArray], NDArray[np.floating[Any]]]:
            return lambda accumulators: self._evaluate(value, accumulators, end)

        interval = None if encoding.exact else (formula(-1), formula(1))
        self.append(
            fold_affine("affine", value.sources, formula(0), signal, slope, intercept, interval=interval)
        )  # fmt: skip
        return replace(value, sources=("affine",), step=None)

    def _rounded_scores(self, value: Value) -> Value:
        """Turn what follows a rounded last layer into an Affine that adds an eighth of an integer's step at most."""
        affine = self.affine(value)
        if affine is None:
            raise self.not_here(value.step.where if value.step else self.where)
        signal, encoding = self.joined(value), affine.encoding
        reach = np.maximum(np.abs(signal.low), np.abs(signal.high)).astype(np.float64)
        steps = np.abs(encoding.scale[encoding.scale != 0])
        if not steps.size:
            raise self.fail("scores that depend on the input", "constants")
        fraction = int(np.ceil(-np.log2(steps.min())))
        while True:
            scale, offset = (np.rint(np.ldexp(of, fraction)) for of in (encoding.scale, encoding.shift))
            off = np.abs(np.ldexp(encoding.scale, fraction) - scale) * reach + 0.5
            if np.ldexp(off.max(), -fraction) <= steps.min() / 8:
                break
            fraction += 1
        counts = [int(n) for n in (signal.high - signal.low) // signal.step + 1]
        pairs = (sum(counts) ** 2 - sum(n * n for n in counts)) // 2 if len(counts) > 1 else counts[0]
        self.append(
            Affine("affine", value.sources, scale=scale.astype(np.int64), offset=offset.astype(np.int64),
                   fraction=fraction, ambiguous=pairs)
        )  # fmt: skip
        return replace(value, sources=("affine",), step=None)

    def _rolled(self, last: str) -> str:
        """Make one operation of each loop over time whose last state alone is read; return the result's new name."""
        known = distinct(self.operations)
        found = loops(known, self.signals)
        if not found:
            return last
        before, records, renamed = self.operations, dict(self.ambiguous), dict[str, str]()
        self.operations = []
        for operation in before:
            inputs = tuple(renamed.get(name, name) for name in operation.inputs)
            self.append(replace(operation, inputs=inputs) if inputs != operation.inputs else operation)
            if operation.name in found:
                first = known[operation.name].name
                renamed[operation.name] = renamed.get(first) or self.loop(found[operation.name], last=True)
        made, states = renamed.get(last, last), {state for loop in found.values() for state in loop.states}
        if states.isdisjoint(known[name].name for name in self._needed(made) if name in known):
            return made
        steps = len(next(iter(found.values())).states)
        self.operations, self.ambiguous = before, records
        self.notes.append(f"{self.where}: a loop of {steps} steps stays as that many copies, for more than its last "
                          "state, or all of them in one tensor, is read")  # fmt: skip
        return last

    def _needed(self, last: str) -> set[str]:
        """Return the operations on which a result depends, and the input."""
        needed = {last, self.input.name}
        for operation in reversed(self.operations):
            if operation.name in needed:
                needed.update(operation.inputs)
        return needed

    def _prune(self, last: str) -> None:
        """Take out what the result does not depend on."""
        needed, by_name = self._needed(last), {operation.name: operation for operation in self.operations}
        kept = [operation for operation in self.operations if operation.name in needed and operation.name != last]
        self.operations = [*kept, by_name[last]]
        for record in (self.ambiguous, self.observed, self.rounded):
            for gone in set(record) - needed:
                del record[gone]
