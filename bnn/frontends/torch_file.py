"""PyTorch modules: made by a factory in the user's own code, their parameters read from a file.

The factory is run, as whoever names it wants, with arguments that are literals. A file of parameters never runs
anything: it is read by safetensors, or by PyTorch's reader that knows tensors alone. What training scripts wrap around
the parameters is taken off, and said.
"""

import ast
import importlib
import sys
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from xnorflow.bnn.errors import UserError

_COUNTER = "num_batches_tracked"  # of training; has no effect on what is computed
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
_SAVE = "torch.save(module.state_dict(), 'weights.pt')"


def find(factory: str) -> Callable[[], Any]:
    """Import a factory, from the current folder first.

    Parameters
    ----------
    factory : str
        ``package.module:name``, or with arguments ``package.module:name(64, kind="small")``. These are literals
        (numbers, text, True, None, lists, tuples, dicts of such), and are never evaluated.

    Returns
    -------
    callable
        Without arguments.

    Raises
    ------
    UserError
        If there is no such module or nothing of that name to call in it, importing it raises, or the arguments are no
        literals.
    """
    module, _, call = factory.partition(":")
    name, args, kwargs = _call(call, factory)
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        content = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):
            hint = f"; is it {module.removesuffix('.py')}:{call}?" if module.endswith(".py") else ""
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
    return partial(made, *args, **kwargs)


