"""PyTorch modules: made by a factory in the user's own code, their parameters read from a file.

The factory is run, as whoever names it wants. A file of parameters never runs anything: it is read by safetensors, or
by PyTorch's reader that knows tensors alone.
"""

import importlib
import sys
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from xnorflow.bnn.errors import UserError

_COUNTER = "num_batches_tracked"  # of training; has no effect on what is computed


def find(factory: str) -> Callable[[], Any]:
    """Import a factory, from the current folder first.

    Parameters
    ----------
    factory : str
        ``package.module:name``.

    Raises
    ------
    UserError
        If there is no such module or nothing of that name to call in it, or importing it raises.
    """
    module, _, name = factory.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        content = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):
            hint = f"; is it {module.removesuffix('.py')}:{name}?" if module.endswith(".py") else ""
            raise UserError(f"{factory}: no module {error.name!r} in {folder}, nor installed{hint}") from None
        raise UserError(f"{factory}: importing {module!r} {_raised(error)}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the user's code raises
        raise UserError(f"{factory}: importing {module!r} {_raised(error)}") from None
    made = getattr(content, name, None)
    if not callable(made):
        there = [key for key, value in vars(content).items() if getattr(value, "__module__", None) == module]
        raise UserError(
            f"{factory}: {module!r} has nothing to call of the name {name!r}; it has {', '.join(there) or 'none'}"
        )
    return made


def load(factory: str, weights: Path | None = None) -> nn.Module:
    """Make a module, and give it the parameters and statistics that are in a file.

    Parameters
    ----------
    factory : str
        ``package.module:name``; called without arguments.
    weights : Path or None
        What ``torch.save(module.state_dict(), ...)`` or safetensors wrote; the content decides, not the name. None
        leaves the module as the factory makes it.

    Raises
    ------
    UserError
        If the factory raises or gives no module, or the file cannot be read or does not fit the module.
    """
    make = find(factory)
    try:
        module = make()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the user's code raises
        raise UserError(f"{factory}: the factory {_raised(error)}") from None
    if not isinstance(module, nn.Module):
        raise UserError(f"{factory}: expected the factory to give an nn.Module, got {type(module).__name__}")
    if any(isinstance(parameter, UninitializedParameter) for parameter in module.parameters()):
        raise UserError(
            f"{factory}: expected parameters of known shapes, got a lazy module; run it once in the factory"
        )
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        raise UserError(f"{factory}: expected tensors with values, got some on PyTorch's device 'meta'")
    if weights is not None:
        _fill(module, _read(weights), f"{weights}, for {factory}")
    return module


def _raised(error: BaseException) -> str:
    """Say what was raised, and where."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    what = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_file()]
    place = frames[-1] if frames and frames[-1].filename != __file__ else None
    return f"raises {what}" + (f" ({place.filename}, line {place.lineno})" if place else "")


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    """Return the tensors of a file by name."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if start.startswith((b"PK\x03\x04", b"\x80")) and start[8:] != b"{":  # where the header of safetensors begins
        return _read_torch(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError, ValueError) as error:  # KeyError: a type that PyTorch lacks
        raise UserError(
            f"{path}: neither a readable safetensors file nor a PyTorch checkpoint (truncated or corrupt?): {error}"
        ) from None


def _read_torch(path: Path) -> Mapping[str, torch.Tensor]:
    import pickle

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # torch.save compresses nothing, a bomb must
                if packed := [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]:
                    raise UserError(f"{path}: expected a PyTorch checkpoint, got compressed members: {packed[0]!r}")
        with path.open("rb") as file, warnings.catch_warnings():  # of a path, torch would go by its suffix
            warnings.simplefilter("ignore")
            found = torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: it holds more than tensors, which would be code to run, or is damaged; "
            "write it with torch.save(module.state_dict(), ...) or safetensors"
        ) from None
    except Exception as error:  # whatever torch raises on what it cannot make sense of
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise UserError(
            f"{path}: not a readable PyTorch checkpoint (truncated or corrupt?): {type(error).__name__}: {line[:300]}"
        ) from None
    if not isinstance(found, Mapping):
        raise UserError(f"{path}: expected a state_dict, tensors by name, got {type(found).__name__}")
    for name, value in found.items():
        if not isinstance(name, str):
            raise UserError(f"{path}: expected a state_dict, tensors by name, got {str(name)[:80]!r} for a name")
        if not isinstance(value, torch.Tensor):
            raise UserError(
                f"{path}: expected a state_dict, tensors by name, got {type(value).__name__} under {name!r}; "
                "write it with torch.save(module.state_dict(), ...)"
            )
    return found


def _fill(module: nn.Module, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Copy the tensors into the module; each must have its place there, and each place its tensor."""
    places = module.state_dict()
    if missing := [name for name in places if name not in tensors and not name.endswith(_COUNTER)]:
        raise UserError(f"{where}: it lacks {_few(missing)}")
    if unexpected := [name for name in tensors if name not in places and not name.endswith(_COUNTER)]:
        raise UserError(f"{where}: the module has no {_few(unexpected)}")
    for name, tensor in tensors.items():
        if name in places and tensor.shape != places[name].shape:
            raise UserError(
                f"{where}: expected shape {tuple(places[name].shape)} for {name!r}, got {tuple(tensor.shape)}"
            )
        if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise UserError(f"{where}: expected a plain tensor of real numbers, got {tensor.type()} under {name!r}")
        if not tensor.isfinite().all():
            raise UserError(f"{where}: expected finite numbers, got NaN or infinity in {name!r}")
    module.load_state_dict({**places, **{name: tensors[name] for name in tensors if name in places}})


def _few(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
