"""An engine whose run waits for a file, so that a test can do something to the worker that runs it meanwhile."""

import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from xnorflow.bnn.network import Network
from xnorflow.cosim.engine import Engine, EngineUnavailable
from xnorflow.cosim.golden import Golden
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind

LARGE = 4 << 20  # bytes that a project takes


class Gated(Engine):
    """The golden model under another name, that notes its process in `folder`, and waits for the file ``go`` there."""

    def __init__(self, name: str, folder: Path, tool: Path | None) -> None:
        self.name, self.folder, self.tool = name, folder, tool
        self.golden = Golden(threads=1)

    def prepare(self, network: Network, folder: Path) -> None:
        if self.tool and not any((Path(place) / self.tool).exists() for place in os.environ["PATH"].split(":")):
            raise EngineUnavailable(f"no {self.tool} here; install it")
        (folder / "project.bin").write_bytes(os.urandom(1024) * (LARGE // 1024))
        self.golden.prepare(network)

    def attach(self, network: Network, folder: Path) -> None:
        assert (folder / "project.bin").stat().st_size == LARGE
        self.golden.prepare(network)

    def run(self, inputs: Any, every_layer: bool = False) -> Mapping[str, Any]:
        if every_layer:
            with (self.folder / "running").open("a") as file:
                file.write(f"{os.getpid()}\n")
            while not (self.folder / "go").exists():
                time.sleep(0.02)
        return self.golden.run(inputs, every_layer)


def _make(name: str, folder: Path, tool: Path | None, view: View, project: Path) -> Engine:
    return Gated(name, folder, tool)


def kind(folder: Path, tool: str | None = None) -> EngineKind:
    """Return the engine as flows know it; with `tool`, it needs a program of that name."""
    return EngineKind(
        "gated",
        "waits",
        builds=True,
        stage="csim",
        make=partial(_make, "gated", folder, Path(tool) if tool else None),
        packages=("numpy",),
        commands=(tool,) if tool else (),
        waits=True,
    )
