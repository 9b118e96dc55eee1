// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Convolution nodes that run in CNHW layout.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"
#include "xnnpack/node-type.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator.h"
#include "xnnpack/subgraph.h"
#include "pthreadpool.h"

// Stores the shape of an output, and tells whether it needs more memory than it has.
enum xnn_status xnn_set_image_shape(
  struct xnn_value* output,
  size_t batch_size,
  size_t height,
  size_t width,
  size_t channels,
  bool workspace_grew)
{
  output->shape.num_dims = 4;
  output->shape.dim[0] = batch_size;
  output->shape.dim[1] = height;
  output->shape.dim[2] = width;
  output->shape.dim[3] = channels;
  const size_t size = xnn_tensor_get_size(output);
  if (size > output->size || workspace_grew) {
    output->size = size;
    return xnn_status_reallocation_required;
  }
  return xnn_status_success;
}

enum xnn_status xnn_grow_value(struct xnn_value* value, size_t size, enum xnn_status status)
{
  if (size <= value->size || (status != xnn_status_success && status != xnn_status_reallocation_required)) {
    return status;
  }
  value->size = size;
  return xnn_status_reallocation_required;
}

// Stores the output's shape of a convolution, which may add an image: one of that shape.
enum xnn_status xnn_set_convolution_shape(
  const struct xnn_operator_data* opdata,
  struct xnn_value* values,
  size_t batch_size,
  size_t height,
  size_t width,
  bool workspace_grew)
{
  const struct xnn_operator* op = opdata->operator_objects[0];
  const size_t channels = op->groups * op->group_output_channels;
  if ((opdata->flags & XNN_FLAG_ADD_LAST_INPUT) != 0) {
    const size_t* dims = values[opdata->inputs[opdata->num_inputs - 1]].shape.dim;
    if (dims[0] != batch_size || dims[1] != height || dims[2] != width || dims[3] != channels) {
      xnn_log_error(
        "failed to reshape %s operator: expected to add a tensor of its output's shape %zux%zux%zux%zu, got "
        "%zux%zux%zux%zu",
        xnn_operator_type_to_string(op->type), batch_size, height, width, channels, dims[0], dims[1], dims[2], dims[3]);
      return xnn_status_unsupported_parameter;
    }
  }
  return xnn_set_image_shape(
    &values[opdata->outputs[0]], batch_size, height, width, channels, workspace_grew);
}

static enum xnn_status create_convolution(
  const struct xnn_node* node,
  const struct xnn_value* values,
  size_t num_values,
  struct xnn_operator_data* opdata,
  struct xnn_code_cache* code_cache,
  xnn_weights_cache_t weights_cache)
{
  struct xnn_nm_convolution2d conv;
  if (!xnn_node_get_nm_convolution(values, node, node->flags, &conv)) {
    return xnn_status_invalid_parameter;
  }
  conv.flags &= ~XNN_FLAG_ADD_LAST_INPUT;
  enum xnn_status status = xnn_check_nm_convolution2d(&conv, xnn_operator_type_convolution_nm_cnhw_f32);
  if (status != xnn_status_success) {
    return status;
  }
  struct xnn_nmspmm_analysis analysis;
  status = xnn_analyze_convolution2d_nm_cnhw_f32(&conv, xnn_count_pixels(&values[node->outputs[0]]), &analysis);
  if (status != xnn_status_success) {
    return status;
  }
  const double row_size = (double) conv.kernel_height * conv.kernel_width * conv.group_input_channels;
  const double weights = row_size * conv.groups * conv.group_output_channels;
  struct xnn_nm_convolution_info* info = &opdata->nm_info;
  info->layout = xnn_nm_layout_cnhw;
  info->fused_addition = (node->flags & XNN_FLAG_ADD_LAST_INPUT) != 0;
  info->element_density = (float) ((double) analysis.num_nonzeroes / weights);
  info->column_density = (float) ((double) analysis.num_weights / weights);
  info->tile_height = analysis.config->mr;
  info->pixel_tile = analysis.config->nr;
  info->predicted_speedup = (float) (xnn_predict_dense_convolution(&conv) / analysis.cost);
  const bool forced = (opdata->flags & XNN_FLAG_FORCE_NM_SPARSE_INFERENCE) != 0;
  info->reason = analysis.dense && !forced ? xnn_nm_reason_too_dense : xnn_nm_reason_chosen;
  status = xnn_create_analyzed_convolution2d_nm_cnhw_f32(
    &conv, &analysis, weights_cache, &opdata->operator_objects[0]);
  xnn_release_nmspmm_analysis(&analysis);
  return status;
}

