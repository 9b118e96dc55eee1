// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What N:M layers and CNHW pooling can do besides: padding with the least value, additions, clamps.

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-choice.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/subgraph.h"

// Whether the value is seen by one node only, and its producer, too, is a node.
static bool is_private(const struct xnn_value* value)
{
  return xnn_value_is_internal(value) && !xnn_value_is_persistent(value) && value->num_consumers == 1 &&
    value->producer != XNN_INVALID_NODE_ID && value->first_consumer != XNN_INVALID_NODE_ID;
}

// Whether the value that a tensor is padded with is the least of its type.
static bool is_least(enum xnn_datatype datatype, uint32_t bits)
{
  switch (datatype) {
    case xnn_datatype_fp32:
      return bits == UINT32_C(0xFF800000);
    case xnn_datatype_fp16:
      return bits == UINT32_C(0xFC00);
    case xnn_datatype_qint8:
      return bits == (uint32_t) INT8_MIN;
    case xnn_datatype_quint8:
      return bits == 0;
    default:
      return false;
  }
}

void xnn_subgraph_fuse_least_padding(xnn_subgraph_t subgraph)
{
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    struct xnn_node* pool = &subgraph->nodes[n];
    if (pool->type != xnn_node_type_max_pooling_2d || (pool->flags & XNN_FLAG_TENSORFLOW_SAME_PADDING) != 0) {
      continue;
    }
    struct xnn_value* value = &subgraph->values[pool->inputs[0]];
    if (!is_private(value) || value->shape.num_dims != 4) {
      continue;
    }
    struct xnn_node* pad = &subgraph->nodes[value->producer];
    if (pad->type != xnn_node_type_static_constant_pad ||
        !is_least(value->datatype, pad->params.static_pad.padding_value)) {
      continue;
    }
    const size_t* before = pad->params.static_pad.pre_paddings;
    const size_t* after = pad->params.static_pad.post_paddings;
    const size_t top = before[1] + pool->params.pooling_2d.padding_top;
    const size_t left = before[2] + pool->params.pooling_2d.padding_left;
    const size_t bottom = after[1] + pool->params.pooling_2d.padding_bottom;
    const size_t right = after[2] + pool->params.pooling_2d.padding_right;
    // Each window must still touch the image.
    if ((before[0] | after[0] | before[3] | after[3]) != 0 ||
        max(top, bottom) >= pool->params.pooling_2d.pooling_height ||
        max(left, right) >= pool->params.pooling_2d.pooling_width ||
        (pool->params.pooling_2d.dilation_height | pool->params.pooling_2d.dilation_width) != 1) {
      continue;
    }
    xnn_log_info("fuse Constant Pad Node #%" PRIu32 " into Max Pooling 2D Node #%" PRIu32, pad->id, pool->id);
    pool->params.pooling_2d.padding_top = (uint32_t) top;
    pool->params.pooling_2d.padding_left = (uint32_t) left;
    pool->params.pooling_2d.padding_bottom = (uint32_t) bottom;
    pool->params.pooling_2d.padding_right = (uint32_t) right;
    pool->inputs[0] = pad->inputs[0];
    xnn_node_clear(pad);
    xnn_value_clear(value);
  }
}

// Whether the node adds two tensors that have the same elements in the same order.
static bool adds_two(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  if (node->type != xnn_node_type_binary_elementwise || node->binary_operator != xnn_binary_add) {
    return false;
  }
  const struct xnn_value* a = &subgraph->values[node->inputs[0]];
  const struct xnn_value* b = &subgraph->values[node->inputs[1]];
  return node->inputs[0] != node->inputs[1] && xnn_are_nm_shapes_alike(&a->shape, &b->shape) &&
    !xnn_value_is_static(a) && !xnn_value_is_static(b) && a->datatype == b->datatype &&
    xnn_find_nm_datatype(a->datatype) != NULL && xnn_find_nm_datatype(a->datatype)->has_partial_sums;
}

// The layer that can add the other input of the node to its own output, or NULL.
static struct xnn_node* find_layer(
  xnn_subgraph_t subgraph,
  uint32_t flags,
  const bool* in_cnhw,
  uint32_t add_index,
  uint32_t value_id)
{
  const struct xnn_value* value = &subgraph->values[value_id];
  if (!is_private(value)) {
    return NULL;
  }
  struct xnn_node* node = &subgraph->nodes[value->producer];
  if (node->nm_choice == NULL || in_cnhw[value->producer] != in_cnhw[add_index] || node->nm_choice->adds ||
      node->num_inputs == XNN_MAX_INPUTS || node->activation.output_min != -INFINITY ||
      node->activation.output_max != INFINITY) {
    return NULL;
  }
  const bool is_chosen = in_cnhw[value->producer] ||
    xnn_decide_nm_nhwc(node->nm_choice, flags, /*adds=*/true) == xnn_nm_reason_chosen;
  return is_chosen ? node : NULL;
}

// Lets the node clamp what the only consumer of its output clamps.
static void fuse_clamp(xnn_subgraph_t subgraph, uint32_t index, const bool* in_cnhw)
{
  struct xnn_node* node = &subgraph->nodes[index];
  struct xnn_value* value = &subgraph->values[node->outputs[0]];
  if (!is_private(value)) {
    return;
  }
  struct xnn_node* clamp = &subgraph->nodes[value->first_consumer];
  if (clamp->type != xnn_node_type_unary_elementwise || clamp->unary_operator != xnn_unary_clamp ||
      in_cnhw[value->first_consumer] != in_cnhw[index]) {
    return;
  }
  xnn_log_info("fuse Clamp Node #%" PRIu32 " into upstream Node #%" PRIu32, clamp->id, node->id);
  node->activation.output_min = clamp->params.unary.clamp.min;
  node->activation.output_max = clamp->params.unary.clamp.max;
  node->outputs[0] = clamp->outputs[0];
  subgraph->values[clamp->outputs[0]].producer = node->id;
  xnn_node_clear(clamp);
  xnn_value_clear(value);
}

void xnn_subgraph_fuse_additions(xnn_subgraph_t subgraph, uint32_t flags, const bool* in_cnhw)
{
  if ((flags & XNN_FLAG_NO_OPERATOR_FUSION) != 0) {
    return;
  }
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    struct xnn_node* add = &subgraph->nodes[n];
    if (add->type == xnn_node_type_invalid || !adds_two(subgraph, add)) {
      continue;
    }
    for (uint32_t i = 0; i < 2; i++) {
      const uint32_t value_id = add->inputs[i];
      const uint32_t residual_id = add->inputs[1 - i];
      struct xnn_node* layer = find_layer(subgraph, flags, in_cnhw, n, value_id);
      if (layer == NULL) {
        continue;
      }
      xnn_log_info("fuse Add Node #%" PRIu32 " into %s Node #%" PRIu32, add->id, xnn_node_type_to_string(layer->type), layer->id);
      // The layer moves to the addition's place, where its other input has been computed.
      const uint32_t output_id = add->outputs[0];
      *add = *layer;
      add->id = n;
      add->inputs[add->num_inputs++] = residual_id;
      add->outputs[0] = output_id;
      add->flags |= XNN_FLAG_ADD_LAST_INPUT;
      if (in_cnhw[n]) {
        add->nm_choice->adds = true;
      } else {
        xnn_choose_nm_residual(add->nm_choice);
        xnn_node_carry_nm_choice(add, add->nm_choice);
      }
      xnn_node_clear(layer);
      xnn_value_clear(&subgraph->values[value_id]);
      fuse_clamp(subgraph, n, in_cnhw);
      break;
    }
  }
}
