// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

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

// What is left where fewer than four rows or two columns are.
static void one_output(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y, int32_t sum,
                       int8_t *output) {
  for (size_t k = 0; k < p->depth; k++) {
    sum += x[k] * y[k];
  }
  *output = nm_clamp_s8(nm_rescale(sum, p->scale) + p->output_zero_point, -128, 127);
}

static void one_product(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y, const int32_t *x_sums,
                        const int32_t *y_sums, int8_t *output) {
  const size_t columns = p->columns;
  const size_t depth = p->depth;
  size_t rows = p->rows;
  for (; rows >= 4; rows -= 4) {
    size_t j = 0;
    for (; j + 2 <= columns; j += 2) {
      nm_block_4x2_s8(p, x, y + j * depth, depth, x_sums, y_sums + j, output + j, columns);
    }
    if (j < columns) {
      for (size_t i = 0; i < 4; i++) {
        one_output(p, x + i * depth, y + j * depth, x_sums[i] + y_sums[j], output + i * columns + j);
      }
    }
    x += 4 * depth;
    x_sums += 4;
    output += 4 * columns;
  }
  for (; rows != 0; rows--) {
    for (size_t j = 0; j < columns; j++) {
      one_output(p, x, y + j * depth, *x_sums + y_sums[j], output + j);
    }
    x += depth;
    x_sums++;
    output += columns;
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
