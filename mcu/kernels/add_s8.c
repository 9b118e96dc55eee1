// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

// SUB is an addition with a sign of -1.
static void add_row(const void *parameters, size_t count, const int8_t *x, size_t x_stride, const int8_t *y,
                    size_t y_stride, int8_t *output) {
  // A copy: output may be anything's memory as far as C knows.
  const struct nm_arithmetic_s8 p = *(const struct nm_arithmetic_s8 *) parameters;
  for (size_t i = 0; i < count; i++) {
    const int32_t first = nm_rescale((*x - p.x_zero_point) * (1 << 20), p.x_scale);
    const int32_t second = nm_rescale((*y - p.y_zero_point) * (1 << 20), p.y_scale);
    const int32_t sum = nm_rescale(p.x_sign * first + p.y_sign * second, p.output_scale);
    output[i] = nm_clamp_s8(sum + p.output_zero_point, p.min, p.max);
    x += x_stride;
    y += y_stride;
  }
}

void nm_add_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, const int8_t *y, int8_t *output) {
  nm_each_row_s8(&p->pairs, add_row, p, x, y, output);
}

void nm_add_constant_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, int8_t *output) {
  nm_add_s8(p, x, p->constant, output);
}
