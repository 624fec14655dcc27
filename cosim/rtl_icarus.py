"""The RTL on Icarus Verilog, driven over AXI4-Stream by cocotb."""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Network
from xnorflow.cosim import rtl, rtl_bench
from xnorflow.cosim.compare import compare
from xnorflow.cosim.engine import Engine, EngineError, EngineUnavailable, Results
from xnorflow.cosim.rtl import AxiProject, Bytes
from xnorflow.cosim.timing import Timing
from xnorflow.hls.folders import build_once
from xnorflow.hls.processes import Processes

_NO_PROBES: Mapping[str, tuple[str, int]] = MappingProxyType({})
_PASSES = ("back_to_back", "stalls", "gaps", "resets")
#: What the passes may cost: bytes of the compiled simulation times simulated clock cycles. vvp took 0.8 to 1.3 ns for
#: each with networks of the zoo (90 µs a cycle for the smallest, five sixths of them spent in vvp, the rest in Python).
#: Frames back to back are CXXRTL's matter, in bulk: they get a quarter of it, which takes a quarter of a minute. The
#: other passes, which Icarus alone makes, are simulated at the same time, and may cost half of it.
_BUDGET = 4.5e10
#: Seconds after which a simulation is taken to hang.
_LIMIT = 1800


@dataclass(frozen=True)
class _Effort:
    """How much of each pass a run can afford.

    Attributes
    ----------
    vectors : int
        Back to back.
    stalled, gapped : int
        Frames; a single one has no gap. 0 where one alone would cost more than twice the budget.
    resets : int
        0 likewise.
    """

    vectors: int = 200
    stalled: int = 32
    gapped: int = 12
    resets: int = 8

    @classmethod
    def of(cls, project: AxiProject, size: int, budget: float) -> "_Effort":
        """Share the budget out for a compiled simulation of `size` bytes."""
        model = project.timing
        if model is None:
            return cls()

        def frames(share: float, first: int, each: int, most: int) -> int:
            if (first + each) * size > 2 * budget:
                return 0
            return min(most, max(0, int((share * budget / size - first) / each)) + 1)

        pace = max(model.interval, 3 * project.in_beats, 3 * project.out_beats)  # while both ports pause
        return cls(
            vectors=max(2, frames(1 / 4, model.latency, model.interval, 500)),
            stalled=frames(1 / 4, 2 * model.latency, pace, 32),
            gapped=frames(1 / 8, model.latency, model.latency, 12),
            resets=frames(1 / 8, 2 * model.latency, 2 * model.latency, 8),
        )


