// SPDX-License-Identifier: BSD-3-Clause
//
// Weights [channels][columns], columns a multiple of 4.

#include "requantize.h"

void nm_matmul_dense1x2_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                           size_t count, int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  for (; count != 0; count -= count > 1 ? 2 : 1) {
    const size_t more = count > 1 ? 1 : 0;
    const int8_t *x0 = pixels;
    const int8_t *x1 = pixels + more * pixel_stride;
    int8_t *y0 = output;
    int8_t *y1 = output + more * output_stride;
    const int8_t *w = filter->weights;
    for (size_t c = 0; c < filter->channels; c++) {
      uint32_t sum0 = (uint32_t) filter->bias[c];
      uint32_t sum1 = sum0;
      for (size_t k = 0; k < filter->columns; k += 4) {
        for (size_t j = k; j < k + 4; j++) {
          sum0 += nm_product(w[j], x0[j]);
          sum1 += nm_product(w[j], x1[j]);
        }
      }
      y0[c] = nm_requantize_s8(filter, c, sum0);
      y1[c] = nm_requantize_s8(filter, c, sum1);
      w += filter->columns;
    }
    pixels += 2 * pixel_stride;
    output += 2 * output_stride;
  }
}
