// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

void nm_max_row_s8(int8_t *output, const int8_t *input, size_t count) {
  for (size_t i = 0; i < count; i++) {
    output[i] = input[i] > output[i] ? input[i] : output[i];
  }
}
