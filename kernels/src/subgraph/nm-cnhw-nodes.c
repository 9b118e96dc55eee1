// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Which nodes can run in CNHW layout. Their values keep the shape that they have in NHWC; only the order in memory differs.

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/subgraph.h"

static bool is_image(const struct xnn_value* value)
{
  return xnn_find_nm_datatype(value->datatype) != NULL && value->shape.num_dims == 4 && !xnn_value_is_static(value) &&
    xnn_shape_multiply_all_dims(&value->shape) != 0;
}

// Of the same type and shape as another image.
static bool is_image_like(const struct xnn_value* value, const struct xnn_value* other)
{
  return is_image(value) && value->datatype == other->datatype &&
    memcmp(value->shape.dim, other->shape.dim, 4 * sizeof(size_t)) == 0;
}

static bool is_quantized(const struct xnn_value* value)
{
  return value->datatype == xnn_datatype_qint8;
}

// Whether a binary operand holds one number for each channel.
static bool is_channelwise(const struct xnn_value* value, size_t channels)
{
  return xnn_value_is_static(value) && value->shape.num_dims != 0 &&
    value->shape.dim[value->shape.num_dims - 1] == channels && xnn_shape_multiply_all_dims(&value->shape) == channels;
}

static bool supports_binary(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  const struct xnn_value* a = &subgraph->values[node->inputs[0]];
  const struct xnn_value* b = &subgraph->values[node->inputs[1]];
  const struct xnn_value* output = &subgraph->values[node->outputs[0]];
  if (!is_image(output)) {
    return false;
  }
  const size_t channels = output->shape.dim[3];
  const bool a_is_image = is_image_like(a, output);
  const bool b_is_image = is_image_like(b, output);
  if (a_is_image && b_is_image) {
    return true;
  }
  return !is_quantized(output) && a->datatype == b->datatype &&
    ((a_is_image && is_channelwise(b, channels)) || (b_is_image && is_channelwise(a, channels)));
}

typedef bool (*supports_fn)(const struct xnn_subgraph* subgraph, const struct xnn_node* node);

static bool reads_and_writes_images(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  return is_image(&subgraph->values[node->inputs[0]]) && is_image(&subgraph->values[node->outputs[0]]);
}

// Of one type: neither is quantized, or both are.
static bool reads_and_writes_alike(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  return reads_and_writes_images(subgraph, node) &&
    subgraph->values[node->inputs[0]].datatype == subgraph->values[node->outputs[0]].datatype;
}

static bool supports_average(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  return reads_and_writes_alike(subgraph, node) &&
    subgraph->values[node->inputs[0]].datatype == xnn_datatype_fp32;
}

static bool supports_layer(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  return reads_and_writes_images(subgraph, node) && node->nm_choice != NULL;
}

static bool supports_mean(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  const int64_t* axes = node->params.reduce.reduction_axes;
  return is_image(&subgraph->values[node->inputs[0]]) &&
    subgraph->values[node->outputs[0]].datatype == subgraph->values[node->inputs[0]].datatype && node->params.reduce.num_reduction_axes == 2 &&
    ((axes[0] == 1 && axes[1] == 2) || (axes[0] == 2 && axes[1] == 1) || (axes[0] == -3 && axes[1] == -2));
}

static bool supports_pad(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  const size_t* before = node->params.static_pad.pre_paddings;
  const size_t* after = node->params.static_pad.post_paddings;
  return reads_and_writes_alike(subgraph, node) && (before[0] | after[0] | before[3] | after[3]) == 0;
}

static bool supports_concatenate(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  const struct xnn_value* output = &subgraph->values[node->outputs[0]];
  for (uint32_t i = 0; i < node->num_inputs; i++) {
    const struct xnn_value* input = &subgraph->values[node->inputs[i]];
    if (!is_image(input) || input->datatype != output->datatype) {
      return false;
    }
  }
  return is_image(output) &&
    (node->params.concatenate.axis == 3 || node->params.concatenate.axis == -1);
}

static const struct kind {
  enum xnn_node_type type;
  supports_fn supports;
  // NULL where the node is as it is: layers carry their choice, and the order of elements does not matter to operators of
  // one input.
  const struct xnn_cnhw_functions* functions;
} kinds[] = {
  {xnn_node_type_convolution_2d, supports_layer, NULL},
  {xnn_node_type_unary_elementwise, reads_and_writes_images, NULL},
  {xnn_node_type_binary_elementwise, supports_binary, &xnn_cnhw_binary},
  {xnn_node_type_max_pooling_2d, reads_and_writes_alike, &xnn_cnhw_pooling},
  {xnn_node_type_average_pooling_2d, supports_average, &xnn_cnhw_pooling},
  {xnn_node_type_static_mean, supports_mean, &xnn_cnhw_mean},
  {xnn_node_type_static_constant_pad, supports_pad, &xnn_cnhw_pad},
  {xnn_node_type_concatenate2, supports_concatenate, &xnn_cnhw_concatenate},
  {xnn_node_type_concatenate3, supports_concatenate, &xnn_cnhw_concatenate},
  {xnn_node_type_concatenate4, supports_concatenate, &xnn_cnhw_concatenate},
  {xnn_node_type_concatenate5, supports_concatenate, &xnn_cnhw_concatenate},
};

static const struct kind* find_kind(enum xnn_node_type type)
{
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
    if (kinds[i].type == type) {
      return &kinds[i];
    }
  }
  return NULL;
}

bool xnn_node_supports_cnhw(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  const struct kind* kind = find_kind(node->type);
  return kind != NULL && node->num_inputs != 0 && node->num_outputs == 1 && kind->supports(subgraph, node);
}

bool xnn_node_leaves_cnhw(const struct xnn_node* node)
{
  return node->type == xnn_node_type_static_mean;
}

void xnn_node_run_in_cnhw(struct xnn_node* node)
{
  const struct kind* kind = find_kind(node->type);
  assert(kind != NULL);
  if (kind->functions != NULL) {
    node->create = kind->functions->create;
    node->reshape = kind->functions->reshape;
    node->setup = kind->functions->setup;
  }
}
