"""The synthesised netlist gives the golden model's integers in the RTL's cycles, and a fault in it is seen."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests import strategies
from tests.hls.rtl.icarus import needs_icarus
from tests.hls.rtl.networks import small_recurrent

from xnorflow.bnn.network import Argmax, Dense, Input, Network, Threshold
from xnorflow.cosim.compare import compare
from xnorflow.cosim.golden import Golden
from xnorflow.cosim.rtl_netlist import RtlNetlist
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.project import RtlProject, write
from xnorflow.hls.synthesis import netlist
from xnorflow.hls.synthesis.yosys import Synthesis, synthesise

pytestmark = [needs_icarus, pytest.mark.slow]


def network(neurons: int = 6) -> Network:
    rng = np.random.default_rng(2)
    signs = np.array([-1, 1], np.int8)
    return Network(
        "net",
        (
            Input("x", (), shape=(12,)),
            Dense("dense1", ("x",), rng.choice(signs, (neurons, 12))),
            Threshold("sign1", ("dense1",), rng.integers(-2, 3, neurons), np.ones(neurons, np.int8)),
            Dense("dense2", ("sign1",), rng.choice(signs, (3, neurons))),
            Argmax("argmax", ("dense2",)),
        ),
    )


def synthesised(folder: Path, name: str) -> tuple[RtlProject, Synthesis]:
    project = write(network(), folder / "rtl", RtlConfig(default=Folded(2, 4), in_width=8))
    return project, synthesise(project, name, folder / "cache")


def differs(project: RtlProject, synthesis: Synthesis, folder: Path) -> object:
    """Simulate the netlist; return the first difference from the golden model, if any."""
    made = netlist.write(project, synthesis, folder / "cache")
    engine = RtlNetlist(made, str(synthesis.tool), synthesis.target.title)
    engine.prepare(project.network, folder / "simulation")
    inputs = strategies.inputs_for(project.network, 6)
    golden = Golden()
    golden.prepare(project.network, folder / "golden")
    got = engine.run(inputs)
    assert engine.tools().keys() == {"synthesis", "iverilog", "cocotb", "cocotbext-axi"}
    assert engine.timing is not None and engine.timing.deviation(project.timing) is None
    return compare(project.network, golden.run(inputs), got).first


@pytest.mark.parametrize("name", ["ice40", "ecp5"])
def test_the_netlist_is_exact(tmp_path: Path, name: str) -> None:
    project, synthesis = synthesised(tmp_path, name)
    assert differs(project, synthesis, tmp_path) is None
    if name == "ice40":  # the other way round: one neuron's matches are wrong
        (module,) = (module for module in synthesis.modules if module.name.endswith("_dense2"))
        path = module.folder / "netlist.il"
        text = path.read_text()
        wrong, count = re.subn(
            r"(cell \\SB_LUT4 \\agree_0\S+\n[^\n]*LUT_INIT 16')([01]+)",
            lambda found: found[1] + found[2].translate(str.maketrans("01", "10")),
            text,
        )
        assert count
        path.write_text(wrong)
        shutil.rmtree(next((tmp_path / "cache").glob("*.netlist")))
        assert differs(project, synthesis, tmp_path) is not None


@pytest.mark.parametrize("default", [Folded(2, 4), Unrolled(2)])
def test_the_netlist_of_a_recurrent_network_is_exact(tmp_path: Path, default: Folded | Unrolled) -> None:
    project = write(small_recurrent(), tmp_path / "rtl", RtlConfig(default=default, in_width=8))
    synthesis = synthesise(project, "ecp5", tmp_path / "cache")
    assert differs(project, synthesis, tmp_path) is None
    assert any(module.layer == "state1" for module in synthesis.modules)


@pytest.mark.parametrize("cell", ["DP16KD", "NOVEL"])
def test_cells_without_a_model_are_told(tmp_path: Path, cell: str) -> None:
    project, done = synthesised(tmp_path, "ecp5")
    folder = next(module.folder for module in done.modules if module.layer == "dense1")
    for name, own in (("netlist.il", "cell \\TRELLIS_FF "), ("stat.json", '"TRELLIS_FF"')):
        path = folder / name
        path.write_text(path.read_text().replace(own, own.replace("TRELLIS_FF", cell)))
    with pytest.raises(netlist.NoModel, match=rf"no simulation model of {cell} \(Lattice ECP5\)"):
        netlist.write(project, done, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.netlist"))
