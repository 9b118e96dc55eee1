// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"

static int32_t sum_of(int32_t so_far, const int8_t *values, size_t stride, size_t count) {
  for (; count != 0; count--) {
    so_far += *values;
    values += stride;
  }
  return so_far;
}

static int32_t largest_of(int32_t so_far, const int8_t *values, size_t stride, size_t count) {
  for (; count != 0; count--) {
    so_far = *values > so_far ? *values : so_far;
    values += stride;
  }
  return so_far;
}

static int32_t smallest_of(int32_t so_far, const int8_t *values, size_t stride, size_t count) {
  for (; count != 0; count--) {
    so_far = *values < so_far ? *values : so_far;
    values += stride;
  }
  return so_far;
}

typedef int32_t reduction(int32_t so_far, const int8_t *values, size_t stride, size_t count);

static int32_t reduced(const struct nm_reduce_s8 *p, reduction *reduce, int32_t start, const int8_t *input) {
  const uint32_t *stride = p->reduced_stride;
  for (size_t i = 0; i < p->reduced_size[0]; i++) {
    for (size_t j = 0; j < p->reduced_size[1]; j++) {
      start = reduce(start, input + i * stride[0] + j * stride[1], stride[2], p->reduced_size[2]);
    }
  }
  return start;
}

static int8_t finished(const struct nm_reduce_s8 *p, int32_t value) {
  return nm_clamp_s8(nm_rescale(value + p->offset, p->scale) + p->output_zero_point, -128, 127);
}

static int8_t as_it_is(const struct nm_reduce_s8 *p, int32_t value) {
  (void) p;
  return (int8_t) value;
}

static void each_output(const struct nm_reduce_s8 *p, reduction *reduce, int32_t start,
                        int8_t (*finish)(const struct nm_reduce_s8 *p, int32_t value), const int8_t *input,
                        int8_t *output) {
  const uint32_t *stride = p->kept_stride;
  for (size_t i = 0; i < p->kept_size[0]; i++) {
    for (size_t j = 0; j < p->kept_size[1]; j++) {
      for (size_t k = 0; k < p->kept_size[2]; k++) {
        const int8_t *first = input + i * stride[0] + j * stride[1] + k * stride[2];
        *output++ = finish(p, reduced(p, reduce, start, first));
      }
    }
  }
}

void nm_mean_s8(const struct nm_reduce_s8 *p, const int8_t *input, int8_t *output) {
  each_output(p, sum_of, 0, finished, input, output);
}

void nm_reduce_max_s8(const struct nm_reduce_s8 *p, const int8_t *input, int8_t *output) {
  each_output(p, largest_of, INT8_MIN, as_it_is, input, output);
}

void nm_reduce_min_s8(const struct nm_reduce_s8 *p, const int8_t *input, int8_t *output) {
  each_output(p, smallest_of, INT8_MAX, as_it_is, input, output);
}
