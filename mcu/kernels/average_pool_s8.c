// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

// sum / count, half away from zero. Below 4096 values with half their number, a division is a multiplication: with
// r = floor((2^32 - 1) / count) + 1, sum * r / 2^32 is less than 1 / count too large.
static int32_t average(int32_t sum, uint32_t count, uint32_t reciprocal) {
  const uint32_t distance = (uint32_t) (sum < 0 ? -sum : sum) + count / 2;
  uint32_t quotient = (uint32_t) (((uint64_t) distance * reciprocal) >> 32);
  if (count == 1) {
    quotient = distance;
  } else if (count > 4096) {
    quotient = distance / count;
  }
  return sum < 0 ? -(int32_t) quotient : (int32_t) quotient;
}

static void average_window(const struct nm_pool_s8 *p, const int8_t *input, size_t height, size_t width,
                           int8_t *output) {
  const size_t channels = p->channels;
  const uint32_t count = (uint32_t) (height * width);
  const uint32_t reciprocal = UINT32_MAX / count + 1;
  const size_t row = p->input_width * channels;
  if (width == p->input_width) {
    width *= height;
    height = 1;
  }
  size_t c = 0;
  for (; c + 4 <= channels; c += 4) {
    int32_t sums[4] = {0, 0, 0, 0};
    for (size_t y = 0; y < height; y++) {
      nm_add_columns_s8(sums, input + y * row + c, channels, width);
    }
    for (size_t i = 0; i < 4; i++) {
      output[c + i] = nm_clamp_s8(average(sums[i], count, reciprocal), p->min, p->max);
    }
  }
  for (; c < channels; c++) {
    int32_t sum = 0;
    for (size_t y = 0; y < height; y++) {
      for (size_t x = 0; x < width; x++) {
        sum += input[y * row + x * channels + c];
      }
    }
    output[c] = nm_clamp_s8(average(sum, count, reciprocal), p->min, p->max);
  }
}

void nm_average_pool_s8(const struct nm_pool_s8 *p, const int8_t *input, int8_t *output) {
  nm_each_window_s8(p, average_window, input, output);
}
