// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

void nm_table_sum_row_s8(const void *parameters, size_t count, const int8_t *x, size_t x_stride, const int8_t *y,
                         size_t y_stride, int8_t *output) {
  const struct nm_table_sum_s8 *p = parameters;
  const int32_t *const x_table = p->x_table;
  const int32_t *const y_table = p->y_table;
  const int32_t shift = p->shift;
  const int32_t min = p->min;
  const int32_t max = p->max;
  for (size_t i = 0; i < count; i++) {
    output[i] = nm_clamp_s8((x_table[(uint8_t) *x] + y_table[(uint8_t) *y]) >> shift, min, max);
    x += x_stride;
    y += y_stride;
  }
}
