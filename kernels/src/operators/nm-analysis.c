// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Which micro-kernels run a filter fastest, and in which tiles or blocks of rows.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-space.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"

static bool fits(const struct xnn_nmconv_config* config, size_t tile_height)
{
  return tile_height != 0 && tile_height % config->nr == 0;
}

// The candidates of a kind to compare, or one alone. A limit to lower blocks leaves fewer ways to cut the rows, and is
// never predicted to cost less: only that to the highest is kept of each strip width.
static size_t list_candidates(
  const struct xnn_nm_layer* layer,
  enum xnn_nm_candidate_kind kind,
  const struct xnn_nm_candidate* only,
  struct xnn_nm_candidate candidates[XNN_MAX_NM_CANDIDATES])
{
  const size_t num_all = xnn_list_nm_candidates(layer, candidates);
  size_t count = 0;
  for (size_t i = 0; i < num_all; i++) {
    const struct xnn_nm_candidate candidate = candidates[i];
    if (candidate.kind != kind || (only != NULL && !xnn_is_same_nm_candidate(&candidate, only))) {
      continue;
    }
    count -= count != 0 && candidates[count - 1].kernel == candidate.kernel;
    candidates[count++] = candidate;
  }
  return count;
}

// Adds the runs of a tile, and the columns in them.
static void count_runs(
  const struct xnn_nm_layer* layer,
  const uint64_t* kept,
  size_t kr,
  size_t* num_runs,
  size_t* num_columns)
{
  const size_t stretch = xnn_get_nm_stretch(layer);
  for (size_t k = 0, size; (size = xnn_find_nm_run(layer, stretch, kept, kr, &k)) != 0; k += size) {
    *num_runs += 1;
    *num_columns += size;
  }
}

// Counts what a micro-kernel makes of a filter.
static void count_columns(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  const struct xnn_nmconv_config* config,
  uint64_t* kept,
  struct xnn_nmconv_analysis* analysis)
{
  const size_t channels = layer->group_output_channels;
  const size_t nr = config->nr;
  analysis->config = config;
  analysis->num_tiles = 0;
  analysis->num_runs = 0;
  analysis->num_columns = 0;
  for (size_t group = 0; group < layer->groups; group++) {
    for (size_t oc = 0; oc < channels; oc += nr) {
      const size_t columns = xnn_find_nm_kept_columns(zeros, group * channels + oc, min(nr, channels - oc), kept);
      if (config->weights.kr == 1) {
        analysis->num_runs += columns;
        analysis->num_columns += columns;
      } else {
        count_runs(layer, kept, config->weights.kr, &analysis->num_runs, &analysis->num_columns);
      }
      analysis->num_tiles += 1;
    }
  }
}

enum xnn_status xnn_analyze_nmconv(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  const struct xnn_nm_costs* costs,
  size_t tile_height,
  const struct xnn_nm_candidate* only,
  struct xnn_nmconv_analysis* analysis)
{
  memset(analysis, 0, sizeof(*analysis));
  const struct xnn_nmconv_config* configs = layer->datatype->init_nmconv_config();
  struct xnn_nm_candidate candidates[XNN_MAX_NM_CANDIDATES];
  const size_t num_candidates = list_candidates(layer, xnn_nm_candidate_nhwc, only, candidates);
  if (num_candidates == 0) {
    return xnn_status_unsupported_hardware;
  }
  bool any_fits = false;
  for (size_t i = 0; i < num_candidates; i++) {
    any_fits |= fits(&configs[candidates[i].kernel], tile_height);
  }
  uint64_t* kept = xnn_allocate_memory(zeros->row_words * sizeof(uint64_t));
  if (kept == NULL) {
    xnn_log_error("failed to allocate %zu bytes to find the kept columns", zeros->row_words * sizeof(uint64_t));
    return xnn_status_out_of_memory;
  }
  // Blocks that the pixels of an image do not fill cost the more.
  const size_t pixels = xnn_get_nm_image_pixels(layer);
  for (size_t c = 0; c < num_candidates; c++) {
    const size_t i = candidates[c].kernel;
    if (any_fits && !fits(&configs[i], tile_height)) {
      continue;
    }
    const size_t mr = configs[i].mr;
    struct xnn_nmconv_analysis candidate;
    count_columns(layer, zeros, &configs[i], kept, &candidate);
    const double num_tiles = (double) candidate.num_tiles;
    const double rounding = pixels == 0 ? 1.0 : (double) round_up(pixels, mr) / (double) pixels;
    const double columns = (double) candidate.num_runs * configs[i].weights.kr + num_tiles * costs->tile_columns;
    candidate.percent = costs->nmconv_percent[i];
    candidate.cost = (float) (rounding *
      ((double) configs[i].nr * columns * candidate.percent / 100.0 + num_tiles * costs->nmconv_call / (double) mr));
    if (analysis->config == NULL || candidate.cost < analysis->cost) {
      *analysis = candidate;
    }
  }
  xnn_release_memory(kept);
  return xnn_status_success;
}

