"""Everything that goes over a Network's operations, or over the units of RTL, refuses what it does not know."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.oracle import IntArray

from xnorflow.bnn import canonical, export, io, qonnx_export
from xnorflow.bnn.errors import NetworkError
from xnorflow.bnn.network import Dense, Input, Network, Operation, Signal
from xnorflow.cosim.coverage import measure
from xnorflow.cosim.engine import EngineUnavailable
from xnorflow.cosim.golden import Golden
from xnorflow.cosim.qonnx import Qonnx
from xnorflow.flows import mismatch
from xnorflow.flows.cache import PROJECT
from xnorflow.hls import packed, stock
from xnorflow.hls.config import HlsConfig
from xnorflow.hls.errors import Unsupported
from xnorflow.hls.rtl import area, folding, lowering, project, pruning, verilog
from xnorflow.hls.rtl.config import RtlConfig
from xnorflow.hls.rtl.units import Unit
from xnorflow.reports import measures


@dataclass(frozen=True, eq=False, repr=False)
class Novel(Operation):
    """An operation that nobody knows yet: it gives its operand."""

    def infer(self, *operands: Signal) -> Signal:
        return replace(operands[0])


WEIGHT = np.ones((3, 4), np.int8)
NETWORK = Network(
    "n",
    (
        Input("x", (), shape=(4,)),
        Dense("d", ("x",), weight=WEIGHT),
        Novel("novel1", ("d",)),
        Dense("e", ("novel1",), weight=np.ones((2, 3), np.int8)),
    ),
)
NAMES = {operation.name: operation.name for operation in NETWORK.operations}
RESULTS: dict[str, IntArray] = {name: np.zeros(signal.shape, np.int64) for name, signal in NETWORK.signals.items()}

WALKERS = {
    "golden": lambda folder: Golden().prepare(NETWORK),
    "canonical": lambda folder: canonical.canonicalise(NETWORK),
    "save": lambda folder: io.save(NETWORK, folder / "n.safetensors"),
    "export": lambda folder: export.export(NETWORK, folder),
    "qonnx export": lambda folder: qonnx_export.write(NETWORK, folder / "n.onnx"),
    "qonnx engine": lambda folder: Qonnx().prepare(NETWORK, folder),
    "largest sum": lambda folder: qonnx_export.largest_sum(NETWORK),
    "stock layers": lambda folder: stock.layers(stock.expressible(NETWORK, HlsConfig())[0], HlsConfig(), NAMES),
    "packed layers": lambda folder: packed.layers(NETWORK, HlsConfig(), NAMES),
    "RTL": lambda folder: lowering.lower(NETWORK, RtlConfig()),
    "RTL project": lambda folder: project.write(NETWORK, folder / "rtl", RtlConfig()),
    "RTL folding": lambda folder: folding.choose(NETWORK, RtlConfig(), max_luts=1000),
    "pruning": lambda folder: pruning.prune(NETWORK),
    "measured layers": lambda folder: measures.layers(NETWORK),
    "memory": lambda folder: measures.memory(NETWORK),
    "coverage": lambda folder: measure.measure(NETWORK, np.zeros((1, 4), np.int8)),
    "mismatch": lambda folder: mismatch.window(NETWORK, RESULTS, {}, "novel1", (0,)),
}


@pytest.mark.parametrize("walker", WALKERS)
def test_an_unknown_operation_is_refused_by_name(walker: str, tmp_path: Path) -> None:
    with pytest.raises((NetworkError, Unsupported, EngineUnavailable), match=r"novel1.*Novel"):
        WALKERS[walker](tmp_path)
    assert not list(tmp_path.rglob("*")), "nothing half-written"


@dataclass(frozen=True, eq=False)
class NovelUnit(Unit):
    """A unit of RTL that nobody knows yet."""


@pytest.mark.parametrize("walker", [area.luts, lambda unit: verilog.module(unit, "m")])
def test_an_unknown_unit_is_refused(walker: Callable[..., Any]) -> None:
    unit = lowering.lower(Network("n", NETWORK.operations[:2]), RtlConfig()).units[0]
    with pytest.raises(TypeError, match="NovelUnit"):
        walker(NovelUnit(unit.layer, unit.source, unit.result))


#: Modules that go over operations and are held by the test above, or need not be.
HELD = {
    *("bnn/canonical.py", "bnn/export.py", "bnn/io.py", "bnn/qonnx_export.py", "cosim/packed.py"),
    *("hls/packed.py", "hls/stock.py", "hls/rtl/lowering.py", "hls/rtl/pruning.py", "reports/measures.py"),
    *("cosim/coverage/faults.py", "cosim/coverage/measure.py"),
}
#: The rest, and why they need not refuse.
GENERIC = {
    "bnn/network.py": "the record itself",
    "bnn/planes.py": "takes layers with weights apart, and leaves all others",
    "cosim/bench.py": "runs steps that packed has made",
    "cosim/bench_cases.py": "counts the weights of layers that golden has taken",
    "cosim/compare.py": "compares arrays by name",
    "cosim/coverage/redundancy.py": "proves nothing of what it does not know",
    "cosim/coverage/simulation.py": "simulates faults of a network that the fault model and packed have taken",
    "cosim/csim.py": "names what a project of hls/ observes",
    "cosim/rtl.py": "names the layers of a project that lowering has made",
    "cosim/rtl_vitis.py": "walks what hls.project.hardware has left out: argmax and flatten",
    "flows/document.py": "shows results that golden has computed",
    "flows/regress.py": "names layers",
    "flows/steps/fold.py": "asks whether there is a layer with weights",
    "hls/errors.py": "refuses what no generator has of operations that they know",
    "hls/config.py": "names layers with weights",
    "hls/folding.py": "folds layers with weights",
    "hls/project.py": "leaves the operations to the styles",
    "hls/rtl/config.py": "names layers with weights",
    "hls/rtl/flattening.py": "moves thresholds and flattens behind the input, and leaves all others",
}


def test_every_module_that_goes_over_operations_is_known_here() -> None:
    found = set()
    for folder in ("bnn", "models", "hls", "cosim", "flows", "reports"):
        for path in (PROJECT / folder).rglob("*.py"):
            name = path.relative_to(PROJECT).as_posix()
            tree = ast.parse(path.read_text())
            if any(isinstance(node, ast.Attribute) and node.attr == "operations" for node in ast.walk(tree)):
                found.add(name)
    found = {name for name in found if not name.startswith("bnn/frontends/")}  # they make networks
    assert found == HELD | set(GENERIC)
