"""The table of planted edits: each makes a template of hardware wrong, in a way that some engine must see.

To add some for the C++ headers, write them into a table like :data:`VERILOG`, with a network of
:mod:`tests.planted.networks` that is run by an engine of hls4ml projects.
"""

# ruff: noqa: E501 (exact text stays in a line)

from typing import NamedTuple


class Edit(NamedTuple):
    """One edit.

    Attributes
    ----------
    file : str
        Below the project.
    old, new : str
        Exact text, which must be there once, and what stands there instead.
    network : str
        What exercises it, of :data:`tests.planted.networks.CASES`.
    """

    file: str
    old: str
    new: str
    network: str


def _of(template: str, *edits: tuple[str, str, str]) -> list[Edit]:
    return [Edit(f"hls/rtl/templates/{template}.v.j2", *edit) for edit in edits]


VERILOG = [
    *_of(
        "matrix_folded",
        ("assign in_ready = enable && free;", "assign in_ready = free;", "image"),
        ("wire last_position = position == {{ input_folds - 1 }};", "wire last_position = position == {{ input_folds - 1 }} || position == 1;", "image"),
        ("first_1 <= position == 0;", "first_1 <= position == 1;", "image"),
        ("neuron_1 <= neuron;", "neuron_1 <= 0;", "image"),
        ("if (last_position) neuron <= free ? 0 : neuron + 1;", "if (last_position) neuron <= neuron + 1;", "image"),
        ("done_1 <= busy && free;", "done_1 <= free;", "image"),
        ("last_1 <= busy && last_position;", "last_1 <= last_position && free;", "image"),
        ("bias[{{ lane * acc_bits }} +: {{ acc_bits }}] <= biases[{{ lane * acc_bits }} +: {{ acc_bits }}] + missing;", "bias[{{ lane * acc_bits }} +: {{ acc_bits }}] <= biases[{{ lane * acc_bits }} +: {{ acc_bits }}];", "image"),
        ("acc_{{ lane }} <= (first_{{ stages + 1 }} ? start_{{ lane }} : acc_{{ lane }}) + addend_{{ lane }};", "acc_{{ lane }} <= acc_{{ lane }} + addend_{{ lane }};", "image"),
        ("!acc_{{ lane }}[{{ acc_bits - 1 }}]{{", "acc_{{ lane }}[{{ acc_bits - 1 }}]{{", "image"),
        ("out_valid <= done_{{ stages + 2 }};", "out_valid <= done_{{ stages + 1 }};", "image"),
        ("if (enable && last_{{ stages + 2 }}) results", "if (enable && last_{{ stages + 1 }}) results", "image"),
        ("if (free) busy <= in_valid;", "if (free) busy <= 1'b1;", "image"),
        ("            neuron <= 0;\n            position <= 0;", "            neuron <= 0;", "image"),
        ("word[{{ (pe + lane) * simd }} +: {{ simd }}]", "word[{{ lane * simd }} +: {{ simd }}]", "image"),
        ("address == {{ depth - 2 }};", "address == {{ depth - 1 }};", "image"),
    ),
    *_of(
        "window",
        ("row >= %d\" % top", "row > %d\" % top", "image"),
        ("row < %d\" % (top + unit.height)", "row <= %d\" % (top + unit.height)", "image"),
        ("column >= %d\" % left", "column > %d\" % left", "image"),
        ("rows_left == 0 && columns_left == 0{{", "columns_left == 0{{", "image"),
        ("assign in_ready = enable && image;", "assign in_ready = image;", "image"),
        ("wire move = enable && (in_valid || !image);", "wire move = enable && in_valid;", "image"),
        ("{{- \"1'b0, \" if unit.flagged }}", "{{- \"1'b1, \" if unit.flagged }}", "image"),
        ("above <= lines[next];", "above <= lines[column];", "image"),
        ("rows_left == 0 ? {{ stride_h - 1 }}", "rows_left == 0 ? {{ kernel_h - 1 }}", "image"),
        ("columns_left == 0 ? {{ stride_w - 1 }}", "columns_left == 0 ? {{ kernel_w - 1 }}", "image"),
        ("out_valid <= move && due;", "out_valid <= due;", "image"),
        ("{% set at = (x * kernel_h + y) * pixel %}", "{% set at = (y * kernel_h + x) * pixel %}", "image"),
        ("{1'b{{ 1 if unit.pad_ones else 0 }}{{", "{1'b{{ 0 if unit.pad_ones else 1 }}{{", "padded with ones"),
    ),
    *_of(
        "fifo",
        ("assign in_ready = count != {{ unit.depth }};", "assign in_ready = 1'b1;", "residual"),
        ("assign out_data = vectors[head];", "assign out_data = vectors[tail];", "residual"),
        ("assign out_valid = count != 0;", "assign out_valid = 1'b1;", "residual"),
        ("tail <= tail == {{ unit.depth - 1 }} ? 0", "tail <= tail == {{ unit.depth - 1 }} ? 1", "residual"),
        ("count <= count + push - pop;", "count <= count + push;", "residual"),
        ("wire push = in_valid && in_ready;", "wire push = in_valid;", "residual"),
    ),
    *_of(
        "pool",
        ("(all & use_all) | (any & ~use_all)", "(all & ~use_all) | (any & use_all)", "image"),
        ("{{ taps | join(\" & \") }}", "{{ taps[1:] | join(\" & \") }}", "image"),
        ("value_{{ channel }}_{{ tap }} > most_{{ channel }}_{{ tap - 1 }} ?", "value_{{ channel }}_{{ tap }} < most_{{ channel }}_{{ tap - 1 }} ?", "residual"),
    ),
    *_of(
        "threshold",
        ("{{ \">=\" if unit.direction[channel] > 0", "{{ \">\" if unit.direction[channel] > 0", "residual"),
        ("> 0 else \"<=\" }}", "> 0 else \"<\" }}", "residual"),
    ),
    *_of("multi_threshold", ("<= {{ start }}", "<= 0", "levels"), ("{% for level in levels[loop.index0] %}", "{% for level in levels[0] %}", "levels")),
    *_of("sum", ("+: {{ y.bits }}] <= {{ sum }};", "+: {{ y.bits }}] <= {{ sum }} + 1;", "residual")),
    *_of(
        "global_sum",
        ("wire first = position == 0;", "wire first = position == 1;", "global"),
        ("wire last = position == {{ x.vectors - 1 }};", "wire last = position == {{ x.vectors - 2 }};", "global"),
        ("if (enable && in_valid) sum_", "if (enable) sum_", "global"),
    ),
    *_of(
        "gather",
        ("wire last = position == {{ unit.count - 1 }};", "wire last = position == {{ unit.count - 2 }};", "image"),
        ("if (enable && in_valid) vector", "if (enable) vector", "image"),
        ("out_valid <= in_valid && last;", "out_valid <= last;", "image"),
    ),
    *_of(
        "scatter",
        ("left <= free ? {{ unit.count - 1 }}", "left <= free ? {{ unit.count }}", "image"),
        ("vector >> {{ unit.result.width }}", "vector", "image"),
        ("assign in_ready = enable && free;", "assign in_ready = enable;", "image"),
    ),
    *_of(
        "serial_affine",
        ("offsets_2 <= offsets;", "offsets_2 <= offset_memory[position];", "serial affine"),
        ("product_{{ lane }} <= operand_{{ lane }} * scale_{{ lane }};", "product_{{ lane }} <= operand_{{ lane }} + scale_{{ lane }};", "serial affine"),
        ("{busy && free, done_1, done_2};", "{free, done_1, done_2};", "serial affine"),
        ("if (used_2) results", "if (used_1) results", "serial affine"),
        ("position == {{ folds - 2 }};", "position == {{ folds - 1 }};", "serial affine"),
    ),
    *_of(
        "parallel_affine",
        ("product_{{ channel }} + {{ offset }};", "product_{{ channel }} - {{ offset }};", "unrolled"),
        ("{% set latency = 2 %}", "{% set latency = 1 %}", "unrolled"),
    ),
    *_of(
        "serial_argmax",
        ("position == 0 || score > best", "position == 0 || score >= best", "ties"),
        ("if (position == 0 ||", "if (", "image"),
        ("assign in_ready = enable && !busy;", "assign in_ready = enable;", "image"),
        ("winner <= position;", "winner <= 0;", "image"),
    ),
    *_of(
        "tree_argmax",
        ("best_{{ below }}_{{ b }} > best_{{ below }}_{{ a }};", "best_{{ below }}_{{ b }} >= best_{{ below }}_{{ a }};", "unrolled ties"),
        ("{% set b = 2 * pair + 1 %}", "{% set b = 2 * pair %}", "unrolled"),
    ),
    *_of("valid_pipeline", ("{out_valid, valid} <= {valid, in_valid};", "{out_valid, valid} <= {in_valid, in_valid};", "unrolled")),
    *_of(
        "matrix_unrolled",
        ("& !in_data[{{ channel }}], {{ flag }}}", "& in_data[{{ channel }}], {{ flag }}}", "unrolled image"),
    ),
    *_of(
        "top",
        ("m_axis_tlast = m_axis_beat == {{ out_beats - 1 }};", "m_axis_tlast = m_axis_beat == {{ out_beats - 2 }};", "image"),
        ("if (m_axis_tvalid && m_axis_tready) m_axis_beat", "if (m_axis_tvalid) m_axis_beat", "image"),
        ("{{ branch.name }}_ready{{ \" && \" if not loop.last }}", "{{ branch.name }}_ready{{ \" || \" if not loop.last }}", "residual"),
        ("{{ fork.source.name }}_valid && {{ fork.source.name }}_ready;", "{{ fork.source.name }}_valid;", "residual"),
        ("{{ operand.name }}_valid{{ \" && \" if not loop.last }}", "{{ operand.name }}_valid{{ \" || \" if not loop.last }}", "residual"),
        ("result.bits - 1) if result.signed else \"1'b0\" %}", "result.bits - 1) if not result.signed else \"1'b0\" %}", "image"),
    ),
]  # fmt: skip

TABLES = {"verilog": VERILOG}
