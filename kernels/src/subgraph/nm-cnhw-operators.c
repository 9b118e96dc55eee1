// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// How nodes run in CNHW layout that are not layers: on XNNPACK's operators with other shapes, and on pooling of our own.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/datatype.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-pooling.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator.h"
#include "xnnpack/requantization.h"
#include "xnnpack/subgraph.h"
#include "pthreadpool.h"

// How a value is quantized, as operators want it said.
static struct xnn_quantization_params get_quantization(const struct xnn_value* value)
{
  return (struct xnn_quantization_params) {
    .scale = value->quantization.scale,
    .zero_point = value->quantization.zero_point,
  };
}

// Operators that move elements of 1, 2 and 4 bytes, whatever they mean.
static const struct moves {
  enum xnn_status (*create_pad)(const void*, uint32_t, xnn_operator_t*);
  enum xnn_status (*reshape_pad)(xnn_operator_t, size_t, const size_t*, const size_t*, const size_t*, pthreadpool_t);
  enum xnn_status (*setup_pad)(xnn_operator_t, const void*, void*);
  enum xnn_status (*create_copy)(uint32_t, xnn_operator_t*);
  enum xnn_status (*reshape_copy)(xnn_operator_t, size_t, size_t, size_t, size_t, pthreadpool_t);
  enum xnn_status (*setup_copy)(xnn_operator_t, const void*, void*);
} moves_by_size[] = {
  {xnn_create_constant_pad_nd_x8, xnn_reshape_constant_pad_nd_x8, xnn_setup_constant_pad_nd_x8,
   xnn_create_copy_nc_x8, xnn_reshape_copy_nc_x8, xnn_setup_copy_nc_x8},
  {xnn_create_constant_pad_nd_x16, xnn_reshape_constant_pad_nd_x16, xnn_setup_constant_pad_nd_x16,
   xnn_create_copy_nc_x16, xnn_reshape_copy_nc_x16, xnn_setup_copy_nc_x16},
  {xnn_create_constant_pad_nd_x32, xnn_reshape_constant_pad_nd_x32, xnn_setup_constant_pad_nd_x32,
   xnn_create_copy_nc_x32, xnn_reshape_copy_nc_x32, xnn_setup_copy_nc_x32},
};

static const struct moves* get_moves(const struct xnn_value* value)
{
  return &moves_by_size[xnn_datatype_log2_size_bytes(value->datatype)];
}

/*** Maximum and average pooling ***/

static enum xnn_operator_type get_pooling_type(bool is_max, enum xnn_datatype datatype)
{
  switch (datatype) {
    case xnn_datatype_qint8:
      return xnn_operator_type_max_pooling_cnhw_s8;
    case xnn_datatype_fp16:
      return xnn_operator_type_max_pooling_cnhw_f16;
    default:
      return is_max ? xnn_operator_type_max_pooling_cnhw_f32 : xnn_operator_type_average_pooling_cnhw_f32;
  }
}

static enum xnn_status create_pooling(
  const struct xnn_node* node,
  const struct xnn_value* values,
  size_t num_values,
  struct xnn_operator_data* opdata,
  struct xnn_code_cache* code_cache,
  xnn_weights_cache_t weights_cache)
{
  const bool is_max = node->type == xnn_node_type_max_pooling_2d;
  const struct xnn_value* output = &values[node->outputs[0]];
  const bool is_quantized = output->datatype == xnn_datatype_qint8;
  const float scale = output->quantization.scale;
  const int32_t zero_point = output->quantization.zero_point;
  const struct xnn_pooling2d pooling = {
    .padding_top = node->params.pooling_2d.padding_top,
    .padding_right = node->params.pooling_2d.padding_right,
    .padding_bottom = node->params.pooling_2d.padding_bottom,
    .padding_left = node->params.pooling_2d.padding_left,
    .pooling_height = node->params.pooling_2d.pooling_height,
    .pooling_width = node->params.pooling_2d.pooling_width,
    .stride_height = node->params.pooling_2d.stride_height,
    .stride_width = node->params.pooling_2d.stride_width,
    .dilation_height = is_max ? node->params.pooling_2d.dilation_height : 1,
    .dilation_width = is_max ? node->params.pooling_2d.dilation_width : 1,
    .output_min = is_quantized ?
      (float) xnn_qs8_quantize(node->activation.output_min, scale, zero_point) : node->activation.output_min,
    .output_max = is_quantized ?
      (float) xnn_qs8_quantize(node->activation.output_max, scale, zero_point) : node->activation.output_max,
    .flags = node->flags,
  };
  return xnn_create_pooling2d_cnhw(
    &pooling,
    get_pooling_type(is_max, output->datatype), &opdata->operator_objects[0]);
}

