"""The set-up script, with stand-ins on PATH for everything that it calls: no network, nothing installed."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from xnorflow.flows.cache import PROJECT

NEEDED = ["awk", "bash", "cat", "dirname", "env", "flock", "grep", "mkdir", "tail", "tee", "touch", "cp", "chmod"]

# Does as a Python that makes virtual environments would; `pip install` succeeds unless PIP_FAILS is set, or the locale
# has no letters but ASCII's.
PYTHON = """#!/bin/bash
PTH=.venv/lib/python3.11/site-packages/__editable__.xnorflow-1.pth
case "$*" in
    *"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *"-m pip install"*) echo "pip install ${*:6}" >> "$CALLS"
        [[ "$*" != *-e* ]] || { mkdir -p "${PTH%/*}" && echo "$PWD/src" > "$PTH"; }
        [[ -z $PIP_FAILS && $LC_ALL == *.UTF-8 ]] || { echo "ERROR: no index"; exit 1; } ;;
    -V) echo "Python 3.11.0" ;;
esac
"""
# Fails to install until the lists are fetched, as on a new machine; then the package is there.
APT = """#!/bin/bash
echo "apt-get $*" >> "$CALLS"
case "$1" in
    update) touch lists ;;
    install) [[ -f lists ]] || exit 100; cp "$BASH" "${0%/*}/${!#}" ;;
esac
"""


class Machine:
    """A project folder and a PATH with only what the test puts there."""

    def __init__(self, folder: Path) -> None:
        self.project, self.bin, self.calls = folder / "project", folder / "bin", folder / "calls"
        (self.project / "flows").mkdir(parents=True)
        shutil.copy(PROJECT / "flows" / "setup.sh", self.project / "flows")
        for name in ("requirements.lock", "requirements-numpy1.lock", "requirements-numpy2.lock", "pyproject.toml"):
            (self.project / name).touch()
        self.bin.mkdir()
        for name in NEEDED:
            (self.bin / name).symlink_to(shutil.which(name))  # type: ignore[arg-type]

    def add(self, name: str, text: str = "#!/bin/bash\n") -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def setup(self, *extras: Any, **environment: Any) -> Any:
        return subprocess.run(
            ["bash", "flows/setup.sh", *extras],
            cwd=self.project,
            env={"PATH": str(self.bin), "CALLS": str(self.calls)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def called(self) -> Any:
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def ready(self) -> Any:
        return (self.project / ".venv" / ".ready").exists()


@pytest.fixture
def machine(tmp_path: Path) -> Any:
    return Machine(tmp_path)


def test_a_complete_machine_gets_its_environment_once(machine: Machine) -> None:
    for name, text in (("python3.11", PYTHON), ("g++", ""), ("iverilog", "")):
        machine.add(name, text or "#!/bin/bash\n")
    done = machine.setup()
    assert (done.returncode, len(machine.called()), machine.ready()) == (0, 2, True), done.stderr
    assert machine.called()[1].endswith("-c requirements-numpy2.lock --no-build-isolation -e .[pnr]")
    done = machine.setup()
    assert (done.returncode, done.stdout, done.stderr, len(machine.called())) == (0, "", "", 2)
    os.utime(machine.project / "requirements.lock", (2**31, 2**31))  # the lock changed since
    machine.setup()
    assert len(machine.called()) == 4


def test_an_extra_is_installed_once_beside_those_of_before(machine: Machine) -> None:
    machine.add("python3.11", PYTHON)
    machine.setup("qonnx")
    assert machine.called()[-1].endswith("-e .[pnr,qonnx]")
    machine.setup("keras", "qonnx")
    assert machine.called()[-1].endswith("-c requirements-numpy1.lock --no-build-isolation -e .[pnr,qonnx,keras]")
    count = len(machine.called())
    machine.setup("keras")
    machine.setup()
    assert len(machine.called()) == count


def test_an_extra_that_could_not_be_installed_is_tried_again(machine: Machine) -> None:
    machine.add("python3.11", PYTHON)
    machine.setup()
    assert machine.setup("keras", PIP_FAILS="1").returncode == 1
    assert machine.setup("keras").returncode == 0
    assert "keras" in machine.called()[-1]


@pytest.mark.parametrize("name", ["a $x", "a:b", "{x}", "a\nb"])
def test_a_folder_that_python_cannot_install_in_is_told_before_anything_is_done(tmp_path: Path, name: str) -> None:
    machine = Machine(tmp_path)
    machine.add("python3.11", PYTHON)
    folder, link = tmp_path / name, tmp_path / "link"
    machine.project.rename(folder)
    link.symlink_to(folder)
    for machine.project in (folder, link):
        done = machine.setup()
        assert (done.returncode, machine.called(), machine.ready()) == (1, [], False)
        assert "Move the checkout to another folder" in done.stderr and str(tmp_path / name) in done.stderr


@pytest.mark.parametrize("name", ['it\'s "my" größe $;#% `id` \\n', "$(touch pwned)"])
def test_a_folder_of_any_other_name_will_do(tmp_path: Path, name: str) -> None:
    machine = Machine(tmp_path / name)
    machine.add("python3.11", PYTHON)
    done = machine.setup(LC_ALL="C")
    assert (done.returncode, machine.ready()) == (0, True), done.stderr
    assert not list(tmp_path.rglob("pwned"))
    (link,) = machine.project.rglob("*.pth")
    assert (link.parent / link.read_text().strip()).resolve() == (machine.project / "src").resolve()
    assert link.read_bytes().isascii()


def test_no_python_and_no_apt_is_told(machine: Machine) -> None:
    done = machine.setup()
    assert done.returncode == 1
    assert "no Python 3.10, 3.11 or 3.12" in done.stderr
    assert not machine.ready()


def test_a_python_that_cannot_make_environments_is_passed_over(machine: Machine) -> None:
    machine.add("python3.11", "#!/bin/bash\nexit 1\n")
    machine.add("python3.12", PYTHON)
    assert machine.setup().returncode == 0


def test_pip_failing_is_told_and_tried_again_next_time(machine: Machine) -> None:
    machine.add("python3.11", PYTHON)
    done = machine.setup(PIP_FAILS="1")
    assert done.returncode == 1
    assert "ERROR: no index" in done.stderr
    assert not machine.ready()
    machine.setup()
    assert machine.ready()


def test_missing_programs_without_apt_are_told_but_do_not_stop(machine: Machine) -> None:
    machine.add("python3.11", PYTHON)
    done = machine.setup()
    assert done.returncode == 0
    assert "g++ is missing" in done.stderr
    assert "iverilog is missing" in done.stderr
    assert "yosys is missing" in done.stderr
    assert "opensta is missing" in done.stderr
    assert "chromium" not in done.stderr  # for the tests alone
    assert "chromium is missing" in machine.setup("test").stderr
    assert machine.ready()


@pytest.mark.skipif(os.geteuid() != 0, reason="apt without sudo needs root")
def test_missing_programs_are_installed_and_the_lists_fetched_if_need_be(machine: Machine) -> None:
    machine.add("python3.11", PYTHON)
    machine.add("iverilog")
    machine.add("yosys")
    machine.add("sta")
    machine.add("clang++")
    machine.add("chromium")
    machine.add("apt-get", APT)
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert [call.split()[1] for call in machine.called()[2:]] == ["install", "update", "install"]
    assert all(call.endswith(" g++") for call in machine.called() if " install " in call and not call.startswith("pip"))
    assert "missing" not in done.stderr
