// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Which convolutions of a graph run on the N:M operator, and why the others do not.

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/node-type.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator.h"
#include "xnnpack/subgraph.h"

// What a runtime is told of N:M inference.
#define NM_FLAGS \
  (XNN_FLAG_HINT_NM_SPARSE_INFERENCE | XNN_FLAG_FORCE_NM_SPARSE_INFERENCE | XNN_FLAG_FORCE_NM_NHWC | \
   XNN_FLAG_FORCE_NM_CNHW)

const char* xnn_nm_reason_to_string(enum xnn_nm_reason reason)
{
  switch (reason) {
    case xnn_nm_reason_chosen:
      return "chosen";
    case xnn_nm_reason_disabled:
      return "the runtime was created without the N:M hint";
    case xnn_nm_reason_datatype:
      return "only f32 is supported";
    case xnn_nm_reason_dynamic_weights:
      return "the weights are not static";
    case xnn_nm_reason_layout:
      return "the NCHW layout has no N:M operator";
    case xnn_nm_reason_depthwise:
      return "depthwise filters have no columns to share";
    case xnn_nm_reason_too_dense:
      return "too few columns are zero in every row of a tile";
    case xnn_nm_reason_too_small:
      return "the image is too small for what the zero columns save";
    case xnn_nm_reason_no_kernel:
      return "no micro-kernel supports this shape on this hardware";
  }
  return "unknown";
}

// Stores the sizes of the images, where they are known.
static void set_image_sizes(
  struct xnn_nm_convolution2d* conv,
  const struct xnn_shape* input,
  const struct xnn_shape* output)
{
  if (input->num_dims != 4 || output->num_dims != 4) {
    return;
  }
  conv->batch_size = input->dim[0];
  conv->input_height = input->dim[1];
  conv->input_width = input->dim[2];
  conv->output_height = output->dim[1];
  conv->output_width = output->dim[2];
}

bool xnn_node_get_nm_convolution(
    const struct xnn_value* values,
    const struct xnn_node* node,
    uint32_t flags,
    struct xnn_nm_convolution2d* conv)
{
  if (node->type != xnn_node_type_convolution_2d || (node->flags & XNN_FLAG_DEPTHWISE_CONVOLUTION) != 0) {
    return false;
  }
  const bool adds = (node->flags & XNN_FLAG_ADD_LAST_INPUT) != 0;
  const uint32_t num_inputs = node->num_inputs - (adds ? 1 : 0);
  const struct xnn_value* filter = &values[node->inputs[1]];
  const struct xnn_value* bias = num_inputs > 2 ? &values[node->inputs[2]] : NULL;
  if (values[node->inputs[0]].datatype != xnn_datatype_fp32 || filter->datatype != xnn_datatype_fp32 ||
      values[node->outputs[0]].datatype != xnn_datatype_fp32 || !xnn_value_is_static(filter) || filter->data == NULL ||
      (bias != NULL && (bias->datatype != xnn_datatype_fp32 || bias->data == NULL))) {
    return false;
  }
  const size_t groups = node->params.convolution_2d.groups;
  *conv = (struct xnn_nm_convolution2d) {
    .padding_top = node->params.convolution_2d.input_padding_top,
    .padding_right = node->params.convolution_2d.input_padding_right,
    .padding_bottom = node->params.convolution_2d.input_padding_bottom,
    .padding_left = node->params.convolution_2d.input_padding_left,
    .kernel_height = node->params.convolution_2d.kernel_height,
    .kernel_width = node->params.convolution_2d.kernel_width,
    .stride_height = node->params.convolution_2d.subsampling_height,
    .stride_width = node->params.convolution_2d.subsampling_width,
    .dilation_height = node->params.convolution_2d.dilation_height,
    .dilation_width = node->params.convolution_2d.dilation_width,
    .groups = node->params.convolution_2d.groups,
    .group_input_channels = node->params.convolution_2d.group_input_channels,
    .group_output_channels = node->params.convolution_2d.group_output_channels,
    .input_channel_stride = groups * node->params.convolution_2d.group_input_channels,
    .output_channel_stride = groups * node->params.convolution_2d.group_output_channels,
    .filter = xnn_get_filter_rows(filter),
    .bias = bias == NULL ? NULL : bias->data,
    .output_min = node->activation.output_min,
    .output_max = node->activation.output_max,
    .flags = node->flags & ~NM_FLAGS,
  };
  set_image_sizes(conv, &values[node->inputs[0]].shape, &values[node->outputs[0]].shape);
  return true;
}

