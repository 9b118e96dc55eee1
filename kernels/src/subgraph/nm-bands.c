// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Which values between layers of CNHW images lie in bands.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/subgraph.h"

// Whether the node is a convolution in CNHW layout.
static bool is_in_cnhw(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  return node->type == xnn_node_type_convolution_2d &&
    subgraph->values[node->outputs[0]].layout == xnn_layout_type_cnhw;
}

static bool reads_bands(const struct xnn_subgraph* subgraph, const struct xnn_node* node)
{
  if (node->type == xnn_node_type_static_transpose) {
    // It writes more than the image: not to a value that has no room for it, nor to one that a second runtime of this
    // graph may replace by such a value, as the output of a copy.
    const struct xnn_value* output = &subgraph->values[node->outputs[0]];
    return (node->flags & XNN_FLAG_CONVERT_LAYOUT) != 0 && xnn_value_is_internal(output) &&
      !(output->num_consumers == 1 && subgraph->nodes[output->first_consumer].type == xnn_node_type_copy);
  }
  struct xnn_nm_layer layer;
  return is_in_cnhw(subgraph, node) && xnn_node_get_nm_layer(subgraph->values, node, &layer) &&
    xnn_can_nm_read_bands(&layer);
}

// Removes the values that the node cannot handle in bands, and tells whether there were any.
static bool remove_values(const struct xnn_subgraph* subgraph, const struct xnn_node* node, bool* in_bands)
{
  bool* output = &in_bands[node->outputs[0]];
  bool is_changed = false;
  for (uint32_t i = 0; i < node->num_inputs; i++) {
    bool* input = &in_bands[node->inputs[i]];
    const bool is_added = i + 1 == node->num_inputs && (node->flags & XNN_FLAG_ADD_LAST_INPUT) != 0;
    if (*input && !(is_added ? *output : i == 0 && reads_bands(subgraph, node))) {
      *input = false;
      is_changed = true;
    }
    // What is added lies as the output does.
    if (is_added && *output && !*input) {
      *output = false;
      is_changed = true;
    }
  }
  return is_changed;
}

enum xnn_status xnn_subgraph_choose_bands(xnn_subgraph_t subgraph)
{
  bool* in_bands = xnn_allocate_zero_memory(subgraph->num_values * sizeof(bool));
  if (in_bands == NULL) {
    xnn_log_error("failed to allocate memory to choose the bands of %zu values", (size_t) subgraph->num_values);
    return xnn_status_out_of_memory;
  }
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    const struct xnn_node* node = &subgraph->nodes[n];
    if (is_in_cnhw(subgraph, node)) {
      const struct xnn_value* output = &subgraph->values[node->outputs[0]];
      in_bands[output->id] = !xnn_value_is_external(output) && !xnn_value_is_persistent(output);
    }
  }
  bool is_changed = true;
  while (is_changed) {
    is_changed = false;
    // Backwards, as one value's removal decides on what was added to it.
    for (uint32_t n = subgraph->num_nodes; n != 0; n--) {
      is_changed |= remove_values(subgraph, &subgraph->nodes[n - 1], in_bands);
    }
  }
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    struct xnn_node* node = &subgraph->nodes[n];
    // An earlier runtime may have chosen others.
    node->flags &= ~(XNN_FLAG_INPUT_BANDS | XNN_FLAG_OUTPUT_BANDS);
    if (node->type != xnn_node_type_invalid) {
      node->flags |= in_bands[node->inputs[0]] ? XNN_FLAG_INPUT_BANDS : 0;
      node->flags |= in_bands[node->outputs[0]] ? XNN_FLAG_OUTPUT_BANDS : 0;
    }
  }
  xnn_release_memory(in_bands);
  return xnn_status_success;
}
