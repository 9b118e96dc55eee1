// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// 2D convolution of NHWC images with column-wise N:M sparse filters, straight from the image: the address of a kept
// column is that of its output pixel plus a distance that is the same for every pixel, once the image is padded.

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack/allocator.h"
#include "xnnpack/cache.h"
#include "xnnpack/common.h"
#include "xnnpack/compute.h"
#include "xnnpack/config.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/microkernel-type.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator-utils.h"
#include "xnnpack/operator.h"
#include "xnnpack/params.h"
#include "pthreadpool.h"

// Weights that one task walks through for every pixel block: a part of L2 that leaves room for the image.
#define MAX_TASK_WEIGHTS_SIZE (512 * 1024)
// Enough tasks a thread to even out their times.
#define TARGET_TASKS_PER_THREAD 5

// *product = a * b, or false where it does not fit.
static bool multiply(size_t a, size_t b, size_t* product)
{
  if (a != 0 && b > SIZE_MAX / a) {
    return false;
  }
  *product = a * b;
  return true;
}

// The packed weights of an operator: floats for the micro-kernel, then the columns they belong to.
struct packed_filter {
  float* weights;
  uint32_t* columns;
  uint32_t* column_starts;
};

static struct packed_filter split_packed_filter(
  void* memory,
  size_t nr,
  size_t num_tiles,
  size_t num_columns)
{
  struct packed_filter filter;
  filter.weights = (float*) memory;
  filter.columns = (uint32_t*) (filter.weights + nr * (num_tiles + num_columns));
  filter.column_starts = filter.columns + num_columns;
  return filter;
}

static enum xnn_status pack_filter(
  xnn_operator_t op,
  const struct xnn_nmconv_analysis* analysis,
  const float* kernel,
  const float* bias)
{
  const size_t nr = analysis->config->nr;
  const size_t num_tiles = analysis->num_tiles;
  const size_t num_columns = analysis->num_columns;
  size_t num_weights;
  if (!multiply(nr, num_tiles + num_columns, &num_weights) || num_weights > SIZE_MAX / 16) {
    xnn_log_error("failed to create %s operator: packed weights overflow memory",
      xnn_operator_type_to_string(op->type));
    return xnn_status_unsupported_parameter;
  }
  const size_t size = round_up_po2(
    num_weights * sizeof(float) + (num_columns + num_tiles + 1) * sizeof(uint32_t), XNN_ALLOCATION_ALIGNMENT);

  struct xnn_weights_cache_look_up_key cache_key = {
    .seed = op->groups ^ op->group_input_channels ^ op->group_output_channels ^ nr ^ xnn_microkernel_type_nmconv,
    .kernel = kernel,
    .bias = bias,
  };
  if (use_weights_cache(op)) {
    op->packed_weights.offset = xnn_weights_cache_look_up(op->weights_cache, &cache_key);
    if (op->packed_weights.offset != XNN_CACHE_NOT_FOUND) {
      return xnn_status_success;
    }
  }

  void* memory = xnn_get_pointer_to_write_weights(op, size, /*padding_byte=*/0);
  if (memory == NULL) {
    xnn_log_error("failed to allocate %zu bytes for %s operator packed weights",
      size, xnn_operator_type_to_string(op->type));
    return xnn_status_out_of_memory;
  }
  const struct packed_filter filter = split_packed_filter(memory, nr, num_tiles, num_columns);
  xnn_pack_f32_nmconv_w(
    op->groups, op->group_output_channels, op->kernel_height * op->kernel_width, op->group_input_channels,
    nr, kernel, bias, filter.columns, filter.column_starts, filter.weights);
  if (use_weights_cache(op)) {
    op->packed_weights.offset = xnn_look_up_or_insert_weights_cache(op->weights_cache, &cache_key, memory, size);
  }
  return xnn_status_success;
}

