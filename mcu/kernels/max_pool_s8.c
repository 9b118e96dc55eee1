// SPDX-License-Identifier: BSD-3-Clause

#include "im2col.h"
#include "nm_operators.h"

static void max_window(const struct nm_pool_s8 *p, const int8_t *input, size_t height, size_t width,
                       int8_t *output) {
  const size_t channels = p->channels;
  nm_copy_s8(output, input, channels);
  for (size_t y = 0; y < height; y++) {
    for (size_t x = y == 0 ? 1 : 0; x < width; x++) {
      nm_max_row_s8(output, input + (y * p->input_width + x) * channels, channels);
    }
  }
  if (p->min != INT8_MIN || p->max != INT8_MAX) {
    for (size_t c = 0; c < channels; c++) {
      output[c] = nm_clamp_s8(output[c], p->min, p->max);
    }
  }
}

void nm_max_pool_s8(const struct nm_pool_s8 *p, const int8_t *input, int8_t *output) {
  nm_each_window_s8(p, max_window, input, output);
}
