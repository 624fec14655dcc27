"""Exported memories, read back by independent means, hold the network's own weights and thresholds."""

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray
from tests import strategies

from xnorflow.bnn.export import export
from xnorflow.bnn.network import Affine, Conv2d, Dense, Input, MultiThreshold, Network, Threshold, weight_bits


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


@given(strategies.networks(weight_bits=16, operations=strategies.EVERY))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_every_format_holds_the_same_rows(tmp_path: Path, network: Network) -> None:
    export(network, tmp_path)
    for operation in network.operations:
        bits: dict[str, NDArray[Any]] = {}
        numbers: dict[str, NDArray[Any]] = {}
        if isinstance(operation, Dense | Conv2d):
            rows = operation.weight.reshape(len(operation.weight), -1)
            if weight_bits(rows) > 2:
                numbers[f"{operation.name}_weight"] = rows.ravel()
            else:
                bits[f"{operation.name}_weight"] = rows > 0
            if weight_bits(rows) == 2:
                bits[f"{operation.name}_mask"] = rows != 0
        elif isinstance(operation, Threshold | MultiThreshold):
            numbers[f"{operation.name}_threshold"] = operation.threshold.ravel()
            bits[f"{operation.name}_direction"] = operation.direction[:, None] > 0
        elif isinstance(operation, Affine):
            numbers |= {f"{operation.name}_scale": operation.scale, f"{operation.name}_offset": operation.offset}
        header = (tmp_path / f"{network.name}.h").read_text()
        for name in (*bits, *numbers):
            width = int(re.findall(rf"{name.upper()}_BITS (\d+)", header)[0])
            mem = [int(line, 16) for line in (tmp_path / f"{name}.mem").read_text().split()]
            coe = (tmp_path / f"{name}.coe").read_text().split("vector=\n")[1].rstrip(";\n").split(",\n")
            assert [int(row, 16) for row in coe] == mem
            binary, octets = (tmp_path / f"{name}.bin").read_bytes(), -(-width // 8)
            assert [int.from_bytes(binary[i : i + octets], "little") for i in range(0, len(binary), octets)] == mem
            if name in bits:
                assert [[row >> i & 1 for i in range(width)] for row in mem] == bits[name].tolist()
            else:
                assert [signed(row, width) for row in mem] == numbers[name].tolist()


def test_header_compiles_and_agrees(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = rng.choice([-1, 0, 1], (2, 130))
    network = Network(
        "n",
        (
            Input("x", (), shape=(130,)),
            Dense("d", ("x",), weight=weight),
            Threshold("t", ("d",), threshold=np.array([-7, 9]), direction=np.array([1, -1])),
        ),
    )
    export(network, tmp_path)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "n.h"\nint main(void) { for (int r = 0; r < D_WEIGHT_ROWS; r++)'
        ' for (int i = 0; i < D_WEIGHT_BITS; i++) printf("%d ", (int)(d_mask[r][i / 64] >> i % 64 & 1)'
        " * (2 * (int)(d_weight[r][i / 64] >> i % 64 & 1) - 1));"
        ' for (int c = 0; c < T_THRESHOLD_ROWS; c++) printf("%lld %d ", (long long)t_threshold[c],'
        " (int)t_direction[c][0]); return 0; }\n"
    )
    subprocess.run(["g++", "-Wall", "-Werror", "-x", "c", "main.c", "-o", "main"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout.split()
    assert [int(value) for value in printed] == [*weight.ravel().tolist(), -7, 1, 9, 0]


def test_numbers_take_the_least_width(tmp_path: Path) -> None:
    threshold = Threshold("t", ("x",), threshold=np.array([-8, 7]), direction=np.array([1, -1]))
    export(Network("n", (Input("x", (), shape=(2,), kind="signed", bits=4), threshold)), tmp_path)
    assert (tmp_path / "t_threshold.mem").read_text() == "8\n7\n"
    assert "#define T_THRESHOLD_BITS 4" in (tmp_path / "n.h").read_text()
