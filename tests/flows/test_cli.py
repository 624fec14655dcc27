import subprocess
import sys

import pytest

from flows.cache import PROJECT
from models.zoo import ZOO


def flows(*arguments, folder=PROJECT):
    return subprocess.run(
        [sys.executable, "-m", "flows", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_list_shows_every_model():
    done = flows("list")
    assert done.returncode == 0
    for name in ZOO:
        assert name in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "mnist_bnm"], "unknown model 'mnist_bnm'"),
        (["run", "pyproject.toml"], "pyproject.toml"),
        (["run", "digits_bnn", "--vectors", "0"], "expected a number of at least 1, or 'all'"),
        (["run", "digits_bnn", "--vectors", "many"], "expected a number of at least 1, or 'all'"),
        (["run", "digits_bnn", "--backend", "quartus"], "quartus"),
        (["run", "digits_bnn", "--config", "no/such.toml"], "no/such.toml: cannot be read"),
        (["run", "mnist_bnn", "--data", "no/such/folder"], "no/such/folder"),
        (["run"], "Missing argument"),
        (["rum"], "rum"),
    ],
)
def test_what_the_user_can_mend_is_told_without_a_traceback_and_exits_with_2(arguments, message):
    done = flows(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_starts_without_heavy_imports():
    heavy = ("torch", "tensorflow", "hls4ml", "numba", "matplotlib", "scipy", "sklearn")
    code = f"import sys, flows.cli, flows.run; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
