// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

int32_t nm_largest_s8(const int8_t *input, size_t count) {
  int32_t most = INT8_MIN;
  for (; count != 0; count--) {
    most = *input > most ? *input : most;
    input++;
  }
  return most;
}

uint32_t nm_softmax_sum_s8(const uint32_t *table, int32_t start, const int8_t *input, size_t count) {
  uint32_t sum = 0;
  for (; count != 0; count--) {
    sum += (table[start + *input++] + 2048) >> 12;
  }
  return sum;
}

void nm_softmax_shares_s8(const uint32_t *table, int32_t start, uint32_t reciprocal, uint32_t shift,
                          const int8_t *input, size_t count, int8_t *output) {
  const uint32_t half = (UINT32_C(1) << shift) >> 1;
  for (; count != 0; count--) {
    // The high word of a product, and the bit below for rounding.
    const uint64_t product = (uint64_t) reciprocal * table[start + *input++];
    const uint32_t share = ((uint32_t) (product >> 32) + ((uint32_t) product >> 31) + half) >> shift;
    *output++ = (int8_t) ((share > 255 ? 255 : (int32_t) share) - 128);
  }
}