static enum xnn_status reshape_convolution(
  struct xnn_operator_data* opdata,
  struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  xnn_operator_t op = opdata->operator_objects[0];
  const struct xnn_value* input = &values[opdata->inputs[0]];
  const size_t old_workspace_size = opdata->workspace_size;
  size_t height = 0;
  size_t width = 0;
  enum xnn_status status = xnn_reshape_convolution2d_nm_cnhw_f32(
    op, input->shape.dim[0], input->shape.dim[1], input->shape.dim[2],
    &opdata->workspace_size, &opdata->workspace_alignment, &height, &width, threadpool);
  if (status != xnn_status_success) {
    return status;
  }
  status = xnn_set_convolution_shape(
    opdata, values, input->shape.dim[0], height, width, opdata->workspace_size > old_workspace_size);
  return xnn_grow_value(&values[opdata->outputs[0]], op->nmspmm.output_size, status);
}

static enum xnn_status setup_convolution(
  const struct xnn_operator_data* opdata,
  const struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  return xnn_setup_convolution2d_nm_cnhw_f32(
    opdata->operator_objects[0], opdata->workspace, values[opdata->inputs[0]].data,
    xnn_get_residual(opdata, values), values[opdata->outputs[0]].data);
}

void xnn_node_run_convolution_in_cnhw(struct xnn_node* node)
{
  node->create = create_convolution;
  node->reshape = reshape_convolution;
  node->setup = setup_convolution;
}

// Whether the node is a convolution in CNHW layout.
static bool is_in_cnhw(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  return node->type == xnn_node_type_convolution_2d &&
    subgraph->values[node->outputs[0]].layout == xnn_layout_type_cnhw;
}

static bool reads_bands(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  if (node->type == xnn_node_type_static_transpose) {
    // It writes more than the image: not to a value that has no room for it, nor to one that a second runtime of this
    // graph may replace by such a value, as the output of a copy.
    const struct xnn_value* output = &subgraph->values[node->outputs[0]];
    return (node->flags & XNN_FLAG_CONVERT_LAYOUT) != 0 && xnn_value_is_internal(output) &&
      !(output->num_consumers == 1 && subgraph->nodes[output->first_consumer].type == xnn_node_type_copy);
  }
  if (!is_in_cnhw(subgraph, node)) {
    return false;
  }
  const uint32_t padding = node->params.convolution_2d.input_padding_top |
    node->params.convolution_2d.input_padding_right | node->params.convolution_2d.input_padding_bottom |
    node->params.convolution_2d.input_padding_left;
  return node->params.convolution_2d.kernel_height == 1 && node->params.convolution_2d.kernel_width == 1 &&
    padding == 0 && node->params.convolution_2d.groups == 1 && (node->flags & XNN_FLAG_INPUT_NHWC) == 0;
}

// Removes the values that the node cannot handle in bands, and tells whether there were any.
static bool remove_values(const struct xnn_subgraph* subgraph, const struct xnn_node* node, bool* in_bands)
{
  bool* output = &in_bands[node->outputs[0]];
  bool is_changed = false;
  for (uint32_t i = 0; i < node->num_inputs; i++) {
    bool* input = &in_bands[node->inputs[i]];
    const bool is_added = i + 1 == node->num_inputs && (node->flags & XNN_FLAG_ADD_LAST_INPUT) != 0;
    if (*input && !(is_added ? *output : i == 0 && reads_bands(subgraph, node))) {
      *input = false;
      is_changed = true;
    }
    // What is added lies as the output does.
    if (is_added && *output && !*input) {
      *output = false;
      is_changed = true;
    }
  }
  return is_changed;
}

enum xnn_status xnn_subgraph_choose_bands(xnn_subgraph_t subgraph)
{
  bool* in_bands = xnn_allocate_zero_memory(subgraph->num_values * sizeof(bool));
  if (in_bands == NULL) {
    xnn_log_error("failed to allocate memory to choose the bands of %zu values", (size_t) subgraph->num_values);
    return xnn_status_out_of_memory;
  }
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    const struct xnn_node* node = &subgraph->nodes[n];
    if (is_in_cnhw(subgraph, node)) {
      const struct xnn_value* output = &subgraph->values[node->outputs[0]];
      in_bands[output->id] = !xnn_value_is_external(output) && !xnn_value_is_persistent(output);
    }
  }
  bool is_changed = true;
  while (is_changed) {
    is_changed = false;
    // Backwards, as one value's removal decides on what was added to it.
    for (uint32_t n = subgraph->num_nodes; n != 0; n--) {
      is_changed |= remove_values(subgraph, &subgraph->nodes[n - 1], in_bands);
    }
  }
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    struct xnn_node* node = &subgraph->nodes[n];
    if (node->type != xnn_node_type_invalid) {
      node->flags |= in_bands[node->inputs[0]] ? XNN_FLAG_INPUT_BANDS : 0;
      node->flags |= in_bands[node->outputs[0]] ? XNN_FLAG_OUTPUT_BANDS : 0;
    }
  }
  xnn_release_memory(in_bands);
  return xnn_status_success;
}
