"""Keras model files: checked first, then loaded without running anything that is in them.

A Keras file holds a configuration, which names classes to be instantiated, and weights. The configuration is read as
JSON and every class it names is held against a list before TensorFlow is even imported: a ``Lambda`` layer, a class of
another module, a layer that no Network can express are refused by name. Nothing is unpickled.
"""

import io
import json
import logging
import math
import os
import re
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.files import read_bytes
from xnorflow.bnn.frontends import keras_op, keras_saving
from xnorflow.bnn.frontends.core.check import Survey
from xnorflow.bnn.frontends.keras_saving import LayerConfig

#: Layers that :mod:`xnorflow.bnn.frontends.keras` converts.
LINEAR = (
    *("Dense", "Conv1D", "Conv2D", "DepthwiseConv2D", "SeparableConv2D"),
    *("QDense", "QConv1D", "QConv2D", "QDepthwiseConv2D", "QSeparableConv2D"),
    *("QuantDense", "QuantConv1D", "QuantConv2D", "QuantDepthwiseConv2D", "QuantSeparableConv2D"),
    *("Conv1DTranspose", "Conv2DTranspose", "QuantConv2DTranspose"),
    *("QConv2DBatchnorm", "QDepthwiseConv2DBatchnorm"),
)
NORMALISATION = ("BatchNormalization", "QBatchNormalization")
PADDING = ("ZeroPadding1D", "ZeroPadding2D")
MAXIMA = ("MaxPooling1D", "MaxPooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D")
AVERAGES = (
    *("AveragePooling1D", "AveragePooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D"),
    *("QAveragePooling2D", "QGlobalAveragePooling2D"),
)
NO_EFFECT = (
    *("InputLayer", "Dropout", "SpatialDropout1D", "SpatialDropout2D"),
    *("GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization"),
)
BRANCHES = ("Add", "Concatenate")
VIEWS = ("Flatten", "Reshape", "Permute", "UpSampling1D", "UpSampling2D", "Cropping1D", "Cropping2D", "Resizing")
ACTIVATIONS = ("ReLU", "LeakyReLU", "ELU", "ThresholdedReLU")
LARQ_QUANTIZERS = (
    *("SteSign", "ApproxSign", "SwishSign", "SteTern", "SteHeaviside", "MagnitudeAwareSign"),
    *("NoOp", "NoOpQuantizer", "DoReFa", "DoReFaQuantizer"),
)
LAYERS = (
    *(*LINEAR, *NORMALISATION, *PADDING, *MAXIMA, *AVERAGES),
    *("QActivation", "Activation", "Softmax", "PReLU", *ACTIVATIONS),
    *(*BRANCHES, *VIEWS, *NO_EFFECT, *LARQ_QUANTIZERS, *keras_op.KINDS),
)

SUPPORTED = (
    "Dense, Conv1D, Conv2D, DepthwiseConv2D, SeparableConv2D and transposed ones of Keras, QKeras and Larq with "
    "binary or ternary weights or those of up to 8 bits, QActivation, Activation, ReLU and its like and Larq's "
    "quantizers before or as what gives up to 256 values, BatchNormalization, QBatchNormalization, "
    "QConv2DBatchnorm, maximum and average pooling, global pooling, Add, Concatenate, Flatten, Reshape, Permute, "
    "UpSampling, Resizing to the nearest, Cropping, ZeroPadding, Dropout, x + y and other operators of TensorFlow, "
    "and Softmax at the end"
)

_SMALL_INPUT = "feed integers, or fixed-point values as the Input's fraction says"
_NO_BRANCH = "its operands keep no place of their own in a binary network; use Add or Concatenate"

