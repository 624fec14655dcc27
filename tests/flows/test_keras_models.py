"""Flows from Keras files: the model itself runs as an engine, and a file that cannot be used ends in a clear line."""

import io
import json
import pickle
import zipfile
from functools import partial

import h5py
import numpy as np
import pytest
from rich.console import Console

from bnn.errors import UserError
from cosim.engine import EngineError
from cosim.golden import Golden
from cosim.keras import Keras
from flows import cli, run, subject
from flows.engines import ENGINES
from flows.formats import FORMATS, Converted
from flows.options import Options
from reports.render import validate
from tests.bnn.frontends.keras_models import hostile, keras, lq, qkeras
from tests.flows import fakes

L = keras.layers
BIPOLAR = {"kind": "bipolar"}


def larq():
    """A convolution with the padding, pooling and batch norm of Larq's examples."""
    options = {"kernel_quantizer": "ste_sign", "use_bias": False}
    return keras.Sequential(
        [L.InputLayer((6, 6, 1)), lq.layers.QuantConv2D(4, 3, **options), L.MaxPooling2D(),
         L.BatchNormalization(scale=False), L.Flatten(),
         lq.layers.QuantDense(3, input_quantizer="ste_sign", **options), L.BatchNormalization(scale=False),
         L.Activation("softmax")]
    )  # fmt: skip


def dense(scale="1"):
    """A QKeras model of two layers."""
    options = {"kernel_quantizer": f"binary(alpha={scale})", "use_bias": False}
    return keras.Sequential(
        [L.InputLayer((20,)), qkeras.QDense(8, **options), L.BatchNormalization(),
         qkeras.QActivation(qkeras.binary(alpha=None)), qkeras.QDense(3, **options), L.BatchNormalization()]
    )  # fmt: skip


def fed(path, settings):
    """Return what the file holds, vectors for it, and the golden model's results."""
    converted = FORMATS["keras"].read(subject.find(str(path)), settings)
    taken, rng = converted.network.input, np.random.default_rng(1)
    inputs = (
        rng.choice([-1, 1], (40, *taken.shape)) if taken.kind == "bipolar" else rng.integers(0, 256, (40, *taken.shape))
    )
    return converted, inputs


@pytest.mark.parametrize(("make", "settings"), [(larq, {"kind": "unsigned", "bits": 8}), (dense, BIPOLAR)])
def test_the_model_gives_the_golden_integers_in_every_layer(tmp_path, make, settings):
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


def test_a_model_that_computes_otherwise_gives_other_integers(tmp_path):
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


def test_sums_that_are_no_integers_and_another_network_are_errors(tmp_path):
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
def flow(tmp_path, monkeypatch):
    """Run a flow whose engines are fakes, but for Keras; return its report."""

    def go(path, settings=None, vectors=50):
        fakes.install(monkeypatch.setattr, log=tmp_path / "built.log")
        engines = (
            *fakes.kinds(log=tmp_path / "built.log"),
            *(kind for kind in ENGINES if kind.name in ("keras", "pytorch")),
        )
        for module in ("flows.document", "flows.run", "flows.stages"):
            monkeypatch.setattr(f"{module}.ENGINES", engines)
        outcome = run.run(
            subject.find(str(path)), Console(file=io.StringIO()), vectors=vectors, options=Options(input=settings),
            build=tmp_path / "build", reports=tmp_path / "reports",
        )  # fmt: skip
        report = json.loads((outcome.report / "report.json").read_text())
        validate(report)
        return report

    return go


def test_a_flow_runs_the_model_and_reports_what_its_conversion_says(tmp_path, flow):
    hostile(larq(), 2, halves=True).save(tmp_path / "m.h5")
    report = flow(tmp_path / "m.h5", {"kind": "unsigned", "bits": 8})
    assert (report["verdict"], report["source"]["kind"]) == ("pass", "keras")
    assert (report["engines"]["keras"]["status"], report["engines"]["keras"]["vectors"]) == ("pass", 50)
    assert "pytorch" not in report["engines"]
    assert any("softmax is left out" in note for note in report["conversion"]["notes"])
    assert "softmax is left out" in (tmp_path / "reports" / "m" / "report.md").read_text()


def test_a_conversion_that_is_wrong_fails_the_flow(tmp_path, flow, monkeypatch):
    hostile(dense(), 3, halves=True).save(tmp_path / "m.h5")
    read = FORMATS["keras"].read

    def other_model(found, settings):
        converted = read(found, settings)
        model, conversion = converted.model
        model.layers[-2].set_weights([-model.layers[-2].get_weights()[0]])
        return Converted(converted.network, converted.notes, converted.undecided, (model, conversion))

    monkeypatch.setitem(FORMATS, "keras", FORMATS["keras"].__class__(**{**vars(FORMATS["keras"]), "read": other_model}))
    report = flow(tmp_path / "m.h5", BIPOLAR)
    assert (report["verdict"], report["engines"]["keras"]["status"]) == ("fail", "fail")
    assert report["engines"]["keras"]["first_mismatch"]["layer"] == "dense2"


def test_signs_that_depend_on_the_order_of_sums_are_counted_and_nothing_is_called_proved(tmp_path, flow, monkeypatch):
    hostile(dense(), 3, halves=True).save(tmp_path / "m.h5")
    read = FORMATS["keras"].read

    def doubtful(found, settings):
        converted = read(found, settings)
        return Converted(converted.network, (), {"threshold1": 7}, converted.model)

    monkeypatch.setitem(FORMATS, "keras", FORMATS["keras"].__class__(**{**vars(FORMATS["keras"]), "read": doubtful}))
    report = flow(tmp_path / "m.h5", BIPOLAR)
    assert report["conversion"]["undecided"] == {"threshold1": 7}
    assert (report["argmax"]["claim"], report["argmax"]["undecided"] >= 7) == ("measured", True)


