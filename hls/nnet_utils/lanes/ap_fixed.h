#ifndef LANES_AP_FIXED_H_
#define LANES_AP_FIXED_H_

// Names that hls4ml's headers mention. No packed layer has a fixed-point value.

#include "ap_int.h"

enum ap_q_mode { AP_TRN };
enum ap_o_mode { AP_WRAP };
template <int W, int I, ap_q_mode Q = AP_TRN, ap_o_mode O = AP_WRAP, int N = 0> struct ap_fixed {};
template <int W, int I, ap_q_mode Q = AP_TRN, ap_o_mode O = AP_WRAP, int N = 0> struct ap_ufixed {};

#endif
