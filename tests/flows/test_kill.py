"""Flows with the real tools that are killed at random moments: nothing is lost, mistaken, blocked or left running."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.flows import fakes

from xnorflow.bnn.io import save
from xnorflow.flows.cache import PROJECT, RECORD

_MARK = "XNORFLOW_TEST_OF_KILL"
_TOOLS = ("cc1plus", "vvp", "yosys", None)  # at work when the flow is killed; None: whatever is
_VARYING = {"created", "seconds", "build_seconds", "summary"}
_LIMIT_S = 900  # on a machine that has much else to do


class Flow:
    """A flow on a small network, in a folder of its own, under a mark that all that it starts inherits."""

    seconds = 0.0

    def __init__(self, folder: Path) -> None:
        self.folder, self.build = folder, folder / "build" / "small"
        if not folder.exists():
            folder.mkdir()
            save(fakes.network(), folder / "small.safetensors")
            (folder / "config.toml").write_text("[synthesis]\ntargets = ['xilinx7']\n")

    def start(self) -> "subprocess.Popen[bytes]":
        words = ("run", "small.safetensors", "--vectors", "40", "--config", "config.toml")
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "xnorflow", *words],
                cwd=self.folder,
                env={**os.environ, _MARK: str(self.folder), "PYTHONPATH": str(PROJECT / "src")},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self) -> str:
        """Run the flow to its end, and return what it has said."""
        assert self.start().wait(_LIMIT_S) == 0, (self.folder / "log").read_text()
        return (self.folder / "log").read_text()

    def running(self) -> dict[int, str]:
        """Return the processes that the flow has started, itself too, with their names."""
        found, mark = {}, f"{_MARK}={self.folder}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found[int(process.name)] = (process / "comm").read_text().strip()
            except OSError:  # it has ended
                pass
        return found

    def entries(self) -> list[Path]:
        return sorted(path.parent for path in self.build.glob(f"*/*/{RECORD}"))

    def results(self) -> dict[str, bytes]:
        """Return all integers that engines gave, by step and name."""
        found = [(entry.parent.name, entry / "results.npz") for entry in self.entries()]
        arrays = [(step, dict(np.load(path))) for step, path in found if path.exists()]
        return {f"{step} {name}": array.tobytes() for step, of in arrays for name, array in of.items()}

    def facts(self) -> dict[str, object]:
        """Return what the steps have found out, by their names, but for times and places."""
        read = {entry.parent.name: json.loads((entry / RECORD).read_text())["facts"] for entry in self.entries()}
        return {step: _timeless(facts) for step, facts in read.items()}

    def report(self) -> object:
        return _timeless(json.loads((self.folder / "reports" / "small" / "report.json").read_text()))


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: _timeless(of) for key, of in value.items() if key not in _VARYING}
    return [_timeless(of) for of in value] if isinstance(value, list) else value


def _wait(until: Callable[[], object], limit_s: float = _LIMIT_S) -> bool:
    end = time.monotonic() + limit_s
    while not until():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _kill(flow: "subprocess.Popen[bytes]", how: str, running: dict[int, str]) -> None:
    if how == "group":
        os.killpg(flow.pid, signal.SIGKILL)
        return
    for process in (flow.pid, *(running if how == "all" else ())):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Flow:
    flow = Flow(tmp_path_factory.mktemp("kill") / "undisturbed")
    start = time.monotonic()
    assert "verdict: pass" in flow.finish()
    flow.seconds = time.monotonic() - start
    return flow


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("number", range(25))
def test_a_flow_killed_while_its_tools_work_is_carried_on_as_if_nothing_had_been(
    number: int, undisturbed: Flow, tmp_path: Path
) -> None:
    draw, tool, how = random.Random(number), _TOOLS[number % 4], ("parent", "group", "all")[number % 3]
    killed = Flow(tmp_path / "killed")
    process = killed.start()
    if tool:
        assert _wait(lambda: tool in killed.running().values() or process.poll() is not None)
        assert process.poll() is None, f"{tool} has not been seen"
    time.sleep(draw.uniform(0, 2 if tool else 0.7 * undisturbed.seconds))
    running = killed.running()
    sys.stdout.write(f"{number}: {how} killed, with {sorted(set(running.values()))} at work\n")
    _kill(process, how, running)
    assert process.wait() == -signal.SIGKILL, "it was faster"
    assert _wait(lambda: not killed.running(), 60), f"left running: {killed.running()}"

    said = killed.finish()
    assert "verdict: pass" in said and "waiting for" not in said
    assert _wait(lambda: not killed.running(), 60), f"left running: {killed.running()}"
    assert killed.results() == undisturbed.results()
    assert killed.facts() == undisturbed.facts()
    assert killed.report() == undisturbed.report()
