// SPDX-License-Identifier: BSD-3-Clause
//
// Runs every case of a generated program on its data; see mcu_kernel_programs.py.

#include "nm_mcu.h"
#include "string.h"
#ifdef NM_HOST
#include <stdio.h>
#include <stdlib.h>
#else
#include "nm_platform.h"
#endif
@declarations@
struct test_case {
  int depthwise;
  const void *p;
  const int8_t *input;
  const int8_t *expected;
  uint32_t input_bytes;
  uint32_t output_bytes;
  uint32_t scratch_bytes;
};
static const struct test_case cases[] = {
@table@};

static void call(const struct test_case *t, const int8_t *input, int8_t *output, void *scratch) {
  if (t->depthwise) {
    nm_depthwise_s8(t->p, input, output, scratch);
  } else {
    nm_conv2d_s8(t->p, input, output, scratch);
  }
}

static int first_difference(const int8_t *x, const int8_t *y, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (x[i] != y[i]) {
      return (int) i;
    }
  }
  return -1;
}

#ifdef NM_HOST
int main(void) {
  int failed = 0;
  for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const struct test_case *t = &cases[i];
    int8_t *input = malloc(t->input_bytes);
    int8_t *output = malloc(t->output_bytes);
    void *scratch = malloc(t->scratch_bytes);
    memcpy(input, t->input, t->input_bytes);
    memset(output, 0x55, t->output_bytes);
    call(t, input, output, scratch);
    const int at = first_difference(output, t->expected, t->output_bytes);
    if (at >= 0) {
      printf("case %u differs at %d: expected %d, got %d\n", i, at, t->expected[at], output[at]);
      failed = 1;
    }
    free(input);
    free(output);
    free(scratch);
  }
  return failed;
}
#else
#define GUARD 64
static uint32_t output_words[(@output@ + 2 * GUARD + 3) / 4];
static uint32_t scratch_words[(@scratch@ + 2 * GUARD + 3) / 4];

static int untouched(const int8_t *guard) {
  for (int i = 0; i < GUARD; i++) {
    if (guard[i] != 0x55) {
      return 0;
    }
  }
  return 1;
}

int main(void) {
  int failed = 0;
  int8_t *const output = (int8_t *) output_words + GUARD;
  int8_t *const scratch = (int8_t *) scratch_words + GUARD;
  for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const struct test_case *t = &cases[i];
    memset(output_words, 0x55, sizeof(output_words));
    memset(scratch_words, 0x55, sizeof(scratch_words));
    nm_region_begin();
    call(t, t->input, output, scratch);
    nm_region_end(i + 1);
    const int at = first_difference(output, t->expected, t->output_bytes);
    if (at >= 0) {
      nm_puts("case ");
      nm_put_int((int) i);
      nm_puts(" differs at ");
      nm_put_int(at);
      nm_puts(": expected ");
      nm_put_int(t->expected[at]);
      nm_puts(", got ");
      nm_put_int(output[at]);
      nm_puts("\n");
      failed = 1;
    }
    if (!untouched(output - GUARD) || !untouched(output + t->output_bytes) ||
        !untouched(scratch - GUARD) || !untouched(scratch + t->scratch_bytes)) {
      nm_puts("case ");
      nm_put_int((int) i);
      nm_puts(" writes beyond its memory\n");
      failed = 1;
    }
  }
  return failed;
}
#endif
