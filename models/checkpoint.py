"""Trained models as safetensors files: binary weights as packed bits, batch-norm parameters as float32, facts as JSON.

Loading runs nothing from the file: the module is built from the zoo's definition, and every tensor must have the name,
type and shape which that definition expects. Keras models are files of Keras (:mod:`xnorflow.models.checkpoint_keras`)
with the same facts.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

import numpy as np

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.files import Json
from xnorflow.models import checkpoint_keras, zoo

if TYPE_CHECKING:
    from safetensors import safe_open
    from torch import nn

SCHEMA_VERSION = 1
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEADER = "xnorflow_checkpoint"  # the one entry of the file's metadata: safetensors writes several in random order
FOLDER = Path(__file__).resolve().parent / "checkpoints"
"""Where the checkpoints of the zoo lie."""


def path_of(definition: zoo.ModelDefinition) -> Path:
    """Return where the checkpoint of a model of the zoo lies, or would lie."""
    return FOLDER / f"{definition.name}{'.safetensors' if definition.framework == 'pytorch' else '.h5'}"


class RecordedTest(TypedDict):
    """How a model did on the test images when it was trained."""

    accuracy: float
    count: int


class RecordedDataset(TypedDict):
    """The data set that it was trained on."""

    name: str


class Recorded(TypedDict, total=False):
    """Facts of a training that are read again; a checkpoint has more of them, and need not have these."""

    test: RecordedTest
    dataset: RecordedDataset


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model: zoo name, the module in eval mode or the Keras model, and the facts of its training (JSON)."""

    name: str
    module: Any
    metadata: Json


def _binary_weights(module: "nn.Module") -> set[str]:
    from xnorflow.models.layers import BinaryConv2d, BinaryLinear

    layers = module.named_modules()
    return {f"{name}.weight" for name, layer in layers if isinstance(layer, BinaryLinear | BinaryConv2d)}


def save(path: Path, name: str, module: Any, metadata: Mapping[str, object]) -> None:
    """Write the module's inference state to ``path``, whole or not at all.

    Parameters
    ----------
    name
        Zoo name of the model that ``module`` is an instance of.
    module
        An ``nn.Module``, or a Keras model, whose kernels become what they are quantised to.
    metadata
        Facts of the training, JSON values.
    """
    from safetensors.numpy import save as serialise

    header = json.dumps({"schema_version": SCHEMA_VERSION, "model": name, "metadata": metadata}, sort_keys=True)
    if not hasattr(module, "state_dict"):
        checkpoint_keras.save(path, module, {_HEADER: header})
        return
    binary = _binary_weights(module)
    tensors = {}
    for key, tensor in module.state_dict().items():
        values = tensor.numpy()
        if key in binary:
            tensors[f"{key}.bits"] = np.packbits(values.ravel() >= 0, bitorder="little")
        elif not key.endswith("num_batches_tracked"):  # a training counter
            tensors[key] = values.astype("<f4")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(serialise(tensors, metadata={_HEADER: header}))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _open(path: Path) -> "Iterator[safe_open]":
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a tensor's type that NumPy lacks
        raise UserError(f"{path} cannot be read as a checkpoint: {error}") from error


def is_keras(path: Path) -> bool:
    """Whether the file is a checkpoint of a Keras model: one that Keras wrote, with the facts of its training in it."""
    try:
        with path.open("rb") as file:
            return file.read(len(_HDF5)) == _HDF5 and checkpoint_keras.read_header(path, _HEADER) is not None
    except OSError:  # damaged, or not there
        return False


