#ifndef NNET_PACKED_H_
#define NNET_PACKED_H_

// Binary layers on packed words.
//
// Bipolar values travel as words: channel c of a pixel is bit c % 64 of the pixel's word c / 64, 1 for +1 and 0 for -1.
// Unused bits are 0, in activations and in weights, so that they never differ. For bipolar x and w of length n,
//     dot(x, w) = n - 2 * (number of ones in x ^ w),
// and with a mask (ternary weights) or padded taps, only the positions that count enter n and the number.
//
// Every layer is one process: one loop with an initiation interval of 1 (a recurrent layer, for each step), whose
// iterations are counted by the generator (n_steps). Control depends on counters alone, never on data. Values are ap_int and ap_uint, and their widths exact.

#include "ap_int.h"
#include "ap_shift_reg.h"
#include "hls_stream.h"
#include "nnet_common.h"
#include "nnet_types.h"

// Parts of one computation, which HLS tools put together (INLINE) and compilers are to take one by one.
#ifdef __SYNTHESIS__
#define NNET_PART
#else
#define NNET_PART __attribute__((noinline))
#endif

namespace nnet {

typedef unsigned long long word_t; // a word as the generator writes it

namespace packed {

// --- ports: pixels of N elements each, from or to an array (where pixel p counts) or a stream (the next one)

template <class PORT> struct element_of;
template <class T> struct element_of<T *> { typedef T type; };
template <class T> struct element_of<const T *> { typedef T type; };
template <class P> struct element_of<hls::stream<P> &> { typedef typename P::value_type type; };

template <int N, class T> void receive(const T *data, int p, T x[N]) {
    #pragma HLS INLINE
    for (int e = 0; e < N; e++) {
        #pragma HLS UNROLL
        x[e] = data[p * N + e];
    }
}

template <int N, class P> void receive(hls::stream<P> &data, int, typename P::value_type x[N]) {
    #pragma HLS INLINE
    P packet = data.read();
    for (int e = 0; e < N; e++) {
        #pragma HLS UNROLL
        x[e] = packet[e];
    }
}

template <int N, class T> void send(const T x[N], T *res, int p) {
    #pragma HLS INLINE
    for (int e = 0; e < N; e++) {
        #pragma HLS UNROLL
        res[p * N + e] = x[e];
    }
}

template <int N, class P> void send(const typename P::value_type x[N], hls::stream<P> &res, int) {
    #pragma HLS INLINE
    P packet;
    PRAGMA_DATA_PACK(packet)
    for (int e = 0; e < N; e++) {
        #pragma HLS UNROLL
        packet[e] = x[e];
    }
    res.write(packet);
}

// --- bits

// Bit i of x, and its complement.
template <class T> ap_uint<1> bit(const T &x, int i) {
    #pragma HLS INLINE
    return ap_uint<1>(x[i]);
}

template <class T> ap_uint<1> no(const T &x, int i) {
    #pragma HLS INLINE
    return bit(x, i) ^ ap_uint<1>(1);
}

// The bits of both, the second's lowest.
template <int A, int B> ap_uint<A + B> join(const ap_uint<A> &high, const ap_uint<B> &low) {
    #pragma HLS INLINE
    return (ap_uint<A + B>(high) << B) | ap_uint<A + B>(low);
}

// W copies of a bit.
template <int W> ap_int<W> copies(const ap_uint<1> &x) {
    #pragma HLS INLINE
    return ap_int<W>(0) - ap_int<2>(x);
}

// Full adder: the sum of three bits as sum + 2 * carry.
inline void add3(const ap_uint<1> &a, const ap_uint<1> &b, const ap_uint<1> &c, ap_uint<1> &sum, ap_uint<1> &carry) {
    #pragma HLS INLINE
    const ap_uint<1> differ = a ^ b;
    sum = differ ^ c;
    carry = (a & b) | (c & differ);
}

// The number of ones among N bits, by a compressor tree: full adders take a column of equal weight three by three, in
// the order in which its bits become ready, down to one, and their carries are the next column. That are N full adders
// less one per bit of the number, and no adder with a carry chain.
template <int N> struct ones {
    static const int width = 1 + ones<N / 2>::width;

    static ap_uint<width> among(const ap_uint<1> x[N]) {
        #pragma HLS INLINE
        static const int adders = (N - 1) / 2;
        ap_uint<1> column[N + adders];
        #pragma HLS ARRAY_PARTITION variable=column complete
        ap_uint<1> carry[N / 2];
        #pragma HLS ARRAY_PARTITION variable=carry complete
        for (int i = 0; i < N; i++) {
            #pragma HLS UNROLL
            column[i] = x[i];
        }
        for (int i = 0; i < adders; i++) {
            #pragma HLS UNROLL
            add3(column[3 * i], column[3 * i + 1], column[3 * i + 2], column[N + i], carry[i]);
        }
        ap_uint<1> lowest = column[3 * adders];
        if (N % 2 == 0) { // one bit is left over
            carry[N / 2 - 1] = lowest & column[N + adders - 1];
            lowest = lowest ^ column[N + adders - 1];
        }
        return join(ones<N / 2>::among(carry), lowest);
    }
};

template <> struct ones<1> {
    static const int width = 1;

    static ap_uint<1> among(const ap_uint<1> x[1]) {
        #pragma HLS INLINE
        return x[0];
    }
};

// The sum of N signed numbers of W bits, by a tree of adders each one bit wider than its operands.
template <int N> struct total {
    static const int more = 1 + total<(N + 1) / 2>::more;

    template <int W> static ap_int<W + more> of(const ap_int<W> x[N]) {
        #pragma HLS INLINE
        ap_int<W + 1> half[(N + 1) / 2];
        #pragma HLS ARRAY_PARTITION variable=half complete
        for (int i = 0; i < N / 2; i++) {
            #pragma HLS UNROLL
            half[i] = x[2 * i] + x[2 * i + 1];
        }
        if (N % 2)
            half[N / 2] = x[N - 1];
        return total<(N + 1) / 2>::template of<W + 1>(half);
    }
};

template <> struct total<1> {
    static const int more = 0;

    template <int W> static ap_int<W> of(const ap_int<W> x[1]) {
        #pragma HLS INLINE
        return x[0];
    }
};

// --- what differs between bipolar and integer operands

template <bool binary> struct operand;

template <> struct operand<true> {
    // The OR of bits, or the AND where `all_of` is set.
    template <class T> static T larger(const T &a, const T &b, word_t all_of) {
        #pragma HLS INLINE
        return ((a ^ T(all_of)) | (b ^ T(all_of))) ^ T(all_of);
    }

    // What word `element` of a padded pixel holds.
    template <class T, typename CONFIG_T> static T pad(int element) {
        #pragma HLS INLINE
        const int left = CONFIG_T::n_chan - element * 64;
        return CONFIG_T::pad_value > 0 ? T((left < 64 ? 1ull << (left < 0 ? 0 : left) : 0ull) - 1ull) : T(0);
    }

    // Value i of pixels of n_chan channels each, as an integer.
    template <class T, int n_chan> static ap_int<2> value(const T x[], int i) {
        #pragma HLS INLINE
        const int c = i % n_chan;
        return join(no(x[i / n_chan * ((n_chan + 63) / 64) + c / 64], c % 64), ap_uint<1>(1));
    }
};

template <> struct operand<false> {
    template <class T> static T larger(const T &a, const T &b, word_t) {
        #pragma HLS INLINE
        const ap_uint<1> second = a < b;
        return a ^ ((a ^ b) & T(copies<T::width>(second)));
    }

    template <class T, typename CONFIG_T> static T pad(int) {
        #pragma HLS INLINE
        return T(CONFIG_T::pad_value);
    }

    template <class T, int> static T value(const T x[], int i) {
        #pragma HLS INLINE
        return x[i];
    }
};

// --- images: the window that moves over pixels as they come

// The last ROWS rows of pixels; the pixel above another one leaves a shift register when that one enters it.
template <class T, int ROWS, int N, int WIDTH> struct line_buffer {
    ap_shift_reg<T, WIDTH> line[ROWS][N];

    // From a pixel to the column of pixels that ends with it, highest first.
    void column(const T pixel[N], T x[(ROWS + 1) * N]) {
        #pragma HLS INLINE
        for (int e = 0; e < N; e++) {
            #pragma HLS UNROLL
            x[ROWS * N + e] = pixel[e];
            for (int row = ROWS - 1; row >= 0; row--) {
                #pragma HLS UNROLL
                x[row * N + e] = line[row][e].shift(x[(row + 1) * N + e]);
            }
        }
    }
};

template <class T, int N, int WIDTH> struct line_buffer<T, 0, N, WIDTH> {
    void column(const T pixel[N], T x[N]) {
        #pragma HLS INLINE
        for (int e = 0; e < N; e++) {
            #pragma HLS UNROLL
            x[e] = pixel[e];
        }
    }
};

// Where the window stands and what it holds, the padded image being scanned row by row. A vector that comes in several
// packets is an image of one row, and its window the whole of it.
template <class T, typename CONFIG_T> struct scan {
    static const int n_elem = CONFIG_T::n_elem, rows = CONFIG_T::kernel_height, columns = CONFIG_T::kernel_width;
    static const int top = CONFIG_T::pad_top, bottom = top + CONFIG_T::in_height;
    static const int left = CONFIG_T::pad_left, right = left + CONFIG_T::in_width;
    static const int width = right + CONFIG_T::pad_right;

    line_buffer<T, rows - 1, n_elem, width> lines;
    T window[rows * columns * n_elem];
    int y, x;             // of the pixel that comes next
    int row, column;      // steps until the window stands on the stride
    int pixels, results;  // received and sent

    scan() : y(0), x(0), row(rows - 1), column(columns - 1), pixels(0), results(0) {}

    // Take the next pixel, or one of the padding, into the window.
    template <class IN> void advance(IN data) {
        #pragma HLS INLINE
        T pixel[n_elem];
        #pragma HLS ARRAY_PARTITION variable=pixel complete
        T fresh[rows * n_elem];
        #pragma HLS ARRAY_PARTITION variable=fresh complete
        if (y >= top && y < bottom && x >= left && x < right) {
            receive<n_elem>(data, pixels, pixel);
            pixels++;
        } else {
            for (int e = 0; e < n_elem; e++)
                pixel[e] = operand<CONFIG_T::binary>::template pad<T, CONFIG_T>(e);
        }
        lines.column(pixel, fresh);
        for (int ky = 0; ky < rows; ky++) {
            #pragma HLS UNROLL
            for (int i = 0; i < (columns - 1) * n_elem; i++) {
                #pragma HLS UNROLL
                window[ky * columns * n_elem + i] = window[ky * columns * n_elem + i + n_elem];
            }
            for (int e = 0; e < n_elem; e++) {
                #pragma HLS UNROLL
                window[(ky * columns + columns - 1) * n_elem + e] = fresh[ky * n_elem + e];
            }
        }
    }

    // Whether a result is made of the window.
    bool due() const { return row == 0 && column == 0; }

    // Whether a tap of the window counts: it lies inside, or the padding has a value.
    bool counts(int tap) const {
        #pragma HLS INLINE
        const int ty = y - (rows - 1) + tap / columns, tx = x - (columns - 1) + tap % columns;
        return CONFIG_T::pad_value != 0 || (ty >= top && ty < bottom && tx >= left && tx < right);
    }

    void step() {
        #pragma HLS INLINE
        column = column == 0 ? CONFIG_T::stride_width - 1 : column - 1;
        x++;
        if (x == width) {
            x = 0;
            y++;
            column = columns - 1;
            row = row == 0 ? CONFIG_T::stride_height - 1 : row - 1;
        }
    }
};

// --- the results of a pixel: `pe` channels at a time, then all together

template <bool binary, typename CONFIG_T> struct results;

template <typename CONFIG_T> struct results<true, CONFIG_T> { // bits, packed into words
    typedef ap_uint<1> value_type;
    ap_uint<CONFIG_T::pe> block[CONFIG_T::neuron_folds];

    void set(int fold, const ap_uint<1> x[CONFIG_T::pe]) {
        #pragma HLS INLINE
        for (int i = 0; i < CONFIG_T::pe; i++) {
            #pragma HLS UNROLL
            block[fold][i] = x[i];
        }
    }

    template <class OUT> void write(OUT res, int p) const {
        #pragma HLS INLINE
        static const int n_words = (CONFIG_T::n_out + 63) / 64;
        typename element_of<OUT>::type y[n_words];
        #pragma HLS ARRAY_PARTITION variable=y complete
        for (int e = 0; e < n_words; e++) {
            #pragma HLS UNROLL
            y[e] = 0;
            for (int c = e * 64; c < CONFIG_T::n_out && c < e * 64 + 64; c++) {
                #pragma HLS UNROLL
                y[e][c % 64] = bit(block[c / CONFIG_T::pe], c % CONFIG_T::pe);
            }
        }
        send<n_words>(y, res, p);
    }
};

template <typename CONFIG_T> struct results<false, CONFIG_T> { // integers
    typedef typename CONFIG_T::sum_t value_type;
    value_type block[CONFIG_T::neuron_folds * CONFIG_T::pe];

    void set(int fold, const value_type x[CONFIG_T::pe]) {
        #pragma HLS INLINE
        for (int i = 0; i < CONFIG_T::pe; i++) {
            #pragma HLS UNROLL
            block[fold * CONFIG_T::pe + i] = x[i];
        }
    }

    template <class OUT> void write(OUT res, int p) const {
        #pragma HLS INLINE
        typename element_of<OUT>::type y[CONFIG_T::n_out];
        #pragma HLS ARRAY_PARTITION variable=y complete
        for (int c = 0; c < CONFIG_T::n_out; c++) {
            #pragma HLS UNROLL
            y[c] = block[c];
        }
        send<CONFIG_T::n_out>(y, res, p);
    }
};

// --- a folded neuron: its inputs come in parts, `group` of them per cycle

// Bits p * BITS and on of a word: a multiplexer of N places. The C-simulation in bulk has its own for its own words.
template <int BITS, int N, class T> ap_uint<BITS> part_of(const T word, int p) {
    #pragma HLS INLINE
    ap_uint<BITS> place[N];
    #pragma HLS ARRAY_PARTITION variable=place complete
    for (int i = 0; i < N; i++) {
        #pragma HLS UNROLL
        const int last = (i + 1) * BITS < int(T::width) ? (i + 1) * BITS - 1 : int(T::width) - 1;
        place[i] = ap_uint<BITS>(word.range(last, i * BITS));
    }
    return place[p];
}

template <class T, typename CONFIG_T, bool binary> struct neuron;

template <class T, typename CONFIG_T> struct neuron<T, CONFIG_T, true> { // parts are bits of words
    typedef ap_uint<CONFIG_T::part_bits> part;
    static const int n_words = CONFIG_T::group; // of weights per cycle

    // Part p of the words of a window: a word is chosen, and one of the places in it.
    static part choose(const T window[], int p) {
        #pragma HLS INLINE
        return part_of<CONFIG_T::part_bits, CONFIG_T::parts_per_word>(window[p / CONFIG_T::parts_per_word],
                                                                      p % CONFIG_T::parts_per_word);
    }

    // What a cycle adds to the accumulator: minus twice the number of bits that differ.
    template <class W>
    static typename CONFIG_T::accum_t step(const part x[], const bool counts[], const W weight[], const W mask[]) {
        #pragma HLS INLINE
        typedef ones<CONFIG_T::part_bits> counter;
        ap_int<counter::width + 1> differing[CONFIG_T::group];
        #pragma HLS ARRAY_PARTITION variable=differing complete
        for (int g = 0; g < CONFIG_T::group; g++) {
            #pragma HLS UNROLL
            ap_uint<1> bits[CONFIG_T::part_bits];
            #pragma HLS ARRAY_PARTITION variable=bits complete
            for (int i = 0; i < CONFIG_T::part_bits; i++) {
                #pragma HLS UNROLL
                bits[i] = bit(x[g], i) ^ ap_uint<1>(weight[g] >> i & 1);
                if (CONFIG_T::ternary)
                    bits[i] = bits[i] & ap_uint<1>(mask[g] >> i & 1);
                if (CONFIG_T::padded)
                    bits[i] = bits[i] & ap_uint<1>(counts[g]);
            }
            differing[g] = counter::among(bits);
        }
        const ap_uint<counter::width + total<CONFIG_T::group>::more> sum =
            total<CONFIG_T::group>::template of<counter::width + 1>(differing);
        return typename CONFIG_T::accum_t(0) - join(sum, ap_uint<1>(0));
    }
};

template <class T, typename CONFIG_T> struct neuron<T, CONFIG_T, false> { // parts are integers
    typedef ap_int<CONFIG_T::part_bits> part; // one bit more than an unsigned operand
    static const int n_words = (CONFIG_T::group + 63) / 64;

    static part choose(const T window[], int p) {
        #pragma HLS INLINE
        return part(window[p]);
    }

    // The sum of the terms; -x is ~x + 1, and the ones are in what the accumulator starts from.
    template <class W>
    static typename CONFIG_T::accum_t step(const part x[], const bool[], const W weight[], const W mask[]) {
        #pragma HLS INLINE
        part term[CONFIG_T::group];
        #pragma HLS ARRAY_PARTITION variable=term complete
        for (int g = 0; g < CONFIG_T::group; g++) {
            #pragma HLS UNROLL
            term[g] = x[g] ^ part(weight[g / 64] >> g % 64 & 1 ? 0 : -1);
            if (CONFIG_T::ternary)
                term[g] = term[g] & part(mask[g / 64] >> g % 64 & 1 ? -1 : 0);
        }
        return total<CONFIG_T::group>::template of<CONFIG_T::part_bits>(term);
    }
};

// What an accumulator ends with: whether it is not negative, where it started from minus the threshold; or itself. The
// types do not tell which: a sum of 0 or 1 is one bit, too.
template <bool thresholds> struct conclude;

template <> struct conclude<true> {
    template <class T> static ap_uint<1> of(const T &sum) {
        #pragma HLS INLINE
        return sum >= T(0);
    }
};

template <> struct conclude<false> {
    template <class T> static T of(const T &sum) {
        #pragma HLS INLINE
        return sum;
    }
};

// One cycle: the parts of input fold `fold`, for `pe` neurons.
template <class T, typename CONFIG_T, class WEIGHT, class COUNT, class START>
void fold_step(const scan<T, CONFIG_T> &image, int fold, const WEIGHT weight[], const WEIGHT mask[],
               const COUNT count[], const START start[], typename CONFIG_T::accum_t acc[CONFIG_T::pe],
               typename results<CONFIG_T::thresholds, CONFIG_T>::value_type result[CONFIG_T::pe]) {
    #pragma HLS INLINE
    typedef neuron<T, CONFIG_T, CONFIG_T::binary> kind;
    static const int group = CONFIG_T::group, n_parts = CONFIG_T::n_parts, per_tap = n_parts / CONFIG_T::n_taps;
    bool inside[CONFIG_T::n_taps];
    #pragma HLS ARRAY_PARTITION variable=inside complete
    for (int t = 0; t < CONFIG_T::n_taps && CONFIG_T::padded; t++) {
        #pragma HLS UNROLL
        inside[t] = image.counts(t);
    }
    typename kind::part x[group];
    #pragma HLS ARRAY_PARTITION variable=x complete
    bool counts[group];
    #pragma HLS ARRAY_PARTITION variable=counts complete
    for (int g = 0; g < group; g++) {
        #pragma HLS UNROLL
        const int p = fold * group + g;
        const bool exists = p < n_parts; // the last fold may have parts left over
        x[g] = exists ? kind::choose(image.window, p) : typename kind::part(0);
        counts[g] = !CONFIG_T::padded || !exists || inside[p / per_tap];
    }
    for (int n = 0; n < CONFIG_T::pe; n++) {
        #pragma HLS UNROLL
        typename CONFIG_T::accum_t sum = fold == 0 ? typename CONFIG_T::accum_t(start[n]) : acc[n];
        int absent = 0; // positions outside of the image, by which the sum is of fewer terms
        for (int g = 0; g < group && CONFIG_T::padded; g++) {
            #pragma HLS UNROLL
            absent += counts[g] ? 0 : int(count[CONFIG_T::ternary ? n * group + g : g]);
        }
        sum = sum + kind::step(x, counts, weight + n * kind::n_words, mask + n * kind::n_words);
        acc[n] = sum - typename CONFIG_T::accum_t(absent);
        result[n] = conclude<CONFIG_T::thresholds>::of(acc[n]);
    }
}

// Folded neurons. Every cycle with a window that is due is one of its folds; the next pixel comes with the first one.
template <class IN, class OUT, typename CONFIG_T, class WEIGHT, class COUNT, class START, int DEPTH, int WORDS, int MASKS,
          int MASK_WORDS, int COUNTS, int COUNT_WORDS>
void matrix_folded(IN data, OUT res, const WEIGHT (&weight)[DEPTH][WORDS], const WEIGHT (&mask)[MASKS][MASK_WORDS],
                   const COUNT (&count)[COUNTS][COUNT_WORDS], const START (&start)[CONFIG_T::neuron_folds][CONFIG_T::pe]) {
    #pragma HLS INLINE
    #pragma HLS ARRAY_RESHAPE variable=weight complete dim=2
    #pragma HLS BIND_STORAGE variable=weight type=rom_1p
    #pragma HLS ARRAY_RESHAPE variable=mask complete dim=2
    #pragma HLS BIND_STORAGE variable=mask type=rom_1p
    #pragma HLS ARRAY_RESHAPE variable=count complete dim=2
    #pragma HLS BIND_STORAGE variable=count type=rom_1p
    #pragma HLS ARRAY_RESHAPE variable=start complete dim=2
    #pragma HLS BIND_STORAGE variable=start type=rom_1p
    typedef typename element_of<IN>::type element_t;
    typedef results<CONFIG_T::thresholds, CONFIG_T> results_t;
    scan<element_t, CONFIG_T> image;
    #pragma HLS ARRAY_PARTITION variable=image.window complete
    #pragma HLS ARRAY_PARTITION variable=image.lines complete dim=0
    results_t pixel;
    #pragma HLS ARRAY_PARTITION variable=pixel.block complete dim=0
    typename CONFIG_T::accum_t acc[CONFIG_T::pe];
    #pragma HLS ARRAY_PARTITION variable=acc complete
    bool fresh = true; // the window moves on
    int fold = 0, neurons = 0, address = 0;
    for (int i = 0; i < CONFIG_T::n_steps; i++) {
        #pragma HLS PIPELINE II=1
        typename results_t::value_type result[CONFIG_T::pe];
        #pragma HLS ARRAY_PARTITION variable=result complete
        if (fresh)
            image.template advance<IN>(data);
        const bool due = image.due(), last_fold = fold == CONFIG_T::input_folds - 1;
        const bool last = last_fold && neurons == CONFIG_T::neuron_folds - 1;
        fresh = !due || last;
        if (due) {
            fold_step<element_t, CONFIG_T>(image, fold, weight[address],
                                           mask[CONFIG_T::ternary ? address : 0],
                                           count[!CONFIG_T::padded ? 0 : CONFIG_T::ternary ? address : fold],
                                           start[neurons], acc, result);
            if (last_fold)
                pixel.set(neurons, result);
            if (last) {
                pixel.template write<OUT>(res, image.results);
                image.results++;
            }
            address = last ? 0 : address + 1;
            neurons = last ? 0 : last_fold ? neurons + 1 : neurons;
            fold = last_fold ? 0 : fold + 1;
        }
        if (fresh)
            image.step();
    }
}

// --- neurons with hard-wired weights: all of them in every cycle, as a graph of adders that they share

template <class IN, class OUT, typename CONFIG_T> void matrix_unrolled(IN data, OUT res) {
    #pragma HLS INLINE
    typedef typename element_of<IN>::type element_t;
    typedef results<CONFIG_T::thresholds, CONFIG_T> results_t;
    scan<element_t, CONFIG_T> image;
    #pragma HLS ARRAY_PARTITION variable=image.window complete
    #pragma HLS ARRAY_PARTITION variable=image.lines complete dim=0
    for (int i = 0; i < CONFIG_T::n_steps; i++) {
        #pragma HLS PIPELINE II=1
        results_t pixel;
        #pragma HLS ARRAY_PARTITION variable=pixel.block complete dim=0
        typename results_t::value_type result[CONFIG_T::pe];
        #pragma HLS ARRAY_PARTITION variable=result complete
        bool counts[CONFIG_T::n_taps];
        #pragma HLS ARRAY_PARTITION variable=counts complete
        image.template advance<IN>(data);
        for (int t = 0; t < CONFIG_T::n_taps; t++) {
            #pragma HLS UNROLL
            counts[t] = !CONFIG_T::padded || image.counts(t);
        }
        if (image.due()) {
            CONFIG_T::circuit::template of<CONFIG_T::pe>(image.window, counts, result);
            pixel.set(0, result);
            pixel.template write<OUT>(res, image.results);
            image.results++;
        }
        image.step();
    }
}

// --- pools

// Reduce each window of an image to a pixel, by CONFIG_T::pool.
template <class IN, class OUT, typename CONFIG_T, class CONSTANT> void pool(IN data, OUT res, const CONSTANT &constant) {
    #pragma HLS INLINE
    typedef typename element_of<IN>::type element_t;
    typedef typename element_of<OUT>::type result_t;
    scan<element_t, CONFIG_T> image;
    #pragma HLS ARRAY_PARTITION variable=image.window complete
    #pragma HLS ARRAY_PARTITION variable=image.lines complete dim=0
    for (int i = 0; i < CONFIG_T::n_steps; i++) {
        #pragma HLS PIPELINE II=1
        result_t pixel[CONFIG_T::n_out_elem];
        #pragma HLS ARRAY_PARTITION variable=pixel complete
        image.template advance<IN>(data);
        if (image.due()) {
            for (int e = 0; e < CONFIG_T::n_out_elem; e++) {
                #pragma HLS UNROLL
                pixel[e] = CONFIG_T::pool::template of<CONFIG_T, result_t>(image.window, e, constant);
            }
            send<CONFIG_T::n_out_elem>(pixel, res, image.results);
            image.results++;
        }
        image.step();
    }
}

struct largest {
    template <typename CONFIG_T, class R, class T> static R of(const T window[], int e, const word_t *all_of) {
        #pragma HLS INLINE
        T best = window[e];
        for (int t = 1; t < CONFIG_T::n_taps; t++) {
            #pragma HLS UNROLL
            best = operand<CONFIG_T::binary>::larger(best, window[t * CONFIG_T::n_elem + e], all_of[e]);
        }
        return best;
    }
};

struct sum {
    template <typename CONFIG_T, class R, class T> static R of(const T window[], int e, const word_t *) {
        #pragma HLS INLINE
        static const int bits = CONFIG_T::part_bits;
        ap_int<bits> term[CONFIG_T::n_taps];
        #pragma HLS ARRAY_PARTITION variable=term complete
        for (int t = 0; t < CONFIG_T::n_taps; t++) {
            #pragma HLS UNROLL
            term[t] = operand<CONFIG_T::binary>::template value<T, CONFIG_T::n_chan>(window, t * CONFIG_T::n_chan + e);
        }
        return total<CONFIG_T::n_taps>::template of<bits>(term);
    }
};

// --- channel by channel: `pe` at a time, `neuron_folds` times for a pixel

// The elements of a pixel, which may come in several packets (a flattened operand).
template <class T, int N, int N_PACKET> struct gathered {
    T x[N];
    int packets;

    gathered() : packets(0) {}

    template <class IN> void advance(IN data) {
        #pragma HLS INLINE
        T packet[N_PACKET];
        #pragma HLS ARRAY_PARTITION variable=packet complete
        receive<N_PACKET>(data, packets, packet);
        packets++;
        for (int i = 0; i < N - N_PACKET; i++) {
            #pragma HLS UNROLL
            x[i] = x[i + N_PACKET];
        }
        for (int i = 0; i < N_PACKET; i++) {
            #pragma HLS UNROLL
            x[N - N_PACKET + i] = packet[i];
        }
    }
};

template <class IN, class OUT, typename CONFIG_T, class A, class B, int A_SIZE, int B_SIZE>
void each(IN data, OUT res, const A (&first)[CONFIG_T::neuron_folds][A_SIZE],
          const B (&second)[CONFIG_T::neuron_folds][B_SIZE]) {
    #pragma HLS INLINE
    #pragma HLS ARRAY_PARTITION variable=first complete dim=2
    #pragma HLS ARRAY_PARTITION variable=second complete dim=2
    typedef typename element_of<IN>::type element_t;
    typedef results<CONFIG_T::thresholds, CONFIG_T> results_t;
    static const int n_packets = CONFIG_T::n_in / CONFIG_T::n_elem;
    gathered<element_t, CONFIG_T::n_in, CONFIG_T::n_elem> operand;
    #pragma HLS ARRAY_PARTITION variable=operand.x complete
    results_t pixel;
    #pragma HLS ARRAY_PARTITION variable=pixel.block complete dim=0
    int step = 0, sent = 0;
    for (int i = 0; i < CONFIG_T::n_steps; i++) {
        #pragma HLS PIPELINE II=1
        typename results_t::value_type result[CONFIG_T::pe];
        #pragma HLS ARRAY_PARTITION variable=result complete
        const int fold = step - (n_packets - 1);
        if (step < n_packets)
            operand.template advance<IN>(data);
        if (fold >= 0) {
            for (int n = 0; n < CONFIG_T::pe; n++) {
                #pragma HLS UNROLL
                const int c = fold * CONFIG_T::pe + n;
                CONFIG_T::op::template of<CONFIG_T>(
                    packed::operand<CONFIG_T::binary>::template value<element_t, CONFIG_T::n_chan>(
                        operand.x, c < CONFIG_T::n_out ? c : 0),
                    first[fold] + n * (A_SIZE / CONFIG_T::pe), second[fold][n], result[n]);
            }
            pixel.set(fold, result);
        }
        step++;
        if (fold == CONFIG_T::neuron_folds - 1) {
            pixel.template write<OUT>(res, sent);
            sent++;
            step = 0;
        }
    }
}

// 1 where x >= threshold, inverted where flip is set (for x <= threshold - 1).
struct threshold {
    template <typename CONFIG_T, class T, class A, class B>
    static void of(const T &x, const A *at_least, const B &flip, ap_uint<1> &result) {
        #pragma HLS INLINE
        result = x >= typename CONFIG_T::threshold_t(at_least[0]);
        result = result ^ ap_uint<1>(flip);
    }
};

// low + step * (number of thresholds passed): those that x reaches, or, where flip is set, those that it does not.
struct multi_threshold {
    template <typename CONFIG_T, class T, class A, class B, class R>
    static void of(const T &x, const A *at_least, const B &flip, R &result) {
        #pragma HLS INLINE
        ap_uint<1> reached[CONFIG_T::n_levels];
        #pragma HLS ARRAY_PARTITION variable=reached complete
        for (int l = 0; l < CONFIG_T::n_levels; l++) {
            #pragma HLS UNROLL
            reached[l] = x >= typename CONFIG_T::threshold_t(at_least[l]);
            reached[l] = reached[l] ^ ap_uint<1>(flip);
        }
        result = ones<CONFIG_T::n_levels>::among(reached) * ap_int<32>(CONFIG_T::step) + ap_int<32>(CONFIG_T::low);
    }
};

struct affine {
    template <typename CONFIG_T, class T, class A, class B, class R>
    static void of(const T &x, const A *scale, const B &offset, R &result) {
        #pragma HLS INLINE
        result = x * typename CONFIG_T::scale_t(scale[0]) + typename CONFIG_T::offset_t(offset);
    }
};

// x * 2**S
template <int S> struct shifted {
    template <class T> static auto of(const T &x) -> decltype(x * ap_int<S + 2>(0)) {
        #pragma HLS INLINE
        return x * ap_int<S + 2>(1ll << S);
    }
};

template <> struct shifted<0> {
    template <class T> static T of(const T &x) {
        #pragma HLS INLINE
        return x;
    }
};

template <class IN1, class IN2, class OUT, typename CONFIG_T> void add(IN1 data1, IN2 data2, OUT res) {
    #pragma HLS INLINE
    typedef typename element_of<IN1>::type element1_t;
    typedef typename element_of<IN2>::type element2_t;
    static const int n_packets1 = CONFIG_T::n_in1 / CONFIG_T::n_elem1, n_packets2 = CONFIG_T::n_in2 / CONFIG_T::n_elem2;
    static const int last = (n_packets1 > n_packets2 ? n_packets1 : n_packets2) - 1;
    gathered<element1_t, CONFIG_T::n_in1, CONFIG_T::n_elem1> left;
    #pragma HLS ARRAY_PARTITION variable=left.x complete
    gathered<element2_t, CONFIG_T::n_in2, CONFIG_T::n_elem2> right;
    #pragma HLS ARRAY_PARTITION variable=right.x complete
    int step = 0, sent = 0;
    for (int i = 0; i < CONFIG_T::n_steps; i++) {
        #pragma HLS PIPELINE II=1
        typename element_of<OUT>::type y[CONFIG_T::n_out];
        #pragma HLS ARRAY_PARTITION variable=y complete
        if (step < n_packets1)
            left.template advance<IN1>(data1);
        if (step < n_packets2)
            right.template advance<IN2>(data2);
        for (int c = 0; c < CONFIG_T::n_out; c++) {
            #pragma HLS UNROLL
            y[c] = shifted<CONFIG_T::shift1>::of(
                       operand<CONFIG_T::binary1>::template value<element1_t, CONFIG_T::n_chan1>(left.x, c)) +
                   shifted<CONFIG_T::shift2>::of(
                       operand<CONFIG_T::binary2>::template value<element2_t, CONFIG_T::n_chan2>(right.x, c));
        }
        step++;
        if (step > last) {
            send<CONFIG_T::n_out>(y, res, sent);
            sent++;
            step = 0;
        }
    }
}

// A binary state along a sequence. A step begins when the state before it is there, so its loop over `pe` neurons at a
// time is within that over the steps. The first step looks at no state: none is left from the sequence before.
template <class IN, class OUT, typename CONFIG_T, class WEIGHT, class FIRST, class BOUND, int WORDS, int MASKS,
          int MASK_WORDS>
void recurrent(IN data, OUT res, const WEIGHT (&weight)[CONFIG_T::neuron_folds][WORDS],
               const WEIGHT (&mask)[MASKS][MASK_WORDS], const FIRST (&first)[CONFIG_T::neuron_folds][CONFIG_T::pe],
               const BOUND (&at_least)[CONFIG_T::neuron_folds][CONFIG_T::pe],
               const bool (&flip)[CONFIG_T::neuron_folds][CONFIG_T::pe]) {
    #pragma HLS INLINE
    #pragma HLS ARRAY_RESHAPE variable=weight complete dim=2
    #pragma HLS BIND_STORAGE variable=weight type=rom_1p
    #pragma HLS ARRAY_RESHAPE variable=mask complete dim=2
    #pragma HLS BIND_STORAGE variable=mask type=rom_1p
    #pragma HLS ARRAY_PARTITION variable=first complete dim=2
    #pragma HLS ARRAY_PARTITION variable=at_least complete dim=2
    #pragma HLS ARRAY_PARTITION variable=flip complete dim=2
    typedef typename element_of<IN>::type element_t;
    typedef typename CONFIG_T::accum_t accum_t;
    static const int n = CONFIG_T::n_out, words = WORDS / CONFIG_T::pe;
    results<true, CONFIG_T> state, next;
    #pragma HLS ARRAY_PARTITION variable=state.block complete dim=0
    #pragma HLS ARRAY_PARTITION variable=next.block complete dim=0
    for (int fold = 0; fold < CONFIG_T::neuron_folds; fold++) {
        #pragma HLS UNROLL
        state.block[fold] = 0;
    }
    for (int t = 0; t < CONFIG_T::n_pixels; t++) {
        element_t x[CONFIG_T::n_elem];
        #pragma HLS ARRAY_PARTITION variable=x complete
        receive<CONFIG_T::n_elem>(data, t, x);
        for (int fold = 0; fold < CONFIG_T::neuron_folds; fold++) {
            #pragma HLS PIPELINE II=1
            ap_uint<1> result[CONFIG_T::pe];
            #pragma HLS ARRAY_PARTITION variable=result complete
            for (int i = 0; i < CONFIG_T::pe; i++) {
                #pragma HLS UNROLL
                const int c = fold * CONFIG_T::pe + i;
                accum_t sum = operand<CONFIG_T::binary>::template value<element_t, CONFIG_T::n_chan>(x, c < n ? c : 0);
                ap_uint<1> differ[n];
                #pragma HLS ARRAY_PARTITION variable=differ complete
                for (int k = 0; k < n; k++) {
                    #pragma HLS UNROLL
                    differ[k] = bit(state.block[k / CONFIG_T::pe], k % CONFIG_T::pe) ^
                                ap_uint<1>(weight[fold][i * words + k / 64] >> k % 64 & 1);
                    if (CONFIG_T::ternary)
                        differ[k] = differ[k] & ap_uint<1>(mask[fold][i * words + k / 64] >> k % 64 & 1);
                }
                const accum_t fewer = ones<n>::among(differ);
                if (t > 0)
                    sum = sum - accum_t(shifted<CONFIG_T::shift + 1>::of(fewer));
                result[i] = sum >= (t > 0 ? accum_t(at_least[fold][i]) : accum_t(first[fold][i]));
                result[i] = result[i] ^ ap_uint<1>(flip[fold][i]);
            }
            next.set(fold, result);
        }
        for (int fold = 0; fold < CONFIG_T::neuron_folds; fold++) {
            #pragma HLS UNROLL
            state.block[fold] = next.block[fold];
        }
        if (!CONFIG_T::last || t == CONFIG_T::n_pixels - 1)
            next.template write<OUT>(res, CONFIG_T::last ? 0 : t);
    }
}

} // namespace packed

// --- the processes: arrays (io_parallel) or streams (io_stream)

#define PACKED_PROCESS(NAME, KERNEL)                                                                                     \
    template <class data_T, class res_T, typename CONFIG_T, class... CONSTANTS>                                          \
    void NAME(const data_T *data, res_T *res, const CONSTANTS &...constants) {                                           \
        packed::KERNEL<const data_T *, res_T *, CONFIG_T>(data, res, constants...);                                      \
    }                                                                                                                    \
    template <class data_T, class res_T, typename CONFIG_T, class... CONSTANTS>                                          \
    void NAME(hls::stream<data_T> &data, hls::stream<res_T> &res, const CONSTANTS &...constants) {                       \
        packed::KERNEL<hls::stream<data_T> &, hls::stream<res_T> &, CONFIG_T>(data, res, constants...);                  \
    }

PACKED_PROCESS(packed_folded, matrix_folded)
PACKED_PROCESS(packed_unrolled, matrix_unrolled)
PACKED_PROCESS(packed_pool, pool)
PACKED_PROCESS(packed_each, each)
PACKED_PROCESS(packed_recurrent, recurrent)
#undef PACKED_PROCESS

template <class data1_T, class data2_T, class res_T, typename CONFIG_T>
void packed_add(const data1_T *data1, const data2_T *data2, res_T *res) {
    packed::add<const data1_T *, const data2_T *, res_T *, CONFIG_T>(data1, data2, res);
}

template <class data1_T, class data2_T, class res_T, typename CONFIG_T>
void packed_add(hls::stream<data1_T> &data1, hls::stream<data2_T> &data2, hls::stream<res_T> &res) {
    packed::add<hls::stream<data1_T> &, hls::stream<data2_T> &, hls::stream<res_T> &, CONFIG_T>(data1, data2, res);
}

} // namespace nnet

#endif
