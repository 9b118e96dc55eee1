// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// 2D convolution of NHWC images with column-wise N:M sparse filters, straight from the image: the address of a kept
// column is that of its output pixel plus a distance that is the same for every pixel, once the image is padded. Columns
// that a micro-kernel multiplies together are a run, which has one address.

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack-nm-operators.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/compute.h"
#include "xnnpack/config.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator-utils.h"
#include "xnnpack/operator.h"
#include "pthreadpool.h"

// Turns the runs into distances in bytes, for the given strides of the image that the kernel reads.
static enum xnn_status compute_offsets(
  xnn_operator_t op,
  size_t row_stride,
  size_t pixel_stride)
{
  const size_t num_runs = op->num_nonzero_blocks;
  int32_t* offsets = (int32_t*) op->indirection_buffer;
  // Once, since their number stays: there are allocators that cannot reallocate, and users who reshape for each run.
  if (offsets == NULL) {
    offsets = xnn_allocate_memory(max(num_runs, 1) * sizeof(int32_t));
    if (offsets == NULL) {
      xnn_log_error("failed to allocate %zu bytes for %s operator offsets",
        num_runs * sizeof(int32_t), xnn_operator_type_to_string(op->type));
      return xnn_status_out_of_memory;
    }
    op->indirection_buffer = (const void**) offsets;
  }

  const struct xnn_nmconv_filter filter = xnn_get_nmconv_filter(op, packed_weights(op));
  const size_t row_columns = op->kernel_width * op->group_input_channels;
  for (size_t i = 0; i < num_runs; i++) {
    const size_t ky = filter.columns[i] / row_columns;
    const size_t kx = filter.columns[i] % row_columns / op->group_input_channels;
    const size_t c = filter.columns[i] % op->group_input_channels;
    offsets[i] = (int32_t) (ky * op->dilation_height * row_stride + kx * op->dilation_width * pixel_stride +
                            (c << op->nm.nmconv->log2_image_size));
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

// The image that taps reach: a copy where any tap leaves the input, or elements are wider than its own.
struct view {
  bool is_copy;
  size_t height;
  size_t width;
  // In bytes, of the image that the kernel reads; the size is that of all images.
  size_t pixel_stride;
  size_t row_stride;
  size_t image_stride;
  size_t size;
};

static enum xnn_status find_view(const struct xnn_operator* op, struct view* view)
{
  const size_t channels = op->groups * op->group_input_channels;
  const size_t padded_height =
    (op->output_height - 1) * op->stride_height + (size_t) (op->kernel_height - 1) * op->dilation_height + 1;
  const size_t padded_width =
    (op->output_width - 1) * op->stride_width + (size_t) (op->kernel_width - 1) * op->dilation_width + 1;
  const size_t log2_size = op->nm.datatype->log2_element_size;
  const size_t log2_image_size = op->nm.nmconv->log2_image_size;
  view->is_copy = op->padding_top != 0 || op->padding_left != 0 || log2_image_size != log2_size ||
    padded_height > op->input_height || padded_width > op->input_width;
  view->height = view->is_copy ? padded_height : op->input_height;
  view->width = view->is_copy ? padded_width : op->input_width;
  view->pixel_stride = (view->is_copy ? channels : op->input_pixel_stride) << log2_image_size;
  size_t output_size;
  if (!xnn_multiply_sizes(view->width, view->pixel_stride, &view->row_stride) ||
      !xnn_multiply_sizes(view->height, view->row_stride, &view->image_stride) ||
      !xnn_multiply_sizes(op->batch_size, view->image_stride, &view->size) ||
      view->size > SIZE_MAX - XNN_ALLOCATION_ALIGNMENT ||
      !xnn_multiply_sizes(op->output_height, op->output_width, &output_size) ||
      !xnn_multiply_sizes(output_size, op->output_pixel_stride << log2_size, &output_size) ||
      !xnn_multiply_sizes(op->batch_size, output_size, &output_size) ||
      (size_t) (op->kernel_height - 1) * op->dilation_height > (size_t) INT32_MAX / 2 / view->row_stride ||
      view->row_stride > (size_t) INT32_MAX / 2) {
    xnn_log_error(
      "failed to reshape %s operator with %zux%zux%zu input: the image or the reach of the kernel is too large",
      xnn_operator_type_to_string(op->type), op->batch_size, op->input_height, op->input_width);
    return xnn_status_unsupported_parameter;
  }
  return xnn_status_success;
}

// Lets the operator first copy its images between pixels of padding.
static void copy_images(xnn_operator_t op, const struct view* view, struct compute_parameters* compute)
{
  const size_t log2_size = op->nm.datatype->log2_element_size;
  const bool converts = op->nm.datatype == &xnn_nm_f16 && op->nm.nmconv->log2_image_size != log2_size;
  const size_t left_pixels = min(op->padding_left, view->width);
  const size_t input_pixels = min(op->input_width, view->width - left_pixels);
  op->context.nmconv.pad = (struct nmconv_pad_context) {
    .input_batch_stride = op->input_height * op->input_width * op->input_pixel_stride << log2_size,
    .input_row_stride = op->input_width * op->input_pixel_stride << log2_size,
    .input_pixel_stride = op->input_pixel_stride << log2_size,
    .output_batch_stride = view->image_stride,
    .output_row_stride = view->row_stride,
    .pixel_channels = op->groups * op->group_input_channels,
    .input_height = op->input_height,
    .padding_top = op->padding_top,
    .left_pixels = left_pixels,
    .input_pixels = input_pixels,
    .right_pixels = view->width - left_pixels - input_pixels,
    .log2_input_size = log2_size,
    .log2_output_size = op->nm.nmconv->log2_image_size,
    .padding = (int8_t) op->nm.padding,
    .convert = converts ? xnn_init_f16_to_f32_cvt_config()->ukernel : NULL,
  };
  compute->type = xnn_parallelization_type_2d;
  compute->task_2d = (pthreadpool_task_2d_t) xnn_compute_nmconv_pad;
  compute->context_offset = offsetof(struct xnn_operator, context.nmconv.pad) - offsetof(struct xnn_operator, context);
  compute->range[0] = op->batch_size;
  compute->range[1] = view->height;
}

static void fill_context(xnn_operator_t op, const struct view* view)
{
  const size_t log2_size = op->nm.datatype->log2_element_size;
  const struct xnn_nmconv_config* config = op->nm.nmconv;
  const struct xnn_nmconv_filter filter = xnn_get_nmconv_filter(op, packed_weights(op));
  op->context.nmconv.nmconv = (struct nmconv_context) {
    .input_batch_stride = view->image_stride,
    .input_group_stride = op->group_input_channels << config->log2_image_size,
    .input_row_stride = op->stride_height * view->row_stride,
    .input_pixel_stride = op->stride_width * view->pixel_stride,
    .groups = fxdiv_init_size_t(op->groups),
    .output_width = fxdiv_init_size_t(op->output_width),
    .offsets = (const int32_t*) op->indirection_buffer,
    .column_starts = filter.column_starts,
    .packed_w = filter.weights,
    .group_tiles = divide_round_up(op->group_output_channels, config->nr),
    .output_batch_stride = op->output_height * op->output_width * op->output_pixel_stride << log2_size,
    .output_group_stride = op->group_output_channels << log2_size,
    .output_pixel_stride = op->output_pixel_stride << log2_size,
    .mr = config->mr,
    .nr = config->nr,
    .log2_element_size = log2_size,
    .log2_row_size = op->nm.datatype->log2_row_size,
    .run_size = xnn_get_nmconv_run_size(config),
    .ukernel = config->ukernel,
    .params = op->nm.params,
  };
}

// Divides the work into tasks.
static void plan_tasks(xnn_operator_t op, size_t num_threads, struct compute_parameters* compute)
{
  const struct xnn_nmconv_config* config = op->nm.nmconv;
  const size_t pixels = op->output_height * op->output_width;
  // Tiles of a task: an even part, small enough that their weights stay in cache from one pixel block to the next.
  const size_t group_tiles = divide_round_up(op->group_output_channels, config->nr);
  const size_t mean_tile_size = config->nr *
    (((size_t) 1 << op->nm.datatype->log2_row_size) +
     op->num_nonzero_blocks / op->num_output_channel_blocks * xnn_get_nmconv_run_size(config));
  const size_t most_tiles = max(1, op->nm.costs.nhwc_task_size / mean_tile_size);
  // Pixels of a task: all, or an even part for each thread.
  const size_t num_blocks = divide_round_up(pixels, config->mr);
  // Where all threads cannot have pixels, they share the tiles.
  const size_t pixel_tasks = op->batch_size * op->groups * num_blocks;
  const size_t shares = num_threads == 1 ? 1 : divide_round_up(num_threads * op->nm.costs.nhwc_tasks, pixel_tasks);
  const size_t tile_tasks = max(divide_round_up(group_tiles, most_tiles), min(shares, group_tiles));
  const size_t task_tiles = divide_round_up(group_tiles, tile_tasks);
  const size_t other_tasks = op->batch_size * op->groups * divide_round_up(group_tiles, task_tiles);
  const size_t task_blocks = num_threads == 1 ? num_blocks :
    get_task_blocks(num_blocks, other_tasks, op->nm.costs.nhwc_tasks, num_threads);
  compute->type = xnn_parallelization_type_3d_tile_2d;
  compute->task_3d_tile_2d = (pthreadpool_task_3d_tile_2d_t) xnn_compute_nmconv;
  compute->context_offset =
    offsetof(struct xnn_operator, context.nmconv.nmconv) - offsetof(struct xnn_operator, context);
  compute->range[0] = op->batch_size * op->groups;
  compute->range[1] = pixels;
  compute->range[2] = op->group_output_channels;
  compute->tile[0] = task_blocks * config->mr;
  compute->tile[1] = task_tiles * config->nr;
}

enum xnn_status xnn_reshape_nm_nhwc(
    xnn_operator_t op,
    enum xnn_operator_type type,
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
  enum xnn_status status = xnn_begin_nm_reshape(op, type, batch_size, input_height, input_width);
  if (status != xnn_status_success || op->state == xnn_run_state_skip) {
    return status;
  }
  if (output_height_out != NULL) {
    *output_height_out = op->output_height;
  }
  if (output_width_out != NULL) {
    *output_width_out = op->output_width;
  }
  struct view view;
  status = find_view(op, &view);
  if (status == xnn_status_success) {
    status = compute_offsets(op, view.row_stride, view.pixel_stride);
  }
  if (status != xnn_status_success) {
    return status;
  }
  fill_context(op, &view);
  struct compute_parameters* compute = &op->compute[0];
  memset(op->compute, 0, sizeof(op->compute));
  if (view.is_copy) {
    copy_images(op, &view, compute);
    compute += 1;
    // A run at the end of the last pixel may have fewer channels than are read.
    *workspace_size = view.size + XNN_EXTRA_BYTES;
    *workspace_alignment = XNN_ALLOCATION_ALIGNMENT;
  }
  plan_tasks(op, pthreadpool_get_threads_count(threadpool), compute);
  op->state = xnn_run_state_needs_setup;
  return xnn_status_success;
}

enum xnn_status xnn_setup_nm_nhwc(
    xnn_operator_t op,
    enum xnn_operator_type type,
    void* workspace,
    const void* input,
    const void* residual,
    void* output)
{
  const enum xnn_status status = xnn_check_nm_setup(op, type);
  if (status != xnn_status_success || op->state == xnn_run_state_skip) {
    return status;
  }

  if (residual == output && residual != NULL) {
    xnn_log_error("failed to setup %s operator: the residual must not be the output",
      xnn_operator_type_to_string(op->type));
    return xnn_status_invalid_parameter;
  }
  const bool copies = op->compute[1].type != xnn_parallelization_type_invalid;
  if (copies) {
    if (workspace == NULL) {
      xnn_log_error("failed to setup %s operator: the copied image needs the workspace that reshape asked for",
        xnn_operator_type_to_string(op->type));
      return xnn_status_invalid_parameter;
    }
    op->context.nmconv.pad.input = input;
    op->context.nmconv.pad.output = workspace;
  }
  op->context.nmconv.nmconv.input = copies ? workspace : input;
  op->context.nmconv.nmconv.output = output;
  op->context.nmconv.nmconv.residual_distance = residual == NULL ? 0 : (intptr_t) residual - (intptr_t) output;
  op->state = xnn_run_state_ready;
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
  return xnn_reshape_nm_nhwc(
    op, xnn_operator_type_convolution_nm_nhwc_f32, batch_size, input_height, input_width, workspace_size,
    workspace_alignment, output_height_out, output_width_out, threadpool);
}

enum xnn_status xnn_setup_convolution2d_nm_nhwc_f32(
    xnn_operator_t op,
    void* workspace,
    const float* input,
    const float* residual,
    float* output)
{
  return xnn_setup_nm_nhwc(op, xnn_operator_type_convolution_nm_nhwc_f32, workspace, input, residual, output);
}

enum xnn_status xnn_reshape_convolution2d_nm_nhwc_f16(
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
  return xnn_reshape_nm_nhwc(
    op, xnn_operator_type_convolution_nm_nhwc_f16, batch_size, input_height, input_width, workspace_size,
    workspace_alignment, output_height_out, output_width_out, threadpool);
}

enum xnn_status xnn_setup_convolution2d_nm_nhwc_f16(
    xnn_operator_t op,
    void* workspace,
    const void* input,
    const void* residual,
    void* output)
{
  return xnn_setup_nm_nhwc(op, xnn_operator_type_convolution_nm_nhwc_f16, workspace, input, residual, output);
}

enum xnn_status xnn_reshape_convolution2d_nm_nhwc_qs8_qc8w(
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
  return xnn_reshape_nm_nhwc(
    op, xnn_operator_type_convolution_nm_nhwc_qs8_qc8w, batch_size, input_height, input_width, workspace_size,
    workspace_alignment, output_height_out, output_width_out, threadpool);
}

enum xnn_status xnn_setup_convolution2d_nm_nhwc_qs8_qc8w(
    xnn_operator_t op,
    void* workspace,
    const int8_t* input,
    int8_t* output)
{
  return xnn_setup_nm_nhwc(
    op, xnn_operator_type_convolution_nm_nhwc_qs8_qc8w, workspace, input, /*residual=*/NULL, output);
}
