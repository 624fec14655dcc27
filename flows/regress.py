"""Regression: what each model computes and costs now, against the committed baselines.

The models are those of the zoo, and the files that have been given a baseline.

Integers and cycles must be equal. So must synthesised resources by the same tool; by another one, or another version,
the totals may differ by :data:`TOLERANCE`. A baseline has the figures of two tools where it was written on a machine
with two: the Yosys on PATH, and the one of the environment's packages, which every machine has.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from xnorflow.bnn.digest import digest
from xnorflow.flows import baselines, subject
from xnorflow.flows.baselines import BaselineFile, BaselineResources
from xnorflow.flows.cache import write
from xnorflow.flows.folding import fold_rtl
from xnorflow.flows.formats import Subject, read_subject
from xnorflow.flows.graph import SYNTHESISED
from xnorflow.flows.options import Options
from xnorflow.flows.places import BUILD, claimed
from xnorflow.flows.steps.golden import BASELINE_VECTORS, outputs_digest
from xnorflow.flows.typed import record
from xnorflow.reports import measures
from xnorflow.reports.records import ResourceRow

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network
    from xnorflow.hls.rtl.folding import Choice

TARGET = "xilinx7"
"""What is synthesised for."""

TOLERANCE = 0.02
"""By which totals of another tool may differ, relative to the baseline's."""


Differences = dict[str, tuple[Any, Any]]
"""What was and what is now, by dotted name."""


def regress(
    console: Console,
    models: Sequence[str] = (),
    *,
    update: bool = False,
    synthesise: bool = True,
) -> bool:
    """Compare models with their baselines, and print the differences.

    Parameters
    ----------
    models : sequence of str
        Of the zoo, or files. Empty for all of the zoo, and all files that have a baseline.
    update : bool
        Rewrite the baselines instead.
    synthesise : bool
        Compare synthesised resources, too, of models whose baseline has them; the first time takes minutes for some.
        With `update`: whether baselines are to have them.

    Returns
    -------
    bool
        Whether all are equal; after an update they are.

    Raises
    ------
    UserError
        If there is no such model, or a baseline cannot be read.
    """
    known, strange = _known()
    subjects = [subject.find(model) for model in models or known]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "what", "baseline", "now"):
        table.add_column(column, overflow="fold")
    for found in subjects:
        name, path = found.name, measures.OWN_BASELINES / f"{found.name}.json"
        before: BaselineFile = {} if update else baselines.read(measures.baseline(name))
        wanted = synthesise and (update or "synthesis" in before)
        alone = claimed((BUILD / name).absolute(), console) if wanted else nullcontext()
        with alone, console.status(f"regress {name}"):
            now, note = measure(found, tools=((True, False) if update else (True,)) if wanted else ())
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, json.dumps(now, indent=1) + "\n")
            console.print(f"written: {path}{note}")
            continue
        if not wanted:
            note = "; resources not compared" + (": the baseline has none" if synthesise else "")
        differences, other = compare(before, now) if before else ({"baseline": ("none", "this model")}, "")
        for what, (old, new) in differences.items():
            table.add_row(name, what, str(old), str(new))
        console.print(f"{name}: {'DIFFERS' if differences else 'as the baseline says'}{note}{other}")
    for name, reason in strange.items() if not models else ():
        if update:
            (measures.OWN_BASELINES / f"{name}.json").unlink()
        else:
            table.add_row(name, "model", "in the baselines", reason)
    if not table.row_count:
        return True
    console.print(table)
    console.print("If the change is meant: make regress UPDATE=1")
    return False


def _known() -> tuple[list[str], dict[str, str]]:
    """Return the models that are to be as their baselines say, and by name why other baselines have no model."""
    from xnorflow.models.zoo import ZOO

    outside: list[str] = []
    strange: dict[str, str] = {}
    for path in sorted(path for path in measures.OWN_BASELINES.glob("*.json") if path.stem not in ZOO):
        origin = baselines.read(path).get("origin", "")
        if ":" in origin or (origin and Path(origin).is_file()):
            outside.append(origin)
        else:
            strange[path.stem] = f"no file {origin}" if origin else "not in the zoo"
    return [*ZOO, *outside], strange


