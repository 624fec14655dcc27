import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from rich.console import Console

from xnorflow.bnn.errors import UserError
from xnorflow.flows import cli
from xnorflow.models import checkpoint, zoo
from xnorflow.models import train as training
from xnorflow.models.data import digits
from xnorflow.models.zoo import Augmentation

QUIET = Console(file=io.StringIO())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small batches gain nothing from more threads, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset() -> Any:
    return digits()


def train(tmp_path: Path, dataset: Any, run: str = "a", **options: Any) -> Any:
    path = tmp_path / f"{run}.safetensors"
    options = {"epochs": 2, "runs": tmp_path / run, "console": QUIET} | options
    return training.train(zoo.get("digits_bnn"), dataset, path, **options), path  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path: Path, dataset: Any) -> None:
    trained, first = train(tmp_path, dataset, "a")
    _, second = train(tmp_path, dataset, "b")
    _, other = train(tmp_path, dataset, "c", seed=1)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != other.read_bytes()
    assert trained.metadata["test"]["accuracy"] > 0.7  # it learns: chance is 0.1


def test_every_epoch_and_every_seed_draws_anew(tmp_path: Path, dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[Any, Any] = {}  # the order of a run's images in each of its epochs

    def batches(count: int, size: Any, generator: Any) -> Any:
        order = torch.randperm(count, generator=generator)
        drawn.setdefault(generator.initial_seed(), order.tolist())
        return order[: 2 * size].split(size)

    monkeypatch.setattr(training, "_batches", batches)
    train(tmp_path, dataset, "a", seed=0)
    train(tmp_path, dataset, "b", seed=1)
    assert len({tuple(order) for order in drawn.values()}) == 4


def test_an_interrupted_run_resumes_to_the_same_bits(
    tmp_path: Path, dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = train(tmp_path, dataset, "whole", epochs=3)

    train_epoch = training._train_epoch
    epochs = []

    def interrupted(run: Any, epoch: Any, *rest: Any) -> Any:
        epochs.append(epoch)
        if epochs == [0, 1]:
            raise KeyboardInterrupt
        return train_epoch(run, epoch, *rest)

    monkeypatch.setattr(training, "_train_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, dataset, "cut", epochs=3)
    assert not (tmp_path / "cut.safetensors").exists()
    _, resumed = train(tmp_path, dataset, "cut", epochs=3)
    assert epochs == [0, 1, 1, 2]  # epoch 0 was not trained again
    assert resumed.read_bytes() == whole.read_bytes()

    _, again = train(tmp_path, dataset, "cut", epochs=3)  # a finished run leaves nothing to resume
    assert epochs[4:] == [0, 1, 2]
    assert again.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(("changes", "resumed"), [({}, True), ({"epochs": 4}, False), ({"resume": False}, False)])
def test_only_a_run_of_the_same_recipe_is_resumed(
    tmp_path: Path, dataset: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], resumed: bool
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "save", stop)  # all epochs done, nothing saved
        train(tmp_path, dataset)
    epochs = []

    def trained(run: Any, epoch: int, *_: Any) -> tuple[float, float]:
        epochs.append(epoch)
        return 0.0, 0.0

    monkeypatch.setattr(training, "_train_epoch", trained)
    train(tmp_path, dataset, **changes)
    assert (epochs == []) == resumed


def test_a_damaged_state_is_refused(tmp_path: Path, dataset: Any) -> None:
    state = tmp_path / "a" / "digits_bnn-seed0" / training.STATE
    state.parent.mkdir(parents=True)
    state.write_bytes(b"not a state")
    with pytest.raises(UserError, match=r"state\.pt is damaged .* --no-resume"):
        train(tmp_path, dataset)


def test_two_trainings_of_one_run_do_not_mix(tmp_path: Path, dataset: Any) -> None:
    folder = tmp_path / "a" / "digits_bnn-seed0"
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"), pytest.raises(UserError, match="another training of digits_bnn"):
        train(tmp_path, dataset)


def test_the_best_epoch_on_validation_images_is_kept(
    tmp_path: Path, dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test images have no say: here the first epoch validates best, and tests worst."""
    counts = iter([100, 0, 50, 360, 0])  # validation and test per epoch, then the test of what was kept
    monkeypatch.setattr(training, "count_correct", lambda *_: next(counts))
    trained, _ = train(tmp_path, dataset)
    selection = trained.metadata["selection"]
    assert (selection["epoch"], selection["validation_accuracy"]) == (1, 100 / 119)


def test_validation_images_are_not_trained_on(dataset: Any) -> None:
    images, labels, validation_images, validation_labels = training._split(dataset, 0)
    assert (len(labels), len(validation_labels)) == (1437 - 119, 119)
    together = np.concatenate([images, validation_images]).reshape(1437, -1)
    original = dataset.train_images.reshape(1437, -1)
    np.testing.assert_array_equal(together[np.lexsort(together.T)], original[np.lexsort(original.T)])


def test_a_single_output_is_the_log_odds_of_class_1() -> None:
    scores, labels = torch.tensor([[-2.0], [0.0], [3.0]]), torch.tensor([0, 1, 0])
    assert training.classes(scores).tolist() == [0, 1, 1]  # 0 counts as positive, as in the golden model
    expected = torch.nn.functional.binary_cross_entropy_with_logits(scores[:, 0], labels.float())
    torch.testing.assert_close(training.loss_of(scores, labels, 0.0), expected)
    assert training.classes(torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 3.0]])).tolist() == [1, 0]


def test_the_recorded_accuracy_is_that_of_the_file(tmp_path: Path, dataset: Any) -> None:
    trained, path = train(tmp_path, dataset)
    images, labels = torch.from_numpy(dataset.test_images), torch.from_numpy(dataset.test_labels)
    correct = training.count_correct(checkpoint.load(path).module, images, labels, zoo.get("digits_bnn"))
    assert trained.metadata["test"] == {"correct": correct, "count": 360, "accuracy": correct / 360}


def test_tensorboard_gets_scalars_and_histograms(tmp_path: Path, dataset: Any) -> None:
    train(tmp_path, dataset)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "a" / "digits_bnn-seed0"))
    events.Reload()
    scalars = {f"accuracy/{part}" for part in ("train", "validation", "test")} | {"loss/train", "learning_rate"}
    assert scalars | {"flipped_signs/0", "flipped_signs/3", "flipped_signs/6"} == set(events.Tags()["scalars"])
    assert "0.weight" in events.Tags()["histograms"]
    flipped = [event.value for event in events.Scalars("flipped_signs/0")]
    assert len(flipped) == 2
    assert all(0 < share < 0.5 for share in flipped)


# --- augmentation


def images(count: int = 4, side: int = 28) -> Any:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, side, side), generator=generator).to(torch.uint8)


def test_no_distortion_changes_nothing() -> None:
    assert torch.equal(training.augment(images(), Augmentation(), torch.Generator()), images())


@pytest.mark.parametrize(
    "field", ["rotation", "scale", "shear", "shift", "elastic", "crop", "flip", "gain", "offset", "noise"]
)
def test_each_distortion_does_something_and_repeats_with_its_seed(field: str) -> None:
    augmentation = replace(Augmentation(), **{field: 1 if field in ("crop", "flip", "offset") else 0.5})  # type: ignore[arg-type]
    first, second = (training.augment(images(), augmentation, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.dtype == torch.uint8
    assert not torch.equal(first, images())


def test_a_shift_moves_by_no_more_pixels_than_said() -> None:
    dot = torch.zeros(200, 28, 28, dtype=torch.uint8)
    dot[:, 14, 14] = 255
    moved = training.augment(dot, Augmentation(shift=2), torch.Generator().manual_seed(0))
    reached = moved.amax(0).nonzero()
    assert reached.amin(0).tolist() == [12, 12]
    assert reached.amax(0).tolist() == [16, 16]


def test_a_crop_moves_whole_pixels_of_all_colours_alike() -> None:
    dot = torch.zeros(200, 28, 28, 3, dtype=torch.uint8)
    dot[:, 14, 14] = torch.tensor([255, 90, 7], dtype=torch.uint8)
    moved = training.augment(dot, Augmentation(crop=2), torch.Generator().manual_seed(0))
    assert (moved.reshape(200, -1, 3).sum(1) == torch.tensor([255, 90, 7])).all()  # neither spread nor lost
    assert {(row, column) for _, row, column, colour in moved.nonzero().tolist() if not colour} == {
        (row, column) for row in range(12, 17) for column in range(12, 17)
    }


def test_gain_and_offset_change_all_pixels_of_an_image_alike() -> None:
    grey = torch.full((200, 4, 4), 100, dtype=torch.uint8)
    for augmentation, low, high in ((Augmentation(gain=0.2), 80, 120), (Augmentation(offset=15), 85, 115)):
        changed = training.augment(grey, augmentation, torch.Generator().manual_seed(0))
        assert (changed == changed[:, :1, :1]).all()
        assert low <= changed.min() < low + 3 and high - 3 < changed.max() <= high


def test_a_flip_mirrors_half_of_the_images() -> None:
    first = images(200)
    moved = training.augment(first, Augmentation(flip=True), torch.Generator().manual_seed(0))
    mirrored = (moved == first.flip(2)).all(dim=(1, 2))
    assert torch.equal(mirrored, ~(moved == first).all(dim=(1, 2)))
    assert 70 < mirrored.sum() < 130


# --- bfloat16


def test_a_recipe_in_bfloat16_learns_and_stores_float32(
    tmp_path: Path, dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = zoo.get("digits_bnn")
    faster = replace(definition, recipe=replace(definition.recipe, bfloat16=True))
    seen = []
    linear = torch.nn.functional.linear

    def noted(*x: Any) -> torch.Tensor:
        seen.append((y := linear(*x)).dtype)
        return y

    monkeypatch.setattr(torch.nn.functional, "linear", noted)
    trained = training.train(faster, dataset, tmp_path / "a.safetensors", epochs=2, runs=tmp_path / "a", console=QUIET)
    assert set(seen) == {torch.bfloat16, torch.float32}  # in training, and in evaluation
    assert all(tensor.dtype == torch.float32 for tensor in trained.module.state_dict().values() if tensor.ndim)
    assert trained.metadata["test"]["accuracy"] > 0.7


# --- command line


def test_the_command_trains_and_says_how_well(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "xnorflow",
        "train",
        "digits_bnn",
        "--epochs",
        "1",
        "--out",
        "model.safetensors",
    ]
    environment = os.environ | {"PYTHONPATH": str(checkpoint.FOLDER.parent.parent), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "of 360 test images correct" in result.stdout
    assert checkpoint.load(tmp_path / "model.safetensors").metadata["epochs"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnist_bn"], "choose one of: mnist_bnn"),
        (["mnist_bnn", "--data", "nowhere"], "no folder nowhere"),
        (["digits_bnn", "--epochs", "0"], "--epochs"),
    ],
)
def test_a_wrong_argument_ends_with_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["xnorflow", "train", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_training_never_replaces_what_is_there_unless_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    definition = zoo.get("digits_bnn")
    own = checkpoint.path_of(definition)
    assert training.destination(definition, 3).as_posix() == "runs/digits_bnn-seed3/digits_bnn.safetensors"
    assert training.destination(definition, replace_checkpoint=True) == own
    (tmp_path / "mine.safetensors").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for out in (own, tmp_path, tmp_path / "mine.safetensors", tmp_path / "link", tmp_path / "no" / "such"):
        with pytest.raises(UserError, match="choose another OUT"):
            training.destination(definition, out=out)
    with pytest.raises(UserError, match="exclude each other"):
        training.destination(definition, out=tmp_path / "x", replace_checkpoint=True)
    assert (tmp_path / "mine.safetensors").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "mine.safetensors"]