// What cutting rows into blocks works on.
struct cutting {
  const struct xnn_nm_zeros* zeros;
  // Of the rows in a group.
  size_t num_rows;
  // Columns of one block.
  uint64_t* kept;
  // The least for the first 0, 1, ... rows.
  float* costs;
  // For each configuration and group: row i + 1 ends a block of last_rows[i + 1] rows, if any.
  uint8_t* last_rows;
};

// Cuts the rows of a group into the blocks that cost least, and returns what they cost.
static float cut_into_blocks(
  const struct cutting* cutting,
  const struct xnn_nmspmm_config* config,
  const float* percent,
  float call_cost,
  float block_columns,
  size_t max_rows,
  size_t first_row,
  uint8_t* last_rows)
{
  float* costs = cutting->costs;
  costs[0] = 0.0f;
  for (size_t end = 1; end <= cutting->num_rows; end++) {
    memset(cutting->kept, 0, cutting->zeros->row_words * sizeof(uint64_t));
    for (size_t rows = 1; rows <= min(max_rows, end); rows++) {
      xnn_add_nm_row(cutting->zeros, first_row + end - rows, cutting->kept);
      if (config->ukernel[rows - 1] == NULL) {
        continue;
      }
      const size_t columns = xnn_count_nm_columns(cutting->zeros, cutting->kept);
      const float cost = costs[end - rows] + call_cost +
        (float) rows * ((float) columns + block_columns) * percent[rows - 1] * 0.01f;
      if (rows == 1 || cost < costs[end]) {
        costs[end] = cost;
        last_rows[end] = (uint8_t) rows;
      }
    }
  }
  return costs[cutting->num_rows];
}

// Copies the heights of the blocks of a group, first to last, and counts what they hold.
static void collect_blocks(
  const struct cutting* cutting,
  size_t first_row,
  size_t row_size,
  const uint8_t* last_rows,
  struct xnn_nmspmm_analysis* analysis)
{
  size_t num_blocks = 0;
  for (size_t end = cutting->num_rows; end != 0; end -= last_rows[end]) {
    num_blocks += 1;
  }
  uint8_t* block_rows = analysis->block_rows + analysis->num_blocks + num_blocks;
  analysis->num_blocks += num_blocks;
  for (size_t end = cutting->num_rows; end != 0; end -= last_rows[end]) {
    const size_t rows = last_rows[end];
    *--block_rows = (uint8_t) rows;
    const size_t columns =
      xnn_find_nm_kept_columns(cutting->zeros, first_row + end - rows, rows, cutting->kept);
    analysis->num_columns += columns;
    analysis->num_weights += rows * columns;
    analysis->num_packed_weights += rows * round_up(columns, analysis->config->weights.kr);
    analysis->dense &= columns == row_size;
  }
}

// Taps of the kernel with a column that is kept.
static size_t count_taps(const uint64_t* kept, size_t kernel_size, size_t input_channels)
{
  size_t count = 0;
  for (size_t tap = 0; tap < kernel_size; tap++) {
    size_t k = tap * input_channels;
    while (k < (tap + 1) * input_channels && !xnn_is_nm_kept(kept, k)) {
      k++;
    }
    count += k < (tap + 1) * input_channels;
  }
  return count;
}

// Time of all groups in strips of one width.
static float cut_groups(
  const struct cutting* cutting,
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_costs* costs,
  const struct xnn_nmspmm_config* config,
  const struct xnn_nm_candidate* candidate,
  size_t num_taps,
  const struct xnn_nmspmm_analysis* analysis,
  uint8_t* last_rows)
{
  const size_t index = candidate->kernel;
  // The pixels that a strip reads are not together in memory.
  const bool strided = layer->stride_width != 1 || (layer->flags & XNN_FLAG_INPUT_NHWC) != 0;
  const float pack_percent = strided ? costs->strided_pack_percent[index] : costs->pack_percent[index];
  const size_t num_rows = cutting->num_rows;
  float cost = analysis->in_place ? 0.0f : (float) analysis->num_packed * pack_percent * 0.01f +
    (float) num_taps * costs->packed_tap / (float) config->granularity;
  for (size_t group = 0; group < layer->groups; group++) {
    cost += cut_into_blocks(
      cutting, config, costs->nmspmm_percent[index], costs->nmspmm_call / (float) config->nr, costs->block_columns,
      candidate->max_rows, group * num_rows, last_rows + group * (num_rows + 1));
  }
  const size_t pixels = xnn_get_nm_pixels(layer);
  if (pixels != 0) {
    // Sums wait for each other where there are fewer vectors than a strip has.
    cost *= (float) max(round_up(pixels, config->granularity), config->nr) / (float) pixels;
    cost += costs->cnhw_operator / (float) pixels;
  }
  return cost;
}

