"""The points of a sweep."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SweptPoint:
    """A point of a sweep; None for what is not known.

    Attributes
    ----------
    number : int
    model : str
    target_fps, max_luts, architecture, clock_ns
        What was asked for.
    status : {"estimated", "refused"}
    reason : str or None
        Why it is refused.
    fps : float or None
        Vectors a second; exact, as `latency_us` and, in cycles, `interval` and `latency`.
    luts : int or None
        Estimated.
    reachable_fps, reachable_luts
        Those of the nearest point that can be, where it is refused.
    pareto : bool
        Whether no other of its model beats it.
    verdict, accuracy : str or None, float or None
        Of the flow that it went through, as all that follows; the accuracy is the golden model's.
    synthesised_luts, target
        LUTs, and what they were synthesised for.
    luts_error : float or None
        Of the estimate, relative to these.
    energy_nj : float or None
        Per inference, estimated.
    report : str or None
        Folder of the report.
    """

    number: int
    model: str
    target_fps: float | None
    max_luts: int | None
    architecture: str | None
    clock_ns: float
    status: Literal["estimated", "refused"]
    reason: str | None = None
    fps: float | None = None
    latency_us: float | None = None
    interval: int | None = None
    latency: int | None = None
    luts: int | None = None
    reachable_fps: float | None = None
    reachable_luts: int | None = None
    pareto: bool = False
    verdict: str | None = None
    accuracy: float | None = None
    synthesised_luts: int | None = None
    target: str | None = None
    luts_error: float | None = None
    energy_nj: float | None = None
    report: str | None = None

    @property
    def percent(self) -> float | None:
        """The accuracy in percent."""
        return None if self.accuracy is None else 100 * self.accuracy
