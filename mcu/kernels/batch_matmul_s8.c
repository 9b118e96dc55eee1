// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

// Writes a matrix [rows][columns] as [columns][rows].
static void turn(const int8_t *matrix, size_t rows, size_t columns, int8_t *turned) {
  for (size_t j = 0; j < columns; j++) {
    for (size_t i = 0; i < rows; i++) {
      *turned++ = matrix[i * columns + j];
    }
  }
}

static void sum_rows(const int8_t *matrix, size_t rows, size_t depth, int32_t factor, int32_t start, int32_t *sums) {
  for (size_t i = 0; i < rows; i++) {
    sums[i] = start - factor * nm_add_row_s8(matrix, depth);
    matrix += depth;
  }
}

// Four rows by two columns at a time; where there are fewer, a row or column is computed again.
static void one_product(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y, const int32_t *x_sums,
                        const int32_t *y_sums, int8_t *output) {
  const size_t rows = p->rows;
  const size_t columns = p->columns;
  const size_t depth = p->depth;
  const struct nm_scale scale = p->scale;
  const int32_t zero_point = p->output_zero_point;
  for (size_t i = 0; i < rows; i += 4) {
    const size_t high = rows - i < 4 ? rows - i : 4;
    for (size_t j = 0; j < columns; j += 2) {
      const size_t wide = columns - j < 2 ? 1 : 2;
      const size_t y_stride = wide == 2 ? depth : 0;
      int32_t sums[8];
      for (size_t a = 0; a < high; a += high == 4 ? 4 : 1) {
        nm_dots_4x2_s8(x + (i + a) * depth, high == 4 ? depth : 0, y + j * depth, y_stride, depth, sums);
        for (size_t row = i + a; row < i + (high == 4 ? 4 : a + 1); row++) {
          for (size_t b = 0; b < wide; b++) {
            const int32_t sum = sums[high == 4 ? 2 * (row - i) + b : b] + x_sums[row] + y_sums[j + b];
            output[row * columns + j + b] = nm_clamp_s8(nm_rescale(sum, scale) + zero_point, -128, 127);
          }
        }
      }
    }
  }
}

void nm_batch_matmul_s8(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y, int8_t *output,
                        void *scratch) {
  const size_t rows = p->rows;
  const size_t columns = p->columns;
  const size_t depth = p->depth;
  int32_t *x_sums = scratch;
  int32_t *y_sums = x_sums + rows;
  int8_t *x_turned = (int8_t *) (y_sums + columns);
  int8_t *y_turned = x_turned + (p->turn_x != 0 ? rows * depth : 0);
  const int32_t both = (int32_t) depth * p->x_zero_point * p->y_zero_point;
  for (size_t b0 = 0; b0 < p->batch[0]; b0++) {
    for (size_t b1 = 0; b1 < p->batch[1]; b1++) {
      for (size_t b2 = 0; b2 < p->batch[2]; b2++) {
        const int8_t *x_matrix =
            x + (b0 * p->x_stride[0] + b1 * p->x_stride[1] + b2 * p->x_stride[2]) * rows * depth;
        const int8_t *y_matrix =
            y + (b0 * p->y_stride[0] + b1 * p->y_stride[1] + b2 * p->y_stride[2]) * columns * depth;
        if (p->turn_x != 0) {
          turn(x_matrix, depth, rows, x_turned);
          x_matrix = x_turned;
        }
        if (p->turn_y != 0) {
          turn(y_matrix, depth, columns, y_turned);
          y_matrix = y_turned;
        }
        sum_rows(x_matrix, rows, depth, p->y_zero_point, both, x_sums);
        sum_rows(y_matrix, columns, depth, p->x_zero_point, 0, y_sums);
        one_product(p, x_matrix, y_matrix, x_sums, y_sums, output);
        output += rows * columns;
      }
    }
  }
}

void nm_batch_matmul_constant_s8(const struct nm_batch_matmul_s8 *p, const int8_t *x, int8_t *output, void *scratch) {
  nm_batch_matmul_s8(p, x, p->constant, output, scratch);
}
