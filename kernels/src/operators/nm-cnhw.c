// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// 2D convolution of CNHW images with column-wise N:M sparse filters: the pixels of batch, rows and columns are one axis,
// cut into strips as wide as the vectors of a micro-kernel. The columns that any row keeps are packed for a few strips,
// then all blocks of rows pass over them while they are in cache.

#include <assert.h>
#include <inttypes.h>
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
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator-utils.h"
#include "xnnpack/operator.h"
#include "pthreadpool.h"

// Fewer columns in a part cost more to manage than to pack.
#define MIN_PART_COLUMNS 64

// Columns that are packed at once, or 0 for all.
static size_t get_part_columns(const struct xnn_operator* op)
{
  const size_t column_size = (size_t) op->nm.nmspmm->nr << op->nm.datatype->log2_element_size;
  return op->nm.in_place ? 0 : max(op->nm.costs.strips_size / column_size, MIN_PART_COLUMNS);
}

// What a filter is packed from.
struct source {
  const struct xnn_nm_layer* layer;
  const struct xnn_nm_zeros* zeros;
  const struct xnn_nmspmm_analysis* analysis;
  struct xnn_nmspmm_sizes sizes;
  size_t part_columns;
};

static enum xnn_status pack(const void* context, void* memory)
{
  const struct source* source = context;
  return xnn_pack_nmspmm_filter(
    source->layer, source->zeros, source->analysis, &source->sizes, source->part_columns, memory);
}

static enum xnn_status pack_filter(
  xnn_operator_t op,
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  const struct xnn_nmspmm_analysis* analysis)
{
  const size_t part_columns = get_part_columns(op);
  const struct source source = {
    .layer = layer,
    .zeros = zeros,
    .analysis = analysis,
    .sizes = xnn_get_nmspmm_sizes(layer, analysis, part_columns),
    .part_columns = part_columns,
  };
  const size_t size = xnn_layout_nmspmm_filter(&source.sizes, /*memory=*/NULL).size;
  if (size == 0) {
    xnn_log_error("failed to create %s operator: packed weights overflow memory",
      xnn_operator_type_to_string(op->type));
    return xnn_status_unsupported_parameter;
  }
  // Micro-kernels of different strips pack differently.
  const uint32_t seed = ((uint32_t) analysis->config->nr << 8) ^ analysis->config->mr ^
    ((uint32_t) op->nm.in_place << 31) ^ ((uint32_t) xnn_operator_type_convolution_nm_cnhw_f32 << 20);
  return xnn_pack_nm_weights(op, layer, seed, size, pack, &source);
}

enum xnn_status xnn_create_analyzed_nm_cnhw(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nm_costs* costs,
    const struct xnn_nmspmm_analysis* analysis,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out)
{
  xnn_operator_t op = xnn_allocate_nm_operator(
    layer, costs, xnn_operator_type_convolution_nm_cnhw_f32, analysis->config->init, weights_cache);
  if (op == NULL) {
    return xnn_status_out_of_memory;
  }
  op->num_nonzero_values = zeros->num_nonzeroes;
  op->nm.nmspmm = analysis->config;
  op->nm.in_place = analysis->in_place;
  const enum xnn_status status = pack_filter(op, layer, zeros, analysis);
  if (status != xnn_status_success) {
    xnn_delete_operator(op);
    return status;
  }
  *convolution_op_out = op;
  return xnn_status_success;
}

enum xnn_status xnn_create_convolution2d_nm_cnhw_f32(
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
    .input_channel_stride = groups * group_input_channels,
    .output_channel_stride = groups * group_output_channels,
    .filter = {.data = kernel},
    .bias = bias,
    .output_min = output_min,
    .output_max = output_max,
    .flags = flags,
  };
  enum xnn_status status = xnn_check_nm_layer(&layer, xnn_operator_type_convolution_nm_cnhw_f32);
  if (status != xnn_status_success) {
    return status;
  }
  const uint32_t padding =
    input_padding_top | input_padding_right | input_padding_bottom | input_padding_left;
  if ((flags & XNN_FLAG_INPUT_BANDS) != 0 && (kernel_height != 1 || kernel_width != 1 || padding != 0 || groups != 1 ||
      (flags & XNN_FLAG_INPUT_NHWC) != 0)) {
    xnn_log_error(
      "failed to create %s operator with %" PRIu32 "x%" PRIu32 " kernel and %" PRIu32 " groups: only a 1x1 kernel of one "
      "group without padding reads a CNHW image in bands",
      xnn_operator_type_to_string(xnn_operator_type_convolution_nm_cnhw_f32), kernel_width, kernel_height, groups);
    return xnn_status_invalid_parameter;
  }
  struct xnn_nm_zeros zeros;
  status = xnn_find_nm_zeros(&layer, &zeros);
  if (status != xnn_status_success) {
    return status;
  }
  const struct xnn_nm_costs* costs = xnn_init_nm_costs();
  struct xnn_nmspmm_analysis analysis;
  status = xnn_analyze_nmspmm(&layer, &zeros, costs, &analysis);
  if (status == xnn_status_success) {
    status = xnn_create_analyzed_nm_cnhw(&layer, &zeros, costs, &analysis, weights_cache, convolution_op_out);
    xnn_release_nmspmm_analysis(&analysis);
  }
  xnn_release_nm_zeros(&zeros);
  return status;
}

