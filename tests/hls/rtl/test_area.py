"""The estimated area is near the synthesised one: of the zoo's networks, as the committed baselines have it."""

import json
from typing import Any

import pytest

from xnorflow.bnn.canonical import canonicalise
from xnorflow.flows.cache import PROJECT
from xnorflow.flows.folding import fold_rtl
from xnorflow.flows.formats import read_subject
from xnorflow.flows.options import Options
from xnorflow.flows.subject import find
from xnorflow.hls.rtl import area
from xnorflow.hls.rtl.units import Fifo, Stream
from xnorflow.models import zoo

WITHIN = 0.1
"""Of what a whole network takes, by the Yosys that the constants are of."""
TOOL = "yosys 0.23"
QUICK = {"digits_bnn", "mnist_bnn", "mnist_cnn"}
MODELS = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.exhaustive]) for name in zoo.ZOO]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_what_a_network_is_estimated_to_take_is_near_what_it_takes(model: str) -> None:
    baseline: Any = json.loads((PROJECT / "reports" / "baselines" / f"{model}.json").read_text())
    choice = fold_rtl(canonicalise(read_subject(find(model), None).network), Options())
    assert choice.timing.interval == baseline["rtl"]["interval"]
    assert abs(choice.luts / baseline["synthesis"]["by"][TOOL]["total"]["lut"] - 1) < WITHIN


def test_a_fifo_holds_its_vectors_in_registers_luts_or_block_memory() -> None:
    stream = Stream("s", 64, 1, False, True, 1000)
    one, some, many = (area.luts(Fifo("layer", stream, stream, depth)) for depth in (1, 32, 79))
    assert one < 10 and some > 44 and many > 128
