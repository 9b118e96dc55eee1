// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

static size_t whole_words(size_t count) { return (count + 3) & ~(size_t) 3; }

void nm_product_sums_s8(const struct nm_batch_matmul_s8 *p, const int8_t *y, int32_t *y_sums) {
  const size_t pitch = 4 * whole_words(p->columns);
  for (size_t j = 0; j < p->columns; j++) {
    int32_t sum = 0;
    const int8_t *word = y + 4 * j;
    for (size_t k = 0; k < p->depth; k += 4) {
      sum += word[0] + word[1] + word[2] + word[3];
      word += pitch;
    }
    y_sums[j] = -p->x_zero_point * sum;
  }
}

// Four rows by two columns.
static void four_rows(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y, int32_t sums[8]) {
  const size_t depth = whole_words(p->depth);
  const size_t pitch = 4 * whole_words(p->columns);
  const int8_t *x1 = x + depth;
  const int8_t *x2 = x1 + depth;
  const int8_t *x3 = x2 + depth;
  const int8_t *const end = x1;
  int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;
  while (x != end) {
    for (size_t k = 0; k < 4; k++) {
      const int32_t first = y[k];
      const int32_t second = y[k + 4];
      s00 += x[k] * first;
      s01 += x[k] * second;
      s10 += x1[k] * first;
      s11 += x1[k] * second;
      s20 += x2[k] * first;
      s21 += x2[k] * second;
      s30 += x3[k] * first;
      s31 += x3[k] * second;
    }
    x += 4;
    x1 += 4;
    x2 += 4;
    x3 += 4;
    y += pitch;
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

// One row by one column.
static int32_t one_sum(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y) {
  const size_t depth = whole_words(p->depth);
  const size_t pitch = 4 * whole_words(p->columns);
  int32_t sum = 0;
  for (size_t k = 0; k < depth; k += 4) {
    sum += x[k] * y[0] + x[k + 1] * y[1] + x[k + 2] * y[2] + x[k + 3] * y[3];
    y += pitch;
  }
  return sum;
}

void nm_product_rows_s8(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y, const int32_t *x_sums,
                        const int32_t *y_sums, int8_t *output) {
  const struct nm_fine_scale scale = p->fine;
  const size_t depth = whole_words(p->depth);
  const size_t columns = p->columns;
  for (size_t left = p->rows; left != 0;) {
    const size_t rows = left >= 4 ? 4 : 1;
    for (size_t j = 0; j < columns;) {
      const size_t wide = rows == 4 && columns - j >= 2 ? 2 : 1;
      int32_t sums[8];
      if (wide == 2) {
        four_rows(p, x, y + 4 * j, sums);
      } else {
        for (size_t i = 0; i < rows; i++) {
          sums[i] = one_sum(p, x + i * depth, y + 4 * j);
        }
      }
      for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < wide; k++) {
          const int32_t sum = sums[i * wide + k] + x_sums[i] + y_sums[j + k];
          output[i * columns + j + k] = nm_clamp_s8(nm_rescale_fine(sum, scale), -128, 127);
        }
      }
      j += wide;
    }
    x += rows * depth;
    x_sums += rows;
    output += rows * columns;
    left -= rows;
  }
}
