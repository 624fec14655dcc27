#ifndef LANES_AP_INT_H_
#define LANES_AP_INT_H_

// ap_int and ap_uint for the C-simulation in bulk: every variable holds the values of AP_LANES vectors at once, one bit
// of all of them per machine word (bit slicing), so that one instruction computes a gate for all vectors.
//
// The sources of the project are compiled as they are, with this file in place of the vendor's. What it has is what
// they use, with the widths that the vendor's types have: the sum of two numbers is one bit wider, a difference is
// signed, an assignment keeps the lowest bits. A comparison is a bit per vector and no bool, so control flow that
// depends on data, for which hardware has no vector to choose by either, does not compile.

#define AP_LANES 256

namespace lanes {

typedef unsigned long long word __attribute__((vector_size(AP_LANES / 8), may_alias));

inline word all(bool bit) { return word{} - (unsigned long long)(bit); }

template <int W, bool S> struct number {
    static const int width = W;
    word bits[W];

    number() : bits() {}
    template <int V, bool R> number(const number<V, R> &x) { assign(x); }
    number(long long x) {
        for (int i = 0; i < W; i++)
            bits[i] = all(x >> (i < 63 ? i : 63) & 1);
    }

    template <int V, bool R> void assign(const number<V, R> &x) {
        for (int i = 0; i < W; i++)
            bits[i] = x.extended(i);
    }

    // Bit i of the number extended without end.
    word extended(int i) const { return i < W ? bits[i] : S ? bits[W - 1] : word{}; }

    number<1, false> operator[](int i) const {
        number<1, false> bit;
        bit.bits[0] = bits[i];
        return bit;
    }

    struct reference {
        word &bit;
        void operator=(const number<1, false> &x) { bit = x.bits[0]; }
    };
    reference operator[](int i) { return reference{bits[i]}; }

    number range(int high, int low) const {
        number part;
        for (int i = low; i <= high; i++)
            part.bits[i - low] = bits[i];
        return part;
    }

    long long get(int lane) const {
        unsigned long long value = 0;
        for (int i = 0; i < W; i++)
            value |= (part(i)[lane / 64] >> lane % 64 & 1) << i;
        const int unused = 64 - W;
        return S ? (long long)(value << unused) >> unused : (long long)value;
    }

    void put(int lane, long long value) {
        for (int i = 0; i < W; i++) {
            unsigned long long &of = const_cast<unsigned long long &>(part(i)[lane / 64]);
            of = (of & ~(1ull << lane % 64)) | (unsigned long long)(value >> i & 1) << lane % 64;
        }
    }

  private:
    // A word as 64 vectors each; a subscript of the vector type itself would copy the whole.
    const unsigned long long *part(int i) const { return reinterpret_cast<const unsigned long long *>(&bits[i]); }
};

constexpr int larger(int a, int b) { return a > b ? a : b; }

// Bits of either operand where both become signed if one is.
constexpr int aligned(int v, bool r, int w, bool s) { return larger(v + (s && !r), w + (r && !s)); }

template <int V, bool R, int W, bool S> number<aligned(V, R, W, S) + 1, R || S> operator+(const number<V, R> &a, const number<W, S> &b) {
    number<aligned(V, R, W, S) + 1, R || S> sum;
    word carry = {};
    for (int i = 0; i < aligned(V, R, W, S) + 1; i++) {
        const word x = a.extended(i), y = b.extended(i), half = x ^ y;
        sum.bits[i] = half ^ carry;
        carry = (x & y) | (carry & half);
    }
    return sum;
}

template <int V, bool R, int W, bool S> number<aligned(V, R, W, S) + 1, true> operator-(const number<V, R> &a, const number<W, S> &b) {
    number<aligned(V, R, W, S) + 1, true> sum;
    word carry = all(true);
    for (int i = 0; i < aligned(V, R, W, S) + 1; i++) {
        const word x = a.extended(i), y = ~b.extended(i), half = x ^ y;
        sum.bits[i] = half ^ carry;
        carry = (x & y) | (carry & half);
    }
    return sum;
}

template <int V, bool R, int W, bool S> number<V + W, R || S> operator*(const number<V, R> &a, const number<W, S> &b) {
    number<V + W, R || S> product;
    for (int j = 0; j < (S ? V + W : W); j++) { // the sign of b repeats without end
        word carry = {};
        const word factor = b.extended(j);
        for (int i = j; i < V + W; i++) {
            const word x = product.bits[i], y = a.extended(i - j) & factor, half = x ^ y;
            product.bits[i] = half ^ carry;
            carry = (x & y) | (carry & half);
        }
    }
    return product;
}

#define LANES_BITWISE(OPERATOR)                                                                                          \
    template <int V, bool R, int W, bool S>                                                                              \
    number<larger(V, W), R || S> operator OPERATOR(const number<V, R> &a, const number<W, S> &b) {                       \
        number<larger(V, W), R || S> result;                                                                             \
        for (int i = 0; i < larger(V, W); i++)                                                                           \
            result.bits[i] = a.extended(i) OPERATOR b.extended(i);                                                       \
        return result;                                                                                                   \
    }                                                                                                                    \
    template <int V, bool R> number<V, R> operator OPERATOR(const number<V, R> &a, unsigned long long b) {               \
        number<V, R> result;                                                                                             \
        for (int i = 0; i < V; i++)                                                                                      \
            result.bits[i] = a.bits[i] OPERATOR all(i < 64 && b >> i & 1);                                               \
        return result;                                                                                                   \
    }
LANES_BITWISE(&)
LANES_BITWISE(|)
LANES_BITWISE(^)
#undef LANES_BITWISE

template <int V, bool R> number<V, R> operator<<(const number<V, R> &a, int places) {
    number<V, R> result;
    for (int i = places; i < V; i++)
        result.bits[i] = a.bits[i - places];
    return result;
}

template <int V, bool R, int W, bool S> number<1, false> operator<(const number<V, R> &a, const number<W, S> &b) {
    const number<aligned(V, R, W, S) + 1, true> difference = a - b;
    return difference[aligned(V, R, W, S)];
}

template <int V, bool R, int W, bool S> number<1, false> operator>=(const number<V, R> &a, const number<W, S> &b) {
    return (a < b) ^ 1ull;
}

} // namespace lanes

template <int W> struct ap_uint : lanes::number<W, false> {
    ap_uint() {}
    ap_uint(long long x) : lanes::number<W, false>(x) {}
    template <int V, bool R> ap_uint(const lanes::number<V, R> &x) : lanes::number<W, false>(x) {}
};

template <int W> struct ap_int : lanes::number<W, true> {
    ap_int() {}
    ap_int(long long x) : lanes::number<W, true>(x) {}
    template <int V, bool R> ap_int(const lanes::number<V, R> &x) : lanes::number<W, true>(x) {}
};

// Bits p * BITS and on of a word, one of N such parts: only those are copied, where hardware has a multiplexer.
template <int BITS, int N, int W> ap_uint<BITS> part_of(const ap_uint<W> &word, int p) {
    ap_uint<BITS> part;
    for (int i = 0; i < BITS && p * BITS + i < W; i++)
        part.bits[i] = word.bits[p * BITS + i];
    return part;
}

#endif
