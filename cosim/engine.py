"""What every engine is: something that computes a Network's results from its inputs, by its own means."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Argmax, Network

#: Results by operation name; each array is integer, shape (vectors, *signal shape), bipolar values as -1 and +1.
Results = Mapping[str, NDArray[np.integer]]


class EngineUnavailable(Exception):
    """The engine cannot run here: a tool is missing, or the network is beyond it.

    The message is the reason, with the command that would mend it if there is one. A flow reports the engine as
    ``skipped``, never as passed.
    """


class EngineError(Exception):
    """The engine was there but broke: a compiler error, a crash, no results. A flow fails with this message."""


class OutOfRange(Exception):
    """An input holds a value that the network's Input cannot take."""


class Engine(Protocol):
    """One way to compute a Network.

    Attributes
    ----------
    name : str
        Key of the engine in ``report.json``.
    """

    name: str

    def prepare(self, network: Network, folder: Path) -> None:
        """Build whatever is needed to run `network`, inside `folder`.

        Raises
        ------
        EngineUnavailable
            If the engine cannot run this network on this machine.
        EngineError
            If building failed.
        """

    def run(self, inputs: NDArray[np.integer], every_layer: bool = False) -> Results:
        """Compute the results for `inputs`, integer, shape (vectors, *input shape).

        The result holds at least the engine's share of :func:`outputs`; with `every_layer`, every operation's
        result that the engine can observe.

        Raises
        ------
        EngineError
            If the run failed, or gave no or too few results.
        """


def outputs(network: Network) -> tuple[str, ...]:
    """Return the names of the results that are always compared.

    The network's output and, where that is an argmax, the scores it is taken from: equal classes are no substitute
    for equal integers.
    """
    last = network.output
    return (*last.inputs, last.name) if isinstance(last, Argmax) else (last.name,)
