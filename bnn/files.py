"""Reading a whole file that a user named, up to a limit, and what is read before anything is known of it."""

import os
from pathlib import Path
from typing import Any

from xnorflow.bnn.errors import UserError

Json = dict[str, Any]
"""An object of JSON, not checked yet, or of a kind that other programs decide."""


def read_bytes(path: str | os.PathLike[str], largest: int) -> bytes:
    """Return the content of a file of at most `largest` bytes; of an endless one no more is read.

    Raises
    ------
    UserError
        If the file is missing, cannot be read, or is larger.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(largest + 1) if os.fstat(file.fileno()).st_size <= largest else None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a null character in the name
        raise UserError(f"{str(path)!r}: cannot be read: {error}") from None
    if content is None or len(content) > largest:
        raise UserError(f"{path}: expected at most {largest:,} bytes, got more")
    return content
