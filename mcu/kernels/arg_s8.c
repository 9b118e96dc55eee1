// SPDX-License-Identifier: BSD-3-Clause

#include "nm_operators.h"

// The first of the largest, or of the smallest if sign is -1.
static int32_t first_extreme(const int8_t *values, size_t stride, size_t count, int32_t sign) {
  int32_t best = sign * *values;
  size_t place = 0;
  for (size_t i = 1; i < count; i++) {
    values += stride;
    if (sign * *values > best) {
      best = sign * *values;
      place = i;
    }
  }
  return (int32_t) place;
}

void nm_arg_max_s8_s32(const struct nm_arg_s8 *p, const int8_t *input, int32_t *output) {
  for (size_t i = 0; i < p->outer; i++) {
    for (size_t j = 0; j < p->inner; j++) {
      *output++ = first_extreme(input + j, p->inner, p->size, 1);
    }
    input += (size_t) p->size * p->inner;
  }
}

void nm_arg_min_s8_s32(const struct nm_arg_s8 *p, const int8_t *input, int32_t *output) {
  for (size_t i = 0; i < p->outer; i++) {
    for (size_t j = 0; j < p->inner; j++) {
      *output++ = first_extreme(input + j, p->inner, p->size, -1);
    }
    input += (size_t) p->size * p->inner;
  }
}

void nm_arg_max_s8_s64(const struct nm_arg_s8 *p, const int8_t *input, int64_t *output) {
  for (size_t i = 0; i < p->outer; i++) {
    for (size_t j = 0; j < p->inner; j++) {
      *output++ = first_extreme(input + j, p->inner, p->size, 1);
    }
    input += (size_t) p->size * p->inner;
  }
}

void nm_arg_min_s8_s64(const struct nm_arg_s8 *p, const int8_t *input, int64_t *output) {
  for (size_t i = 0; i < p->outer; i++) {
    for (size_t j = 0; j < p->inner; j++) {
      *output++ = first_extreme(input + j, p->inner, p->size, -1);
    }
    input += (size_t) p->size * p->inner;
  }
}
