"""What coverage takes: ``python -m xnorflow.flows.coverage_bench [MODEL ...]``, a table of ``make bench``.

First all that a flow does for it: directed vectors made, all put in order, and the faults that they show counted, in
seconds and in processor time, which hardly depends on what else the machine does. Then the simulation alone, of every
fault on so many vectors, whether shown before or not: its time for a fault and a vector is to stay as vectors grow.
"""

import sys
import time

import numpy as np

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.errors import UserError
from xnorflow.cosim.coverage.faults import faults
from xnorflow.cosim.coverage.measure import measure
from xnorflow.cosim.coverage.simulation import Simulator
from xnorflow.flows import api, loading, tables
from xnorflow.flows.steps.vectors import choose
from xnorflow.flows.terminal import console
from xnorflow.models import zoo

VECTORS = 1000

GOALS = {"mnist_bnn": 10.0, "mnist_lfc": 180.0}
"""Seconds that a flow of so many vectors may take for it, on two cores."""

_FEW = (64, 128, 256)


def row(model: str) -> list[str]:
    """Return a model's row of the table."""
    net = api.convert(model)
    network, loaded = canonicalise(net.network), loading.load(net._subject, None, VECTORS, lambda: net.network)
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
    try:
        chosen = [zoo.get(name).name for name in sys.argv[1:]]
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    main(chosen or list(GOALS))
