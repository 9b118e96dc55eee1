// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Maximum and average pooling of CNHW images: taps are brought into the output one after another and reduced there,
// strip by strip, so that the output stays in cache.

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/compute.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/nm-pooling.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator.h"
#include "pthreadpool.h"

// Channels of one task.
#define TASK_CHANNELS 16

/*** Taps become the output ***/

// Clamps maxima.
static void finish_s8(
    const struct cnhw_pooling_context* context,
    void* memory,
    size_t first_pixel,
    size_t num_pixels,
    size_t num_channels)
{
  int8_t* output = memory;
  const int8_t output_min = (int8_t) context->output_min;
  const int8_t output_max = (int8_t) context->output_max;
  if (output_min == INT8_MIN && output_max == INT8_MAX) {
    return;
  }
  for (size_t c = 0; c < num_channels; c++) {
    for (size_t i = 0; i < num_pixels; i++) {
      const int8_t value = output[i] < output_min ? output_min : output[i];
      output[i] = value < output_max ? value : output_max;
    }
    output = (int8_t*) ((uintptr_t) output + context->output_channel_stride);
  }
}

// Makes averages of sums, and clamps.
static void finish_f32(
    const struct cnhw_pooling_context* context,
    void* memory,
    size_t first_pixel,
    size_t num_pixels,
    size_t num_channels)
{
  float* output = memory;
  const float output_min = context->output_min;
  const float output_max = context->output_max;
  const float* scale = context->scale;
  if (scale == NULL && output_min == -INFINITY && output_max == INFINITY) {
    return;
  }
  for (size_t c = 0; c < num_channels; c++) {
    for (size_t i = 0; i < num_pixels; i++) {
      const float value = scale == NULL ? output[i] : output[i] * scale[first_pixel + i];
      output[i] = math_min_f32(math_max_f32(value, output_min), output_max);
    }
    output = (float*) ((uintptr_t) output + context->output_channel_stride);
  }
}

static void finish_f16(
    const struct cnhw_pooling_context* context,
    void* memory,
    size_t first_pixel,
    size_t num_pixels,
    size_t num_channels)
{
  xnn_float16* output = memory;
  const float output_min = context->output_min;
  const float output_max = context->output_max;
  if (output_min == -INFINITY && output_max == INFINITY) {
    return;
  }
  for (size_t c = 0; c < num_channels; c++) {
    for (size_t i = 0; i < num_pixels; i++) {
      const float value = xnn_float16_to_float(output[i]);
      output[i] = xnn_float16_from_float(math_min_f32(math_max_f32(value, output_min), output_max));
    }
    output = (xnn_float16*) ((uintptr_t) output + context->output_channel_stride);
  }
}

/*** What there is ***/

static const struct kind {
  enum xnn_operator_type type;
  const struct xnn_cnhw_pooling_config* (*init_config)();
  cnhw_pooling_finish_fn finish;
  uint8_t log2_element_size;
  bool is_average;
  // What pixels outside of the image are: as many elements as there is room for.
  uint32_t padding;
} kinds[] = {
  {xnn_operator_type_max_pooling_cnhw_f32, xnn_init_f32_cnhw_pooling_config, finish_f32, XNN_LOG2_SIZEOF_FLOAT,
   /*is_average=*/false, UINT32_C(0xFF800000)},
  {xnn_operator_type_average_pooling_cnhw_f32, xnn_init_f32_cnhw_pooling_config, finish_f32, XNN_LOG2_SIZEOF_FLOAT,
   /*is_average=*/true, 0},
  {xnn_operator_type_max_pooling_cnhw_f16, xnn_init_f16_cnhw_pooling_config, finish_f16, XNN_LOG2_SIZEOF_HALF,
   /*is_average=*/false, UINT32_C(0xFC00FC00)},
  {xnn_operator_type_max_pooling_cnhw_s8, xnn_init_s8_cnhw_pooling_config, finish_s8, XNN_LOG2_SIZEOF_INT8_T,
   /*is_average=*/false, UINT32_C(0x80808080)},
};

static const struct kind* find_kind(enum xnn_operator_type type)
{
  size_t i = 0;
  while (kinds[i].type != type) {
    i += 1;
    assert(i < sizeof(kinds) / sizeof(kinds[0]));
  }
  return &kinds[i];
}

/*** The operator ***/

