// SPDX-License-Identifier: BSD-3-Clause

#include "im2col.h"
#include "nm_operators.h"

// What lies in scratch.
struct parts {
  int32_t *x_sums;
  int32_t *y_sums;
  int8_t *y_words;
  int8_t *zeros;
  int8_t *x_rows;
};

static size_t whole_words(size_t count) { return (count + 3) & ~(size_t) 3; }

// The rows of x, whole words with zeros behind them.
static const int8_t *rows_of_x(const struct nm_batch_matmul_s8 *p, const int8_t *x, int8_t *rows) {
  const size_t depth = p->depth;
  const size_t pitch = whole_words(depth);
  if (p->turn_x == 0 && pitch == depth) {
    return x;
  }
  for (size_t i = 0; i < p->rows; i++) {
    nm_fill_s8(rows + (i + 1) * pitch - 4, 0, 4);
    if (p->turn_x == 0) {
      nm_copy_s8(rows + i * pitch, x + i * depth, depth);
    }
  }
  if (p->turn_x != 0) {
    nm_planar_s8(rows, pitch, x, p->rows, depth);
  }
  return rows;
}

// Words of four values of each column, those of all columns together.
static void words_of_y(const struct nm_batch_matmul_s8 *p, const int8_t *y, const int8_t *zeros, int8_t *words) {
  const size_t columns = p->columns;
  const size_t depth = p->depth;
  const size_t pitch = 4 * whole_words(columns);
  if (p->turn_y != 0) {
    for (size_t k = 0; k < depth; k += 4) {
      const int8_t *from[4];
      for (size_t i = 0; i < 4; i++) {
        from[i] = k + i < depth ? y + (k + i) * columns : zeros;
      }
      nm_interleave_s8(words, from, columns);
      words += pitch;
    }
    return;
  }
  for (size_t j = 0; j < columns; j++) {
    int8_t *to = words + 4 * j;
    for (size_t k = 0; k < depth; k += 4) {
      for (size_t i = 0; i < 4; i++) {
        to[i] = k + i < depth ? y[i] : 0;
      }
      y += depth - k < 4 ? depth - k : 4;
      to += pitch;
    }
  }
}

// Where a sum may be too large for the other form.
static void any_rows(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y, const int32_t *x_sums,
                     const int32_t *y_sums, int8_t *output) {
  const size_t depth = whole_words(p->depth);
  const size_t pitch = 4 * whole_words(p->columns);
  for (size_t i = 0; i < p->rows; i++) {
    for (size_t j = 0; j < p->columns; j++) {
      int32_t sum = x_sums[i] + y_sums[j];
      for (size_t k = 0; k < depth; k++) {
        sum += x[k] * y[k / 4 * pitch + 4 * j + k % 4];
      }
      *output++ = nm_clamp_s8(nm_rescale(sum, p->scale) + p->output_zero_point, -128, 127);
    }
    x += depth;
  }
}

static void one_product(const struct nm_batch_matmul_s8 *p, const struct parts *parts, const int8_t *x,
                        const int8_t *y, int8_t *output) {
  const size_t depth = whole_words(p->depth);
  const int32_t both = (int32_t) p->depth * p->x_zero_point * p->y_zero_point;
  const int8_t *const rows = rows_of_x(p, x, parts->x_rows);
  words_of_y(p, y, parts->zeros, parts->y_words);
  for (size_t i = 0; i < p->rows; i++) {
    parts->x_sums[i] = both;
    if (p->y_zero_point != 0) {
      parts->x_sums[i] -= p->y_zero_point * nm_add_row_s8(rows + i * depth, depth);
    }
  }
  nm_product_sums_s8(p, parts->y_words, parts->y_sums);
  if (p->fine.right != 0) {
    nm_product_rows_s8(p, rows, parts->y_words, parts->x_sums, parts->y_sums, output);
  } else {
    any_rows(p, rows, parts->y_words, parts->x_sums, parts->y_sums, output);
  }
}

void nm_batch_matmul_s8(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y, int8_t *output,
                        void *scratch) {
  const size_t rows = p->rows;
  const size_t columns = p->columns;
  const size_t depth = p->depth;
  struct parts parts;
  parts.x_sums = scratch;
  parts.y_sums = parts.x_sums + rows;
  parts.y_words = (int8_t *) (parts.y_sums + whole_words(columns));
  parts.zeros = parts.y_words + whole_words(depth) * whole_words(columns);
  parts.x_rows = parts.zeros + whole_words(columns);
  nm_fill_s8(parts.zeros, 0, columns);
  for (size_t b0 = 0; b0 < p->batch[0]; b0++) {
    for (size_t b1 = 0; b1 < p->batch[1]; b1++) {
      for (size_t b2 = 0; b2 < p->batch[2]; b2++) {
        const size_t x_place = b0 * p->x_stride[0] + b1 * p->x_stride[1] + b2 * p->x_stride[2];
        const size_t y_place = b0 * p->y_stride[0] + b1 * p->y_stride[1] + b2 * p->y_stride[2];
        one_product(p, &parts, x + x_place * rows * depth, y + y_place * columns * depth, output);
        output += rows * columns;
      }
    }
  }
}

void nm_batch_matmul_constant_s8(const struct nm_batch_matmul_s8 *p, const int8_t *x, int8_t *output, void *scratch) {
  nm_batch_matmul_s8(p, x, p->constant, output, scratch);
}
