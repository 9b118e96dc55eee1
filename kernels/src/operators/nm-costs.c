// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Predicted times of convolutions, beside those that follow from a filter's zeros alone.

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/math.h"
#include "xnnpack/narrow-gemm.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/operator-utils.h"

static bool has_padding(const struct xnn_nm_convolution2d* conv)
{
  return (conv->padding_top | conv->padding_right | conv->padding_bottom | conv->padding_left) != 0;
}

bool xnn_uses_dense_gemm(const struct xnn_nm_convolution2d* conv)
{
  return conv->kernel_height == 1 && conv->kernel_width == 1 && conv->stride_height == 1 && conv->stride_width == 1 &&
    !has_padding(conv);
}

// Output pixels of one image, 0 if not known.
static size_t count_image_pixels(const struct xnn_nm_convolution2d* conv)
{
  return conv->output_height * conv->output_width;
}

double xnn_predict_dense_convolution(const struct xnn_nm_convolution2d* conv)
{
  const struct xnn_nm_costs* costs = xnn_init_nm_costs();
  const struct xnn_gemm_config* config = xnn_get_f32_convolution_gemm_config(conv->group_output_channels);
  assert(config != NULL);
  const bool is_gemm = xnn_uses_dense_gemm(conv);
  // GEMM sees the pixels of all images as one axis.
  const size_t pixels = count_image_pixels(conv) * (is_gemm ? conv->batch_size : 1);
  size_t mr = config->mr;
  double rounding = 1.0;
  if (pixels != 0) {
    struct gemm_fused_ukernels ukernels = config->minmax;
    mr = is_gemm ? xnn_get_heuristic_mr_gemm(pixels, config->mr, config->nr, ukernels.gemm) :
      xnn_get_heuristic_mr_igemm(pixels, config->mr, config->nr, ukernels.igemm);
    rounding = (double) round_up(pixels, mr) / (double) pixels;
  }
  const struct xnn_nmconv_config* nm_config = xnn_init_f32_nmconv_config();
  const double column = (costs->dense_column + costs->dense_weight * (float) (mr * config->nr)) *
    (float) (is_gemm ? nm_config->gemm_cost : nm_config->igemm_cost) * 0.01f;
  const double row_size = (double) conv->kernel_height * conv->kernel_width * conv->group_input_channels;
  const double tiles = (double) conv->groups * divide_round_up(conv->group_output_channels, config->nr);
  return tiles * (row_size + XNN_NM_TILE_OVERHEAD) * column * rounding / (double) mr;
}

double xnn_predict_nhwc_overhead(const struct xnn_nm_convolution2d* conv)
{
  const struct xnn_nm_costs* costs = xnn_init_nm_costs();
  const size_t pixels = conv->batch_size * count_image_pixels(conv);
  if (pixels == 0) {
    return 0.0;
  }
  double cost = costs->nhwc_operator;
  const size_t height = (conv->output_height - 1) * conv->stride_height +
    (size_t) (conv->kernel_height - 1) * conv->dilation_height + 1;
  const size_t width = (conv->output_width - 1) * conv->stride_width +
    (size_t) (conv->kernel_width - 1) * conv->dilation_width + 1;
  if (has_padding(conv) || height > conv->input_height || width > conv->input_width) {
    cost += costs->padding + costs->padded_element * (double) conv->batch_size * (double) height * (double) width *
      (double) (conv->groups * conv->group_input_channels);
  }
  return cost / (double) pixels;
}

double xnn_predict_conversion(size_t elements)
{
  const struct xnn_nm_costs* costs = xnn_init_nm_costs();
  const bool is_large = elements > XNN_NM_LARGE_IMAGE_SIZE / sizeof(float);
  return costs->conversion +
    (double) elements * (is_large ? costs->large_converted_element : costs->converted_element);
}