enum xnn_status xnn_check_convolution2d_nm_nhwc_f32(const struct xnn_nm_convolution2d* conv)
{
  const char* name = xnn_operator_type_to_string(xnn_operator_type_convolution_nm_nhwc_f32);
  if ((xnn_params.init_flags & XNN_INIT_FLAG_XNNPACK) == 0) {
    xnn_log_error("failed to create %s operator: XNNPACK is not initialized", name);
    return xnn_status_uninitialized;
  }
  if (isnan(conv->output_min) || isnan(conv->output_max) || conv->output_min > conv->output_max) {
    xnn_log_error(
      "failed to create %s operator with [%.7g, %.7g] output range: bounds must be numbers in ascending order",
      name, conv->output_min, conv->output_max);
    return xnn_status_invalid_parameter;
  }
  if (conv->kernel_height == 0 || conv->kernel_width == 0 || conv->stride_height == 0 || conv->stride_width == 0 ||
      conv->dilation_height == 0 || conv->dilation_width == 0) {
    xnn_log_error(
      "failed to create %s operator with %" PRIu32 "x%" PRIu32 " kernel, %" PRIu32 "x%" PRIu32 " subsampling, "
      "%" PRIu32 "x%" PRIu32 " dilation: each must be non-zero",
      name, conv->kernel_height, conv->kernel_width, conv->stride_height, conv->stride_width,
      conv->dilation_height, conv->dilation_width);
    return xnn_status_invalid_parameter;
  }
  if (conv->groups == 0 || conv->group_input_channels == 0 || conv->group_output_channels == 0) {
    xnn_log_error(
      "failed to create %s operator with %" PRIu32 " groups of %zu input and %zu output channels: "
      "each must be non-zero",
      name, conv->groups, conv->group_input_channels, conv->group_output_channels);
    return xnn_status_invalid_parameter;
  }
  size_t input_channels, output_channels, row_size;
  if (!multiply(conv->groups, conv->group_input_channels, &input_channels) ||
      !multiply(conv->groups, conv->group_output_channels, &output_channels) ||
      !multiply(conv->kernel_height, conv->kernel_width, &row_size) || row_size > UINT32_MAX ||
      !multiply(row_size, conv->group_input_channels, &row_size) ||
      conv->input_channel_stride > SIZE_MAX / sizeof(float) ||
      conv->output_channel_stride > SIZE_MAX / sizeof(float)) {
    xnn_log_error("failed to create %s operator: filter or channel strides overflow memory", name);
    return xnn_status_unsupported_parameter;
  }
  if (conv->input_channel_stride < input_channels || conv->output_channel_stride < output_channels) {
    xnn_log_error(
      "failed to create %s operator with channel strides of %zu for input and %zu for output: "
      "they must be at least as large as the channels, %zu and %zu",
      name, conv->input_channel_stride, conv->output_channel_stride, input_channels, output_channels);
    return xnn_status_invalid_parameter;
  }
  const bool any_padding =
    (conv->padding_top | conv->padding_right | conv->padding_bottom | conv->padding_left) != 0;
  if ((conv->flags & XNN_FLAG_TENSORFLOW_SAME_PADDING) != 0 && any_padding) {
    xnn_log_error("failed to create %s operator: SAME padding can't be combined with explicit padding", name);
    return xnn_status_invalid_parameter;
  }
  if ((conv->flags & XNN_FLAG_DEPTHWISE_CONVOLUTION) != 0) {
    xnn_log_error("failed to create %s operator: depthwise filters have no columns to share", name);
    return xnn_status_unsupported_parameter;
  }
  return xnn_status_success;
}

enum xnn_status xnn_create_analyzed_convolution2d_nm_nhwc_f32(
    const struct xnn_nm_convolution2d* conv,
    const struct xnn_nmconv_analysis* analysis,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out)
{
  xnn_operator_t op = xnn_allocate_zero_simd_memory(sizeof(struct xnn_operator));
  if (op == NULL) {
    xnn_log_error("failed to allocate %zu bytes for %s operator descriptor",
      sizeof(struct xnn_operator), xnn_operator_type_to_string(xnn_operator_type_convolution_nm_nhwc_f32));
    return xnn_status_out_of_memory;
  }
  op->weights_cache = weights_cache;
  op->padding_top = conv->padding_top;
  op->padding_right = conv->padding_right;
  op->padding_bottom = conv->padding_bottom;
  op->padding_left = conv->padding_left;
  op->kernel_height = conv->kernel_height;
  op->kernel_width = conv->kernel_width;
  op->stride_height = conv->stride_height;
  op->stride_width = conv->stride_width;
  op->dilation_height = conv->dilation_height;
  op->dilation_width = conv->dilation_width;
  op->groups = conv->groups;
  op->group_input_channels = conv->group_input_channels;
  op->group_output_channels = conv->group_output_channels;
  op->input_pixel_stride = conv->input_channel_stride;
  op->output_pixel_stride = conv->output_channel_stride;
  op->num_nonzero_values = analysis->num_nonzeroes;
  op->num_nonzero_blocks = analysis->num_columns;
  op->num_output_channel_blocks = analysis->num_tiles;
  op->type = xnn_operator_type_convolution_nm_nhwc_f32;
  op->ukernel.type = xnn_microkernel_type_nmconv;
  op->nmconv_config = analysis->config;
  op->flags = conv->flags;
  op->state = xnn_run_state_invalid;
  analysis->config->init(&op->params.f32_minmax, conv->output_min, conv->output_max);

  const enum xnn_status status = pack_filter(op, analysis, conv->kernel, conv->bias);
  if (status != xnn_status_success) {
    xnn_delete_operator(op);
    return status;
  }
  *convolution_op_out = op;
  return xnn_status_success;
}

