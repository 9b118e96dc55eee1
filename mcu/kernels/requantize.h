// SPDX-License-Identifier: BSD-3-Clause
//
// From the sum of an output to its byte. Sums are unsigned because they wrap, as TFLite's do.

#ifndef NM_REQUANTIZE_H_
#define NM_REQUANTIZE_H_

#include "nm_mcu.h"
#include "nm_operators.h"

static inline int8_t nm_requantize_s8(const struct nm_filter_s8 *filter, size_t channel, uint32_t sum) {
  const struct nm_scale scale = {filter->multiplier[channel], filter->shift[channel]};
  const uint32_t value = (uint32_t) nm_rescale((int32_t) sum, scale) + (uint32_t) filter->output_zero_point;
  return nm_clamp_s8((int32_t) value, filter->output_min, filter->output_max);
}

static inline uint32_t nm_product(int8_t x, int8_t y) { return (uint32_t) ((int32_t) x * (int32_t) y); }

#endif  // NM_REQUANTIZE_H_
