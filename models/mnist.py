"""MNIST's four idx files: where they are looked for, how they are read, and their download."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError

Labelled = tuple[NDArray[Any], NDArray[Any]]
"""Images uint8 (N, 28, 28) and labels uint8 (N,)."""

TITLE = "MNIST"
NOTE = "MNIST (LeCun, Cortes, Burges)"
FILES = "its four idx files"

_LARGEST = 1 << 28  # bytes, unpacked; of MNIST's own files the largest has 47,040,016
_IDX_UINT8 = 0x08  # third byte of an idx file's magic number: the type of its elements


def places(folder: Path) -> tuple[Path, ...]:
    """Where MNIST's files are looked for in a folder that is named for them, in this order."""
    return (folder, folder / "MNIST" / "raw", folder / "mnist")


def _find(folder: Path, name: str) -> Path | None:
    for place in places(folder):
        for path in (place / name, place / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def _read_idx(path: Path, dimensions: int) -> NDArray[Any]:
    """Array of uint8 in an idx file, gzip-compressed if it ends in ``.gz``."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); get the file again") from error
    if len(content) > _LARGEST:
        raise UserError(f"{path} is not the expected idx file: it has more than {_LARGEST:,} bytes")
    header = 4 + 4 * dimensions
    magic = bytes((0, 0, _IDX_UINT8, dimensions))
    if content[:4] != magic:
        raise UserError(f"{path} is not the expected idx file: it begins with {content[:4].hex()}, not {magic.hex()}")
    if len(content) < header:
        raise UserError(f"{path} is truncated: {len(content)} bytes, its header alone has {header}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise UserError(
            f"{path} should have {math.prod(shape)} bytes for its shape {shape}, has {len(content) - header}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()  # writable for torch


def _read_pair(folder: Path, prefix: str) -> Labelled:
    paths = []
    for name in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"):
        path = _find(folder, name)
        if path is None:
            raise UserError(
                f"no MNIST in {folder}: {name} or {name}.gz is neither there, nor in its sub-folders MNIST/raw or mnist"
            )
        paths.append(path)
    images, labels = _read_idx(paths[0], 3), _read_idx(paths[1], 1)
    if images.shape[1:] != (28, 28):
        raise UserError(f"{paths[0]} has images of {images.shape[1]}x{images.shape[2]} pixels, expected 28x28")
    if len(images) != len(labels):
        raise UserError(f"{paths[0]} has {len(images)} images, but {paths[1]} has {len(labels)} labels")
    if not len(images):
        raise UserError(f"{paths[0]} has no images")
    if labels.max() > 9:
        raise UserError(f"{paths[1]} has a label {labels.max()}, expected 0 to 9")
    return images, labels


def files(folder: Path) -> list[Path]:
    """Those of the files that are in a folder that is named for them."""
    return [path for place in places(folder) for path in sorted(place.glob("*-ubyte*"))]


def is_in(folder: Path) -> bool:
    """Whether MNIST seems to be in the folder."""
    return _find(folder, "t10k-labels-idx1-ubyte") is not None


def read(folder: Path) -> tuple[Labelled, Labelled]:
    """Read the training and the test images.

    Raises
    ------
    UserError
        A file is not there, or is not what it should be.
    """
    return _read_pair(folder, "train"), _read_pair(folder, "t10k")


def download(folder: Path) -> None:
    """Fill the folder with torchvision; raises whatever goes wrong."""
    from torchvision.datasets import MNIST

    MNIST(folder, download=True)
