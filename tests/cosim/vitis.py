"""RTL in the conventions of Vitis HLS, made by hand: no vendor tool is here."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from xnorflow.bnn.network import Argmax, Dense, Input, Network
from xnorflow.cosim.rtl_vitis import VitisProject, adapt
from xnorflow.hls.vendor.steps import solution

needs_icarus = pytest.mark.skipif(not shutil.which("iverilog"), reason="needs iverilog: apt-get install iverilog")
WEIGHT = np.random.default_rng(1).choice([-1, 1], (3, 12))
NETWORK = Network("sample", (Input("x", (), (12,)), Dense("scores", ("x",), WEIGHT), Argmax("winner", ("scores",))))


def sample(folder: Path, *changes: tuple[str, str]) -> VitisProject:
    """Lay out a synthesised project, with changes in its top module, and adapt it."""
    made = folder / "project" / solution("sample_top") / "syn" / "verilog"
    made.mkdir(parents=True)
    text = Path(__file__).with_name("vitis_sample.v").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (made / "sample_top.v").write_text(text)
    rows = [sum(1 << i for i, weight in enumerate(row) if weight > 0) for row in WEIGHT]
    (made / "sample_top_weights.dat").write_text("".join(f"{row:03x}\n" for row in rows))
    return adapt(NETWORK, folder / "project", folder / "rtl")
