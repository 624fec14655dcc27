"""The Python interface: a trained model as a :class:`Net`, its summary and estimate, the flow and its report.

Everything here is importable from ``xnorflow`` itself. What the user gave and cannot be used raises
:class:`xnorflow.bnn.errors.UserError`; an engine that differs or breaks does not raise: it is in the report, whose
verdict is then "fail".
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.console import Console

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.core.fixed import Fixed
from xnorflow.bnn.inputs import integers
from xnorflow.flows import tables
from xnorflow.flows.extras import needing
from xnorflow.flows.formats import Converted, Subject, of_module, read_subject
from xnorflow.flows.options import Options
from xnorflow.flows.subject import find, slug

if TYPE_CHECKING:
    import pandas
    from distributed import Client
    from torch import nn

    from xnorflow.bnn import network as ir
    from xnorflow.flows.settings import InputTable, Point
    from xnorflow.flows.take import Executor
    from xnorflow.reports.records import Latency, ReportRow


def Input(
    shape: tuple[int, ...],
    kind: Literal["bipolar", "unsigned", "signed"] = "bipolar",
    bits: int | None = None,
    fraction: int = 0,
) -> "ir.Input":
    """Describe the integers that a model takes.

    Parameters
    ----------
    shape : tuple of int
        Of one vector: (features,) or (height, width, channels).
    kind : {"bipolar", "unsigned", "signed"}
        Bipolar values are -1 and +1.
    bits : int, optional
        Width of an integer, 1 to 16; 8 without it, 1 for bipolar values.
    fraction : int
        The model takes integer / 2**fraction.

    Raises
    ------
    NetworkError
        If these do not go together.
    """
    from xnorflow.bnn import network as ir

    return ir.Input("input", (), tuple(shape), kind, bits or (1 if kind == "bipolar" else 8), fraction)


Row = dict[str, Any]
"""A row of a table, numbers and text by column."""


@dataclass(frozen=True, eq=False)
class _Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    caption: str

    def __str__(self) -> str:
        return f"{tables.text(self.columns, self.rows)}\n{self.caption}"

    def _repr_html_(self) -> str:
        return tables.html(self.columns, self.rows) + f"<p>{self.caption}</p>"

    def __repr__(self) -> str:
        return str(self)

    def to_dicts(self) -> list[Row]:
        """Return a dict for each row, by column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Summary(_Table):
    """A table of a network's layers: kind, shapes, weight bits, XNOR operations, accumulator bits; printable.

    Attributes
    ----------
    columns, rows, caption
        What is shown; the caption has the memory, and its ratio to 32-bit floating point.
    """


@dataclass(frozen=True, eq=False, repr=False)
class Estimate(_Table):
    """What the RTL of a network would be, without synthesis.

    Attributes
    ----------
    latency, interval : int
        Clock cycles of one vector, and between two vectors; exact, from the cycle model.
    clock_ns : float
    fps : float
        Vectors per second at that clock.
    luts : int
        6-input LUTs, estimated; see :mod:`xnorflow.hls.rtl.folding`.
    """

    latency: int
    interval: int
    clock_ns: float
    fps: float
    luts: int


