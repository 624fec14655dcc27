"""What the RTL engines share: the view of a project that they need, and what they say of a tool."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Conv2d, Dense, Network, Recurrent
from xnorflow.cosim.engine import EngineError, Results
from xnorflow.hls.rtl.cycles import CycleModel

#: Words of hardware; the last axis is the bytes of a word, the lowest first, ``ceil(width / 8)`` of them.
Bytes = NDArray[np.uint8]


class StreamProbe(Protocol):
    """Where a layer's results can be watched.

    Attributes
    ----------
    stream : str
        Prefix of the top module's wires ``<stream>_data``, ``<stream>_valid`` and ``<stream>_ready``.
    vectors : int
        Per frame.
    """

    @property
    def stream(self) -> str: ...
    @property
    def vectors(self) -> int: ...

    def unpack(self, words: Bytes) -> NDArray[np.int64]:
        """Return the results, shape (frames, *signal shape), from vectors, shape (frames * vectors, bytes)."""


class AxiProject(Protocol):
    """Verilog in a folder, whose top module takes and gives frames over AXI4-Stream, and how values lie in their beats.

    The module has the ports ``aclk``, ``aresetn``, and ``tdata``, ``tvalid``, ``tready`` and ``tlast`` of ``s_axis_``
    and ``m_axis_``. Any RTL that keeps to that can be simulated, whoever wrote it.

    Attributes
    ----------
    folder : Path
        Holds nothing but the project's files; the simulator's working directory.
    top : str
        Name of the top module.
    sources : tuple of Path
        Verilog files.
    in_width, out_width : int
        Bits of ``s_axis_tdata`` and ``m_axis_tdata``.
    in_beats, out_beats : int
        Beats of a frame.
    probes : mapping of layer name to StreamProbe
        The layers that can be watched inside.
    timing : CycleModel or None
        What the simulation must measure, where that is known.
    """

    @property
    def folder(self) -> Path: ...
    @property
    def top(self) -> str: ...
    @property
    def sources(self) -> tuple[Path, ...]: ...
    @property
    def in_width(self) -> int: ...
    @property
    def in_beats(self) -> int: ...
    @property
    def out_width(self) -> int: ...
    @property
    def out_beats(self) -> int: ...
    @property
    def probes(self) -> Mapping[str, StreamProbe]: ...
    @property
    def timing(self) -> CycleModel | None: ...

    def pack(self, inputs: NDArray[np.integer[Any]]) -> Bytes:
        """Return the beats, shape (frames, in_beats, bytes), of inputs, shape (frames, *input shape)."""

    def unpack(self, beats: Bytes) -> Results:
        """Return the results of beats, shape (frames, out_beats, bytes)."""


def built(build: Path) -> Path:
    """Return `build`, the folder of a compiled simulation.

    Raises
    ------
    EngineError
        If it is not there.
    """
    if not build.is_dir():
        raise EngineError(f"no compiled simulation of the RTL in {build}: the RTL or the tools have changed")
    return build


_LOOP = 8
"""Cycles, for each value of a step, that a state takes through the pipeline stages of its loop; ample."""


def timeout(network: Network) -> int:
    """Return the clock cycles after which a frame that has not come out is not going to.

    No architecture is slower than one product per cycle, layer after layer, and some cycles per value for ports that
    pause now and then; twice that.
    """
    signals = network.signals.values()
    products = sum(
        network.signals[operation.name].size * operation.weight[0].size
        for operation in network.operations
        if isinstance(operation, Dense | Conv2d)
    )
    products += sum(
        operand.size * (operand.channels + _LOOP)
        for operation in network.operations
        if isinstance(operation, Recurrent)
        for operand in (network.signals[operation.inputs[0]],)
    )
    limit: int = 1000 + 2 * products + 16 * sum(signal.size for signal in signals)
    return limit


def content_key(project: AxiProject, *more: str) -> str:
    """Return a name for what a build is made of: the project's files, and `more`."""
    sha = hashlib.sha256()
    for path in sorted(project.folder.rglob("*")):
        if path.is_file():
            sha.update(f"{path.relative_to(project.folder)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    for text in (project.top, *more):
        sha.update(text.encode() + b"\0")
    return sha.hexdigest()[:16]


def excerpt(log: str, lines: int = 12) -> str:
    """Return the end of a tool's output, for an error message."""
    return "\n".join(log.strip().splitlines()[-lines:])
