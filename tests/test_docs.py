"""The manual and the README: what they name is there, and what they tell to type works."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.flows import fakes

import xnorflow as xf
from xnorflow.flows.cache import PROJECT

PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]
FOLDERS = ("bnn", "cosim", "docs", "flows", "hls", "models", "reports", "src", "tests", ".ci", ".github")
AT_THE_TOP = r"[A-Z]+\.md|Makefile|LICENSE|NOTICE|pyproject\.toml|mkdocs\.yml|[\w-]+\.lock|\.pre-commit-config\.yaml"
MADE = r"reports/(index\.html|mnist_bnn/.*)"  # by a flow

named = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())


def text(page: Path) -> Any:
    """Return a page's text without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def quoted(words: Any) -> Any:
    return re.findall(r"`([^`\n]+)`", words)


def paths(words: Any) -> Any:
    """Return the paths of this project that stand in backticks; those with a placeholder are of somebody else."""
    found = [word for word in quoted(words) if re.fullmatch(rf"({'|'.join(map(re.escape, FOLDERS))})/[\w./*+-]*", word)]
    found += [word for word in quoted(words) if re.fullmatch(AT_THE_TOP, word)]
    return [path for path in found if not re.fullmatch(MADE, path)]


def anchors(page: Path) -> Any:
    """Return the names of a page's headings, as links call them."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@named
def test_every_file_that_is_named_exists(page: Path) -> None:
    assert [path for path in paths(text(page)) if not any(PROJECT.glob(path.rstrip("/")))] == []


@named
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        path, _, anchor = target.partition("#")
        other = page.parent / path if path else page
        assert other.is_file(), target
        assert not anchor or anchor in anchors(other), target


def test_there_are_names_and_links_to_check() -> None:
    assert sum(len(paths(text(page))) for page in PAGES) > 80
    assert sum(len(re.findall(r"\]\(", text(page))) for page in PAGES) > 50


@pytest.mark.parametrize("page", sorted((PROJECT / "docs" / "contribute").glob("*.md")), ids=lambda page: page.name)
def test_a_list_of_files_names_what_is_in_them(page: Path) -> None:
    for row in re.findall(r"^\| `.*$", text(page), re.MULTILINE):
        files = [file for path in paths(row) for file in PROJECT.glob(path.rstrip("/")) if file.is_file()]
        code = "\n".join(file.read_text() for file in files)
        for word in quoted(row):
            if files and word not in paths(row):
                assert re.search(rf"\b{re.escape(word.partition('(')[0])}\b", code), (word, row)


def test_every_page_of_the_manual_is_in_its_contents() -> None:
    contents = re.findall(r"[\w/]+\.md", (PROJECT / "mkdocs.yml").read_text())
    pages = [page.relative_to(PROJECT / "docs").as_posix() for page in PAGES[2:]]
    assert sorted(contents) == sorted(pages)


def test_the_reference_has_every_public_name() -> None:
    modules = set(re.findall(r"^::: ([\w.]+)$", (PROJECT / "docs" / "reference.md").read_text(), re.MULTILINE))
    assert {getattr(xf, name).__module__ for name in xf.__all__} <= modules


def test_the_readme_is_short() -> None:
    assert len(PAGES[0].read_text().splitlines()) <= 150


@pytest.fixture
def run(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that runs code as a reader would, in a folder of its own, and returns the names that it has set.

    Engines and synthesis are stand-ins, which take seconds: the real ones have tests of their own.
    """
    monkeypatch.chdir(tmp_path)
    fakes.install(monkeypatch.setattr, log=tmp_path / "log")

    def execute(*blocks: Any) -> Any:
        names: dict[str, Any] = {}
        for block in blocks:
            exec(compile(block, "manual", "exec"), names)
        return names

    return execute


@pytest.mark.slow
def test_the_python_of_the_readme_runs(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    names = run(*re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), re.DOTALL))
    said = capsys.readouterr().out
    assert "weight bits" in said and "Cycles are exact" in said and "pass" in said
    assert names["report"].verdict == "pass"
    assert names["infer"]([[1] * 64]).shape == (1,)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((PROJECT / "docs" / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_runs(run: Any, path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in code), "outputs would grow old"
    names = run(*("".join(cell["source"]) for cell in code))
    assert names["report"].verdict == "pass"
    assert names["report"].accuracy > 0.7