@dataclass(frozen=True, eq=False)
class Net:
    """A trained model as a network of integers.

    Attributes
    ----------
    network : xnorflow.bnn.network.Network
        Canonical: what every engine computes.
    notes : tuple of str
        What the conversion has left out, a sentence each.
    """

    network: "ir.Network"
    notes: tuple[str, ...]
    _subject: Subject
    _converted: "Converted | None"
    _settings: "InputTable | None"
    _fixed: Fixed | None

    def summary(self) -> Summary:
        """Return a table of the layers, and the memory of the parameters."""
        from xnorflow.reports import measures

        rows = tuple(
            (
                layer["name"],
                layer["kind"],
                " × ".join(map(str, layer["inputs"])),
                " × ".join(map(str, layer["outputs"])),
                layer["weight_bits"] or None,
                layer["xnor_ops"] or None,
                layer["accumulator_bits"],
            )
            for layer in measures.layers(self.network)
        )
        memory = measures.memory(self.network)
        caption = (
            f"{self.network.name}: {memory['binary_bits'] / 8e3:,.1f} kB of parameters, {memory['ratio']:.1f} times "
            f"less than in 32-bit floating point ({memory['formula']})"
        )
        caption += "".join(f"\nnote: {note}" for note in self.notes)
        return Summary(
            ("layer", "kind", "input", "output", "weight bits", "XNOR ops", "accumulator bits"), rows, caption
        )

    def estimate(
        self,
        *,
        target_fps: float | None = None,
        max_luts: int | None = None,
        clock_ns: float | None = None,
        config: str | Path | None = None,
    ) -> Estimate:
        """Choose the RTL's foldings, and return exact cycles and estimated area, without synthesis.

        Parameters
        ----------
        target_fps : float, optional
            Vectors per second to reach, at the least area.
        max_luts : int, optional
            Estimated LUTs to stay within, at the highest rate. Without either, what a flow takes by default.
        clock_ns : float, optional
            Period of the clock.
        config : str or Path, optional
            TOML file with settings of the hardware.

        Raises
        ------
        UserError
            If the goal cannot be met; the message says what can.
        xnorflow.hls.errors.Unsupported
            If there is no RTL for a layer.
        """
        from xnorflow.flows.folding import fold_rtl

        options = _options(target_fps, max_luts, clock_ns, Path(config) if config else None)
        choice = fold_rtl(self.network, options)
        clock = choice.config.clock_ns
        rows = tuple(
            (
                of.name,
                str(of.architecture),
                f"{of.neurons} x {of.inputs}",
                of.vectors,
                of.cycles,
                of.luts,
                of.memory_bits,
            )
            for of in choice.layers
        )
        latency, interval, fps = choice.timing.latency, choice.timing.interval, 1e9 / (clock * choice.timing.interval)
        caption = (
            f"latency {latency:,} cycles, interval {interval:,} cycles, {fps:,.0f} vectors/s at {1e3 / clock:g} MHz; "
            f"{choice.luts:,} LUTs. Cycles are exact, LUTs estimated, the clock assumed."
        )
        columns = ("layer", "architecture", "size", "vectors", "cycles", "est. LUTs", "memory bits")
        return Estimate(columns, rows, caption, latency, interval, clock, fps, choice.luts)


class Report:
    """What a flow found.

    Attributes
    ----------
    folder : Path
        Has ``report.html``, ``report.md`` and ``report.json``.
    content : ReportRow
        ``report.json``, as ``reports/report.schema.json`` describes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def content(self) -> "ReportRow":
        content: ReportRow = json.loads((self.folder / "report.json").read_text())
        return content

    @property
    def verdict(self) -> str:
        """Whether every engine that ran gave the golden model's integers: "pass" or "fail"."""
        return self.content["verdict"]

    @property
    def accuracy(self) -> float | None:
        """Share of the labelled vectors that the golden model classifies as labelled; None without any."""
        return self.content["accuracy"]["golden"]

    @property
    def latency(self) -> "list[Latency]":
        """Clock cycles that each simulation of the RTL has counted, a row each."""
        return self.content["latency"]

    @property
    def resources(self) -> list[dict[str, object]]:
        """What each synthesis has found: target, status, tool, and ``lut``, ``ff`` and so on of the whole design."""
        return [
            {"target": row["title"], "status": row["status"], "tool": row["tool"], **(row["total"] or {})}
            for row in self.content["synthesis"]
        ]

    @property
    def engines(self) -> list[dict[str, object]]:
        """What became of each engine: name, status, vectors, mismatches, seconds and the reason if there is one."""
        return [
            {
                "engine": name,
                "status": of["status"],
                "vectors": of["vectors"],
                "mismatches": of["mismatches"],
                "seconds": of["seconds"],
                "reason": of["reason"],
            }
            for name, of in self.content["engines"].items()
        ]

    def to_frame(self) -> "pandas.DataFrame":
        """Return :attr:`engines` as a ``pandas.DataFrame``, a row each."""
        import pandas

        return pandas.DataFrame(self.engines).set_index("engine")

    def __repr__(self) -> str:
        columns = ("engine", "status", "vectors", "mismatches", "seconds", "reason")
        rows = [tuple(of.values()) for of in self.engines]
        return f"{tables.text(columns, rows)}\nverdict: {self.verdict}; {self.folder / 'report.html'}"


