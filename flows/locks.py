"""Locks between processes, and between threads of one: files that are held with ``flock``, and go with their holder."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path, wait: Callable[[bool], None], shared: bool = False) -> Iterator[None]:
    """Hold a lock in the block.

    Parameters
    ----------
    path : Path
        Of the lock; made where it is not there, with its folder.
    wait : callable
        Waits a moment, told whether it is the first time; what it raises ends the waiting.
    shared : bool
        Others may hold it at the same time, if they share it, too.
    """
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    first = True
    while (file := _hold(path, mode)) is None:
        wait(first)
        first = False
    try:
        yield
    finally:
        os.close(file)


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold a lock in the block if nobody else does; give whether it is held."""
    file = _hold(path, fcntl.LOCK_EX)
    try:
        yield file is not None
    finally:
        if file is not None:
            os.close(file)


def _hold(path: Path, mode: int) -> int | None:
    """Return a descriptor that holds the lock, None if somebody else does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
        here = path.stat()  # whoever removes a lock holds it, so that it may be gone
        if (here.st_dev, here.st_ino) == (os.fstat(file).st_dev, os.fstat(file).st_ino):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None
