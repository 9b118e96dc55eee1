// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

void nm_lookup_s8(const struct nm_lookup_s8 *p, const int8_t *input, int8_t *output) {
  const int8_t *table = p->table;
  for (size_t i = 0; i < p->count; i++) {
    output[i] = table[(uint8_t) input[i]];
  }
}
