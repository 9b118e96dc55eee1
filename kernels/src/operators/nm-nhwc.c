// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// 2D convolution of NHWC images with column-wise N:M sparse filters, straight from the image: the address of a kept
// column is that of its output pixel plus a distance that is the same for every pixel, once the image is padded.

#include <assert.h>
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
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator-utils.h"
#include "xnnpack/operator.h"
#include "xnnpack/params.h"
#include "pthreadpool.h"

static struct xnn_nmconv_filter get_filter(const struct xnn_operator* op, void* memory)
{
  return xnn_layout_nmconv_filter(
    op->nm.datatype, op->nm.nmconv->nr, op->num_output_channel_blocks, op->num_nonzero_blocks, memory);
}

// What a filter is packed from.
struct source {
  const struct xnn_operator* op;
  const struct xnn_nm_layer* layer;
  const struct xnn_nm_zeros* zeros;
};

static enum xnn_status pack(const void* context, void* memory)
{
  const struct source* source = context;
  const struct xnn_nmconv_filter filter = get_filter(source->op, memory);
  return xnn_pack_nmconv_filter(source->layer, source->zeros, source->op->nm.nmconv->nr, &filter);
}

static enum xnn_status pack_filter(
  xnn_operator_t op,
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros)
{
  const size_t size = get_filter(op, /*memory=*/NULL).size;
  if (size == 0) {
    xnn_log_error("failed to create %s operator: packed weights overflow memory",
      xnn_operator_type_to_string(op->type));
    return xnn_status_unsupported_parameter;
  }
  const struct source source = {.op = op, .layer = layer, .zeros = zeros};
  return xnn_pack_nm_weights(op, layer, op->nm.nmconv->nr ^ xnn_microkernel_type_nmconv, size, pack, &source);
}

enum xnn_status xnn_create_analyzed_nm_nhwc(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nm_costs* costs,
    const struct xnn_nmconv_analysis* analysis,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out)
{
  xnn_operator_t op = xnn_allocate_nm_operator(
    layer, costs, xnn_operator_type_convolution_nm_nhwc_f32, analysis->config->init, weights_cache);
  if (op == NULL) {
    return xnn_status_out_of_memory;
  }
  op->num_nonzero_values = zeros->num_nonzeroes;
  op->num_nonzero_blocks = analysis->num_columns;
  op->num_output_channel_blocks = analysis->num_tiles;
  op->nm.nmconv = analysis->config;
  const enum xnn_status status = pack_filter(op, layer, zeros);
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
  const struct xnn_nm_layer layer = {
    .datatype = &xnn_nm_f32,
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
    .filter = {.data = kernel},
    .bias = bias,
    .output_min = output_min,
    .output_max = output_max,
    .flags = flags,
  };
  enum xnn_status status = xnn_check_nm_layer(&layer, xnn_operator_type_convolution_nm_nhwc_f32);
  if (status != xnn_status_success) {
    return status;
  }
  struct xnn_nm_zeros zeros;
  status = xnn_find_nm_zeros(&layer, &zeros);
  if (status != xnn_status_success) {
    return status;
  }
  const struct xnn_nm_costs* costs = xnn_init_nm_costs();
  struct xnn_nmconv_analysis analysis;
  status = xnn_analyze_nmconv(&layer, &zeros, costs, tile_height, &analysis);
  if (status == xnn_status_success) {
    status = xnn_create_analyzed_nm_nhwc(&layer, &zeros, costs, &analysis, weights_cache, convolution_op_out);
  }
  xnn_release_nm_zeros(&zeros);
  return status;
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

  const struct xnn_nmconv_filter filter = get_filter(op, packed_weights(op));
  const size_t row_columns = op->kernel_width * op->group_input_channels;
  for (size_t i = 0; i < num_columns; i++) {
    const size_t ky = filter.columns[i] / row_columns;
    const size_t kx = filter.columns[i] % row_columns / op->group_input_channels;
    const size_t c = filter.columns[i] % op->group_input_channels;
    offsets[i] = (int32_t) (ky * op->dilation_height * row_stride + kx * op->dilation_width * pixel_stride +
                            (c << op->nm.datatype->log2_element_size));
  }
  return xnn_status_success;
}

