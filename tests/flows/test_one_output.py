"""Flows of networks whose output is one number, or no class at all: from a Network, an ONNX file and PyTorch."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tests.flows import fakes

from xnorflow.bnn import io as network_io
from xnorflow.bnn import qonnx_export
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Affine, Conv2d, Dense, Input, Network, Threshold
from xnorflow.flows import document, run, subject, vectors
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.options import Options
from xnorflow.flows.steps import load as load_step
from xnorflow.models.labelled import labelled
from xnorflow.reports.index import index
from xnorflow.reports.render import validate

RANDOM = np.random.default_rng(5)
CODE = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.last = nn.Parameter(torch.randn(12, 16)), nn.Parameter(torch.randn(1, 12))
        self.norm = nn.BatchNorm1d(12)
        nn.init.normal_(self.norm.running_mean, std=2)

    def forward(self, x):
        sign = lambda x: torch.where(x >= 0, 1.0, -1.0)
        return F.linear(sign(self.norm(F.linear(x, sign(self.first)))), sign(self.last))

class Scaled(Net):
    def forward(self, x):
        return super().forward(x) * 0.37 - 0.21
"""


def one_output(*rest: Any) -> Any:
    """Like :func:`fakes.network`, with one output."""
    operations = fakes.network().operations[:-1]
    return Network("one", (*operations, Dense("score", ("threshold1",), RANDOM.choice([-1, 1], (1, 12))), *rest))


AFFINE = Affine("affine", ("score",), scale=np.array([5]), offset=np.array([-3]), fraction=2)
SIGN = Threshold("sign", ("score",), threshold=np.array([1]), direction=np.array([1]))


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a flow whose engines are fakes, but for the model's own; with labels, if given. Return report and page."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.chdir(tmp_path)

    def go(model: str, labels: list[int] | None = None, settings: Any = None) -> Any:
        log = tmp_path / "built.log"
        engines = (*fakes.kinds(log=log), *(kind for kind in ENGINES if kind.name in ("onnx", "pytorch")))
        if labels is not None:
            real = load_step._load

            def load(view: Any, entry: Any, advance: Any) -> None:
                real(view, entry, advance)
                with np.load(entry.folder / "vectors.npz") as file:
                    inputs = file["inputs"]
                np.savez(entry.folder / "vectors.npz", inputs=inputs, labels=np.resize(labels, len(inputs)))
                entry.facts["all"] = True  # else some would make room for directed vectors

            monkeypatch.setattr(load_step, "_load", load)
        outcome = run.run(
            subject.find(str(model)), Console(file=io.StringIO()), vectors=40, options=Options(input=settings),
            build=tmp_path / "build", reports=tmp_path / "reports", **fakes.parts(engines=engines),
        )  # fmt: skip
        report = json.loads((outcome.report / "report.json").read_text())
        validate(report)
        assert report["verdict"] == "pass"
        index(tmp_path / "reports")
        page = (outcome.report / "report.html").read_text()
        return report, " ".join(page.split())

    return go


