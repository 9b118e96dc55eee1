// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

void nm_distance_row_s8(const void *parameters, size_t count, const int8_t *x, size_t x_stride, const int8_t *y,
                        size_t y_stride, int8_t *output) {
  // A copy: output may be anything's memory as far as C knows.
  const struct nm_distance_s8 p = *(const struct nm_distance_s8 *) parameters;
  for (size_t i = 0; i < count; i++) {
    const int32_t difference = p.x_table[*x + 128] - p.y_table[*y + 128];
    const int32_t high = (int32_t) (((int64_t) (difference * difference) * p.factor) >> 32);
    output[i] = nm_clamp_s8((high + p.offset) >> p.shift, p.min, p.max);
    x += x_stride;
    y += y_stride;
  }
}