def test_another_description_of_the_input_is_another_network(tmp_path, flow):
    hostile(larq(), 2, halves=True).save(tmp_path / "m.h5")
    first = flow(tmp_path / "m.h5", {"kind": "unsigned", "bits": 8})
    second = flow(tmp_path / "m.h5", {"kind": "unsigned", "bits": 4})
    assert first["network_digest"] != second["network_digest"]
    assert first["inputs"]["digest"] != second["inputs"]["digest"]


def test_without_a_description_of_the_input_the_lines_to_write_are_told(tmp_path, flow):
    hostile(dense(), 3, halves=True).save(tmp_path / "m.h5")
    with pytest.raises(UserError, match=r'(?s)\[input\]\nkind = "unsigned".*bits = 8'):
        flow(tmp_path / "m.h5")
    with pytest.raises(UserError, match="without test images"):
        flow(tmp_path / "m.h5", BIPOLAR, vectors=None)


class Bomb:
    """Unpickling it would run code."""

    def __reduce__(self):
        return pytest.fail, ("a model file was unpickled",)


def _hdf5(change):
    """Make a file of a sound model, changed by `change`."""

    def make(path):
        hostile(dense(), 3, halves=True).save(path)
        with h5py.File(path, "r+") as file:
            change(file)

    return make


def _configuration(old, new):
    def change(file):
        text = file.attrs["model_config"]
        assert old in text
        file.attrs["model_config"] = text.replace(old, new)

    return _hdf5(change)


def _kernel(change):
    def search(file):
        found = []
        file["model_weights"].visititems(lambda name, item: found.append(item) if name.endswith("kernel:0") else None)
        change(found[0])

    return _hdf5(search)


def _reshape(item):
    parent, name, value = item.parent, item.name.rpartition("/")[2], item[:, :-1]
    del parent[name]
    parent[name] = value


def _link(item):
    parent, name = item.parent, item.name.rpartition("/")[2]
    del parent[name]
    parent[name] = h5py.ExternalLink("other.h5", "/kernel")


def _fill_with_nan(item):
    item[0, 0] = np.nan


def _cut(path):
    hostile(dense(), 3, halves=True).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _zip(**members):
    def make(path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name.replace("_json", ".json").replace("_weights_h5", ".weights.h5"), content)

    return make


def _built(*layers, shape=(20,)):
    return lambda path: keras.Sequential([L.InputLayer(shape), *(layer() for layer in layers)]).save(path)


BAD = {
    "empty.h5": (lambda path: path.write_bytes(b""), "an empty file"),
    "empty.keras": (lambda path: path.write_bytes(b""), "an empty file"),
    "text.h5": (lambda path: path.write_text("no model"), "expected a Keras model"),
    "pickle.h5": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "a Python pickle, which is never loaded"),
    "pickle.keras": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "a Python pickle, which is never loaded"),
    "pickle.pt": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "not a readable safetensors file"),
    "folder.h5": (lambda path: path.mkdir(), "a folder, neither a model of the zoo nor a file"),
    "cut.h5": (_cut, "damaged or truncated HDF5 file"),
    "cut.keras": (_cut, "damaged or truncated .keras archive"),
    "bomb.keras": (_zip(config_json="{}", model_weights_h5=bytes(1 << 24)), "a zip bomb?"),
    "other.keras": (_zip(readme_json="{}"), "expected a .keras archive with 'config.json'"),
    "weights.h5": (_hdf5(lambda file: file.attrs.__delitem__("model_config")), "weights alone?"),
    "nojson.h5": (_configuration("{", "["), "expected JSON"),
    "lambda.h5": (_configuration('"QActivation"', '"Lambda"'), "it holds code, which is never run"),
    "elsewhere.h5": (_configuration('"module": "qkeras', '"module": "os'), "expected a class of Keras, QKeras or Larq"),
    "shapes.h5": (_kernel(_reshape), "Keras cannot load it"),
    "link.h5": (_kernel(_link), "expected all weights in the file itself"),
    "nan.h5": (_kernel(_fill_with_nan), "expected finite weights"),
    "lstm.h5": (_built(partial(L.LSTM, 3), shape=(4, 5)), "not supported; supported are"),
    "add.keras": (_built(partial(L.Dense, 3), partial(L.Reshape, (3, 1))), "give the Input the shape"),
    "float.h5": (_built(partial(L.Dense, 3)), "layer 'dense"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_ends_in_one_clear_line_and_status_2(name, tmp_path, monkeypatch, capsys):
    make, message = BAD[name]
    make(tmp_path / name)
    (tmp_path / "bipolar.toml").write_text('[input]\nkind = "bipolar"\n')
    monkeypatch.setattr(run, "run", partial(run.run, build=tmp_path / "build", reports=tmp_path / "reports"))
    arguments = ["run", str(tmp_path / name), "--config", str(tmp_path / "bipolar.toml")]
    monkeypatch.setattr("sys.argv", ["flows", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in told and "Traceback" not in told
    assert name.partition(".")[0] in told
    written = [path for place in ("build", "reports") for path in (tmp_path / place).rglob("*") if path.is_file()]
    assert {path.name for path in written} <= {".lock"}
    if name != "folder.h5":  # which lists what there is
        assert len([line for line in told.splitlines() if line]) == 1