enum xnn_status xnn_create_convolution2d_nm_nhwc_f32(
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
    size_t tile_height,
    const float* kernel,
    const float* bias,
    float output_min,
    float output_max,
    uint32_t flags,
    xnn_code_cache_t code_cache,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out)
{
  const struct xnn_nm_convolution2d conv = {
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
    .kernel = kernel,
    .bias = bias,
    .output_min = output_min,
    .output_max = output_max,
    .flags = flags,
  };
  enum xnn_status status = xnn_check_convolution2d_nm_nhwc_f32(&conv);
  if (status != xnn_status_success) {
    return status;
  }
  struct xnn_nmconv_analysis analysis;
  status = xnn_analyze_f32_nmconv_w(
    groups, group_output_channels, kernel_height * kernel_width, group_input_channels,
    tile_height, /*dense_nr=*/1, kernel, &analysis);
  if (status != xnn_status_success) {
    return status;
  }
  return xnn_create_analyzed_convolution2d_nm_nhwc_f32(&conv, &analysis, weights_cache, convolution_op_out);
}

// Resolves SAME padding and computes the output size.
static enum xnn_status resolve_output_size(xnn_operator_t op)
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

// Turns the kept columns into distances in bytes, for the given strides of the image that the kernel reads.
static enum xnn_status compute_offsets(
  xnn_operator_t op,
  size_t row_stride,
  size_t pixel_stride)
{
  const size_t num_columns = op->num_nonzero_blocks;
  int32_t* offsets = xnn_reallocate_memory((void*) op->indirection_buffer, max(num_columns, 1) * sizeof(int32_t));
  if (offsets == NULL) {
    xnn_log_error("failed to allocate %zu bytes for %s operator offsets",
      num_columns * sizeof(int32_t), xnn_operator_type_to_string(op->type));
    return xnn_status_out_of_memory;
  }
  op->indirection_buffer = (const void**) offsets;

  const struct packed_filter filter = split_packed_filter(
    packed_weights(op), op->nmconv_config->nr, op->num_output_channel_blocks, num_columns);
  const size_t row_columns = op->kernel_width * op->group_input_channels;
  for (size_t i = 0; i < num_columns; i++) {
    const size_t ky = filter.columns[i] / row_columns;
    const size_t kx = filter.columns[i] % row_columns / op->group_input_channels;
    const size_t c = filter.columns[i] % op->group_input_channels;
    offsets[i] = (int32_t) (ky * op->dilation_height * row_stride + kx * op->dilation_width * pixel_stride +
                            c * sizeof(float));
  }
  return xnn_status_success;
}

