"""One matrix of weights in {-1, 0, +1}, fully unrolled: a pipelined graph of adders as one Verilog module."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bnn.network import IntArray
from hls.rtl.adders import Graph
from hls.rtl.pipeline import module, stages
from hls.rtl.sharing import Element, Number, Partial, Row, Shape, finish, shared_sums, size

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
        6-input LUTs by the cost model of :mod:`hls.rtl.adders`.
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
        How long to look for a small graph.

    Returns
    -------
    UnrolledMatrix
        Port `in` holds input k at bits ``[k * input_bits +: input_bits]``, port `out` output j likewise.
    """
    graph, outputs = build(weight, input_bits, input_signed, bipolar, thresholds, effort)
    signals: list[int] = []
    for number in outputs:
        signals += number.extend(output_bits)
    live = _live_inputs(graph, signals, weight.shape[1], input_bits)
    kind = "bipolar bits" if bipolar else f"{'signed' if input_signed else 'unsigned'} {input_bits}-bit integers"
    header = [
        f"{name}: {weight.shape[0]} {'neurons' if thresholds is not None else 'sums'} of {weight.shape[1]} {kind}.",
        f"{len(graph.adders)} adders, at most {graph.depth} in a row, {levels_per_stage} per pipeline stage.",
        "",
        "Every adder is {a, carry} - {~b, ~carry}, which is a + b + carry above bit 0 (which is unused). Written so, a goes",
        "straight to the carry chain, and each LUT of the chain computes its bit of b, a small count, by the way.",
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
    low = np.minimum(weight * elements[0].low, weight * elements[0].high).sum(1)
    high = np.maximum(weight * elements[0].low, weight * elements[0].high).sum(1)

    outputs: list[Number | None] = [None] * neurons
    rows: dict[int, Row] = {}
    for j in range(neurons):
        if thresholds is None:
            if weight[j].any():
                rows[j] = Row(weight[j], -(-int(minus[j]) // 2) * -1 if bipolar else 0)
            else:
                outputs[j] = Number((0,), False)
            continue
        bound = -(-(int(thresholds[j]) + int(minus[j])) // 2) if bipolar else int(thresholds[j])
        if bound <= low[j] or bound > high[j]:
            outputs[j] = Number((int(bound <= low[j]),), False)
        else:
            rows[j] = Row(weight[j], -bound)

    for group, shape in _plan(graph, elements, rows, effort):
        numbers = shared_sums(graph, elements, [rows[j] for j in group], shape)
        for j, number in zip(group, numbers):
            if thresholds is not None:
                outputs[j] = Number((number.bits[-1] ^ 1,), False)
            elif bipolar:
                outputs[j] = Number((int(minus[j]) & 1, *number.bits), number.signed)
            else:
                outputs[j] = number
    return graph, [number for number in outputs if number is not None]


def _plan(graph: Graph, elements: list[Element], rows: dict[int, Row], effort: Effort) -> list[tuple[list[int], Shape]]:
    """Groups of rows and how each is split."""
    order = list(rows)
    shape: Shape = ((1, 1), (1, 1))
    step = size(shape)
    plan: list[tuple[list[int], Shape]] = []
    for start in range(0, len(order), step):
        group = order[start : start + step]
        plan.append((group, shape if len(group) == step else (1,) * len(group) if len(group) > 1 else 1))
    return plan