static void find_best(
  struct cutting* cutting,
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_costs* costs,
  const struct xnn_nmspmm_config* configs,
  const struct xnn_nm_candidate* candidates,
  size_t num_candidates,
  struct xnn_nmspmm_analysis* analysis)
{
  const size_t num_rows = cutting->num_rows;
  const size_t row_size = xnn_get_nm_row_size(layer);
  const size_t ends = layer->groups * (num_rows + 1);
  size_t num_taps = 0;
  for (size_t group = 0; group < layer->groups; group++) {
    analysis->num_packed += xnn_find_nm_kept_columns(cutting->zeros, group * num_rows, num_rows, cutting->kept);
    num_taps += count_taps(cutting->kept, xnn_get_nm_kernel_size(layer), layer->group_input_channels);
  }
  size_t best = 0;
  for (size_t i = 0; i < num_candidates; i++) {
    const float cost = cut_groups(
      cutting, layer, costs, &configs[candidates[i].kernel], &candidates[i], num_taps, analysis,
      cutting->last_rows + i * ends);
    if (i == 0 || cost < analysis->cost) {
      analysis->cost = cost;
      best = i;
    }
  }
  analysis->config = &configs[candidates[best].kernel];
  analysis->max_rows = candidates[best].max_rows;
  analysis->dense = true;
  for (size_t group = 0; group < layer->groups; group++) {
    collect_blocks(
      cutting, group * num_rows, row_size, cutting->last_rows + best * ends + group * (num_rows + 1), analysis);
  }
  analysis->cost += (float) xnn_predict_nm_weights(
    layer, costs, analysis->num_packed_weights << analysis->config->weights.log2_size);
}

enum xnn_status xnn_analyze_nmspmm(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  const struct xnn_nm_costs* costs,
  const struct xnn_nm_candidate* only,
  struct xnn_nmspmm_analysis* analysis)
{
  memset(analysis, 0, sizeof(*analysis));
  const struct xnn_nmspmm_config* configs = layer->datatype->init_nmspmm_config();
  struct xnn_nm_candidate candidates[XNN_MAX_NM_CANDIDATES];
  const size_t num_candidates = list_candidates(layer, xnn_nm_candidate_cnhw, only, candidates);
  if (num_candidates == 0) {
    return xnn_status_unsupported_hardware;
  }
  const size_t num_rows = layer->group_output_channels;
  struct cutting cutting = {
    .zeros = zeros,
    .num_rows = num_rows,
    .kept = xnn_allocate_memory(zeros->row_words * sizeof(uint64_t)),
    .costs = xnn_allocate_memory((num_rows + 1) * sizeof(float)),
    .last_rows = xnn_allocate_memory(XNN_MAX_NMSPMM_KERNELS * layer->groups * (num_rows + 1) * sizeof(uint8_t)),
  };
  analysis->in_place = xnn_is_nm_pointwise(layer) && (layer->flags & XNN_FLAG_INPUT_NHWC) == 0;
  analysis->block_rows = xnn_allocate_memory(layer->groups * num_rows * sizeof(uint8_t));
  enum xnn_status status = xnn_status_success;
  if (cutting.kept == NULL || cutting.costs == NULL || cutting.last_rows == NULL || analysis->block_rows == NULL) {
    xnn_log_error("failed to allocate memory to cut %zu rows into blocks", layer->groups * num_rows);
    xnn_release_nmspmm_analysis(analysis);
    status = xnn_status_out_of_memory;
  } else {
    find_best(&cutting, layer, costs, configs, candidates, num_candidates, analysis);
  }
  xnn_release_memory(cutting.kept);
  xnn_release_memory(cutting.costs);
  xnn_release_memory(cutting.last_rows);
  return status;
}

void xnn_release_nmspmm_analysis(struct xnn_nmspmm_analysis* analysis)
{
  xnn_release_memory(analysis->block_rows);
  analysis->block_rows = NULL;
}
