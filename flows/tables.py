"""Tables as plain text and as HTML: what a summary, an estimate or a report shows of itself."""

from collections.abc import Sequence
from html import escape
from typing import Any


def text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table as lines of text, never wrapped; numbers to the right, with separators of thousands."""
    shown = [list(columns), *([_shown(value) for value in row] for row in rows)]
    widths = [max(len(row[n]) for row in shown) for n in range(len(columns))]
    right = [bool(rows) and all(isinstance(row[n], int | float | None) for row in rows) for n in range(len(columns))]
    lines = (
        "  ".join(
            cell.rjust(width) if aligned else cell.ljust(width)
            for cell, width, aligned in zip(row, widths, right, strict=True)
        )
        for row in shown
    )
    return "\n".join(line.rstrip() for line in lines)


def html(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table as HTML, for notebooks."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(_shown(value))}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
