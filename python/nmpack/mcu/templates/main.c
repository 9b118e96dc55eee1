// SPDX-License-Identifier: BSD-3-Clause
//
// Reads raw inputs from standard input, one after the other, and writes the raw output of each.

#include <stdio.h>

#include "@name@.h"

static union {
  int8_t bytes[@NAME@_INPUT_BYTES];
  double aligned;
} input;
static union {
  int8_t bytes[@NAME@_OUTPUT_BYTES];
  double aligned;
} output;
static union {
  int8_t bytes[@NAME@_ARENA_BYTES];
  double aligned;
} arena;

int main(void) {
  for (;;) {
    const size_t got = fread(input.bytes, 1, sizeof(input.bytes), stdin);
    if (got == 0) {
      break;
    }
    if (got != sizeof(input.bytes)) {
      fprintf(stderr, "@name@: expected inputs of %lu bytes, the last has %lu\n",
              (unsigned long) sizeof(input.bytes), (unsigned long) got);
      return 1;
    }
    if (@name@_run(input.bytes, output.bytes, arena.bytes) != 0) {
      fprintf(stderr, "@name@: the network refused its memory\n");
      return 1;
    }
    if (fwrite(output.bytes, 1, sizeof(output.bytes), stdout) != sizeof(output.bytes)) {
      fprintf(stderr, "@name@: the output cannot be written\n");
      return 1;
    }
  }
  if (ferror(stdin) || fflush(stdout) != 0) {
    fprintf(stderr, "@name@: reading or writing failed\n");
    return 1;
  }
  return 0;
}
