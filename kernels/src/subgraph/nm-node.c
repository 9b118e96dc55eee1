// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Nodes of layers that carry a choice: how their operators are created, reshaped and set up.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-choice.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator.h"
#include "xnnpack/subgraph.h"
#include "pthreadpool.h"

/*** The dense operator ***/

// Returns all weights in new memory, or NULL.
static void* make_all_rows(const struct xnn_nm_layer* layer)
{
  const size_t row_bytes = xnn_get_nm_row_bytes(layer);
  const size_t num_rows = layer->groups * layer->group_output_channels;
  uint8_t* rows = xnn_allocate_memory(num_rows * row_bytes);
  if (rows == NULL) {
    xnn_log_error("failed to allocate %zu bytes for the weights of a dense layer", num_rows * row_bytes);
    return NULL;
  }
  for (size_t row = 0; row < num_rows; row++) {
    layer->filter.read(layer->filter.context, row, rows + row * row_bytes);
  }
  return rows;
}

// Creates the operator of a filter that is made row by row: it gets all rows at once.
static enum xnn_status create_from_rows(
  const struct xnn_nm_layer* layer,
  const struct xnn_node* node,
  const struct xnn_value* values,
  size_t num_values,
  struct xnn_operator_data* opdata,
  struct xnn_code_cache* code_cache)
{
  void* rows = make_all_rows(layer);
  struct xnn_value* made = xnn_allocate_memory(num_values * sizeof(struct xnn_value));
  enum xnn_status status = xnn_status_out_of_memory;
  if (rows != NULL && made != NULL) {
    memcpy(made, values, num_values * sizeof(struct xnn_value));
    made[node->inputs[1]].data = rows;
    made[node->inputs[1]].read_row = NULL;
    // A weights cache would find them by an address that is soon another's.
    status = node->nm_choice->create(node, made, num_values, opdata, code_cache, /*weights_cache=*/NULL);
  }
  xnn_release_memory(made);
  xnn_release_memory(rows);
  return status;
}

static enum xnn_status create_dense(
  const struct xnn_node* node,
  const struct xnn_value* values,
  size_t num_values,
  struct xnn_operator_data* opdata,
  struct xnn_code_cache* code_cache,
  xnn_weights_cache_t weights_cache)
{
  struct xnn_nm_layer layer;
  if (!xnn_node_get_nm_layer(values, node, &layer)) {
    return xnn_status_invalid_parameter;
  }
  xnn_describe_nm_choice(node->nm_choice, &layer, &opdata->nm_info);
  if (layer.filter.data == NULL) {
    return create_from_rows(&layer, node, values, num_values, opdata, code_cache);
  }
  return node->nm_choice->create(node, values, num_values, opdata, code_cache, weights_cache);
}

/*** N:M operators ***/

static enum xnn_status create_nm(
  const struct xnn_node* node,
  const struct xnn_value* values,
  size_t num_values,
  struct xnn_operator_data* opdata,
  struct xnn_code_cache* code_cache,
  xnn_weights_cache_t weights_cache)
{
  struct xnn_nm_layer layer;
  if (!xnn_node_get_nm_layer(values, node, &layer)) {
    return xnn_status_invalid_parameter;
  }
  const struct xnn_nm_choice* choice = node->nm_choice;
  const bool in_cnhw = choice->layout == xnn_nm_layout_cnhw;
  if (in_cnhw ? choice->cnhw.config == NULL : choice->nhwc.config == NULL) {
    xnn_log_error("failed to create layer: no micro-kernel supports what was fused into it");
    return xnn_status_invalid_state;
  }
  const enum xnn_status status =
    xnn_check_nm_layer(&layer, in_cnhw ? layer.datatype->cnhw_operator : layer.datatype->nhwc_operator);
  if (status != xnn_status_success) {
    return status;
  }
  xnn_describe_nm_choice(choice, &layer, &opdata->nm_info);
  return in_cnhw ?
    xnn_create_analyzed_nm_cnhw(
      &layer, &choice->zeros, choice->costs, &choice->cnhw, weights_cache, &opdata->operator_objects[0]) :
    xnn_create_analyzed_nm_nhwc(
      &layer, &choice->zeros, choice->costs, &choice->nhwc, weights_cache, &opdata->operator_objects[0]);
}

