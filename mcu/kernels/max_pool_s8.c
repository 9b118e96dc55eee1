// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

void nm_max_pool_s8(const struct nm_pool_s8 *p, const int8_t *input, int8_t *output) {
  nm_each_window_s8(p, nm_max_window_s8, input, output);
}
