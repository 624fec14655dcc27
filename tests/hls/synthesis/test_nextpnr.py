"""Place and route: what fits, what does not and why, how fast it is and where the critical path runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.hls.synthesis.tiny import fake

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Argmax, Dense, Input, Network, Threshold
from xnorflow.hls.rtl.config import Folded, RtlConfig
from xnorflow.hls.rtl.folding import choose
from xnorflow.hls.rtl.project import RtlProject, write
from xnorflow.hls.synthesis import nextpnr, tools
from xnorflow.hls.synthesis.nextpnr import (
    DeviceUsage,
    PathStretch,
    Placement,
    Unfit,
    Unrouted,
    lacking,
    located,
    place,
    read_report,
    smaller,
)
from xnorflow.hls.synthesis.targets import Resources, target
from xnorflow.hls.synthesis.timing import speed
from xnorflow.hls.synthesis.tools import SynthesisError, Tool, find
from xnorflow.hls.synthesis.yosys import Synthesis, Synthesised, synthesise

CLOCK = "$glbnet$aclk"
REPORT = {
    "utilization": {"TRELLIS_COMB": {"used": 20, "available": 24288}, "DCUA": {"used": 0, "available": 2}},
    "fmax": {CLOCK: {"achieved": 80.0, "constraint": 100}},
    "critical_paths": [
        {"from": "<async>", "to": f"posedge {CLOCK}", "path": []},
        {
            "from": f"posedge {CLOCK}",
            "to": f"posedge {CLOCK}",
            "path": [
                {"type": kind, "delay": delay, "to": {"cell": f"U_net.U_dense1.{cell}"}}
                | ({"net": f"U_net.U_dense1.{cell}"} if kind == "routing" else {})
                for kind, delay, cell in (
                    ("clk-to-q", 0.5, "vector_TRELLIS_FF_Q"),
                    ("routing", 2.0, "vector[3]"),
                    ("logic", 0.25, "sum_0.s5_CCU2C_S0_1_B1_PFUMX_Z"),
                    ("setup", 0.0, "sum_0.s5_TRELLIS_FF_Q"),
                )
            ],
        },
    ],
}


def network(neurons: int = 6) -> Network:
    rng = np.random.default_rng(1)
    signs = np.array([-1, 1], np.int8)
    return Network(
        "net",
        (
            Input("x", (), shape=(20,)),
            Dense("dense1", ("x",), rng.choice(signs, (neurons, 20))),
            Threshold("sign1", ("dense1",), rng.integers(-2, 3, neurons), np.ones(neurons, np.int8)),
            Dense("dense2", ("sign1",), rng.choice(signs, (4, neurons))),
            Argmax("argmax", ("dense2",)),
        ),
    )


def project(folder: Path, neurons: int = 6, default: Folded | None = None) -> RtlProject:
    return write(network(neurons), folder, RtlConfig(default=default or Folded(2, 4)))


def pretended(luts: int = 10, name: str = "ecp5") -> Synthesis:
    part = Synthesised("net", None, Resources(lut=luts), 0.0, True, Path("nowhere"))
    return Synthesis(target(name), Tool("yosys", "0.23", ("yosys",), False), (part,))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ecp5", "ice40"])
def test_a_small_design_is_placed_and_packed(tmp_path: Path, name: str) -> None:
    made = project(tmp_path / "rtl")
    synthesis = synthesise(made, name, tmp_path / "cache")
    done = place(made, synthesis, tmp_path / "cache")
    assert isinstance(done, Placement) and done.device == ("ecp5-25k" if name == "ecp5" else "ice40-up5k")
    cells = "TRELLIS_COMB" if name == "ecp5" else "ICESTORM_LC"
    assert 0 < done.pins.lut < done.usage[cells].used < done.usage[cells].available
    if name == "ecp5":
        assert done.usage["TRELLIS_FF"].used == synthesis.total.ff + done.pins.ff
    assert 5 < done.fmax_mhz < 1000
    period = sum(step.logic_ns + step.routing_ns for step in done.critical_path)
    assert period == pytest.approx(1e3 / done.fmax_mhz, rel=0.02), "the path is the whole period"
    assert any(step.layer in ("dense1", "dense2", "argmax") for step in done.critical_path)
    assert done.bitstream is not None and done.bitstream.stat().st_size > 10_000 and not done.no_bitstream
    assert set(done.sites) == PINS | {"out_take"} and len(set(done.sites.values())) == 11
    again = place(made, synthesis, tmp_path / "cache")
    assert isinstance(again, Placement) and again.cached and again.fmax_mhz == done.fmax_mhz


def test_the_path_is_told_in_layers_and_signals(tmp_path: Path) -> None:
    report = read_report(json.dumps(REPORT))
    assert report.fmax_mhz == 80.0 and report.usage == {"TRELLIS_COMB": DeviceUsage(20, 24288)}
    steps = nextpnr._tell(report.path, project(tmp_path))
    assert steps == [PathStretch("dense1", "vector", 0.5, 2.0), PathStretch("dense1", "sum_0.s5", 0.25, 0.0)]


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("U_net.U_dense2.acc_0_SB_LUT4_O_I3[1]", ("dense2", "acc_0")),
        ("U_net.U_dense1.weight_memory.0.6", ("dense1", "weight_memory")),
        ("U_net.dense1_ready", ("dense1", "dense1_ready")),
        ("in_beat_TRELLIS_FF_Q_3", ("", "in_beat")),
    ],
)
def test_names_of_the_netlist_are_located(tmp_path: Path, name: str, where: tuple[str, ...]) -> None:
    assert located(name, project(tmp_path)) == where


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{\n", "report, line 2"),
        ("{}", "something is missing"),
        (json.dumps(REPORT | {"fmax": {}}), "expected one clock, got none"),
        (json.dumps(REPORT | {"critical_paths": []}), "something is missing"),
    ],
)
def test_unreadable_reports(text: str, told: str) -> None:
    with pytest.raises(SynthesisError, match=told):
        read_report(text)


CELLS = {
    "in_bit$tr_io": {"type": "TRELLIS_IO", "attributes": {"NEXTPNR_BEL": "X4/Y0/PIOA"}},
    "lut": {"type": "TRELLIS_COMB", "attributes": {"NEXTPNR_BEL": "X4/Y4/SLICEA.LUT0"}},
}
PLACED = json.dumps({"modules": {"net_pins": {"cells": CELLS}}})
PINS = {"aclk", "aresetn", "in_bit", "in_shift", "in_send", "in_busy", "out_bit", "out_last", "out_full", "out_shift"}


def test_the_pins_that_were_chosen_are_read() -> None:
    assert nextpnr.sites(PLACED) == {"in_bit": "X4/Y0/PIOA"}
    for text in ("{", "{}", '{"modules": {}}', '{"modules": {"n": {"cells": {"a": {"type": "SB_IO"}}}}}'):
        with pytest.raises(SynthesisError, match="nextpnr's netlist"):
            nextpnr.sites(text)


LOG = """Info: Device utilisation:
Info: 	  TRELLIS_COMB: 30000/24288   123%
Info: 	  DP16KD:   8/   56    14%
ERROR: no
"""


def test_what_is_lacking_is_read_from_the_log() -> None:
    assert lacking(LOG) == {"TRELLIS_COMB": DeviceUsage(30000, 24288)}
    assert lacking("Info: nothing of the kind") == {}


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Skip the synthesis in front of nextpnr."""
    folder = tmp_path / "joined"
    folder.mkdir()
    (folder / "design.json").write_text("{}")
    made = nextpnr._Joined("net_pins", Resources(lut=1), folder / "design.json")
    monkeypatch.setattr(nextpnr, "_join", lambda *_: made)