// Time of the dense operator for one weight and pixel of large images, in percent of what costs count.
static float get_dense_cost(const struct xnn_nm_convolution2d* conv)
{
  const struct xnn_nmconv_config* config = xnn_init_f32_nmconv_config();
  return (float) (xnn_uses_dense_gemm(conv) ? config->gemm_cost : config->igemm_cost);
}

enum xnn_nm_reason xnn_choose_nm_nhwc(
    const struct xnn_nm_convolution2d* conv,
    uint32_t flags,
    struct xnn_nmconv_analysis* analysis,
    struct xnn_nm_convolution_info* info,
    float* dense_cost)
{
  *dense_cost = 0.0f;
  info->column_density = 1.0f;
  if ((flags & NM_FLAGS) == 0) {
    return xnn_nm_reason_disabled;
  }
  if ((conv->flags & XNN_FLAG_DEPTHWISE_CONVOLUTION) != 0) {
    return xnn_nm_reason_depthwise;
  }
  if (xnn_init_f32_gemm_config() == NULL ||
      xnn_check_nm_convolution2d(conv, xnn_operator_type_convolution_nm_nhwc_f32) != xnn_status_success ||
      xnn_analyze_f32_nmconv_w(
        conv->groups, conv->group_output_channels, conv->kernel_height * conv->kernel_width,
        conv->group_input_channels, conv->output_height * conv->output_width, /*tile_height=*/0, &conv->filter,
        analysis) != xnn_status_success) {
    return xnn_nm_reason_no_kernel;
  }
  const double row_size = (double) conv->kernel_height * conv->kernel_width * conv->group_input_channels;
  info->element_density =
    (float) (analysis->num_nonzeroes / (row_size * conv->groups * conv->group_output_channels));
  info->column_density = (float) (analysis->num_columns / (row_size * analysis->num_tiles));
  info->tile_height = analysis->config->nr;
  info->pixel_tile = analysis->config->mr;
  const float nm_cost = analysis->cost + (float) xnn_predict_nhwc_overhead(conv);
  *dense_cost = (float) xnn_predict_dense_convolution(conv);
  if (info->column_density == 1.0f) {
    // Channels that fit the tiles of the dense operator badly do not speak for the other one.
    *dense_cost = min(*dense_cost, analysis->cost * get_dense_cost(conv) / (float) analysis->config->relative_cost);
  }
  if ((conv->flags & XNN_FLAG_ADD_LAST_INPUT) != 0) {
    *dense_cost += XNN_NM_ADDITION_COST * (float) conv->groups * (float) conv->group_output_channels;
  }
  info->predicted_speedup = *dense_cost / nm_cost;
  if ((flags & XNN_FLAG_FORCE_NM_SPARSE_INFERENCE) != 0 || info->predicted_speedup >= XNN_NM_MIN_PREDICTED_SPEEDUP) {
    return xnn_nm_reason_chosen;
  }
  const float gain_of_large_images = get_dense_cost(conv) / (float) analysis->config->relative_cost / info->column_density;
  return gain_of_large_images >= XNN_NM_MIN_PREDICTED_SPEEDUP ? xnn_nm_reason_too_small : xnn_nm_reason_too_dense;
}

// Returns all weights in new memory, or NULL.
static float* make_all_rows(const struct xnn_nm_convolution2d* conv)
{
  const size_t row_size = (size_t) conv->kernel_height * conv->kernel_width * conv->group_input_channels;
  const size_t num_rows = conv->groups * conv->group_output_channels;
  const size_t size = num_rows * row_size * sizeof(float);
  float* rows = xnn_allocate_memory(size);
  if (rows == NULL) {
    xnn_log_error("failed to allocate %zu bytes for the weights of a dense convolution", size);
    return NULL;
  }
  for (size_t row = 0; row < num_rows; row++) {
    conv->filter.read(conv->filter.context, row, rows + row * row_size);
  }
  return rows;
}

