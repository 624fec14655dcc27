"""Who may import whom: the floors of the house, and no circle anywhere."""

import ast
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter

import pytest

from xnorflow.flows import closure
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


HOUSE = {
    path.relative_to(PROJECT).as_posix(): {
        of.relative_to(PROJECT).as_posix() for of in closure.imported(path, types=True)
    }
    for floor in FLOORS
    for path in sorted((PROJECT / floor).rglob("*.py"))
}


def classes() -> list[tuple[str, str]]:
    """Return every class, without the underscore of one that is a file's own, and the file."""
    return [
        (node.name.lstrip("_"), file)
        for file in HOUSE
        for node in ast.walk(ast.parse((PROJECT / file).read_text()))
        if isinstance(node, ast.ClassDef)
    ]


def circle(imports: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter({file: of - {file} for file, of in imports.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_point_down_only(floor: str) -> None:
    files = [file for file in HOUSE if file.startswith(f"{floor}/")]
    assert len(files) > 3
    allowed = {floor, *FLOORS[floor]}
    assert [(file, of) for file in files for of in HOUSE[file] if of.partition("/")[0] not in allowed] == []


def test_one_name_means_one_idea() -> None:
    found = classes()
    assert len(found) > 400
    twice = Counter(name for name, _ in found)
    assert [of for of in found if twice[of[0]] > 1] == []


def test_no_circle_anywhere() -> None:
    assert len(HOUSE) > 100
    assert circle(HOUSE) == []


def test_a_circle_would_be_found() -> None:
    assert circle(HOUSE | {"bnn/errors.py": {"flows/run.py"}})


BORDERS = {
    "bnn/files.py": "Json", "bnn/frontends/keras_op.py": "Arguments", "bnn/frontends/keras_saving.py": "LayerConfig",
    "bnn/qonnx_lowering.py": "Attributes", "flows/api.py": "Row", "flows/settings.py": "Table",
    "hls/config.py": "Hls4mlDict", "reports/requirements.py": "Limits",
}  # fmt: skip
"""Where what comes from elsewhere has a name; behind it everything is a record."""


def test_what_may_hold_anything_is_of_the_border_and_has_a_name() -> None:
    found = {
        (file, line.strip())
        for file in HOUSE
        for line in (PROJECT / file).read_text().splitlines()
        if re.search(r"(dict|Mapping)\[str, Any\]", line)
    }
    assert all(line.startswith(f"{BORDERS.get(file)} = ") for file, line in found), found
    assert {file for file, _ in found} == BORDERS.keys()


def test_nothing_is_imported_out_of_a_test_module() -> None:
    files = list((PROJECT / "tests").rglob("*.py"))
    assert len(files) > 100
    found = [
        (path.relative_to(PROJECT).as_posix(), node.module)
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for name in (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names))
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))
    ]
    assert found == [], "what several test modules need is a fixture in conftest.py, or in a helper module"
