"""Labelled data of the user's own: what fits is taken as it is, what does not is refused with the place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Input
from xnorflow.models import labelled

PIXELS = Input("input", (), (4, 4, 1), "unsigned", 8, 8)
BIPOLAR = Input("input", (), (6,), "bipolar")


def test_arrays_of_integers_and_of_the_trained_models_numbers_are_the_same() -> None:
    x = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1))
    integers = labelled.labelled(x, [0, 1, 2, 0, 1], PIXELS, 3)
    floats = labelled.labelled(x / 256, [0, 1, 2, 0, 1], PIXELS, 3)
    assert np.array_equal(integers.x, x) and np.array_equal(floats.x, x)
    assert integers.digest == floats.digest != labelled.labelled(x, [0, 1, 2, 0, 2], PIXELS, 3).digest


def test_sequences_come_as_they_are_or_as_images_of_one_row() -> None:
    taken, x = Input("input", (), (1, 5, 3), "signed", 6), np.random.default_rng(0).integers(-32, 32, (2, 5, 3))
    alone, rows = (labelled.labelled(given, [0, 1], taken, 2) for given in (x, x[:, None]))
    assert alone.x.shape == (2, 1, 5, 3) and alone.digest == rows.digest
    with pytest.raises(UserError, match=r"x: expected shape \(vectors, 1, 5, 3\)"):
        labelled.labelled(x[:, :4], [0, 1], taken, 2)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((2, 5)), [0, 1], r"x: expected shape \(vectors, 6\)"),
        (np.ones((2, 6)), [0], "y: expected a label for each of the 2"),
        (np.ones((2, 6)), [0, 3], "y: expected 0 to 2.*got 3 at 1"),
        (np.ones((2, 6)), [0, -1], "got -1 at 1"),
        (np.ones((2, 6)), [0.0, 1.0], "y: expected integers"),
        (np.zeros((2, 6), int), [0, 1], r"x: expected -1 or \+1.*got 0"),
        (np.full((2, 6), 0.5), [0, 1], r"x: expected -1 or \+1.*got 0.5"),
        (np.full((2, 6), np.nan), [0, 1], "got nan"),
        (np.full((2, 6), "a"), [0, 1], "x: expected integers or floating-point numbers"),
        (np.ones((0, 6)), np.zeros(0, int), "at least one"),
    ],
)
def test_what_does_not_fit_is_refused(x: NDArray[Any], y: list[Any] | NDArray[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        labelled.labelled(x, y, BIPOLAR, 3)


def test_a_file_of_arrays(tmp_path: Path) -> None:
    x, y = np.ones((2, 6), np.int8), np.array([0, 2])
    np.savez(tmp_path / "my.npz", x=x, y=y)
    assert labelled.is_own(tmp_path / "my.npz")
    assert np.array_equal(labelled.read(tmp_path / "my.npz", BIPOLAR, 3).y, y)
    np.savez(tmp_path / "no_y.npz", x=x)
    with pytest.raises(UserError, match="no y; it has x"):
        labelled.read(tmp_path / "no_y.npz", BIPOLAR, 3)
    np.savez(tmp_path / "pickled.npz", x=np.array([None], object), y=y)
    with pytest.raises(UserError, match="not a readable"):
        labelled.read(tmp_path / "pickled.npz", BIPOLAR, 3)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "my.npz").read_bytes()[:100])
    with pytest.raises(UserError, match="not a readable"):
        labelled.read(tmp_path / "cut.npz", BIPOLAR, 3)


def test_a_folder_of_images_by_class(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4), np.uint8)
    for image, name in zip(images, ("cat/1", "dog/1", "dog/2"), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    assert labelled.is_own(tmp_path)
    read = labelled.read(tmp_path, PIXELS, 2)
    assert np.array_equal(read.x[..., 0], images) and read.y.tolist() == [0, 1, 1]
    signed = labelled.read(tmp_path, Input("input", (), (4, 4, 1), "signed", 8), 2)
    assert np.array_equal(signed.x[..., 0], images.astype(int) - 128)
    binary = labelled.read(tmp_path, Input("input", (), (16,)), 2, binarise_at=100)
    assert np.array_equal(binary.x, np.where(images.reshape(3, 16) >= 100, 1, -1))
    with pytest.raises(UserError, match="resize it"):
        labelled.read(tmp_path, Input("input", (), (5, 5, 1), "unsigned", 8), 2)
    with pytest.raises(UserError, match="no 8-bit pixels"):
        labelled.read(tmp_path, Input("input", (), (16,)), 2)
    (tmp_path / "dog" / "3.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"3\.png: not a readable image"):
        labelled.read(tmp_path, PIXELS, 2)
