"""Steps of the engines: what each builds, and its run."""

import shutil
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from xnorflow.cosim.engine import EngineError
from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import BENCH, BuildFacts, RunFacts
from xnorflow.flows.graph import Advance, Name, Step, View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.results import LAYERS, LAYERWISE, RESULTS, WAVEFORM, IntArray, inputs, network, read_results
from xnorflow.flows.timed import timed_run
from xnorflow.flows.typed import record
from xnorflow.reports.records import HlsRow, SpreadRow

if TYPE_CHECKING:
    from xnorflow.cosim.engine import Engine, TakesVectors
    from xnorflow.flows.facts import MeasuredCycles

_F = TypeVar("_F")


def build_step(kind: EngineKind) -> Step[BuildFacts]:
    """Return the step in which an engine builds its project."""
    return _step(kind, kind.build_step, kind.name, partial(_build, kind), ("bench",) if kind.takes_vectors else ())


def run_step(kind: EngineKind) -> Step[RunFacts]:
    """Return the step in which an engine runs the vectors."""
    takes = ("vectors", kind.build_step) if kind.builds else ("vectors",)
    return _step(kind, kind.run_step, f"{kind.name}_results", partial(_run, kind), takes)


def _step(kind: EngineKind, name: Name[_F], folder: str, make: "partial[None]", takes: tuple[str, ...]) -> Step[_F]:
    return Step(
        name,
        folder,
        make,
        takes=("fold", *takes, *kind.takes),
        may_take=kind.may_take,
        options=kind.options,
        packages=kind.packages,
        commands=kind.commands,
        outside=kind.outside,
        engine=kind.name,
        waits=kind.waits,
    )


def _build(kind: EngineKind, view: View, entry: Entry[BuildFacts], advance: Advance) -> None:
    start = time.perf_counter()
    folder = entry.folder / "project"
    folder.mkdir()
    engine = kind.make(view, folder)
    if kind.takes_vectors:
        bench = read_results(view[BENCH])
        cast("TakesVectors", engine).prepare(network(view), folder, bench["inputs"], bench["expected"])
    else:
        engine.prepare(network(view), folder)
    entry.facts = {
        "about": engine.about,
        "estimate": record(HlsRow, engine.estimate) if engine.estimate else None,
        "seconds": time.perf_counter() - start,
    }
    entry.summary = ", ".join(filter(None, ("written and compiled", engine.about, str(engine.estimate or ""))))


def _run(kind: EngineKind, view: View, entry: Entry[RunFacts], advance: Advance) -> None:
    engine = kind.engine(view)
    engine.leaves = entry.folder
    taken = inputs(view)[: engine.max_vectors] if kind.counts_cycles else inputs(view)
    count = len(taken)
    try:
        layers = _every_layer(kind, engine, inputs(view), entry) if kind.sees_layers else 0
        results, seconds = _all_at_once(engine, taken) if kind.counts_cycles else timed_run(engine, taken, advance)
    except EngineError:
        if engine.waveform and engine.waveform.is_file():
            (entry.folder / kind.waveform).hardlink_to(engine.waveform)  # the message names the file, where it is
        raise
    _expect(kind, results, count)
    np.savez(entry.folder / RESULTS, **results)
    keep_waveform(kind, engine, entry)
    if not kind.sees_layers:
        layers = min(LAYERWISE, count)
        np.savez(entry.folder / LAYERS, **{name: result[:layers] for name, result in results.items()})
    entry.facts = {
        "vectors": count,
        "cycles": _cycles(engine),
        "layerwise": layers,
        "detail": engine.detail,
        "seconds": seconds,
    }
    rate = count / seconds
    entry.summary = f"{count:,} vectors at {rate:,.{0 if rate >= 10 else 2}f} a second"
    if deviation := engine.deviation():
        raise EngineError(f"{kind.name}: {deviation}")


def _cycles(engine: "Engine") -> "MeasuredCycles | None":
    """Return the clock cycles that an engine's last run has counted, if it counts any."""
    if not engine.timing:
        return None
    latency, interval = engine.timing.latency, engine.timing.interval
    assert latency, "of at least one frame"
    return {"latency": record(SpreadRow, latency), "interval": record(SpreadRow, interval) if interval else None}


def _all_at_once(engine: "Engine", vectors: IntArray) -> tuple[Mapping[str, IntArray], float]:
    start = time.perf_counter()
    results = engine.run(vectors)
    return results, time.perf_counter() - start


def _every_layer(kind: EngineKind, engine: "Engine", vectors: IntArray, entry: Entry) -> int:
    """Keep every layer that an engine can observe of a few vectors, and the waveform if it makes one.

    Returns
    -------
    int
        How many vectors.
    """
    few = vectors[:LAYERWISE][: engine.max_vectors]
    results = engine.run(few, every_layer=True)
    _expect(kind, results, len(few))
    np.savez(entry.folder / LAYERS, **results)
    if kind.keeps_waveform:
        assert engine.waveform
        shutil.move(engine.waveform, entry.folder / WAVEFORM)
    return len(few)


def keep_waveform(kind: EngineKind, engine: "Engine", entry: Entry) -> str:
    """Take the waveform that an engine's last run has left, if any, into the entry; return where it is, in words."""
    if not engine.waveform or not engine.waveform.is_file():
        return ""
    shutil.move(engine.waveform, entry.folder / kind.waveform)
    return f"; waveform: {kind.waveform}"


def _expect(kind: EngineKind, results: Mapping[str, IntArray], count: int) -> None:
    if not results or any(len(result) != count for result in results.values()):
        lengths = {name: len(result) for name, result in results.items()}
        raise EngineError(f"{kind.name}: expected results of {count} vectors, got {lengths or 'none'}")
