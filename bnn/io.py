"""Networks in files: one safetensors file, weights as packed bits, structure in its JSON header.

Layout, schema 1: the header's metadata has one entry ``xnorflow_network``, JSON with ``schema`` and ``network`` (the
fields of every operation that are not arrays, and the shape of every array). Tensor ``<layer>.<field>`` holds an int64
or int8 array as it is; a ``weight`` is ``<layer>.weight.positive`` and, where it has zeros, ``<layer>.weight.mask``:
uint64 words, packed along the last axis as :mod:`bnn` says.

Schema 2 has weights above 1 besides, as the int8 or int16 array ``<layer>.weight``, and shifts of operands of a sum; a
network without them is written as schema 1.
"""

import json
import math
import os
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.files import Json
from xnorflow.bnn.network import MAX_WEIGHTS, OPERATIONS, Add, Network, Operation, refusal, weight_bits
from xnorflow.bnn.packing import pack_bits, unpack_bits

HEADER = "xnorflow_network"
"""The entry of the file's metadata."""
SCHEMA = 2
"""The newest that is read, and written where a network needs it."""

_ADDED: dict[str, dict[str, list[int]]] = {
    "MaxPool2d": {"padding": [0, 0, 0, 0]},
    "Add": {"shift": []},
}  # fields that older files lack, and what they mean by that


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write `network` to `path`, whole or not at all.

    Raises
    ------
    NetworkError
        If an operation is none that :func:`load` knows.
    OSError
        If the folder is missing or cannot be written.
    """
    tensors: dict[str, NDArray[Any]] = {}
    shapes: dict[str, list[int]] = {}
    for operation in network.operations:
        if type(operation) not in OPERATIONS.values():
            raise refusal(operation, "the file format")
        for spec in fields(operation):
            value = getattr(operation, spec.name)
            if not isinstance(value, np.ndarray):
                continue
            key = f"{operation.name}.{spec.name}"
            shapes[key] = list(value.shape)
            if spec.name == "weight" and weight_bits(value) <= 2:
                tensors[f"{key}.positive"] = pack_bits(value > 0)
                if not value.all():
                    tensors[f"{key}.mask"] = pack_bits(value != 0)
            else:
                tensors[key] = value
    described = network.describe() | {"shapes": shapes}
    # One entry: safetensors writes several in random order, and equal networks are to be equal files.
    shifted = any(isinstance(operation, Add) and operation.shift for operation in network.operations)
    schema = SCHEMA if shifted or any(key.endswith(".weight") for key in tensors) else 1
    header = json.dumps({"schema": schema, "network": described}, sort_keys=True)
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        unfinished = Path(folder) / path.name
        save_file(tensors, unfinished, {HEADER: header})
        os.replace(unfinished, path)


def load(path: str | os.PathLike[str]) -> Network:
    """Read a Network.

    Raises
    ------
    UserError
        If the file is missing, truncated, corrupt, not a Network, of a newer schema, or describes a network that
        breaks an invariant; the message says which.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = _header(path, file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a tensor's type that NumPy lacks
        raise UserError(f"{path}: not a readable safetensors file (truncated or corrupt?): {error}") from None
    try:
        described = _described(header.get("network"))
        operations = [_operation(entry, described["shapes"], tensors) for entry in described["operations"]]
        if strange := set(described["shapes"]) - {f"{of.name}.{spec.name}" for of in operations for spec in fields(of)}:
            raise UserError(f"shapes of no layer: {_short(sorted(strange))}")
        network = Network(described["name"], tuple(operations))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if tensors:
        raise UserError(f"{path}: tensors that no layer uses: {', '.join(sorted(tensors))}")
    return network


def _header(path: str | os.PathLike[str], metadata: dict[str, str]) -> Json:
    try:
        header = json.loads(metadata[HEADER])
        schema = header["schema"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise UserError(f"{path}: not a Network: its metadata entry {HEADER!r} is missing or damaged") from None
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise UserError(
            f"{path}: expected schema 1 to {SCHEMA}, got {_short(schema)}; a file of a newer schema needs a newer "
            "xnorflow"
        )
    return dict(header)


class _Described(TypedDict):
    name: str
    operations: list[Json]
    """Fields of the operation, checked when it is built."""
    shapes: dict[str, tuple[int, ...]]


def _described(network: Any) -> _Described:
    """Return the header's network, its parts checked for their types, and the arrays' shapes as tuples."""
    parts = {"name": str, "operations": list, "shapes": dict}
    if not isinstance(network, dict) or set(network) != set(parts):
        raise UserError(f"inconsistent header: expected a network of {', '.join(parts)}, got {_short(network)}")
    for part, kind in parts.items():
        if not isinstance(network[part], kind):
            raise UserError(f"inconsistent header: expected {part} as a {kind.__name__}, got {_short(network[part])}")
    for key, shape in network["shapes"].items():
        if not _is_of(shape, tuple[int, ...]) or not shape or min(shape) < 0 or math.prod(shape) > MAX_WEIGHTS:
            raise UserError(
                f"inconsistent header: expected a shape of at most {MAX_WEIGHTS:,} values for {_short(key)}, got "
                f"{_short(shape)}"
            )
    for entry in network["operations"]:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(what), str) for what in ("name", "operation")):
            raise UserError(f"inconsistent header: expected a layer with name and operation, got {_short(entry)}")
    shapes = {key: tuple(shape) for key, shape in network["shapes"].items()}
    return {"name": network["name"], "operations": network["operations"], "shapes": shapes}


