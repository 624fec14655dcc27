"""The command that says of every operator of a model whether it is taken, not only of the first that is refused."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from xnorflow.bnn.errors import UserError
from xnorflow.flows.terminal import console


def check_command(
    model: Annotated[str, typer.Argument(help="package.module:factory, your own code that makes a PyTorch module.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Parameters of the module.", show_default=False)] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file, whose table input says which integers the model takes.", show_default=False),
    ] = None,
) -> None:
    """Show every operator of a model, taken or refused, and why.

    Behind one that is refused it goes on as if that gave integers of 8 bits. The exit status is 0 when all are taken.
    """
    from xnorflow.flows import options, subject
    from xnorflow.flows.formats import FORMATS

    found = subject.find(model, checkpoint)
    kind = FORMATS.get(found.kind)
    if kind is None or kind.check is None:
        able = ", ".join(of.title for of in FORMATS.values() if of.check)
        raise UserError(f"{model}: check reads {able}; for others, a flow names the first operator that is refused")
    judged = kind.check(found, options.read(config).input).judged
    shown = console()
    for of in judged:
        where = escape(of.where.partition(", ")[2] or of.where)
        shown.print(f"[green]taken  [/] {where}" if of.taken else f"[red]refused[/] {where}: {escape(of.reason)}")
    refused = sum(not of.taken for of in judged)
    shown.print(f"{len(judged) - refused} of {len(judged)} operators are taken")
    raise typer.Exit(refused > 0)
