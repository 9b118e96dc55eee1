// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The N:M operators of both layouts: what they keep from creation to their tasks.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/microfnptr.h"
#include "xnnpack/microparams.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-pack.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/packim2col.h"

#include <fxdiv.h>
#include "pthreadpool.h"

#ifdef __cplusplus
extern "C" {
#endif

/*** Both layouts ***/

// Parameters of a micro-kernel.
union xnn_nm_params {
  union xnn_f16_minmax_params f16_minmax;
  union xnn_f32_minmax_params f32_minmax;
  union xnn_qs8_qc8w_conv_minmax_params qs8_qc8w_minmax;
};

// What the division into tasks is predicted with; see struct xnn_nm_costs.
struct xnn_nm_task_costs {
  size_t nhwc_task_size;
  size_t nhwc_tasks;
  float packed_column;
  size_t cnhw_tasks;
  size_t cache_size;
  size_t strips_size;
};

// What an operator keeps from creation to reshape.
struct xnn_nm_state {
  const struct xnn_nm_datatype* datatype;
  // The micro-kernels of one layout; the other's are NULL.
  const struct xnn_nmconv_config* nmconv;
  const struct xnn_nmspmm_config* nmspmm;
  struct xnn_nm_task_costs costs;
  union xnn_nm_params params;
  // Without clamp.
  union xnn_nm_params linear_params;
  // What pixels outside of the image are, each byte.
  uint32_t padding;
  // Columns of CNHW images need no packing.
  bool in_place;
  // Of a CNHW image, in bytes, with all bands; known once reshaped.
  size_t output_size;
};

// Whether XNNPACK is initialized, and the range one of numbers in order.
XNN_INTERNAL enum xnn_status xnn_check_nm_creation(
    enum xnn_operator_type type,
    float output_min,
    float output_max);

// Whether an operator of that type can be created with these arguments.
XNN_INTERNAL enum xnn_status xnn_check_nm_layer(
    const struct xnn_nm_layer* layer,
    enum xnn_operator_type type);

// An operator that holds the arguments but nothing packed, or NULL.
XNN_INTERNAL xnn_operator_t xnn_allocate_nm_operator(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_costs* costs,
    enum xnn_operator_type type,
    xnn_weights_cache_t weights_cache);

// Fills memory of the size that was asked for with packed weights.
typedef enum xnn_status (*xnn_pack_nm_fn)(const void* context, void* memory);

// Lets an operator have packed weights: from its weights cache, or packed now.
//
// seed  tells weights that are packed otherwise, though the filter is the same.
XNN_INTERNAL enum xnn_status xnn_pack_nm_weights(
    xnn_operator_t op,
    const struct xnn_nm_layer* layer,
    uint32_t seed,
    size_t size,
    xnn_pack_nm_fn pack,
    const void* context);

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

/*** NHWC images ***/

// Copies an image between pixels of padding, so that no tap of the convolution leaves it, and makes bytes as wide as the
// micro-kernel reads them.
struct nmconv_pad_context {
  const void* input;
  void* output;
  size_t input_batch_stride;
  size_t input_row_stride;
  size_t input_pixel_stride;
  size_t output_batch_stride;
  size_t output_row_stride;
  size_t pixel_channels;
  size_t input_height;
  size_t padding_top;
  // Pixels of an output row: padding, copies, padding.
  size_t left_pixels;
  size_t input_pixels;
  size_t right_pixels;
  size_t log2_input_size;
  size_t log2_output_size;
  // An element of bytes; 0 of wider elements.
  int8_t padding;
  // Converts f16 to f32 where elements become so wide, else NULL.
  xnn_vunary_ukernel_fn convert;
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
  const void* packed_w;
  // Tiles of one group.
  size_t group_tiles;
  void* output;
  size_t output_batch_stride;
  size_t output_group_stride;
  size_t output_pixel_stride;
  intptr_t residual_distance;
  size_t mr;
  size_t nr;
  size_t log2_element_size;
  size_t log2_row_size;
  size_t run_size;
  xnn_nmconv_ukernel_fn ukernel;
  union xnn_nm_params params;
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

// Creates the operator from checked arguments and an analyzed filter.
XNN_INTERNAL enum xnn_status xnn_create_analyzed_nm_nhwc(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nm_costs* costs,
    const struct xnn_nmconv_analysis* analysis,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out);

// Reshapes and sets up an operator of NHWC images that is of that type.
XNN_INTERNAL enum xnn_status xnn_reshape_nm_nhwc(
    xnn_operator_t op,
    enum xnn_operator_type type,
    size_t batch_size,
    size_t input_height,
    size_t input_width,
    size_t* workspace_size,
    size_t* workspace_alignment,
    size_t* output_height_out,
    size_t* output_width_out,
    pthreadpool_t threadpool);

XNN_INTERNAL enum xnn_status xnn_setup_nm_nhwc(
    xnn_operator_t op,
    enum xnn_operator_type type,
    void* workspace,
    const void* input,
    const void* residual,
    void* output);

// The filter in the operator's packed weights, or, without memory, what size it has.
XNN_INTERNAL struct xnn_nmconv_filter xnn_get_nmconv_filter(const struct xnn_operator* op, void* memory);

/*** CNHW images ***/

// CNHW values between convolutions can lie in bands: as many as there are threads, stored as [channels][pixels] one
// after another. All have the same size; the last may use less of it, so that the value takes more memory than the
// image. A thread's pixels are together; where two take turns in each channel, processors fetch ahead for one what the
// other writes.
//
// Of an input: for CNHW convolutions of one group with a 1x1 kernel and no padding, and for layout conversions.
#define XNN_FLAG_INPUT_BANDS 0x00010000
// Of an output, and of what the convolution adds to it.
#define XNN_FLAG_OUTPUT_BANDS 0x00020000

// Pixels that a band of a value has room for: all if bands would be narrow, or the last much smaller than the others.
XNN_INTERNAL size_t xnn_get_nmspmm_band_pixels(size_t num_pixels, size_t num_threads);

// Bytes of a channel of all images of a batch, whose sizes the operator holds; SIZE_MAX if they overflow.
XNN_INTERNAL size_t xnn_get_cnhw_channel_size(const struct xnn_operator* op, size_t element_size);

// The strips of an image. None crosses the border of a band of the output.
struct xnn_im2col_strips {
  // Of all pixels; stride is not used.
  struct xnn_im2col_strip pixels;
  // Of each strip.
  const uint32_t* strides;
  size_t num_pixels;
  size_t num_strips;
};

// Cuts the output pixels of an operator, whose sizes are resolved, into strips of nr.
//
// element_size                  in bytes.
// pixel_stride, channel_stride  distances in bytes in the input; if it lies in bands, a channel's bytes in all of them.
// input_band_pixels             of each band of the input; 0 if it does not lie in bands, or is not packed.
// band_pixels                   of each band that strips shall not cross; 0 if there are none.
// Returns xnn_status_unsupported_parameter where a distance in the padded input does not fit 32 bits.
XNN_INTERNAL enum xnn_status xnn_reshape_im2col_strips(
    xnn_operator_t op,
    size_t element_size,
    size_t pixel_stride,
    size_t channel_stride,
    size_t nr,
    size_t input_band_pixels,
    size_t band_pixels,
    struct xnn_im2col_strips* strips);

// Where a tap lies, counted over rows and columns of the kernel.
XNN_INTERNAL struct xnn_im2col_tap xnn_get_im2col_tap(const struct xnn_operator* op, size_t pixel_stride, size_t tap);

// A tap and the packed columns that it holds.
struct xnn_nmspmm_pack_step {
  struct xnn_im2col_tap tap;
  uint32_t first_packed;
  uint32_t num_packed;
};

struct nmspmm_context {
  const void* input;
  const void* residual;
  void* output;
  size_t input_group_stride;
  // Bytes of one channel of the output, or of a band of it.
  size_t output_channel_stride;
  // Distance in bytes from the first pixel of a band to that of the next; of the input, if it is read in place.
  size_t input_band_stride;
  size_t output_band_stride;
  const void* weights;
  const struct xnn_nmspmm_part* parts;
  const struct xnn_nmspmm_segment* segments;
  size_t num_parts;
  // Distance of each kept column; of each packed column's channel.
  const int32_t* offsets;
  const int32_t* channels;
  const struct xnn_nmspmm_pack_step* steps;
  // Index of each part's first step, and one past the last. NULL: columns are read in place.
  const uint32_t* part_steps;
  struct xnn_im2col_strip pixels;
  // Of each strip.
  const uint32_t* strip_strides;
  uint32_t input_height;
  uint32_t input_width;
  // If there is more than one band, there is one for each thread.
  size_t num_bands;
  // Of one band. The last may have fewer pixels.
  size_t num_pixels;
  size_t num_strips;
  size_t last_band_pixels;
  size_t num_threads;
  // Strips of one task; tasks that each thread gets, each in so many parts by rows.
  size_t task_strips;
  size_t thread_tasks;
  size_t row_tasks;
  // What is left: all threads share it.
  size_t last_tasks;
  size_t last_row_tasks;
  void* scratch;
  size_t thread_scratch_size;
  // Bytes of a packed column, and of a packed strip.
  size_t column_size;
  size_t strip_size;
  size_t nr;
  size_t log2_element_size;
  // What pixels outside of the image are, each byte.
  uint32_t padding;
  bool dense;
  // Index of the first kernel of a table: one row.
  const xnn_nmspmm_ukernel_fn* ukernel;
  xnn_packim2col_ukernel_fn pack;
  union xnn_nm_params params;
  // Without clamp, for all but the last part.
  union xnn_nm_params linear_params;
};

// Creates the operator from checked arguments and an analyzed filter.
XNN_INTERNAL enum xnn_status xnn_create_analyzed_nm_cnhw(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nm_costs* costs,
    const struct xnn_nmspmm_analysis* analysis,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out);

// Reshapes and sets up an operator of CNHW images that is of that type.
XNN_INTERNAL enum xnn_status xnn_reshape_nm_cnhw(
    xnn_operator_t op,
    enum xnn_operator_type type,
    size_t batch_size,
    size_t input_height,
    size_t input_width,
    size_t* workspace_size,
    size_t* workspace_alignment,
    size_t* output_height_out,
    size_t* output_width_out,
    pthreadpool_t threadpool);

XNN_INTERNAL enum xnn_status xnn_setup_nm_cnhw(
    xnn_operator_t op,
    enum xnn_operator_type type,
    void* workspace,
    const void* input,
    const void* residual,
    void* output);

// Cuts the work of an operator with num_blocks blocks of rows into tasks: sets num_threads, task_strips, how many tasks
// of each kind there are, and thread_scratch_size of a context whose other members are set, but for pointers to images.
XNN_INTERNAL void xnn_plan_nmspmm(
    struct nmspmm_context* context,
    const struct xnn_nm_task_costs* costs,
    size_t input_size,
    size_t num_blocks,
    size_t num_packed,
    size_t num_weights,
    size_t num_threads);

// Runs a task of the share of some thread: first come those that it has to itself, then its part of what all share.
XNN_INTERNAL void xnn_compute_nmspmm(
    const struct nmspmm_context* context,
    size_t thread_index,
    size_t share,
    size_t task);

#ifdef __cplusplus
}  // extern "C"
#endif
