"""One matrix of weights in {-1, 0, +1}, fully unrolled: a pipelined graph of adders as one Verilog module."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import IntArray
from xnorflow.hls.rtl.adders import Graph, Prices
from xnorflow.hls.rtl.pipeline import module, stages
from xnorflow.hls.rtl.sharing import Element, Number, Row, Shape, shared_sums, size

Effort = Literal["fast", "high"]


@dataclass(frozen=True)
class UnrolledMatrix:
    """The module of one matrix and what it is made of.

    Attributes
    ----------
    verilog : str
        One module with the ports clk, ce, in and out.
    latency : int
        Enabled clock edges from `in` to `out`.
    adders, depth : int
        Adders in all, and on the longest way from `in` to `out`.
    estimated_luts : int
        6-input LUTs by the cost model of :mod:`xnorflow.hls.rtl.adders`.
    pruned_inputs : tuple of int
        Inputs that no output depends on.
    constant_outputs : tuple of int
        Neurons whose output never changes.
    """

    verilog: str
    latency: int
    adders: int
    depth: int
    estimated_luts: int
    pruned_inputs: tuple[int, ...]
    constant_outputs: tuple[int, ...]


def unrolled(
    name: str,
    weight: NDArray[np.int8],
    input_bits: int,
    input_signed: bool,
    bipolar: bool,
    thresholds: IntArray | None,
    output_bits: int,
    levels_per_stage: int,
    effort: Effort,
) -> UnrolledMatrix:
    """Generate ``weight @ in``, or whether it reaches the thresholds.

    Parameters
    ----------
    name : str
        Name of the module.
    weight : int8 array, shape (N, K)
        Weights in {-1, 0, +1}.
    input_bits : int
        Bits of each input; 1 if `bipolar`.
    input_signed : bool
        Whether the inputs are two's complement.
    bipolar : bool
        Whether an input's bit 1 means +1 and 0 means -1, rather than 1 and 0.
    thresholds : int64 array, shape (N,), or None
        Output bit j is ``sum[j] >= thresholds[j]``; None: the outputs are the sums.
    output_bits : int
        Bits of each output: 1 with thresholds, else the width that the sums are sign-extended to.
    levels_per_stage : int
        Adders in a row between two registers.
    effort : {'fast', 'high'}
        'fast' for sums of few levels, 'high' for about a tenth fewer LUTs in nearly twice the levels.

    Returns
    -------
    UnrolledMatrix
        Port `in` holds input k at bits ``[k * input_bits +: input_bits]``, port `out` output j likewise.

    Raises
    ------
    ValueError
        If the weights are not a matrix of -1, 0 and +1, or a sum does not fit into `output_bits`.
    """
    if weight.ndim != 2 or not weight.size or not np.isin(weight, (-1, 0, 1)).all():
        raise ValueError(f"{name}: weights must be a matrix of -1, 0 and +1, not of shape {weight.shape}")
    graph, outputs = build(weight, input_bits, input_signed, bipolar, thresholds, effort)
    signals: list[int] = []
    for j, number in enumerate(outputs):
        if len(number.bits) > output_bits:
            raise ValueError(f"{name}: output {j} needs {len(number.bits)} bits, output_bits is {output_bits}")
        signals += number.extend(output_bits)
    live = _live_inputs(graph, signals, weight.shape[1], input_bits)
    kind = "bipolar bits" if bipolar else f"{'signed' if input_signed else 'unsigned'} {input_bits}-bit integers"
    header = [
        f"{name}: {weight.shape[0]} {'neurons' if thresholds is not None else 'sums'} of {weight.shape[1]} {kind}.",
        f"{len(graph.adders)} adders, at most {graph.depth} in a row, {levels_per_stage} per pipeline stage.",
        "",
        "An adder is {a, carry} - {~b, ~carry}: that is a + b + carry, from bit 1 on. Written so, a goes straight to",
        "the carry chain, and the LUTs of the chain compute b, which is made of small counts, by the way.",
    ]
    return UnrolledMatrix(
        verilog=module(name, graph, weight.shape[1] * input_bits, signals, levels_per_stage, header),
        latency=stages(graph.depth, levels_per_stage),
        adders=len(graph.adders),
        depth=graph.depth,
        estimated_luts=graph.luts(),
        pruned_inputs=tuple(k for k in range(weight.shape[1]) if k not in live),
        constant_outputs=tuple(j for j, number in enumerate(outputs) if all(bit < 2 for bit in number.bits)),
    )


def _live_inputs(graph: Graph, outputs: list[int], count: int, bits: int) -> set[int]:
    live = [False] * len(graph.levels)
    for bit in outputs:
        live[bit >> 1] = True
    for adder in reversed(graph.adders):
        if any(live[adder.first : adder.first + adder.width]):
            for bit in adder.literals():
                live[bit >> 1] = True
    return {k for k in range(count) if any(live[1 + k * bits : 1 + (k + 1) * bits])}


def build(
    weight: NDArray[np.int8],
    input_bits: int,
    input_signed: bool,
    bipolar: bool,
    thresholds: IntArray | None,
    effort: Effort,
) -> tuple[Graph, list[Number]]:
    """Graph and outputs of :func:`unrolled`, whose parameters see."""
    neurons, inputs = weight.shape
    elements = [Element(1 + k * input_bits, input_bits, input_signed) for k in range(inputs)]
    graph = Graph(inputs * input_bits)
    # A bipolar input is 2b - 1: its sum is twice the sum of the bits b, less the sum of the weights.
    minus = weight.sum(1, dtype=np.int64) if bipolar else np.zeros(neurons, np.int64)
    ends = weight.astype(np.int64)[:, :, None] * [elements[0].low, elements[0].high]
    low, high = ends.min(2).sum(1), ends.max(2).sum(1)

    outputs: dict[int, Number] = {}
    wanted: dict[tuple[bytes, int], list[int]] = defaultdict(list)  # equal rows are added up once
    for j in _alike_together(weight):
        if thresholds is None:
            addend = -(int(minus[j] + 1) // 2)
            constant = None if weight[j].any() else 0
        else:
            # Bipolar: 2 * sum - minus >= threshold.
            bound = int(thresholds[j] + minus[j] + 1) // 2 if bipolar else int(thresholds[j])
            addend = -bound
            constant = int(bound <= low[j]) if bound <= low[j] or bound > high[j] else None
        if constant is None:
            wanted[weight[j].tobytes(), addend].append(j)
        else:
            outputs[j] = Number((constant,), False)

    rows = [Row(weight[same[0]], addend) for (_, addend), same in wanted.items()]
    prices = _PRICES[effort]
    numbers: list[Number] = []
    for shape in _plan(graph.inputs, elements, rows, prices):
        group = rows[len(numbers) : len(numbers) + size(shape)]
        numbers += shared_sums(graph, elements, group, shape, prices)
    for number, same in zip(numbers, wanted.values()):
        for j in same:
            if thresholds is not None:
                outputs[j] = Number((number.bits[-1] ^ 1,), False)  # not negative
            elif bipolar:
                outputs[j] = Number((int(minus[j]) & 1, *number.bits), number.signed)
            else:
                outputs[j] = number
    return graph, [outputs[j] for j in range(neurons)]


def _alike_together(weight: NDArray[np.int8]) -> list[int]:
    """All rows; equal and opposite ones side by side, where they share everything."""
    first = (weight != 0).argmax(1)
    sign = np.take_along_axis(weight, first[:, None], 1)
    alike: dict[bytes, list[int]] = defaultdict(list)
    for j, row in enumerate(weight * sign):
        alike[row.tobytes()].append(j)
    return [j for group in alike.values() for j in group]


_PAIR, _THREE = (1, 1), (1, 1, 1)
_SHAPES: tuple[Shape, ...] = (
    *(1, _PAIR, _THREE, (_PAIR, _PAIR), (_PAIR, _THREE), (_THREE, _THREE), ((_PAIR, _PAIR), _PAIR)),
    *(((_PAIR, _PAIR), _THREE), ((_PAIR, _PAIR), (_PAIR, _PAIR)), ((_THREE, _THREE), (_THREE, _THREE))),
)
_PRICES: dict[Effort, Prices] = {"fast": (0.99, 0.7, 0.4, 0.01), "high": (1.25, 0.8, 0.4, 0.01)}


_ADDER_LUTS = 0.1  # what an adder costs beside its LUTs: a few carry cells


def _plan(inputs: int, elements: Sequence[Element], rows: Sequence[Row], prices: Prices) -> list[Shape]:
    """Shapes that take all rows in turn: each is tried on the first rows, and the cheapest mix wins."""
    costs: list[tuple[float, Shape]] = []
    for shape in _SHAPES:
        if size(shape) <= len(rows):
            trial = Graph(inputs)
            shared_sums(trial, elements, rows[: size(shape)], shape, prices)
            costs.append((trial.luts() + _ADDER_LUTS * len(trial.adders), shape))
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]  # cost and choice for the first n rows
    for n in range(1, len(rows) + 1):
        options = []
        for i, (cost, shape) in enumerate(costs):
            if size(shape) <= n:
                before, chosen = best[n - size(shape)]
                options.append((before + cost, (*chosen, i)))
        best.append(min(options))
    return [costs[i][1] for i in best[-1][1]]
