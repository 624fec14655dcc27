"""A Network in the making: what the front ends share as they walk a model."""

from bnn.errors import UserError
from bnn.network import Input, Network, Operation, Signal


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

    def fail(self, expected: str, came: object) -> UserError:
        """Return the error that says where, what was expected and what came."""
        return UserError(f"{self.where}: expected {expected}, got {came}")

    def network(self, name: str) -> Network:
        """Return the Network."""
        return Network(name, tuple(self.operations))
