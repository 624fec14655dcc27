"""What a report shows of a mismatch, layer by layer, and of the vectors that it shows without one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracle, strategies
from tests.flows import fakes
from tests.flows.place import Place
from tests.hls.rtl.networks import small_residual

from xnorflow.bnn.network import Argmax, Conv2d, Dense, Network
from xnorflow.flows.mismatch import window
from xnorflow.reports.arrays import unpack


@settings(max_examples=60)
@given(strategies.networks(weight_bits=16, operations=strategies.EVERY), st.data())
def test_a_window_adds_up_to_the_golden_models_integer(network: Any, data: st.DataObject) -> None:
    results = {name: values[0] for name, values in oracle.run(network, strategies.inputs_for(network, 1)).items()}
    layer = data.draw(st.sampled_from([operation.name for operation in network.operations[1:]]))
    index = tuple(data.draw(st.integers(0, length - 1)) for length in results[layer].shape)
    shown = window(network, results, {}, layer, index)
    if shown is None:
        assert leads_to_input(network, layer)
        return
    total = sum(term["factor"] * (term["plus"] - term["minus"]) for term in shown["terms"])
    assert total == shown["accumulator"] == results[shown["layer"]][tuple(shown["index"])]
    assert (unpack(shown["inputs"]) * unpack(shown["weights"])).sum() == total
    assert shown["got"] is None
    if isinstance(network[layer], Dense | Conv2d):
        assert (shown["layer"], tuple(shown["index"]), shown["then"]) == (layer, index, [])
    elif not isinstance(network[layer], Argmax):
        assert any(f"{value:,}" in text for value in [results[layer][index]] for text in shown["then"]) or (
            not shown["then"] and results[layer][index] == total
        )


def leads_to_input(network: Network, layer: Any) -> Any:
    """Whether a path back from a layer meets no layer with weights."""
    operation = network[layer]
    if isinstance(operation, Dense | Conv2d):
        return False
    return not operation.inputs or any(leads_to_input(network, source) for source in operation.inputs)


def test_a_window_follows_the_term_of_a_sum_that_differs() -> None:
    network = small_residual()
    expected = {name: v[0] for name, v in oracle.run(network, strategies.inputs_for(network, 1)).items()}
    got = {name: values.copy() for name, values in expected.items()}
    for layer in ("narrow", "add3", "average"):
        got[layer][0 if layer == "average" else 1, 0, 2] += 2
    shown = window(network, expected, got, "average", (0, 0, 2))
    assert shown
    assert (shown["layer"], shown["index"], shown["got"]) == ("narrow", [1, 0, 2], shown["accumulator"] + 2)
    assert [text.partition(":")[0] for text in shown["then"]] == ["add3", "average"], shown["then"]
    wide, narrow, total = (expected[name][1, 0, 2] for name in ("wide", "narrow", "add3"))
    assert shown["then"][0] == f"add3: {wide:,} + {narrow:,} = {total:,}"


@pytest.fixture
def place(tmp_path: Path) -> Any:
    return Place(tmp_path)


def test_a_layer_that_differs_behind_equal_outputs_is_a_mismatch(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fakes.Fake.run

    def wrong_inside(self: Any, inputs: NDArray[Any], every_layer: bool = False) -> Any:
        results = run(self, inputs, every_layer)
        if every_layer and self.name == "plain":
            results["threshold1"][inputs[:, 3] > 0, 7] *= -1
        return results

    monkeypatch.setattr(fakes.Fake, "run", wrong_inside)
    report = place.flow()
    engine = report["engines"]["plain"]
    wrong = engine["mismatches"]
    assert (report["verdict"], engine["status"]) == ("fail", "fail") and 0 < wrong < 8
    first = engine["first_mismatch"]
    assert (first["layer"], first["index"]) == ("threshold1", [7])
    assert engine["layers"]["threshold1"] == {"vectors": 8, "mismatches": wrong}
    assert engine["layers"]["dense2"] == {"vectors": 300, "mismatches": 0}
    shown = first["window"]
    assert (shown["layer"], shown["index"], shown["got"]) == ("dense1", [7], shown["accumulator"])
    assert shown["then"][0].endswith(f"which makes {first['expected']:+d}")


def test_the_report_has_a_wrong_image_and_counts_classes(place: Place) -> None:
    report = place.flow(model="digits_bnn", vectors=None)
    confusion = np.array(report["accuracy"]["confusion"])
    assert confusion.shape == (10, 10) and confusion.sum() == 360
    assert np.trace(confusion) == round(360 * report["accuracy"]["golden"])
    samples = report["samples"]
    assert any(sample["class"] != sample["label"] for sample in samples)
    for sample in samples:
        values = {layer["name"]: unpack(layer["values"]) for layer in sample["layers"]}
        assert list(values) == ["input", "threshold1", "threshold2", "affine"]
        assert values["affine"].argmax() == sample["class"]
        assert set(np.unique(values["threshold1"])) <= {-1, 1} and values["threshold1"].shape == (256,)


def test_the_report_has_the_baseline_beside_what_was_found(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import xnorflow.reports.measures

    report = place.flow(model="digits_bnn", vectors=20)
    rows = {row["what"]: row for row in report["baseline"]["rows"]}
    assert {"outputs", "rtl.latency", "rtl.interval", "rtl.layers.dense1", "layers.dense1"} <= set(rows)
    assert all(row["before"] == row["now"] is not None for row in rows.values())

    planted = json.loads((xnorflow.reports.measures.BASELINES / "digits_bnn.json").read_text())
    planted["rtl"]["latency"] -= 1
    planted["outputs"] = "0" * 64
    planted["layers"]["dense9"] = planted["layers"].pop("dense1")
    (tmp_path / "digits_bnn.json").write_text(json.dumps(planted))
    monkeypatch.setattr(xnorflow.reports.measures, "OWN_BASELINES", tmp_path)
    rows = place.flow(model="digits_bnn", vectors=20, force=True)["baseline"]["rows"]
    changed = {row["what"]: (row["before"], row["now"]) for row in rows if row["before"] != row["now"]}
    assert set(changed) == {"rtl.latency", "outputs", "layers.dense1", "layers.dense9"}
    assert changed["layers.dense1"][0] is changed["layers.dense9"][1] is None
    assert place.flow()["baseline"] is None
