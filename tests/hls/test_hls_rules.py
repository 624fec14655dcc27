"""Generated projects keep the rules of HLS tools, each of which is broken once; compilers have nothing to warn of."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.hls.hls_rules import violations
from tests.narrowed import there

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.network import Network, Recurrent
from xnorflow.hls import project
from xnorflow.hls.config import HlsConfig
from xnorflow.models import zoo

slow = pytest.mark.slow
REPEATING = (
    "cifar10_cnv",
    "drone_bnn",
    "mnist_bnn",
    "mnist_larq",
    "mnist_lfc",
    "mnist_qkeras",
    "mnist_sfc",
)  # kernels of others
MODELS = [pytest.param(name, marks=[pytest.mark.exhaustive] if name in REPEATING else []) for name in zoo.ZOO]
COMPILED_IN_CI = {("digits_bnn", "g++"), ("digits_bnn", "clang++"), ("vowels_rnn", "g++")}
COMPILERS = [
    pytest.param(name, compiler, marks=[] if (name, compiler) in COMPILED_IN_CI else [pytest.mark.exhaustive])
    for name in zoo.ZOO
    for compiler in ("g++", "clang++")
]
NOTHING = np.zeros((0, 1), np.int8)


def network(name: str) -> Network:
    from xnorflow.flows.formats import read_subject
    from xnorflow.flows.subject import find

    return read_subject(find(name), None).network


def carried(name: str) -> bool:
    """Say whether a model carries a state along a sequence, which no stock layer does."""
    return any(isinstance(operation, Recurrent) for operation in network(name).operations)


def written(name: str, folder: Path, style: str = "packed") -> project.Project:
    of = network(name)
    return project.write(canonicalise(of) if style == "stock" else of, folder, HlsConfig(style=style), NOTHING, NOTHING)


def fifo_depths(folder: Path) -> list[int]:
    text = next((folder / "firmware").glob("*_top.cpp")).read_text()
    return [int(depth) for depth in re.findall(r"STREAM variable=\w+ depth=(\d+)", text)]


@slow
@pytest.mark.parametrize("name", MODELS)
def test_every_packed_project_of_the_zoo_keeps_the_rules_and_its_foldings_the_goal(tmp_path: Path, name: str) -> None:
    made = written(name, tmp_path)
    assert violations(tmp_path) == []
    schedule = there(made.schedule)
    assert schedule.plan.luts <= 20_000
    assert schedule.interval >= schedule.plan.interval
    if made.config.io_type == "io_stream":  # estimated by the cycle model: no stall between the layers
        assert there(schedule.timing).interval <= schedule.interval * 1.1
        depths = fifo_depths(tmp_path)
        assert depths and min(depths) >= 2
        assert max(depths) < max(port.pixels for port in made.layers) or max(depths) <= 64


PLANTS = {
    "pragma inside an if": (
        "firmware/nnet_utils/nnet_packed.h",
        "        if (image.due()) {\n",
        "        if (image.due()) {\n            #pragma HLS PIPELINE\n",
    ),
    "constant table": (
        "firmware/nnet_utils/nnet_packed.h",
        "namespace packed {\n",
        "namespace packed {\nstatic const int table[4] = {0, 1, 1, 2};\n"
        "#pragma HLS ARRAY_PARTITION variable=table complete\n",
    ),
    "elements partitioned": (
        "firmware/nnet_utils/nnet_packed.h",
        "namespace packed {\n",
        "namespace packed {\nint big[1025];\n#pragma HLS ARRAY_PARTITION variable=big complete\n",
    ),
    "iterations unrolled": (
        "firmware/nnet_utils/nnet_packed.h",
        "for (int i = 0; i < N; i++) {\n            #pragma HLS UNROLL",
        "for (int i = 0; i < 5000; i++) {\n            #pragma HLS UNROLL",
    ),
    "results of": ("firmware/parameters.h", "neuron_folds = 256", "neuron_folds = 1025"),
    "over 4097 neurons": ("firmware/parameters.h", "pe = 1;", "pe = 4097;"),
    "weights unrolled by default": (
        "firmware/parameters.h",
        "    typedef ap_int<9> accum_t;",
        "    typedef nnet::circuit2 circuit;",
    ),
}


STOCK_PLANTS = {
    "pragma inside an if": (
        "firmware/digits_bnn_top.cpp",
        "    if (!loaded_weights) {\n",
        "    if (!loaded_weights) {\n        #pragma HLS PIPELINE\n",
    ),
    "array layer2_out: 1025 elements": ("firmware/digits_bnn_top.cpp", "layer2_out[256]", "layer2_out[1025]"),
    "array inputs: 1025 elements": ("firmware/digits_bnn_top.cpp", "inputs[64]", "inputs[1025]"),
    "array w: a constant table": (
        "firmware/digits_bnn_top.cpp",
        "#include ",
        "static const int w[2] = {0, 1};\n#pragma HLS ARRAY_PARTITION variable=w complete\n#include ",
    ),
    "16384 multiplications unrolled by default": ("firmware/parameters.h", "reuse_factor = 2048;", "reuse_factor = 1;"),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Projects of digits_bnn that keep the rules, a folder each by style."""
    folder = tmp_path_factory.mktemp("kept")
    for style in ("packed", "stock"):
        written("digits_bnn", folder / style, style)
        assert violations(folder / style) == []
    return folder


