// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Parts of vectors of bytes.

#pragma once

#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack/common.h"
#include "xnnpack/unaligned.h"

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
