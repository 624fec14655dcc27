"""What a flow is about: a model of the zoo, a checkpoint file or a Network file, told apart without loading it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bnn.errors import UserError


@dataclass(frozen=True)
class Subject:
    """A model that was asked for and found.

    Attributes
    ----------
    name : str
        Names the Network and the folders of the flow; lower case letters, digits and underscores.
    kind : {"checkpoint", "network"}
    path : Path
    zoo : str or None
        For a checkpoint, the zoo's definition that it is an instance of.
    recorded : dict
        For a checkpoint, the facts recorded at its training.
    """

    name: str
    kind: Literal["checkpoint", "network"]
    path: Path
    zoo: str | None
    recorded: dict[str, Any]


def find(model: str) -> Subject:
    """Find what `model` names: a model of the zoo, or a file.

    Raises
    ------
    UserError
        If there is no such model or file, or the file is neither a checkpoint nor a Network; lists what there is.
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
        raise UserError(
            f"unknown model {model!r}: neither a model of the zoo nor a file\n"
            f"choose one of: {', '.join(ZOO)}\nor name a .safetensors file: a checkpoint, or a Network saved by bnn.io"
        )
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or "network"
    return _identify(name if name[0].isalpha() else f"n_{name}", path)


def _identify(name: str, path: Path) -> Subject:
    from safetensors import SafetensorError, safe_open

    from bnn import io
    from models import checkpoint
    from models.zoo import ZOO

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
