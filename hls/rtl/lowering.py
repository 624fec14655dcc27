"""From a Network and its configuration to the units that compute it.

Exact rewritings on the way, none of which the outputs show:

- An image that is only flattened becomes a flat input (:mod:`xnorflow.hls.rtl.flattening`).
- A threshold moves in front of the max-pools before it, for both are non-decreasing: pooling bits is an OR where the
  threshold points up and an AND where it points down.
- What cannot matter is left out (:mod:`xnorflow.hls.rtl.pruning`).
- Scores of which the class alone is wanted become narrower (:mod:`xnorflow.hls.rtl.narrowing`).
- A layer with weights takes in the threshold that follows; where it points down, the neuron's weights and threshold
  are negated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.names import fresh
from xnorflow.bnn.network import (
    Add,
    Affine,
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    IntArray,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    Recurrent,
    Signal,
    SumPool2d,
    Threshold,
)
from xnorflow.bnn.planes import ternary
from xnorflow.hls.delays import memory_register
from xnorflow.hls.errors import Unsupported, check_images
from xnorflow.hls.rtl import popcount
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.flattening import flat_input
from xnorflow.hls.rtl.narrowing import narrowed
from xnorflow.hls.rtl.pruning import Pruned, prune
from xnorflow.hls.rtl.units import (
    Fifo,
    GlobalSum,
    MultiThresholdUnit,
    Mvtu,
    NarrowingConverter,
    ParallelAffine,
    Pool,
    Recurrence,
    SerialAffine,
    SerialArgmax,
    SlidingWindow,
    Stream,
    Sum,
    SumPool,
    ThresholdUnit,
    TreeArgmax,
    Unit,
    UnrolledMvtu,
    WideningConverter,
)


@dataclass(frozen=True)
class Fork:
    """A stream with several readers: a vector moves when all of them take it.

    Attributes
    ----------
    source : Stream
    branches : tuple of Stream
        The same vectors; the source of one :class:`~xnorflow.hls.rtl.units.Fifo` each.
    """

    source: Stream
    branches: tuple[Stream, ...]


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The units of a Network.

    Attributes
    ----------
    units : tuple of Unit
        In order; each one's source is the result of one before or a branch of it.
    source : Stream
        What the input port gives: whole vectors, or beats for a leading width converter.
    result : Stream
        The Network's output, before it is cut into beats.
    output_converter : NarrowingConverter or None
        Cuts the result into beats where the output port is narrower.
    carried : mapping of layer name to Stream
        The layers whose results can be observed, and where.
    pruned : Pruned
        The network that it computes, and what was left out.
    forks : tuple of Fork
    """

    units: tuple[Unit, ...]
    source: Stream
    result: Stream
    output_converter: NarrowingConverter | None
    carried: Mapping[str, Stream]
    pruned: Pruned
    forks: tuple[Fork, ...]

    @property
    def every_unit(self) -> tuple[Unit, ...]:
        """The units, and what cuts the result into beats."""
        return (*self.units, self.output_converter) if self.output_converter else self.units


def lower(network: Network, config: RtlConfig) -> Pipeline:
    """Return the pipeline of units for `network`.

    Raises
    ------
    UserError
        If `config` names a layer that is not there, or wants a class where there is none.
    Unsupported
        If there is no RTL for one of the operations.
    """
    config = config.spread(network)
    for operation in network.operations:
        if type(operation) not in _KNOWN:
            raise Unsupported(f"layer {operation.name}: there is no RTL for {type(operation).__name__}")
    check_images(network, padded=True)
    if config.output == "class" and not isinstance(network.output, Argmax):
        raise UserError(f"rtl: {network.name} has no argmax at its end: output must be scores, got 'class'")
    flat = flat_input(network, _beat_bits(network, config))
    return _Lowering(prune(ternary(flat)[0]), config).pipeline()


def _beat_bits(network: Network, config: RtlConfig) -> int | None:
    """Return the width of the port of a flat input; None: that of the vector, as an unrolled layer takes it."""
    weighted = [op.name for op in network.operations if isinstance(op, Dense | Conv2d)]
    unrolled = bool(weighted) and isinstance(config.of(weighted[0]), Unrolled)
    return config.in_width or (None if unrolled else 64)


def score_bits(stream: Stream) -> int:
    """Bits of a value at the output port: 1 if bipolar, else two's complement in whole bytes."""
    return 1 if stream.bipolar else 8 * ceil((stream.bits + (not stream.signed)) / 8)


