// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nmspmm.h"

// What one block costs beside its columns, in columns: biases, clamping, stores.
#define BLOCK_OVERHEAD 5

// Bit k % 64 of word k / 64 is set for each column k that a row keeps: it holds a non-zero (a NaN is one).
typedef uint64_t word_t;
#define WORD_BITS 64

static size_t find_nonzeroes(
  const struct xnn_filter_rows* filter,
  size_t rows,
  size_t row_size,
  size_t row_words,
  float* buffer,
  word_t* bits)
{
  size_t num_nonzeroes = 0;
  memset(bits, 0, rows * row_words * sizeof(word_t));
  for (size_t row = 0; row < rows; row++) {
    const float* weights = xnn_get_filter_row(filter, row, row_size, buffer);
    for (size_t k = 0; k < row_size; k++) {
      const word_t nonzero = weights[k] != 0.0f;
      bits[k / WORD_BITS] |= nonzero << (k % WORD_BITS);
      num_nonzeroes += nonzero;
    }
    bits += row_words;
  }
  return num_nonzeroes;
}

// Adds the columns of one more row to kept, and counts them all.
static size_t add_row(
  size_t row_words,
  const word_t* row,
  word_t* kept)
{
  size_t count = 0;
  for (size_t i = 0; i < row_words; i++) {
    kept[i] |= row[i];
    count += math_popcount_u32((uint32_t) kept[i]) + math_popcount_u32((uint32_t) (kept[i] >> 32));
  }
  return count;
}

// Cuts the rows of a group into the blocks that cost least. Row i + 1 ends a block of last_block_rows[i + 1] rows, if
// any; costs[i] is the least for the first i rows. Returns that for all rows.
static float cut_into_blocks(
  const struct xnn_nmspmm_config* config,
  size_t rows,
  size_t row_words,
  const word_t* bits,
  word_t* kept,
  float* costs,
  uint8_t* last_block_rows)
{
  const float call_cost = xnn_init_nm_costs()->cnhw_block / (float) config->nr;
  costs[0] = 0.0f;
  for (size_t end = 1; end <= rows; end++) {
    memset(kept, 0, row_words * sizeof(word_t));
    for (size_t block = 1; block <= min(config->mr, end); block++) {
      const size_t columns = add_row(row_words, bits + (end - block) * row_words, kept);
      if (config->ukernel[block - 1] == NULL) {
        continue;
      }
      const float cost = costs[end - block] + call_cost +
        (float) (block * (columns + BLOCK_OVERHEAD)) * (float) config->relative_cost[block - 1] * 0.01f;
      if (block == 1 || cost < costs[end]) {
        costs[end] = cost;
        last_block_rows[end] = (uint8_t) block;
      }
    }
  }
  return costs[rows];
}

// Copies the heights of the blocks of a group, first to last, and counts what they hold.
static void collect_blocks(
  size_t rows,
  size_t row_words,
  const word_t* bits,
  word_t* kept,
  const uint8_t* last_block_rows,
  struct xnn_nmspmm_analysis* analysis,
  size_t row_size)
{
  size_t num_blocks = 0;
  for (size_t end = rows; end != 0; end -= last_block_rows[end]) {
    num_blocks += 1;
  }
  uint8_t* block_rows = analysis->block_rows + analysis->num_blocks + num_blocks;
  analysis->num_blocks += num_blocks;
  for (size_t end = rows; end != 0; end -= last_block_rows[end]) {
    const size_t block = last_block_rows[end];
    *--block_rows = (uint8_t) block;
    memset(kept, 0, row_words * sizeof(word_t));
    size_t columns = 0;
    for (size_t i = 1; i <= block; i++) {
      columns = add_row(row_words, bits + (end - i) * row_words, kept);
    }
    analysis->num_columns += columns;
    analysis->num_weights += block * columns;
    analysis->dense &= columns == row_size;
  }
}

static bool is_kept(const word_t* kept, size_t k)
{
  return ((kept[k / WORD_BITS] >> (k % WORD_BITS)) & 1) != 0;
}

// Taps of the kernel with a column that is kept.
static size_t count_taps(const word_t* kept, size_t kernel_size, size_t input_channels)
{
  size_t count = 0;
  for (size_t tap = 0; tap < kernel_size; tap++) {
    size_t k = tap * input_channels;
    while (k < (tap + 1) * input_channels && !is_kept(kept, k)) {
      k++;
    }
    count += k < (tap + 1) * input_channels;
  }
  return count;
}

enum xnn_status xnn_analyze_f32_nmspmm_w(
  size_t groups,
  size_t group_output_channels,
  size_t kernel_size,
  size_t group_input_channels,
  size_t pixels,
  bool in_place,
  bool strided,
  const struct xnn_filter_rows* filter,
  struct xnn_nmspmm_analysis* analysis)
{
  memset(analysis, 0, sizeof(*analysis));
  const struct xnn_nmspmm_config* configs = xnn_init_f32_nmspmm_config();
  if (configs == NULL || configs[0].mr == 0) {
    return xnn_status_unsupported_hardware;
  }
  // Columns are counted and numbered with 32 bits. Blocks of one row each are the most there can be.
  const size_t row_size = kernel_size * group_input_channels;
  if (group_input_channels > UINT32_MAX / kernel_size ||
      groups > UINT32_MAX / group_output_channels ||
      groups * group_output_channels > UINT32_MAX / row_size) {
    xnn_log_error(
      "failed to pack N:M filter of %zu groups of %zu x %zu x %zu weights: there must be fewer than 2**32",
      groups, group_output_channels, kernel_size, group_input_channels);
    return xnn_status_unsupported_parameter;
  }

