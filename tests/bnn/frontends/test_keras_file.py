"""Keras files: good ones load as they were saved, bad ones end in one clear line and run nothing."""

import io
import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.bnn.frontends.keras_models import VECTOR, agree, hostile, keras, lq, qkeras, tame

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import keras_saving
from xnorflow.bnn.frontends.keras import convert
from xnorflow.bnn.frontends.keras_file import load
from xnorflow.cosim.golden import Golden

L = keras.layers


@pytest.fixture(scope="module")
def models() -> Any:
    """A model of each framework, and one with everything that it has as objects, as its users write them."""
    q = keras.Sequential(
        [L.InputLayer((20,)), qkeras.QDense(6, kernel_quantizer="binary", bias_quantizer=qkeras.quantized_bits(4, 1)),
         qkeras.QBatchNormalization(), qkeras.QActivation("binary(alpha=1)"),
         qkeras.QDense(3, kernel_quantizer=qkeras.ternary(alpha="auto")), L.BatchNormalization(), L.Softmax()]
    )  # fmt: skip
    x = y = keras.Input((20,))
    y = lq.layers.QuantDense(6, kernel_quantizer="magnitude_aware_sign", kernel_constraint="weight_clip")(y)
    y = L.BatchNormalization(scale=False)(y)
    y = lq.layers.QuantDense(3, input_quantizer="ste_sign", kernel_quantizer=lq.quantizers.SteTern(0.3))(y)
    larq = keras.Model(x, y)
    larq.compile("adam", "mse")  # what is saved with it is not read
    models = {"qkeras": q, "larq": larq, "qkeras objects": qkeras_objects(), "larq objects": larq_objects()}
    return {name: tame(hostile(model, seed, halves=True)) for seed, (name, model) in enumerate(models.items())}


def qkeras_objects() -> Any:
    bits, binary, ternary = qkeras.quantized_bits, qkeras.binary, qkeras.ternary
    x = keras.Input((20, 1, 1))
    y = qkeras.QConv2D(
        4, (3, 1), kernel_quantizer=bits(8, 0, 1, alpha=1), bias_quantizer=bits(4, 1, 1, alpha=1),
        kernel_initializer=qkeras.QInitializer(keras.initializers.HeNormal(), True, bits(4)),
        kernel_constraint=qkeras.qlayers.Clip(-1, 1), kernel_regularizer=keras.regularizers.L1L2(1e-4, 1e-4),
    )(x)  # fmt: skip
    y = qkeras.QBatchNormalization(beta_quantizer=bits(6, 2, alpha=1), mean_quantizer=None, variance_quantizer=None)(y)
    y = qkeras.QActivation(qkeras.quantized_relu(2, 1))(y)
    y = qkeras.QDepthwiseConv2D((2, 1), depthwise_quantizer=ternary(alpha=1, threshold=0.4), use_bias=False)(y)
    y = qkeras.QActivation(qkeras.stochastic_ternary())(L.BatchNormalization()(y))
    y = qkeras.QSeparableConv2D(4, (2, 1), depthwise_quantizer=binary(alpha=1), pointwise_quantizer=ternary(alpha=1))(y)
    y = qkeras.QActivation(bits(4, 2, 1, alpha=1))(L.BatchNormalization()(y))
    y = qkeras.QGlobalAveragePooling2D(average_quantizer=bits(8, 0, 1, alpha=1), activation=binary(alpha=None))(y)
    softmax = keras.activations.softmax
    y = qkeras.QDense(3, kernel_quantizer=binary(), bias_quantizer=qkeras.quantized_po2(4), activation=softmax)(y)
    return keras.Model(x, y)


def larq_objects() -> Any:
    quantizers, layers = lq.quantizers, lq.layers
    x = keras.Input((20, 1, 1))
    y = layers.QuantConv2D(
        4, (3, 1), kernel_quantizer=quantizers.SteSign(clip_value=1.3),
        kernel_constraint=lq.constraints.WeightClip(1.3), kernel_initializer=keras.initializers.GlorotNormal(3),
    )(x)  # fmt: skip
    y = layers.QuantDepthwiseConv2D(
        (2, 1), padding="same", pad_values=1.0, input_quantizer=quantizers.ApproxSign(),
        depthwise_quantizer=quantizers.SwishSign(), use_bias=False,
    )(L.BatchNormalization(scale=False)(y))  # fmt: skip
    y = layers.QuantSeparableConv2D(
        4, (2, 1), input_quantizer=quantizers.DoReFa(2), depthwise_quantizer=quantizers.SteTern(),
        pointwise_quantizer=quantizers.SteTern(0.3),
    )(L.BatchNormalization()(y))  # fmt: skip
    y = quantizers.SteHeaviside()(L.BatchNormalization()(y))
    y = layers.QuantDense(5, kernel_quantizer=quantizers.MagnitudeAwareSign())(L.Flatten()(y))
    y = layers.QuantDense(3, input_quantizer=quantizers.SteTern(0.5), kernel_quantizer=quantizers.SteSign())(y)
    model = keras.Model(x, y)
    latent = (lq.optimizers.Bop.is_binary_variable, lq.optimizers.Bop())
    optimizer = lq.optimizers.CaseOptimizer(latent, default_optimizer=keras.optimizers.legacy.Adam(0.01))
    model.compile(optimizer, keras.losses.SquaredHinge(), [keras.metrics.CategoricalAccuracy()])
    return model


