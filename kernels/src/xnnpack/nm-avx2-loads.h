// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Which pixels lie inside of an image, and vectors of elements that do not lie together, for kernels that are compiled
// with AVX2. None is a gather: on AMD's processors one of eight elements takes about twenty cycles.

#pragma once

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack/common.h"
#include "xnnpack/packim2col.h"

// Lanes whose tap is inside of the image, of eight pixels whose tap (0, 0) is at (y, x).
XNN_INLINE static __m256i xnn_find_inside_avx2(
  __m256i vy,
  __m256i vx,
  const struct xnn_im2col_tap* tap,
  uint32_t height,
  uint32_t width)
{
  const __m256i vlast_y = _mm256_set1_epi32((int32_t) (height - 1));
  const __m256i vlast_x = _mm256_set1_epi32((int32_t) (width - 1));
  vy = _mm256_add_epi32(vy, _mm256_set1_epi32(tap->dy));
  vx = _mm256_add_epi32(vx, _mm256_set1_epi32(tap->dx));
  // Unsigned: what lies above or left of the image wraps around and is not at or before its end, too.
  return _mm256_and_si256(
    _mm256_cmpeq_epi32(_mm256_min_epu32(vy, vlast_y), vy), _mm256_cmpeq_epi32(_mm256_min_epu32(vx, vlast_x), vx));
}

// Lanes of 16 bits for lanes of 32.
XNN_INLINE static __m128i xnn_narrow_mask_avx2(__m256i vmask)
{
  return _mm_packs_epi32(_mm256_castsi256_si128(vmask), _mm256_extracti128_si256(vmask, 1));
}

// Whether all that lies between the taps of the first and the last of n pixels belongs to their images: the first is not
// before its image begins, the last not behind where its ends.
XNN_INLINE static bool xnn_is_in_images(
  const int32_t* y,
  const int32_t* x,
  size_t n,
  const struct xnn_im2col_tap* tap,
  uint32_t height,
  uint32_t width)
{
  const int64_t first = (int64_t) (y[0] + tap->dy) * width + x[0] + tap->dx;
  const int64_t last = (int64_t) (y[n - 1] + tap->dy) * width + x[n - 1] + tap->dx;
  return first >= 0 && last < (int64_t) height * width;
}

// Loads x[0], x[2], ... x[14], and nothing behind.
XNN_INLINE static __m256 xnn_load_even_avx2(const float* x)
{
  const __m256 v0246 = _mm256_loadu_ps(x);
  const __m256 v8ace = _mm256_loadu_ps(x + 7);
  const __m256 v028a46ce = _mm256_shuffle_ps(v0246, v8ace, _MM_SHUFFLE(3, 1, 2, 0));
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v028a46ce), _MM_SHUFFLE(3, 1, 2, 0)));
}

// The element at a distance in bytes from x.
XNN_INLINE static float xnn_load_at(const float* x, int32_t distance)
{
  return *(const float*) ((uintptr_t) x + (intptr_t) distance);
}

// Loads eight elements at these distances in bytes from x.
XNN_INLINE static __m256 xnn_load_eight_avx2(const float* x, const int32_t* distances)
{
  return _mm256_setr_ps(
    xnn_load_at(x, distances[0]), xnn_load_at(x, distances[1]), xnn_load_at(x, distances[2]),
    xnn_load_at(x, distances[3]), xnn_load_at(x, distances[4]), xnn_load_at(x, distances[5]),
    xnn_load_at(x, distances[6]), xnn_load_at(x, distances[7]));
}