// Stores the shape of an output, and tells whether it needs more memory than it has.
static enum xnn_status set_shape(struct xnn_value* output, const struct xnn_shape* shape, bool workspace_grew)
{
  output->shape = *shape;
  const size_t size = xnn_tensor_get_size(output);
  if (size > output->size || workspace_grew) {
    output->size = size;
    return xnn_status_reallocation_required;
  }
  return xnn_status_success;
}

enum xnn_status xnn_set_image_shape(
  struct xnn_value* output,
  size_t batch_size,
  size_t height,
  size_t width,
  size_t channels,
  bool workspace_grew)
{
  const struct xnn_shape shape = {.num_dims = 4, .dim = {batch_size, height, width, channels}};
  return set_shape(output, &shape, workspace_grew);
}

enum xnn_status xnn_grow_value(struct xnn_value* value, size_t size, enum xnn_status status)
{
  if (size <= value->size || (status != xnn_status_success && status != xnn_status_reallocation_required)) {
    return status;
  }
  value->size = size;
  return xnn_status_reallocation_required;
}

// The shape of a fully connected layer's output: that of its input with other channels, or a matrix.
static struct xnn_shape get_fully_connected_shape(
  const struct xnn_operator_data* opdata,
  const struct xnn_value* values,
  size_t num_rows)
{
  const struct xnn_value* filter = &values[opdata->inputs[1]];
  struct xnn_shape shape = values[opdata->inputs[0]].shape;
  if ((opdata->flags & XNN_FLAG_TENSORFLOW_RESHAPE_2D) != 0) {
    shape.num_dims = 2;
    shape.dim[0] = num_rows;
  }
  shape.dim[shape.num_dims - 1] = filter->shape.dim[0];
  return shape;
}

// Stores the shape of a layer's output. What it adds must be like it, and may have more axes in front.
static enum xnn_status set_layer_shape(
  const struct xnn_operator_data* opdata,
  struct xnn_value* values,
  const struct xnn_shape* shape,
  bool workspace_grew)
{
  struct xnn_value* output = &values[opdata->outputs[0]];
  if ((opdata->flags & XNN_FLAG_ADD_LAST_INPUT) == 0) {
    return set_shape(output, shape, workspace_grew);
  }
  const struct xnn_shape* residual = &values[opdata->inputs[opdata->num_inputs - 1]].shape;
  if (!xnn_are_nm_shapes_alike(residual, shape)) {
    xnn_log_error(
      "failed to reshape %s operator: expected to add a tensor of its output's shape, got another shape",
      xnn_operator_type_to_string(opdata->operator_objects[0]->type));
    return xnn_status_unsupported_parameter;
  }
  return set_shape(output, residual->num_dims > shape->num_dims ? residual : shape, workspace_grew);
}

static enum xnn_status reshape_nm(
  struct xnn_operator_data* opdata,
  struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  xnn_operator_t op = opdata->operator_objects[0];
  const bool in_cnhw = op->nm.nmspmm != NULL;
  const struct xnn_value* input = &values[opdata->inputs[0]];
  const bool is_fully_connected = opdata->type == xnn_node_type_fully_connected;
  const size_t num_rows = is_fully_connected ? xnn_count_nm_rows(input, &values[opdata->inputs[1]]) : 0;
  const size_t rows[3] = {num_rows != 0, max(num_rows, 1), 1};
  const size_t* dims = is_fully_connected ? rows : input->shape.dim;
  const size_t old_workspace_size = opdata->workspace_size;
  size_t height = 0;
  size_t width = 0;
  enum xnn_status status = in_cnhw ?
    xnn_reshape_nm_cnhw(
      op, op->type, dims[0], dims[1], dims[2], &opdata->workspace_size, &opdata->workspace_alignment, &height, &width,
      threadpool) :
    xnn_reshape_nm_nhwc(
      op, op->type, dims[0], dims[1], dims[2], &opdata->workspace_size, &opdata->workspace_alignment, &height, &width,
      threadpool);
  if (status != xnn_status_success) {
    return status;
  }
  const struct xnn_shape image = {.num_dims = 4, .dim = {dims[0], height, width, op->groups * op->group_output_channels}};
  const struct xnn_shape shape = is_fully_connected ? get_fully_connected_shape(opdata, values, num_rows) : image;
  status = set_layer_shape(opdata, values, &shape, opdata->workspace_size > old_workspace_size);
  return in_cnhw ? xnn_grow_value(&values[opdata->outputs[0]], op->nm.output_size, status) : status;
}

