"""The golden model: bit-packed XNOR and popcount, exact, fast, on all cores."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Network
from xnorflow.cosim.engine import Engine, EngineError, OutOfRange, Results, outputs

if TYPE_CHECKING:
    from xnorflow.cosim.packed import Program

#: Vectors are computed in tiles whose largest value takes about this many bytes, so that values stay in a core's cache.
_TILE_BYTES = 2**20


class Golden(Engine):
    """The reference that every other engine is compared to.

    Parameters
    ----------
    threads : int, optional
        Tiles of vectors computed at once; by default the cores this process may use. The results do not depend on it.
    """

    name = "golden"

    def __init__(self, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise UserError(f"threads: expected at least 1, got {threads}")
        self.threads = threads or cores()
        self._pool = ThreadPoolExecutor(self.threads)
        self._network: Network | None = None
        self._program: Program | None = None
        self._largest = 0

    def prepare(self, network: Network, folder: Path | None = None) -> None:
        """Pack the weights of `network`. Nothing is written to `folder`.

        Raises
        ------
        EngineUnavailable
            If the network holds an operation of an unknown class.
        """
        from xnorflow.cosim import packed  # here, so that numba loads only where it is used

        self._program = packed.Program(network)
        self._largest = largest_bytes(network)
        self._network = network

    def run(self, inputs: NDArray[np.integer[Any]], every_layer: bool = False) -> Results:
        """Compute the results for `inputs`.

        Parameters
        ----------
        inputs : integer array, shape (vectors, *input shape)
            Any integer dtype; the values must lie in the range of the network's Input, -1 or +1 if that is bipolar.
        every_layer : bool
            Return every operation's result, else those that :func:`xnorflow.cosim.engine.outputs` names.

        Returns
        -------
        mapping of integer arrays, shape (vectors, *signal shape), by operation name
            int8 for bipolar values, else int32, or int64 where the range of the signal needs it.

        Raises
        ------
        UserError
            If dtype, shape or a value of `inputs` is not what the network's Input says.
        EngineError
            If no network has been prepared.
        """
        network, program = self._network, self._program
        if network is None or program is None:
            raise EngineError("golden: prepare() a network before run()")
        inputs = _checked(network, inputs)
        names = tuple(network.signals) if every_layer else outputs(network)
        results = {name: np.empty((len(inputs), *network.signals[name].shape), program.dtypes[name]) for name in names}
        size = tile_size(self._largest, len(inputs), self.threads)
        starts = iter(range(0, len(inputs), size))

        def work(_: int) -> None:
            for start in starts:  # all threads take from one iterator, until it is empty
                tile = slice(start, start + size)
                try:
                    program.run(inputs[tile], {name: values[tile] for name, values in results.items()})
                except OutOfRange:
                    raise _out_of_range(network, inputs[tile], start) from None

        if len(inputs) <= size:  # to hand a single vector to a thread takes longer than to compute it
            work(0)
        else:
            list(self._pool.map(work, range(self.threads)))  # raises what a tile raised
        return results


def cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def largest_bytes(network: Network) -> int:
    """Return the bytes of the largest value of a vector."""
    return max(signal.size * (1 if signal.bipolar else 4) for signal in network.signals.values())


def tile_size(largest: int, vectors: int, threads: int) -> int:
    """Return the number of vectors of one tile: few enough for a core's cache, and no more than a thread's share.

    Parameters
    ----------
    largest : int
        See :func:`largest_bytes`.
    """
    return max(1, min(_TILE_BYTES // largest, -(-vectors // threads)))


def _checked(network: Network, inputs: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    inputs, source = np.asarray(inputs), network.input
    if inputs.dtype.kind not in "iu":
        raise UserError(f"{_where(network)}: expected an integer array, got {inputs.dtype}")
    if inputs.shape[1:] != source.shape or inputs.ndim == 0:
        expected = ", ".join(map(str, ("vectors", *source.shape)))
        raise UserError(f"{_where(network)}: expected an array of shape ({expected}), got {inputs.shape}")
    return np.ascontiguousarray(inputs, inputs.dtype.newbyteorder("="))


def _where(network: Network) -> str:
    return f"input {network.input.name!r} of network {network.name!r}"


def _out_of_range(network: Network, inputs: NDArray[np.integer[Any]], start: int) -> UserError:
    """Name the first value that the network's Input cannot take; `start` is the number of the first vector."""
    source = network.input
    signal = network.signals[source.name]
    low, high = int(signal.low[0]), int(signal.high[0])
    wrong = (inputs < low) | (inputs > high) | ((inputs == 0) & signal.bipolar)
    vector, *position = (int(n) for n in np.argwhere(wrong)[0])
    expected = "-1 or +1" if signal.bipolar else f"{low} to {high} ({source.bits} bits, {source.kind})"
    return UserError(
        f"{_where(network)}: vector {start + vector}, position {tuple(position)}: "
        f"expected {expected}, got {inputs[(vector, *position)]}"
    )
