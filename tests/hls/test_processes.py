"""No program outlives its work, nor does anything that it has started."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from xnorflow.hls.processes import NotStarted, Processes, Stopped, stoppable

# A program as g++ is one: it waits for another, whose process number it leaves in a file.
PARENT = ["sh", "-c", "sleep 60 & echo $! > child; wait"]


def gone(folder: Path) -> bool:
    """Whether the child has ended, or does so in a moment; one that nobody has waited for yet is a zombie."""
    status = Path("/proc", (folder / "child").read_text().strip(), "stat")
    for _ in range(100):
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def started(folder: Path) -> None:
    while not (folder / "child").is_file() or not (folder / "child").read_text().strip():
        time.sleep(0.01)


@pytest.mark.parametrize("grace_s", [0, 10])
def test_the_child_of_a_program_that_takes_too_long_ends_with_it(tmp_path: Path, grace_s: float) -> None:
    start = time.monotonic()
    with Processes(grace_s) as processes, pytest.raises(subprocess.TimeoutExpired):
        processes.ask(PARENT, tmp_path, limit_s=0.5)
    assert gone(tmp_path)
    assert time.monotonic() - start < 9, "it ends when asked to"


def test_the_child_of_a_program_that_ends_without_it_ends(tmp_path: Path) -> None:
    with Processes() as processes:
        status, said = processes.ask(["sh", "-c", "sleep 60 & echo $! > child; echo well; exit 3"], tmp_path)
        assert (status, said) == (3, "well\n")
        assert gone(tmp_path)


def test_leaving_ends_the_programs_of_other_threads(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        with pytest.raises(KeyboardInterrupt), Processes() as processes:
            waiting = pool.submit(processes.ask, PARENT, tmp_path)
            started(tmp_path)
            raise KeyboardInterrupt
        assert waiting.result()[0] == -9
        assert gone(tmp_path)
        with pytest.raises(CancelledError):
            processes.ask(["true"], tmp_path)


def test_leaving_ends_a_program_that_is_just_being_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def start_late(*arguments: Any, **settings: Any) -> "subprocess.Popen[bytes]":
        process = start(*arguments, **settings)
        started(tmp_path)
        processes.__exit__()
        return process

    monkeypatch.setattr(subprocess, "Popen", start_late)
    processes = Processes()
    assert processes.ask(PARENT, tmp_path, limit_s=9)[0] == -9
    assert gone(tmp_path)


def test_what_cannot_be_started_is_told(tmp_path: Path) -> None:
    with Processes() as processes, pytest.raises(NotStarted, match="no_such_program"):
        processes.ask(["no_such_program"], tmp_path)


@pytest.mark.parametrize("status", [0, 1])
def test_a_program_that_says_that_the_disk_is_full_is_not_at_fault(tmp_path: Path, status: int) -> None:
    said = "cc1plus: fatal error: error writing to /tmp/x.s: No space left on device"
    with Processes() as processes, pytest.raises(OSError, match="No space left on device: 'sh, run in") as raised:
        processes.ask(["sh", "-c", f"echo '{said}' >&2; exit {status}"], tmp_path)
    assert raised.value.errno == errno.ENOSPC


def test_a_full_disk_is_told_of_a_program_that_says_nothing_of_it(tmp_path: Path) -> None:
    """Nor has anything that ran before on the same log, which counts no more."""
    full, free, uncounted = (10, 0), (10, 10), (0, 0)  # blocks, and those that are free
    log = tmp_path / "log"
    log.write_text("No space left on device\n")
    with Processes() as processes, log.open("ab") as output, pytest.MonkeyPatch.context() as patch:
        for (blocks, left), fine in ((full, False), (free, True), (uncounted, True)):
            state = os.statvfs_result((4096, 4096, blocks, left, left, 9, 9, 9, 0, 255))
            patch.setattr(os, "fstatvfs", lambda _, state=state: state)
            with contextlib.nullcontext() if fine else pytest.raises(OSError, match="No space left on device"):
                assert processes.call(["false"], tmp_path, output) == 1


# A piece of work as a flow does it: one program here, one in a thread, and what it says when it is asked to end.
WORK = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xnorflow.hls.processes import Processes, Stopped, stoppable
one, two = Path(sys.argv[1]) / "one", Path(sys.argv[1]) / "two"
try:
    with stoppable(), ThreadPoolExecutor() as pool, Processes() as processes:
        pool.submit(processes.ask, sys.argv[2:], one)
        processes.ask(sys.argv[2:], two)
except Stopped as stopped:
    print(stopped.number.name)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_all_that_was_started(tmp_path: Path, number: signal.Signals) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    work = subprocess.Popen([sys.executable, "-c", WORK, tmp_path, *PARENT], stdout=subprocess.PIPE, text=True)
    for name in ("one", "two"):
        started(tmp_path / name)
    time.sleep(0.2)  # a program may say that it is there before it is noted
    os.kill(work.pid, number)
    said, _ = work.communicate(timeout=20)
    assert said.strip() == ("" if number == signal.SIGKILL else number.name)
    assert gone(tmp_path / "one") and gone(tmp_path / "two")


def test_a_signal_waits_while_a_program_is_being_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def interrupted(*arguments: Any, **settings: Any) -> "subprocess.Popen[bytes]":
        process = start(*arguments, **settings)
        if arguments[0] == PARENT:
            started(tmp_path)
            os.kill(os.getpid(), signal.SIGTERM)
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(Stopped), stoppable(), Processes() as processes:
        processes.ask(PARENT, tmp_path)
    assert gone(tmp_path)
