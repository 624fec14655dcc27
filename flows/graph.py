"""A flow as a graph: a step is a record, and sees nothing but what it declares.

What a step declares makes its key: the contents of the results that it takes, the options that it reads, the tools that
it uses, the state of the world outside where it looks at that, and the code that its function can reach. What it does
not declare it cannot see, so that a key which forgets an input cannot be written.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, cast, overload

from typing_extensions import TypeVar

from xnorflow.flows import closure
from xnorflow.flows.cache import Entry, digest, tool_versions

_T = TypeVar("_T")
_F = TypeVar("_F", default=Any)

SYNTHESISED = "synthesised"
"""In a model's cache, what has been synthesised of it, each module by its own content."""


class Advance(Protocol):
    """Told how much of a step is done, in vectors."""

    def __call__(self, done: int, total: int) -> None: ...


class Name(str, Generic[_F]):
    """The name of a step, as the user sees it.

    Attributes
    ----------
    facts : type
        Typed dictionary of what the step tells of its result.
    """

    facts: type[_F]

    def __new__(cls, name: str, facts: type[_F]) -> "Name[_F]":
        made = super().__new__(cls, name)
        made.facts = facts
        return made

    def __getnewargs__(self) -> tuple[str, type[_F]]:  # type: ignore[override]  # for pickle: one more than text has
        return str(self), self.facts


class Undeclared(Exception):
    """A step asks for what it has not declared: a fault of the step's."""


@dataclass(frozen=True)
class Problem:
    """Why a step has no result.

    Attributes
    ----------
    engine : str
        Whose step it is.
    status : {"skipped", "fail"}
    reason : str
    folder : Path
        What the step has left, which need not exist.
    """

    engine: str
    status: Literal["skipped", "fail"]
    reason: str
    folder: Path


@dataclass(frozen=True)
class Asked:
    """Something that the user decides.

    Attributes
    ----------
    value : object
    mark : callable
        Returns what tells one value from another, JSON.
    """

    value: Any
    mark: Callable[[], Any]


@dataclass(frozen=True)
class Step(Generic[_F]):
    """One stage, or one engine's share of it.

    Attributes
    ----------
    name : Name
    folder : str
        Its folder in the cache.
    make : callable
        Fills an entry: its folder, ``facts`` and ``summary``.
    takes : tuple of str
        Steps whose results it takes; without one of them it is left out.
    may_take : tuple of str
        Steps whose results it takes if there are any; else it sees the reason why not.
    options : tuple of str
        What it reads of what the user decides.
    limits : tuple of str
        What it reads that bounds its work, but changes nothing in a result that is kept; no part of the key.
    packages, commands : tuple of str
        Python packages and programs that it uses.
    outside : callable or None
        Returns the state of what else its result depends on, which may change at any time: files of the user's,
        tools on the machine.
    engine : str or None
        Name of the engine whose step it is: if it fails, the flow goes on without that engine's later steps.
    waits : bool
        Whether most of its time goes by in programs that it has started, so that others can run beside it.
    """

    name: Name[_F]
    folder: str
    make: Callable[["View", Entry[_F], Advance], None]
    takes: tuple[str, ...] = ()
    may_take: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    outside: Callable[["View"], Any] | None = None
    engine: str | None = None
    waits: bool = False

    @property
    def modules(self) -> frozenset[str]:
        """Names of the modules in which the step's code begins."""
        return frozenset(_modules((self.make, self.outside)))

    def key(self, view: "View") -> str:
        """Return what names the result in the cache: the digest of everything that determines it."""
        return digest(
            {
                "step": self.name,
                "takes": {name: view.state(name) for name in (*self.takes, *self.may_take)},
                "options": {name: view.flow.asked[name].mark() for name in self.options},
                "outside": self.outside(view) if self.outside else None,
                "tools": tool_versions(self.packages, self.commands),
                "code": closure.digest(self.modules),
            }
        )


