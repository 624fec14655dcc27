import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from xnorflow.bnn import io
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Dense, Input, Network
from xnorflow.flows import subject
from xnorflow.models.checkpoint import FOLDER
from xnorflow.models.zoo import ZOO


@pytest.fixture
def network() -> Any:
    return Network("net", (Input("x", (), (3,)), Dense("d", ("x",), np.array([[1, -1, 1], [1, 1, -1]], np.int8))))


def test_a_model_of_the_zoo_is_found_with_what_its_training_recorded() -> None:
    found = subject.find("digits_bnn")
    assert (found.name, found.kind, found.zoo) == ("digits_bnn", "checkpoint", "digits_bnn")
    assert 0.9 < found.recorded["test"]["accuracy"] <= 1


def test_a_copy_of_a_checkpoint_is_found_under_the_name_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "My model-2.safetensors"
    path.write_bytes((FOLDER / "digits_bnn.safetensors").read_bytes())
    found = subject.find(str(path))
    assert (found.name, found.kind, found.zoo) == ("my_model_2", "checkpoint", "digits_bnn")


@pytest.mark.parametrize(("stem", "name"), [("net", "net"), ("2bits", "n_2bits"), ("---", "network"), ("É", "network")])
def test_a_network_file_is_found_under_a_name_that_can_name_modules(
    tmp_path: Path, network: Network, stem: str, name: str
) -> None:
    io.save(network, tmp_path / f"{stem}.safetensors")
    found = subject.find(str(tmp_path / f"{stem}.safetensors"))
    assert (found.name, found.kind, found.zoo) == (name, "network", None)


def test_an_unknown_model_lists_what_there_is() -> None:
    with pytest.raises(UserError) as error:
        subject.find("mnist_bnm")
    for name in ZOO:
        assert name in str(error.value)


def test_a_saved_model_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    (tmp_path / "keras_metadata.pb").write_bytes(b"")
    with pytest.raises(UserError, match=r"(?s)a SavedModel folder of TensorFlow.*\nmodel = tensorflow\.keras"):
        subject.find(str(tmp_path))


def test_a_model_that_was_never_trained_says_how_to_train_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xnorflow.models.checkpoint.FOLDER", tmp_path)
    with pytest.raises(UserError, match="make train MODEL=mnist_bnn"):
        subject.find("mnist_bnn")


def test_files_that_are_no_model_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return pytest.fail, ("a model file was unpickled",)

    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "empty.safetensors").write_bytes(b"")
    whole = (FOLDER / "digits_bnn.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file({"x": np.zeros(1)}, tmp_path / "foreign.safetensors")
    save_file({"x": np.zeros(1)}, tmp_path / "other.safetensors", {"xnorflow_checkpoint": "{}"})
    for path in tmp_path.iterdir():
        with pytest.raises(UserError, match=path.name):
            subject.find(str(path))


@pytest.mark.parametrize("name", ["baselines", "Baselines"])
def test_no_name_takes_the_place_of_the_baselines(name: str) -> None:
    with pytest.raises(UserError, match="reports/baselines has the models' baselines"):
        subject.slug(name)
