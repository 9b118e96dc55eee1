// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Predicted times of layers, beside those that follow from a filter's zeros alone.

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/operator-utils.h"

enum xnn_status xnn_get_nm_costs(enum xnn_datatype datatype, struct xnn_nm_costs* costs)
{
  const struct xnn_nm_datatype* type = xnn_find_nm_datatype(datatype);
  if (type == NULL) {
    xnn_log_error("failed to get costs of data type %d: N:M operators do not support it", (int) datatype);
    return xnn_status_invalid_parameter;
  }
  *costs = *type->init_costs();
  return xnn_status_success;
}

float xnn_get_dense_percent(const struct xnn_nm_layer* layer, const struct xnn_nm_costs* costs)
{
  return xnn_is_nm_pointwise(layer) ? costs->gemm_percent : costs->igemm_percent;
}

double xnn_predict_nm_weights(const struct xnn_nm_layer* layer, const struct xnn_nm_costs* costs, size_t num_bytes)
{
  const size_t pixels = xnn_get_nm_pixels(layer);
  return pixels == 0 ? 0.0 : costs->weight_byte * (double) num_bytes / (double) pixels;
}

double xnn_predict_dense_weights(const struct xnn_nm_layer* layer, const struct xnn_nm_costs* costs)
{
  const size_t num_weights = layer->groups * layer->group_output_channels * xnn_get_nm_row_size(layer);
  return xnn_predict_nm_weights(layer, costs, num_weights << layer->datatype->log2_element_size);
}

double xnn_count_dense_columns(const struct xnn_nm_layer* layer, const struct xnn_nm_costs* costs)
{
  const struct xnn_gemm_config* config = layer->datatype->init_gemm_config(layer->group_output_channels);
  assert(config != NULL);
  const size_t kr = max((size_t) 1 << (config->log2_kr + config->log2_sr), max((size_t) costs->dense_run, 1));
  return xnn_is_nm_pointwise(layer) ?
    (double) round_up(xnn_get_nm_row_size(layer), kr) :
    (double) xnn_get_nm_kernel_size(layer) * (double) round_up(layer->group_input_channels, kr);
}

double xnn_predict_dense(const struct xnn_nm_layer* layer, const struct xnn_nm_costs* costs)
{
  const struct xnn_gemm_config* config = layer->datatype->init_gemm_config(layer->group_output_channels);
  assert(config != NULL);
  const bool is_gemm = xnn_is_nm_pointwise(layer);
  // GEMM sees the pixels of all images as one axis.
  const size_t pixels = is_gemm ? xnn_get_nm_pixels(layer) : xnn_get_nm_image_pixels(layer);
  size_t mr = config->mr;
  double rounding = 1.0;
  if (pixels != 0) {
    struct gemm_fused_ukernels ukernels = config->minmax;
    mr = is_gemm ? xnn_get_heuristic_mr_gemm(pixels, config->mr, config->nr, ukernels.gemm) :
      xnn_get_heuristic_mr_igemm(pixels, config->mr, config->nr, ukernels.igemm);
    rounding = (double) round_up(pixels, mr) / (double) pixels;
  }
  const double column = (costs->dense_column + costs->dense_weight * (float) (mr * config->nr)) *
    xnn_get_dense_percent(layer, costs) * 0.01f;
  const double tiles = (double) layer->groups * divide_round_up(layer->group_output_channels, config->nr);
  const double columns = xnn_count_dense_columns(layer, costs);
  return xnn_predict_dense_weights(layer, costs) + tiles * rounding *
    ((columns + costs->tile_columns) * column / (double) mr + costs->dense_output * (double) config->nr);
}

double xnn_predict_nhwc_overhead(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_costs* costs,
  const struct xnn_nmconv_analysis* analysis)
{
  const struct xnn_nmconv_config* config = analysis->config;
  const size_t pixels = xnn_get_nm_pixels(layer);
  if (pixels == 0) {
    return 0.0;
  }
  double cost = costs->nhwc_operator;
  const size_t height = (layer->output_height - 1) * layer->stride_height +
    (size_t) (layer->kernel_height - 1) * layer->dilation_height + 1;
  const size_t width = (layer->output_width - 1) * layer->stride_width +
    (size_t) (layer->kernel_width - 1) * layer->dilation_width + 1;
  if (config->log2_image_size != layer->datatype->log2_element_size || xnn_is_nm_padded(layer) || height > layer->input_height || width > layer->input_width) {
    cost += costs->padding + costs->padded_element * (double) layer->batch_size * (double) height * (double) width *
      (double) (layer->groups * layer->group_input_channels);
  }
  const size_t num_weights = config->nr * config->weights.kr * analysis->num_runs;
  return cost / (double) pixels + xnn_predict_nm_weights(layer, costs, num_weights << config->weights.log2_size);
}

double xnn_predict_conversion(size_t elements, size_t log2_element_size, const struct xnn_nm_costs* costs)
{
  const bool is_large = elements > (size_t) costs->large_image_size >> log2_element_size;
  return costs->conversion +
    (double) elements * (is_large ? costs->large_converted_element : costs->converted_element);
}