enum xnn_status xnn_reshape_convolution2d_nm_nhwc_f32(
    xnn_operator_t op,
    size_t batch_size,
    size_t input_height,
    size_t input_width,
    size_t* workspace_size,
    size_t* workspace_alignment,
    size_t* output_height_out,
    size_t* output_width_out,
    pthreadpool_t threadpool)
{
  const char* name = xnn_operator_type_to_string(op->type);
  if (op->type != xnn_operator_type_convolution_nm_nhwc_f32) {
    xnn_log_error("failed to reshape operator: operator type mismatch (expected %s, got %s)",
      xnn_operator_type_to_string(xnn_operator_type_convolution_nm_nhwc_f32), name);
    return xnn_status_invalid_parameter;
  }
  op->state = xnn_run_state_invalid;
  if (input_width == 0 || input_height == 0) {
    xnn_log_error("failed to reshape %s operator with %zux%zu input: input dimensions must be non-zero",
      name, input_width, input_height);
    return xnn_status_invalid_parameter;
  }
  *workspace_size = 0;
  *workspace_alignment = 1;
  if (batch_size == 0) {
    op->state = xnn_run_state_skip;
    return xnn_status_success;
  }

  op->batch_size = batch_size;
  op->input_height = input_height;
  op->input_width = input_width;
  enum xnn_status status = resolve_output_size(op);
  if (status != xnn_status_success) {
    return status;
  }
  if (output_height_out != NULL) {
    *output_height_out = op->output_height;
  }
  if (output_width_out != NULL) {
    *output_width_out = op->output_width;
  }

  // The part of the padded image that taps reach.
  const size_t groups = op->groups;
  const size_t channels = groups * op->group_input_channels;
  const size_t padded_height =
    (op->output_height - 1) * op->stride_height + (size_t) (op->kernel_height - 1) * op->dilation_height + 1;
  const size_t padded_width =
    (op->output_width - 1) * op->stride_width + (size_t) (op->kernel_width - 1) * op->dilation_width + 1;
  const bool any_padding = op->padding_top != 0 || op->padding_left != 0 ||
    padded_height > input_height || padded_width > input_width;

  const size_t pixel_stride = (any_padding ? channels : op->input_pixel_stride) * sizeof(float);
  size_t row_stride, image_stride, total_size, output_size;
  if (!multiply(any_padding ? padded_width : input_width, pixel_stride, &row_stride) ||
      !multiply(any_padding ? padded_height : input_height, row_stride, &image_stride) ||
      !multiply(batch_size, image_stride, &total_size) || total_size > SIZE_MAX - XNN_ALLOCATION_ALIGNMENT ||
      !multiply(op->output_height, op->output_width, &output_size) ||
      !multiply(output_size, op->output_pixel_stride * sizeof(float), &output_size) ||
      !multiply(batch_size, output_size, &output_size) ||
      (size_t) (op->kernel_height - 1) * op->dilation_height > (size_t) INT32_MAX / 2 / row_stride ||
      row_stride > (size_t) INT32_MAX / 2) {
    xnn_log_error(
      "failed to reshape %s operator with %zux%zux%zu input: the image or the reach of the kernel is too large",
      name, batch_size, input_height, input_width);
    return xnn_status_unsupported_parameter;
  }

  status = compute_offsets(op, row_stride, pixel_stride);
  if (status != xnn_status_success) {
    return status;
  }

  const struct xnn_nmconv_config* config = op->nmconv_config;
  const struct packed_filter filter = split_packed_filter(
    packed_weights(op), config->nr, op->num_output_channel_blocks, op->num_nonzero_blocks);
  const size_t pixels = op->output_height * op->output_width;
  const size_t group_tiles = divide_round_up(op->group_output_channels, config->nr);

  op->context.nmconv.nmconv = (struct nmconv_context) {
    .input_batch_stride = image_stride,
    .input_group_stride = op->group_input_channels * sizeof(float),
    .input_row_stride = op->stride_height * row_stride,
    .input_pixel_stride = op->stride_width * pixel_stride,
    .groups = fxdiv_init_size_t(groups),
    .output_width = fxdiv_init_size_t(op->output_width),
    .offsets = (const int32_t*) op->indirection_buffer,
    .column_starts = filter.column_starts,
    .packed_w = filter.weights,
    .group_tiles = group_tiles,
    .output_batch_stride = pixels * op->output_pixel_stride * sizeof(float),
    .output_group_stride = op->group_output_channels * sizeof(float),
    .output_pixel_stride = op->output_pixel_stride * sizeof(float),
    .mr = config->mr,
    .nr = config->nr,
    .ukernel = config->ukernel,
    .params = op->params.f32_minmax,
  };

  // Tiles of a task: as many as leave their weights in cache from one pixel block to the next.
  const size_t mean_tile_size =
    (op->num_output_channel_blocks + op->num_nonzero_blocks) / op->num_output_channel_blocks *
    config->nr * sizeof(float);
  const size_t task_tiles = min(group_tiles, max(1, MAX_TASK_WEIGHTS_SIZE / mean_tile_size));
  // Pixels of a task: all, or an even part for each thread.
  size_t task_pixels = pixels;
  const size_t num_threads = pthreadpool_get_threads_count(threadpool);
  if (num_threads > 1) {
    const size_t other_tasks = batch_size * groups * divide_round_up(group_tiles, task_tiles);
    const size_t target = divide_round_up(num_threads * TARGET_TASKS_PER_THREAD, other_tasks);
    task_pixels = max(divide_round_up(pixels, target), 1);
  }

  struct compute_parameters* compute = &op->compute[0];
  memset(op->compute, 0, sizeof(op->compute));
  if (any_padding) {
    const size_t left_pixels = min(op->padding_left, padded_width);
    const size_t input_pixels = min(input_width, padded_width - left_pixels);
    op->context.nmconv.pad = (struct nmconv_pad_context) {
      .input_batch_stride = input_height * input_width * op->input_pixel_stride * sizeof(float),
      .input_row_stride = input_width * op->input_pixel_stride * sizeof(float),
      .input_pixel_stride = op->input_pixel_stride * sizeof(float),
      .output_batch_stride = image_stride,
      .output_row_stride = row_stride,
      .pixel_size = pixel_stride,
      .input_height = input_height,
      .padding_top = op->padding_top,
      .left_pixels = left_pixels,
      .input_pixels = input_pixels,
      .right_pixels = padded_width - left_pixels - input_pixels,
    };
    compute->type = xnn_parallelization_type_2d;
    compute->task_2d = (pthreadpool_task_2d_t) xnn_compute_nmconv_pad;
    compute->context_offset = offsetof(struct xnn_operator, context.nmconv.pad) - offsetof(struct xnn_operator, context);
    compute->range[0] = batch_size;
    compute->range[1] = padded_height;
    compute += 1;
    *workspace_size = total_size;
    *workspace_alignment = XNN_ALLOCATION_ALIGNMENT;
  }
  compute->type = xnn_parallelization_type_3d_tile_2d;
  compute->task_3d_tile_2d = (pthreadpool_task_3d_tile_2d_t) xnn_compute_nmconv;
  compute->context_offset = offsetof(struct xnn_operator, context.nmconv.nmconv) - offsetof(struct xnn_operator, context);
  compute->range[0] = batch_size * groups;
  compute->range[1] = pixels;
  compute->range[2] = op->group_output_channels;
  compute->tile[0] = round_up(task_pixels, config->mr);
  compute->tile[1] = task_tiles * config->nr;
  op->state = xnn_run_state_needs_setup;
  return xnn_status_success;
}

