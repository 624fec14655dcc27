"""The Makefile: what the user gives reaches the program as it is, and is never run."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import mutants
from tests.narrowed import a

from xnorflow.bnn.errors import UserError
from xnorflow.cosim import bench
from xnorflow.flows import make
from xnorflow.flows.cache import PROJECT

# Stands in for the environment's Python: tells what it was called with, or does what the real one does.
PYTHON = """#!{python}
import json, os, sys
given = {{name: os.environ[name] for name in os.environ.get("XNORFLOW_GIVEN", "").split()}}
open("called", "a").write(json.dumps([sys.argv[1:], given]) + "\\n")
if "REALLY" in os.environ:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


@pytest.fixture
def called(tmp_path: Path) -> Any:
    """Give a function that runs make in a copy of the project that is set up, and returns how it ended."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "flows/setup.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((PROJECT / name).read_bytes())
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    (tmp_path / ".venv" / ".ready").touch()

    def run(*words: Any, **environ: Any) -> Any:
        path = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT / "src")}
        done = subprocess.run(["make", *words], cwd=tmp_path, env=path | environ, capture_output=True, text=True)
        log = tmp_path / "called"
        calls = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
        log.unlink(missing_ok=True)
        return done, calls

    return run


HOSTILE = [
    "x'; touch hit; '",
    "$(shell touch hit)",
    "$(touch hit)",
    "`touch hit`",
    "${shell touch hit}",
    "a$b.onnx",
    "a$$b.onnx",
    'a "b" \\ c#d;e|f&g',
    "my models/größe 8.h5",
    "-h",
    "--help",
    "$(error hit)",
    "\\$(shell touch hit)",
    "a\nb",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_arrives_as_it_was_given_and_is_never_run(called: Any, tmp_path: Path, value: str) -> None:
    done, calls = called("flow", f"MODEL={value}", f"OUT={value}")
    assert calls == [[["-m", "xnorflow.flows.make", "flow"], {"MODEL": value, "OUT": value}]], done.stderr
    assert make.arguments("flow", {"MODEL": value, "OUT": value}) == ["run", f"--out={value}", "--", value]
    assert not (tmp_path / "hit").exists()


@pytest.mark.parametrize("name", ["FOO", "PYTHON", "RUN", "READY", "SHELL", "XNORFLOW_GIVEN", "STRANGE"])
@pytest.mark.parametrize("target", ["flow", "clean", "help"])
def test_a_variable_of_no_target_is_never_run_either(called: Any, tmp_path: Path, target: str, name: str) -> None:
    done, _ = called(target, f"{name}=touch hit; $(shell touch hit)", REALLY="1")
    assert done.returncode == 2
    assert name in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "hit").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flow", "MODEL=digits_bnn", "VECTOR=5"], "takes no variable VECTOR. Do you mean VECTORS?"),
        (["flow", "MODEL=digits_bnn", "max_luts=5"], "Do you mean MAX_LUTS?"),
        (["flow", "MODEL=digits_bnn", "EPOCHS=5"], "make flow takes no variable EPOCHS."),
        (["train", "MODEL=digits_bnn", "VECTORS=5"], "make train takes no variable VECTORS."),
        (["report", "OUT=x"], "It takes: none"),
        (["test", "MODEL=digits_bnn"], "test takes no variables, got MODEL"),
        (["VECTORS=5"], "takes no variables, got VECTORS"),
        (["flow", "MODEL=digits_bnn", "FORCE=yes"], "FORCE is 1 or 0, got 'yes'"),
        (["flow"], "say which model, for example: make flow MODEL=digits_bnn"),
        (["train"], "make train MODEL=digits_bnn"),
        (["flow", "digits_bnn"], "make flow MODEL=digits_bnn"),
        (["digits_bnn"], "make flow MODEL=digits_bnn"),
        (["flow", "$(shell touch hit)"], "no target"),
    ],
)
def test_what_make_does_not_take_is_told_before_anything_is_done(
    called: Any, tmp_path: Path, words: list[str], message: str
) -> None:
    before = set(tmp_path.rglob("*"))
    done, _ = called(*words, REALLY="1")
    assert (done.returncode, message in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
    assert set(tmp_path.rglob("*")) == before


def test_the_options_are_those_of_the_command() -> None:
    from typer.core import TyperGroup
    from typer.main import get_command

    from xnorflow.flows.cli import app

    commands = a(TyperGroup, get_command(app)).commands
    for command, taken in make.TARGETS.values():
        options = {option for parameter in commands[command].params for option in parameter.opts}
        for name in taken:
            assert name == "MODEL" or "--" + name.lower().replace("_", "-") in options


def test_the_help_names_every_variable() -> None:
    taken = {target: variables for target, (_, variables) in make.TARGETS.items()} | {
        "mutants": mutants.VARIABLES,
        "bench": bench.VARIABLES,
    }
    for target, text in re.findall(r"^([a-z]+):[^#]*## (.*)", (PROJECT / "Makefile").read_text(), re.M):
        named = set(re.findall(r"\b([A-Z_]+)=", text))
        assert named == set(taken.get(target, ())), target


def test_a_switch_is_on_or_off() -> None:
    assert make.arguments("flow", {"MODEL": "m", "WAVES": "1", "FORCE": "0"}) == ["run", "--waves", "--", "m"]
    assert make.arguments("flow", {"MODEL": "m", "OUT": ""}) == ["run", "--", "m"]
    with pytest.raises(UserError, match="WAVES is 1 or 0"):
        make.arguments("flow", {"MODEL": "m", "WAVES": "on"})
