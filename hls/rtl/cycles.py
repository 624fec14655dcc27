"""When everything happens: the pipeline's timing without simulating it.

Every unit stalls while its result waits (see :mod:`xnorflow.hls.rtl`), so its own clock, counting enabled cycles only,
runs through the fixed distances of its :class:`~xnorflow.hls.rtl.units.VectorStep`. What remains is to map each unit's
clock to the common one. That takes one look at each vector: the cycle in which it moves is the first one in which it is
offered and the next unit, on its own clock, is due to accept.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from xnorflow.hls.rtl.lowering import Pipeline
from xnorflow.hls.rtl.units import Fifo, Mvtu, Sum, Unit, VectorStep

#: Takes the first cycle in which a vector is offered; returns the cycle in which it is accepted.
Offer = Callable[[int], int]


@dataclass(frozen=True)
class Frame:
    """One frame's way through the pipeline, in clock cycles.

    Attributes
    ----------
    first_in, last_out : int
        The cycles in which its first beat is accepted at the input port, and its last one at the output port.
    """

    first_in: int
    last_out: int

    @property
    def latency(self) -> int:
        """Cycles from the first beat in to the last beat out."""
        return self.last_out - self.first_in


@dataclass(frozen=True)
class CycleModel:
    """The timing of a pipeline whose input is always offered and whose output is always accepted.

    Attributes
    ----------
    latency : int
        Cycles from the first beat in to the last beat out of a frame that meets an idle pipeline.
    interval : int
        Cycles between frames, once the pipeline is full.
    frames : tuple of Frame
        The first frames after an idle pipeline, back to back; cycle 0 is that of the first beat.
    intervals : tuple of (str, int)
        Each unit's name and cycles per frame: what it would take alone. The largest is the pipeline's interval unless
        bursts between the units add to it.
    """

    latency: int
    interval: int
    frames: tuple[Frame, ...]
    intervals: tuple[tuple[str, int], ...]

    def frames_per_second(self, clock_ns: float) -> float:
        """Frames per second at a clock period in nanoseconds."""
        return 1e9 / (clock_ns * self.interval)


def cycles(pipeline: Pipeline, frames: int = 8) -> CycleModel:
    """Return the timing of `pipeline`, exact to the cycle.

    Parameters
    ----------
    pipeline : Pipeline
    frames : int
        How many frames to follow, 2 or more; the interval is the distance between the last two.
    """
    taken = _taken(pipeline, frames)
    entered, left = taken[pipeline.source.name], taken[(pipeline.output_converter or pipeline).result.name]
    per_frame = _made(pipeline)
    followed = tuple(
        Frame(entered[index * pipeline.source.vectors], left[(index + 1) * per_frame - 1]) for index in range(frames)
    )
    distances = [second.last_out - first.last_out for first, second in pairwise(followed)]
    intervals = tuple((unit.name, unit.interval) for unit in pipeline.every_unit)
    return CycleModel(followed[0].latency, distances[-1], followed, intervals)


def occupancy(pipeline: Pipeline, frames: int = 4) -> list[tuple[Unit, tuple[Frame, ...]]]:
    """Return when the first frames after an idle pipeline, back to back, are in each unit, exact to the cycle.

    A frame is in a unit from the cycle in which its first vector is accepted to the one in which the last vector made
    of it is accepted behind the unit.
    """
    taken = _taken(pipeline, frames)
    return [
        (
            unit,
            tuple(
                Frame(
                    taken[unit.source.name][i * unit.source.vectors],
                    taken[unit.name][(i + 1) * unit.result.vectors - 1],
                )
                for i in range(frames)
            ),
        )
        for unit in pipeline.every_unit
    ]


def _made(pipeline: Pipeline) -> int:
    """Return how many vectors, or beats, per frame leave the pipeline."""
    return (pipeline.output_converter or pipeline).result.vectors


def _noted(offer: Offer, moved: list[int]) -> Offer:
    def note(cycle: int) -> int:
        moved.append(cycle := offer(cycle))
        return cycle

    return note


def _taken(pipeline: Pipeline, frames: int) -> dict[str, list[int]]:
    """Return the cycles in which the vectors of each stream move, by its name; the first are always offered."""
    model = _Model(pipeline)
    cycle = 0
    for _ in range(frames * pipeline.source.vectors):
        cycle = model.offer(cycle) + 1
    return model.taken


def fit_fifos(pipeline: Pipeline) -> Pipeline:
    """Return `pipeline` with FIFOs just deep enough that they do not add to its interval.

    Where input arrives evenly, at the pace that the pipeline has with FIFOs without limit, these fill up to some
    depth. With that depth the same schedule remains possible, and units that never wait for longer than they must are
    no slower.
    """
    unlimited = _with_depths(pipeline, lambda fifo: _SETTLING_FRAMES * fifo.source.vectors)
    pace, beats = cycles(unlimited, _SETTLING_FRAMES).interval, pipeline.source.vectors
    model = _Model(unlimited)
    for beat in range(_SETTLING_FRAMES * beats):
        model.offer(beat * pace // beats)
    return _with_depths(pipeline, lambda fifo: max(1, model.fifos[fifo.name].deepest))


def _with_depths(pipeline: Pipeline, depth: Callable[[Fifo], int]) -> Pipeline:
    units = tuple(replace(unit, depth=depth(unit)) if isinstance(unit, Fifo) else unit for unit in pipeline.units)
    return replace(pipeline, units=units)


#: Frames after which a pipeline at an even pace repeats itself.
_SETTLING_FRAMES = 4


def _always(cycle: int) -> int:
    return cycle


class _Model:
    """The units of a pipeline, wired from the back to the front.

    Attributes
    ----------
    offer : Offer
        Takes vectors at the input port.
    taken : dict of str to list of int
        By a stream's name: the cycles in which its vectors have moved.
    fifos : dict of str to _FifoModel
        By name.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.taken: dict[str, list[int]] = {}
        self.fifos: dict[str, _FifoModel] = {}
        offers: dict[str, Offer] = {}
        joins: dict[str, _Join] = {}
        forks = {fork.source.name: [branch.name for branch in fork.branches] for fork in pipeline.forks}
        readers: dict[str, _FifoModel] = {}  # by the name of the stream they read

        def reader(stream: str) -> Offer:
            names = forks.get(stream, [stream])
            fifos = [readers[name] for name in names if name in readers]
            moved: list[int] = []
            self.taken |= dict.fromkeys([stream, *names], moved)
            return _noted(_fork(fifos) if fifos else offers.get(stream, _always), moved)

        for unit in reversed(pipeline.every_unit):
            if isinstance(unit, Fifo):
                join = joins.get(unit.name) or _Join(reader(unit.name))
                self.fifos[unit.name] = readers[unit.source.name] = _FifoModel(unit.name, unit.depth, join)
                continue
            clock = _Clock(unit.steps, reader(unit.name))
            in_words = isinstance(unit, Mvtu) and unit.in_words
            offers[unit.source.name] = _Halves(unit.source.vectors, clock).offer if in_words else clock.offer
            if isinstance(unit, Sum):
                join = _Join(reader(unit.source.name))
                for operand in unit.operands:
                    joins[operand.name] = join
                    self.taken[operand.name] = self.taken[unit.source.name]
            elif unit is pipeline.output_converter:
                offers[pipeline.result.name] = reader(unit.source.name)
        self.offer = reader(pipeline.source.name)


