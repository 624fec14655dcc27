"""What a flow can start from; files of other frameworks and factories as data: adding one is adding an entry."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xnorflow.bnn.errors import NetworkError, UserError
from xnorflow.flows.graph import View
from xnorflow.hls.folders import file_digest

if TYPE_CHECKING:
    from xnorflow.bnn.frontends.core.check import Survey
    from xnorflow.bnn.frontends.core.fixed import Fixed, Rounded
    from xnorflow.bnn.frontends.core.value import Ambiguous
    from xnorflow.bnn.frontends.torch import TorchConversion
    from xnorflow.bnn.network import Input, Network
    from xnorflow.flows.settings import InputTable
    from xnorflow.models.checkpoint import Recorded

CONVERTED = "converted"
"""Under which a flow keeps the subject, converted."""


@dataclass(frozen=True)
class Subject:
    """A model that was asked for and found.

    Attributes
    ----------
    name : str
        Names the Network and the folders of the flow; lower case letters, digits and underscores.
    kind : {"checkpoint", "network"} or a key of :data:`FORMATS`
    path : Path
        Of a module, the file of its parameters, or else the one that its factory is in.
    zoo : str or None
        For a checkpoint, of Keras, too, the zoo's definition that it is an instance of.
    recorded : Recorded
        For a checkpoint, the facts recorded at its training.
    factory : str or None
        For a module, what makes it: ``package.module:name``, with arguments or without.
    weights : Path or None
        For a module, the file of its parameters, None where the factory brings them.
    """

    name: str
    kind: str
    path: Path
    zoo: str | None
    recorded: "Recorded"
    factory: str | None = None
    weights: Path | None = None

    @property
    def origin(self) -> str:
        """What it is made from, for messages."""
        return self.factory or str(self.path)


@dataclass(frozen=True, eq=False)
class Converted:
    """A model as a Network, and what its conversion has to say.

    Attributes
    ----------
    network : Network
        Not yet canonical.
    notes : tuple of str
        What was left out, a sentence each.
    ambiguous : mapping of threshold name to Ambiguous
        Thresholds that are not proved equal to the framework's, and where they depend on how it rounds its sums.
    model : object or None
        The model in its framework, for the engine that runs it.
    digest : str or None
        SHA-256 of all that the model computes by, where code makes it; else it is that of its file.
    rounded : mapping of layer name to Rounded
        Layers whose weights are rounded; empty where the Network is the model's, exactly.
    """

    network: "Network"
    notes: tuple[str, ...] = ()
    ambiguous: "Mapping[str, Ambiguous]" = field(default_factory=dict)
    model: Any = None
    digest: str | None = None
    rounded: Mapping[str, "Rounded"] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """A kind of model.

    Attributes
    ----------
    title : str
        What it is, for people.
    suffixes : tuple of str
        What names of such files end in; none where it is no file.
    magic : bytes or None
        What such files start with and no others do.
    read : callable
        From the subject, the settings of table ``input`` and how weights are rounded, both None where nothing is said,
        to what it holds; raises :class:`UserError`, and never runs anything that is in the file.
    packages : tuple of str
        Python packages whose versions matter.
    check : callable or None
        From the same to the verdict on every operator, where the front end can tell it.
    named : str
        How users name one that is no file.
    """

    title: str
    suffixes: tuple[str, ...]
    magic: bytes | None
    read: Callable[[Subject, "InputTable | None", "Fixed | None"], Converted]
    packages: tuple[str, ...]
    check: Callable[[Subject, "InputTable | None", "Fixed | None"], "Survey"] | None = None
    named: str = "package.module:factory"


def recognise(path: Path) -> str | None:
    """Return the key of the file's format: by its first bytes, else by its name; None if it is none of FORMATS."""
    with path.open("rb") as file:
        start = file.read(16)
    for name, kind in FORMATS.items():
        if kind.magic and start.startswith(kind.magic):
            return name
    return next((name for name, kind in FORMATS.items() if path.suffix.lower() in kind.suffixes), None)


def described_input(model: str, shape: tuple[int, ...] | None, settings: "InputTable | None") -> "Input":
    """Return the input of a model that tells its shape at most, from the settings of table ``input``.

    Raises
    ------
    UserError
        If there are no settings, or they make no input; says what to write.
    """
    from xnorflow.bnn.network import Input

    if settings is None:
        raise UserError(
            f"{model}: it does not say which integers the model takes; write into a TOML file, and give it by "
            "CONFIG=FILE (--config FILE):\n"
            "[input]\n"
            + ("" if shape else "shape = [28, 28, 1]  # height, width, channels; or [features]\n")
            + 'kind = "unsigned"  # or "signed", or "bipolar" (-1 and +1, without the lines below)\n'
            "bits = 8\n"
            "fraction = 0  # the model takes integer / 2**fraction"
        )
    if (shape is None) != ("shape" in settings):
        raise UserError(
            f"table [input]: {model} tells its shape, {shape}; remove the line"
            if shape
            else f"table [input]: {model} does not tell the shape of its input; add shape = [28, 28, 1] (height, "
            "width, channels), or [features]"
        )
    try:
        return Input("input", (), **cast("Any", {"shape": shape, **settings}))  # it checks them
    except NetworkError as error:
        raise UserError(f"table [input]: {error}") from None


