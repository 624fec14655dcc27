"""Steps on a Dask cluster: each goes to a worker, the client decides when.

Entries of the cache are shared by a folder where every worker sees the client's; else they travel, with what they take
and what they become. What reads the user's own files runs where the user is, and so does, where nothing is shared, all
that does not wait for programs. A worker that ends in the middle of a step costs that step again.
"""

import errno
import io
import os
import shutil
import tarfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from distributed import Client, Future, KilledWorker, LocalCluster, WorkerPlugin, get_worker

from xnorflow.bnn.errors import UserError
from xnorflow.cosim.engine import EngineError, EngineUnavailable
from xnorflow.cosim.golden import cores
from xnorflow.flows import closure
from xnorflow.flows.cache import PROJECT, Entry, Store, digest, write
from xnorflow.flows.graph import Advance, Asked, Flow, Problem, Step, View
from xnorflow.flows.take import Taken, Watch, failed, line, take

if TYPE_CHECKING:
    from distributed import Worker

_MANY = 1e6  # of a tool on a worker, which any number of steps may use at a time
_LOST_AFTER = 600  # looks at a step (about 30 s) until a tool that has gone with its worker is given up
_CONNECT_SECONDS = 20
_COME = "come"  # folder of a worker's cache that has the entries that have travelled to it


@dataclass(frozen=True)
class _Full:
    """The disk of a worker is full.

    Attributes
    ----------
    worker : str
    """

    worker: str


class _Tools(WorkerPlugin):  # type: ignore[misc]  # untyped
    """Tells the scheduler which programs a worker has, as Dask resources."""

    def __init__(self, commands: Collection[str]) -> None:
        self.commands = commands
        self.name = f"xnorflow tools {' '.join(sorted(commands))}"

    async def setup(self, worker: "Worker") -> None:
        await worker.set_resources(**{_resource(name): _MANY for name in self.commands if shutil.which(name)})


def _resource(command: str) -> str:
    return f"xnorflow {command}"


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Give the client of a scheduler.

    Raises
    ------
    UserError
        If there is none at the address.
    """
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"scheduler: none answers at {address}: {error}; start one: dask scheduler") from None
    with client:
        yield client


@contextmanager
def local() -> "Iterator[Cluster]":
    """Give a cluster of one process for each core of this machine."""
    with (
        LocalCluster(cores(), threads_per_worker=1, dashboard_address=None) as made,
        Client(made, set_as_default=False) as client,
    ):
        yield Cluster(client)


class Cluster:
    """Runs steps on the workers of a Dask cluster.

    Attributes
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._session = token_hex(8)  # results are told apart by it: a later session finds them in the cache
        self._lock = threading.Lock()
        self._shared: dict[Path, bool] = {}
        self._sent: dict[str, Future] = {}  # entries that travel, by their content
        self._tools: frozenset[str] = frozenset()
        self._full: set[str] = set()
        self._here = threading.Semaphore(cores())  # steps that wait for programs on this machine

    @property
    def flows(self) -> int:
        threads: int = sum(self.client.nthreads().values())
        return max(1, threads)

    def room(self, step: Step, flow: Flow, running: Collection[Step]) -> bool:
        return True

    def take(self, step: Step, flow: Flow, store: Store, watch: Watch, force: bool) -> Taken:
        if not all(isinstance(flow.results.get(name), Entry) for name in step.takes):
            return Taken()
        shared = self._shares(store.root)
        if _reads_own_files(step, flow) or not (shared or step.waits):
            with self._here if step.waits else nullcontext():
                return take(step, flow, store, watch, force)
        if not shared and not force and (found := _found(step, flow, store)):
            return Taken(found, line(step, found))
        with watch.making(step.name):
            try:
                taken, pack = self._elsewhere(step, flow, store, watch, force, shared)
            except KilledWorker as error:
                reason = f"{step.name}: every worker that ran it ended before it was done: {error}"
                if step.engine is None:
                    raise EngineError(reason) from None
                return failed(step, Problem(step.engine, "fail", reason, store.root))
        if isinstance(taken.result, Entry) and pack is not None:
            folder = store.folder(step.folder, taken.result.key)
            with store.alone(step.folder, taken.result.key, partial(watch.wait, step.name)):
                if store.find(step.folder, taken.result.key, step.name.facts) is None:
                    shutil.rmtree(folder, ignore_errors=True)
                    _unpack(pack, folder)
            return replace(taken, result=replace(taken.result, folder=folder))
        return taken

    def _shares(self, root: Path) -> bool:
        """Say whether every worker sees a folder of this machine."""
        with self._lock:
            if root not in self._shared:
                if not self.client.nthreads():
                    self.client.wait_for_workers(1)
                mark = root / f".{self._session}"
                write(mark, "")
                try:
                    self._shared[root] = all(self.client.run(os.path.exists, str(mark)).values())
                finally:
                    mark.unlink()
            return self._shared[root]

    def _elsewhere(
        self, step: Step, flow: Flow, store: Store, watch: Watch, force: bool, shared: bool
    ) -> tuple[Taken, bytes | None]:
        results = {name: flow.results[name] for name in (*step.takes, *step.may_take) if name in flow.results}
        asked = {
            name: (flow.asked[name].value, flow.once(f"mark of {name}", flow.asked[name].mark))
            for name in (*step.options, *step.limits)
        }
        work = [
            step.name, str(store.root), {name: mark for name, (_, mark) in asked.items()},
            {name: View(flow, step).state(name) for name in results}, force,
        ]  # fmt: skip
        root = store.root if shared else Path(store.root.name)
        code = closure.digest(step.modules)
        attempt = 0
        while True:
            packs = {} if shared else {name: self._send(of) for name, of in results.items() if isinstance(of, Entry)}
            tools = self._demanded(step)
            free = [worker for worker in self.client.nthreads() if worker not in self._full]
            if self._full and not free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"every worker ({', '.join(self._full)})")
            future = self.client.submit(
                _take_there, step, asked, results, root, packs, force, code,
                key=f"{step.name}-{digest([self._session, attempt, *work])}", pure=False,
                workers=free if self._full else None, resources=dict.fromkeys(map(_resource, tools), 1),
            )  # fmt: skip
            got = self._awaited(future, step, watch, tools, packs.values())
            if isinstance(got, _Full):
                self._full.add(got.worker)
            elif got is not None:
                return got
            attempt += 1

    def _awaited(
        self, future: Future, step: Step, watch: Watch, tools: frozenset[str], packs: Collection[Future]
    ) -> tuple[Taken, bytes | None] | _Full | None:
        """Wait for what a worker returns; None where what the step needs, tools or results, has gone with a worker."""
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        lacking = 0
        try:
            while not done.wait(0.05):
                watch.wait(step.name, first=False)
                lacking = lacking + 1 if lacking % 10 or not self._has(tools) else 0
                if lacking > _LOST_AFTER or any(pack.status != "finished" for pack in packs):
                    return None
            if future.cancelled():
                if self.client.status != "running":
                    raise UserError("the Dask scheduler has gone; what was finished is kept: start again")
                return None
            got: tuple[Taken, bytes | None] | _Full = future.result()
            return got
        finally:
            if not done.is_set():
                future.cancel()

    def _demanded(self, step: Step) -> frozenset[str]:
        """Return the programs that a step uses, as far as one worker has them: the more, the better."""
        names = frozenset(command.split()[0] for command in step.commands)
        with self._lock:
            if names - self._tools:
                self._tools |= names
                self.client.register_plugin(_Tools(self._tools))
        return max((names & there for there in self._there()), key=len, default=frozenset())

    def _there(self) -> list[frozenset[str]]:
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return [frozenset(name for name in self._tools if of["resources"].get(_resource(name))) for of in workers]

    def _has(self, tools: frozenset[str]) -> bool:
        return not tools or any(tools <= there for there in self._there())

    def _send(self, entry: Entry) -> Future:
        """Return the files of an entry, where the workers get them."""
        name = f"{entry.key}-{entry.content}"
        with self._lock:
            if name not in self._sent or self._sent[name].status != "finished":  # lost with the worker that had it
                self._sent[name] = self.client.scatter(_packed(entry), hash=False)
            return self._sent[name]