def _parse(header: str | None, path: Path) -> tuple[str, Json]:
    """Model name and metadata."""
    try:
        fields = json.loads(header)  # type: ignore[arg-type]
        version = fields["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # TypeError: no header
        raise UserError(f"{path} is not a checkpoint: its metadata entry {_HEADER!r} is missing or damaged") from error
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has checkpoint schema version {version}, this program reads version {SCHEMA_VERSION}; "
            "train the model again, or use the program that wrote the file"
        )
    name, metadata = fields.get("model"), fields.get("metadata")
    if not isinstance(name, str) or not isinstance(metadata, dict):
        raise UserError(f"{path} has a damaged header: it lacks the model's name or the metadata")
    test, dataset = metadata.get("test", {}), metadata.get("dataset", {})
    for what, record, kinds in (
        ("test", test, {"accuracy": (float, int), "count": (int,)}),
        ("dataset", dataset, {"name": (str,)}),
    ):
        if not isinstance(record, dict) or (record and not all(type(record.get(k)) in of for k, of in kinds.items())):
            raise UserError(f"{path} has a damaged header: expected {what} to tell its {' and '.join(kinds)}")
    if test and not (0 <= test["accuracy"] <= 1 and 0 <= test["count"] <= 10**9):
        raise UserError(f"{path} has a damaged header: its recorded accuracy is none, {str(test)[:80]}")
    if dataset and not (dataset["name"].isprintable() and len(dataset["name"]) <= 100):
        raise UserError(f"{path} has a damaged header: its data set's name is none, {dataset['name'][:80]!r}")
    return name, metadata


def read_facts(path: Path) -> tuple[str, Recorded]:
    """Model name and metadata of a checkpoint, without its tensors and without PyTorch.

    Raises
    ------
    UserError
        The file cannot be read, or is not a checkpoint.
    """
    if is_keras(path):
        header = checkpoint_keras.read_header(path, _HEADER)
    else:
        with _open(path) as file:
            header = (file.metadata() or {}).get(_HEADER)
    name, metadata = _parse(header, path)
    return name, cast("Recorded", metadata)


def load(path: Path) -> Checkpoint:
    """Read what :func:`save` wrote; the module's outputs equal those of the saved one bit for bit.

    Raises
    ------
    UserError
        The file is missing, damaged, of another schema version, of an unknown model, or does not fit its definition.
    """
    import torch

    if is_keras(path):
        from xnorflow.bnn.frontends import keras_file

        name, metadata = _parse(checkpoint_keras.read_header(path, _HEADER), path)
        return Checkpoint(name, keras_file.load(path), metadata)
    with _open(path) as file:
        name, metadata = _parse((file.metadata() or {}).get(_HEADER), path)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no dict)
    try:
        definition = zoo.get(name)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if definition.framework != "pytorch":
        raise UserError(f"{path}: {name} is a model of {definition.framework}, whose checkpoints are Keras's .h5 files")
    module = definition.build()

    binary = _binary_weights(module)
    state = module.state_dict()
    for key, parameter in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        stored = f"{key}.bits" if key in binary else key
        if stored not in tensors:
            raise UserError(f"{path} lacks the tensor {stored!r} of model {name}")
        values = tensors.pop(stored)
        shape, dtype = tuple(parameter.shape), "float32"
        if key in binary:
            shape, dtype = (math.ceil(parameter.numel() / 8),), "uint8"
        if values.shape != shape or values.dtype != dtype:
            raise UserError(
                f"{path}: tensor {stored!r} is {values.dtype} {values.shape}, model {name} needs {dtype} {shape}"
            )
        if key in binary:
            bits = np.unpackbits(values, bitorder="little")
            if bits[parameter.numel() :].any():
                raise UserError(f"{path}: tensor {stored!r} has bits set beyond its {parameter.numel()} weights")
            values = (bits[: parameter.numel()].astype(np.float32) * 2 - 1).reshape(parameter.shape)
        elif not np.isfinite(values).all():
            raise UserError(f"{path}: tensor {stored!r} has values that are not finite")
        elif key.endswith("running_var") and (values < 0).any():
            raise UserError(f"{path}: tensor {stored!r} has a negative variance")
        state[key] = torch.from_numpy(values)
    if tensors:
        raise UserError(f"{path} has tensors that model {name} lacks: {', '.join(sorted(tensors))}")
    module.load_state_dict(state)
    return Checkpoint(name, module.eval(), metadata)
