"""RTL of the generator's, of a small image network, with faults planted in it."""

from collections.abc import Mapping
from pathlib import Path

from bnn.network import Network
from hls.rtl import project
from hls.rtl.config import Folded, RtlConfig

#: What is wrong -> (unit, text in its module, what stands there instead).
FAULTS: Mapping[str, tuple[str, str, str]] = {
    "a queue that overflows": ("conv2_queue", "in_ready = count != ", "in_ready = 1'b1 || count != "),
    "a dropped tready": ("conv1", "in_ready = enable && (!busy || last)", "in_ready = !busy || last"),
}


def faulty(network: Network, folder: Path, fault: str) -> project.RtlProject:
    """Write the RTL of `network`, that of ``small_image``, with one of :data:`FAULTS`."""
    made = project.write(network, folder, RtlConfig(default=Folded(1, 3), layers={"conv1": Folded(3, 18)}))
    unit, old, new = FAULTS[fault]
    (path,) = made.folder.glob(f"*_{unit}.v")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    return made