static enum xnn_status reshape_pooling(
  struct xnn_operator_data* opdata,
  struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  const size_t* dims = values[opdata->inputs[0]].shape.dim;
  size_t height = 0;
  size_t width = 0;
  const enum xnn_status status = xnn_reshape_pooling2d_cnhw(
    opdata->operator_objects[0], dims[0], dims[1], dims[2], dims[3], &height, &width, threadpool);
  if (status != xnn_status_success) {
    return status;
  }
  return xnn_set_image_shape(&values[opdata->outputs[0]], dims[0], height, width, dims[3], false);
}

static enum xnn_status setup_pooling(
  const struct xnn_operator_data* opdata,
  const struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  return xnn_setup_pooling2d_cnhw(
    opdata->operator_objects[0], values[opdata->inputs[0]].data, values[opdata->outputs[0]].data);
}

const struct xnn_cnhw_functions xnn_cnhw_pooling = {create_pooling, reshape_pooling, setup_pooling};

/*** Mean over rows and columns: [channels][batch] in the workspace, then [batch][channels] ***/

static enum xnn_status create_mean(
  const struct xnn_node* node,
  const struct xnn_value* values,
  size_t num_values,
  struct xnn_operator_data* opdata,
  struct xnn_code_cache* code_cache,
  xnn_weights_cache_t weights_cache)
{
  const struct xnn_value* input = &values[node->inputs[0]];
  const struct xnn_quantization_params input_quantization = get_quantization(input);
  const struct xnn_quantization_params output_quantization = get_quantization(&values[node->outputs[0]]);
  const enum xnn_status status = xnn_create_reduce_nd(
    xnn_reduce_mean, input->datatype, &input_quantization, &output_quantization, /*flags=*/0,
    &opdata->operator_objects[0]);
  if (status != xnn_status_success) {
    return status;
  }
  return xnn_create_elements_transpose(input->datatype, &opdata->operator_objects[1]);
}

static bool has_wide_sums(const struct xnn_value* input)
{
  return input->datatype != xnn_datatype_fp32;
}

// Bytes of an image's means, as far as where something else may begin.
static size_t get_means_size(const struct xnn_value* input)
{
  const size_t size = (input->shape.dim[0] * input->shape.dim[3]) << xnn_datatype_log2_size_bytes(input->datatype);
  return round_up_po2(size + XNN_EXTRA_BYTES, XNN_ALLOCATION_ALIGNMENT);
}

static enum xnn_status reshape_mean(
  struct xnn_operator_data* opdata,
  struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  const struct xnn_value* input = &values[opdata->inputs[0]];
  struct xnn_value* output = &values[opdata->outputs[0]];
  const size_t batch_size = input->shape.dim[0];
  const size_t channels = input->shape.dim[3];
  const size_t input_shape[3] = {channels, batch_size, input->shape.dim[1] * input->shape.dim[2]};
  const int64_t axes[1] = {2};
  // Sums that are wider than elements have room behind the means.
  size_t sums_size = 0;
  enum xnn_status status = xnn_reshape_reduce_nd(
    opdata->operator_objects[0], 1, axes, 3, input_shape, has_wide_sums(input) ? &sums_size : NULL, NULL, threadpool);
  if (status != xnn_status_success) {
    return status;
  }
  const size_t perm[2] = {1, 0};
  status = xnn_reshape_elements_transpose(opdata->operator_objects[1], 2, input_shape, perm, threadpool);
  if (status != xnn_status_success) {
    return status;
  }
  const size_t old_workspace_size = opdata->workspace_size;
  opdata->workspace_size = get_means_size(input) + sums_size;
  opdata->workspace_alignment = XNN_ALLOCATION_ALIGNMENT;
  if ((opdata->flags & XNN_FLAG_KEEP_DIMS) != 0) {
    return xnn_set_image_shape(output, batch_size, 1, 1, channels, opdata->workspace_size > old_workspace_size);
  }
  output->shape.num_dims = 2;
  output->shape.dim[0] = batch_size;
  output->shape.dim[1] = channels;
  const size_t size = xnn_tensor_get_size(output);
  if (size > output->size || opdata->workspace_size > old_workspace_size) {
    output->size = size;
    return xnn_status_reallocation_required;
  }
  return xnn_status_success;
}

