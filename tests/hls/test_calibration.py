"""The logic that prices of packed layers are fitted to computes such layers, and is as large as it is told to be."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from xnorflow.hls import calibration
from xnorflow.hls.folding import Folding

BENCH = """
module bench;
reg clk = 0, reset = 1; wire take, valid; wire [31:0] address; wire [{results}-1:0] result; integer frames = 0;
reg [{words}-1:0] weights [0:{depth}-1], masks [0:{depth}-1]; reg [{starts}-1:0] begins [0:{rows}-1];
initial begin $readmemb("weights", weights); $readmemb("masks", masks); $readmemb("begins", begins); end
layer dut (clk, reset, 1'b1, {window}'b{data}, take, weights[address], masks[address], begins[address / {folds}],
    address, result, valid);
always #1 clk = !clk;
always @(posedge clk) reset <= 0;
always @(negedge clk) if (valid) begin
    frames = frames + 1;  // the window of the first one comes a step late: its choice stands in the next stage
    if (frames == 2) begin $display("%b", result); $finish; end
end
endmodule
"""


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("pe", "part", "group"), [(2, 4, 1), (1, 8, 1), (3, 2, 1), (6, 8, 1)])
def test_the_logic_computes_a_layer(tmp_path: Path, pe: int, part: int, group: int, masked: bool) -> None:
    folding = Folding(calibration.layer(6, 8, masked=masked), pe, part, group)
    rng = np.random.default_rng(pe)
    x, weight = rng.integers(0, 2, 8), rng.integers(0, 2, (6, 8))
    mask = rng.integers(0, 2, (6, 8)) if masked else np.ones((6, 8), int)
    starts = rng.integers(-4, 12, 6)
    expected = starts - 2 * ((x ^ weight) & mask).sum(axis=1) >= 0
    folds, rows, width = folding.input_folds, folding.neuron_folds, folding.accumulator_bits

    def words(matrix: np.ndarray) -> str:  # type: ignore[type-arg]
        found = []
        for row in range(rows):
            for fold in range(folds):
                bits = matrix[row * pe : (row + 1) * pe, fold * folding.simd : (fold + 1) * folding.simd]
                found.append("".join(map(str, bits.ravel()[::-1])))
        return "\n".join(found)

    (tmp_path / "weights").write_text(words(weight))
    (tmp_path / "masks").write_text(words(mask))
    begins = [
        "".join(f"{int(s) % (1 << width):0{width}b}" for s in starts[r * pe : (r + 1) * pe][::-1]) for r in range(rows)
    ]
    (tmp_path / "begins").write_text("\n".join(begins))
    bench = BENCH.format(
        results=rows * pe, words=pe * folding.simd, depth=rows * folds, starts=pe * width, rows=rows, folds=folds,
        window=8, data="".join(map(str, x[::-1])),
    )  # fmt: skip
    (tmp_path / "all.v").write_text(calibration.verilog("layer", folding) + bench)
    subprocess.run(["iverilog", "-g2012", "-o", "sim", "all.v"], cwd=tmp_path, check=True)
    done = subprocess.run(["vvp", "sim"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [bit == "1" for bit in reversed(done.stdout.split()[-1])] == expected.tolist()


@pytest.mark.slow
def test_the_estimate_is_near_what_is_synthesised(tmp_path: Path) -> None:
    few = (calibration.FITTED[4], calibration.CHECKED[0], calibration.CHECKED[-1])
    for row in calibration.measure(few, tmp_path):
        assert -0.27 <= row.deviation <= 0.58, row