def looked_at(model: str, checkpoint: Path | None, input: "InputTable | None", fixed: Fixed | None) -> Net:
    """Convert a model by name, as :func:`convert` does, to look at it: a file's network is kept from call to call."""
    from xnorflow.flows.conversions import converted_once

    subject, made = find(model, checkpoint), []

    def anew() -> "tuple[ir.Network, tuple[str, ...]]":
        made.append(convert(model, input, checkpoint=checkpoint, fixed=fixed))
        return made[0].network, made[0].notes

    network, notes = converted_once(subject, input, fixed, anew)
    return made[0] if made else Net(network, notes, subject, None, input, fixed)


def convert(
    model: "str | Path | nn.Module | ir.Network",
    input: "ir.Input | InputTable | None" = None,
    *,
    checkpoint: str | Path | None = None,
    name: str | None = None,
    fixed: int | Fixed | None = None,
) -> Net:
    """Convert a trained model.

    Parameters
    ----------
    model : str, Path, nn.Module or Network
        A model of the zoo, a file (``.h5``, ``.keras``, ``.onnx``, ``.safetensors``), ``"package.module:factory"``,
        or a PyTorch module.
    input : Input, optional
        Which integers the model takes, where it does not tell: :func:`Input`. Its shape is asked for a PyTorch module
        and a factory; a file that tells its own must agree. Or the settings of table ``input`` of a configuration file.
    checkpoint : str or Path, optional
        Parameters of the module that a factory makes.
    name : str, optional
        Names the network, and the folders of a flow; for a module and a Network.
    fixed : int or Fixed, optional
        To how many bits weights are rounded that are neither binary nor of few integers; the network then deviates from
        the trained model. Without it such a model is refused.

    Raises
    ------
    UserError
        If there is no such model, or it cannot be converted exactly; names the layer, and says what is supported.
    """
    from xnorflow.bnn.canonical import canonicalise
    from xnorflow.bnn.network import Network
    from xnorflow.flows.formats import FORMATS

    settings: InputTable | None = None
    fixed = Fixed(fixed) if isinstance(fixed, int) else fixed
    if isinstance(model, Network):
        subject = Subject(slug(name or model.name), "network", Path("a Network"), None, {})
        converted = Converted(model, digest=model.digest)
    elif isinstance(model, str | Path):
        subject = find(str(model), Path(checkpoint) if checkpoint else None)
        if isinstance(input, Mapping):
            settings = input
        elif input is not None:
            settings = _settings(input)
            known = FORMATS.get(subject.kind)
            if known and known.suffixes:
                del settings["shape"]  # the file tells it
        with needing(subject.origin, UserError):
            converted = read_subject(subject, settings, fixed)
        taken = converted.network.input.shape
        if input is not None and not isinstance(input, Mapping) and taken not in (input.shape, (1, *input.shape)):
            raise UserError(f"{subject.origin}: takes an input of shape {taken}, not {input.shape}")
    else:
        if input is None:
            raise UserError("convert: a module does not tell its input; give one, such as xf.Input(shape=(784,))")
        described = Input(**cast("Any", input)) if isinstance(input, Mapping) else input
        subject, converted = _module(model, described, name, fixed)
        settings = _settings(described)
    return Net(canonicalise(converted.network), converted.notes, subject, converted, settings, fixed)


def _settings(input: "ir.Input") -> "InputTable":
    return {"shape": list(input.shape), "kind": input.kind, "bits": input.bits, "fraction": input.fraction}


def _module(model: Any, input: "ir.Input", name: str | None, fixed: Fixed | None) -> tuple[Subject, Converted]:
    from torch import nn

    from xnorflow.bnn.frontends.torch import trace

    if not isinstance(model, nn.Module):
        raise UserError(
            f"convert: expected a PyTorch module, a Network, a name or a file, got {type(model).__name__}; save a "
            "Keras model with model.save, an ONNX model with onnx.save, and give the file"
        )
    kind = type(model)
    origin = f"{kind.__module__}:{kind.__qualname__}"
    called = slug(name or kind.__name__)
    subject = Subject(called, "module", Path(origin), None, {}, origin)
    return subject, of_module(trace(model, called, input, fixed))


