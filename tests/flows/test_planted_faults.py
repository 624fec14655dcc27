"""Faults planted into the generated projects: the flow must fail each time, at the right layer and channel."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tests.flows.fakes import network
from tests.narrowed import a

import xnorflow.hls.project
import xnorflow.hls.rtl.project
from xnorflow.bnn import io
from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.network import Dense, Network, Threshold
from xnorflow.flows import run, subject
from xnorflow.flows.options import Options

pytestmark = pytest.mark.slow

CHANNEL = 4  # of dense1 and threshold1; its direction is -1 in the file, as a negative gamma makes it


def with_operation(network: Network, changed: Any) -> Any:
    operations = [changed if operation.name == changed.name else operation for operation in network.operations]
    return Network(network.name, tuple(operations))


def wrong_weight_bit(network: Network) -> Any:
    weight = a(Dense, network["dense1"]).weight.copy()
    weight[CHANNEL, 7] *= -1
    return with_operation(network, replace(network["dense1"], weight=weight))  # type: ignore[call-arg]


def threshold_off_by_one(network: Network) -> Any:
    threshold = a(Threshold, network["threshold1"]).threshold.copy()
    # The next value at which the comparison decides otherwise: sums of an even number of bipolar terms are even.
    threshold[CHANNEL] += 2 if threshold[CHANNEL] <= 0 else -2
    return with_operation(network, replace(network["threshold1"], threshold=threshold))  # type: ignore[call-arg]


def channel_left_unflipped(network: Network) -> Any:
    """The weights as the model has them, but the comparison turned: what hls4ml's own conversion does."""
    weight = a(Dense, network["dense1"]).weight.copy()
    weight[CHANNEL] *= -1
    return with_operation(network, replace(network["dense1"], weight=weight))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("fault", "layer"),
    [
        (None, None),
        (wrong_weight_bit, "dense1"),
        (threshold_off_by_one, "threshold1"),
        (channel_left_unflipped, "dense1"),
    ],
)
def test_a_fault_in_the_generated_project_is_found_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., Any] | None, layer: str | None
) -> None:
    assert network()["threshold1"].direction[CHANNEL] == -1
    io.save(network(), tmp_path / "small.safetensors")
    written = xnorflow.hls.project.write

    def write(given: Any, *arguments: Any, **options: Any) -> Any:
        assert given == replace(canonicalise(network()), name="small")
        return written(fault(given) if fault else given, *arguments, **options)

    written_rtl = xnorflow.hls.rtl.project.write

    def write_rtl(given: Any, folder: Path, config: Any) -> Any:
        good = written_rtl(given, folder, config)
        if fault:
            bad = written_rtl(fault(given), tmp_path / "bad", config)
            for path in (*bad.sources, *bad.folder.glob("*.mem")):
                shutil.copy(path, folder)
        return good

    monkeypatch.setattr(xnorflow.hls.project, "write", write)
    monkeypatch.setattr(xnorflow.hls.rtl.project, "write", write_rtl)
    outcome = run.run(
        subject.find(str(tmp_path / "small.safetensors")),
        Console(quiet=True),
        vectors=200,
        options=Options(targets=()),
        build=tmp_path / "build",
        reports=tmp_path / "reports",
    )
    report = json.loads((outcome.report / "report.json").read_text())
    assert report["verdict"] == outcome.verdict == ("fail" if fault else "pass")
    assert report["engines"]["pytorch"]["status"] == "skipped"
    for name in ("hls4ml_stock", "hls4ml_packed", "rtl_icarus", "rtl_cxxrtl"):
        engine = report["engines"][name]
        if name != "hls4ml_stock" and fault:
            layer = "threshold1"  # computed together with dense1
        if not fault:
            assert (engine["status"], engine["vectors"], engine["mismatches"]) == ("pass", 200, 0)
            continue
        assert engine["status"] == "fail"
        assert 0 < engine["mismatches"] <= 200
        first = engine["first_mismatch"]
        assert (first["layer"], first["channel"]) == (layer, CHANNEL)
        assert first["expected"] != first["got"]
        assert (engine["waveform"] is not None) == (name == "rtl_icarus")
        if engine["waveform"]:
            assert engine["reason"].endswith(f"; waveform: {engine['waveform']}")
            assert (outcome.report / engine["waveform"]).stat().st_size > 1000
        with np.load(outcome.report / first["replay"]) as replay:
            position = replay["vectors"].tolist().index(first["vector"])
            assert replay[f"got.{layer}"][position, CHANNEL] == first["got"]
