// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

void nm_add_columns_s8(int32_t sums[4], const int8_t *input, size_t stride, size_t rows) {
  int32_t a = sums[0];
  int32_t b = sums[1];
  int32_t c = sums[2];
  int32_t d = sums[3];
  for (; rows != 0; rows--) {
    a += input[0];
    b += input[1];
    c += input[2];
    d += input[3];
    input += stride;
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}

int32_t nm_add_row_s8(const int8_t *input, size_t count) {
  int32_t sum = 0;
  for (; count >= 4; count -= 4) {
    sum += input[0] + input[1] + input[2] + input[3];
    input += 4;
  }
  for (; count != 0; count--) {
    sum += *input++;
  }
  return sum;
}
