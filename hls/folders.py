"""Folders that hold what a tool has made: complete, or not there."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def build_once(folder: Path, build: Callable[[Path], None]) -> bool:
    """Make `folder` if it is not there, and return whether it had to be made.

    `build` fills a private folder beside it, which is then renamed; another process may build the same meanwhile.
    """
    if folder.is_dir():
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    private = Path(tempfile.mkdtemp(prefix="tmp_", dir=folder.parent))
    try:
        build(private)
        private.chmod(0o755)  # mkdtemp's folders are for their owner alone
        try:
            private.rename(folder)
        except OSError:
            if not folder.is_dir():  # else the other process was faster
                raise
    finally:
        shutil.rmtree(private, ignore_errors=True)
    return True