#: What is refused, and the way round it.
INSTEAD = {
    "QConv2DTranspose": "it does not run with this TensorFlow; use QuantConv2DTranspose of Larq",
    "Lambda": "it holds code, which is never run; write it with the layers above",
    "Sequential": "put the layers of the inner model into the outer one",
    "Functional": "put the layers of the inner model into the outer one",
    **dict.fromkeys(("Multiply", "Subtract", "Average", "Maximum"), _NO_BRANCH),
    **dict.fromkeys(("Rescaling", "Normalization"), _SMALL_INPUT),
    **dict.fromkeys(("QSeparableConv1D", "QuantSeparableConv1D", "SeparableConv1D"),
                    "use the layer of two dimensions with a kernel of (1, k) on an input of (1, length, channels)"),
    "QAdaptiveActivation": "use QActivation with quantized_relu or quantized_bits, whose range is fixed",
}  # fmt: skip

_CONTAINERS = ("Sequential", "Functional", "Model")
_QKERAS_QUANTIZERS = (
    *("binary", "ternary", "stochastic_binary", "stochastic_ternary", "bernoulli"),
    *("quantized_bits", "quantized_relu", "quantized_po2", "quantized_relu_po2"),
    *("quantized_tanh", "quantized_sigmoid", "quantized_ulaw"),
)
_PRECISION = ("Policy", "DTypePolicy")
_ALLOWED = frozenset((*LAYERS, *_CONTAINERS, *LARQ_QUANTIZERS, *_QKERAS_QUANTIZERS, *_PRECISION))
_OF_TRAINING = ("_initializer", "_regularizer", "_constraint")  # ends of names of what no prediction depends on
_MODULES = re.compile(r"(keras|tf_keras|qkeras|larq)(\.[A-Za-z0-9_]+)*\Z")
_OWN = re.compile(r"[A-Za-z_]\w*(Dense|Linear|Conv)\w*\Z", re.ASCII)  # a class of weights
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_LARGEST_CONFIG = 1 << 26  # bytes of JSON
_LARGEST_WEIGHTS = 1 << 31  # bytes of weights, unpacked
_LARGEST_RATIO = 100  # of compression


def unsupported(kind: str) -> str:
    """Say that layers of class `kind` are not supported, what is, and the way round it if there is one."""
    hint = f"; {INSTEAD[kind]}" if kind in INSTEAD else ""
    return f"not supported; supported are {SUPPORTED}{hint}"


def import_keras() -> Any:
    """Import TensorFlow with the Keras 2 that QKeras and Larq are written for, and return its ``tf_keras``.

    The one place that sets ``TF_USE_LEGACY_KERAS``, which TensorFlow reads when its ``keras`` is first used, and that
    keeps from stderr what TensorFlow says of itself: of CUDA, oneDNN, the processor.

    Raises
    ------
    UserError
        If TensorFlow has already come up with Keras 3 in this process.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _unheard():  # some of it comes before TensorFlow reads that level
        import tensorflow
    logging.getLogger("larq").setLevel(logging.ERROR)  # its advice is for training

    if not tensorflow.keras.Model.__module__.startswith("tf_keras."):
        raise UserError(
            "Keras: expected TensorFlow to use Keras 2 (tf_keras), but it has already come up with Keras 3; "
            "set TF_USE_LEGACY_KERAS=1 before anything imports TensorFlow"
        )
    return tensorflow.keras


def load(path: str | Path) -> Any:
    """Load a Keras, QKeras or Larq model.

    Parameters
    ----------
    path : path
        What ``model.save`` wrote: HDF5 (``.h5``) or the Keras archive (``.keras``); the content decides, not the name.

    Returns
    -------
    tf_keras.Model
        Not compiled; the optimiser's state is not read.

    Raises
    ------
    UserError
        If the file is missing, is no Keras model, is damaged or implausibly large, holds code, a class that is not
        supported, or weights that are not finite. Nothing of the file is executed.
    """
    path = Path(path)
    configuration, version, archive = _read(path)
    if own := _own_layers(configuration):
        raise UserError(
            f"{path}, layer {own[0]['config']['name']!r} ({own[0]['class_name']}): a class of your own, whose code no "
            f"model file holds; {keras_saving.again(path, archive, version, own)}"
        )
    _check_configuration(path, configuration)

    keras = import_keras()
    import larq  # noqa: F401 (registers its layers and quantizers)
    from qkeras.utils import load_qmodel

    try:
        scope = keras.utils.custom_object_scope({"QActivation": _activation_class()})
        with warnings.catch_warnings(), scope, tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")
            source = _copy(path, Path(folder), archive, configuration)
            model = load_qmodel(str(source), compile=False)
    except Exception as error:  # whatever Keras raises on what it cannot make sense of
        raise UserError(f"{path}: Keras cannot load it: {_first_line(error)}") from None
    if not isinstance(model, keras.Model):
        raise UserError(f"{path}: expected a model, got {type(model).__name__}")
    for layer in model.layers:
        check_finite(f"{path}, layer {layer.name!r} ({type(layer).__name__})", layer)
    return _unfolded(keras, model)


def image_of(model: Any) -> tuple[int, ...] | None:
    """Return the shape of the image that a model's first layer makes of its input, a vector; None if it makes none."""
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    if not layers or len(model.inputs[0].shape) != 2:
        return None
    first = layers[0]
    if type(first).__name__ != "Reshape" or len(first.output_shape) != 4:
        return None
    operands = [tensor for layer in layers for node in layer.inbound_nodes for tensor in node.keras_inputs]
    alone = sum(tensor is model.inputs[0] for tensor in operands) == 1
    return tuple(first.output_shape[1:]) if alone else None


