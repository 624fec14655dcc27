"""The hls4ml projects under C-simulation: their C++, compiled by g++ and run on this machine."""

import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Argmax, Flatten, Input, Network
from xnorflow.cosim.engine import Engine, EngineError, EngineUnavailable, Results
from xnorflow.hls.config import HlsConfig
from xnorflow.hls.errors import Unsupported
from xnorflow.hls.processes import NotStarted, Processes

_COMPILER = "g++"
_FLAGS = ("-std=c++11", "-w", "-pthread")
_VECTORS_ON_DISK = 100
_LAYERS = "layers.json"  # beside the program: the name and shape of each layer that it can show
#: Held while a project is written: hls4ml has one back end and one writer for all threads.
_WRITING = threading.Lock()


class CSim(Engine):
    """Compiles the project of a network and runs it on vectors, as processes of their own: a crash is an error here.

    The top function gives the integer scores; the class (:class:`~xnorflow.bnn.network.Argmax`) is computed here, on
    the host, as it would be beside the hardware.

    Parameters
    ----------
    style : {"packed", "stock"}
    backend : {"vitis", "vivado"}
    io_type : {"auto", "io_parallel", "io_stream"}
    jobs : int, optional
        Processes at a time; all cores by default.
    **settings
        Further settings of :class:`xnorflow.hls.config.HlsConfig`.

    Attributes
    ----------
    name : str
        ``hls4ml_packed`` or ``hls4ml_stock``.
    compile_seconds, seconds : float
        Time that the last compilation and the last run took; 0.0 before.
    estimate : HlsEstimate or None
        What a packed project just prepared is expected to take.
    """

    def __init__(
        self,
        style: str = "packed",
        backend: str = "vitis",
        io_type: str = "auto",
        jobs: int | None = None,
        **settings: Any,
    ) -> None:
        self.config = HlsConfig(style=style, backend=backend, io_type=io_type, **settings)
        self.name = f"hls4ml_{style}"
        self.compile_seconds = 0.0
        self.seconds = 0.0
        self._jobs = jobs or os.cpu_count() or 1

    def tools(self) -> Mapping[str, str]:
        """Return the versions of what made the results."""
        from importlib.metadata import version

        answer = subprocess.run([_compiler(), "-dumpfullversion"], capture_output=True, text=True, check=False)
        return {"hls4ml": version("hls4ml"), _COMPILER: answer.stdout.strip() or "unknown"}

    def prepare(
        self,
        network: Network,
        folder: Path,
        inputs: NDArray[np.integer[Any]] | None = None,
        expected: NDArray[np.integer[Any]] | None = None,
    ) -> None:
        """Write the project into `folder` and compile it.

        Parameters
        ----------
        network : Network
        folder : Path
        inputs, expected : integer arrays, optional
            Vectors for the project's test bench, and the results of the last operation before the argmax: the first 100
            are written. Without them the test bench has none, and fails until it has.
        """
        _compiler()  # say that it is missing before writing anything
        from xnorflow.hls import project

        if inputs is None or expected is None:
            inputs, expected = np.zeros((0, 1), np.int8), np.zeros((0, 1), np.int8)
        try:
            with _WRITING:
                made = project.write(
                    network, folder, self.config, inputs[:_VECTORS_ON_DISK], expected[:_VECTORS_ON_DISK]
                )
        except Unsupported as error:
            raise EngineUnavailable(str(error)) from None
        self._network, self._folder = network, folder
        self.estimate = made.estimate
        self.compile()
        layers = [(port.name, list(port.storage.shape)) for port in made.layers]
        (self._program.parent / _LAYERS).write_text(json.dumps(layers))
        self.attach(network, folder)

    def attach(self, network: Network, folder: Path) -> None:
        """Take up what :meth:`prepare` has left in `folder`, perhaps in another process, for the same network.

        Raises
        ------
        EngineError
            If it is not there.
        """
        self._network, self._folder = network, folder
        try:
            layers = json.loads((self._program.parent / _LAYERS).read_text())
        except (OSError, ValueError) as error:
            raise EngineError(f"{self.name}: no compiled project in {folder}: {error}") from None
        self._layers = [(name, tuple(shape)) for name, shape in layers]

    @property
    def _program(self) -> Path:
        return self._folder.resolve() / "build" / "csim"

    def compile(self) -> None:
        """Compile the project as it lies in its folder; whatever was compiled before is removed first.

        Raises
        ------
        EngineError
            If that fails; the message holds the compiler's first errors.
        """
        from xnorflow.hls.project import top_name

        top, folder, build = top_name(self._network), self._folder.resolve(), self._program.parent
        build.mkdir(exist_ok=True)
        self._program.unlink(missing_ok=True)
        descriptor, name = tempfile.mkstemp(dir=build, prefix="csim-")
        os.close(descriptor)
        fresh = Path(name)
        fresh.unlink()
        # In the packed style every variable holds many vectors: other types for the same sources.
        types = ["-Ilanes"] if self.config.style == "packed" else []
        # Thousands of statements in a row, as hard-wired neurons are, take compilers minutes at -O3.
        optimise = "-O1" if any(folder.glob("firmware/circuit*.h")) else "-O3"
        command = [_compiler(), *_FLAGS, optimise, *types, "-Ifirmware/ap_types", '-DWEIGHTS_DIR="firmware/weights"']
        command += [f"firmware/{top}.cpp", f"{top}_csim.cpp", "-o", str(fresh)]
        start = time.perf_counter()
        try:
            with Processes() as processes:
                status, said = processes.ask(command, folder)
            self.compile_seconds = time.perf_counter() - start
            if status or not fresh.is_file():
                raise EngineError(
                    f"{self.name}: {_ending(status, _COMPILER)} and left no program; the project lies in"
                    f" {folder}\n{_first_errors(said)}"
                )
            os.replace(fresh, self._program)
        finally:
            fresh.unlink(missing_ok=True)

    def run(self, inputs: NDArray[np.integer[Any]], every_layer: bool = False) -> Results:
        layers = self._layers if every_layer else self._layers[-1:]
        width = sum(math.prod(shape) for _, shape in layers)
        expected = (-1, *self._network.input.shape)
        if inputs.shape[1:] != expected[1:] or not np.issubdtype(inputs.dtype, np.integer):
            raise EngineError(f"{self.name}: expected integer inputs {expected}, got {inputs.dtype}{inputs.shape}")
        start = time.perf_counter()
        parts = np.array_split(inputs, max(1, min(self._jobs, len(inputs))))
        with ThreadPoolExecutor(self._jobs) as pool, Processes() as processes:
            made = pool.map(lambda part: self._run(part, width, every_layer, processes), parts)
            values = np.concatenate(list(made))
        self.seconds = time.perf_counter() - start

        results: dict[str, NDArray[np.integer[Any]]] = {}
        column = 0
        for name, shape in layers:
            size = math.prod(shape)
            results[name] = values[:, column : column + size].reshape(len(inputs), *shape)
            column += size
        return self._complete(results, inputs, every_layer)

    def _run(
        self, inputs: NDArray[np.integer[Any]], width: int, every_layer: bool, processes: Processes
    ) -> NDArray[np.int64]:
        """Run the program on some of the vectors; returns int64, shape (vectors, width)."""
        if not len(inputs):
            return np.zeros((0, width), np.int64)
        with tempfile.TemporaryDirectory(prefix="xnorflow-") as scratch:
            given, made = Path(scratch) / "inputs", Path(scratch) / "results"
            inputs.astype(np.int64).tofile(given)
            command = [str(self._program), str(given), str(made), *(["layers"] if every_layer else [])]
            try:
                # Stock layers load their weights by a path inside the project, so that it can be moved.
                status, said = processes.ask(command, self._folder)
            except NotStarted as error:
                raise EngineError(f"{self.name}: cannot run {self._program}: {error}") from None
            if status:
                raise EngineError(
                    f"{self.name}: {_ending(status, 'the C-simulation')}; the project lies in"
                    f" {self._folder}\n{said[-2000:]}".rstrip()
                )
            values = np.fromfile(made, np.int64) if made.is_file() else np.zeros(0, np.int64)
        if values.size != len(inputs) * width:
            raise EngineError(
                f"{self.name}: expected {len(inputs)} x {width} results, got {values.size} values; the project lies in"
                f" {self._folder}"
            )
        return values.reshape(len(inputs), width)

    def _complete(
        self, results: dict[str, NDArray[np.integer[Any]]], inputs: NDArray[np.integer[Any]], every_layer: bool
    ) -> Results:
        """Add what the hardware leaves to the host: the views of flattened results, and the class."""
        complete: dict[str, NDArray[np.integer[Any]]] = {}
        for operation in self._network.operations:
            operand = complete.get(operation.inputs[0]) if operation.inputs else None
            if operation.name in results:
                complete[operation.name] = results[operation.name]
            elif isinstance(operation, Input):
                if every_layer:
                    complete[operation.name] = inputs
            elif isinstance(operation, Flatten) and operand is not None:
                complete[operation.name] = operand.reshape(len(operand), -1)
            elif isinstance(operation, Argmax) and operand is not None:
                complete[operation.name] = operand.argmax(axis=1)[:, np.newaxis]
        return complete


def _compiler() -> str:
    path = shutil.which(_COMPILER)
    if path is None:
        raise EngineUnavailable(f"{_COMPILER} is not installed; on Debian and Ubuntu: sudo apt-get install g++")
    return path


def _ending(status: int, what: str) -> str:
    if status < 0:
        return f"{what} was killed by {signal.Signals(-status).name}"
    return f"{what} ended with exit status {status}"


def _first_errors(output: str) -> str:
    """The compiler's first errors, each with the lines that explain it."""
    lines = output.splitlines()
    first = next((i for i, line in enumerate(lines) if "error" in line), 0)
    return "\n".join(lines[first : first + 12]) or "(the compiler said nothing)"
