// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Filters as N:M micro-kernels read them.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nmconv.h"

#ifdef __cplusplus
extern "C" {
#endif

// The pack_rows of element types.
XNN_INTERNAL xnn_pack_nm_rows_fn xnn_pack_nm_float_rows;
XNN_INTERNAL xnn_pack_nm_rows_fn xnn_pack_nm_quantized_rows;

// Stands in a list of columns for one that is not there: its weights are 0.
#define XNN_NM_NO_COLUMN UINT32_MAX

// Bytes that a run of columns, which are multiplied together, takes for each channel of a tile.
XNN_INLINE static size_t xnn_get_nmconv_run_size(const struct xnn_nmconv_config* config)
{
  return (size_t) config->weights.kr << config->weights.log2_size;
}

// A filter for micro-kernels of NHWC images: views into one block of memory.
struct xnn_nmconv_filter {
  // Per tile nr biases, and nr scales of quantized layers, then kr weights of each of nr channels for each run.
  void* weights;
  // Of each run the index of its first column into K, ascending in each tile.
  uint32_t* columns;
  // Index of each tile's first run, and one past the last of all.
  uint32_t* column_starts;
  // Bytes of it all; 0 if they overflow.
  size_t size;
};

XNN_INTERNAL struct xnn_nmconv_filter xnn_layout_nmconv_filter(
    const struct xnn_nm_datatype* datatype,
    const struct xnn_nmconv_config* config,
    size_t num_tiles,
    size_t num_runs,
    void* memory);

// Fills that memory.
XNN_INTERNAL enum xnn_status xnn_pack_nmconv_filter(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nmconv_config* config,
    const struct xnn_nmconv_filter* filter);

// Rows that share a column list, and the columns of one part.
struct xnn_nmspmm_segment {
  // First output channel.
  uint32_t channel;
  uint32_t rows;
  // Index of the first column, and their number.
  uint32_t first_column;
  uint32_t num_columns;
  // Bytes to the first bias (zero in all but a group's first part); weights follow.
  size_t first_weight;
};

// Columns of one group that are packed at once: all of them, unless strips grew too large for cache.
struct xnn_nmspmm_part {
  uint32_t first_segment;
  uint32_t num_segments;
  uint32_t first_packed;
  uint32_t num_packed;
  // Within the group.
  bool is_first;
  bool is_last;
};

// What a packed filter for micro-kernels of CNHW images holds. It stands at its start, so that what comes from a weights
// cache tells itself how it is cut, whatever costs it was cut with.
struct xnn_nmspmm_sizes {
  size_t num_parts;
  size_t num_segments;
  size_t num_columns;
  // In bytes.
  size_t weights_size;
  size_t num_packed;
  // Blocks in all groups, and weights in them.
  size_t num_blocks;
  size_t num_weights;
  // Not 0: every block keeps every column. (No bool: a weights cache compares all bytes.)
  size_t dense;
};

// Views into one block of memory that depends on no address: it can be shared through a weights cache.
struct xnn_nmspmm_filter {
  struct xnn_nmspmm_sizes* sizes;
  void* weights;
  struct xnn_nmspmm_segment* segments;
  struct xnn_nmspmm_part* parts;
  // Of each segment's columns the index among its part's packed columns. Empty if the filter is dense.
  uint32_t* columns;
  // Of each packed column the index into K, ascending in each group.
  uint32_t* packed;
  // Bytes of it all; 0 if they overflow.
  size_t size;
};

// The sizes of a filter of groups that pack at most part_columns columns at once; 0: all.
XNN_INTERNAL struct xnn_nmspmm_sizes xnn_get_nmspmm_sizes(
    const struct xnn_nm_layer* layer,
    const struct xnn_nmspmm_analysis* analysis,
    size_t part_columns);

XNN_INTERNAL struct xnn_nmspmm_filter xnn_layout_nmspmm_filter(const struct xnn_nmspmm_sizes* sizes, void* memory);

// Fills that memory.
XNN_INTERNAL enum xnn_status xnn_pack_nmspmm_filter(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nmspmm_analysis* analysis,
    const struct xnn_nmspmm_sizes* sizes,
    size_t part_columns,
    void* memory);

#ifdef __cplusplus
}  // extern "C"
#endif