def _unfolded(keras: Any, model: Any) -> Any:
    """Put the layers of inner models into the outer one, by the names of both."""
    if not getattr(model, "_is_graph_network", False) or not any(isinstance(of, keras.Model) for of in model.layers):
        return model
    inputs = [keras.Input(tensor.shape[1:]) for tensor in model.inputs]
    return keras.Model(inputs, _applied(keras, model, inputs), name=model.name)


def _applied(keras: Any, model: Any, tensors: list[Any], prefix: str = "") -> Any:
    """Call the layers of a model, and of those inside it, on other tensors."""
    known = {id(old): new for old, new in zip(model.inputs, tensors, strict=True)}
    for layer in model.layers if prefix else ():
        if not layer.name.startswith(prefix):  # it may be called a second time
            layer._name = f"{prefix}{layer.name}"
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            operands = [known[id(tensor)] for tensor in node.keras_inputs]
            if operands and isinstance(node.layer, keras.Model):
                made = _applied(keras, node.layer, operands, f"{node.layer.name}/")
            elif operands and type(node.layer).__name__ in keras_op.KINDS:
                made = node.layer(*_put(node.call_args, known), **_put(node.call_kwargs, known))
            elif operands:
                made = node.layer(operands if len(operands) > 1 else operands[0])
            else:
                continue
            several = isinstance(node.outputs, list)
            for old, new in zip(node.outputs, made, strict=True) if several else [(node.outputs, made)]:
                known[id(old)] = new
    results = [known[id(tensor)] for tensor in model.outputs]
    return results if len(results) > 1 else results[0]


def _put(arguments: Any, known: dict[int, Any]) -> Any:
    """Put other tensors into the arguments of a call."""
    import tensorflow

    return tensorflow.nest.map_structure(lambda of: known.get(id(of), of), arguments)


def foreign(path: str | Path) -> Survey | None:
    """Judge the layers of a file by their classes alone, if some of these are none that could be loaded; else None.

    Raises
    ------
    UserError
        If the file holds no model of Keras 2, or holds anything else that is not supported.
    """
    path = Path(path)
    configuration, _, _ = _read(path)
    own = _own_layers(configuration)
    survey = Survey(by_kind=True)
    for spec in _layers(configuration):
        survey.take(_where(spec))
        if spec in own:
            survey.refuse(
                f"{_where(spec)}: a class of your own, whose code no model file holds; a flow tells the lines that "
                "save the model anew"
            )
        else:
            try:
                _check_classes(path, spec, "the model")
            except UserError as error:
                survey.refuse(str(error).removeprefix(f"{path}, "))
    if any(not of.taken for of in survey.judged):
        return survey
    _check_configuration(path, configuration)
    return None


