"""One step's way to its result: found in the cache or made, in this process; and who decides where that is done."""

import threading
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from rich.markup import escape

from xnorflow.cosim.engine import EngineError, EngineUnavailable
from xnorflow.flows.cache import Entry, Store
from xnorflow.flows.extras import needing
from xnorflow.flows.graph import Advance, Flow, Problem, Step, View


@dataclass(frozen=True)
class Taken:
    """What a step has come to.

    Attributes
    ----------
    result : Entry, Problem or None
        None where it was left out: a step whose result it takes has none.
    line : str or None
        What the log says of it, with Rich's markup.
    """

    result: Entry | Problem | None = None
    line: str | None = None


class Watch(Protocol):
    """Told what a step is doing while it is taken."""

    def making(self, step: str) -> AbstractContextManager[Advance]:
        """Begin to make a result anew; the block is left when it is made."""

    def wait(self, step: str, first: bool) -> None:
        """Wait a moment for somebody else, who makes the same result; raise to wait no longer."""


class Executor(Protocol):
    """Where the steps of a flow are run: :class:`xnorflow.flows.execute.Here`, or elsewhere."""

    @property
    def flows(self) -> int:
        """How many flows to run side by side, where there are several."""

    def room(self, step: Step, flow: Flow, running: Collection[Step]) -> bool:
        """Say whether a step may be started beside those of the same flow that are running."""

    def take(self, step: Step, flow: Flow, store: Store, watch: Watch, force: bool) -> Taken:
        """Take a step, as :func:`take` does; called in a thread of its own."""


_in_this_process = (
    threading.Lock()
)  # held by a step whose work is done here, of which some libraries bear one at a time


def take(step: Step, flow: Flow, store: Store, watch: Watch, force: bool) -> Taken:
    """Return a step's result, reused or made anew; or why there is none.

    Raises
    ------
    UserError
        If the step says so.
    EngineError, EngineUnavailable
        If a step that is no engine's broke.
    """
    if not all(isinstance(flow.results.get(name), Entry) for name in step.takes):
        return Taken()
    view, folder = View(flow, step), store.root
    try:
        with needing(step.name, EngineUnavailable) if step.engine else nullcontext():
            key = step.key(view)
            folder = store.folder(step.folder, key)
            with store.alone(step.folder, key, lambda first: watch.wait(step.name, first)):
                entry = (None if force else store.find(step.folder, key, step.name.facts)) or _make(
                    step, view, store, key, watch, force
                )
    except (EngineUnavailable, EngineError) as error:
        if step.engine is None:
            raise
        return failed(
            step, Problem(step.engine, "fail" if isinstance(error, EngineError) else "skipped", str(error), folder)
        )
    return Taken(entry, line(step, entry))


def failed(step: Step, problem: Problem) -> Taken:
    """Return what is told of an engine's step that has no result."""
    mark, style = ("-", "yellow") if problem.status == "skipped" else ("✗", "red")
    return Taken(problem, f"[{style}]{mark}[/] {step.name:<22} {problem.status}: {escape(problem.reason)}")


def line(step: Step, entry: Entry) -> str:
    """Return what the log says of a result."""
    time = "[cyan] reused[/]" if entry.reused else f"{entry.seconds:5.1f} s"
    mark = "[red]✗[/]" if entry.failed else "[green]✓[/]"
    why = " [yellow](made again: what was kept had been changed, or did not fit)[/]" if entry.damaged else ""
    return f"{mark} {step.name:<22} {time}  {escape(entry.summary)}{why}"


def _make(step: Step, view: View, store: Store, key: str, watch: Watch, force: bool) -> Entry:
    with (
        watch.making(step.name) as advance,
        nullcontext() if step.waits else _in_this_process,
        store.making(step.folder, key, step.name.facts, anew=force) as entry,
    ):
        step.make(view, entry, advance)
    return entry
