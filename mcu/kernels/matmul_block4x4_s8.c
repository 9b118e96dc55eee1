// SPDX-License-Identifier: BSD-3-Clause
//
// Tiles of four channels share blocks of four consecutive columns. Weights [tile][kept block][4 channels][4 columns];
// the index counts blocks in steps, and bytes of a row in distances; a tile's index is a multiple of 4 bytes.

#include "matmul_tile.h"

void nm_matmul_block4x4_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                           size_t count, int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  while (count != 0) {
    const size_t more = count > 1 ? 1 : 0;
    const int8_t *w = filter->weights;
    const uint8_t *index = filter->index;
    for (size_t c = 0; c < filter->channels; c += 4) {
      const size_t steps = nm_index_half(index);
      const int8_t *x = pixels + nm_index_half(index + 2);
      index += 4;
      struct nm_tile_sums sums;
      nm_tile_begin(filter, c, &sums);
      nm_tile_rows(w, x, x + more * pixel_stride, steps, index, &sums);
      w += 16 * steps;
      index += (steps + 3) / 4 * 4;
      nm_tile_end(filter, c, &sums, 1 + more, output, output_stride);
    }
    pixels += 2 * pixel_stride;
    output += 2 * output_stride;
    count -= 1 + more;
  }
}