def _read(path: Path) -> tuple[Any, str, bool]:
    """Return a file's configuration, the version of Keras that wrote it, and whether it is an archive."""
    content = read_bytes(path, _LARGEST_WEIGHTS)
    if content.startswith(_HDF5_MAGIC):
        configuration, version = _check_hdf5(path, content, "HDF5 file")
        if configuration is None:
            raise UserError(
                f"{path}: expected a whole model, got HDF5 without 'model_config' (weights alone?); "
                "save it with model.save, not save_weights"
            )
    elif content.startswith(b"PK\x03\x04"):
        configuration, version = _check_archive(path, content)
    else:
        raise UserError(f"{path}: expected a Keras model (HDF5 or a .keras archive), got {_kind(content)}")
    archive = not content.startswith(_HDF5_MAGIC)
    if keras_saving.is_keras_3(version):
        again = keras_saving.again(path, archive, version, _own_layers(configuration))
        raise UserError(
            f"{path}: written by Keras 3 ({version[:20]!r}); read are files of Keras 2 (tf_keras), which QKeras and "
            f"Larq are written for; {again}"
        )
    return configuration, version, archive


def _layers(configuration: Any) -> list[LayerConfig]:
    """Return what a configuration says of its layers that have a class and a name."""
    inner = configuration.get("config") if isinstance(configuration, dict) else None
    specs = inner.get("layers") if isinstance(inner, dict) else None
    return [
        spec
        for spec in (specs if isinstance(specs, list) else [])
        if isinstance(spec, dict) and isinstance(spec.get("class_name"), str) and isinstance(spec.get("config"), dict)
        if isinstance(spec["config"].get("name"), str)
    ]


def _where(spec: LayerConfig) -> str:
    return f"layer {spec['config']['name']!r} ({spec['class_name']})"


def _activation_class() -> type:
    """Return QKeras' layer, made to read from a .keras archive a quantizer that was saved as an object."""
    import qkeras

    class QActivation(qkeras.QActivation):
        @classmethod
        def from_config(cls, config: LayerConfig) -> Any:
            return cls(**config | {"activation": qkeras.get_quantizer(config["activation"])})

    return QActivation


@contextmanager
def _unheard() -> Iterator[None]:
    """Drop what is written to stderr, by compiled code, too."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def check_finite(where: str, layer: Any) -> None:
    """Raise a UserError that starts with `where` if a weight of the Keras `layer` is NaN or infinite."""
    for variable, value in zip(layer.weights, layer.get_weights(), strict=True):
        if not np.isfinite(value).all():
            name = variable.name.rpartition("/")[2].partition(":")[0]
            raise UserError(f"{where}: expected finite weights, got NaN or infinity in {name!r}")


def _copy(path: Path, folder: Path, archive: bool, configuration: Any) -> Path:
    """Copy a file into a folder, with another configuration and the ending that Keras wants; return the copy."""
    text = json.dumps(configuration)
    if not archive:
        copied = Path(shutil.copyfile(path, folder / "model.h5"))
        with h5py.File(copied, "r+") as file:
            file.attrs["model_config"] = text
        return copied
    copied = folder / "model.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copied, "w") as new:
        for name in old.namelist():
            new.writestr(name, text if name == "config.json" else old.read(name))
    return copied


def _leave_out_training(configuration: Any) -> None:
    """Drop how weights were initialised, regularised and constrained, which may be any code of the user's own."""
    waiting = [configuration]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            for key in [key for key in node if key.endswith(_OF_TRAINING)]:
                del node[key]
        waiting += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _kind(content: bytes) -> str:
    """Say what a file that is no Keras model looks like."""
    if not content:
        return "an empty file"
    if content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle, which is never loaded"
    return f"a file that starts with {content[:8]!r}"


