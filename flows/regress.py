"""Regression: what each model of the zoo computes now, against the committed baselines."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bnn.errors import UserError
from flows import subject
from flows.cache import PROJECT, write
from flows.hardware import fold_rtl
from flows.stages import BASELINE_VECTORS, outputs_digest, read_network
from reports.measures import BASELINES


def regress(console: Console, *, update: bool = False, folder: Path = BASELINES) -> bool:
    """Compare every model of the zoo with its baseline, and print the differences.

    Parameters
    ----------
    update : bool
        Rewrite the baselines instead.

    Returns
    -------
    bool
        Whether all are equal; after an update they are.
    """
    from models.zoo import ZOO

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "what", "baseline", "now"):
        table.add_column(column, overflow="fold")
    stale = {path.stem for path in folder.glob("*.json")} - set(ZOO)
    for name in ZOO:
        with console.status(f"regress {name}"):
            now = measure(name)
        path = folder / f"{name}.json"
        if update:
            folder.mkdir(parents=True, exist_ok=True)
            write(path, json.dumps(now, indent=1) + "\n")
            console.print(f"written: {path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path}")
            continue
        before = _read(path)
        differences = compare(before, now) if before else {"baseline": ("none", "this model")}
        for what, (old, new) in differences.items():
            table.add_row(name, what, str(old), str(new))
        console.print(f"{name}: {'DIFFERS' if differences else 'as the baseline says'}")
    for name in sorted(stale):
        if update:
            (folder / f"{name}.json").unlink()
        else:
            table.add_row(name, "model", "in the baselines", "not in the zoo")
    if not table.row_count:
        return True
    console.print(table)
    console.print("If the change is meant: make regress UPDATE=1")
    return False


def measure(name: str) -> dict[str, Any]:
    """Run the golden model of a zoo's model on fixed random vectors.

    Returns
    -------
    dict
        The baseline: ``model``, ``recorded_accuracy``, ``vectors``, ``outputs`` (digest of the integers of every
        compared result), ``layers`` (kind and shapes by name), ``rtl`` (exact cycles and each layer's architecture,
        with the default options).
    """
    from bnn.canonical import canonicalise
    from cosim.golden import Golden
    from flows.options import Options
    from reports.measures import layers, shapes

    found = subject.find(name)
    network = canonicalise(read_network(found))
    choice = fold_rtl(network, Options())
    golden = Golden()
    golden.prepare(network)
    return {
        "model": name,
        "recorded_accuracy": found.recorded.get("test", {}).get("accuracy"),
        "vectors": BASELINE_VECTORS,
        "outputs": outputs_digest(network, golden),
        "layers": shapes(layers(network)),
        "rtl": {
            "latency": choice.timing.latency,
            "interval": choice.timing.interval,
            "layers": {layer.name: str(layer.architecture) for layer in choice.layers},
        },
    }


def compare(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Return what differs, by dotted name: (before, now), "none" where one side lacks it."""
    differences: dict[str, tuple[Any, Any]] = {}
    for key in (*now, *(key for key in before if key not in now)):
        old, new = before.get(key, "none"), now.get(key, "none")
        if isinstance(old, dict) and isinstance(new, dict):
            differences |= compare(old, new, f"{prefix}{key}.")
        elif old != new:
            differences[f"{prefix}{key}"] = (old, new)
    return differences


def _read(path: Path) -> dict[str, Any]:
    try:
        baseline = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); write it again: make regress UPDATE=1") from None
    if not isinstance(baseline, dict):
        raise UserError(f"{path} is not a JSON object; write it again: make regress UPDATE=1")
    return baseline
