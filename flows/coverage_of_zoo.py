"""The benchmarks' table: how much a flow's vectors prove of each model of the zoo, with directed ones and without.

``python -m xnorflow.flows.coverage_of_zoo [MODEL ...]`` prints it; minutes on two cores.
"""

import sys
import time
from collections.abc import Iterable

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Network
from xnorflow.cosim.coverage.measure import Count, measure
from xnorflow.flows import api, loading
from xnorflow.flows.loading import Loaded
from xnorflow.flows.steps.coverage import percent
from xnorflow.flows.steps.vectors import choose
from xnorflow.models import zoo

VECTORS, FEW = 1000, 50


def prepared(model: str) -> tuple[Network, Loaded]:
    """Return a model's network in canonical form, and what a flow of so many vectors would run on."""
    net = api.convert(model)
    return net.network, loading.load(net._subject, None, VECTORS, lambda: net.network)


def asked(models: Iterable[str]) -> list[str]:
    """Return the models of the command line by their names; end the program with a message if there is no such one."""
    try:
        return [zoo.get(name).name for name in models]
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


def row(model: str) -> str:
    """Return a model's row of the table, in Markdown."""
    network, loaded = prepared(model)
    without = measure(network, loaded.inputs)
    started = time.process_time()
    made = choose(network, loaded.inputs, loaded.labels, beside=False)
    seconds = time.process_time() - started
    chosen = measure(network, made.inputs)
    few, all_of_them = (tuple(of.coverage(count).total for of in (without, chosen)) for count in (FEW, VECTORS))
    cells = [
        f"`{model}`",
        f"{all_of_them[0].faults:,}",
        f"{len(loaded.labels):,} images",
        *_before_and_after(*all_of_them),
        f"{len(made.directed):,} ({made.ended})",
        *_before_and_after(*few),
        f"{seconds:.0f} s",
    ]
    return f"| {' | '.join(cells)} |"


def _before_and_after(before: Count, after: Count) -> tuple[str, str]:
    return percent(before), percent(after)


def table(models: list[str]) -> None:
    """Print the table, row by row."""
    heads = ["model", "faults", "of 1,000", "without", "with", "directed", f"first {FEW}", f"best {FEW}", "CPU time"]
    sys.stdout.write(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}\n")
    for model in models:
        sys.stdout.write(row(model) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    table(asked(sys.argv[1:]) or list(zoo.ZOO))
