// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What each operator of a Runtime took, and what it is.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"

#ifdef __cplusplus
extern "C" {
#endif

/// An operator of a Runtime that was created with XNN_FLAG_BASIC_PROFILING. Pointers are valid as long as the Runtime.
struct xnn_nm_operator_profile {
  /// Identifier of its Node, as in struct xnn_nm_layer_info, and of the Values that it reads and writes.
  uint32_t node_id;
  uint32_t num_inputs;
  uint32_t num_outputs;
  const uint32_t* inputs;
  const uint32_t* outputs;
  /// Its name, and that of the kind of its micro-kernel, or NULL.
  const char* type;
  const char* kind;
  /// The micro-kernel of most of its work, 0 where that is not known; of N:M operators in CNHW layout that of the tallest
  /// blocks.
  uintptr_t ukernel;
  /// It brings an image from one layout to the other.
  bool is_conversion;
  /// Multiplications by weights that a dense operator needs, 0 where there are none.
  uint64_t multiplications;
  /// What it took when the Runtime was last invoked, by the clock.
  uint64_t nanoseconds;
};

/// Query what each operator of a Runtime took when it was last invoked. Unlike @ref xnn_get_runtime_profiling_info this is
/// not cut off to microseconds, and says which Nodes the operators are.
///
/// @param runtime - a Runtime object. If it was created without XNN_FLAG_BASIC_PROFILING, xnn_status_invalid_state is
///                  returned.
/// @param count - in: number of elements in profiles. out: number of operators in the Runtime.
/// @param profiles - array to be filled, in order of execution; NULL to query the number alone. If it is too small,
///                   xnn_status_out_of_memory is returned.
enum xnn_status xnn_get_runtime_nm_operator_profiles(
  xnn_runtime_t runtime,
  size_t* count,
  struct xnn_nm_operator_profile* profiles);

#ifdef __cplusplus
}  // extern "C"
#endif