def _fork(fifos: Sequence["_FifoModel"]) -> Offer:
    """Return what takes a vector as soon as all of `fifos` have room for it."""

    def offer(cycle: int) -> int:
        cycle = max(fifo.room(cycle) for fifo in fifos)
        for fifo in fifos:
            fifo.enter(cycle)
        return cycle

    return offer


class _Join:
    """Takes a vector of each of its FIFOs as soon as all of them have one."""

    def __init__(self, forward: Offer) -> None:
        self.forward = forward
        self.fifos: list[_FifoModel] = []

    def drain(self) -> None:
        while all(len(fifo.entered) > len(fifo.left) for fifo in self.fifos):
            cycle = self.forward(max(fifo.earliest for fifo in self.fifos))
            for fifo in self.fifos:
                fifo.left.append(cycle)


class _FifoModel:
    """A FIFO: a vector can leave in the cycle after it came, and makes room in the cycle after it left.

    A vector is followed to where it waits for one of another branch. `known_late` is how many can be in the FIFO
    before it is known when they leave; less room would let the pipeline wait for itself.
    """

    def __init__(self, name: str, depth: int, join: _Join) -> None:
        self.name, self.depth, self.join = name, depth, join
        self.entered: list[int] = []
        self.left: list[int] = []
        self.known_late = 0
        join.fifos.append(self)

    @property
    def earliest(self) -> int:
        """The first cycle in which the next vector can leave."""
        index = len(self.left)
        return max(self.entered[index], self.left[-1] if self.left else 0) + 1

    @property
    def deepest(self) -> int:
        """How many vectors have been in the FIFO at once."""
        together = (1 + index - bisect_left(self.left, cycle) for index, cycle in enumerate(self.entered))
        return max(self.known_late, *together)

    def room(self, cycle: int) -> int:
        """Return the first cycle from `cycle` on in which a vector can enter."""
        self.known_late = max(self.known_late, 1 + len(self.entered) - len(self.left))
        leaver = len(self.entered) - self.depth
        if leaver >= len(self.left):
            raise ValueError(f"FIFO {self.name}: {self.depth} vectors are too few, the branches wait for each other")
        return cycle if leaver < 0 else max(cycle, self.left[leaver] + 1)

    def enter(self, cycle: int) -> None:
        self.entered.append(cycle)
        self.join.drain()


