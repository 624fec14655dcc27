"""RTL of the generator's, of a small image network, with faults planted in it."""

from collections.abc import Mapping
from pathlib import Path

from bnn.network import Network
from hls.rtl import project
from hls.rtl.config import Folded, RtlConfig

#: What is wrong -> (end of the file's name, text in it, what stands there instead).
FAULTS: Mapping[str, tuple[str, str, str]] = {
    "a swapped weight bit": ("conv2_weights.mem", "3\n7\n", "2\n7\n"),
    "a queue off by one": ("conv2_queue.v", "in_ready = count != 3", "in_ready = count <= 3"),
    "a dropped tready": ("conv1.v", "in_ready = enable && free", "in_ready = free"),
}


def faulty(network: Network, folder: Path, fault: str) -> project.RtlProject:
    """Write the RTL of `network`, that of ``small_image``, with one of :data:`FAULTS`."""
    made = project.write(network, folder, RtlConfig(default=Folded(1, 3), layers={"conv1": Folded(3, 18)}))
    name, old, new = FAULTS[fault]
    (path,) = made.folder.glob(f"*_{name}")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    return made
