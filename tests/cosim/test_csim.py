"""Both styles of hls4ml project, compiled and run, give the oracle's integers; whatever goes wrong is an error."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracle
from tests.cosim.csim_networks import (
    WIDE,
    Builder,
    images_network,
    padded_network,
    padded_pools_network,
    recurrent_network,
    residual_network,
    small_network,
    stock_residual_network,
    vectors_network,
    wide_network,
)
from tests.strategies import EVERY, inputs_for, networks

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.network import (
    Add,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Network,
    Threshold,
)
from xnorflow.cosim.compare import Comparison, compare
from xnorflow.cosim.csim import CSim
from xnorflow.cosim.engine import EngineError, EngineUnavailable, outputs

slow = pytest.mark.slow
VECTORS = 60


def prepared(engine: CSim, network: Network, folder: Path) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Build the project with vectors; returns the inputs and the oracle's results."""
    inputs = inputs_for(network, VECTORS)
    expected = oracle.run(network, inputs)
    engine.prepare(network, folder, inputs, expected[outputs(network)[0]])
    return inputs, expected


def compared(engine: CSim, network: Network, folder: Path) -> Comparison:
    inputs, expected = prepared(engine, network, folder)
    results = engine.run(inputs, every_layer=True)
    assert set(results) >= set(outputs(network)) | {network.input.name}
    if engine.config.style == "stock":  # packed layers with weights take in the threshold behind them
        assert set(results) == set(expected)
    briefly = engine.run(inputs)
    assert set(briefly) >= set(outputs(network))
    for name, values in briefly.items():
        assert np.array_equal(values, results[name])
    return compare(network, expected, results)


CONFIGURATIONS = [
    ("packed", "vitis", "io_parallel", {}),
    ("packed", "vivado", "io_stream", {"strategy": "resource", "reuse_factor": 3}),
    ("stock", "vitis", "io_stream", {}),
    ("stock", "vivado", "io_parallel", {"strategy": "latency", "reuse_factor": 2}),
]


@slow
@pytest.mark.parametrize(("style", "backend", "io_type", "more"), CONFIGURATIONS)
@pytest.mark.parametrize("make", [vectors_network, images_network])
def test_every_layer_is_exact(
    tmp_path: Path, make: Callable[..., Any], style: str, backend: str, io_type: str, more: dict[str, Any]
) -> None:
    if make is images_network and (style, io_type) == ("stock", "io_stream"):
        network = images_network(pool_stride=(2, 2))  # see test_what_stock_layers_cannot_express_is_unavailable
    elif make is images_network and style == "stock":
        network = images_network(channels=24)  # a layer's values are registers here, of which tools take 1,024
    else:
        network = make()
    network = network if style == "packed" else canonicalise(network)
    comparison = compared(CSim(style, backend, io_type, **more), network, tmp_path)
    assert comparison.vectors == VECTORS
    assert comparison.first is None


@slow
def test_what_is_wider_than_a_word_or_a_fold_is_exact(tmp_path: Path) -> None:
    assert compared(CSim("packed", **WIDE), wide_network(), tmp_path).first is None  # type: ignore[arg-type]


@slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_unrolled_neurons_are_exact(tmp_path: Path, io_type: str) -> None:
    assert compared(CSim("packed", "vitis", io_type, strategy="latency"), small_network(), tmp_path).first is None


@slow
@pytest.mark.parametrize("strategy", ["auto", "resource"])
def test_packed_branches_sum_pools_and_several_thresholds_are_exact(tmp_path: Path, strategy: str) -> None:
    engine = CSim("packed", "vivado", strategy=strategy, reuse_factor=5 if strategy == "resource" else None)
    assert compared(engine, residual_network(), tmp_path).first is None


@slow
@pytest.mark.parametrize(("backend", "io_type"), [("vitis", "io_parallel"), ("vivado", "io_stream")])
def test_stock_branches_sum_pools_and_ternary_values_are_exact(tmp_path: Path, backend: str, io_type: str) -> None:
    assert compared(CSim("stock", backend, io_type), stock_residual_network(), tmp_path).first is None


@slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_padded_pools_are_exact(tmp_path: Path, io_type: str) -> None:
    assert compared(CSim("packed", "vitis", io_type), padded_pools_network(), tmp_path).first is None


@slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize(("style", "pad_value"), [("packed", 1), ("stock", -1)])
def test_padding_of_bits_is_exact(tmp_path: Path, style: str, pad_value: int, io_type: str) -> None:
    assert compared(CSim(style, "vitis", io_type), padded_network(pad_value), tmp_path).first is None


@slow
@pytest.mark.parametrize("style", ["packed", "stock"])
def test_resource_strategy_per_layer_is_exact(tmp_path: Path, style: str) -> None:
    network = canonicalise(vectors_network())
    engine = CSim(style, layers={"int": {"strategy": "resource", "reuse_factor": 35}})
    assert compared(engine, network, tmp_path).first is None


@slow
@pytest.mark.parametrize("strategy", ["auto", "resource"])
def test_sums_of_one_bit_are_no_signs(tmp_path: Path, strategy: str) -> None:
    weight = np.zeros((2, 9), np.int8)
    weight[0, 3] = 1  # the sums are 0 or 1, and always 0
    network = Network("bits", (Input("in", (), (9,), "unsigned", 1), Dense("sums", ("in",), weight)))
    assert compared(CSim("packed", strategy=strategy), network, tmp_path).first is None


@pytest.mark.parametrize("style", ["packed", "stock"])
def test_integer_weights_are_exact(tmp_path: Path, style: str) -> None:
    b = Builder("integers", Input("image", (), (5, 4, 2), "unsigned", 3), 3)
    b.add(Conv2d, "conv1", weight=b.rng.integers(-11, 12, (3, 3, 3, 2)), padding=(1, 1, 1, 1)).threshold(
        "sign1", down=0
    )
    b.add(Conv2d, "conv2", weight=b.rng.integers(-3, 4, (5, 3, 3, 3)), padding=(1, 1, 1, 1)).threshold("sign2", down=0)
    b.add(Flatten, "flatten")
    b.add(Dense, "fc", weight=b.rng.integers(-127, 128, (3, 100)))
    io_type = "io_stream" if style == "packed" else "io_parallel"
    assert compared(CSim(style, io_type=io_type), b.network(), tmp_path).first is None


@pytest.mark.parametrize(("io_type", "rate"), [("io_stream", None), ("io_parallel", None), ("io_stream", 2e4)])
def test_a_state_is_carried_along_a_sequence(tmp_path: Path, io_type: str, rate: float | None) -> None:
    assert compared(CSim("packed", io_type=io_type, target_fps=rate), recurrent_network(), tmp_path).first is None


def test_a_state_that_is_fed_back_has_no_stock_layer(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="layer state1: the stock style has no Recurrent"):
        CSim("stock").prepare(canonicalise(recurrent_network()), tmp_path)


def test_a_state_too_wide_for_a_compressor_tree_is_told() -> None:
    with pytest.raises(EngineUnavailable, match="layer state1: the packed style has states of at most 512 channels"):
        CSim("packed").prepare(recurrent_network(513), Path("nowhere"))


