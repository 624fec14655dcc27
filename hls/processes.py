"""Programs that never outlive the work that they are started for, nor does anything that they have started.

That holds however the work ends: where it is left, where a signal asks this process to end (:func:`stoppable`), and
where this process is killed. For the last, a guard, a shell that only waits, ends what was running when it sees this
process go.
"""

import contextlib
import errno
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from types import FrameType
from typing import IO, Any, TypeVar

_Self = TypeVar("_Self", bound="Processes")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Reads "+ group" and "- group"; at the end, which comes with that of the process that writes, ends what is left.
_GUARD = """
running=" "
while read -r sign group; do
    case $sign in
        +) running="$running$group " ;;
        -) running="${running%% $group *} ${running#* $group }" ;;
    esac
done
for group in $running; do kill -KILL "-$group" 2> /dev/null; done
"""


class Stopped(BaseException):
    """A signal asks the process to end. No :class:`Exception`, so that nothing takes it for a failure of its work.

    Attributes
    ----------
    number : signal.Signals
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.number = number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP raise :class:`Stopped` in this block, which ends all :class:`Processes` in it.

    For the main thread, which alone receives signals. While a program is just being started, the signal waits.
    """

    def stop(number: int, _: FrameType | None) -> None:
        if _undisturbed.depth:
            _undisturbed.stopped = number
        else:
            raise Stopped(signal.Signals(number))

    before = {number: signal.signal(number, stop) for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Undisturbed(threading.local):
    """Of each thread, whether it is starting a program or notes its end, and the signal that came meanwhile."""

    depth = 0
    stopped: int | None = None

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1
        stopped, self.stopped = self.stopped, None
        if stopped is not None:
            raise Stopped(signal.Signals(stopped))


class NotStarted(OSError):
    """A program cannot be started."""


_undisturbed = _Undisturbed()
_guard: "subprocess.Popen[bytes] | None" = None
_guard_lock = threading.Lock()


def _start_guard() -> None:
    """Have the guard there before anything is started that it is to end."""
    global _guard
    with _guard_lock:
        if _guard is None:
            _guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )


def _tell_guard(sign: str, process: "subprocess.Popen[bytes]") -> None:
    assert _guard is not None and _guard.stdin is not None
    with _guard_lock, contextlib.suppress(BrokenPipeError):  # somebody has ended the guard; the work goes on without it
        _guard.stdin.write(f"{sign} {process.pid}\n".encode())
        _guard.stdin.flush()


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
        NotStarted
            If it cannot be started.
        OSError
            ENOSPC if it says so, under whatever status it ends: the work may be damaged, but is not at fault.
        subprocess.TimeoutExpired
            If it took longer than `limit_s` seconds.
        concurrent.futures.CancelledError
            If the piece of work has been left.
        """
        if self._ended:
            raise CancelledError
        before = os.fstat(output.fileno()).st_size
        with _undisturbed:
            _start_guard()
            try:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=environ,
                    stdin=subprocess.DEVNULL,  # a program that asks for commands after a failure shall end
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a group of its own, so that what it starts itself can be ended with it
                )
            except OSError as error:
                raise NotStarted(error.errno, error.strerror, error.filename) from None
            _tell_guard("+", process)
            self._running.add(process)
        if self._ended:  # left while the process was being started, and so perhaps unseen
            self._end(process)
        try:
            status = process.wait(limit_s)
        finally:
            self._end(process)
            with _undisturbed:
                self._running.discard(process)
                _tell_guard("-", process)
        if _disk_full(output, before):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{command[0]}, run in {folder}")
        return status

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


def _disk_full(output: IO[Any], start: int) -> bool:
    """Whether what was written from byte `start` on tells of a full disk, or the disk is full: it cuts a log short."""
    with Path(f"/dev/fd/{output.fileno()}").open("rb") as written:  # perhaps `output` is only for writing
        written.seek(start)
        if os.strerror(errno.ENOSPC).encode() in written.read():
            return True
    disk = os.fstatvfs(output.fileno())
    return disk.f_blocks > 0 and disk.f_bfree == 0  # some file systems do not count blocks at all


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
