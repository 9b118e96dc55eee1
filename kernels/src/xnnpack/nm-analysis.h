// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Where the zeros of a filter are, and how micro-kernels run it fastest.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-space.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"

#ifdef __cplusplus
extern "C" {
#endif

// Of each row of a filter row_words words: bit k % 64 of word k / 64 is set where column k holds a non-zero.
struct xnn_nm_zeros {
  // Owned: release with xnn_release_nm_zeros.
  uint64_t* bits;
  size_t row_words;
  size_t num_nonzeroes;
};

// Looks at every row of a filter.
//
// Returns xnn_status_unsupported_parameter when its columns can't be indexed with 32 bits.
XNN_INTERNAL enum xnn_status xnn_find_nm_zeros(const struct xnn_nm_layer* layer, struct xnn_nm_zeros* zeros);

XNN_INTERNAL void xnn_release_nm_zeros(struct xnn_nm_zeros* zeros);

// Whether column k is set in a row of bits.
XNN_INLINE static bool xnn_is_nm_kept(const uint64_t* bits, size_t k)
{
  return ((bits[k / 64] >> (k % 64)) & 1) != 0;
}

// How many columns are together in memory: those of a tap, or of all taps in a row where the next tap's pixel is the next one
// in memory.
XNN_INLINE static size_t xnn_get_nm_stretch(const struct xnn_nm_layer* layer)
{
  const bool is_row = layer->dilation_width == 1 && layer->groups == 1 &&
    layer->input_channel_stride == layer->group_input_channels;
  return is_row ? layer->kernel_width * layer->group_input_channels : layer->group_input_channels;
}

// Finds the first run, which begins with a kept column, at column *k or later, and has up to kr columns of a stretch. Stores
// its first column, and returns its length; 0 where there is none.
XNN_INLINE static size_t xnn_find_nm_run(
    const struct xnn_nm_layer* layer,
    size_t stretch,
    const uint64_t* kept,
    size_t kr,
    size_t* k)
{
  const size_t row_size = xnn_get_nm_row_size(layer);
  while (*k < row_size) {
    if (xnn_is_nm_kept(kept, *k)) {
      const size_t left = stretch - *k % stretch;
      return left < kr ? left : kr;
    }
    // Words without any are many.
    *k = kept[*k / 64] >> *k % 64 != 0 ? *k + 1 : round_down_po2(*k, 64) + 64;
  }
  return 0;
}

// Adds the columns of one more row to kept.
XNN_INLINE static void xnn_add_nm_row(const struct xnn_nm_zeros* zeros, size_t row, uint64_t* kept)
{
  const uint64_t* bits = zeros->bits + row * zeros->row_words;
  for (size_t i = 0; i < zeros->row_words; i++) {
    kept[i] |= bits[i];
  }
}

// Columns that are set in a row of bits.
XNN_INLINE static size_t xnn_count_nm_columns(const struct xnn_nm_zeros* zeros, const uint64_t* bits)
{
  size_t count = 0;
  for (size_t i = 0; i < zeros->row_words; i++) {
    count += math_popcount_u32((uint32_t) bits[i]) + math_popcount_u32((uint32_t) (bits[i] >> 32));
  }
  return count;
}

// Sets the row_words words of kept to the columns that any of the rows keeps, and returns their number.
XNN_INTERNAL size_t xnn_find_nm_kept_columns(
    const struct xnn_nm_zeros* zeros,
    size_t first_row,
    size_t num_rows,
    uint64_t* kept);

// How a filter runs on micro-kernels of NHWC images.
struct xnn_nmconv_analysis {
  // The best one; NULL if nothing is known.
  const struct xnn_nmconv_config* config;
  // Tiles in all groups.
  size_t num_tiles;
  // Runs of columns that are multiplied together, which begin with a kept one: kr that follow each other in memory, or what
  // is left of a stretch; and the columns in them. Summed over all tiles.
  size_t num_runs;
  size_t num_columns;
  // Time of the micro-kernel for one pixel.
  float cost;
  // Of one of its weights, in percent.
  float percent;
};

// Finds the micro-kernel that runs a filter fastest.
//
// tile_height limits the choice to micro-kernels whose tile divides it, if there is any such; 0 allows all.
// only         the candidate to take, of NHWC images; NULL to choose among all.
// Returns xnn_status_unsupported_hardware without any micro-kernel.
XNN_INTERNAL enum xnn_status xnn_analyze_nmconv(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nm_costs* costs,
    size_t tile_height,
    const struct xnn_nm_candidate* only,
    struct xnn_nmconv_analysis* analysis);

// How a filter's rows are cut into blocks for micro-kernels of CNHW images, so that its kept columns cost least.
struct xnn_nmspmm_analysis {
  // Of the best strip width; NULL if nothing is known.
  const struct xnn_nmspmm_config* config;
  // The most rows of a block that were allowed.
  size_t max_rows;
  // Rows of each block, group after group. Owned: release with xnn_release_nmspmm_analysis.
  uint8_t* block_rows;
  // In all groups.
  size_t num_blocks;
  // Kept columns summed over all blocks, weights in them, and columns that any block of their group keeps.
  size_t num_columns;
  size_t num_weights;
  size_t num_packed;
  // Weights as micro-kernels read them: so many columns that they can be multiplied together.
  size_t num_packed_weights;
  // Every block keeps every column.
  bool dense;
  // Columns need no packing.
  bool in_place;
  // Time for one pixel.
  float cost;
};

// Finds the micro-kernels and the blocks that run a filter fastest on the layer's images.
//
// only  the candidate to take, of CNHW images; NULL to choose among all.
// Returns xnn_status_unsupported_hardware without any micro-kernel.
XNN_INTERNAL enum xnn_status xnn_analyze_nmspmm(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nm_costs* costs,
    const struct xnn_nm_candidate* only,
    struct xnn_nmspmm_analysis* analysis);

XNN_INTERNAL void xnn_release_nmspmm_analysis(struct xnn_nmspmm_analysis* analysis);

#ifdef __cplusplus
}  // extern "C"
#endif
