// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Packing of filters for N:M micro-kernels.

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
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-pack.h"

// What packing works on.
struct scratch {
  // Columns of a tile or a block.
  uint64_t* kept;
  // A row that is made; and the columns of a tile or a block as a list.
  void* row;
  uint32_t* columns;
  struct xnn_nm_weights format;
};

static enum xnn_status allocate_scratch(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  size_t num_columns,
  struct scratch* scratch)
{
  const size_t kept_size = zeros->row_words * sizeof(uint64_t);
  const size_t columns_size = num_columns * sizeof(uint32_t);
  const size_t size = kept_size + columns_size + xnn_get_nm_row_bytes(layer);
  scratch->kept = xnn_allocate_memory(size);
  if (scratch->kept == NULL) {
    xnn_log_error("failed to allocate %zu bytes to pack N:M weights", size);
    return xnn_status_out_of_memory;
  }
  scratch->columns = (uint32_t*) (scratch->kept + zeros->row_words);
  scratch->row = (void*) ((uintptr_t) scratch->columns + columns_size);
  return xnn_status_success;
}

void* xnn_pack_nm_float_rows(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_weights* format,
  size_t first_row,
  size_t num_rows,
  size_t nr,
  size_t num_columns,
  const uint32_t* columns,
  bool with_bias,
  void* row_buffer,
  void* memory)
{
  assert(format->kr == 1);
  const struct xnn_nm_datatype* datatype = layer->datatype;
  // Biases are as wide as weights.
  const uint8_t log2_size = datatype->log2_row_size;
  void* weights = (void*) ((uintptr_t) memory + (nr << log2_size));
  void* end = (void*) ((uintptr_t) weights + ((nr * num_columns) << log2_size));
  memset(memory, 0, (uintptr_t) end - (uintptr_t) memory);
  const size_t row_bytes = xnn_get_nm_row_bytes(layer);
  for (size_t i = 0; i < num_rows; i++) {
    const float* row = xnn_get_nm_row(&layer->filter, first_row + i, row_bytes, row_buffer);
    if (with_bias && layer->bias != NULL) {
      datatype->store(memory, i, ((const float*) layer->bias)[first_row + i]);
    }
    for (size_t j = 0; j < num_columns; j++) {
      datatype->store(weights, nr * j + i, row[columns[j]]);
    }
  }
  return end;
}

void* xnn_pack_nm_quantized_rows(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_weights* format,
  size_t first_row,
  size_t num_rows,
  size_t nr,
  size_t num_columns,
  const uint32_t* columns,
  bool with_bias,
  void* row_buffer,
  void* memory)
{
  const size_t kr = format->kr;
  uint32_t* biases = memory;
  float* scales = (float*) (biases + nr);
  void* weights = scales + nr;
  // Biases of the next rows are aligned.
  const size_t size = round_up_po2((nr * round_up(num_columns, kr)) << format->log2_size, sizeof(uint32_t));
  memset(memory, 0, ((uintptr_t) weights + size) - (uintptr_t) memory);
  // What the input counts as 0.
  const uint32_t zero_point = (uint32_t) (int32_t) layer->input_zero_point + format->input_offset;
  const size_t row_bytes = xnn_get_nm_row_bytes(layer);
  for (size_t i = 0; i < num_rows; i++) {
    const int8_t* row = xnn_get_nm_row(&layer->filter, first_row + i, row_bytes, row_buffer);
    // Sums are modulo 2**32, as those of micro-kernels.
    uint32_t sum = 0;
    for (size_t j = 0; j < num_columns; j++) {
      if (columns[j] == XNN_NM_NO_COLUMN) {
        continue;
      }
      const int8_t weight = row[columns[j]];
      const size_t index = (j / kr * nr + i) * kr + j % kr;
      sum += (uint32_t) (int32_t) weight;
      if (format->log2_size == 0) {
        ((int8_t*) weights)[index] = weight;
      } else {
        ((int16_t*) weights)[index] = (int16_t) weight;
      }
    }
    const uint32_t bias =
      with_bias && layer->bias != NULL ? (uint32_t) ((const int32_t*) layer->bias)[first_row + i] : 0;
    biases[i] = bias - zero_point * sum;
    scales[i] = xnn_get_nm_requantization_scale(layer, first_row + i);
  }
  return (void*) ((uintptr_t) weights + size);
}

// Takes count elements of the given size from *memory.
static void* take(uintptr_t* memory, size_t count, size_t element_size)
{
  *memory = round_up_po2(*memory, 8);
  void* start = (void*) *memory;
  *memory += count * element_size;
  return start;
}

/*** NHWC images ***/

