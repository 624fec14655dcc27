"""Where flows write: nothing of somebody else's is overwritten or removed, and a report is published whole or not."""

import errno
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.flows import fakes
from tests.flows.place import Place

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.io import save
from xnorflow.flows import places

NAMES = ["my models", "a b ../x", "-rf", "$(touch hit)", "'; touch hit; '", 'q"uote', "ü", "*", "new\nline", ".hidden"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


def tree(folder: Path) -> Any:
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def clean() -> Any:
    console = Console(file=io.StringIO(), record=True, width=500)
    places.clean(console)
    return console.export_text()


def publish(folder: Path, made: Any, text: str = "a report") -> Any:
    made.mkdir(exist_ok=True)
    for name in places.PUBLISHED:
        (made / name).write_text(text)
    return places.publish(folder, made, {})


OUTS = {
    "a file": lambda out: out.write_text("mine"),
    "under a file": lambda out: out.parent.rmdir() or out.parent.write_text("mine"),
    "the null device": lambda out: out.symlink_to(os.devnull),
    "a link to nowhere": lambda out: out.symlink_to("nowhere"),
    "a loop": lambda out: out.symlink_to(out),
    "somebody's folder": lambda out: out.mkdir() or (out / "report.md").write_text("mine"),
    "somebody's project": lambda out: (out / "first").mkdir(parents=True) or (out / "first" / "x").write_text("mine"),
    "a foreign mark": lambda out: [out.mkdir(), (out / places.MARK).write_text("{}"), (out / "x").write_text("mine")],
}


@pytest.mark.parametrize("kind", OUTS)
def test_an_out_that_no_flow_may_take_is_told_before_anything_is_done(place: Place, kind: str) -> None:
    out = place.folder / "to" / "out"
    out.parent.mkdir()
    OUTS[kind](out)
    before = tree(place.folder)
    with pytest.raises(UserError, match="choose another OUT"):
        place.flow(out=out)
    assert tree(place.folder) == before


@pytest.mark.parametrize("out", ["x" * 300, "a/" * 3000, "/proc/nowhere/x", "/dev/null/x", "."])
def test_an_out_that_cannot_be_is_told(place: Place, out: str) -> None:
    before = tree(place.folder)
    with pytest.raises(UserError, match="choose another OUT"):
        place.flow(out=Path(out))
    assert tree(place.folder) == before


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_an_out_that_cannot_be_written_to_is_told(place: Place, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(UserError, match=os.strerror(number)):
        place.flow(out=place.folder / "out")
    assert not (place.folder / "build").exists()


@pytest.mark.parametrize(
    ("name", "message"), [("baselines", "has the models' baselines"), ("templates", "no flow has put there")]
)
def test_a_model_of_a_reserved_name_does_not_write_into_what_is_there(place: Place, name: str, message: str) -> None:
    (place.folder / "reports" / name).mkdir(parents=True)
    (place.folder / "reports" / name / "digits_bnn.json").write_text("{}")
    save(fakes.network(), place.folder / f"{name}.safetensors")
    before = tree(place.folder)
    with pytest.raises(UserError, match=message):
        place.flow(model=place.folder / f"{name}.safetensors")
    assert tree(place.folder) == before


def test_somebodys_build_folder_is_no_cache(place: Place) -> None:
    (place.folder / "build" / "small").mkdir(parents=True)
    (place.folder / "build" / "small" / "mine").write_text("")
    with pytest.raises(UserError, match="move it away"):
        place.flow()


def test_a_report_that_cannot_be_published_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "reports" / "small"
    publish(target, tmp_path / "made", "the old")
    before = tree(target)
    copy = shutil.copyfile
    left = [2]

    def full(source: Any, into: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(into))
        return copy(source, into)

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        publish(target, tmp_path / "made", "the new")
    assert tree(target) == before
    monkeypatch.setattr(shutil, "copyfile", copy)
    publish(target, tmp_path / "made", "the new")
    assert {(target / name).read_text() for name in places.PUBLISHED} == {"the new"}


def test_a_copy_in_which_somebody_has_worked_is_set_aside(tmp_path: Path) -> None:
    project, other, target = tmp_path / "one", tmp_path / "other", tmp_path / "out"
    for folder in (project, other):
        folder.mkdir()
        (folder / "program").write_text(folder.name)
    publish(target, tmp_path / "made")
    places.publish(target, tmp_path / "made", {"first": project})
    (target / "first" / "notes").write_text("mine")
    places.publish(target, tmp_path / "made", {"first": other})
    places.publish(target, tmp_path / "made", {"first": project})  # untouched: replaced
    assert (target / "first" / "program").read_text() == "one"
    assert [path.name for path in target.glob("first.*")] == ["first.set_aside1"]
    assert (target / "first.set_aside1" / "notes").read_text() == "mine"


def test_cleaning_removes_all_of_a_flows_and_nothing_else(place: Place) -> None:
    for name in NAMES:
        (place.folder / "reports" / name).mkdir(parents=True)
        (place.folder / "reports" / name / "report.md").write_text("mine")
    for name in ("models", "elsewhere"):
        (place.folder / name).mkdir()
        (place.folder / name / "precious").write_text("mine")
    publish(place.folder / "elsewhere" / "report", place.folder / "made")
    (place.folder / "reports" / "link").symlink_to(place.folder / "elsewhere" / "report")
    (place.folder / "reports" / "baselines").mkdir()
    (place.folder / "reports" / "index.html").write_text("mine")
    (place.folder / "build").mkdir()
    (place.folder / "build" / "link").symlink_to(place.folder / "models")
    (place.folder / "build" / "mine").mkdir()
    before = tree(place.folder)
    place.flow()
    (place.folder / "build" / places.TRACEBACK.format("now")).write_text("")
    clean()
    after = tree(place.folder)
    after.pop(place.folder / "built.log")
    assert after == before


def test_what_somebody_has_added_to_a_report_or_a_cache_stays_and_is_told(place: Place) -> None:
    place.flow()
    (place.outcome.report / "notes.txt").write_text("mine")
    (place.outcome.projects["first"] / "notes.txt").write_text("mine")
    said = clean()
    left = {path.relative_to(place.folder).parts for path in place.folder.rglob("notes.txt")}
    assert {parts[0] for parts in left} == {"build", "reports"}
    assert said.count("left: ") == 2 and "notes.txt" in said
    assert [path.name for path in place.outcome.report.glob("report.*")] == []


def test_output_goes_to_the_working_directory(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from xnorflow.flows import run, subject

    fakes.install(monkeypatch.setattr, None, place.folder / "built.log")
    outcome = run.run(subject.find("small.safetensors"), Console(file=io.StringIO()), vectors=20)
    assert outcome.report.resolve() == place.folder / "reports" / "small"
    report = place.report()
    assert report["source"]["path"] == "small.safetensors"
    assert report["engines"]["first"]["project"].startswith("build/small/first/")
