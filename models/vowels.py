"""Japanese Vowels: nine speakers' utterances of /ae/, each a sequence of 7 to 29 frames with 12 cepstrum coefficients.

The set of the UCI Machine Learning Repository (Kudo, Toyama and Shimbo, 1999; CC BY 4.0): ``ae.train`` and ``ae.test``
are lines of 12 numbers, a frame each; a line of twelve 1.0, or an empty one, ends a sequence. Sequences follow each
other by speaker.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Sequences uint8 (N, 1, 29, 12) and labels int64 (N,): the speaker, from 0."""

TITLE = "The set Japanese Vowels"
NOTE = "Japanese Vowels (Kudo et al., 1999), UCI's split of 270 and 370 utterances"
FILES = "UCI's files ae.train and ae.test"
FILE_NAMES = ("ae.train", "ae.test")

SPEAKERS = ((30,) * 9, (31, 35, 88, 44, 29, 24, 40, 50, 29))
"""Sequences of each speaker, in ae.train and in ae.test."""

STEPS = 29
FEATURES = 12
SCALE = 64
MIDDLE = 128
"""A value v becomes the octet ``round(v * SCALE) + MIDDLE``, -2.0 to 1.98; a model takes it less MIDDLE."""

_LARGEST = 1 << 26  # bytes of a file


def places(folder: Path) -> tuple[Path, ...]:
    """Where the files are looked for in a folder that is named for them, in this order."""
    return (folder, folder / "japanese-vowels")


def files(folder: Path) -> list[Path]:
    """Those of the files that are in a folder that is named for them: all of the first place that has any."""
    found = ([path for name in FILE_NAMES if (path := place / name).is_file()] for place in places(folder))
    return next((paths for paths in found if paths), [])


def is_in(folder: Path) -> bool:
    """Whether both files seem to be in the folder."""
    return len(files(folder)) == len(FILE_NAMES)


def download(folder: Path) -> None:
    """Tell where the files come from: torchvision does not have them."""
    raise UserError(
        "Japanese Vowels are not downloaded: get ae.train and ae.test, of data set 128, from archive.ics.uci.edu, and"
        " name the folder that has them with --data or the environment variable XNORFLOW_DATA"
    )


def sequences(path: Path) -> list[NDArray[np.float64]]:
    """Read the sequences of a file, float64 (frames, 12) each.

    Raises
    ------
    UserError
        If it cannot be read, or a line is none of a frame.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path}: expected at most {_LARGEST:,} bytes, got {path.stat().st_size:,}")
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); get the file again") from None
    found: list[NDArray[np.float64]] = []
    frames: list[list[float]] = []
    for number, line in enumerate([*lines, ""], 1):
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            raise UserError(f"{path}, line {number}: expected {FEATURES} numbers, got {line[:60]!r}") from None
        if all(value == 1.0 for value in values):  # an empty line, too
            found += [np.array(frames)] if frames else []
            frames = []
        elif len(values) != FEATURES or not np.isfinite(values).all():
            raise UserError(f"{path}, line {number}: expected {FEATURES} finite numbers, got {line[:60]!r}")
        else:
            frames.append(values)
            if len(frames) > STEPS:
                raise UserError(
                    f"{path}, line {number}: expected sequences of at most {STEPS} frames, got a longer one"
                )
    return found


def quantised(found: list[NDArray[np.float64]]) -> NDArray[np.uint8]:
    """Sequences as octets, uint8 (N, 1, 29, 12): each ends with the last step, and in front of it are zeros."""
    result = np.full((len(found), 1, STEPS, FEATURES), MIDDLE, np.uint8)
    for number, frames in enumerate(found):
        result[number, 0, STEPS - len(frames) :] = (np.rint(frames * SCALE) + MIDDLE).clip(0, 255)
    return result


def read(folder: Path) -> tuple[Labelled, Labelled]:
    """Read the sequences for training and for the test."""
    paths = files(folder)
    if len(paths) < len(FILE_NAMES):
        raise UserError(f"{TITLE.lower()}: expected {' and '.join(FILE_NAMES)} in {folder} or its sub-folder "
                        f"japanese-vowels, got {', '.join(path.name for path in paths) or 'neither'}")  # fmt: skip
    parts: list[Labelled] = []
    for path, counts in zip(paths, SPEAKERS, strict=True):
        found = sequences(path)
        if len(found) != sum(counts):
            raise UserError(f"{path}: expected {sum(counts)} sequences, got {len(found)}; get the file again")
        parts.append((quantised(found), np.repeat(np.arange(len(counts)), counts)))
    train, test = parts
    return train, test


def stand_in(count: int = 370, seed: int = 0) -> NDArray[np.uint8]:
    """Sequences that wander at random, of random lengths: octets as :func:`quantised` has them."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(7, STEPS + 1, count)
    return quantised([np.cumsum(rng.normal(0, 0.2, (length, FEATURES)), axis=0) for length in lengths])
