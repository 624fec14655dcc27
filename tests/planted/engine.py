"""Run a case through the engine that a planted edit is for: ``python -m tests.planted.engine CASE``.

The verdict is the last line printed: ``equal``, ``caught: why``, or ``broken: why`` where the edit made something that
no tool takes, which shows nothing.
"""

import sys
import tempfile
from pathlib import Path

from tests import oracle, strategies
from tests.planted.networks import CASES

from xnorflow.cosim.compare import compare
from xnorflow.cosim.engine import EngineError
from xnorflow.cosim.rtl_icarus import RtlIcarus
from xnorflow.hls.rtl.project import write


def rtl(case: str, folder: Path) -> str:
    """Give the verdict of Icarus Verilog: integers, cycles, and the handshakes under stalls, gaps and resets."""
    network, config = CASES[case]
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


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(f"{rtl(sys.argv[1], Path(scratch))}\n")
