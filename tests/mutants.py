"""Mutation testing by mutmut: would the tests notice if a line of the code were wrong?

``make mutants`` mutates the code that results and verdicts rest on, package by package, and runs for each mutant those
fast tests that reach the changed function. A mutant that no test notices survives. A package has thousands of mutants,
each of which costs seconds: of each file a share is drawn, at random but always the same, and the score is told with
its confidence interval. FILES=bnn/folding.py,... takes files of your choice, SHARE=0 all of their mutants.

mutmut names a mutant by its file's path and looks for it by its module's name, and does not follow links. So it works
in a copy of the sources, ``build/mutants/``, in which the packages lie where their modules' names say.
"""

import json
import math
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / "build" / "mutants"


@dataclass(frozen=True)
class Part:
    """Files that are mutated together, and the tests that are to notice.

    Attributes
    ----------
    files : tuple of str
        Glob patterns, relative to the project.
    tests : tuple of str
        Files or folders of tests.
    """

    files: tuple[str, ...]
    tests: tuple[str, ...]

    def sources(self) -> set[Path]:
        """Return the files."""
        found = {path for pattern in self.files for path in PROJECT.glob(pattern)}
        return {path for path in found if path.name not in LEFT_OUT}


PARTS = {
    "bnn": Part(("bnn/*.py",), ("tests/bnn", "tests/cosim/test_golden.py")),
    "bnn/frontends": Part(("bnn/frontends/**/*.py",), ("tests/bnn/frontends",)),
    "cosim": Part(("cosim/*.py",), ("tests/cosim",)),
    "hls": Part(("hls/*.py",), ("tests/hls/test_*.py",)),
    "hls/rtl": Part(("hls/rtl/*.py",), ("tests/hls/rtl", "tests/cosim/test_rtl_cxxrtl.py")),
    "hls/vendor": Part(("hls/vendor/*.py",), ("tests/hls/vendor",)),
    "hls/synthesis": Part(("hls/synthesis/*.py",), ("tests/hls/synthesis",)),
    "flows": Part(
        ("flows/cache.py", "flows/regress.py", "flows/document.py", "flows/mismatch.py"),
        tuple(f"tests/flows/test_{name}.py" for name in ("cache", "regress", "flow", "mismatch")),
    ),
}
LEFT_OUT = ("bench.py", "__init__.py")  # measure, or have no code
SHARE = 40  # mutants drawn of each file
SEED = 0
VARIABLES = ("FILES", "SHARE")
LEAST = 0.95  # of the mutants must be noticed

_NOTICED = ("killed", "timeout", "segfault", "suspicious")  # mutmut's words; a mutant that crashes is noticed, too


def main() -> None:
    """Mutate the parts that were asked for, print their scores and survivors, and exit with 1 where one is too low."""
    if unknown := set(os.environ.get("XNORFLOW_GIVEN", "").split()) - set(VARIABLES):
        sys.exit(f"error: make mutants takes no variable {min(unknown)}; it takes {' and '.join(VARIABLES)}")
    share = os.environ.get("SHARE", str(SHARE))
    if not share.isdecimal():
        sys.exit(f"error: SHARE must be a number of mutants, or 0 for all, got {share!r}")
    files = {name for name in os.environ.get("FILES", "").split(",") if name}
    known = {str(path.relative_to(PROJECT)) for part in PARTS.values() for path in part.sources()}
    if unknown := files - known:
        sys.exit(f"error: {min(unknown)} is none of the files that are mutated: {', '.join(sorted(known))}")
    low = False
    for name, part in PARTS.items():
        chosen = sorted(str(path.relative_to(PROJECT)) for path in part.sources())
        chosen = [file for file in chosen if not files or file in files]
        if chosen:
            low |= _mutate(name, part, chosen, int(share)) < LEAST
    sys.exit(low)


def _mutate(name: str, part: Part, files: list[str], share: int) -> float:
    """Mutate the files of a part, print what the tests noticed, and return the score."""
    _prepare(part, files)
    _mutmut("xnorflow.none")  # makes the mutants and learns which tests reach which function; runs none
    drawn = []
    for file in files:
        names = sorted(_meta(file))
        drawn += random.Random(f"{SEED} {file}").sample(names, share) if 0 < share < len(names) else names
    _mutmut(*drawn)
    results = {mutant: status for file in files for mutant, status in _meta(file).items() if mutant in set(drawn)}
    count = Counter("noticed" if status in _NOTICED else status for status in results.values())
    score = count["noticed"] / max(len(results), 1)
    half = 1.96 * math.sqrt(score * (1 - score) / max(len(results), 1))  # normal approximation, 95 %
    print(  # noqa: T201
        f"{name}: {count['noticed']} of {len(results)} mutants noticed, {score:.1%} ± {half:.1%}"
    )
    for mutant, status in sorted(results.items()):
        if status not in _NOTICED:
            print(f"  {status}: {mutant}")  # noqa: T201
    return score


def _prepare(part: Part, files: list[str]) -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(PROJECT / "src", FOLDER / "src", symlinks=False, ignore=leave)
    shutil.copytree(PROJECT / "tests", FOLDER / "tests", ignore=leave)
    text = (PROJECT / "pyproject.toml").read_text()
    settings = {
        "source_paths": ["src"],
        "only_mutate": [f"src/xnorflow/{file}" for file in files],
        "pytest_add_cli_args": ["-m", "not slow", "-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": [
            str(path.relative_to(PROJECT)) for test in part.tests for path in sorted(PROJECT.glob(test))
        ],
    }
    table = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    table += "track_dependencies = false\nuse_git_change_detection = false\n"
    (FOLDER / "pyproject.toml").write_text(f"{text}\n[tool.mutmut]\n{table}")


def _mutmut(*mutants: str) -> None:
    """Let mutmut run these mutants; its own display goes to a log."""
    with (FOLDER / "mutmut.log").open("ab") as log:
        subprocess.run(
            [sys.executable, "-m", "mutmut", "run", *mutants], cwd=FOLDER, stdout=log, stderr=log, check=False
        )


def _meta(file: str) -> dict[str, str]:
    """Return what mutmut has recorded of a file's mutants: their status, in its words, by their names."""
    from mutmut.stats import status_by_exit_code

    path = FOLDER / "mutants" / "src" / "xnorflow" / f"{file}.meta"
    if not path.is_file():
        sys.exit(f"mutmut has made no mutants of {file}; what it said: {FOLDER / 'mutmut.log'}")
    codes: dict[str, int | None] = json.loads(path.read_text())["exit_code_by_key"]
    return {mutant: status_by_exit_code[code] for mutant, code in codes.items()}


if __name__ == "__main__":
    main()
