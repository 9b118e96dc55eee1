// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

static void prelu_row(const void *parameters, size_t count, const int8_t *x, size_t x_stride, const int8_t *y,
                      size_t y_stride, int8_t *output) {
  // A copy: output may be anything's memory as far as C knows.
  const struct nm_arithmetic_s8 p = *(const struct nm_arithmetic_s8 *) parameters;
  for (size_t i = 0; i < count; i++) {
    const int32_t value = *x - p.x_zero_point;
    const int32_t scaled = value >= 0 ? nm_rescale(value, p.x_scale)
                                      : nm_rescale(value * (*y - p.y_zero_point), p.y_scale);
    output[i] = nm_clamp_s8(scaled + p.output_zero_point, -128, 127);
    x += x_stride;
    y += y_stride;
  }
}

void nm_prelu_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, const int8_t *y, int8_t *output) {
  nm_each_row_s8(&p->pairs, prelu_row, p, x, y, output);
}

void nm_prelu_constant_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, int8_t *output) {
  nm_prelu_s8(p, x, p->constant, output);
}