def _check_hdf5(path: Path, content: bytes, what: str) -> tuple[Any, str]:
    """Check that the HDF5 can be read whole and is no bomb.

    Return its model configuration, None if it has none, and the version of the Keras that wrote it, "" if not told.
    """
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            total = 0
            for name, item in _items(file):
                if isinstance(item, h5py.ExternalLink | h5py.SoftLink):
                    raise UserError(f"{path}: expected all weights in the file itself, got a link {name!r}")
                if isinstance(item, h5py.Dataset):
                    if item.is_virtual or item.external:
                        raise UserError(f"{path}: expected all weights in the file itself, got {name!r} outside it")
                    total += math.prod(item.shape or (1,)) * item.dtype.itemsize
            if total > max(_LARGEST_RATIO * len(content), 1 << 20) or total > _LARGEST_WEIGHTS:
                raise UserError(
                    f"{path}: expected weights of at most {_LARGEST_WEIGHTS} bytes that are not compressed more than "
                    f"{_LARGEST_RATIO} times, got {total} bytes from a file of {len(content)}"
                )
            text, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "")
    except UserError:
        raise
    except Exception as error:  # h5py raises many kinds for a damaged file
        raise UserError(f"{path}: damaged or truncated {what}: {_first_line(error)}") from None
    version = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    return None if text is None else _parse(path, text), version