struct xnn_nmconv_filter xnn_layout_nmconv_filter(
  const struct xnn_nm_datatype* datatype,
  const struct xnn_nmconv_config* config,
  size_t num_tiles,
  size_t num_runs,
  void* memory)
{
  struct xnn_nmconv_filter filter = {0};
  size_t num_weights;
  if (!xnn_multiply_sizes(config->nr, num_tiles + num_runs, &num_weights) || num_weights > SIZE_MAX / 32) {
    return filter;
  }
  uintptr_t end = (uintptr_t) memory;
  filter.weights = take(
    &end, config->nr * ((num_tiles << datatype->log2_row_size) + num_runs * xnn_get_nmconv_run_size(config)), 1);
  filter.columns = take(&end, num_runs, sizeof(uint32_t));
  filter.column_starts = take(&end, num_tiles + 1, sizeof(uint32_t));
  filter.size = end - (uintptr_t) memory;
  return filter;
}

// Lists the runs of a tile by their first columns, and all their columns, and returns how many runs there are.
static uint32_t list_runs(
  const struct xnn_nm_layer* layer,
  const uint64_t* kept,
  size_t kr,
  uint32_t* first_columns,
  uint32_t* columns)
{
  uint32_t num_runs = 0;
  const size_t stretch = xnn_get_nm_stretch(layer);
  for (size_t k = 0, size; (size = xnn_find_nm_run(layer, stretch, kept, kr, &k)) != 0; k += size) {
    first_columns[num_runs++] = (uint32_t) k;
    for (size_t i = 0; i < kr; i++) {
      *columns++ = i < size ? (uint32_t) (k + i) : XNN_NM_NO_COLUMN;
    }
  }
  return num_runs;
}

enum xnn_status xnn_pack_nmconv_filter(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  const struct xnn_nmconv_config* config,
  const struct xnn_nmconv_filter* filter)
{
  const size_t nr = config->nr;
  const size_t kr = config->weights.kr;
  // Biases of the next tile are aligned.
  assert(nr * xnn_get_nmconv_run_size(config) % sizeof(uint32_t) == 0);
  struct scratch scratch;
  const enum xnn_status status = allocate_scratch(
    layer, zeros, xnn_get_nm_kernel_size(layer) * round_up(layer->group_input_channels, kr), &scratch);
  if (status != xnn_status_success) {
    return status;
  }
  const size_t channels = layer->group_output_channels;
  uint32_t* column_starts = filter->column_starts;
  void* weights = filter->weights;
  uint32_t num_runs = 0;
  *column_starts++ = 0;
  for (size_t group = 0; group < layer->groups; group++) {
    for (size_t oc = 0; oc < channels; oc += nr) {
      const size_t first_row = group * channels + oc;
      const size_t num_rows = min(nr, channels - oc);
      xnn_find_nm_kept_columns(zeros, first_row, num_rows, scratch.kept);
      const uint32_t tile_runs = list_runs(layer, scratch.kept, kr, filter->columns + num_runs, scratch.columns);
      weights = layer->datatype->pack_rows(
        layer, &config->weights, first_row, num_rows, nr, tile_runs * kr, scratch.columns, /*with_bias=*/true,
        scratch.row, weights);
      num_runs += tile_runs;
      *column_starts++ = num_runs;
    }
  }
  xnn_release_memory(scratch.kept);
  return xnn_status_success;
}

/*** CNHW images ***/

struct xnn_nmspmm_sizes xnn_get_nmspmm_sizes(
  const struct xnn_nm_layer* layer,
  const struct xnn_nmspmm_analysis* analysis,
  size_t part_columns)
{
  // Columns may keep fewer parts than this busy; those that are left are empty.
  const size_t group_parts =
    part_columns == 0 ? 1 : divide_round_up(xnn_get_nm_row_size(layer), part_columns);
  const size_t num_biases = layer->groups * layer->group_output_channels * group_parts;
  return (struct xnn_nmspmm_sizes) {
    .num_parts = layer->groups * group_parts,
    .num_segments = analysis->num_blocks * group_parts,
    .num_columns = analysis->num_columns,
    // What rounds a block's size up is not counted otherwise.
    .weights_size = (analysis->num_packed_weights << analysis->config->weights.log2_size) +
      (num_biases << layer->datatype->log2_row_size) + analysis->num_blocks * group_parts * sizeof(uint32_t),
    .num_packed = analysis->num_packed,
    .num_blocks = analysis->num_blocks,
    .num_weights = analysis->num_weights,
    .dense = analysis->dense && analysis->config->dense_ukernel[0] != NULL,
  };
}

