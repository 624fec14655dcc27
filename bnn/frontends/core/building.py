"""A Network in the making: what the front ends share as they walk a model."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.core.fixed import ScalesError
from xnorflow.bnn.frontends.core.sums import Encoding, added
from xnorflow.bnn.network import Add, Conv2d, Dense, Input, IntArray, Network, Operation, Signal, Weights

_LARGEST_RATIO = 256  # of the scales of two results to be added


class Builder:
    """Operations in topological order, and what is known about each one's result.

    Attributes
    ----------
    where : str
        What is being converted, for error messages.
    operations : list of Operation
    signals : dict of str to Signal
        By operation.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.operations: list[Operation] = []
        self.signals: dict[str, Signal] = {}
        self._counts: dict[str, int] = {}

    @property
    def last(self) -> Operation:
        """The operation that was appended last."""
        return self.operations[-1]

    @property
    def signal(self) -> Signal:
        """What is known about the last operation's result."""
        return self.signals[self.last.name]

    @property
    def input(self) -> Input:
        """The Network's input."""
        first = self.operations[0]
        assert isinstance(first, Input)
        return first

    def append(self, operation: Operation) -> None:
        """Add an operation whose operands are there.

        Raises
        ------
        NetworkError
            If the operands do not fit.
        """
        self.signals[operation.name] = operation.infer(*(self.signals[source] for source in operation.inputs))
        self.operations.append(operation)

    def new_name(self, kind: str) -> str:
        """Return the next name of a kind: dense1, dense2."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}{self._counts[kind]}"

    def weighted(self, weight: IntArray, make: Callable[[IntArray], Operation]) -> None:
        """Append a layer of integer weights: `make` gives it from them, its name and its operand."""
        self.append(make(weight))

    def add(self, names: Sequence[str], encodings: Sequence[Encoding]) -> Encoding:
        """Append the sum of two results; return what the framework has for it.

        Where their scales differ by ratios of small integers, so do the results before they are added.

        Raises
        ------
        NotExact
            If the scales have no such ratio.
        """
        (left, right), (first, second) = names, encodings
        signals = self.signals[left], self.signals[right]
        if signals[0].shape != signals[1].shape:
            raise self.fail("results of one shape to add", " and ".join(str(signal.shape) for signal in signals))
        ratios = [Fraction(x) / Fraction(y) for x, y in zip(first.scale.tolist(), second.scale.tolist(), strict=True)]
        if max(max(ratio.numerator, ratio.denominator) for ratio in ratios) > _LARGEST_RATIO:
            raise ScalesError(
                f"{self.where}: expected the sum of results whose scales are in a ratio of integers up to "
                f"{_LARGEST_RATIO} (give the quantizers of both branches, and of the weights before them, scales of "
                f"powers of two, or none; a batch norm belongs behind the sum), got "
                f"scales such as {first.scale[0]:g} and {second.scale[0]:g}"
            )
        factors = [np.array([getattr(ratio, part) for ratio in ratios]) for part in ("numerator", "denominator")]
        if left == right:
            right = self.copy(left)
        self._sum((self._times(left, factors[0]), self._times(right, factors[1])))
        first, second = (replace(of, scale=of.scale / by) for of, by in zip((first, second), factors, strict=True))
        return added(first, second, *(_times(signal, by) for signal, by in zip(signals, factors, strict=True)))

    def _sum(self, names: tuple[str, ...]) -> None:
        self.append(Add(self.new_name("add"), names))

    def copy(self, name: str, factors: IntArray | None = None) -> str:
        """Append a layer that gives what it gets, times an integer by channel: a sum takes each result once."""
        signal = self.signals[name]
        weight: Weights = np.diag(np.ones(signal.channels, np.int64) if factors is None else factors.astype(np.int64))
        if len(signal.shape) == 1:
            self.append(Dense(self.new_name("copy"), (name,), weight=weight))
        else:
            self.append(Conv2d(self.new_name("copy"), (name,), weight=weight[:, None, None, :]))
        return self.last.name

    def _times(self, name: str, factors: IntArray) -> str:
        """Append what multiplies each channel by a positive integer, if anything does."""
        return name if (factors == 1).all() else self.copy(name, factors)

    def fail(self, expected: str, came: object) -> UserError:
        """Return the error that says where, what was expected and what came."""
        return UserError(f"{self.where}: expected {expected}, got {came}")

    def network(self, name: str) -> Network:
        """Return the Network."""
        return Network(name, tuple(self.operations))


def _times(signal: Signal, factors: IntArray) -> Signal:
    return replace(signal, low=signal.low * factors, high=signal.high * factors)
