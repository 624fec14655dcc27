"""Folders that hold what a tool has made: complete and as it was made, or not there."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

_RECORD = ".digests.json"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder, by its name in it; of a link, of where it leads."""
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(os.fsencode(path.readlink())).hexdigest() if path.is_symlink() else file_digest(path)
        )
        for path in files
    }


def build_once(folder: Path, build: Callable[[Path], None]) -> bool:
    """Make `folder` if it is not there as it was made, and return whether it had to be made.

    `build` fills a private folder beside it, which is then renamed; another process may build the same meanwhile.
    """
    if folder.is_dir() and _whole(folder):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    private = Path(tempfile.mkdtemp(prefix="tmp_", dir=folder.parent))
    try:
        build(private)
        (private / _RECORD).write_text(json.dumps(digests(private), indent=1))
        private.chmod(0o755)  # mkdtemp's folders are for their owner alone
        if folder.is_dir() and not _whole(folder):
            shutil.rmtree(folder)
        try:
            private.rename(folder)
        except OSError:
            if not folder.is_dir():  # else the other process was faster
                raise
    finally:
        shutil.rmtree(private, ignore_errors=True)
    return True


def _whole(folder: Path) -> bool:
    """Say whether every file is there as it was made; those that have come do no harm."""
    try:
        record = json.loads((folder / _RECORD).read_bytes())
        return isinstance(record, dict) and record.items() <= digests(folder).items()
    except (OSError, ValueError):
        return False
