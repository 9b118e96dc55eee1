// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Operators for CNHW images that are not convolutions.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/microparams.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/packim2col.h"

#include "pthreadpool.h"

#ifdef __cplusplus
extern "C" {
#endif

struct xnn_cnhw_pooling_config {
  // Brings the first tap, then reduces it with the others.
  xnn_packim2col_ukernel_fn copy;
  xnn_packim2col_ukernel_fn max;
  xnn_packim2col_ukernel_fn add;
  // Pixels of a strip.
  uint16_t nr;
};

// For this hardware.
XNN_INTERNAL const struct xnn_cnhw_pooling_config* xnn_init_f32_cnhw_pooling_config();
XNN_INTERNAL const struct xnn_cnhw_pooling_config* xnn_init_f16_cnhw_pooling_config();
XNN_INTERNAL const struct xnn_cnhw_pooling_config* xnn_init_s8_cnhw_pooling_config();

// The arguments of a pooling operator.
struct xnn_pooling2d {
  uint32_t padding_top;
  uint32_t padding_right;
  uint32_t padding_bottom;
  uint32_t padding_left;
  uint32_t pooling_height;
  uint32_t pooling_width;
  uint32_t stride_height;
  uint32_t stride_width;
  uint32_t dilation_height;
  uint32_t dilation_width;
  float output_min;
  float output_max;
  uint32_t flags;
};

// Creates a pooling operator of one of the types xnn_operator_type_max_pooling_cnhw_* (the range of s8 is one of elements)
// and xnn_operator_type_average_pooling_cnhw_*.
// Padding is never the maximum, and does not count for averages.
XNN_INTERNAL enum xnn_status xnn_create_pooling2d_cnhw(
    const struct xnn_pooling2d* pooling,
    enum xnn_operator_type type,
    xnn_operator_t* pooling_op_out);

XNN_INTERNAL enum xnn_status xnn_reshape_pooling2d_cnhw(
    xnn_operator_t pooling_op,
    size_t batch_size,
    size_t input_height,
    size_t input_width,
    size_t channels,
    size_t* output_height_out,
    size_t* output_width_out,
    pthreadpool_t threadpool);

XNN_INTERNAL enum xnn_status xnn_setup_pooling2d_cnhw(
    xnn_operator_t pooling_op,
    const void* input,
    void* output);

struct cnhw_pooling_context;

// Makes averages of sums in the output, and clamps, from its first pixel on in that many channels.
typedef void (*cnhw_pooling_finish_fn)(
    const struct cnhw_pooling_context* context,
    void* output,
    size_t first_pixel,
    size_t num_pixels,
    size_t num_channels);

struct cnhw_pooling_context {
  const void* input;
  void* output;
  size_t input_channel_stride;
  size_t output_channel_stride;
  struct xnn_im2col_strip pixels;
  const uint32_t* strip_strides;
  // Distances of task_channels channels, and those of the taps.
  const int32_t* channels;
  const struct xnn_im2col_tap* taps;
  size_t num_taps;
  // Factor of each pixel's sum; NULL for maxima.
  const float* scale;
  uint32_t input_height;
  uint32_t input_width;
  size_t num_pixels;
  size_t nr;
  size_t log2_element_size;
  uint32_t padding;
  xnn_packim2col_ukernel_fn copy;
  xnn_packim2col_ukernel_fn reduce;
  cnhw_pooling_finish_fn finish;
  float output_min;
  float output_max;
};

XNN_INTERNAL void xnn_compute_cnhw_pooling(
    const struct cnhw_pooling_context* context,
    size_t strip,
    size_t channel_start,
    size_t num_channels);

#ifdef __cplusplus
}  // extern "C"
#endif
