// SPDX-License-Identifier: BSD-3-Clause
//
// Weights [channels / 4][columns / 4][4 channels][4 columns], with zeros for channels and columns that are not.

#include "matmul_tile.h"

void nm_matmul_dense4x4_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                           size_t count, int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  while (count != 0) {
    const size_t more = count > 1 ? 1 : 0;
    const int8_t *w = filter->weights;
    for (size_t c = 0; c < filter->channels; c += 4) {
      struct nm_tile_sums sums;
      nm_tile_begin(filter, c, &sums);
      nm_tile_rows(w, pixels, pixels + more * pixel_stride, filter->columns / 4u, NULL, &sums);
      w += 4 * (size_t) filter->columns;
      nm_tile_end(filter, c, &sums, 1 + more, output, output_stride);
    }
    pixels += 2 * pixel_stride;
    output += 2 * output_stride;
    count -= 1 + more;
  }
}
