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
#include "xnnpack/nmconv.h"

// A row, and the columns that a tile keeps.
struct scratch {
  float* row;
  uint8_t* kept;
};

static enum xnn_status allocate_scratch(size_t row_size, struct scratch* scratch)
{
  const size_t size = row_size * (sizeof(float) + sizeof(uint8_t));
  scratch->row = xnn_allocate_memory(size);
  if (scratch->row == NULL) {
    xnn_log_error("failed to allocate %zu bytes to find the kept columns", size);
    return xnn_status_out_of_memory;
  }
  scratch->kept = (uint8_t*) (scratch->row + row_size);
  return xnn_status_success;
}

// Sets kept[k] to 1 for each column k where any of the rows holds a non-zero (a NaN is one), to 0 for the others.
// Returns how many are non-zero weights.
static size_t find_kept_columns(
  const struct xnn_filter_rows* filter,
  size_t first_row,
  size_t rows,
  size_t row_size,
  const struct scratch* scratch)
{
  uint8_t* kept = scratch->kept;
  size_t num_nonzeroes = 0;
  memset(kept, 0, row_size * sizeof(uint8_t));
  for (size_t row = 0; row < rows; row++) {
    const float* weights = xnn_get_filter_row(filter, first_row + row, row_size, scratch->row);
    for (size_t k = 0; k < row_size; k++) {
      const uint8_t nonzero = weights[k] != 0.0f;
      kept[k] |= nonzero;
      num_nonzeroes += nonzero;
    }
  }
  return num_nonzeroes;
}

enum xnn_status xnn_analyze_f32_nmconv_w(
  size_t groups,
  size_t group_output_channels,
  size_t kernel_size,
  size_t group_input_channels,
  size_t pixels,
  size_t tile_height,
  const struct xnn_filter_rows* filter,
  struct xnn_nmconv_analysis* analysis)
{
  const struct xnn_nmconv_config* configs = xnn_init_f32_nmconv_config();
  if (configs == NULL || configs[0].ukernel == NULL) {
    return xnn_status_unsupported_hardware;
  }

  // Columns are counted and numbered with 32 bits. A tile of one row each is the most there can be.
  const size_t row_size = kernel_size * group_input_channels;
  if (group_input_channels > UINT32_MAX / kernel_size ||
      groups > UINT32_MAX / group_output_channels ||
      groups * group_output_channels > UINT32_MAX / row_size) {
    xnn_log_error(
      "failed to pack N:M filter of %zu groups of %zu x %zu x %zu weights: there must be fewer than 2**32",
      groups, group_output_channels, kernel_size, group_input_channels);
    return xnn_status_unsupported_parameter;
  }

  struct scratch scratch;
  const enum xnn_status status = allocate_scratch(row_size, &scratch);
  if (status != xnn_status_success) {
    return status;
  }

  bool any_fits = false;
  for (size_t i = 0; i < XNN_MAX_F32_NMCONV_UKERNELS && configs[i].ukernel != NULL; i++) {
    any_fits |= tile_height != 0 && tile_height % configs[i].nr == 0;
  }

  double best_cost = 0.0;
  analysis->config = NULL;
  for (size_t i = 0; i < XNN_MAX_F32_NMCONV_UKERNELS && configs[i].ukernel != NULL; i++) {
    const size_t nr = configs[i].nr;
    if (any_fits && tile_height % nr != 0) {
      continue;
    }
    size_t num_tiles = 0;
    size_t num_columns = 0;
    size_t num_nonzeroes = 0;
    for (size_t group = 0; group < groups; group++) {
      for (size_t oc = 0; oc < group_output_channels; oc += nr) {
        num_nonzeroes += find_kept_columns(
          filter, group * group_output_channels + oc, min(nr, group_output_channels - oc), row_size, &scratch);
        for (size_t k = 0; k < row_size; k++) {
          num_columns += scratch.kept[k];
        }
        num_tiles += 1;
      }
    }
    const size_t mr = configs[i].mr;
    const double rounding = pixels == 0 ? 1.0 : (double) round_up(pixels, mr) / (double) pixels;
    const double cost = rounding *
      ((double) nr * (num_columns + num_tiles * XNN_NM_TILE_OVERHEAD) * configs[i].relative_cost / 100.0 +
       (double) num_tiles * xnn_init_nm_costs()->nhwc_tile / (double) mr);
    if (analysis->config == NULL || cost < best_cost) {
      best_cost = cost;
      analysis->config = &configs[i];
      analysis->num_tiles = num_tiles;
      analysis->num_columns = num_columns;
      analysis->num_nonzeroes = num_nonzeroes;
      analysis->cost = (float) cost;
    }
  }
  xnn_release_memory(scratch.row);
  return xnn_status_success;
}

enum xnn_status xnn_pack_f32_nmconv_w(
  size_t groups,
  size_t group_output_channels,
  size_t kernel_size,
  size_t group_input_channels,
  size_t nr,
  const struct xnn_filter_rows* filter,
  const float* bias,
  uint32_t* columns,
  uint32_t* column_starts,
  float* packed_w)
{
  assert(nr != 0);
  const size_t row_size = kernel_size * group_input_channels;
  struct scratch scratch;
  const enum xnn_status status = allocate_scratch(row_size, &scratch);
  if (status != xnn_status_success) {
    return status;
  }
  size_t num_columns = 0;
  *column_starts++ = 0;
  for (size_t group = 0; group < groups; group++) {
    for (size_t oc = 0; oc < group_output_channels; oc += nr) {
      const size_t first_row = group * group_output_channels + oc;
      const size_t rows = min(nr, group_output_channels - oc);
      const size_t first_column = num_columns;
      find_kept_columns(filter, first_row, rows, row_size, &scratch);
      for (size_t k = 0; k < row_size; k++) {
        if (scratch.kept[k]) {
          columns[num_columns++] = (uint32_t) k;
        }
      }
      const size_t num_weights = nr * (1 + num_columns - first_column);
      memset(packed_w, 0, num_weights * sizeof(float));
      for (size_t row = 0; row < rows; row++) {
        const float* weights = xnn_get_filter_row(filter, first_row + row, row_size, scratch.row);
        packed_w[row] = bias != NULL ? bias[first_row + row] : 0.0f;
        for (size_t i = first_column; i < num_columns; i++) {
          packed_w[nr * (1 + i - first_column) + row] = weights[columns[i]];
        }
      }
      packed_w += num_weights;
      *column_starts++ = (uint32_t) num_columns;
    }
  }
  xnn_release_memory(scratch.row);
  return xnn_status_success;
}
