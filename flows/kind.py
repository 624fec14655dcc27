"""What a flow must know of an engine before it makes one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xnorflow.flows.facts import COMPARE, BuildFacts, RunFacts
from xnorflow.flows.graph import Name, View
from xnorflow.flows.results import network

if TYPE_CHECKING:
    from xnorflow.cosim.engine import Engine


@dataclass(frozen=True)
class EngineKind:
    """What a flow must know of an engine before it makes one.

    Attributes
    ----------
    name : str
        Key of the engine in the report, and its folder.
    title : str
        What it is, for people.
    builds : bool
        Whether `prepare` makes a project worth keeping (step ``project``), or nothing (then there is only the run).
    stage : str
        Stage that runs it.
    make : callable
        From what its steps see and the folder of its project to the engine.
    packages, commands : tuple of str
        Python packages and programs whose versions matter.
    trained : bool
        Whether it is the trained model itself, in its framework: what the scores' argmax is measured against.
    options : tuple of str
        What it reads of what the user decides.
    takes, may_take : tuple of str
        Steps whose results it is made from, beside the Network; see :class:`xnorflow.flows.graph.Step`.
    outside : callable or None
        See :class:`xnorflow.flows.graph.Step`.
    takes_vectors : bool
        Whether `prepare` takes two further arguments: inputs and expected scores, for the project's own test bench.
    counts_cycles : bool
        Whether a run tells clock cycles (:class:`xnorflow.cosim.timing.Timing`). Its vectors then go in one run, back
        to back, and no more than the engine's ``max_vectors``.
    keeps_waveform : bool
        Whether a run with every layer leaves the waveform of the whole RTL (attribute ``waveform``), for the estimate
        of energy.
    vendor_made : bool
        Whether it runs what the vendor's tools have made, and not our RTL.
    hls_style : str or None
        Style of the hls4ml project that it builds, if it does.
    sees_layers : bool
        Whether a run with every layer tells more than one without; else none is made for the comparison of layers.
    waits : bool
        Whether its time goes by in programs that it has started.
    subjects : tuple of str or None
        Kinds of subject (:class:`xnorflow.flows.formats.Subject`) whose flows have it, None for all: a framework's
        engine has nothing to say of a model of another framework.
    """

    name: str
    title: str
    builds: bool
    stage: str
    make: Callable[[View, Path], "Engine"]
    packages: tuple[str, ...]
    commands: tuple[str, ...] = ()
    trained: bool = False
    options: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    may_take: tuple[str, ...] = ()
    outside: Callable[[View], Any] | None = None
    takes_vectors: bool = False
    counts_cycles: bool = False
    keeps_waveform: bool = False
    vendor_made: bool = False
    hls_style: Literal["stock", "packed"] | None = None
    sees_layers: bool = True
    waits: bool = False
    subjects: tuple[str, ...] | None = None

    def serves(self, subject: str) -> bool:
        """Say whether flows that start from this kind of subject have the engine at all."""
        return self.subjects is None or subject in self.subjects

    @property
    def waveform(self) -> str:
        """Name of the file that keeps the waveform of vectors that went wrong, or of a run if one was asked for."""
        return f"waveform_{self.name}.fst"

    @property
    def build_step(self) -> Name[BuildFacts]:
        """Name of the step that builds the project."""
        return Name(f"project {self.name}", BuildFacts)

    @property
    def run_step(self) -> Name[RunFacts]:
        """Name of the step that runs the engine."""
        return Name(self.stage if self.stage == self.name else f"{self.stage} {self.name}", RunFacts)

    def project(self, view: View) -> Path:
        """Return the folder of the project that the engine has built."""
        return view[self.build_step].folder / "project"

    def kept_waveform(self, view: View) -> Path | None:
        """Return the waveform of what went wrong in the engine, or that of its run if one was asked for."""
        results = (view.result(self.run_step), view.result(COMPARE))
        kept = [result.folder / self.waveform for result in results if result]
        return next((path for path in reversed(kept) if path.is_file()), None)

    def engine(self, view: View) -> "Engine":
        """Return the engine, ready to run; where it builds, from what its build step has made."""

        def made() -> "Engine":
            folder = self.project(view) if self.builds else view.flow.root
            engine = self.make(view, folder)
            (engine.attach if self.builds else engine.prepare)(network(view), folder)
            return engine

        return view.once(f"engine {self.name}", made)
