// SPDX-License-Identifier: BSD-3-Clause
//
// Each channel keeps its own columns. Weights [channel][kept column]; the index counts four columns in a step, and
// columns in distances.

#include "matmul_tile.h"

void nm_matmul_row1x1_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride, size_t count,
                         int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  for (size_t i = 0; i < count; i++) {
    const int8_t *w = filter->weights;
    const uint8_t *index = filter->index;
    for (size_t c = 0; c < filter->channels; c++) {
      const size_t kept = 4 * nm_index_half(index);
      const int8_t *x = pixels + nm_index_half(index + 2);
      index += 4;
      uint32_t sum = (uint32_t) filter->bias[c];
      for (size_t k = 0; k < kept; k += 4) {
        for (size_t j = 0; j < 4; j++) {
          sum += nm_product(w[k + j], *x);
          x += index[k + j];
        }
      }
      w += kept;
      index += kept;
      output[c] = nm_requantize_s8(filter, c, sum);
    }
    pixels += pixel_stride;
    output += output_stride;
  }
}
