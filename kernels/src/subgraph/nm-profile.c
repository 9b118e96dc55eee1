// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What each operator of a runtime took, and what it is.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm-profile.h"
#include "xnnpack/common.h"
#include "xnnpack/microkernel-type.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/nmspmm.h"
#include "xnnpack/node-type.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator.h"
#include "xnnpack/subgraph.h"

static uint64_t get_nanoseconds(const xnn_timestamp* start, const xnn_timestamp* end)
{
#ifdef __MACH__
  return *end - *start;
#elif __EMSCRIPTEN__
  return (uint64_t) ((*end - *start) * 1.0e6);
#elif XNN_PLATFORM_WINDOWS
  LARGE_INTEGER frequency;
  QueryPerformanceFrequency(&frequency);
  return (uint64_t) ((double) (end->QuadPart - start->QuadPart) * 1.0e9 / (double) frequency.QuadPart);
#else
  return (uint64_t) (end->tv_sec - start->tv_sec) * UINT64_C(1000000000) + (uint64_t) (end->tv_nsec - start->tv_nsec);
#endif
}

static bool in_cnhw(const struct xnn_operator* op)
{
  return op->nm.nmspmm != NULL;
}

static const char* get_kind(const struct xnn_operator* op)
{
  if (op->ukernel.type == xnn_microkernel_type_default) {
    return NULL;
  }
  return in_cnhw(op) ? "NMSpMM" : xnn_microkernel_type_to_string(op->ukernel.type);
}

static uintptr_t get_ukernel(const struct xnn_operator* op)
{
  switch (op->ukernel.type) {
    case xnn_microkernel_type_dwconv:
      return (uintptr_t) op->ukernel.dwconv.unipass_fn;
    case xnn_microkernel_type_gemm:
      // Attention has another context.
      return op->type == xnn_operator_type_scaled_dot_product_attention_nhtc_f16 ||
             op->type == xnn_operator_type_scaled_dot_product_attention_nhtc_f32 ?
        0 : (uintptr_t) op->context.gemm.gemm.gemm.ukernel.function[XNN_UARCH_DEFAULT];
    case xnn_microkernel_type_igemm:
      return (uintptr_t) op->context.igemm.igemm.ukernel.function[XNN_UARCH_DEFAULT];
    case xnn_microkernel_type_nmconv:
      return in_cnhw(op) ?
        (uintptr_t) op->nm.nmspmm->ukernel[op->nm.nmspmm->mr - 1] : (uintptr_t) op->nm.nmconv->ukernel;
    case xnn_microkernel_type_spmm:
      return (uintptr_t) op->ukernel.spmm.function;
    case xnn_microkernel_type_vmulcaddc:
      return (uintptr_t) op->ukernel.vmulcaddc.function;
    default:
      return 0;
  }
}

// For each element of the output a weight of each column; of a transposed convolution for each element of the input.
static uint64_t count_multiplications(const struct xnn_operator_data* opdata, const struct xnn_value* values)
{
  const struct xnn_operator* op = opdata->operator_objects[0];
  const struct xnn_shape* input = &values[opdata->inputs[0]].shape;
  const uint64_t num_outputs = xnn_shape_multiply_all_dims(&values[opdata->outputs[0]].shape);
  const uint64_t taps = (uint64_t) op->kernel_height * op->kernel_width;
  switch (opdata->type) {
    case xnn_node_type_convolution_2d:
    case xnn_node_type_depthwise_convolution_2d:
      return num_outputs * taps * op->group_input_channels;
    case xnn_node_type_deconvolution_2d:
      return xnn_shape_multiply_all_dims(input) * taps * op->group_output_channels;
    case xnn_node_type_fully_connected:
      return num_outputs * op->group_input_channels;
    case xnn_node_type_batch_matrix_multiply:
      return input->num_dims == 0 ? 0 : num_outputs * input->dim[input->num_dims - 1];
    default:
      return 0;
  }
}

enum xnn_status xnn_get_runtime_nm_operator_profiles(
  xnn_runtime_t runtime,
  size_t* count,
  struct xnn_nm_operator_profile* profiles)
{
  if (!runtime->profiling) {
    return xnn_status_invalid_state;
  }
  const size_t capacity = profiles == NULL ? 0 : *count;
  const xnn_timestamp* previous = &runtime->start_ts;
  size_t num_operators = 0;
  for (size_t i = 0; i < runtime->num_ops; i++) {
    const struct xnn_operator_data* opdata = &runtime->opdata[i];
    const struct xnn_operator* op = opdata->operator_objects[0];
    if (op == NULL) {
      continue;
    }
    if (num_operators < capacity) {
      struct xnn_nm_operator_profile* profile = &profiles[num_operators];
      *profile = (struct xnn_nm_operator_profile) {
        .node_id = opdata->id,
        .num_inputs = opdata->num_inputs,
        .num_outputs = opdata->num_outputs,
        .inputs = opdata->inputs,
        .outputs = opdata->outputs,
        .type = xnn_operator_type_to_string(op->type),
        .kind = get_kind(op),
        .ukernel = get_ukernel(op),
        .is_conversion = opdata->type == xnn_node_type_static_transpose && (opdata->flags & XNN_FLAG_CONVERT_LAYOUT) != 0,
        .multiplications = count_multiplications(opdata, runtime->values),
      };
      for (size_t j = 0; j < XNN_MAX_OPERATOR_OBJECTS; j++) {
        if (opdata->operator_objects[j] != NULL) {
          profile->nanoseconds += get_nanoseconds(previous, &opdata->end_ts[j]);
          previous = &opdata->end_ts[j];
        }
      }
    }
    num_operators += 1;
  }
  *count = num_operators;
  return profiles != NULL && num_operators > capacity ? xnn_status_out_of_memory : xnn_status_success;
}