def _reads_own_files(step: Step, flow: Flow) -> bool:
    """Say whether a step looks at what is on the user's machine alone."""
    subject = flow.asked["subject"].value
    own = {"data": True, "vendor_run": True, "liberty": bool(flow.asked["liberty"].value)}
    own["subject"] = not subject.path.absolute().is_relative_to(PROJECT)
    return any(own.get(name) for name in step.options)


def _found(step: Step, flow: Flow, store: Store) -> Entry | None:
    """Return what the user's own cache has of a step that is run elsewhere."""
    try:
        return store.find(step.folder, step.key(View(flow, step)), step.name.facts)
    except EngineUnavailable:
        return None


def _packed(entry: Entry) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.add(entry.folder, ".")
    return made.getvalue()


def _unpack(pack: bytes, folder: Path) -> None:
    """Make a folder of an entry's files, whole or not at all."""
    draft = folder.with_name(f".{folder.name}.{token_hex(4)}")
    draft.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(pack)) as tar:
            tar.extractall(draft)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


# --- on the worker


class _Quiet:
    """Watches a step for nobody."""

    def making(self, step: str) -> "nullcontext[Advance]":
        return nullcontext(lambda done, total: None)

    def wait(self, step: str, first: bool) -> None:
        threading.Event().wait(0.05)


def _take_there(
    step: Step,
    asked: Mapping[str, tuple[Any, Any]],
    results: Mapping[str, Entry | Problem],
    root: Path,
    packs: Mapping[str, bytes],
    force: bool,
    code: str,
) -> tuple[Taken, bytes | None] | _Full:
    """Take a step on a worker; return its entry's files, too, where the folder of the cache is not shared."""
    if closure.digest(step.modules) != code:
        raise UserError(f"worker {get_worker().address} has another version of xnorflow: install the same on all")
    shared = root.is_absolute()
    store = Store(root if shared else Path(get_worker().local_directory).absolute() / "xnorflow" / root)
    try:
        for name, pack in packs.items():
            entry = results[name]
            assert isinstance(entry, Entry)
            folder = store.root / _COME / f"{entry.key[:16]}-{entry.content[:16]}"
            with store.alone(_COME, folder.name, partial(_Quiet().wait, name)):
                if not folder.exists():
                    _unpack(pack, folder)
            results = {**results, name: replace(entry, folder=folder)}
        flow = Flow({name: Asked(value, _always(mark)) for name, (value, mark) in asked.items()}, store.root)
        flow.results.update(results)
        taken = take(step, flow, store, _Quiet(), force)
        return taken, _packed(taken.result) if isinstance(taken.result, Entry) and not shared else None
    except OSError as error:
        if shared or error.errno != errno.ENOSPC:
            raise
        return _Full(get_worker().address)


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value
