"""Run a case through the engine that a planted edit is for: ``python -m tests.planted.engine CASE``.

The verdict is the last line printed: ``equal``, ``caught: why``, or ``broken: why`` where the edit made something that
no tool takes, which shows nothing.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests import oracle, strategies
from tests.planted.networks import CASES

from xnorflow.cosim.compare import compare
from xnorflow.cosim.csim import CSim
from xnorflow.cosim.engine import EngineError, outputs
from xnorflow.cosim.rtl_icarus import RtlIcarus
from xnorflow.hls import project as hls_project
from xnorflow.hls.rtl.project import write

_BLOCKS = 600  # vectors: the C-simulation computes 256 at once, so that these are two blocks and a part of one


def rtl(case: str, folder: Path) -> str:
    """Give the verdict of Icarus Verilog: integers, cycles, and the handshakes under stalls, gaps and resets."""
    network, config = CASES[case].network, CASES[case].config
    inputs = strategies.inputs_for(network, 8, seed=3)
    project = write(network, folder / "rtl", config)
    engine = RtlIcarus(project)
    (folder / "icarus").mkdir()
    try:
        engine.prepare(network, folder / "icarus")
    except EngineError as error:
        return f"broken: {' '.join(str(error).split())[:300]}"
    try:
        got = engine.run(inputs)
        deviation = engine.timing.deviation(project.timing) if engine.timing and project.timing else None
    except EngineError as error:
        return f"caught: {str(error).splitlines()[0]}"
    if first := compare(network, oracle.run(network, inputs), got).first:
        return f"caught: {first}"
    return f"caught: {deviation}" if deviation else "equal"


def csim(case: str, folder: Path) -> str:
    """Give the verdict of the packed hls4ml project's C-simulation: every layer's integers, and the results alone."""
    network = CASES[case].network
    inputs = strategies.inputs_for(network, _BLOCKS)
    expected = oracle.run(network, inputs)
    engine = CSim("packed", jobs=1, **CASES[case].config)
    try:
        engine.prepare(network, folder)
    except EngineError as error:
        return f"broken: {' '.join(str(error).split())[:300]}"
    for every_layer in (True, False):
        try:
            got = engine.run(inputs, every_layer)
        except EngineError as error:
            return f"caught: {' '.join(str(error).split())[:200]}"
        if first := compare(network, expected, got).first:
            return f"caught: {first}"
    return "equal"


def bench(case: str, folder: Path) -> str:
    """Give the verdict of the project's test bench, with the vendor's types: good vectors pass, damaged ones fail."""
    network = CASES[case].network
    inputs = strategies.inputs_for(network, 5)
    made = hls_project.write(
        network, folder, CASES[case].config, inputs, oracle.run(network, inputs)[outputs(network)[0]]
    )
    command = ["g++", "-std=c++11", "-O1", "-w", "-Ifirmware/ap_types", f"firmware/{made.top}.cpp"]
    done = subprocess.run(
        [*command, f"{made.top}_test.cpp", "-o", "bench"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"broken: {' '.join(done.stderr.split())[:300]}"
    vectors = folder / "tb_data"
    expected = vectors / "tb_output_predictions.dat"
    good = expected.read_text()
    number, rest = good.split(" ", 1)
    for text, status in (
        (good, 0),
        (f"{int(number) + 1} {rest}", 1),  # a wrong integer
        (good.rsplit("\n", 2)[0] + "\n", 1),  # a vector missing
        (good.replace(" ", " 0 ", 1), 1),  # an integer too many
    ):
        expected.write_text(text)
        told = subprocess.run(["./bench"], cwd=folder, capture_output=True, text=True, check=False)
        if told.returncode != status:
            return f"caught: expected status {status}, got {told.returncode}"
        if not status and (vectors / "csim_results.log").read_text() != good:
            return "caught: other integers in the log"
    expected.write_text(good)
    given = vectors / "tb_input_features.dat"
    for text in (given.read_text().replace("\n", " 0\n"), ""):  # integers too many, no vectors
        given.write_text(text)
        told = subprocess.run(["./bench"], cwd=folder, capture_output=True, text=True, check=False)
        if told.returncode != 1:
            return f"caught: status {told.returncode} of {text[:40]!r}"
    return "equal"


ENGINES = {"rtl": rtl, "csim": csim, "test bench": bench}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(f"{ENGINES[CASES[sys.argv[1]].engine](sys.argv[1], Path(scratch))}\n")
