// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

void nm_mul_row_s8(const void *parameters, size_t count, const int8_t *x, size_t x_stride, const int8_t *y,
                   size_t y_stride, int8_t *output) {
  const struct nm_arithmetic_s8 *p = parameters;
  const struct nm_scale scale = p->output_scale;
  const int32_t x_zero_point = p->x_zero_point;
  const int32_t y_zero_point = p->y_zero_point;
  const int32_t output_zero_point = p->output_zero_point;
  const int32_t min = p->min;
  const int32_t max = p->max;
  const struct nm_fine_scale fine = p->fine;
  if (fine.right != 0) {
    for (size_t i = 0; i < count; i++) {
      const int32_t product = (*x - x_zero_point) * (*y - y_zero_point);
      output[i] = nm_clamp_s8(nm_rescale_fine(product, fine), min, max);
      x += x_stride;
      y += y_stride;
    }
    return;
  }
  for (size_t i = 0; i < count; i++) {
    const int32_t product = (*x - x_zero_point) * (*y - y_zero_point);
    output[i] = nm_clamp_s8(nm_rescale(product, scale) + output_zero_point, min, max);
    x += x_stride;
    y += y_stride;
  }
}
