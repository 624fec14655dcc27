"""A run of an engine over many vectors, timed."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from xnorflow.flows.graph import Advance
from xnorflow.flows.results import IntArray

if TYPE_CHECKING:
    from xnorflow.cosim.engine import Engine

_PART_SECONDS = 4.0  # between two updates of the progress bar


def timed_run(engine: "Engine", inputs: IntArray, advance: Advance) -> tuple[dict[str, IntArray], float]:
    """Run all inputs, in parts that show progress, and return the results and the seconds that the runs took."""
    engine.run(inputs[:1])  # what a first run does once (loading, compiling) is not the engine's speed
    parts: list[Mapping[str, IntArray]] = []
    done, size, seconds = 0, 32, 0.0
    while done < len(inputs):
        advance(done, len(inputs))
        start = time.perf_counter()
        parts.append(engine.run(inputs[done : done + size]))
        taken = time.perf_counter() - start
        seconds += taken
        done += size
        size = int(np.clip(size * _PART_SECONDS / max(taken, 1e-6), size, 8 * size))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, seconds
