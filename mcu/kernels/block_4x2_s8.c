// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

void nm_block_4x2_s8(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y, size_t y_stride,
                     const int32_t x_sums[4], const int32_t y_sums[2], int8_t *output, size_t output_stride) {
  const size_t depth = p->depth;
  const struct nm_scale scale = p->scale;
  const int32_t zero_point = p->output_zero_point;
  const int8_t *x1 = x + depth;
  const int8_t *x2 = x1 + depth;
  const int8_t *x3 = x2 + depth;
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
  const int32_t sums[8] = {s00, s01, s10, s11, s20, s21, s30, s31};
  for (size_t i = 0; i < 4; i++) {
    for (size_t j = 0; j < 2; j++) {
      const int32_t sum = sums[2 * i + j] + x_sums[i] + y_sums[j];
      output[i * output_stride + j] = nm_clamp_s8(nm_rescale(sum, scale) + zero_point, -128, 127);
    }
  }
}
