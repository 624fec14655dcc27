"""Modules made by factories, parameters read from files: what fits is taken whole, what does not ends in one line."""

import argparse
import io
import pickle
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.narrowed import a
from torch import nn

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.torch_file import load

CODE = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))

class Whole(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)

def fails():
    raise ValueError("no such data\\nsecond line")

def leaves():
    raise SystemExit(0)

def other():
    return {"weight": 1}

def needs(size):
    return nn.Linear(size, 2)

def sized(width, *, kind="small", extra=None):
    return nn.Linear(width, {"small": 2, "large": len(extra or ())}[kind])

def parallel():
    return nn.DataParallel(make())

def lazy():
    return nn.LazyLinear(3)

number = 3
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A folder with modules of a user, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "users_nets").mkdir()
    (tmp_path / "users_nets" / "small.py").write_text(CODE)
    (tmp_path / "users_broken.py").write_text("import users_no_such_package\n")
    (tmp_path / "users_syntax.py").write_text("def make(:\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("users_")]:
        del sys.modules[name]


@pytest.fixture
def state() -> Any:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    nn.init.normal_(a(torch.Tensor, module[1].running_mean))
    return module.state_dict()


def modules(factory: str, weights: Path) -> Any:
    """The modules of the chain that a factory makes, with the parameters of a file."""
    return load(factory, weights)[0]


def write(path: Any, state: Any) -> None:
    (save_file if path.suffix == ".safetensors" else torch.save)(state, path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_parameters_and_statistics_are_those_of_the_file(code: Path, state: Any, suffix: str) -> None:
    write(path := code / f"w{suffix}", state)
    for name, tensor in load("users_nets.small:make", path)[0].state_dict().items():
        assert torch.equal(tensor, state[name])
    del state["1.num_batches_tracked"]  # which counts for nothing
    write(path, state)
    assert torch.equal(modules("users_nets.small:make", path)[1].running_mean, state["1.running_mean"])


def test_the_old_kind_of_pytorch_file_is_read(code: Path, state: Any) -> None:
    torch.save(state, path := code / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(modules("users_nets.small:make", path)[0].weight, state["0.weight"])


def test_a_factory_takes_literals(code: Path) -> None:
    made, _ = load("users_nets.small:sized(3, kind='large', extra=[(1, -2.5), {'a': None}, True])")
    assert made.weight.shape == (3, 3)
    assert load("users_nets.small:needs(5)")[0].in_features == 5


def test_a_class_is_a_factory_and_the_file_may_be_left_out(code: Path) -> None:
    assert load("users_nets.small:Whole")[0].in_features == 2


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("users_none:make", "no module 'users_none' in .*, nor installed$"),
        ("users_nets.none:make", "no module 'users_nets.none'"),
        ("users_nets.small.py:make", "is it users_nets.small:make"),
        ("users_broken:make", "importing 'users_broken' raises ModuleNotFoundError: .*users_no_such_package.*line 1"),
        ("users_syntax:make", "importing 'users_syntax' raises SyntaxError"),
        ("users_nets.small:none", "nothing to call of the name 'none'; it has make, Whole, fails"),
        ("users_nets.small:number", "nothing to call of the name 'number'"),
        ("users_nets.small:fails", r"the factory raises ValueError: no such data \(.*small.py, line 13\)"),
        ("users_nets.small:leaves", "the factory raises SystemExit"),
        ("users_nets.small:other", "expected the factory to give an nn.Module, got dict"),
        ("users_nets.small:lazy", "got a lazy module"),
        ("users_nets.small:sized(4, kind='large', extra=open('x'))", r"literals as arguments, got \"open\('x'\)\"$"),
        ("users_nets.small:sized(4 + 3)", "literals as arguments, got '4 \\+ 3'$"),
        ("users_nets.small:sized(**{'width': 4})", "literals as arguments, got '\\*\\*"),
        ("users_nets.small:sized(*[4])", "literals as arguments, got '\\*\\[4"),
        ("users_nets.small:sized(", "literals as arguments, got 'sized\\('"),
        ("users_nets.small:sized(4).half()", "literals as arguments, got 'sized"),
        ("users_nets.small:sized()", "the factory raises TypeError"),
        ("users_nets.small:needs", r"the factory raises TypeError: .*missing 1 required positional argument: 'size'$"),
    ],
)
def test_what_is_wrong_with_a_factory_is_told_in_one_line(code: Path, factory: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        load(factory)
    assert str(error.value).startswith(f"{factory}: ") and "\n" not in str(error.value)


WRAPPED = {
    "state_dict": (lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"param_groups": [{"lr": 0.1}]}},
        r"is a checkpoint: 'state_dict' is taken, 'epoch', 'optimizer' left out"),
    "model beside another": (lambda state: {"ema": state, "model": state}, "'model' is taken, 'ema' left out"),
    "one of an own name": (lambda state: {"weights": state, "best": 1}, "'weights' is taken, 'best' left out"),
    "DataParallel": (lambda state: prefixed("module.", state), "names start with 'module.', which is taken off"),
    "both": (lambda state: {"net": prefixed("module.", state), "epoch": 1}, "'net' is taken.*start with 'module.'"),
    "compiled": (lambda state: prefixed("module._orig_mod.", state), "start with 'module._orig_mod.'"),
    "Lightning": (lambda state: {"pytorch-lightning_version": "2.5", "state_dict": prefixed("model.", state),
        "hyper_parameters": {"lr": 0.1}}, "is a checkpoint of Lightning: 'state_dict' is taken.*start with 'model.'"),
}  # fmt: skip


