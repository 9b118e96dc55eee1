// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Vectors of elements of 16 bits that do not lie together, or are not all there.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include <smmintrin.h>

#include "xnnpack/common.h"
#include "xnnpack/unaligned.h"

// Loads the first n elements, 1 to 8, and nothing behind; the others are 0.
XNN_INLINE static __m128i xnn_load_first_halves(const void* input, size_t n)
{
  const uint16_t* end = (const uint16_t*) input + n;
  if (n == 8) {
    return _mm_loadu_si128((const __m128i*) input);
  }
  __m128i v = _mm_setzero_si128();
  if ((n & 1) != 0) {
    end -= 1;
    v = _mm_cvtsi32_si128(*end);
  }
  if ((n & 2) != 0) {
    end -= 2;
    v = _mm_unpacklo_epi32(_mm_cvtsi32_si128((int) unaligned_load_u32(end)), v);
  }
  if ((n & 4) != 0) {
    end -= 4;
    v = _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i*) end), v);
  }
  return v;
}

// Loads x[0], x[2], ... x[14], and nothing behind.
XNN_INLINE static __m128i xnn_load_even_halves(const uint16_t* x)
{
  const __m128i v0246 = _mm_shuffle_epi8(
    _mm_loadu_si128((const __m128i*) x), _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1));
  const __m128i v8ace = _mm_shuffle_epi8(
    _mm_loadu_si128((const __m128i*) (x + 7)), _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, 2, 3, 6, 7, 10, 11, 14, 15));
  return _mm_or_si128(v0246, v8ace);
}

// The element at a distance in bytes from x.
XNN_INLINE static int16_t xnn_load_half_at(const uint16_t* x, int32_t distance)
{
  return *(const int16_t*) ((uintptr_t) x + (intptr_t) distance);
}

// Loads eight elements at these distances in bytes from x.
XNN_INLINE static __m128i xnn_load_eight_halves(const uint16_t* x, const int32_t* distances)
{
  return _mm_setr_epi16(
    xnn_load_half_at(x, distances[0]), xnn_load_half_at(x, distances[1]), xnn_load_half_at(x, distances[2]),
    xnn_load_half_at(x, distances[3]), xnn_load_half_at(x, distances[4]), xnn_load_half_at(x, distances[5]),
    xnn_load_half_at(x, distances[6]), xnn_load_half_at(x, distances[7]));
}
