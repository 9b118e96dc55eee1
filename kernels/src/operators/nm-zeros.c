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
#include "xnnpack/config.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/microparams-init.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-narrow-gemm.h"
#include "xnnpack/nm-pack.h"
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

static void init_f32_params(const struct xnn_nm_layer* layer, float output_min, float output_max, void* params)
{
  xnn_init_f32_minmax_scalar_params(params, output_min, output_max);
}

static void store_f32(void* packed, size_t i, float value)
{
  ((float*) packed)[i] = value;
}

const struct xnn_nm_datatype xnn_nm_f32 = {
  .datatype = xnn_datatype_fp32,
  .filter_datatype = xnn_datatype_fp32,
  .bias_datatype = xnn_datatype_fp32,
  .nhwc_operator = xnn_operator_type_convolution_nm_nhwc_f32,
  .cnhw_operator = xnn_operator_type_convolution_nm_cnhw_f32,
  .log2_element_size = 2,
  .log2_filter_size = 2,
  .log2_row_size = 2,
  .has_partial_sums = true,
  .find_nonzeroes = find_f32_nonzeroes,
  .init_params = init_f32_params,
  .pack_rows = xnn_pack_nm_float_rows,
  .store = store_f32,
  .init_nmconv_config = xnn_init_f32_nmconv_config,
  .init_nmspmm_config = xnn_init_f32_nmspmm_config,
  .init_costs = xnn_init_nm_costs,
  .init_gemm_config = xnn_get_f32_convolution_gemm_config,
};

static void init_f16_params(const struct xnn_nm_layer* layer, float output_min, float output_max, void* params)
{
  xnn_init_f16_minmax_scalar_params(params, xnn_float16_from_float(output_min), xnn_float16_from_float(output_max));
}

static const struct xnn_gemm_config* init_f16_gemm_config(size_t group_output_channels)
{
  return xnn_init_f16_gemm_config();
}

static void store_f16(void* packed, size_t i, float value)
{
  ((xnn_float16*) packed)[i] = xnn_float16_from_float(value);
}

const struct xnn_nm_datatype xnn_nm_f16 = {
  .datatype = xnn_datatype_fp16,
  .filter_datatype = xnn_datatype_fp32,
  .bias_datatype = xnn_datatype_fp32,
  .nhwc_operator = xnn_operator_type_convolution_nm_nhwc_f16,
  .cnhw_operator = xnn_operator_type_convolution_nm_cnhw_f16,
  .log2_element_size = 1,
  .log2_filter_size = 2,
  .log2_row_size = 1,
  .has_partial_sums = true,
  .find_nonzeroes = find_f32_nonzeroes,
  .init_params = init_f16_params,
  .pack_rows = xnn_pack_nm_float_rows,
  .store = store_f16,
  .init_nmconv_config = xnn_init_f16_nmconv_config,
  .init_nmspmm_config = xnn_init_f16_nmspmm_config,
  .init_costs = xnn_init_f16_nm_costs,
  .init_gemm_config = init_f16_gemm_config,
};

static size_t find_s8_nonzeroes(size_t row_size, const void* row, uint64_t* bits)
{
  const int8_t* weights = row;
  size_t num_nonzeroes = 0;
  for (size_t k = 0; k < row_size; k++) {
    const uint64_t nonzero = weights[k] != 0;
    bits[k / 64] |= nonzero << (k % 64);
    num_nonzeroes += nonzero;
  }
  return num_nonzeroes;
}

static void init_qs8_qc8w_params(const struct xnn_nm_layer* layer, float output_min, float output_max, void* params)
{
  // All micro-kernels take the scalar ones.
  xnn_init_qs8_qc8w_conv_minmax_fp32_scalar_params(
    params, layer->output_zero_point, (int8_t) math_max_f32(output_min, INT8_MIN),
    (int8_t) math_min_f32(output_max, INT8_MAX));
}

static const struct xnn_gemm_config* init_qs8_qc8w_gemm_config(size_t group_output_channels)
{
  return xnn_init_qs8_qc8w_gemm_config();
}

const struct xnn_nm_datatype xnn_nm_qs8_qc8w = {
  .datatype = xnn_datatype_qint8,
  .filter_datatype = xnn_datatype_qcint8,
  .bias_datatype = xnn_datatype_qcint32,
  .nhwc_operator = xnn_operator_type_convolution_nm_nhwc_qs8_qc8w,
  .cnhw_operator = xnn_operator_type_convolution_nm_cnhw_qs8_qc8w,
  .log2_element_size = 0,
  .log2_filter_size = 0,
  .log2_row_size = 3,
  .has_partial_sums = false,
  .find_nonzeroes = find_s8_nonzeroes,
  .init_params = init_qs8_qc8w_params,
  .pack_rows = xnn_pack_nm_quantized_rows,
  .init_nmconv_config = xnn_init_qs8_qc8w_nmconv_config,
  .init_nmspmm_config = xnn_init_qs8_qc8w_nmspmm_config,
  .init_costs = xnn_init_qs8_nm_costs,
  .init_gemm_config = init_qs8_qc8w_gemm_config,
};

const struct xnn_nm_datatype* xnn_find_nm_datatype(enum xnn_datatype datatype)
{
  static const struct xnn_nm_datatype* const datatypes[] = {&xnn_nm_f32, &xnn_nm_f16, &xnn_nm_qs8_qc8w};
  for (size_t i = 0; i < sizeof(datatypes) / sizeof(datatypes[0]); i++) {
    if (datatypes[i]->datatype == datatype) {
      return datatypes[i];
    }
  }
  return NULL;
}

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
