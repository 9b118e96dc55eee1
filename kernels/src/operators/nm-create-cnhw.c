// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// How the N:M operator of CNHW images is created.

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack-nm-operators.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator.h"

// Fewer columns in a part cost more to manage than to pack.
#define MIN_PART_COLUMNS 64

// Columns that are packed at once, or 0 for all.
static size_t get_part_columns(const struct xnn_operator* op)
{
  const size_t column_size = (size_t) op->nm.nmspmm->nr << op->nm.datatype->log2_element_size;
  return op->nm.in_place || !op->nm.datatype->has_partial_sums ? 0 : max(op->nm.costs.strips_size / column_size, MIN_PART_COLUMNS);
}

// What a filter is packed from.
struct source {
  const struct xnn_nm_layer* layer;
  const struct xnn_nm_zeros* zeros;
  const struct xnn_nmspmm_analysis* analysis;
  struct xnn_nmspmm_sizes sizes;
  size_t part_columns;
};

static enum xnn_status pack(const void* context, void* memory)
{
  const struct source* source = context;
  return xnn_pack_nmspmm_filter(
    source->layer, source->zeros, source->analysis, &source->sizes, source->part_columns, memory);
}

static enum xnn_status pack_filter(
  xnn_operator_t op,
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  const struct xnn_nmspmm_analysis* analysis)
{
  const size_t part_columns = get_part_columns(op);
  const struct source source = {
    .layer = layer,
    .zeros = zeros,
    .analysis = analysis,
    .sizes = xnn_get_nmspmm_sizes(layer, analysis, part_columns),
    .part_columns = part_columns,
  };
  const size_t size = xnn_layout_nmspmm_filter(&source.sizes, /*memory=*/NULL).size;
  if (size == 0) {
    xnn_log_error("failed to create %s operator: packed weights overflow memory",
      xnn_operator_type_to_string(op->type));
    return xnn_status_unsupported_parameter;
  }
  // Micro-kernels of different strips pack differently.
  const uint32_t seed = ((uint32_t) analysis->config->nr << 8) ^ analysis->config->mr ^
    ((uint32_t) op->nm.in_place << 31) ^ ((uint32_t) op->type << 20);
  return xnn_pack_nm_weights(op, layer, seed, size, pack, &source);
}

enum xnn_status xnn_create_analyzed_nm_cnhw(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nm_costs* costs,
    const struct xnn_nmspmm_analysis* analysis,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out)
{
  if ((layer->flags & XNN_FLAG_INPUT_BANDS) != 0 && !xnn_can_nm_read_bands(layer)) {
    xnn_log_error(
      "failed to create %s operator with %" PRIu32 "x%" PRIu32 " kernel and %" PRIu32 " groups: only a 1x1 kernel of one "
      "group without padding reads a CNHW image in bands",
      xnn_operator_type_to_string(layer->datatype->cnhw_operator), layer->kernel_width,
      layer->kernel_height, layer->groups);
    return xnn_status_invalid_parameter;
  }
  xnn_operator_t op = xnn_allocate_nm_operator(
    layer, costs, layer->datatype->cnhw_operator, weights_cache);
  if (op == NULL) {
    return xnn_status_out_of_memory;
  }
  op->num_nonzero_values = zeros->num_nonzeroes;
  op->nm.nmspmm = analysis->config;
  op->nm.in_place = analysis->in_place;
  const enum xnn_status status = pack_filter(op, layer, zeros, analysis);
  if (status != xnn_status_success) {
    xnn_delete_operator(op);
    return status;
  }
  *convolution_op_out = op;
  return xnn_status_success;
}

static enum xnn_status create_from_layer(
  const struct xnn_nm_layer* layer,
  xnn_weights_cache_t weights_cache,
  xnn_operator_t* convolution_op_out)
{
  enum xnn_status status = xnn_check_nm_layer(layer, layer->datatype->cnhw_operator);
  if (status != xnn_status_success) {
    return status;
  }
  struct xnn_nm_zeros zeros;
  status = xnn_find_nm_zeros(layer, &zeros);
  if (status != xnn_status_success) {
    return status;
  }
  const struct xnn_nm_costs* costs = layer->datatype->init_costs();
  struct xnn_nmspmm_analysis analysis;
  status = xnn_analyze_nmspmm(layer, &zeros, costs, /*only=*/NULL, &analysis);
  if (status == xnn_status_success) {
    status = xnn_create_analyzed_nm_cnhw(layer, &zeros, costs, &analysis, weights_cache, convolution_op_out);
    xnn_release_nmspmm_analysis(&analysis);
  }
  xnn_release_nm_zeros(&zeros);
  return status;
}

