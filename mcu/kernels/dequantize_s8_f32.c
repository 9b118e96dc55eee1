// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

void nm_dequantize_s8_f32(const struct nm_affine_f32 *p, const int8_t *input, float *output) {
  for (size_t i = 0; i < p->count; i++) {
    output[i] = p->scale * (float) (input[i] - p->zero_point);
  }
}
