"""What every engine is: something that computes a Network's results from its inputs, by its own means."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Argmax, Network
from xnorflow.cosim.timing import Timing

if TYPE_CHECKING:
    from xnorflow.hls.estimate import HlsEstimate

#: Results by operation name; each array is integer, shape (vectors, *signal shape), bipolar values as -1 and +1.
Results = Mapping[str, NDArray[np.integer[Any]]]


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
    about : str or None
        What it has built, for people.
    estimate : HlsEstimate or None
        What its project is expected to take as hardware, where it is an hls4ml project whose cycles are known.
    detail : str or None
        What the last run was made of, for people.
    timing : Timing or None
        Clock cycles of the last run, of an engine that counts them.
    waveform : Path or None
        What the last run has left, if it was one that leaves a waveform.
    leaves : Path or None
        Folder for what runs leave; None for that of the project.
    """

    name: str
    about: str | None = None
    estimate: "HlsEstimate | None" = None
    detail: str | None = None
    timing: Timing | None = None
    waveform: Path | None = None
    leaves: Path | None = None

    @property
    def max_vectors(self) -> int | None:
        """A flow should run no more vectors than this, and say so; None is no limit. Known once there is a build."""
        return None

    def deviation(self) -> str | None:
        """Say where the cycles of the last run are not those that were predicted; None if they are, or nothing was."""
        return None

    def prepare(self, network: Network, folder: Path) -> None:
        """Build whatever is needed to run `network`, inside `folder`.

        Raises
        ------
        EngineUnavailable
            If the engine cannot run this network on this machine.
        EngineError
            If building failed.
        """

    def attach(self, network: Network, folder: Path) -> None:
        """Take up what :meth:`prepare` has left in `folder`, perhaps in another process, for the same network.

        Raises
        ------
        EngineUnavailable
            If the engine cannot run this network on this machine.
        EngineError
            If it is not there.
        """
        self.prepare(network, folder)

    def run(self, inputs: NDArray[np.integer[Any]], every_layer: bool = False) -> Results:
        """Compute the results for `inputs`, integer, shape (vectors, *input shape).

        The result holds at least the engine's share of :func:`outputs`; with `every_layer`, every operation's
        result that the engine can observe.

        Raises
        ------
        EngineError
            If the run failed, or gave no or too few results.
        """


class TakesVectors(Protocol):
    """An engine whose project has a test bench of its own."""

    def prepare(
        self,
        network: Network,
        folder: Path,
        inputs: NDArray[np.integer[Any]] | None = None,
        expected: NDArray[np.integer[Any]] | None = None,
    ) -> None:
        """Build like :meth:`Engine.prepare`, with these inputs and expected scores for the test bench."""


def outputs(network: Network) -> tuple[str, ...]:
    """Return the names of the results that are always compared.

    The network's output and, where that is an argmax, the scores it is taken from: equal classes are no substitute
    for equal integers.
    """
    last = network.output
    return (*last.inputs, last.name) if isinstance(last, Argmax) else (last.name,)
