// SPDX-License-Identifier: BSD-3-Clause
//
// Any filter, its weights as they are: what packed kernels refuse.

#include "requantize.h"

void nm_matmul_portable_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                           size_t count, int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  for (size_t i = 0; i < count; i++) {
    const int8_t *w = filter->weights;
    for (size_t c = 0; c < filter->channels; c++) {
      uint32_t sum = (uint32_t) filter->bias[c];
      for (size_t k = 0; k < filter->columns; k++) {
        sum += nm_product(w[k], pixels[k]);
      }
      output[c] = nm_requantize_s8(filter, c, sum);
      w += filter->columns;
    }
    pixels += pixel_stride;
    output += output_stride;
  }
}
