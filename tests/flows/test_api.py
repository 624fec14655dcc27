"""The Python interface."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.flows import fakes
from tests.narrowed import there

import xnorflow as xf
from xnorflow.flows import extras


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.first, self.second = (
            torch.nn.Parameter(torch.randn(shape, generator=random)) for shape in ((8, 16), (3, 8))
        )

    def forward(self, x: Any) -> Any:
        sign = lambda v: torch.where(v >= 0, 1.0, -1.0)  # noqa: E731
        hidden = sign(torch.nn.functional.linear(x, sign(self.first)))
        return torch.nn.functional.linear(hidden, sign(self.second))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    fakes.install(monkeypatch.setattr, log=tmp_path / "log")
    return tmp_path


def vectors(count: int = 20) -> Any:
    return np.random.default_rng(1).choice([-1, 1], (count, 16))


def test_a_module_is_converted_and_its_golden_model_is_the_module() -> None:
    net, x = xf.convert(Net(), xf.Input(shape=(16,))), vectors()
    with torch.no_grad():
        expected = Net()(torch.tensor(x, dtype=torch.float32)).argmax(1).numpy()
    for given in (x, x.astype(np.float32), x.tolist()):
        assert np.array_equal(xf.golden(net)(given), expected)


def test_numbers_that_a_model_cannot_take_are_refused_before_anything_is_compiled(tmp_path: Path) -> None:
    net, wrong = xf.convert(Net(), xf.Input(shape=(16,))), vectors() * 0.5
    for infer in (xf.golden(net), xf.hls4ml(net, tmp_path).predict):
        with pytest.raises(xf.UserError, match=r"expected -1 or \+1, .* got -?0\.5 at \(0, 0\)"):
            infer(wrong)
    assert not any(tmp_path.iterdir())


def test_every_name_is_there_and_nothing_heavy_is_imported_for_it() -> None:
    code = "import sys, xnorflow as xf; dir(xf); print([m for m in ('torch', 'numpy', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert all(getattr(xf, name).__doc__ for name in xf.__all__)
    with pytest.raises(AttributeError):
        xf.no_such_name  # noqa: B018


def test_summary_and_estimate() -> None:
    net = xf.convert("digits_bnn")
    rows = {row["layer"]: row for row in net.summary().to_dicts()}
    assert rows["dense1"]["weight bits"] == 64 * 256 and "bits" in str(net.summary())
    fast, slow = (net.estimate(target_fps=rate, clock_ns=5) for rate in (1e6, 1e4))
    assert fast.fps >= 1e6 and fast.interval <= 200 < slow.interval and fast.luts > slow.luts
    assert f"{fast.latency:,} cycles" in str(fast) and "<table>" in fast._repr_html_()


def test_a_run_with_labelled_data_of_ones_own(here: Path) -> None:
    net, x = xf.convert(Net(), xf.Input(shape=(16,)), name="mine"), vectors()
    y = xf.golden(net)(x)
    report = xf.run(net, vectors=30, images=(x, np.where(np.arange(20) < 5, (y + 1) % 3, y)), quiet=True)
    assert (report.verdict, report.accuracy) == ("pass", 15 / 20)
    given = report.content["inputs"]
    assert given["images"] == 20 and given["random"] + given["directed"] == 10
    assert report.folder == xf.run(net, vectors=30, images=(x, y), quiet=True).folder
    np.savez("own.npz", x=x, y=y)
    assert xf.run(net, vectors=None, images="own.npz", quiet=True).accuracy == 1.0
    assert report.resources and "pass" in repr(report)


def test_another_module_under_the_same_name_reuses_nothing_of_the_first(here: Path) -> None:
    first, other = Net(), Net()
    with torch.no_grad():
        other.second.neg_()
    nets = [xf.convert(module, xf.Input(shape=(16,)), name="mine") for module in (first, other)]
    y = xf.golden(nets[0])(vectors())
    accuracies = [there(xf.run(net, vectors=20, images=(vectors(), y), quiet=True).accuracy) for net in nets]
    assert accuracies[0] == 1.0 > accuracies[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Net(),), r"give one, such as xf\.Input"),
        ((object(), {"shape": (16,)}), "expected a PyTorch module"),
        (("no_such_model",), "unknown model"),
        (("digits_bnn", {"kind": "bipolar"}), "tells itself"),
    ],
)
def test_what_cannot_be_converted_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(xf.UserError, match=message):
        xf.convert(*arguments)


def test_bad_images_are_refused(here: Path) -> None:
    net = xf.convert(Net(), xf.Input(shape=(16,)))
    with pytest.raises(xf.UserError, match="y: expected 0 to 2"):
        xf.run(net, images=(vectors(2), [0, 3]), quiet=True)
    with pytest.raises(xf.UserError, match="has no labelled data"):
        xf.run(net, images=here, quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["packed", "stock"])
def test_hls4mls_graph_predicts_the_golden_models_integers(tmp_path: Path, style: str) -> None:
    from hls4ml.model.graph import ModelGraph

    net, x = xf.convert(Net(), xf.Input(shape=(16,))), vectors()
    graph = xf.hls4ml(net, tmp_path / style, style=style)  # type: ignore[arg-type]
    assert isinstance(graph, ModelGraph) and not (tmp_path / style).exists()
    graph.compile()
    with torch.no_grad():
        expected = Net()(torch.tensor(x, dtype=torch.float32)).numpy()
    for given in (x, x.astype(np.float32)):
        assert np.array_equal(graph.predict(given), expected)
    assert (tmp_path / style / "build_prj.tcl").is_file()


def test_a_missing_extra_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    def lack(subject: Any, settings: Any = None, fixed: Any = None) -> None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    from xnorflow.flows import api

    monkeypatch.setattr(api, "read_subject", lack)
    with pytest.raises(xf.UserError, match=r"needs tensorflow.*pip install 'xnorflow\[keras\]'"):
        xf.run("digits_bnn", quiet=True)


def test_extras_by_model(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x")
    assert extras.needed("mnist_qkeras") == extras.needed("mnist_larq") == "keras"
    assert extras.needed("mnist_bnn") is None and extras.needed("package.module:factory") is None
    assert extras.needed(str(tmp_path / "a.onnx")) == "qonnx"
    assert extras.of_module("qonnx.core.modelwrapper") == "qonnx" and extras.of_module("mine") is None
