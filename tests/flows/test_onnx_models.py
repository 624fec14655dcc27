"""Flows from QONNX files: what Brevitas exported and what this project writes; the file itself runs as an engine."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from rich.console import Console
from tests.flows import fakes

from xnorflow.bnn import qonnx_export
from xnorflow.bnn.errors import UserError
from xnorflow.cosim.qonnx_source import QonnxSource
from xnorflow.flows import run, subject
from xnorflow.flows.cache import PROJECT
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.options import Options
from xnorflow.reports.render import validate

BREVITAS = PROJECT / "tests" / "bnn" / "brevitas" / "digits.onnx"


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a flow whose engines are fakes, but for the file's own; return its report."""

    def go(path: Path, settings: Any = None) -> Any:
        engines = (*fakes.kinds(log=tmp_path / "built.log"), *(kind for kind in ENGINES if kind.name == "onnx"))
        outcome = run.run(
            subject.find(str(path)), Console(file=io.StringIO()), vectors=50, options=Options(input=settings),
            build=tmp_path / "build", reports=tmp_path / "reports", **fakes.parts(engines=engines),
        )  # fmt: skip
        report = json.loads((outcome.report / "report.json").read_text())
        validate(report)
        return report

    return go


@pytest.fixture
def exported(tmp_path: Path) -> Any:
    qonnx_export.write(fakes.network(), tmp_path / "small.onnx")
    return tmp_path / "small.onnx"


def test_what_brevitas_exported_passes(flow: Any) -> None:
    report = flow(BREVITAS)
    assert (report["verdict"], report["source"]["kind"]) == ("pass", "onnx")
    assert (report["engines"]["onnx"]["status"], report["engines"]["onnx"]["vectors"]) == ("pass", 50)


def test_what_a_flow_exported_is_a_model_again(flow: Any, exported: Any) -> None:
    report = flow(exported)
    assert (report["verdict"], report["engines"]["onnx"]["status"]) == ("pass", "pass")
    with pytest.raises(UserError, match="tells itself which integers it takes"):
        flow(exported, {"kind": "bipolar"})


def test_a_file_that_computes_otherwise_fails_the_flow(
    flow: Any, exported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = QonnxSource.run

    def wrong(engine: Any, inputs: NDArray[Any], every_layer: bool = False) -> Any:
        return {name: -result for name, result in real(engine, inputs, every_layer).items()}

    monkeypatch.setattr(QonnxSource, "run", wrong)
    report = flow(exported)
    assert (report["verdict"], report["engines"]["onnx"]["status"]) == ("fail", "fail")