def _items(group: Any, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Everything below an HDF5 group, links as links, each group once, however often it is linked."""
    seen = set() if seen is None else seen
    address = h5py.h5o.get_info(group.id).addr
    if address in seen:
        return
    seen.add(address)
    for key in group:
        link = group.get(key, getlink=True)
        if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
            yield f"{prefix}{key}", link
            continue
        item = group[key]
        yield f"{prefix}{key}", item
        if isinstance(item, h5py.Group):
            if prefix.count("/") > 32:
                raise UserError(f"expected groups nested at most 32 deep, got {prefix}{key!r}")
            yield from _items(item, f"{prefix}{key}/", seen)


def _check_archive(path: Path, content: bytes) -> tuple[Any, str]:
    """Check the archive's members; return what :func:`_check_hdf5` does."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            for needed, largest in (("config.json", _LARGEST_CONFIG), ("model.weights.h5", _LARGEST_WEIGHTS)):
                if needed not in members:
                    raise UserError(f"{path}: expected a .keras archive with {needed!r}, got {sorted(members)[:8]}")
                if members[needed].file_size > largest:
                    raise UserError(
                        f"{path}: expected at most {largest} bytes in {needed!r}, got {members[needed].file_size}"
                    )
            total = sum(info.file_size for info in members.values())
            if len(members) != len(archive.infolist()) or any(".." in name or name[:1] in "/\\" for name in members):
                raise UserError(f"{path}: expected members with plain names, each once, got {archive.namelist()[:8]}")
            if total > max(_LARGEST_RATIO * len(content), 1 << 20):
                raise UserError(
                    f"{path}: expected members compressed at most {_LARGEST_RATIO} times, got {total} bytes from a "
                    f"file of {len(content)}: a zip bomb?"
                )
            text, weights = archive.read("config.json"), archive.read("model.weights.h5")
            facts = archive.read("metadata.json") if "metadata.json" in members else b"{}"
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: damaged or truncated .keras archive: {_first_line(error)}") from None
    if not weights.startswith(_HDF5_MAGIC):
        raise UserError(f"{path}: expected HDF5 in 'model.weights.h5', got {_kind(weights)}")
    _check_hdf5(path, weights, "'model.weights.h5'")
    configuration = _parse(path, text)
    if isinstance(configuration, dict):  # Keras leaves optimiser, loss and metrics of an archive unread, see load
        configuration.pop("compile_config", None)
    metadata = _parse(path, facts)
    return configuration, str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""


def _parse(path: Path, text: str | bytes) -> Any:
    try:
        configuration = json.loads(text)
        json.dumps(configuration, ensure_ascii=False).encode()  # a half of a surrogate pair is no text
        _leave_out_training(configuration)
        return configuration
    except (ValueError, RecursionError, TypeError) as error:
        raise UserError(f"{path}: expected JSON as the model's configuration: {_first_line(error)}") from None


def _own_layers(configuration: Any) -> list[LayerConfig]:
    """Return what a configuration says of layers of weights, by their names, that no framework brings."""
    kinds = ((str(spec["class_name"]), spec) for spec in _layers(configuration))
    return [spec for kind, spec in kinds if kind not in _ALLOWED and _OWN.match(kind) and not _is_brought(kind)]


def _is_brought(kind: str) -> bool:
    """Whether Keras, QKeras or Larq have a layer of that name."""
    keras = import_keras()
    import larq
    import qkeras

    return any(hasattr(of, kind) for of in (keras.layers, qkeras, larq.layers))


def _check_configuration(path: Path, configuration: Any) -> None:
    """Hold every class and every quantizer that the configuration names against what is known."""
    if not isinstance(configuration, dict) or configuration.get("class_name") not in _CONTAINERS:
        name = configuration.get("class_name") if isinstance(configuration, dict) else type(configuration).__name__
        raise UserError(
            f"{path}: expected a Sequential or functional model, got {name!r}; a subclassed Model holds code"
        )
    _check_classes(path, configuration, "the model")


def _check_classes(path: Path, configuration: Any, where: str) -> None:
    sys_limit = sys.getrecursionlimit() // 4
    todo: list[tuple[Any, str, int]] = [(configuration, where, 0)]
    while todo:
        node, where, depth = todo.pop()
        if depth > sys_limit:
            raise UserError(f"{path}: {where}: expected a configuration nested at most {sys_limit} deep")
        if isinstance(node, list):
            todo.extend((child, where, depth + 1) for child in reversed(node))
        if not isinstance(node, dict):
            continue
        if "class_name" in node:
            where = _check_class(path, node, where)
        for key, value in node.items():
            if isinstance(value, str) and (key.endswith("quantizer") or key == "activation"):
                word = _WORD.match(value) if value.count("(") <= 1 else None  # no call inside a call
                if key != "activation" and (not word or word[0] not in _ALLOWED):
                    raise UserError(f"{path}, {where}: {key} {value[:80]!r} is not a known quantizer")
                if not word or (len(word[0]) != len(value) and word[0] not in _QKERAS_QUANTIZERS):
                    raise UserError(f"{path}, {where}: {key} {value[:80]!r} is not a known activation")
        todo.extend((value, where, depth + 1) for value in node.values())


def _check_class(path: Path, node: LayerConfig, where: str) -> str:
    """Refuse a class that is not known, or that comes from elsewhere; return what to call the place in messages."""
    kind, inner = node["class_name"], node.get("config")
    if not isinstance(kind, str):
        raise UserError(f"{path}, {where}: expected a name as class_name, got {str(kind)[:80]!r}")
    name = inner.get("name") if isinstance(inner, dict) else None
    is_layer = isinstance(inner, dict) and "layers" not in inner and isinstance(name, str)
    if is_layer and kind not in LARQ_QUANTIZERS:
        where = f"layer {name!r} ({kind})"
    if kind not in _ALLOWED:
        if is_layer or where == "the model":
            raise UserError(f"{path}, {where}: {unsupported(str(kind))}")
        raise UserError(f"{path}, {where}: {str(kind)[:80]!r} is not a class that Keras, QKeras or Larq bring")
    if kind in keras_op.KINDS:
        function = str(inner.get("function")) if isinstance(inner, dict) else ""
        if function not in keras_op.TAKEN:
            raise UserError(
                f"{path}, {where}: expected an operator of TensorFlow that is known, got {function[:80]!r}; write it "
                f"with layers, or with one of {', '.join(sorted(keras_op.TAKEN))}"
            )
    module, registered = node.get("module"), node.get("registered_name")
    if module is not None and not (isinstance(module, str) and _MODULES.match(module)):
        raise UserError(f"{path}, {where}: expected a class of Keras, QKeras or Larq, got module {str(module)[:80]!r}")
    if registered is not None and str(registered).rpartition(">")[2] not in _ALLOWED:
        raise UserError(f"{path}, {where}: expected a class of Keras, QKeras or Larq, got {str(registered)[:80]!r}")
    return where
