"""Flows from a factory of PyTorch modules: the module itself runs as an engine, and its code is part of the key."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from safetensors.torch import save_file
from tests.flows import fakes

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.core.fixed import Fixed
from xnorflow.bnn.frontends.torch_file import load
from xnorflow.cosim.pytorch import PyTorch
from xnorflow.flows import cli, options, results, rounding, run, subject
from xnorflow.flows.cache import PROJECT
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.options import Options
from xnorflow.reports.render import validate

PIXELS = {"shape": [8, 8, 1], "kind": "unsigned", "bits": 4}

CODE = """
import torch
from torch import nn
from torch.nn import functional as F


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() <= 1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Parameter(torch.randn(4, 1, 3, 3))
        self.norm = nn.BatchNorm2d(4)
        nn.init.normal_(self.norm.running_mean, std=0.1)
        nn.init.normal_(self.norm.weight)
        self.second = nn.Parameter(torch.randn(4, 4, 3, 3))
        self.dense = nn.Parameter(torch.randn(10, 4 * 4 * 4))

    def scaled(self, weight):
        return Sign.apply(weight) * weight.abs().mean((1, 2, 3), keepdim=True)

    def forward(self, x):
        x = Sign.apply(self.norm(F.max_pool2d(F.conv2d(x, self.scaled(self.first), padding=1), 2)))
        return F.linear(x.flatten(1), Sign.apply(self.dense))


class Residual(Net):
    def forward(self, x):
        x = F.max_pool2d(F.conv2d(x, Sign.apply(self.first), padding=1), 2)
        x = x + F.conv2d(Sign.apply(self.norm(x)), Sign.apply(self.second), padding=1)
        return F.linear(Sign.apply(x + 0.5).flatten(1), Sign.apply(self.dense))


class Real(Net):
    # Real weights at both ends, and a normalisation in front of the first.
    def forward(self, x):
        x = F.conv2d((x / 15 - 0.45) / 0.3, self.first, padding=1)
        x = F.conv2d(Sign.apply(self.norm(F.max_pool2d(x, 2))), self.scaled(self.second), padding=1)
        return F.linear(Sign.apply(x + 0.01).flatten(1), self.dense)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A folder with a user's module in it, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "digit_nets.py").write_text(CODE)
    yield tmp_path
    sys.modules.pop("digit_nets", None)


