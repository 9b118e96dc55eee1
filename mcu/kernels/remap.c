// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

void nm_remap(const struct nm_remap *p, const void *input, void *output) {
  const size_t run = p->run;
  uint8_t *to = output;
  uint32_t place[NM_MOST_AXES] = {0};
  for (;;) {
    const uint8_t *from = input;
    const uint32_t *offsets = p->offsets;
    for (size_t axis = 0; axis < p->axes; axis++) {
      from += offsets[place[axis]];
      offsets += p->size[axis];
    }
    for (size_t i = 0; i < run; i++) {
      to[i] = from[i];
    }
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
