"""Flows on a real Dask scheduler and two workers: equal to those here, whatever happens to a worker."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.flows import fakes, gated

from xnorflow.bnn.io import save
from xnorflow.flows.cache import PROJECT
from xnorflow.flows.execute import begun
from xnorflow.flows.run import run
from xnorflow.flows.subject import find
from xnorflow.reports.records import SynthesisRow

distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")
pytestmark = pytest.mark.slow

QUIET = Console(quiet=True)
VARYING = ("created", "folder", "project", "summary")  # of a report: when it was made, where it lies, how fast
OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")


class Machines:
    """A scheduler, and workers of one thread, each with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.address = ""

    def start(self, *command: str, path: str = "", inside: str = "") -> subprocess.Popen[bytes]:
        environ = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'src'}", "PATH": f"{path}:{os.environ['PATH']}"}
        words = [sys.executable, "-m", "distributed.cli." + command[0], *command[1:]]
        if inside:
            words = [
                "unshare",
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                f'{inside} && exec "$@"',
                "sh",
                *words,
            ]
        with (self.folder / f"{len(self.started)}.log").open("wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, cwd=self.folder, env=environ)
        self.started.append(process)
        return process

    def scheduler(self) -> None:
        file = self.folder / "scheduler.json"
        self.start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file), "--no-dashboard"
        )
        until(file.exists)
        until(lambda: file.stat().st_size > 0)
        self.address = json.loads(file.read_text())["address"]

    def worker(self, name: str, path: str = "", inside: str = "") -> None:
        local = self.folder / name
        local.mkdir(exist_ok=True)
        self.workers[name] = self.start(
            "dask_worker", self.address, "--no-nanny", "--nthreads", "1", "--name", name, "--no-dashboard",
            "--local-directory", str(local), path=path, inside=inside.format(local),
        )  # fmt: skip

    def end(self) -> None:
        for process in self.started[::-1]:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def until(true: Callable[[], object], seconds: float = 120) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    made = Machines(tmp_path_factory.mktemp("machines"))
    made.scheduler()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def cluster(machines: Machines) -> Iterator[Any]:
    """Two workers; those of an earlier test that are left are ended."""
    from xnorflow.flows.cluster import Cluster

    for name in ("one", "two"):
        machines.worker(name)
    with distributed.Client(machines.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=120)
        yield Cluster(client)
        for process in machines.workers.values():
            process.kill()
            process.wait()
        machines.workers.clear()
        until(lambda: not client.nthreads())


class Place:
    """A model, its cache, its reports, and where the gated engine waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "small.safetensors"
        save(fakes.network(), self.model)

    def flow(self, executor: Any = None, name: str = "here", tool: str | None = None) -> Any:
        outcome = run(
            find(str(self.model)), QUIET, vectors=300, build=self.folder / name / "build",
            reports=self.folder / name / "reports", executor=executor,
            engines=[gated.kind(self.folder, tool)], synthesise=synthesise,
        )  # fmt: skip
        return json.loads((outcome.report / "report.json").read_text())

    def go(self) -> None:
        (self.folder / "go").touch()

    @property
    def ran_by(self) -> list[int]:
        file = self.folder / "running"
        return [int(line) for line in file.read_text().split()] if file.exists() else []


def synthesise(view: object, project: object, name: str, folder: Path) -> SynthesisRow:
    return fakes.synthesised(name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def found(report: dict[str, Any]) -> Any:
    """Return what a report tells, but for how long it took and where it lies."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: timeless(of) for name, of in value.items() if "second" not in name and name not in VARYING}
        return [timeless(of) for of in value] if isinstance(value, list) else value

    return timeless(report)


def on_workers(cluster: Any, place: Place) -> Any:
    return begun("flow", lambda: place.flow(cluster, "there"))


def shared(cluster: Any, place: Place, shares: bool) -> None:
    """Let the cache be one folder for all, as it is on one machine, or not."""
    if not shares:
        cluster._shared[(place.folder / "there" / "build" / "small").absolute()] = False


@pytest.mark.parametrize("shares", [True, False])
def test_a_flow_on_workers_finds_what_one_here_finds_and_reuses_it(cluster: Any, place: Place, shares: bool) -> None:
    place.go()
    shared(cluster, place, shares)
    there = place.flow(cluster, "there")
    assert set(place.ran_by) <= set(cluster.client.run(os.getpid).values())
    assert found(there) == found(place.flow()) and there["verdict"] == "pass"
    ran = len(place.ran_by)
    assert found(place.flow(cluster, "there")) == found(there)
    assert found(place.flow(None, "there")) == found(there), "what workers have made is in the cache here"
    assert len(place.ran_by) == ran


