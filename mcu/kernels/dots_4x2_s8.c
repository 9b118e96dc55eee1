// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

void nm_dots_4x2_s8(const int8_t *x, size_t x_stride, const int8_t *y, size_t y_stride, size_t depth,
                    int32_t sums[8]) {
  for (size_t i = 0; i < 4; i++) {
    int32_t first = 0;
    int32_t second = 0;
    for (size_t k = 0; k < depth; k++) {
      first += x[k] * y[k];
      second += x[k] * y[y_stride + k];
    }
    sums[2 * i] = first;
    sums[2 * i + 1] = second;
    x += x_stride;
  }
}
