// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Which nodes are layers with static weights, and their arguments as N:M operators see them.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/requantization.h"
#include "xnnpack/subgraph.h"

// Where a static value's rows come from.
static struct xnn_nm_rows get_rows(const struct xnn_value* value)
{
  struct xnn_nm_rows rows;
  rows.data = value->read_row == NULL ? value->data : NULL;
  rows.read = value->read_row;
  rows.context = value->data;
  return rows;
}

// Stores what the values say of a quantized layer, whose range is said in real numbers.
static void set_quantization(
    struct xnn_nm_layer* layer,
    const struct xnn_value* input,
    const struct xnn_value* filter,
    const struct xnn_value* output)
{
  const float scale = output->quantization.scale;
  const int32_t zero_point = output->quantization.zero_point;
  layer->has_one_filter_scale = filter->datatype == xnn_datatype_qint8;
  xnn_quantize_nm_layer(
    layer, (int8_t) input->quantization.zero_point, input->quantization.scale,
    layer->has_one_filter_scale ? &filter->quantization.scale : filter->quantization.channelwise_scale,
    (int8_t) zero_point, scale);
  layer->output_min = (float) xnn_qs8_quantize(layer->output_min, scale, zero_point);
  layer->output_max = (float) xnn_qs8_quantize(layer->output_max, scale, zero_point);
}

// Stores the arguments of a convolution, and the sizes of its images where they are known.
static bool describe_convolution(
    const struct xnn_nm_datatype* datatype,
    const struct xnn_node* node,
    const struct xnn_value* input,
    const struct xnn_value* output,
    struct xnn_nm_layer* layer)
{
  if ((node->flags & XNN_FLAG_DEPTHWISE_CONVOLUTION) != 0) {
    return false;
  }
  *layer = xnn_describe_nm_layer(
    datatype, node->params.convolution_2d.input_padding_top, node->params.convolution_2d.input_padding_right,
    node->params.convolution_2d.input_padding_bottom, node->params.convolution_2d.input_padding_left,
    node->params.convolution_2d.kernel_height, node->params.convolution_2d.kernel_width,
    node->params.convolution_2d.subsampling_height, node->params.convolution_2d.subsampling_width,
    node->params.convolution_2d.dilation_height, node->params.convolution_2d.dilation_width,
    node->params.convolution_2d.groups, node->params.convolution_2d.group_input_channels,
    node->params.convolution_2d.group_output_channels, /*filter=*/NULL, /*bias=*/NULL, node->activation.output_min,
    node->activation.output_max, node->flags & ~XNN_FLAG_ADD_LAST_INPUT);
  if (input->shape.num_dims == 4 && output->shape.num_dims == 4) {
    layer->batch_size = input->shape.dim[0];
    layer->input_height = input->shape.dim[1];
    layer->input_width = input->shape.dim[2];
    layer->output_height = output->shape.dim[1];
    layer->output_width = output->shape.dim[2];
  }
  return true;
}

size_t xnn_count_nm_rows(const struct xnn_value* input, const struct xnn_value* filter)
{
  const size_t row_size = filter->shape.dim[1];
  return row_size == 0 ? 0 : xnn_shape_multiply_all_dims(&input->shape) / row_size;
}

// Stores the arguments of a fully connected layer: a pointwise convolution of an image that is one pixel wide, a row of the
// input a pixel.
static bool describe_fully_connected(
    const struct xnn_nm_datatype* datatype,
    const struct xnn_node* node,
    const struct xnn_value* input,
    const struct xnn_value* filter,
    struct xnn_nm_layer* layer)
{
  if ((node->flags & XNN_FLAG_TRANSPOSE_WEIGHTS) != 0 || filter->shape.num_dims != 2) {
    return false;
  }
  // The flags of a fully connected node mean other things to a convolution.
  *layer = xnn_describe_nm_layer(
    datatype, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, /*groups=*/1, /*group_input_channels=*/filter->shape.dim[1],
    /*group_output_channels=*/filter->shape.dim[0], /*filter=*/NULL, /*bias=*/NULL, node->activation.output_min,
    node->activation.output_max, /*flags=*/0);
  const size_t num_rows = xnn_count_nm_rows(input, filter);
  if (num_rows != 0) {
    layer->batch_size = 1;
    layer->input_height = layer->output_height = num_rows;
    layer->input_width = layer->output_width = 1;
  }
  return true;
}

// Whether filter and bias are of the types that go with that of the image: quantized ones by channels, or as a whole.
static bool has_datatypes(
    const struct xnn_nm_datatype* datatype,
    const struct xnn_value* filter,
    const struct xnn_value* bias)
{
  if (datatype == &xnn_nm_qs8_qc8w && filter->datatype == xnn_datatype_qint8) {
    return filter->quantization.zero_point == 0 && (bias == NULL || bias->datatype == xnn_datatype_qint32);
  }
  return filter->datatype == datatype->filter_datatype && (bias == NULL || bias->datatype == datatype->bias_datatype);
}

bool xnn_node_get_nm_layer(
    const struct xnn_value* values,
    const struct xnn_node* node,
    struct xnn_nm_layer* layer)
{
  if (node->type != xnn_node_type_convolution_2d && node->type != xnn_node_type_fully_connected) {
    return false;
  }
  const bool adds = (node->flags & XNN_FLAG_ADD_LAST_INPUT) != 0;
  const uint32_t num_inputs = node->num_inputs - (adds ? 1 : 0);
  const struct xnn_value* filter = &values[node->inputs[1]];
  const struct xnn_value* bias = num_inputs > 2 ? &values[node->inputs[2]] : NULL;
  const struct xnn_value* input = &values[node->inputs[0]];
  const struct xnn_value* output = &values[node->outputs[0]];
  const struct xnn_nm_datatype* datatype = xnn_find_nm_datatype(input->datatype);
  if (datatype == NULL || !has_datatypes(datatype, filter, bias) || output->datatype != datatype->datatype ||
      input->layout == xnn_layout_type_nchw || output->layout == xnn_layout_type_nchw || !xnn_value_is_static(filter) ||
      filter->data == NULL || (bias != NULL && bias->data == NULL)) {
    return false;
  }
  if (!(node->type == xnn_node_type_convolution_2d ?
          describe_convolution(datatype, node, input, output, layer) :
          describe_fully_connected(datatype, node, input, filter, layer))) {
    return false;
  }
  layer->filter = get_rows(filter);
  layer->bias = bias == NULL ? NULL : bias->data;
  if (datatype == &xnn_nm_qs8_qc8w) {
    set_quantization(layer, input, filter, output);
  }
  return true;
}
