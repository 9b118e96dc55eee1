// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

union bits {
  float real;
  int32_t integer;
};

void nm_quantize_f32_s8(const struct nm_quantize_f32 *p, const float *input, int8_t *output) {
  for (size_t i = 0; i < p->count; i++) {
    const union bits value = {input[i]};
    // Of negative floats, those with larger bits are less.
    const int32_t order = value.integer < 0 ? value.integer ^ INT32_MAX : value.integer;
    const int32_t *thresholds = p->thresholds;
    for (size_t half = 128; half != 0; half >>= 1) {
      thresholds += order >= thresholds[half - 1] ? half : 0;
    }
    output[i] = (int8_t) (thresholds - p->thresholds - 128);
  }
}
