"""Programs that never outlive the work that they are started for, nor does anything that they have started."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import IO, Any, TypeVar

_Self = TypeVar("_Self", bound="Processes")


class Processes:
    """The running programs of a piece of work; all are ended when it is left, however that happens.

    Where several threads use one, leave it before their pool, which waits for them::

        with ThreadPoolExecutor() as pool, Processes() as processes:

    Parameters
    ----------
    grace_s : float
        Seconds between asking a program to end and ending it; 0 ends it at once.
    """

    def __init__(self, grace_s: float = 0.0) -> None:
        self._grace_s = grace_s
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        for process in list(self._running):
            self._end(process)

    def call(
        self,
        command: Sequence[str],
        folder: Path,
        output: IO[Any],
        limit_s: float | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> int:
        """Run a command in `folder`, with all that it says in `output`, and return its exit status.

        Raises
        ------
        OSError
            If it cannot be started.
        subprocess.TimeoutExpired
            If it took longer than `limit_s` seconds.
        concurrent.futures.CancelledError
            If the piece of work has been left.
        """
        if self._ended:
            raise CancelledError
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,  # a program that asks for commands after a failure shall end
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, so that what it starts itself can be ended with it
        )
        self._running.add(process)
        if self._ended:  # left while the process was being started, and so perhaps unseen
            self._end(process)
        try:
            return process.wait(limit_s)
        finally:
            self._end(process)
            self._running.discard(process)

    def ask(
        self,
        command: Sequence[str],
        folder: Path,
        limit_s: float | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Do what :meth:`call` does, and return what the program has said, too."""
        with tempfile.TemporaryFile() as output:
            status = self.call(command, folder, output, limit_s, environ)
            output.seek(0)
            return status, output.read().decode(errors="replace")

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        """End all that is left of a process's group."""
        if self._grace_s:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._grace_s)
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