enum xnn_status xnn_setup_convolution2d_nm_nhwc_f32(
    xnn_operator_t op,
    void* workspace,
    const float* input,
    float* output)
{
  if (op->type != xnn_operator_type_convolution_nm_nhwc_f32) {
    xnn_log_error("failed to setup operator: operator type mismatch (expected %s, got %s)",
      xnn_operator_type_to_string(xnn_operator_type_convolution_nm_nhwc_f32),
      xnn_operator_type_to_string(op->type));
    return xnn_status_invalid_parameter;
  }
  switch (op->state) {
    case xnn_run_state_skip:
      return xnn_status_success;
    case xnn_run_state_invalid:
      xnn_log_error("failed to setup %s operator: operator has not been reshaped yet",
        xnn_operator_type_to_string(op->type));
      return xnn_status_invalid_state;
    case xnn_run_state_needs_setup:
    case xnn_run_state_ready:
      break;
  }
  if (op->weights_cache != NULL && !xnn_weights_cache_is_finalized(op->weights_cache)) {
    xnn_log_error("failed to setup %s operator: weights cache is not finalized",
      xnn_operator_type_to_string(op->type));
    return xnn_status_invalid_state;
  }

  const bool any_padding = op->compute[1].type != xnn_parallelization_type_invalid;
  if (any_padding) {
    if (workspace == NULL) {
      xnn_log_error("failed to setup %s operator: padding needs the workspace that reshape asked for",
        xnn_operator_type_to_string(op->type));
      return xnn_status_invalid_parameter;
    }
    op->context.nmconv.pad.input = input;
    op->context.nmconv.pad.output = workspace;
  }
  op->context.nmconv.nmconv.input = any_padding ? workspace : input;
  op->context.nmconv.nmconv.output = output;
  op->state = xnn_run_state_ready;
  return xnn_status_success;
}
