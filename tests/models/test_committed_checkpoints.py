"""The committed checkpoints: each loads, says all about its making, and is as good as it says."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from xnorflow.models import checkpoint, data, zoo
from xnorflow.models.train import FRAMEWORKS, count_correct

ABOVE = {
    "mnist_bnn": 0.95,
    "mnist_sfc": 0.97,
    "mnist_lfc": 0.986,
    "mnist_cnn": 0.99,
    "mnist_resnet_bnn": 0.98,
    "mnist_qkeras": 0.95,
    "mnist_larq": 0.98,
    "cifar10_cnv": 0.78,
    "drone_bnn": 0.9,
    "vowels_rnn": 0.95,
    "digits_bnn": 0.95,
}


def committed(name: str) -> Any:
    if zoo.get(name).framework != "pytorch":
        pytest.importorskip("tensorflow", reason="needs xnorflow[keras]")
    return checkpoint.load(checkpoint.path_of(zoo.get(name)))


def recipe_of(recorded: Any) -> Any:
    """What a checkpoint's recipe does not name had its default."""
    augmentation = recorded["augmentation"]
    return zoo.Recipe(**{**recorded, "augmentation": augmentation and zoo.Augmentation(**augmentation)})


def measured(name: str, dataset: Any) -> Any:
    images, labels = torch.from_numpy(dataset.test_images), torch.from_numpy(dataset.test_labels)
    return count_correct(committed(name).module, images, labels, zoo.get(name)), len(labels)


def test_every_model_of_the_zoo_has_one_and_there_is_no_other() -> None:
    assert set(checkpoint.FOLDER.iterdir()) == {checkpoint.path_of(definition) for definition in zoo.ZOO.values()}


@pytest.mark.parametrize("name", zoo.ZOO)
def test_it_says_all_about_its_making(name: str) -> None:
    definition, metadata = zoo.get(name), committed(name).metadata
    assert metadata["model"] == name
    assert recipe_of(metadata["recipe"]) == definition.recipe
    assert metadata["epochs"] == definition.recipe.epochs
    assert metadata["seed"] >= 0
    assert metadata["threads"] >= 1
    assert metadata["dataset"]["name"] == definition.dataset
    assert len(metadata["dataset"]["digest"]) == 64
    assert set(metadata["versions"]) == {"python", "numpy", *FRAMEWORKS[definition.framework][0]}
    assert 1 <= metadata["selection"]["epoch"] <= metadata["epochs"]
    test = metadata["test"]
    counts = {"mnist": 10_000, "cifar10": 10_000, "collision": 451, "vowels": 370, "digits": 360}
    assert test["count"] == counts[definition.dataset]
    assert test["accuracy"] == test["correct"] / test["count"]
    assert test["accuracy"] > ABOVE[name]


def test_the_accuracy_of_digits_bnn_is_as_recorded() -> None:
    dataset, metadata = data.digits(), committed("digits_bnn").metadata
    assert dataset.digest == metadata["dataset"]["digest"]
    assert measured("digits_bnn", dataset) == (metadata["test"]["correct"], metadata["test"]["count"])


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get(data.DATA_VARIABLE), reason=f"needs data sets: {data.DATA_VARIABLE} is not set")
@pytest.mark.parametrize(
    "name", [name for name in zoo.ZOO if zoo.get(name).dataset in ("mnist", "collision", "vowels")]
)
def test_the_accuracy_on_the_data_set_is_as_recorded(name: str) -> None:
    source = zoo.get(name).dataset
    if not data.SOURCES[source].is_in(Path(os.environ[data.DATA_VARIABLE])):
        pytest.skip(f"needs {data.SOURCES[source].TITLE} in {data.DATA_VARIABLE}")
    dataset, metadata = data.load(source), committed(name).metadata
    assert dataset.digest == metadata["dataset"]["digest"]
    assert measured(name, dataset) == (metadata["test"]["correct"], metadata["test"]["count"])


@pytest.mark.parametrize("name", [name for name in zoo.ZOO if name.startswith("mnist")])
def test_mnist_models_read_the_resampled_digits(name: str) -> None:
    """Digits of another source, resampled from 8x8, are harder; but a wrong polarity or layout gives about 0.1."""
    correct, count = measured(name, data.digits_as_mnist())
    assert correct / count > 0.6
