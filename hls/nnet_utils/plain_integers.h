#ifndef PLAIN_INTEGERS_H_
#define PLAIN_INTEGERS_H_

// Plain integers, as the Network has them (bipolar values are -1 and +1), to and from the types of this project.
// For simulation only: the test bench, the C-simulation and the tracing of layers.

#include "ap_int.h"
#include "hls_stream.h"
#include "nnet_types.h"

namespace plain {

// CHANNELS values as that many integers.
template <int CHANNELS> struct integer {
    static const int channels = CHANNELS;
    static const int elements = CHANNELS;

    template <class T> static void store(const long long *values, T *data) {
        for (int c = 0; c < CHANNELS; c++)
            data[c] = values[c];
    }

    template <class T> static void load(const T *data, long long *values) {
        for (int c = 0; c < CHANNELS; c++)
            values[c] = data[c].to_int64();
    }
};

// CHANNELS bipolar values as that many single bits.
template <int CHANNELS> struct sign {
    static const int channels = CHANNELS;
    static const int elements = CHANNELS;

    template <class T> static void store(const long long *values, T *data) {
        for (int c = 0; c < CHANNELS; c++)
            data[c] = values[c] > 0;
    }

    template <class T> static void load(const T *data, long long *values) {
        for (int c = 0; c < CHANNELS; c++)
            values[c] = data[c] == 1 ? 1 : -1;
    }
};

// CHANNELS bipolar values as bits of words: channel c is bit c % 64 of word c / 64.
template <int CHANNELS> struct packed {
    static const int channels = CHANNELS;
    static const int elements = (CHANNELS + 63) / 64;

    template <class T> static void store(const long long *values, T *data) {
        for (int e = 0; e < elements; e++) {
            unsigned long long word = 0;
            for (int c = e * 64; c < CHANNELS && c < e * 64 + 64; c++)
                word |= (unsigned long long)(values[c] > 0) << c % 64;
            data[e] = word;
        }
    }

    template <class T> static void load(const T *data, long long *values) {
        for (int c = 0; c < CHANNELS; c++)
            values[c] = data[c / 64].to_uint64() >> c % 64 & 1 ? 1 : -1;
    }
};

template <class codec, class T> void store(const long long *values, T *data, int pixels) {
    for (int p = 0; p < pixels; p++)
        codec::store(values + p * codec::channels, data + p * codec::elements);
}

template <class codec, class T> void load(const T *data, long long *values, int pixels) {
    for (int p = 0; p < pixels; p++)
        codec::load(data + p * codec::elements, values + p * codec::channels);
}

template <class codec, class T> void store(const long long *values, hls::stream<T> &data, int pixels) {
    for (int p = 0; p < pixels; p++) {
        T packet;
        codec::store(values + p * codec::channels, packet.data);
        data.write(packet);
    }
}

template <class codec, class T> void load(hls::stream<T> &data, long long *values, int pixels) {
    for (int p = 0; p < pixels; p++) {
        T packet = data.read();
        codec::load(packet.data, values + p * codec::channels);
    }
}

// Where the next traced layer goes; null while nobody asks for the layers.
template <class T> struct trace_state { static long long *cursor; };
template <class T> long long *trace_state<T>::cursor = 0;

template <class codec, class T> void trace(T *data, int pixels) {
    long long *&cursor = trace_state<void>::cursor;
    if (!cursor)
        return;
    load<codec>(data, cursor, pixels);
    cursor += pixels * codec::channels;
}

template <class codec, class T> void trace(hls::stream<T> &data, int pixels) {
    long long *&cursor = trace_state<void>::cursor;
    if (!cursor)
        return;
    for (int p = 0; p < pixels; p++) {
        T packet = data.read();
        codec::load(packet.data, cursor + p * codec::channels);
        data.write(packet);
    }
    cursor += pixels * codec::channels;
}

} // namespace plain

#endif