def fake_nextpnr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    start = "if '-V' in sys.argv: print('nextpnr-ecp5 -- Next Generation Place and Route (Version 0.99)'); sys.exit()\n"
    fake(tmp_path / "bin", "nextpnr-ecp5", start + body)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_a_design_that_does_not_fit_says_what_is_lacking_and_what_would_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: Any
) -> None:
    fake_nextpnr(tmp_path, monkeypatch, f"print({LOG!r}); sys.exit(255)")
    config = RtlConfig(default=Folded(30, 20))
    made = write(network(60), tmp_path / "rtl", config)
    synthesis = pretended(30000)
    for _ in range(2):  # the second time from the cache
        done = place(made, synthesis, tmp_path / "cache", device="ecp5-25k")
        assert isinstance(done, Unfit)
        assert str(done) == "does not fit into ecp5-25k: LUTs: 30,000 needed, 24,288 there (124%)"
    limits = []

    def noted(*given: Any, **goal: Any) -> Any:
        limits.append(goal.get("max_luts"))
        return choose(*given, **goal)

    monkeypatch.setattr(nextpnr, "choose", noted)
    choice = smaller(made, synthesis, done, config)  # type: ignore[arg-type]
    limit = int(0.9 * 24288 / 30000 * choose(made.network, config).luts)
    assert choice is not None and choice.luts <= limit and limits == [None, limit]


@pytest.mark.parametrize(("folding", "fits"), [(Folded(30, 20), True), (Folded(1, 1), False)])
def test_a_slower_folding_fills_block_ram_better_but_cannot_shrink_the_weights(
    tmp_path: Path, folding: Folded, fits: bool
) -> None:
    config = RtlConfig(default=folding)
    made = write(network(60), tmp_path, config)
    unfit = Unfit("ice40-up5k", find("yosys"), {"ICESTORM_RAM": DeviceUsage(76, 30)}, tmp_path)
    choice = smaller(made, pretended(name="ice40"), unfit, config)
    assert (choice is not None) == fits
    if choice:  # 600 bits of dense1 in 38 block RAMs at best and 80 of dense2 in 5; 76 were used, so 16 will be 29
        assert nextpnr._rams(choose(made.network, config), "ICESTORM_RAM") == 43
        assert nextpnr._rams(choice, "ICESTORM_RAM") * 76 / 43 <= 30


