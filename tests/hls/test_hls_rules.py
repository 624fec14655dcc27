"""Generated projects keep the rules of HLS tools, each of which is broken once; compilers have nothing to warn of."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.hls.hls_rules import violations

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
NOTHING = np.zeros((0, 1), np.int8)


def network(name: str) -> Network:
    from xnorflow.flows.formats import read_subject
    from xnorflow.flows.subject import find

    return read_subject(find(name), None).network


def written(name: str, folder: Path, style: str = "packed") -> project.Project:
    of = network(name)
    return project.write(canonicalise(of) if style == "stock" else of, folder, HlsConfig(style=style), NOTHING, NOTHING)


@slow
@pytest.mark.parametrize("name", MODELS)
def test_every_packed_project_of_the_zoo_keeps_the_rules_and_its_foldings_the_goal(tmp_path: Path, name: str) -> None:
    made = written(name, tmp_path)
    assert violations(tmp_path) == []
    schedule = made.schedule
    assert schedule.plan.luts <= 20_000
    assert schedule.interval >= schedule.plan.interval
    text = next((tmp_path / "firmware").glob("*_top.cpp")).read_text()
    if made.config.io_type == "io_stream":  # estimated by the cycle model: no stall between the layers
        assert schedule.timing.interval <= schedule.interval * 1.1
        depths = [int(depth) for depth in re.findall(r"STREAM variable=\w+ depth=(\d+)", text)]
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


@pytest.mark.parametrize("rule", PLANTS)
def test_a_broken_rule_is_found(tmp_path: Path, rule: str) -> None:
    written("digits_bnn", tmp_path)
    assert violations(tmp_path) == []
    name, before, after = PLANTS[rule]
    text = (tmp_path / name).read_text()
    assert before in text
    (tmp_path / name).write_text(text.replace(before, after, 1))
    assert any(rule in what for what in violations(tmp_path)), violations(tmp_path)


def warnings(folder: Path, compiler: str, standard: str) -> str:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed; on Debian and Ubuntu: sudo apt-get install {compiler[:-2]}")
    top = next((folder / "firmware").glob("*_top.cpp"))
    command = [compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-fsyntax-only"]
    command += ["-isystem", "firmware/ap_types", '-DWEIGHTS_DIR="firmware/weights"']
    bench = f"{top.stem}_test.cpp"
    done = subprocess.run(
        [*command, f"firmware/{top.name}", bench], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@slow
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("name", MODELS)
def test_compilers_have_nothing_to_warn_of(tmp_path: Path, name: str, compiler: str) -> None:
    carried = any(isinstance(operation, Recurrent) for operation in network(name).operations)  # no stock layer does
    for style in ("packed",) if carried else ("packed", "stock"):
        written(name, tmp_path / style, style)
        for standard in ("c++11", "c++14", "c++17"):
            assert warnings(tmp_path / style, compiler, standard) == "", (style, standard)


def test_a_warning_is_found(tmp_path: Path) -> None:
    written("digits_bnn", tmp_path)
    top = next((tmp_path / "firmware").glob("*_top.cpp"))
    top.write_text(top.read_text().replace("// NETWORK INSTANTIATION", "\n    int unused;"))
    assert "unused" in warnings(tmp_path, "g++", "c++11")