enum xnn_status xnn_create_convolution2d_nm_or_dense_nhwc_f32(
    uint32_t input_padding_top,
    uint32_t input_padding_right,
    uint32_t input_padding_bottom,
    uint32_t input_padding_left,
    uint32_t kernel_height,
    uint32_t kernel_width,
    uint32_t subsampling_height,
    uint32_t subsampling_width,
    uint32_t dilation_height,
    uint32_t dilation_width,
    uint32_t groups,
    size_t group_input_channels,
    size_t group_output_channels,
    size_t input_channel_stride,
    size_t output_channel_stride,
    struct xnn_filter_rows filter,
    const float* bias,
    float output_min,
    float output_max,
    uint32_t flags,
    xnn_code_cache_t code_cache,
    xnn_weights_cache_t weights_cache,
    const struct xnn_shape* input_shape,
    const struct xnn_shape* output_shape,
    struct xnn_nm_convolution_info* info,
    xnn_operator_t* convolution_op_out)
{
  const uint32_t runtime_flags = flags;
  flags &= ~NM_FLAGS;
  struct xnn_nm_convolution2d conv = {
    .padding_top = input_padding_top,
    .padding_right = input_padding_right,
    .padding_bottom = input_padding_bottom,
    .padding_left = input_padding_left,
    .kernel_height = kernel_height,
    .kernel_width = kernel_width,
    .stride_height = subsampling_height,
    .stride_width = subsampling_width,
    .dilation_height = dilation_height,
    .dilation_width = dilation_width,
    .groups = groups,
    .group_input_channels = group_input_channels,
    .group_output_channels = group_output_channels,
    .input_channel_stride = input_channel_stride,
    .output_channel_stride = output_channel_stride,
    .filter = filter,
    .bias = bias,
    .output_min = output_min,
    .output_max = output_max,
    .flags = flags,
  };
  set_image_sizes(&conv, input_shape, output_shape);
  struct xnn_nmconv_analysis analysis;
  float dense_cost;
  info->reason = xnn_choose_nm_nhwc(&conv, runtime_flags, &analysis, info, &dense_cost);
  xnn_log_info(
    "convolution of %" PRIu32 " x %zu -> %zu channels, %" PRIu32 "x%" PRIu32 " kernel, %.1f%% of columns kept, "
    "predicted speedup %.2f: %s (%s)",
    groups, group_input_channels, group_output_channels, kernel_height, kernel_width, 100.0f * info->column_density,
    info->predicted_speedup, info->reason == xnn_nm_reason_chosen ? "N:M" : "dense",
    xnn_nm_reason_to_string(info->reason));
  if (info->reason == xnn_nm_reason_chosen) {
    return xnn_create_analyzed_convolution2d_nm_nhwc_f32(&conv, &analysis, weights_cache, convolution_op_out);
  }
  float* made = NULL;
  if (filter.data == NULL) {
    made = make_all_rows(&conv);
    if (made == NULL) {
      return xnn_status_out_of_memory;
    }
    filter.data = made;
    // It would find the packed weights by an address that is soon another's.
    weights_cache = NULL;
  }
  const enum xnn_status status = xnn_create_convolution2d_nhwc_f32(
    input_padding_top, input_padding_right, input_padding_bottom, input_padding_left,
    kernel_height, kernel_width, subsampling_height, subsampling_width, dilation_height, dilation_width,
    groups, group_input_channels, group_output_channels, input_channel_stride, output_channel_stride,
    filter.data, bias, output_min, output_max, flags, code_cache, weights_cache, convolution_op_out);
  xnn_release_memory(made);
  return status;
}

