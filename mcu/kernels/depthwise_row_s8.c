// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

void nm_depthwise_row_s8(const struct nm_depthwise_s8 *p, const int8_t *rows, const uint32_t *offsets,
                         int8_t *output) {
  nm_depthwise_any_row_s8(p, rows, offsets, output);
}
