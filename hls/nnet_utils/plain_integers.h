#ifndef PLAIN_INTEGERS_H_
#define PLAIN_INTEGERS_H_

// Plain integers, as the Network has them (bipolar values are -1 and +1), to and from the types of this project.
// For simulation only: the test bench, the C-simulation and the tracing of layers.

#include "ap_int.h"
#include "hls_stream.h"
#include "nnet_types.h"

namespace plain {

// How many vectors a variable holds, and their values: one, or many where lanes/ap_int.h takes the vendor's place.
#ifdef AP_LANES
static const int lanes = AP_LANES;
template <class T> long long get(const T &x, int lane) { return x.get(lane); }
template <class T> void put(T &x, int lane, long long value) { x.put(lane, value); }
#else
static const int lanes = 1;
template <class T> long long get(const T &x, int) { return x.to_int64(); }
template <class T> void put(T &x, int, long long value) { x = value; }
#endif

// CHANNELS values as that many integers.
template <int CHANNELS> struct integer {
    static const int channels = CHANNELS;

    template <class T> static void store(const long long *values, T *data, int lane) {
        for (int c = 0; c < CHANNELS; c++)
            put(data[c], lane, values[c]);
    }

    template <class T> static void load(const T *data, long long *values, int lane) {
        for (int c = 0; c < CHANNELS; c++)
            values[c] = get(data[c], lane);
    }
};

// CHANNELS bipolar values as that many single bits.
template <int CHANNELS> struct sign {
    static const int channels = CHANNELS;

    template <class T> static void store(const long long *values, T *data, int lane) {
        for (int c = 0; c < CHANNELS; c++)
            put(data[c], lane, values[c] > 0);
    }

    template <class T> static void load(const T *data, long long *values, int lane) {
        for (int c = 0; c < CHANNELS; c++)
            values[c] = get(data[c], lane) == 1 ? 1 : -1;
    }
};

// CHANNELS bipolar values as bits of words: channel c is bit c % 64 of word c / 64.
template <int CHANNELS> struct packed {
    static const int channels = CHANNELS;

    template <class T> static void store(const long long *values, T *data, int lane) {
        for (int c = 0; c < CHANNELS; c += 64) {
            unsigned long long word = 0;
            for (int b = 0; b < 64 && c + b < CHANNELS; b++)
                word |= (unsigned long long)(values[c + b] > 0) << b;
            put(data[c / 64], lane, (long long)word);
        }
    }

    template <class T> static void load(const T *data, long long *values, int lane) {
        for (int c = 0; c < CHANNELS; c += 64) {
            const unsigned long long word = (unsigned long long)get(data[c / 64], lane);
            for (int b = 0; b < 64 && c + b < CHANNELS; b++)
                values[c + b] = word >> b & 1 ? 1 : -1;
        }
    }
};

template <class codec> struct elements_of { static const int count = codec::channels; };
template <int CHANNELS> struct elements_of<packed<CHANNELS> > { static const int count = (CHANNELS + 63) / 64; };

// Each of `vectors` vectors, no more than `lanes`, has its values one after the other.
template <class codec, class T> void store(const long long *values, int vectors, T *data, int pixels) {
    for (int p = 0; p < pixels; p++)
        for (int v = 0; v < vectors; v++)
            codec::store(values + (v * pixels + p) * codec::channels, data + p * elements_of<codec>::count, v);
}

template <class codec, class T> void load(const T *data, long long *values, int vectors, int pixels) {
    for (int p = 0; p < pixels; p++)
        for (int v = 0; v < vectors; v++)
            codec::load(data + p * elements_of<codec>::count, values + (v * pixels + p) * codec::channels, v);
}

template <class codec, class T> void store(const long long *values, int vectors, hls::stream<T> &data, int pixels) {
    for (int p = 0; p < pixels; p++) {
        T packet = T();
        for (int v = 0; v < vectors; v++)
            codec::store(values + (v * pixels + p) * codec::channels, packet.data, v);
        data.write(packet);
    }
}

template <class codec, class T> void load(hls::stream<T> &data, long long *values, int vectors, int pixels) {
    for (int p = 0; p < pixels; p++) {
        T packet = data.read();
        for (int v = 0; v < vectors; v++)
            codec::load(packet.data, values + (v * pixels + p) * codec::channels, v);
    }
}

// Where the next traced layer goes, one layer of all `vectors` vectors after the other; null while nobody asks for them.
template <class T> struct trace_state {
    static long long *cursor;
    static int vectors;
};
template <class T> long long *trace_state<T>::cursor = 0;
template <class T> int trace_state<T>::vectors = 0;

template <class codec, class T> void trace(T *data, int pixels) {
    typedef trace_state<void> state;
    if (!state::cursor)
        return;
    load<codec>(data, state::cursor, state::vectors, pixels);
    state::cursor += state::vectors * pixels * codec::channels;
}

template <class codec, class T> void trace(hls::stream<T> &data, int pixels) {
    typedef trace_state<void> state;
    if (!state::cursor)
        return;
    for (int p = 0; p < pixels; p++) {
        T packet = data.read();
        for (int v = 0; v < state::vectors; v++)
            codec::load(packet.data, state::cursor + (v * pixels + p) * codec::channels, v);
        data.write(packet);
    }
    state::cursor += state::vectors * pixels * codec::channels;
}

} // namespace plain

#endif
