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
#include "xnnpack/nm-operator.h"

// Processors fetch memory ahead as far as the end of a page. Threads whose pixels take turns in one page, and do not lie
// in bands, fetch, and write to, what the others hold.
#define FETCHED_SPAN 4096

// Strips that fit so many bytes.
static size_t get_fitting_strips(const struct nmspmm_context* context, size_t size)
{
  return min(max(size / context->strip_size, 1), context->num_strips);
}

// Time of the busiest thread for so many tasks, in units of one of them, if row_tasks share the rows of each and all of
// these pack all its columns; packing is the time of that. The last task may be a part of one.
static float predict_time(float num_tasks, float packing, size_t row_tasks, size_t num_threads)
{
  const float full_tasks = math_max_f32(roundf(num_tasks), 1.0f);
  const float task_time = 1.0f / (float) row_tasks + packing;
  const float last_time =
    num_tasks > full_tasks ? (num_tasks - full_tasks) / (float) row_tasks + packing : 0.0f;
  const float busiest = ceilf(full_tasks * (float) row_tasks / (float) num_threads) * task_time;
  const float mean = (float) row_tasks * (full_tasks * task_time + last_time) / (float) num_threads;
  return math_max_f32(busiest, mean);
}

// Tasks that share the rows of the last tasks' strips: where columns are packed, each packs those that it passes over.
static size_t get_last_row_tasks(
  float num_last_tasks,
  size_t num_blocks,
  float packing,
  size_t num_threads)
{
  size_t row_tasks = 1;
  for (size_t tasks = 2; tasks <= min(num_threads, num_blocks); tasks++) {
    if (predict_time(num_last_tasks, packing, tasks, num_threads) <
        predict_time(num_last_tasks, packing, row_tasks, num_threads)) {
      row_tasks = tasks;
    }
  }
  return row_tasks;
}

// Deals as many tasks of task_strips strips to each thread as it can have whole: what is left is shared by rows.
static void deal_tasks(
  struct nmspmm_context* context,
  size_t num_blocks,
  float packing,
  size_t num_threads)
{
  const float num_tasks =
    (float) context->num_pixels / ((float) context->nr * (float) context->task_strips);
  context->thread_tasks = context->num_pixels / (context->nr * context->task_strips) / num_threads;
  const size_t num_whole = context->thread_tasks * num_threads;
  context->last_tasks =
    divide_round_up(context->num_strips - num_whole * context->task_strips, context->task_strips);
  context->last_row_tasks =
    get_last_row_tasks(num_tasks - (float) num_whole, num_blocks, packing, num_threads);
}

void xnn_plan_nmspmm(
    struct nmspmm_context* context,
    const struct xnn_nm_task_costs* costs,
    size_t input_size,
    size_t num_blocks,
    size_t num_packed,
    size_t num_weights,
    size_t num_threads)
{
  const bool in_place = context->part_steps == NULL;
  // The more strips pass at once, the less often the weights are read.
  const bool is_cached = in_place && input_size <= costs->cache_size;
  const size_t fitting_strips = get_fitting_strips(context, costs->strips_size);
  context->num_threads = num_threads;
  context->row_tasks = 1;
  if (context->num_bands > 1) {
    context->task_strips = is_cached ?
      context->num_strips : min(fitting_strips, max(context->num_strips / costs->cnhw_tasks, 1));
    context->row_tasks = is_cached ? min(num_blocks, costs->cnhw_tasks) : 1;
    context->thread_tasks = divide_round_up(context->num_strips, context->task_strips);
    context->last_tasks = 0;
    context->last_row_tasks = 1;
  } else if (num_threads == 1) {
    context->task_strips = is_cached ? context->num_strips : fitting_strips;
    deal_tasks(context, num_blocks, /*packing=*/0.0f, num_threads);
  } else if (is_cached && num_blocks >= num_threads && context->output_channel_stride / num_threads < FETCHED_SPAN) {
    // Threads share the rows, not the pixels.
    context->task_strips = context->num_strips;
    context->thread_tasks = 0;
    context->last_tasks = 1;
    context->last_row_tasks = min(num_blocks / num_threads, costs->cnhw_tasks) * num_threads;
  } else if (is_cached) {
    context->task_strips = max(context->num_pixels / context->nr / num_threads, 1);
    // In two, so that a thread that is done can take one over.
    context->row_tasks = min(num_blocks, 2);
    deal_tasks(context, num_blocks, /*packing=*/0.0f, num_threads);
  } else {
    const float packing = in_place ? 0.0f : costs->packed_column * (float) num_packed / (float) max(num_weights, 1);
    context->task_strips = min(fitting_strips, max(context->num_strips / (num_threads * costs->cnhw_tasks), 1));
    deal_tasks(context, num_blocks, packing, num_threads);
    if (!in_place && context->thread_tasks == 0 && context->last_row_tasks == num_threads) {
      // More packed strips save reading the weights once more.
      context->task_strips = get_fitting_strips(context, 2 * costs->strips_size);
      context->last_tasks = divide_round_up(context->num_strips, context->task_strips);
    }
  }
  context->thread_scratch_size = in_place ? 0 : context->task_strips * context->strip_size;
}

