"""The clock cycles that a simulation of hardware measures.

Cycles are rising edges of the clock. A frame's latency counts from the edge at which its first beat is taken to the
edge at which its last result beat is (a single register between the two: 1); its interval counts from the last result
beat of the frame before to its own. Both are measured with all frames back to back and a sink that is always ready.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.hls.rtl.cycles import CycleModel


@dataclass(frozen=True)
class Spread:
    """Clock cycles over all measured frames."""

    minimum: int
    median: float
    maximum: int

    @classmethod
    def of(cls, cycles: NDArray[np.integer[Any]]) -> "Spread | None":
        """Return the spread of `cycles`, or None if there are none."""
        return cls(int(cycles.min()), float(np.median(cycles)), int(cycles.max())) if cycles.size else None


@dataclass(frozen=True, eq=False)
class Timing:
    """When frames went in and came out, in a pass without stalls.

    Attributes
    ----------
    first_in, last_out : int64 array, shape (frames,)
        Clock cycle at which the first beat was taken, and at which the last result beat was; counted from the
        first beat of the first frame.
    """

    first_in: NDArray[np.int64]
    last_out: NDArray[np.int64]

    @property
    def latency(self) -> Spread | None:
        """Cycles from a frame's first beat in to its last beat out."""
        return Spread.of(self.last_out - self.first_in)

    @property
    def interval(self) -> Spread | None:
        """Cycles between successive frames' last beats out; None for a single frame."""
        return Spread.of(np.diff(self.last_out))

    def deviation(self, model: CycleModel) -> str | None:
        """Say which frame is the first whose cycles are not those of `model`; None if there is none.

        Frames beyond those that the model has followed must come and go at its interval.
        """
        followed = np.array([(frame.first_in, frame.last_out) for frame in model.frames], np.int64)
        beyond = np.maximum(np.arange(len(self.first_in)) - len(followed) + 1, 0)
        expected = followed[np.minimum(np.arange(len(beyond)), len(followed) - 1)] + model.interval * beyond[:, None]
        measured = np.stack([self.first_in, self.last_out], axis=1)
        wrong = np.flatnonzero((measured != expected).any(axis=1))
        if not wrong.size:
            return None
        frame = int(wrong[0])
        (first, last), (due_first, due_last) = measured[frame], expected[frame]
        return (
            f"frame {frame} of {len(measured)} came in cycle {first} and left in cycle {last};"
            f" the cycle model says {due_first} and {due_last}"
        )
