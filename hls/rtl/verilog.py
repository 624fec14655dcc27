"""Verilog of every unit: one function per class, each filling the template of the same name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from xnorflow.hls.rtl.units import (
    Fifo,
    GlobalSum,
    MultiThresholdUnit,
    Mvtu,
    NarrowingConverter,
    ParallelAffine,
    Pool,
    Recurrence,
    SerialAffine,
    SerialArgmax,
    SlidingWindow,
    Stream,
    Sum,
    SumPool,
    ThresholdUnit,
    TreeArgmax,
    Unit,
    UnrolledMvtu,
    WideningConverter,
    in_block_memory,
)


@dataclass(frozen=True)
class Module:
    """A Verilog module and the memory files it reads.

    Attributes
    ----------
    text : str
    memories : mapping of str to tuple of str
        File name -> one hexadecimal word per line.
    """

    text: str
    memories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


#: Words of Verilog-2005 and SystemVerilog that a network's or a layer's name could be.
KEYWORDS = frozenset(
    """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before begin bind bins
    binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos config const
    constraint context continue cover covergroup coverpoint cross deassign default defparam design disable dist do edge
    else end endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface endmodule
    endpackage endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event eventually expect
    export extends extern final first_match for force foreach forever fork forkjoin function generate genvar global
    highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies import incdir include initial inout input
    inside instance int integer interconnect interface intersect join join_any join_none large let liblist library local
    localparam logic longint macromodule matches medium modport module nand negedge nettype new nexttime nmos nor
    noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge primitive priority program
    property protected pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase
    randsequence rcmos real realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0
    rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled
    signed small soft solve specify specparam static string strong strong0 strong1 struct super supply0 supply1
    sync_accept_on sync_reject_on table tagged task this throughout time timeprecision timeunit tran tranif0 tranif1 tri
    tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until until_with untyped use uwire var
    vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
    """.split()  # noqa: SIM905 (a list of literals would be longer than this module)
)


def identifier(name: str) -> str:
    """Return `name`, with an underscore behind it if Verilog has reserved it."""
    return f"{name}_" if name in KEYWORDS else name


_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_templates.globals["index_bits"] = lambda count: max(1, (count - 1).bit_length())


def render(template: str, **values: Any) -> str:
    """Fill a template of the folder ``templates``."""
    return _templates.get_template(template).render(**values)


def module(unit: Unit, name: str) -> Module:
    """Write the module `name` for `unit`.

    Raises
    ------
    TypeError
        If there is no Verilog for the unit's class.
    """
    if type(unit) not in _MODULES:
        raise TypeError(f"no Verilog for {type(unit).__name__}")
    return _MODULES[type(unit)](unit, name)


def constant(value: int, bits: int) -> str:
    """Return a Verilog literal of `bits` bits, two's complement if negative."""
    return f"{bits}'h{value % (1 << bits):x}"


def adder_tree(prefix: str, terms: Sequence[str], bits: int) -> tuple[list[str], str, int]:
    """Sum signed terms of equal width pairwise, in ceil(log2) levels.

    Returns
    -------
    lines : list of str
        Declarations of the partial sums.
    sum : str
        The name of the sum.
    bits : int
        Its width; the sum is exact.
    """
    lines: list[str] = []
    level = 0
    while len(terms) > 1:
        bits += 1
        sums = []
        for index in range(0, len(terms), 2):
            sums.append(f"{prefix}_{level}_{index // 2}")
            lines.append(f"wire signed [{bits - 1}:0] {sums[-1]} = {' + '.join(terms[index : index + 2])};")
        terms, level = sums, level + 1
    return lines, terms[0], bits


