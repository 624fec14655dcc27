"""How to save again, as a file that can be read, a Keras model that cannot: lines of Python for people."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LayerConfig = dict[str, Any]
"""A layer as the configuration in a Keras file describes it."""

_KERAS_2 = 'import os\nos.environ["TF_USE_LEGACY_KERAS"] = "1"\n'


def again(path: Path, archive: bool, version: str, own: Sequence[LayerConfig]) -> str:
    """Say how the weights of a file get into the same model of tf_keras, built with layers that are known.

    Parameters
    ----------
    path : Path
    archive : bool
        Whether it is a ``.keras`` file, not HDF5, which keeps weights by the layers' names.
    version : str
        Of the Keras that wrote the file.
    own : sequence of dict
        Of the layers whose class is the user's own, what the file's configuration says.
    """
    weights, kinds = path, sorted({str(spec["class_name"]) for spec in own})
    lines = "build the same model with tf_keras, its layers by the same names, and give it the weights:\n"
    if archive:
        weights = path.with_name(f"{path.stem}_saved.h5")
        keras = "keras.saving" if is_keras_3(version) else "tensorflow.keras.models"
        before = "import keras\n" if is_keras_3(version) else f"{_KERAS_2}import tensorflow\n"
        objects = "".join(f'"{kind}": {kind}, ' for kind in kinds)
        known = f", custom_objects={{{objects[:-2]}}}" if own else ""
        lines += (
            f"{before}model = {keras}.load_model({_text(path)}{known}, compile=False)\n"
            f"model.save({_text(weights)})\n# then, in a process of its own:\n"
        )
    lines += f"{_KERAS_2}import h5py, larq, tensorflow\nmodel = build()  # your code, with layers of tensorflow.keras"
    if own:
        lines += ", and these in place of your own:"
    lines += "".join(f"\n#   {_with_larq(spec)}" for spec in own)
    return lines + (
        f'\nwith h5py.File({_text(weights)}) as file:\n    for layer in model.layers:\n        if layer.weights:\n'
        '            saved = file["model_weights"][layer.name]\n'
        '            layer.set_weights([saved[name][()] for name in saved.attrs["weight_names"]])\n'
        f"model.save({_text(path.with_name(f'{path.stem}_keras2.h5'))})"
    )  # fmt: skip


def from_folder(path: Path) -> str:
    """Say what to do with a SavedModel of TensorFlow, a folder; "" if the folder is none."""
    if not (path / "saved_model.pb").is_file():
        return ""
    what = f"{path}: a SavedModel folder of TensorFlow, whose graph is code; read are files of tf_keras; "
    if not (path / "keras_metadata.pb").is_file():
        return f'{what}its layers are not kept in it: save the model where it is made, by model.save("model.h5")'
    return (
        f"{what}save it as one:\n{_KERAS_2}import larq, tensorflow, qkeras.utils\nobjects = {{}}\n"
        "qkeras.utils._add_supported_quantized_objects(objects)\n"
        f"model = tensorflow.keras.models.load_model({_text(path)}, objects, compile=False)\n"
        f"model.save({_text(path.with_name(f'{path.name}.h5'))})"
    )


def is_keras_3(version: str) -> bool:
    """Whether a version is of a Keras that is not the one of QKeras and Larq."""
    major = version.partition(".")[0]
    return major.isdigit() and int(major) >= 3


def _with_larq(spec: LayerConfig) -> str:
    """Return Larq's layer for a layer of a class of the user's own, as far as its configuration tells."""
    kind, config = str(spec["class_name"]), spec.get("config")
    config = config if isinstance(config, dict) else {}
    depthwise = "Depthwise" in kind and "kernel_size" in config
    needed: tuple[str, ...] = ("filters", "kernel_size")
    layer = "QuantConv1D" if "1" in kind else "QuantConv2D"
    if "Conv" not in kind:
        layer, needed = "QuantDense", ("units",)
    elif depthwise:
        layer, needed = "QuantDepthwiseConv2D", ("kernel_size",)
    arguments = [_text(config[key]) if key in config else key for key in needed]
    arguments += [f"{key}={_text(config[key])}" for key in ("strides", "padding", "use_bias") if key in config]
    quantizer = "depthwise_quantizer" if depthwise else "kernel_quantizer"
    arguments += [f'{quantizer}="ste_sign"', f"name={_text(config.get('name', kind))}"]
    return f"larq.layers.{layer}({', '.join(arguments)})"


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(of, int) for of in value):
        value = tuple(value)
    return json.dumps(str(value)) if isinstance(value, str | Path) else repr(value)[:80]