// Packs the columns of one part for a strip.
static void pack_strip(
    const struct nmspmm_context* context,
    const struct xnn_nmspmm_part* part,
    const uint8_t* input,
    size_t band,
    size_t strip,
    size_t num_pixels,
    uint8_t* output)
{
  const size_t part_index = (size_t) (part - context->parts);
  const size_t first_pixel = band * context->num_pixels + strip * context->nr;
  const struct xnn_im2col_strip pixels = {
    .y = context->pixels.y + first_pixel,
    .x = context->pixels.x + first_pixel,
    .base = context->pixels.base + first_pixel,
    .stride = context->strip_strides[band * context->num_strips + strip],
  };
  for (size_t i = context->part_steps[part_index]; i < context->part_steps[part_index + 1]; i++) {
    const struct xnn_nmspmm_pack_step* step = &context->steps[i];
    context->pack(
      num_pixels, step->num_packed, input, context->channels + step->first_packed, &pixels, &step->tap,
      context->input_height, context->input_width, context->padding,
      output + (step->first_packed - part->first_packed) * context->column_size, context->column_size);
  }
}

static void compute_task(
  const struct nmspmm_context* context,
  size_t thread_index,
  size_t band,
  size_t strip_task,
  size_t row_task,
  size_t row_tasks)
{
  const size_t nr = context->nr;
  const size_t band_pixels = band + 1 == context->num_bands ? context->last_band_pixels : context->num_pixels;
  const size_t first_strip = strip_task * context->task_strips;
  const size_t first_pixel = first_strip * nr;
  if (first_pixel >= band_pixels) {
    return;
  }
  const size_t first_pixel_distance = first_pixel << context->log2_element_size;
  const size_t num_pixels = min(context->task_strips * nr, band_pixels - first_pixel);
  const size_t num_strips = divide_round_up(num_pixels, nr);
  const bool in_place = context->part_steps == NULL;
  uint8_t* scratch = (uint8_t*) context->scratch + thread_index * context->thread_scratch_size;
  const size_t channel_stride = context->output_channel_stride;

  const uint8_t* input = (const uint8_t*) context->input;
  for (size_t p = 0; p < context->num_parts; p++) {
    const struct xnn_nmspmm_part* part = &context->parts[p];
    const uint8_t* strips = input + band * context->input_band_stride + first_pixel_distance;
    size_t strip_distance = nr << context->log2_element_size;
    if (!in_place) {
      for (size_t s = 0; s < num_strips; s++) {
        pack_strip(
          context, part, input, band, first_strip + s, min(nr, num_pixels - s * nr), scratch + s * context->strip_size);
      }
      strips = scratch;
      strip_distance = context->strip_size;
    }

    const void* initial = part->is_first ? context->residual : context->output;
    const union xnn_nm_params* params = part->is_last ? &context->params : &context->linear_params;
    const size_t first_segment = part->num_segments * row_task / row_tasks;
    const size_t end_segment = part->num_segments * (row_task + 1) / row_tasks;
    for (size_t i = first_segment; i < end_segment; i++) {
      const struct xnn_nmspmm_segment* segment = &context->segments[part->first_segment + i];
      const xnn_nmspmm_ukernel_fn ukernel = context->ukernel[segment->rows - 1];
      const int32_t* offsets = context->offsets + (context->dense ? 0 : segment->first_column);
      const void* w = (const void*) ((uintptr_t) context->weights + segment->first_weight);
      const size_t distance =
        band * context->output_band_stride + segment->channel * channel_stride + first_pixel_distance;
      ukernel(
        num_pixels, segment->num_columns, strips, strip_distance, offsets, w,
        initial == NULL ? NULL : (const void*) ((uintptr_t) initial + distance),
        (void*) ((uintptr_t) context->output + distance), channel_stride, params);
    }
    if (part->is_last) {
      input += context->input_group_stride;
    }
  }
}

void xnn_compute_nmspmm(
    const struct nmspmm_context* context,
    size_t thread_index,
    size_t share,
    size_t task)
{
  const size_t thread_tasks = context->thread_tasks * context->row_tasks;
  if (task < thread_tasks) {
    const size_t strip_task = task / context->row_tasks;
    const bool in_bands = context->num_bands > 1;
    compute_task(
      context, thread_index, in_bands ? share : 0, in_bands ? strip_task : share * context->thread_tasks + strip_task,
      task % context->row_tasks, context->row_tasks);
    return;
  }
  const size_t num_last = context->last_tasks * context->last_row_tasks;
  const size_t last = share * divide_round_up(num_last, context->num_threads) + task - thread_tasks;
  if (last < min(num_last, (share + 1) * divide_round_up(num_last, context->num_threads))) {
    // The same rows of tasks that follow each other.
    compute_task(
      context, thread_index, /*band=*/0, context->num_threads * context->thread_tasks + last % context->last_tasks,
      last / context->last_tasks, context->last_row_tasks);
  }
}