def prefixed(start: Any, state: Any) -> Any:
    return {start + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("factory", ["make", "parallel"])
@pytest.mark.parametrize("name", WRAPPED)
def test_what_is_around_the_parameters_is_taken_off_and_said(code: Path, state: Any, name: str, factory: str) -> None:
    wrap, words = WRAPPED[name]
    torch.save(wrap(state), path := code / "w.pth.tar")
    module, notes = load(f"users_nets.small:{factory}", path)
    module = module.module if factory == "parallel" else module  # type: ignore[assignment]
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    assert re.search(words, " ".join(notes)) and all(str(path) in note for note in notes)


class Bomb:
    """Unpickling it would run code."""

    def __reduce__(self) -> Any:
        return pytest.exit, ("a checkpoint was unpickled",)


def saved(value: Any) -> Any:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def zipped(*members: Any) -> Any:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member in members:
            archive.writestr(f"model/{member}", "{}")
    return stream.getvalue()


def packed(state: Any) -> Any:
    """The checkpoint, compressed as torch.save never does."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(state))) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return stream.getvalue()


BAD = {
    "empty": ("neither a readable safetensors file nor a PyTorch checkpoint", lambda state: b""),
    "text": ("neither a readable safetensors file", lambda state: b"import os"),
    "pickle": ("more than tensors, which would be code to run", lambda state: pickle.dumps(Bomb())),
    "pickle in a checkpoint": ("more than tensors", lambda state: saved({**state, "0.weight": Bomb()})),
    "a whole module": (
        r"a whole pickled module \('torch.nn.modules.linear.Linear'\).*weights_only=False\).state_dict",
        lambda state: saved(nn.Linear(4, 3))),
    "TorchScript": (r"a TorchScript archive.*torch.jit.load\('bad.*'\).state_dict\(\)",
        lambda state: zipped("code/__torch__.py", "constants.pkl", "data.pkl")),
    "export": ("an exported program of torch.export",
        lambda state: zipped("models/model.json", "data/weights/model.pt")),
    "truncated": ("not a readable PyTorch checkpoint", lambda state: saved(state)[:-300]),
    "bomb": ("compressed members", packed),
    "other archive": ("not a readable PyTorch checkpoint", lambda state: b"PK\x03\x04" + bytes(60)),
    "list": ("expected a state_dict, tensors by name, got list", lambda state: saved([1, 2])),
    "no state": (r"got 'epoch', 'model' \(dict, int\); write it", lambda state: saved(
        {"epoch": 3, "model": {**state, "lr": 0.1}})),
    "several states": ("got several under 'student', 'teacher'; write", lambda state: saved(
        {"student": state, "teacher": state})),
    "two known states": ("got several under 'model', 'net'; write", lambda state: saved(
        {"model": state, "net": state})),
    "settings": (r"more than tensors \('argparse.Namespace'\).*where you trust it", lambda state: saved(
        {"state_dict": state, "args": argparse.Namespace(lr=1)})),
    "missing": (r"it lacks '1.running_mean', '1.running_var'; expected", lambda state: saved(
        {name: tensor for name, tensor in state.items() if "running" not in name})),
    "other": (r"it lacks '1.running_mean', and the module has no '1.mean'; expected", lambda state: saved(
        {name.replace("running_mean", "mean"): tensor for name, tensor in state.items()})),
    "more": ("the module has no '2.a', '2.b', '2.c', '2.d' and 1 more; expected", lambda state: saved(
        {**state, **{f"2.{name}": torch.ones(1) for name in "abcde"}})),
    "shape": (r"expected shape \(3, 4\) for '0.weight', got \(4, 3\)", lambda state: saved(
        {**state, "0.weight": torch.ones(4, 3)})),
    "NaN": ("expected finite numbers, got NaN or infinity in '1.bias'", lambda state: saved(
        {**state, "1.bias": torch.tensor([0, float("nan"), 0])})),
    "complex": ("expected a plain tensor of real numbers, got torch.Complex", lambda state: saved(
        {**state, "1.bias": torch.ones(3, dtype=torch.complex64)})),
    "sparse": ("expected a plain tensor of real numbers, got torch.sparse", lambda state: saved(
        {**state, "0.weight": torch.eye(3, 4).to_sparse()})),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_checkpoint_ends_in_one_line(code: Path, state: Any, name: str, suffix: str) -> None:
    words, content = BAD[name]
    (path := code / f"bad{suffix}").write_bytes(content(state))
    with pytest.raises(UserError, match=words) as error:
        load("users_nets.small:make", path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_a_truncated_safetensors_file_and_one_that_is_not_there(code: Path, state: Any) -> None:
    write(path := code / "w.safetensors", state)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match="truncated or corrupt"):
        load("users_nets.small:make", path)
    with pytest.raises(UserError, match=r"none.pt: cannot be read: No such file"):
        load("users_nets.small:make", code / "none.pt")
