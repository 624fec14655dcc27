"""Text for a terminal of any encoding: what it cannot show is written another way, never an error."""

import codecs
import io
import sys

from rich.console import Console

_PLAIN = {"✓": "+", "✗": "x", "–": "-", "—": "-", "×": "x", "…": "...", "µ": "u", "²": "2"}
_ANY_WIDTH = 10_000  # columns, more than any table has


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    shown = [_PLAIN.get(character) for character in error.object[error.start : error.end]]
    if None in shown:
        return codecs.backslashreplace_errors(error)
    return "".join(filter(None, shown)), error.end


codecs.register_error("xnorflow.plain", _plain)


def console(*, stderr: bool = False, soft_wrap: bool = True) -> Console:
    """Return a console that prints text as it is, ``:x:``, too.

    A message is one line, unless it is to be wrapped; on a pipe or in a file nothing is wrapped, tables neither.
    """
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="xnorflow.plain")
    width = None if stream.isatty() else _ANY_WIDTH
    return Console(stderr=stderr, highlight=False, soft_wrap=soft_wrap, emoji=False, width=width)
