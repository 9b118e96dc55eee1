// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The task of the N:M convolution operator for CNHW images.

#include <stddef.h>
#include <stdint.h>

#include "xnnpack/common.h"
#include "xnnpack/math.h"
#include "xnnpack/nmspmm.h"

// Packs the columns of one part for a strip.
static void pack_strip(
    const struct nmspmm_context* context,
    const struct xnn_nmspmm_part* part,
    const uint8_t* input,
    size_t strip,
    size_t num_pixels,
    uint8_t* output)
{
  const size_t part_index = (size_t) (part - context->parts);
  const size_t first_pixel = strip * context->nr;
  const struct xnn_im2col_strip pixels = {
    .y = context->pixels.y + first_pixel,
    .x = context->pixels.x + first_pixel,
    .base = context->pixels.base + first_pixel,
    .stride = context->strip_strides[strip],
  };
  for (size_t i = context->part_steps[part_index]; i < context->part_steps[part_index + 1]; i++) {
    const struct xnn_nmspmm_pack_step* step = &context->steps[i];
    context->pack(
      num_pixels, step->num_packed, input, context->channels + step->first_packed, &pixels, &step->tap,
      context->input_height, context->input_width, /*padding=*/0,
      output + (step->first_packed - part->first_packed) * context->column_size, context->column_size);
  }
}

void xnn_compute_nmspmm(
    const struct nmspmm_context* context,
    size_t thread_index,
    size_t strip_task,
    size_t row_task)
{
  const size_t nr = context->nr;
  const size_t first_strip = strip_task * context->task_strips;
  const size_t num_strips = min(context->task_strips, context->num_strips - first_strip);
  const size_t first_pixel = first_strip * nr;
  const size_t num_pixels = min(num_strips * nr, context->num_pixels - first_pixel);
  const bool in_place = context->part_steps == NULL;
  uint8_t* scratch = (uint8_t*) context->scratch + thread_index * context->thread_scratch_size;
  const size_t channel_stride = context->output_channel_stride;

  const uint8_t* input = (const uint8_t*) context->input;
  for (size_t p = 0; p < context->num_parts; p++) {
    const struct xnn_nmspmm_part* part = &context->parts[p];
    const uint8_t* strips = input + first_pixel * sizeof(float);
    size_t strip_distance = nr * sizeof(float);
    if (!in_place) {
      for (size_t s = 0; s < num_strips; s++) {
        pack_strip(
          context, part, input, first_strip + s, min(nr, num_pixels - s * nr), scratch + s * context->strip_size);
      }
      strips = scratch;
      strip_distance = context->strip_size;
    }

    const void* initial = part->is_first ? context->residual : context->output;
    const union xnn_f32_minmax_params* params = part->is_last ? &context->params : &context->linear_params;
    const size_t first_segment = part->num_segments * row_task / context->row_tasks;
    const size_t end_segment = part->num_segments * (row_task + 1) / context->row_tasks;
    for (size_t i = first_segment; i < end_segment; i++) {
      const struct xnn_nmspmm_segment* segment = &context->segments[part->first_segment + i];
      const xnn_f32_nmspmm_minmax_ukernel_fn ukernel = context->ukernel[segment->rows - 1];
      const int32_t* offsets = context->offsets + (context->dense ? 0 : segment->first_column);
      const float* w = context->weights + segment->first_weight;
      const size_t distance = segment->channel * channel_stride + first_pixel * sizeof(float);
      ukernel(
        num_pixels, segment->num_columns, (const float*) strips, strip_distance, offsets, w,
        initial == NULL ? NULL : (const float*) ((uintptr_t) initial + distance),
        (float*) ((uintptr_t) context->output + distance), channel_stride, params);
    }
    if (part->is_last) {
      input += context->input_group_stride;
    }
  }
}
