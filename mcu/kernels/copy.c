// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

void nm_copy(const struct nm_copy *p, const void *input, void *output) {
  const uint8_t *from = (const uint8_t *) input + p->input_offset;
  uint8_t *to = (uint8_t *) output + p->output_offset;
  const size_t run = p->run;
  uint32_t place[NM_MOST_AXES] = {0};
  for (;;) {
    for (size_t i = 0; i < run; i++) {
      to[i] = from[i];
    }
    size_t axis = p->axes;
    for (;;) {
      if (axis == 0) {
        return;
      }
      axis--;
      if (++place[axis] < p->size[axis]) {
        from += p->input_stride[axis];
        to += p->output_stride[axis];
        break;
      }
      from -= (ptrdiff_t) p->input_stride[axis] * (ptrdiff_t) (p->size[axis] - 1);
      to -= (ptrdiff_t) p->output_stride[axis] * (ptrdiff_t) (p->size[axis] - 1);
      place[axis] = 0;
    }
  }
}

void nm_copy_constant(const struct nm_copy *p, void *output) {
  nm_copy(p, p->constant, output);
}
