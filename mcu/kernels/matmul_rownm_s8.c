// SPDX-License-Identifier: BSD-3-Clause
//
// Each channel keeps one of every M columns: the format of the gather instruction. Weights [channel][block]; the index
// is a uint32_t for eight blocks, with the column in a block in four bits. `kept` counts eight blocks.

#include "requantize.h"

static inline void nm_rownm(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride, size_t count,
                            int8_t *output, size_t output_stride, size_t m) {
  for (size_t i = 0; i < count; i++) {
    const int8_t *w = filter->weights;
    const uint32_t *index = filter->index;
    for (size_t c = 0; c < filter->channels; c++) {
      const int8_t *x = pixels;
      uint32_t sum = (uint32_t) filter->bias[c];
      for (size_t s = 0; s < filter->kept; s++) {
        const uint32_t offsets = *index++;
        for (size_t j = 0; j < 8; j++) {
          sum += nm_product(w[j], x[j * m + (offsets >> 4 * j & 15)]);
        }
        x += 8 * m;
        w += 8;
      }
      output[c] = nm_requantize_s8(filter, c, sum);
    }
    pixels += pixel_stride;
    output += output_stride;
  }
}

void nm_matmul_rownm4_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                           size_t count, int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  nm_rownm(filter, pixels, pixel_stride, count, output, output_stride, 4);
}

void nm_matmul_rownm8_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                           size_t count, int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  nm_rownm(filter, pixels, pixel_stride, count, output, output_stride, 8);
}

void nm_matmul_rownm16_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                           size_t count, int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  nm_rownm(filter, pixels, pixel_stride, count, output, output_stride, 16);
}