// What reshape computes for the given size of the image, in one allocation.
struct reshaped {
  int32_t* offsets;
  int32_t* channels;
  struct xnn_nmspmm_pack_step* steps;
  uint32_t* part_steps;
};

// Turns kept columns into distances, and packed columns into steps.
static enum xnn_status compute_distances(
  xnn_operator_t op,
  const struct xnn_nmspmm_filter* filter,
  size_t pixel_stride,
  size_t channel_stride,
  size_t column_size,
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
  if (sizes->dense) {
    reshaped->offsets[0] = (int32_t) (in_place ? channel_stride : column_size);
  } else {
    for (size_t p = 0; p < sizes->num_parts; p++) {
      const struct xnn_nmspmm_part* part = &filter->parts[p];
      for (size_t s = 0; s < part->num_segments; s++) {
        const struct xnn_nmspmm_segment* segment = &filter->segments[part->first_segment + s];
        for (size_t i = segment->first_column; i < segment->first_column + segment->num_columns; i++) {
          reshaped->offsets[i] = (int32_t) (in_place ?
            filter->packed[part->first_packed + filter->columns[i]] * channel_stride :
            filter->columns[i] * column_size);
        }
      }
    }
  }
  if (in_place) {
    reshaped->part_steps = NULL;
    return xnn_status_success;
  }

  uint32_t num_steps = 0;
  for (size_t p = 0; p < sizes->num_parts; p++) {
    const struct xnn_nmspmm_part* part = &filter->parts[p];
    reshaped->part_steps[p] = num_steps;
    size_t last_tap = SIZE_MAX;
    for (uint32_t i = part->first_packed; i < part->first_packed + part->num_packed; i++) {
      const size_t tap = filter->packed[i] / op->group_input_channels;
      reshaped->channels[i] = (int32_t) (filter->packed[i] % op->group_input_channels * channel_stride);
      if (tap != last_tap) {
        assert(num_steps < max_steps);
        reshaped->steps[num_steps++] = (struct xnn_nmspmm_pack_step) {
          .tap = xnn_get_im2col_tap(op, pixel_stride, tap),
          .first_packed = i,
        };
        last_tap = tap;
      }
      reshaped->steps[num_steps - 1].num_packed += 1;
    }
  }
  reshaped->part_steps[sizes->num_parts] = num_steps;
  return xnn_status_success;
}

