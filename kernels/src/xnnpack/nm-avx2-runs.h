// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Pixels of one byte, brought together in vectors.

#pragma once

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack/common.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-avx2-bytes.h"
#include "xnnpack/packim2col.h"
#include "xnnpack/unaligned.h"

// Pixels of a vector, and runs of evenly spaced ones among them that are loaded each at once.
#define XNN_RUN_LANES 16
#define XNN_MAX_RUNS 3

// Pixels that lie one or two bytes apart.
struct xnn_byte_run {
  // Distance from the first lane's pixel of channel 0; that of the first pixel if all were so far apart.
  intptr_t distance;
  // Bytes of the lanes that hold them, and how many lanes have to be loaded.
  __m128i mask;
  size_t end;
};

// Distance from a pixel to the one before, if both are inside.
XNN_INLINE static uint32_t xnn_get_step(const int32_t* base, size_t n)
{
  return (uint32_t) base[n] - (uint32_t) base[n - 1];
}

// Bytes from a pixel to the next: those of the first pair that is inside, 1 without any.
XNN_INLINE static uint32_t xnn_find_step(uint32_t inside, const int32_t* base)
{
  const uint32_t pairs = inside & (inside >> 1);
  return pairs == 0 ? 1 : xnn_get_step(base, math_ctz_u32(pairs) + 1);
}

// All bits of these lanes.
XNN_INLINE static __m128i xnn_make_byte_mask(uint32_t lanes)
{
  const __m128i vbit = _mm_set_epi8(
    (char) 128, 64, 32, 16, 8, 4, 2, 1, (char) 128, 64, 32, 16, 8, 4, 2, 1);
  const __m128i vlanes = _mm_shuffle_epi8(_mm_cvtsi32_si128((int) lanes), _mm_set_epi32(0x01010101, 0x01010101, 0, 0));
  return _mm_cmpeq_epi8(_mm_and_si128(vlanes, vbit), vbit);
}

// A run of these lanes, the last of which is before end; distance is that of lane 0.
XNN_INLINE static struct xnn_byte_run xnn_make_byte_run(uint32_t lanes, intptr_t distance, size_t end)
{
  return (struct xnn_byte_run) {.distance = distance, .mask = xnn_make_byte_mask(lanes), .end = end};
}

// Cuts the pixels that are inside into runs. Returns their number, or XNN_MAX_RUNS + 1 if there are more.
//
// stride  bytes from each pixel to the next, also of those that are not inside, or 0.
// step    bytes between the pixels of a run.
XNN_INLINE static size_t xnn_find_byte_runs(
  uint32_t inside,
  const int32_t* base,
  intptr_t distance,
  size_t stride,
  uint32_t step,
  struct xnn_byte_run* runs)
{
  if (inside != 0 && stride == step) {
    runs[0] = xnn_make_byte_run(inside, (intptr_t) base[0] + distance, 32 - math_clz_u32(inside));
    return 1;
  }
  size_t num_runs = 0;
  while (inside != 0) {
    const size_t first = math_ctz_u32(inside);
    size_t end = first + 1;
    while (end < XNN_RUN_LANES && ((inside >> end) & 1) != 0 && xnn_get_step(base, end) == step) {
      end++;
    }
    if (num_runs == XNN_MAX_RUNS) {
      return XNN_MAX_RUNS + 1;
    }
    const uint32_t lanes = (UINT32_C(1) << end) - (UINT32_C(1) << first);
    runs[num_runs++] =
      xnn_make_byte_run(lanes, (intptr_t) base[first] + distance - (intptr_t) (first * step), end);
    inside &= ~lanes;
  }
  return num_runs;
}

// Which of 8 pixels' taps are inside of the image.
XNN_INLINE static uint32_t xnn_find_inside_of_8(
  const int32_t* y,
  const int32_t* x,
  __m256i vdy,
  __m256i vdx,
  __m256i vheight,
  __m256i vwidth)
{
  // Unsigned, by another sign: what lies above or left of the image wraps around and is not below its end, too.
  const __m256i vy = _mm256_add_epi32(_mm256_loadu_si256((const __m256i*) y), vdy);
  const __m256i vx = _mm256_add_epi32(_mm256_loadu_si256((const __m256i*) x), vdx);
  const __m256i vinside = _mm256_and_si256(_mm256_cmpgt_epi32(vheight, vy), _mm256_cmpgt_epi32(vwidth, vx));
  return (uint32_t) _mm256_movemask_ps(_mm256_castsi256_ps(vinside));
}

