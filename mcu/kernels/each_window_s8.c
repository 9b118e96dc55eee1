// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

void nm_each_window_s8(const struct nm_pool_s8 *p, nm_window_s8 *window, const int8_t *input, int8_t *output) {
  for (size_t image = 0; image < p->batch; image++) {
    for (size_t y = 0; y < p->output_height; y++) {
      const size_t bottom = y * p->stride_height + p->window_height;
      const size_t top = bottom - p->window_height > p->pad_top ? bottom - p->window_height - p->pad_top : 0;
      const size_t last_row = bottom - p->pad_top < p->input_height ? bottom - p->pad_top : p->input_height;
      for (size_t x = 0; x < p->output_width; x++) {
        const size_t right = x * p->stride_width + p->window_width;
        const size_t left = right - p->window_width > p->pad_left ? right - p->window_width - p->pad_left : 0;
        const size_t last_column = right - p->pad_left < p->input_width ? right - p->pad_left : p->input_width;
        window(p, input + (top * p->input_width + left) * p->channels, last_row - top, last_column - left, output);
        output += p->channels;
      }
    }
    input += (size_t) p->input_height * p->input_width * p->channels;
  }
}