def _call(text: str, factory: str) -> tuple[str, list[object], dict[str, object]]:
    """Read ``name`` or ``name(literals)``."""
    wrong = f"{factory}: expected package.module:name, or name(64, kind='small') with literals as arguments"
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        raise UserError(f"{wrong}, got {text!r}") from None
    if isinstance(call, ast.Name):
        return call.id, [], {}
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise UserError(f"{wrong}, got {text!r}")

    def literal(node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise UserError(f"{wrong}, got {ast.unparse(node)!r}") from None

    kwargs = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise UserError(f"{wrong}, got '**{ast.unparse(keyword.value)}'")
        kwargs[keyword.arg] = literal(keyword.value)
    return call.func.id, [literal(argument) for argument in call.args], kwargs


def load(factory: str, weights: Path | None = None) -> tuple[nn.Module, tuple[str, ...]]:
    """Make a module, and give it the parameters and statistics that are in a file.

    Parameters
    ----------
    factory : str
        As :func:`find` takes it.
    weights : Path or None
        What ``torch.save(module.state_dict(), ...)`` or safetensors wrote; the content decides, not the name. It may
        be one of several entries of a checkpoint, and its names may start with those of a wrapper (``module.``). None
        leaves the module as the factory makes it.

    Returns
    -------
    nn.Module
    tuple of str
        What was taken off around the parameters, a sentence each.

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
    if weights is None:
        return module, ()
    tensors, unwrapped = _entry(_read(weights), weights)
    inner = module.module if isinstance(module, nn.DataParallel) else module
    fitting, shortened = _shortened(tensors, inner.state_dict(), weights)
    _fill(inner, fitting, f"{weights}, for {factory}")
    return module, (*unwrapped, *shortened)


def _entry(content: Mapping[str, object], path: Path) -> tuple[Mapping[str, torch.Tensor], tuple[str, ...]]:
    """Find the parameters in a checkpoint, and say where."""

    def is_state(value: object) -> TypeGuard[Mapping[str, torch.Tensor]]:
        return isinstance(value, Mapping) and all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in value.items()
        )

    if is_state(content):
        return content, ()
    states = {name: value for name, value in content.items() if is_state(value) and value}
    known = [name for name in _WRAPPERS if name in states]
    if len(states) != 1 and len(known) != 1:
        got = f"several under {_few(states)}" if states else f"{_few(content)} ({_kinds(content.values())})"
        raise UserError(
            f"{path}: expected a state_dict, tensors by name, alone or as one entry of a checkpoint, got {got}; write "
            f"it with {_SAVE}"
        )
    (name,) = known if len(known) == 1 else states
    others = [key for key in content if key != name]
    title = "a checkpoint of Lightning" if "pytorch-lightning_version" in content else "a checkpoint"
    return states[name], (f"{path} is {title}: {name!r} is taken, {_few(others)} left out",)


def _kinds(values: Iterable[Any]) -> str:
    return ", ".join(sorted({type(value).__name__ for value in values}))


def _shortened(
    tensors: Mapping[str, torch.Tensor], places: Mapping[str, torch.Tensor], path: Path
) -> tuple[Mapping[str, torch.Tensor], tuple[str, ...]]:
    """Take off what a wrapper puts in front of all names (DataParallel, a compiler, a training class)."""
    wanted, start = {name for name in places if not name.endswith(_COUNTER)}, ""
    named = dict(tensors)
    while named and not wanted.issubset(named):
        first = {name.partition(".")[0] for name in named}
        if len(first) != 1 or not all("." in name for name in named):
            return tensors, ()
        start += f"{first.pop()}."
        named = {name.removeprefix(start): tensor for name, tensor in tensors.items()}
    return (named, (f"{path}: all names start with {start!r}, which is taken off",)) if start else (tensors, ())


def _raised(error: BaseException) -> str:
    """Say what was raised, and where."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    what = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_file()]
    place = frames[-1] if frames and frames[-1].filename != __file__ else None
    return f"raises {what}" + (f" ({place.filename}, line {place.lineno})" if place else "")


def _read(path: Path) -> Mapping[str, object]:
    """Return what a file holds by name."""
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


def _read_torch(path: Path) -> Mapping[str, object]:
    import pickle

    try:
        if zipfile.is_zipfile(path):
            _check_archive(path)
        with path.open("rb") as file, warnings.catch_warnings():  # of a path, torch would go by its suffix
            warnings.simplefilter("ignore")
            found = torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError:
        raise UserError(f"{path}: {_unsafe(path)}") from None
    except Exception as error:  # whatever torch raises on what it cannot make sense of
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise UserError(
            f"{path}: not a readable PyTorch checkpoint (truncated or corrupt?): {type(error).__name__}: {line[:300]}"
        ) from None
    if not isinstance(found, Mapping):
        raise UserError(
            f"{path}: expected a state_dict, tensors by name, got {type(found).__name__}; write it with {_SAVE}"
        )
    return found


def _check_archive(path: Path) -> None:
    """Refuse archives that torch.save does not write."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    parts = {member.filename.partition("/")[2] for member in members}
    if "constants.pkl" in parts or any(part.startswith("code/") for part in parts):
        raise UserError(
            f"{path}: a TorchScript archive, which is a program; save its parameters with "
            f"torch.save(torch.jit.load('{path.name}').state_dict(), 'weights.pt'), and give the factory of its module"
        )
    if any(part.startswith(("models/", "data/weights/")) for part in parts):
        raise UserError(f"{path}: an exported program of torch.export; save the module's parameters with {_SAVE}")
    if packed := [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]:
        # torch.save compresses nothing, a bomb must
        raise UserError(f"{path}: expected a PyTorch checkpoint, got compressed members: {packed[0]!r}")


def _unsafe(path: Path) -> str:
    """Say what a checkpoint holds that only running code could restore; the pickle is looked through, never loaded."""
    try:
        found = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # of the old kind, or damaged
        found = []
    modules = [name for name in found if name.startswith("torch.nn.modules.")]
    own = [name for name in found if not name.startswith(("torch.", "collections.", "builtins."))]
    if modules:
        return (
            f"a whole pickled module ({_few(own or modules)}), which would be code to run; where you trust it, save "
            f"its parameters with torch.save(torch.load('{path.name}', weights_only=False).state_dict(), 'weights.pt')"
        )
    what = "a checkpoint of Lightning that" if any("lightning" in name for name in found) else "it"
    held = f"{what} holds more than tensors" + (f" ({_few(found)})" if found else "")
    return (
        f"{held}, which would be code to run, or is damaged; where you trust it, save the parameters alone with "
        f"{_SAVE} or safetensors"
    )


def _fill(module: nn.Module, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Copy the tensors into the module; each must have its place there, and each place its tensor."""
    places = module.state_dict()
    missing = [name for name in places if name not in tensors and not name.endswith(_COUNTER)]
    extra = [name for name in tensors if name not in places and not name.endswith(_COUNTER)]
    if missing or extra:
        parts = [f"it lacks {_few(missing)}"] * bool(missing) + [f"the module has no {_few(extra)}"] * bool(extra)
        raise UserError(
            f"{where}: {', and '.join(parts)}; expected the parameters of the module that the factory makes"
        )
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
