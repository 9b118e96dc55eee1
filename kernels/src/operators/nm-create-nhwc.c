// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// How the N:M operator of NHWC images is created.

#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack-nm-operators.h"
#include "xnnpack/cache.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/microkernel-type.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator.h"

struct xnn_nmconv_filter xnn_get_nmconv_filter(const struct xnn_operator* op, void* memory)
{
  return xnn_layout_nmconv_filter(
    op->nm.datatype, op->nm.nmconv, op->num_output_channel_blocks, op->num_nonzero_blocks, memory);
}

// What a filter is packed from.
struct source {
  const struct xnn_operator* op;
  const struct xnn_nm_layer* layer;
  const struct xnn_nm_zeros* zeros;
};

static enum xnn_status pack(const void* context, void* memory)
{
  const struct source* source = context;
  const struct xnn_nmconv_filter filter = xnn_get_nmconv_filter(source->op, memory);
  return xnn_pack_nmconv_filter(source->layer, source->zeros, source->op->nm.nmconv, &filter);
}

static enum xnn_status pack_filter(
  xnn_operator_t op,
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros)
{
  const size_t size = xnn_get_nmconv_filter(op, /*memory=*/NULL).size;
  if (size == 0) {
    xnn_log_error("failed to create %s operator: packed weights overflow memory",
      xnn_operator_type_to_string(op->type));
    return xnn_status_unsupported_parameter;
  }
  const struct source source = {.op = op, .layer = layer, .zeros = zeros};
  // Micro-kernels of different tiles pack differently.
  uint32_t seed = op->nm.nmconv->nr ^ xnn_microkernel_type_nmconv ^ ((uint32_t) op->type << 20);
  if (op->nm.nmconv->weights.kr != 1) {
    // Runs depend on what is together in memory, not on the weights alone.
    const uint32_t stretch = (uint32_t) xnn_get_nm_stretch(layer);
    seed = murmur_hash3(&stretch, sizeof(stretch), seed);
  }
  return xnn_pack_nm_weights(op, layer, seed, size, pack, &source);
}

enum xnn_status xnn_create_analyzed_nm_nhwc(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nm_costs* costs,
    const struct xnn_nmconv_analysis* analysis,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out)
{
  xnn_operator_t op = xnn_allocate_nm_operator(
    layer, costs, layer->datatype->nhwc_operator, weights_cache);
  if (op == NULL) {
    return xnn_status_out_of_memory;
  }
  op->num_nonzero_values = zeros->num_nonzeroes;
  op->num_nonzero_blocks = analysis->num_runs;
  op->num_output_channel_blocks = analysis->num_tiles;
  op->nm.nmconv = analysis->config;
  const enum xnn_status status = pack_filter(op, layer, zeros);
  if (status != xnn_status_success) {
    xnn_delete_operator(op);
    return status;
  }
  *convolution_op_out = op;
  return xnn_status_success;
}

static enum xnn_status create_from_layer(
  const struct xnn_nm_layer* layer,
  size_t tile_height,
  xnn_weights_cache_t weights_cache,
  xnn_operator_t* convolution_op_out)
{
  enum xnn_status status = xnn_check_nm_layer(layer, layer->datatype->nhwc_operator);
  if (status != xnn_status_success) {
    return status;
  }
  struct xnn_nm_zeros zeros;
  status = xnn_find_nm_zeros(layer, &zeros);
  if (status != xnn_status_success) {
    return status;
  }
  const struct xnn_nm_costs* costs = layer->datatype->init_costs();
  struct xnn_nmconv_analysis analysis;
  status = xnn_analyze_nmconv(layer, &zeros, costs, tile_height, /*only=*/NULL, &analysis);
  if (status == xnn_status_success) {
    status = xnn_create_analyzed_nm_nhwc(layer, &zeros, costs, &analysis, weights_cache, convolution_op_out);
  }
  xnn_release_nm_zeros(&zeros);
  return status;
}

enum xnn_status xnn_create_convolution2d_nm_nhwc_f32(
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
    size_t input_channel_stride,
    size_t output_channel_stride,
    size_t tile_height,
    const float* kernel,
    const float* bias,
    float output_min,
    float output_max,
    uint32_t flags,
    xnn_code_cache_t code_cache,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out)
{
  struct xnn_nm_layer layer = xnn_describe_nm_layer(
    &xnn_nm_f32, input_padding_top, input_padding_right, input_padding_bottom, input_padding_left, kernel_height,
    kernel_width, subsampling_height, subsampling_width, dilation_height, dilation_width, groups, group_input_channels,
    group_output_channels, kernel, bias, output_min, output_max, flags);
  layer.input_channel_stride = input_channel_stride;
  layer.output_channel_stride = output_channel_stride;
  return create_from_layer(&layer, tile_height, weights_cache, convolution_op_out);
}

enum xnn_status xnn_create_convolution2d_nm_nhwc_f16(
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
    size_t input_channel_stride,
    size_t output_channel_stride,
    const float* kernel,
    const float* bias,
    float output_min,
    float output_max,
    uint32_t flags,
    xnn_code_cache_t code_cache,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out)
{
  struct xnn_nm_layer layer = xnn_describe_nm_layer(
    &xnn_nm_f16, input_padding_top, input_padding_right, input_padding_bottom, input_padding_left, kernel_height,
    kernel_width, subsampling_height, subsampling_width, dilation_height, dilation_width, groups, group_input_channels,
    group_output_channels, kernel, bias, output_min, output_max, flags);
  layer.input_channel_stride = input_channel_stride;
  layer.output_channel_stride = output_channel_stride;
  return create_from_layer(&layer, /*tile_height=*/0, weights_cache, convolution_op_out);
}

enum xnn_status xnn_create_convolution2d_nm_nhwc_qs8_qc8w(
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
    size_t input_channel_stride,
    size_t output_channel_stride,
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
  layer.input_channel_stride = input_channel_stride;
  layer.output_channel_stride = output_channel_stride;
  return create_from_layer(&layer, /*tile_height=*/0, weights_cache, convolution_op_out);
}
