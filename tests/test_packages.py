"""Packages of others: each is declared, by the core or by the extra that a user is told to install."""

import ast
import re
import sys
from collections.abc import Iterable
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

from xnorflow.flows import closure, extras
from xnorflow.flows.cache import PROJECT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILES = sorted(path for folder in closure.FOLDERS for path in (PROJECT / folder).rglob("*.py"))
TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
KNOWN = packages_distributions()
PEERS = {"da4ml", "setuptools_scm", "_typeshed"}
"""Compared with, and asked for a checkout's version, where they are installed; the type checker's own."""


def spelled(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package.lower())


def names_of(requirements: list[str]) -> set[str]:
    return {spelled(re.split("[<>=; ]", requirement)[0]) for requirement in requirements}


CORE = names_of(TABLE["dependencies"])
BROUGHT = {extra: names_of(of) for extra, of in TABLE["optional-dependencies"].items()}


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the dotted names that statements import."""
    nodes = list(nodes)
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return names | {f"{node.module}.{alias.name}" for node in modules for alias in node.names}


def beyond(names: set[str], brought: set[str]) -> set[str]:
    """Return the packages among names, as they are imported, that are not among those brought."""
    roots = {name.partition(".")[0] for name in names} & KNOWN.keys() - sys.stdlib_module_names - PEERS - {"xnorflow"}
    return {root for root in roots if brought.isdisjoint(map(spelled, KNOWN[root]))}


def house(names: set[str]) -> set[Path]:
    """Return the files that are run when names of the project are imported."""
    parts = [name.split(".")[1:] for name in names if name.startswith("xnorflow.")]
    places = {"/".join(of[:depth]) for of in parts for depth in range(1, len(of) + 1)}
    return {PROJECT / f"{place}{end}" for place in places for end in (".py", "/__init__.py")} & set(FILES)


def test_every_package_is_of_the_core_or_of_the_extra_that_a_user_is_told() -> None:
    """As otherwise it is there only where another package happens to need it."""
    found = {file: imported(ast.walk(ast.parse(file.read_text()))) for file in FILES}
    assert len(beyond(set().union(*found.values()), set())) > 20
    assert {
        (root, file.relative_to(PROJECT).as_posix())
        for file, names in found.items()
        for root in beyond(names, CORE)
        if beyond({root}, BROUGHT.get(extras.of_module(root) or "", set()))
    } == set()


def test_an_extra_is_needed_by_front_ends_and_engines_of_its_own_alone() -> None:
    """All else can be imported without it. What a module needs as it is loaded, those that load it need."""
    on_loading = {file: imported(ast.parse(file.read_text()).body) for file in FILES}
    loads = {file: house(names) - {file} for file, names in on_loading.items()}
    needs: dict[Path, set[str | None]] = {}
    for file in TopologicalSorter(loads).static_order():
        own = {extras.of_module(root) for root in beyond(on_loading[file], CORE)}
        needs[file] = own.union(*(needs[of] for of in loads[file]))
    of_extras = {file.relative_to(PROJECT).as_posix(): extra for file, extra in needs.items() if extra}
    assert len(of_extras) > 5 and all(len(extra) == 1 for extra in of_extras.values())
    places = ("bnn/frontends/", "bnn/qonnx_", "cosim/bench.py", "flows/cluster.py")
    assert [file for file in of_extras if not file.startswith(places)] == []
