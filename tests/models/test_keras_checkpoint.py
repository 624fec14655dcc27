"""Keras models of the zoo as checkpoints: files of Keras, with the facts of their training, and trained by its fit."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from rich.console import Console
from tests.bnn.frontends.keras_models import hostile

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import keras_file
from xnorflow.flows import subject
from xnorflow.models import checkpoint, data, train_keras, zoo
from xnorflow.models import train as training

KERAS = [name for name, definition in zoo.ZOO.items() if definition.framework != "pytorch"]


@pytest.fixture(scope="module")
def images() -> Any:
    return data.digits_as_mnist().test_images[:40]


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    model = hostile(zoo.get("mnist_qkeras").build(), 1)
    checkpoint.save(path := tmp_path / "deep" / "model.h5", "mnist_qkeras", model, {"seed": 3})
    return path


@pytest.mark.parametrize("name", KERAS)
def test_what_is_read_back_predicts_the_same_bits(name: str, tmp_path: Path, images: Any) -> None:
    model, taken = hostile(zoo.get(name).build(), 1), train_keras.taken(images, zoo.get(name))
    expected = model.predict(taken, verbose=0)
    checkpoint.save(path := tmp_path / "model.h5", name, model, {"seed": 3, "test": {"accuracy": 0.5, "count": 10}})
    loaded = checkpoint.load(path)
    assert (loaded.name, loaded.metadata) == (name, {"seed": 3, "test": {"accuracy": 0.5, "count": 10}})
    assert checkpoint.read_facts(path) == (loaded.name, loaded.metadata)
    np.testing.assert_array_equal(loaded.module.predict(taken, verbose=0), expected)
    np.testing.assert_array_equal(keras_file.load(path).predict(taken, verbose=0), expected)  # as any file of Keras
    assert path.stat().st_size < sum(weight.size for weight in model.get_weights())  # a byte each would be more
    assert [file.name for file in tmp_path.iterdir()] == ["model.h5"]


def test_a_copy_is_found_as_a_model_of_the_zoo_under_its_own_name(saved: Path) -> None:
    found = subject.find(str(saved))
    assert (found.name, found.kind, found.zoo) == ("model", "keras", "mnist_qkeras")
    assert dict(found.recorded) == {"seed": 3}


def change(path: Path, **attributes: Any) -> None:
    with h5py.File(path, "r+") as file:
        for name, value in attributes.items():
            if value is None:
                del file.attrs[name]
            else:
                file.attrs[name] = value


def test_without_its_facts_it_is_a_file_like_any_other(saved: Path) -> None:
    change(saved, xnorflow_checkpoint=None)
    found = subject.find(str(saved))
    assert (found.kind, found.zoo, found.recorded) == ("keras", None, {})


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{", "its metadata entry 'xnorflow_checkpoint' is missing or damaged"),
        ({"schema_version": 9}, "has checkpoint schema version 9"),
        ({"schema_version": 1, "model": "mnist_qkeras"}, "lacks the model's name or the metadata"),
        ({"schema_version": 1, "model": "mnist_none", "metadata": {}}, "which is no model of the zoo"),
    ],
)
def test_damaged_facts_are_told(saved: Path, header: dict[str, Any] | str, message: str) -> None:
    change(saved, xnorflow_checkpoint=header if isinstance(header, str) else json.dumps(header))
    with pytest.raises(UserError, match=message):
        subject.find(str(saved))


def test_a_file_of_pytorch_cannot_be_a_model_of_keras(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, "mnist_qkeras", zoo.get("digits_bnn").build(), {})
    with pytest.raises(UserError, match="mnist_qkeras is a model of qkeras"):
        checkpoint.load(path)


@pytest.mark.slow
def test_training_is_repeatable_and_records_the_accuracy_of_what_was_saved(tmp_path: Path) -> None:
    digits = data.digits_as_mnist()
    dataset = replace(digits, train_images=digits.test_images[:600], train_labels=digits.test_labels[:600])
    trained = [
        training.train(
            zoo.get("mnist_qkeras"),
            dataset,
            tmp_path / f"{run}.h5",
            epochs=15,
            runs=tmp_path / run,
            console=Console(file=io.StringIO()),
        )
        for run in "ab"
    ]
    first, second = (model.module.get_weights() for model in trained)
    assert all(np.array_equal(one, two) for one, two in zip(first, second))
    metadata = trained[0].metadata
    assert metadata["test"]["accuracy"] > 0.3  # it learns: chance is 0.1
    assert 1 <= metadata["selection"]["epoch"] <= metadata["epochs"] == 15
    assert any("events.out" in path.name for path in (tmp_path / "a").rglob("*"))