def test_the_smallest_device_that_fits_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: Any) -> None:
    fits = (
        f"pathlib.Path('report.json').write_text({json.dumps(REPORT)!r}); pathlib.Path('design.config').write_text('x')"
        f"; pathlib.Path('placed.json').write_text({PLACED!r})"
    )
    fake_nextpnr(tmp_path, monkeypatch, f"if '--85k' not in sys.argv: print({LOG!r}); sys.exit(255)\n{fits}")
    fake(tmp_path / "bin", "ecppack", "pathlib.Path(sys.argv[2]).write_text('bits')")
    done = place(project(tmp_path / "rtl"), pretended(), tmp_path / "cache")
    assert isinstance(done, Placement) and done.device == "ecp5-85k" and str(done.tool) == "nextpnr-ecp5 0.99"
    assert (
        done.bitstream is not None and done.bitstream.read_text() == "bits" and done.sites == {"in_bit": "X4/Y0/PIOA"}
    )

    def gone(program: str, native: bool = True) -> Tool:
        if program == "ecppack":
            raise tools.ToolMissing("ecppack is not installed")
        return find(program, native)

    monkeypatch.setattr(nextpnr, "find", gone)
    done = place(project(tmp_path / "rtl"), pretended(), tmp_path / "cache")
    assert isinstance(done, Placement) and done.bitstream is None
    assert done.no_bitstream == "skipped: ecppack is not installed"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("print('ERROR: no chip database'); sys.exit(1)", "failed with exit status 1\nERROR: no chip database"),
        ("pass", "left no report.json"),
        ("pathlib.Path('report.json').write_text('nonsense')", "nextpnr's report, line 1"),
    ],
)
def test_a_nextpnr_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: Any, body: str, told: str
) -> None:
    fake_nextpnr(tmp_path, monkeypatch, body)
    cache = tmp_path / "cache"
    with pytest.raises(SynthesisError) as error:
        place(project(tmp_path / "rtl"), pretended(), cache, limit_s=1)
    assert told in str(error.value) and "ecp5-25k" in str(error.value)
    assert all(path.suffix == ".log" for path in cache.iterdir())


def test_another_placer_is_tried_where_the_placer_finds_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: Any
) -> None:
    refuse = "print('ERROR: Unable to find legal placement for all cells'); sys.exit(255)"
    body = f"""
attempt = [sys.argv[sys.argv.index(option) + 1] for option in ('--placer', '--seed')]
if attempt == ['heap', '1']: {refuse}
if attempt == ['sa', '1']: time.sleep(60)
pathlib.Path('report.json').write_text({json.dumps(REPORT)!r}); pathlib.Path('design.config').write_text('x')
pathlib.Path('placed.json').write_text({PLACED!r})
"""
    fake_nextpnr(tmp_path, monkeypatch, body)
    fake(tmp_path / "bin", "ecppack", "pathlib.Path(sys.argv[2]).write_text('bits')")
    made = project(tmp_path / "rtl")
    assert isinstance(place(made, pretended(), tmp_path / "cache", device="ecp5-25k", limit_s=2), Placement)
    second = "['sa', '1']: "
    body = body.replace(f"{second}time.sleep(60)", f"{second}{refuse}\ntime.sleep(60)")
    fake_nextpnr(tmp_path, monkeypatch, body)
    done = place(made, pretended(), tmp_path / "other", device="ecp5-25k", limit_s=2)
    assert isinstance(done, Unrouted)
    assert str(done) == (
        "not placed and routed in ecp5-25k: placer heap, seed 1: no legal placement found; "
        "placer sa, seed 1: no legal placement found; placer heap, seed 2: not finished after 2 s"
    )


def test_unknown_devices_and_targets(tmp_path: Path) -> None:
    made = project(tmp_path)
    with pytest.raises(UserError, match="no device 'ecp5-12k' for ecp5; there are ecp5-25k, ecp5-45k, ecp5-85k"):
        place(made, pretended(), tmp_path, device="ecp5-12k")
    with pytest.raises(UserError, match="not for xilinx7, only for ecp5, ice40"):
        place(made, pretended(name="xilinx7"), tmp_path)


def test_speed_is_cycles_times_the_period(tmp_path: Path) -> None:
    tool = Tool("nextpnr-ecp5", "0.99", (), False)
    done = Placement("ecp5-25k", tool, {}, Resources(), 80.0, (), 1.0, False, None, "", tmp_path)
    got = speed(done, 100, 40)
    assert (got.latency_ns, got.images_per_second) == (1250.0, 2_000_000.0)
