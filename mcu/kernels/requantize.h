// SPDX-License-Identifier: BSD-3-Clause
//
// From the sum of an output to its byte. Sums are unsigned because they wrap, as TFLite's do.

#ifndef NM_REQUANTIZE_H_
#define NM_REQUANTIZE_H_

#include "nm_mcu.h"
#include "nm_operators.h"

// NM_ROUND_ONCE and NM_ROUND_ONCE_64; with the zero point.
static inline int8_t nm_requantize_once_s8(const struct nm_filter_s8 *filter, size_t channel, int32_t sum) {
  const int shift = 31 + filter->shift[channel];
  int64_t product;
  if (filter->rounding == NM_ROUND_ONCE) {
    product = (int64_t) sum * (int64_t) filter->multiplier[channel];
  } else {
    const uint32_t *const multiplier = &filter->multiplier[2 * channel];
    product = (int64_t) sum * (int64_t) multiplier[0] + (((int64_t) sum * (int64_t) multiplier[1]) >> 32);
  }
  // Halved, so that the half that rounds does not overflow.
  const int64_t value = (((product >> 1) + (INT64_C(1) << (shift - 1))) >> shift) + filter->output_zero_point;
  return (int8_t) (value < filter->output_min ? filter->output_min
                                              : value > filter->output_max ? filter->output_max : value);
}

// NM_ROUND_TWICE, for any sum and shift.
static inline int32_t nm_rescale_twice(int32_t sum, uint32_t multiplier, int shift) {
  const int left = shift < 0 ? -shift : 0;
  const int right = shift < 0 ? 0 : shift;
  const int64_t product = (int64_t) (int32_t) ((uint32_t) sum << left) * (int64_t) multiplier;
  const int32_t rounded = (int32_t) (product >> 32) + (int32_t) ((uint32_t) product >> 31);
  const int32_t mask = (int32_t) ((UINT32_C(1) << right) - 1);
  return (rounded >> right) + ((rounded & mask) > (mask >> 1) + (rounded < 0));
}

static inline int8_t nm_requantize_s8(const struct nm_filter_s8 *filter, size_t channel, uint32_t sum) {
  if (filter->rounding != NM_ROUND_TWICE) {
    return nm_requantize_once_s8(filter, channel, (int32_t) sum);
  }
  const int32_t scaled = nm_rescale_twice((int32_t) sum, filter->multiplier[channel], filter->shift[channel]);
  const uint32_t value = (uint32_t) scaled + (uint32_t) filter->output_zero_point;
  return nm_clamp_s8((int32_t) value, filter->output_min, filter->output_max);
}

static inline uint32_t nm_product(int8_t x, int8_t y) { return (uint32_t) ((int32_t) x * (int32_t) y); }

#endif  // NM_REQUANTIZE_H_
