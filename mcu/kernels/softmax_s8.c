// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

// Rounded high word of twice the product.
static int32_t high_product(int32_t a, int32_t b) {
  const int64_t product = (int64_t) a * b;
  return (int32_t) ((product + (INT64_C(1) << 30)) >> 31);
}

static int32_t saturated(int64_t value) {
  if (value > INT32_MAX) {
    return INT32_MAX;
  }
  return value < INT32_MIN ? INT32_MIN : (int32_t) value;
}

// 2^31 / (1 + x / 2^31) for x from 0 to 2^31 - 1: three of Newton's steps in Q2.29 from 48/17 - 32/17 d.
static int32_t reciprocal_of_one_plus(int32_t x) {
  const int32_t half = (int32_t) (((int64_t) x + INT32_MAX + 1) >> 1);
  int32_t estimate = 1515870810 + high_product(half, -1010580540);
  for (int step = 0; step < 3; step++) {
    const int32_t rest = (INT32_C(1) << 29) - high_product(half, estimate);
    estimate += saturated((int64_t) high_product(estimate, rest) * 4);
  }
  return saturated((int64_t) estimate * 2);
}

static int32_t leading_zeros(uint32_t value) {
  int32_t zeros = 0;
  for (; value < UINT32_C(1) << 31; value <<= 1) {
    zeros++;
  }
  return zeros;
}

void nm_softmax_s8(const struct nm_softmax_s8 *p, const int8_t *input, int8_t *output) {
  const uint32_t *exponentials = p->exponentials;
  const uint32_t entries = p->entries;
  const size_t depth = p->depth;
  for (size_t row = 0; row < p->rows; row++) {
    int32_t most = INT8_MIN;
    for (size_t i = 0; i < depth; i++) {
      most = input[i] > most ? input[i] : most;
    }
    uint32_t sum = 0;  // in Q12.19
    for (size_t i = 0; i < depth; i++) {
      const uint32_t below = (uint32_t) (most - input[i]);
      if (below < entries) {
        sum += (exponentials[below] + 2048) >> 12;
      }
    }
    const int32_t zeros = leading_zeros(sum);
    const int32_t reciprocal = reciprocal_of_one_plus((int32_t) ((sum << zeros) - (UINT32_C(1) << 31)));
    const int32_t shift = 12 - zeros + 31 - 8;
    const uint32_t half = (UINT32_C(1) << shift) >> 1;
    for (size_t i = 0; i < depth; i++) {
      const uint32_t below = (uint32_t) (most - input[i]);
      uint32_t share = 0;
      if (below < entries) {
        // Twice the product: its high word, and the bit below for rounding.
        const uint64_t product = (uint64_t) ((uint32_t) reciprocal << 1) * exponentials[below];
        share = ((uint32_t) (product >> 32) + ((uint32_t) product >> 31) + half) >> shift;
      }
      output[i] = (int8_t) ((share > 255 ? 255 : (int32_t) share) - 128);
    }
    input += depth;
    output += depth;
  }
}
