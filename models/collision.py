"""DroNet's frames of a forward camera, with whether an obstacle is too near: their files, reading, and the split.

The frames were labelled for Loquercio et al., "DroNet: Learning to Fly by Driving" (2018), and for its successor on a
nano-drone (Palossi et al., 2019). Here each file is an ``.npz`` of the arrays

- ``x``, uint8 (frames, 122, 162): grey frames,
- ``y``, (frames,): 1 where an obstacle is too near, else 0,
- ``sequence`` and ``frame``, strings (frames,): the flight that a frame is of, and its file name there, which ends in
  the frame's number, such as ``frame_12.pgm``.

Further flights are further files, found by their names.
"""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError

Labelled = tuple[NDArray[Any], NDArray[Any]]
"""Images uint8 (N, 40, 54) and labels int64 (N,), 1 where an obstacle is too near."""

TITLE = "The set of DroNet's collision frames"
NOTE = (
    "DroNet's collision frames (Loquercio et al., 2018), every fourth block of 20 frames of each flight held out: of"
    " flights never seen this tells nothing"
)
PATTERN = "*_162x122_u8.npz"
FILES = f"its frames as files {PATTERN} with arrays x, y, sequence and frame"

SIZE = (122, 162)
BINNING = 3
"""Pixels of a frame, per axis, whose mean is a pixel of an image: 162 x 122 become 54 x 40, two rows left out."""

IMAGE = (SIZE[0] // BINNING, SIZE[1] // BINNING)

BLOCK = 20
EVERY = 4
GUARD = 4
"""Frames of a block, how many blocks there are to one held out, and frames beside it that belong to neither part."""

_LARGEST = 1 << 31  # bytes of a file's arrays


@dataclass(frozen=True, eq=False)
class Flights:
    """Images uint8 (N, 40, 54), labels int64 (N,), and of each the number of its flight and its place in it, from 0."""

    images: NDArray[Any]
    labels: NDArray[Any]
    flight: NDArray[Any]
    place: NDArray[Any]
    names: tuple[str, ...]


def places(folder: Path) -> tuple[Path, ...]:
    """Where the files are looked for in a folder that is named for them, in this order."""
    return (folder, folder / "dronet-collision")


def files(folder: Path) -> list[Path]:
    """Those of the files that are in a folder that is named for them: all of the first place that has any."""
    return next((found for place in places(folder) if (found := sorted(place.glob(PATTERN)))), [])


def is_in(folder: Path) -> bool:
    """Whether frames seem to be in the folder."""
    return bool(files(folder))


def download(folder: Path) -> None:
    """Tell where frames come from: nobody offers them as these files."""
    raise UserError(
        "frames of a drone's camera are not downloaded: name the folder that has them, as files "
        f"{PATTERN} with arrays x, y, sequence and frame, with --data or the environment variable XNORFLOW_DATA"
    )


# --- reading


def flights(folder: Path) -> Flights:
    """Read all flights, in the order of files and names, each flight's frames by their numbers.

    Raises
    ------
    UserError
        There are none, or a file is not what it should be.
    """
    found = files(folder)
    if not found:
        raise UserError(f"no frames in {folder}: {PATTERN} is neither there nor in its sub-folder dronet-collision")
    parts: list[tuple[str, NDArray[Any], NDArray[Any]]] = []
    for path in found:
        frames, labels, sequences, numbers = _read(path)
        for name in np.unique(sequences):
            of_flight = np.flatnonzero(sequences == name)
            order = of_flight[np.argsort(numbers[of_flight], kind="stable")]
            parts.append((str(name), frames[order], labels[order]))
    lengths = [len(labels) for _, _, labels in parts]
    return Flights(
        np.concatenate([binned(frames) for _, frames, _ in parts]),
        np.concatenate([labels for _, _, labels in parts]),
        np.repeat(np.arange(len(parts)), lengths),
        np.concatenate([np.arange(length) for length in lengths]),
        tuple(name for name, _, _ in parts),
    )


def _read(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Frames, labels int64, names of flights and numbers of frames."""
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(member.file_size for member in archive.infolist())) > _LARGEST:
                raise UserError(f"{path}: expected at most {_LARGEST:,} bytes, unpacked, got {size:,}")
        with np.load(path, allow_pickle=False) as file:
            if missing := [name for name in ("x", "y", "sequence", "frame") if name not in file]:
                raise UserError(f"{path}: expected arrays x, y, sequence and frame, got no {missing[0]}")
            frames, labels, sequences, names = (file[name] for name in ("x", "y", "sequence", "frame"))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error}); get the file again") from None
    if frames.dtype != np.uint8 or frames.shape[1:] != SIZE or not len(frames):
        raise UserError(f"{path}: x: expected frames uint8 (frames, {SIZE[0]}, {SIZE[1]}), got {frames.dtype} "
                        f"{frames.shape}")  # fmt: skip
    for what, array in (("y", labels), ("sequence", sequences), ("frame", names)):
        if array.shape != (len(frames),):
            raise UserError(f"{path}: {what}: expected one for each of the {len(frames):,} frames, got {array.shape}")
    if not np.isin(labels, (0, 1)).all():
        wrong = int(np.flatnonzero(~np.isin(labels, (0, 1)))[0])
        raise UserError(f"{path}: y: expected 0 or 1, got {labels[wrong]} at {wrong}")
    numbers = [re.search(r"(\d{1,15})(\.\w+)?\Z", str(name)) for name in names]
    if None in numbers:
        strange = str(names[numbers.index(None)])
        raise UserError(f"{path}: frame: expected a name that ends in a number, as frame_12.pgm, got {strange!r}")
    return frames, labels.astype(np.int64), sequences, np.array([int(found[1]) for found in numbers if found])


def binned(frames: NDArray[Any]) -> NDArray[Any]:
    """Frames uint8 (N, 122, 162) as images (N, 40, 54): the mean of 3 x 3 pixels, a half rounded up."""
    height, width = IMAGE
    top, left = ((size - BINNING * kept) // 2 for size, kept in zip(SIZE, (height, width), strict=True))
    kept = frames[:, top : top + BINNING * height, left : left + BINNING * width]
    sums = kept.reshape(-1, height, BINNING, width, BINNING).sum(axis=(2, 4), dtype=np.uint16)
    images: NDArray[Any] = ((sums + BINNING**2 // 2) // BINNING**2).astype(np.uint8)
    return images


# --- the split


def held_out(of: Flights) -> tuple[NDArray[Any], NDArray[Any]]:
    """Say of each frame whether it is for training, and whether it is for the test: bool (N,), neither beside a block.

    Frames of a flight that follow each other are near-duplicates: drawn one by one, those of the test would be known
    from training. So blocks are held out, by number, in each flight another one first.
    """
    test = (of.flight + of.place // BLOCK) % EVERY == 0
    near = test.copy()
    for distance in range(1, GUARD + 1):
        same = of.flight[distance:] == of.flight[:-distance]
        near[distance:] |= test[:-distance] & same
        near[:-distance] |= test[distance:] & same
    return ~near, test


def read(folder: Path) -> tuple[Labelled, Labelled]:
    """Read the training and the test images: blocks of each flight, as :func:`held_out` says."""
    of = flights(folder)
    train, test = held_out(of)
    return (of.images[train], of.labels[train]), (of.images[test], of.labels[test])
