// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The ends of vectors, for kernels that are compiled with AVX.

#pragma once

#include <assert.h>
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack/common.h"

// The mask of lanes i with first + i < n, where n is at most 24: of the vector that begins with element `first`.
XNN_INLINE static __m256i xnn_mask_ends_avx(size_t first, size_t n)
{
  static const int32_t mask_table[56] = {
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  };
  assert(n <= 24);
  assert(first <= n + 24);

  return _mm256_loadu_si256((const __m256i*) &mask_table[24 + first - n]);
}

// Stores the first n lanes of v, 1 to 8, at y.
//
// Not with a mask: AMD's processors take more than ten cycles for a masked store of 256 bits, and what is loaded next
// from there waits until it has left the core.
XNN_INLINE static void xnn_store_ends_avx(float* y, __m256 v, size_t n)
{
  assert(n != 0);
  assert(n <= 8);

  if (n == 8) {
    _mm256_storeu_ps(y, v);
    return;
  }
  __m128 vend = _mm256_castps256_ps128(v);
  if ((n & 4) != 0) {
    _mm_storeu_ps(y, vend);
    vend = _mm256_extractf128_ps(v, 1);
    y += 4;
  }
  if ((n & 2) != 0) {
    _mm_storel_pi((__m64*) y, vend);
    vend = _mm_movehl_ps(vend, vend);
    y += 2;
  }
  if ((n & 1) != 0) {
    _mm_store_ss(y, vend);
  }
}
