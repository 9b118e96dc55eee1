// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

// Rounds half away from zero.
void nm_quantize_f32_s8(const struct nm_affine_f32 *p, const float *input, int8_t *output) {
  for (size_t i = 0; i < p->count; i++) {
    float steps = input[i] / p->scale;
    steps = steps < 512.0f ? steps : 512.0f;
    steps = steps > -512.0f ? steps : -512.0f;
    int32_t whole = (int32_t) steps;
    const float rest = steps - (float) whole;
    whole += (rest >= 0.5f) - (rest <= -0.5f);
    output[i] = nm_clamp_s8(whole + p->zero_point, -128, 127);
  }
}
