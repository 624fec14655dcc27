"""Mutation testing by mutmut: would the tests notice if a line of the code were wrong?

``make mutants`` mutates the code that results and verdicts rest on, package by package, and runs for each mutant those
fast tests that reach the changed function: the fastest first, and of them half a minute's. A mutant that no test
notices survives, and is shown. A package has thousands of mutants, each of which costs seconds: SHARE of them are
drawn, as SEED has it, and the score is told with its confidence interval. FILES=bnn/folding.py,... takes files of your
choice, SHARE=0 all of their mutants.

``tests/mutants.toml`` tells of survivors that have been looked at which nothing could tell from the original, and why.
They do not count.

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
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

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
    marks : str
        Those of the tests that are run: slow ones alone compile C++.
    """

    files: tuple[str, ...]
    tests: tuple[str, ...]
    marks: str = "not slow"

    def sources(self) -> set[Path]:
        """Return the files."""
        found = {path for pattern in self.files for path in PROJECT.glob(pattern)}
        return {path for path in found if path.name not in LEFT_OUT}


PARTS = {
    "bnn": Part(("bnn/*.py",), ("tests/bnn/test_*.py", "tests/cosim/test_golden.py", "tests/test_walkers.py")),
    "bnn/frontends": Part(("bnn/frontends/**/*.py",), ("tests/bnn/frontends",)),
    "cosim": Part(("cosim/*.py",), ("tests/cosim",)),
    "cosim/coverage": Part(("cosim/coverage/*.py",), ("tests/cosim/test_coverage.py",)),
    "hls": Part(("hls/*.py",), ("tests/hls/test_*.py", "tests/cosim/test_csim.py"), "not exhaustive"),
    "hls/rtl": Part(("hls/rtl/*.py",), ("tests/hls/rtl", "tests/cosim/test_rtl_cxxrtl.py")),
    "hls/vendor": Part(("hls/vendor/*.py",), ("tests/hls/vendor",)),
    "hls/synthesis": Part(("hls/synthesis/*.py",), ("tests/hls/synthesis",)),
    "flows": Part(
        ("flows/cache.py", "flows/regress.py", "flows/document.py", "flows/mismatch.py"),
        tuple(f"tests/flows/test_{name}.py" for name in ("cache", "places", "tidy", "regress", "flow", "mismatch")),
    ),
}
LEFT_OUT = ("bench.py", "bench_cases.py", "bench_limits.py", "__init__.py")  # measure, or have no code
SHARE = 200  # mutants drawn of each part: at a score of 95 %, an interval of ± 3 %
SEED = 0
LIMIT_S = 30.0  # of tests for a mutant
VARIABLES = ("FILES", "SHARE", "SEED")
LEAST = 0.95  # of the mutants must be noticed

_NOTICED = ("killed", "timeout", "segfault", "suspicious")  # mutmut's words; a mutant that crashes is noticed, too


class Change(NamedTuple):
    """What a mutant changes: lines of a file, and what they become."""

    file: str
    was: str
    now: str


def equivalent() -> dict[Change, str]:
    """Return the changes that nothing could notice, and why."""
    told = tomllib.loads((PROJECT / "tests" / "mutants.toml").read_text())
    return {Change(file, its["was"], its["now"]): its["why"] for file, those in told.items() for its in those}


def main() -> None:
    """Mutate the parts that were asked for, print their scores and survivors, and exit with 1 where one is too low."""
    if unknown := set(os.environ.get("XNORFLOW_GIVEN", "").split()) - set(VARIABLES):
        sys.exit(f"error: make mutants takes no variable {min(unknown)}; it takes {', '.join(VARIABLES)}")
    share, seed = (_number(name, default) for name, default in (("SHARE", SHARE), ("SEED", SEED)))
    files = {name for name in os.environ.get("FILES", "").split(",") if name}
    known = {str(path.relative_to(PROJECT)) for part in PARTS.values() for path in part.sources()}
    if unknown := files - known:
        sys.exit(f"error: {min(unknown)} is none of the files that are mutated: {', '.join(sorted(known))}")
    low = False
    for name, part in PARTS.items():
        chosen = sorted(str(path.relative_to(PROJECT)) for path in part.sources())
        chosen = [file for file in chosen if not files or file in files]
        if chosen:
            low |= _mutate(name, part, chosen, share, seed) < LEAST
    sys.exit(low)


def _number(name: str, default: int) -> int:
    given = os.environ.get(name, str(default))
    if not given.isdecimal():
        sys.exit(f"error: {name} must be a whole number from 0 on, got {given!r}")
    return int(given)


