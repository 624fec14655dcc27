"""Data sets, and their images as the integers that a model takes in.

MNIST and CIFAR-10 come from a folder that the user names, or from the cache that training fills through torchvision;
the frames of a camera and the utterances of speakers from a folder alone. What stands in for them where they are not is
bundled with scikit-learn, handwritten digits and photographs, or drawn at random.
"""

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.models import cifar10, collision, mnist, vowels
from xnorflow.models.zoo import ModelDefinition

DATA_VARIABLE = "XNORFLOW_DATA"
"""Environment variable that names the folder of the data sets."""

SOURCES: dict[str, ModuleType] = {"mnist": mnist, "cifar10": cifar10, "collision": collision, "vowels": vowels}
"""Of each data set that is made of files: how they are found, read and downloaded."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images uint8 (N, height, width[, channels]) and labels int64 (N,) from 0, with a SHA-256 over all four arrays.

    ``note`` says in a few words where the data came from. Test images that stand in for others may have no labels: then
    ``test_labels`` has length 0.
    """

    name: str
    train_images: NDArray[Any]
    train_labels: NDArray[Any]
    test_images: NDArray[Any]
    test_labels: NDArray[Any]
    digest: str
    note: str


Labelled = tuple[NDArray[Any], NDArray[Any]]
"""Images uint8 (N, height, width[, 3]) and labels (N,)."""


def make(name: str, note: str, train: Labelled, test: Labelled) -> Dataset:
    """Make a data set of images and labels."""
    digest = hashlib.sha256()
    arrays = []
    for array, dtype in zip((*train, *test), ("u1", "<i8") * 2, strict=True):
        array = np.ascontiguousarray(array, dtype)
        digest.update(repr((array.shape, dtype)).encode())
        digest.update(array.data)
        arrays.append(array)
    return Dataset(name, arrays[0], arrays[1], arrays[2], arrays[3], digest.hexdigest(), note)


# --- data sets made of files


def cache_folder() -> Path:
    """Folder into which training downloads a data set when the user names none."""
    from platformdirs import user_cache_path

    return user_cache_path("xnorflow")


def check_folder(folder: Path, where: str) -> Path:
    """Return a folder that a user has named for data sets; raise a UserError if it is none."""
    try:
        if folder.is_dir():
            next(folder.iterdir(), None)  # may it be read?
            return folder
    except OSError as error:
        raise UserError(f"{where}: {folder} cannot be read: {error.strerror}") from None
    raise UserError(f"{where}: no folder {folder}")


def _read(name: str, folder: Path) -> Dataset:
    source = SOURCES[name]
    return make(name, source.NOTE, *source.read(folder))


def _place(name: str, folder: Path | None) -> Path | None:
    """Where the files should be: the argument, else the environment variable, else the filled cache, else nowhere."""
    if folder is not None:
        return check_folder(folder, "data")
    if os.environ.get(DATA_VARIABLE):
        return check_folder(Path(os.environ[DATA_VARIABLE]), f"environment variable {DATA_VARIABLE}")
    return cache_folder() if SOURCES[name].is_in(cache_folder()) else None


def load(name: str, folder: Path | None = None, *, download: bool = False) -> Dataset:
    """Read one of :data:`SOURCES`.

    Parameters
    ----------
    folder
        Has the files itself or in a sub-folder, as the module of the data set says. Without it the folder in
        ``XNORFLOW_DATA`` is read, and without that the cache that an earlier download filled.
    download
        If none of the three is there, download the files into the cache with torchvision.

    Raises
    ------
    UserError
        The data set is not there, cannot be downloaded, or a file is not what it should be.
    """
    place = _place(name, folder)
    if place is not None:
        return _read(name, place)
    source = SOURCES[name]
    reason = "the files are in no known folder"
    if download:
        try:
            source.download(cache_folder())
            return _read(name, cache_folder())
        except UserError:
            raise
        except Exception as error:  # no network, a torchvision that fails to import, ...: the way out is the same
            reason = f"torchvision cannot download it ({type(error).__name__}: {error})"
    raise UserError(
        f"{source.TITLE} is not available: {reason}.\n"
        f"Name the folder that has {source.FILES} with --data or the environment variable {DATA_VARIABLE},\n"
        "or train on a machine with a network connection and torchvision 0.28.0, which downloads it."
    )


# --- scikit-learn's digits


def _load_digits() -> Labelled:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)


def digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, 0 to 16: a fixed, stratified split, 1,437 to 360."""
    from sklearn.model_selection import train_test_split

    images, labels = _load_digits()
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=360, random_state=0, stratify=labels
    )
    note = "scikit-learn's bundled 8x8 digits, fixed split of 1437 and 360"
    return make("digits", note, (train_images, train_labels), (test_images, test_labels))


def digits_as_mnist() -> Dataset:
    """scikit-learn's digits in MNIST's style: 20 x 20 pixels centred in 28 x 28, 0 to 255, all 1,797 as test images."""
    from scipy.ndimage import zoom

    images, labels = _load_digits()
    large = zoom(images.astype(np.float64), (1, 20 / 8, 20 / 8), order=1, grid_mode=True, mode="nearest")
    scaled = np.rint(large * (255 / 16)).clip(0, 255).astype(np.uint8)
    none = (np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64))
    note = "scikit-learn's bundled digits resampled to 28x28, in place of MNIST"
    return make("digits_as_mnist", note, none, (np.pad(scaled, ((0, 0), (4, 4), (4, 4))), labels))


# --- scikit-learn's photographs


def photographs_as_cifar10() -> Dataset:
    """scikit-learn's two photographs in pieces of 32 x 32 pixels, 520 test images that bear no labels."""
    note = "pieces of scikit-learn's two bundled photographs, without labels, in place of CIFAR-10"
    return _unlabelled("photographs_as_cifar10", note, np.concatenate(list(_pieces(32, 32))))


def photographs_as_frames() -> Dataset:
    """The same photographs in grey pieces of 40 x 54 pixels, 220 test images that bear no labels."""
    pieces = np.concatenate(list(_pieces(*collision.IMAGE)))
    note = "grey pieces of scikit-learn's two bundled photographs, without labels, in place of a drone's frames"
    return _unlabelled("photographs_as_frames", note, np.rint(pieces.mean(axis=3)).astype(np.uint8))


def walks_as_vowels() -> Dataset:
    """Sequences that wander at random, 370 test sequences that bear no labels."""
    note = "sequences that wander at random, without labels, in place of Japanese Vowels"
    return _unlabelled("walks_as_vowels", note, vowels.stand_in())


def _pieces(high: int, wide: int) -> Iterator[NDArray[Any]]:
    """Each photograph, uint8 (pieces, high, wide, 3)."""
    from sklearn.datasets import load_sample_images

    for photograph in load_sample_images().images:
        rows, columns = photograph.shape[0] // high, photograph.shape[1] // wide
        grid = photograph[: rows * high, : columns * wide].reshape(rows, high, columns, wide, 3)
        yield grid.swapaxes(1, 2).reshape(-1, high, wide, 3)


def _unlabelled(name: str, note: str, images: NDArray[Any]) -> Dataset:
    none = np.zeros(0, np.int64)
    return make(name, note, (images[:0], none), (images, none))


# --- what a model takes in

STAND_INS: dict[str, Callable[[], Dataset]] = {
    "mnist": digits_as_mnist,
    "cifar10": photographs_as_cifar10,
    "collision": photographs_as_frames,
    "vowels": walks_as_vowels,
}
"""Of each of :data:`SOURCES`: what a model is tried on where the data set itself is not there."""


def training_images(definition: ModelDefinition, folder: Path | None = None) -> Dataset:
    """Data set that a model is trained on; downloaded if it is nowhere. Raises what :func:`load` raises."""
    return digits() if definition.dataset == "digits" else load(definition.dataset, folder, download=True)


def evaluation_images(definition: ModelDefinition, folder: Path | None = None) -> tuple[Dataset, str]:
    """Data set whose test images a model is judged by, and its name; never downloads.

    For an MNIST model that is ``mnist`` if it is in ``folder``, the environment variable's folder or the cache (in this
    order), else ``digits_as_mnist``; for others likewise, else what :data:`STAND_INS` has.

    Raises
    ------
    UserError
        A folder was named, but the data set is not in it or is damaged.
    """
    if definition.dataset == "digits":
        dataset = digits()
    elif _place(definition.dataset, folder) is None:
        dataset = STAND_INS[definition.dataset]()
    else:
        dataset = load(definition.dataset, folder)
    return dataset, dataset.name


def evaluation_files(definition: ModelDefinition, folder: Path | None = None) -> list[Path]:
    """Files of the folder that :func:`evaluation_images` would read."""
    place = None if definition.dataset == "digits" else _place(definition.dataset, folder)
    return SOURCES[definition.dataset].files(place) if place else []


def encode(images: NDArray[Any], definition: ModelDefinition) -> NDArray[Any]:
    """Images uint8 (N, height, width[, 3]) as integers of a model's input, shape (N, *input shape), channels last.

    Bipolar inputs are int8, +1 where the pixel reaches ``definition.binarise_at`` and -1 elsewhere; unsigned ones are
    the pixels, uint8; signed ones the pixels less 128, int8.
    """
    shape = definition.input.shape
    if math.prod(images.shape[1:]) != math.prod(shape):
        raise UserError(f"images of shape {images.shape[1:]} do not fit the model's input shape {shape}")
    flat = images.reshape(len(images), *shape)
    if definition.input.kind == "unsigned":
        return flat
    if definition.input.kind == "signed":
        return (flat.astype(np.int16) - 128).astype(np.int8)
    return np.where(flat >= definition.binarise_at, np.int8(1), np.int8(-1))
