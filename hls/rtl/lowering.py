"""From a Network and its configuration to the chain of units that computes it.

Exact rewritings on the way, none of which the outputs show:

- A threshold moves in front of the max-pools before it, for both are non-decreasing: pooling bits is an OR where the
  threshold points up and an AND where it points down.
- A layer with weights takes in the threshold that follows; where it points down, the neuron's weights and threshold
  are negated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, prod

from bnn.network import Affine, Argmax, Dense, Flatten, Network, Signal, Threshold
from hls.errors import Unsupported
from hls.rtl.config import RtlConfig, Unrolled
from hls.rtl.units import AffineUnit, Gather, Matrix, Scatter, SerialArgmax, Stream, TreeArgmax, Unit


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The chain of units of a Network.

    Attributes
    ----------
    units : tuple of Unit
        In order; each one's source is the result of the one before.
    source : Stream
        What the input port gives: whole vectors, or beats for a leading :class:`~hls.rtl.units.Gather`.
    result : Stream
        The Network's output, before it is cut into beats.
    scatter : Scatter or None
        Cuts the result into beats where the output port is narrower.
    carried : mapping of layer name to Stream
        The layers whose results can be observed, and where.
    """

    units: tuple[Unit, ...]
    source: Stream
    result: Stream
    scatter: Scatter | None
    carried: Mapping[str, Stream]


def lower(network: Network, config: RtlConfig) -> Pipeline:
    """Return the chain of units for `network`.

    Raises
    ------
    UserError
        If `config` names a layer that is not there.
    """
    config.check(network)
    return _Lowering(network, config).pipeline()


def score_bits(stream: Stream) -> int:
    """Bits of a value at the output port: 1 if bipolar, else two's complement in whole bytes."""
    return 1 if stream.bipolar else 8 * ceil((stream.bits + (not stream.signed)) / 8)


def class_bits(stream: Stream) -> int:
    """Bits of the class at the output port: none without an argmax, else 8 or 16."""
    return 8 * ceil(stream.extra / 8)


class _Lowering:
    def __init__(self, network: Network, config: RtlConfig) -> None:
        self.network, self.config = network, config
        self.units: list[Unit] = []
        self.carried: dict[str, Stream] = {}
        self.names = {operation.name for operation in network.operations}

    def pipeline(self) -> Pipeline:
        source = self._input()
        operations = list(self.network.operations[1:])
        while operations:
            operation = operations.pop(0)
            match operation:
                case Dense():
                    threshold = operations.pop(0) if operations and isinstance(operations[0], Threshold) else None
                    self._matrix(operation, threshold)
                case Flatten():
                    self._flatten(operation)
                case Affine():
                    self._affine(operation)
                case Argmax():
                    self._argmax(operation)
                case _:
                    raise Unsupported(f"layer {operation.name!r}: there is no RTL for {type(operation).__name__} yet")
        result = self.last
        return Pipeline(tuple(self.units), source, result, self._scatter(result), self.carried)

    @property
    def last(self) -> Stream:
        return self._last

    def _append(self, unit: Unit, carries: str | None = None) -> None:
        self.units.append(unit)
        self._last = unit.result
        if carries is not None:
            self.carried[carries] = unit.result

    def _fresh(self, name: str) -> str:
        """Return `name`, lengthened until no layer bears it."""
        while name in self.names:
            name += "_"
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
        weighted = [operation.name for operation in self.network.operations if isinstance(operation, Dense)]
        unrolled = bool(weighted) and isinstance(self.config.of(weighted[0]), Unrolled)
        default = whole if unrolled or stream.vectors > 1 else min(64, whole)
        width = min(whole, self.config.in_width or default)
        beats = ceil(stream.width / width)
        if beats == 1:
            self._last = self.carried[name] = stream
            return stream
        port = Stream(self._fresh(f"{name}_beats"), width, 1, False, False, stream.vectors * beats)
        self._append(Gather(name, port, stream, beats), name)
        return port

    def _scatter(self, result: Stream) -> Scatter | None:
        width = result.channels * score_bits(result) + class_bits(result)
        whole = 8 * ceil(width / 8)
        beat = min(whole, self.config.out_width or whole)
        count = ceil(width / beat)
        if count == 1:
            return None
        framed = Stream(self._fresh("result"), beat * count, 1, False, False, result.vectors)
        beats = Stream(self._fresh("result_beats"), beat, 1, False, False, result.vectors * count)
        return Scatter(self.network.output.name, framed, beats, count)

    def _matrix(self, operation: Dense, threshold: Threshold | None) -> None:
        weights = operation.weight
        thresholds = None
        signal = self._signal(operation.name)
        if threshold is not None:
            signal = self._signal(threshold.name)
            weights = weights * threshold.direction[:, None]
            thresholds = threshold.threshold * threshold.direction
        architecture = self.config.of(operation.name)
        if isinstance(architecture, Unrolled):
            raise Unsupported(f"layer {operation.name!r}: there is no unrolled RTL yet")
        result = self._stream(operation.name, signal)
        carries = (threshold or operation).name
        self._append(Matrix(operation.name, self.last, result, weights, thresholds, architecture), carries)

    def _flatten(self, operation: Flatten) -> None:
        if self.last.vectors == 1:
            self.carried[operation.name] = self.last
            return
        stream = self._stream(operation.name, self._signal(operation.name))
        self._append(Gather(operation.name, self.last, stream, self.last.vectors), operation.name)

    def _slowest(self) -> int:
        return max((unit.interval for unit in self.units), default=1)

    def _affine(self, operation: Affine) -> None:
        stream = self._stream(operation.name, self._signal(operation.name))
        pe = ceil(stream.channels / self._slowest())
        self._append(
            AffineUnit(operation.name, self.last, stream, operation.scale, operation.offset, pe), operation.name
        )

    def _argmax(self, operation: Argmax) -> None:
        classes = self.last.channels
        stream = replace(self.last, name=operation.name, extra=max(1, (classes - 1).bit_length()))
        kind = SerialArgmax if self._slowest() > classes else TreeArgmax
        self._append(kind(operation.name, self.last, stream))
