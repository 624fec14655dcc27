"""Data sets, and their images as the integers that a model takes in.

MNIST comes from a folder that the user names, or from the cache that training fills through torchvision; scikit-learn's
handwritten digits are bundled with that package and need neither.
"""

import gzip
import hashlib
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnn.errors import UserError
from models.zoo import ModelDefinition

DATA_VARIABLE = "XNORFLOW_DATA"
"""Environment variable that names the folder of the data sets."""

_IDX_UINT8 = 0x08  # third byte of an idx file's magic number: the type of its elements


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images uint8 (N, height, width) and labels int64 (N,) in 0..9, with a SHA-256 over all four arrays.

    ``note`` says in a few words where the data came from.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    digest: str
    note: str


_Labelled = tuple[np.ndarray, np.ndarray]  # images uint8 (N, height, width) and labels (N,)


def _dataset(name: str, note: str, train: _Labelled, test: _Labelled) -> Dataset:
    digest = hashlib.sha256()
    arrays = []
    for array, dtype in zip((*train, *test), ("u1", "<i8") * 2, strict=True):
        array = np.ascontiguousarray(array, dtype)
        digest.update(repr((array.shape, dtype)).encode())
        digest.update(array.data)
        arrays.append(array)
    return Dataset(name, arrays[0], arrays[1], arrays[2], arrays[3], digest.hexdigest(), note)


# --- MNIST


def cache_folder() -> Path:
    """Folder into which training downloads MNIST when the user names none."""
    from platformdirs import user_cache_path

    return user_cache_path("xnorflow")


def places(folder: Path) -> tuple[Path, ...]:
    """Where MNIST's files are looked for in a folder that is named for them, in this order."""
    return (folder, folder / "MNIST" / "raw", folder / "mnist")


def _find(folder: Path, name: str) -> Path | None:
    for place in places(folder):
        for path in (place / name, place / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Array of uint8 in an idx file, gzip-compressed if it ends in ``.gz``."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); get the file again") from error
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


def _read_pair(folder: Path, prefix: str) -> _Labelled:
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
    if labels.max(initial=0) > 9:
        raise UserError(f"{paths[1]} has a label {labels.max()}, expected 0 to 9")
    return images, labels


def _read_mnist(folder: Path) -> Dataset:
    return _dataset("mnist", "MNIST (LeCun, Cortes, Burges)", _read_pair(folder, "train"), _read_pair(folder, "t10k"))


def _mnist_folder(folder: Path | None) -> Path | None:
    """Where MNIST should be: the argument, else the environment variable, else the filled cache, else nowhere."""
    if folder is not None:
        return folder
    if os.environ.get(DATA_VARIABLE):
        return Path(os.environ[DATA_VARIABLE])
    return cache_folder() if _find(cache_folder(), "t10k-labels-idx1-ubyte") else None


def mnist(folder: Path | None = None, *, download: bool = False) -> Dataset:
    """MNIST: 60,000 training and 10,000 test images of 28 x 28 pixels.

    Parameters
    ----------
    folder
        Has the four idx files (``.gz`` or not) itself or in a sub-folder ``MNIST/raw`` or ``mnist``. Without it the
        folder in ``XNORFLOW_DATA`` is read, and without that the cache that an earlier download filled.
    download
        If none of the three is there, download the files into the cache with torchvision.

    Raises
    ------
    UserError
        MNIST is not there, cannot be downloaded, or a file is not what it should be.
    """
    place = _mnist_folder(folder)
    if place is not None:
        return _read_mnist(place)
    reason = "the files are in no known folder"
    if download:
        try:
            from torchvision.datasets import MNIST

            MNIST(cache_folder(), download=True)
            return _read_mnist(cache_folder())
        except UserError:
            raise
        except Exception as error:  # no network, a torchvision that fails to import, ...: the way out is the same
            reason = f"torchvision cannot download it ({type(error).__name__}: {error})"
    raise UserError(
        f"MNIST is not available: {reason}.\n"
        f"Name the folder that has its four idx files with --data or the environment variable {DATA_VARIABLE},\n"
        "or train on a machine with a network connection and torchvision 0.28.0, which downloads it."
    )


# --- scikit-learn's digits


def _load_digits() -> _Labelled:
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
    return _dataset("digits", note, (train_images, train_labels), (test_images, test_labels))


def digits_as_mnist() -> Dataset:
    """scikit-learn's digits in MNIST's style: 20 x 20 pixels centred in 28 x 28, 0 to 255, all 1,797 as test images."""
    from scipy.ndimage import zoom

    images, labels = _load_digits()
    large = zoom(images.astype(np.float64), (1, 20 / 8, 20 / 8), order=1, grid_mode=True, mode="nearest")
    scaled = np.rint(large * (255 / 16)).clip(0, 255).astype(np.uint8)
    none = (np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64))
    note = "scikit-learn's bundled digits resampled to 28x28, in place of MNIST"
    return _dataset("digits_as_mnist", note, none, (np.pad(scaled, ((0, 0), (4, 4), (4, 4))), labels))


# --- what a model takes in


def evaluation_images(definition: ModelDefinition, folder: Path | None = None) -> tuple[Dataset, str]:
    """Data set whose test images a model is judged by, and its name; never downloads.

    For an MNIST model that is ``mnist`` if it is in ``folder``, the environment variable's folder or the cache (in this
    order), else ``digits_as_mnist``.

    Raises
    ------
    UserError
        A folder was named, but MNIST is not in it or is damaged.
    """
    if definition.dataset == "digits":
        dataset = digits()
    else:
        dataset = digits_as_mnist() if _mnist_folder(folder) is None else mnist(folder)
    return dataset, dataset.name


def encode(images: np.ndarray, definition: ModelDefinition) -> np.ndarray:
    """Images uint8 (N, height, width) as integers of a model's input, shape (N, *input shape), channels last.

    Bipolar inputs are int8, +1 where the pixel reaches ``definition.binarise_at`` and -1 elsewhere; unsigned ones are
    the pixels, uint8.
    """
    shape = definition.input.shape
    if math.prod(images.shape[1:]) != math.prod(shape):
        raise UserError(f"images of shape {images.shape[1:]} do not fit the model's input shape {shape}")
    flat = images.reshape(len(images), *shape)
    if definition.input.kind == "unsigned":
        return flat
    return np.where(flat >= definition.binarise_at, np.int8(1), np.int8(-1))