class RtlIcarus(Engine):
    """Every vector through the RTL's AXI4-Stream ports, simulated with four states by Icarus Verilog.

    All vectors go back to back, which gives results and cycles. Meanwhile, in a simulator of their own, some go with
    random stalls on both sides, with gaps between the frames, and after resets in the middle of frames
    (:mod:`xnorflow.cosim.rtl_bench`); the results must be the same integers. A pass that fails is simulated again with
    a waveform up to the frame that went wrong, and the error names the file.

    Parameters
    ----------
    project : AxiProject
        The RTL, such as :func:`xnorflow.hls.rtl.project.write` makes and :func:`xnorflow.hls.rtl.project.load` reads
        it.
    waves : bool
        Keep a waveform of all vectors back to back.
    seed : int
        Of stalls, gaps and resets.

    Attributes
    ----------
    name : str
    passes : tuple of str
        Of the bench, the one back to back first.
    budget : float
        See :data:`_BUDGET`.
    most : float
        What two frames may cost, in the same unit: a design that costs more is left to CXXRTL.
    max_vectors : int or None
        More are a matter for CXXRTL.
    """

    name = "rtl_icarus"
    passes: tuple[str, ...] = _PASSES
    budget = _BUDGET
    most = 8 * _BUDGET

    def __init__(self, project: AxiProject, waves: bool = False, seed: int = 1) -> None:
        self.project, self.waves, self.seed = project, waves, seed

    def tools(self) -> Mapping[str, str]:
        """Return the versions of what made the results."""
        packages = {name: version(name) for name in ("cocotb", "cocotbext-axi")}
        return {"iverilog": _iverilog_version()} | packages

    def prepare(self, network: Network, folder: Path) -> None:
        """Compile the RTL, that of `network`, in `folder`; what has been compiled there from the same files stays.

        Raises
        ------
        EngineUnavailable
            If Icarus Verilog is not installed, there is no RTL for the network, or two frames would cost more than
            `most`.
        EngineError
            If Icarus Verilog refuses the RTL.
        """
        _iverilog_version()  # say that it is missing before making a folder
        build_once(self._build_in(folder), lambda private: _compile(self.project, private))
        self.attach(network, folder)

    def attach(self, network: Network, folder: Path) -> None:
        """Take up what :meth:`prepare` has left in `folder`, perhaps in another process, for the same network.

        Raises
        ------
        EngineUnavailable
            If Icarus Verilog is not installed, or two frames would cost more than `most`.
        EngineError
            If what was compiled from exactly these files with these tools is not there.
        """
        self._network, self._folder = network, folder.resolve()
        self._build = rtl.built(self._build_in(folder))
        self._refuse_what_takes_too_long((self._build / "sim.vvp").stat().st_size)
        self._effort = _Effort.of(self.project, (self._build / "sim.vvp").stat().st_size, self.budget)

    @property
    def max_vectors(self) -> int | None:
        return self._effort.vectors

    def deviation(self) -> str | None:
        model = self.project.timing
        return self.timing.deviation(model) if self.timing and model else None

    def _refuse_what_takes_too_long(self, size: int) -> None:
        model = self.project.timing
        cycles = model.latency + model.interval if model else 0
        if cycles * size > self.most:
            raise EngineUnavailable(
                f"two frames would take Icarus Verilog much longer than some minutes: {cycles:,} cycles of a design of "
                f"{size / 1e6:.1f} MB, compiled; rtl_cxxrtl simulates the same RTL"
            )

    def _build_in(self, folder: Path) -> Path:
        return folder.resolve() / f"icarus_{rtl.content_key(self.project, _iverilog_version())}"

    def run(self, inputs: NDArray[np.integer[Any]], every_layer: bool = False) -> Results:
        """Simulate all passes and return the results of the one back to back.

        With `every_layer`, simulate only that pass, return what the project's probes have seen, too, and keep a
        waveform: it is what one wants to know about vectors that went wrong.

        Raises
        ------
        EngineError
            If the simulator failed or left no results, if the design got stuck or broke the protocol, or if a pass gave
            other results than the one back to back.
        """
        project = self.project
        frames = project.pack(inputs)
        first_pass, *more = self.passes[:1] if every_layer else self.passes
        disturbed = [test for test in more if self._affords(test)]
        self.timing, self.waveform, self.detail = None, None, None
        if not len(frames):
            raise EngineError(f"{self.name}: no vectors to run")
        probes = (
            {layer: (probe.stream, probe.vectors) for layer, probe in project.probes.items()} if every_layer else {}
        )
        waveform = self._wave_file("simulation") if every_layer or self.waves else None
        try:
            with ThreadPoolExecutor() as pool, Processes() as processes:
                undisturbed = pool.submit(self._simulate, processes, (first_pass,), frames, probes, waveform)
                others = pool.submit(self._simulate, processes, disturbed, frames)
                got = undisturbed.result() | others.result()
        except _Failed as failed:
            raise self._failure(failed.test, frames, failed.reason) from None
        first = got[first_pass]
        results = dict(project.unpack(first["beats"]))
        for test in disturbed:
            numbers = got[test]["numbers"]
            expected = {name: values[numbers] for name, values in results.items()}
            differs = compare(self._network, expected, project.unpack(got[test]["beats"])).first
            if differs:
                number = int(numbers[differs.vector])
                sent = frames if test == "resets" else frames[: number + 1]
                raise self._failure(test, sent, f"other results than back to back: {replace(differs, vector=number)}")
        self.timing = Timing(first["first_in"], first["last_out"])
        self.detail = self._described(len(frames), disturbed, [test for test in more if test not in disturbed])
        for layer in probes:
            words = first[f"probe.{layer}"]
            if len(words) != len(frames) * probes[layer][1]:
                raise self._failure(
                    first_pass, frames, f"layer {layer} gave {len(words)} vectors for {len(frames)} frames"
                )
            results |= {layer: project.probes[layer].unpack(words)}
        return results

    def _affords(self, test: str) -> bool:
        """Whether the budget allows a pass besides the one back to back: a gap is between two frames."""
        effort = self._effort
        return {"stalls": effort.stalled > 0, "gaps": effort.gapped > 1, "resets": effort.resets > 0}[test]

    def _failure(self, test: str, frames: Bytes, reason: str) -> EngineError:
        """Simulate a failing pass again, for its waveform, and return the error that names it."""
        with contextlib.suppress(_Failed), Processes() as processes:
            self._simulate(processes, (test,), frames, waveform=self._wave_file(test))
        return EngineError(f"{self.name}: pass {test}: {reason} (waveform: {self.waveform})")

    def _described(self, vectors: int, disturbed: Sequence[str], left_out: Sequence[str]) -> str:
        """Say how many frames each pass had."""
        effort = self._effort
        passes = {
            "stalls": f"the first {min(effort.stalled, vectors)} with random stalls on both sides",
            "gaps": f"the first {min(effort.gapped, vectors)} with gaps between them",
            "resets": f"some after each of {effort.resets} resets in the middle of frames",
        }
        lacking = {"stalls": "with random stalls", "gaps": "with gaps between them", "resets": "after resets"}
        again = ", ".join(passes[test] for test in disturbed)
        none = " or ".join(lacking[test] for test in left_out)
        return (
            "all vectors back to back"
            + (f"; again, for the same integers: {again}" if again else " alone")
            + (f"; none {none}: too slow" if none else "")
        )

    def _wave_file(self, test: str) -> Path:
        self.waveform = (self.leaves or self._folder) / f"{test}.fst"
        self.waveform.unlink(missing_ok=True)
        return self.waveform

    def _simulate(
        self,
        processes: Processes,
        tests: Sequence[str],
        frames: Bytes,
        probes: Mapping[str, tuple[str, int]] = _NO_PROBES,
        waveform: Path | None = None,
    ) -> dict[str, dict[str, NDArray[Any]]]:
        """Run tests of the bench, if any, in a simulator of its own and return what each has saved."""
        if not tests:
            return {}
        project = self.project
        job = rtl_bench.BenchJob(
            *(project.in_width, project.in_beats, project.out_width, project.out_beats),
            timeout=rtl.timeout(self._network),
            seed=self.seed,
            probes=dict(probes),
            stalled=self._effort.stalled,
            gapped=self._effort.gapped,
            resets=self._effort.resets,
            latency=project.timing.latency if project.timing else 0,
        )
        with tempfile.TemporaryDirectory(prefix="xnorflow-") as scratch:
            private = Path(scratch)
            (private / "job.json").write_text(json.dumps(asdict(job)))
            np.save(private / "frames.npy", frames)
            report, log, dump = private / "results.xml", private / "log", private / "dump.fst"
            problem = ""
            try:
                _runner(processes).test(
                    test_module=rtl_bench.__name__,
                    hdl_toplevel=project.top,
                    hdl_toplevel_lang="verilog",
                    testcase=list(tests),
                    seed=self.seed,
                    build_dir=self._build,
                    test_dir=project.folder,  # where the memory files are
                    results_xml=str(report),
                    log_file=log,
                    extra_env={rtl_bench.FOLDER: str(private)},
                    waves=waveform is not None,
                    plusargs=[f"+dumpfile_path={dump}"] if waveform else [],  # a path that vvp takes as it is
                )
            except (RuntimeError, SystemExit) as error:  # the runner's ways to say that the simulator failed
                problem = str(error)
            except subprocess.TimeoutExpired:
                problem = f"vvp took longer than {_LIMIT} s for {', '.join(tests)} of {project.top}"
                report.unlink(missing_ok=True)
            if waveform and dump.is_file():
                shutil.move(dump, waveform)
            _check(report, tests, problem, log)
            return {test: dict(np.load(private / f"{test}.npz")) for test in tests}


