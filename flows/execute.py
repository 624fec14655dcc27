"""Running a graph of steps: each when those before it are done and there is room, the log in the graph's order."""

import contextvars
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from xnorflow.cosim.golden import cores
from xnorflow.flows.cache import Entry, Store
from xnorflow.flows.graph import Advance, Flow, Step, arrows
from xnorflow.flows.take import Executor, Taken, take
from xnorflow.hls.processes import Together

_T = TypeVar("_T")

_STEP_BYTES = 2 << 30  # memory that a step beside others is given: a C++ compiler's, or a synthesis tool's
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 2.0  # that a step has to clear up when the user stops the flow
_THREAD = "step "  # how the names of threads begin


class Here:
    """Runs steps in this process.

    Those that wait for programs run side by side, as many as there are cores and memory for; of the others, whose work
    is in this process, one at a time.
    """

    flows = 1

    def __init__(self) -> None:
        self.slots = _slots()

    def room(self, step: Step, flow: Flow, running: Collection[Step]) -> bool:
        return len(running) < self.slots and (step.waits or all(other.waits for other in running))

    take = staticmethod(take)


def execute(
    flow: Flow,
    steps: Sequence[Step],
    store: Store,
    console: Console,
    *,
    force: bool = False,
    before_making: Callable[[], None] = lambda: None,
    after: Callable[[str], None] = lambda step: None,
    executor: Executor | None = None,
) -> None:
    """Put the results of all steps into the flow: reused, or made anew; or why there are none.

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
    executor : Executor or None
        Where steps are run; None for this process.

    Raises
    ------
    UserError
        If a step says so; what runs beside it is ended.
    EngineError, EngineUnavailable
        If a step that is no engine's broke.
    """
    executor = executor or Here()
    place: dict[str, int] = {step.name: number for number, step in enumerate(steps)}
    sorter = TopologicalSorter(arrows(steps))
    sorter.prepare()
    ready: list[Step] = []
    running: dict[Future[Taken], Step] = {}
    lines: dict[int, str | None] = {}
    told = 0
    with ExitStack() as stack:
        stack.enter_context(_finished(running))
        together = stack.enter_context(Together())  # left before that, which waits for the steps
        watch = _Bars(stack.enter_context(_bars(console)), console, together, before_making)
        while sorter.is_active():
            ready = sorted([*ready, *(steps[place[name]] for name in sorter.get_ready())], key=lambda x: place[x.name])
            for step in list(ready):
                if executor.room(step, flow, running.values()):
                    ready.remove(step)
                    running[begun(step.name, partial(executor.take, step, flow, store, watch, force))] = step
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda one: place[running[one].name]):
                step = running.pop(future)
                taken = future.result()
                lines[place[step.name]] = taken.line
                if taken.result:
                    flow.results[step.name] = taken.result
                if isinstance(taken.result, Entry):
                    after(step.name)
                sorter.done(step.name)
            while told in lines:
                if line := lines[told]:
                    console.print(line)
                told += 1


def begun(name: str, work: Callable[[], _T]) -> "Future[_T]":
    """Do some work in a thread, which does not keep the interpreter from its end; :func:`abandoned` tells of it."""
    future: Future[_T] = Future()

    def go() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(go,), name=_THREAD + name, daemon=True).start()
    return future


@contextmanager
def _finished(running: "Collection[Future[Taken]]") -> Iterator[None]:
    """Wait, when the block ends, for steps that are still running; not for long where the user stops the flow."""
    try:
        yield
    except Exception:
        wait(running)
        raise
    except BaseException:
        wait(running, _GRACE_SECONDS)
        raise


def abandoned() -> bool:
    """Say whether steps of a flow that was stopped are still at work in this process."""
    return any(thread.name.startswith(_THREAD) for thread in threading.enumerate())


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


class _Bars:
    """Shows a bar for each step that is made, and ends its work when the flow has ended."""

    def __init__(self, bars: Progress, console: Console, together: Together, before_making: Callable[[], None]) -> None:
        self.bars, self.console, self.together, self.before_making = bars, console, together, before_making

    @contextmanager
    def making(self, step: str) -> Iterator[Advance]:
        self.before_making()
        task = self.bars.add_task(f"{step:<22}", total=None)

        def advance(done: int, total: int) -> None:
            self.bars.update(task, completed=done, total=total)
            if self.together.ended:
                raise CancelledError

        try:
            yield advance
        finally:
            self.bars.remove_task(task)

    def wait(self, step: str, first: bool) -> None:
        if self.together.ended:
            raise CancelledError
        if first:
            self.console.print(f"waiting for another flow, which makes {step}")
        time.sleep(_POLL_SECONDS)
