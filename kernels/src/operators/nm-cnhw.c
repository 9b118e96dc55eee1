// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// 2D convolution of CNHW images with column-wise N:M sparse filters: the pixels of batch, rows and columns are one axis,
// cut into strips as wide as the vectors of a micro-kernel. The columns that any row keeps are packed for a few strips,
// then all blocks of rows pass over them while they are in cache.

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
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator-utils.h"
#include "xnnpack/operator.h"
#include "pthreadpool.h"

// What reshape computes for the given size of the image, in one allocation.
struct reshaped {
  int32_t* offsets;
  int32_t* channels;
  struct xnn_nmspmm_pack_step* steps;
  uint32_t* part_steps;
};

// How an image lies in memory, and is cut into bands.
struct view {
  size_t num_threads;
  // In bytes; the channel stride within a band, if there are any.
  size_t element_size;
  size_t pixel_stride;
  size_t channel_stride;
  // Of all images of the input and the output, of a band of either, and of a band that strips do not cross.
  size_t input_pixels;
  size_t output_pixels;
  size_t input_band_pixels;
  size_t output_band_pixels;
  size_t band_pixels;
};

static size_t get_band_pixels(const struct xnn_operator* op, uint32_t flag, size_t num_pixels, size_t num_threads)
{
  return (op->flags & flag) != 0 ? xnn_get_nmspmm_band_pixels(num_pixels, num_threads) : num_pixels;
}

static struct view find_view(const struct xnn_operator* op, size_t num_threads)
{
  const bool input_nhwc = (op->flags & XNN_FLAG_INPUT_NHWC) != 0;
  struct view view = {
    .num_threads = num_threads,
    .element_size = (size_t) 1 << op->nm.datatype->log2_element_size,
  };
  view.pixel_stride = (input_nhwc ? op->groups * op->group_input_channels : 1) * view.element_size;
  view.channel_stride = input_nhwc ? view.element_size : xnn_get_cnhw_channel_size(op, view.element_size);
  // 1 for an NHWC image, which never lies in bands.
  view.input_pixels = view.channel_stride / view.element_size;
  view.output_pixels = op->batch_size * op->output_height * op->output_width;
  view.input_band_pixels = get_band_pixels(op, XNN_FLAG_INPUT_BANDS, view.input_pixels, num_threads);
  view.output_band_pixels = get_band_pixels(op, XNN_FLAG_OUTPUT_BANDS, view.output_pixels, num_threads);
  view.band_pixels =
    op->nm.in_place ? min(view.input_band_pixels, view.output_band_pixels) : view.output_band_pixels;
  if (view.input_band_pixels != view.input_pixels) {
    view.channel_stride = view.input_band_pixels * view.element_size;
  }
  return view;
}

static enum xnn_status cut_strips(xnn_operator_t op, const struct view* view, struct xnn_im2col_strips* strips)
{
  // What is read in place is reached from its band.
  const bool packs_bands = view->input_band_pixels != view->input_pixels && !op->nm.in_place;
  return xnn_reshape_im2col_strips(
    op, view->element_size, view->pixel_stride, (packs_bands ? view->num_threads : 1) * view->channel_stride,
    op->nm.nmspmm->nr, packs_bands ? view->input_band_pixels : 0, view->band_pixels, strips);
}

// Turns kept columns into distances.
static void compute_offsets(
  const struct xnn_nmspmm_filter* filter,
  bool in_place,
  size_t channel_stride,
  size_t column_size,
  int32_t* offsets)
{
  if (filter->sizes->dense) {
    offsets[0] = (int32_t) (in_place ? channel_stride : column_size);
    return;
  }
  for (size_t p = 0; p < filter->sizes->num_parts; p++) {
    const struct xnn_nmspmm_part* part = &filter->parts[p];
    for (size_t s = 0; s < part->num_segments; s++) {
      const struct xnn_nmspmm_segment* segment = &filter->segments[part->first_segment + s];
      for (size_t i = segment->first_column; i < segment->first_column + segment->num_columns; i++) {
        offsets[i] = (int32_t) (in_place ?
          filter->packed[part->first_packed + filter->columns[i]] * channel_stride :
          filter->columns[i] * column_size);
      }
    }
  }
}

// Turns packed columns into steps, at most max_steps.
static void compute_steps(
  const struct xnn_operator* op,
  const struct xnn_nmspmm_filter* filter,
  const struct view* view,
  size_t max_steps,
  const struct reshaped* reshaped)
{
  uint32_t num_steps = 0;
  for (size_t p = 0; p < filter->sizes->num_parts; p++) {
    const struct xnn_nmspmm_part* part = &filter->parts[p];
    reshaped->part_steps[p] = num_steps;
    size_t last_tap = SIZE_MAX;
    for (uint32_t i = part->first_packed; i < part->first_packed + part->num_packed; i++) {
      const size_t tap = filter->packed[i] / op->group_input_channels;
      reshaped->channels[i] = (int32_t) (filter->packed[i] % op->group_input_channels * view->channel_stride);
      if (tap != last_tap) {
        assert(num_steps < max_steps);
        reshaped->steps[num_steps++] = (struct xnn_nmspmm_pack_step) {
          .tap = xnn_get_im2col_tap(op, view->pixel_stride, tap),
          .first_packed = i,
        };
        last_tap = tap;
      }
      reshaped->steps[num_steps - 1].num_packed += 1;
    }
  }
  reshaped->part_steps[filter->sizes->num_parts] = num_steps;
}

