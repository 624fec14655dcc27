"""Bad models of every kind through the command line: each ends in one clear line and status 2, and leaves nothing."""

import io
import pickle
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tests.bnn.frontends.keras_models import keras
from tests.flows import fakes
from tests.flows.users_models import CODE, keras_model

from xnorflow.bnn import qonnx_export
from xnorflow.flows import cli, run
from xnorflow.flows.cache import PROJECT
from xnorflow.flows.places import MARK
from xnorflow.models.checkpoint import FOLDER

L = keras.layers

ZOO = FOLDER / "digits_bnn.safetensors"


class Bomb:
    """Unpickling it would run code."""

    def __reduce__(self) -> Any:
        return pytest.exit, ("a model file was unpickled",)


# --- Keras


def _hdf5(change: Any) -> Any:
    """Make a file of a sound model, changed by `change`."""

    def make(path: Path) -> None:
        keras_model().save(path)
        with h5py.File(path, "r+") as file:
            change(file)

    return make


def _configuration(old: Any, new: Any) -> Any:
    def change(file: Any) -> None:
        text = file.attrs["model_config"]
        assert old in text
        file.attrs["model_config"] = text.replace(old, new)

    return _hdf5(change)


def _kernel(change: Any) -> Any:
    def search(file: Any) -> None:
        found = []
        file["model_weights"].visititems(lambda name, item: found.append(item) if name.endswith("kernel:0") else None)
        change(found[0])

    return _hdf5(search)


def _reshape(item: Any) -> None:
    parent, name, value = item.parent, item.name.rpartition("/")[2], item[:, :-1]
    del parent[name]
    parent[name] = value


def _link(item: Any) -> None:
    parent, name = item.parent, item.name.rpartition("/")[2]
    del parent[name]
    parent[name] = h5py.ExternalLink("other.h5", "/kernel")


def _fill_with_nan(item: Any) -> None:
    item[0, 0] = np.nan


def _built(*layers: Any, shape: Any = (20,)) -> Any:
    return lambda path: keras.Sequential([L.InputLayer(shape), *(layer() for layer in layers)]).save(path)


# --- any


def _bytes(content: Any) -> Any:
    return lambda path: path.write_bytes(content)


def _cut(make: Any) -> Any:
    def cut(path: Path) -> None:
        make(path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    return cut


def _zip(**members: Any) -> Any:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name.replace("_json", ".json").replace("_weights_h5", ".weights.h5"), content)

    return make


# --- QONNX


def _qonnx(change: Any = lambda graph: None) -> Any:
    def make(path: Path) -> None:
        qonnx_export.write(fakes.network(), path)
        model = onnx.load(path)
        change(model.graph)
        onnx.save(model, path)

    return make


def _first(kind: Any) -> Any:
    def change(graph: Any) -> None:
        next(node for node in graph.node if node.op_type == "MatMul").op_type = kind

    return change


def _weights(change: Any) -> Any:
    def spoil(graph: Any) -> None:
        (weight, *_) = (tensor for tensor in graph.initializer if len(tensor.dims) == 2)
        values = onnx.numpy_helper.to_array(weight).copy()
        weight.CopyFrom(onnx.numpy_helper.from_array(change(values), weight.name))

    return spoil


# --- checkpoints of the zoo, and parameters of a user's module


def _zoo(name: str, change: Any) -> Any:
    def make(path: Path) -> None:
        from safetensors import safe_open

        tensors = load_file(ZOO)
        tensors[name] = change(tensors[name])
        with safe_open(ZOO, "numpy") as file:
            save_file(tensors, path, file.metadata())

    return make


def _parameters(change: Any) -> Any:
    def make(path: Path) -> None:
        module = torch.nn.ModuleDict(
            {"first": torch.nn.Linear(20, 8), "norm": torch.nn.BatchNorm1d(8), "second": torch.nn.Linear(8, 3)}
        )
        torch.save(change(dict(module.state_dict())), path)

    return make


def _compressed(path: Path) -> None:
    _parameters(lambda state: {**state, "more": torch.zeros(1 << 20)})(path)
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


