"""Modules with layers of Brevitas: exported to QONNX by Brevitas itself, and read from there."""

import contextlib
import io
import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import qonnx_file
from xnorflow.bnn.network import Input


def is_brevitas(module: nn.Module) -> bool:
    """Tell whether a module has layers of Brevitas."""
    return any(type(part).__module__.partition(".")[0] == "brevitas" for part in module.modules())


def export(module: nn.Module, taken: Input, origin: str) -> onnx.ModelProto:
    """Return a module, in evaluation mode from then on, as a QONNX model.

    Parameters
    ----------
    module : nn.Module
        Takes float32 of shape (vectors, features) or (vectors, channels, height, width).
    taken : Input
        Its shape is that of a vector, channels last.
    origin : str
        What has made the module, for messages.

    Raises
    ------
    UserError
        If Brevitas cannot export it, or what it exports holds anything that is not supported.
    """
    from brevitas.export import export_qonnx

    channels_first = (*taken.shape[-1:], *taken.shape[:-1])
    with tempfile.TemporaryDirectory(prefix="xnorflow-") as folder:
        path = Path(folder) / "module.onnx"
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # PyTorch's exporter prints
                warnings.simplefilter("ignore")
                export_qonnx(module.eval(), torch.zeros(1, *channels_first), str(path))
        except Exception as error:  # whatever PyTorch's exporter and the user's code raise
            first = next(iter(str(error).strip().splitlines()), "")
            raise UserError(
                f"{origin}: Brevitas cannot export it for an input of shape {taken.shape}: "
                f"{type(error).__name__}: {first[:300]}"
            ) from None
        try:
            return qonnx_file.load(path)
        except UserError as error:
            raise UserError(f"{origin}, exported to QONNX: {str(error).replace(f'{path}: ', '')}") from None
