// SPDX-License-Identifier: BSD-3-Clause

#include "im2col.h"
#include "nm_operators.h"

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
  const size_t depth = p->depth;
  for (size_t row = 0; row < p->rows; row++) {
    const uint32_t *table = p->exponentials;
    const int32_t start = 255 - nm_largest_s8(input, depth);
    const uint32_t sum = nm_softmax_sum_s8(table, start, input, depth);  // in Q12.19
    const int32_t zeros = leading_zeros(sum);
    const int32_t reciprocal = reciprocal_of_one_plus((int32_t) ((sum << zeros) - (UINT32_C(1) << 31)));
    if (zeros < 4) {
      // The sum is 512 times the largest or more: no share becomes 1/256, and TFLite's shift is not defined.
      nm_fill_s8(output, -128, depth);
    } else {
      nm_softmax_shares_s8(table, start, (uint32_t) reciprocal << 1, (uint32_t) (35 - zeros), input, depth, output);
    }
    input += depth;
    output += depth;
  }
}
