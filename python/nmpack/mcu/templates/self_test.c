// SPDX-License-Identifier: BSD-3-Clause
//
// Compares the network with golden vectors; the status is 0 if every byte is right.

#include "@name@.h"

#include "golden.h"

#if defined(NM_PLATFORM)
#include "nm_platform.h"
static void say(const char *text) {
  nm_puts(text);
}
#else
#include <stdio.h>
static void say(const char *text) {
  fputs(text, stdout);
}
#endif

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
  for (size_t vector = 0; vector < @NAME@_GOLDEN; vector++) {
    for (size_t i = 0; i < @NAME@_INPUT_BYTES; i++) {
      input.bytes[i] = @name@_golden_inputs[vector * @NAME@_INPUT_BYTES + i];
    }
    for (size_t i = 0; i < @NAME@_OUTPUT_BYTES; i++) {
      output.bytes[i] = (int8_t) ~@name@_golden_outputs[vector * @NAME@_OUTPUT_BYTES + i];
    }
    if (@name@_run(input.bytes, output.bytes, arena.bytes) != 0) {
      say("FAIL @name@: the network refused its memory\n");
      return 2;
    }
    for (size_t i = 0; i < @NAME@_OUTPUT_BYTES; i++) {
      if (output.bytes[i] != @name@_golden_outputs[vector * @NAME@_OUTPUT_BYTES + i]) {
        say("FAIL @name@: an output differs from TFLite's reference kernels\n");
        return 1;
      }
    }
  }
  say("PASS @name@: bit for bit TFLite's reference kernels\n");
  return 0;
}
