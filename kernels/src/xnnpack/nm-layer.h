// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// A layer with static weights, as N:M operators see it.
//
// Its filter is a matrix of one row for each output channel and one column for each weight of it: K = kernel height *
// kernel width * input channels, in the order of a GOKI (group, output channel, tap, input channel) filter.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/operator-type.h"

#ifdef __cplusplus
extern "C" {
#endif

// Layers of at most that many channels read NHWC images as well as CNHW ones.
#define XNN_MAX_DIRECT_CHANNELS 4

struct xnn_gemm_config;
struct xnn_nm_costs;
struct xnn_nm_layer;
struct xnn_nm_weights;
struct xnn_nmconv_config;
struct xnn_nmspmm_config;

// Writes what micro-kernels read of some of nr rows, 0 for the others, and returns where it ends: biases, 0 without any,
// then weights of the columns as they want them. row_buffer has room for a row that is made.
typedef void* xnn_pack_nm_rows_fn(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_weights* format,
    size_t first_row,
    size_t num_rows,
    size_t nr,
    size_t num_columns,
    const uint32_t* columns,
    bool with_bias,
    void* row_buffer,
    void* memory);

// An element type: what analysis and packing need to know of it.
struct xnn_nm_datatype {
  // Of images, filters and biases.
  enum xnn_datatype datatype;
  enum xnn_datatype filter_datatype;
  enum xnn_datatype bias_datatype;
  enum xnn_operator_type nhwc_operator;
  enum xnn_operator_type cnhw_operator;
  // Sizes of an element of images, of filters, and of what packed filters hold of each row before its weights.
  uint8_t log2_element_size;
  uint8_t log2_filter_size;
  uint8_t log2_row_size;
  // Micro-kernels can begin with what is in the output: an image to add, or the sums of other columns.
  bool has_partial_sums;
  // Sets bit k % 64 of word k / 64 for each element k of a row that is not zero (a NaN is not), and returns their number.
  // All bits are zero before.
  size_t (*find_nonzeroes)(size_t row_size, const void* row, uint64_t* bits);
  // Stores parameters of a micro-kernel that clamp to a range.
  void (*init_params)(const struct xnn_nm_layer* layer, float output_min, float output_max, void* params);
  xnn_pack_nm_rows_fn* pack_rows;
  // Stores a weight or bias as element i of what is packed; NULL where that is not all there is to it.
  void (*store)(void* packed, size_t i, float value);
  // The micro-kernels for this hardware, and what they cost. NULL without any.
  const struct xnn_nmconv_config* (*init_nmconv_config)();
  const struct xnn_nmspmm_config* (*init_nmspmm_config)();
  const struct xnn_nm_costs* (*init_costs)();
  // The dense operator's micro-kernels for so many output channels a group.
  const struct xnn_gemm_config* (*init_gemm_config)(size_t group_output_channels);
};

XNN_INTERNAL extern const struct xnn_nm_datatype xnn_nm_f32;
// Images of half precision; filters and biases of single precision, rounded when they are packed.
XNN_INTERNAL extern const struct xnn_nm_datatype xnn_nm_f16;
// Images of signed bytes, filters with a scale for each output channel, biases of 32 bits.
XNN_INTERNAL extern const struct xnn_nm_datatype xnn_nm_qs8_qc8w;

// What is known of an element type of images; NULL for those without N:M operators.
XNN_INTERNAL const struct xnn_nm_datatype* xnn_find_nm_datatype(enum xnn_datatype datatype);

// Where the weights of a filter come from, a row an output channel.
struct xnn_nm_rows {
  // All rows; or NULL, then read makes one after the other.
  const void* data;
  xnn_read_row_fn read;
  const void* context;
};

// Weights of an output channel, of so many bytes: where they are, or made in the buffer.
XNN_INLINE static const void* xnn_get_nm_row(
    const struct xnn_nm_rows* rows,
    size_t row,
    size_t size,
    void* buffer)
{
  if (rows->data != NULL) {
    return (const void*) ((uintptr_t) rows->data + row * size);
  }
  rows->read(rows->context, row, buffer);
  return buffer;
}

// What tells this filter from others in a weights cache.
XNN_INLINE static const void* xnn_get_nm_rows_key(const struct xnn_nm_rows* rows)
{
  return rows->data != NULL ? rows->data : rows->context;
}

// The arguments of a convolution.
struct xnn_nm_layer {
  const struct xnn_nm_datatype* datatype;
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
  struct xnn_nm_rows filter;
  const void* bias;
  // Of quantized layers; a filter scale for each output channel, or one for all.
  const float* filter_scale;
  bool has_one_filter_scale;
  float input_scale;
  float output_scale;
  int8_t input_zero_point;
  int8_t output_zero_point;
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

// A layer with what the functions that create operators of all types and layouts are given, in their order.
XNN_INLINE static struct xnn_nm_layer xnn_describe_nm_layer(
    const struct xnn_nm_datatype* datatype,
    uint32_t padding_top,
    uint32_t padding_right,
    uint32_t padding_bottom,
    uint32_t padding_left,
    uint32_t kernel_height,
    uint32_t kernel_width,
    uint32_t stride_height,
    uint32_t stride_width,
    uint32_t dilation_height,
    uint32_t dilation_width,
    uint32_t groups,
    size_t group_input_channels,
    size_t group_output_channels,
    const void* filter,
    const void* bias,
    float output_min,
    float output_max,
    uint32_t flags)
{
  return (struct xnn_nm_layer) {
    .datatype = datatype,
    .padding_top = padding_top,
    .padding_right = padding_right,
    .padding_bottom = padding_bottom,
    .padding_left = padding_left,
    .kernel_height = kernel_height,
    .kernel_width = kernel_width,
    .stride_height = stride_height,
    .stride_width = stride_width,
    .dilation_height = dilation_height,
    .dilation_width = dilation_width,
    .groups = groups,
    .group_input_channels = group_input_channels,
    .group_output_channels = group_output_channels,
    .input_channel_stride = groups * group_input_channels,
    .output_channel_stride = groups * group_output_channels,
    .filter = {.data = filter},
    .bias = bias,
    .output_min = output_min,
    .output_max = output_max,
    .flags = flags,
  };
}

// Lets it be quantized; a filter scale for each output channel.
XNN_INLINE static void xnn_quantize_nm_layer(
    struct xnn_nm_layer* layer,
    int8_t input_zero_point,
    float input_scale,
    const float* filter_scale,
    int8_t output_zero_point,
    float output_scale)
{
  layer->input_zero_point = input_zero_point;
  layer->input_scale = input_scale;
  layer->filter_scale = filter_scale;
  layer->output_zero_point = output_zero_point;
  layer->output_scale = output_scale;
}

XNN_INLINE static size_t xnn_get_nm_kernel_size(const struct xnn_nm_layer* layer)
{
  return (size_t) layer->kernel_height * layer->kernel_width;
}

// Columns of the filter.
XNN_INLINE static size_t xnn_get_nm_row_size(const struct xnn_nm_layer* layer)
{
  return xnn_get_nm_kernel_size(layer) * layer->group_input_channels;
}

// Output pixels of one image, 0 if not known.
XNN_INLINE static size_t xnn_get_nm_image_pixels(const struct xnn_nm_layer* layer)
{
  return layer->output_height * layer->output_width;
}

// Output pixels of all images, 0 if not known.
XNN_INLINE static size_t xnn_get_nm_pixels(const struct xnn_nm_layer* layer)
{
  return layer->batch_size * xnn_get_nm_image_pixels(layer);
}

// Filter scales of a quantized layer in memory.
XNN_INLINE static size_t xnn_count_nm_filter_scales(const struct xnn_nm_layer* layer)
{
  return layer->has_one_filter_scale ? 1 : layer->groups * layer->group_output_channels;
}

// What the sums of an output channel of a quantized layer are multiplied with.
XNN_INLINE static float xnn_get_nm_requantization_scale(const struct xnn_nm_layer* layer, size_t channel)
{
  return layer->input_scale * layer->filter_scale[layer->has_one_filter_scale ? 0 : channel] / layer->output_scale;
}

// Bytes of a row of the filter.
XNN_INLINE static size_t xnn_get_nm_row_bytes(const struct xnn_nm_layer* layer)
{
  return xnn_get_nm_row_size(layer) << layer->datatype->log2_filter_size;
}

XNN_INLINE static bool xnn_is_nm_padded(const struct xnn_nm_layer* layer)
{
  return (layer->padding_top | layer->padding_right | layer->padding_bottom | layer->padding_left) != 0;
}

// Whether each output pixel depends on the input pixel at its place and no other.
XNN_INLINE static bool xnn_is_nm_pointwise(const struct xnn_nm_layer* layer)
{
  return layer->kernel_height == 1 && layer->kernel_width == 1 && layer->stride_height == 1 &&
    layer->stride_width == 1 && !xnn_is_nm_padded(layer);
}

// Whether the layer can read a CNHW image in bands: without a neighbour's pixels, and all channels as one group.
XNN_INLINE static bool xnn_can_nm_read_bands(const struct xnn_nm_layer* layer)
{
  return layer->kernel_height == 1 && layer->kernel_width == 1 && !xnn_is_nm_padded(layer) && layer->groups == 1 &&
    (layer->flags & XNN_FLAG_INPUT_NHWC) == 0;
}

// *product = a * b, or false where it does not fit.
XNN_INLINE static bool xnn_multiply_sizes(size_t a, size_t b, size_t* product)
{
  if (a != 0 && b > SIZE_MAX / a) {
    return false;
  }
  *product = a * b;
  return true;
}

#ifdef __cplusplus
}  // extern "C"
#endif
