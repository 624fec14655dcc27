"""The cache keeps to a size, and never takes away what is in use or somebody's own."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from xnorflow.bnn.errors import UserError
from xnorflow.flows import cli, locks, tidy
from xnorflow.flows.cache import Store
from xnorflow.flows.places import claimed, lock_of

NOW = time.time()


def key(number: Any) -> Any:
    return f"{number:x}" * 64


@pytest.fixture
def build(tmp_path: Path) -> Any:
    """Two models with an entry of 1,000 bytes for each of three steps, last used 1 to 6 hours ago."""
    for number in range(6):
        root = tmp_path / "build" / f"model{number % 2}"
        with claimed(root, Console(quiet=True)), Store(root).making(f"step{number // 2}", key(number), dict) as entry:
            (entry.folder / "file").write_bytes(b"x" * 1000)
        os.utime(entry.folder, (NOW - 3600 * (6 - number),) * 2)
    return tmp_path / "build"


def left(build: Any) -> Any:
    return {
        number
        for number in range(6)
        if Store(build / f"model{number % 2}").find(f"step{number // 2}", key(number), dict)
    }


def test_what_was_not_used_for_longest_goes(build: Any) -> None:
    sizes = {entry.bytes for entry in tidy.held(build)}
    assert len(tidy.held(build)) == 6 and min(sizes) > 1000
    assert tidy.prune(build, 4 * max(sizes), NOW) <= 4 * max(sizes)
    assert left(build) == {2, 3, 4, 5}


def test_what_this_flow_has_used_stays(build: Any) -> None:
    tidy.prune(build, 0, NOW - 3600 * 2.5)
    assert left(build) == {4, 5}


def test_a_model_in_use_stays(build: Any) -> None:
    with locks.held(lock_of(build / "model1"), lambda _: pytest.fail("is free"), shared=True):
        tidy.prune(build, 0, NOW)
    assert left(build) == {1, 3, 5}


def test_what_somebody_has_worked_in_stays(build: Any) -> None:
    (entry,) = (build / "model0" / "step1").iterdir()
    (entry / "notes").write_text("mine")
    os.utime(entry, (NOW - 10**6,) * 2)
    tidy.prune(build, 0, NOW)
    assert [path.read_text() for path in build.rglob("notes")] == ["mine"] and left(build) == set()


def test_a_folder_that_is_no_flows_stays(build: Any) -> None:
    (build / "mine" / "step" / "entry").mkdir(parents=True)
    tidy.prune(build, 0, NOW)
    assert (build / "mine" / "step" / "entry").is_dir()


@pytest.mark.parametrize("text", ["-1", "many", "nan", "1e999"])
def test_a_bad_limit_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(tidy.VARIABLE, text)
    with pytest.raises(UserError, match="XNORFLOW_CACHE_GB: expected a number of GB"):
        tidy.limit()


def test_the_command_shows_and_prunes(
    build: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(build.parent)

    def said(*arguments: Any) -> Any:
        with pytest.raises(SystemExit) as ended:
            cli.main(["cache", *arguments])
        assert ended.value.code == 0
        return capsys.readouterr().out

    assert "model1" in said() and "step2" in said() and "0.00 GB of at most 20" in said()
    assert "removed: 0.00 GB" in said("--keep", "0") and left(build) == set()
