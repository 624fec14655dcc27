"""The configuration files that come with the project reach what they and the README say."""

import pytest

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.frontends.torch import convert
from xnorflow.flows import options
from xnorflow.flows.cache import PROJECT
from xnorflow.flows.folding import fold_rtl
from xnorflow.models import checkpoint, zoo

CONFIGS = PROJECT / "flows" / "configs"

# File, model, and the largest interval and latency in clock cycles.
REACHED = [
    ("unrolled", "mnist_bnn", 1, 12),
    ("mnist_bnn_up5k", "mnist_bnn", 12_000, 24_000),  # over 1,000 images per second at 12 MHz
    ("drone_bnn_up5k", "drone_bnn", 300_000, 600_000),  # 40 frames per second, and 50 ms, at 12 MHz
    ("mnist_sfc_finn", "mnist_sfc", 16, 120),
    ("mnist_lfc_finn", "mnist_lfc", 128, 600),
]


def test_every_file_is_tried() -> None:
    assert {name for name, *_ in REACHED} == {path.stem for path in CONFIGS.glob("*.toml")}


@pytest.mark.parametrize(("name", "model", "interval", "latency"), REACHED)
def test_the_cycle_model_says_what_is_promised(name: str, model: str, interval: int, latency: int) -> None:
    trained = checkpoint.load(checkpoint.FOLDER / f"{model}.safetensors").module
    network = canonicalise(convert(trained, model, zoo.get(model).input))
    timing = fold_rtl(network, options.read(CONFIGS / f"{name}.toml")).timing
    assert timing.interval <= interval
    assert timing.latency <= latency
