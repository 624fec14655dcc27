"""Network files: exact round trips; every kind of bad file is refused with what is wrong."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from tests import strategies

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.io import HEADER, load, save
from xnorflow.bnn.network import Dense, Input, Network, Threshold

NETWORK = Network(
    "n",
    (
        Input("x", (), shape=(70,)),
        Dense("d", ("x",), weight=np.where(np.arange(210).reshape(3, 70) % 5, 1, 0)),
        Threshold("t", ("d",), threshold=np.array([0, 3, -3]), direction=np.array([1, -1, 1])),
    ),
)


@given(strategies.networks(weight_bits=16, grown=True, operations=strategies.EVERY))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path: Path, network: Network) -> None:
    path = tmp_path / "n.safetensors"
    save(network, path)
    read = load(path)
    assert read == network and read.digest == network.digest
    assert [file.name for file in tmp_path.iterdir()] == ["n.safetensors"]


@given(strategies.networks(weight_bits=16, grown=True))
def test_a_network_comes_whole_to_another_process(network: Network) -> None:
    _ = network.signals
    come = pickle.loads(pickle.dumps(network))  # noqa: S301
    assert come == network and come.digest == network.digest and hash(come) == hash(network)
    for operation in come.operations:
        arrays = [value for value in vars(operation).values() if isinstance(value, np.ndarray)]
        assert not any(array.flags.writeable for array in arrays)


def test_weights_take_a_bit(tmp_path: Path) -> None:
    network = Network("n", (Input("x", (), shape=(1024,)), Dense("d", ("x",), weight=np.ones((1024, 1024), np.int8))))
    save(network, tmp_path / "n.safetensors")
    assert (tmp_path / "n.safetensors").stat().st_size < 1024 * 1024 / 8 + 2000


Tensors = dict[str, NDArray[Any]]
Header = dict[str, Any]


def rewrite(path: Path, change: Callable[[Tensors, Header, Header], object]) -> None:
    save(NETWORK, path)
    with safe_open(path, framework="numpy") as file:
        metadata, tensors = dict(file.metadata()), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    entry = json.loads(metadata[HEADER])
    change(tensors, entry, entry["network"])
    save_file(tensors, path, {HEADER: json.dumps(entry)})


def test_equal_networks_are_equal_files(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.safetensors" for number in range(4)]
    for path in files:
        save(NETWORK, path)
    assert len({path.read_bytes() for path in files}) == 1


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("not a Network", lambda t, m, h: m.pop("schema")),
        ("needs a newer xnorflow", lambda t, m, h: m.update(schema=3)),
        ("inconsistent header.*network", lambda t, m, h: m.pop("network")),
        ("inconsistent header", lambda t, m, h: m.update(network="not a network")),
        ("inconsistent header", lambda t, m, h: h.pop("operations")),
        ("inconsistent header", lambda t, m, h: h.update(operations=3)),
        ("unknown operation 'Relu'", lambda t, m, h: h["operations"][1].update(operation="Relu")),
        ("expected the fields", lambda t, m, h: h["operations"][0].update(extra=1)),
        ("expected the fields", lambda t, m, h: h["operations"][0].pop("bits")),
        ("d.weight.positive", lambda t, m, h: t.pop("d.weight.positive")),
        ("tensors that no layer uses: y", lambda t, m, h: t.update(y=np.zeros(1))),
        ("268,435,456 values for 'd.weight', got", lambda t, m, h: h["shapes"].update({"d.weight": [2**30, 2**30]})),
        ("packed weights", lambda t, m, h: t.update({"d.weight.positive": np.zeros((3, 1), np.uint64)})),
        ("packed weights", lambda t, m, h: t.update({"d.weight.positive": np.zeros((3, 2), np.int64)})),
        ("unused bits", lambda t, m, h: t.update({"d.weight.positive": np.full((3, 2), 2**64 - 1, np.uint64)})),
        ("masked and positive", lambda t, m, h: t.update({"d.weight.mask": np.zeros((3, 2), np.uint64)})),
        ("threshold of shape", lambda t, m, h: t.update({"t.threshold": np.zeros(2, np.int64)})),
        ("integer thresholds", lambda t, m, h: t.update({"t.threshold": np.zeros(3)})),
        ("clamped", lambda t, m, h: t.update({"t.threshold": np.full(3, 99)})),
        ("operands from earlier layers", lambda t, m, h: h["operations"][1].update(inputs=["z"])),
        (r"operand of shape \(70,\)", lambda t, m, h: h["operations"][0].update(shape=[71])),
    ],
)
def test_refused(tmp_path: Path, words: str, change: Callable[[Tensors, Header, Header], object]) -> None:
    path = tmp_path / "bad.safetensors"
    rewrite(path, change)
    with pytest.raises(UserError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    with pytest.raises(UserError, match="no such file"):
        load(path)
    with pytest.raises(UserError, match="not a readable"):
        load(tmp_path)
    save(NETWORK, path)
    whole = path.read_bytes()
    for content in (b"", whole[:5], whole[:40], whole[:-1], whole + b"x", pickle.dumps([1]), b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a readable"):
            load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "n.safetensors"
    save(NETWORK, path)
    before = path.read_bytes()
    monkeypatch.setattr("xnorflow.bnn.io.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save(NETWORK, path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["n.safetensors"]
