"""A small project to synthesise, and programs that stand in for tools."""

import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from xnorflow.bnn.network import Argmax, Dense, Input, Network, Threshold
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.project import RtlProject, write

needs_native = pytest.mark.skipif(
    not shutil.which("yosys"), reason="needs a yosys on PATH for speed: apt-get install yosys"
)


def small(flipped: bool = False) -> Network:
    rng = np.random.default_rng(1)
    first, second = rng.choice(np.array([-1, 1], np.int8), (6, 8)), rng.choice(np.array([-1, 1], np.int8), (4, 6))
    if flipped:
        second[1, 2] *= -1
    return Network(
        "tiny",
        (
            Input("x", (), shape=(8,)),
            Dense("dense1", ("x",), first),
            Threshold("sign1", ("dense1",), rng.integers(-2, 3, 6), np.ones(6, np.int8)),
            Dense("dense2", ("sign1",), second),
            Argmax("argmax", ("dense2",)),
        ),
    )


def made(folder: Path, flipped: bool = False, default: Folded | Unrolled | None = None) -> RtlProject:
    return write(small(flipped), folder, RtlConfig(default=default or Folded(2, 4)))


def fake(folder: Path, name: str, body: str) -> None:
    """Put a program in Python on a PATH that holds nothing else."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport sys, pathlib, time\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
