import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import ValidationError
from tests.narrowed import there
from typing_extensions import TypedDict

from xnorflow.flows import cache
from xnorflow.flows.cache import MEASURED, PROJECT, Store
from xnorflow.flows.graph import Name, Step
from xnorflow.flows.take import line


class Facts(TypedDict):
    number: int
    seconds: Annotated[float, MEASURED]


def fill(store: Any, key: Any = "k" * 64, text: str = "content") -> Any:
    with store.making("step", key, Facts) as entry:
        (entry.folder / "file").write_text(text)
        entry.facts, entry.summary = {"number": 1, "seconds": 2.5}, "a line"
    return entry


def test_an_entry_is_found_as_it_was_made(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find("step", "k" * 64, Facts) is None
    made = fill(store)
    found = there(store.find("step", "k" * 64, Facts))
    assert not made.reused
    assert found.reused
    assert (found.facts, found.summary, found.seconds) == ({"number": 1, "seconds": 2.5}, "a line", made.seconds)
    assert (found.folder / "file").read_text() == "content"


def edit(path: Path, old: Any, new: Any) -> None:
    """Change a file so that its size and times do not tell."""
    state = path.stat()
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size


def test_another_key_is_not_found_even_if_its_folder_has_the_same_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, "k" * 16 + "a" * 48)
    assert store.find("step", "k" * 16 + "b" * 48, Facts) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "file").write_text("CONTENT"),
        lambda folder: (folder / "file").write_text("cont"),
        lambda folder: (folder / "file").unlink(),
        lambda folder: (folder / "entry.json").unlink(),
        lambda folder: (folder / "entry.json").write_text("{"),
        lambda folder: (folder / "entry.json").write_text("[]"),
        lambda folder: (folder / "entry.json").write_text("{}"),
        lambda folder: edit(folder / "file", "content", "c0ntent"),
        lambda folder: edit(folder / "entry.json", '"number": 1', '"number": 2'),
        lambda folder: edit(folder / "entry.json", "a line", "a 1ine"),
        lambda folder: (folder / "more").write_text("gained"),
        lambda folder: (folder / "more").symlink_to("nowhere"),
        lambda folder: (folder / "file").rename(folder / "other"),
        lambda folder: (folder / "file").unlink() or (folder / "file").symlink_to(folder / "entry.json"),
    ],
)
def test_a_damaged_entry_is_not_taken(tmp_path: Path, damage: Callable[..., Any]) -> None:
    store = Store(tmp_path)
    damage(fill(store).folder)
    assert store.find("step", "k" * 64, Facts) is None
    fill(store)
    assert store.find("step", "k" * 64, Facts)


def test_what_somebody_has_put_into_an_entry_is_never_lost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in (1, 2):
        (fill(store).folder / "log").write_text(f"what a tool wrote when the user opened the project, {number}")
    for number in range(10):
        os.utime(fill(store, f"{number:064}"[::-1]).folder, (number, number))
    logs = sorted(path.read_text()[-1] for path in tmp_path.rglob("log"))
    assert logs == ["1", "2"]
    assert fill(store).facts == there(store.find("step", "k" * 64, Facts)).facts


def test_what_somebody_has_worked_in_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = fill(store).folder
    assert not cache.kept(folder)
    (folder / "notes").write_text("mine")
    assert cache.kept(folder)
    fill(store)
    (aside,) = (path for path in folder.parent.iterdir() if path != folder)
    assert cache.kept(aside) and not cache.kept(folder)


def test_a_digest_tells_values_apart_and_not_their_order() -> None:
    assert cache.digest({"a": 1, "b": {"c": 2, "d": 3}}) == cache.digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert cache.digest({"a": 1, "b": 2}) != cache.digest({"a": 2, "b": 1})
    assert cache.digest(["a", "b"]) != cache.digest(["b", "a"])


@dataclass(frozen=True)
class Place:
    row: int


class Manifold(TypedDict):
    of: dict[str, float | None]
    list: list[str | float]
    place: Place


def test_facts_are_found_as_they_were_made(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.making("step", "k" * 64, Manifold) as entry:
        entry.facts = {"of": {"10": 1.5, "9": None}, "list": ["ü", float("inf")], "place": Place(3)}
    assert entry.facts == there(store.find("step", "k" * 64, Manifold)).facts
    assert entry.facts == {"of": {"10": 1.5, "9": None}, "list": ["ü", float("inf")], "place": Place(3)}


class Other(TypedDict):
    number: str


def test_facts_that_do_not_fit_are_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not fill(store).damaged
    assert store.find("step", "k" * 64, Other) is None
    with store.making("step", "k" * 64, Other) as entry:
        entry.facts = {"number": "one"}
    assert entry.damaged
    assert "made again" in line(Step(Name("step", Other), "step", print), entry)
    assert there(store.find("step", "k" * 64, Other)).facts == {"number": "one"}


def test_a_step_cannot_make_facts_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="number"), Store(tmp_path).making("step", "k" * 64, Facts) as entry:
        entry.facts = {"seconds": 1.0}  # type: ignore[typeddict-item]
    assert Store(tmp_path).find("step", "k" * 64, Facts) is None


def test_what_is_measured_makes_no_other_content(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = fill(store)
    found = there(store.find("step", "k" * 64, Facts))
    assert made.content == found.content

    def content(**facts: Any) -> str:
        with store.making("step", "k" * 64, Facts) as entry:
            (entry.folder / "file").write_text("content")
            entry.facts = {**entry.facts, **facts}  # type: ignore[typeddict-item]
        return entry.content

    assert content(number=1, seconds=3.5) == made.content
    assert content(number=2, seconds=2.5) != made.content


def test_a_step_that_fails_leaves_its_files_but_no_entry(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.making("step", "k" * 64, Facts) as entry:
        (entry.folder / "file").write_text("half")
        raise RuntimeError
    assert (entry.folder / "file").read_text() == "half"
    assert store.find("step", "k" * 64, Facts) is None


def test_a_killed_process_leaves_no_entry(tmp_path: Path) -> None:
    code = f"""
import os, pathlib
from xnorflow.flows.cache import Store
with Store(pathlib.Path({str(tmp_path)!r})).making("step", "{"k" * 64}", dict) as entry:
    (entry.folder / "file").write_text("half")
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 9
    assert (tmp_path / "step" / ("k" * 16) / "file").exists()
    assert Store(tmp_path).find("step", "k" * 64, Facts) is None


def test_making_an_entry_again_starts_from_an_empty_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (fill(store).folder / "left over").write_text("")
    with store.making("step", "k" * 64, dict) as entry:
        assert not any(entry.folder.iterdir())


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write(tmp_path / "file", "first")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        cache.write(tmp_path / "file", "second")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "first"


def test_a_missing_tool_has_a_version_too() -> None:
    assert cache.tool_versions(("numpy", "no-such-package"), ("no-such-program",)) == {
        "numpy": version("numpy"),
        "no-such-package": "missing",
        "no-such-program": "missing",
    }


def test_a_program_may_tell_its_version_on_standard_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd").write_text("#!/bin/sh\necho odd 1.2 >&2\n")
    (tmp_path / "odd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert cache.tool_versions((), ("odd",)) == {"odd": "odd 1.2"}
