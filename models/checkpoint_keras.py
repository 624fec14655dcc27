"""Trained Keras models as the files that Keras itself writes, so that they are what a user would bring.

Quantised kernels are stored as what they are quantised to, and everything compressed; an attribute of the file holds
the facts of its training. See :mod:`xnorflow.models.checkpoint`.
"""

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def save(path: Path, model: Any, header: dict[str, str]) -> None:
    """Write a model of QKeras or Larq to ``path``, whole or not at all; its kernels become what they are quantised to.

    Parameters
    ----------
    header
        Attributes for the file.
    """
    import larq

    with larq.context.quantized_scope(True):  # in which Larq's weights read as what they are quantised to
        model.set_weights(model.get_weights())
    for layer in model.layers:
        if (quantizer := getattr(layer, "kernel_quantizer_internal", None)) is not None:  # QKeras
            layer.kernel.assign(quantizer(layer.kernel))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that HDF5 is the older of Keras's two formats
            model.save(plain := Path(folder) / "model.h5", include_optimizer=False)
            with h5py.File(plain) as source, h5py.File(temporary, "w", libver="latest") as target:
                _copy(source, target)
                target.attrs.update(header)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(source: Any, target: Any) -> None:
    """Copy an HDF5 group, compressing its data."""
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy(item, target.create_group(name))
        else:
            options = {"compression": "gzip", "shuffle": True} if item.size > 1024 else {}
            target.create_dataset(name, data=np.asarray(item), **options).attrs.update(item.attrs)


def read_header(path: Path, name: str) -> str | None:
    """Return an attribute of the file, None if it has none of that name.

    Raises
    ------
    OSError
        If it is no HDF5 file.
    """
    with h5py.File(path) as file:
        value = file.attrs.get(name)
    return value if isinstance(value, str) else None
