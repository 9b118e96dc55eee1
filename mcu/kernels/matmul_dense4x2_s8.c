// SPDX-License-Identifier: BSD-3-Clause
//
// Weights [channels / 4][columns / 4][4 channels][4 columns], with zeros for channels and columns that are not.

#include "matmul_tile.h"

void nm_matmul_dense4x2_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                           size_t count, int8_t *output, size_t output_stride, void *scratch) {
  (void) scratch;
  nm_tile_dense(filter, pixels, pixel_stride, count, output, output_stride);
}
