// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Static values whose elements nobody holds: a function makes them, row by row, while a runtime is created. Sparsely
// stored filters never lie in memory as a whole, unless a dense operator wants them.

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/datatype.h"
#include "xnnpack/log.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/subgraph.h"

enum xnn_status xnn_define_row_tensor_value(
    xnn_subgraph_t subgraph,
    enum xnn_datatype datatype,
    size_t num_dims,
    const size_t* dims,
    xnn_read_row_fn read_row,
    const void* context,
    uint32_t external_id,
    uint32_t* id_out)
{
  if (read_row == NULL || context == NULL) {
    xnn_log_error("failed to create Row Tensor value: expected a function and its context, got NULL");
    return xnn_status_invalid_parameter;
  }
  if (datatype != xnn_datatype_fp32 || (num_dims != 4 && num_dims != 2)) {
    xnn_log_error(
      "failed to create Row Tensor value: expected 4 or 2 dimensions of %s, got %zu of %s",
      xnn_datatype_to_string(xnn_datatype_fp32), num_dims, xnn_datatype_to_string(datatype));
    return xnn_status_unsupported_parameter;
  }
  // Static for all that look at it, by an address that is not NULL. The checks below refuse graphs in which another node reads it.
  const enum xnn_status status =
    xnn_define_tensor_value(subgraph, datatype, num_dims, dims, context, external_id, /*flags=*/0, id_out);
  if (status == xnn_status_success) {
    subgraph->values[*id_out].read_row = read_row;
  }
  return status;
}

bool xnn_has_row_values(xnn_subgraph_t subgraph)
{
  for (uint32_t i = 0; i < subgraph->num_values; i++) {
    if (subgraph->values[i].read_row != NULL) {
      return true;
    }
  }
  return false;
}

static bool is_filter_of(xnn_subgraph_t subgraph, const struct xnn_value* value, const struct xnn_node* node)
{
  if (xnn_datatype_is_quantized(subgraph->values[node->inputs[0]].datatype)) {
    return false;
  }
  if (node->type == xnn_node_type_fully_connected) {
    // With a bias that is computed XNNPACK's operator takes all weights from memory.
    return value->shape.num_dims == 2 && (node->flags & XNN_FLAG_TRANSPOSE_WEIGHTS) == 0 &&
      (node->num_inputs < 3 || subgraph->values[node->inputs[2]].data != NULL);
  }
  const size_t* dims = value->shape.dim;
  return node->type == xnn_node_type_convolution_2d && (node->flags & XNN_FLAG_DEPTHWISE_CONVOLUTION) == 0 &&
    value->shape.num_dims == 4 &&
    dims[0] == node->params.convolution_2d.groups * node->params.convolution_2d.group_output_channels &&
    dims[1] == node->params.convolution_2d.kernel_height && dims[2] == node->params.convolution_2d.kernel_width &&
    dims[3] == node->params.convolution_2d.group_input_channels;
}

enum xnn_status xnn_check_row_values(xnn_subgraph_t subgraph)
{
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    const struct xnn_node* node = &subgraph->nodes[n];
    for (uint32_t i = 0; i < node->num_inputs; i++) {
      if (node->inputs[i] >= subgraph->num_values) {
        continue;
      }
      const struct xnn_value* value = &subgraph->values[node->inputs[i]];
      if (value->read_row != NULL && !(i == 1 && is_filter_of(subgraph, value, node))) {
        xnn_log_error(
          "failed to create runtime: %s Node #%" PRIu32 " reads Value #%" PRIu32 ": only f32 and f16 convolutions and fully "
          "connected layers can read a Row Tensor, as a filter of its shape",
          xnn_node_type_to_string(node->type), node->id, value->id);
        return xnn_status_unsupported_parameter;
      }
    }
  }
  return xnn_status_success;
}