// Blocks of pixels of a task, if each of other_tasks has so many blocks: few enough for the target, and as even among the
// threads as that leaves room for.
static size_t get_task_blocks(
  size_t num_blocks,
  size_t other_tasks,
  size_t thread_tasks,
  size_t num_threads)
{
  const size_t most = max(num_blocks / divide_round_up(num_threads * thread_tasks, other_tasks), 1);
  size_t best = most;
  size_t least_busy = SIZE_MAX;
  for (size_t blocks = most; blocks > most / 2; blocks--) {
    const size_t num_tasks = other_tasks * divide_round_up(num_blocks, blocks);
    const size_t busiest = divide_round_up(num_tasks, num_threads) * blocks;
    if (busiest < least_busy) {
      least_busy = busiest;
      best = blocks;
    }
  }
  return best;
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
  *workspace_size = 0;
  *workspace_alignment = 1;
  enum xnn_status status =
    xnn_begin_nm_reshape(op, xnn_operator_type_convolution_nm_nhwc_f32, batch_size, input_height, input_width);
  if (status != xnn_status_success || op->state == xnn_run_state_skip) {
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

  const size_t log2_size = op->nm.datatype->log2_element_size;
  const size_t pixel_stride = (any_padding ? channels : op->input_pixel_stride) << log2_size;
  size_t row_stride, image_stride, total_size, output_size;
  if (!xnn_multiply_sizes(any_padding ? padded_width : input_width, pixel_stride, &row_stride) ||
      !xnn_multiply_sizes(any_padding ? padded_height : input_height, row_stride, &image_stride) ||
      !xnn_multiply_sizes(batch_size, image_stride, &total_size) || total_size > SIZE_MAX - XNN_ALLOCATION_ALIGNMENT ||
      !xnn_multiply_sizes(op->output_height, op->output_width, &output_size) ||
      !xnn_multiply_sizes(output_size, op->output_pixel_stride << log2_size, &output_size) ||
      !xnn_multiply_sizes(batch_size, output_size, &output_size) ||
      (size_t) (op->kernel_height - 1) * op->dilation_height > (size_t) INT32_MAX / 2 / row_stride ||
      row_stride > (size_t) INT32_MAX / 2) {
    xnn_log_error(
      "failed to reshape %s operator with %zux%zux%zu input: the image or the reach of the kernel is too large",
      xnn_operator_type_to_string(op->type), batch_size, input_height, input_width);
    return xnn_status_unsupported_parameter;
  }

  status = compute_offsets(op, row_stride, pixel_stride);
  if (status != xnn_status_success) {
    return status;
  }

  const struct xnn_nmconv_config* config = op->nm.nmconv;
  const struct xnn_nmconv_filter filter = get_filter(op, packed_weights(op));
  const size_t pixels = op->output_height * op->output_width;
  const size_t group_tiles = divide_round_up(op->group_output_channels, config->nr);

  op->context.nmconv.nmconv = (struct nmconv_context) {
    .input_batch_stride = image_stride,
    .input_group_stride = op->group_input_channels << log2_size,
    .input_row_stride = op->stride_height * row_stride,
    .input_pixel_stride = op->stride_width * pixel_stride,
    .groups = fxdiv_init_size_t(groups),
    .output_width = fxdiv_init_size_t(op->output_width),
    .offsets = (const int32_t*) op->indirection_buffer,
    .column_starts = filter.column_starts,
    .packed_w = filter.weights,
    .group_tiles = group_tiles,
    .output_batch_stride = pixels * op->output_pixel_stride << log2_size,
    .output_group_stride = op->group_output_channels << log2_size,
    .output_pixel_stride = op->output_pixel_stride << log2_size,
    .mr = config->mr,
    .nr = config->nr,
    .log2_element_size = log2_size,
    .log2_bias_size = op->nm.datatype->log2_bias_size,
    .ukernel = config->ukernel,
    .params = op->nm.params,
  };

  // Tiles of a task: an even part, small enough that their weights stay in cache from one pixel block to the next.
  const size_t mean_tile_size =
    (op->num_output_channel_blocks + op->num_nonzero_blocks) / op->num_output_channel_blocks *
    ((size_t) config->nr << log2_size);
  const size_t most_tiles = max(1, op->nm.costs.nhwc_task_size / mean_tile_size);
  const size_t task_tiles = divide_round_up(group_tiles, divide_round_up(group_tiles, most_tiles));
  // Pixels of a task: all, or an even part for each thread.
  const size_t num_threads = pthreadpool_get_threads_count(threadpool);
  const size_t num_blocks = divide_round_up(pixels, config->mr);
  const size_t task_blocks = num_threads == 1 ? num_blocks :
    get_task_blocks(num_blocks, batch_size * groups * divide_round_up(group_tiles, task_tiles), op->nm.costs.nhwc_tasks,
      num_threads);

  struct compute_parameters* compute = &op->compute[0];
  memset(op->compute, 0, sizeof(op->compute));
  if (any_padding) {
    const size_t left_pixels = min(op->padding_left, padded_width);
    const size_t input_pixels = min(input_width, padded_width - left_pixels);
    op->context.nmconv.pad = (struct nmconv_pad_context) {
      .input_batch_stride = input_height * input_width * op->input_pixel_stride << log2_size,
      .input_row_stride = input_width * op->input_pixel_stride << log2_size,
      .input_pixel_stride = op->input_pixel_stride << log2_size,
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
  compute->tile[0] = task_blocks * config->mr;
  compute->tile[1] = task_tiles * config->nr;
  op->state = xnn_run_state_needs_setup;
  return xnn_status_success;
}

enum xnn_status xnn_setup_convolution2d_nm_nhwc_f32(
    xnn_operator_t op,
    void* workspace,
    const float* input,
    const float* residual,
    float* output)
{
  const enum xnn_status status = xnn_check_nm_setup(op, xnn_operator_type_convolution_nm_nhwc_f32);
  if (status != xnn_status_success || op->state == xnn_run_state_skip) {
    return status;
  }

  if (residual == output && residual != NULL) {
    xnn_log_error("failed to setup %s operator: the residual must not be the output",
      xnn_operator_type_to_string(op->type));
    return xnn_status_invalid_parameter;
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
  op->context.nmconv.nmconv.residual_distance = residual == NULL ? 0 : (intptr_t) residual - (intptr_t) output;
  op->state = xnn_run_state_ready;
  return xnn_status_success;
}
