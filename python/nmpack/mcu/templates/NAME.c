// SPDX-License-Identifier: BSD-3-Clause

#include "@name@.h"

#include "@name@_weights.h"

int @name@_run(const int8_t *input, int8_t *output, void *arena) {
  return @name@_run_with_hook(input, output, arena, NULL, NULL);
}

int @name@_run_with_hook(const int8_t *input, int8_t *output, void *arena, @name@_hook *hook, void *context) {
  if (input == NULL || output == NULL || arena == NULL ||@more@
      (uintptr_t) arena % @NAME@_ARENA_ALIGNMENT != 0) {
    return 1;
  }
@calls@  return 0;
}
