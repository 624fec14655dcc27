"""However a command ends, there is one message, under an exit status that tells the kind."""

import errno
import os
import re
import signal
from pathlib import Path

import pytest

from xnorflow.cosim.engine import EngineError
from xnorflow.flows import cli
from xnorflow.hls.processes import Stopped


def _full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "build/x")


def _raises(error):
    def act():
        raise error

    return act


def _deep():
    return _deep()


ENDINGS = {
    "disk full": (_full, 2, "build/x: No space left on device; free some space", False),
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
def test_every_ending_is_one_message_and_a_status(kind, tmp_path, monkeypatch, capfd):
    act, status, says, traced = ENDINGS[kind]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xnorflow.flows.places.clean", lambda _: act())
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as ended:
        cli.main(["clean"])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    (line,) = capfd.readouterr().err.splitlines()
    assert ended.value.code == status
    assert line.startswith("error: ") and says in line
    named = re.search(r"traceback: (\S+)$", line)
    assert bool(named) == traced
    if named:
        assert "Traceback (most recent call last)" in (tmp_path / named[1]).read_text()


def test_a_traceback_is_kept_where_the_build_folder_cannot_be_written(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").write_text("a file")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("xnorflow.flows.places.clean", lambda _: 1 / 0)
    with pytest.raises(SystemExit):
        cli.main(["clean"])
    assert Path(capfd.readouterr().err.split("traceback: ")[1].strip()).is_relative_to(tmp_path)
