// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The N:M operators, for users who build no subgraph.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "pthreadpool.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Create a Convolution operator for a column-wise N:M sparse filter.
///
/// The arguments are those of @ref xnn_create_convolution2d_nhwc_f32, the filter is dense. The operator cuts its rows
/// into tiles of consecutive output channels and computes only with the columns that hold a non-zero in a tile. The
/// result is that of the dense operator for every filter, as long as the input is finite.
///
/// @param tile_height - number of output channels that share their columns, if known: the micro-kernel is chosen among
///                      those whose tile divides it. 0 to choose among all.
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
  xnn_operator_t* convolution_op_out);

enum xnn_status xnn_reshape_convolution2d_nm_nhwc_f32(
  xnn_operator_t convolution_op,
  size_t batch_size,
  size_t input_height,
  size_t input_width,
  size_t* workspace_size,
  size_t* workspace_alignment,
  size_t* output_height_out,
  size_t* output_width_out,
  pthreadpool_t threadpool);

/// @param residual - an image of the output's shape and channel stride that is added before clamping, or NULL. It must
///                   not be the output.
enum xnn_status xnn_setup_convolution2d_nm_nhwc_f32(
  xnn_operator_t convolution_op,
  void* workspace,
  const float* input,
  const float* residual,
  float* output);

/// Create a Convolution operator for a column-wise N:M sparse filter and images of half precision.
///
/// The arguments are those of @ref xnn_create_convolution2d_nm_nhwc_f32, without tile_height: filter and bias are in single
/// precision, and rounded when they are packed.
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
  xnn_operator_t* convolution_op_out);

enum xnn_status xnn_reshape_convolution2d_nm_nhwc_f16(
  xnn_operator_t convolution_op,
  size_t batch_size,
  size_t input_height,
  size_t input_width,
  size_t* workspace_size,
  size_t* workspace_alignment,
  size_t* output_height_out,
  size_t* output_width_out,
  pthreadpool_t threadpool);

/// @param input - XNN_EXTRA_BYTES beyond its end can be read, too.
/// @param residual - an image of the output's shape and channel stride that is added before clamping, or NULL. It must
///                   not be the output.
enum xnn_status xnn_setup_convolution2d_nm_nhwc_f16(
  xnn_operator_t convolution_op,
  void* workspace,
  const void* input,
  const void* residual,
  void* output);

/// Create a Convolution operator for a column-wise N:M sparse quantized filter.
///
/// The arguments are those of @ref xnn_create_convolution2d_nhwc_qs8_qc8w, the filter is dense. Columns are kept by runs of up
/// to 4 input channels, as many as micro-kernels multiply together: filters that are pruned in blocks of 4 columns lose
/// nothing by it. The result is that of the dense operator, bit for bit, as long as sums fit 32 bits.
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
  xnn_operator_t* convolution_op_out);

enum xnn_status xnn_reshape_convolution2d_nm_nhwc_qs8_qc8w(
  xnn_operator_t convolution_op,
  size_t batch_size,
  size_t input_height,
  size_t input_width,
  size_t* workspace_size,
  size_t* workspace_alignment,
  size_t* output_height_out,
  size_t* output_width_out,
  pthreadpool_t threadpool);

/// @param input - XNN_EXTRA_BYTES beyond its end can be read, too.
enum xnn_status xnn_setup_convolution2d_nm_nhwc_qs8_qc8w(
  xnn_operator_t convolution_op,
  void* workspace,
  const int8_t* input,
  int8_t* output);

/// Create a Convolution operator for a column-wise N:M sparse filter and images in CNHW layout.
///
/// The arguments are those of @ref xnn_create_convolution2d_nhwc_f32 but for the channel strides: each channel is a plane
/// of all images of the batch. The filter is dense. The operator cuts its rows into blocks of consecutive output channels
/// so that computing only with the columns that hold a non-zero in a block costs least. The result is that of the dense
/// operator for every filter, as long as the input is finite.
///
/// @param flags - XNN_FLAG_TENSORFLOW_SAME_PADDING, and XNN_FLAG_INPUT_NHWC if the input is in NHWC layout.
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
  xnn_operator_t* convolution_op_out);

enum xnn_status xnn_reshape_convolution2d_nm_cnhw_f32(
  xnn_operator_t convolution_op,
  size_t batch_size,
  size_t input_height,
  size_t input_width,
  size_t* workspace_size,
  size_t* workspace_alignment,
  size_t* output_height_out,
  size_t* output_width_out,
  pthreadpool_t threadpool);

/// @param residual - an image of the output's shape and layout that is added before clamping, or NULL. May be output.
enum xnn_status xnn_setup_convolution2d_nm_cnhw_f32(
  xnn_operator_t convolution_op,
  void* workspace,
  const float* input,
  const float* residual,
  float* output);

/// Create a Convolution operator for a column-wise N:M sparse filter and images of half precision in CNHW layout.
///
/// The arguments are those of @ref xnn_create_convolution2d_nm_cnhw_f32: filter and bias are in single precision, and
/// rounded when they are packed.
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
  xnn_operator_t* convolution_op_out);

enum xnn_status xnn_reshape_convolution2d_nm_cnhw_f16(
  xnn_operator_t convolution_op,
  size_t batch_size,
  size_t input_height,
  size_t input_width,
  size_t* workspace_size,
  size_t* workspace_alignment,
  size_t* output_height_out,
  size_t* output_width_out,
  pthreadpool_t threadpool);

/// @param residual - an image of the output's shape and layout that is added before clamping, or NULL. May be output.
enum xnn_status xnn_setup_convolution2d_nm_cnhw_f16(
  xnn_operator_t convolution_op,
  void* workspace,
  const void* input,
  const void* residual,
  void* output);

/// Create a Convolution operator for a column-wise N:M sparse quantized filter and images in CNHW layout.
///
/// The arguments are those of @ref xnn_create_convolution2d_nhwc_qs8_qc8w but for the channel strides, and the result is
/// that operator's bit for bit.
///
/// @param flags - XNN_FLAG_TENSORFLOW_SAME_PADDING, and XNN_FLAG_INPUT_NHWC if the input is in NHWC layout.
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
  xnn_operator_t* convolution_op_out);

enum xnn_status xnn_reshape_convolution2d_nm_cnhw_qs8_qc8w(
  xnn_operator_t convolution_op,
  size_t batch_size,
  size_t input_height,
  size_t input_width,
  size_t* workspace_size,
  size_t* workspace_alignment,
  size_t* output_height_out,
  size_t* output_width_out,
  pthreadpool_t threadpool);

/// @param input - XNN_EXTRA_BYTES beyond it may be read.
enum xnn_status xnn_setup_convolution2d_nm_cnhw_qs8_qc8w(
  xnn_operator_t convolution_op,
  void* workspace,
  const int8_t* input,
  int8_t* output);

#ifdef __cplusplus
}  // extern "C"
#endif