def class_bits(stream: Stream) -> int:
    """Bits of the class at the output port: none without an argmax, else 8 or 16."""
    return 8 * ceil(stream.extra / 8)


def threshold_behind(network: Network, operation: Operation) -> tuple[list[MaxPool2d], Threshold | None]:
    """Return the max-pools that come next and the threshold behind them; nothing if there is none.

    What stands in front of the threshold must have no other reader.
    """
    pools: list[MaxPool2d] = []
    while len(readers := network.consumers(operation.name)) == 1:
        (operation,) = readers
        if isinstance(operation, Threshold):
            return pools, operation
        if not isinstance(operation, MaxPool2d) or any(operation.padding):
            break
        pools.append(operation)
    return [], None


#: Operations that buffer what they take in, as every reader of a stream with several does.
_WITH_FIFOS = (Conv2d, Add, Recurrent)
_KNOWN = (Input, Dense, Conv2d, MaxPool2d, SumPool2d, Threshold, MultiThreshold, Recurrent, Add, Flatten, Affine,
          Argmax)  # fmt: skip


class _Lowering:
    def __init__(self, pruned: Pruned, config: RtlConfig) -> None:
        self.pruned, self.network, self.config = pruned, pruned.network, config
        self.units: list[Unit] = []
        self.carried: dict[str, Stream] = {}
        self.forks: list[Fork] = []
        self.arriving: dict[tuple[str, str], Stream] = {}  # by the names of who gives and who takes
        self.names = {operation.name for operation in self.network.operations}

    def pipeline(self) -> Pipeline:
        source = self._input()
        self._hand_on(self.network.input)
        done: set[str] = set()
        for operation in self.network.operations[1:]:
            if operation.name in done:
                continue
            end = operation
            self._last = self.arriving[operation.inputs[0], operation.name]
            match operation:
                case Dense() | Conv2d():
                    pools, threshold = threshold_behind(self.network, operation)
                    done |= {pool.name for pool in pools}
                    if threshold is not None:
                        done.add((end := threshold).name)
                    self._weighted(operation, pools, threshold)
                case MaxPool2d():
                    self._pool(operation, operation.name)
                case SumPool2d():
                    self._sum_pool(operation)
                case Threshold():
                    self._threshold(operation)
                case MultiThreshold():
                    self._multi_threshold(operation)
                case Recurrent():
                    self._recurrent(operation)
                case Add():
                    self._add(operation)
                case Flatten():
                    self._flatten(operation)
                case Affine():
                    self._affine(operation)
                case Argmax():
                    self._argmax(operation)
                case _:
                    raise TypeError(f"no RTL for {type(operation).__name__}")
            self._hand_on(end)
        result = self.last
        output_converter = self._output_converter(result)
        return Pipeline(
            tuple(self.units), source, result, output_converter, self.carried, self.pruned, tuple(self.forks)
        )

    @property
    def last(self) -> Stream:
        return self._last

    def _append(self, unit: Unit, carries: str | None = None) -> None:
        self.units.append(unit)
        self._last = unit.result
        if carries is not None:
            self.carried[carries] = unit.result

    def _hand_on(self, operation: Operation) -> None:
        """Give the last stream to the readers of `operation`, through a FIFO each if there are several."""
        source, readers = self.last, self.network.consumers(operation.name)
        if len(readers) == 1:
            self.arriving[operation.name, readers[0].name] = source
        elif readers:
            names = [f"{operation.name}_to_{reader.name}" for reader in readers]
            branches = tuple(replace(source, name=self._fresh(name)) for name in names)
            self.forks.append(Fork(source, branches))
            for branch, reader in zip(branches, readers):
                buffered = replace(source, name=self._fresh(f"{branch.name}_fifo"))
                self._append(Fifo(operation.name, branch, buffered, 1))
                self.arriving[operation.name, reader.name] = buffered

    def _fresh(self, name: str) -> str:
        """Return `name`, lengthened until no layer bears it."""
        name = fresh(name, self.names)
        self.names.add(name)
        return name

    def _signal(self, name: str) -> Signal:
        return self.network.signals[name]

    def _stream(self, name: str, signal: Signal, extra: int = 0) -> Stream:
        return Stream(
            name, signal.channels, signal.bits, signal.signed, signal.bipolar, prod(signal.shape[:-1]), extra=extra
        )

    def _input(self) -> Stream:
        """Set the input stream up; return what the port gives."""
        name = self.network.input.name
        stream = self._stream(name, self._signal(name))
        whole = 8 * ceil(stream.width / 8)
        pixels = stream.vectors > 1 and self.config.in_width is None
        width = whole if pixels else min(whole, _beat_bits(self.network, self.config) or whole)
        beats = ceil(stream.width / width)
        if beats == 1:
            self._last = self.carried[name] = stream
            return stream
        port = Stream(self._fresh(f"{name}_beats"), width, 1, False, False, stream.vectors * beats)
        self._append(WideningConverter(name, port, stream, beats), name)
        return port

    def _output_converter(self, result: Stream) -> NarrowingConverter | None:
        width = result.channels * score_bits(result) + class_bits(result)
        whole = 8 * ceil(width / 8)
        beat = min(whole, self.config.out_width or whole)
        count = ceil(width / beat)
        if count == 1:
            return None
        framed = Stream(self._fresh("result"), beat * count, 1, False, False, result.vectors)
        beats = Stream(self._fresh("result_beats"), beat, 1, False, False, result.vectors * count)
        return NarrowingConverter(self.network.output.name, framed, beats, count)

    def _weighted(self, operation: Dense | Conv2d, pools: list[MaxPool2d], threshold: Threshold | None) -> None:
        """Append a layer with weights, and the threshold behind it in front of the max-pools between them."""
        name, signal = operation.name, self._signal(operation.name)
        flag_channels = 0
        if isinstance(operation, Conv2d):
            self._buffer(f"{name}_fifo", operation)
            _, *kernel, channels = operation.weight.shape
            flagged = any(operation.padding) and operation.pad_value == 0 and self.last.bipolar
            flag_channels = channels if flagged else 0
            self._window(
                operation,
                (kernel[0], kernel[1]),
                operation.stride,
                operation.padding,
                int(operation.pad_value > 0),
                flagged,
            )
        weights, thresholds = operation.weight.reshape(signal.channels, -1), None
        result = self._stream(name, signal)
        if threshold is not None:
            weights = weights * threshold.direction[:, None]
            thresholds = threshold.threshold * threshold.direction
            result = replace(result, bits=1, signed=False, bipolar=True)
        unit = self._neurons(name, self.last, result, signal, weights, thresholds, flag_channels)
        if isinstance(unit, Mvtu) and threshold is None and self._gives_scores(operation):
            unit = self._in_groups_of_neurons(unit)
        end = operation if threshold is None else threshold
        self._append(unit, None if pools else end.name)
        readers = self.network.consumers(end.name)
        buffered = not pools and (len(readers) > 1 or any(isinstance(reader, _WITH_FIFOS) for reader in readers))
        if isinstance(unit, Mvtu) and not buffered:
            self._buffer(f"{name}_results", operation)
        if threshold is not None:
            for pool in pools:
                last = pool is pools[-1]
                self._pool(pool, threshold.name if last else None, threshold.direction < 0)

    def _neurons(
        self,
        name: str,
        source: Stream,
        result: Stream,
        signal: Signal,
        weights: NDArray[np.int8],
        thresholds: IntArray | None,
        flag_channels: int = 0,
    ) -> Mvtu | UnrolledMvtu:
        """Return the neurons of the layer `name`, folded or unrolled as configured; `signal` is that of their sums."""
        architecture = self.config.clocked(name)
        core = f"{self.network.name}_{name}_ADDERS"
        if isinstance(architecture, Folded):
            taken = np.flatnonzero(weights.any(0) | bool(flag_channels))
            if not taken.size:
                taken = np.arange(1)
            weights = weights[:, taken]
            register = memory_register(self.config.clock_ns)
            return Mvtu(name, source, result, weights, thresholds, architecture, core, register, taken, flag_channels)
        if thresholds is None:
            ends = (-2, 1) if flag_channels else source.range  # a flagged value has two bits
            result = _widened(result, signal, weights, ends)
        circuit = _adders(
            core,
            weights.shape,
            weights.astype(np.int8).tobytes(),
            2 if flag_channels else source.bits,
            bool(flag_channels) or source.signed,
            source.bipolar and not flag_channels,
            None if thresholds is None else thresholds.astype(np.int64).tobytes(),
            result.bits,
            architecture,
        )
        return UnrolledMvtu(name, source, result, circuit, core, flag_channels)

    def _recurrent(self, operation: Recurrent) -> None:
        self._buffer(f"{operation.name}_sums", operation)
        name, direction = operation.name, operation.direction
        weights = operation.weight.astype(np.int8) * direction[:, None]
        ones = np.ones(len(weights), np.int64)
        state = Signal((len(weights),), -ones, ones, bipolar=True, step=2)
        signal = Dense("fed_back", ("state",), weight=weights).infer(state)
        source, part = (self._stream(f"{name}_{of}", known) for of, known in (("state", state), ("part", signal)))
        feedback = self._neurons(name, source, part, signal, weights, None)
        result = self._stream(name, self._signal(name))
        bounds = operation.threshold * direction, operation.first * direction
        settings = *bounds, direction < 0, operation.shift, operation.last
        self._append(Recurrence(name, self.last, result, feedback, *settings), name)

    def _buffer(self, name: str, operation: Operation) -> None:
        """Append a FIFO, unless that is at the input port or behind a FIFO.

        One behind a folded layer keeps the path of ready signals short, which else limits the clock; one in front of a
        window takes vectors in while that pauses for padding.
        """
        if self.units and not self._buffered(self.last):
            stream = replace(self.last, name=self._fresh(name))
            self._append(Fifo(operation.name, self.last, stream, 1))

    def _window(
        self,
        operation: Operation,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
        pad: int,
        flagged: bool,
    ) -> None:
        height, width, channels = self._signal(operation.inputs[0]).shape
        rows, columns = self._signal(operation.name).shape[:2]
        taps = kernel[0] * kernel[1]
        stream = replace(
            self.last,
            name=self._fresh(f"{operation.name}_window"),
            channels=taps * channels,
            vectors=rows * columns,
            extra=taps if flagged else 0,
        )
        self._append(
            SlidingWindow(operation.name, self.last, stream, height, width, kernel, stride, padding, pad, flagged)
        )

    def _pool(self, operation: MaxPool2d, carries: str | None, all_of: NDArray[np.bool_] | None = None) -> None:
        pixels = self.last
        lowest = 1 << (pixels.bits - 1) if pixels.signed else 0  # never the maximum, unless all are
        self._window(operation, operation.size, operation.stride, operation.padding, pad=lowest, flagged=False)
        stream = replace(pixels, name=operation.name, vectors=self.last.vectors)
        if all_of is None:
            all_of = np.zeros(pixels.channels, bool)
        self._append(Pool(operation.name, self.last, stream, operation.size[0] * operation.size[1], all_of), carries)

    def _sum_pool(self, operation: SumPool2d) -> None:
        result = self._stream(operation.name, self._signal(operation.name))
        if operation.size == self._signal(operation.inputs[0]).shape[:2]:
            self._append(GlobalSum(operation.name, self.last, result), operation.name)
            return
        self._window(operation, operation.size, operation.stride, (0, 0, 0, 0), pad=0, flagged=False)
        taps = operation.size[0] * operation.size[1]
        self._append(SumPool(operation.name, self.last, result, taps), operation.name)

    def _buffered(self, stream: Stream) -> bool:
        return any(isinstance(unit, Fifo) and unit.result is stream for unit in self.units)

    def _add(self, operation: Add) -> None:
        operands = []
        for name in operation.inputs:
            operand = self.arriving[name, operation.name]
            if not self._buffered(operand):
                buffered = replace(operand, name=self._fresh(f"{name}_fifo"))
                self._append(Fifo(operation.name, operand, buffered, 1))
                operand = buffered
            operands.append(operand)
        result = self._stream(operation.name, self._signal(operation.name))
        width = sum(operand.width for operand in operands)
        source = Stream(self._fresh(f"{operation.name}_operands"), width, 1, False, False, result.vectors)
        self._append(Sum(operation.name, source, result, tuple(operands), operation.shifts), operation.name)

    def _multi_threshold(self, operation: MultiThreshold) -> None:
        result = self._stream(operation.name, self._signal(operation.name))
        settings = operation.threshold, operation.direction, operation.low, operation.step
        self._append(MultiThresholdUnit(operation.name, self.last, result, *settings), operation.name)

    def _threshold(self, operation: Threshold) -> None:
        stream = self._stream(operation.name, self._signal(operation.name))
        self._append(
            ThresholdUnit(operation.name, self.last, stream, operation.threshold, operation.direction), operation.name
        )

    def _flatten(self, operation: Flatten) -> None:
        if self.last.vectors == 1:
            self.carried[operation.name] = self.last
            return
        stream = self._stream(operation.name, self._signal(operation.name))
        self._append(WideningConverter(operation.name, self.last, stream, self.last.vectors), operation.name)

    def _gives_scores(self, operation: Operation) -> bool:
        """Return whether nothing but an affine and an argmax, one of them at least, is behind a layer."""
        readers = self.network.consumers(operation.name)
        if len(readers) != 1 or not isinstance(readers[0], Affine | Argmax):
            return False
        return readers[0] is self.network.output or self._gives_scores(readers[0])

    def _in_groups_of_neurons(self, unit: Mvtu) -> Mvtu:
        """Return `unit` with a result for each group of neurons, if what follows takes so few scores at a time."""
        neurons, folds = unit.result.channels, unit.folds[0]
        group = ceil(neurons / folds)
        if group * folds != neurons or group % self._at_a_time(neurons, unit.interval):
            return unit
        return replace(unit, result=replace(unit.result, channels=group, vectors=folds))

    def _at_a_time(self, scores: int, interval: int = 1) -> int:
        """Return how many of a frame's scores are handed on at a time: the fewest that keep up, a divisor of all."""
        interval = max(interval, *(unit.interval for unit in self.units), 1)
        return next(n for n in range(1, scores + 1) if scores % n == 0 and scores // n <= interval)

    def _serialise(self, operation: Operation, channels: int) -> None:
        """Cut the last stream, of fewer channels already or of all, into vectors of `channels`."""
        if (count := self.last.channels // channels) > 1:
            name = self._fresh(f"{operation.name}_operands")
            stream = replace(self.last, name=name, channels=channels, vectors=count * self.last.vectors)
            self._append(NarrowingConverter(operation.name, self.last, stream, count))

    def _parallelise(self, operation: Operation) -> None:
        """Collect what comes a few scores at a time."""
        if (count := self.last.vectors) > 1:
            name = self._fresh(f"{operation.name}_scores")
            stream = replace(self.last, name=name, channels=count * self.last.channels, vectors=1)
            self._append(WideningConverter(operation.name, self.last, stream, count))

    def _affine(self, operation: Affine) -> None:
        sums, scores = self._signal(operation.inputs[0]), self._signal(operation.name)
        scale, offset, stream = operation.scale, operation.offset, self._stream(operation.name, scores)
        narrow = self.config.output == "class"
        if narrow:
            scale, offset, (low, high) = narrowed(scale, offset, sums)
            stream = replace(stream, bits=1 + max(high.bit_length(), (-low - 1).bit_length()), signed=True)
        channels = self._at_a_time(sums.channels)
        self._serialise(operation, channels)
        stream = replace(stream, channels=channels, vectors=self.last.vectors)
        kind = ParallelAffine if channels == sums.channels else SerialAffine
        self._append(kind(operation.name, self.last, stream, scale, offset), None if narrow else operation.name)
        if operation is self.network.output:
            self._parallelise(operation)

    def _argmax(self, operation: Argmax) -> None:
        classes = self._signal(operation.inputs[0]).channels
        serial = classes > 1 and self._at_a_time(classes) == 1
        if serial:
            self._serialise(operation, 1)
        else:
            self._parallelise(operation)
        given = classes if self.config.output == "scores" else 0
        extra = max(1, (classes - 1).bit_length())
        stream = replace(self.last, name=operation.name, channels=given, vectors=1, extra=extra)
        kind = SerialArgmax if serial else TreeArgmax
        self._append(kind(operation.name, self.last, stream))


def _widened(result: Stream, signal: Signal, weights: NDArray[np.int8], ends: tuple[int, int]) -> Stream:
    """Return `result` wide enough for sums of all values that an input's bits can hold, where not all occur."""
    positive, negative = ((weights == sign).sum(1, dtype=np.int64) for sign in (1, -1))
    smallest, largest = ends
    low = int((positive * smallest - negative * largest).min())
    high = int((positive * largest - negative * smallest).max())
    if signal.low.min() <= low and high <= signal.high.max():
        return result
    return replace(result, bits=1 + max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0), signed=True)


@lru_cache(maxsize=32)
def _adders(
    name: str,
    shape: tuple[int, int],
    weights: bytes,
    input_bits: int,
    input_signed: bool,
    bipolar: bool,
    thresholds: bytes | None,
    output_bits: int,
    architecture: Unrolled,
) -> popcount.UnrolledMatrix:
    """Return :func:`popcount.unrolled`; remembered, because the search for a folding lowers again and again."""
    assert architecture.levels_per_stage is not None, "the configuration's clock says how many"
    return popcount.unrolled(
        name,
        np.frombuffer(weights, np.int8).reshape(shape),
        input_bits,
        input_signed,
        bipolar,
        None if thresholds is None else np.frombuffer(thresholds, np.int64),
        output_bits,
        architecture.levels_per_stage,
        architecture.effort,
    )
