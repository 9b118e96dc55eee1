// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What the N:M convolution operators of both layouts share.

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/allocator.h"
#include "xnnpack/cache.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator-utils.h"
#include "xnnpack/operator.h"
#include "xnnpack/params.h"

enum xnn_status xnn_check_nm_creation(enum xnn_operator_type type, float output_min, float output_max)
{
  const char* name = xnn_operator_type_to_string(type);
  if ((xnn_params.init_flags & XNN_INIT_FLAG_XNNPACK) == 0) {
    xnn_log_error("failed to create %s operator: XNNPACK is not initialized", name);
    return xnn_status_uninitialized;
  }
  if (isnan(output_min) || isnan(output_max) || output_min > output_max) {
    xnn_log_error(
      "failed to create %s operator with [%.7g, %.7g] output range: bounds must be numbers in ascending order",
      name, output_min, output_max);
    return xnn_status_invalid_parameter;
  }
  return xnn_status_success;
}

// Checks what is quantized.
static enum xnn_status check_quantization(const struct xnn_nm_layer* layer, const char* name)
{
  if (!(layer->input_scale > 0.0f) || !isnormal(layer->input_scale) || !(layer->output_scale > 0.0f) ||
      !isnormal(layer->output_scale)) {
    xnn_log_error(
      "failed to create %s operator with %.7g input scale and %.7g output scale: they must be finite, normalized, and "
      "positive", name, layer->input_scale, layer->output_scale);
    return xnn_status_invalid_parameter;
  }
  if (layer->filter_scale == NULL) {
    xnn_log_error("failed to create %s operator: a kernel scale is expected for each output channel, got none", name);
    return xnn_status_invalid_parameter;
  }
  for (size_t channel = 0; channel < xnn_count_nm_filter_scales(layer); channel++) {
    const float scale = layer->filter_scale[channel];
    if (!(scale > 0.0f) || !isnormal(scale)) {
      xnn_log_error(
        "failed to create %s operator with %.7g kernel scale in output channel #%zu: it must be finite, normalized, and "
        "positive", name, scale, channel);
      return xnn_status_invalid_parameter;
    }
    if (!(xnn_get_nm_requantization_scale(layer, channel) < 256.0f)) {
      xnn_log_error(
        "failed to create %s operator with %.7g input scale, %.7g kernel scale and %.7g output scale in output channel "
        "#%zu: requantization scale must be less than 256",
        name, layer->input_scale, scale, layer->output_scale, channel);
      return xnn_status_unsupported_parameter;
    }
  }
  return xnn_status_success;
}

enum xnn_status xnn_check_nm_layer(
    const struct xnn_nm_layer* layer,
    enum xnn_operator_type type)
{
  const char* name = xnn_operator_type_to_string(type);
  const enum xnn_status status = xnn_check_nm_creation(type, layer->output_min, layer->output_max);
  if (status != xnn_status_success) {
    return status;
  }
  if (layer->kernel_height == 0 || layer->kernel_width == 0 || layer->stride_height == 0 || layer->stride_width == 0 ||
      layer->dilation_height == 0 || layer->dilation_width == 0) {
    xnn_log_error(
      "failed to create %s operator with %" PRIu32 "x%" PRIu32 " kernel, %" PRIu32 "x%" PRIu32 " subsampling, "
      "%" PRIu32 "x%" PRIu32 " dilation: each must be non-zero",
      name, layer->kernel_height, layer->kernel_width, layer->stride_height, layer->stride_width,
      layer->dilation_height, layer->dilation_width);
    return xnn_status_invalid_parameter;
  }
  if (layer->groups == 0 || layer->group_input_channels == 0 || layer->group_output_channels == 0) {
    xnn_log_error(
      "failed to create %s operator with %" PRIu32 " groups of %zu input and %zu output channels: "
      "each must be non-zero",
      name, layer->groups, layer->group_input_channels, layer->group_output_channels);
    return xnn_status_invalid_parameter;
  }
  size_t input_channels, output_channels, row_size;
  if (!xnn_multiply_sizes(layer->groups, layer->group_input_channels, &input_channels) ||
      !xnn_multiply_sizes(layer->groups, layer->group_output_channels, &output_channels) ||
      !xnn_multiply_sizes(layer->kernel_height, layer->kernel_width, &row_size) || row_size > UINT32_MAX ||
      !xnn_multiply_sizes(row_size, layer->group_input_channels, &row_size) ||
      layer->input_channel_stride > SIZE_MAX >> layer->datatype->log2_element_size ||
      layer->output_channel_stride > SIZE_MAX >> layer->datatype->log2_element_size) {
    xnn_log_error("failed to create %s operator: filter or channel strides overflow memory", name);
    return xnn_status_unsupported_parameter;
  }
  if (layer->input_channel_stride < input_channels || layer->output_channel_stride < output_channels) {
    xnn_log_error(
      "failed to create %s operator with channel strides of %zu for input and %zu for output: "
      "they must be at least as large as the channels, %zu and %zu",
      name, layer->input_channel_stride, layer->output_channel_stride, input_channels, output_channels);
    return xnn_status_invalid_parameter;
  }
  if ((layer->flags & XNN_FLAG_TENSORFLOW_SAME_PADDING) != 0 && xnn_is_nm_padded(layer)) {
    xnn_log_error("failed to create %s operator: SAME padding can't be combined with explicit padding", name);
    return xnn_status_invalid_parameter;
  }
  if ((layer->flags & XNN_FLAG_DEPTHWISE_CONVOLUTION) != 0) {
    xnn_log_error("failed to create %s operator: depthwise filters have no columns to share", name);
    return xnn_status_unsupported_parameter;
  }
  return layer->datatype == &xnn_nm_qs8_qc8w ? check_quantization(layer, name) : xnn_status_success;
}

