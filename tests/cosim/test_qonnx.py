"""A Network's QONNX model equals the oracle in onnxruntime, and in qonnx's own executor."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests import oracle
from tests.strategies import EVERY, inputs_for, networks

from xnorflow.bnn import qonnx_export
from xnorflow.bnn.network import Argmax, Dense, Input, Network, Threshold
from xnorflow.cosim.compare import compare
from xnorflow.cosim.engine import EngineError, EngineUnavailable
from xnorflow.cosim.qonnx import FILE, Qonnx


@settings(max_examples=60)
@given(network=networks(width=70, weight_bits=8, grown=True, operations=EVERY), fraction=st.integers(0, 8))
def test_every_layer_equals_the_oracle(network: Any, fraction: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    if network.input.kind != "bipolar":
        network = Network(network.name, (replace(network.input, fraction=fraction), *network.operations[1:]))
    assume(qonnx_export.largest_sum(network) <= 2**24)
    engine, inputs = Qonnx(), inputs_for(network, 20)
    engine.prepare(network, tmp_path_factory.mktemp("qonnx"))
    comparison = compare(network, oracle.run(network, inputs), engine.run(inputs, every_layer=True))
    assert comparison.first is None


@settings(max_examples=15)
@given(network=networks(width=9, hidden=2))
def test_qonnx_itself_executes_the_file_equally(network: Network, tmp_path_factory: pytest.TempPathFactory) -> None:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    path = tmp_path_factory.mktemp("qonnx") / FILE
    qonnx_export.write(network, path)
    model = ModelWrapper(str(path)).transform(InferShapes())
    inputs = inputs_for(network, 3)
    expected = oracle.run(network, inputs)
    for vector, values in enumerate(inputs):
        given = np.moveaxis(values[None].astype(np.float32), -1, 1)
        got = execute_onnx(model, {qonnx_export.INPUT: given}, return_full_exec_context=True)
        for name in network.signals:
            assert np.array_equal(np.moveaxis(got[name], 1, -1)[0], expected[name][vector]), name


def _dense_network(inputs: int, bits: int) -> Network:
    return Network(
        "large",
        (
            Input("x", (), shape=(inputs,), kind="unsigned", bits=bits),
            Dense("dense", ("x",), weight=np.ones((2, inputs), np.int8)),
            Argmax("argmax", ("dense",)),
        ),
    )


def test_sums_beyond_float32_are_refused_and_the_largest_that_fit_are_exact(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="float32"):
        Qonnx().prepare(_dense_network(258, 16), tmp_path)
    assert not list(tmp_path.iterdir())
    network = _dense_network(256, 16)
    engine, inputs = Qonnx(), inputs_for(network, 40)
    engine.prepare(network, tmp_path)
    assert compare(network, oracle.run(network, inputs), engine.run(inputs)).first is None


def test_a_wrong_threshold_in_the_file_is_a_mismatch_and_a_truncated_file_an_error(tmp_path: Path) -> None:
    network = Network(
        "small",
        (
            Input("x", (), shape=(4,)),
            Dense("dense", ("x",), weight=np.ones((1, 4), np.int8)),
            Threshold("threshold", ("dense",), threshold=np.array([2]), direction=np.array([1], np.int8)),
        ),
    )
    inputs = inputs_for(network, 60)
    engine = Qonnx()
    engine.prepare(network, tmp_path)
    wrong = replace(network.output, threshold=np.array([4]))  # type: ignore[call-arg]
    qonnx_export.write(Network("small", (*network.operations[:-1], wrong)), tmp_path / FILE)
    engine.attach(network, tmp_path)
    comparison = compare(network, oracle.run(network, inputs), engine.run(inputs))
    assert comparison.first is not None and comparison.first.layer == "threshold"
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(EngineError, match="qonnx"):
        engine.attach(network, tmp_path)
        engine.run(inputs)
