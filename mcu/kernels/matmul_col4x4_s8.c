// SPDX-License-Identifier: BSD-3-Clause
//
// Tiles of four channels share their columns, pixels are interleaved. Weights [tile][kept columns / 4][4 channels]
// [4 columns], with zeros for channels that are not; the index counts four columns in a step, and bytes in distances.

#include "matmul_tile.h"

void nm_matmul_col4x4_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride, size_t count,
                         int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  while (count != 0) {
    const size_t some = count < 4 ? count : 4;
    const int8_t *w = filter->weights;
    const uint8_t *index = filter->index;
    for (size_t c = 0; c < filter->channels; c += 4) {
      const size_t steps = nm_index_half(index);
      const int8_t *x = pixels + nm_index_half(index + 2);
      index += 4;
      struct nm_tile_sums sums;
      nm_tile_begin(filter, c, &sums);
      nm_tile_columns(w, x, steps, index, &sums);
      index += 4 * steps;
      w += 16 * steps;
      nm_tile_end(filter, c, &sums, some, output, output_stride);
    }
    pixels += pixel_stride;
    output += 4 * output_stride;
    count -= some;
  }
}
