// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Bytes of sums, and parts of vectors of bytes.

#pragma once

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack/common.h"
#include "xnnpack/microparams.h"

// Added to a float of less than 2**22, it leaves the integer that is nearest, the even one of two, in the low bits.
#define XNN_NEON_MAGIC 12582912.0f
#define XNN_NEON_MAGIC_BITS INT32_C(0x4B400000)

struct xnn_neon_bounds {
  int32x4_t magic_less_zero_point;
  int8x8_t min;
  int8x8_t max;
};

XNN_INLINE static struct xnn_neon_bounds xnn_get_neon_bounds(const union xnn_qs8_qc8w_conv_minmax_params* params)
{
  return (struct xnn_neon_bounds) {
    .magic_less_zero_point = vdupq_n_s32(XNN_NEON_MAGIC_BITS - (int32_t) params->fp32_scalar.output_zero_point),
    .min = vdup_n_s8((int8_t) params->fp32_scalar.output_min),
    .max = vdup_n_s8((int8_t) params->fp32_scalar.output_max),
  };
}

// clamp(round(scale * sum) + zero_point) of 8 sums, each four with scales. What is not less than 2**22 saturates.
XNN_INLINE static int8x8_t xnn_requantize_neon(
  int32x4_t low,
  int32x4_t high,
  float32x4_t low_scale,
  float32x4_t high_scale,
  const struct xnn_neon_bounds* bounds)
{
  const float32x4_t magic = vdupq_n_f32(XNN_NEON_MAGIC);
  const float32x4_t scaled_low = vmulq_f32(vcvtq_f32_s32(low), low_scale);
  const float32x4_t scaled_high = vmulq_f32(vcvtq_f32_s32(high), high_scale);
  const int32x4_t rounded_low =
    vqsubq_s32(vreinterpretq_s32_f32(vaddq_f32(scaled_low, magic)), bounds->magic_less_zero_point);
  const int32x4_t rounded_high =
    vqsubq_s32(vreinterpretq_s32_f32(vaddq_f32(scaled_high, magic)), bounds->magic_less_zero_point);
  const int8x8_t bytes = vqmovn_s16(vcombine_s16(vqmovn_s32(rounded_low), vqmovn_s32(rounded_high)));
  return vmin_s8(vmax_s8(bytes, bounds->min), bounds->max);
}

// Stores the first n bytes, 1 to 8.
XNN_INLINE static void xnn_store_bytes_neon(int8_t* output, int8x8_t v, size_t n)
{
  if (n & 8) {
    vst1_s8(output, v);
    return;
  }
  if (n & 4) {
    vst1_lane_u32((void*) output, vreinterpret_u32_s8(v), 0);
    v = vext_s8(v, v, 4);
    output += 4;
  }
  if (n & 2) {
    vst1_lane_u16((void*) output, vreinterpret_u16_s8(v), 0);
    v = vext_s8(v, v, 2);
    output += 2;
  }
  if (n & 1) {
    vst1_lane_s8(output, v, 0);
  }
}