static enum xnn_status setup_nm(
  const struct xnn_operator_data* opdata,
  const struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  xnn_operator_t op = opdata->operator_objects[0];
  const bool adds = (opdata->flags & XNN_FLAG_ADD_LAST_INPUT) != 0;
  const void* residual = adds ? values[opdata->inputs[opdata->num_inputs - 1]].data : NULL;
  const void* input = values[opdata->inputs[0]].data;
  void* output = values[opdata->outputs[0]].data;
  return op->nm.nmspmm != NULL ?
    xnn_setup_nm_cnhw(op, op->type, opdata->workspace, input, residual, output) :
    xnn_setup_nm_nhwc(op, op->type, opdata->workspace, input, residual, output);
}

void xnn_node_carry_nm_choice(struct xnn_node* node, struct xnn_nm_choice* choice)
{
  if (node->nm_choice == NULL) {
    choice->create = node->create;
    choice->reshape = node->reshape;
    choice->setup = node->setup;
  }
  node->nm_choice = choice;
  node->create = choice->is_nm ? create_nm : create_dense;
  node->reshape = choice->is_nm ? reshape_nm : choice->reshape;
  node->setup = choice->is_nm ? setup_nm : choice->setup;
}

/*** What users are told ***/

// The reason of nodes that carry no choice follows from the operator alone.
static enum xnn_nm_reason get_reason(const struct xnn_operator_data* opdata, enum xnn_operator_type type)
{
  if (opdata->type == xnn_node_type_depthwise_convolution_2d ||
      (opdata->flags & XNN_FLAG_DEPTHWISE_CONVOLUTION) != 0) {
    return xnn_nm_reason_depthwise;
  }
  const bool in_nchw =
    type == xnn_operator_type_convolution_nchw_f16 || type == xnn_operator_type_convolution_nchw_f32;
  return in_nchw ? xnn_nm_reason_layout : opdata->nm_info.reason;
}

enum xnn_status xnn_get_runtime_nm_layer_info(
  xnn_runtime_t runtime,
  size_t* count,
  struct xnn_nm_layer_info* infos)
{
  const size_t capacity = infos == NULL ? 0 : *count;
  size_t num_layers = 0;
  for (size_t i = 0; i < runtime->num_ops; i++) {
    const struct xnn_operator_data* opdata = &runtime->opdata[i];
    const struct xnn_operator* op = opdata->operator_objects[0];
    const bool is_fully_connected = opdata->type == xnn_node_type_fully_connected;
    if (op == NULL || (!is_fully_connected && opdata->type != xnn_node_type_convolution_2d &&
                       opdata->type != xnn_node_type_depthwise_convolution_2d)) {
      continue;
    }
    if (num_layers < capacity) {
      struct xnn_nm_layer_info* info = &infos[num_layers];
      *info = opdata->nm_info;
      info->node_id = opdata->id;
      info->filter_id = opdata->inputs[1];
      info->output_id = opdata->outputs[0];
      info->groups = is_fully_connected ? 1 : op->groups;
      info->group_input_channels = (uint32_t) op->group_input_channels;
      info->group_output_channels = (uint32_t) op->group_output_channels;
      info->kernel_height = is_fully_connected ? 1 : op->kernel_height;
      info->kernel_width = is_fully_connected ? 1 : op->kernel_width;
      info->reason = get_reason(opdata, op->type);
      if (info->pixel_tile == 0) {
        info->column_density = 1.0f;
      }
    }
    num_layers += 1;
  }
  *count = num_layers;
  return infos != NULL && num_layers > capacity ? xnn_status_out_of_memory : xnn_status_success;
}
