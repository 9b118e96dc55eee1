// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

void nm_each_row_s8(const struct nm_pairs *pairs, nm_row_s8 *row, const void *p, const int8_t *x, const int8_t *y,
                    int8_t *output) {
  const size_t inner = (size_t) pairs->axes - 1;
  const size_t count = pairs->size[inner];
  uint32_t place[NM_MOST_AXES] = {0};
  for (;;) {
    row(p, count, x, pairs->stride1[inner], y, pairs->stride2[inner], output);
    output += count;
    size_t axis = inner;
    for (;;) {
      if (axis == 0) {
        return;
      }
      axis--;
      if (++place[axis] < pairs->size[axis]) {
        x += pairs->stride1[axis];
        y += pairs->stride2[axis];
        break;
      }
      place[axis] = 0;
      x -= (size_t) pairs->stride1[axis] * (pairs->size[axis] - 1);
      y -= (size_t) pairs->stride2[axis] * (pairs->size[axis] - 1);
    }
  }
}
