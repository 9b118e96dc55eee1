// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

// Rounds half away from zero. A sum of at most 4096 values and half their number is divided by a
// multiplication: with r = floor((2^32 - 1) / count) + 1 the error of sum * r / 2^32 is below 1 / count.
void nm_average_window_s8(const struct nm_pool_s8 *p, const int8_t *input, size_t height, size_t width,
                          int8_t *output) {
  const size_t channels = p->channels;
  const size_t row = p->input_width * channels;
  const uint32_t count = (uint32_t) (height * width);
  const uint32_t reciprocal = UINT32_MAX / count + 1;
  for (size_t c = 0; c < channels; c++) {
    int32_t sum = 0;
    const int8_t *line = input + c;
    for (size_t y = 0; y < height; y++) {
      const int8_t *pixel = line;
      for (size_t x = 0; x < width; x++) {
        sum += *pixel;
        pixel += channels;
      }
      line += row;
    }
    const uint32_t distance = (uint32_t) (sum < 0 ? -sum : sum) + count / 2;
    uint32_t quotient = (uint32_t) (((uint64_t) distance * reciprocal) >> 32);
    if (count == 1) {
      quotient = distance;
    } else if (count > 4096) {
      quotient = distance / count;
    }
    output[c] = nm_clamp_s8(sum < 0 ? -(int32_t) quotient : (int32_t) quotient, p->min, p->max);
  }
}
