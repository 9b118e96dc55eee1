// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Bytes of sums, and parts of vectors of bytes.

#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack/common.h"
#include "xnnpack/microparams.h"
#include "xnnpack/unaligned.h"

// Makes the compiler compute a vector as it is written.
#if XNN_COMPILER_GCC || XNN_COMPILER_CLANG
  #define XNN_KEEP_VECTOR(v) __asm__("" : "+x"(v))
#else
  #define XNN_KEEP_VECTOR(v)
#endif

struct xnn_avx2_bounds {
  __m256 max_less_zero_point;
  __m256i zero_point;
  __m256i min;
};

XNN_INLINE static struct xnn_avx2_bounds xnn_get_avx2_bounds(const union xnn_qs8_qc8w_conv_minmax_params* params)
{
  const int32_t zero_point = (int32_t) params->fp32_scalar.output_zero_point;
  return (struct xnn_avx2_bounds) {
    .max_less_zero_point = _mm256_set1_ps((float) ((int32_t) params->fp32_scalar.output_max - zero_point)),
    .zero_point = _mm256_set1_epi16((int16_t) zero_point),
    .min = _mm256_set1_epi8((int8_t) params->fp32_scalar.output_min),
  };
}

// round(scale * sum) + zero_point of 16 sums, 4 of each vector a lane. What is too large for an integer is clamped before,
// the rest saturates.
XNN_INLINE static __m256i xnn_scale_avx2(__m256i low, __m256i high, __m256 scale, const struct xnn_avx2_bounds* bounds)
{
  const __m256 scaled_low = _mm256_mul_ps(_mm256_cvtepi32_ps(low), scale);
  const __m256 scaled_high = _mm256_mul_ps(_mm256_cvtepi32_ps(high), scale);
  const __m256i rounded_low = _mm256_cvtps_epi32(_mm256_min_ps(scaled_low, bounds->max_less_zero_point));
  const __m256i rounded_high = _mm256_cvtps_epi32(_mm256_min_ps(scaled_high, bounds->max_less_zero_point));
  return _mm256_adds_epi16(_mm256_packs_epi32(rounded_low, rounded_high), bounds->zero_point);
}

// Bytes of 16 pixels of two rows, one after the other.
XNN_INLINE static __m256i xnn_narrow_avx2(__m256i row0, __m256i row1, const struct xnn_avx2_bounds* bounds)
{
  const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(row0, row1), _MM_SHUFFLE(3, 1, 2, 0));
  return _mm256_max_epi8(bytes, bounds->min);
}

// Loads the first n bytes, 1 to 16, and nothing behind them.
XNN_INLINE static __m128i xnn_load_bytes_sse2(const int8_t* input, size_t n)
{
  if (n == 16) {
    return _mm_loadu_si128((const __m128i*) input);
  }
  int8_t bytes[16] = {0};
  memcpy(bytes, input, n);
  return _mm_loadu_si128((const __m128i*) bytes);
}

// Stores the first n bytes, 1 to 16.
XNN_INLINE static void xnn_store_bytes_sse2(int8_t* output, __m128i v, size_t n)
{
  if (n & 16) {
    _mm_storeu_si128((__m128i*) output, v);
    return;
  }
  if (n & 8) {
    _mm_storel_epi64((__m128i*) output, v);
    v = _mm_unpackhi_epi64(v, v);
    output += 8;
  }
  if (n & 4) {
    unaligned_store_u32(output, (uint32_t) _mm_cvtsi128_si32(v));
    v = _mm_srli_epi64(v, 32);
    output += 4;
  }
  if (n & 2) {
    unaligned_store_u16(output, (uint16_t) _mm_cvtsi128_si32(v));
    v = _mm_srli_epi32(v, 16);
    output += 2;
  }
  if (n & 1) {
    *output = (int8_t) _mm_cvtsi128_si32(v);
  }
}