// Which of so many pixels' taps, at most 16, are inside of the image.
XNN_INLINE static uint32_t xnn_find_inside(
  size_t nc,
  const int32_t* y,
  const int32_t* x,
  const struct xnn_im2col_tap* tap,
  uint32_t height,
  uint32_t width)
{
  if XNN_LIKELY(nc == XNN_RUN_LANES) {
    const uint32_t sign = UINT32_C(0x80000000);
    const __m256i vdy = _mm256_set1_epi32((int32_t) ((uint32_t) tap->dy ^ sign));
    const __m256i vdx = _mm256_set1_epi32((int32_t) ((uint32_t) tap->dx ^ sign));
    const __m256i vheight = _mm256_set1_epi32((int32_t) (height ^ sign));
    const __m256i vwidth = _mm256_set1_epi32((int32_t) (width ^ sign));
    return xnn_find_inside_of_8(y, x, vdy, vdx, vheight, vwidth) |
      xnn_find_inside_of_8(y + 8, x + 8, vdy, vdx, vheight, vwidth) << 8;
  }
  uint32_t inside = 0;
  for (size_t n = 0; n < nc; n++) {
    const uint32_t is_inside = (uint32_t) ((uint32_t) y[n] + (uint32_t) tap->dy < height) &
                               (uint32_t) ((uint32_t) x[n] + (uint32_t) tap->dx < width);
    inside |= is_inside << n;
  }
  return inside;
}

// The lanes of a run, step bytes apart.
XNN_INLINE static __m128i xnn_load_byte_run(uintptr_t i, uint32_t step, size_t end) XNN_OOB_READS
{
  const __m128i vlo = _mm_loadu_si128((const __m128i*) i);
  if (step == 1) {
    return vlo;
  }
  const __m128i veven = _mm_set1_epi16(0xFF);
  const __m128i vhi = end > XNN_RUN_LANES / 2 ? _mm_loadu_si128((const __m128i*) (i + XNN_RUN_LANES)) : vlo;
  return _mm_packus_epi16(_mm_and_si128(vlo, veven), _mm_and_si128(vhi, veven));
}

// Brings a channel one pixel after another: takes the larger of each and what is there, or each alone.
XNN_INLINE static void xnn_bring_bytes(
    uint32_t inside,
    size_t nc,
    uintptr_t channel,
    const int32_t* base,
    int8_t padding,
    bool is_max,
    int8_t* output)
{
  for (size_t n = 0; n < nc; n++) {
    const int8_t v = ((inside >> n) & 1) != 0 ? *((const int8_t*) (channel + (intptr_t) base[n])) : padding;
    output[n] = is_max && output[n] > v ? output[n] : v;
  }
}

// Whether the channels lie next to each other, up to 4 of them, as in NHWC images.
XNN_INLINE static bool xnn_are_neighbours(size_t kc, const int32_t* channels)
{
  if (kc > 4) {
    return false;
  }
  for (size_t k = 1; k < kc; k++) {
    if (channels[k] != channels[0] + (int32_t) k) {
      return false;
    }
  }
  return true;
}

// Copies such channels, all of a pixel at once. What is behind the last one is read, too.
XNN_INLINE static void xnn_copy_neighbours(
    uint32_t inside,
    size_t nc,
    uintptr_t input,
    const int32_t* base,
    uint8_t padding,
    size_t kc,
    const int32_t* channels,
    int8_t* output,
    size_t output_stride) XNN_OOB_READS
{
  uint32_t pixels[XNN_RUN_LANES];
  for (size_t n = 0; n < XNN_RUN_LANES; n++) {
    pixels[n] = ((inside >> n) & 1) != 0 ? unaligned_load_u32((const void*) (input + (intptr_t) base[n] + (intptr_t) *channels)) :
      padding * UINT32_C(0x01010101);
  }
  // A matrix of 16 pixels of 4 channels is turned over.
  const __m128i vorder = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m128i v[4];
  for (size_t i = 0; i < 4; i++) {
    v[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i*) &pixels[4 * i]), vorder);
  }
  const __m128i vlo01 = _mm_unpacklo_epi32(v[0], v[1]);
  const __m128i vhi01 = _mm_unpackhi_epi32(v[0], v[1]);
  const __m128i vlo23 = _mm_unpacklo_epi32(v[2], v[3]);
  const __m128i vhi23 = _mm_unpackhi_epi32(v[2], v[3]);
  const __m128i rows[4] = {
    _mm_unpacklo_epi64(vlo01, vlo23), _mm_unpackhi_epi64(vlo01, vlo23),
    _mm_unpacklo_epi64(vhi01, vhi23), _mm_unpackhi_epi64(vhi01, vhi23),
  };
  for (size_t k = 0; k < kc; k++) {
    xnn_store_bytes_sse2(output, rows[k], nc);
    output = (int8_t*) ((uintptr_t) output + output_stride);
  }
}