class _Clock:
    """A unit's own clock (ticks) against the common one (cycles)."""

    def __init__(self, steps: Sequence[VectorStep], forward: Offer) -> None:
        self.steps, self.forward = steps, forward
        self.vector = 0
        self.due = 0  # the tick from which on the next vector is accepted
        self.resumed = [(0, 0)]  # (tick, cycle) after each stall of the unit; between them both run evenly

    def offer(self, cycle: int) -> int:
        tick = max(self.due, self._first_tick(cycle))
        accepted = self._cycle(tick)
        step = self.steps[self.vector % len(self.steps)]
        self.vector += 1
        self.due = tick + step.busy
        self.resumed = [pair for pair in self.resumed if pair[0] > tick] or self.resumed[-1:]
        if self.resumed[0][0] > tick:
            self.resumed.insert(0, (tick, accepted))
        for distance in step.emits:
            emit = tick + distance
            self.resumed.append((emit + 1, self.forward(self._cycle(emit) + 1)))
        return accepted

    @property
    def last_busy(self) -> int:
        """The cycle in which the unit is busy with its last vector for the last time."""
        return self._cycle(self.due - 1)

    def _cycle(self, tick: int) -> int:
        """Return the cycle in which `tick` happens."""
        start, cycle = next(pair for pair in reversed(self.resumed) if pair[0] <= tick)
        return cycle + tick - start

    def _first_tick(self, cycle: int) -> int:
        """Return the first tick that happens at `cycle` or later."""
        for (tick, start), following in zip(self.resumed, [*self.resumed[1:], None]):
            if following is None or following[1] > cycle:
                end = following[0] if following else None
                found = tick + max(0, cycle - start)
                return found if end is None else min(found, end)
        raise AssertionError("the last pair has no successor")


class _Halves:
    """A memory of two halves in front of a unit: one takes the words of a vector while the other is read.

    A vector is there for the unit in the cycle after its last word came, and its half is free for the vector after the
    next in the cycle after the unit has read it for the last time.
    """

    def __init__(self, words: int, clock: _Clock) -> None:
        self.words, self.clock = words, clock
        self.taken = 0
        self.read = (-1, -1)  # when the two vectors before the present one are read for the last time

    def offer(self, cycle: int) -> int:
        if self.taken == 0:
            cycle = max(cycle, self.read[0] + 1)
        self.taken = (self.taken + 1) % self.words
        if self.taken == 0:
            self.clock.offer(cycle + 1)
            self.read = self.read[1], self.clock.last_busy
        return cycle
