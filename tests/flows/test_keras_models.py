"""Flows from Keras files: the model itself runs as an engine, and a file that cannot be used ends in a clear line."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tests.bnn.frontends.keras_models import hostile, keras, lq, qkeras
from tests.flows import fakes

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.core.value import Ambiguous
from xnorflow.cosim.engine import EngineError
from xnorflow.cosim.golden import Golden
from xnorflow.cosim.keras import Keras
from xnorflow.flows import cli, run, subject
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.formats import FORMATS, Converted
from xnorflow.flows.options import Options
from xnorflow.models import checkpoint, zoo
from xnorflow.reports.render import validate

L = keras.layers
BIPOLAR = {"kind": "bipolar"}


def larq() -> Any:
    """A convolution with the padding, pooling and batch norm of Larq's examples."""
    options = {"kernel_quantizer": "ste_sign", "use_bias": False}
    return keras.Sequential(
        [L.InputLayer((6, 6, 1)), lq.layers.QuantConv2D(4, 3, **options), L.MaxPooling2D(),
         L.BatchNormalization(scale=False), L.Flatten(),
         lq.layers.QuantDense(3, input_quantizer="ste_sign", **options), L.BatchNormalization(scale=False),
         L.Activation("softmax")]
    )  # fmt: skip


def dense(scale: str = "1", bias: bool = False) -> Any:
    """A QKeras model of two layers, the last one with a bias or without."""
    kernel = {"kernel_quantizer": f"binary(alpha={scale})"}
    return keras.Sequential(
        [L.InputLayer((20,)), qkeras.QDense(8, use_bias=False, **kernel), L.BatchNormalization(),
         qkeras.QActivation(qkeras.binary(alpha=None)), qkeras.QDense(3, use_bias=bias, **kernel),
         L.BatchNormalization()]
    )  # fmt: skip


def fed(path: Path, settings: Any) -> Any:
    """Return what the file holds, vectors for it, and the golden model's results."""
    converted = FORMATS["keras"].read(subject.find(str(path)), settings, None)
    taken, rng = converted.network.input, np.random.default_rng(1)
    inputs = (
        rng.choice([-1, 1], (40, *taken.shape)) if taken.kind == "bipolar" else rng.integers(0, 256, (40, *taken.shape))
    )
    return converted, inputs


@pytest.mark.parametrize(("make", "settings"), [(larq, {"kind": "unsigned", "bits": 8}), (dense, BIPOLAR)])
def test_the_model_gives_the_golden_integers_in_every_layer(
    tmp_path: Path, make: Callable[..., Any], settings: Any
) -> None:
    hostile(make(), 3, halves=True).save(tmp_path / "m.h5")
    converted, inputs = fed(tmp_path / "m.h5", settings)
    engine, golden = Keras(*converted.model), Golden(threads=1)
    for part in (engine, golden):
        part.prepare(converted.network, tmp_path)
    expected, got = golden.run(inputs, every_layer=True), engine.run(inputs, every_layer=True)
    assert len(got) >= 3
    for name, result in got.items():
        np.testing.assert_array_equal(result, expected[name], strict=False)
    last = engine.run(inputs)
    assert set(last) < set(got) and "argmax" in last


def test_a_model_that_computes_otherwise_gives_other_integers(tmp_path: Path) -> None:
    hostile(dense(), 3, halves=True).save(tmp_path / "m.h5")
    converted, inputs = fed(tmp_path / "m.h5", BIPOLAR)
    model, conversion = converted.model
    engine = Keras(model, conversion)
    engine.prepare(converted.network, tmp_path)
    before = engine.run(inputs)
    kernel = model.layers[-2]
    kernel.set_weights([-kernel.get_weights()[0]])
    after = engine.run(inputs)
    assert all((before[name] != after[name]).any() for name in before)


