"""Step ``energy``: an estimate from the switching in a few frames."""

from functools import partial

from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import ENERGY, EnergyFacts, RunFacts
from xnorflow.flows.folding import READS, fold_rtl
from xnorflow.flows.graph import Advance, Name, Step, View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.results import WAVEFORM, images, network
from xnorflow.flows.typed import record

_CLOCK = "aclk"


def step(kind: EngineKind) -> Step[EnergyFacts]:
    """Return the step that estimates the energy of an inference, from a waveform that an engine keeps."""
    return Step(
        ENERGY,
        "energy",
        partial(_energy, kind.name, kind.run_step),
        takes=("vectors", "fold", kind.run_step),
        options=READS,
        packages=("numpy", "pywellen"),
        engine=kind.name,
    )


def _energy(engine: str, ran: Name[RunFacts], view: View, entry: Entry[EnergyFacts], advance: Advance) -> None:
    """Count the switching in the waveform of a few frames back to back."""
    from xnorflow.hls.energy import FORMULA, UNCERTAINTY, activity, estimate, memory_bits
    from xnorflow.hls.rtl.project import plan

    run = view[ran]
    frames = run.facts["layerwise"]
    read = memory_bits(plan(network(view), fold_rtl(network(view), view.options).config))
    known = int((images(view) < frames).sum())
    made = estimate(activity(run.folder / WAVEFORM, _CLOCK, frames, read))
    entry.facts = record(
        EnergyFacts,
        made,
        source=f"waveform of {engine}",
        frames=frames,
        images=known,
        formula=FORMULA,
        uncertainty=UNCERTAINTY,
        provenance="estimated",
    )
    entry.summary = f"{made.picojoules / 1e3:,.3g} nJ per inference, estimated from {frames} frames"