enum xnn_status xnn_create_pooling2d_cnhw(
    const struct xnn_pooling2d* pooling,
    enum xnn_operator_type type,
    xnn_operator_t* pooling_op_out)
{
  const char* name = xnn_operator_type_to_string(type);
  const enum xnn_status status = xnn_check_nm_creation(type, pooling->output_min, pooling->output_max);
  if (status != xnn_status_success) {
    return status;
  }
  if (pooling->pooling_height == 0 || pooling->pooling_width == 0 || pooling->stride_height == 0 ||
      pooling->stride_width == 0 || pooling->dilation_height == 0 || pooling->dilation_width == 0) {
    xnn_log_error("failed to create %s operator: pooling size, stride and dilation must be non-zero", name);
    return xnn_status_invalid_parameter;
  }
  size_t taps;
  if (!xnn_multiply_sizes(pooling->pooling_height, pooling->pooling_width, &taps) || taps > UINT32_MAX) {
    xnn_log_error("failed to create %s operator: pooling size overflows memory", name);
    return xnn_status_unsupported_parameter;
  }
  xnn_operator_t op = xnn_allocate_zero_simd_memory(sizeof(struct xnn_operator));
  if (op == NULL) {
    xnn_log_error("failed to allocate %zu bytes for %s operator descriptor", sizeof(struct xnn_operator), name);
    return xnn_status_out_of_memory;
  }
  op->padding_top = pooling->padding_top;
  op->padding_right = pooling->padding_right;
  op->padding_bottom = pooling->padding_bottom;
  op->padding_left = pooling->padding_left;
  op->kernel_height = pooling->pooling_height;
  op->kernel_width = pooling->pooling_width;
  op->stride_height = pooling->stride_height;
  op->stride_width = pooling->stride_width;
  op->dilation_height = pooling->dilation_height;
  op->dilation_width = pooling->dilation_width;
  op->params.f32_minmax.scalar.min = pooling->output_min;
  op->params.f32_minmax.scalar.max = pooling->output_max;
  op->type = type;
  op->flags = pooling->flags;
  op->state = xnn_run_state_invalid;
  *pooling_op_out = op;
  return xnn_status_success;
}

// Stores 1 / the number of taps inside of the image for each pixel.
static void compute_scale(const xnn_operator_t op, const struct xnn_im2col_strips* strips,
                          const struct xnn_im2col_tap* taps, size_t num_taps, float* scale)
{
  for (size_t pixel = 0; pixel < strips->num_pixels; pixel++) {
    size_t inside = 0;
    for (size_t tap = 0; tap < num_taps; tap++) {
      // Unsigned: what lies above or left of the image wraps around.
      inside += (uint32_t) (strips->pixels.y[pixel] + taps[tap].dy) < op->input_height &&
        (uint32_t) (strips->pixels.x[pixel] + taps[tap].dx) < op->input_width;
    }
    scale[pixel] = 1.0f / (float) inside;
  }
}