static size_t get_band_pixels(const struct xnn_operator* op, uint32_t flag, size_t num_pixels, size_t num_threads)
{
  return (op->flags & flag) != 0 ? xnn_get_nmspmm_band_pixels(num_pixels, num_threads) : num_pixels;
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
  *workspace_size = 0;
  *workspace_alignment = 1;
  enum xnn_status status =
    xnn_begin_nm_reshape(op, xnn_operator_type_convolution_nm_cnhw_f32, batch_size, input_height, input_width);
  if (status != xnn_status_success || op->state == xnn_run_state_skip) {
    return status;
  }

  const bool input_nhwc = (op->flags & XNN_FLAG_INPUT_NHWC) != 0;
  const struct xnn_nmspmm_config* config = op->nm.nmspmm;
  const size_t element_size = (size_t) 1 << op->nm.datatype->log2_element_size;
  const size_t pixel_stride = (input_nhwc ? op->groups * op->group_input_channels : 1) * element_size;
  size_t channel_stride = element_size;
  if (!input_nhwc && (
      !xnn_multiply_sizes(channel_stride, batch_size, &channel_stride) ||
      !xnn_multiply_sizes(channel_stride, input_height, &channel_stride) ||
      !xnn_multiply_sizes(channel_stride, input_width, &channel_stride))) {
    channel_stride = SIZE_MAX;
  }
  const size_t num_threads = pthreadpool_get_threads_count(threadpool);
  // 1 for an NHWC image, which never lies in bands.
  const size_t input_pixels = channel_stride / element_size;
  const size_t output_pixels = batch_size * op->output_height * op->output_width;
  const size_t input_band_pixels = get_band_pixels(op, XNN_FLAG_INPUT_BANDS, input_pixels, num_threads);
  const size_t output_band_pixels = get_band_pixels(op, XNN_FLAG_OUTPUT_BANDS, output_pixels, num_threads);
  const bool input_in_bands = input_band_pixels != input_pixels;
  const bool output_in_bands = output_band_pixels != output_pixels;
  const size_t band_pixels = op->nm.in_place ? min(input_band_pixels, output_band_pixels) : output_band_pixels;
  if (input_in_bands) {
    channel_stride = input_band_pixels * element_size;
  }
  // What is read in place is reached from its band.
  const bool packs_bands = input_in_bands && !op->nm.in_place;
  struct xnn_im2col_strips strips;
  status = xnn_reshape_im2col_strips(
    op, element_size, pixel_stride, packs_bands ? num_threads * channel_stride : channel_stride, config->nr,
    packs_bands ? input_band_pixels : 0, band_pixels, &strips);
  if (status != xnn_status_success) {
    return status;
  }
  const size_t num_bands = divide_round_up(output_pixels, band_pixels);
  const size_t output_channel_stride = output_band_pixels * element_size;
  const size_t output_band_size = op->groups * op->group_output_channels * output_channel_stride;
  op->nm.output_size = (output_in_bands ? num_threads : 1) * output_band_size;
  void* weights = packed_weights(op);
  const struct xnn_nmspmm_filter filter = xnn_layout_nmspmm_filter(weights, weights);
  const size_t column_size = config->nr * element_size;
  struct reshaped reshaped;
  status = compute_distances(op, &filter, pixel_stride, channel_stride, column_size, &reshaped);
  if (status != xnn_status_success) {
    return status;
  }

  struct nmspmm_context* context = &op->context.nmspmm;
  *context = (struct nmspmm_context) {
    .input_group_stride = op->group_input_channels * channel_stride,
    .output_channel_stride = output_channel_stride,
    .input_band_stride =
      input_in_bands ? op->group_input_channels * channel_stride : band_pixels * element_size,
    .output_band_stride = output_in_bands ? output_band_size : band_pixels * element_size,
    .weights = filter.weights,
    .parts = filter.parts,
    .segments = filter.segments,
    .num_parts = filter.sizes->num_parts,
    .offsets = reshaped.offsets,
    .channels = reshaped.channels,
    .steps = reshaped.steps,
    .part_steps = reshaped.part_steps,
    .pixels = strips.pixels,
    .strip_strides = strips.strides,
    .input_height = (uint32_t) input_height,
    .input_width = (uint32_t) input_width,
    .num_bands = num_bands,
    .num_pixels = band_pixels,
    .num_strips = strips.num_strips / num_bands,
    .last_band_pixels = output_pixels - (num_bands - 1) * band_pixels,
    .column_size = column_size,
    .nr = config->nr,
    .log2_element_size = op->nm.datatype->log2_element_size,
    .dense = filter.sizes->dense,
    .ukernel = filter.sizes->dense ? config->dense_ukernel : config->ukernel,
    .pack = config->pack,
    .params = op->nm.params,
    .linear_params = op->nm.linear_params,
  };
  size_t max_columns = 0;
  for (size_t p = 0; p < filter.sizes->num_parts; p++) {
    max_columns = max(max_columns, filter.parts[p].num_packed);
  }
  context->strip_size = round_up_po2(max(max_columns, 1) * column_size, XNN_ALLOCATION_ALIGNMENT);
  xnn_plan_nmspmm(
    context, &op->nm.costs, op->groups * op->group_input_channels * input_pixels * element_size,
    filter.sizes->num_blocks / op->groups, filter.sizes->num_packed, filter.sizes->num_weights, num_threads);

  memset(op->compute, 0, sizeof(op->compute));
  op->compute[0].type = xnn_parallelization_type_2d_with_thread;
  op->compute[0].task_2d_with_thread = (pthreadpool_task_2d_with_thread_t) xnn_compute_nmspmm;
  op->compute[0].range[0] = num_threads;
  op->compute[0].range[1] = context->thread_tasks * context->row_tasks +
    divide_round_up(context->last_tasks * context->last_row_tasks, num_threads);
  *workspace_size = num_threads * context->thread_scratch_size;
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

enum xnn_status xnn_setup_convolution2d_nm_cnhw_f32(
    xnn_operator_t op,
    void* workspace,
    const float* input,
    const float* residual,
    float* output)
{
  const enum xnn_status status = xnn_check_nm_setup(op, xnn_operator_type_convolution_nm_cnhw_f32);
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
