"""Measure what the held-out blocks of :mod:`.collision` cannot show: how good ``drone_bnn`` is on flights never seen.

``python -m xnorflow.models.flights FOLDER`` trains it four times by its recipe, each time without every fourth flight,
and tests it on those. The checkpoints go to ``runs/flights``; an interrupted measurement goes on where it was.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from xnorflow.bnn.errors import UserError
from xnorflow.models import checkpoint, collision, data, train, zoo

FOLDS = 4
RUNS = Path("runs") / "flights"


def fold(of: collision.Flights, number: int) -> tuple[data.Dataset, list[str]]:
    """Data set whose test images are those of every fourth flight, from `number` on; and the names of these flights."""
    test = of.flight % FOLDS == number
    names = [name for index, name in enumerate(of.names) if index % FOLDS == number]
    parts = [(of.images[part], of.labels[part]) for part in (~test, test)]
    return data.make(f"flights_{number}", f"DroNet's collision frames; test: {', '.join(names)}", *parts), names


def confusion(path: Path, dataset: data.Dataset) -> NDArray[Any]:
    """Count the test images by label (row) and class that the checkpoint gives them (column): int64 (2, 2)."""
    loaded = checkpoint.load(path)
    found = train.classify(loaded.module, torch.from_numpy(dataset.test_images), zoo.get(loaded.name)).numpy()
    counts = np.zeros((2, 2), np.int64)
    np.add.at(counts, (dataset.test_labels, found), 1)
    return counts


def measure(folder: Path, console: Console) -> NDArray[Any]:
    """Train and test every fold, and print a table; return what :func:`confusion` counts in all of them together.

    Raises
    ------
    UserError
        If the frames cannot be read.
    """
    of, definition = collision.flights(folder), zoo.get("drone_bnn")
    table = Table("flights never seen", "frames", "too near", "accuracy", "recall", "precision")
    total = np.zeros((2, 2), np.int64)
    for number in range(FOLDS):
        dataset, names = fold(of, number)
        path = RUNS / str(number) / checkpoint.path_of(definition).name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            train.train(definition, dataset, path, runs=path.parent, console=console)
        counts = confusion(path, dataset)
        table.add_row(", ".join(names), *_figures(counts))
        total += counts
    table.add_row("all", *_figures(total), style="bold")
    console.print(table)
    return total


def _figures(counts: NDArray[Any]) -> list[str]:
    """Frames, those too near, accuracy, recall and precision."""
    (_, alarms), (_, found) = counts
    shares = ((np.trace(counts), counts.sum()), (found, counts[1].sum()), (found, found + alarms))
    return [f"{counts.sum():,}", f"{counts[1].sum():,}", *(f"{100 * a / b:.1f} %" if b else "-" for a, b in shares)]


if __name__ == "__main__":
    try:
        if len(sys.argv) != 2:
            raise UserError("usage: python -m xnorflow.models.flights FOLDER")
        measure(Path(sys.argv[1]), Console())
    except UserError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, highlight=False)
        raise SystemExit(2) from None
