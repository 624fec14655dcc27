"""The golden model's speed next to torch float32 and to the machine's popcount limit; run by ``make bench``.

Every contender runs for a tenth of a second per round, in turn, so that what slows the machine slows all; a ratio is
the median over rounds of a round's ratio. torch computes the same results from weights of -1 and +1 as float32, in
inference mode, on float32 inputs made beforehand; its thresholds are biases, so that a hidden layer is one linear layer
and one sign. Before anything is timed, both results are compared.
"""

import functools
import itertools
import statistics
import timeit
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from rich.console import Console
from rich.progress import track
from rich.table import Table

from xnorflow.bnn.network import Conv2d, Dense, Input, Network, Operation, Threshold
from xnorflow.bnn.packing import words
from xnorflow.cosim import packed
from xnorflow.cosim.golden import Golden, cores, largest_bytes, tile_size
from xnorflow.cosim.llvm import splat
from xnorflow.cosim.sums import Sums

ROUNDS = 15


@dataclass(frozen=True)
class Case:
    """A network, the torch module that computes the same, and how many vectors they get."""

    label: str
    network: Network
    module: torch.nn.Module
    vectors: int

    @property
    def word_operations(self) -> int:
        """XNOR-mask-popcount-add operations on uint64 words per vector."""
        total = 0
        for operation in self.network.operations:
            if isinstance(operation, Dense | Conv2d):
                inputs = operation.weight[0].size
                total += self.network.signals[operation.name].size * words(inputs)
        return total


def dense(label: str, sizes: list[int], vectors: int, last_sign: bool) -> Case:
    """Dense layers with thresholds between them, and after the last one if `last_sign`."""
    rng = np.random.default_rng(0)
    operations: list[Operation] = [Input("x", (), shape=(sizes[0],))]
    modules: list[torch.nn.Module] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weight = rng.choice(np.array([-1, 1], np.int8), (outputs, inputs))
        operations.append(Dense(f"dense_{i}", (operations[-1].name,), weight=weight))
        linear = torch.nn.Linear(inputs, outputs)
        modules.append(linear)
        sign = last_sign or i < len(sizes) - 2
        if sign:
            modules.append(Sign())
        _threshold(rng, operations, linear, weight, sign)
    return Case(label, Network("dense", tuple(operations)), torch.nn.Sequential(*modules), vectors)


def convolution(label: str, vectors: int) -> Case:
    """A 3x3 convolution of 32 to 64 channels on 14x14 with zero padding and thresholds."""
    rng = np.random.default_rng(0)
    weight = rng.choice(np.array([-1, 1], np.int8), (64, 3, 3, 32))
    operations: list[Operation] = [
        Input("x", (), shape=(14, 14, 32)),
        Conv2d("conv", ("x",), weight=weight, padding=(1, 1, 1, 1)),
    ]
    conv = torch.nn.Conv2d(32, 64, 3, padding=1)
    _threshold(rng, operations, conv, weight.transpose(0, 3, 1, 2), sign=True)
    module = torch.nn.Sequential(conv.to(memory_format=torch.channels_last), Sign())  # type: ignore[call-overload]
    return Case(label, Network("convolution", tuple(operations)), module, vectors)