class _Failed(Exception):
    """A test of the bench failed; what it said."""

    def __init__(self, test: str, reason: str) -> None:
        super().__init__(test, reason)
        self.test, self.reason = test, reason


def _check(report: Path, tests: Sequence[str], problem: str, log: Path) -> None:
    """Raise an error unless each of `tests` stands in cocotb's report as passed and the simulator ended well."""
    output = log.read_text(errors="replace") if log.is_file() else ""
    if not report.is_file():
        raise EngineError(f"{RtlIcarus.name}: the simulator left no results ({problem})\n{rtl.excerpt(output)}")
    cases = {case.get("name"): case for case in ElementTree.parse(report).iter("testcase")}
    for test in tests:
        if test not in cases:
            raise EngineError(f"{RtlIcarus.name}: pass {test} has not run\n{rtl.excerpt(output)}")
        for outcome in ("failure", "error", "skipped"):
            if (found := cases[test].find(outcome)) is not None:
                raise _Failed(test, found.get("message") or found.text or outcome)
    if problem:
        raise EngineError(f"{RtlIcarus.name}: the simulator failed ({problem})\n{rtl.excerpt(output)}")


def _runner(processes: Processes) -> Any:
    """Return cocotb's runner of Icarus Verilog, its programs being started among `processes`."""
    from cocotb_tools.config import pygpi_entry_point
    from cocotb_tools.runner import Icarus

    library, _, _ = pygpi_entry_point().rpartition(",")

    class Runner(Icarus):
        def _execute_cmds(self, cmds: Sequence[Any], cwd: Any, stdout: TextIO | None = None) -> None:
            assert stdout is not None, "all calls name a log"
            folder = Path(cwd).resolve()
            for program, *words in cmds:
                # iverilog writes the names of its sources into its output, where vvp then trips over a double quote.
                command = [program, *(os.path.relpath(x, folder) if Path(x).is_file() else x for x in map(str, words))]
                # What separates the libraries and their functions may be in the name of this one's folder, too.
                users = self.env["GPI_USERS"].replace(library, os.path.relpath(library, folder))
                if status := processes.call(command, folder, stdout, _LIMIT, {**self.env, "GPI_USERS": users}):
                    raise RuntimeError(f"{command[0]} ended with exit status {status}")

    # Of the name of a waveform that is never written: each run gives one of its own, as a path that vvp takes as it is.
    warnings.filterwarnings("ignore", "String .* contains non-ASCII characters", UserWarning, "cocotb_tools")
    runner = Runner()
    runner.log.setLevel(logging.ERROR)
    return runner


def _compile(project: AxiProject, folder: Path) -> None:
    log = folder / "log"
    try:
        with Processes() as processes:
            _runner(processes).build(
                sources=project.sources,
                hdl_toplevel=project.top,
                build_dir=folder,
                log_file=log,
                timescale=("1ns", "1ns"),
                waves=True,  # only makes it possible
            )
    except subprocess.TimeoutExpired:
        raise EngineError(f"{RtlIcarus.name}: iverilog took longer than {_LIMIT} s for {project.top}") from None
    except RuntimeError as error:
        raise EngineError(f"{RtlIcarus.name}: {error}\n{rtl.excerpt(log.read_text())}") from None


def _iverilog_version() -> str:
    if not shutil.which("iverilog") or not shutil.which("vvp"):
        raise EngineUnavailable("Icarus Verilog is not installed; apt-get install iverilog")
    answer = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False)
    return answer.stdout.split("\n", 1)[0].removeprefix("Icarus Verilog version ").strip() or "unknown"
