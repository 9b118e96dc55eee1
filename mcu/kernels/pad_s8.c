// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

void nm_pad_s8(const struct nm_pad_s8 *p, const int8_t *input, int8_t *output) {
  for (size_t i = 0; i < p->count; i++) {
    output[i] = p->value;
  }
  nm_copy(&p->box, input, output);
}
