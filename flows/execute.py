"""Running a graph of steps here: independent ones side by side, each reused or made, the log in the graph's order."""

import contextvars
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, nullcontext
from graphlib import TopologicalSorter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from xnorflow.cosim.engine import EngineError, EngineUnavailable
from xnorflow.cosim.golden import cores
from xnorflow.flows import closure
from xnorflow.flows.cache import Entry, Store
from xnorflow.flows.extras import needing
from xnorflow.flows.graph import Flow, Problem, Step, View, arrows
from xnorflow.hls.processes import Together

_STEP_BYTES = 2 << 30  # memory that a step beside others is given: a C++ compiler's, or a synthesis tool's
_POLL_SECONDS = 0.05


def execute(
    flow: Flow,
    steps: Sequence[Step],
    store: Store,
    console: Console,
    *,
    force: bool = False,
    before_making: Callable[[], None] = lambda: None,
    after: Callable[[str], None] = lambda step: None,
) -> None:
    """Put the results of all steps into the flow: reused, or made anew; or why there are none.

    Those that wait for programs run side by side, as many as there are cores and memory for; of the others, whose work
    is in this process, one at a time.

    Parameters
    ----------
    steps : sequence of Step
        Each after those that it takes; the log is in this order.
    force : bool
        Reuse nothing.
    before_making : callable
        Called before anything is made anew.
    after : callable
        Called with the name of each step that has a result.

    Raises
    ------
    UserError
        If a step says so; what runs beside it is ended.
    EngineError, EngineUnavailable
        If a step that is no engine's broke.
    """
    for step in steps:  # here, since Python 3.11 cannot parse in several threads at a time (its issue 106905)
        closure.reach(step.modules)
    place = {step.name: number for number, step in enumerate(steps)}
    sorter = TopologicalSorter(arrows(steps))
    sorter.prepare()
    ready: list[Step] = []
    running: dict[Future[str | None], Step] = {}
    lines: dict[int, str | None] = {}
    told = 0
    slots = _slots()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(slots))
        together = stack.enter_context(Together())  # left before the pool, which waits for its threads
        bars = stack.enter_context(_bars(console))
        while sorter.is_active():
            ready = sorted([*ready, *(steps[place[name]] for name in sorter.get_ready())], key=lambda x: place[x.name])
            for step in list(ready):
                here = any(not other.waits for other in running.values())
                if len(running) < slots and (step.waits or not here):
                    ready.remove(step)
                    work = _Work(flow, step, store, console, bars, together, force, before_making)
                    running[pool.submit(contextvars.copy_context().run, work.take)] = step
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda one: place[running[one].name]):
                step = running.pop(future)
                lines[place[step.name]] = future.result()
                if isinstance(flow.results.get(step.name), Entry):
                    after(step.name)
                sorter.done(step.name)
            while told in lines:
                if line := lines[told]:
                    console.print(line)
                told += 1


def _slots() -> int:
    """Return how many steps may run side by side: as many as there are cores and memory for."""
    try:
        text = Path("/proc/meminfo").read_text()
        free = int(text.partition("MemAvailable:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return 1
    return max(1, min(cores(), free // _STEP_BYTES))


def _bars(console: Console) -> Progress:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)


class _Work:
    """One step's way to its result, in a thread."""

    def __init__(
        self,
        flow: Flow,
        step: Step,
        store: Store,
        console: Console,
        bars: Progress,
        together: Together,
        force: bool,
        before_making: Callable[[], None],
    ) -> None:
        self.flow, self.step, self.store, self.console = flow, step, store, console
        self.bars, self.together, self.force, self.before_making = bars, together, force, before_making
        self.view = View(flow, step)

    def take(self) -> str | None:
        """Put the step's result into the flow; return the line that says so, None where the step was left out."""
        step = self.step
        if not all(isinstance(self.flow.results.get(name), Entry) for name in step.takes):
            return None
        folder = self.store.root
        try:
            with needing(step.name, EngineUnavailable) if step.engine else nullcontext():
                key = step.key(self.view)
                folder = self.store.folder(step.folder, key)
                with self.store.alone(step.folder, key, self._wait):
                    entry = (None if self.force else self.store.find(step.folder, key)) or self._make(key)
        except (EngineUnavailable, EngineError) as error:
            if step.engine is None:
                raise
            status = "skipped" if isinstance(error, EngineUnavailable) else "fail"
            self.flow.results[step.name] = Problem(step.engine, status, str(error), folder)
            mark, style = ("-", "yellow") if status == "skipped" else ("✗", "red")
            return f"[{style}]{mark}[/] {step.name:<22} {status}: {escape(str(error))}"
        self.flow.results[step.name] = entry
        time = "[cyan] reused[/]" if entry.reused else f"{entry.seconds:5.1f} s"
        mark = "[red]✗[/]" if entry.failed else "[green]✓[/]"
        return f"{mark} {step.name:<22} {time}  {escape(entry.summary)}"

    def _make(self, key: str) -> Entry:
        self.before_making()
        task = self.bars.add_task(f"{self.step.name:<22}", total=None)
        try:
            with self.store.making(self.step.folder, key, anew=self.force) as entry:

                def advance(done: int, total: int) -> None:
                    self.bars.update(task, completed=done, total=total)
                    if self.together.ended:
                        raise CancelledError

                self.step.make(self.view, entry, advance)
        finally:
            self.bars.remove_task(task)
        return entry

    def _wait(self, first: bool) -> None:
        """Wait a moment for another flow, which makes the same result."""
        if self.together.ended:
            raise CancelledError
        if first:
            self.console.print(f"waiting for another flow, which makes {self.step.name}")
        time.sleep(_POLL_SECONDS)
