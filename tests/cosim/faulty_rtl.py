"""RTL of the generator's, of a small image network, with faults planted in it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tests.hls.rtl.networks import small_image

from xnorflow.bnn.network import Dense, Network, Threshold
from xnorflow.hls.rtl import project
from xnorflow.hls.rtl.config import Folded, RtlConfig

#: What is wrong -> (end of the file's name, text in it, what stands there instead).
FAULTS: Mapping[str, tuple[str, str, str]] = {
    "a swapped weight bit": ("conv2_weights.mem", "3\n7\n", "2\n7\n"),
    "a FIFO off by one": ("conv2_fifo.v", "in_ready = count != 3", "in_ready = count <= 3"),
    "a FIFO of one vector that takes two": ("dense1_results.v", "in_ready = !full", "in_ready = 1'b1"),
    "a dropped tready": ("conv1.v", "in_ready = enable && free", "in_ready = free"),
    "a tap outside the image that is not counted": ("conv2.v", "absent <= !in_data[27] + ", "absent <= "),
    "another word of block memory": ("dense1.v", "word <= weight_memory[address]", "word <= weight_memory[~address]"),
}

#: Those that show where the sink makes results wait alone, which CXXRTL's never does.
NEED_STALLS = {"a FIFO of one vector that takes two"}


def network() -> Network:
    """Return ``small_image`` with a dense layer more, whose weights are many enough for block memory."""
    *features, _, argmax = (image := small_image()).operations
    rng = np.random.default_rng(1)
    return Network(
        image.name,
        (
            *features,
            Dense("dense1", ("flatten",), rng.choice(np.array([-1, 1], np.int8), (96, 45))),
            Threshold("sign3", ("dense1",), rng.integers(-3, 4, 96), np.ones(96, np.int8)),
            Dense("dense", ("sign3",), rng.choice(np.array([-1, 1], np.int8), (8, 96))),
            argmax,
        ),
    )


def faulty(folder: Path, fault: str) -> project.RtlProject:
    """Write the RTL of :func:`network` with one of :data:`FAULTS`."""
    layers = {"conv1": Folded(3, 18), "dense1": Folded(1, 45), "dense": Folded(1, 5)}
    made = project.write(network(), folder, RtlConfig(default=Folded(1, 3), layers=layers))
    name, old, new = FAULTS[fault]
    (path,) = made.folder.glob(f"*_{name}")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    return made
