"""RTL that no generator wrote (``totals.v``), as a project for the RTL engines, with faults to plant in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Argmax, Dense, Input, Network
from xnorflow.hls.rtl.cycles import CycleModel

NETWORK = Network(
    "totals",
    (
        Input("x", (), shape=(12,), kind="unsigned", bits=4),
        Dense("scores", ("x",), weight=np.array([[1] * 12, [1] * 6 + [-1] * 6])),
        Argmax("winner", ("scores",)),
    ),
)

#: What is wrong -> (text in totals.v, what stands there instead).
FAULTS: Mapping[str, tuple[str, str]] = {
    "tready dropped": ("wire move = m_axis_tvalid && m_axis_tready", "wire move = m_axis_tvalid"),
    "fifo off by one": ("s_axis_tready = count != 2", "s_axis_tready = count != 3"),
    "tvalid taken back": ("m_axis_tvalid = count != 0", "m_axis_tvalid = count != 0 && !(count == 1 && beat == 2)"),
    "tlast early": ("m_axis_tlast = place == 4", "m_axis_tlast = place == 3"),
    "counter not reset": ("            beat <= 0;\n", ""),
    "stuck": ("m_axis_tvalid = count != 0", "m_axis_tvalid = 1'b0"),
    "wrong sign": ("difference - left - right", "difference - left + right"),
    "loop": (
        "wire move = m_axis_tvalid && m_axis_tready",
        "wire move = m_axis_tvalid && (m_axis_tready && (move || s_axis_tlast))",
    ),
    "syntax": ("wire pop = ", "wire pop == "),
}


@dataclass(frozen=True)
class Scores:
    """The probe of the totals."""

    stream: str = "scores"
    vectors: int = 1

    def unpack(self, words: NDArray[Any]) -> NDArray[Any]:
        return words.reshape(-1, 4).copy().view("<i2").astype(np.int64)


@dataclass(frozen=True)
class Totals:
    """The project; see :class:`xnorflow.cosim.rtl.AxiProject`."""

    folder: Path
    top: str = "totals"
    in_width: int = 16
    in_beats: int = 3
    out_width: int = 8
    out_beats: int = 5
    timing: CycleModel | None = None

    @property
    def sources(self) -> tuple[Path, ...]:
        return (self.folder / "totals.v",)

    @property
    def probes(self) -> Mapping[str, Scores]:
        return {"scores": Scores()}

    def pack(self, inputs: NDArray[Any]) -> NDArray[Any]:
        nibbles = np.asarray(inputs).astype(np.uint8).reshape(-1, 3, 2, 2)
        return nibbles[..., 0] | nibbles[..., 1] << 4

    def unpack(self, beats: NDArray[Any]) -> dict[str, NDArray[Any]]:
        frames = beats.reshape(-1, 5)
        return {"scores": Scores().unpack(frames[:, :4]), "winner": frames[:, 4:].astype(np.int64)}


def totals(folder: Path, fault: str | None = None) -> Totals:
    """Write the project, right or with one of FAULTS in it."""
    text = Path(__file__).with_name("totals.v").read_text()
    if fault:
        right, wrong = FAULTS[fault]
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "totals.v").write_text(text)
    return Totals(folder)
