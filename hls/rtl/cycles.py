"""When everything happens: the pipeline's timing without simulating it.

Every unit stands still while its result waits (see :mod:`hls.rtl`), so its own clock, counting enabled cycles only,
runs through the fixed distances of its :class:`~hls.rtl.units.Step`. What remains is to map each unit's clock to the
common one. That takes one look at each vector: the cycle in which it moves is the first one in which it is offered and
the next unit, on its own clock, is due to accept.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hls.rtl.lowering import Pipeline
from hls.rtl.units import Fifo, Step, Unit

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
    entered, left = taken[0], taken[-1]
    per_frame = _made(pipeline)
    followed = tuple(
        Frame(entered[index * pipeline.source.vectors], left[(index + 1) * per_frame - 1]) for index in range(frames)
    )
    distances = [second.last_out - first.last_out for first, second in pairwise(followed)]
    intervals = tuple((unit.name, unit.interval) for unit in _units(pipeline))
    return CycleModel(followed[0].latency, distances[-1], followed, intervals)


def occupancy(pipeline: Pipeline, frames: int = 4) -> list[tuple[Unit, tuple[Frame, ...]]]:
    """Return when the first frames after an idle pipeline, back to back, are in each unit, exact to the cycle.

    A frame is in a unit from the cycle in which its first vector is accepted to the one in which the last vector made
    of it is accepted behind the unit.
    """
    units, taken = _units(pipeline), _taken(pipeline, frames)
    made = [*(unit.source.vectors for unit in units[1:]), _made(pipeline)]
    return [
        (
            unit,
            tuple(Frame(here[i * unit.source.vectors], behind[(i + 1) * vectors - 1]) for i in range(frames)),
        )
        for unit, vectors, here, behind in zip(units, made, taken, taken[1:])
    ]


def _made(pipeline: Pipeline) -> int:
    """Return how many vectors, or beats, per frame leave the pipeline."""
    return (pipeline.scatter or pipeline).result.vectors


def _taken(pipeline: Pipeline, frames: int) -> list[list[int]]:
    """Return the cycles in which each unit, and in the end the output, accepts its vectors; they are always offered."""
    units = _units(pipeline)
    taken: list[list[int]] = [[] for _ in range(len(units) + 1)]
    offer = _noted(_always, taken[-1])
    for unit, accepted in zip(reversed(units), reversed(taken[:-1])):
        offer = _noted(_clock(unit, offer).offer, accepted)
    for _ in range(frames * pipeline.source.vectors):
        offer(taken[0][-1] + 1 if taken[0] else 0)
    return taken


def _noted(offer: Offer, accepted: list[int]) -> Offer:
    def note(cycle: int) -> int:
        accepted.append(cycle := offer(cycle))
        return cycle

    return note


def fit_queues(pipeline: Pipeline) -> Pipeline:
    """Return `pipeline` with queues just deep enough that they do not add to its interval.

    Where input arrives evenly, at the pace that the pipeline has with queues without limit, these fill up to some
    depth. With that depth the same schedule remains possible, and units that never wait for longer than they must are
    no slower.
    """
    unlimited = _with_depths(pipeline, lambda queue: _SETTLING_FRAMES * queue.source.vectors)
    pace, beats = cycles(unlimited, _SETTLING_FRAMES).interval, pipeline.source.vectors
    queues: dict[str, _Queue] = {}
    offer: Offer = _always
    for unit in reversed(_units(unlimited)):
        clock = _clock(unit, offer)
        offer = clock.offer
        if isinstance(clock, _Queue):
            queues[unit.name] = clock
    for beat in range(_SETTLING_FRAMES * beats):
        offer(beat * pace // beats)
    return _with_depths(pipeline, lambda queue: max(2, queues[queue.name].deepest))


def _with_depths(pipeline: Pipeline, depth: Callable[[Fifo], int]) -> Pipeline:
    units = tuple(replace(unit, depth=depth(unit)) if isinstance(unit, Fifo) else unit for unit in pipeline.units)
    return replace(pipeline, units=units)


#: Frames after which a pipeline at an even pace repeats itself.
_SETTLING_FRAMES = 4


def _units(pipeline: Pipeline) -> list[Unit]:
    return [*pipeline.units, *([pipeline.scatter] if pipeline.scatter else [])]


def _always(cycle: int) -> int:
    return cycle


def _clock(unit: Unit, forward: Offer) -> "_Clock | _Queue":
    return _Queue(unit.depth, forward) if isinstance(unit, Fifo) else _Clock(unit.steps, forward)


class _Queue:
    """A queue: a vector can leave in the cycle after it came, and makes room in the cycle after it left."""

    def __init__(self, depth: int, forward: Offer) -> None:
        self.depth, self.forward = depth, forward
        self.left: list[int] = []
        self.deepest = 0

    def offer(self, cycle: int) -> int:
        if len(self.left) >= self.depth:
            cycle = max(cycle, self.left[-self.depth] + 1)
        self.deepest = max(self.deepest, 1 + len(self.left) - bisect_left(self.left, cycle))
        earliest = max(cycle, self.left[-1] if self.left else 0) + 1
        self.left.append(self.forward(earliest))
        return cycle


class _Clock:
    """A unit's own clock (ticks) against the common one (cycles)."""

    def __init__(self, steps: Sequence[Step], forward: Offer) -> None:
        self.steps, self.forward = steps, forward
        self.vector = 0
        self.due = 0  # the tick from which on the next vector is accepted
        self.resumed = [(0, 0)]  # (tick, cycle) after each time that the unit stood still; between them both run evenly

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