struct xnn_nmspmm_filter xnn_layout_nmspmm_filter(const struct xnn_nmspmm_sizes* sizes, void* memory)
{
  struct xnn_nmspmm_filter filter = {0};
  const double size = (double) sizes->weights_size +
    (double) sizes->num_segments * sizeof(struct xnn_nmspmm_segment) +
    (double) sizes->num_parts * sizeof(struct xnn_nmspmm_part) +
    ((double) sizes->num_columns + (double) sizes->num_packed) * sizeof(uint32_t);
  if (size > (double) (SIZE_MAX / 4)) {
    return filter;
  }
  uintptr_t end = (uintptr_t) memory;
  filter.sizes = take(&end, 1, sizeof(struct xnn_nmspmm_sizes));
  filter.weights = take(&end, sizes->weights_size, 1);
  filter.segments = take(&end, sizes->num_segments, sizeof(struct xnn_nmspmm_segment));
  filter.parts = take(&end, sizes->num_parts, sizeof(struct xnn_nmspmm_part));
  filter.columns = take(&end, sizes->dense ? 0 : sizes->num_columns, sizeof(uint32_t));
  filter.packed = take(&end, sizes->num_packed, sizeof(uint32_t));
  filter.size = end - (uintptr_t) memory;
  return filter;
}

// Where packing a filter has come to.
struct position {
  uint32_t num_segments;
  uint32_t num_columns;
  void* weights;
};

// Packs the columns of a block of rows that are in one part.
static void pack_segment(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  const struct xnn_nmspmm_filter* filter,
  const struct xnn_nmspmm_part* part,
  size_t first_row,
  size_t num_rows,
  const struct scratch* scratch,
  struct position* position)
{
  struct xnn_nmspmm_segment* segment = &filter->segments[position->num_segments++];
  segment->channel = (uint32_t) first_row;
  segment->rows = (uint32_t) num_rows;
  segment->first_column = position->num_columns;
  segment->num_columns = 0;
  segment->first_weight = (uintptr_t) position->weights - (uintptr_t) filter->weights;
  xnn_find_nm_kept_columns(zeros, first_row, num_rows, scratch->kept);
  for (uint32_t j = 0; j < part->num_packed; j++) {
    const uint32_t k = filter->packed[part->first_packed + j];
    if (xnn_is_nm_kept(scratch->kept, k)) {
      if (!filter->sizes->dense) {
        filter->columns[position->num_columns++] = j;
      }
      scratch->columns[segment->num_columns++] = k;
    }
  }
  position->weights = layer->datatype->pack_rows(
    layer, &scratch->format, first_row, num_rows, num_rows, segment->num_columns, scratch->columns, part->is_first, scratch->row,
    position->weights);
}

enum xnn_status xnn_pack_nmspmm_filter(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  const struct xnn_nmspmm_analysis* analysis,
  const struct xnn_nmspmm_sizes* sizes,
  size_t part_columns,
  void* memory)
{
  const struct xnn_nmspmm_filter filter = xnn_layout_nmspmm_filter(sizes, memory);
  *filter.sizes = *sizes;
  struct scratch scratch;
  const enum xnn_status status = allocate_scratch(layer, zeros, xnn_get_nm_row_size(layer), &scratch);
  if (status != xnn_status_success) {
    return status;
  }
  scratch.format = analysis->config->weights;
  const size_t row_size = xnn_get_nm_row_size(layer);
  const size_t channels = layer->group_output_channels;
  const size_t max_columns = part_columns == 0 ? row_size : part_columns;
  const size_t group_parts = sizes->num_parts / layer->groups;
  struct position position = {.weights = filter.weights};
  const uint8_t* block_rows = analysis->block_rows;
  uint32_t num_packed = 0;
  for (size_t group = 0; group < layer->groups; group++) {
    const size_t first_channel = group * channels;
    const uint32_t group_packed = num_packed;
    xnn_find_nm_kept_columns(zeros, first_channel, channels, scratch.kept);
    for (size_t k = 0; k < row_size; k++) {
      if (xnn_is_nm_kept(scratch.kept, k)) {
        filter.packed[num_packed++] = (uint32_t) k;
      }
    }
    size_t num_blocks = 0;
    for (size_t p = 0; p < group_parts; p++) {
      struct xnn_nmspmm_part* part = &filter.parts[group * group_parts + p];
      part->first_segment = position.num_segments;
      part->first_packed = (uint32_t) min(group_packed + p * max_columns, num_packed);
      part->num_packed = (uint32_t) min(part->first_packed + max_columns, num_packed) - part->first_packed;
      part->is_first = p == 0;
      part->is_last = p + 1 == group_parts;
      num_blocks = 0;
      for (size_t row = 0; row < channels; row += block_rows[num_blocks++]) {
        pack_segment(
          layer, zeros, &filter, part, first_channel + row, block_rows[num_blocks], &scratch, &position);
      }
      part->num_segments = position.num_segments - part->first_segment;
    }
    block_rows += num_blocks;
  }
  assert(num_packed == sizes->num_packed);
  xnn_release_memory(scratch.kept);
  return xnn_status_success;
}
