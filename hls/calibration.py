"""What the logic of packed layers takes, by Yosys, beside what :mod:`xnorflow.hls.folding` estimates.

The process of a folded layer (``packed_folded`` in ``nnet_packed.h``) stands here as Verilog: the window, the choice of
a part of it in the pipeline's next stage, products, compressor trees and adders, accumulators, comparisons, the results
until all are there, and the counters. Its memories are ports, since they are counted apart. Hard-wired layers are the
RTL's modules of the same graphs of adders. Both go through the flow's synthesis for AMD's 7 series. This tells what the
bit equations come to after logic synthesis; what an HLS tool adds (its state machines, pipeline stages and FIFOs) it
does not tell.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from xnorflow.hls.folding import Architecture, Folding, HardWired, Neurons
from xnorflow.hls.rtl.popcount import unrolled
from xnorflow.hls.storage import Storage
from xnorflow.hls.synthesis import tools
from xnorflow.hls.synthesis.targets import target
from xnorflow.hls.synthesis.yosys import SynthesisedModule, synthesise_modules

TARGET = "xilinx7"


@dataclass(frozen=True)
class LutRow:
    """A layer's LUTs.

    Attributes
    ----------
    architecture : Folding or HardWired
    synthesised : int
    """

    architecture: Architecture
    synthesised: int

    @property
    def deviation(self) -> float:
        """Of the estimate, as a share of what was synthesised."""
        return self.architecture.luts / self.synthesised - 1


def layer(neurons: int, inputs: int, bits: int = 1, masked: bool = False) -> Neurons:
    """Return a layer on a vector of bipolar values, or of unsigned integers of more than one bit."""
    storage = (
        Storage("packed", (inputs,), min(inputs, 64), False)
        if bits == 1
        else Storage("integer", (inputs,), bits, False)
    )
    return Neurons("layer", neurons, 1, storage, 1, 1, masked)


def _folded(neurons: int, inputs: int, pe: int, part: int, group: int, masked: bool = False) -> Folding:
    return Folding(layer(neurons, inputs, masked=masked), pe, part, group)


FITTED: tuple[Architecture, ...] = (
    _folded(64, 64, 4, 64, 1),
    _folded(128, 256, 1, 32, 1),
    _folded(128, 784, 1, 32, 1),
    _folded(128, 784, 4, 64, 1),
    _folded(10, 128, 1, 4, 1),
    _folded(10, 128, 5, 64, 2),
    _folded(256, 1024, 2, 64, 2),
    _folded(32, 64, 4, 64, 1, masked=True),
    Folding(layer(32, 64, 8), 4, 9, 4),
    Folding(layer(32, 64, 4), 8, 5, 8),
    HardWired(layer(32, 64)),
    HardWired(layer(10, 128)),
    HardWired(layer(16, 32, 4)),
)
"""What the prices are fitted to: layers of the sizes that the zoo has, in foldings for goals from slow to fast."""

CHECKED: tuple[Architecture, ...] = (
    _folded(64, 64, 1, 16, 1),
    _folded(128, 256, 4, 64, 1),
    _folded(32, 784, 1, 16, 1),
    _folded(64, 400, 4, 16, 1, masked=True),
    Folding(layer(16, 64, 8), 2, 9, 2),
    HardWired(layer(24, 48)),
)
"""Other layers, which the prices are held against."""


def measure(sample: Sequence[Architecture], cache: Path) -> list[LutRow]:
    """Synthesise layers.

    Parameters
    ----------
    sample : sequence of Folding or HardWired
    cache : Path
        Folder in which what is synthesised is kept.

    Raises
    ------
    ToolMissing
        If there is no Yosys here.
    SynthesisError
        If it fails.
    """
    modules = tuple(
        SynthesisedModule(f"layer{n}", None, {"layer.v": verilog(f"layer{n}", of).encode()})
        for n, of in enumerate(sample)
    )
    made = synthesise_modules(modules, target(TARGET), tools.find("yosys"), cache)
    return [LutRow(of, one.resources.lut) for of, one in zip(sample, made, strict=True)]


def verilog(name: str, architecture: Architecture) -> str:
    """Return a module of a layer's process, with weights that are drawn where they are hard-wired."""
    if isinstance(architecture, Folding):
        return "\n".join(_process(name, architecture)) + "\n"
    of = architecture.layer
    weight = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (of.neurons, of.inputs))
    limits = np.zeros(of.neurons, np.int64)
    return unrolled(name, weight, of.input_bits, False, of.binary, limits, 1, 10**6, "fast").verilog