// Whatever the runtime is told: the addition has become a part of the N:M operator.
static enum xnn_status create_residual_convolution(
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
  struct xnn_nmconv_analysis analysis;
  float dense_cost;
  struct xnn_nm_convolution_info* info = &opdata->nm_info;
  info->reason = xnn_choose_nm_nhwc(&conv, XNN_FLAG_FORCE_NM_SPARSE_INFERENCE, &analysis, info, &dense_cost);
  if (info->reason != xnn_nm_reason_chosen) {
    xnn_log_error("failed to create convolution: an addition was fused into it, but the N:M operator is not to be had");
    return xnn_status_invalid_state;
  }
  info->fused_addition = true;
  conv.flags &= ~XNN_FLAG_ADD_LAST_INPUT;
  return xnn_create_analyzed_convolution2d_nm_nhwc_f32(
    &conv, &analysis, weights_cache, &opdata->operator_objects[0]);
}

static enum xnn_status reshape_residual_convolution(
  struct xnn_operator_data* opdata,
  struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  const size_t* dims = values[opdata->inputs[0]].shape.dim;
  const size_t old_workspace_size = opdata->workspace_size;
  size_t height = 0;
  size_t width = 0;
  const enum xnn_status status = xnn_reshape_convolution2d_nm_nhwc_f32(
    opdata->operator_objects[0], dims[0], dims[1], dims[2],
    &opdata->workspace_size, &opdata->workspace_alignment, &height, &width, threadpool);
  if (status != xnn_status_success) {
    return status;
  }
  return xnn_set_convolution_shape(
    opdata, values, dims[0], height, width, opdata->workspace_size > old_workspace_size);
}

static enum xnn_status setup_residual_convolution(
  const struct xnn_operator_data* opdata,
  const struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  return xnn_setup_convolution2d_nm_nhwc_f32(
    opdata->operator_objects[0], opdata->workspace, values[opdata->inputs[0]].data,
    xnn_get_residual(opdata, values), values[opdata->outputs[0]].data);
}

void xnn_node_run_residual_convolution(struct xnn_node* node)
{
  node->create = create_residual_convolution;
  node->reshape = reshape_residual_convolution;
  node->setup = setup_residual_convolution;
}

// The reason that follows from the operator alone, for nodes that never came to choose.
static enum xnn_nm_reason reason_from_operator(
  const struct xnn_operator_data* opdata,
  enum xnn_operator_type type)
{
  if (opdata->type == xnn_node_type_depthwise_convolution_2d) {
    return xnn_nm_reason_depthwise;
  }
  switch (type) {
    case xnn_operator_type_convolution_nm_cnhw_f32:
    case xnn_operator_type_convolution_nm_nhwc_f32:
    case xnn_operator_type_convolution_nhwc_f32:
      return opdata->nm_info.reason;
    case xnn_operator_type_convolution_nchw_f16:
    case xnn_operator_type_convolution_nchw_f32:
      return xnn_nm_reason_layout;
    default:
      return xnn_nm_reason_datatype;
  }
}

enum xnn_status xnn_get_runtime_nm_convolution_info(
  xnn_runtime_t runtime,
  size_t* count,
  struct xnn_nm_convolution_info* infos)
{
  const size_t capacity = infos == NULL ? 0 : *count;
  size_t num_convolutions = 0;
  for (size_t i = 0; i < runtime->num_ops; i++) {
    const struct xnn_operator_data* opdata = &runtime->opdata[i];
    const struct xnn_operator* op = opdata->operator_objects[0];
    if (op == NULL || (opdata->type != xnn_node_type_convolution_2d &&
                       opdata->type != xnn_node_type_depthwise_convolution_2d)) {
      continue;
    }
    if (num_convolutions < capacity) {
      struct xnn_nm_convolution_info* info = &infos[num_convolutions];
      *info = opdata->nm_info;
      info->node_id = opdata->id;
      info->filter_id = opdata->inputs[1];
      info->output_id = opdata->outputs[0];
      info->groups = op->groups;
      info->group_input_channels = (uint32_t) op->group_input_channels;
      info->group_output_channels = (uint32_t) op->group_output_channels;
      info->kernel_height = op->kernel_height;
      info->kernel_width = op->kernel_width;
      info->reason = reason_from_operator(opdata, op->type);
    }
    num_convolutions += 1;
  }
  *count = num_convolutions;
  return infos != NULL && num_convolutions > capacity ? xnn_status_out_of_memory : xnn_status_success;
}