def test_sums_that_are_no_integers_and_another_network_are_errors(tmp_path: Path) -> None:
    hostile(dense(), 3, halves=True).save(tmp_path / "m.h5")
    converted, inputs = fed(tmp_path / "m.h5", BIPOLAR)
    engine = Keras(*converted.model)
    with pytest.raises(EngineError, match="not the conversion"):
        engine.prepare(fakes.network("n"), tmp_path)
    engine.prepare(converted.network, tmp_path)
    with pytest.raises(EngineError, match="got fractions"):
        engine.run(inputs * 0.3, every_layer=True)
    with pytest.raises(EngineError, match="NaN"):
        engine.run(inputs * np.nan, every_layer=True)


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a flow whose engines are fakes, but for Keras; return its report."""

    def go(path: Path, settings: Any = None, vectors: int = 50) -> Any:
        engines = (
            *fakes.kinds(log=tmp_path / "built.log"),
            *(kind for kind in ENGINES if kind.name in ("keras", "pytorch")),
        )
        outcome = run.run(
            subject.find(str(path)), Console(file=io.StringIO()), vectors=vectors, options=Options(input=settings),
            build=tmp_path / "build", reports=tmp_path / "reports", **fakes.parts(engines=engines),
        )  # fmt: skip
        report = json.loads((outcome.report / "report.json").read_text())
        validate(report)
        return report

    return go


def test_a_flow_runs_the_model_and_reports_what_its_conversion_says(tmp_path: Path, flow: Any) -> None:
    hostile(larq(), 2, halves=True).save(tmp_path / "m.h5")
    report = flow(tmp_path / "m.h5", {"kind": "unsigned", "bits": 8})
    assert (report["verdict"], report["source"]["kind"]) == ("pass", "keras")
    assert (report["engines"]["keras"]["status"], report["engines"]["keras"]["vectors"]) == ("pass", 50)
    assert "pytorch" not in report["engines"]
    assert any("softmax is left out" in note for note in report["conversion"]["notes"])
    assert "softmax is left out" in (tmp_path / "reports" / "m" / "report.md").read_text()


def test_a_sequence_is_an_image_of_height_1(tmp_path: Path, flow: Any) -> None:
    options = {"kernel_quantizer": "binary(alpha=1)", "use_bias": False}
    model = keras.Sequential(
        [L.InputLayer((12, 2)), qkeras.QConv1D(4, 3, **options), L.BatchNormalization(), qkeras.QActivation("binary"),
         L.MaxPooling1D(2), L.Flatten(), qkeras.QDense(3, **options)]
    )  # fmt: skip
    hostile(model, 3, halves=True).save(tmp_path / "m.h5")
    report = flow(tmp_path / "m.h5", {"kind": "unsigned", "bits": 4})
    assert (report["verdict"], report["engines"]["keras"]["mismatches"]) == ("pass", 0)
    assert (report["layers"][0]["inputs"], report["layers"][0]["outputs"]) == ([1, 12, 2], [1, 10, 4])


def test_where_the_last_sums_are_no_integers_the_signs_before_are_compared_on_every_vector(
    tmp_path: Path, flow: Any
) -> None:
    model = dense(bias=True)
    last = model.layers[-2]
    last.set_weights([last.get_weights()[0], np.array([0.3, -1.7, 2.6], np.float32)])
    model.save(tmp_path / "m.h5")
    report = flow(tmp_path / "m.h5", BIPOLAR)
    compared = report["engines"]["keras"]["layers"]
    assert report["verdict"] == "pass" and compared.keys() == {"dense1", "threshold1", "argmax"}
    assert compared["threshold1"] == compared["argmax"] == {"vectors": 50, "mismatches": 0}


@pytest.mark.parametrize("name", ["mnist_qkeras", "mnist_larq"])
def test_a_model_of_the_zoo_runs_on_its_images_with_what_its_training_recorded(flow: Any, name: str) -> None:
    report = flow(name)
    assert (report["verdict"], report["source"]["kind"]) == ("pass", "keras")
    assert report["source"]["path"] == f"models/checkpoints/{name}.h5"
    assert report["description"] == zoo.get(name).description
    given = report["inputs"]
    assert (given["images"] + given["directed"], report["engines"]["keras"]["vectors"]) == (50, 50)
    assert given["images"] >= 3 * 50 // 4
    assert report["accuracy"]["recorded"] > 0.95 and report["accuracy"]["recorded_count"] == 10_000
    assert report["accuracy"]["golden"] > 0.5
    assert report["engines"]["keras"]["mismatches"] == 0
    with pytest.raises(UserError, match="tells itself which integers it takes"):
        flow(name, BIPOLAR)


def test_a_checkpoint_of_another_shape_than_its_model_is_refused(tmp_path: Path, flow: Any) -> None:
    checkpoint.save(tmp_path / "m.h5", "mnist_larq", hostile(dense(), 3), {})
    with pytest.raises(UserError, match=r"expected an input of mnist_larq's shape \(28, 28, 1\), got \(20,\)"):
        flow(tmp_path / "m.h5")


def test_a_conversion_that_is_wrong_fails_the_flow(tmp_path: Path, flow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile(dense(), 3, halves=True).save(tmp_path / "m.h5")
    read = FORMATS["keras"].read

    def other_model(found: Any, settings: Any, fixed: Any) -> Any:
        converted = read(found, settings, fixed)
        model, conversion = converted.model
        model.layers[-2].set_weights([-model.layers[-2].get_weights()[0]])
        return Converted(converted.network, converted.notes, converted.ambiguous, (model, conversion))

    monkeypatch.setitem(FORMATS, "keras", FORMATS["keras"].__class__(**{**vars(FORMATS["keras"]), "read": other_model}))
    report = flow(tmp_path / "m.h5", BIPOLAR)
    assert (report["verdict"], report["engines"]["keras"]["status"]) == ("fail", "fail")
    assert report["engines"]["keras"]["first_mismatch"]["layer"] == "dense2"


def test_signs_that_depend_on_the_order_of_sums_are_counted_and_nothing_is_called_proved(
    tmp_path: Path, flow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile(dense(), 3, halves=True).save(tmp_path / "m.h5")
    read = FORMATS["keras"].read

    def doubtful(found: Any, settings: Any, fixed: Any) -> Any:
        converted = read(found, settings, fixed)
        return Converted(
            converted.network, (), {"threshold1": Ambiguous(7, np.zeros((0, 3), np.int64))}, converted.model
        )

    monkeypatch.setitem(FORMATS, "keras", FORMATS["keras"].__class__(**{**vars(FORMATS["keras"]), "read": doubtful}))
    report = flow(tmp_path / "m.h5", BIPOLAR)
    assert report["conversion"]["ambiguous"] == {"threshold1": 7}
    assert (report["argmax"]["claim"], report["argmax"]["ambiguous"] >= 7) == ("measured", True)


def test_another_description_of_the_input_is_another_network(tmp_path: Path, flow: Any) -> None:
    hostile(larq(), 2, halves=True).save(tmp_path / "m.h5")
    first = flow(tmp_path / "m.h5", {"kind": "unsigned", "bits": 8})
    second = flow(tmp_path / "m.h5", {"kind": "unsigned", "bits": 4})
    assert first["network_digest"] != second["network_digest"]
    assert first["inputs"]["digest"] != second["inputs"]["digest"]


def test_check_lists_every_layer_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x = keras.Input((20,))
    y = L.BatchNormalization(name="norm")(qkeras.QDense(5, name="fine", kernel_quantizer="binary(alpha=1)")(x))
    model = keras.Model(x, L.Dense(3, name="real")(y))
    hostile(model, 1).save(tmp_path / "m.h5")
    (tmp_path / "m.toml").write_text('[input]\nkind = "bipolar"\n')
    monkeypatch.setattr("sys.argv", ["flows", "check", str(tmp_path / "m.h5"), "--config", str(tmp_path / "m.toml")])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = capsys.readouterr().out
    assert stopped.value.code == 1 and "taken   layer 'fine' (QDense)" in said
    assert "refused layer 'real' (Dense): expected weights -a, 0 and +a" in said and "2 of 3 operators" in said


def test_without_a_description_of_the_input_the_lines_to_write_are_told(tmp_path: Path, flow: Any) -> None:
    hostile(dense(), 3, halves=True).save(tmp_path / "m.h5")
    with pytest.raises(UserError, match=r'(?s)\[input\]\nkind = "unsigned".*bits = 8'):
        flow(tmp_path / "m.h5")
    with pytest.raises(UserError, match="without test images"):
        flow(tmp_path / "m.h5", BIPOLAR, vectors=None)