def _keras(subject: Subject, settings: "InputTable | None", fixed: "Fixed | None") -> Converted:
    from xnorflow.bnn.frontends import keras

    model, taken = _keras_model(subject, settings)
    conversion = keras.trace(model, subject.name, taken, fixed)
    given = (model, conversion)
    return Converted(
        conversion.network, conversion.notes, conversion.ambiguous, given, rounded=conversion.rounded
    )  # fmt: skip


def _check_keras(subject: Subject, settings: "InputTable | None", fixed: "Fixed | None") -> "Survey":
    from xnorflow.bnn.frontends import keras, keras_file

    if foreign := keras_file.foreign(subject.path):
        return foreign
    model, taken = _keras_model(subject, settings)
    return keras.check(model, subject.name, taken, fixed)


def _keras_model(subject: Subject, settings: "InputTable | None") -> tuple[Any, "Input"]:
    from xnorflow.bnn.frontends import keras_file

    path = subject.path
    model = keras_file.load(path)
    if len(model.inputs or ()) != 1:  # None of a Sequential without layers
        raise UserError(f"{path}: expected a model with one input, got {len(model.inputs or ())}")
    shape = keras_file.image_of(model) or tuple(model.inputs[0].shape[1:])
    if not shape or None in shape:
        raise UserError(f"{path}: expected an input of fixed shape, got {shape}")
    if len(shape) == 2:
        shape = (1, *shape)  # a sequence is an image of height 1
    return model, described_input(subject.origin, shape, settings)


def _module(subject: Subject, settings: "InputTable | None", fixed: "Fixed | None") -> Converted:
    from xnorflow.bnn.frontends import torch, torch_file

    assert subject.factory
    taken = described_input(subject.origin, None, settings)
    module, unwrapped = torch_file.load(subject.factory, subject.weights)
    conversion = torch.trace(module, subject.name, taken, fixed)
    return of_module(conversion, unwrapped)


def of_module(conversion: "TorchConversion", notes: tuple[str, ...] = ()) -> Converted:
    """Return what a PyTorch module is as a Network."""
    return Converted(
        conversion.network,
        (*notes, *conversion.notes),
        conversion.ambiguous,
        conversion,
        conversion.digest,
        conversion.rounded,
    )


def _check_module(subject: Subject, settings: "InputTable | None", fixed: "Fixed | None") -> "Survey":
    from xnorflow.bnn.frontends import torch, torch_file

    assert subject.factory
    taken = described_input(subject.origin, None, settings)
    module, _ = torch_file.load(subject.factory, subject.weights)
    return torch.check(module, subject.name, taken, fixed)


def _brevitas(subject: Subject, settings: "InputTable | None", fixed: "Fixed | None") -> Converted:
    from xnorflow.bnn.frontends import brevitas, qonnx, torch_file

    assert subject.factory
    taken = described_input(subject.origin, None, settings)
    module, unwrapped = torch_file.load(subject.factory, subject.weights)
    model = brevitas.export(module, taken, subject.origin)
    conversion = qonnx.trace(model, subject.name, lambda shape: taken, fixed)
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    notes = (*unwrapped, *conversion.notes)
    return Converted(conversion.network, notes, conversion.ambiguous, (model, conversion), digest, conversion.rounded)


def _check_brevitas(subject: Subject, settings: "InputTable | None", fixed: "Fixed | None") -> "Survey":
    from xnorflow.bnn.frontends import brevitas, qonnx, torch_file

    assert subject.factory
    taken = described_input(subject.origin, None, settings)
    module, _ = torch_file.load(subject.factory, subject.weights)
    return qonnx.check(brevitas.export(module, taken, subject.origin), subject.name, lambda shape: taken, fixed)


def _onnx(subject: Subject, settings: "InputTable | None", fixed: "Fixed | None") -> Converted:
    from xnorflow.bnn.frontends import qonnx, qonnx_file

    path = subject.path
    asked: list[Input] = []

    def describe(shape: tuple[int, ...]) -> "Input":
        asked.append(described_input(subject.origin, shape, settings))
        return asked[0]

    model = qonnx_file.load(path)
    conversion = qonnx.trace(model, subject.name, describe, fixed)
    if settings is not None and not asked:
        raise UserError(f"table [input]: {path} tells itself which integers it takes; remove the table")
    given = (model, conversion)
    return Converted(
        conversion.network, conversion.notes, conversion.ambiguous, given, rounded=conversion.rounded
    )  # fmt: skip


