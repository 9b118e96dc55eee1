// SPDX-License-Identifier: BSD-3-Clause

#include <string.h>

#include "im2col.h"

void nm_copy_s8(int8_t *to, const int8_t *from, size_t count) { memmove(to, from, count); }

void nm_fill_s8(int8_t *to, int8_t value, size_t count) { memset(to, value, count); }

void nm_interleave_s8(int8_t *to, const int8_t *const from[4], size_t count) {
  const int8_t *const x0 = from[0];
  const int8_t *const x1 = from[1];
  const int8_t *const x2 = from[2];
  const int8_t *const x3 = from[3];
  for (size_t i = 0; i < count; i++) {
    to[4 * i] = x0[i];
    to[4 * i + 1] = x1[i];
    to[4 * i + 2] = x2[i];
    to[4 * i + 3] = x3[i];
  }
}

void nm_planar_s8(int8_t *to, size_t pitch, const int8_t *from, size_t channels, size_t count) {
  for (size_t c = 0; c < channels; c++) {
    for (size_t i = 0; i < count; i++) {
      to[c * pitch + i] = from[i * channels + c];
    }
  }
}
