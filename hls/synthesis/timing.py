"""Cycles and a clock frequency: nanoseconds and images per second."""

from dataclasses import dataclass
from typing import Literal

from hls.synthesis.nextpnr import Placement

#: Where a number of cycles comes from: measured in a simulation, or followed by the exact cycle model.
Origin = Literal["simulated", "cycle model"]


@dataclass(frozen=True)
class Speed:
    """What a placed and routed design does at its highest frequency.

    Attributes
    ----------
    clock_mhz : float
    latency_cycles, interval_cycles : int
    latency_ns : float
        From the clock edge that takes a frame's first beat to the one that takes its last result beat.
    images_per_second : float
        Frame after frame, without pauses.
    provenance : str
        Of the two times: where frequency and cycles come from.
    """

    clock_mhz: float
    latency_cycles: int
    interval_cycles: int
    latency_ns: float
    images_per_second: float
    provenance: str


def speed(placement: Placement, latency: int, interval: int, origin: Origin) -> Speed:
    """Return the speed of a placed and routed design.

    Parameters
    ----------
    placement : Placement
    latency, interval : int
        Clock cycles, 1 or more; see :mod:`cosim.rtl`.
    origin : {"simulated", "cycle model"}
        Of the cycles.
    """
    return Speed(
        clock_mhz=placement.fmax_mhz,
        latency_cycles=latency,
        interval_cycles=interval,
        latency_ns=latency * 1e3 / placement.fmax_mhz,
        images_per_second=placement.fmax_mhz * 1e6 / interval,
        provenance=f"frequency placed and routed ({placement.tool}, {placement.device}), cycles by "
        + ("simulation" if origin == "simulated" else "the cycle model"),
    )
