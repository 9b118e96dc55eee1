// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

void nm_lookup_s8(const struct nm_lookup_s8 *p, const int8_t *input, int8_t *output) {
  const int8_t *table = p->table;
  size_t left = p->count;
  for (; left >= 4; left -= 4) {
    const int8_t a = table[(uint8_t) input[0]];
    const int8_t b = table[(uint8_t) input[1]];
    const int8_t c = table[(uint8_t) input[2]];
    const int8_t d = table[(uint8_t) input[3]];
    input += 4;
    output[0] = a;
    output[1] = b;
    output[2] = c;
    output[3] = d;
    output += 4;
  }
  for (; left != 0; left--) {
    *output++ = table[(uint8_t) *input++];
  }
}
