#ifndef NNET_PACKED_H_
#define NNET_PACKED_H_

// Binary layers on packed words.
//
// Bipolar values travel as words: channel c of a pixel is bit c % 64 of the pixel's word c / 64, 1 for +1 and 0 for -1.
// Unused bits are 0, in activations and in weights, so that they never differ. For bipolar x and w of length n,
//     dot(x, w) = n - 2 * popcount(x ^ w),
// and with a mask m (ternary weights) or padded taps, only the positions that count enter n and the popcount.

#include "ap_int.h"
#include "nnet_common.h"

namespace nnet {

typedef unsigned long long word_t; // 64 channels' weights or mask

namespace packed {

// Number of ones among the first N bits, as a balanced tree over 6-bit look-ups: each of a look-up's three result bits is
// one 6-input LUT. Widths are left to the tool, which knows them from the masks: 3 bits here, one more per level.
template <int N> unsigned popcount(word_t x) {
    #pragma HLS INLINE
    static const unsigned char ones[64] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 1, 2, 2, 3, 2, 3,
                                           3, 4, 2, 3, 3, 4, 3, 4, 4, 5, 1, 2, 2, 3, 2, 3, 3, 4, 2, 3, 3, 4,
                                           3, 4, 4, 5, 2, 3, 3, 4, 3, 4, 4, 5, 3, 4, 4, 5, 4, 5, 5, 6};
    #pragma HLS ARRAY_PARTITION variable=ones complete
    static const int groups = (N + 5) / 6;
    unsigned count[groups];
    #pragma HLS ARRAY_PARTITION variable=count complete
CountGroups:
    for (int g = 0; g < groups; g++) {
        #pragma HLS UNROLL
        count[g] = ones[(x >> 6 * g) & 63] & 7;
    }
    Op_add<unsigned> add;
    return reduce<unsigned, groups, Op_add<unsigned>>(count, add);
}

// The positions of word `element` of a pixel that hold channels.
template <typename CONFIG_T> word_t channels_of(int element) {
    #pragma HLS INLINE
    return element == CONFIG_T::n_words - 1 && CONFIG_T::n_chan % 64 ? (word_t(1) << CONFIG_T::n_chan % 64) - 1
                                                                      : ~word_t(0);
}

// What differs between bipolar and integer operands.
template <bool binary> struct operand;

template <> struct operand<true> {
    template <class T, typename CONFIG_T>
    static typename CONFIG_T::accum_t dot(const T x[CONFIG_T::n_taps * CONFIG_T::n_elem],
                                          const bool valid[CONFIG_T::n_taps],
                                          const word_t weight[CONFIG_T::n_taps * CONFIG_T::n_words],
                                          const word_t mask[], const unsigned count[]) {
        #pragma HLS INLINE
        unsigned differing[CONFIG_T::n_taps * CONFIG_T::n_words];
        #pragma HLS ARRAY_PARTITION variable=differing complete
        unsigned length = CONFIG_T::padded || CONFIG_T::ternary ? 0 : CONFIG_T::n_taps * CONFIG_T::n_chan;
    Taps:
        for (int t = 0; t < CONFIG_T::n_taps; t++) {
            #pragma HLS UNROLL
            const bool counts = !CONFIG_T::padded || valid[t];
        Words:
            for (int e = 0; e < CONFIG_T::n_words; e++) {
                #pragma HLS UNROLL
                const int i = t * CONFIG_T::n_words + e;
                word_t different = word_t(x[i]) ^ weight[i];
                if (CONFIG_T::ternary)
                    different &= mask[i];
                differing[i] = counts ? popcount<T::width>(different) : 0;
            }
            if (CONFIG_T::padded && counts)
                length += CONFIG_T::ternary ? count[t] : CONFIG_T::n_chan;
        }
        if (CONFIG_T::ternary && !CONFIG_T::padded)
            length = count[0];
        Op_add<unsigned> add;
        return int(length - 2 * reduce<unsigned, CONFIG_T::n_taps * CONFIG_T::n_words, Op_add<unsigned>>(differing, add));
    }

    template <class T, typename CONFIG_T> static T pad(int element) {
        #pragma HLS INLINE
        return CONFIG_T::pad_value > 0 ? T(channels_of<CONFIG_T>(element)) : T(0);
    }

    template <class T> static T larger(T a, T b) {
        #pragma HLS INLINE
        return a | b;
    }

    // Value i of pixels of n_chan channels each.
    template <class T, int n_chan> static ap_int<2> value(const T x[], int i) {
        #pragma HLS INLINE
        const int c = i % n_chan;
        const word_t word = x[i / n_chan * ((n_chan + 63) / 64) + c / 64];
        return (word >> c % 64) & 1 ? 1 : -1;
    }
};

template <> struct operand<false> {
    template <class T, typename CONFIG_T>
    static typename CONFIG_T::accum_t dot(const T x[CONFIG_T::n_taps * CONFIG_T::n_elem], const bool[],
                                          const word_t weight[CONFIG_T::n_taps * CONFIG_T::n_words],
                                          const word_t mask[], const unsigned[]) {
        #pragma HLS INLINE
        typedef typename CONFIG_T::sum_t sum_t;
        sum_t term[CONFIG_T::n_taps * CONFIG_T::n_chan];
        #pragma HLS ARRAY_PARTITION variable=term complete
    Taps:
        for (int t = 0; t < CONFIG_T::n_taps; t++) {
            #pragma HLS UNROLL
        Channels:
            for (int c = 0; c < CONFIG_T::n_chan; c++) {
                #pragma HLS UNROLL
                const int word = t * CONFIG_T::n_words + c / 64;
                const sum_t value = x[t * CONFIG_T::n_chan + c];
                sum_t product = (weight[word] >> c % 64) & 1 ? value : -value;
                if (CONFIG_T::ternary && !((mask[word] >> c % 64) & 1))
                    product = 0;
                term[t * CONFIG_T::n_chan + c] = product;
            }
        }
        Op_add<sum_t> add;
        return reduce<sum_t, CONFIG_T::n_taps * CONFIG_T::n_chan, Op_add<sum_t>>(term, add);
    }

    template <class T, typename CONFIG_T> static T pad(int) {
        #pragma HLS INLINE
        return 0;
    }

    template <class T> static T larger(T a, T b) {
        #pragma HLS INLINE
        return a > b ? a : b;
    }

    template <class T, int> static T value(const T x[], int i) {
        #pragma HLS INLINE
        return x[i];
    }
};

// All neurons of one window at once; the tool may share operators over reuse_factor cycles.
template <class data_T, class res_T, typename CONFIG_T>
void neurons_latency(const data_T x[CONFIG_T::n_taps * CONFIG_T::n_elem], const bool valid[CONFIG_T::n_taps],
                     res_T res[CONFIG_T::n_out], const word_t weight[][CONFIG_T::n_taps * CONFIG_T::n_words],
                     const word_t mask[][CONFIG_T::n_masks], const unsigned count[][CONFIG_T::n_counts]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    #pragma HLS ARRAY_PARTITION variable=weight complete dim=0
    #pragma HLS ARRAY_PARTITION variable=mask complete dim=0
    #pragma HLS ARRAY_PARTITION variable=count complete dim=0
Neurons:
    for (int o = 0; o < CONFIG_T::n_out; o++) {
        #pragma HLS UNROLL
        const int row = CONFIG_T::ternary ? o : 0;
        res[o] = operand<CONFIG_T::binary>::template dot<data_T, CONFIG_T>(x, valid, weight[o], mask[row], count[row]);
    }
}

// reuse_factor neurons on each of n_out / reuse_factor processing elements, one after the other; a row of weights per
// cycle and element comes from memory.
template <class data_T, class res_T, typename CONFIG_T>
void neurons_resource(const data_T x[CONFIG_T::n_taps * CONFIG_T::n_elem], const bool valid[CONFIG_T::n_taps],
                      res_T res[CONFIG_T::n_out], const word_t weight[][CONFIG_T::n_taps * CONFIG_T::n_words],
                      const word_t mask[][CONFIG_T::n_masks], const unsigned count[][CONFIG_T::n_counts]) {
    static const int elements = DIV_ROUNDUP(CONFIG_T::n_out, CONFIG_T::reuse_factor);
    #pragma HLS ARRAY_RESHAPE variable=weight complete dim=2
    #pragma HLS ARRAY_PARTITION variable=weight block factor=elements dim=1
    #pragma HLS ARRAY_RESHAPE variable=mask complete dim=2
    #pragma HLS ARRAY_PARTITION variable=mask block factor=elements dim=1
    #pragma HLS ARRAY_RESHAPE variable=count complete dim=2
    #pragma HLS ARRAY_PARTITION variable=count block factor=elements dim=1
Reuse:
    for (int r = 0; r < CONFIG_T::reuse_factor; r++) {
        #pragma HLS PIPELINE II=1
    Elements:
        for (int e = 0; e < elements; e++) {
            #pragma HLS UNROLL
            const int o = e * CONFIG_T::reuse_factor + r;
            const int row = CONFIG_T::ternary ? o : 0;
            if (o < CONFIG_T::n_out)
                res[o] =
                    operand<CONFIG_T::binary>::template dot<data_T, CONFIG_T>(x, valid, weight[o], mask[row], count[row]);
        }
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void neurons(const data_T x[CONFIG_T::n_taps * CONFIG_T::n_elem], const bool valid[CONFIG_T::n_taps],
             res_T res[CONFIG_T::n_out], const word_t weight[][CONFIG_T::n_taps * CONFIG_T::n_words],
             const word_t mask[][CONFIG_T::n_masks], const unsigned count[][CONFIG_T::n_counts]) {
    #pragma HLS INLINE
    if (CONFIG_T::strategy == nnet::resource)
        neurons_resource<data_T, res_T, CONFIG_T>(x, valid, res, weight, mask, count);
    else
        neurons_latency<data_T, res_T, CONFIG_T>(x, valid, res, weight, mask, count);
}

// One pixel's channels to bits: 1 where x >= threshold, inverted where flip is set (for x <= threshold - 1).
template <class data_T, class res_T, typename CONFIG_T>
void threshold_pixel(const data_T x[CONFIG_T::n_in], res_T res[CONFIG_T::n_out_words],
                     const long long threshold[CONFIG_T::n_out], const bool flip[CONFIG_T::n_out]) {
    #pragma HLS INLINE
Words:
    for (int e = 0; e < CONFIG_T::n_out_words; e++) {
        #pragma HLS UNROLL
        word_t word = 0;
    Channels:
        for (int b = 0; b < 64; b++) {
            #pragma HLS UNROLL
            const int c = e * 64 + b;
            if (c < CONFIG_T::n_out) {
                const typename CONFIG_T::threshold_t at_least = threshold[c];
                const bool above = operand<CONFIG_T::binary>::template value<data_T, CONFIG_T::n_chan>(x, c) >= at_least;
                word |= word_t(above != flip[c]) << b;
            }
        }
        res[e] = word;
    }
}

// One pixel's channels to low + step * (number of thresholds passed): those that x reaches, or, where flip is set (for
// x <= threshold - 1), those that it does not.
template <class data_T, class res_T, typename CONFIG_T>
void multi_threshold_pixel(const data_T x[CONFIG_T::n_in], res_T res[CONFIG_T::n_out],
                           const long long threshold[][CONFIG_T::n_levels], const bool flip[CONFIG_T::n_out]) {
    #pragma HLS INLINE
Channels:
    for (int c = 0; c < CONFIG_T::n_out; c++) {
        #pragma HLS UNROLL
        unsigned reached[CONFIG_T::n_levels];
        #pragma HLS ARRAY_PARTITION variable=reached complete
    Levels:
        for (int l = 0; l < CONFIG_T::n_levels; l++) {
            #pragma HLS UNROLL
            const typename CONFIG_T::threshold_t at_least = threshold[c][l];
            reached[l] = operand<CONFIG_T::binary>::template value<data_T, CONFIG_T::n_chan>(x, c) >= at_least;
        }
        Op_add<unsigned> add;
        const int count = reduce<unsigned, CONFIG_T::n_levels, Op_add<unsigned>>(reached, add);
        res[c] = CONFIG_T::low + CONFIG_T::step * (flip[c] ? CONFIG_T::n_levels - count : count);
    }
}

// One pixel's channels of two operands, each bipolar or integer.
template <class data1_T, class data2_T, class res_T, typename CONFIG_T>
void add_pixel(const data1_T x[CONFIG_T::n_in1], const data2_T y[CONFIG_T::n_in2], res_T res[CONFIG_T::n_out]) {
    #pragma HLS INLINE
Channels:
    for (int c = 0; c < CONFIG_T::n_out; c++) {
        #pragma HLS UNROLL
        const typename CONFIG_T::sum_t a = operand<CONFIG_T::binary1>::template value<data1_T, CONFIG_T::n_chan1>(x, c);
        const typename CONFIG_T::sum_t b = operand<CONFIG_T::binary2>::template value<data2_T, CONFIG_T::n_chan2>(y, c);
        res[c] = a + b;
    }
}

// One pixel's channels times scale plus offset.
template <class data_T, class res_T, typename CONFIG_T>
void affine_pixel(const data_T x[CONFIG_T::n_in], res_T res[CONFIG_T::n_out], const long long scale[CONFIG_T::n_out],
                  const long long offset[CONFIG_T::n_out]) {
    #pragma HLS INLINE
Channels:
    for (int c = 0; c < CONFIG_T::n_out; c++) {
        #pragma HLS UNROLL
        const typename CONFIG_T::scale_t factor = scale[c];
        const typename CONFIG_T::offset_t term = offset[c];
        res[c] = operand<CONFIG_T::binary>::template value<data_T, CONFIG_T::n_chan>(x, c) * factor + term;
    }
}

// The largest of a window's pixels, channel by channel: the OR of bits.
template <class data_T, typename CONFIG_T>
void largest(const data_T window[CONFIG_T::n_taps * CONFIG_T::n_elem], data_T res[CONFIG_T::n_elem]) {
    #pragma HLS INLINE
Elements:
    for (int e = 0; e < CONFIG_T::n_elem; e++) {
        #pragma HLS UNROLL
        data_T best = window[e];
    Taps:
        for (int t = 1; t < CONFIG_T::n_taps; t++) {
            #pragma HLS UNROLL
            best = operand<CONFIG_T::binary>::larger(best, window[t * CONFIG_T::n_elem + e]);
        }
        res[e] = best;
    }
}

// The sum of a window's pixels, channel by channel.
template <class data_T, class res_T, typename CONFIG_T>
void window_sum(const data_T window[CONFIG_T::n_taps * CONFIG_T::n_elem], res_T res[CONFIG_T::n_chan]) {
    #pragma HLS INLINE
    typedef typename CONFIG_T::sum_t sum_t;
Channels:
    for (int c = 0; c < CONFIG_T::n_chan; c++) {
        #pragma HLS UNROLL
        sum_t term[CONFIG_T::n_taps];
        #pragma HLS ARRAY_PARTITION variable=term complete
    Taps:
        for (int t = 0; t < CONFIG_T::n_taps; t++) {
            #pragma HLS UNROLL
            term[t] =
                operand<CONFIG_T::binary>::template value<data_T, CONFIG_T::n_chan>(window, t * CONFIG_T::n_chan + c);
        }
        Op_add<sum_t> add;
        res[c] = reduce<sum_t, CONFIG_T::n_taps, Op_add<sum_t>>(term, add);
    }
}

// Copy the window whose first tap is at (y, x) of the operand; taps outside get the padding's value.
template <class data_T, typename CONFIG_T>
void fill_window(const data_T data[], int y, int x, data_T window[CONFIG_T::n_taps * CONFIG_T::n_elem],
                 bool valid[CONFIG_T::n_taps]) {
    #pragma HLS INLINE
Rows:
    for (int ky = 0; ky < CONFIG_T::kernel_height; ky++) {
        #pragma HLS UNROLL
    Columns:
        for (int kx = 0; kx < CONFIG_T::kernel_width; kx++) {
            #pragma HLS UNROLL
            const int iy = y + ky, ix = x + kx, t = ky * CONFIG_T::kernel_width + kx;
            const bool inside = iy >= 0 && iy < CONFIG_T::in_height && ix >= 0 && ix < CONFIG_T::in_width;
            valid[t] = inside || CONFIG_T::pad_value != 0;
        Elements:
            for (int e = 0; e < CONFIG_T::n_elem; e++) {
                #pragma HLS UNROLL
                window[t * CONFIG_T::n_elem + e] =
                    inside ? data[(iy * CONFIG_T::in_width + ix) * CONFIG_T::n_elem + e]
                           : operand<CONFIG_T::binary>::template pad<data_T, CONFIG_T>(e);
            }
        }
    }
}

} // namespace packed

// io_parallel: whole vectors in arrays.

template <class data_T, class res_T, typename CONFIG_T>
void packed_dense(const data_T data[CONFIG_T::n_taps * CONFIG_T::n_elem], res_T res[CONFIG_T::n_out],
                  const word_t weight[][CONFIG_T::n_taps * CONFIG_T::n_words], const word_t mask[][CONFIG_T::n_masks],
                  const unsigned count[][CONFIG_T::n_counts]) {
    #pragma HLS INLINE
    bool valid[CONFIG_T::n_taps]; // never read: a dense layer has no padding
    packed::neurons<data_T, res_T, CONFIG_T>(data, valid, res, weight, mask, count);
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_conv2d(const data_T data[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_elem],
                   res_T res[CONFIG_T::out_height * CONFIG_T::out_width * CONFIG_T::n_out],
                   const word_t weight[][CONFIG_T::n_taps * CONFIG_T::n_words], const word_t mask[][CONFIG_T::n_masks],
                   const unsigned count[][CONFIG_T::n_counts]) {
Rows:
    for (int y = 0; y < CONFIG_T::out_height; y++) {
    Columns:
        for (int x = 0; x < CONFIG_T::out_width; x++) {
            #pragma HLS LOOP_FLATTEN
            if (CONFIG_T::strategy == nnet::latency) {
                #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            }
            data_T window[CONFIG_T::n_taps * CONFIG_T::n_elem];
            #pragma HLS ARRAY_PARTITION variable=window complete
            bool valid[CONFIG_T::n_taps];
            #pragma HLS ARRAY_PARTITION variable=valid complete
            packed::fill_window<data_T, CONFIG_T>(data, y * CONFIG_T::stride_height - CONFIG_T::pad_top,
                                                  x * CONFIG_T::stride_width - CONFIG_T::pad_left, window, valid);
            packed::neurons<data_T, res_T, CONFIG_T>(
                window, valid, res + (y * CONFIG_T::out_width + x) * CONFIG_T::n_out, weight, mask, count);
        }
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_max_pool2d(const data_T data[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_elem],
                       res_T res[CONFIG_T::out_height * CONFIG_T::out_width * CONFIG_T::n_elem]) {
Rows:
    for (int y = 0; y < CONFIG_T::out_height; y++) {
    Columns:
        for (int x = 0; x < CONFIG_T::out_width; x++) {
            #pragma HLS LOOP_FLATTEN
            #pragma HLS PIPELINE
            data_T window[CONFIG_T::n_taps * CONFIG_T::n_elem];
            #pragma HLS ARRAY_PARTITION variable=window complete
            bool valid[CONFIG_T::n_taps];
            #pragma HLS ARRAY_PARTITION variable=valid complete
            packed::fill_window<data_T, CONFIG_T>(data, y * CONFIG_T::stride_height, x * CONFIG_T::stride_width, window,
                                                  valid);
            packed::largest<data_T, CONFIG_T>(window, res + (y * CONFIG_T::out_width + x) * CONFIG_T::n_elem);
        }
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_sum_pool2d(const data_T data[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_elem],
                       res_T res[CONFIG_T::out_height * CONFIG_T::out_width * CONFIG_T::n_chan]) {
Rows:
    for (int y = 0; y < CONFIG_T::out_height; y++) {
    Columns:
        for (int x = 0; x < CONFIG_T::out_width; x++) {
            #pragma HLS LOOP_FLATTEN
            #pragma HLS PIPELINE
            data_T window[CONFIG_T::n_taps * CONFIG_T::n_elem];
            #pragma HLS ARRAY_PARTITION variable=window complete
            bool valid[CONFIG_T::n_taps];
            #pragma HLS ARRAY_PARTITION variable=valid complete
            packed::fill_window<data_T, CONFIG_T>(data, y * CONFIG_T::stride_height, x * CONFIG_T::stride_width, window,
                                                  valid);
            packed::window_sum<data_T, res_T, CONFIG_T>(window, res + (y * CONFIG_T::out_width + x) * CONFIG_T::n_chan);
        }
    }
}

template <class data1_T, class data2_T, class res_T, typename CONFIG_T>
void packed_add(const data1_T data1[CONFIG_T::n_pixels * CONFIG_T::n_in1],
                const data2_T data2[CONFIG_T::n_pixels * CONFIG_T::n_in2],
                res_T res[CONFIG_T::n_pixels * CONFIG_T::n_out]) {
Pixels:
    for (int p = 0; p < CONFIG_T::n_pixels; p++) {
        #pragma HLS PIPELINE
        packed::add_pixel<data1_T, data2_T, res_T, CONFIG_T>(data1 + p * CONFIG_T::n_in1, data2 + p * CONFIG_T::n_in2,
                                                             res + p * CONFIG_T::n_out);
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_threshold(const data_T data[CONFIG_T::n_pixels * CONFIG_T::n_in],
                      res_T res[CONFIG_T::n_pixels * CONFIG_T::n_out_words], const long long threshold[CONFIG_T::n_out],
                      const bool flip[CONFIG_T::n_out]) {
    #pragma HLS ARRAY_PARTITION variable=threshold complete
    #pragma HLS ARRAY_PARTITION variable=flip complete
Pixels:
    for (int p = 0; p < CONFIG_T::n_pixels; p++) {
        #pragma HLS PIPELINE
        packed::threshold_pixel<data_T, res_T, CONFIG_T>(data + p * CONFIG_T::n_in, res + p * CONFIG_T::n_out_words,
                                                         threshold, flip);
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_multi_threshold(const data_T data[CONFIG_T::n_pixels * CONFIG_T::n_in],
                            res_T res[CONFIG_T::n_pixels * CONFIG_T::n_out],
                            const long long threshold[][CONFIG_T::n_levels], const bool flip[CONFIG_T::n_out]) {
    #pragma HLS ARRAY_PARTITION variable=threshold complete dim=0
    #pragma HLS ARRAY_PARTITION variable=flip complete
Pixels:
    for (int p = 0; p < CONFIG_T::n_pixels; p++) {
        #pragma HLS PIPELINE
        packed::multi_threshold_pixel<data_T, res_T, CONFIG_T>(data + p * CONFIG_T::n_in, res + p * CONFIG_T::n_out,
                                                               threshold, flip);
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_affine(const data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_out], const long long scale[CONFIG_T::n_out],
                   const long long offset[CONFIG_T::n_out]) {
    #pragma HLS PIPELINE
    #pragma HLS ARRAY_PARTITION variable=scale complete
    #pragma HLS ARRAY_PARTITION variable=offset complete
    packed::affine_pixel<data_T, res_T, CONFIG_T>(data, res, scale, offset);
}

} // namespace nnet

#endif
