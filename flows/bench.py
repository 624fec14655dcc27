"""What a step costs beside its work: ``python -m xnorflow.flows.bench``, in processor time, here and on a cluster.

Steps that make next to nothing, in flows of a chain each, so that what is measured is keys, locks, entries and, on a
cluster of two processes on this machine, the client, the scheduler and the workers. Processor time hardly depends on
what else the machine does.
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console
from typing_extensions import TypedDict

from xnorflow.flows.cache import Entry, Store
from xnorflow.flows.execute import Here, execute
from xnorflow.flows.formats import Subject
from xnorflow.flows.graph import Advance, Asked, Flow, Name, Step, View
from xnorflow.flows.take import Executor
from xnorflow.flows.terminal import console

STEPS, FLOWS = 10, 20


class NumberFacts(TypedDict):
    """Of a step that makes next to nothing."""

    number: int
    flow: int


def _nothing(number: int, view: View, entry: Entry[NumberFacts], advance: Advance) -> None:
    (entry.folder / "result").write_text("x" * 1000)
    entry.facts = {"number": number, "flow": view.options.which}


def _steps() -> list[Step]:
    first = Step(Name("0", NumberFacts), "0", partial(_nothing, 0), options=("which",), waits=True)
    later = (
        Step(
            Name(str(n), NumberFacts), str(n), partial(_nothing, n), takes=(str(n - 1),), options=("which",), waits=True
        )
        for n in range(1, STEPS)
    )
    return [first, *later]


def _flow(which: int, root: Path, executor: Executor) -> None:
    subject = Subject("nothing", "network", Path(__file__), None, {})
    asked = {"which": Asked(which, lambda: which), "subject": Asked(subject, str), "liberty": Asked((), tuple)}
    execute(Flow(asked, root), _steps(), Store(root), Console(quiet=True), executor=executor)


def _per_step(executor: Executor, others: Callable[[], dict[str, float]], root: Path) -> dict[str, float]:
    """Return the milliseconds of processor time per step, by who spends them."""
    _flow(-1, root, executor)  # what is done once
    before, here = others(), time.process_time()
    for which in range(FLOWS):
        _flow(which, root, executor)
    spent = {"client": time.process_time() - here, **{name: now - before[name] for name, now in others().items()}}
    return {name: 1e3 * seconds / (STEPS * FLOWS) for name, seconds in spent.items()}


def _seconds() -> float:
    return sum(os.times()[:4])


def main() -> None:
    """Print the table."""
    shown = console()
    with tempfile.TemporaryDirectory() as folder:
        made = {"in this process": _per_step(Here(), dict, Path(folder) / "here")}
        made["the same, reused"] = _per_step(Here(), dict, Path(folder) / "here")
        from distributed import Client, LocalCluster

        from xnorflow.flows.cluster import Cluster

        root = Path(folder) / "there"
        root.mkdir()
        with (
            LocalCluster(2, threads_per_worker=1, dashboard_address=None) as local,
            Client(local, set_as_default=False) as client,
        ):

            def others() -> dict[str, float]:
                return {"workers": sum(client.run(_seconds).values())}

            made["client and scheduler in one process, two workers"] = _per_step(Cluster(client), others, root)
    for where, spent in made.items():
        told = ", ".join(f"{who} {milliseconds:.1f} ms" for who, milliseconds in spent.items())
        shown.print(f"{where}: {told} per step")


if __name__ == "__main__":
    main()
