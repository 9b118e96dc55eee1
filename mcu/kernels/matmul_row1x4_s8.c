// SPDX-License-Identifier: BSD-3-Clause
//
// Each channel keeps its own columns, pixels are interleaved. Weights [channel][kept column]; the index counts four
// columns in a step, and bytes in distances.

#include "matmul_tile.h"

void nm_matmul_row1x4_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride, size_t count,
                         int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  while (count != 0) {
    const size_t some = count < 4 ? count : 4;
    const int8_t *w = filter->weights;
    const uint8_t *index = filter->index;
    for (size_t c = 0; c < filter->channels; c++) {
      const size_t kept = 4 * nm_index_half(index);
      const int8_t *x = pixels + nm_index_half(index + 2);
      index += 4;
      uint32_t a[4] = {0};
      for (size_t k = 0; k < kept; k++) {
        for (size_t p = 0; p < 4; p++) {
          a[p] += nm_product(w[k], x[p]);
        }
        x += index[k];
      }
      w += kept;
      index += kept;
      const uint32_t sums[4] = {a[0], a[1], a[2], a[3]};
      for (size_t p = 0; p < some; p++) {
        output[p * output_stride + c] = nm_requantize_s8(filter, c, (uint32_t) filter->bias[c] + sums[p]);
      }
    }
    pixels += pixel_stride;
    output += 4 * output_stride;
    count -= some;
  }
}
