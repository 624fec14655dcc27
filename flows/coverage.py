"""The command that says how much vectors prove: which share of all small faults they would have shown."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from xnorflow.bnn.errors import UserError
from xnorflow.flows import tables
from xnorflow.flows.steps.coverage import percent
from xnorflow.flows.terminal import console

if TYPE_CHECKING:
    from xnorflow.cosim.coverage.measure import Coverage

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
    from xnorflow.cosim.coverage.measure import compared
    from xnorflow.cosim.engine import outputs
    from xnorflow.flows import api, loading, options

    if out and out.suffix != ".npy":
        raise UserError(f"out: expected a name that ends in .npy, got {out}")
    shown = console()
    net = api.convert(model, options.read(config).input, checkpoint=checkpoint)
    loaded = loading.load(net._subject, data, vectors, lambda: net.network)
    inputs, what = loaded.inputs, str(loaded)
    if directed:
        with _progress(shown, "directed vectors") as advance:
            new, _ = chosen.directed(net.network, inputs, directed, advance=advance)
        inputs, what = np.concatenate([inputs, new]), f"{what} and {len(new):,} directed vectors"
    by_outputs = dict.fromkeys(outputs(net.network), len(inputs))
    layerwise = min(layers, len(inputs))
    by_layers = dict.fromkeys(net.network.signals, layerwise) | by_outputs
    with _progress(shown, "faults simulated") as advance:
        alone, found = compared(net.network, inputs, [by_outputs, by_layers], advance)
    shown.print(escape(_table(alone, found, layerwise)))
    total = found.total
    shown.print(
        f"[bold]{percent(total)}[/] of {total.detectable:,.0f} faults would have shown with {what}; "
        f"{total.redundant:,.0f} more can be shown by no input"
    )
    for layer, channel, missed, faults in found.weakest[:_WEAKEST]:
        shown.print(f"  {layer}, channel {channel}: {missed:,} of {faults:,} faults not shown")
    if out:
        np.save(out, inputs)
        shown.print(f"vectors: {escape(str(out))}")


def _table(by_outputs: "Coverage", found: "Coverage", layerwise: int) -> str:
    columns = ("layer", "faults", "no input shows", "outputs show", f"or every layer of {layerwise}", "coverage")
    rows = [
        (
            layer,
            of.faults,
            round(of.redundant),
            round(by_outputs.layers[layer].shown),
            round(of.shown),
            percent(of),
        )
        for layer, of in found.layers.items()
    ]
    return tables.text(columns, rows)


@contextlib.contextmanager
def _progress(shown: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much is done, on a terminal."""
    columns = (TextColumn("  {task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
