"""However a command ends, there is one message, under an exit status that tells the kind."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.flows import fakes

from xnorflow.bnn.io import save
from xnorflow.cosim.engine import EngineError
from xnorflow.flows import cli
from xnorflow.flows.cache import PROJECT
from xnorflow.hls.processes import Stopped


def _full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "build/x")


def _copies() -> None:
    raise shutil.Error([("x", "build/y", f"[Errno 28] {os.strerror(errno.ENOSPC)}: 'x' -> 'build/y'")])


def _raises(error: Any) -> Any:
    def act() -> None:
        raise error

    return act


def _deep() -> Any:
    return _deep()


ENDINGS = {
    "disk full": (_full, 2, "build/x: No space left on device; free some space", False),
    "disk full, copying": (_copies, 2, "build/y: No space left on device; free some space", False),
    "read-only": (_raises(OSError(errno.EROFS, "Read-only file system", "build")), 2, "can be written to", False),
    "memory": (_raises(MemoryError()), 2, "not enough memory", True),
    "recursion": (_deep, 2, "nested too deeply", True),
    "engine": (_raises(EngineError("golden broke")), 1, "golden broke", False),
    "unforeseen": (_raises(ZeroDivisionError("by\nzero")), 70, "xnorflow itself has failed", True),
    "other system error": (_raises(OSError(errno.EBADF, "Bad file descriptor")), 70, "Bad file descriptor", True),
    "Ctrl-C": (lambda: os.kill(os.getpid(), signal.SIGINT), 130, "stopped by SIGINT; what was finished is kept", False),
    "SIGTERM": (lambda: os.kill(os.getpid(), signal.SIGTERM), 143, "stopped by SIGTERM; what was", False),
    "Ctrl-C, told by a library": (_raises(Stopped(signal.SIGINT)), 130, "stopped by SIGINT", False),
    "a letter that no terminal has": (_raises(MemoryError("\udcff")), 2, "not enough memory", True),
}


@pytest.mark.parametrize("kind", ENDINGS)
def test_every_ending_is_one_message_and_a_status(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    act, status, message, traced = ENDINGS[kind]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xnorflow.flows.places.clean", lambda _: act())
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as ended:
        cli.main(["clean"])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    (line,) = capfd.readouterr().err.splitlines()
    assert ended.value.code == status
    assert line.startswith("error: ") and message in line
    named = re.search(r"traceback: (\S+)$", line)
    assert bool(named) == traced
    if named:
        assert "Traceback (most recent call last)" in (tmp_path / named[1]).read_text()


def test_a_traceback_is_kept_where_the_build_folder_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").write_text("a file")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("xnorflow.flows.places.clean", lambda _: 1 / 0)
    with pytest.raises(SystemExit):
        cli.main(["clean"])
    assert Path(capfd.readouterr().err.split("traceback: ")[1].strip()).is_relative_to(tmp_path)


@pytest.mark.parametrize("words", [["list"], ["--help"], ["run", "no_such_model"]])
def test_where_nobody_reads_on_the_end_is_quiet(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    told = subprocess.PIPE if words[0] != "run" else write  # a message of what is wrong goes nowhere, too
    done = subprocess.run([sys.executable, "-m", "xnorflow", *words], stdout=write, stderr=told, check=False)
    os.close(write)
    assert (done.returncode, done.stderr or b"") == (128 + signal.SIGPIPE, b"")


def test_a_flow_ends_where_nobody_reads_on(tmp_path: Path) -> None:
    save(fakes.network(), tmp_path / "small.safetensors")
    flow = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.fakes", tmp_path, "run", tmp_path / "small.safetensors", "--vectors", "9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
    )
    assert flow.stdout and flow.stderr and b"load" in flow.stdout.readline()
    flow.stdout.close()
    assert flow.stderr.read() == b""
    assert flow.wait(60) == 128 + signal.SIGPIPE


def test_a_step_in_this_process_does_not_keep_the_user_waiting(tmp_path: Path) -> None:
    save(fakes.network(), tmp_path / "small.safetensors")
    flow = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.fakes", tmp_path, "run", tmp_path / "small.safetensors", "--vectors", "9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, "FAULTS": '{"plain": "sleeps"}'},
    )
    folder = tmp_path / "build" / "small" / "plain_results"
    while not folder.exists() and flow.poll() is None:
        time.sleep(0.05)
    begun = time.monotonic()
    flow.send_signal(signal.SIGINT)
    _, told = flow.communicate(timeout=50)
    assert time.monotonic() - begun < 30, "it waited for the step's end"
    assert flow.returncode == 128 + signal.SIGINT and b"stopped by SIGINT" in told
