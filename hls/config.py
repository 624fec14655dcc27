"""What the user decides about an hls4ml project."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Conv2d, Dense, Network, Signal
from xnorflow.hls import clock
from xnorflow.hls.storage import packed

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "style": ("packed", "stock"),
    "backend": ("vitis", "vivado"),
    "io_type": ("auto", "io_parallel", "io_stream"),
    "strategy": ("auto", "latency", "resource"),
}
PARTITIONED = 1024
"""Most elements of an array that is partitioned completely, into registers."""

Hls4mlDict = dict[str, Any]
"""A layer, or settings of layers, as hls4ml itself describes them: what ``ModelGraph.from_layer_list`` takes."""

_PER_LAYER = ("reuse_factor", "strategy")


@dataclass(frozen=True)
class HlsConfig:
    """Configuration of an hls4ml project.

    Attributes
    ----------
    style : {"packed", "stock"}
        See :mod:`hls`.
    backend : {"vitis", "vivado"}
    io_type : {"auto", "io_parallel", "io_stream"}
        Whole vectors in registers, or streams of pixels. "auto" streams networks that hold images: in parallel, their
        feature maps become registers, and compiling hls4ml's stock convolutions takes minutes.
    part : str
        FPGA part, also of the RTL where Vivado takes it. The default, a Zynq-7020, is on common boards (PYNQ-Z2, Zybo)
        and in the free edition of the tools.
    clock_ns : float
        Target clock period in nanoseconds.
    strategy : {"auto", "latency", "resource"}
        "latency" unrolls a layer; "resource" keeps the weights in memory and computes 1/`reuse_factor` of the layer per
        cycle, or a little more. "auto" chooses by the goal: see :mod:`xnorflow.hls.folding` for the packed style and
        :func:`xnorflow.hls.stock.shared` for the stock one.
    reuse_factor : int or None
        How often each operator is used per input vector, 1 or more; None leaves it to the goal.
    target_fps : float or None
        Vectors per second to reach at the clock, at the least area.
    max_luts : int or None
        Estimated LUTs to stay within, at the highest rate; the rate gives way.
    layers : mapping of layer name to mapping
        ``reuse_factor`` and ``strategy`` of single :class:`~xnorflow.bnn.network.Dense` and
        :class:`~xnorflow.bnn.network.Conv2d` layers.

    Raises
    ------
    UserError
        If a value is not among the choices, which the message lists.
    """

    style: str = "packed"
    backend: str = "vitis"
    io_type: str = "auto"
    part: str = "xc7z020clg400-1"
    clock_ns: float = 5.0
    strategy: str = "auto"
    reuse_factor: int | None = None
    target_fps: float | None = 50_000.0
    max_luts: int | None = 20_000
    layers: Mapping[str, Hls4mlDict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _CHOICES:
            _check(name, getattr(self, name), "hls")
        _check("reuse_factor", self.reuse_factor, "hls")
        for name in ("target_fps", "max_luts"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
                raise UserError(f"hls: {name} must be a number above 0, got {value!r}")
        clock.check(self.clock_ns, "hls")
        if not self.part or not self.part.replace("-", "").replace("_", "").isalnum():
            raise UserError(f"hls: part must name an FPGA part such as xc7z020clg400-1, got {self.part!r}")
        for layer, settings in self.layers.items():
            for name, value in settings.items():
                if name not in _PER_LAYER:
                    raise UserError(f"hls, layer {layer}: unknown setting {name!r}; there are {', '.join(_PER_LAYER)}")
                _check(name, value, f"hls, layer {layer}")

    def of(self, layer: str) -> tuple[int | None, str]:
        """Return the reuse factor and the strategy of a layer."""
        settings = self.layers.get(layer, {})
        return settings.get("reuse_factor", self.reuse_factor), settings.get("strategy", self.strategy)

    def resolve(self, network: Network) -> "HlsConfig":
        """Return the configuration for a network, with an `io_type` that is not "auto".

        Raises
        ------
        UserError
            If `layers` names something that is no layer with weights of `network`.
        """
        names = [operation.name for operation in network.operations if isinstance(operation, Dense | Conv2d)]
        for layer in self.layers:
            if layer not in names:
                raise UserError(f"hls: no layer {layer!r} with weights in {network.name}; there are {', '.join(names)}")
        if self.io_type != "auto":
            return self
        signals = network.signals.values()
        large = any(len(signal.shape) == 3 or self._elements(signal) > PARTITIONED for signal in signals)
        return replace(self, io_type="io_stream" if large else "io_parallel")

    def _elements(self, signal: Signal) -> int:
        """Return how many variables hold a pixel: stock layers have one for each value."""
        return packed(signal).elements if self.style == "packed" else signal.channels

    def check_registers(self, layer: str, count: int) -> None:
        """See that values which become registers are no more than HLS tools take.

        Raises
        ------
        UserError
            If they are.
        """
        if self.io_type == "io_parallel" and count > PARTITIONED:
            raise UserError(
                f"hls, layer {layer}: io_parallel makes {count:,} registers of a layer's values, HLS tools take"
                f" {PARTITIONED:,}; use io_stream or auto"
            )


def _check(name: str, value: Any, where: str) -> None:
    if name == "reuse_factor":
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise UserError(f"{where}: reuse_factor must be a whole number of 1 or more, got {value!r}")
    elif value not in _CHOICES[name]:
        raise UserError(f"{where}: {name} must be one of {', '.join(_CHOICES[name])}; got {value!r}")
