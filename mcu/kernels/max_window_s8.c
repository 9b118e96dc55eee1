// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

void nm_max_window_s8(const struct nm_pool_s8 *p, const int8_t *input, size_t height, size_t width, int8_t *output) {
  const size_t channels = p->channels;
  const size_t row = p->input_width * channels;
  for (size_t c = 0; c < channels; c++) {
    int32_t most = p->min;
    const int8_t *line = input + c;
    for (size_t y = 0; y < height; y++) {
      const int8_t *pixel = line;
      for (size_t x = 0; x < width; x++) {
        most = *pixel > most ? *pixel : most;
        pixel += channels;
      }
      line += row;
    }
    output[c] = (int8_t) (most > p->max ? p->max : most);
  }
}
