// SPDX-License-Identifier: BSD-3-Clause
//
// Tiles of four channels share one of every M columns: the format of the gather instruction. Weights [tile]
// [blocks / 4][4 channels][4 blocks], with zeros for channels that are not; the index is a uint32_t for eight blocks,
// with the column in a block in four bits. `kept` counts eight blocks.

#include "requantize.h"

static inline void nm_colnm(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride, size_t count,
                            int8_t *output, size_t output_stride, size_t m) {
  for (size_t i = 0; i < count; i++) {
    const int8_t *w = filter->weights;
    const uint32_t *index = filter->index;
    for (size_t c = 0; c < filter->channels; c += 4) {
      const int8_t *x = pixels;
      uint32_t sums[4] = {0};
      for (size_t s = 0; s < filter->kept; s++) {
        const uint32_t offsets = *index++;
        for (size_t j = 0; j < 8; j++) {
          const int8_t value = x[j * m + (offsets >> 4 * j & 15)];
          for (size_t t = 0; t < 4; t++) {
            sums[t] += nm_product(w[j / 4 * 16 + 4 * t + j % 4], value);
          }
        }
        x += 8 * m;
        w += 32;
      }
      for (size_t t = 0; t < 4 && c + t < filter->channels; t++) {
        output[c + t] = nm_requantize_s8(filter, c + t, (uint32_t) filter->bias[c + t] + sums[t]);
      }
    }
    pixels += pixel_stride;
    output += output_stride;
  }
}

void nm_matmul_colnm4_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                           size_t count, int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  nm_colnm(filter, pixels, pixel_stride, count, output, output_stride, 4);
}

void nm_matmul_colnm8_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                           size_t count, int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  nm_colnm(filter, pixels, pixel_stride, count, output, output_stride, 8);
}

void nm_matmul_colnm16_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                           size_t count, int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  nm_colnm(filter, pixels, pixel_stride, count, output, output_stride, 16);
}
