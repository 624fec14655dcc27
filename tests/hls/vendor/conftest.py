"""A small network, and its projects with their scripts."""

from pathlib import Path

import numpy as np
import pytest
from tests import oracle
from tests.strategies import inputs_for

from xnorflow.bnn.network import Argmax, Dense, Input, Network, Threshold
from xnorflow.hls import project
from xnorflow.hls.config import HlsConfig
from xnorflow.hls.rtl import project as rtl_project
from xnorflow.hls.rtl.config import RtlConfig
from xnorflow.hls.vendor import scripts
from xnorflow.hls.vendor.steps import Job


def network() -> Network:
    rng = np.random.default_rng(0)
    return Network(
        "tiny",
        (
            Input("x", (), (70,)),
            Dense("fc1", ("x",), rng.choice(np.array([-1, 1], np.int8), (8, 70))),
            Threshold("sign1", ("fc1",), rng.integers(-3, 4, 8), np.ones(8, np.int8)),
            Dense("fc2", ("sign1",), rng.choice(np.array([-1, 1], np.int8), (3, 8))),
            Argmax("argmax", ("fc2",)),
        ),
    )


def hls_job(folder: Path, backend: str = "vitis") -> Job:
    net = network()
    inputs = inputs_for(net, 5)
    config = HlsConfig(backend=backend, part="xc7z020clg400-1", clock_ns=4.0)
    made = project.write(net, folder, config, inputs, oracle.run(net, inputs)["fc2"])
    return scripts.write_hls(made.folder, made.top, config)


def rtl_job(folder: Path, part: str = "xc7z020clg400-1", clock_ns: float = 4.0) -> Job:
    made = rtl_project.write(network(), folder / "generated", RtlConfig())
    return scripts.write_rtl(made, folder / "job", part, clock_ns)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return rtl_job(tmp_path)
