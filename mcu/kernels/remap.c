// SPDX-License-Identifier: BSD-3-Clause

#include "im2col.h"
#include "nm_operators.h"

void nm_remap(const struct nm_remap *p, const void *input, void *output) {
  const size_t run = p->run;
  int8_t *to = output;
  uint32_t place[NM_MOST_AXES] = {0};
  for (;;) {
    const int8_t *from = input;
    const uint32_t *offsets = p->offsets;
    for (size_t axis = 0; axis < p->axes; axis++) {
      from += offsets[place[axis]];
      offsets += p->size[axis];
    }
    nm_copy_s8(to, from, run);
    to += run;
    size_t axis = p->axes;
    do {
      if (axis == 0) {
        return;
      }
      axis--;
      place[axis] = place[axis] + 1 < p->size[axis] ? place[axis] + 1 : 0;
    } while (place[axis] == 0);
  }
}