// Tasks that each thread should get: at least one, and few enough to multiply them with threads.
static size_t get_tasks(float tasks)
{
  return max((size_t) math_min_f32(tasks, 4096.0f), 1);
}

xnn_operator_t xnn_allocate_nm_operator(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_costs* costs,
    enum xnn_operator_type type,
    xnn_weights_cache_t weights_cache)
{
  xnn_operator_t op = xnn_allocate_zero_simd_memory(sizeof(struct xnn_operator));
  if (op == NULL) {
    xnn_log_error("failed to allocate %zu bytes for %s operator descriptor",
      sizeof(struct xnn_operator), xnn_operator_type_to_string(type));
    return NULL;
  }
  op->weights_cache = weights_cache;
  op->padding_top = layer->padding_top;
  op->padding_right = layer->padding_right;
  op->padding_bottom = layer->padding_bottom;
  op->padding_left = layer->padding_left;
  op->kernel_height = layer->kernel_height;
  op->kernel_width = layer->kernel_width;
  op->stride_height = layer->stride_height;
  op->stride_width = layer->stride_width;
  op->dilation_height = layer->dilation_height;
  op->dilation_width = layer->dilation_width;
  op->groups = layer->groups;
  op->group_input_channels = layer->group_input_channels;
  op->group_output_channels = layer->group_output_channels;
  op->input_pixel_stride = layer->input_channel_stride;
  op->output_pixel_stride = layer->output_channel_stride;
  op->type = type;
  op->ukernel.type = xnn_microkernel_type_nmconv;
  op->nm.datatype = layer->datatype;
  op->nm.costs = (struct xnn_nm_task_costs) {
    .nhwc_task_size = (size_t) costs->nhwc_task_size,
    .nhwc_tasks = get_tasks(costs->nhwc_tasks),
    .packed_column = costs->packed_column,
    .cnhw_tasks = get_tasks(costs->cnhw_tasks),
    .cache_size = (size_t) costs->cache_size,
    .strips_size = (size_t) costs->strips_size,
  };
  layer->datatype->init_params(layer, layer->output_min, layer->output_max, &op->nm.params);
  layer->datatype->init_params(layer, -INFINITY, INFINITY, &op->nm.linear_params);
  op->nm.padding = UINT32_C(0x01010101) * (uint8_t) layer->input_zero_point;
  op->flags = layer->flags;
  op->state = xnn_run_state_invalid;
  return op;
}

enum xnn_status xnn_pack_nm_weights(
    xnn_operator_t op,
    const struct xnn_nm_layer* layer,
    uint32_t seed,
    size_t size,
    xnn_pack_nm_fn pack,
    const void* context)
{
  if (layer->filter_scale != NULL) {
    // What is packed depends on how all is quantized, not on the weights alone.
    const float scales[3] = {layer->input_scale, layer->output_scale, (float) layer->input_zero_point};
    seed = murmur_hash3(scales, sizeof(scales), seed);
    seed = murmur_hash3(layer->filter_scale, xnn_count_nm_filter_scales(layer) * sizeof(float), seed);
  }
  struct xnn_weights_cache_look_up_key cache_key = {
    .seed = seed ^ op->groups ^ op->group_input_channels ^ op->group_output_channels,
    .kernel = xnn_get_nm_rows_key(&layer->filter),
    .bias = layer->bias,
  };
  if (use_weights_cache(op)) {
    op->packed_weights.offset = xnn_weights_cache_look_up(op->weights_cache, &cache_key);
    if (op->packed_weights.offset != XNN_CACHE_NOT_FOUND) {
      return xnn_status_success;
    }
  }
  size = round_up_po2(size, XNN_ALLOCATION_ALIGNMENT);
  void* memory = xnn_get_pointer_to_write_weights(op, size, /*padding_byte=*/0);
  if (memory == NULL) {
    xnn_log_error("failed to allocate %zu bytes for %s operator packed weights",
      size, xnn_operator_type_to_string(op->type));
    return xnn_status_out_of_memory;
  }
  const enum xnn_status status = pack(context, memory);
  if (status == xnn_status_success && use_weights_cache(op)) {
    op->packed_weights.offset = xnn_look_up_or_insert_weights_cache(op->weights_cache, &cache_key, memory, size);
  }
  return status;
}