enum xnn_status xnn_create_convolution2d_nm_cnhw_f32(
    uint32_t input_padding_top,
    uint32_t input_padding_right,
    uint32_t input_padding_bottom,
    uint32_t input_padding_left,
    uint32_t kernel_height,
    uint32_t kernel_width,
    uint32_t subsampling_height,
    uint32_t subsampling_width,
    uint32_t dilation_height,
    uint32_t dilation_width,
    uint32_t groups,
    size_t group_input_channels,
    size_t group_output_channels,
    const float* kernel,
    const float* bias,
    float output_min,
    float output_max,
    uint32_t flags,
    xnn_code_cache_t code_cache,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out)
{
  const struct xnn_nm_layer layer = xnn_describe_nm_layer(
    &xnn_nm_f32, input_padding_top, input_padding_right, input_padding_bottom, input_padding_left, kernel_height,
    kernel_width, subsampling_height, subsampling_width, dilation_height, dilation_width, groups, group_input_channels,
    group_output_channels, kernel, bias, output_min, output_max, flags);
  return create_from_layer(&layer, weights_cache, convolution_op_out);
}

enum xnn_status xnn_create_convolution2d_nm_cnhw_f16(
    uint32_t input_padding_top,
    uint32_t input_padding_right,
    uint32_t input_padding_bottom,
    uint32_t input_padding_left,
    uint32_t kernel_height,
    uint32_t kernel_width,
    uint32_t subsampling_height,
    uint32_t subsampling_width,
    uint32_t dilation_height,
    uint32_t dilation_width,
    uint32_t groups,
    size_t group_input_channels,
    size_t group_output_channels,
    const float* kernel,
    const float* bias,
    float output_min,
    float output_max,
    uint32_t flags,
    xnn_code_cache_t code_cache,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out)
{
  const struct xnn_nm_layer layer = xnn_describe_nm_layer(
    &xnn_nm_f16, input_padding_top, input_padding_right, input_padding_bottom, input_padding_left, kernel_height,
    kernel_width, subsampling_height, subsampling_width, dilation_height, dilation_width, groups, group_input_channels,
    group_output_channels, kernel, bias, output_min, output_max, flags);
  return create_from_layer(&layer, weights_cache, convolution_op_out);
}

enum xnn_status xnn_create_convolution2d_nm_cnhw_qs8_qc8w(
    uint32_t input_padding_top,
    uint32_t input_padding_right,
    uint32_t input_padding_bottom,
    uint32_t input_padding_left,
    uint32_t kernel_height,
    uint32_t kernel_width,
    uint32_t subsampling_height,
    uint32_t subsampling_width,
    uint32_t dilation_height,
    uint32_t dilation_width,
    uint32_t groups,
    size_t group_input_channels,
    size_t group_output_channels,
    int8_t input_zero_point,
    float input_scale,
    const float* kernel_scale,
    const int8_t* kernel,
    const int32_t* bias,
    int8_t output_zero_point,
    float output_scale,
    int8_t output_min,
    int8_t output_max,
    uint32_t flags,
    xnn_code_cache_t code_cache,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out)
{
  struct xnn_nm_layer layer = xnn_describe_nm_layer(
    &xnn_nm_qs8_qc8w, input_padding_top, input_padding_right, input_padding_bottom, input_padding_left, kernel_height,
    kernel_width, subsampling_height, subsampling_width, dilation_height, dilation_width, groups, group_input_channels,
    group_output_channels, kernel, bias, output_min, output_max, flags);
  xnn_quantize_nm_layer(&layer, input_zero_point, input_scale, kernel_scale, output_zero_point, output_scale);
  return create_from_layer(&layer, weights_cache, convolution_op_out);
}