def measure(found: Subject, *, tools: Sequence[bool] = ()) -> tuple[BaselineFile, str]:
    """Run the golden model of a model on fixed random vectors, and choose, or synthesise, its RTL.

    Parameters
    ----------
    found : Subject
    tools : sequence of bool
        What synthesises it: True for a Yosys on PATH, if there is one, False for that of the packages.

    Returns
    -------
    baseline : BaselineFile
    note : str
        Why there is no ``synthesis`` although it was wanted; for people.
    """
    from xnorflow.bnn.canonical import canonicalise
    from xnorflow.cosim.golden import Golden
    from xnorflow.hls.errors import Unsupported
    from xnorflow.hls.synthesis.tools import SynthesisError, ToolMissing

    network = canonicalise(read_subject(found).network)
    golden = Golden()
    golden.prepare(network)
    now: BaselineFile = {"model": found.name}
    if not found.zoo:
        now["origin"] = found.factory or os.path.relpath(found.path)
    now |= {
        "recorded_accuracy": test["accuracy"] if (test := found.recorded.get("test")) else None,
        "vectors": BASELINE_VECTORS,
        "outputs": outputs_digest(network, golden),
        "layers": measures.shapes(measures.layers(network)),
        "parameters": _parameters(network),
    }
    try:
        choice = fold_rtl(network, Options())
    except Unsupported as reason:
        return {**now, "rtl": {"unsupported": str(reason)}}, ""
    now["rtl"] = {
        "latency": choice.timing.latency,
        "interval": choice.timing.interval,
        "layers": {layer.name: str(layer.architecture) for layer in choice.layers},
    }
    if tools:
        made: dict[str, BaselineResources] = {}
        try:
            for native in tools:
                made |= _synthesised(network, choice, BUILD.absolute() / found.name / SYNTHESISED, native)
            now["synthesis"] = {"target": TARGET, "by": made}
        except ToolMissing as missing:
            return now, f"; resources not compared: {missing}"
        except SynthesisError as error:
            now["synthesis"] = str(error)
    return now, ""


def _parameters(network: "Network") -> dict[str, str]:
    return {
        f"{operation.name}.{spec.name}": digest([("", value)])[:16]
        for operation in network.operations
        for spec in fields(operation)
        if isinstance(value := getattr(operation, spec.name), np.ndarray)
    }


def _synthesised(network: "Network", choice: "Choice", cache: Path, native: bool) -> dict[str, BaselineResources]:
    """Synthesise the RTL; units that a flow has synthesised are taken from `cache`. The resources, by the tool."""
    from xnorflow.hls.rtl.project import write as write_rtl
    from xnorflow.hls.synthesis.yosys import synthesise

    with tempfile.TemporaryDirectory(prefix="xnorflow-") as scratch:
        made = synthesise(write_rtl(network, Path(scratch) / "rtl", choice.config), TARGET, cache, native=native)
    layers = {layer or "between the layers": record(ResourceRow, of) for layer, of in made.layers.items()}
    return {str(made.tool): {"total": record(ResourceRow, made.total), "layers": layers}}


def compare(before: BaselineFile, now: BaselineFile) -> tuple[Differences, str]:
    """Compare a baseline with what :func:`measure` has found.

    Returns
    -------
    differences : dict
        (before, now) by dotted name, "none" where one side lacks it. Resources are left out where `now` has none.
    note : str
        That another tool has synthesised, and which; else empty.
    """
    old, new = before.get("synthesis"), now.get("synthesis")
    was, is_now = ({what: of for what, of in one.items() if what != "synthesis"} for one in (before, now))
    differences, note = _differences(was, is_now), ""
    if old is None or new is None:
        return differences, note
    if isinstance(old, str) or isinstance(new, str):
        told = tuple(of if isinstance(of, str) else "resources" for of in (old, new))
        return differences | ({"synthesis": (told[0], told[1])} if old != new else {}), note
    ((tool, found),) = new["by"].items()
    if tool in old["by"]:
        resources = _differences(old["by"][tool], found, "synthesis.")
    else:
        by = old["by"]
        known = min(by, key=lambda name: abs(by[name]["total"]["lut"] - found["total"]["lut"]))
        note = f"; synthesised by {tool}, the baseline by {known}: {TOLERANCE:.0%} are allowed"
        totals = _differences(by[known]["total"], found["total"], "synthesis.total.")
        resources = {what: pair for what, pair in totals.items() if not _near(*pair)}
    return differences | {what: (was, _with_share(was, is_now)) for what, (was, is_now) in resources.items()}, note


def _near(was: Any, is_now: Any) -> bool:
    numbers = isinstance(was, int) and isinstance(is_now, int)
    return numbers and abs(is_now - was) <= TOLERANCE * was


def _with_share(was: Any, is_now: Any) -> Any:
    numbers = isinstance(was, int) and isinstance(is_now, int) and was
    return f"{is_now} ({is_now / was - 1:+.1%})" if numbers else is_now


def _differences(before: Mapping[str, object], now: Mapping[str, object], prefix: str = "") -> Differences:
    differences: Differences = {}
    for key in (*now, *(key for key in before if key not in now)):
        old, new = before.get(key, "none"), now.get(key, "none")
        if isinstance(old, dict) and isinstance(new, dict):
            differences |= _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            differences[f"{prefix}{key}"] = (old, new)
    return differences