def _operation(entry: Json, shapes: dict[str, tuple[int, ...]], tensors: dict[str, NDArray[Any]]) -> Operation:
    """Build one operation, taking its arrays out of `tensors`."""
    name, kind = entry["name"], entry["operation"]
    where = f"layer {_short(name)}"
    if kind not in OPERATIONS:
        raise UserError(f"{where}: unknown operation {_short(kind)}; there are {', '.join(OPERATIONS)}")
    for what, default in _ADDED.get(kind, {}).items():
        entry.setdefault(what, default)
    hints = get_type_hints(OPERATIONS[kind])
    arrays = {spec.name for spec in fields(OPERATIONS[kind]) if _is_array(hints[spec.name])}
    plain = {spec.name for spec in fields(OPERATIONS[kind])} - arrays
    written = {key.removeprefix(f"{name}.") for key in shapes if key.startswith(f"{name}.")}
    given = set(entry) - {"operation"}
    if given != plain or written != arrays:
        expected, got = sorted(plain | arrays), sorted(given | written)
        raise UserError(f"{where}: expected the fields {expected}, got {_short(got)}")
    values: Json = {}
    for what in plain:
        if not _is_of(entry[what], hints[what]):
            raise UserError(f"{where}: expected {what} of type {_type(hints[what])}, got {_short(entry[what])}")
        values[what] = tuple(entry[what]) if isinstance(entry[what], list) else entry[what]
    for what in arrays:
        take = _weight if what == "weight" else _array
        try:
            values[what] = take(f"{name}.{what}", shapes[f"{name}.{what}"], tensors)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
    return OPERATIONS[kind](**values)


def _array(key: str, shape: tuple[int, ...], tensors: dict[str, NDArray[Any]]) -> NDArray[Any]:
    value = _tensor(key, tensors)
    if value.shape != shape:
        raise ValueError(f"expected {key} of shape {shape}, got {value.shape}")
    return value


def _weight(key: str, shape: tuple[int, ...], tensors: dict[str, NDArray[Any]]) -> NDArray[Any]:
    if key in tensors:
        whole = _array(key, shape, tensors)
        if whole.dtype not in (np.int8, np.int16) or not whole.size or weight_bits(whole) <= 2:
            raise ValueError(f"expected {key} of int8 or int16 with magnitudes above 1, got {whole.dtype}")
        return whole
    positive = _unpack(_tensor(f"{key}.positive", tensors), shape)
    mask = _unpack(tensors.pop(f"{key}.mask"), shape) if f"{key}.mask" in tensors else np.ones(shape, bool)
    if (positive & ~mask).any():
        raise ValueError("a weight is both masked and positive")
    weight: NDArray[np.int8] = np.where(positive, 1, -1).astype(np.int8) * mask
    return weight


def _tensor(key: str, tensors: dict[str, NDArray[Any]]) -> NDArray[Any]:
    if key not in tensors:
        raise ValueError(f"the file lacks the tensor {key}")
    return tensors.pop(key)


def _unpack(packed: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    expected = (*shape[:-1], -(-shape[-1] // 64))
    if packed.dtype != np.uint64 or packed.shape != expected:
        raise ValueError(f"expected packed weights uint64{expected}, got {packed.dtype}{packed.shape}")
    bits = unpack_bits(packed, shape[-1])
    if not np.array_equal(pack_bits(bits), packed):
        raise ValueError("expected unused bits of packed weights to be 0")
    return bits


def _is_array(hint: Any) -> bool:
    return get_origin(hint) is np.ndarray


def _is_of(value: Any, hint: Any) -> bool:
    """Say whether a value read from JSON is of the type of an operation's field; a list stands for a tuple."""
    if get_origin(hint) is Literal:
        return type(value) is str and value in get_args(hint)
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        kinds = kinds[:1] * len(value) if isinstance(value, list) and kinds[-1] is ... else kinds
        return isinstance(value, list) and len(value) == len(kinds) and all(map(_is_of, value, kinds))
    return type(value) is hint  # a bool is no int here


def _type(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def _short(value: Any) -> str:
    """Return what a file holds for a message."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}..."
