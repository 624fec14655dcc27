"""Japanese Vowels: the two files are read and cut into sequences, and whatever is wrong with them is told."""

from pathlib import Path

import numpy as np
import pytest

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.torch import convert
from xnorflow.bnn.network import Recurrent, SumPool2d
from xnorflow.models import checkpoint, data, vowels, zoo


def written(folder: Path, name: str, counts: tuple[int, ...], seed: int = 0) -> list[list[list[float]]]:
    """Write a file of random sequences, and return them."""
    rng = np.random.default_rng(seed)
    made: list[list[list[float]]] = [
        rng.uniform(-1, 1, (int(rng.integers(7, 30)), 12)).round(6).tolist() for _ in range(sum(counts))
    ]
    end = " ".join(["1.000000"] * 12)
    lines: list[str] = []
    for position, frames in enumerate(made):
        lines += [" ".join(f"{value:.6f}" for value in frame) for frame in frames]
        lines.append(end if position % 2 else end + "\n")  # the original has both, a line of ones and an empty one
    (folder / name).write_text("\n".join(lines) + "\n")
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "japanese-vowels"
    place.mkdir()
    for name, counts in zip(vowels.FILE_NAMES, vowels.SPEAKERS, strict=True):
        written(place, name, counts)
    return tmp_path


@pytest.mark.parametrize("place", [".", "japanese-vowels"])
def test_both_files_are_read_from_the_folder_or_below_it(folder: Path, place: str) -> None:
    (images, labels), (test_images, test_labels) = vowels.read(folder / place)
    assert (images.shape, images.dtype, test_images.shape) == ((270, 1, 29, 12), np.dtype("u1"), (370, 1, 29, 12))
    assert np.bincount(labels).tolist() == [30] * 9
    assert np.bincount(test_labels).tolist() == list(vowels.SPEAKERS[1])
    assert vowels.is_in(folder / place) and len(vowels.files(folder / place)) == 2


def test_a_sequence_ends_with_the_last_step_and_its_values_are_octets(tmp_path: Path) -> None:
    made = written(tmp_path, "ae.train", (5,))
    found = vowels.sequences(tmp_path / "ae.train")
    assert [frames.tolist() for frames in found] == made
    octets = vowels.quantised(found)
    for frames, sequence in zip(found, octets[:, 0], strict=True):
        assert (sequence[: 29 - len(frames)] == vowels.MIDDLE).all()
        np.testing.assert_array_equal(sequence[29 - len(frames) :], np.rint(64 * frames) + 128)
    extreme = vowels.quantised([np.array([[-9.0, -2, -1 / 64, 0, 1 / 64, 1.984375, 9, 0, 0, 0, 0, 0]])])[0, 0, -1, :7]
    assert extreme.tolist() == [0, 0, 127, 128, 129, 255, 255]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 2 3\n", "line 1: expected 12 finite numbers, got '1 2 3'"),
        ("\n" + "1 " * 11 + "x\n", "line 2: expected 12 numbers, got '1 1"),
        ("0 " * 11 + "nan\n", "line 1: expected 12 finite numbers"),
        (("0 " * 12 + "\n") * 30, "line 30: expected sequences of at most 29 frames"),
        ("0 " * 12 + "\n", "expected 270 sequences, got 1; get the file again"),
        ("\xe4", "ae.train cannot be read"),
    ],
)
def test_a_damaged_file_is_told_with_its_line(folder: Path, text: str, told: str) -> None:
    (folder / "japanese-vowels" / "ae.train").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=told):
        vowels.read(folder)


def test_a_folder_without_both_files_is_told(tmp_path: Path) -> None:
    written(tmp_path, "ae.test", (1,))
    with pytest.raises(UserError, match=r"expected ae\.train and ae\.test in .*, got ae\.test"):
        vowels.read(tmp_path)
    assert not vowels.is_in(tmp_path)


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path)
    with pytest.raises(UserError, match=r"not downloaded: get ae\.train and ae\.test"):
        data.training_images(zoo.get("vowels_rnn"))
    dataset, name = data.evaluation_images(zoo.get("vowels_rnn"))
    assert name == "walks_as_vowels" and dataset.test_images.shape == (370, 1, 29, 12) and not len(dataset.test_labels)


@pytest.mark.slow
def test_the_model_is_one_recurrent_layer_behind_a_layer_for_each_frame() -> None:
    definition = zoo.get("vowels_rnn")
    module = checkpoint.load(checkpoint.path_of(definition)).module
    network = convert(module, "vowels_rnn", definition.input)
    kinds = [type(operation).__name__ for operation in network.operations]
    assert kinds == ["Input", "Conv2d", "Threshold", "Conv2d", "Recurrent", "SumPool2d", "Flatten", "Dense", "Affine",
                     "Argmax"]  # fmt: skip
    assert network.signals["recurrent1"].shape == (1, 29, 128)
    assert isinstance(network["recurrent1"], Recurrent) and isinstance(network["pool1"], SumPool2d)
