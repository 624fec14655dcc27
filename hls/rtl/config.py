"""What the user decides about an RTL project."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Literal

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Conv2d, Dense, Network, Recurrent
from xnorflow.bnn.planes import ternary
from xnorflow.hls import clock
from xnorflow.hls.delays import levels_per_stage


def _check_whole(**values: object) -> None:
    for what, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"rtl: {what} must be a whole number of 1 or more, got {value!r}")


@dataclass(frozen=True)
class Folded:
    """A layer computed piece by piece: `pe` neurons at a time, `simd` of their inputs per cycle, weights in memory.

    A vector takes ``ceil(neurons / pe) * ceil(inputs / simd)`` cycles; neither needs to divide. Values beyond the
    layer's size mean the layer's size.

    Attributes
    ----------
    pe, simd : int
    levels_per_stage : int or None
        Adders in a row between two pipeline registers where a neuron's inputs are added up, 1 or more. None: as many as
        the clock allows (:func:`xnorflow.hls.delays.levels_per_stage`).
    """

    pe: int = 1
    simd: int = 8
    levels_per_stage: int | None = None

    def __post_init__(self) -> None:
        _check_whole(pe=self.pe, simd=self.simd)
        if self.levels_per_stage is not None:
            _check_whole(levels_per_stage=self.levels_per_stage)

    def folds(self, neurons: int, inputs: int) -> tuple[int, int]:
        """Return how many groups of neurons and of inputs a layer of this size has, one pair per cycle."""
        return ceil(neurons / self.pe), ceil(inputs / self.simd)

    def __str__(self) -> str:
        return f"{self.pe} PE x {self.simd} SIMD"


@dataclass(frozen=True)
class Unrolled:
    """A layer with hard-wired weights that takes a vector in every cycle.

    Attributes
    ----------
    levels_per_stage : int or None
        Adders in a row between two pipeline registers, 1 or more. None: as many as the clock allows.
    effort : {"fast", "high"}
        How long to look for sums that neurons can share.
    """

    levels_per_stage: int | None = None
    effort: Literal["fast", "high"] = "fast"

    def __post_init__(self) -> None:
        if self.levels_per_stage is not None:
            _check_whole(levels_per_stage=self.levels_per_stage)
        if self.effort not in ("fast", "high"):
            raise UserError(f"rtl: effort must be fast or high, got {self.effort!r}")

    def __str__(self) -> str:
        return f"unrolled, {self.effort} effort"


@dataclass(frozen=True)
class RtlConfig:
    """Configuration of an RTL project.

    Attributes
    ----------
    layers : mapping of layer name to Folded or Unrolled
        Architecture of single :class:`~xnorflow.bnn.network.Dense`, :class:`~xnorflow.bnn.network.Conv2d` and
        :class:`~xnorflow.bnn.network.Recurrent` layers.
    default : Folded or Unrolled
        Architecture of the others.
    clock_ns : float
        Clock period in nanoseconds: the shorter it is, the fewer adders stand between two pipeline registers.
    in_width, out_width : int or None
        Bits of the AXI4-Stream ports, a multiple of 8. None chooses: 64 or the vector's width for the input (the whole
        vector in front of an unrolled layer), the whole result for the output.
    output : {"scores", "class"}
        What a network with an argmax gives: the scores and the class, or the class alone, whose scores then have no
        more bits than it needs.
    """

    layers: Mapping[str, Folded | Unrolled] = field(default_factory=dict)
    default: Folded | Unrolled = field(default_factory=Folded)
    clock_ns: float = 10.0
    in_width: int | None = None
    out_width: int | None = None
    output: Literal["scores", "class"] = "scores"

    def __post_init__(self) -> None:
        for what in ("in_width", "out_width"):
            width = getattr(self, what)
            if width is not None and (not isinstance(width, int) or width < 8 or width % 8):
                raise UserError(f"rtl: {what} must be a multiple of 8 bits, 8 or more, got {width!r}")
        if self.output not in ("scores", "class"):
            raise UserError(f"rtl: output must be scores or class, got {self.output!r}")
        clock.check(self.clock_ns, "rtl")

    def of(self, layer: str) -> Folded | Unrolled:
        """Return the architecture of a layer."""
        return self.layers.get(layer, self.default)

    def clocked(self, layer: str) -> Folded | Unrolled:
        """Return the architecture of a layer with as many adders in a row as it wants, or as the clock allows."""
        architecture = self.of(layer)
        levels = architecture.levels_per_stage or levels_per_stage(self.clock_ns)
        return replace(architecture, levels_per_stage=levels)

    def spread(self, network: Network) -> "RtlConfig":
        """Return a configuration that gives the planes of integer weights the architectures of their layers.

        Raises
        ------
        UserError
            If `layers` names something that is no layer with weights of `network`, nor a plane of one.
        """
        names = [
            operation.name for operation in network.operations if isinstance(operation, Dense | Conv2d | Recurrent)
        ]
        _, parts = ternary(network)
        for layer in self.layers:
            if layer not in (*names, *parts):
                raise UserError(f"rtl: no layer {layer!r} with weights in {network.name}; there are {', '.join(names)}")
        given = {part: self.layers[layer] for part, layer in parts.items() if layer in self.layers}
        return replace(self, layers={**given, **self.layers})