def run(
    net: "Net | str | Path",
    *,
    vectors: int | None = 1000,
    images: tuple[ArrayLike, ArrayLike] | str | Path | None = None,
    config: str | Path | None = None,
    target_fps: float | None = None,
    max_luts: int | None = None,
    clock_ns: float | None = None,
    out: str | Path | None = None,
    force: bool = False,
    quiet: bool = False,
    client: "Client | None" = None,
) -> Report:
    """Run the flow: every engine on the same vectors, the exact comparison, synthesis, the report.

    Takes seconds to minutes; results that are there already are reused. Writes to ``build/`` and ``reports/`` in the
    working directory.

    Parameters
    ----------
    net : Net, or what :func:`convert` takes by name
    vectors : int or None
        Number of vectors; None for all of the images. Random ones where there are fewer images, and
        directed ones in place of the last; those that show most run first.
    images : (x, y), str or Path, optional
        Labelled data: arrays as :func:`xnorflow.models.labelled.labelled` takes them, an ``.npz`` file with ``x`` and
        ``y``, a folder of images by class, or a folder with the zoo's data set.
    config : str or Path, optional
        TOML file with settings of the hardware.
    target_fps, max_luts, clock_ns
        As :meth:`Net.estimate` takes them.
    out : str or Path, optional
        Folder for the report and copies of the projects.
    force : bool
        Redo everything.
    quiet : bool
        Print nothing.
    client : distributed.Client, optional
        Of a Dask cluster, on whose workers the steps are run.

    Raises
    ------
    UserError
        If something that was given cannot be used. What fails in the flow does not raise: see :attr:`Report.verdict`.
    EngineError
        If the golden model itself broke.
    """
    from xnorflow.flows.run import run as run_flow
    from xnorflow.flows.vectors import classes
    from xnorflow.models.labelled import labelled

    net = net if isinstance(net, Net) else convert(net)
    options = _options(target_fps, max_luts, clock_ns, Path(config) if config else None)
    if net._settings is not None:
        options = replace(options, input=net._settings)
    if net._fixed is not None:
        options = replace(options, fixed=net._fixed)
    data: Any = Path(images) if isinstance(images, str | Path) else None
    if isinstance(images, tuple | list):
        if len(images) != 2:
            raise UserError(f"images: expected a pair of arrays (x, y), got {len(images)}")
        data = labelled(*images, net.network.input, classes(net.network))
    outcome = run_flow(
        net._subject,
        Console(highlight=False, soft_wrap=True, quiet=quiet),
        vectors=vectors,
        data=data,
        options=options,
        out=Path(out) if out else None,
        force=force,
        given=net._converted if net._subject.zoo is None else None,
        executor=executor(client),
    )
    return Report(outcome.report)


def executor(client: "Client | None") -> "Executor | None":
    """Return what runs steps on a client's cluster; None, for this process, without one."""
    if client is None:
        return None
    from xnorflow.flows.cluster import Cluster

    return Cluster(client)


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(_Table):
    """What a sweep has found: a row for each point.

    Attributes
    ----------
    folder : Path
        Has ``sweep.csv`` and ``sweep.html``.
    """

    folder: Path

    def to_frame(self) -> "pandas.DataFrame":
        """Return the rows as a ``pandas.DataFrame``."""
        import pandas

        return pandas.DataFrame(list(self.rows), columns=list(self.columns))


