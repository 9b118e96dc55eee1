// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Which ways there are to run a layer, and running it.

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/nm-space.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator.h"
#include "pthreadpool.h"

static size_t list_nhwc(const struct xnn_nm_layer* layer, struct xnn_nm_candidate* candidates)
{
  const struct xnn_nmconv_config* configs = layer->datatype->init_nmconv_config();
  size_t count = 0;
  for (uint32_t i = 0; configs != NULL && i < XNN_MAX_NMCONV_KERNELS && configs[i].ukernel != NULL; i++) {
    candidates[count++] = (struct xnn_nm_candidate) {.kind = xnn_nm_candidate_nhwc, .kernel = i};
  }
  return count;
}

static size_t list_cnhw(const struct xnn_nm_layer* layer, struct xnn_nm_candidate* candidates)
{
  const struct xnn_nmspmm_config* configs = layer->datatype->init_nmspmm_config();
  size_t count = 0;
  for (uint32_t i = 0; configs != NULL && i < XNN_MAX_NMSPMM_KERNELS && configs[i].mr != 0; i++) {
    // Higher blocks than the filter has rows are the same as those of all its rows.
    const uint32_t most_rows = (uint32_t) min(configs[i].mr, layer->group_output_channels);
    for (uint32_t rows = 1; rows <= most_rows; rows++) {
      if (configs[i].ukernel[rows - 1] != NULL) {
        candidates[count++] =
          (struct xnn_nm_candidate) {.kind = xnn_nm_candidate_cnhw, .kernel = i, .max_rows = rows};
      }
    }
  }
  return count;
}

size_t xnn_list_nm_candidates(
  const struct xnn_nm_layer* layer,
  struct xnn_nm_candidate candidates[XNN_MAX_NM_CANDIDATES])
{
  size_t count = 0;
  candidates[count++] = (struct xnn_nm_candidate) {.kind = xnn_nm_candidate_dense};
  count += list_nhwc(layer, candidates + count);
  count += list_cnhw(layer, candidates + count);
  return count;
}

void xnn_name_nm_candidate(
  const struct xnn_nm_datatype* datatype,
  const struct xnn_nm_candidate* candidate,
  char name[XNN_NM_CANDIDATE_NAME_SIZE])
{
  switch (candidate->kind) {
    case xnn_nm_candidate_dense:
      snprintf(name, XNN_NM_CANDIDATE_NAME_SIZE, "dense");
      return;
    case xnn_nm_candidate_nhwc: {
      const struct xnn_nmconv_config* config = &datatype->init_nmconv_config()[candidate->kernel];
      snprintf(name, XNN_NM_CANDIDATE_NAME_SIZE, "nhwc-%" PRIu8 "x%" PRIu16, config->mr, config->nr);
      return;
    }
    case xnn_nm_candidate_cnhw:
      snprintf(
        name, XNN_NM_CANDIDATE_NAME_SIZE, "cnhw-%" PRIu32 "x%" PRIu16, candidate->max_rows,
        datatype->init_nmspmm_config()[candidate->kernel].nr);
      return;
  }
}

enum xnn_status xnn_predict_nm_candidate(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  const struct xnn_nm_candidate* candidate,
  float* cost)
{
  const struct xnn_nm_costs* costs = layer->datatype->init_costs();
  switch (candidate->kind) {
    case xnn_nm_candidate_dense:
      *cost = (float) xnn_predict_dense(layer, costs);
      return xnn_status_success;
    case xnn_nm_candidate_nhwc: {
      struct xnn_nmconv_analysis analysis;
      const enum xnn_status status =
        xnn_analyze_nmconv(layer, zeros, costs, /*tile_height=*/0, candidate, &analysis);
      if (status == xnn_status_success) {
        *cost = analysis.cost + (float) xnn_predict_nhwc_overhead(layer, costs, &analysis);
      }
      return status;
    }
    case xnn_nm_candidate_cnhw: {
      struct xnn_nmspmm_analysis analysis;
      const enum xnn_status status = xnn_analyze_nmspmm(layer, zeros, costs, candidate, &analysis);
      *cost = analysis.cost;
      xnn_release_nmspmm_analysis(&analysis);
      return status;
    }
  }
  return xnn_status_invalid_parameter;
}

/*** Operators ***/

