// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

static void maximum_row(const void *p, size_t count, const int8_t *x, size_t x_stride, const int8_t *y, size_t y_stride,
                        int8_t *output) {
  (void) p;
  for (size_t i = 0; i < count; i++) {
    output[i] = *x > *y ? *x : *y;
    x += x_stride;
    y += y_stride;
  }
}

void nm_maximum_s8(const struct nm_extreme_s8 *p, const int8_t *x, const int8_t *y, int8_t *output) {
  nm_each_row_s8(&p->pairs, maximum_row, p, x, y, output);
}

void nm_maximum_constant_s8(const struct nm_extreme_s8 *p, const int8_t *x, int8_t *output) {
  nm_maximum_s8(p, x, p->constant, output);
}

static void minimum_row(const void *p, size_t count, const int8_t *x, size_t x_stride, const int8_t *y, size_t y_stride,
                        int8_t *output) {
  (void) p;
  for (size_t i = 0; i < count; i++) {
    output[i] = *x < *y ? *x : *y;
    x += x_stride;
    y += y_stride;
  }
}

void nm_minimum_s8(const struct nm_extreme_s8 *p, const int8_t *x, const int8_t *y, int8_t *output) {
  nm_each_row_s8(&p->pairs, minimum_row, p, x, y, output);
}

void nm_minimum_constant_s8(const struct nm_extreme_s8 *p, const int8_t *x, int8_t *output) {
  nm_minimum_s8(p, x, p->constant, output);
}