def _modules(value: object) -> set[str]:
    """Return the modules of all functions that a value carries."""
    if isinstance(value, partial):
        return _modules((value.func, *value.args, *value.keywords.values()))
    if isinstance(value, tuple | list):
        return {name for item in value for name in _modules(item)}
    if is_dataclass(value) and not isinstance(value, type):
        return {name for spec in fields(value) for name in _modules(getattr(value, spec.name))}
    return {value.__module__} if callable(value) else set()


def ordered(steps: Sequence[Step]) -> list[Step]:
    """Return steps so that each comes after those that it takes, and as they stand in the list where that is free.

    Raises
    ------
    graphlib.CycleError
        If steps wait for each other.
    """
    place: dict[str, int] = {step.name: n for n, step in enumerate(steps)}
    sorter = TopologicalSorter(arrows(steps))
    sorter.prepare()
    found: list[Step] = []
    ready: list[int] = []
    while sorter.is_active():
        ready = sorted([*ready, *(place[name] for name in sorter.get_ready())])
        found.append(steps[ready.pop(0)])
        sorter.done(found[-1].name)
    return found


def arrows(steps: Sequence[Step]) -> dict[str, list[str]]:
    """Return, for each step, those that come before it."""
    there = {step.name for step in steps}
    return {step.name: [name for name in (*step.takes, *step.may_take) if name in there] for step in steps}


@dataclass
class Flow:
    """What was asked for, and what the steps have made so far; what a step sees of it is a :class:`View`.

    Attributes
    ----------
    asked : mapping of str to Asked
        What the user decides, by name.
    root : Path
        Folder of the model's cache.
    results : dict of Entry or Problem, by step
        Of those that are done; a step that was left out has none.
    """

    asked: Mapping[str, Asked]
    root: Path
    results: dict[str, Entry | Problem] = field(default_factory=dict)
    _kept: dict[str, object] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _locks: dict[str, threading.RLock] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], _T]) -> _T:
        """Return what `make` has returned when it was first called under this name."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.RLock())
        with lock:
            if name not in self._kept:
                self._kept[name] = make()
            return cast("_T", self._kept[name])


class _DeclaredOptions:
    """What the user decides, as far as a step has declared it."""

    def __init__(self, asked: Mapping[str, Asked], step: Step) -> None:
        self._asked, self._step = asked, step

    def __getattr__(self, name: str) -> Any:
        if name not in (*self._step.options, *self._step.limits):
            raise Undeclared(f"step {self._step.name} reads option {name}, which it does not declare")
        return self._asked[name].value


class View:
    """What one step sees of a flow.

    Attributes
    ----------
    options : object
        Has the declared options as attributes.
    flow : Flow
        For the machinery alone.
    """

    def __init__(self, flow: Flow, step: Step) -> None:
        self.flow, self._step = flow, step
        self.options: Any = _DeclaredOptions(flow.asked, step)

    def __getitem__(self, step: Name[_F]) -> Entry[_F]:
        """Return the result of a step that is declared, and has one."""
        result = self.result(step)
        assert isinstance(result, Entry), f"step {step} has no result"
        return result

    def result(self, step: str) -> Entry | Problem | None:
        """Return the result of a declared step, or why it has none; None where it was left out."""
        if step not in (*self._step.takes, *self._step.may_take):
            raise Undeclared(f"step {self._step.name} takes the result of {step}, which it does not declare")
        return self.flow.results.get(step)

    @overload
    def entry(self, step: Name[_F]) -> Entry[_F] | None: ...
    @overload
    def entry(self, step: str) -> Entry | None: ...
    def entry(self, step: str) -> Entry | None:
        """Return the result of a declared step, None where it has none."""
        result = self.result(step)
        return result if isinstance(result, Entry) else None

    def state(self, step: str) -> Any:
        """Return what tells one result of a declared step from another, JSON."""
        result = self.result(step)
        if isinstance(result, Problem):
            return [result.status, result.reason]
        return result.content if result else None

    def once(self, name: str, make: Callable[[], _T]) -> _T:
        """Return what `make` has returned when it was first called under this name in this flow."""
        return self.flow.once(name, make)

    @property
    def synthesised(self) -> Path:
        """The folder in which synthesised modules are kept, each by its own content."""
        return self.flow.root / SYNTHESISED
