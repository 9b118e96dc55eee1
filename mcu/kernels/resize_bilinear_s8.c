// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

struct place {
  size_t low;
  size_t high;
  int32_t part;  // of the way from low, in 1/1024
};

static struct place place_of(size_t index, int32_t step, int32_t start, uint32_t size) {
  const int32_t position = (int32_t) index * step + start;
  const int32_t low = position > 0 ? position >> 10 : 0;
  const int32_t last = (int32_t) size - 1;
  const int32_t high = (position + 1023) >> 10;
  struct place found;
  found.low = (size_t) low;
  found.high = (size_t) (high > last ? last : high);
  found.part = position - low * 1024;
  return found;
}

void nm_resize_bilinear_s8(const struct nm_resize_bilinear_s8 *p, const int8_t *input, int8_t *output) {
  const size_t channels = p->channels;
  for (size_t image = 0; image < p->batch; image++) {
    for (size_t y = 0; y < p->output_height; y++) {
      const struct place row = place_of(y, p->height_step, p->height_start, p->input_height);
      const int8_t *top = input + row.low * p->input_width * channels;
      const int8_t *bottom = input + row.high * p->input_width * channels;
      for (size_t x = 0; x < p->output_width; x++) {
        const struct place column = place_of(x, p->width_step, p->width_start, p->input_width);
        for (size_t c = 0; c < channels; c++) {
          const size_t left = column.low * channels + c;
          const size_t right = column.high * channels + c;
          const int32_t above = top[left] * (1024 - column.part) + top[right] * column.part;
          const int32_t below = bottom[left] * (1024 - column.part) + bottom[right] * column.part;
          const int32_t sum = above * (1024 - row.part) + below * row.part;
          *output++ = (int8_t) ((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
        }
      }
    }
    input += (size_t) p->input_height * p->input_width * channels;
  }
}
