"""The search for what the user names: a model of the zoo, a file, its kind told without loading it, or a factory."""

import ast
import re
import sys
from pathlib import Path

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import bnn_pynq, keras_saving
from xnorflow.bnn.network import name_fault
from xnorflow.flows.formats import FORMATS, Subject, recognise
from xnorflow.reports.measures import OWN_BASELINES

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(.*\))?\Z", re.DOTALL)  # package.module:name(literals)


def find(model: str, weights: Path | None = None) -> Subject:
    """Find what `model` names: a model of the zoo, a file, or a factory of PyTorch modules.

    Parameters
    ----------
    model : str
    weights : Path or None
        The parameters of the module that a factory makes.

    Raises
    ------
    UserError
        If there is no such model, file or factory, or the file is of no known kind; lists what there is.
    """
    from xnorflow.models.checkpoint import path_of
    from xnorflow.models.zoo import ZOO

    path = Path(model)
    if _FACTORY.match(model) and not _is_file(path):
        return _module(model, weights)
    if path.suffix == ".py" and _is_file(path):
        raise UserError(f"{path}: a file of code goes by what makes the module in it: {_factories(path)}")
    if weights is not None:
        raise UserError(f"a checkpoint of parameters ({weights}) goes with a model package.module:factory, got {model}")
    if model in ZOO:
        path = path_of(ZOO[model])
        if not path.is_file():
            raise UserError(
                f"{model} has no trained checkpoint ({path}); make one: make train MODEL={model} REPLACE_CHECKPOINT=1"
            )
        return _identify(model, path)
    if path.is_dir() and bnn_pynq.is_folder(path):
        return Subject(slug(path.absolute().name), "bnn_pynq", path, None, {})
    if not _is_file(path):
        if saved := keras_saving.from_folder(path):
            raise UserError(saved)
        what = "a folder, " if path.is_dir() else ""
        raise UserError(
            f"unknown model {model!r}: {what}neither a model of the zoo nor a file\n"
            f"choose one of: {', '.join(ZOO)}\nor name a .safetensors file: a checkpoint, or a Network saved by "
            "xnorflow.bnn.io"
            + "".join(f"\nor {kind.title}: {', '.join(kind.suffixes) or kind.named}" for kind in FORMATS.values())
        )
    return _identify(slug(path.stem), path)


def slug(text: str) -> str:
    """Return a text as a name of a Network and of folders; raise a UserError if it cannot be one."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "network"
    name = name if name[0].isalpha() else f"n_{name}"
    if fault := name_fault(name):
        raise UserError(f"{text}: expected {fault} in a name, since files are called after it; rename it")
    if name == OWN_BASELINES.name:
        raise UserError(f"{text}: expected another name, since {OWN_BASELINES} has the models' baselines; rename it")
    return name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _factories(path: Path) -> str:
    """Return how a file's classes and functions are named as factories, told from its text; nothing of it is run."""
    try:
        here = path.resolve().relative_to(Path.cwd()).with_suffix("")
    except ValueError:
        here = Path(path.stem)
    module = ".".join(here.parts)
    try:
        nodes = ast.parse(path.read_bytes()).body
    except Exception:  # whatever the parser raises of a file that is no Python
        nodes = []
    made = [node.name for node in nodes if isinstance(node, ast.ClassDef)]
    made += [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
    return ", ".join(f"{module}:{name}" for name in made[:4]) or f"{module}:Net, where Net is its name"


def _module(factory: str, weights: Path | None) -> Subject:
    from xnorflow.bnn.frontends import torch_file

    torch_file.find(factory)
    kind = "module"
    if "brevitas" in sys.modules:  # the code has imported it
        from xnorflow.bnn.frontends.brevitas import is_brevitas

        kind = "brevitas" if is_brevitas(torch_file.load(factory)[0]) else kind
    source = getattr(sys.modules[factory.partition(":")[0]], "__file__", None)
    return Subject(slug(factory), kind, weights or Path(source or factory), None, {}, factory, weights)


def _identify(name: str, path: Path) -> Subject:
    from xnorflow.models import checkpoint
    from xnorflow.models.zoo import ZOO

    try:
        kind = recognise(path)
        if kind and not checkpoint.is_keras(path):
            return Subject(name, kind, path, None, {})
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if kind is None and _holds_network(path):
        return Subject(name, "network", path, None, {})
    try:
        zoo, recorded = checkpoint.read_facts(path)
    except UserError as error:
        raise UserError(f"{path}: neither a Network saved by xnorflow.bnn.io nor a checkpoint: {error}") from None
    if zoo not in ZOO:
        raise UserError(f"{path}: a checkpoint of {zoo!r}, which is no model of the zoo ({', '.join(ZOO)})")
    return Subject(name, kind or "checkpoint", path, zoo, recorded)


def _holds_network(path: Path) -> bool:
    """Say whether a safetensors file is a Network saved by :mod:`xnorflow.bnn.io`."""
    from safetensors import SafetensorError, safe_open

    from xnorflow.bnn import io

    try:
        with safe_open(path, framework="numpy") as file:
            return io.HEADER in (file.metadata() or {})
    except (SafetensorError, OSError) as error:
        if path.suffix in (".pt", ".pth"):
            hint = f"give MODEL=package.module:factory CHECKPOINT={path}"
            raise UserError(f"{path}: PyTorch's files hold parameters alone; {hint}") from None
        raise UserError(f"{path}: not a readable safetensors file (truncated or corrupt?): {error}") from None