static enum xnn_status compute_distances(
  xnn_operator_t op,
  const struct xnn_nmspmm_filter* filter,
  const struct view* view,
  struct reshaped* reshaped)
{
  const bool in_place = op->nm.in_place;
  const struct xnn_nmspmm_sizes* sizes = filter->sizes;
  const size_t num_offsets = (sizes->dense ? 1 : sizes->num_columns) + XNN_EXTRA_NMSPMM_OFFSETS;
  const size_t num_packed = in_place ? 0 : sizes->num_packed;
  // At most one step for each tap of each group, and one more where a part begins within a tap.
  const size_t max_steps = in_place ? 0 :
    min(num_packed, (size_t) op->groups * op->kernel_height * op->kernel_width + sizes->num_parts);
  const size_t size = max_steps * sizeof(struct xnn_nmspmm_pack_step) +
    (num_offsets + num_packed + sizes->num_parts + 1) * sizeof(uint32_t);
  uint8_t* memory = xnn_reallocate_memory((void*) op->indirection_buffer, size);
  if (memory == NULL) {
    xnn_log_error("failed to allocate %zu bytes for %s operator offsets",
      size, xnn_operator_type_to_string(op->type));
    return xnn_status_out_of_memory;
  }
  op->indirection_buffer = (const void**) memory;
  reshaped->steps = (struct xnn_nmspmm_pack_step*) memory;
  reshaped->offsets = (int32_t*) (reshaped->steps + max_steps);
  reshaped->channels = reshaped->offsets + num_offsets;
  reshaped->part_steps = (uint32_t*) (reshaped->channels + num_packed);
  memset(reshaped->offsets, 0, num_offsets * sizeof(int32_t));
  compute_offsets(filter, in_place, view->channel_stride, op->nm.nmspmm->nr * view->element_size, reshaped->offsets);
  if (in_place) {
    reshaped->part_steps = NULL;
  } else {
    compute_steps(op, filter, view, max_steps, reshaped);
  }
  return xnn_status_success;
}

static void fill_context(
  xnn_operator_t op,
  const struct xnn_nmspmm_filter* filter,
  const struct view* view,
  const struct xnn_im2col_strips* strips,
  const struct reshaped* reshaped)
{
  const struct xnn_nmspmm_config* config = op->nm.nmspmm;
  const struct xnn_nmspmm_sizes* sizes = filter->sizes;
  const bool input_in_bands = view->input_band_pixels != view->input_pixels;
  const bool output_in_bands = view->output_band_pixels != view->output_pixels;
  const size_t num_bands = divide_round_up(view->output_pixels, view->band_pixels);
  const size_t band_size = view->band_pixels * view->element_size;
  const size_t output_channel_stride = view->output_band_pixels * view->element_size;
  const size_t output_band_size = op->groups * op->group_output_channels * output_channel_stride;
  op->nm.output_size = (output_in_bands ? view->num_threads : 1) * output_band_size;
  struct nmspmm_context* context = &op->context.nmspmm;
  *context = (struct nmspmm_context) {
    .input_group_stride = op->group_input_channels * view->channel_stride,
    .output_channel_stride = output_channel_stride,
    .input_band_stride = input_in_bands ? op->group_input_channels * view->channel_stride : band_size,
    .output_band_stride = output_in_bands ? output_band_size : band_size,
    .weights = filter->weights,
    .parts = filter->parts,
    .segments = filter->segments,
    .num_parts = sizes->num_parts,
    .offsets = reshaped->offsets,
    .channels = reshaped->channels,
    .steps = reshaped->steps,
    .part_steps = reshaped->part_steps,
    .pixels = strips->pixels,
    .strip_strides = strips->strides,
    .input_height = (uint32_t) op->input_height,
    .input_width = (uint32_t) op->input_width,
    .num_bands = num_bands,
    .num_pixels = view->band_pixels,
    .num_strips = strips->num_strips / num_bands,
    .last_band_pixels = view->output_pixels - (num_bands - 1) * view->band_pixels,
    .column_size = config->nr * view->element_size,
    .nr = config->nr,
    .log2_element_size = op->nm.datatype->log2_element_size,
    .dense = sizes->dense,
    .ukernel = sizes->dense ? config->dense_ukernel : config->ukernel,
    .pack = config->pack,
    .padding = op->nm.padding,
    .params = op->nm.params,
    .linear_params = op->nm.linear_params,
  };
  size_t max_columns = 1;
  for (size_t p = 0; p < sizes->num_parts; p++) {
    max_columns = max(max_columns, filter->parts[p].num_packed);
  }
  context->strip_size = round_up_po2(max_columns * context->column_size, XNN_ALLOCATION_ALIGNMENT);
  xnn_plan_nmspmm(
    context, &op->nm.costs, op->groups * op->group_input_channels * view->input_pixels * view->element_size,
    sizes->num_blocks / op->groups, sizes->num_packed, sizes->num_weights, view->num_threads);
}

