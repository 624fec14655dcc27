"""The command that says how much vectors prove: which share of all small faults they would have shown."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from xnorflow.bnn.errors import UserError
from xnorflow.flows import tables
from xnorflow.flows.terminal import console

if TYPE_CHECKING:
    from xnorflow.cosim.coverage.measure import Count, Coverage
    from xnorflow.flows.api import Net

_WEAKEST = 5


def coverage_command(
    model: Annotated[str, typer.Argument(help="As `run` takes it.", show_default=False)],
    checkpoint: Annotated[Path | None, typer.Option(help="As `run` takes it.", show_default=False)] = None,
    vectors: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Number of vectors: test images first, then random ones.")
    ] = 1000,
    data: Annotated[Path | None, typer.Option(help="As `run` takes it.", show_default=False)] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file, whose table input says which integers a model takes.", show_default=False),
    ] = None,
    layers: Annotated[
        int, typer.Option(min=0, help="Vectors, the first ones, of which every layer is compared, too.")
    ] = 8,
    directed: Annotated[
        int, typer.Option(min=0, max=100_000, help="Make up to so many more vectors, for faults that did not show.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write all vectors to, with directed ones: .npy, int32.", show_default=False),
    ] = None,
) -> None:
    """Show how much vectors prove: the share of all small faults in the network that they would have shown.

    Each weight flipped, each threshold a step off, and so on, one at a time; shown where an integer that is compared
    differs: the network's outputs for every vector, and every layer for the first few. Nothing is sampled unless the
    table says so. Faults that no input at all can show are counted apart.

    Try: xnorflow coverage digits_bnn --vectors 100 --directed 100
    """
    from xnorflow.cosim.coverage import vectors as chosen
    from xnorflow.cosim.coverage.measure import measure
    from xnorflow.flows import api, options

    if out and out.suffix != ".npy":
        raise UserError(f"out: expected a name that ends in .npy, got {out}")
    shown = console()
    net = api.convert(model, options.read(config).input, checkpoint=checkpoint)
    inputs, what = _inputs(net, vectors, data)
    if directed:
        with _progress(shown, "directed vectors") as advance:
            new = chosen.directed(net.network, inputs, directed, advance=advance)
        inputs, what = np.concatenate([inputs, new]), f"{what} and {len(new):,} directed vectors"
    with _progress(shown, "faults simulated") as advance:
        by_outputs = measure(net.network, inputs, advance=advance).coverage()
    layerwise = inputs[:layers]
    found = by_outputs
    if len(layerwise):
        found |= measure(net.network, layerwise, tuple(net.network.signals)).coverage()
    shown.print(escape(_table(by_outputs, found, len(layerwise))))
    total = found.total
    shown.print(
        f"[bold]{_percent(total)}[/] of {total.detectable:,.0f} faults would have shown with {what}; "
        f"{total.redundant:,.0f} more can be shown by no input"
    )
    for layer, channel, missed, faults in found.weakest[:_WEAKEST]:
        shown.print(f"  {layer}, channel {channel}: {missed:,} of {faults:,} faults not shown")
    if out:
        np.save(out, inputs)
        shown.print(f"vectors: {escape(str(out))}")


def _inputs(net: "Net", count: int, data: Path | None) -> tuple[NDArray[np.integer[Any]], str]:
    """Return the vectors of a flow, and what they are."""
    from xnorflow.flows.vectors import classes, random_inputs
    from xnorflow.models import data as datasets
    from xnorflow.models import labelled, zoo

    taken, zoo_model = net.network.input, net._subject.zoo
    images: NDArray[np.integer[Any]] = np.zeros((0, *taken.shape), np.int32)
    name = ""
    if data and labelled.is_own(data):
        threshold = zoo.get(zoo_model).binarise_at if zoo_model else None
        own = labelled.read(data, taken, classes(net.network), threshold)
        images, name = own.x, own.name
    elif zoo_model:
        definition = zoo.get(zoo_model)
        dataset, name = datasets.evaluation_images(definition, data)
        images = datasets.encode(dataset.test_images[:count], definition)
    elif data:
        datasets.check_folder(data, "data")
    images = images[:count].astype(np.int32)
    random = random_inputs(taken, count - len(images))
    parts = [f"{len(images):,} images of {name}"] if len(images) else []
    parts += [f"{len(random):,} random vectors"] if len(random) else []
    return np.concatenate([images, random]), " and ".join(parts)


def _table(by_outputs: "Coverage", found: "Coverage", layerwise: int) -> str:
    columns = ("layer", "faults", "no input shows", "outputs show", f"or every layer of {layerwise}", "coverage")
    rows = [
        (
            layer,
            of.faults,
            round(of.redundant),
            round(by_outputs.layers[layer].shown),
            round(of.shown),
            _percent(of),
        )
        for layer, of in found.layers.items()
    ]
    return tables.text(columns, rows)


def _percent(of: "Count") -> str:
    """Return a share, never rounded up to all, with its interval where faults were drawn."""
    text = f"{np.floor(of.share * 1e4) / 100:.2f} %"
    if of.exact:
        return text
    low, high = of.interval
    return f"{text} (sampled; {low:.2%} to {high:.2%} at 95 % confidence)"


@contextlib.contextmanager
def _progress(shown: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much is done, on a terminal."""
    columns = (TextColumn("  {task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
