// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

void nm_dequantize_s8_f32(const struct nm_dequantize_f32 *p, const int8_t *input, float *output) {
  const float *values = p->values;
  for (size_t i = 0; i < p->count; i++) {
    output[i] = values[(uint8_t) input[i]];
  }
}