@pytest.mark.parametrize("shares", [True, False])
def test_a_worker_killed_in_a_step_costs_that_step_again(cluster: Any, place: Place, shares: bool) -> None:
    shared(cluster, place, shares)
    flow = on_workers(cluster, place)
    until(lambda: place.ran_by)
    os.kill(place.ran_by[0], signal.SIGKILL)
    until(lambda: flow.done() or len(place.ran_by) == 2)
    place.go()
    there = flow.result(120)
    assert len(set(place.ran_by)) == 2
    assert found(there) == found(place.flow()) and there["verdict"] == "pass"


def test_a_worker_that_is_stopped_for_a_while_is_waited_for(cluster: Any, place: Place) -> None:
    flow = on_workers(cluster, place)
    until(lambda: place.ran_by)
    os.kill(place.ran_by[0], signal.SIGSTOP)
    place.go()
    time.sleep(3)
    assert not flow.done()
    os.kill(place.ran_by[0], signal.SIGCONT)
    assert found(flow.result(120)) == found(place.flow())
    assert len(place.ran_by) == 2  # one there, one here


def test_a_step_goes_to_the_worker_that_has_its_tool_or_is_skipped(
    machines: Machines, cluster: Any, place: Place, tmp_path: Path
) -> None:
    place.go()
    lacking = place.flow(cluster, "there", "a_tool")
    assert (
        lacking["engines"]["gated"]["status"] == "skipped" and "no a_tool here" in lacking["engines"]["gated"]["reason"]
    )
    tool = tmp_path / "bin" / "a_tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 1\n")
    tool.chmod(0o755)
    machines.worker("three", str(tool.parent))
    cluster.client.wait_for_workers(3, timeout=120)
    until(lambda: any(of["resources"] for of in cluster.client.scheduler_info(n_workers=-1)["workers"].values()))
    with_tool = place.flow(cluster, "there", "a_tool")
    assert with_tool["engines"]["gated"]["status"] == "pass"
    assert set(place.ran_by) == {machines.workers["three"].pid}


def test_a_worker_whose_disk_is_full_leaves_its_step_to_another(machines: Machines, cluster: Any, place: Place) -> None:
    command = [*OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    can = subprocess.run(command, capture_output=True, text=True, check=False)
    if can.returncode:
        pytest.skip(f"no file system of a test's own here: {can.stderr.strip()}")
    shutil.rmtree(machines.folder / "small_disk", ignore_errors=True)
    machines.worker("small_disk", inside="mount -t tmpfs -o size=2m tmpfs {}")
    cluster.client.wait_for_workers(3, timeout=120)
    info = cluster.client.scheduler_info(n_workers=-1)["workers"]
    full = next(address for address, of in info.items() if of["id"] == "small_disk")
    for name in ("one", "two"):  # so that the other is the only one that is free
        at_work = [address for address, of in info.items() if of["id"] == name]
        cluster.client.submit(_wait_for, place.folder / "seen", workers=at_work, pure=False).add_done_callback(id)
    place.go()
    shared(cluster, place, False)
    flow = on_workers(cluster, place)
    until(lambda: cluster._full)
    assert cluster._full == {full}
    (place.folder / "seen").touch()
    there = flow.result(120)
    assert found(there) == found(place.flow()) and there["verdict"] == "pass"


def _wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.05)


def test_a_sweep_with_a_worker_killed_half_way_is_that_of_a_serial_run(
    cluster: Any, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    import xnorflow as xf

    monkeypatch.chdir(place.folder)
    parts = {"engines": [gated.kind(place.folder)], "synthesise": synthesise}
    original = run
    monkeypatch.setattr("xnorflow.flows.run.run", lambda *args, **more: original(*args, **more | parts))
    asked: dict[str, Any] = {"target_fps": [1e5, 1e6], "clock_ns": [10, 20], "run": "all", "vectors": 40, "quiet": True}
    client = cluster.client
    there = begun("sweep", lambda: xf.sweep("small.safetensors", **asked, name="there", client=client))
    until(lambda: place.ran_by)
    os.kill(place.ran_by[0], signal.SIGKILL)
    until(lambda: len(place.ran_by) > 1)
    place.go()
    rows = there.result(240).to_dicts()
    assert [row["verdict"] for row in rows] == ["pass"] * 4
    ran = len(place.ran_by)
    assert ran == 2, "the engine does not depend on the folding: all points share its run"
    shutil.rmtree("build")
    monkeypatch.setattr("xnorflow.flows.sweep.missing", lambda extra: [extra])
    serial = xf.sweep("small.safetensors", **asked, name="serial").to_dicts()
    assert [row | {"report": None} for row in rows] == [row | {"report": None} for row in serial]


def test_a_scheduler_that_is_not_there_is_told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from xnorflow.flows import cli

    monkeypatch.setattr("xnorflow.flows.cluster._CONNECT_SECONDS", 1)
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "digits_bnn", "--scheduler", "tcp://127.0.0.1:1"])
    assert ended.value.code == 2
    assert "none answers at tcp://127.0.0.1:1" in capfd.readouterr().err