@pytest.fixture
def flow(place: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a flow whose engines are fakes, but for PyTorch and those named; return what it prints, and its report."""

    def go(
        model: str, settings: Any = PIXELS, weights: Any = None, engines: Any = (), force: bool = False, **given: Any
    ) -> Any:
        kinds = (
            *fakes.kinds(log=place / "built.log"),
            *(kind for kind in ENGINES if kind.name in ("pytorch", *engines)),
        )
        sys.modules.pop("digit_nets", None)  # each flow has a process of its own
        console = Console(file=io.StringIO(), record=True, width=200)
        outcome = run.run(
            subject.find(model, weights), console, options=Options(input=settings, **given), vectors=40,
            build=place / "build", reports=place / "reports", force=force, **fakes.parts(engines=kinds),
        )  # fmt: skip
        report = json.loads((outcome.report / "report.json").read_text())
        validate(report)
        return console.export_text(), report

    return go


def test_a_flow_runs_the_module_and_says_where_it_is_from(flow: Any, place: Path) -> None:
    torch.save(load("digit_nets:Net")[0].state_dict(), "weights.pt")
    _, report = flow("digit_nets:Net", weights=place / "weights.pt")
    assert (report["verdict"], report["source"]["kind"]) == ("pass", "module")
    assert report["source"]["path"] == "digit_nets:Net with weights.pt"  # as it reads from the working directory
    assert (report["engines"]["pytorch"]["status"], report["engines"]["pytorch"]["vectors"]) == ("pass", 40)
    assert not report["conversion"]["ambiguous"]
    assert (place / "reports" / "digit_nets_net" / "report.html").is_file()
    assert flow("digit_nets:Net")[1]["source"]["path"] == "digit_nets:Net"


def test_a_change_of_the_code_or_the_parameters_is_another_model(flow: Any, place: Path) -> None:
    state = load("digit_nets:Net")[0].state_dict()
    save_file(state, path := place / "weights.safetensors")
    _, first = flow("digit_nets:Net", weights=path)
    printed, again = flow("digit_nets:Net", weights=path)
    assert again["network_digest"] == first["network_digest"]
    assert all("reused" in line for line in printed.splitlines() if line.startswith("✓"))
    (place / "digit_nets.py").write_text(CODE.replace("x >= 0", "x > 1"))
    _, code = flow("digit_nets:Net", weights=path)
    (place / "digit_nets.py").write_text(CODE)
    save_file({**state, "dense": -state["dense"]}, path)
    _, parameters = flow("digit_nets:Net", weights=path)
    digests = {report["network_digest"] for report in (first, code, parameters)}
    sources = {report["source"]["digest"] for report in (first, code, parameters)}
    assert (len(digests), len(sources)) == (3, 3)
    assert {report["verdict"] for report in (first, again, code, parameters)} == {"pass"}


def test_a_module_that_computes_otherwise_fails_the_flow(flow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = PyTorch.run

    def wrong(engine: Any, inputs: NDArray[Any], every_layer: bool = False) -> Any:
        return {name: -result for name, result in real(engine, inputs, every_layer).items()}

    monkeypatch.setattr(PyTorch, "run", wrong)
    _, report = flow("digit_nets:Net")
    assert (report["verdict"], report["engines"]["pytorch"]["status"]) == ("fail", "fail")


def test_a_tie_that_float32_rounds_fails_and_says_so(flow: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scaled sums that cancel to 0 lie beside it in float32, on a side that depends on their order."""
    lines = ("nn.init.normal_(self.norm.running_mean, std=0.1)", "nn.init.normal_(self.norm.weight)")
    (place / "digit_nets.py").write_text(CODE.replace(lines[0], "").replace(lines[1], ""))
    _, report = flow("digit_nets:Net")
    (layer, count), *_ = report["conversion"]["ambiguous"].items()
    assert (report["verdict"], report["engines"]["pytorch"]["first_mismatch"]["layer"]) == ("fail", layer)
    pairs = rf"the {count:,} \(channel, accumulator\) pairs"
    said = rf"; all [\d,]+ results that differ there are of {pairs} .*: none is proved wrong"
    assert re.search(said, report["engines"]["pytorch"]["reason"])
    real = results.read_results
    monkeypatch.setattr(rounding, "read_results", lambda *of: {name: runs[:0] for name, runs in real(*of).items()})
    _, report = flow("digit_nets:Net", force=True)
    said = rf"; ([\d,]+) of \1 results that differ there are of none of {pairs} .*: these are wrong"
    assert re.search(said, report["engines"]["pytorch"]["reason"])


def test_real_weights_are_refused_or_rounded_with_their_deviation(flow: Any) -> None:
    with pytest.raises(UserError, match=r"expected weights .*or let it be rounded: table \[fixed\].*FIXED=8"):
        flow("digit_nets:Real")
    printed, report = flow("digit_nets:Real", engines=["qonnx"], fixed=Fixed(12), classes_may_differ=0.1)
    deviation, trained = report["deviation"], report["engines"]["pytorch"]
    assert (report["verdict"], trained["status"], report["argmax"]["claim"]) == ("pass", "agrees", "rounded")
    assert report["engines"]["qonnx"]["status"] == "pass" and report["engines"]["qonnx"]["mismatches"] == 0
    assert [(layer["name"], layer["bits"]) for layer in deviation["layers"]] == [("conv1", 12), ("dense1", 12)]
    assert all(0 < layer["measured"] <= layer["bound"] for layer in deviation["layers"])
    assert deviation["classes"] == {
        "different": trained["mismatches"],
        "of": 40 - report["inputs"]["directed"],
        "allowed": 0.1,
    }
    assert [row["name"] for row in deviation["signs"]] == ["threshold1", "threshold2"]
    assert all(row["different"] < row["of"] for row in deviation["signs"])
    assert "not exact: the weights of conv1 are rounded to 12 bits" in printed
    for name in ("report.md", "report.html"):
        assert "Deviation from the trained model" in (Path("reports") / "digit_nets_real" / name).read_text()


def test_a_rounding_that_changes_too_many_classes_fails(flow: Any) -> None:
    _, report = flow("digit_nets:Real", fixed=Fixed(2), classes_may_differ=0.0)
    trained = report["engines"]["pytorch"]
    assert (report["verdict"], trained["status"]) == ("fail", "fail") and trained["mismatches"] > 0
    assert re.fullmatch(r"\d+ of \d+ classes differ .*: more than \[fixed\] classes_may_differ = 0 allows",
                        trained["reason"])  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("model", ["digit_nets:Net", "digit_nets:Residual"])
def test_every_engine_takes_the_module_or_says_why_not(flow: Any, model: str) -> None:
    engines = ("qonnx", "hls4ml_stock", "hls4ml_packed", "rtl_cxxrtl")
    _, report = flow(model, engines=engines)
    assert report["verdict"] == "pass"
    for name in ("pytorch", *engines):
        engine = report["engines"][name]
        if model == "digit_nets:Residual" and name == "rtl_cxxrtl" and engine["status"] == "skipped":
            assert "Add" in engine["reason"]
        else:
            assert (name, engine["status"], engine["mismatches"]) == (name, "pass", 0)


def test_the_example_of_the_guide_is_a_model(flow: Any, place: Path) -> None:
    text = (PROJECT / "docs" / "guide" / "pytorch.md").read_text()
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Net" in block)
    (settings,) = (block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "shape" in block)
    (place / "digit_nets.py").write_text(code)
    (place / "my_net.toml").write_text(settings)
    subprocess.run([sys.executable, "digit_nets.py"], cwd=place, check=True, timeout=100)
    _, report = flow("digit_nets:Net", options.read(place / "my_net.toml").input, place / "my_net.pt")
    assert (report["verdict"], report["engines"]["pytorch"]["status"]) == ("pass", "pass")


def test_check_lists_every_operator(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "digit_nets.py").write_text(CODE.replace("Sign.apply(self.dense)", "self.dense"))
    (place / "net.toml").write_text('[input]\nshape = [8, 8, 1]\nkind = "unsigned"\nbits = 4\nfraction = 0\n')
    for model, status in (("digit_nets:Net", 1), ("digits_bnn", 2)):
        monkeypatch.setattr("sys.argv", ["flows", "check", model, "--config", "net.toml"])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == status
    said = capsys.readouterr()
    assert re.search(
        r"taken +module \(Net\): convolution\n.*refused module \(Net\): mm: expected weights", said.out, re.S
    )
    assert "operators are taken" in said.out and "digits_bnn: check reads " in said.err


def test_what_the_configuration_lacks_is_told(flow: Any) -> None:
    with pytest.raises(UserError, match=r"(?s)digit_nets:Net: it does not say.*\[input\]\nshape = \[28, 28, 1\]"):
        flow("digit_nets:Net", None)
    with pytest.raises(UserError, match=r"\[input\]: digit_nets:Net does not tell the shape of its input; add shape ="):
        flow("digit_nets:Net", {"kind": "bipolar"})
    with pytest.raises(UserError, match=r"fails when it is called.*RuntimeError: .*expected input"):
        flow("digit_nets:Net", {**PIXELS, "shape": [8, 8, 3]})


@pytest.mark.parametrize("model", ["digits_bnn", "my_model.h5"])
def test_parameters_go_with_a_factory_alone(place: Path, model: str) -> None:
    with pytest.raises(UserError, match=r"goes with a model package\.module:factory"):
        subject.find(model, place / "weights.pt")


def test_the_command_takes_a_factory_and_a_checkpoint(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def taken(found: Any, *_: Any, **__: Any) -> None:
        raise UserError(f"{found.name} {found.factory} {found.weights}")

    monkeypatch.setattr(run, "run", partial(taken))
    monkeypatch.setattr("sys.argv", ["flows", "run", "digit_nets:Net", "--checkpoint", "w.pt"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "digit_nets_net digit_nets:Net w.pt" in capsys.readouterr().err