  const size_t rows = group_output_channels;
  const size_t row_words = divide_round_up(row_size, WORD_BITS);
  const size_t words = groups * rows * row_words;
  // Columns of one block, columns of a group; a row; costs; for each configuration the ends of blocks.
  word_t* kept = xnn_allocate_memory(2 * row_words * sizeof(word_t));
  float* row_buffer = xnn_allocate_memory(row_size * sizeof(float));
  float* costs = xnn_allocate_memory((rows + 1) * sizeof(float));
  uint8_t* last_block_rows = xnn_allocate_memory(XNN_MAX_F32_NMSPMM_CONFIGS * groups * (rows + 1) * sizeof(uint8_t));
  analysis->block_rows = xnn_allocate_memory(groups * rows * sizeof(uint8_t));
  analysis->nonzeroes = xnn_allocate_memory(words * sizeof(word_t));
  analysis->row_words = row_words;
  word_t* bits = analysis->nonzeroes;
  enum xnn_status status = xnn_status_success;
  if (kept == NULL || row_buffer == NULL || costs == NULL || last_block_rows == NULL ||
      analysis->block_rows == NULL || bits == NULL) {
    xnn_log_error("failed to allocate %zu bytes to find the kept columns", words * sizeof(word_t));
    status = xnn_status_out_of_memory;
    goto cleanup;
  }
  word_t* group_kept = kept + row_words;
  size_t num_taps = 0;
  analysis->num_nonzeroes = find_nonzeroes(filter, groups * rows, row_size, row_words, row_buffer, bits);
  for (size_t group = 0; group < groups; group++) {
    memset(group_kept, 0, row_words * sizeof(word_t));
    size_t columns = 0;
    for (size_t row = 0; row < rows; row++) {
      columns = add_row(row_words, bits + (group * rows + row) * row_words, group_kept);
    }
    analysis->num_packed += columns;
    num_taps += count_taps(group_kept, kernel_size, group_input_channels);
  }

  size_t best = 0;
  for (size_t i = 0; i < XNN_MAX_F32_NMSPMM_CONFIGS && configs[i].mr != 0; i++) {
    const uint16_t strided_cost = strided ? configs[i].strided_pack_cost : 0;
    const uint16_t pack_cost = strided_cost != 0 ? strided_cost : configs[i].pack_cost;
    float cost = in_place ? 0.0f : (float) analysis->num_packed * (float) pack_cost * 0.01f +
      (float) num_taps * xnn_init_nm_costs()->cnhw_tap / (float) configs[i].granularity;
    for (size_t group = 0; group < groups; group++) {
      cost += cut_into_blocks(
        &configs[i], rows, row_words, bits + group * rows * row_words, kept, costs,
        last_block_rows + (i * groups + group) * (rows + 1));
    }
    if (pixels != 0) {
      // Sums wait for each other where there are fewer vectors than a strip has.
      cost *= (float) max(round_up(pixels, configs[i].granularity), configs[i].nr) / (float) pixels;
      cost += xnn_init_nm_costs()->cnhw_operator / (float) pixels;
    }
    if (i == 0 || cost < analysis->cost) {
      analysis->cost = cost;
      best = i;
    }
  }
  analysis->config = &configs[best];
  analysis->dense = true;
  for (size_t group = 0; group < groups; group++) {
    collect_blocks(
      rows, row_words, bits + group * rows * row_words, kept,
      last_block_rows + (best * groups + group) * (rows + 1), analysis, row_size);
  }

cleanup:
  xnn_release_memory(kept);
  xnn_release_memory(row_buffer);
  xnn_release_memory(costs);
  xnn_release_memory(last_block_rows);
  if (status != xnn_status_success) {
    xnn_release_nmspmm_analysis(analysis);
  }
  return status;
}

void xnn_release_nmspmm_analysis(struct xnn_nmspmm_analysis* analysis)
{
  xnn_release_memory(analysis->block_rows);
  xnn_release_memory(analysis->nonzeroes);
  analysis->block_rows = NULL;
  analysis->nonzeroes = NULL;
}

// Takes count elements of the given size from *memory.
static void* take(uintptr_t* memory, size_t count, size_t element_size)
{
  *memory = round_up_po2(*memory, 8);
  void* start = (void*) *memory;
  *memory += count * element_size;
  return start;
}

