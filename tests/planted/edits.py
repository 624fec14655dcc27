"""The tables of planted edits: each makes a template of hardware wrong, in a way that some engine must see."""

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


def _in(file: str, *edits: tuple[str, str, str]) -> list[Edit]:
    return [Edit(f"hls/{file}", *edit) for edit in edits]


VERILOG = [
    *_of(
        "mvtu_folded",
        ("assign in_ready = enable && free;", "assign in_ready = free;", "levels"),
        ("wire last_position = position == {{ input_folds - 1 }};", "wire last_position = position == {{ input_folds - 1 }} || position == 1;", "image"),
        ("first_1 <= position == 0;", "first_1 <= position == 1;", "image"),
        ("neuron_1 <= neuron;", "neuron_1 <= 0;", "image"),
        ("neuron <= free ? 0 : neuron + 1;", "neuron <= neuron + 1;", "image"),
        ("done_1 <= busy && free;", "done_1 <= free;", "image"),
        ("last_1 <= busy && last_position;", "last_1 <= last_position && free;", "image"),
        ("bias[{{ lane * acc_bits }} +: {{ acc_bits }}] <= biases[{{ lane * acc_bits }} +: {{ acc_bits }}] + missing;", "bias[{{ lane * acc_bits }} +: {{ acc_bits }}] <= biases[{{ lane * acc_bits }} +: {{ acc_bits }}];", "image"),
        ("acc_{{ lane }} <= (first_{{ stages + 1 }} ? start_{{ lane }} : acc_{{ lane }}) + addend_{{ lane }};", "acc_{{ lane }} <= acc_{{ lane }} + addend_{{ lane }};", "image"),
        ("!acc_{{ lane }}[{{ acc_bits - 1 }}]{{", "acc_{{ lane }}[{{ acc_bits - 1 }}]{{", "image"),
        ('out_valid <= {{ "last" if unit.grouped else "done" }}_{{ stages + 2 }};', 'out_valid <= {{ "last" if unit.grouped else "done" }}_{{ stages + 1 }};', "image"),
        ('out_valid <= {{ "last" if unit.grouped', 'out_valid <= {{ "done" if unit.grouped', "class alone"),
        ("if (enable && last_{{ stages + 2 }}) results", "if (enable && last_{{ stages + 1 }}) results", "image"),
        ("if (free) busy <= {{ given }};", "if (free) busy <= 1'b1;", "image"),
        ("            neuron <= 0;\n            position <= 0;", "            neuron <= 0;", "image"),
        ("word[{{ (pe + lane) * simd }} +: {{ simd }}]", "word[{{ lane * simd }} +: {{ simd }}]", "image"),
        ("address == {{ depth - 2 }};", "address == {{ depth - 1 }};", "image"),
        ("&& address == {{ depth - 2 }}) read", "&& address == {{ depth - 3 }}) read", "vector in memory"),
        ("if (word_written == {{ x.vectors - 1 }}) written", "if (word_written == {{ x.vectors - 2 }}) written", "vector in memory"),
        ("assign in_ready = (written ^ read) != 2'b10;", "assign in_ready = 1'b1;", "vector in memory"),
        ("halves[{read[0], word_read}]", "halves[{written[0], word_read}]", "vector in memory"),
        ("wire given = written != read;", "wire given = 1'b1;", "vector in memory"),
        ("if (in_valid && in_ready) halves", "if (in_valid) halves", "vector in memory"),
        ("if (enable && (given || !free))", "if (enable && !free)", "vector in memory"),
        ("word <= word_1;", "word <= weight_memory[address];", "weights in block memory"),
        ("values <= values_1;", "values <= vector[{{ lane_bits - 1 }}:0];", "weights in block memory"),
        ("present <= present_1;", "present <= flags[{{ simd - 1 }}:0];", "weights in block memory"),
    ),
    *_of(
        "sliding_window",
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
        ("'d{{ unit.pad }}", "'d{{ 1 - unit.pad }}", "padded with ones"),
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
        "widening_converter",
        ("wire last = position == {{ unit.count - 1 }};", "wire last = position == {{ unit.count - 2 }};", "image"),
        ("if (enable && in_valid) vector", "if (enable) vector", "image"),
        ("out_valid <= in_valid && last;", "out_valid <= last;", "image"),
    ),
    *_of(
        "recurrence",
        ("wire first = position == 0;", "wire first = 1'b0;", "recurrent"),  # the state of the sequence before
        ("wire last = position == {{ x.vectors - 1 }};", "wire last = position == {{ x.vectors - 2 }};", "recurrent"),
        # the state of a step before
        ("    {{ module }}_FEEDBACK feedback (\n        .aclk(aclk), .aresetn(aresetn),\n        .in_data(state)", "    reg [{{ x.channels - 1 }}:0] late = 0;\n    always @(posedge aclk) if (fed_back_valid) late <= state;\n    {{ module }}_FEEDBACK feedback (\n        .aclk(aclk), .aresetn(aresetn),\n        .in_data(late)", "recurrent"),
        ("assign in_ready = enable && !waiting;", "assign in_ready = enable;", "recurrent"),
        ("waiting <= accepted || (waiting && !fed_back_valid);", "waiting <= accepted;", "recurrent"),
        ("            position <= 0;\n            state", "            state", "recurrent"),
        ("(first ? {{ bits }}'sd0 : shifted_{{ c }});", "shifted_{{ c }};", "recurrent"),
        ("<<< {{ unit.shift }};", "<<< 0;", "recurrent"),
        ("\"-\" if unit.negated[c]", "\"-\" if not unit.negated[c]", "recurrent"),
        ("$signed(first ? {{ first[c] }}", "$signed(first ? {{ threshold[c] }}", "recurrent"),
        ("\" && last\" if unit.last", "\"\" if unit.last", "recurrent"),
    ),
    *_of(
        "narrowing_converter",
        ("left <= free ? {{ unit.count - 1 }}", "left <= free ? {{ unit.count }}", "image"),
        ("vector >> {{ unit.result.width }}", "vector", "image"),
        ("assign in_ready = enable && free;", "assign in_ready = enable;", "image"),
    ),
    *_of(
        "serial_affine",
        ("offsets_2 <= offsets_1;", "offsets_2 <= offset_memory[position];", "serial affine"),
        ("scales <= scales_1;", "scales <= scale_memory[position];", "serial affine"),
        ("operands <= operands_1;", "operands <= in_data;", "serial affine"),
        ("product_{{ lane }} <= operand_{{ lane }} * scale_{{ lane }};", "product_{{ lane }} <= operand_{{ lane }} + scale_{{ lane }};", "serial affine"),
        ("position == {{ folds - 1 }} ?", "position == {{ folds - 2 }} ?", "serial affine"),
        ("else if (enable && in_valid) position", "else if (enable) position", "serial affine"),
    ),
    *_of(
        "parallel_affine",
        ("product_{{ channel }} + {{ offset }};", "product_{{ channel }} - {{ offset }};", "unrolled"),
        ("{% set latency = 2 %}", "{% set latency = 1 %}", "unrolled"),
    ),
    *_of(
        "serial_argmax",
        ("score > best", "score >= best", "ties"),
        ("(position == 0 || score > best)", "(score > best)", "image"),
        ("wire last = position == {{ x.vectors - 1 }};", "wire last = position == {{ x.vectors - 2 }};", "class alone"),
        ("winner <= position;", "winner <= 0;", "image"),
        ("if (enable && in_valid) scores", "if (enable) scores", "image"),
        ("out_valid <= in_valid && last;", "out_valid <= last;", "serial affine"),
    ),
    *_of(
        "tree_argmax",
        ("best_{{ below }}_{{ b }} > best_{{ below }}_{{ a }};", "best_{{ below }}_{{ b }} >= best_{{ below }}_{{ a }};", "unrolled ties"),
        ("{% set b = 2 * pair + 1 %}", "{% set b = 2 * pair %}", "unrolled"),
    ),
    *_of("valid_pipeline", ("{out_valid, valid} <= {valid, in_valid};", "{out_valid, valid} <= {in_valid, in_valid};", "unrolled")),
    *_of(
        "mvtu_unrolled",
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

CPP = [
    *_in(
        "nnet_utils/nnet_packed.h",
        # ports
        ("x[e] = data[p * N + e];", "x[e] = data[p * N + N - 1 - e];", "dense"),
        ("res[p * N + e] = x[e];", "res[e] = x[e];", "padded with ones, C++"),
        ("x[e] = packet[e];", "x[e] = packet[0];", "folded image"),
        ("packet[e] = x[e];", "packet[N - 1 - e] = x[e];", "folded image"),
        # compressors
        ("return (ap_uint<A + B>(high) << B) |", "return (ap_uint<A + B>(high) << A) |", "dense"),
        ("return ap_int<W>(0) - ap_int<2>(x);", "return ap_int<W>(0) - ap_int<1>(x);", "wide"),
        ("sum = differ ^ c;", "sum = differ | c;", "padded with ones, C++"),
        ("carry = (a & b) | (c & differ);", "carry = a & b;", "padded with ones, C++"),
        ("add3(column[3 * i], column[3 * i + 1],", "add3(column[3 * i], column[3 * i],", "padded with ones, C++"),
        ("if (N % 2 == 0) {", "if (N % 4 == 0) {", "dense"),
        ("carry[N / 2 - 1] = lowest & column", "carry[N / 2 - 1] = lowest | column", "dense"),
        ("half[i] = x[2 * i] + x[2 * i + 1];", "half[i] = x[2 * i] + x[2 * i];", "folded branches"),
        ("half[N / 2] = x[N - 1];", "half[N / 2] = 0;", "folded branches"),
        ("half[N / 2] = x[N - 1];", "half[N / 2] = ap_uint<W>(x[N - 1]);", "folded branches"),
        # operands
        ("((a ^ T(all_of)) | (b ^ T(all_of))) ^ T(all_of)", "a | b", "folded image"),
        ("((a ^ T(all_of)) | (b ^ T(all_of))) ^ T(all_of)", "a & b", "folded image"),
        ("n_chan - element * 64;", "n_chan;", "wide"),
        ("CONFIG_T::pad_value > 0 ?", "CONFIG_T::pad_value < 0 ?", "padded with ones, C++"),
        ("(left < 0 ? 0 : left) : 0ull)", "(left < 0 ? 0 : left - 1) : 0ull)", "padded with ones, C++"),
        ("x[i / n_chan * ((n_chan + 63) / 64) + c / 64]", "x[i / n_chan + c / 64]", "branches"),
        ("const ap_uint<1> second = a < b;", "const ap_uint<1> second = b < a;", "wide"),
        # window
        ("ap_shift_reg<T, WIDTH> line", "ap_shift_reg<T, WIDTH + 1> line", "padded with ones, C++"),
        ("line[row][e].shift(x[(row + 1) * N + e]);", "line[row][e].shift(x[ROWS * N + e]);", "padded with ones, C++"),
        ("bottom = top + CONFIG_T::in_height;", "bottom = top + CONFIG_T::in_height - 1;", "padded with ones, C++"),
        ("right = left + CONFIG_T::in_width;", "right = left + CONFIG_T::in_width - 1;", "padded with ones, C++"),
        ("width = right + CONFIG_T::pad_right;", "width = right;", "folded image"),
        ("row(rows - 1), column(columns - 1)", "row(rows - 1), column(0)", "padded with ones, C++"),
        ("row(rows - 1), column(columns - 1)", "row(0), column(columns - 1)", "padded with ones, C++"),
        ("if (y >= top && y < bottom && x >= left &&", "if (y >= top && y < bottom && x > left &&", "padded with ones, C++"),
        ("window[ky * columns * n_elem + i + n_elem];", "window[ky * columns * n_elem + i + 1];", "folded image"),
        ("= fresh[ky * n_elem + e];", "= fresh[(rows - 1 - ky) * n_elem + e];", "padded with ones, C++"),
        ("return row == 0 && column == 0;", "return column == 0;", "folded image"),
        ("+ tap / columns, tx", "+ tap / rows, tx", "folded image"),
        ("ty < bottom && tx >= left && tx < right);", "ty < bottom && tx >= left && tx <= right);", "folded image"),
        ("(ty >= top && ty < bottom && tx", "(ty < bottom && tx", "folded image"),
        ("CONFIG_T::stride_width - 1 : column - 1;", "CONFIG_T::stride_width : column - 1;", "padded with ones, C++"),
        ("CONFIG_T::stride_height - 1 : row - 1;", "0 : row - 1;", "folded image"),
        ("            column = columns - 1;", "            column = 0;", "padded with ones, C++"),
        # results
        ("block[fold][i] = x[i];", "block[0][i] = x[i];", "folded image"),
        ("c < CONFIG_T::n_out && c < e * 64 + 64;", "c < CONFIG_T::n_out && c < e * 64 + 63;", "folded image"),
        ("y[e][c % 64] = bit(", "y[e][63 - c % 64] = bit(", "folded branches"),
        ("block[fold * CONFIG_T::pe + i] = x[i];", "block[fold + i] = x[i];", "folded branches"),
        # folded neurons
        ("window[p / CONFIG_T::parts_per_word],", "window[p % CONFIG_T::parts_per_word],", "folded image"),
        ("p % CONFIG_T::parts_per_word);", "0);", "dense"),
        ("bits[i] = bits[i] & ap_uint<1>(mask[g] >> i & 1);", "bits[i] = bits[i];", "folded image"),
        ("bits[i] = bits[i] & ap_uint<1>(counts[g]);", "bits[i] = bits[i];", "folded image"),
        ("const ap_uint<counter::width + total<CONFIG_T::group>::more> sum", "const ap_uint<counter::width + total<CONFIG_T::group>::more - 1> sum", "dense"),
        ("term[g] = x[g] ^ part(weight[g / 64] >> g % 64 & 1 ? 0 : -1);", "term[g] = x[g] ^ part(weight[g / 64] >> g % 64 & 1 ? -1 : 0);", "folded image"),
        ("part(weight[g / 64] >> g % 64", "part(weight[0] >> g % 64", "wide"),
        ("part(mask[g / 64] >> g % 64", "part(mask[0] >> g % 64", "wide"),
        ("term[g] = term[g] & part(mask", "term[g] = term[g] | part(mask", "folded image"),
        ("return sum >= T(0);", "return T(0) < sum;", "folded image"),
        ("const bool exists = p < n_parts;", "const bool exists = p < n_parts - 1;", "folded image"),
        ("|| !exists || inside[p / per_tap];", "|| !exists || inside[p % CONFIG_T::n_taps];", "folded image"),
        ("|| !exists || inside[p / per_tap];", "|| !exists || true;", "folded image"),
        ("fold == 0 ? typename CONFIG_T::accum_t(start[n]) : acc[n];", "fold == 0 ? typename CONFIG_T::accum_t(0) : acc[n];", "folded image"),
        ("fold == 0 ? typename CONFIG_T::accum_t(start[n]) : acc[n];", "typename CONFIG_T::accum_t(start[n]);", "folded image"),
        ("absent += counts[g] ? 0 :", "absent += true ? 0 :", "folded image"),
        ("int(count[CONFIG_T::ternary ? n * group + g : g]);", "int(count[g]);", "folded branches"),
        ("kind::step(x, counts, weight + n * kind::n_words,", "kind::step(x, counts, weight,", "folded image"),
        ("last_fold = fold == CONFIG_T::input_folds - 1;", "last_fold = fold == CONFIG_T::input_folds - 2;", "folded image"),
        ("neurons == CONFIG_T::neuron_folds - 1;", "neurons == 0;", "folded image"),
        ("fresh = !due || last;", "fresh = true;", "folded image"),
        ("mask[CONFIG_T::ternary ? address : 0],", "mask[0],", "folded image"),
        ("CONFIG_T::ternary ? address : fold],", "CONFIG_T::ternary ? fold : fold],", "folded branches"),
        ("CONFIG_T::ternary ? address : fold],", "CONFIG_T::ternary ? address : 0],", "wide"),
        ("start[neurons], acc, result);", "start[0], acc, result);", "folded image"),
        ("address = last ? 0 : address + 1;", "address = last_fold ? 0 : address + 1;", "folded image"),
        ("neurons = last ? 0 : last_fold ? neurons + 1 : neurons;", "neurons = last ? 0 : neurons + 1;", "folded image"),
        # hard-wired neurons
        ("counts[t] = !CONFIG_T::padded || image.counts(t);", "counts[t] = true;", "hard-wired"),
        ("pixel.template write<OUT>(res, image.results);\n            image.results++;", "pixel.template write<OUT>(res, 0);", "hard-wired, parallel"),
        # pools
        ("for (int t = 1; t < CONFIG_T::n_taps; t++) {", "for (int t = 1; t < CONFIG_T::n_taps - 1; t++) {", "folded image"),
        ("all_of[e]);", "all_of[0]);", "folded image"),
        ("value<T, CONFIG_T::n_chan>(window, t * CONFIG_T::n_chan + e);", "value<T, CONFIG_T::n_chan>(window, e);", "folded branches"),
        # channel by channel
        ("x[i] = x[i + N_PACKET];", "x[i] = x[i + 1];", "branches"),
        ("receive<N_PACKET>(data, packets, packet);\n        packets++;", "receive<N_PACKET>(data, 0, packet);\n        packets++;", "wide"),
        ("const int fold = step - (n_packets - 1);", "const int fold = step - n_packets;", "folded branches"),
        ("const int c = fold * CONFIG_T::pe + n;", "const int c = n;", "wide"),
        ("first[fold] + n *", "first[0] + n *", "wide"),
        ("second[fold][n], result[n]", "second[0][n], result[n]", "wide"),
        ("+ n * (A_SIZE / CONFIG_T::pe),", "+ n,", "branches"),
        ("result = x >= typename CONFIG_T::threshold_t(at_least[0]);", "result = typename CONFIG_T::threshold_t(at_least[0]) < x;", "branches"),
        ("result = result ^ ap_uint<1>(flip);", "result = result;", "wide"),
        ("reached[l] = x >= typename CONFIG_T::threshold_t(at_least[l]);", "reached[l] = typename CONFIG_T::threshold_t(at_least[l]) < x;", "branches"),
        ("reached[l] = x >= typename CONFIG_T::threshold_t(at_least[l]);", "reached[l] = x >= typename CONFIG_T::threshold_t(at_least[0]);", "branches"),
        ("reached[l] = reached[l] ^ ap_uint<1>(flip);", "reached[l] = reached[l];", "branches"),
        ("* ap_int<32>(CONFIG_T::step)", "* ap_int<32>(1)", "branches"),
        ("+ ap_int<32>(CONFIG_T::low);", "+ ap_int<32>(0);", "branches"),
        ("typename CONFIG_T::scale_t(scale[0]) +", "typename CONFIG_T::scale_t(1) +", "dense"),
        ("+ typename CONFIG_T::offset_t(offset);", "+ typename CONFIG_T::offset_t(0);", "dense"),
        ("(n_packets1 > n_packets2 ? n_packets1 : n_packets2) - 1;", "n_packets1 - 1;", "branches"),
        ("value<element2_t, CONFIG_T::n_chan2>(right.x, c));", "value<element2_t, CONFIG_T::n_chan2>(right.x, 0));", "branches"),
    ),
    *_in(
        "nnet_utils/nnet_packed.h",
        ("state.block[fold] = next.block[fold];", "state.block[0] = next.block[0];", "recurrent, C++"),
        ("(t > 0 ? accum_t(at_least[fold][i]) : accum_t(first[fold][i]));", "accum_t(at_least[fold][i]);", "recurrent, C++"),
        ("shifted<CONFIG_T::shift + 1>", "shifted<CONFIG_T::shift>", "recurrent, C++"),
        ("|| t == CONFIG_T::n_pixels - 1)", "|| t == 0)", "recurrent, C++"),
        ("result[i] = result[i] ^ ap_uint<1>(flip[fold][i]);", "", "recurrent, C++"),
        ("ap_uint<1>(mask[fold][i * words + k / 64] >> k % 64 & 1);", "ap_uint<1>(1);", "recurrent, C++"),
        ("bit(state.block[k / CONFIG_T::pe], k % CONFIG_T::pe)", "bit(next.block[k / CONFIG_T::pe], k % CONFIG_T::pe)", "recurrent, C++"),
    ),
    *_in(
        "circuit.py",
        ('text = f"join({part}, {text})"', 'text = f"join({text}, {part})"', "hard-wired"),
        ('"no" if bit & 1 else "bit"', '"bit"', "hard-wired"),
        ("if adder.carry:", "if not adder.carry:", "hard-wired"),
        ('f"ap_int<{len(bits)}>({joined})" if signed', 'f"ap_uint<{len(bits)}>({joined})" if signed', "hard-wired"),
        ("+ channel // 64}]", "}]", "hard-wired"),
        ("x[{k}], {place}", "x[{k}], 0", "hard-wired"),
        ('ap_uint<1>(no({where}) & ap_uint<1>(counts[{tap}]))', 'ap_uint<1>(no({where}))', "hard-wired"),
        ('return f"ap_uint<1>({value} ^ ap_uint<1>(1))" if bit & 1 else value', "return value", "hard-wired"),
        ('f"({a} & {b})"', 'f"({a} | {b})"', "hard-wired"),
        ("if c + 1 < len(columns):", "if c + 2 < len(columns):", "hard-wired"),
        ('assign(" ^ ".join(terms))', 'assign(" | ".join(terms))', "hard-wired"),
    ),
    *_in(
        "nnet_utils/plain_integers.h",
        ("for (int c = 0; c < CHANNELS; c++)\n            put(data[c], lane, values[c]);", "for (int c = 0; c < CHANNELS; c++)\n            put(data[c], lane, values[CHANNELS - 1 - c]);", "dense"),
        ("values[c] = get(data[c], lane);", "values[c] = get(data[0], lane);", "dense"),
        ("<< b;", "<< (63 - b);", "padded with ones, C++"),
        ("word >> b & 1 ? 1 : -1;", "word >> b & 1 ? 1 : 0;", "padded with ones, C++"),
        ("codec::store(values + (v * pixels + p) * codec::channels, data +", "codec::store(values + (v + p) * codec::channels, data +", "padded with ones, C++"),
        ("codec::store(values + (v * pixels + p) * codec::channels, packet.data", "codec::store(values + p * codec::channels, packet.data", "folded image"),
        ("put(T &x, int, long long value) { x = value; }", "put(T &x, int, long long value) { x = -value; }", "test bench"),
    ),
    *_in(
        "nnet_utils/lanes/ap_int.h",
        ("S ? bits[W - 1] : word{};", "word{};", "dense"),
        ("carry = (x & y) | (carry & half);\n    }\n    return sum;\n}\n\ntemplate <int V, bool R, int W, bool S> number<aligned(V, R, W, S) + 1, true>", "carry = x & y;\n    }\n    return sum;\n}\n\ntemplate <int V, bool R, int W, bool S> number<aligned(V, R, W, S) + 1, true>", "dense"),
        ("j < (S ? V + W : W);", "j < W;", "dense"),
        ("return (a < b) ^ 1ull;", "return a < b;", "dense"),
    ),
    *_in(
        "templates/csim.cpp.j2",
        ("y.data() + v * n_outputs;", "y.data();", "dense"),
        ("layer + v * size, layer + (v + 1) * size, to", "layer, layer + size, to", "dense"),
        ("layer += std::ptrdiff_t(vectors) * size;", "layer += size;", "dense"),
        ("while (const std::size_t read =", "if (const std::size_t read =", "dense"),
    ),
    *_in(
        "templates/dut.h.j2",
        ("inputs_plain, vectors, {{ input.variable }}, {{ input.pixels }}", "inputs_plain, vectors, {{ input.variable }}, {{ input.pixels }} - 1", "folded image"),
        ("outputs_plain, vectors, {{ output.pixels }}", "outputs_plain, 1, {{ output.pixels }}", "dense"),
    ),
    *_in(
        "templates/test.cpp.j2",
        ("if (got != y) {", "if (got.size() != y.size()) {", "test bench"),
        ("return vectors && !wrong ? 0 : 1;", "return 0;", "test bench"),
        ("return vectors && !wrong ? 0 : 1;", "return !wrong ? 0 : 1;", "test bench"),
        ("has no expected outputs\" << std::endl;\n            return 1;", "has no expected outputs\" << std::endl;\n            break;", "test bench"),
        ("if (x.size() != n_inputs || y.size() != n_outputs) {", "if (y.size() != n_outputs) {", "test bench"),
        ("            wrong++;", "            wrong = 0;", "test bench"),
    ),
]  # fmt: skip

TABLES = {"verilog": VERILOG, "cpp": CPP}
