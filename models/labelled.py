"""Labelled data of the user's own: arrays, an ``.npz`` file, or a folder of images by class.

The images become the integers that a Network takes. Nothing is scaled, cut or resized: what does not fit is refused.
"""

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xnorflow.bnn.digest import digest
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.inputs import integers

if TYPE_CHECKING:
    from xnorflow.bnn.network import Input

_LARGEST = 1 << 32  # bytes of an .npz file's arrays

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm")
"""What names of images end in."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled vectors, as the integers of a model's input.

    Attributes
    ----------
    name : str
        Of the data, for the report.
    note : str
        Where it came from, in a few words.
    x : integer array, shape (vectors, *input shape)
    y : int64 array, shape (vectors,)
    digest : str
        SHA-256 of both.
    """

    name: str
    note: str
    x: NDArray[np.integer[Any]]
    y: NDArray[np.int64]
    digest: str


def is_own(path: Path) -> bool:
    """Say whether a path is labelled data of the user's own: an ``.npz`` file, or a folder of folders of images."""
    return (path.suffix == ".npz" and path.is_file()) or any(files for _, files in _classes(path))


def state(path: Path) -> list[object]:
    """Return what tells one state of the data from another without reading it."""
    files = [path] if path.is_file() else [file for _, files in _classes(path) for file in files]
    return [[str(file), (of := file.stat()).st_size, of.st_mtime_ns] for file in files]


def read(path: Path, taken: "Input", classes: int, binarise_at: int | None = None) -> Labelled:
    """Read an ``.npz`` file with arrays ``x`` and ``y``, or a folder of images by class.

    Parameters
    ----------
    path : Path
        A folder has one sub-folder for each class. Classes are numbered by name, in order; names that are all numbers
        are the numbers themselves.
    taken : Input
        The model's. Images become its integers: pixels of an unsigned input of 8 bits, pixels less 128 of a signed one.
    classes : int
        Number of the model's classes.
    binarise_at : int or None
        Smallest pixel that becomes +1, for images and a bipolar input.

    Raises
    ------
    UserError
        If it cannot be read, or does not fit the model.
    """
    if path.is_file():
        return _npz(path, taken, classes)
    found = _classes(path)
    names = [name for name, _ in found]
    numbers = [int(name) for name in names] if all(name.isdecimal() for name in names) else range(len(names))
    images, labels = [], []
    for number, (_, files) in zip(numbers, found, strict=True):
        for file in files:
            images.append(_pixels(file, taken, binarise_at))
            labels.append(number)
    note = f"{len(images):,} images of {len(names)} classes in {path.name}/: {', '.join(names[:12])}"
    return labelled(np.array(images), np.array(labels), taken, classes, path.name, note)


def labelled(
    x: ArrayLike, y: ArrayLike, taken: "Input", classes: int, name: str = "own", note: str = "given as arrays"
) -> Labelled:
    """Check that vectors and labels fit a model.

    Parameters
    ----------
    x : array, shape (vectors, *input shape)
        As :func:`xnorflow.bnn.inputs.integers` takes it; a sequence's (1, length, channels) may be (length, channels).
    y : integer array, shape (vectors,)
        0 to `classes` - 1.

    Raises
    ------
    UserError
        If a shape, a type or a value is not so.
    """
    values, labels = np.asarray(x), np.asarray(y)
    if taken.shape == (1, *values.shape[1:]):
        values = values[:, None]
    vectors = integers(values, taken, f"{name}: x")
    if labels.shape != (len(values),) or not len(values):
        raise UserError(
            f"{name}: y: expected a label for each of the {len(values):,} vectors, at least one, got {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{name}: y: expected integers, got {labels.dtype}")
    if labels.min() < 0 or labels.max() >= classes:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        raise UserError(f"{name}: y: expected 0 to {classes - 1}, the model's classes, got {labels[wrong]} at {wrong}")
    return Labelled(name, note, vectors, labels.astype(np.int64), digest([("", vectors), ("", labels)]))


def _npz(path: Path, taken: "Input", classes: int) -> Labelled:
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(member.file_size for member in archive.infolist())) > _LARGEST:
                raise UserError(f"{path}: expected at most {_LARGEST:,} bytes, unpacked, got {size:,}")
        with np.load(path, allow_pickle=False) as file:
            if missing := [name for name in ("x", "y") if name not in file]:
                raise UserError(f"{path}: expected arrays x and y, got no {missing[0]}; it has {', '.join(file)}")
            x, y = file["x"], file["y"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable .npz file of numbers, with arrays x and y: {error}") from None
    return labelled(x, y, taken, classes, path.name, f"arrays x and y of {path.name}")


def _classes(folder: Path) -> list[tuple[str, list[Path]]]:
    """Return the names of the sub-folders, in order, each with its images."""
    if not folder.is_dir():
        return []
    return [
        (inside.name, sorted(file for file in inside.iterdir() if file.suffix.lower() in IMAGES))
        for inside in sorted(folder.iterdir())
        if inside.is_dir() and not inside.name.startswith(".")
    ]


def _pixels(file: Path, taken: "Input", binarise_at: int | None) -> NDArray[np.integer[Any]]:
    from PIL import Image

    colour = len(taken.shape) == 3 and taken.shape[-1] == 3
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB" if colour else "L"), np.int32)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file}: not a readable image: {error}") from None
    if math.prod(pixels.shape) != math.prod(taken.shape) or (
        len(taken.shape) == 3 and pixels.shape[:2] != taken.shape[:2]
    ):
        raise UserError(f"{file}: expected an image for input shape {taken.shape}, got {pixels.shape}; resize it")
    pixels = pixels.reshape(taken.shape)
    if taken.kind == "bipolar" and binarise_at is not None:
        return np.where(pixels >= binarise_at, 1, -1)
    if taken.kind == "bipolar" or taken.bits != 8:
        raise UserError(
            f"{file}: the model takes {taken.kind} values of {taken.bits} bits, no 8-bit pixels; give an "
            ".npz file whose x holds them"
        )
    return pixels - 128 if taken.kind == "signed" else pixels
