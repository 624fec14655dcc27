"""C-simulation of the packed hls4ml project next to the stock one's; run by ``make bench``.

Both are compiled as flows do and run on one core, in turn; what is told is processor time, which hardly depends on what
else the machine does. A ratio is the median over rounds of a round's ratio. Before anything is timed, the results of
both are compared with the golden model's.
"""

import resource
import statistics
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from xnorflow.bnn.network import Network
from xnorflow.cosim.bench_cases import Case, convolution, dense
from xnorflow.cosim.csim import CSim
from xnorflow.cosim.golden import Golden

ROUNDS = 3
STYLES = {"stock": 64, "packed": 1}
"""Of how many vectors of a case a style gets one: a run is to take about a second either way."""


class _TimedProject:
    """The C-simulation of a network in one style."""

    def __init__(self, network: Network, vectors: int, style: str, folder: Path) -> None:
        self.engine = CSim(style, jobs=1)
        before = _seconds()
        self.engine.prepare(network, folder)
        self.compiled = _seconds() - before
        rng = np.random.default_rng(1)
        self.inputs: NDArray[np.int8] = rng.choice(
            np.array([-1, 1], np.int8), (vectors // STYLES[style], *network.input.shape)
        )

    def equals(self, golden: Golden, output: str) -> bool:
        return np.array_equal(self.engine.run(self.inputs)[output], golden.run(self.inputs)[output])

    def rate(self) -> float:
        """Return the vectors of a second."""
        before = _seconds()
        self.engine.run(self.inputs)
        return len(self.inputs) / (_seconds() - before)


def _seconds() -> float:
    """Return the processor time of the programs that this one has started."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _measure(case: Case, folder: Path) -> list[tuple[str, ...]]:
    """Return a row for each style."""
    golden, output = Golden(1), case.network.output.name
    golden.prepare(case.network)
    projects = {style: _TimedProject(case.network, case.vectors, style, folder / style) for style in STYLES}
    if wrong := [style for style, of in projects.items() if not of.equals(golden, output)]:
        raise SystemExit(f"{case.label}: {wrong[0]} and the golden model disagree; the timings would mean nothing")
    rounds = [{style: of.rate() for style, of in projects.items()} for _ in range(ROUNDS)]
    times = statistics.median(rates["packed"] / rates["stock"] for rates in rounds)
    return [
        (
            case.label,
            style,
            f"{of.compiled:.1f}",
            f"{statistics.median(rates[style] for rates in rounds):,.0f}",
            f"{times:.0f}" if style == "packed" else "",
        )
        for style, of in projects.items()
    ]


def main() -> None:
    """Print the table."""
    table = Table(title=f"C-simulation of hls4ml projects, processor time of one core (medians of {ROUNDS} rounds)")
    for column in ("network", "style", "compiled in s", "vectors per second", "packed : stock"):
        table.add_column(column, justify="left" if column in {"network", "style"} else "right")
    cases = [
        dense("784-64-64-10", [784, 64, 64, 10], 65536, last_sign=False),
        dense("784-1024-1024-1024-10", [784, 1024, 1024, 1024, 10], 8192, last_sign=False),
        convolution("conv 32-64, 3x3, 14x14", 4096),
    ]
    for case in track(cases, "measuring", transient=True):
        with tempfile.TemporaryDirectory() as folder:
            for row in _measure(case, Path(folder)):
                table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
