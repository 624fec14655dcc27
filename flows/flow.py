"""What a flow is while it runs: what was asked for, the steps, and what they have made so far."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from xnorflow.flows.cache import Entry, Store, code_digest, digest, tool_versions
from xnorflow.flows.formats import Converted, Subject, read_subject
from xnorflow.flows.options import Options
from xnorflow.hls.folders import file_digest

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network
    from xnorflow.cosim.engine import Engine
    from xnorflow.hls.rtl.project import RtlProject
    from xnorflow.models.labelled import Labelled

IntArray = NDArray[np.integer]

RESULTS, LAYERS = "results.npz", "layers.npz"
"""Files of a run: what every vector gave, and every layer of a few."""

LAYERWISE = 8
"""Vectors whose every layer is compared."""

WAVEFORM = "activity.fst"
"""File of a run that keeps a waveform, that of the vectors whose every layer is compared."""

RTL_SOURCES = ("bnn", "hls/*.py", "hls/rtl")
"""Code that writes the RTL."""

BENCH_VECTORS = 100
"""Vectors that a project's own test bench gets."""

_FLOW = ("flows/engines.py", "flows/flow.py", "flows/formats.py", "flows/stages.py")  # has a part in every step


class Advance(Protocol):
    """Told how much of a step is done, in vectors."""

    def __call__(self, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class EngineKind:
    """What a flow must know of an engine before it makes one.

    An engine that builds has, beside `prepare`, a method `attach(network, folder)` that takes up what `prepare` has
    left in the folder, perhaps in another process.

    Attributes
    ----------
    name : str
        Key of the engine in the report, and its folder.
    title : str
        What it is, for people.
    builds : bool
        Whether `prepare` makes a project worth keeping (stage ``project``), or nothing (then there is only the run).
    stage : str
        Stage that runs it.
    make : callable
        From the flow, whose steps `needs` are done, to the engine.
    sources : tuple of str
        Files and folders of the code that makes its results.
    packages, commands : tuple of str
        Python packages and programs whose versions matter.
    trained : bool
        Whether it is the trained model itself, in its framework: what the scores' argmax is measured against.
    settings : callable
        What of the options matters to its results, JSON.
    takes_vectors : bool
        Whether `prepare` takes two further arguments: inputs and expected scores, for the project's own test bench.
    needs : tuple of str
        Steps whose results it is made from, beside the Network.
    counts_cycles : bool
        Whether a run tells clock cycles (:class:`xnorflow.cosim.rtl.Timing`). Its vectors then go in one run, back to
        back, and no more than the engine's ``max_vectors``.
    keeps_waveform : bool
        Whether a run with every layer leaves the waveform of the whole RTL (attribute ``waveform``), for the estimate
        of energy.
    vendor_made : callable or None
        For an engine whose steps follow the vendor's tools: what of their results it is made from, JSON.
    hls_style : str or None
        Style of the hls4ml project that it builds, if it does.
    sees_layers : bool
        Whether a run with every layer tells more than one without; else none is made for the comparison of layers.
    subjects : tuple of str or None
        Kinds of subject (:class:`xnorflow.flows.subject.Subject`) whose flows have it, None for all: a framework's
        engine has nothing to say of a model of another framework.
    """

    name: str
    title: str
    builds: bool
    stage: str
    make: Callable[["Flow"], "Engine"]
    sources: tuple[str, ...]
    packages: tuple[str, ...]
    commands: tuple[str, ...] = ()
    trained: bool = False
    settings: Callable[[Options], Any] = lambda options: None
    takes_vectors: bool = False
    needs: tuple[str, ...] = ()
    counts_cycles: bool = False
    keeps_waveform: bool = False
    vendor_made: Callable[["Flow"], Any] | None = None
    hls_style: Literal["stock", "packed"] | None = None
    sees_layers: bool = True
    subjects: tuple[str, ...] | None = None

    def takes(self, subject: str | None) -> bool:
        """Say whether flows that start from this kind of subject, None for any, have the engine at all."""
        return subject is None or self.subjects is None or subject in self.subjects

    @property
    def waveform(self) -> str:
        """Name of the file that keeps the waveform of vectors that went wrong, or of a run if one was asked for."""
        return f"waveform_{self.name}.fst"

    @property
    def build_step(self) -> str:
        """Name of the step that builds the project."""
        return f"project {self.name}"

    @property
    def run_step(self) -> str:
        """Name of the step that runs the engine."""
        return self.stage if self.stage == self.name else f"{self.stage} {self.name}"


@dataclass(frozen=True)
class Step:
    """One stage, or one engine's share of it.

    Attributes
    ----------
    name : str
        As the user sees it.
    folder : str
        Its folder in the cache.
    basis : callable
        Returns what the result is made from, JSON.
    make : callable
        Fills an entry: its folder, ``facts`` and ``summary``.
    sources : tuple of str
        Code that makes the result, as :func:`xnorflow.flows.cache.code_digest` takes it.
    packages, commands : tuple of str
        Python packages and programs whose versions matter.
    engine : EngineKind or None
        Whose step it is: if it fails, the flow goes on without that engine's later steps.
    needs : tuple of str
        Steps without whose results it is left out.
    """

    name: str
    folder: str
    basis: Callable[["Flow"], dict[str, Any]]
    make: Callable[["Flow", Entry, Advance], None]
    sources: tuple[str, ...]
    packages: tuple[str, ...]
    commands: tuple[str, ...] = ()
    engine: EngineKind | None = None
    needs: tuple[str, ...] = ()

    def key(self, flow: "Flow") -> str:
        """Return what names the result in the cache: the digest of everything that determines it."""
        return digest(
            {
                "basis": self.basis(flow),
                "code": code_digest((*_FLOW, *self.sources)),
                "tools": tool_versions(self.packages, self.commands),
            }
        )


@dataclass
class Flow:
    """One flow: what was asked for, and what its steps have made so far.

    Attributes
    ----------
    subject : Subject
    vectors : int or None
        Number of vectors; None for all test images.
    data : Path, Labelled or None
        Folder that has the zoo's data set, or labelled data of the user's own.
    options : Options
        What the user decides about the hardware.
    store : Store
    force : bool
        Whether nothing is to be reused.
    given : Converted or None
        The subject, where it was converted before, in this process.
    entries : dict of Entry, by step
    problems : dict of engine name to (status, reason)
        Engines that were skipped or failed before there was anything to compare.
    """

    subject: Subject
    vectors: int | None
    data: "Path | Labelled | None"
    options: Options
    store: Store
    force: bool = False
    given: Converted | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    problems: dict[str, tuple[str, str]] = field(default_factory=dict)
    _engines: dict[str, "Engine"] = field(default_factory=dict)

    @cached_property
    def network(self) -> "Network":
        """The canonical Network, which has every layer that the options name."""
        from xnorflow.bnn import io

        network = io.load(self.entries["fold"].folder / "network.safetensors")
        self.options.check(network)
        return network

    @cached_property
    def converted(self) -> Converted:
        """The subject as a Network, as it is, with what its conversion says; read when it is first asked for."""
        if self.given:
            return self.given
        return read_subject(self.subject, self.options.input)

    @cached_property
    def model_digest(self) -> str:
        """SHA-256 of the subject's file, or, where code makes it, of all that it computes by."""
        return self.converted.digest or file_digest(self.subject.path)

    @cached_property
    def inputs(self) -> IntArray:
        """The vectors, integer, shape (vectors, *input shape)."""
        with np.load(self.entries["load"].folder / "vectors.npz") as file:
            return file["inputs"]

    @cached_property
    def labels(self) -> IntArray:
        """Classes of the first vectors, those that are labelled images, int64."""
        with np.load(self.entries["load"].folder / "vectors.npz") as file:
            return file["labels"]

    @cached_property
    def golden(self) -> Mapping[str, IntArray]:
        """What the golden model computed: everything from the last accumulators on."""
        return read_results(self.entries["golden"])

    def rtl(self) -> "RtlProject":
        """Load the RTL that step ``rtl`` has written.

        Raises
        ------
        EngineUnavailable
            If there is no RTL for the network.
        """
        from xnorflow.cosim.engine import EngineUnavailable
        from xnorflow.hls.rtl.project import load

        entry = self.entries["rtl"]
        if entry.facts["unsupported"]:
            raise EngineUnavailable(entry.facts["unsupported"])
        return load(self.network, entry.folder / "project")

    @property
    def parts(self) -> Path:
        """The folder in which synthesised parts are kept, each by its own content."""
        return self.store.root / "parts"

    def engine(self, kind: EngineKind) -> "Engine":
        """Return the engine, ready to run; where it builds, from what its build step has made."""
        if kind.name not in self._engines:
            engine: Any = kind.make(self)
            if not kind.builds:
                engine.prepare(self.network, self.store.root)
            else:
                engine.attach(self.network, self.project(kind))
            self._engines[kind.name] = engine
        return self._engines[kind.name]

    def build(self, kind: EngineKind) -> None:
        """Let an engine build its project, in the folder of its build step."""
        from xnorflow.cosim.engine import outputs

        engine: Any = kind.make(self)
        scores = self.golden[outputs(self.network)[0]]
        bench = (self.inputs[:BENCH_VECTORS], scores[:BENCH_VECTORS]) if kind.takes_vectors else ()
        engine.prepare(self.network, self.project(kind), *bench)
        self._engines[kind.name] = engine

    def project(self, kind: EngineKind) -> Path:
        """Return the folder of the project that an engine has built."""
        return self.entries[kind.build_step].folder / "project"

    def waveform(self, kind: EngineKind) -> Path | None:
        """Return the waveform of what went wrong in an engine, or that of its run if one was asked for."""
        failed = getattr(self._engines.get(kind.name), "waveform", None) if kind.name in self.problems else None
        entries = [self.entries[step] for step in ("compare", kind.run_step) if step in self.entries]
        kept = [entry.folder / kind.waveform for entry in entries]
        return next((path for path in (failed, *kept) if path and path.is_file()), None)

    def keys(self, *steps: str) -> dict[str, str]:
        """Return the keys of those of the steps that have a result."""
        return {step: self.entries[step].key for step in steps if step in self.entries}


def read_results(entry: Entry, file: str = RESULTS) -> dict[str, IntArray]:
    """Read the results that a run has kept, those in `file`."""
    with np.load(entry.folder / file) as kept:
        return dict(kept)
