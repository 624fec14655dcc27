#ifndef NNET_PACKED_STREAM_H_
#define NNET_PACKED_STREAM_H_

// io_stream: the layers of nnet_packed.h on streams of pixels, one packet of words or integers per pixel.

#include "hls_stream.h"
#include "nnet_packed.h"
#include "nnet_types.h"

namespace nnet {

namespace packed {

// Collect N elements, which may come in several packets (a flattened operand).
template <int N, class packet_T> void gather(hls::stream<packet_T> &data, typename packet_T::value_type x[N]) {
    #pragma HLS INLINE
Packets:
    for (int p = 0; p < N / int(packet_T::size); p++) {
        #pragma HLS PIPELINE
        packet_T packet = data.read();
    Elements:
        for (int e = 0; e < int(packet_T::size); e++) {
            #pragma HLS UNROLL
            x[p * packet_T::size + e] = packet[e];
        }
    }
}

template <class packet_T> void send(const typename packet_T::value_type x[packet_T::size], hls::stream<packet_T> &res) {
    #pragma HLS INLINE
    packet_T packet;
    PRAGMA_DATA_PACK(packet)
Elements:
    for (int e = 0; e < int(packet_T::size); e++) {
        #pragma HLS UNROLL
        packet[e] = x[e];
    }
    res.write(packet);
}

// The last kernel_height - 1 rows and the current window of a padded image that arrives pixel by pixel.
template <class T, typename CONFIG_T> struct sliding_window {
    static const int rows = CONFIG_T::kernel_height > 1 ? int(CONFIG_T::kernel_height) - 1 : 1;
    static const int width = CONFIG_T::in_width + CONFIG_T::pad_left + CONFIG_T::pad_right;

    T lines[rows][width][CONFIG_T::n_elem];
    T window[CONFIG_T::n_taps * CONFIG_T::n_elem];

    void push(const T pixel[CONFIG_T::n_elem], int column) {
        #pragma HLS INLINE
        static const int height = CONFIG_T::kernel_height, last = CONFIG_T::kernel_width - 1;
    Elements:
        for (int e = 0; e < CONFIG_T::n_elem; e++) {
            #pragma HLS UNROLL
        Rows:
            for (int ky = 0; ky < height; ky++) {
                #pragma HLS UNROLL
            Shift:
                for (int kx = 0; kx < last; kx++) {
                    #pragma HLS UNROLL
                    at(ky, kx, e) = at(ky, kx + 1, e);
                }
                at(ky, last, e) = ky < height - 1 ? lines[ky][column][e] : pixel[e];
                if (ky > 0)
                    lines[ky - 1][column][e] = at(ky, last, e);
            }
        }
    }

    T &at(int ky, int kx, int e) {
        #pragma HLS INLINE
        return window[(ky * CONFIG_T::kernel_width + kx) * CONFIG_T::n_elem + e];
    }
};

// Counts down to the next position at which the window, moving by one, stands on the stride.
template <int KERNEL, int STRIDE> struct countdown {
    int left;
    void restart() { left = KERNEL - 1; }
    void step() { left = left == 0 ? STRIDE - 1 : left - 1; }
};

} // namespace packed

template <class data_T, class res_T, typename CONFIG_T>
void packed_dense(hls::stream<data_T> &data, hls::stream<res_T> &res,
                  const word_t weight[][CONFIG_T::n_taps * CONFIG_T::n_words], const word_t mask[][CONFIG_T::n_masks],
                  const unsigned count[][CONFIG_T::n_counts]) {
    typename data_T::value_type x[CONFIG_T::n_taps * CONFIG_T::n_elem];
    #pragma HLS ARRAY_PARTITION variable=x complete
    typename res_T::value_type acc[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=acc complete
    bool valid[CONFIG_T::n_taps]; // never read: a dense layer has no padding
    packed::gather<CONFIG_T::n_taps * CONFIG_T::n_elem>(data, x);
    packed::neurons<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(x, valid, acc, weight, mask,
                                                                                     count);
    packed::send(acc, res);
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_conv2d(hls::stream<data_T> &data, hls::stream<res_T> &res,
                   const word_t weight[][CONFIG_T::n_taps * CONFIG_T::n_words], const word_t mask[][CONFIG_T::n_masks],
                   const unsigned count[][CONFIG_T::n_counts]) {
    typedef typename data_T::value_type element_t;
    static const int height = CONFIG_T::in_height + CONFIG_T::pad_top + CONFIG_T::pad_bottom;
    static const int width = CONFIG_T::in_width + CONFIG_T::pad_left + CONFIG_T::pad_right;
    packed::sliding_window<element_t, CONFIG_T> image;
    #pragma HLS ARRAY_PARTITION variable=image.window complete
    #pragma HLS ARRAY_PARTITION variable=image.lines complete dim=1
    #pragma HLS ARRAY_RESHAPE variable=image.lines complete dim=3
    packed::countdown<CONFIG_T::kernel_height, CONFIG_T::stride_height> row;
    packed::countdown<CONFIG_T::kernel_width, CONFIG_T::stride_width> column;
    row.restart();
Rows:
    for (int y = 0; y < height; y++) {
        column.restart();
    Columns:
        for (int x = 0; x < width; x++) {
            if (CONFIG_T::strategy == nnet::latency) {
                #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            }
            const int top = CONFIG_T::pad_top, left = CONFIG_T::pad_left; // plain ints: no unsigned differences
            const bool inside =
                y >= top && y < top + int(CONFIG_T::in_height) && x >= left && x < left + int(CONFIG_T::in_width);
            element_t pixel[CONFIG_T::n_elem];
            #pragma HLS ARRAY_PARTITION variable=pixel complete
            if (inside) {
                packed::gather<CONFIG_T::n_elem>(data, pixel);
            } else {
            Padding:
                for (int e = 0; e < CONFIG_T::n_elem; e++) {
                    #pragma HLS UNROLL
                    pixel[e] = packed::operand<CONFIG_T::binary>::template pad<element_t, CONFIG_T>(e);
                }
            }
            image.push(pixel, x);
            if (row.left == 0 && column.left == 0) {
                bool valid[CONFIG_T::n_taps];
                #pragma HLS ARRAY_PARTITION variable=valid complete
            Valid:
                for (int t = 0; t < CONFIG_T::n_taps; t++) {
                    #pragma HLS UNROLL
                    const int ty = y - (int(CONFIG_T::kernel_height) - 1) + t / int(CONFIG_T::kernel_width) - top;
                    const int tx = x - (int(CONFIG_T::kernel_width) - 1) + t % int(CONFIG_T::kernel_width) - left;
                    valid[t] = CONFIG_T::pad_value != 0 || (ty >= 0 && ty < int(CONFIG_T::in_height) && tx >= 0 &&
                                                            tx < int(CONFIG_T::in_width));
                }
                typename res_T::value_type acc[CONFIG_T::n_out];
                #pragma HLS ARRAY_PARTITION variable=acc complete
                packed::neurons<element_t, typename res_T::value_type, CONFIG_T>(image.window, valid, acc, weight, mask,
                                                                                 count);
                packed::send(acc, res);
            }
            column.step();
        }
        row.step();
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_max_pool2d(hls::stream<data_T> &data, hls::stream<res_T> &res) {
    typedef typename data_T::value_type element_t;
    packed::sliding_window<element_t, CONFIG_T> image;
    #pragma HLS ARRAY_PARTITION variable=image.window complete
    #pragma HLS ARRAY_PARTITION variable=image.lines complete dim=1
    #pragma HLS ARRAY_RESHAPE variable=image.lines complete dim=3
    packed::countdown<CONFIG_T::kernel_height, CONFIG_T::stride_height> row;
    packed::countdown<CONFIG_T::kernel_width, CONFIG_T::stride_width> column;
    row.restart();
Rows:
    for (int y = 0; y < CONFIG_T::in_height; y++) {
        column.restart();
    Columns:
        for (int x = 0; x < CONFIG_T::in_width; x++) {
            #pragma HLS PIPELINE
            element_t pixel[CONFIG_T::n_elem];
            #pragma HLS ARRAY_PARTITION variable=pixel complete
            packed::gather<CONFIG_T::n_elem>(data, pixel);
            image.push(pixel, x);
            if (row.left == 0 && column.left == 0) {
                element_t best[CONFIG_T::n_elem];
                #pragma HLS ARRAY_PARTITION variable=best complete
                packed::largest<element_t, CONFIG_T>(image.window, best);
                packed::send(best, res);
            }
            column.step();
        }
        row.step();
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_sum_pool2d(hls::stream<data_T> &data, hls::stream<res_T> &res) {
    typedef typename data_T::value_type element_t;
    packed::sliding_window<element_t, CONFIG_T> image;
    #pragma HLS ARRAY_PARTITION variable=image.window complete
    #pragma HLS ARRAY_PARTITION variable=image.lines complete dim=1
    #pragma HLS ARRAY_RESHAPE variable=image.lines complete dim=3
    packed::countdown<CONFIG_T::kernel_height, CONFIG_T::stride_height> row;
    packed::countdown<CONFIG_T::kernel_width, CONFIG_T::stride_width> column;
    row.restart();
Rows:
    for (int y = 0; y < CONFIG_T::in_height; y++) {
        column.restart();
    Columns:
        for (int x = 0; x < CONFIG_T::in_width; x++) {
            #pragma HLS PIPELINE
            element_t pixel[CONFIG_T::n_elem];
            #pragma HLS ARRAY_PARTITION variable=pixel complete
            packed::gather<CONFIG_T::n_elem>(data, pixel);
            image.push(pixel, x);
            if (row.left == 0 && column.left == 0) {
                typename res_T::value_type sum[CONFIG_T::n_chan];
                #pragma HLS ARRAY_PARTITION variable=sum complete
                packed::window_sum<element_t, typename res_T::value_type, CONFIG_T>(image.window, sum);
                packed::send(sum, res);
            }
            column.step();
        }
        row.step();
    }
}

template <class data1_T, class data2_T, class res_T, typename CONFIG_T>
void packed_add(hls::stream<data1_T> &data1, hls::stream<data2_T> &data2, hls::stream<res_T> &res) {
Pixels:
    for (int p = 0; p < CONFIG_T::n_pixels; p++) {
        typename data1_T::value_type x[CONFIG_T::n_in1];
        #pragma HLS ARRAY_PARTITION variable=x complete
        typename data2_T::value_type y[CONFIG_T::n_in2];
        #pragma HLS ARRAY_PARTITION variable=y complete
        typename res_T::value_type sum[CONFIG_T::n_out];
        #pragma HLS ARRAY_PARTITION variable=sum complete
        packed::gather<CONFIG_T::n_in1>(data1, x);
        packed::gather<CONFIG_T::n_in2>(data2, y);
        packed::add_pixel<typename data1_T::value_type, typename data2_T::value_type, typename res_T::value_type,
                          CONFIG_T>(x, y, sum);
        packed::send(sum, res);
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_threshold(hls::stream<data_T> &data, hls::stream<res_T> &res, const long long threshold[CONFIG_T::n_out],
                      const bool flip[CONFIG_T::n_out]) {
    #pragma HLS ARRAY_PARTITION variable=threshold complete
    #pragma HLS ARRAY_PARTITION variable=flip complete
Pixels:
    for (int p = 0; p < CONFIG_T::n_pixels; p++) {
        typename data_T::value_type x[CONFIG_T::n_in];
        #pragma HLS ARRAY_PARTITION variable=x complete
        typename res_T::value_type words[CONFIG_T::n_out_words];
        #pragma HLS ARRAY_PARTITION variable=words complete
        packed::gather<CONFIG_T::n_in>(data, x);
        packed::threshold_pixel<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(x, words, threshold,
                                                                                                  flip);
        packed::send(words, res);
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_multi_threshold(hls::stream<data_T> &data, hls::stream<res_T> &res,
                            const long long threshold[][CONFIG_T::n_levels], const bool flip[CONFIG_T::n_out]) {
    #pragma HLS ARRAY_PARTITION variable=threshold complete dim=0
    #pragma HLS ARRAY_PARTITION variable=flip complete
Pixels:
    for (int p = 0; p < CONFIG_T::n_pixels; p++) {
        typename data_T::value_type x[CONFIG_T::n_in];
        #pragma HLS ARRAY_PARTITION variable=x complete
        typename res_T::value_type y[CONFIG_T::n_out];
        #pragma HLS ARRAY_PARTITION variable=y complete
        packed::gather<CONFIG_T::n_in>(data, x);
        packed::multi_threshold_pixel<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(x, y, threshold,
                                                                                                        flip);
        packed::send(y, res);
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void packed_affine(hls::stream<data_T> &data, hls::stream<res_T> &res, const long long scale[CONFIG_T::n_out],
                   const long long offset[CONFIG_T::n_out]) {
    #pragma HLS ARRAY_PARTITION variable=scale complete
    #pragma HLS ARRAY_PARTITION variable=offset complete
    typename data_T::value_type x[CONFIG_T::n_in];
    #pragma HLS ARRAY_PARTITION variable=x complete
    typename res_T::value_type y[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=y complete
    packed::gather<CONFIG_T::n_in>(data, x);
    packed::affine_pixel<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(x, y, scale, offset);
    packed::send(y, res);
}

} // namespace nnet

#endif
