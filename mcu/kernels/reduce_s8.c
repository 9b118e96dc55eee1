// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

// The largest of what goes with one output; of values times sign.
static int32_t extreme(const struct nm_reduce_s8 *p, const int8_t *input, int32_t sign) {
  const uint32_t *stride = p->reduced_stride;
  int32_t most = INT32_MIN;
  for (size_t i = 0; i < p->reduced_size[0]; i++) {
    for (size_t j = 0; j < p->reduced_size[1]; j++) {
      const int8_t *value = input + i * stride[0] + j * stride[1];
      for (size_t k = 0; k < p->reduced_size[2]; k++) {
        most = sign * *value > most ? sign * *value : most;
        value += stride[2];
      }
    }
  }
  return sign * most;
}

static void each_output(const struct nm_reduce_s8 *p, const int8_t *input, int32_t sign, int8_t *output) {
  const uint32_t *stride = p->kept_stride;
  for (size_t i = 0; i < p->kept_size[0]; i++) {
    for (size_t j = 0; j < p->kept_size[1]; j++) {
      for (size_t k = 0; k < p->kept_size[2]; k++) {
        *output++ = (int8_t) extreme(p, input + i * stride[0] + j * stride[1] + k * stride[2], sign);
      }
    }
  }
}

void nm_reduce_max_s8(const struct nm_reduce_s8 *p, const int8_t *input, int8_t *output) {
  each_output(p, input, 1, output);
}

void nm_reduce_min_s8(const struct nm_reduce_s8 *p, const int8_t *input, int8_t *output) {
  each_output(p, input, -1, output);
}
