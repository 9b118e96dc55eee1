// SPDX-License-Identifier: BSD-3-Clause
//
// Tiles of eight channels share their columns, pixels are interleaved. Weights [tile][2][kept columns / 4]
// [4 channels][4 columns], with zeros for channels that are not; the index counts four columns in a step, and bytes
// in distances. What is gathered for the first four channels stays in scratch for the others.

#include <string.h>

#include "matmul_tile.h"

void nm_matmul_col8x4_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride, size_t count,
                         int8_t *output, size_t output_stride, void *scratch) {
  while (count != 0) {
    const size_t some = count < 4 ? count : 4;
    const int8_t *w = filter->weights;
    const uint8_t *index = filter->index;
    for (size_t c = 0; c < filter->channels; c += 8) {
      const size_t kept = 4 * nm_index_half(index);
      const int8_t *x = pixels + nm_index_half(index + 2);
      index += 4;
      int8_t *gathered = scratch;
      for (size_t k = 0; k < kept; k++) {
        memcpy(gathered + 4 * k, x, 4);
        x += index[k];
      }
      index += kept;
      for (size_t half = 0; half < 8; half += 4) {
        struct nm_tile_sums sums;
        nm_tile_begin(filter, c + half, &sums);
        for (size_t k = 0; k < kept; k++) {
          nm_tile_column(w + k % 4, gathered + 4 * k, &sums);
          w += k % 4 == 3 ? 16 : 0;
        }
        nm_tile_end(filter, c + half, &sums, some, output, output_stride);
      }
    }
    pixels += pixel_stride;
    output += 4 * output_stride;
    count -= some;
  }
}