def sweep(
    models: "Net | str | Path | Sequence[Net | str | Path]",
    *,
    target_fps: Iterable[float] = (),
    max_luts: Iterable[int] = (),
    architecture: Iterable[str] = (),
    clock_ns: Iterable[float] = (),
    points: "Iterable[Point]" = (),
    config: str | Path | None = None,
    run: Literal["pareto", "all", "none"] = "pareto",
    vectors: int | None = 1000,
    name: str | None = None,
    quiet: bool = False,
    client: "Client | None" = None,
) -> Sweep:
    """Estimate many foldings, and run the flow on those that no other beats.

    Parameters
    ----------
    models : Net, or what :func:`convert` takes by name, or several
    target_fps, max_luts, architecture, clock_ns : iterables
        A grid: every goal, and every architecture ("folded", "unrolled"), at every clock.
    points : iterable of mapping
        Further points, each with one of ``target_fps``, ``max_luts`` and ``architecture``, and perhaps ``clock_ns``.
    config : str or Path, optional
        TOML file with settings of the hardware.
    run : {"pareto", "all", "none"}
        Points that go through the whole flow.
    vectors : int or None
        As :func:`run` takes them.
    name : str, optional
        Of the folder in ``reports/``; by default ``sweep_<model>``.
    quiet : bool
        Print nothing.
    client : distributed.Client, optional
        Of a Dask cluster, on which the flows are run side by side. Without one that is done by processes on this
        machine, if the extra ``cluster`` is installed; a script has to be guarded for that by
        ``if __name__ == "__main__":``.

    Returns
    -------
    Sweep
        Its columns are the attributes of :class:`xnorflow.reports.points.SweptPoint`.

    Raises
    ------
    UserError
        If something that was given cannot be used; a goal out of reach is a row, not an error.
    """
    from xnorflow.flows import sweep as sweeps
    from xnorflow.flows.places import REPORTS
    from xnorflow.flows.settings import parse_sweep

    listed = [models] if isinstance(models, Net | str | Path) else list(models)
    nets = [model if isinstance(model, Net) else convert(model) for model in listed]
    asked = {"target_fps": target_fps, "max_luts": max_luts, "architecture": architecture, "clock_ns": clock_ns}
    given = parse_sweep({"sweep": {**{what: list(of) for what, of in asked.items()}, "points": list(points)}})
    further = [sweeps.Goal(**point) for point in given["points"]]
    axes = (given["target_fps"], given["max_luts"], given["architecture"], given["clock_ns"])
    gridded = sweeps.grid(*axes) if any(axes) or not further else []
    options = _options(None, None, None, Path(config) if config else None)
    candidates = [
        sweeps.Candidate(
            net._subject,
            net.network,
            net._converted if net._subject.zoo is None else None,
            replace(options, input=net._settings) if net._settings is not None else options,
        )
        for net in nets
    ]
    called = slug(name or "_".join(["sweep", *(net.network.name for net in nets)]))
    console = Console(highlight=False, soft_wrap=True, quiet=quiet)
    found = sweeps.sweep(
        candidates, [*gridded, *further], console, name=called, which=run, vectors=vectors, executor=executor(client)
    )
    caption = f"{len(found)} points; {REPORTS / called / 'sweep.html'}"
    return Sweep(sweeps.COLUMNS, tuple(astuple(point) for point in found), caption, REPORTS / called)


def _options(
    target_fps: float | None, max_luts: int | None, clock_ns: float | None, config: Path | None = None
) -> Options:
    from xnorflow.flows.options import read

    options = read(config, target_fps=target_fps, max_luts=max_luts)
    if clock_ns is not None:
        options = replace(options, rtl=replace(options.rtl, clock_ns=clock_ns))
    return options


def golden(net: Net) -> Callable[[ArrayLike], NDArray[np.int64]]:
    """Return bit-packed inference as a function: exact, on all cores.

    Returns
    -------
    callable
        From an array of shape (vectors, *input shape), as :func:`xnorflow.bnn.inputs.integers` takes it, to the output:
        the classes, int64, shape (vectors,), of a network that ends in an argmax; else the integer scores, shape
        (vectors, *output shape). Raises :class:`UserError` on values that the input cannot take.
    """
    from xnorflow.bnn.network import Argmax
    from xnorflow.cosim.golden import Golden

    engine = Golden()
    engine.prepare(net.network)
    output = net.network.output

    def infer(x: ArrayLike) -> NDArray[np.int64]:
        given = np.asarray(x)
        if given.dtype.kind not in "iu":  # integers are checked while they are packed, at less cost
            given = integers(given, net.network.input)
        result = engine.run(given)[output.name].astype(np.int64)
        return result.reshape(len(result)) if isinstance(output, Argmax) else result

    return infer


def hls4ml(
    net: Net, folder: str | Path = "hls4ml_project", *, style: Literal["packed", "stock"] = "packed", **settings: Any
) -> Any:
    """Return the network as hls4ml's own ``ModelGraph``, with types under which nothing is rounded or wrapped.

    Parameters
    ----------
    folder : str or Path
        Where ``.compile()``, ``.write()`` and ``.build()`` of the graph write the project.
    style : {"packed", "stock"}
        Bit-packed layers of our own, or hls4ml's.
    **settings
        Further settings of :class:`xnorflow.hls.config.HlsConfig`.

    Raises
    ------
    xnorflow.hls.errors.Unsupported
        If there are no such layers for an operation of the network.
    """
    from xnorflow.cosim.hls4ml_graph import graph

    return graph(net.network, Path(folder), style, **settings)
