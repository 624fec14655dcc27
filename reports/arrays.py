"""Arrays of integers as compact JSON: bits packed, the rest as small integers, in base64."""

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xnorflow.reports.records import PackedArray


def pack(values: NDArray[np.integer[Any]]) -> "PackedArray":
    """Return integers, of any shape, as JSON.

    Returns
    -------
    dict
        ``shape``; ``type``: "bits" where all values are -1 or +1, else "int32", or "int64" where one needs it;
        ``data``: base64, in C order, bits (1 for +1) little-endian in bytes, integers little-endian as 4 or 8 bytes.
    """
    values = np.asarray(values)
    kind: Literal["bits", "int32", "int64"]
    if np.isin(values, (-1, 1)).all():
        kind, data = "bits", np.packbits(values.ravel() > 0, bitorder="little").tobytes()
    else:
        narrow = bool((values == values.astype(np.int32)).all())
        kind, layout = ("int32", "<i4") if narrow else ("int64", "<i8")
        data = np.ascontiguousarray(values, np.dtype(layout)).tobytes()
    return {"shape": list(values.shape), "type": kind, "data": b64encode(data).decode()}


def unpack(packed: "PackedArray") -> NDArray[np.int64]:
    """Return what :func:`pack` was given."""
    data, shape = b64decode(packed["data"]), tuple(packed["shape"])
    if packed["type"] == "bits":
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=int(np.prod(shape)), bitorder="little")
        return bits.astype(np.int64).reshape(shape) * 2 - 1
    return np.frombuffer(data, {"int32": "<i4", "int64": "<i8"}[packed["type"]]).astype(np.int64).reshape(shape)
