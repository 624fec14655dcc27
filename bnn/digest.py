"""What arrays of integers are known by, whatever machine and type they are on."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def digest(arrays: Iterable[tuple[str, NDArray[np.integer[Any]]]]) -> str:
    """SHA-256 of integer arrays, each with a name, as hexadecimal text.

    Names, shapes and values count, as 64-bit integers, little end first; the arrays' own types do not.
    """
    sha = hashlib.sha256()
    for name, array in arrays:
        sha.update(f"{name}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array, "<i8").data)
    return sha.hexdigest()
