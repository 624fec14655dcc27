"""What a packed hls4ml project is expected to take, without the vendor's tools: cycles and LUTs, by formulas."""

from collections.abc import Mapping
from dataclasses import dataclass

from xnorflow.hls.config import HlsConfig
from xnorflow.hls.folding import PRICES, Price
from xnorflow.hls.schedule import LEAST_DEPTH, PIPELINE_DEPTH, Schedule

FORMULA = (
    "cycles: every layer is a loop of one iteration per cycle, whose iterations are counted, and the RTL's cycle "
    "model puts them one behind another through FIFOs. LUTs, of six inputs, of a folded layer: lane x inputs x "
    "neurons in parallel, accumulator x its bits x neurons in parallel, choice x bits of the window, result x "
    "neurons, a LUT for 32 bits of line buffers, and control; of an unrolled one: shared adder x weights x bits of an "
    "input, and control; of a recurrent one: 1.5 (2 with zero weights) x its channels x neurons in parallel, 2 x bits "
    "of an operand x neurons in parallel, and 40. Thresholds: bits that come in, for each threshold; scales: bits "
    "that come in x bits of the result; sums and pools: bits of the result, and line buffers. Memories are counted in "
    "bits, and what an HLS tool adds (state machines, FIFOs) is not"
)

SCHEDULING = (
    Price(
        "pipeline", PIPELINE_DEPTH, "cycles", "assumed; HLS tools choose the depth of a loop's pipeline by the clock"
    ),
    Price("FIFO", LEAST_DEPTH, "entries at least", "what HLS tools give a FIFO that is not told its depth"),
)
"""Of the cycles."""


@dataclass(frozen=True)
class LayerEstimate:
    """A loop of the project.

    Attributes
    ----------
    name : str
        Operation of the network.
    config : str
        Structure of its numbers in ``parameters.h``, which HLS tools put into the name of its module.
    folding : str or None
        Of a layer with weights.
    cycles : int
        Per frame.
    luts : int
        Of six inputs.
    memory_bits : int
        Of weights and what accumulators start from.
    """

    name: str
    config: str
    folding: str | None
    cycles: int
    luts: int
    memory_bits: int


@dataclass(frozen=True)
class HlsEstimate:
    """What a project is expected to take.

    Attributes
    ----------
    part, io_type : str
    clock_ns : float
    goal : str
        What the foldings were chosen by.
    latency, interval : int
        Clock cycles, stalls between the layers included.
    luts, memory_bits : int
        Of all layers.
    layers : tuple of LayerEstimate
    notes : tuple of str
        What could not be had, and what is large for a tool.
    formula : str
    constants : tuple of Price
    provenance : str
        "estimated".
    """

    part: str
    io_type: str
    clock_ns: float
    goal: str
    latency: int
    interval: int
    luts: int
    memory_bits: int
    layers: tuple[LayerEstimate, ...]
    notes: tuple[str, ...]
    formula: str = FORMULA
    constants: tuple[Price, ...] = (*PRICES, *SCHEDULING)
    provenance: str = "estimated"

    def __str__(self) -> str:
        text = f"estimated {self.luts:,} LUTs, latency {self.latency:,} and interval {self.interval:,} cycles"
        return "; ".join([text, *self.notes])


def estimate(schedule: Schedule, config: HlsConfig, configs: Mapping[str, str]) -> HlsEstimate:
    """Estimate what a packed project takes.

    Parameters
    ----------
    schedule : Schedule
    config : HlsConfig
    configs : mapping of str to str
        By layer of hls4ml's graph: the structure of its numbers.
    """
    layers = tuple(
        LayerEstimate(
            process.operation,
            configs[process.layer],
            str(schedule.plan.layers[process.operation]) if process.operation in schedule.plan.layers else None,
            process.steps_per_frame,
            process.luts,
            process.memory_bits,
        )
        for process in schedule.processes
    )
    return HlsEstimate(
        config.part,
        config.io_type,
        config.clock_ns,
        _goal(config),
        schedule.timing.latency,
        schedule.timing.interval,
        sum(layer.luts for layer in layers),
        sum(layer.memory_bits for layer in layers),
        layers,
        schedule.plan.notes,
    )


def _goal(config: HlsConfig) -> str:
    rate = f"{config.target_fps:,.0f} vectors/s at {1e3 / config.clock_ns:g} MHz" if config.target_fps else ""
    area = f"at most {config.max_luts:,.0f} LUTs" if config.max_luts else ""
    asked = " and ".join(filter(None, (rate, area))) or "the highest rate"
    single = [f"{layer} by itself" for layer in config.layers]
    strategy = "" if config.strategy == "auto" else f'strategy "{config.strategy}"'
    return ", ".join(filter(None, (strategy, asked, *single)))
