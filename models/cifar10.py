"""CIFAR-10's images: where they are looked for, how they are read, and their download."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError

Labelled = tuple[NDArray[Any], NDArray[Any]]
"""Images uint8 (N, 32, 32, 3) and labels int64 (N,)."""

TITLE = "CIFAR-10"
NOTE = "CIFAR-10 (Krizhevsky, 2009)"
FILES = "its images as train/<class>/ and test/<class>/, or torchvision's cifar-10-batches-py"

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SUFFIXES = (".png", ".jpg", ".jpeg")
_TORCHVISION = "cifar-10-batches-py"


def places(folder: Path) -> tuple[Path, ...]:
    """Where the images are looked for in a folder that is named for them, in this order."""
    return (folder, folder / "cifar10", folder / "cifar-10")


def _find(folder: Path) -> Path | None:
    return next(
        (place for place in places(folder) if (place / "test").is_dir() or (place / _TORCHVISION).is_dir()), None
    )


def files(folder: Path) -> list[Path]:
    """Every image's file, or torchvision's files, that are in a folder that is named for them."""
    found = _find(folder)
    if found is None:
        return []
    if not (found / "test").is_dir():
        return sorted((found / _TORCHVISION).iterdir())
    return [path for part in ("train", "test") for name in CLASSES for path in _images(found / part / name)]


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES)


def is_in(folder: Path) -> bool:
    """Whether CIFAR-10 seems to be in the folder."""
    return _find(folder) is not None


def read(folder: Path) -> tuple[Labelled, Labelled]:
    """Read the training and the test images, by file names and then classes, or in torchvision's order.

    Raises
    ------
    UserError
        A folder is not there, or a file is not an image of 32 x 32 pixels.
    """
    found = _find(folder)
    if found is None:
        places_named = ", ".join(str(place) for place in places(folder))
        raise UserError(f"no CIFAR-10 in {folder}: {FILES} is in none of {places_named}")
    if (found / "test").is_dir():
        return _read_tree(found / "train"), _read_tree(found / "test")
    try:  # torchvision compares each file with its published MD5 before it reads it
        from torchvision.datasets import CIFAR10

        sets = [CIFAR10(found, train=train) for train in (True, False)]
    except Exception as error:  # of many types, an import that fails among them
        raise UserError(f"torchvision cannot read {found / _TORCHVISION} ({type(error).__name__}: {error})") from error
    train, test = ((np.asarray(part.data, np.uint8), np.asarray(part.targets, np.int64)) for part in sets)
    return train, test


def _read_tree(folder: Path) -> Labelled:
    found: list[tuple[str, int, Path]] = []
    for label, name in enumerate(CLASSES):
        paths = _images(folder / name)
        if not paths:
            raise UserError(
                f"{folder / name} has no images ({', '.join(_SUFFIXES)}), expected CIFAR-10's of class {name}"
            )
        found += [(path.name, label, path) for path in paths]
    found.sort()  # so that any first thousand has images of all classes
    images = [_read_image(path) for _, _, path in found]
    return np.stack(images), np.array([label for _, label, _ in found], np.int64)


def _read_image(path: Path) -> NDArray[Any]:
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            size = image.size
            pixels = np.asarray(image.convert("RGB")) if size == (32, 32) else None
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise UserError(f"{path} is not an image that can be read ({error}); get the file again") from error
    if pixels is None:
        raise UserError(f"{path} has {size[0]}x{size[1]} pixels, expected 32x32")
    return pixels


def download(folder: Path) -> None:
    """Fill the folder with torchvision; raises whatever goes wrong."""
    from torchvision.datasets import CIFAR10

    CIFAR10(folder, download=True)
