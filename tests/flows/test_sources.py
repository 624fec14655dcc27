"""A step's key must know all the code that makes its result: everything that its modules import, at any depth."""

import ast
from pathlib import Path

import pytest

from xnorflow.flows.cache import PROJECT
from xnorflow.flows.flow import _FLOW
from xnorflow.flows.stages import steps

PACKAGES = ("bnn", "models", "hls", "cosim", "reports", "flows")

# What each step's own code imports when it runs.
ENTRY = {
    "load": ["models.data", "models.zoo", "bnn.io", "flows.formats"],
    "fold": [
        *(
            "bnn.io",
            "bnn.canonical",
            "bnn.frontends.torch",
            "models.checkpoint",
            "models.zoo",
            "reports.measures",
        ),
        "flows.formats",
    ],
    "golden": ["cosim.golden"],
    "pytorch": ["cosim.pytorch", "models.checkpoint"],
    "keras": ["cosim.keras", "flows.formats"],
    "onnx": ["cosim.qonnx_source", "flows.formats"],
    "rtl": ["hls.rtl.cycles", "hls.rtl.folding", "hls.rtl.project"],
    "synthesis": [
        "flows.asic",
        "cosim.rtl_netlist",
        "hls.synthesis.asic",
        "hls.synthesis.opensta",
        "hls.synthesis.yosys",
        "hls.synthesis.nextpnr",
        "hls.synthesis.timing",
        "hls.rtl.project",
    ],
    "project qonnx": ["cosim.qonnx"],
    "qonnx": ["cosim.qonnx"],
    "project hls4ml_stock": ["cosim.csim"],
    "project hls4ml_packed": ["cosim.csim"],
    "csim hls4ml_stock": ["cosim.csim"],
    "csim hls4ml_packed": ["cosim.csim"],
    "project rtl_icarus": ["cosim.rtl_icarus", "hls.rtl.project"],
    "project rtl_cxxrtl": ["cosim.rtl_cxxrtl", "hls.rtl.project"],
    "cosim rtl_icarus": ["cosim.rtl_icarus", "hls.rtl.project"],
    "cosim rtl_cxxrtl": ["cosim.rtl_cxxrtl", "hls.rtl.project"],
    "project netlist": [
        "flows.asic",
        "hls.synthesis.asic",
        "cosim.rtl_netlist",
        "hls.rtl.project",
        "hls.synthesis.netlist",
        "hls.synthesis.yosys",
    ],
    "cosim netlist": [
        "flows.asic",
        "hls.synthesis.asic",
        "cosim.rtl_netlist",
        "hls.rtl.project",
        "hls.synthesis.netlist",
        "hls.synthesis.yosys",
    ],
    "project rtl_vitis": ["cosim.rtl_icarus", "cosim.rtl_vitis", "flows.vendor"],
    "cosim rtl_vitis": ["cosim.rtl_icarus", "cosim.rtl_vitis", "flows.vendor"],
    "vendor hls4ml_stock": [
        "flows.vendor",
        "hls.config",
        "hls.project",
        "hls.vendor.run",
        "hls.vendor.scripts",
    ],
    "vendor hls4ml_packed": [
        "flows.vendor",
        "hls.config",
        "hls.project",
        "hls.vendor.run",
        "hls.vendor.scripts",
    ],
    "vendor rtl": [
        "flows.vendor",
        "hls.config",
        "hls.rtl.project",
        "hls.vendor.run",
        "hls.vendor.scripts",
    ],
    "activity": ["flows.vendor", "hls.rtl.project", "hls.vendor.saif", "hls.vendor.scripts"],
    "energy": ["hls.rtl.folding", "hls.rtl.project", "hls.energy"],
    "compare": [
        "cosim.compare",
        "cosim.golden",
        "flows.mismatch",
        "reports.arrays",
    ],
    "report": [
        "flows.document",
        "reports.arrays",
        "reports.measures",
        "reports.render",
    ],
}
# Imported by a step's code, but no part of what makes its result: the flow itself, and the cache.
MACHINERY = {
    "flows/__init__.py",
    "flows/cache.py",
    "flows/subject.py",
    "flows/flow.py",
    "flows/engines.py",
    "flows/options.py",
}


def imported(path: Path) -> set[Path]:
    """Files of the project that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = set()
    for name in names:
        top, _, rest = name.partition(".")
        if top == "xnorflow" and rest.split(".")[0] in PACKAGES:
            place = PROJECT / rest.replace(".", "/")
            files |= {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()}
    return files


def closure(modules: list[str]) -> set[str]:
    waiting = [PROJECT / (module.replace(".", "/") + ".py") for module in modules]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += imported(path) if str(path.relative_to(PROJECT)) not in MACHINERY else []
    return {str(path.relative_to(PROJECT)) for path in seen}


def covered(sources: tuple[str, ...]) -> set[str]:
    found = [path for source in sources for path in PROJECT.glob(source)]
    files = {file for path in found for file in ([path] if path.is_file() else path.rglob("*.py"))}
    return {str(file.relative_to(PROJECT)) for file in files}


@pytest.mark.parametrize("step", steps(), ids=lambda step: step.name)
def test_every_imported_file_is_among_the_sources(step):
    assert closure(ENTRY[step.name]) - covered((*_FLOW, *step.sources)) - MACHINERY == set()
