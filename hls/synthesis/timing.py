"""Cycles and a clock frequency: nanoseconds and images per second."""

from dataclasses import dataclass

from xnorflow.hls.synthesis.nextpnr import Placement


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
    """

    clock_mhz: float
    latency_cycles: int
    interval_cycles: int
    latency_ns: float
    images_per_second: float


def speed(placement: Placement, latency: int, interval: int) -> Speed:
    """Return the speed of a placed and routed design.

    Parameters
    ----------
    placement : Placement
    latency, interval : int
        Clock cycles, 1 or more; see :mod:`xnorflow.cosim.rtl`.
    """
    return Speed(
        clock_mhz=placement.fmax_mhz,
        latency_cycles=latency,
        interval_cycles=interval,
        latency_ns=latency * 1e3 / placement.fmax_mhz,
        images_per_second=placement.fmax_mhz * 1e6 / interval,
    )