enum xnn_status xnn_reshape_nm_cnhw(
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
  const struct view view = find_view(op, pthreadpool_get_threads_count(threadpool));
  struct xnn_im2col_strips strips;
  status = cut_strips(op, &view, &strips);
  if (status != xnn_status_success) {
    return status;
  }
  void* weights = packed_weights(op);
  const struct xnn_nmspmm_filter filter = xnn_layout_nmspmm_filter(weights, weights);
  struct reshaped reshaped;
  status = compute_distances(op, &filter, &view, &reshaped);
  if (status != xnn_status_success) {
    return status;
  }
  fill_context(op, &filter, &view, &strips, &reshaped);

  const struct nmspmm_context* context = &op->context.nmspmm;
  memset(op->compute, 0, sizeof(op->compute));
  op->compute[0].type = xnn_parallelization_type_2d_with_thread;
  op->compute[0].task_2d_with_thread = (pthreadpool_task_2d_with_thread_t) xnn_compute_nmspmm;
  op->compute[0].range[0] = view.num_threads;
  op->compute[0].range[1] = context->thread_tasks * context->row_tasks +
    divide_round_up(context->last_tasks * context->last_row_tasks, view.num_threads);
  *workspace_size = view.num_threads * context->thread_scratch_size;
  *workspace_alignment = *workspace_size == 0 ? 1 : XNN_ALLOCATION_ALIGNMENT;
  if (output_height_out != NULL) {
    *output_height_out = op->output_height;
  }
  if (output_width_out != NULL) {
    *output_width_out = op->output_width;
  }
  op->state = xnn_run_state_needs_setup;
  return xnn_status_success;
}

enum xnn_status xnn_setup_nm_cnhw(
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
  if (op->context.nmspmm.thread_scratch_size != 0 && workspace == NULL) {
    xnn_log_error("failed to setup %s operator: packing needs the workspace that reshape asked for",
      xnn_operator_type_to_string(op->type));
    return xnn_status_invalid_parameter;
  }
  op->context.nmspmm.scratch = workspace;
  op->context.nmspmm.input = input;
  op->context.nmspmm.residual = residual;
  op->context.nmspmm.output = output;
  op->state = xnn_run_state_ready;
  return xnn_status_success;
}

enum xnn_status xnn_reshape_convolution2d_nm_cnhw_f32(
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
  return xnn_reshape_nm_cnhw(
    op, xnn_operator_type_convolution_nm_cnhw_f32, batch_size, input_height, input_width, workspace_size,
    workspace_alignment, output_height_out, output_width_out, threadpool);
}

enum xnn_status xnn_setup_convolution2d_nm_cnhw_f32(
    xnn_operator_t op,
    void* workspace,
    const float* input,
    const float* residual,
    float* output)
{
  return xnn_setup_nm_cnhw(op, xnn_operator_type_convolution_nm_cnhw_f32, workspace, input, residual, output);
}

enum xnn_status xnn_reshape_convolution2d_nm_cnhw_f16(
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
  return xnn_reshape_nm_cnhw(
    op, xnn_operator_type_convolution_nm_cnhw_f16, batch_size, input_height, input_width, workspace_size,
    workspace_alignment, output_height_out, output_width_out, threadpool);
}

enum xnn_status xnn_setup_convolution2d_nm_cnhw_f16(
    xnn_operator_t op,
    void* workspace,
    const void* input,
    const void* residual,
    void* output)
{
  return xnn_setup_nm_cnhw(op, xnn_operator_type_convolution_nm_cnhw_f16, workspace, input, residual, output);
}

enum xnn_status xnn_reshape_convolution2d_nm_cnhw_qs8_qc8w(
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
  return xnn_reshape_nm_cnhw(
    op, xnn_operator_type_convolution_nm_cnhw_qs8_qc8w, batch_size, input_height, input_width, workspace_size,
    workspace_alignment, output_height_out, output_width_out, threadpool);
}

enum xnn_status xnn_setup_convolution2d_nm_cnhw_qs8_qc8w(
    xnn_operator_t op,
    void* workspace,
    const int8_t* input,
    int8_t* output)
{
  return xnn_setup_nm_cnhw(op, xnn_operator_type_convolution_nm_cnhw_qs8_qc8w, workspace, input, /*residual=*/NULL, output);
}