// XNNPACK has functions for each type.
static enum xnn_status create_dense(const struct xnn_nm_layer* layer, xnn_operator_t* convolution_op_out)
{
  switch (layer->datatype->datatype) {
    case xnn_datatype_fp32:
      return xnn_create_convolution2d_nhwc_f32(
        layer->padding_top, layer->padding_right, layer->padding_bottom, layer->padding_left, layer->kernel_height,
        layer->kernel_width, layer->stride_height, layer->stride_width, layer->dilation_height, layer->dilation_width,
        layer->groups, layer->group_input_channels, layer->group_output_channels, layer->input_channel_stride,
        layer->output_channel_stride, layer->filter.data, layer->bias, layer->output_min, layer->output_max,
        layer->flags, /*code_cache=*/NULL, /*weights_cache=*/NULL, convolution_op_out);
    case xnn_datatype_fp16:
      return xnn_create_convolution2d_nhwc_f16(
        layer->padding_top, layer->padding_right, layer->padding_bottom, layer->padding_left, layer->kernel_height,
        layer->kernel_width, layer->stride_height, layer->stride_width, layer->dilation_height, layer->dilation_width,
        layer->groups, layer->group_input_channels, layer->group_output_channels, layer->input_channel_stride,
        layer->output_channel_stride, layer->filter.data, layer->bias, layer->output_min, layer->output_max,
        layer->flags | XNN_FLAG_FP32_STATIC_WEIGHTS, /*code_cache=*/NULL, /*weights_cache=*/NULL, convolution_op_out);
    case xnn_datatype_qint8:
      return xnn_create_convolution2d_nhwc_qs8_qc8w(
        layer->padding_top, layer->padding_right, layer->padding_bottom, layer->padding_left, layer->kernel_height,
        layer->kernel_width, layer->stride_height, layer->stride_width, layer->dilation_height, layer->dilation_width,
        layer->groups, layer->group_input_channels, layer->group_output_channels, layer->input_channel_stride,
        layer->output_channel_stride, layer->input_zero_point, layer->input_scale, layer->filter_scale,
        layer->filter.data, layer->bias, layer->output_zero_point, layer->output_scale, (int8_t) layer->output_min,
        (int8_t) layer->output_max, layer->flags, /*code_cache=*/NULL, /*weights_cache=*/NULL, convolution_op_out);
    default:
      return xnn_status_unsupported_parameter;
  }
}

enum xnn_status xnn_create_nm_candidate(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  const struct xnn_nm_candidate* candidate,
  xnn_operator_t* convolution_op_out)
{
  const struct xnn_nm_costs* costs = layer->datatype->init_costs();
  enum xnn_status status = xnn_status_invalid_parameter;
  switch (candidate->kind) {
    case xnn_nm_candidate_dense:
      return create_dense(layer, convolution_op_out);
    case xnn_nm_candidate_nhwc: {
      struct xnn_nmconv_analysis analysis;
      status = xnn_analyze_nmconv(layer, zeros, costs, /*tile_height=*/0, candidate, &analysis);
      if (status == xnn_status_success) {
        status = xnn_create_analyzed_nm_nhwc(
          layer, zeros, costs, &analysis, /*weights_cache=*/NULL, convolution_op_out);
      }
      return status;
    }
    case xnn_nm_candidate_cnhw: {
      struct xnn_nmspmm_analysis analysis;
      status = xnn_analyze_nmspmm(layer, zeros, costs, candidate, &analysis);
      if (status == xnn_status_success) {
        status = xnn_create_analyzed_nm_cnhw(
          layer, zeros, costs, &analysis, /*weights_cache=*/NULL, convolution_op_out);
        xnn_release_nmspmm_analysis(&analysis);
      }
      return status;
    }
  }
  return status;
}

enum xnn_status xnn_reshape_nm_candidate(
  const struct xnn_nm_layer* layer,
  xnn_operator_t convolution_op,
  size_t* workspace_size,
  size_t* workspace_alignment,
  pthreadpool_t threadpool)
{
  size_t height, width;
  const enum xnn_operator_type type = convolution_op->type;
  if (type == layer->datatype->cnhw_operator) {
    return xnn_reshape_nm_cnhw(
      convolution_op, type, layer->batch_size, layer->input_height, layer->input_width, workspace_size,
      workspace_alignment, &height, &width, threadpool);
  }
  if (type == layer->datatype->nhwc_operator) {
    return xnn_reshape_nm_nhwc(
      convolution_op, type, layer->batch_size, layer->input_height, layer->input_width, workspace_size,
      workspace_alignment, &height, &width, threadpool);
  }
  return (type == xnn_operator_type_convolution_nhwc_qc8 ? xnn_reshape_convolution2d_nhwc_qs8_qc8w :
          type == xnn_operator_type_convolution_nhwc_f16 ? xnn_reshape_convolution2d_nhwc_f16 :
          xnn_reshape_convolution2d_nhwc_f32)(
    convolution_op, layer->batch_size, layer->input_height, layer->input_width, workspace_size, workspace_alignment,
    &height, &width, threadpool);
}

enum xnn_status xnn_setup_nm_candidate(
  const struct xnn_nm_layer* layer,
  xnn_operator_t convolution_op,
  void* workspace,
  const void* input,
  void* output)
{
  const enum xnn_operator_type type = convolution_op->type;
  if (type == layer->datatype->cnhw_operator) {
    return xnn_setup_nm_cnhw(convolution_op, type, workspace, input, /*residual=*/NULL, output);
  }
  if (type == layer->datatype->nhwc_operator) {
    return xnn_setup_nm_nhwc(convolution_op, type, workspace, input, /*residual=*/NULL, output);
  }
  switch (type) {
    case xnn_operator_type_convolution_nhwc_qc8:
      return xnn_setup_convolution2d_nhwc_qs8_qc8w(convolution_op, workspace, input, output);
    case xnn_operator_type_convolution_nhwc_f16:
      return xnn_setup_convolution2d_nhwc_f16(convolution_op, workspace, input, output);
    default:
      return xnn_setup_convolution2d_nhwc_f32(convolution_op, workspace, input, output);
  }
}
