// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

void nm_dots_4x2_s8(const int8_t *x, size_t x_stride, const int8_t *y, size_t y_stride, size_t depth,
                    int32_t sums[8]) {
  const int8_t *x1 = x + x_stride;
  const int8_t *x2 = x1 + x_stride;
  const int8_t *x3 = x2 + x_stride;
  const int8_t *y1 = y + y_stride;
  int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;
  for (size_t k = 0; k < depth; k++) {
    const int32_t first = y[k];
    const int32_t second = y1[k];
    s00 += x[k] * first;
    s01 += x[k] * second;
    s10 += x1[k] * first;
    s11 += x1[k] * second;
    s20 += x2[k] * first;
    s21 += x2[k] * second;
    s30 += x3[k] * first;
    s31 += x3[k] * second;
  }
  sums[0] = s00;
  sums[1] = s01;
  sums[2] = s10;
  sums[3] = s11;
  sums[4] = s20;
  sums[5] = s21;
  sums[6] = s30;
  sums[7] = s31;
}