@pytest.fixture(scope="module")
def files(models: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Paths of the saved models by (framework, suffix)."""
    folder = tmp_path_factory.mktemp("models")
    paths = {}
    for name, model in models.items():
        for suffix in (".h5", ".keras"):
            paths[name, suffix] = folder / f"{name}{suffix}"
            model.save(paths[name, suffix])
    return paths


@pytest.mark.parametrize("name", ["qkeras", "larq", "qkeras objects", "larq objects"])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_saved_model_is_the_same_network(models: Any, files: Any, name: str, suffix: str, tmp_path: Path) -> None:
    input = replace(VECTOR, shape=models[name].inputs[0].shape[1:])
    expected = convert(models[name], "n", input)
    assert convert(load(files[name, suffix]), "n", input) == expected
    other = tmp_path / "model.bin"  # the content decides, not the name
    other.write_bytes(files[name, suffix].read_bytes())
    assert convert(load(str(other)), "n", input) == expected


def test_inner_models_are_put_into_the_outer_one(tmp_path: Path) -> None:
    """Blocks as Sequentials, one in another and one twice, and a functional one; the names tell where a layer is."""
    options = {"kernel_quantizer": "ste_sign", "use_bias": False}
    sign = {"input_quantizer": "ste_sign"} | options
    dense = lq.layers.QuantDense
    inner = keras.Sequential([L.InputLayer((9,)), dense(9, name="b", **sign), L.BatchNormalization()], name="block")
    x = y = keras.Input((9,))
    functional = keras.Model(x, L.Add()([dense(7, name="a", **sign)(y), dense(7, **sign)(y)]), name="branch")
    model = keras.Sequential(
        [L.InputLayer((20,)), keras.Sequential([dense(9, name="a", **options), inner], name="outer"), inner, functional,
         L.BatchNormalization(), dense(3, name="a", **sign)]
    )  # fmt: skip
    rng = np.random.default_rng(2)
    model.set_weights([of if "variance" in variable.name else rng.uniform(-2, 2, of.shape)
                       for variable, of in zip(model.weights, model.get_weights(), strict=True)])  # fmt: skip
    model.save(path := tmp_path / "m.h5")  # Keras cannot read a .keras archive of a block that is called twice
    loaded = load(path)
    names = [layer.name for layer in loaded.layers]
    assert {"outer/a", "outer/block/b", "branch/a", "a"} <= set(names)
    agree(loaded, VECTOR, 3)
    values = rng.choice([-1.0, 1.0], (50, 20)).astype(np.float32)
    assert np.array_equal(loaded.predict(values, verbose=0), model.predict(values, verbose=0))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_what_training_alone_needs_is_left_out(models: Any, files: Any, suffix: str, tmp_path: Path) -> None:
    """Initialisers, regularisers and constraints of one's own, by name and as objects, of a framework or of none."""
    own = {"depthwise_initializer": "blurpool_initializer", "kernel_constraint": "MyClip", "bias_regularizer": OS}
    own |= {"kernel_initializer": POPEN, "activity_regularizer": FUNCTION, "gamma_constraint": TRICK}

    def change(configuration: Any) -> None:
        for spec in configuration["config"]["layers"]:
            spec["config"] |= {key: of for key, of in own.items() if key in spec["config"]}

    (path := tmp_path / f"own{suffix}").write_bytes(configured(files["larq objects", suffix], change))
    input = replace(VECTOR, shape=(20, 1, 1))
    assert convert(load(path), "n", input) == convert(models["larq objects"], "n", input)


class Bomb:
    """Unpickling it would run code."""

    def __reduce__(self) -> Any:
        return (pytest.exit, ("a pickle was loaded",))


def hdf5(path: Path, change: Any) -> Any:
    """Change the file at `path` through h5py and return its content."""
    stream = io.BytesIO(path.read_bytes())
    with h5py.File(stream, "r+") as file:
        change(file)
    return stream.getvalue()


def archive(path: Path, members: Any = (), *, compress: Any = zipfile.ZIP_STORED, without: Any = ()) -> Any:
    """Rewrite the archive at `path` with other members and return its content."""
    stream = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(stream, "w", compress) as new:
        contents = {name: old.read(name) for name in old.namelist()} | dict(members)
        for name, content in contents.items():
            if name not in without:
                new.writestr(name, content)
    return stream.getvalue()


def configured(path: Path, change: Any) -> Any:
    """Change the model's configuration, in either kind of file."""
    if path.suffix == ".h5":

        def edit(file: Any) -> None:
            configuration = json.loads(file.attrs["model_config"])
            change(configuration)
            file.attrs["model_config"] = json.dumps(configuration)

        return hdf5(path, edit)  # fmt: skip
    with zipfile.ZipFile(path) as old:
        configuration = json.loads(old.read("config.json"))
    change(configuration)
    return archive(path, {"config.json": json.dumps(configuration)})


def layer(configuration: Any, kind: Any) -> Any:
    return next(spec for spec in configuration["config"]["layers"] if spec["class_name"] == kind)


def replaced(kind: Any, **entries: Any) -> Any:
    """A change of the configuration: other entries for a layer, `config_*` inside its own configuration."""

    def change(configuration: Any) -> None:
        spec = layer(configuration, kind)
        for key, value in entries.items():
            if key.startswith("config_"):
                spec["config"][key[7:]] = value
            else:
                spec[key] = value

    return change


def huge(file: Any) -> None:
    file.create_dataset("bomb", shape=(10**7, 10**4), dtype="f4", chunks=(1000, 1000), compression="gzip")


def nested(depth: Any) -> Any:
    inner = None
    for _ in range(depth):
        inner = [inner]  # type: ignore[list-item]
    return inner


OS = {"module": "os", "class_name": "system", "config": {}, "registered_name": "system"}
POPEN = {"module": "subprocess", "class_name": "Popen", "config": {"args": "true"}, "registered_name": None}
FUNCTION = {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"}
TRICK: dict[str, Any] = {"module": "subprocess", "class_name": "Dense", "config": {}, "registered_name": None}

BAD = {
    "empty": ("got an empty file", lambda f: b""),
    "text": ("starts with b'import o'", lambda f: b"import os"),
    "pickle": ("a Python pickle, which is never loaded", lambda f: pickle.dumps(Bomb())),
    "torch": ("'config.json', got", lambda f: archive(f["larq", ".keras"], {"data.pkl": pickle.dumps(Bomb())},
                                                      without=("config.json",))),
    "pickled weights": ("in 'model.weights.h5', got a Python pickle",
                        lambda f: archive(f["larq", ".keras"], {"model.weights.h5": pickle.dumps(Bomb())})),
    "truncated h5": ("truncated HDF5", lambda f: f["qkeras", ".h5"].read_bytes()[:9000]),
    "header only": ("truncated HDF5", lambda f: f["qkeras", ".h5"].read_bytes()[:9]),
    "truncated archive": ("truncated .keras", lambda f: f["qkeras", ".keras"].read_bytes()[:-400]),
    "flipped archive": ("damaged or truncated .keras archive.*CRC",
                        lambda f: f["qkeras", ".keras"].read_bytes().replace(b'"Sequential"', b'"Sequentiel"')),
    "truncated weights": ("truncated 'model.weights.h5'",
                          lambda f: archive(f["qkeras", ".keras"], {"model.weights.h5": zipfile.ZipFile(
                              f["qkeras", ".keras"]).read("model.weights.h5")[:5000]})),
    "zip bomb": ("a zip bomb", lambda f: archive(f["qkeras", ".keras"], {"assets/zeros": bytes(10**8)},
                                                 compress=zipfile.ZIP_DEFLATED)),
    "h5 bomb": ("compressed more than 100 times", lambda f: hdf5(f["qkeras", ".h5"], huge)),
    "member outside": ("plain names", lambda f: archive(f["qkeras", ".keras"], {"../../evil": b"x"})),
    "external link": ("a link 'away'", lambda f: hdf5(
        f["qkeras", ".h5"], lambda file: file.__setitem__("away", h5py.ExternalLink("/etc/passwd", "/")))),
    "weights alone": ("save_weights", lambda f: hdf5(f["qkeras", ".h5"], lambda file: file.attrs.pop("model_config"))),
    "no json": ("expected JSON", lambda f: archive(f["qkeras", ".keras"], {"config.json": "{'a': 1}"})),
    "json list": ("got 'list'", lambda f: archive(f["qkeras", ".keras"], {"config.json": "[]"})),
    "deep json": ("nested at most|expected JSON",
                  lambda f: configured(f["qkeras", ".keras"], replaced("Softmax", deep=nested(400)))),
    "deepest json": ("expected JSON", lambda f: archive(f["qkeras", ".keras"], {"config.json": "[" * 10**6})),
    "subclassed": ("a subclassed Model holds code",
                   lambda f: configured(f["qkeras", ".keras"], lambda c: c.update(class_name="MyModel"))),
    "lambda h5": (r"\(Lambda\): not supported.*holds code",
                  lambda f: configured(f["qkeras", ".h5"], replaced("Softmax", class_name="Lambda"))),
    "lambda keras": (r"layer '\w+' \(Lambda\): not supported.*holds code",
                     lambda f: configured(f["larq", ".keras"], replaced("BatchNormalization", class_name="Lambda"))),
    "unsupported": (r"\(Multiply\): not supported; .*; use Add or Concatenate",
                    lambda f: configured(f["qkeras", ".h5"], replaced("Softmax", class_name="Multiply"))),
    "os.system": ("'system' is not a class that Keras, QKeras or Larq bring",
                  lambda f: configured(f["qkeras", ".keras"], replaced("QDense", config_kernel_quantizer=OS))),
    "popen": ("'Popen' is not a class",
              lambda f: configured(f["qkeras", ".h5"], replaced("QDense", config_bias_quantizer=POPEN))),
    "function": ("'function' is not a class",
                 lambda f: configured(f["larq", ".keras"], replaced("QuantDense", config_activation=FUNCTION))),
    "compiling": ("the model: not supported",
                  lambda f: configured(f["larq", ".h5"], lambda c: c.update(compile_config={"optimizer": POPEN}))),
    "module": ("got module 'subprocess'",
               lambda f: configured(f["larq", ".keras"], replaced("QuantDense", config_input_quantizer=TRICK))),
    "registered": ("got 'my>Evil'",
                   lambda f: configured(f["larq", ".keras"], replaced("QuantDense", registered_name="my>Evil"))),
    "quantizer": (r"kernel_quantizer 'safe_eval\(1\)' is not a known quantizer",
                  lambda f: configured(f["qkeras", ".h5"], replaced("QDense", config_kernel_quantizer="safe_eval(1)"))),
    "activation": (r"activation 'K.x\(1\)' is not a known activation",
                   lambda f: configured(f["qkeras", ".h5"], replaced("QActivation", config_activation="K.x(1)"))),
    "shape": ("Keras cannot load it",
              lambda f: configured(f["qkeras", ".h5"], replaced("QDense", config_units=7))),
    "argument": ("Keras cannot load it",
                 lambda f: configured(f["qkeras", ".keras"], replaced("QDense", config_colour="red"))),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files_end_in_one_line(name: str, files: Any, tmp_path: Path) -> None:
    words, content = BAD[name]
    path = tmp_path / "bad.h5"
    path.write_bytes(content(files))
    with pytest.raises(UserError, match=words) as error:
        load(path)
    assert str(error.value).startswith(f"{path}") and "\n" not in str(error.value)


def test_a_lambda_is_refused_as_keras_saves_it(tmp_path: Path) -> None:
    model = keras.Sequential([L.InputLayer((20,)), L.Lambda(lambda x: x, name="mine")])
    for suffix in (".h5", ".keras"):
        model.save(path := tmp_path / f"m{suffix}")
        with pytest.raises(UserError, match=r"layer 'mine' \(Lambda\): not supported"):
            load(path)


def test_weights_that_are_not_finite(files: Any, tmp_path: Path) -> None:
    def spoil(file: Any) -> None:
        def visit(name: str, item: Any) -> None:
            if name.endswith("beta:0"):
                item[0] = np.nan

        file.visititems(visit)  # fmt: skip

    (path := tmp_path / "nan.h5").write_bytes(hdf5(files["larq", ".h5"], spoil))
    with pytest.raises(UserError, match=r"layer 'batch_norm\w+' \(BatchNormalization\): expected finite.*in 'beta'"):
        load(path)


def lines_of(message: Any) -> Any:
    """The lines of Python of a message, and the layers that its comments make."""
    _, _, code = str(message).partition("\n")
    scope = {"larq": lq, "made": []}
    for line in code.splitlines():
        if line.startswith("#   "):
            exec(f"made.append({line[1:].strip()})", scope)
    return code, scope["made"]


def own_class(layers: Any, ops: Any) -> Any:
    class BinaryDense(layers.Dense):
        def call(self, x: Any) -> Any:
            return ops.matmul(ops.where(x >= 0, 1.0, -1.0), ops.where(self.kernel >= 0, 1.0, -1.0))

    return BinaryDense


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("version", [2, 3])
def test_own_classes_and_files_of_keras_3_come_in_by_the_lines_of_the_message(
    version: int, suffix: str, tmp_path: Path
) -> None:
    """Done as the message says, the Network gives the classes that the user's own model gives."""
    import keras as keras3
    import tensorflow

    k, ops = (keras3, keras3.ops) if version == 3 else (keras, tensorflow)
    own = own_class(k.layers, ops)
    norms = [k.layers.BatchNormalization(name=name) for name in ("norm", "end")]
    dense = [own(n, use_bias=False, name=f"own{n}") for n in (9, 4)]
    taken = k.layers.InputLayer(shape=(20,)) if version == 3 else L.InputLayer((20,))
    model = k.Sequential([taken, dense[0], norms[0], dense[1], norms[1]])
    rng = np.random.default_rng(version)
    model.set_weights([rng.uniform(-1, 1, of.shape) for of in model.get_weights()])
    for norm in norms:
        gamma, beta, mean, variance = norm.get_weights()
        norm.set_weights([gamma, beta, 5 * mean + 0.3, np.abs(variance) + 0.1])
    model.save(path := tmp_path / f"mine{suffix}")
    said = "written by Keras 3" if version == 3 else r"layer 'own9' \(BinaryDense\): a class of your own"
    with pytest.raises(UserError, match=said) as error:
        load(path)
    code, rebuilt = lines_of(error.value)

    def build() -> Any:
        first, second = rebuilt
        middle = [L.BatchNormalization(name="norm"), lq.quantizers.SteSign()]
        return keras.Sequential([L.InputLayer((20,)), first, *middle, second, L.BatchNormalization(name="end")])

    exec(code, {"build": build, "BinaryDense": own})
    inputs = rng.choice([-1, 1], (50, 20))
    network = convert(load(tmp_path / "mine_keras2.h5"), "n", VECTOR)
    golden = Golden(threads=1)
    golden.prepare(network)
    expected = model.predict(inputs.astype(np.float32), verbose=0).argmax(axis=1)
    assert len(set(expected)) > 1 and np.array_equal(golden.run(inputs)["argmax"][:, 0], expected)


def test_own_convolutions_are_rebuilt_with_their_own_arguments(tmp_path: Path) -> None:
    class MyBinaryConv2D(L.Conv2D):  # type: ignore[name-defined]
        pass

    class MyBinaryDepthwiseConv2D(L.DepthwiseConv2D):  # type: ignore[name-defined]
        pass

    layers: list[Any] = [MyBinaryConv2D(4, 3, 2, "same", name="c")]
    layers.append(MyBinaryDepthwiseConv2D((3, 2), use_bias=False, name="d"))
    keras.Sequential([L.InputLayer((8, 9, 3)), *layers]).save(path := tmp_path / "mine.h5")
    with pytest.raises(UserError, match=r"layer 'c' \(MyBinaryConv2D\): a class of your own") as error:
        load(path)
    for new, old in zip(lines_of(error.value)[1], layers, strict=True):
        new.build(old.input_shape)
        facts = ("name", "strides", "padding", "kernel_size", "use_bias")
        assert [getattr(new, of) for of in facts] == [getattr(old, of) for of in facts]
        assert [of.shape for of in new.get_weights()] == [of.shape for of in old.get_weights()]


@pytest.mark.parametrize("name", ["qkeras", "larq"])
def test_a_saved_model_folder_is_saved_as_one_file_by_the_lines_of_the_message(
    models: Any, name: str, tmp_path: Path
) -> None:
    model = models[name]
    model.save(folder := tmp_path / "saved", save_format="tf")
    exec(keras_saving.from_folder(folder).partition("\n")[2], {})
    assert convert(load(tmp_path / "saved.h5"), "n", VECTOR) == convert(model, "n", VECTOR)
    (folder / "keras_metadata.pb").unlink()
    assert "not kept in it: save the model where it is made" in keras_saving.from_folder(folder)
    (folder / "saved_model.pb").unlink()
    assert not keras_saving.from_folder(folder)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        load(tmp_path / "none.h5")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load(tmp_path)
