// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Element types of N:M layers, and where the zeros of a filter are.

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
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"

static size_t find_f32_nonzeroes(size_t row_size, const void* row, uint64_t* bits)
{
  const float* weights = row;
  size_t num_nonzeroes = 0;
  for (size_t k = 0; k < row_size; k++) {
    const uint64_t nonzero = weights[k] != 0.0f;
    bits[k / 64] |= nonzero << (k % 64);
    num_nonzeroes += nonzero;
  }
  return num_nonzeroes;
}

const struct xnn_nm_datatype xnn_nm_f32 = {
  .datatype = xnn_datatype_fp32,
  .log2_element_size = 2,
  .log2_bias_size = 2,
  .find_nonzeroes = find_f32_nonzeroes,
  .init_nmconv_config = xnn_init_f32_nmconv_config,
  .init_nmspmm_config = xnn_init_f32_nmspmm_config,
};

enum xnn_status xnn_find_nm_zeros(const struct xnn_nm_layer* layer, struct xnn_nm_zeros* zeros)
{
  memset(zeros, 0, sizeof(*zeros));
  // Columns are counted and numbered with 32 bits. Tiles of one row each are the most there can be.
  const size_t kernel_size = xnn_get_nm_kernel_size(layer);
  const size_t row_size = xnn_get_nm_row_size(layer);
  if (layer->group_input_channels > UINT32_MAX / kernel_size ||
      layer->groups > UINT32_MAX / layer->group_output_channels ||
      layer->groups * layer->group_output_channels > UINT32_MAX / row_size) {
    xnn_log_error(
      "failed to examine N:M filter of %zu groups of %zu x %zu x %zu weights: there must be fewer than 2**32",
      (size_t) layer->groups, layer->group_output_channels, kernel_size, layer->group_input_channels);
    return xnn_status_unsupported_parameter;
  }
  const size_t num_rows = layer->groups * layer->group_output_channels;
  const size_t row_words = divide_round_up(row_size, 64);
  const size_t row_bytes = xnn_get_nm_row_bytes(layer);
  size_t size;
  if (!xnn_multiply_sizes(num_rows, row_words * sizeof(uint64_t), &size)) {
    xnn_log_error("failed to find the kept columns of %zu rows of %zu: they overflow memory", num_rows, row_size);
    return xnn_status_out_of_memory;
  }
  void* buffer = xnn_allocate_memory(row_bytes);
  zeros->row_words = row_words;
  zeros->bits = xnn_allocate_zero_memory(size);
  if (buffer == NULL || zeros->bits == NULL) {
    xnn_log_error("failed to allocate %zu bytes to find the kept columns", size);
    xnn_release_memory(buffer);
    xnn_release_nm_zeros(zeros);
    return xnn_status_out_of_memory;
  }
  for (size_t row = 0; row < num_rows; row++) {
    zeros->num_nonzeroes += layer->datatype->find_nonzeroes(
      row_size, xnn_get_nm_row(&layer->filter, row, row_bytes, buffer), zeros->bits + row * row_words);
  }
  xnn_release_memory(buffer);
  return xnn_status_success;
}

void xnn_release_nm_zeros(struct xnn_nm_zeros* zeros)
{
  xnn_release_memory(zeros->bits);
  zeros->bits = NULL;
}

size_t xnn_find_nm_kept_columns(
  const struct xnn_nm_zeros* zeros,
  size_t first_row,
  size_t num_rows,
  uint64_t* kept)
{
  memset(kept, 0, zeros->row_words * sizeof(uint64_t));
  for (size_t row = first_row; row < first_row + num_rows; row++) {
    xnn_add_nm_row(zeros, row, kept);
  }
  return xnn_count_nm_columns(zeros, kept);
}
