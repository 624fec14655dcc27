import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from xnorflow.bnn.errors import UserError
from xnorflow.models import checkpoint, collision, data, flights, zoo
from xnorflow.models import train as training

FLIGHTS = {"b": 70, "a": 30, "c": 5}
"""Frames of each flight, in the order of the file."""


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data folder in the environment, and an empty cache."""
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")


def arrays(flights: Any = FLIGHTS) -> Any:
    """Frames of one grey each, which tells the flight and the number; the last of each flight are too near."""
    sequence = np.concatenate([np.full(count, name) for name, count in flights.items()])
    number = np.concatenate([np.arange(1, count + 1) for count in flights.values()])
    near = np.concatenate([np.arange(count) >= 0.8 * count for count in flights.values()])
    grey = (100 * (sequence == "b") + 200 * (sequence == "c") + number).astype(np.uint8)
    return {
        "x": np.broadcast_to(grey[:, None, None], (len(grey), *collision.SIZE)).copy(),
        "y": near.astype(np.uint8),
        "sequence": sequence,
        "frame": np.array([f"frame_{n}.pgm" for n in number]),
    }


def write(folder: Any, name: str = "one_162x122_u8.npz", **changes: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    given_arrays = {**arrays(), **changes}
    np.savez(folder / name, **{key: array for key, array in given_arrays.items() if array is not None})


@pytest.mark.parametrize("place", [".", "dronet-collision"])
def test_frames_are_read_by_flight_and_number_whatever_their_order(tmp_path: Path, place: str) -> None:
    shuffled = np.random.default_rng(0).permutation(sum(FLIGHTS.values()))
    write(tmp_path / place, **{key: array[shuffled] for key, array in arrays().items()})
    of = collision.flights(tmp_path)
    assert of.names == ("a", "b", "c")
    assert of.flight.tolist() == [0] * 30 + [1] * 70 + [2] * 5
    assert of.place.tolist() == [*range(30), *range(70), *range(5)]
    np.testing.assert_array_equal(of.images[:, 7, 8], [*range(1, 31), *range(101, 171), *range(201, 206)])
    np.testing.assert_array_equal(of.labels, [*[0] * 24, *[1] * 6, *[0] * 56, *[1] * 14, *[0] * 4, 1])


def test_further_files_are_further_flights_even_of_the_same_name(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "two_162x122_u8.npz")
    write(tmp_path, "another.npz", x=np.zeros(1))  # another's
    of = collision.flights(tmp_path)
    assert of.names == ("a", "b", "c") * 2
    assert len(collision.files(tmp_path)) == 2


@given(st.lists(st.integers(1, 130), min_size=1, max_size=6))
def test_blocks_are_held_out_with_guards_within_each_flight(lengths: Any) -> None:
    """Beside the definition, frame by frame."""
    flight = np.repeat(np.arange(len(lengths)), lengths)
    place = np.concatenate([np.arange(length) for length in lengths])
    train, test = collision.held_out(collision.Flights(flight, flight, flight, place, ()))
    expected = [(f + p // 20) % 4 == 0 for f, p in zip(flight, place, strict=True)]
    assert test.tolist() == expected
    for i in range(len(flight)):
        beside = (flight == flight[i]) & (abs(place - place[i]) <= 4)
        assert train[i] == (not test[beside].any())


def test_a_pixel_is_the_rounded_mean_of_nine() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, *collision.SIZE), np.uint8)
    images = collision.binned(frames)
    assert (images.shape, images.dtype) == ((3, *collision.IMAGE), np.dtype("u1"))
    for y, x in ((0, 0), (39, 53), (17, 20)):
        nine = frames[:, 1 + 3 * y : 4 + 3 * y, 3 * x : 3 * x + 3].reshape(3, 9).astype(float)
        np.testing.assert_array_equal(images[:, y, x], np.floor(nine.mean(axis=1) + 0.5))
    assert (collision.binned(np.full((1, *collision.SIZE), 255, np.uint8)) == 255).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence": None}, "expected arrays x, y, sequence and frame, got no sequence"),
        (
            {"x": np.zeros((105, 40, 54), np.uint8)},
            r"x: expected frames uint8 \(frames, 122, 162\), got uint8 \(105, 4",
        ),
        ({"x": np.zeros((105, *collision.SIZE), np.float32)}, "x: expected frames uint8 .* got float32"),
        ({"x": np.zeros((0, *collision.SIZE), np.uint8)}, r"x: expected frames .* got uint8 \(0, "),
        ({"y": np.zeros(104, np.uint8)}, r"y: expected one for each of the 105 frames, got \(104,\)"),
        ({"y": np.full(105, 2)}, "y: expected 0 or 1, got 2 at 0"),
        ({"frame": np.full(105, "frame.pgm")}, "frame: expected a name that ends in a number, .* got 'frame.pgm'"),
        ({"frame": np.full(105, None)}, "cannot be read"),  # a pickle, which is never loaded
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write(tmp_path, **changes)
    with pytest.raises(UserError, match=f"one_162x122_u8.npz.*{message}"):
        collision.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "one_162x122_u8.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"one_162x122_u8\.npz cannot be read"):
        collision.read(tmp_path)


def test_without_frames_it_is_said_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no frames in .*\*_162x122_u8\.npz is neither there nor in .*dronet-collision"
    ):
        data.load("collision", tmp_path)
    with pytest.raises(UserError, match=r"are not downloaded: name the folder .* --data or .* XNORFLOW_DATA"):
        data.training_images(zoo.get("drone_bnn"))


def test_the_zoo_is_trained_and_judged_by_these_blocks(tmp_path: Path) -> None:
    write(tmp_path)
    definition = zoo.get("drone_bnn")
    (images, labels), (test_images, test_labels) = collision.read(tmp_path)
    judged, name = data.evaluation_images(definition, tmp_path)
    trained = data.training_images(definition, tmp_path)
    assert name == "collision" and data.evaluation_files(definition, tmp_path) == collision.files(tmp_path)
    np.testing.assert_array_equal(judged.test_images, test_images)
    np.testing.assert_array_equal(judged.test_labels, test_labels)
    np.testing.assert_array_equal(trained.train_images, images)
    np.testing.assert_array_equal(trained.train_labels, labels)
    assert (len(images), len(test_images)) == (67, 30)


def test_without_frames_grey_pieces_of_photographs_stand_in() -> None:
    dataset, name = data.evaluation_images(zoo.get("drone_bnn"))
    assert name == "photographs_as_frames"
    assert (dataset.test_images.shape, len(dataset.test_labels)) == ((220, 40, 54), 0)
    assert 50 < dataset.test_images.mean() < 200 and dataset.test_images.std() > 20


# --- flights never seen


def test_every_flight_is_the_test_of_one_fold(tmp_path: Path) -> None:
    write(tmp_path)
    of, seen = collision.flights(tmp_path), []
    for number in range(flights.FOLDS):
        dataset, names = flights.fold(of, number)
        assert len(dataset.train_labels) + len(dataset.test_labels) == 105
        assert not {*dataset.test_images[:, 0, 0]} & {
            *dataset.train_images[:, 0, 0]
        }  # each frame has a grey of its own
        assert len(dataset.test_labels) == sum(FLIGHTS[name] for name in names)
        seen += names
    assert sorted(seen) == ["a", "b", "c"]


def test_all_folds_are_trained_once_and_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that takes every frame for too near."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, **arrays(dict.fromkeys("abcd", 10)))
    trained = []

    def train(definition: Any, dataset: Any, path: Path, **_: Any) -> None:
        trained.append(dataset.name)
        module = definition.build()
        torch.nn.init.zeros_(module[-1].weight)
        checkpoint.save(path, definition.name, module, {})

    monkeypatch.setattr(training, "train", train)
    shown = io.StringIO()
    for _ in range(2):
        assert flights.measure(tmp_path, Console(file=shown, width=100)).tolist() == [[0, 32], [0, 8]]
    assert trained == ["flights_0", "flights_1", "flights_2", "flights_3"]
    assert "all" in shown.getvalue() and "20.0 %" in shown.getvalue() and "100.0 %" in shown.getvalue()