def _process(name: str, folding: Folding) -> Iterator[str]:
    """Yield the lines of ``packed_folded`` on a vector that comes whole."""
    of = folding.layer
    part, group, pe, folds = folding.part_bits, folding.group, folding.pe, folding.input_folds
    operand = of.storage.bits
    window = of.storage.elements * operand
    width = folding.accumulator_bits
    weights, rows = pe * folding.simd, folding.neuron_folds
    yield f"module {name} (input clk, input reset, input given, input [{window - 1}:0] data, output take,"
    yield f"    input [{weights - 1}:0] weight, input [{weights - 1}:0] mask, input [{pe * width - 1}:0] start,"
    yield f"    output reg [31:0] address, output [{rows * pe - 1}:0] result, output reg valid);"
    yield f"reg [{window - 1}:0] window; reg fresh; reg [{_counter(folds)}:0] fold; reg [{_counter(rows)}:0] neurons;"
    yield f"wire last_fold = fold == {folds - 1}, last = last_fold && neurons == {rows - 1};"
    yield "wire step = !fresh || given; assign take = fresh;"
    yield f"reg [{group * part - 1}:0] x;"
    yield "always @* case (fold)"
    for fold in range(folds):
        yield f"    {fold}: x = {_parts(folding, fold)};"
    yield f"    default: x = {group * part}'bx;\nendcase"
    for n in range(pe):
        yield from _neuron(folding, n)
    yield "integer i;\nalways @(posedge clk) begin"
    yield "    valid <= step && last;"
    yield "    if (reset) begin fresh <= 1; fold <= 0; neurons <= 0; address <= 0; end else if (step) begin"
    yield "        if (fresh) window <= data;"
    yield "        fresh <= last; address <= last ? 0 : address + 1;"
    yield "        neurons <= last ? 0 : last_fold ? neurons + 1 : neurons; fold <= last_fold ? 0 : fold + 1;"
    yield "    end\nend"
    for row in range(rows):
        for n in range(pe):
            yield f"reg r{row}_{n}; assign result[{row * pe + n}] = r{row}_{n};"
            yield f"always @(posedge clk) if (step && last_fold && neurons == {row}) r{row}_{n} <= y{n};"
    yield "endmodule"


def _counter(count: int) -> int:
    return max(0, (count - 1).bit_length() - 1)


def _parts(folding: Folding, fold: int) -> str:
    """Return the parts of the window that a fold takes, the first lowest."""
    of, found = folding.layer, []
    word = of.storage.bits
    for p in range(fold * folding.group, (fold + 1) * folding.group):
        if p >= folding.parts:
            found.append(f"{folding.part_bits}'b0")
            continue
        element, place = divmod(p, folding.parts_per_word)
        low = element * word + place * folding.part_bits if of.binary else element * word
        size = min(folding.part_bits, (element + 1) * word - low)
        extended = f"{{{folding.part_bits - size}'b0, window[{low} +: {size}]}}"
        found.append(extended if size < folding.part_bits else f"window[{low} +: {size}]")
    return f"{{{', '.join(reversed(found))}}}"


def _neuron(folding: Folding, n: int) -> Iterator[str]:
    part, group, width = folding.part_bits, folding.group, folding.accumulator_bits
    binary = folding.layer.binary
    yield f"reg signed [{width - 1}:0] acc{n};"
    terms = []
    for g in range(group):
        x, lane = f"x[{g * part} +: {part}]", (n * group + g) * (part if binary else 1)
        if binary:
            product = f"({x} ^ weight[{lane} +: {part}])"
            product += f" & mask[{lane} +: {part}]" if folding.layer.masked else ""
            yield f"wire [{part - 1}:0] bits{n}_{g} = {product};"
            bits: list[str] = []
            yield from _ones(f"c{n}_{g}", [f"bits{n}_{g}[{i}]" for i in range(part)], bits)
            yield f"wire signed [{len(bits)}:0] t{n}_{g} = {{1'b0, {', '.join(reversed(bits))}}};"
        else:
            yield f"wire signed [{part - 1}:0] t{n}_{g} = {x} ^ {{{part}{{!weight[{lane}]}}}};"
        terms.append(f"t{n}_{g}")
    level = 0
    while len(terms) > 1:
        summed = []
        for left, right in zip(terms[::2], terms[1::2]):
            summed.append(f"{left}_{level}")
            yield f"wire signed [{width - 1}:0] {summed[-1]} = {left} + {right};"
        terms, level = summed + terms[len(summed) * 2 :], level + 1
    begin = f"$signed(start[{n * width} +: {width}])"
    change = f"- ({terms[0]} <<< 1)" if binary else f"+ {terms[0]}"
    yield f"wire signed [{width - 1}:0] next{n} = (fold == 0 ? {begin} : acc{n}) {change};"
    yield f"wire y{n} = !next{n}[{width - 1}];\nalways @(posedge clk) if (step) acc{n} <= next{n};"


def _ones(name: str, column: Sequence[str], bits: list[str]) -> Iterator[str]:
    """Yield a compressor tree, ``ones`` in ``nnet_packed.h``; its result goes to `bits`, the lowest first."""
    column = list(column)
    carries: list[str] = []
    while len(column) > 1:
        terms, column = column[:3], column[3:]
        made = f"{name}_{len(bits)}_{len(carries)}"
        a, b, c = (*terms, "1'b0")[:3]
        yield f"wire d_{made} = {a} ^ {b}, s_{made} = d_{made} ^ {c}, k_{made} = ({a} & {b}) | ({c} & d_{made});"
        column.append(f"s_{made}")
        carries.append(f"k_{made}")
    bits.append(column[0])
    if carries:
        yield from _ones(name, carries, bits)


def main() -> None:
    """Print what was synthesised beside what is estimated."""
    with tempfile.TemporaryDirectory(prefix="xnorflow-") as folder:
        try:
            rows = measure((*FITTED, *CHECKED), Path(folder))
        except tools.ToolMissing as missing:
            Console().print(f"skipped: {missing}")
            return
    table = Table(title="LUTs of packed hls4ml layers' logic, 7 series")
    for column in ("neurons", "inputs", "operand", "folding", "synthesised", "estimated", "deviation", ""):
        table.add_column(column, justify="right")
    for n, row in enumerate(rows):
        of = row.architecture.layer
        operand = ("bits, masked" if of.masked else "bits") if of.binary else f"{of.storage.bits}-bit"
        size = f"{of.neurons}", f"{of.inputs}", operand, str(row.architecture)
        table.add_row(
            *size,
            f"{row.synthesised:,}",
            f"{row.architecture.luts:,}",
            f"{row.deviation:+.0%}",
            "fitted" if n < len(FITTED) else "checked",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
