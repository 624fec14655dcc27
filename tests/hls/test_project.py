"""What lies on disk: a whole project, deterministic, with a test bench that can fail."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import oracle
from tests.hls.tiny import network
from tests.narrowed import a, there
from tests.strategies import inputs_for

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Affine, Argmax, Dense, Flatten, Input, MaxPool2d, Network, Operation, Threshold
from xnorflow.bnn.packing import pack
from xnorflow.hls import project
from xnorflow.hls.config import HlsConfig
from xnorflow.hls.errors import Unsupported, check_images
from xnorflow.hls.folding import Folding
from xnorflow.hls.storage import bits

VECTORS = 5


def written(folder: Path, net: Any = None, **settings: Any) -> project.Project:
    net = net or network()
    inputs = inputs_for(net, VECTORS)
    return project.write(net, folder, HlsConfig(**settings), inputs, oracle.run(net, inputs)["fc2"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("style", ["packed", "stock"])
@pytest.mark.parametrize("backend", ["vitis", "vivado"])
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_a_project_is_whole_and_the_same_each_time(tmp_path: Path, style: str, backend: str, io_type: str) -> None:
    settings = {"style": style, "backend": backend, "io_type": io_type, "part": "xc7z020clg400-1", "clock_ns": 4.0}
    made = written(tmp_path / "a", **settings)
    files = contents(tmp_path / "a")
    script = files["project.tcl"].decode()
    assert f'set backend "{backend}"' in script
    assert 'set part "xc7z020clg400-1"' in script
    assert "set clock_period 4.0" in script
    assert 'set project_name "tiny_top"' in script
    for name in (
        "build_prj.tcl",
        "tiny_top_test.cpp",
        "tiny_top_dut.h",
        "firmware/tiny_top.cpp",
        "firmware/parameters.h",
    ):
        assert name in files
    assert ("build_opt.tcl" in files) == (backend == "vitis")
    top = files["firmware/tiny_top.cpp"].decode()
    assert "#pragma HLS INTERFACE " + ("ap_vld" if io_type == "io_parallel" else "axis") in top
    pipelined = io_type == "io_parallel" and style == "stock"  # packed layers are folded by default
    assert ("#pragma HLS PIPELINE" if pipelined else "#pragma HLS DATAFLOW") in top
    storage = {"vitis": "BIND_STORAGE variable=weight type=rom_1p", "vivado": "RESOURCE variable=weight core=ROM_1P"}
    if style == "packed":
        assert storage[backend] in files["firmware/nnet_utils/nnet_packed.h"].decode()
    assert [port.name for port in made.layers] == (["fc1"] if style == "stock" else []) + ["sign1", "fc2"]
    assert files["tb_data/tb_input_features.dat"].count(b"\n") == VECTORS
    written(tmp_path / "b", **settings)
    assert contents(tmp_path / "b") == files
    assert str(tmp_path).encode() not in b"".join(files.values())


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "tiny_top_prj").mkdir()
    (tmp_path / "tiny_top_prj" / "report").write_text("a tool's own")
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    written(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    written(tmp_path, style="stock")
    assert not (tmp_path / "firmware" / "nnet_utils" / "nnet_packed.h").exists()
    assert not (tmp_path / "firmware" / "weights" / "weight2.h").exists()
    written(tmp_path, network("other"), backend="vivado")
    assert not list(tmp_path.glob("tiny_top*.*")) and not (tmp_path / "build_opt.tcl").exists()
    assert (tmp_path / "tiny_top_prj" / "report").exists()


def test_packed_weights_lie_in_memories_as_the_folding_reads_them(tmp_path: Path) -> None:
    made = written(tmp_path, layers={"fc1": {"strategy": "resource", "reuse_factor": 4}})  # 8 neurons of two words
    folding = a(Folding, there(made.schedule).plan.layers["fc1"])
    assert (folding.pe, folding.group, folding.part_bits, folding.cycles) == (4, 2, 64, 2) or folding.cycles == 4
    header = (tmp_path / "firmware" / "weights" / "weight2.h").read_text()
    rows = [row.split(", ") for row in re.findall(r"\{([0-9a-fxul, ]+)\}", header)]
    words: Any = pack(a(Dense, network()["fc1"]).weight)
    assert len(rows) == folding.cycles
    for address, row in enumerate(rows):
        neurons, inputs = divmod(address, folding.input_folds)
        some = words[neurons * folding.pe :][: folding.pe, inputs * folding.group :][:, : folding.group]
        assert row == [f"0x{word:x}ull" for word in some.ravel().tolist()]


def test_the_configuration_reaches_the_layers(tmp_path: Path) -> None:
    layers = {"fc1": {"strategy": "latency"}, "fc2": {"strategy": "resource", "reuse_factor": 3}}
    made = written(tmp_path / "packed", layers=layers)
    top = (tmp_path / "packed" / "firmware" / "tiny_top.cpp").read_text()
    assert "packed_unrolled" in top.split("// fc2")[0] and "packed_folded" in top.split("// fc2")[1]
    assert "#pragma HLS DATAFLOW" in top
    assert there(made.schedule).plan.layers["fc2"].cycles <= 3
    written(tmp_path / "unrolled", strategy="latency")
    assert "#pragma HLS PIPELINE II=1" in (tmp_path / "unrolled" / "firmware" / "tiny_top.cpp").read_text()
    written(tmp_path / "stock", style="stock", layers={"fc1": {"strategy": "resource", "reuse_factor": 35}})
    parameters = (tmp_path / "stock" / "firmware" / "parameters.h").read_text()
    first, second = parameters.split("struct config2 ")[1].split("struct config4 ")
    assert "reuse_factor = 35;" in first and "DenseResource" in first
    assert "reuse_factor = 1;" in second and "DenseLatency" in second


def test_foldings_follow_the_goal_and_say_what_cannot_be_had(tmp_path: Path) -> None:
    net = network(inputs=700)
    slow, fast = (written(tmp_path / str(fps), net, target_fps=fps, max_luts=None).schedule for fps in (50_000, 1e6))
    assert slow and fast
    assert slow.plan.interval <= 4000 and fast.plan.interval <= 200
    assert fast.plan.luts > slow.plan.luts
    assert slow.plan.notes == fast.plan.notes == ()
    small = written(tmp_path / "small", net, target_fps=1e6, max_luts=slow.plan.luts).schedule
    assert small and small.plan.interval > 200 and small.plan.luts <= slow.plan.luts
    assert any("not the 1,000,000 asked for" in note for note in small.plan.notes)
    least = written(tmp_path / "least", net, max_luts=10).schedule
    assert least and any("more than the 10 asked for" in note for note in least.plan.notes)
    large = written(tmp_path / "large", net, layers={"fc1": {"strategy": "latency"}}).estimate
    assert large and any("5,600 weights unrolled as asked for" in note for note in large.notes)


@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_what_is_estimated_is_told_by_layer_and_with_its_constants(tmp_path: Path, io_type: str) -> None:
    made = written(tmp_path / "packed", network(inputs=700), io_type=io_type, target_fps=1e6, max_luts=None)
    told = there(made.estimate)
    fc1, fc2 = told.layers
    assert (fc1.name, fc2.name) == ("fc1", "fc2") and told.provenance == "estimated"
    top = (tmp_path / "packed" / "firmware" / "tiny_top.cpp").read_text()
    assert f", {fc1.config}>" in top and f", {fc2.config}>" in top and fc1.config != fc2.config
    plan = there(made.schedule).plan.layers
    for layer in told.layers:
        assert (layer.folding, layer.cycles, layer.luts) == (
            str(plan[layer.name]),
            plan[layer.name].cycles,
            plan[layer.name].luts,
        )
    first = a(Folding, plan["fc1"])
    words = first.neuron_folds * first.input_folds * first.pe * first.simd
    assert fc1.memory_bits == words + first.neuron_folds * first.pe * first.accumulator_bits
    assert told.luts == fc1.luts + fc2.luts and told.memory_bits == fc1.memory_bits + fc2.memory_bits
    assert told.interval == max(fc1.cycles, fc2.cycles) <= 200 < fc1.cycles + fc2.cycles + told.latency
    assert told.latency >= fc1.cycles + fc2.cycles
    assert "1,000,000 vectors/s at 200 MHz" in told.goal and told.clock_ns == 5.0
    assert {"lane", "control", "pipeline"} <= {price.name for price in told.constants}
    assert all(price.source for price in told.constants)
    assert written(tmp_path / "stock", style="stock").estimate is None


def test_what_is_too_large_for_a_tool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="layer fc1: 80,000 weights are too many to unroll"):
        written(tmp_path / "a", network(inputs=10_000), strategy="latency")
    image = Network("image", (Input("x", (), (40, 40, 1)), Threshold("s", ("x",), np.array([1]), np.array([1]))))
    none = np.zeros((0, 1), np.int8)
    for style in ("packed", "stock"):
        with pytest.raises(
            UserError, match=r"io_parallel makes 1,600 registers .* HLS tools take 1,024; use io_stream"
        ):
            project.write(image, tmp_path / "b", HlsConfig(style=style, io_type="io_parallel"), none, none)
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"style": "fast"}, "style must be one of packed, stock; got 'fast'"),
        ({"backend": "quartus"}, "backend must be one of vitis, vivado"),
        ({"io_type": "io_serial"}, "io_type must be one of auto, io_parallel, io_stream"),
        ({"strategy": "Latency"}, "strategy must be one of auto, latency, resource"),
        ({"target_fps": 0}, "target_fps must be a number above 0"),
        ({"reuse_factor": 0}, "reuse_factor must be a whole number of 1 or more, got 0"),
        ({"reuse_factor": True}, "reuse_factor must be a whole number"),
        ({"clock_ns": 0}, "clock_ns must be a period in nanoseconds"),
        ({"clock_ns": 1e-300}, "clock_ns must be a period in nanoseconds, 0.01 to"),
        ({"clock_ns": 1e7}, "clock_ns must be a period in nanoseconds, 0.01 to"),
        ({"clock_ns": float("nan")}, "clock_ns must be a period"),
        ({"part": 'x" ; exec'}, "part must name an FPGA part"),
        ({"layers": {"fc1": {"reuse": 2}}}, "layer fc1: unknown setting 'reuse'; there are reuse_factor, strategy"),
        ({"layers": {"fc1": {"strategy": "fast"}}}, "layer fc1: strategy must be one of auto, latency, resource"),
        ({"layers": {"fc9": {}}}, "no layer 'fc9' with weights in tiny; there are fc1, fc2"),
        (
            {"style": "stock", "strategy": "resource", "layers": {"fc1": {"reuse_factor": 3}}},
            "layer fc1: .* takes 1, 2, 5",
        ),
    ],
)
def test_a_wrong_configuration_is_refused_and_nothing_is_written(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        written(tmp_path / "project", **settings)
    assert not (tmp_path / "project").exists()


def test_vectors_of_the_wrong_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tb_input_features\.dat: expected integers, 70 per vector"):
        project.write(network(), tmp_path / "p", HlsConfig(), np.ones((2, 69), np.int8), np.ones((2, 3), np.int8))
    with pytest.raises(UserError, match=r"tb_output_predictions\.dat: expected integers, 3 per vector"):
        reals = np.ones((2, 3))
        project.write(network(), tmp_path / "p", HlsConfig(), np.ones((2, 70), np.int8), reals)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="2 input vectors and 1 expected"):
        project.write(network(), tmp_path / "p", HlsConfig(), np.ones((2, 70), np.int8), np.ones((1, 3), np.int8))
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (Input("x", (), (70,)), "io_parallel"),
        (Input("x", (), (1024,), "unsigned", 8), "io_parallel"),
        (Input("x", (), (1025,), "unsigned", 8), "io_stream"),
        (Input("x", (), (64 * 1024,)), "io_parallel"),  # words of bits
        (Input("x", (), (1, 2, 3)), "io_stream"),
    ],
)
def test_what_is_large_or_an_image_is_streamed(taken: Input, expected: str) -> None:
    size = int(np.prod(taken.shape))
    ends = (Flatten("flat", ("x",)), Dense("d", ("flat",), np.ones((2, size), np.int8)))
    if len(taken.shape) == 1:
        ends = (Dense("d", ("x",), np.ones((2, size), np.int8)),)  # type: ignore[assignment]
    net = Network("n", (taken, *ends))
    assert HlsConfig().resolve(net).io_type == expected
    few = len(taken.shape) == 1 and size <= 1024  # stock layers have no words of bits
    assert HlsConfig(style="stock").resolve(net).io_type == ("io_parallel" if few else "io_stream")
    assert HlsConfig(io_type="io_parallel").resolve(net).io_type == "io_parallel"


def test_a_padded_pool_is_told_with_the_way_out() -> None:
    network = Network("n", (Input("x", (), (4, 4, 1)), MaxPool2d("p", ("x",), padding=(1, 0, 0, 0))))
    with pytest.raises(Unsupported, match=r"^layer p: a padded max pool has no layer in stock hls4ml; pool without "):
        check_images(network, padded=False)
    check_images(network, padded=True)
    check_images(Network("n", (Input("x", (), (4, 4, 1)), MaxPool2d("p", ("x",)))), padded=False)


@pytest.mark.parametrize("last", [Argmax("a", ("x",)), Affine("a", ("x",), np.ones(2, int), np.ones(2, int))])
def test_scores_of_every_pixel_are_told(last: Operation) -> None:
    with pytest.raises(Unsupported, match=r"^layer a: scores of every pixel have no hardware; end the network before "):
        check_images(Network("n", (Input("x", (), (4, 4, 2)), last)), True)
    check_images(Network("n", (Input("x", (), (2,)), last)), True)


def test_a_network_without_hardware_is_refused() -> None:
    empty = Network("empty", (Input("x", (), (2, 2, 1)), Flatten("flat", ("x",)), Argmax("argmax", ("flat",))))
    with pytest.raises(Unsupported, match="nothing to compute"):
        project.hardware(empty)


def test_no_training_framework_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.hls.test_project import written\n"
        f"for style in ('packed', 'stock'): written(Path({str(tmp_path)!r}) / style, style=style)\n"
        "print([m for m in ('tensorflow', 'keras', 'tf_keras', 'torch', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("low", "high", "width"),
    [(0, 0, 1), (0, 1, 1), (0, 255, 8), (-1, 0, 1), (-1, 1, 2), (-2, 1, 2), (-128, 127, 8), (-9, 2, 5)],
)
def test_bits_hold_the_range_and_no_more(low: int, high: int, width: int) -> None:
    assert bits(low, high) == width


@pytest.fixture(scope="module", params=["packed", "stock"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A compiled test bench: (project folder, program)."""
    folder = tmp_path_factory.mktemp(request.param)
    written(folder, style=request.param)
    command = ["g++", "-std=c++11", "-O1", "-w", "-Ifirmware/ap_types", '-DWEIGHTS_DIR="firmware/weights"']
    sources = ["firmware/tiny_top.cpp", "tiny_top_test.cpp", "-o", "bench"]
    subprocess.run([*command, *sources], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_the_test_bench_compares_integers_and_its_status_says_so(bench: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["./bench"], cwd=bench, capture_output=True, text=True, check=False)

    inputs, expected = bench / "tb_data" / "tb_input_features.dat", bench / "tb_data" / "tb_output_predictions.dat"
    good = run()
    assert (good.returncode, good.stdout.strip()) == (0, f"PASS: {VECTORS} vectors, 0 wrong")
    assert (bench / "tb_data" / "csim_results.log").read_text() == expected.read_text()

    before = expected.read_text()
    values = before.split(" ", 1)
    expected.write_text(f"{int(values[0]) + 1} {values[1]}")
    wrong = run()
    assert wrong.returncode == 1
    assert f"vector 0, output 0: expected {int(values[0]) + 1}, got {values[0]}" in wrong.stdout
    for broken in ("", before.split("\n", 1)[0] + "\n", before.replace(" ", " 0 ", 1)):
        expected.write_text(broken)
        assert run().returncode == 1
    expected.write_text(before)
    inputs.write_text("")
    assert run().returncode == 1
    inputs.unlink()
    assert run().returncode == 1
