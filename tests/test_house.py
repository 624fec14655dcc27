"""Who may import whom: the floors of the house, and no circle anywhere."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from xnorflow.flows.cache import PROJECT

FLOORS = {
    "bnn": set(),
    "models": {"bnn"},
    "hls": {"bnn"},
    "cosim": {"bnn", "models", "hls"},
    "reports": {"bnn", "models", "hls", "cosim"},
    "flows": {"bnn", "models", "hls", "cosim", "reports"},
}
"""What each folder may import of the others."""


def imported(path: Path) -> set[str]:
    """Return the files of the project that a file imports, anywhere in it, for types alone, too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    places = [PROJECT / name.removeprefix("xnorflow.").replace(".", "/") for name in names if name[:9] == "xnorflow."]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return {file.relative_to(PROJECT).as_posix() for file in files if file.is_file()}


HOUSE = {
    path.relative_to(PROJECT).as_posix(): imported(path)
    for floor in FLOORS
    for path in sorted((PROJECT / floor).rglob("*.py"))
}


def circle(imports: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter({file: of - {file} for file, of in imports.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_point_down_only(floor):
    files = [file for file in HOUSE if file.startswith(f"{floor}/")]
    assert len(files) > 3
    allowed = {floor, *FLOORS[floor]}
    assert [(file, of) for file in files for of in HOUSE[file] if of.partition("/")[0] not in allowed] == []


def test_no_circle_anywhere():
    assert len(HOUSE) > 100
    assert circle(HOUSE) == []


def test_a_circle_would_be_found():
    assert circle(HOUSE | {"bnn/errors.py": {"flows/run.py"}})
