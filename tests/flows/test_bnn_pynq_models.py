"""A flow from a folder of BNN-PYNQ."""

import io
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from tests.bnn.frontends.pynq_folder import Layer, write
from tests.flows import fakes

from xnorflow.flows import run, subject
from xnorflow.flows.options import Options
from xnorflow.reports.render import validate


def test_a_folder_is_a_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    layers = [Layer(rng.integers(0, 2, (64, 64)), rng.integers(20, 40, 64), 4, 16)]
    (folder := tmp_path / "lfcW1A1").mkdir()
    write(folder, 10, layers)
    outcome = run.run(
        subject.find(str(folder)), Console(file=io.StringIO()), vectors=50, build=tmp_path / "build",
        options=Options(input={"shape": [60], "kind": "bipolar"}), reports=tmp_path / "reports",
        **fakes.parts(log=tmp_path / "built.log"),
    )  # fmt: skip
    report = json.loads((outcome.report / "report.json").read_text())
    validate(report)
    assert (report["verdict"], report["source"]["kind"], report["model"]) == ("pass", "bnn_pynq", "lfcw1a1")
