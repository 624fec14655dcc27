"""Neurons with hard-wired weights as C++: the RTL's adder graph, shared between neurons, one statement each."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import IntArray
from xnorflow.hls.rtl.adders import Graph, Group
from xnorflow.hls.rtl.popcount import build
from xnorflow.hls.storage import Storage

PART = 256
"""Statements of a function: compilers take minutes over thousands in one, where they keep every sum in mind."""


def circuit(weight: NDArray[np.int64], thresholds: IntArray | None, storage: Storage, padded: bool) -> str:
    """Return the members of a C++ structure that computes all neurons of a window at once.

    Parameters
    ----------
    weight : int64 array, shape (outputs, taps, channels), values -1, 0 and +1
    thresholds : int64 array, shape (outputs,), or None
        Output j is ``sum[j] >= thresholds[j]``; None: the sums.
    storage : Storage
        Of the operand.
    padded : bool
        Whether a tap that does not count is zero, which a bipolar value cannot be: these then are two bits wide.
    """
    outputs, taps, channels = weight.shape
    bipolar = storage.kind == "packed" and not padded
    width, signed = (2, True) if padded else (storage.bits, storage.signed)
    width = 1 if bipolar else width
    matrix = weight.reshape(outputs, -1).astype(np.int8)
    graph, numbers = build(matrix, width, signed, bipolar, thresholds, "fast")
    writer = _CppWriter(graph, storage, channels, width, padded)
    statements = [writer.adder(n) for n, _ in enumerate(graph.adders, 1)]
    statements += [f"y[{j}] = {writer.number(number.bits, number.signed)};" for j, number in enumerate(numbers)]
    functions = [line for counts in sorted(writer.counts) for line in _count(counts)]
    parts = [statements[start : start + PART] for start in range(0, len(statements), PART)]
    between = _between(parts)
    used = ["#pragma HLS INLINE", "using packed::bit;", "using packed::join;", "using packed::no;"]
    used += ["(void)x;", "(void)counts;", "(void)y;"]
    arguments = "const T x[], const bool counts[], R y[N]"
    for k, part in enumerate(parts):
        functions += [
            f"    template <int N, class T, class R> NNET_PART static void part{k}({arguments}, sums &s) {{",
            *(f"        {line}" for line in (*used, "(void)s;")),
            *(f"        {_shared(line, between)}" for line in part),
            "    }",
        ]
    return "\n".join(
        [
            "    struct sums { // what more than one part reads",
            *(f"        ap_uint<{graph.adders[n - 1].width}> s{n};" for n in sorted(between)),
            "    };",
            *functions,
            "",
            f"    // {outputs} neurons of {taps * channels} inputs: {len(graph.adders)} adders,"
            f" at most {graph.depth} in a row.",
            f"    template <int N, class T, class R> static void of({arguments}) {{",
            "        #pragma HLS INLINE",
            "        sums s;",
            *(f"        part{k}<N>(x, counts, y, s);" for k, _ in enumerate(parts)),
            "    }",
        ]
    )


def _between(parts: Sequence[Sequence[str]]) -> set[int]:
    """Return the sums that a part other than the one that computes them reads."""
    made = {
        int(n): k for k, part in enumerate(parts) for line in part for n in _SUM.findall(line)[:1] if _MAKES.match(line)
    }
    return {n for k, part in enumerate(parts) for line in part for n in map(int, _SUM.findall(line)) if made[n] != k}


def _shared(line: str, between: set[int]) -> str:
    """Return a statement in which sums that several parts read are members of a structure."""
    makes = _MAKES.match(line)
    if makes and int(makes[1]) in between:
        line = f"s{makes[1]} = {line[makes.end() :]}"
    return _SUM.sub(lambda name: f"s.{name[0]}" if int(name[1]) in between else name[0], line)


class _CppWriter:
    def __init__(self, graph: Graph, storage: Storage, channels: int, width: int, padded: bool) -> None:
        self.graph, self.storage, self.channels, self.width, self.padded = graph, storage, channels, width, padded
        self.owner = [0] * len(graph.levels)  # the adder of a signal, from 1; 0: an input
        for n, adder in enumerate(graph.adders, 1):
            self.owner[adder.first : adder.first + adder.width] = [n] * adder.width
        self.counts: set[tuple[int, ...]] = set()

    def adder(self, n: int) -> str:
        adder = self.graph.adders[n - 1]
        terms = []
        if any(adder.direct):
            terms.append(self.joined([self.literal(bit) for bit in adder.direct]))
        groups = [self.group(group) for group in adder.groups]
        while groups and groups[-1] == _ZERO:
            groups.pop()
        if groups:
            terms.append(self.joined(groups))
        if adder.carry:
            terms.append(self.literal(adder.carry))
        return f"const ap_uint<{adder.width}> s{n} = {' + '.join(terms) or _ZERO};"

    def number(self, bits: Sequence[int], signed: bool) -> str:
        joined = self.joined([self.literal(bit) for bit in bits])
        return f"ap_int<{len(bits)}>({joined})" if signed else joined

    def joined(self, parts: Sequence[str]) -> str:
        """Join parts, the first lowest."""
        text = parts[0]
        for part in parts[1:]:
            text = f"join({part}, {text})"
        return text

    def literal(self, bit: int) -> str:
        signal, take = bit >> 1, "no" if bit & 1 else "bit"
        if not signal:
            return f"ap_uint<1>({bit & 1})"
        n = self.owner[signal]
        if n:
            return f"{take}(s{n}, {signal - self.graph.adders[n - 1].first})"
        k, place = divmod(signal - 1, self.width)
        if self.storage.kind != "packed":
            return f"{take}(x[{k}], {place})"
        tap, channel = divmod(k, self.channels)
        where = f"x[{tap * self.storage.elements + channel // 64}], {channel % 64}"
        if not self.padded:
            return f"{take}({where})"
        # -1, 0 and +1 in two bits: the lower one tells whether there is a value, the upper one whether it is -1.
        value = f"ap_uint<1>(counts[{tap}])" if place == 0 else f"ap_uint<1>(no({where}) & ap_uint<1>(counts[{tap}]))"
        return f"ap_uint<1>({value} ^ ap_uint<1>(1))" if bit & 1 else value

    def group(self, group: Group) -> str:
        counts = tuple(map(len, group.columns))
        bits = [self.literal(bit) for column in group.columns for bit in column]
        if not bits:
            return _ZERO
        if counts == (1,):
            return bits[0]
        self.counts.add(counts)
        return f"count_{'_'.join(map(str, counts))}({', '.join(bits)})"


_ZERO = "ap_uint<1>(0)"
_SUM = re.compile(r"\bs(\d+)\b")
_MAKES = re.compile(r"const ap_uint<\d+> s(\d+) = ")


def _count(counts: tuple[int, ...]) -> list[str]:
    """Return a function that counts bits of several weights, modulo 2**len(counts), by full and half adders."""
    columns: list[list[str]] = [[] for _ in counts]
    names = [f"x{i}" for i in range(sum(counts))]
    rest = iter(names)
    for column, count in zip(columns, counts):
        column += [next(rest) for _ in range(count)]
    body: list[str] = []

    def assign(expression: str) -> str:
        name = f"t{len(body)}"
        body.append(f"        const ap_uint<1> {name} = {expression};")
        return name

    for c, column in enumerate(columns):
        while len(column) > 1:
            terms, column[:] = column[:3], column[3:]
            if c + 1 < len(columns):
                pairs = [f"({a} & {b})" for i, a in enumerate(terms) for b in terms[i + 1 :]]
                columns[c + 1].append(assign(" | ".join(pairs)))
            column.append(assign(" ^ ".join(terms)))
    result = columns[0][0]  # no group begins with an empty column
    for column in columns[1:]:
        result = f"join({column[0] if column else _ZERO}, {result})"
    parameters = ", ".join(f"const ap_uint<1> &{name}" for name in names)
    return [
        f"    static ap_uint<{len(counts)}> count_{'_'.join(map(str, counts))}({parameters}) {{",
        "        #pragma HLS INLINE",
        "        using packed::join;",
        *body,
        f"        return {result};",
        "    }",
    ]
