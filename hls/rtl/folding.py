"""Every layer's architecture, and choosing the foldings from one goal: a frame rate, or an area.

All layers of a pipeline share its interval, so each gets the cheapest folding that keeps up with the same one.

The area is estimated (:mod:`xnorflow.hls.rtl.area`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil, prod
from typing import Any

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import MAX_VALUES, Network
from xnorflow.hls.rtl.area import loop_luts, luts, neurons_luts, vector_luts
from xnorflow.hls.rtl.buffering import Collected, buffered, collected
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.cycles import CycleModel, cycles, fit_fifos
from xnorflow.hls.rtl.lowering import Pipeline, lower
from xnorflow.hls.rtl.units import Mvtu, Recurrence, Unit, UnrolledMvtu


@dataclass(frozen=True)
class Layer:
    """The architecture that a layer has.

    Attributes
    ----------
    name : str
    neurons, inputs, vectors : int
        Its size, and how often it is computed per frame.
    architecture : Folded or Unrolled
        A folding that exceeds the layer's size is cut to it.
    cycles : int
        Per frame.
    luts : int
        Estimated, of the unit with the weights; see :mod:`xnorflow.hls.rtl.folding`.
    memory_bits : int
        Of weights and biases; 0 where they are hard-wired.
    """

    name: str
    neurons: int
    inputs: int
    vectors: int
    architecture: Folded | Unrolled
    cycles: int
    luts: int
    memory_bits: int


@dataclass(frozen=True)
class Choice:
    """What :func:`choose` found.

    Attributes
    ----------
    config : RtlConfig
    layers : tuple of Layer
        Those with weights: what the choice was made from.
    luts : int
        Estimated for the whole pipeline.
    timing : CycleModel
        Exact.
    """

    config: RtlConfig
    layers: tuple[Layer, ...]
    luts: int
    timing: CycleModel


class OutOfReach(UserError):
    """A goal cannot be met.

    Attributes
    ----------
    nearest : Choice
        The highest rate, or the least area, that there is.
    """

    def __init__(self, message: str, nearest: Choice) -> None:
        super().__init__(message)
        self.nearest = nearest

    def __reduce__(self) -> tuple[Any, ...]:  # an exception comes to another process by its message alone
        return type(self), (str(self), self.nearest)


def choose(
    network: Network,
    config: RtlConfig,
    *,
    target_fps: float | None = None,
    max_luts: int | None = None,
    strict: bool = True,
) -> Choice:
    """Choose the folding of every layer for which `config` does not name an architecture; without a goal, take its own.

    Parameters
    ----------
    network : Network
    config : RtlConfig
        Its clock is the one that `target_fps` is meant at; its `layers` stay as they are.
    target_fps : float
        Frames per second to reach, at the least area.
    max_luts : int
        Estimated LUTs to stay within, at the highest rate.
    strict : bool
        Whether a goal that cannot be met is an error; else the highest rate or the least area is taken.

    Raises
    ------
    OutOfReach
        If the goal cannot be met; the message says what can.
    UserError
        If `config` does not fit the network, or if there are two goals.
    Unsupported
        If there is no RTL for a layer.
    """
    config = config.spread(network)
    if target_fps is not None and max_luts is not None:
        raise UserError("rtl: give either a target rate (target_fps) or a limit of area (max_luts), not both")
    if target_fps is not None:
        return _Planner(network, config).at_rate(target_fps, strict)
    if max_luts is not None:
        return _Planner(network, config).within(max_luts, strict)
    return _choice(config, lower(network, config))


class _Planner:
    def __init__(self, network: Network, config: RtlConfig) -> None:
        self.network, self.config = network, config
        self.slow: dict[int | None, Pipeline] = {}  # by the bits of the input port, its free layers folded to the least
        pipeline = self._slow(config.in_width)
        self.beats, self.in_bits = pipeline.source.vectors, 0  # bits of a vector whose port may be wider
        whole = 8 * ceil(prod(network.input.shape) * network.input.bits / 8)
        if config.in_width is None and (wide := self._slow(whole)).source.vectors == 1:
            pipeline, self.in_bits = wide, whole
        self.free = [unit for unit in pipeline.units if _is_folded(unit) and unit.layer not in config.layers]
        free = {unit.layer for unit in self.free}
        fast = lower(network, replace(config, default=_WHOLE, in_width=self._in_width(1)))
        fixed = [unit.interval for unit in fast.units if not (_is_folded(unit) and unit.layer in free)]
        self.fastest = max([*fixed, *(_shortest(unit) for unit in self.free)], default=1)
        self.slowest = max([self.fastest, *(unit.interval for unit in self.free)])

    def at_rate(self, target_fps: float, strict: bool) -> Choice:
        wanted = 1e9 / (self.config.clock_ns * target_fps) if target_fps > 0 else 0.0
        interval = int(wanted)
        while interval >= self.fastest:
            choice = _choice(*self._at(interval))
            if choice.timing.interval <= wanted:
                return choice
            interval -= max(1, choice.timing.interval - int(wanted))  # bursts between the layers cost as much again
        best = _choice(*self._at(self.fastest))
        if not strict:
            return best
        rate = best.timing.frames_per_second(self.config.clock_ns)
        raise OutOfReach(
            f"rtl: {self.network.name} cannot reach {target_fps:,.0f} frames/s with folded layers at "
            f"{1e3 / self.config.clock_ns:g} MHz; {rate:,.0f} is the most: ask for less or a faster clock",
            best,
        )

    def within(self, max_luts: int, strict: bool) -> Choice:
        low, high = self.fastest, self.slowest
        smallest = self._luts(high)
        if smallest > max_luts and strict:
            least = _choice(*self._at(high))
            raise OutOfReach(
                f"rtl: {self.network.name} does not fit into {max_luts:,} LUTs:"
                f" the least is estimated at {least.luts:,}",
                least,
            )
        while low < high:
            middle = (low + high) // 2
            if self._luts(middle) <= max_luts:
                high = middle
            else:
                low = middle + 1
        while (choice := _choice(*self._at(high))).luts > max_luts and high < self.slowest:
            high = min(self.slowest, high + max(1, high // 50))  # what is behind the last layer was not foreseen
        return choice

    def _luts(self, interval: int) -> int:
        """Return the LUTs at `interval`, but for scores taken more at a time there; no pipeline is made for that."""
        units = self._slow(self._in_width(interval)).every_unit
        foldings = self._foldings(interval, units)
        fixed = sum(luts(unit) for unit in units if unit.layer not in foldings or not _is_folded(unit))
        free = sum(_folded_luts(unit, foldings[unit.layer]) for unit in self.free)
        every = _given(units) | foldings
        return fixed + free - sum(chain.saved_luts(every) for chain in collected(units))

    def _at(self, interval: int) -> tuple[RtlConfig, Pipeline]:
        """Return a configuration whose layers, and input port, each take at most `interval` cycles per frame."""
        in_width = self._in_width(interval)
        foldings = self._foldings(interval, self._slow(in_width).units)
        config = replace(self.config, layers={**self.config.layers, **foldings}, in_width=in_width)
        return config, lower(self.network, config)

    def _foldings(self, interval: int, units: tuple[Unit, ...]) -> dict[str, Folded]:
        """Return the cheapest folding of each free layer in turn, which may depend on that of the layer before."""
        chains = {chain.unit.layer: chain for chain in collected(units)}
        foldings = _given(units)
        for unit in self.free:
            foldings[unit.layer] = _cheapest(unit, interval, chains.get(unit.layer), foldings)
        return {unit.layer: foldings[unit.layer] for unit in self.free}

    def _in_width(self, interval: int) -> int | None:
        widened = self.in_bits and interval < self.beats
        return 8 * ceil(self.in_bits / 8 / interval) if widened else self.config.in_width

    def _slow(self, in_width: int | None) -> Pipeline:
        """Lower the network for an input port; a folding changes the unit of its layer, and how scores are taken."""
        if in_width not in self.slow:
            config = replace(self.config, default=Folded(1, 1), in_width=in_width)
            self.slow[in_width] = lower(self.network, config)
        return self.slow[in_width]


def _choice(config: RtlConfig, pipeline: Pipeline) -> Choice:
    pipeline = fit_fifos(buffered(pipeline))
    layers = (_layer(unit, config) for unit in pipeline.units if isinstance(unit, Mvtu | UnrolledMvtu | Recurrence))
    return Choice(config, tuple(layers), _luts(pipeline), cycles(pipeline))


def _luts(pipeline: Pipeline) -> int:
    return sum(map(luts, pipeline.every_unit))


#: Everything at once: a folding is cut to its layer's size.
_WHOLE = Folded(MAX_VALUES, MAX_VALUES)


def _neurons(unit: Unit) -> Unit:
    """Return the unit with the weights: that inside a recurrence, or else the unit itself."""
    return unit.feedback if isinstance(unit, Recurrence) else unit


def _is_folded(unit: Unit) -> bool:
    return isinstance(_neurons(unit), Mvtu)


def _folded(unit: Unit, folding: Folded) -> Unit:
    """Return a unit with weights, folded otherwise."""
    matrix = _neurons(unit)
    assert isinstance(matrix, Mvtu)
    neurons = replace(matrix, folding=replace(matrix.folding, pe=folding.pe, simd=folding.simd))
    return replace(unit, feedback=neurons) if isinstance(unit, Recurrence) else neurons


def _folded_luts(unit: Unit, folding: Folded) -> int:
    """Estimate the LUTs of a unit with weights, folded otherwise; it is not made for that."""
    matrix = _neurons(unit)
    assert isinstance(matrix, Mvtu)
    loop = loop_luts(unit) if isinstance(unit, Recurrence) else 0
    return vector_luts(matrix, folding) + neurons_luts(matrix, folding) + loop


def _shortest(unit: Unit) -> int:
    """Return the cycles per frame of a unit with weights that is computed all at once."""
    return _folded(unit, _WHOLE).interval if isinstance(unit, Recurrence) else unit.source.vectors


def _given(units: tuple[Unit, ...]) -> dict[str, Folded]:
    return {unit.layer: unit.folding for unit in units if isinstance(unit, Mvtu)}


def _cheapest(unit: Unit, interval: int, chain: Collected | None, foldings: Mapping[str, Folded]) -> Folded:
    """Return a folding that keeps up; `foldings` are those of the other layers."""

    def saved(folding: Folded) -> int:
        return chain.saved_luts({**foldings, unit.layer: folding}) if chain else 0

    options = list(_foldings(unit, interval)) or [_WHOLE]
    if chain:  # words may take a few inputs more at a time
        inputs = chain.unit.weights.shape[1]
        divisors = [simd for simd in range(1, inputs + 1) if inputs % simd == 0]
        for option in tuple(options):
            wider = (replace(option, simd=simd) for simd in divisors if simd > option.simd)
            options += islice(filter(saved, wider), 1)
    return min(options, key=lambda folding: (_folded_luts(unit, folding) - saved(folding), folding.pe))


def _foldings(unit: Unit, interval: int) -> Iterator[Folded]:
    """Yield the foldings that take at most `interval` cycles per frame, one for each useful number of neurons."""
    matrix = _neurons(unit)
    assert isinstance(matrix, Mvtu)
    neurons, inputs = matrix.weights.shape
    budget = interval // unit.source.vectors  # cycles per vector
    for pe in sorted({ceil(neurons / folds) for folds in range(1, min(neurons, budget) + 1)}):
        input_folds = min(inputs, budget // ceil(neurons / pe))
        folding = Folded(pe, ceil(inputs / input_folds))
        if isinstance(unit, Recurrence):  # which waits for the sums besides
            while input_folds > 1 and _folded(unit, folding).interval > interval:
                input_folds -= 1
                folding = Folded(pe, ceil(inputs / input_folds))
            if _folded(unit, folding).interval > interval:
                continue
        yield folding


def _layer(unit: Mvtu | UnrolledMvtu | Recurrence, config: RtlConfig) -> Layer:
    architecture, bits, matrix = config.of(unit.layer), 0, _neurons(unit)
    size, vectors = (unit.result.channels, matrix.source.channels), unit.source.vectors
    if isinstance(matrix, Mvtu) and isinstance(architecture, Folded):
        neuron_folds, input_folds = matrix.folds
        neurons, inputs = matrix.weights.shape
        if matrix is unit:
            size, vectors = (neurons, max(inputs, matrix.source.channels)), matrix.vectors
        pe, simd = ceil(neurons / neuron_folds), ceil(inputs / input_folds)
        architecture = replace(architecture, pe=pe, simd=simd)
        words = neuron_folds * input_folds
        bits = words * pe * simd * (1 + matrix.masked) + neuron_folds * pe * matrix.accumulator_bits
    return Layer(unit.layer, *size, vectors, architecture, unit.interval, luts(unit), bits)
