"""What a flow is about: a model of the zoo, or a file of one of several kinds, told apart without loading it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnn.errors import UserError
from flows.formats import FORMATS, recognise


@dataclass(frozen=True)
class Subject:
    """A model that was asked for and found.

    Attributes
    ----------
    name : str
        Names the Network and the folders of the flow; lower case letters, digits and underscores.
    kind : {"checkpoint", "network"} or a key of :data:`flows.formats.FORMATS`
    path : Path
    zoo : str or None
        For a checkpoint, the zoo's definition that it is an instance of.
    recorded : dict
        For a checkpoint, the facts recorded at its training.
    """

    name: str
    kind: str
    path: Path
    zoo: str | None
    recorded: dict[str, Any]


def find(model: str) -> Subject:
    """Find what `model` names: a model of the zoo, or a file.

    Raises
    ------
    UserError
        If there is no such model or file, or the file is of no known kind; lists what there is.
    """
    from models.checkpoint import FOLDER
    from models.zoo import ZOO

    if model in ZOO:
        path = FOLDER / f"{model}.safetensors"
        if not path.is_file():
            raise UserError(f"{model} has no trained checkpoint yet ({path}); make one: make train MODEL={model}")
        return _identify(model, path)
    path = Path(model)
    if not path.is_file():
        what = "a folder, " if path.is_dir() else ""
        raise UserError(
            f"unknown model {model!r}: {what}neither a model of the zoo nor a file\n"
            f"choose one of: {', '.join(ZOO)}\nor name a .safetensors file: a checkpoint, or a Network saved by bnn.io"
            + "".join(f"\nor {kind.title}: {', '.join(kind.suffixes)}" for kind in FORMATS.values())
        )
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or "network"
    return _identify(name if name[0].isalpha() else f"n_{name}", path)


def _identify(name: str, path: Path) -> Subject:
    from safetensors import SafetensorError, safe_open

    from bnn import io
    from models import checkpoint
    from models.zoo import ZOO

    try:
        if kind := recognise(path):
            return Subject(name, kind, path, None, {})
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file (truncated or corrupt?): {error}") from None
    if io.HEADER in header:
        return Subject(name, "network", path, None, {})
    try:
        zoo, recorded = checkpoint.read_facts(path)
    except UserError as error:
        raise UserError(f"{path}: neither a Network saved by bnn.io nor a checkpoint: {error}") from None
    if zoo not in ZOO:
        raise UserError(f"{path}: a checkpoint of {zoo!r}, which is no model of the zoo ({', '.join(ZOO)})")
    return Subject(name, "checkpoint", path, zoo, recorded)