def _mutate(name: str, part: Part, files: list[str], share: int, seed: int) -> float:
    """Mutate the files of a part, print what the tests noticed, and return the score."""
    folder = FOLDER / name.replace("/", "_")
    _prepare(folder, part, files)
    judge = [sys.executable, __file__, "judge", f"{seed} {name}", str(share)]
    with (folder / "mutmut.log").open("ab") as log:
        if subprocess.run(judge, cwd=folder, stdout=log, stderr=log, check=False).returncode:
            sys.exit(f"mutmut has failed, or a test without any mutant; what it said: {log.name}")
    count, told = Counter[str](), equivalent()
    survivors = []
    for file in files:
        for mutant, status in _statuses(folder, file).items():
            count["mutants"] += 1
            if status == "not checked":
                continue
            change = Change("", "", "") if status in _NOTICED else _change(folder, file, mutant)
            count["noticed" if status in _NOTICED else "equivalent" if change in told else "missed"] += 1
            if status not in _NOTICED and change not in told:
                survivors.append((status, mutant, change))
    judged = count["noticed"] + count["missed"]
    score = count["noticed"] / max(judged, 1)
    low, high = _interval(count["noticed"], judged)
    _tell(f"{name}: {count['noticed']} of {judged} mutants noticed, {score:.1%} ({low:.1%} to {high:.1%})")
    _tell(f"  drawn of {count['mutants']}, besides {count['equivalent']} that nothing could notice")
    for status, mutant, change in survivors:
        _tell(f"  {status}: {mutant}")
        _tell("".join(f"    -{line}\n" for line in change.was.splitlines()), end="")
        _tell("".join(f"    +{line}\n" for line in change.now.splitlines()), end="")
    return score


def _judge(seed: str, share: int) -> None:
    """Let mutmut judge mutants that are drawn when it has made all, in the folder that it works in.

    Its command can only be told their names, which needs a run before, and after it all tests once more. Here what the
    tests have loaded and compiled while it learned which of them reach which function is there for all mutants.
    """
    import mutmut.__main__ as mutmut
    from mutmut.state import state
    from mutmut.workers.isolation import ForkRunner

    os.environ["PYTHONPATH"] = os.pathsep.join(str(Path("mutants", of).absolute()) for of in ("src", ""))  # of children
    collect = mutmut.collect_source_file_mutation_data

    def draw(mutant_names: Any) -> Any:
        mutants, files = collect(mutant_names=mutant_names)
        mutants.sort(key=lambda mutant: mutant[1])
        tests, seconds = state().tests_by_mangled_function_name, state().duration_by_test
        for function, reach in tests.items():  # the fastest that take so long together
            total, kept = 0.0, set[str]()
            for test in sorted(reach, key=seconds.__getitem__):
                total += seconds[test]
                if total < LIMIT_S or not kept:
                    kept.add(test)
            tests[function] = kept
        return random.Random(seed).sample(mutants, share) if 0 < share < len(mutants) else mutants, files

    mutmut.collect_source_file_mutation_data = draw
    learn = ForkRunner.collect_stats

    def learn_here(self: Any, tests: Any) -> Any:
        os.environ.pop("MUTANT_UNDER_TEST")  # of this process alone: what tests start could not tell it
        return learn(self, tests)

    ForkRunner.collect_stats = learn_here
    ForkRunner.run_clean_tests = lambda self, tests: 0  # they have just run
    mutmut.cli(["run"])


def _interval(hits: int, count: int) -> tuple[float, float]:
    """Return Wilson's interval at 95 % of a share."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, hits / count
    middle, half = share + z**2 / (2 * count), z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return (middle - half) / (1 + z**2 / count), (middle + half) / (1 + z**2 / count)


def _prepare(folder: Path, part: Part, files: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(PROJECT / "src", folder / "src", symlinks=False, ignore=leave)
    shutil.copytree(PROJECT / "tests", folder / "tests", ignore=leave)
    text = (PROJECT / "pyproject.toml").read_text()
    settings = {
        "source_paths": ["src"],
        "only_mutate": [f"src/xnorflow/{file}" for file in files],
        "pytest_add_cli_args": ["-m", part.marks, "-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": [
            str(path.relative_to(PROJECT)) for test in part.tests for path in sorted(PROJECT.glob(test))
        ],
    }
    table = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    table += "track_dependencies = false\nuse_git_change_detection = false\n"
    (folder / "pyproject.toml").write_text(f"{text}\n[tool.mutmut]\n{table}")


def _statuses(folder: Path, file: str) -> dict[str, str]:
    """Return what mutmut has recorded of a file's mutants: their status, in its words, by their names."""
    from mutmut.stats import status_by_exit_code

    path = folder / "mutants" / "src" / "xnorflow" / f"{file}.meta"
    if not path.is_file():
        sys.exit(f"mutmut has made no mutants of {file}; what it said: {folder / 'mutmut.log'}")
    codes: dict[str, int | None] = json.loads(path.read_text())["exit_code_by_key"]
    return {mutant: status_by_exit_code[code] for mutant, code in codes.items()}


def _change(folder: Path, file: str, mutant: str) -> Change:
    """Ask mutmut what a mutant changes."""
    command = [sys.executable, "-m", "mutmut", "show", mutant]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()
    was, now = (
        "\n".join(line[1:].strip() for line in shown if line.startswith(sign) and not line.startswith(3 * sign))
        for sign in "-+"
    )
    return Change(file, was, now)


def _tell(line: str, end: str = "\n") -> None:
    sys.stdout.write(line + end)
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["judge"]:
        _judge(sys.argv[2], int(sys.argv[3]))
    else:
        main()
