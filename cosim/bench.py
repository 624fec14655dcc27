"""The golden model's speed next to torch, onnxruntime and the machine's limits; run by ``make bench``.

Every contender runs for a tenth of a second per round, in turn, so that what slows the machine slows all; a ratio is
the median over rounds of a round's ratio. torch computes the same results from weights of -1 and +1 as float32, in
inference mode, on float32 inputs made beforehand; its thresholds are biases, so that a hidden layer is one linear layer
and one sign. onnxruntime computes a dense layer's sums by MatMulInteger on uint8, its fastest type. Before anything is
timed, results are compared.
"""

import functools
import os
import statistics
import sys
import timeit
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.progress import track
from rich.table import Table

from xnorflow.bnn.network import Dense
from xnorflow.cosim import bench_limits, packed
from xnorflow.cosim.bench_cases import Case, convolution, dense
from xnorflow.cosim.golden import Golden, cores, largest_bytes, tile_size
from xnorflow.cosim.paths import PATH
from xnorflow.cosim.sums import Sums
from xnorflow.cosim.table_tile import TableTile

ROUNDS = 15
_WIDTH = 120

VARIABLES = ("LOWER",)
"""Of make's command line: a lower path to count bits by, and for torch to compute by."""

#: Which variables force a path, for numba and for torch's libraries.
LOWER = {
    "AVX-512 BW": {"NUMBA_CPU_FEATURES": "-avx512vpopcntdq"},
    "AVX2": {
        "NUMBA_CPU_FEATURES": "-avx512f",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
}


def contenders(case: Case, threads: int) -> dict[str, Callable[[], Any]]:
    """What is timed: torch, onnxruntime, the golden model from int8, and its steps alone, from packed bits to bits."""
    network, source = case.network, case.network.input
    rng = np.random.default_rng(1)
    inputs = rng.choice(np.array([-1, 1], np.int8), (case.vectors, *source.shape))
    golden = Golden(threads)
    golden.prepare(network)
    floats = torch.from_numpy(inputs).float()
    if floats.ndim == 4:
        floats = floats.permute(0, 3, 1, 2)  # already channels last in memory

    def torch_float32() -> torch.Tensor:
        with torch.inference_mode():
            result: torch.Tensor = case.module(floats)
        return result

    got, expected = golden.run(inputs)[network.output.name], torch_float32()
    if expected.ndim == 4:
        expected = expected.permute(0, 2, 3, 1)
    if not np.array_equal(got, expected.numpy()):
        raise _disagree(case.label, "torch")

    peer: dict[str, Callable[[], Any]] = {}
    if isinstance(network.output, Dense) and len(network.operations) == 2:
        peer["onnxruntime"] = _onnxruntime(network.output, inputs, threads, got)
    steps, size = packed.steps(network), tile_size(largest_bytes(network), case.vectors, threads)
    tiles = [steps[source.name](inputs[i : i + size]) for i in range(0, case.vectors, size)]
    pool = ThreadPoolExecutor(threads)

    def fold(taken: Iterator[packed.Array]) -> None:
        for tile in taken:
            values: dict[str, packed.Value] = {source.name: tile}
            for operation in network.operations[1:]:
                values[operation.name] = steps[operation.name](*(values[name] for name in operation.inputs))
            result = values[network.output.name]
            if isinstance(result, Sums):
                packed.integers(result, network.signals[network.output.name])

    return {
        "torch": torch_float32,
        **peer,
        "run": lambda: golden.run(inputs),
        "packed": lambda: list(pool.map(fold, [iter(tiles)] * threads)),
    }


def _onnxruntime(layer: Dense, inputs: NDArray[Any], threads: int, expected: NDArray[Any]) -> Callable[[], Any]:
    """Sums of a dense layer by onnxruntime; -1 and +1 are 0 and 2 around a zero point of 1, made beforehand."""
    constants = {"w": np.ascontiguousarray(layer.weight.T), "zero": np.array(1, np.uint8)}
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w", "zero"], ["y"])],
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [None, layer.weight.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [None, len(layer.weight)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {"x": (inputs + 1).astype(np.uint8)}
    if not np.array_equal(session.run(None, feed)[0], expected):
        raise _disagree(layer.name, "onnxruntime")
    return lambda: session.run(None, feed)


def _disagree(label: str, peer: str) -> SystemExit:
    return SystemExit(f"{label}: the golden model and {peer} disagree; the timings would mean nothing")


def measure(calls: Mapping[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Time every call in every round, in turn: seconds of one call by name, one number for each round."""
    timers = {name: timeit.Timer(call) for name, call in calls.items()}
    numbers = {}
    for name, timer in timers.items():
        timer.timeit(1)  # warms up
        numbers[name] = max(1, round(0.1 / timer.timeit(1)))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            seconds[name].append(timer.timeit(numbers[name]) / numbers[name])
    return seconds


def ratio(seconds: Mapping[str, list[float]], slow: str, fast: str) -> float:
    """Median over rounds of how many times as fast one is as another."""
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def limits(threads: int) -> dict[str, tuple[Callable[[], Any], int]]:
    """What to time for the machine's limits, and how many words that counts."""
    times, pool = 200_000, ThreadPoolExecutor(threads)
    loops = {"words": bench_limits.words()}
    if isinstance(PATH, TableTile):
        loops["look-ups"] = bench_limits.look_ups(PATH)
    return {
        name: (functools.partial(_on_threads, pool, run, [times] * threads), counted * times * threads)
        for name, (run, counted) in loops.items()
    }


def _on_threads(pool: ThreadPoolExecutor, run: Callable[[int], int], times: list[int]) -> None:
    list(pool.map(run, times))


def throughput(cases: list[Case]) -> None:
    """Print vectors per second, ratios to the peers and shares of the limits."""
    speed = _table(
        f"vectors per second, and times as fast (medians of {ROUNDS} rounds)",
        *("network", "threads", "torch", "from int8", "x torch", "x onnxrt", "packed", "x torch", "x onnxrt"),
    )
    rate = _table(
        "1e9 uint64 words per second next to what registers do",
        *("network", "threads", "achieved", "words", "share", "look-ups", "share"),
    )
    jobs = [(threads, case) for threads in sorted({1, cores()}) for case in cases]
    for threads, case in track(jobs, "measuring", transient=True):
        torch.set_num_threads(threads)
        bounds = limits(threads)
        seconds = measure({**contenders(case, threads), **{name: call for name, (call, _) in bounds.items()}})
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        row = [case.label, str(threads), f"{case.vectors / medians['torch']:,.0f}"]
        for name in ("run", "packed"):
            row.append(f"{case.vectors / medians[name]:,.0f}")
            row += [f"{ratio(seconds, peer, name):.1f}" if peer in seconds else "" for peer in ("torch", "onnxruntime")]
        speed.add_row(*row)
        done = case.word_operations * case.vectors
        row = [case.label, str(threads), f"{done / medians['packed'] / 1e9:.1f}"]
        for name, (_, counted) in bounds.items():
            row += [f"{counted / medians[name] / 1e9:.1f}", f"{ratio(seconds, name, 'packed') * done / counted:.0%}"]
        rate.add_row(*row)
    console = Console(width=_WIDTH)
    console.print(speed)
    console.print(
        "from int8: Golden.run, int8 in, integers out; packed: its layers alone, from packed bits to bits or sums\n"
        "onnxrt: onnxruntime's MatMulInteger, uint8 in, sums out, by all that it finds on this machine\n"
    )
    console.print(rate)
    console.print("words: XOR, mask, popcount and add; look-ups: by tables and shuffles, as this path does")


def latency(cases: list[Case]) -> None:
    """Print how long a single vector takes, next to its share of many."""

    def seconds_of(case: Case) -> dict[str, list[float]]:
        golden, source = Golden(1), case.network.input
        golden.prepare(case.network)
        inputs = np.random.default_rng(1).choice(np.array([-1, 1], np.int8), (case.vectors, *source.shape))
        return measure({"alone": lambda: golden.run(inputs[:1]), "many": lambda: golden.run(inputs)})

    table = _table("one vector, microseconds, one thread", "network", "alone", "among many", "ratio")
    for case in track(cases, "measuring", transient=True):
        seconds = seconds_of(case)
        alone, many = (statistics.median(seconds[name]) * 1e6 for name in ("alone", "many"))
        times = ratio(seconds, "alone", "many") * case.vectors
        table.add_row(case.label, f"{alone:.1f}", f"{many / case.vectors:.2f}", f"{times:.1f}")
    Console(width=_WIDTH).print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column == "network" else "right")
    return table


def main() -> None:
    """Measure everything and print tables."""
    if unknown := set(os.environ.get("XNORFLOW_GIVEN", "").split()) - set(VARIABLES):
        sys.exit(f"error: make bench takes no variable {min(unknown)}; it takes {' and '.join(VARIABLES)}")
    chosen = os.environ.get("LOWER")
    if chosen and chosen not in LOWER:
        sys.exit(f"error: LOWER: there is no path {chosen!r}; there are {', '.join(LOWER)}")
    if chosen and any(os.environ.get(name) != value for name, value in LOWER[chosen].items()):
        os.environ.update(LOWER[chosen])  # read when libraries load, so from the start again
        os.execv(sys.executable, [sys.executable, "-m", "xnorflow.cosim.bench"])
    if chosen and chosen != PATH.name:
        sys.exit(f"error: LOWER: this machine cannot run {chosen}; it runs {PATH.name}")
    Console().print(f"golden model: {PATH.name}; torch: {torch.backends.cpu.get_cpu_capability()}")
    cases = [
        dense("784-128", [784, 128], 32768, last_sign=True),
        dense("784-128, sums", [784, 128], 4096, last_sign=False),
        dense("784-1024-1024-1024-10", [784, 1024, 1024, 1024, 10], 2048, last_sign=False),
        convolution("conv 32-64, 3x3, 14x14", 256),
    ]
    throughput(cases)
    latency(cases)


if __name__ == "__main__":
    main()