class Sign(torch.nn.Module):
    """Elementwise sign."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sign(x)


def _threshold(
    rng: np.random.Generator,
    operations: list[Operation],
    layer: torch.nn.Linear | torch.nn.Conv2d,
    weight: np.ndarray,
    sign: bool,
) -> None:
    """Give torch the weights, and both sides the same thresholds (half an integer for torch: no ties)."""
    thresholds = rng.integers(-9, 9, len(weight)) if sign else np.zeros(len(weight), np.int64)
    if sign:
        up = np.ones(len(weight), np.int8)
        operations.append(Threshold(f"sign_{len(operations)}", (operations[-1].name,), thresholds, up))
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)).float())
        layer.bias.copy_(torch.from_numpy((0.5 - thresholds) * sign).float())


def contenders(case: Case, threads: int) -> dict[str, Callable[[], Any]]:
    """What is timed: torch, the golden model from int8, and its steps alone, from packed bits to packed bits."""
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
        raise SystemExit(f"{case.label}: the golden model and torch disagree; the timings would mean nothing")

    steps, size = packed.steps(network), tile_size(largest_bytes(network), case.vectors, threads)
    tiles = [steps[source.name](inputs[i : i + size]) for i in range(0, case.vectors, size)]
    pool = ThreadPoolExecutor(threads)

    def fold(queue: Iterator[packed.Array]) -> None:
        for tile in queue:
            values: dict[str, packed.Value] = {source.name: tile}
            for operation in network.operations[1:]:
                values[operation.name] = steps[operation.name](*(values[name] for name in operation.inputs))
            result = values[network.output.name]
            if isinstance(result, Sums):
                packed.integers(result, network.signals[network.output.name])

    return {
        "torch": torch_float32,
        "run": lambda: golden.run(inputs),
        "packed": lambda: list(pool.map(fold, [iter(tiles)] * threads)),
    }


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


LANES = 8
_CHAINS = 12


def _loop(full: bool) -> Any:
    """Return a function of (times) that keeps 12 vectors of 8 words busy in registers, and does 96 words a time.

    With popcounts alone, or with all that a layer does with a word: XOR, mask, popcount, add.
    """

    def registers(typing_context: Any, times: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vector = ir.VectorType(ir.IntType(64), LANES)
            popcount = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector]), f"llvm.ctpop.v{LANES}i64"
            )
            # Not constants, or LLVM would compute the result.
            start = [splat(builder, vector, builder.mul(arguments[0], ir.IntType(64)(i + 3))) for i in range(_CHAINS)]
            mask = splat(builder, vector, builder.not_(arguments[0]))
            chains = [cgutils.alloca_once_value(builder, value) for value in start]
            with cgutils.for_range(builder, arguments[0]) as loop:
                bits = splat(builder, vector, loop.index)
                for i, chain in enumerate(chains):
                    value = builder.load(chain)
                    if full:
                        word = builder.and_(builder.xor(bits, start[i]), mask)
                        builder.store(builder.add(value, builder.call(popcount, [word])), chain)
                    else:
                        builder.store(builder.call(popcount, [value]), chain)
            total = functools.reduce(builder.add, (builder.load(chain) for chain in chains))
            return builder.extract_element(total, ir.IntType(32)(0))

        return types.uint64(times), generate

    call: Any = intrinsic(registers)

    @njit(nogil=True)
    def run(times: int) -> int:
        result: int = call(times)
        return result

    return run


def limits(threads: int) -> tuple[float, float]:
    """Words per second of popcounts alone and of XOR, mask, popcount and add, on `threads` threads, in registers."""
    times = 200_000
    pool = ThreadPoolExecutor(threads)
    popcounts, everything = _loop(full=False), _loop(full=True)
    seconds = measure(
        {
            "popcount": lambda: list(pool.map(popcounts, [times] * threads)),
            "full": lambda: list(pool.map(everything, [times] * threads)),
        }
    )
    done = times * threads * _CHAINS * LANES
    return done / statistics.median(seconds["popcount"]), done / statistics.median(seconds["full"])


def main() -> None:
    """Measure everything and print two tables."""
    cases = [
        dense("784-128", [784, 128], 32768, last_sign=True),
        dense("784-1024-1024-1024-10", [784, 1024, 1024, 1024, 10], 2048, last_sign=False),
        convolution("conv 32 to 64, 3x3, 14x14", 256),
    ]
    speed = Table(title=f"vectors per second (medians of {ROUNDS} rounds) and ratios to torch float32")
    for column in ("network", "threads", "torch", "from int8", "ratio", "packed", "ratio"):
        speed.add_column(column, justify="left" if column == "network" else "right")
    rate = Table(title="1e9 uint64 words per second next to what this machine does in registers")
    for column in ("network", "threads", "achieved", "popcount", "share", "all four", "share"):
        rate.add_column(column, justify="left" if column == "network" else "right")
    jobs = [(threads, case) for threads in sorted({1, cores()}) for case in cases]
    for threads, case in track(jobs, "measuring", transient=True):
        torch.set_num_threads(threads)
        seconds = measure(contenders(case, threads))
        alone, full = limits(threads)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        ratio = {
            name: statistics.median(a / b for a, b in zip(seconds["torch"], values, strict=True))
            for name, values in seconds.items()
        }
        speed.add_row(
            case.label,
            str(threads),
            *(f"{case.vectors / medians['torch']:,.0f}",),
            *(
                text
                for name in ("run", "packed")
                for text in (f"{case.vectors / medians[name]:,.0f}", f"{ratio[name]:.1f}")
            ),
        )
        achieved = case.word_operations * case.vectors / medians["packed"]
        shares = (text for limit in (alone, full) for text in (f"{limit / 1e9:.1f}", f"{achieved / limit:.0%}"))
        rate.add_row(case.label, str(threads), f"{achieved / 1e9:.1f}", *shares)
    console = Console()
    console.print(speed)
    console.print(
        "from int8: Golden.run, int8 in, integers out; packed: its layers alone, from packed bits to bits or sums\n"
    )
    console.print(rate)
    console.print("popcount: popcounts alone; all four: XOR, mask, popcount and add, as a layer needs them")


if __name__ == "__main__":
    main()
