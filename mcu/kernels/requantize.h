// SPDX-License-Identifier: BSD-3-Clause
//
// From the sum of an output to its byte. Sums are unsigned because they wrap, as TFLite's do.

#ifndef NM_REQUANTIZE_H_
#define NM_REQUANTIZE_H_

#include "nm_mcu.h"
#include "nm_operators.h"

// sum * multiplier / 2^32 / 2^shift, rounded once, half up; what is beyond 32 bits wraps.
static inline int32_t nm_rescale_once(int32_t sum, struct nm_scale scale) {
  const int64_t product = (int64_t) sum * (int64_t) scale.multiplier;
  if (scale.shift <= 0) {
    return (int32_t) (uint32_t) ((((uint64_t) product << -scale.shift) + (UINT64_C(1) << 31)) >> 32);
  }
  return (int32_t) (((product >> 32) + (INT64_C(1) << (scale.shift - 1))) >> scale.shift);
}

static inline int8_t nm_requantize_s8(const struct nm_filter_s8 *filter, size_t channel, uint32_t sum) {
  const struct nm_scale scale = {filter->multiplier[channel], filter->shift[channel]};
  const int32_t scaled =
      filter->single_rounding ? nm_rescale_once((int32_t) sum, scale) : nm_rescale((int32_t) sum, scale);
  const uint32_t value = (uint32_t) scaled + (uint32_t) filter->output_zero_point;
  return nm_clamp_s8((int32_t) value, filter->output_min, filter->output_max);
}

static inline uint32_t nm_product(int8_t x, int8_t y) { return (uint32_t) ((int32_t) x * (int32_t) y); }

#endif  // NM_REQUANTIZE_H_
