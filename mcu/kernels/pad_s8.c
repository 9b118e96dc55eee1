// SPDX-License-Identifier: BSD-3-Clause

#include "im2col.h"
#include "nm_operators.h"

void nm_pad_s8(const struct nm_pad_s8 *p, const int8_t *input, int8_t *output) {
  nm_fill_s8(output, p->value, p->count);
  nm_copy(&p->box, input, output);
}
