"""Networks in files: one safetensors file, weights as packed bits, structure in its JSON header.

Layout, schema 1: the header's metadata has one entry ``xnorflow_network``, JSON with ``schema`` and ``network`` (the
fields of every operation that are not arrays, and the shape of every array). Tensor ``<layer>.<field>`` holds an int64
or int8 array as it is; a ``weight`` is ``<layer>.weight.positive`` and, where it has zeros, ``<layer>.weight.mask``:
uint64 words, packed along the last axis as :mod:`bnn` says.
"""

import json
import os
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import OPERATIONS, Network, Operation, refusal
from xnorflow.bnn.packing import pack_bits, unpack_bits

HEADER = "xnorflow_network"
"""The entry of the file's metadata."""
SCHEMA = 1


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write `network` to `path`, whole or not at all.

    Raises
    ------
    NetworkError
        If an operation is none that :func:`load` knows.
    OSError
        If the folder is missing or cannot be written.
    """
    tensors: dict[str, np.ndarray] = {}
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
            if spec.name == "weight":
                tensors[f"{key}.positive"] = pack_bits(value > 0)
                if not value.all():
                    tensors[f"{key}.mask"] = pack_bits(value != 0)
            else:
                tensors[key] = value
    described = network.describe() | {"shapes": shapes}
    # One entry: safetensors writes several in random order, and equal networks are to be equal files.
    header = json.dumps({"schema": SCHEMA, "network": described}, sort_keys=True)
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
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file (truncated or corrupt?): {error}") from None
    try:
        described = header["network"]
        shapes = {key: tuple(shape) for key, shape in described["shapes"].items()}
        operations = [_operation(entry, shapes, tensors) for entry in described["operations"]]
        network = Network(described["name"], tuple(operations))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: inconsistent header or tensors: {type(error).__name__}: {error}") from None
    if tensors:
        raise UserError(f"{path}: tensors that no layer uses: {', '.join(sorted(tensors))}")
    return network


def _header(path: str | os.PathLike[str], metadata: dict[str, str]) -> dict[str, Any]:
    try:
        header = json.loads(metadata[HEADER])
        schema = header["schema"]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: not a Network: its metadata entry {HEADER!r} is missing or damaged") from None
    if schema != SCHEMA:
        raise UserError(
            f"{path}: expected schema {SCHEMA}, got {schema!r}; a file of a newer schema needs a newer xnorflow"
        )
    return dict(header)


def _operation(entry: dict[str, Any], shapes: dict[str, tuple[int, ...]], tensors: dict[str, np.ndarray]) -> Operation:
    """Build one operation, taking its arrays out of `tensors`."""
    kind = entry.pop("operation")
    if kind not in OPERATIONS:
        raise UserError(f"layer {entry['name']!r}: unknown operation {kind!r}; there are {', '.join(OPERATIONS)}")
    known = {spec.name for spec in fields(OPERATIONS[kind])}
    prefix = f"{entry['name']}."
    arrays = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
    if set(entry) | set(arrays) != known:
        raise UserError(
            f"layer {entry['name']!r}: expected the fields {sorted(known)}, got {sorted({*entry, *arrays})}"
        )
    for what, shape in arrays.items():
        key = prefix + what
        if what == "weight":
            positive = _unpack(tensors.pop(f"{key}.positive"), shape)
            mask = _unpack(tensors.pop(f"{key}.mask"), shape) if f"{key}.mask" in tensors else np.ones(shape, bool)
            if (positive & ~mask).any():
                raise UserError(f"layer {entry['name']!r}: a weight is both masked and positive")
            entry[what] = np.where(positive, 1, -1) * mask
        else:
            entry[what] = tensors.pop(key)
            if entry[what].shape != shape:
                raise UserError(f"layer {entry['name']!r}: expected {what} of shape {shape}, got {entry[what].shape}")
    lists = {what: tuple(value) for what, value in entry.items() if isinstance(value, list)}
    return OPERATIONS[kind](**entry | lists)


def _unpack(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    expected = (*shape[:-1], -(-shape[-1] // 64))
    if packed.dtype != np.uint64 or packed.shape != expected:
        raise ValueError(f"expected packed weights uint64{expected}, got {packed.dtype}{packed.shape}")
    bits = unpack_bits(packed, shape[-1])
    if not np.array_equal(pack_bits(bits), packed):
        raise ValueError("expected unused bits of packed weights to be 0")
    return bits
