// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The tasks of the N:M convolution operator for CNHW images.

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack/common.h"
#include "xnnpack/math.h"
#include "xnnpack/nmspmm.h"

// Packed strips of one thread, in bytes, where more of them save reading the weights once more.
#define MAX_SCRATCH_SIZE (2 * XNN_NMSPMM_STRIPS_SIZE)
// Enough tasks a thread to even out their times.
#define TARGET_TASKS_PER_THREAD 4
// What packing a column takes, in weights that pass over it.
#define PACKED_COLUMN_COST 6.0f
// Processors fetch memory ahead as far as the end of a page. Threads whose pixels take turns in one page fetch, and write
// to, what the others hold.
#define FETCHED_SPAN 4096

// Strips that fit so many bytes.
static size_t get_fitting_strips(const struct nmspmm_context* context, size_t size)
{
  return min(max(size / context->strip_size, 1), context->num_strips);
}

// Time of the busiest thread, in units of one strip's rows, if row_tasks tasks share the rows of a strip and each packs
// all its columns; packing is the time of that.
static float predict_time(float num_strips, float packing, size_t row_tasks, size_t num_threads)
{
  const float full_strips = math_max_f32(roundf(num_strips), 1.0f);
  const float task_time = 1.0f / (float) row_tasks + packing;
  const float last_time =
    num_strips > full_strips ? (num_strips - full_strips) / (float) row_tasks + packing : 0.0f;
  const float busiest = ceilf(full_strips * (float) row_tasks / (float) num_threads) * task_time;
  const float mean = (float) row_tasks * (full_strips * task_time + last_time) / (float) num_threads;
  return math_max_f32(busiest, mean);
}

// Tasks that share the rows of packed strips: each packs the strips that it passes over.
static size_t get_packing_row_tasks(
  const struct nmspmm_context* context,
  size_t num_blocks,
  size_t num_packed,
  size_t num_weights,
  size_t num_threads)
{
  if (context->num_strips >= num_threads * TARGET_TASKS_PER_THREAD) {
    return 1;
  }
  const float num_strips = (float) context->num_pixels / (float) context->nr;
  const float packing = PACKED_COLUMN_COST * (float) num_packed / (float) max(num_weights, 1);
  size_t row_tasks = 1;
  for (size_t tasks = 2; tasks <= min(num_threads, num_blocks); tasks++) {
    if (predict_time(num_strips, packing, tasks, num_threads) <
        predict_time(num_strips, packing, row_tasks, num_threads)) {
      row_tasks = tasks;
    }
  }
  return row_tasks;
}

void xnn_plan_nmspmm(
    struct nmspmm_context* context,
    size_t input_size,
    size_t cache_size,
    size_t num_blocks,
    size_t num_packed,
    size_t num_weights,
    size_t num_threads)
{
  const bool in_place = context->part_steps == NULL;
  const bool is_cached = in_place && input_size <= cache_size;
  const size_t target = num_threads * TARGET_TASKS_PER_THREAD;
  context->task_strips = get_fitting_strips(context, XNN_NMSPMM_STRIPS_SIZE);
  context->row_tasks = 1;
  size_t strip_tasks = 1;
  if (num_threads == 1) {
    // The more strips pass at once, the less often the weights are read.
    if (is_cached) {
      context->task_strips = context->num_strips;
    }
  } else if (
      is_cached && num_blocks >= num_threads && context->output_channel_stride / num_threads < FETCHED_SPAN) {
    // Threads share the rows, not the pixels.
    context->task_strips = context->num_strips;
    context->row_tasks = min(num_blocks / num_threads, TARGET_TASKS_PER_THREAD) * num_threads;
  } else if (in_place) {
    // Rows first: a block of them gains by passing over many strips.
    context->row_tasks =
      min(divide_round_up(target, divide_round_up(context->num_strips, context->task_strips)), num_blocks);
    strip_tasks = divide_round_up(target, context->row_tasks);
  } else {
    context->row_tasks = get_packing_row_tasks(context, num_blocks, num_packed, num_weights, num_threads);
    if (context->row_tasks == num_threads) {
      context->task_strips = get_fitting_strips(context, MAX_SCRATCH_SIZE);
    } else {
      strip_tasks = divide_round_up(target, context->row_tasks);
    }
  }
  context->task_strips = min(context->task_strips, max(context->num_strips / strip_tasks, 1));
  context->thread_scratch_size = in_place ? 0 : context->task_strips * context->strip_size;
}

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

void xnn_compute_nmspmm_rows_first(
    const struct nmspmm_context* context,
    size_t thread_index,
    size_t row_task,
    size_t strip_task)
{
  xnn_compute_nmspmm(context, thread_index, strip_task, row_task);
}
