// Bits, quickly: what CXXRTL does for values of any width costs time here, to compile and to simulate.
#pragma once

#include <cxxrtl/cxxrtl.h>

namespace cxxrtl_yosys {

// Reads bits in place. CXXRTL's own slice shifts the whole value first: where a wide vector is read bit by bit, that
// costs the square of its width.
template <size_t Stop, size_t Start, size_t Bits>
inline value<Stop - Start + 1> bits(const value<Bits> &from) {
    static_assert(Stop >= Start && Stop < Bits, "the slice lies inside the value");
    constexpr size_t first = Start / 32, shift = Start % 32;
    value<Stop - Start + 1> to;
    for (size_t n = 0; n < to.chunks; ++n) {
        to.data[n] = from.data[first + n] >> shift;
        if (shift && first + n + 1 < from.chunks) to.data[n] |= from.data[first + n + 1] << (32 - shift);
    }
    to.data[to.chunks - 1] &= to.msb_mask;
    return to;
}

template <size_t Bit, size_t Bits>
inline value<1> bits(const value<Bits> &from) { return value<1>{from.data[Bit / 32] >> (Bit % 32) & 1u}; }

// The operators of single bits: one instruction each, where CXXRTL's go through several loops.
#define BIT_OPERATOR(name, operation) \
    template <size_t Bits> \
    inline typename std::enable_if<Bits == 1, value<1>>::type name(const value<1> &a, const value<1> &b) { \
        return value<1>{a.data[0] operation b.data[0]}; \
    }
BIT_OPERATOR(and_uu, &)
BIT_OPERATOR(or_uu, |)
BIT_OPERATOR(xor_uu, ^)
#undef BIT_OPERATOR

template <size_t Bits>
inline typename std::enable_if<Bits == 1, value<1>>::type not_u(const value<1> &a) { return value<1>{a.data[0] ^ 1u}; }

} // namespace cxxrtl_yosys