static enum xnn_status setup_mean(
  const struct xnn_operator_data* opdata,
  const struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  const struct xnn_value* input = &values[opdata->inputs[0]];
  void* sums = has_wide_sums(input) ?
    (void*) ((uintptr_t) opdata->workspace + get_means_size(input)) : NULL;
  const enum xnn_status status =
    xnn_setup_reduce_nd(opdata->operator_objects[0], sums, input->data, opdata->workspace);
  if (status != xnn_status_success) {
    return status;
  }
  return xnn_setup_elements_transpose(
    opdata->operator_objects[1], opdata->workspace, values[opdata->outputs[0]].data);
}

const struct xnn_cnhw_functions xnn_cnhw_mean = {create_mean, reshape_mean, setup_mean};

/*** Padding of rows and columns ***/

static enum xnn_status create_pad(
  const struct xnn_node* node,
  const struct xnn_value* values,
  size_t num_values,
  struct xnn_operator_data* opdata,
  struct xnn_code_cache* code_cache,
  xnn_weights_cache_t weights_cache)
{
  memcpy(opdata->pre_paddings, node->params.static_pad.pre_paddings, sizeof(opdata->pre_paddings));
  memcpy(opdata->post_paddings, node->params.static_pad.post_paddings, sizeof(opdata->post_paddings));
  return get_moves(&values[node->inputs[0]])->create_pad(
    &node->params.static_pad.padding_value, /*flags=*/0, &opdata->operator_objects[0]);
}

static enum xnn_status reshape_pad(
  struct xnn_operator_data* opdata,
  struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  const size_t* dims = values[opdata->inputs[0]].shape.dim;
  const size_t* before = opdata->pre_paddings;
  const size_t* after = opdata->post_paddings;
  const size_t shape[3] = {dims[3] * dims[0], dims[1], dims[2]};
  const size_t pre_paddings[3] = {0, before[1], before[2]};
  const size_t post_paddings[3] = {0, after[1], after[2]};
  const enum xnn_status status = get_moves(&values[opdata->inputs[0]])->reshape_pad(
    opdata->operator_objects[0], 3, shape, pre_paddings, post_paddings, threadpool);
  if (status != xnn_status_success) {
    return status;
  }
  return xnn_set_image_shape(
    &values[opdata->outputs[0]], dims[0], before[1] + dims[1] + after[1], before[2] + dims[2] + after[2], dims[3],
    false);
}

static enum xnn_status setup_pad(
  const struct xnn_operator_data* opdata,
  const struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  return get_moves(&values[opdata->inputs[0]])->setup_pad(
    opdata->operator_objects[0], values[opdata->inputs[0]].data, values[opdata->outputs[0]].data);
}

const struct xnn_cnhw_functions xnn_cnhw_pad = {create_pad, reshape_pad, setup_pad};

/*** Binary elementwise: two images of one shape, or an image and one number for each channel ***/

static enum xnn_status create_binary(
  const struct xnn_node* node,
  const struct xnn_value* values,
  size_t num_values,
  struct xnn_operator_data* opdata,
  struct xnn_code_cache* code_cache,
  xnn_weights_cache_t weights_cache)
{
  const struct xnn_value* output = &values[node->outputs[0]];
  const struct xnn_quantization_params a = get_quantization(&values[node->inputs[0]]);
  const struct xnn_quantization_params b = get_quantization(&values[node->inputs[1]]);
  const struct xnn_quantization_params sum = get_quantization(output);
  return xnn_create_binary_elementwise_nd(
    node->binary_operator, output->datatype, &a, &b, &sum, /*flags=*/0, &opdata->operator_objects[0]);
}

// Constants of half precision belong to the runtime, which says that they are dynamic.
static bool is_constant(const struct xnn_value* value)
{
  return xnn_value_is_static(value) || value->allocation_type == xnn_allocation_type_dynamic;
}

