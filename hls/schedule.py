"""When everything happens in an hls4ml project, and how deep its FIFOs must be: an estimate.

Each layer is a loop whose iterations are known, and reads and writes streams. That is what the RTL's cycle model
(:mod:`xnorflow.hls.rtl.cycles`) computes with, so here it computes with these loops. What it cannot know is what the
HLS tool adds: the depth of each loop's pipeline, taken as :data:`PIPELINE_DEPTH`, and the cycles between two calls of a
process, taken as none.

FIFOs that are too shallow for the cycle model make a project slower. Where branches meet again, they can make it stop
for ever, so those are also sized by what each loop must have read before it writes, which no clock changes
(:func:`waiting`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xnorflow.bnn.network import IntArray, Network
from xnorflow.hls.folding import Plan
from xnorflow.hls.rtl.cycles import CycleModel, cycles, fit_fifos
from xnorflow.hls.rtl.lowering import Fork, Pipeline
from xnorflow.hls.rtl.pruning import Pruned
from xnorflow.hls.rtl.units import Fifo, Stream, Sum, Unit, VectorStep

PIPELINE_DEPTH = 6
"""Cycles from the iteration that completes a result to its write; assumed."""

LEAST_DEPTH = 2
"""Of a FIFO, as HLS tools make them by default."""


@dataclass(frozen=True)
class LayerLoop:
    """The loop of a layer.

    Attributes
    ----------
    scan : tuple of VectorStep
        What each packet that it reads from its first source does, in iterations; the others come along.
    results : int
        Packets that it writes per frame.
    luts : int
        Estimated 6-input LUTs.
    operation : str
        What it computes of the network.
    memory_bits : int
        Of weights and what accumulators start from.
    layer : str
        Its layer in hls4ml's graph.
    sources : tuple of str
        Layers whose results it reads.
    """

    scan: tuple[VectorStep, ...]
    results: int
    luts: int
    operation: str = ""
    memory_bits: int = 0
    layer: str = ""
    sources: tuple[str, ...] = ()

    @property
    def steps_per_frame(self) -> int:
        """Iterations per frame."""
        return sum(step.busy for step in self.scan)


def window_process(numbers: Mapping[str, int], cycles: int, luts: int, others: int = 1) -> LayerLoop:
    """Return the loop over a padded image, in which a window that is due takes `cycles` iterations.

    Parameters
    ----------
    numbers : mapping
        Of the kernel's configuration.
    cycles, luts : int
    others : int
        Iterations of a pixel that completes no window.
    """
    top, left = numbers["pad_top"], numbers["pad_left"]
    height, width = numbers["in_height"], numbers["in_width"]
    steps: list[VectorStep] = []
    lead = results = 0
    for y in range(top + height + numbers["pad_bottom"]):
        for x in range(left + width + numbers["pad_right"]):
            if top <= y < top + height and left <= x < left + width:
                steps.append(VectorStep(0, ()))
            row, column = y - numbers["kernel_height"] + 1, x - numbers["kernel_width"] + 1
            due = row >= 0 and column >= 0 and not (row % numbers["stride_height"] or column % numbers["stride_width"])
            taken = cycles if due else others
            results += due
            if not steps:
                lead += taken
                continue
            last = steps[-1]
            emits = (*last.emits, last.busy + taken - 1 + PIPELINE_DEPTH) if due else last.emits
            steps[-1] = VectorStep(last.busy + taken, emits)
    steps[-1] = VectorStep(steps[-1].busy + lead, steps[-1].emits)
    return LayerLoop(tuple(steps), results, luts)


def pixel_process(pixels: int, packets: int, folds: int, luts: int) -> LayerLoop:
    """Return the loop over `pixels`, each in `packets`, the last of which takes `folds` iterations."""
    of_pixel = (*[VectorStep(1, ())] * (packets - 1), VectorStep(folds, (folds - 1 + PIPELINE_DEPTH,)))
    return LayerLoop(of_pixel * pixels, pixels, luts)


def recurrent_process(steps: int, folds: int, last: bool, luts: int) -> LayerLoop:
    """Return the loop over `steps`, each in `folds` iterations and begun when the one before it is done."""
    cycles = folds + PIPELINE_DEPTH
    sent = VectorStep(cycles, (cycles - 1,))
    before = VectorStep(cycles, ()) if last else sent
    return LayerLoop((*[before] * (steps - 1), sent), 1 if last else steps, luts)


@dataclass(frozen=True, eq=False)
class _HlsLoop(Unit):
    scan: tuple[VectorStep, ...]

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        return self.scan


@dataclass(frozen=True, eq=False)
class _HlsSum(Sum):
    scan: tuple[VectorStep, ...]

    @property
    def steps(self) -> tuple[VectorStep, ...]:
        return self.scan


@dataclass(frozen=True)
class Dataflow:
    """The processes of a project, which run side by side.

    Attributes
    ----------
    processes : tuple of LayerLoop
        In topological order.
    network : Network
    """

    processes: tuple[LayerLoop, ...]
    network: Network

    @property
    def interval(self) -> int:
        """Iterations per frame of the slowest process."""
        return max(process.steps_per_frame for process in self.processes)

    @cached_property
    def _fitted(self) -> Pipeline:
        return fit_fifos(_pipeline(self.processes, self.network))

    @cached_property
    def timing(self) -> CycleModel:
        """Estimated latency and interval, the stalls between the processes included."""
        return cycles(self._fitted)

    @cached_property
    def depths(self) -> Mapping[tuple[str, str], int]:
        """Depths of the FIFOs, by who writes and who reads.

        With them they do not add to the interval by the cycle model, and no process waits for ever whatever its speed.
        """
        found = dict(waiting(self.processes))
        for unit in self._fitted.units:
            if isinstance(unit, Fifo) and "\n" in unit.layer:
                writer, reader = unit.layer.split("\n")
                found[writer, reader] = max(LEAST_DEPTH, unit.depth, found.get((writer, reader), 0))
        return found


@dataclass(frozen=True)
class Schedule(Dataflow):
    """The processes of a packed project.

    Attributes
    ----------
    plan : Plan
    """

    plan: Plan


def waiting(processes: Sequence[LayerLoop]) -> dict[tuple[str, str], int]:
    """Return how deep the FIFOs in front of sums must be so that no process waits for ever, however fast each is.

    A sum takes a packet of one operand only together with one of the other. So the FIFO of an operand must hold what
    may have come before that of the other must have come. Time is counted in packets of the project's input. A loop
    writes a result at the earliest when it has read what the result is made of, and at the latest when its pipeline has
    moved on to the result's stage: a pipeline that stops while its input is empty (AMD UG1448, "Pipeline Styles":
    ``stp``, the default up to Vitis HLS 2022.1) holds results back until further packets come, or the frame is over.

    Parameters
    ----------
    processes : sequence of LayerLoop
        In topological order.

    Returns
    -------
    dict
        By who writes and who reads.
    """
    written = {process.layer for process in processes}
    source, count = next((of.sources[0], len(of.scan)) for of in processes if of.sources[0] not in written)
    earliest: dict[str, IntArray] = {source: np.arange(count)}  # the input's packet with which each packet may be there
    latest: dict[str, IntArray] = dict(earliest)  # and the one with which it must be there
    depths: dict[tuple[str, str], int] = {}
    for process in processes:
        steps = np.arange(len(process.scan))
        joins = len(process.sources) > 1
        read = {}  # by source: the packet that each step comes with
        for name in process.sources:
            read[name] = steps
            if joins:  # pixel by pixel; an operand may come in fewer packets than the other
                per_pixel = len(earliest[name]) // process.results
                pixel, part = np.divmod(steps, len(steps) // process.results)
                read[name] = pixel * per_pixel + np.minimum(part, per_pixel - 1)
        for name, at in read.items():
            others = [latest[other][read[other]] for other in read if other != name]
            if others:  # what has come, less what the other operands have come for
                taken = np.max(others, axis=0)[np.searchsorted(at, np.arange(len(earliest[name])))]
                inside = np.arange(1, len(taken) + 1) - np.searchsorted(taken, earliest[name])
                depths[name, process.layer] = int(inside.max())
        first = np.max([earliest[name][at] for name, at in read.items()], axis=0)
        last = np.max([latest[name][at] for name, at in read.items()], axis=0)
        starts = np.cumsum([0, *(step.busy for step in process.scan)])[:-1]
        emitted = [(at, starts[at] + emit) for at, step in enumerate(process.scan) for emit in step.emits]
        owners, ticks = np.array(emitted).T
        earliest[process.layer] = first[owners]
        latest[process.layer] = last[np.searchsorted(starts, ticks, side="right") - 1]
    return depths


def _pipeline(processes: Sequence[LayerLoop], network: Network) -> Pipeline:
    """Return the loops as units of the cycle model, with a FIFO in front of each of their inputs."""
    written = {process.layer: process.results for process in processes}
    source = next(name for process in processes for name in process.sources if name not in written)
    written[source] = len(next(process for process in processes if source in process.sources).scan)
    readers: dict[str, list[str]] = {}
    for process in processes:
        for name in process.sources:
            readers.setdefault(name, []).append(process.layer)

    def stream(name: str, vectors: int) -> Stream:
        return Stream(name, 1, 1, False, False, vectors)

    units: list[Unit] = []
    for process in processes:
        buffered = []
        for port, name in enumerate(process.sources):
            given = name if len(readers[name]) == 1 else f"{name} to {process.layer} {port}"
            fifo = stream(f"{given} FIFO", written[name])
            units.append(Fifo(f"{name}\n{process.layer}", stream(given, written[name]), fifo, LEAST_DEPTH))
            packets = written[name] // process.results
            if len(process.sources) > 1 and packets > 1:  # the operands of a sum meet as whole pixels
                pixel = stream(f"{fifo.name} pixels", process.results)
                scan = (*[VectorStep(emits=())] * (packets - 1), VectorStep()) * process.results
                units.append(_HlsLoop(process.layer, fifo, pixel, scan))
                fifo = stream(f"{pixel.name} FIFO", process.results)
                units.append(Fifo(process.layer, pixel, fifo, LEAST_DEPTH))
            buffered.append(fifo)
        result = stream(process.layer, process.results)
        if len(buffered) == 1:
            units.append(_HlsLoop(process.layer, buffered[0], result, process.scan))
        else:
            both = stream(f"{process.layer} operands", process.results)
            scan = (VectorStep(1, (PIPELINE_DEPTH,)),) * process.results
            units.append(_HlsSum(process.layer, both, result, tuple(buffered), (0,) * len(buffered), scan))
    ports: dict[str, list[Stream]] = {name: [] for name, of in readers.items() if len(of) > 1}
    for unit in units:
        if isinstance(unit, Fifo) and "\n" in unit.layer and (name := unit.layer.split("\n")[0]) in ports:
            ports[name].append(unit.source)
    forks = tuple(Fork(stream(name, written[name]), tuple(branches)) for name, branches in ports.items())
    whole = Pruned(network, {}, {})
    return Pipeline(tuple(units), stream(source, written[source]), units[-1].result, None, {}, whole, forks)
