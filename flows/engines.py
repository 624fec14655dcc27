"""The engines that a flow compares with the golden model, as data: adding an engine is adding an entry to ENGINES."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cosim.engine import Engine, EngineUnavailable
from flows.options import Options

if TYPE_CHECKING:
    from torch import nn

BENCH_VECTORS = 100
"""Vectors that a project's own test bench gets."""


@dataclass(frozen=True)
class EngineKind:
    """What a flow must know of an engine before it makes one.

    An engine that builds has, beside `prepare`, a method `attach(network, folder)` that takes up what `prepare` has
    left in the folder, perhaps in another process.

    Attributes
    ----------
    name : str
        Key of the engine in the report, and its folder.
    title : str
        What it is, for people.
    builds : bool
        Whether `prepare` makes a project worth keeping (stage ``project``), or nothing (then there is only the run).
    stage : str
        Stage that runs it.
    make : callable
        From the options and a function that loads the PyTorch module to the engine.
    sources : tuple of str
        Files and folders of the code that makes its results.
    packages, commands : tuple of str
        Python packages and programs whose versions matter.
    trained : bool
        Whether it is the trained model itself, in its framework: what the scores' argmax is measured against.
    settings : callable
        What of the options matters to its results, JSON.
    takes_vectors : bool
        Whether `prepare` takes two further arguments: inputs and expected scores, for the project's own test bench.
    """

    name: str
    title: str
    builds: bool
    stage: str
    make: Callable[[Options, "Callable[[], nn.Module]"], Engine]
    sources: tuple[str, ...]
    packages: tuple[str, ...]
    commands: tuple[str, ...] = ()
    trained: bool = False
    settings: Callable[[Options], Any] = lambda options: None
    takes_vectors: bool = False

    @property
    def build_step(self) -> str:
        """Name of the step that builds the project."""
        return f"project {self.name}"

    @property
    def run_step(self) -> str:
        """Name of the step that runs the engine."""
        return self.stage if self.stage == self.name else f"{self.stage} {self.name}"


def _pytorch(options: Options, module: "Callable[[], nn.Module]") -> Engine:
    from cosim.pytorch import PyTorch

    return PyTorch(module())


def _hls4ml(style: Literal["stock", "packed"]) -> Callable[[Options, Any], Engine]:
    def make(options: Options, module: "Callable[[], nn.Module]") -> Engine:
        from cosim.csim import CSim

        return CSim(style, options.backend, **options.hls)

    return make


_HLS4ML: dict[str, Any] = {
    "builds": True,
    "stage": "csim",
    "sources": ("bnn", "hls", "cosim/engine.py", "cosim/csim.py"),
    "packages": ("numpy", "hls4ml"),
    "commands": ("g++",),
    "settings": lambda options: {"backend": options.backend, **options.hls},
    "takes_vectors": True,
}

ENGINES = (
    EngineKind(
        "pytorch",
        "the trained PyTorch module",
        builds=False,
        stage="pytorch",
        make=_pytorch,
        sources=("bnn", "models", "cosim/engine.py", "cosim/pytorch.py"),
        packages=("numpy", "torch"),
        trained=True,
    ),
    EngineKind("hls4ml_stock", "hls4ml project of stock layers", make=_hls4ml("stock"), **_HLS4ML),
    EngineKind("hls4ml_packed", "hls4ml project of bit-packed layers", make=_hls4ml("packed"), **_HLS4ML),
)


def no_module() -> "nn.Module":
    """Stand in for the module's loader where the flow starts from a Network file."""
    raise EngineUnavailable("the flow started from a Network file, which has no PyTorch module")