enum xnn_status xnn_resolve_nm_output_size(xnn_operator_t op)
{
  const size_t effective_kernel_height = (size_t) (op->kernel_height - 1) * op->dilation_height + 1;
  const size_t effective_kernel_width = (size_t) (op->kernel_width - 1) * op->dilation_width + 1;
  if ((op->flags & XNN_FLAG_TENSORFLOW_SAME_PADDING) != 0) {
    op->output_height = divide_round_up(op->input_height, op->stride_height);
    op->output_width = divide_round_up(op->input_width, op->stride_width);
    const size_t total_padding_height =
      doz((op->output_height - 1) * op->stride_height + effective_kernel_height, op->input_height);
    const size_t total_padding_width =
      doz((op->output_width - 1) * op->stride_width + effective_kernel_width, op->input_width);
    op->padding_top = total_padding_height / 2;
    op->padding_left = total_padding_width / 2;
    op->padding_bottom = total_padding_height - op->padding_top;
    op->padding_right = total_padding_width - op->padding_left;
  } else {
    const size_t padded_height = (size_t) op->padding_top + op->input_height + op->padding_bottom;
    const size_t padded_width = (size_t) op->padding_left + op->input_width + op->padding_right;
    if (padded_height < effective_kernel_height || padded_width < effective_kernel_width) {
      xnn_log_error(
        "failed to reshape %s operator with %zux%zu padded input: "
        "it must be at least as large as the dilated kernel, %zux%zu",
        xnn_operator_type_to_string(op->type), padded_height, padded_width,
        effective_kernel_height, effective_kernel_width);
      return xnn_status_invalid_parameter;
    }
    op->output_height = (padded_height - effective_kernel_height) / op->stride_height + 1;
    op->output_width = (padded_width - effective_kernel_width) / op->stride_width + 1;
  }
  return xnn_status_success;
}

enum xnn_status xnn_begin_nm_reshape(
    xnn_operator_t op,
    enum xnn_operator_type type,
    size_t batch_size,
    size_t input_height,
    size_t input_width)
{
  const char* name = xnn_operator_type_to_string(op->type);
  if (op->type != type) {
    xnn_log_error("failed to reshape operator: operator type mismatch (expected %s, got %s)",
      xnn_operator_type_to_string(type), name);
    return xnn_status_invalid_parameter;
  }
  op->state = xnn_run_state_invalid;
  if (input_width == 0 || input_height == 0) {
    xnn_log_error("failed to reshape %s operator with %zux%zu input: input dimensions must be non-zero",
      name, input_width, input_height);
    return xnn_status_invalid_parameter;
  }
  if (batch_size == 0) {
    op->state = xnn_run_state_skip;
    return xnn_status_success;
  }
  op->batch_size = batch_size;
  op->input_height = input_height;
  op->input_width = input_width;
  return xnn_resolve_nm_output_size(op);
}

enum xnn_status xnn_check_nm_setup(xnn_operator_t op, enum xnn_operator_type type)
{
  const char* name = xnn_operator_type_to_string(op->type);
  if (op->type != type) {
    xnn_log_error("failed to setup operator: operator type mismatch (expected %s, got %s)",
      xnn_operator_type_to_string(type), name);
    return xnn_status_invalid_parameter;
  }
  if (op->state == xnn_run_state_invalid) {
    xnn_log_error("failed to setup %s operator: operator has not been reshaped yet", name);
    return xnn_status_invalid_state;
  }
  if (op->state != xnn_run_state_skip && op->weights_cache != NULL &&
      !xnn_weights_cache_is_finalized(op->weights_cache)) {
    xnn_log_error("failed to setup %s operator: weights cache is not finalized", name);
    return xnn_status_invalid_state;
  }
  return xnn_status_success;
}
