// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The larger of two f16 by their bits, which takes no arithmetic of f16: signed integers are in the order of f16, but for
// two negative ones, whose order they reverse. So a NaN is larger than all, or smaller with the sign bit.

#pragma once

#include <stdint.h>

#include "xnnpack/common.h"

XNN_INLINE static int16_t xnn_max_f16_bits(int16_t a, int16_t b)
{
  return ((a & b) < 0) == (a < b) ? a : b;
}

#if defined(__SSE4_1__)
#include <smmintrin.h>

XNN_INLINE static __m128i xnn_max_f16_sse41(__m128i a, __m128i b)
{
  const __m128i negative = _mm_srai_epi16(_mm_and_si128(a, b), 15);
  return _mm_blendv_epi8(_mm_max_epi16(a, b), _mm_min_epi16(a, b), negative);
}
#endif  // __SSE4_1__

#if defined(__ARM_NEON)
#include <arm_neon.h>

XNN_INLINE static int16x8_t xnn_max_f16_neon(int16x8_t a, int16x8_t b)
{
  const uint16x8_t negative = vcltq_s16(vandq_s16(a, b), vdupq_n_s16(0));
  return vbslq_s16(negative, vminq_s16(a, b), vmaxq_s16(a, b));
}
#endif  // __ARM_NEON

#if defined(__riscv_vector)
#include <riscv_vector.h>
#include <stddef.h>

XNN_INLINE static vint16m4_t xnn_max_f16_rvv(vint16m4_t a, vint16m4_t b, size_t vl)
{
  const vbool4_t negative = __riscv_vmslt_vx_i16m4_b4(__riscv_vand_vv_i16m4(a, b, vl), 0, vl);
  return __riscv_vmin_vv_i16m4_mu(negative, __riscv_vmax_vv_i16m4(a, b, vl), a, b, vl);
}
#endif  // __riscv_vector
