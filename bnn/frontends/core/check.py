"""What of a model is taken and what is refused, operator by operator."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Judged:
    """One operator.

    Attributes
    ----------
    where : str
        Its name for people.
    reason : str
        Why it is refused; empty where it is taken.
    """

    where: str
    reason: str = ""

    @property
    def taken(self) -> bool:
        return not self.reason


@dataclass
class Survey:
    """The operators of a model in its order, each judged as if all before it were taken.

    A reader that is given one notes here what it meets. What it refuses it replaces by integers
    (:meth:`xnorflow.bnn.frontends.core.assembler.Assembler.stand_in`) and goes on.

    Attributes
    ----------
    judged : list of Judged
    by_kind : bool
        Whether only the kinds of operators were looked at, since some are none that could be read.
    """

    by_kind: bool = False
    judged: list[Judged] = field(default_factory=list)

    def take(self, where: str) -> None:
        """Note an operator that was met; it is taken unless it is refused, too."""
        self.judged.append(Judged(where))

    def refuse(self, message: str) -> None:
        """Note a message at the operator that it begins with: it need not be the one that was met last."""
        begun = [number for number, of in enumerate(self.judged) if message.startswith(f"{of.where}: ")]
        number = max(begun, key=lambda number: (len(self.judged[number].where), number), default=len(self.judged) - 1)
        where = self.judged[number].where
        if self.judged[number].taken:
            self.judged[number] = Judged(where, message.removeprefix(f"{where}: "))