@slow
@pytest.mark.parametrize("style", ["packed", "stock"])
def test_random_networks_are_exact(tmp_path: Path, style: str) -> None:
    ran = []

    @settings(max_examples=3, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(
        networks(width=70, weight_bits=4, operations=EVERY if style == "packed" else (Add,)),
        st.sampled_from(["io_parallel", "io_stream"]),
        st.sampled_from(["vitis", "vivado"]),
    )
    def check(network: Network, io_type: str, backend: str) -> None:
        network = network if style == "packed" else canonicalise(network)
        try:
            assert compared(CSim(style, backend, io_type), network, tmp_path).first is None
            ran.append(network)
        except EngineUnavailable:
            assert style == "stock"

    check()
    assert ran


@pytest.fixture(scope="module", params=["packed", "stock"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A prepared project of a small network, one of whose channels points down: (engine, network, folder)."""
    b = Builder("small", Input("x", (), (9,)), 5)
    b.add(Dense, "fc1", weight=b.weights(6, 9))
    direction = np.array([1, 1, -1, 1, 1, 1], np.int8)
    b.add(Threshold, "sign1", threshold=np.array([1, -1, 3, 1, 1, -1]), direction=direction)
    b.add(Dense, "fc2", weight=b.weights(3, 6))
    network = b.network()
    folder = tmp_path_factory.mktemp(request.param)
    engine = CSim(request.param)
    prepared(engine, network if request.param == "packed" else canonicalise(network), folder)
    return engine, network, folder


@pytest.fixture
def planted(original: Any, tmp_path: Path) -> Any:
    """A copy of the project to break: (engine on the copy, network, function that edits a constant's values)."""
    prepared_engine, network, folder = original
    style = prepared_engine.config.style
    network = network if style == "packed" else canonicalise(network)
    copy = tmp_path / "project"
    shutil.copytree(folder, copy)
    engine = CSim(style)
    engine.attach(network, copy)

    def edit(name: str, change: Callable[[list[str]], None]) -> None:
        path = next((copy / "firmware" / "weights").glob(f"{name}.{'h' if style == 'packed' else 'txt'}"))
        text = path.read_text()
        before = text if style == "stock" else re.findall(r"= \{(.*)\};", text)[0]
        values = before.split(", ")
        change(values)
        assert before != ", ".join(values)
        path.write_text(text.replace(before, ", ".join(values)))

    def comparison() -> Comparison:
        if style == "packed":  # stock layers load their constants when they run
            engine.compile()
        inputs = inputs_for(network, 2**9)
        return compare(network, oracle.run(network, inputs), engine.run(inputs, every_layer=True))

    return engine, edit, comparison


@slow
def test_a_wrong_weight_bit_is_found_in_its_layer_and_channel(planted: Any) -> None:
    engine, edit, comparison = planted

    def flip(values: list[str]) -> None:
        if engine.config.style == "packed":  # a row per neuron's part of the inputs
            at = 4 * len(values) // 6
            values[at] = f"{{0x{int(values[at].strip('{}'), 16) ^ 2:x}}}"
        else:  # inputs x neurons
            values[1 * 6 + 4] = str(1 - int(values[1 * 6 + 4]))

    edit("weight2" if engine.config.style == "packed" else "w2", flip)
    first = comparison().first
    if engine.config.style == "packed":  # which shows the threshold's bits
        assert (first.layer, first.channel) == ("sign1", 4)
    else:
        assert (first.layer, first.channel, abs(first.expected - first.got)) == ("fc1", 4, 2)


@slow
def test_a_threshold_off_by_one_step_is_found_in_its_layer_and_channel(planted: Any) -> None:
    engine, edit, comparison = planted

    def raise_it(values: list[str]) -> None:
        if engine.config.style == "packed":  # what the accumulator starts from
            values[3] = f"{{{int(values[3].strip('{}')) - 1}}}"
        else:
            values[3] = str(int(values[3]) + 1)  # 1 to 2: the sums are odd, so only 1 itself now falls below

    edit("start2" if engine.config.style == "packed" else "t3", raise_it)
    first = comparison().first
    assert (first.layer, first.channel, first.expected, first.got) == ("sign1", 3, 1, -1)


@slow
def test_a_channel_left_unflipped_is_found(planted: Any) -> None:
    engine, edit, comparison = planted
    if engine.config.style == "packed":  # the weights that turn the comparison

        def unflip(values: list[str]) -> None:
            rows = len(values) // 6
            values[2 * rows : 3 * rows] = ["{0x0}"] * rows

        edit("weight2", unflip)
        layer = "sign1"
    else:  # the weights that the canonical form had negated

        def negate(values: list[str]) -> None:
            values[2::6] = [str(1 - int(value)) for value in values[2::6]]

        edit("w2", negate)
        layer = "fc1"
    first = comparison().first
    assert (first.layer, first.channel) == (layer, 2)


@slow
def test_a_failed_compilation_shows_the_compilers_error_and_leaves_no_old_program(planted: Any) -> None:
    engine, _, _ = planted
    folder = engine._folder
    source = next((folder / "firmware").glob("*_top.cpp"))
    source.write_text(source.read_text().replace("#include", "#error planted\n#include", 1))
    with pytest.raises(EngineError, match=r"(?s)exit status 1.*error: #error planted") as error:
        engine.compile()
    assert str(folder) in str(error.value)
    with pytest.raises(EngineError, match="cannot run"):
        engine.run(np.ones((2, 9), np.int8))


@slow
def test_a_crash_of_the_generated_code_is_an_error(planted: Any) -> None:
    engine, _, _ = planted
    source = next((engine._folder / "firmware").glob("*_top.cpp"))
    source.write_text(source.read_text().replace("// NETWORK INSTANTIATION", "\n    __builtin_abort();"))
    engine.compile()
    with pytest.raises(EngineError, match="killed by SIGABRT"):
        engine.run(np.ones((2, 9), np.int8))


@slow
@pytest.mark.parametrize("values", [0, 5])
def test_missing_results_are_an_error(planted: Any, values: int) -> None:
    engine, _, _ = planted
    program = engine._folder / "build" / "csim"
    program.unlink()
    program.write_text(f'#!/bin/sh\nhead -c {8 * values} /dev/zero > "$2"\n' if values else "#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(EngineError, match="expected 1 x 3 results, got"):
        engine.run(np.ones((2, 9), np.int8))


@slow
def test_a_moved_project_still_runs(planted: Any, tmp_path: Path) -> None:
    engine, _, _ = planted
    network = engine._network
    engine._folder.rename(tmp_path / "elsewhere")
    engine.attach(network, tmp_path / "elsewhere")
    inputs = inputs_for(network, 9)
    assert compare(network, oracle.run(network, inputs), engine.run(inputs)).first is None


def fake_compiler(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "g++"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_a_missing_compiler_makes_the_engine_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match="apt-get install g\\+\\+"):
        CSim("packed").prepare(vectors_network(), tmp_path / "project")
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'x.cpp:1: error: no such luck' >&2; exit 3", "exit status 3 .*\n.*no such luck"),
        ("exit 0", "exit status 0 and left no program"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
    ],
)
def test_a_compiler_that_fails_is_never_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    fake_compiler(tmp_path, script, monkeypatch)
    engine = CSim("packed")
    with pytest.raises(EngineError, match=message):
        engine.prepare(vectors_network(), tmp_path / "project")
    assert list((tmp_path / "project" / "build").iterdir()) == []
    with pytest.raises(EngineError, match="no compiled project"):
        engine.attach(vectors_network(), tmp_path / "project")


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (vectors_network(), "layer sign1: channel .* points down"),
        (canonicalise(padded_network(1)), "layer conv1: .* not with \\+1"),
        (canonicalise(images_network()), "layer pool1: .* size and stride are equal"),
    ],
)
def test_what_stock_layers_cannot_express_is_unavailable(tmp_path: Path, network: Network, reason: str) -> None:
    with pytest.raises(EngineUnavailable, match=reason):
        CSim("stock").prepare(network, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_inputs_are_refused() -> None:
    engine = CSim("packed")
    engine._network, engine._layers = vectors_network(), [("fc3", (6,))]
    with pytest.raises(EngineError, match="expected integer inputs"):
        engine.run(np.ones((2, 36), np.int8))
    with pytest.raises(EngineError, match="expected integer inputs"):
        engine.run(np.ones((2, 37)))  # type: ignore[arg-type]


def test_tools_names_the_versions() -> None:
    versions = CSim("packed").tools()
    assert set(versions) == {"hls4ml", "g++"}
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in versions.values())
