// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Direct convolution with column-wise N:M sparse filters.
//
// The filter is a matrix W[output channels][K], K = kernel height * kernel width
// * input channels. Its rows are cut into tiles of consecutive output channels;
// a column of a tile is kept when any row of the tile holds a non-zero there.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/microparams.h"
#include "xnnpack/operator-type.h"

#include <fxdiv.h>

#ifdef __cplusplus
extern "C" {
#endif

// Upper bound on the pixels that any micro-kernel computes at once.
#define XNN_MAX_NMCONV_MR 16
// Upper bound on the micro-kernels that a configuration offers.
#define XNN_MAX_F32_NMCONV_UKERNELS 4

// Computes nc output channels of mr pixels.
//
// a              mr pointers, one a pixel: its input at tap (0, 0), channel 0.
// offsets        distance in bytes from there to each kept column, tile after tile.
// column_starts  index of the first kept column of each tile, and one past the last.
// w              per tile: nr biases, then nr weights for each kept column.
// cm_stride      distance in bytes between output pixels.
// residual_distance  distance in bytes from each output to what is added to it before clamping, or 0 to add nothing.
typedef void (*xnn_f32_nmconv_minmax_ukernel_fn)(
    size_t mr,
    size_t nc,
    const float* const* a,
    const int32_t* offsets,
    const uint32_t* column_starts,
    const float* w,
    float* c,
    size_t cm_stride,
    intptr_t residual_distance,
    const union xnn_f32_minmax_params params[XNN_MIN_ELEMENTS(1)]);

#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale) \
    XNN_INTERNAL void ukernel(                             \
        size_t mr_,                                        \
        size_t nc,                                         \
        const float* const* a,                             \
        const int32_t* offsets,                            \
        const uint32_t* column_starts,                     \
        const float* w,                                    \
        float* c,                                          \
        size_t cm_stride,                                  \
        intptr_t residual_distance,                        \
        const union xnn_f32_minmax_params params[XNN_MIN_ELEMENTS(1)]);
#include "f32-nmconv/f32-nmconv-minmax.h"
#undef XNN_UKERNEL

struct xnn_nmconv_config {
  xnn_f32_nmconv_minmax_ukernel_fn ukernel;
  size_t (*init)(union xnn_f32_minmax_params params[XNN_MIN_ELEMENTS(1)], float output_min, float output_max);
  // Pixels at once.
  uint8_t mr;
  // Output channels of a tile: 8 registers of 1024 bits hold 256, so not a byte.
  uint16_t nr;
  // Time for one weight of a kept column, in percent of what costs count: one weight of a dense convolution.
  uint16_t relative_cost;
  // The same for the dense operator, where it uses the GEMM and the IGEMM micro-kernel. Of the first entry.
  uint16_t gemm_cost;
  uint16_t igemm_cost;
};

// Where the weights of a GOKI (group, output channel, tap, input channel) filter come from, a row an output channel.
struct xnn_filter_rows {
  // All rows; or NULL, then read makes one after the other.
  const float* data;
  xnn_read_row_fn read;
  const void* context;
};

// Weights of an output channel: where they are, or made in the buffer.
XNN_INLINE static const float* xnn_get_filter_row(
    const struct xnn_filter_rows* rows,
    size_t row,
    size_t row_size,
    float* buffer)
{
  if (rows->data != NULL) {
    return rows->data + row * row_size;
  }
  rows->read(rows->context, row, buffer);
  return buffer;
}

// What tells this filter from others in a weights cache.
XNN_INLINE static const void* xnn_get_filter_key(const struct xnn_filter_rows* rows)
{
  return rows->data != NULL ? (const void*) rows->data : rows->context;
}

// The micro-kernels for this hardware, XNN_MAX_F32_NMCONV_UKERNELS entries; those without a ukernel are unused.
XNN_INTERNAL const struct xnn_nmconv_config* xnn_init_f32_nmconv_config();

struct xnn_shape;

// What is known of a filter after looking for its kept columns.
struct xnn_nmconv_analysis {
  // The best micro-kernel for it.
  const struct xnn_nmconv_config* config;
  // Tiles in all groups.
  size_t num_tiles;
  // Kept columns, summed over all tiles.
  size_t num_columns;
  // Non-zero weights.
  size_t num_nonzeroes;
  // Time of the micro-kernel for one pixel, in weights of the dense one.
  float cost;
};

// Finds the micro-kernel that runs a filter fastest.
//
// pixels of one output image, or 0 if they are not known: blocks that they do not fill cost the more.
// tile_height limits the choice to micro-kernels whose tile divides it, if there is any such; 0 allows all.
// Returns xnn_status_unsupported_hardware without any micro-kernel, and xnn_status_unsupported_parameter
// when columns can't be indexed with 32 bits.
XNN_INTERNAL enum xnn_status xnn_analyze_f32_nmconv_w(
  size_t groups,
  size_t group_output_channels,
  size_t kernel_size,
  size_t group_input_channels,
  size_t pixels,
  size_t tile_height,
  const struct xnn_filter_rows* filter,
  struct xnn_nmconv_analysis* analysis);

// Packs what xnn_analyze_f32_nmconv_w found.
//
// columns        num_columns indices into K, ascending in each tile.
// column_starts  num_tiles + 1 indices into columns.
// packed_w       nr * (num_tiles + num_columns) floats.
XNN_INTERNAL enum xnn_status xnn_pack_f32_nmconv_w(
  size_t groups,
  size_t group_output_channels,
  size_t kernel_size,
  size_t group_input_channels,
  size_t nr,
  const struct xnn_filter_rows* filter,
  const float* bias,
  uint32_t* columns,
  uint32_t* column_starts,
  float* packed_w);

// Copies an image between zeros, so that no tap of the convolution leaves it.
struct nmconv_pad_context {
  const void* input;
  void* output;
  size_t input_batch_stride;
  size_t input_row_stride;
  size_t input_pixel_stride;
  size_t output_batch_stride;
  size_t output_row_stride;
  // Bytes of the channels of one pixel.
  size_t pixel_size;
  size_t input_height;
  size_t padding_top;
  // Pixels of an output row: zeros, copies, zeros.
  size_t left_pixels;
  size_t input_pixels;
  size_t right_pixels;
};

struct nmconv_context {
  const void* input;
  size_t input_batch_stride;
  size_t input_group_stride;
  // From one output pixel to the next, down and right.
  size_t input_row_stride;
  size_t input_pixel_stride;
  struct fxdiv_divisor_size_t groups;
  struct fxdiv_divisor_size_t output_width;
  const int32_t* offsets;
  const uint32_t* column_starts;
  const float* packed_w;
  // Tiles of one group.
  size_t group_tiles;
  void* output;
  size_t output_batch_stride;
  size_t output_group_stride;
  size_t output_pixel_stride;
  intptr_t residual_distance;
  size_t mr;
  size_t nr;
  xnn_f32_nmconv_minmax_ukernel_fn ukernel;
  union xnn_f32_minmax_params params;
};

XNN_INTERNAL void xnn_compute_nmconv_pad(
    const struct nmconv_pad_context* context,
    size_t batch_index,
    size_t row);

XNN_INTERNAL void xnn_compute_nmconv(
    const struct nmconv_context* context,
    size_t batch_group_index,
    size_t pixel_start,
    size_t channel_start,
    size_t pixel_count,
    size_t channel_count);

// The arguments of xnn_create_convolution2d_nm_nhwc_f32.
struct xnn_nm_convolution2d {
  uint32_t padding_top;
  uint32_t padding_right;
  uint32_t padding_bottom;
  uint32_t padding_left;
  uint32_t kernel_height;
  uint32_t kernel_width;
  uint32_t stride_height;
  uint32_t stride_width;
  uint32_t dilation_height;
  uint32_t dilation_width;
  uint32_t groups;
  size_t group_input_channels;
  size_t group_output_channels;
  size_t input_channel_stride;
  size_t output_channel_stride;
  struct xnn_filter_rows filter;
  const float* bias;
  float output_min;
  float output_max;
  uint32_t flags;
  // The images, all 0 where they are not known: only predictions read them.
  size_t batch_size;
  size_t input_height;
  size_t input_width;
  size_t output_height;
  size_t output_width;
};

// *product = a * b, or false where it does not fit.
XNN_INLINE static bool xnn_multiply_sizes(size_t a, size_t b, size_t* product)
{
  if (a != 0 && b > SIZE_MAX / a) {
    return false;
  }
  *product = a * b;
  return true;
}

// Whether an operator of that type can be created with these arguments.
XNN_INTERNAL enum xnn_status xnn_check_nm_convolution2d(
    const struct xnn_nm_convolution2d* conv,
    enum xnn_operator_type type);

// An operator that holds the arguments but nothing packed, or NULL.
XNN_INTERNAL xnn_operator_t xnn_allocate_nm_convolution2d(
    const struct xnn_nm_convolution2d* conv,
    enum xnn_operator_type type,
    xnn_weights_cache_t weights_cache);

// Checks and stores what reshape functions are given, and resolves the output size. An empty batch leaves the operator in
// xnn_run_state_skip.
XNN_INTERNAL enum xnn_status xnn_begin_nm_reshape(
    xnn_operator_t op,
    enum xnn_operator_type type,
    size_t batch_size,
    size_t input_height,
    size_t input_width);

// Whether the operator can be set up.
XNN_INTERNAL enum xnn_status xnn_check_nm_setup(xnn_operator_t op, enum xnn_operator_type type);

// Resolves SAME padding and computes the output size from the input size.
XNN_INTERNAL enum xnn_status xnn_resolve_nm_output_size(xnn_operator_t op);

// Creates the operator from checked arguments and an analyzed filter.
XNN_INTERNAL enum xnn_status xnn_create_analyzed_convolution2d_nm_nhwc_f32(
    const struct xnn_nm_convolution2d* conv,
    const struct xnn_nmconv_analysis* analysis,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out);

// As xnn_create_convolution2d_nhwc_f32, but creates the N:M operator where flags ask for it and the filter rewards it.
// The dense operator gets rows that are made one after the other all at once. Stores the choice and what is known of the
// filter in *info. The shapes, of 4 dimensions if they are known, decide on how much there is to gain.
XNN_INTERNAL enum xnn_status xnn_create_convolution2d_nm_or_dense_nhwc_f32(
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
    struct xnn_filter_rows filter,
    const float* bias,
    float output_min,
    float output_max,
    uint32_t flags,
    xnn_code_cache_t code_cache,
    xnn_weights_cache_t weights_cache,
    const struct xnn_shape* input_shape,
    const struct xnn_shape* output_shape,
    struct xnn_nm_convolution_info* info,
    xnn_operator_t* convolution_op_out);

#ifdef __cplusplus
}  // extern "C"
#endif