def _words(bits: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return one hexadecimal word per row of bits, column 0 the lowest bit."""
    digits = ceil(bits.shape[1] / 4)
    packed = np.packbits(bits, axis=1, bitorder="little")
    return tuple(row[::-1].tobytes().hex()[-digits:] for row in packed)


def _integer_bits(values: NDArray[np.int64], bits: int) -> NDArray[np.bool_]:
    """Return the bits of integers along a new last axis, lowest first."""
    return (values[..., None] >> np.arange(bits) & 1).astype(bool)


def _widening_converter(unit: WideningConverter, name: str) -> Module:
    return Module(render("widening_converter.v.j2", unit=unit, module=name))


def _narrowing_converter(unit: NarrowingConverter, name: str) -> Module:
    return Module(render("narrowing_converter.v.j2", unit=unit, module=name))


def _mvtu(unit: Mvtu, name: str) -> Module:
    neurons, inputs = unit.weights.shape
    neuron_folds, input_folds = unit.folds
    pe, simd = ceil(neurons / neuron_folds), ceil(inputs / input_folds)
    padded = np.ones((neuron_folds * pe, input_folds * simd), np.int8)  # +1 disagrees with the 0 bits it meets
    if unit.masked:
        padded[:] = 0
    padded[:neurons, :inputs] = unit.weights
    # (neuron fold, pe, input fold, simd) -> one word per (neuron fold, input fold)
    blocks = padded.reshape(neuron_folds, pe, input_folds, simd).transpose(0, 2, 1, 3)
    blocks = blocks.reshape(neuron_folds * input_folds, pe * simd)
    words = np.concatenate([blocks > 0, blocks != 0], axis=1) if unit.masked else blocks > 0
    bias = np.zeros(neuron_folds * pe, np.int64)
    bias[:neurons] = unit.bias
    bias_bits = unit.accumulator_bits
    biases = _integer_bits(bias.reshape(neuron_folds, pe), bias_bits).reshape(neuron_folds, pe * bias_bits)
    text = render(
        "mvtu_folded.v.j2",
        unit=unit,
        module=name,
        pe=pe,
        simd=simd,
        neuron_folds=neuron_folds,
        input_folds=input_folds,
        word_bits=words.shape[1],
        block_halves=in_block_memory(2 * unit.source.vectors, unit.source.width),
        compare_first=unit.source.bipolar and not unit.in_block_memory,
        comparisons=partial(_comparisons, unit, pe),
        taken=_channels("in_data", unit.source.bits, unit.taken),
        terms=[_term(unit, lane) for lane in range(simd)],
        absent=_times(f"absent_{unit.sum_stages}", unit.flag_channels) if unit.counting else "",
    )
    text += "\n" + unit.adders.verilog
    return Module(text, {f"{name}_weights.mem": _words(words), f"{name}_biases.mem": _words(biases)})


def _channels(vector: str, bits: int, channels: NDArray[np.int64]) -> str:
    """Return a selection of a vector's channels, the first lowest."""
    runs = np.split(channels, np.flatnonzero(np.diff(channels) != 1) + 1)
    parts = [f"{vector}[{bits * int(run[-1] + 1) - 1}:{bits * int(run[0])}]" for run in reversed(runs)]
    return parts[0] if len(parts) == 1 else f"{{{', '.join(parts)}}}"


def _times(value: str, factor: int) -> str:
    """Return `value` times a constant, of shifts, as tools would spend a multiplier on it; nothing for zero."""
    shifts = [shift for shift in range(factor.bit_length()) if factor >> shift & 1]
    return " + ".join(f"({value} << {shift})" for shift in shifts)


def _comparisons(unit: Mvtu, pe: int, lane: int) -> dict[str, str]:
    """The bits that one of `pe` neurons counts in a cycle, by name; unless it is counting also those it takes away."""
    simd = unit.simd
    weights = f"word[{lane * simd} +: {simd}]"
    counts = [f"word[{(pe + lane) * simd} +: {simd}]"] * unit.masked + ["present"] * bool(unit.flag_channels)
    bits = {"agree": " & ".join([f"(values ~^ {weights})", *counts])}
    if not unit.counting:
        bits["disagree"] = " & ".join([f"(values ^ {weights})", *counts])
    return bits


def _term(unit: Mvtu, lane: int) -> str:
    """What a neuron adds up for an integer; one to subtract is inverted, and what that lacks is in the bias."""
    value = f"values[{lane * unit.source.bits} +: {unit.source.bits}]"
    value = value if unit.source.signed else f"{{1'b0, {value}}}"
    term = f"{value} ^ {{{unit.term_bits}{{!weights[{lane}]}}}}"
    return f"({term}) & {{{unit.term_bits}{{mask[{lane}]}}}}" if unit.masked else term


def _serial_affine(unit: SerialAffine, name: str) -> Module:
    folds, bits, scale_bits = unit.source.vectors, unit.result.bits, _signed_bits(unit.scale)
    scales, offsets = (
        _words(_integer_bits(constants.reshape(folds, -1), width).reshape(folds, -1))
        for constants, width in ((unit.scale, scale_bits), (unit.offset, bits))
    )
    text = render("serial_affine.v.j2", unit=unit, module=name, folds=folds, bits=bits, scale_bits=scale_bits)
    return Module(text, {f"{name}_scales.mem": scales, f"{name}_offsets.mem": offsets})


def _parallel_affine(unit: ParallelAffine, name: str) -> Module:
    scale_bits, bits = _signed_bits(unit.scale), unit.result.bits
    constants = [
        (constant(int(scale), scale_bits), constant(int(offset), bits))
        for scale, offset in zip(unit.scale, unit.offset)
    ]
    return Module(render("parallel_affine.v.j2", unit=unit, module=name, constants=constants))


def _signed_bits(values: NDArray[np.int64]) -> int:
    return max(int(value if value >= 0 else -value - 1).bit_length() for value in values) + 1


def _fifo(unit: Fifo, name: str) -> Module:
    return Module(render("fifo.v.j2", unit=unit, module=name))


def _sliding_window(unit: SlidingWindow, name: str) -> Module:
    return Module(render("sliding_window.v.j2", unit=unit, module=name))


def _recurrence(unit: Recurrence, name: str) -> Module:
    bits = unit.held_bits
    channels = range(unit.source.channels)
    feedback = module(unit.feedback, f"{name}_FEEDBACK")
    text = render(
        "recurrence.v.j2",
        unit=unit,
        module=name,
        bits=bits,
        values=[_signed_value(unit.source, channel, f"value_{channel}") for channel in channels],
        first=[constant(int(bound), bits) for bound in unit.first],
        threshold=[constant(int(bound), bits) for bound in unit.threshold],
    )
    return Module(f"{text}\n{feedback.text}", feedback.memories)


def _pool(unit: Pool, name: str) -> Module:
    channels, bits = unit.result.channels, unit.result.bits
    taps = [f"in_data[{tap * channels * bits} +: {channels * bits}]" for tap in range(unit.taps)]
    all_of = constant(sum(1 << int(channel) for channel in np.flatnonzero(unit.all_of)), channels)
    return Module(render("pool.v.j2", unit=unit, module=name, taps=taps, all_of=all_of))


def _sum_pool(unit: SumPool, name: str) -> Module:
    lines, sums = [], []
    for channel in range(unit.result.channels):
        terms = [f"value_{channel}_{tap}" for tap in range(unit.taps)]
        for tap, term in enumerate(terms):
            lines.append(_signed_value(unit.source, tap * unit.result.channels + channel, term))
        tree, total, _ = adder_tree(f"sum_{channel}", terms, unit.source.bits + 1)
        lines += tree
        sums.append(total)
    return Module(render("sum.v.j2", unit=unit, module=name, terms=f"{unit.taps} pixels", lines=lines, sums=sums))


def _sum(unit: Sum, name: str) -> Module:
    lines, sums = [], []
    starts = [sum(stream.width for stream in unit.operands[:index]) for index in range(len(unit.operands))]
    for channel in range(unit.result.channels):
        terms = [f"value_{channel}_{index}" for index in range(len(unit.operands))]
        for stream, term, start, shift in zip(unit.operands, terms, starts, unit.shifts):
            lines.append(_signed_value(stream, channel, term, start, shift))
        widest = max(stream.bits + shift for stream, shift in zip(unit.operands, unit.shifts))
        tree, total, _ = adder_tree(f"sum_{channel}", terms, 1 + widest)
        lines += tree
        sums.append(total)
    branches = f"{len(unit.operands)} branches"
    return Module(render("sum.v.j2", unit=unit, module=name, terms=branches, lines=lines, sums=sums))


def _global_sum(unit: GlobalSum, name: str) -> Module:
    values = [_signed_value(unit.source, channel, f"value_{channel}") for channel in range(unit.source.channels)]
    return Module(render("global_sum.v.j2", unit=unit, module=name, values=values))


def _signed_value(stream: Stream, channel: int, wire: str, start: int = 0, shift: int = 0) -> str:
    """Declare `wire` as a value of the vector that begins at bit `start` of ``in_data``, signed and one bit wider.

    It is shifted up by `shift`.
    """
    first = start + channel * stream.bits
    value = f"in_data[{first} +: {stream.bits}]"
    if stream.bipolar:
        value = f"{{!in_data[{first}], 1'b1}}"
    elif stream.signed:
        value = f"{{in_data[{first + stream.bits - 1}], {value}}}"
    else:
        value = f"{{1'b0, {value}}}"
    value = f"{{{value}, {shift}'b0}}" if shift else value
    return f"wire signed [{stream.bits + shift}:0] {wire} = {value};"


def _multi_threshold(unit: MultiThresholdUnit, name: str) -> Module:
    channels = range(unit.result.channels)
    values = [_signed_value(unit.source, channel, f"value_{channel}") for channel in channels]
    bits, width = _signed_bits(np.append(unit.threshold, unit.source.range)), unit.result.bits
    start, step = constant(unit.low, width), constant(unit.step, width)
    levels = [
        [
            f"(value_{channel} {'>=' if unit.direction[channel] > 0 else '<='} $signed({constant(int(bound), bits)})"
            f" ? {step} : {constant(0, width)})"
            for bound in unit.threshold[channel]
        ]
        for channel in channels
    ]
    return Module(render("multi_threshold.v.j2", unit=unit, module=name, values=values, start=start, levels=levels))


def _threshold(unit: ThresholdUnit, name: str) -> Module:
    bits = _signed_bits(np.append(unit.threshold, unit.source.range))
    bounds = [constant(int(bound), bits) for bound in unit.threshold]
    return Module(render("threshold.v.j2", unit=unit, module=name, bits=bits, bounds=bounds))


def _unrolled_mvtu(unit: UnrolledMvtu, name: str) -> Module:
    return Module(render("mvtu_unrolled.v.j2", unit=unit, module=name) + "\n" + unit.circuit.verilog)


def _serial_argmax(unit: SerialArgmax, name: str) -> Module:
    return Module(render("serial_argmax.v.j2", unit=unit, module=name))


def _tree_argmax(unit: TreeArgmax, name: str) -> Module:
    return Module(render("tree_argmax.v.j2", unit=unit, module=name))


_MODULES: Mapping[type[Unit], Callable[[Any, str], Module]] = {
    WideningConverter: _widening_converter,
    NarrowingConverter: _narrowing_converter,
    Fifo: _fifo,
    SlidingWindow: _sliding_window,
    Mvtu: _mvtu,
    UnrolledMvtu: _unrolled_mvtu,
    Recurrence: _recurrence,
    Pool: _pool,
    Sum: _sum,
    SumPool: _sum_pool,
    GlobalSum: _global_sum,
    ThresholdUnit: _threshold,
    MultiThresholdUnit: _multi_threshold,
    SerialAffine: _serial_affine,
    ParallelAffine: _parallel_affine,
    SerialArgmax: _serial_argmax,
    TreeArgmax: _tree_argmax,
}
