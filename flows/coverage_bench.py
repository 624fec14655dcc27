"""What coverage takes: ``python -m xnorflow.flows.coverage_bench [MODEL ...]``, a table of ``make bench``.

First all that a flow does for it: directed vectors made, all put in order, and the faults that they show counted, in
seconds and in processor time, which hardly depends on what else the machine does. Then the simulation alone, of every
fault on so many vectors, whether shown before or not: its time for a fault and a vector is to stay as vectors grow.
"""

import sys
import time

import numpy as np

from xnorflow.cosim.coverage.faults import faults
from xnorflow.cosim.coverage.measure import measure
from xnorflow.cosim.coverage.simulation import Simulator
from xnorflow.flows import tables
from xnorflow.flows.coverage_of_zoo import asked, prepared
from xnorflow.flows.steps.vectors import choose
from xnorflow.flows.terminal import console

GOALS = {"mnist_bnn": 10.0, "mnist_lfc": 180.0}
"""Seconds that a flow of so many vectors may take for it, on two cores."""

_FEW = (64, 128, 256)


def row(model: str) -> list[str]:
    """Return a model's row of the table."""
    network, loaded = prepared(model)
    started, before = time.perf_counter(), time.process_time()
    measure(network, choose(network, loaded.inputs, loaded.labels, beside=False).inputs)
    seconds, spent = time.perf_counter() - started, time.process_time() - before
    simulator, groups = Simulator(network), faults(network)
    each = []
    for count in _FEW:
        vectors, before = simulator.vectors(loaded.inputs[:count]), time.process_time()
        for group in groups:
            simulator.shown(group, np.arange(len(group)), vectors)
        each.append((time.process_time() - before) / (count * sum(map(len, groups))))
    goal = f"{GOALS[model]:.0f} s" if model in GOALS else "–"
    return [model, f"{seconds:.1f} s", f"{spent:.1f} s", goal, *(f"{1e9 * of:.2f} ns" for of in each)]


def main(models: list[str]) -> None:
    """Print the table."""
    heads = ("coverage, 1,000 vectors", "time", "CPU", "goal", *(f"a fault and vector of {count}" for count in _FEW))
    console().print(tables.text(heads, [row(model) for model in models]))


if __name__ == "__main__":
    main(asked(sys.argv[1:]) or list(GOALS))
