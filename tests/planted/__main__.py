"""Plant every edit of :mod:`tests.planted.edits`, one at a time: ``python -m tests.planted [WORD]``.

A word of a file's name, or the name of a table or a network, takes the edits with it alone.

Each is made in a copy of ``hls/``, which a process of its own imports in place of the project's. It is an error if the
text is not there once, if the edit makes something that no tool takes, or if no engine sees it. Takes some minutes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.planted.edits import TABLES, Edit

from xnorflow.flows.cache import PROJECT

_LIMIT_S = 300


def planted(edit: Edit | None, case: str) -> str:
    """Return the verdict of the engine over `case`, with an edit or without."""
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "xnorflow"
        shutil.copytree(
            PROJECT / "src" / "xnorflow", package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
        for link in [path for path in package.iterdir() if path.is_symlink()]:
            link.unlink()
            link.symlink_to((PROJECT / "src" / "xnorflow" / link.name).resolve())
        (package / "hls").unlink()
        shutil.copytree(PROJECT / "hls", package / "hls", ignore=shutil.ignore_patterns("__pycache__"))
        if edit:
            path = package / edit.file
            if path.read_text().count(edit.old) != 1:
                return "text not found once"
            path.write_text(path.read_text().replace(edit.old, edit.new))
        environment = {**os.environ, "PYTHONPATH": f"{scratch}{os.pathsep}{PROJECT}"}
        command = [sys.executable, "-m", "tests.planted.engine", case]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=_LIMIT_S, cwd=scratch
            )
        except subprocess.TimeoutExpired:
            return f"broken: not finished after {_LIMIT_S} s"
        return (done.stdout.strip() or f"broken: {done.stderr.strip()[-500:]}").splitlines()[-1]


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(word: str = "") -> int:
    edits = [
        edit for table, its in TABLES.items() for edit in its if word in edit.file or word in (table, edit.network)
    ]
    cases = list(dict.fromkeys(edit.network for edit in edits))
    failed = 0
    with ThreadPoolExecutor(2) as pool:
        for case, verdict in zip(cases, pool.map(planted, [None] * len(cases), cases)):
            _tell(f"{'ok  ' if verdict == 'equal' else 'FAIL'} without an edit, {case}: {verdict}")
            failed += verdict != "equal"
        for edit, verdict in zip(edits, pool.map(planted, edits, [edit.network for edit in edits])):
            caught = verdict.startswith("caught: ")
            _tell(f"{'ok  ' if caught else 'FAIL'} {edit.file}: {edit.old!r} -> {edit.new!r}: {verdict}")
            failed += not caught
    _tell(f"{len(edits)} edits, {failed} failed")
    return int(failed > 0 or not edits)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
