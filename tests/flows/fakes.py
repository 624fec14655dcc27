"""Engines that stand in for the real ones, and a command line over them that can be killed at any file operation.

``python -m tests.flows.fakes FOLDER run MODEL ...`` is ``python -m xnorflow run MODEL ...`` with the fake engines,
everything written below FOLDER. With ``KILL_AFTER=n`` in the environment it kills itself at the n-th file operation
there; ``FAULTS`` has faults of the engines, JSON.
"""

import functools
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Conv2d, Dense, Flatten, Input, MaxPool2d, Network, Threshold
from xnorflow.cosim.engine import Engine, EngineError, EngineUnavailable
from xnorflow.cosim.golden import Golden
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.steps.synthesis import nothing
from xnorflow.hls.synthesis.tools import SynthesisError, ToolMissing
from xnorflow.reports.records import ResourceRow, SynthesisRow


class Fake(Engine):
    """The golden model under another name. `fault` says what it does wrong."""

    def __init__(self, name: str, fault: Any = None, log: Any = None) -> None:
        self.name, self.fault, self.log = name, fault, log
        self.golden = Golden(threads=1)

    def prepare(self, network: Network, folder: Path) -> None:
        if self.fault == "unavailable":
            raise EngineUnavailable("no such tool here; install it")
        if self.fault == "does not compile":
            raise EngineError(f"compiler error; the project lies in {folder}")
        self.golden.prepare(network)
        self.network = network

    def run(self, inputs: Any, every_layer: bool = False) -> Any:
        if self.fault == "crashes":
            raise EngineError("killed by SIGSEGV")
        if self.fault == "sleeps":
            time.sleep(60)
        results = {name: result.copy() for name, result in self.golden.run(inputs, every_layer).items()}
        if self.fault == "no results":
            return {}
        if self.fault == "too few results":
            return {name: result[:-1] for name, result in results.items()}
        if self.fault == "wrong" or (self.fault == "flaky" and not every_layer):
            # Wrong from the second dense layer on, channel 1, where input 5 is positive.
            where = inputs.reshape(len(inputs), -1)[:, 5] > 0
            for name in results:
                if name in ("dense2", self.network.output.name):
                    results[name][where, 1] += 2
        return results


class FakeBuilder(Fake):
    """Leaves a file that ``attach`` reads, as a compiled project would be, and a line in the log."""

    def prepare(self, network: Network, folder: Path, inputs: NDArray[Any], expected: Any) -> None:  # type: ignore[override]
        super().prepare(network, folder)
        np.savetxt(folder / "vectors.dat", inputs.reshape(len(inputs), -1), fmt="%d")
        assert len(inputs) == len(expected) <= 100
        (folder / "program").write_text(network.digest)
        with self.log.open("a") as log:
            log.write(f"{self.name}\n")

    def attach(self, network: Network, folder: Path) -> None:
        assert (folder / "program").read_text() == network.digest
        super().prepare(network, folder)


def kinds(faults: Any = None, log: Any = None) -> Any:
    """Two engines that build, "first" and "second", and one that does not, "plain"; with a fault each, if named."""
    faults = faults or {}

    def make(name: str, kind: Any = FakeBuilder) -> Any:
        return lambda view, folder: kind(name, faults.get(name), log)

    return (
        EngineKind("plain", "runs at once", False, "plain", make("plain", Fake), ("numpy",)),
        *(
            EngineKind(name, "is built", True, "csim", make(name), ("numpy",), takes_vectors=True)
            for name in ("first", "second")
        ),
    )


def network(name: str = "small") -> Any:
    """A network of 16 inputs, with thresholds that point down."""
    random = np.random.default_rng(1)
    first, second = (random.choice([-1, 1], shape).astype(np.int8) for shape in ((12, 16), (4, 12)))
    return Network(
        name,
        (
            Input("input", (), (16,)),
            Dense("dense1", ("input",), first),
            Threshold("threshold1", ("dense1",), random.integers(-3, 4, 12), np.tile([1, -1, 1], 4)),
            Dense("dense2", ("threshold1",), second),
        ),
    )


def image_network() -> Any:
    """A convolutional network on 8-bit pixels, 6 x 6."""
    random = np.random.default_rng(1)
    return Network(
        "images",
        (
            Input("input", (), (6, 6, 1), "unsigned", 8),
            Conv2d("conv1", ("input",), random.choice([-1, 1], (4, 3, 3, 1)), padding=(1, 1, 1, 1)),
            MaxPool2d("pool1", ("conv1",)),
            Threshold("threshold1", ("pool1",), random.integers(-200, 300, 4), np.ones(4, np.int8)),
            Flatten("flatten1", ("threshold1",)),
            Dense("dense1", ("flatten1",), random.choice([-1, 1], (3, 36))),
        ),
    )


def synthesised(name: str, fault: object = None) -> SynthesisRow:
    """What synthesis of a target gives, without a tool. `fault` says what goes wrong."""
    if fault == "missing":
        raise ToolMissing("no Yosys here; install it")
    if fault == "crashes":
        raise SynthesisError("Yosys was killed")
    total: ResourceRow = {"lut": 17, "ff": 4, "carry": 0, "lutram": 3, "bram": 0, "dsp": 0}
    return {**nothing(name, "pass"), "tool": "a fake", "total": total, "layers": [{**total, "name": "dense1"}]}


def parts(faults: Any = None, log: Any = None, engines: Any = None) -> Any:
    """What a flow of stand-ins is run with: the engines, and what synthesises."""
    faults = faults or {}
    return {
        "engines": kinds(faults, log) if engines is None else engines,
        "synthesise": lambda view, project, name, folder: synthesised(name, faults.get(name)),
    }


def install(patch: Any, faults: Any = None, log: Any = None, **places: Any) -> None:
    """Let every flow be one of stand-ins, with `patch(module, name, value)`: those of the command line, too."""
    import xnorflow.flows.run

    patch(xnorflow.flows.run, "run", functools.partial(xnorflow.flows.run.run, **parts(faults, log), **places))


def _kill_after(count: int, folder: Path | str) -> None:
    """Kill this process at its `count`-th opening, renaming or removal of something in `folder`."""
    left = count

    def hook(event: Any, arguments: Any) -> None:
        nonlocal left
        watched = event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.utime")
        if watched and str(arguments[0]).startswith(folder):  # type: ignore[arg-type]
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main() -> None:
    """Run the command line on the fakes."""
    import xnorflow.flows.cli

    folder = Path(sys.argv.pop(1))
    faults = json.loads(os.environ.get("FAULTS", "{}"))
    install(setattr, faults, log=folder / "built.log", build=folder / "build", reports=folder / "reports")
    if "KILL_AFTER" in os.environ:
        _kill_after(int(os.environ["KILL_AFTER"]), str(folder))
    xnorflow.flows.cli.main()


if __name__ == "__main__":
    main()
