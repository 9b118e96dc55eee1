// SPDX-License-Identifier: BSD-3-Clause
//
// Tiles of 8 channels share their columns. Weights [tile][kept columns / 4][8 channels][4 columns], with zeros for
// channels that are not; the index counts four columns in a step, and columns in distances.

#include "matmul_tile.h"

void nm_matmul_col8x1_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride, size_t count,
                         int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  for (size_t i = 0; i < count; i++) {
    const int8_t *w = filter->weights;
    const uint8_t *index = filter->index;
    for (size_t c = 0; c < filter->channels; c += 8) {
      const size_t steps = nm_index_half(index);
      const int8_t *x = pixels + nm_index_half(index + 2);
      index += 4;
      uint32_t a[8] = {0};
      for (size_t s = 0; s < steps; s++) {
        for (size_t j = 0; j < 4; j++) {
          for (size_t t = 0; t < 8; t++) {
            a[t] += nm_product(w[4 * t + j], *x);
          }
          x += *index++;
        }
        w += 4 * 8;
      }
      uint32_t sums[8];
      for (size_t t = 0; t < 8; t++) {
        sums[t] = a[t];
      }
      for (size_t t = 0; t < 8 && c + t < filter->channels; t++) {
        output[c + t] = nm_requantize_s8(filter, c + t, (uint32_t) filter->bias[c + t] + sums[t]);
      }
    }
    pixels += pixel_stride;
    output += output_stride;
  }
}
