"""A graph of adders as one pipelined Verilog module."""

import re
from collections import defaultdict
from collections.abc import Sequence

from xnorflow.hls.rtl.adders import Adder, Graph, Group


def stages(depth: int, levels_per_stage: int) -> int:
    """Clock cycles of a graph: at least one, as the outputs are registers."""
    return max(1, -(-depth // levels_per_stage))


def module(
    name: str, graph: Graph, input_bits: int, outputs: Sequence[int], levels_per_stage: int, header: Sequence[str]
) -> str:
    """Write the module.

    Parameters
    ----------
    name : str
        Name of the module.
    graph : Graph
        Its adders; signals 1 to `input_bits` are the bits of port `in`.
    input_bits : int
        Width of `in`.
    outputs : sequence of int
        Literal of each bit of port `out`.
    levels_per_stage : int
        Adders in a row between two registers, at least 1.
    header : sequence of str
        Lines of the comment in front of the module.

    Returns
    -------
    str
        Verilog-2001. `out` shows what `in` was ``stages(graph.depth, levels_per_stage)`` enabled clock edges ago.
    """
    return _Writer(graph, input_bits, outputs, levels_per_stage).text(name, header)


class _Writer:
    def __init__(self, graph: Graph, input_bits: int, outputs: Sequence[int], levels_per_stage: int) -> None:
        self.graph, self.input_bits, self.outputs = graph, input_bits, outputs
        self.latency = stages(graph.depth, levels_per_stage)
        self.owner = [0] * len(graph.levels)  # the adder of a signal, from 1; 0: an input
        for n, adder in enumerate(graph.adders, 1):
            self.owner[adder.first : adder.first + adder.width] = [n] * adder.width
        # Adder n works between the registers of stage `stage[n]` and the next; inputs are there at stage 0.
        self.stage = [0, *((adder.level - 1) // levels_per_stage for adder in graph.adders)]
        self.delays: dict[int, int] = defaultdict(int)  # registers behind each adder (0: the inputs)
        self.functions: dict[tuple[int, ...], str] = {}  # bits per weight, name

    def text(self, name: str, header: Sequence[str]) -> str:
        sums = [self.sum(n, adder) for n, adder in enumerate(self.graph.adders, 1)]
        results = [self.literal(bit, self.latency) for bit in self.outputs]
        declarations, clocked = self.registers()
        lines = [f"// {line}".rstrip() for line in header]
        lines += [
            f"module {name} (",
            "    input wire clk,",
            "    input wire ce,",
            f"    input wire [{self.input_bits - 1}:0] in,",
            f"    output wire [{len(self.outputs) - 1}:0] out",
            ");",
            *(line for counts, function in sorted(self.functions.items()) for line in _function(function, counts)),
            "",
            *declarations,
            "",
            *sums,
            "",
            *clocked,
            "",
            "assign out = {",
            ",\n".join(f"    {bits}" for bits in _runs(results[::-1])),
            "};",
            "endmodule",
        ]
        return "\n".join(lines) + "\n"

    def literal(self, bit: int, stage: int) -> str:
        """Expression of a literal as it stands at a stage."""
        signal = bit >> 1
        if not signal:
            return f"1'b{bit & 1}"
        n = self.owner[signal]
        delay = stage - self.stage[n]
        self.delays[n] = max(self.delays[n], delay)
        register = f"_d{delay}" if delay else ""
        invert = "~" if bit & 1 else ""
        if n:
            return f"{invert}s{n}{register}[{signal - self.graph.adders[n - 1].first + 1}]"
        return f"{invert}in{register}[{signal - 1}]"

    def sum(self, n: int, adder: Adder) -> str:
        stage = self.stage[n]
        direct = [self.literal(bit, stage) for bit in adder.direct]
        direct += ["1'b0"] * (adder.width - len(direct))
        operand = [self.group(group, stage) for group in adder.groups]
        operand += ["1'b1"] * (adder.width - len(adder.direct))
        carry = self.literal(adder.carry, stage)
        first = ", ".join(_runs([*reversed(direct), carry]))
        second = ", ".join(_runs([*reversed(operand), self.literal(adder.carry ^ 1, stage)]))
        return f"wire [{adder.width}:0] s{n} = {{{first}}} - {{{second}}};"

    def group(self, group: Group, stage: int) -> str:
        """The complement of a count."""
        counts = tuple(map(len, group.columns))
        if counts == (0,):
            return "1'b1"
        if counts == (1,):
            return self.literal(group.columns[0][0] ^ 1, stage)
        bits = [self.literal(bit, stage) for column in group.columns for bit in column]
        function = self.functions.setdefault(counts, "count_" + "_".join(map(str, counts)))
        return f"~{function}({{{', '.join(_runs(bits[::-1]))}}})"

    def registers(self) -> tuple[list[str], list[str]]:
        """Declarations, which stand in front of the sums, and the clocked block, which stands behind them."""
        declarations, clocked = [], []
        for n, delay in sorted(self.delays.items()):
            name = f"s{n}" if n else "in"
            top = self.graph.adders[n - 1].width if n else self.input_bits - 1
            for d in range(1, delay + 1):
                declarations.append(f"reg [{top}:0] {name}_d{d};")
                clocked.append(f"    {name}_d{d} <= {name}{f'_d{d - 1}' if d > 1 else ''};")
        return declarations, ["always @(posedge clk) if (ce) begin", *clocked, "end"]


_BIT = re.compile(r"(~?\w+)\[(\d+)\]")


def _runs(bits: Sequence[str]) -> list[str]:
    """Join bits of a concatenation that stand side by side in one vector: ``a[2], a[1]`` is ``a[2:1]``."""
    runs: list[tuple[str, int, int]] = []  # vector, first and last bit; a bit of no vector, -1, -1
    for bit in bits:
        found = _BIT.fullmatch(bit)
        vector, index = (found[1], int(found[2])) if found else (bit, -1)
        if found and runs and runs[-1][0] == vector and runs[-1][2] == index + 1:
            runs[-1] = vector, runs[-1][1], index
        else:
            runs.append((vector, index, index))
    return [
        vector if first < 0 else f"{vector}[{first}]" if first == last else f"{vector}[{first}:{last}]"
        for vector, first, last in runs
    ]


def _function(name: str, counts: Sequence[int]) -> list[str]:
    """Count bits of several weights with full and half adders; tools make one LUT of each result bit."""
    bits = len(counts)
    columns: list[list[str]] = [[] for _ in range(bits)]
    index = 0
    for c, count in enumerate(counts):
        for _ in range(count):
            columns[c].append(f"x[{index}]")
            index += 1
    body: list[str] = []
    names: list[str] = []

    def assign(expression: str) -> str:
        names.append(f"t{len(names)}")
        body.append(f"    {names[-1]} = {expression};")
        return names[-1]

    for c in range(bits):
        column = columns[c]
        while len(column) > 1:
            terms, column[:] = column[:3], column[3:]
            column.append(assign(" ^ ".join(terms)))
            if c + 1 < bits:
                majority = " | ".join(f"{a} & {b}" for i, a in enumerate(terms) for b in terms[i + 1 :])
                columns[c + 1].append(assign(majority))
    result = ", ".join(column[0] if column else "1'b0" for column in reversed(columns))
    return [
        "",
        f"function [{bits - 1}:0] {name};  // {' + '.join(f'{n}·{1 << c}' for c, n in enumerate(counts) if n)} bits",
        f"    input [{sum(counts) - 1}:0] x;",
        *([f"    reg {', '.join(names)};"] if names else []),
        "    begin",
        *(f"    {line}" for line in body),
        f"        {name} = {{{result}}};",
        "    end",
        "endfunction",
    ]
