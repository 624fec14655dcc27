"""Modules of Brevitas: what they predict themselves is what the golden model computes, integer for integer."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brevitas import nn as bnn_layers
from brevitas.quant import Int8WeightPerTensorFixedPoint
from brevitas_examples.bnn_pynq import models as pynq
from rich.console import Console
from tests import strategies
from tests.bnn.frontends.brevitas_modules import Weight, norm, sign
from tests.flows import fakes
from torch import nn

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import brevitas, qonnx
from xnorflow.bnn.network import Input
from xnorflow.cosim.golden import Golden
from xnorflow.flows import run, subject
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.options import Options
from xnorflow.reports.render import validate

PIXELS = Input("input", (), (6, 6, 2), "signed", 5)


def network(seed: int) -> Any:
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    binary = {"bias": False, "weight_quant": Weight}
    return nn.Sequential(
        bnn_layers.QuantConv2d(2, 5, 3, **binary),
        norm(nn.BatchNorm2d, 5, random),
        sign(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        bnn_layers.QuantLinear(20, 12, **binary),
        norm(nn.BatchNorm1d, 12, random),
        sign(),
        bnn_layers.QuantLinear(12, 4, **binary),
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_module_itself_predicts_the_golden_integers(seed: int) -> None:
    module = network(seed).eval()
    conversion = qonnx.trace(brevitas.export(module, PIXELS, "net"), "net", lambda shape: PIXELS)
    assert not conversion.ambiguous
    made = canonicalise(conversion.network)
    inputs = np.random.default_rng(9).integers(-16, 16, (200, 6, 6, 2))
    golden = Golden()
    golden.prepare(made)
    got = golden.run(inputs)
    (scores,) = (value for name, value in got.items() if value.shape == (200, 4))
    with torch.no_grad():
        want = module(torch.tensor(np.moveaxis(inputs, -1, 1), dtype=torch.float32))
    np.testing.assert_array_equal(scores, want.numpy())


SLOW = ("sfc_1w1a", "sfc_1w2a", "sfc_2w2a", "lfc_1w1a", "lfc_1w2a", "cnv_1w1a", "cnv_1w2a", "cnv_2w2a")


@pytest.mark.parametrize(
    "name", ["tfc_1w1a", "tfc_1w2a", "tfc_2w2a", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_the_networks_of_finn_are_taken_as_brevitas_has_them(name: str) -> None:
    torch.manual_seed(2)
    module = getattr(pynq, name)(pretrained=False)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.weight, layer.bias):
                nn.init.normal_(tensor, std=3)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 1, 30)  # type: ignore[arg-type]
    pixels = Input("input", (), (32, 32, 3) if name.startswith("cnv") else (28, 28, 1), "unsigned", 8, 8)
    conversion = qonnx.trace(brevitas.export(module.eval(), pixels, name), name, lambda shape: pixels)
    made = canonicalise(conversion.network)
    golden, inputs = Golden(), strategies.inputs_for(made, 50)
    golden.prepare(made)
    real = np.moveaxis(inputs, -1, 1) / 2.0**made.input.fraction
    if conversion.notes:  # what stands before a quantiser of all integers of some bits is left to the host
        real = (real + 1) / 2
    with torch.no_grad():
        classes = module(torch.tensor(real, dtype=torch.float32)).numpy().argmax(1)
    assert not conversion.ambiguous and len(set(classes)) > 2
    np.testing.assert_array_equal(golden.run(inputs)[made.output.name][:, 0], classes)


def test_a_module_of_pytorch_alone_is_none() -> None:
    assert brevitas.is_brevitas(network(0)) and not brevitas.is_brevitas(nn.Sequential(nn.Linear(2, 2)))


def test_what_cannot_be_exported_or_is_not_supported_is_told() -> None:
    with pytest.raises(UserError, match=r"^net: Brevitas cannot export it for an input of shape \(5, 5, 7\): "):
        brevitas.export(network(0), Input("input", (), (5, 5, 7), "signed", 5), "net")
    gelu = nn.Sequential(
        bnn_layers.QuantLinear(4, 3, bias=False, weight_quant=Int8WeightPerTensorFixedPoint), nn.GELU()
    )
    with pytest.raises(UserError, match=r"^net, exported to QONNX: .*not supported; supported are"):
        brevitas.export(gelu, Input("input", (), (4,), "signed", 5), "net")


def test_a_flow_takes_a_factory_of_such_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "users_brevitas.py").write_text("from tests.bnn.frontends.test_brevitas import network\n\n"
                                                "def make():\n    return network(1)\n")  # fmt: skip
    engines = (
        *fakes.kinds(log=tmp_path / "built.log"),
        *(kind for kind in ENGINES if kind.name in ("pytorch", "onnx")),
    )
    found = subject.find("users_brevitas:make")
    outcome = run.run(
        found, Console(file=io.StringIO()), vectors=50, build=tmp_path / "build", reports=tmp_path / "reports",
        options=Options(input={"shape": [6, 6, 2], "kind": "signed", "bits": 5}), **fakes.parts(engines=engines),
    )  # fmt: skip
    report = json.loads((outcome.report / "report.json").read_text())
    validate(report)
    sys.modules.pop("users_brevitas")
    assert (report["verdict"], report["source"]["kind"]) == ("pass", "brevitas")
    assert report["engines"]["onnx"]["status"] == "pass" and "pytorch" not in report["engines"]