enum xnn_status xnn_reshape_pooling2d_cnhw(
    xnn_operator_t op,
    size_t batch_size,
    size_t input_height,
    size_t input_width,
    size_t channels,
    size_t* output_height_out,
    size_t* output_width_out,
    pthreadpool_t threadpool)
{
  op->state = xnn_run_state_invalid;
  const char* name = xnn_operator_type_to_string(op->type);
  if (input_width == 0 || input_height == 0 || channels == 0) {
    xnn_log_error("failed to reshape %s operator with %zux%zux%zu input: dimensions must be non-zero",
      name, input_height, input_width, channels);
    return xnn_status_invalid_parameter;
  }
  if (batch_size == 0) {
    op->state = xnn_run_state_skip;
    return xnn_status_success;
  }
  op->batch_size = batch_size;
  op->input_height = input_height;
  op->input_width = input_width;
  op->group_input_channels = channels;
  enum xnn_status status = xnn_resolve_nm_output_size(op);
  if (status != xnn_status_success) {
    return status;
  }
  const struct kind* kind = find_kind(op->type);
  const size_t element_size = (size_t) 1 << kind->log2_element_size;
  const struct xnn_cnhw_pooling_config* config = kind->init_config();
  if (config == NULL) {
    return xnn_status_unsupported_hardware;
  }
  const size_t channel_stride = xnn_get_cnhw_channel_size(op, element_size);
  struct xnn_im2col_strips strips;
  status = xnn_reshape_im2col_strips(
    op, element_size, element_size, channel_stride, config->nr, /*input_band_pixels=*/0, /*band_pixels=*/0, &strips);
  if (status != xnn_status_success) {
    return status;
  }

  const size_t num_taps = (size_t) op->kernel_height * op->kernel_width;
  const size_t size = num_taps * sizeof(struct xnn_im2col_tap) + TASK_CHANNELS * sizeof(int32_t) +
    (kind->is_average ? strips.num_pixels : 0) * sizeof(float);
  struct xnn_im2col_tap* taps = xnn_reallocate_memory((void*) op->indirection_buffer, size);
  if (taps == NULL) {
    xnn_log_error("failed to allocate %zu bytes for %s operator taps", size, name);
    return xnn_status_out_of_memory;
  }
  op->indirection_buffer = (const void**) taps;
  int32_t* channel_distances = (int32_t*) (taps + num_taps);
  float* scale = (float*) (channel_distances + TASK_CHANNELS);
  for (size_t tap = 0; tap < num_taps; tap++) {
    taps[tap] = xnn_get_im2col_tap(op, element_size, tap);
  }
  for (size_t c = 0; c < TASK_CHANNELS; c++) {
    // Those beyond the last channel are never followed.
    channel_distances[c] = (int32_t) (min(c, channels - 1) * channel_stride);
  }
  if (kind->is_average) {
    compute_scale(op, &strips, taps, num_taps, scale);
  }

  op->context.cnhw_pooling = (struct cnhw_pooling_context) {
    .input_channel_stride = channel_stride,
    .output_channel_stride = strips.num_pixels << kind->log2_element_size,
    .pixels = strips.pixels,
    .strip_strides = strips.strides,
    .channels = channel_distances,
    .taps = taps,
    .num_taps = num_taps,
    .scale = kind->is_average ? scale : NULL,
    .input_height = (uint32_t) input_height,
    .input_width = (uint32_t) input_width,
    .num_pixels = strips.num_pixels,
    .nr = config->nr,
    .log2_element_size = kind->log2_element_size,
    .padding = kind->padding,
    .copy = config->copy,
    .reduce = kind->is_average ? config->add : config->max,
    .finish = kind->finish,
    .output_min = op->params.f32_minmax.scalar.min,
    .output_max = op->params.f32_minmax.scalar.max,
  };
  memset(op->compute, 0, sizeof(op->compute));
  op->compute[0].type = xnn_parallelization_type_2d_tile_1d;
  op->compute[0].task_2d_tile_1d = (pthreadpool_task_2d_tile_1d_t) xnn_compute_cnhw_pooling;
  op->compute[0].range[0] = strips.num_strips;
  op->compute[0].range[1] = channels;
  op->compute[0].tile[0] = TASK_CHANNELS;
  *output_height_out = op->output_height;
  *output_width_out = op->output_width;
  op->state = xnn_run_state_needs_setup;
  return xnn_status_success;
}

enum xnn_status xnn_setup_pooling2d_cnhw(
    xnn_operator_t op,
    const void* input,
    void* output)
{
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
  op->context.cnhw_pooling.input = input;
  op->context.cnhw_pooling.output = output;
  op->state = xnn_run_state_ready;
  return xnn_status_success;
}

void xnn_compute_cnhw_pooling(
    const struct cnhw_pooling_context* context,
    size_t strip,
    size_t channel_start,
    size_t num_channels)
{
  const size_t first_pixel = strip * context->nr;
  const size_t num_pixels = min(context->nr, context->num_pixels - first_pixel);
  const void* input = (const void*) ((uintptr_t) context->input + channel_start * context->input_channel_stride);
  void* output = (void*) ((uintptr_t) context->output + channel_start * context->output_channel_stride +
    (first_pixel << context->log2_element_size));
  const struct xnn_im2col_strip pixels = {
    .y = context->pixels.y + first_pixel,
    .x = context->pixels.x + first_pixel,
    .base = context->pixels.base + first_pixel,
    .stride = context->strip_strides[strip],
  };
  for (size_t tap = 0; tap < context->num_taps; tap++) {
    (tap == 0 ? context->copy : context->reduce)(
      num_pixels, num_channels, input, context->channels, &pixels, &context->taps[tap],
      context->input_height, context->input_width, context->padding, output, context->output_channel_stride);
  }
  context->finish(context, output, first_pixel, num_pixels, num_channels);
}
