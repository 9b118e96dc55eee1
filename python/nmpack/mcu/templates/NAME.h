// SPDX-License-Identifier: BSD-3-Clause
//
// @model@ as C, written by nmpack mcu; README.txt says how it is built and called.

#ifndef @NAME@_H_
#define @NAME@_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Memory that the network works in, and what its address has to be a multiple of.
#define @NAME@_ARENA_BYTES @arena@
#define @NAME@_ARENA_ALIGNMENT @alignment@

// Constants in flash: weights, their indices, and what requantizes sums.
#define @NAME@_WEIGHT_BYTES @weights@

// Inputs and outputs: real = scale * (stored - zero point).
@ends@
// What runs after each layer: the layer's index, below the number of layers, and what it wrote last.
#define @NAME@_LAYERS @layers@
typedef void @name@_hook(void *context, int layer, const void *output, size_t bytes);
extern const char *const @name@_layer_names[@names@];

// Computes the output, of @NAME@_OUTPUT_BYTES, from the input, of @NAME@_INPUT_BYTES. Several tensors follow each other
// at their offsets. The arena keeps nothing from call to call, so networks may share one; input, output and arena do
// not overlap. Returns 0; or 1, and does nothing, where a pointer is null or not aligned.
int @name@_run(const int8_t *input, int8_t *output, void *arena);

// The same with a hook, which may be null.
int @name@_run_with_hook(const int8_t *input, int8_t *output, void *arena, @name@_hook *hook, void *context);

#ifdef __cplusplus
}
#endif

#endif  // @NAME@_H_
