// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

void nm_table_sum_s8(const struct nm_table_sum_s8 *p, const int8_t *x, const int8_t *y, int8_t *output) {
  nm_each_row_s8(&p->pairs, nm_table_sum_row_s8, p, x, y, output);
}

void nm_table_sum_constant_s8(const struct nm_table_sum_s8 *p, const int8_t *x, int8_t *output) {
  nm_table_sum_s8(p, x, p->constant, output);
}
