// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

static void squared_difference_row(const void *parameters, size_t count, const int8_t *x, size_t x_stride,
                                   const int8_t *y, size_t y_stride, int8_t *output) {
  // A copy: output may be anything's memory as far as C knows.
  const struct nm_arithmetic_s8 p = *(const struct nm_arithmetic_s8 *) parameters;
  for (size_t i = 0; i < count; i++) {
    const int32_t first = nm_rescale((*x - p.x_zero_point) * (1 << 7), p.x_scale);
    const int32_t second = nm_rescale((*y - p.y_zero_point) * (1 << 7), p.y_scale);
    const int32_t difference = first - second;
    const int32_t square = nm_rescale(difference * difference, p.output_scale);
    output[i] = nm_clamp_s8(square + p.output_zero_point, p.min, p.max);
    x += x_stride;
    y += y_stride;
  }
}

void nm_squared_difference_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, const int8_t *y, int8_t *output) {
  nm_each_row_s8(&p->pairs, squared_difference_row, p, x, y, output);
}

void nm_squared_difference_constant_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, int8_t *output) {
  nm_squared_difference_s8(p, x, p->constant, output);
}
