import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialise
from tests.narrowed import there

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.torch import module_input
from xnorflow.models import checkpoint, zoo
from xnorflow.models.data import encode

HEADER = {"schema_version": 1, "model": "digits_bnn", "metadata": {}}


def trained(name: str) -> Any:
    """A module of the zoo with parameters and statistics as training could leave them."""
    torch.manual_seed(1)
    module = zoo.get(name).build()
    for layer in module:
        if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.weight)
            torch.nn.init.normal_(layer.bias)
            there(layer.running_mean).normal_(0, 30)
            there(layer.running_var).uniform_(1, 900)
    with torch.no_grad():
        module[0].weight.view(-1)[:3] = torch.tensor([0.0, -0.0, -1e-30])  # signs that a careless packing gets wrong
    return module.eval()


@pytest.fixture
def path(tmp_path: Path) -> Any:
    return tmp_path / "deep" / "model.safetensors"


@pytest.fixture
def tensors(path: Path) -> Any:
    """The tensors of a good digits_bnn checkpoint, to be damaged."""
    checkpoint.save(path, "digits_bnn", trained("digits_bnn"), {})
    return parse(path.read_bytes())


def write(path: Any, tensors: Any, header: Any = HEADER) -> None:
    path.write_bytes(serialise(tensors, metadata={"xnorflow_checkpoint": json.dumps(header)}))


def refuses(path: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        checkpoint.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", [name for name in zoo.ZOO if zoo.get(name).framework == "pytorch"])
def test_the_loaded_module_gives_the_same_bits(name: str, path: Path) -> None:
    definition = zoo.get(name)
    module = trained(name)
    metadata = {"seed": 3, "test": {"accuracy": 0.1, "count": 10}}
    checkpoint.save(path, name, module, metadata)
    loaded = checkpoint.load(path)

    shapes = {"mnist": (28, 28), "cifar10": (32, 32, 3), "collision": (40, 54), "vowels": (1, 29, 12), "digits": (8, 8)}
    shape = shapes[definition.dataset]
    images = np.random.default_rng(0).integers(0, 256, (64, *shape), dtype=np.uint8)
    x = module_input(encode(images, definition), definition.input)
    with torch.no_grad():
        assert torch.equal(loaded.module(x), module(x))
    assert (loaded.name, loaded.metadata, loaded.module.training) == (name, metadata, False)
    assert checkpoint.read_facts(path) == (name, metadata)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_weights_take_one_bit_each(path: Path) -> None:
    checkpoint.save(path, "mnist_bnn", trained("mnist_bnn"), {})
    bits = (784 * 128 + 128 * 10) // 8
    norms = 4 * 4 * (128 + 10)
    assert bits + norms < path.stat().st_size < bits + norms + 2000


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(path, "digits_bnn", trained("digits_bnn"), {"old": True})

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save(path, "digits_bnn", trained("digits_bnn"), {"old": False})
    assert checkpoint.load(path).metadata == {"old": True}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


# --- files that are not what they should be


def test_a_missing_file_is_refused(path: Path) -> None:
    refuses(path, "cannot be read")
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.read_facts(path)


@pytest.mark.parametrize("length", [0, 7, 8, 100, -1])
def test_a_truncated_file_is_refused(path: Path, tensors: Any, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    refuses(path, "cannot be read")


def test_a_pickle_is_refused_and_not_run(path: Path) -> None:
    path.parent.mkdir()
    torch.save({"a": torch.zeros(1)}, path)
    refuses(path, "cannot be read")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema version 2, this program reads version 1"),
        ({"schema_version": None}, "schema version None"),
        ({"model": None}, "damaged header"),
        ({"model": ["mnist_bnn"]}, "damaged header"),
        ({"model": "resnet"}, "unknown model 'resnet'"),
        ({"model": "mnist_bnn"}, "model mnist_bnn needs uint8"),
        ({"metadata": []}, "damaged header"),
        ({"metadata": None}, "damaged header"),
    ],
)
def test_a_wrong_header_is_refused(path: Path, tensors: Any, change: dict[str, Any], message: str) -> None:
    write(path, tensors, HEADER | change)
    refuses(path, message)


@pytest.mark.parametrize(
    "metadata", [None, {}, {"xnorflow_checkpoint": "{"}, {"xnorflow_checkpoint": "[]"}, {"xnorflow_checkpoint": "{}"}]
)
def test_a_file_without_a_header_is_refused(path: Path, tensors: Any, metadata: dict[str, Any] | None) -> None:
    path.write_bytes(serialise(tensors, metadata=metadata))
    refuses(path, "is not a checkpoint: its metadata entry 'xnorflow_checkpoint' is missing or damaged")


def _set(key: Any, index: Any, value: Any) -> Any:
    def damage(tensors: Any) -> None:
        tensors[key][index] = value

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.pop("1.bias"), "lacks the tensor '1.bias'"),
        (lambda t: t.update(extra=np.zeros(1, np.float32)), "tensors that model digits_bnn lacks: extra"),
        (lambda t: t.update({"1.bias": t["1.bias"][:-1]}), "'1.bias' is float32 .*needs float32"),
        (lambda t: t.update({"1.bias": t["1.bias"].astype(np.float64)}), "'1.bias' is float64 .*needs float32"),
        (lambda t: t.update({"0.weight.bits": t["0.weight.bits"][:-1]}), "'0.weight.bits' is uint8"),
        (_set("1.weight", 0, np.nan), "'1.weight' has values that are not finite"),
        (_set("1.running_mean", 0, np.inf), "'1.running_mean' has values that are not finite"),
        (_set("1.running_var", 0, -1), "negative variance"),
    ],
)
def test_wrong_tensors_are_refused(path: Path, tensors: Any, damage: Callable[..., Any], message: str) -> None:
    damage(tensors)
    write(path, tensors)
    refuses(path, message)


def test_a_type_that_numpy_lacks_is_refused(path: Path) -> None:
    from safetensors.torch import save

    path.parent.mkdir()
    header = {"xnorflow_checkpoint": json.dumps(HEADER)}
    path.write_bytes(save({"0.weight.bits": torch.zeros(1, dtype=torch.bfloat16)}, metadata=header))
    refuses(path, "cannot be read|is bfloat16")  # the latter where TensorFlow has taught NumPy the type


def test_set_bits_beyond_the_weights_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xnorflow.models.layers import BNN

    odd = zoo.ModelDefinition(
        name="odd", description="", dataset="digits", input=zoo.get("digits_bnn").input,
        recipe=zoo.get("digits_bnn").recipe, build=lambda: BNN((3, 3)),
    )  # fmt: skip
    monkeypatch.setitem(zoo.ZOO, "odd", odd)
    checkpoint.save(path, "odd", odd.build(), {})
    checkpoint.load(path)
    tensors = parse(path.read_bytes())
    tensors["0.weight.bits"][1] |= 0x80
    write(path, tensors, HEADER | {"model": "odd"})
    refuses(path, "bits set beyond its 9 weights")


def test_the_header_is_readable_json(path: Path) -> None:
    checkpoint.save(path, "digits_bnn", trained("digits_bnn"), {"seed": 0})
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])["__metadata__"]["xnorflow_checkpoint"]
    assert json.loads(header) == HEADER | {"metadata": {"seed": 0}}