BAD = {
    "empty.h5": (_bytes(b""), "an empty file"),
    "text.h5": (_bytes(b"no model"), "expected a Keras model"),
    "pickle.keras": (_bytes(pickle.dumps(Bomb())), "a Python pickle, which is never loaded"),
    "cut.h5": (_cut(lambda path: keras_model().save(path)), "damaged or truncated HDF5 file"),
    "cut.keras": (_cut(lambda path: keras_model().save(path)), "damaged or truncated .keras archive"),
    "bomb.keras": (_zip(config_json="{}", model_weights_h5=bytes(1 << 24)), "a zip bomb?"),
    "other.keras": (_zip(readme_json="{}"), "expected a .keras archive with 'config.json'"),
    "weights.h5": (_hdf5(lambda file: file.attrs.__delitem__("model_config")), "weights alone?"),
    "nojson.h5": (_configuration("{", "["), "expected JSON"),
    "lambda.h5": (_configuration('"QActivation"', '"Lambda"'), "it holds code, which is never run"),
    "elsewhere.h5": (_configuration('"module": "qkeras', '"module": "os'), "expected a class of Keras, QKeras or Larq"),
    "shapes.h5": (_kernel(_reshape), "Keras cannot load it"),
    "link.h5": (_kernel(_link), "expected all weights in the file itself"),
    "nan.h5": (_kernel(_fill_with_nan), "expected finite weights"),
    "lstm.h5": (_built(partial(L.LSTM, 3), shape=(4, 5)), "not supported; supported are"),
    "float.h5": (_built(partial(L.Dense, 3)), "layer 'dense"),
    "empty.onnx": (_bytes(b""), "not an ONNX model"),
    "cut.onnx": (_cut(_qonnx()), "not an ONNX model (truncated or corrupt?)"),
    "pickle.onnx": (_bytes(pickle.dumps(Bomb())), "not an ONNX model (truncated or corrupt?)"),
    "operator.onnx": (_qonnx(_first("Gelu")), "(Gelu): not supported; supported are"),
    "domain.onnx": (_qonnx(lambda graph: setattr(graph.node[0], "domain", "os.path")), "got 'os.path'"),
    "nan.onnx": (_qonnx(_weights(lambda values: values * np.float32(np.nan))), "expected finite numbers"),
    "shapes.onnx": (
        _qonnx(_weights(lambda values: values[:-1])),
        "that fit each other; onnxruntime says: Node (dense1)",
    ),
    "empty.safetensors": (_bytes(b""), "not a readable safetensors file"),
    "pickle.safetensors": (_bytes(pickle.dumps(Bomb())), "not a readable safetensors file"),
    "cut.safetensors": (_cut(lambda path: path.write_bytes(ZOO.read_bytes())), "truncated or corrupt?"),
    "foreign.safetensors": (lambda path: save_file({"x": np.zeros(1)}, path), "nor a checkpoint"),
    "shapes.safetensors": (_zoo("1.weight", lambda values: values[:-1]), "model digits_bnn needs float32 (256,)"),
    "nan.safetensors": (_zoo("1.weight", lambda values: values * np.float32(np.nan)), "not finite"),
    "model.pt": (_parameters(dict), "give MODEL=package.module:factory CHECKPOINT="),
    # What the factory in CODE is given.
    "users_net:Net empty.pt": (_bytes(b""), "neither a readable safetensors file nor a PyTorch checkpoint"),
    "users_net:Net pickle.pt": (_bytes(pickle.dumps(Bomb())), "more than tensors, which would be code to run"),
    "users_net:Net disguise.safetensors": (_bytes(pickle.dumps(Bomb())), "more than tensors, which would be code"),
    "users_net:Net cut.pt": (_cut(_parameters(dict)), "not a readable PyTorch checkpoint"),
    "users_net:Net bomb.pt": (_compressed, "compressed members"),
    "users_net:Net lacking.pt": (
        _parameters(lambda state: {"first.weight": state["first.weight"]}),
        "it lacks 'first.",
    ),
    "users_net:Net more.pt": (_parameters(lambda state: {**state, "third": state["norm.bias"]}), "has no 'third'"),
    "users_net:Net shapes.pt": (
        _parameters(lambda state: {**state, "norm.bias": torch.ones(3)}),
        "expected shape (8,)",
    ),
    "users_net:Net nan.pt": (
        _parameters(lambda state: {**state, "norm.bias": torch.full((8,), np.nan)}),
        "expected finite numbers, got NaN or infinity in 'norm.bias'",
    ),
    "users_net:Gelu": (None, "gelu: expected a sign or quantiser after it"),
    "users_net:Values": (None, "its control flow depends on values"),
    "users_net:wide": (None, "fails when it is called, in evaluation mode"),
    "users_net:fails": (None, "the factory raises OSError: no data here"),
    "users_net:none": (None, "nothing to call of the name 'none'; it has Net, Gelu, Values, wide, fails"),
    "users_none:Net": (None, "no module 'users_none'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_model_ends_in_one_clear_line_and_status_2(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make, message = BAD[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "users_net.py").write_text(CODE)
    model, _, weights = name.rpartition(" ") if " " in name else (name, "", "")
    if make:
        make(tmp_path / (weights or model))
    settings = ['kind = "bipolar"', *(["shape = [20]"] if ":" in model else [])]
    (tmp_path / "input.toml").write_text("\n".join(["[input]", *settings]))
    config = [] if model.endswith((".onnx", ".safetensors")) else ["--config", "input.toml"]
    before = {path.name for path in tmp_path.iterdir()}
    monkeypatch.setattr(run, "run", partial(run.run, build=tmp_path / "build", reports=tmp_path / "reports"))
    monkeypatch.setattr("sys.argv", ["flows", "run", model, *(["--checkpoint", weights] if weights else []), *config])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    sys.modules.pop("users_net", None)
    told = capfd.readouterr()
    assert ended.value.code == 2
    (line,) = told.err.splitlines()
    assert line.startswith("error: ") and message in line
    assert (weights or model).partition(":")[0].partition(".")[0] in line
    assert {path.name for path in tmp_path.iterdir()} - before <= {"build", "__pycache__"}
    _check_nothing_half_done(tmp_path / "build")


def _check_nothing_half_done(build: Any) -> None:
    """Beside locks and marks there are whole entries of the cache, or nothing at all."""
    left = [path for path in build.rglob("*") if path.is_file() or not any(path.iterdir())]
    entries = {path.parent for path in left if path.name == "entry.json"}
    assert [path for path in left if path.parent not in entries and path.name != MARK and path.suffix != ".lock"] == []


def test_tensorflow_says_nothing_of_itself(tmp_path: Path) -> None:
    BAD["shapes.h5"][0](tmp_path / "shapes.h5")
    code = f"from xnorflow.bnn.frontends.keras_file import load; load({str(tmp_path / 'shapes.h5')!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=100)
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("Traceback", "  "))]
    assert len(lines) == 1 and "UserError" in lines[0] and "Keras cannot load it" in lines[0]
    assert done.stdout == ""


def test_a_folder_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.h5").mkdir()
    monkeypatch.setattr("sys.argv", ["flows", "run", str(tmp_path / "folder.h5")])
    with pytest.raises(SystemExit):
        cli.main()
    assert "a folder, neither a model of the zoo nor a file" in capfd.readouterr().err