@pytest.mark.parametrize(
    ("style", "rule"), [*(("packed", rule) for rule in PLANTS), *(("stock", rule) for rule in STOCK_PLANTS)]
)
def test_a_broken_rule_is_found(kept: Path, tmp_path: Path, style: str, rule: str) -> None:
    shutil.copytree(kept / style, tmp_path / "project")
    name, before, after = {"packed": PLANTS, "stock": STOCK_PLANTS}[style][rule]
    text = (tmp_path / "project" / name).read_text()
    assert before in text
    (tmp_path / "project" / name).write_text(text.replace(before, after, 1))
    found = violations(tmp_path / "project")
    assert any(rule in what for what in found), found


@slow
@pytest.mark.parametrize("name", MODELS)
def test_every_stock_project_of_the_zoo_keeps_the_rules(tmp_path: Path, name: str) -> None:
    if carried(name):
        pytest.skip("no stock layer carries a state")
    made = written(name, tmp_path, "stock")
    assert violations(tmp_path) == []
    if made.config.io_type == "io_stream":
        depths = fifo_depths(tmp_path)
        assert depths and min(depths) >= 2
        assert max(depths) <= max(port.pixels for port in made.layers) / 3


def warnings(folder: Path, compiler: str, standard: str, *more: str) -> str:
    """What a compiler says of the top function and its test bench."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed; on Debian and Ubuntu: sudo apt-get install {compiler[:-2]}")
    top = next((folder / "firmware").glob("*_top.cpp"))
    command = [compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wno-unknown-pragmas", *more]
    command += ["-isystem", "firmware/ap_types", '-DWEIGHTS_DIR="firmware/weights"', "-o", "/dev/null"]
    said = ""
    for source in (f"firmware/{top.name}", f"{top.stem}_test.cpp"):
        done = subprocess.run([*command, source], cwd=folder, capture_output=True, text=True, check=False)
        said += done.stdout + done.stderr
    return said


CHECKED, COMPILED = ("-fsyntax-only",), ("-O2", "-c")  # values that are used before they are set are seen in the latter


@slow
@pytest.mark.parametrize(("name", "compiler"), COMPILERS)
def test_compilers_have_nothing_to_warn_of(tmp_path: Path, name: str, compiler: str) -> None:
    for style in ("packed",) if carried(name) else ("packed", "stock"):
        written(name, tmp_path / style, style)
        for standard, how in (("c++11", COMPILED), ("c++14", CHECKED), ("c++17", CHECKED)):
            assert warnings(tmp_path / style, compiler, standard, *how) == "", (style, standard)


@pytest.mark.parametrize(
    ("name", "before"),
    [("digits_bnn_top.cpp", "// NETWORK INSTANTIATION"), ("nnet_utils/nnet_packed.h", "sum = differ ^ c;")],
)
def test_a_warning_is_found(tmp_path: Path, name: str, before: str) -> None:
    """In our header, too, which comes behind those whose warnings are not ours."""
    written("digits_bnn", tmp_path)
    path = tmp_path / "firmware" / name
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, f"\n int unused, unset; volatile int x = unset; (void)x; {before}"))
    said = warnings(tmp_path, "g++", "c++11", *COMPILED)
    assert "unused variable" in said and "'unset' is used uninitialized" in said.replace("‘", "'").replace("’", "'")
