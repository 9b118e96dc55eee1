// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

// Sums of `outputs` columns beside one another, four at a time, of all that goes.
static void sum_columns(const struct nm_reduce_s8 *p, const int8_t *input, size_t outputs, int32_t sums[4]) {
  const uint32_t *stride = p->reduced_stride;
  const size_t rows = p->reduced_size[2];
  for (size_t i = 0; i < 4; i++) {
    sums[i] = 0;
  }
  for (size_t i = 0; i < p->reduced_size[0]; i++) {
    for (size_t j = 0; j < p->reduced_size[1]; j++) {
      const int8_t *first = input + i * stride[0] + j * stride[1];
      if (outputs == 4) {
        nm_add_columns_s8(sums, first, stride[2], rows);
      } else if (stride[2] == 1) {
        sums[0] += nm_add_row_s8(first, rows);
      } else {
        for (size_t k = 0; k < rows; k++) {
          sums[0] += first[k * stride[2]];
        }
      }
    }
  }
}

void nm_mean_s8(const struct nm_reduce_s8 *p, const int8_t *input, int8_t *output) {
  const uint32_t *stride = p->kept_stride;
  const size_t columns = p->kept_size[2];
  for (size_t i = 0; i < p->kept_size[0]; i++) {
    for (size_t j = 0; j < p->kept_size[1]; j++) {
      for (size_t k = 0; k < columns;) {
        const size_t outputs = stride[2] == 1 && columns - k >= 4 ? 4 : 1;
        int32_t sums[4];
        sum_columns(p, input + i * stride[0] + j * stride[1] + k * stride[2], outputs, sums);
        for (size_t n = 0; n < outputs; n++) {
          const int32_t scaled = nm_rescale(sums[n] + p->offset, p->scale);
          *output++ = nm_clamp_s8(scaled + p->output_zero_point, -128, 127);
        }
        k += outputs;
      }
    }
  }
}