struct xnn_nmspmm_filter xnn_layout_f32_nmspmm_w(
  const struct xnn_nmspmm_analysis* analysis,
  size_t groups,
  size_t group_output_channels,
  size_t row_size,
  size_t part_columns,
  void* memory)
{
  // Columns may keep fewer parts than this busy; those that are left are empty.
  const size_t group_parts = part_columns == 0 ? 1 : divide_round_up(row_size, part_columns);
  struct xnn_nmspmm_filter filter;
  uintptr_t end = (uintptr_t) memory;
  filter.num_parts = groups * group_parts;
  filter.weights =
    take(&end, analysis->num_weights + groups * group_output_channels * group_parts, sizeof(float));
  filter.segments = take(&end, analysis->num_blocks * group_parts, sizeof(struct xnn_nmspmm_segment));
  filter.parts = take(&end, filter.num_parts, sizeof(struct xnn_nmspmm_part));
  filter.columns = take(&end, analysis->dense ? 0 : analysis->num_columns, sizeof(uint32_t));
  filter.packed = take(&end, analysis->num_packed, sizeof(uint32_t));
  filter.size = end - (uintptr_t) memory;
  return filter;
}

// Sets kept to the columns that any of the rows keeps.
static void find_kept_columns(
  const struct xnn_nmspmm_analysis* analysis,
  size_t first_row,
  size_t rows,
  word_t* kept)
{
  memset(kept, 0, analysis->row_words * sizeof(word_t));
  for (size_t row = first_row; row < first_row + rows; row++) {
    for (size_t i = 0; i < analysis->row_words; i++) {
      kept[i] |= analysis->nonzeroes[row * analysis->row_words + i];
    }
  }
}

enum xnn_status xnn_pack_f32_nmspmm_w(
  const struct xnn_nmspmm_analysis* analysis,
  size_t groups,
  size_t group_output_channels,
  size_t row_size,
  size_t part_columns,
  const struct xnn_filter_rows* rows,
  const float* bias,
  struct xnn_nmspmm_filter* filter)
{
  // Columns of a group or a block, as bits and as a list; a row.
  const size_t scratch_size =
    analysis->row_words * sizeof(word_t) + row_size * (sizeof(uint32_t) + sizeof(float));
  word_t* kept = xnn_allocate_memory(scratch_size);
  if (kept == NULL) {
    xnn_log_error("failed to allocate %zu bytes to pack N:M weights", scratch_size);
    return xnn_status_out_of_memory;
  }
  uint32_t* block_columns = (uint32_t*) (kept + analysis->row_words);
  float* row_buffer = (float*) (block_columns + row_size);

  const size_t group_parts = filter->num_parts / groups;
  const uint8_t* block_rows = analysis->block_rows;
  uint32_t num_segments = 0;
  uint32_t num_columns = 0;
  uint32_t num_packed = 0;
  size_t num_weights = 0;
  for (size_t group = 0; group < groups; group++) {
    const size_t first_channel = group * group_output_channels;
    const uint32_t group_packed = num_packed;
    find_kept_columns(analysis, first_channel, group_output_channels, kept);
    for (size_t k = 0; k < row_size; k++) {
      if (is_kept(kept, k)) {
        filter->packed[num_packed++] = (uint32_t) k;
      }
    }
    for (size_t p = 0; p < group_parts; p++) {
      const size_t max_columns = part_columns == 0 ? row_size : part_columns;
      const uint32_t first_packed = (uint32_t) min(group_packed + p * max_columns, num_packed);
      const uint32_t end_packed = (uint32_t) min(first_packed + max_columns, num_packed);
      struct xnn_nmspmm_part* part = &filter->parts[group * group_parts + p];
      part->first_segment = num_segments;
      part->first_packed = first_packed;
      part->num_packed = end_packed - first_packed;
      part->is_first = p == 0;
      part->is_last = p + 1 == group_parts;
      for (size_t row = 0, block = 0; row < group_output_channels; block++) {
        const size_t height = block_rows[block];
        find_kept_columns(analysis, first_channel + row, height, kept);
        struct xnn_nmspmm_segment* segment = &filter->segments[num_segments++];
        segment->channel = (uint32_t) (first_channel + row);
        segment->rows = (uint32_t) height;
        segment->first_column = num_columns;
        segment->num_columns = 0;
        segment->first_weight = num_weights;
        for (uint32_t j = first_packed; j < end_packed; j++) {
          if (is_kept(kept, filter->packed[j])) {
            if (!analysis->dense) {
              filter->columns[num_columns++] = j - first_packed;
            }
            block_columns[segment->num_columns++] = filter->packed[j];
          }
        }
        float* weights = filter->weights + num_weights;
        for (size_t i = 0; i < height; i++) {
          const float* source = xnn_get_filter_row(rows, first_channel + row + i, row_size, row_buffer);
          weights[i] = p == 0 && bias != NULL ? bias[first_channel + row + i] : 0.0f;
          for (size_t j = 0; j < segment->num_columns; j++) {
            weights[height * (1 + j) + i] = source[block_columns[j]];
          }
        }
        num_weights += height * (1 + segment->num_columns);
        row += height;
      }
      part->num_segments = num_segments - part->first_segment;
    }
    size_t passed = 0;
    while (passed < group_output_channels) {
      passed += *block_rows++;
    }
  }
  assert(num_packed == analysis->num_packed);
  xnn_release_memory(kept);
  return xnn_status_success;
}