def _check_onnx(subject: Subject, settings: "InputTable | None", fixed: "Fixed | None") -> "Survey":
    from xnorflow.bnn.frontends import qonnx, qonnx_file

    if foreign := qonnx_file.foreign(subject.path):
        return foreign
    model = qonnx_file.load(subject.path, any_operator=True)
    return qonnx.check(model, subject.name, lambda shape: described_input(subject.origin, shape, settings), fixed)


def _bnn_pynq(subject: Subject, settings: "InputTable | None", fixed: "Fixed | None") -> Converted:
    from xnorflow.bnn.frontends import bnn_pynq

    taken = described_input(subject.origin, None, settings)
    return Converted(bnn_pynq.load(subject.path, subject.name, taken), digest=bnn_pynq.digest(subject.path))


FORMATS = {
    "keras": Format(
        "a Keras model (QKeras and Larq, too)",
        suffixes=(".h5", ".hdf5", ".keras"),
        magic=b"\x89HDF\r\n\x1a\n",
        read=_keras,
        packages=("tensorflow", "tf_keras", "QKeras", "larq", "h5py"),
        check=_check_keras,
    ),
    "onnx": Format(
        "a QONNX model (Brevitas exports them)",
        suffixes=(".onnx",),
        magic=None,
        read=_onnx,
        packages=("qonnx", "onnx", "onnxruntime"),
        check=_check_onnx,
    ),
    "module": Format(
        "a PyTorch module", suffixes=(), magic=None, read=_module, packages=("torch",), check=_check_module
    ),
    "brevitas": Format(
        "a module of Brevitas, by its export to QONNX",
        suffixes=(),
        magic=None,
        read=_brevitas,
        packages=("torch", "brevitas", "qonnx", "onnx", "onnxruntime"),
        check=_check_brevitas,
    ),
    "bnn_pynq": Format(
        "weights and thresholds of BNN-PYNQ",
        suffixes=(),
        magic=None,
        read=_bnn_pynq,
        packages=(),
        named="the folder that has 0-0-weights.bin",
    ),
}


def input_settings(subject: Subject, settings: "InputTable | None") -> "InputTable | None":
    """Return the settings of table ``input`` for a file: those of the zoo, if it is a model of the zoo."""
    if subject.zoo is None:
        return settings
    from xnorflow.models import zoo

    taken = zoo.get(subject.zoo).input
    return {"kind": taken.kind, "bits": taken.bits, "fraction": taken.fraction}


READ = ("subject", "input", "fixed")
"""What of the user's choices decides how a subject is read."""


def converted(view: View) -> Converted:
    """Return the subject of a flow as a Network, as it is, with what its conversion says; read once.

    The step has to declare :data:`READ`.
    """
    subject, settings, fixed = (getattr(view.options, name) for name in READ)
    return view.once(CONVERTED, lambda: read_subject(subject, settings, fixed))


def model_digest(subject: Subject, converted: Converted | None) -> str:
    """Return SHA-256 of the subject's file or files, or, where code makes it, of all that it computes by."""
    if subject.kind == "bnn_pynq" and not converted:
        from xnorflow.bnn.frontends import bnn_pynq

        return bnn_pynq.digest(subject.path)
    return (converted and converted.digest) or file_digest(subject.path)


def read_subject(
    subject: Subject, settings: "InputTable | None" = None, fixed: "Fixed | None" = None
) -> Converted:  # fmt: skip
    """Read the subject, of whatever kind.

    Parameters
    ----------
    subject : Subject
    settings : mapping or None
        Those of table ``input``, for a file that does not tell.
    fixed : Fixed or None
        To how many bits weights are rounded that are no few integers; they are refused without it.
    """
    if settings is not None and (subject.zoo or subject.kind not in FORMATS):
        raise UserError(f"table [input]: {subject.path} tells itself which integers it takes; remove the table")
    if subject.zoo is None:
        from xnorflow.bnn import io

        known = FORMATS.get(subject.kind)
        if not known and fixed and fixed.layers:
            raise UserError(
                f"fixed: layers: no layer {min(fixed.layers)!r} whose weights are rounded; {subject.path} is a "
                "Network, of integers alone; remove the table"
            )
        return known.read(subject, settings, fixed) if known else Converted(io.load(subject.path))
    from xnorflow.bnn.frontends.torch import trace
    from xnorflow.models import checkpoint, zoo

    taken = zoo.get(subject.zoo).input
    if subject.kind in FORMATS:
        converted = FORMATS[subject.kind].read(subject, input_settings(subject, settings), fixed)
        if (got := converted.network.input.shape) != taken.shape:
            raise UserError(f"{subject.path}: expected an input of {subject.zoo}'s shape {taken.shape}, got {got}")
        return converted
    conversion = trace(checkpoint.load(subject.path).module, subject.name, taken, fixed)
    return Converted(
        conversion.network, conversion.notes, conversion.ambiguous, conversion, rounded=conversion.rounded
    )  # fmt: skip