@pytest.fixture
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A model with one output, and the settings that it needs."""
    if "module" in request.param:
        (tmp_path / "one_output.py").write_text(CODE)
        yield f"one_output:{'Scaled' if 'scaled' in request.param else 'Net'}", {"shape": [16], "kind": "bipolar"}
        sys.modules.pop("one_output", None)
        return
    if request.param == "onnx":
        qonnx_export.write(one_output(), tmp_path / "one.onnx")
        yield tmp_path / "one.onnx", None
        return
    network = {"network": one_output(), "affine": one_output(AFFINE), "sign": one_output(SIGN)}[request.param]
    network_io.save(network, tmp_path / "one.safetensors")
    yield tmp_path / "one.safetensors", None


@pytest.mark.parametrize("model", ["network", "affine", "sign", "onnx", "module", "scaled module"], indirect=True)
def test_one_output_without_labels_is_a_score(flow: Any, model: str) -> None:
    report, page = flow(model[0], settings=model[1])
    assert (report["argmax"]["of"], report["argmax"]["claim"]) == ("score", "proved")
    assert report["accuracy"]["golden"] is None and report["accuracy"]["confusion"] is None
    assert all(sample["class"] is None and sample["label"] is None for sample in report["samples"])
    assert "None: there are no labelled images" in page and ": score " in page and "by class" not in page
    ran = {name for name, engine in report["engines"].items() if engine["vectors"] == 40}
    own = {"onnx": {"onnx"}, "module": {"pytorch"}}.get(report["source"]["kind"], set())
    assert ran == {"golden", "plain", "first", "second", *own}


@pytest.mark.parametrize(
    ("model", "labels"), [("affine", [0, 1, 1]), ("sign", [-1, 1]), ("onnx", [-1, 1]), ("module", [0, 1, 1])],
    indirect=["model"],
)  # fmt: skip
def test_its_sign_is_a_class_where_the_labels_are_two(flow: Any, model: str, labels: list[int]) -> None:
    report, page = flow(model[0], labels, model[1])
    (first, second), (third, fourth) = report["accuracy"]["confusion"]
    assert report["accuracy"]["golden"] == (first + fourth) / 40 == (first + fourth) / (first + second + third + fourth)
    assert third + fourth == int((np.resize(labels, 40) > 0).sum())
    assert all(sample["class"] in (0, 1) and sample["label"] in (0, 1) for sample in report["samples"])
    curve = report["accuracy"]["precision_recall"]
    assert (curve["positives"], curve["threshold"]) == (third + fourth, 0)
    taken = [point for point in curve["points"] if point[0] >= 0]
    assert (taken[-1][1:] if taken else [0, 0]) == [fourth, second]
    assert "Confusion matrix</h2> <p>Rows" in page and "Average precision" in page


def test_labels_of_ones_own_are_0_and_1() -> None:
    network = one_output(AFFINE)
    x = np.ones((2, *network.input.shape), int)
    assert labelled(x, [0, 1], network.input, vectors.classes(network)).y.tolist() == [0, 1]
    with pytest.raises(UserError, match="expected 0 to 1, the model's classes, got 2 at 1"):
        labelled(x, [0, 2], network.input, vectors.classes(network))


@pytest.mark.parametrize("model", ["network", "scaled module"], indirect=True)
def test_it_is_no_class_where_the_labels_are_more(flow: Any, model: str) -> None:
    report, page = flow(model[0], [0, 7, 3], model[1])
    assert report["accuracy"]["golden"] is None and report["accuracy"]["confusion"] is None
    assert {sample["label"] for sample in report["samples"]} <= {0, 7, 3}
    assert "None: the results are no classes" in page and f"label {report['samples'][0]['label']}" in page


def test_an_image_and_bits_are_no_class(flow: Any, tmp_path: Path) -> None:
    conv = Conv2d("c", ("x",), weight=RANDOM.choice([-1, 1], (2, 3, 3, 1)))
    sign = Threshold("t", ("dense1",), threshold=np.zeros(3, int), direction=np.ones(3, np.int8))
    dense = Dense("dense1", ("x",), RANDOM.choice([-1, 1], (3, 6)))
    for name, operations in {
        "image": (Input("x", (), shape=(5, 5, 1)), conv),
        "bits": (Input("x", (), shape=(6,)), dense, sign),
    }.items():
        network_io.save(Network(name, operations), tmp_path / f"{name}.safetensors")
        report, page = flow(tmp_path / f"{name}.safetensors", [0, 1])
        assert report["argmax"]["of"] == "values" and report["accuracy"]["golden"] is None
        assert "None: the results are no classes" in page and "by class" not in page


@pytest.mark.parametrize(
    ("meaning", "affine", "thresholds", "expected"),
    [
        ("class", None, {}, ("proved", 0, None)),
        ("class", 3, {}, ("measured", 40, 3)),
        ("class", 3, {"t": 2}, ("measured", 40, 5)),
        ("score", 3, {}, ("unknown", 0, 3)),  # no engine shows what the trained model's single score is
        ("score", 0, {"t": 2}, ("measured", 40, 2)),  # the sums behind the thresholds are compared
        ("values", None, {"t": 2}, ("measured", 40, 2)),
    ],
)
def test_measured_is_only_what_was_compared(
    meaning: Any, affine: int | None, thresholds: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    engines: Any = [{"status": "pass", "vectors": 40}]
    fold: Any = {"ambiguous": affine, "conversion": {"ambiguous": thresholds}, "rounded": []}
    found = document._argmax(meaning, fold, engines)
    assert (found["claim"], found["vectors"], found["ambiguous"]) == expected
    assert document._argmax(meaning, fold, [])["claim"] in ("proved", "unknown")
    assert document._argmax(meaning, fold | {"rounded": [{"name": "dense1"}]}, engines)["claim"] == "rounded"
