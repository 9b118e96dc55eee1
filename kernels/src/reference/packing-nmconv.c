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
#include "xnnpack/nmconv.h"

// What one tile costs beside its columns, in columns: biases, clamping, stores.
#define TILE_OVERHEAD 3

// Sets kept[k] to 1 for each column k where any of the rows holds a non-zero (a NaN is one), to 0 for the others.
// Returns how many are non-zero weights.
static size_t find_kept_columns(
  size_t rows,
  size_t row_size,
  const float* kernel,
  uint8_t* kept)
{
  size_t num_nonzeroes = 0;
  memset(kept, 0, row_size * sizeof(uint8_t));
  for (size_t row = 0; row < rows; row++) {
    for (size_t k = 0; k < row_size; k++) {
      const uint8_t nonzero = kernel[k] != 0.0f;
      kept[k] |= nonzero;
      num_nonzeroes += nonzero;
    }
    kernel += row_size;
  }
  return num_nonzeroes;
}

enum xnn_status xnn_analyze_f32_nmconv_w(
  size_t groups,
  size_t group_output_channels,
  size_t kernel_size,
  size_t group_input_channels,
  size_t tile_height,
  size_t dense_nr,
  const float* kernel,
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

  uint8_t* kept = xnn_allocate_memory(row_size * sizeof(uint8_t));
  if (kept == NULL) {
    xnn_log_error("failed to allocate %zu bytes to find the kept columns", row_size * sizeof(uint8_t));
    return xnn_status_out_of_memory;
  }

  bool any_fits = false;
  for (size_t i = 0; i < XNN_MAX_F32_NMCONV_UKERNELS && configs[i].ukernel != NULL; i++) {
    any_fits |= tile_height != 0 && tile_height % configs[i].nr == 0;
  }

  const double dense_cost =
    (double) groups * round_up(group_output_channels, dense_nr) * (row_size + TILE_OVERHEAD);
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
          min(nr, group_output_channels - oc), row_size,
          kernel + (group * group_output_channels + oc) * row_size, kept);
        for (size_t k = 0; k < row_size; k++) {
          num_columns += kept[k];
        }
        num_tiles += 1;
      }
    }
    const double cost =
      (double) nr * (num_columns + num_tiles * TILE_OVERHEAD) * configs[i].relative_cost / 100.0;
    if (analysis->config == NULL || cost < best_cost) {
      best_cost = cost;
      analysis->config = &configs[i];
      analysis->num_tiles = num_tiles;
      analysis->num_columns = num_columns;
      analysis->num_nonzeroes = num_nonzeroes;
      analysis->predicted_speedup = (float) (dense_cost / cost);
      analysis->dense_cost = (float) dense_cost;
    }
  }
  xnn_release_memory(kept);
  return xnn_status_success;
}

void xnn_pack_f32_nmconv_w(
  size_t groups,
  size_t group_output_channels,
  size_t kernel_size,
  size_t group_input_channels,
  size_t nr,
  const float* kernel,
  const float* bias,
  uint32_t* columns,
  uint32_t* column_starts,
  float* packed_w)
{
  assert(nr != 0);
  const size_t row_size = kernel_size * group_input_channels;
  size_t num_columns = 0;
  *column_starts++ = 0;
  for (size_t group = 0; group < groups; group++) {
    for (size_t oc = 0; oc < group_output_channels; oc += nr) {
      const size_t rows = min(nr, group_output_channels - oc);
      for (size_t row = 0; row < nr; row++) {
        *packed_w++ = row < rows && bias != NULL ? bias[oc + row] : 0.0f;
      }
      for (size_t k = 0; k < row_size; k++) {
        bool kept = false;
        for (size_t row = 0; row < rows; row++) {
          kept |= kernel[row * row_size + k] != 0.0f;
        }
        if (kept) {
          columns[num_columns++] = (uint32_t) k;
          for (size_t row = 0; row < nr; row++) {
            *packed_w++ = row < rows ? kernel[row * row_size + k] : 0.0f;
          }
        }
      }
      *column_starts++ = (uint32_t) num_columns;
      kernel += rows * row_size;
    }
    if (bias != NULL) {
      bias += group_output_channels;
    }
  }
}