static enum xnn_status reshape_binary(
  struct xnn_operator_data* opdata,
  struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  size_t shapes[2][2];
  const struct xnn_value* image = NULL;
  for (size_t i = 0; i < 2; i++) {
    const struct xnn_value* input = &values[opdata->inputs[i]];
    const size_t* dims = input->shape.dim;
    if (is_constant(input)) {
      shapes[i][0] = dims[input->shape.num_dims - 1];
      shapes[i][1] = 1;
    } else {
      shapes[i][0] = dims[3];
      shapes[i][1] = xnn_count_pixels(input);
      if (image != NULL && memcmp(image->shape.dim, dims, 4 * sizeof(size_t)) != 0) {
        xnn_log_error("failed to reshape %s operator: images must have the same shape",
          xnn_operator_type_to_string(opdata->operator_objects[0]->type));
        return xnn_status_unsupported_parameter;
      }
      image = input;
    }
  }
  const enum xnn_status status =
    xnn_reshape_binary_elementwise_nd(opdata->operator_objects[0], 2, shapes[0], 2, shapes[1], threadpool);
  if (status != xnn_status_success) {
    return status;
  }
  const size_t* dims = image->shape.dim;
  return xnn_set_image_shape(&values[opdata->outputs[0]], dims[0], dims[1], dims[2], dims[3], false);
}

static enum xnn_status setup_binary(
  const struct xnn_operator_data* opdata,
  const struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  return xnn_setup_binary_elementwise_nd(
    opdata->operator_objects[0], values[opdata->inputs[0]].data, values[opdata->inputs[1]].data,
    values[opdata->outputs[0]].data);
}

const struct xnn_cnhw_functions xnn_cnhw_binary = {create_binary, reshape_binary, setup_binary};

/*** Concatenation of channels: planes one after another ***/

static enum xnn_status create_concatenate(
  const struct xnn_node* node,
  const struct xnn_value* values,
  size_t num_values,
  struct xnn_operator_data* opdata,
  struct xnn_code_cache* code_cache,
  xnn_weights_cache_t weights_cache)
{
  enum xnn_status status = xnn_status_success;
  for (size_t i = 0; i < node->num_inputs && status == xnn_status_success; i++) {
    status = get_moves(&values[node->inputs[i]])->create_copy(/*flags=*/0, &opdata->operator_objects[i]);
  }
  return status;
}

static enum xnn_status reshape_concatenate(
  struct xnn_operator_data* opdata,
  struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  const size_t* first = values[opdata->inputs[0]].shape.dim;
  size_t channels = 0;
  for (size_t i = 0; i < opdata->num_inputs; i++) {
    const struct xnn_value* input = &values[opdata->inputs[i]];
    if (memcmp(first, input->shape.dim, 3 * sizeof(size_t)) != 0) {
      xnn_log_error("failed to reshape %s operator: images must have the same size",
        xnn_operator_type_to_string(opdata->operator_objects[i]->type));
      return xnn_status_invalid_parameter;
    }
    const size_t pixels = xnn_count_pixels(input);
    const enum xnn_status status = get_moves(input)->reshape_copy(
      opdata->operator_objects[i], input->shape.dim[3], pixels, pixels, pixels, threadpool);
    if (status != xnn_status_success) {
      return status;
    }
    channels += input->shape.dim[3];
  }
  return xnn_set_image_shape(&values[opdata->outputs[0]], first[0], first[1], first[2], channels, false);
}

static enum xnn_status setup_concatenate(
  const struct xnn_operator_data* opdata,
  const struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  uint8_t* output = values[opdata->outputs[0]].data;
  for (size_t i = 0; i < opdata->num_inputs; i++) {
    const struct xnn_value* input = &values[opdata->inputs[i]];
    const enum xnn_status status =
      get_moves(input)->setup_copy(opdata->operator_objects[i], input->data, output);
    if (status != xnn_status_success) {
      return status;
    }
    output += (xnn_count_pixels(input) * input->shape.dim[3]) << xnn_datatype_log2_size_bytes(input->datatype);
  }
  return xnn_status_success;
}

const struct xnn_cnhw_functions xnn_cnhw_concatenate = {create_concatenate, reshape_concatenate, setup_concatenate};
