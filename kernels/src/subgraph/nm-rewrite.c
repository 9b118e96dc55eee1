// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Rewrites a graph so that N:M layers pay off: chooses their operators, then layouts, fuses what they can do besides, and
// inserts conversions where layouts meet.

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/nm-choice.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/subgraph.h"

// Larger graphs stay NHWC: the time to choose, a second for so many, grows faster than they do.
#define MAX_NODES 4096

// Adds a value like another but for its layout, and returns its identifier.
static uint32_t add_value(xnn_subgraph_t subgraph, uint32_t value_id, enum xnn_layout_type layout)
{
  struct xnn_value* added = xnn_subgraph_new_internal_value(subgraph);
  if (added == NULL) {
    return XNN_INVALID_VALUE_ID;
  }
  const struct xnn_value* value = &subgraph->values[value_id];
  added->type = value->type;
  added->datatype = value->datatype;
  added->quantization = value->quantization;
  added->shape = value->shape;
  added->allocation_type = xnn_allocation_type_workspace;
  added->layout = layout;
  return added->id;
}

// Appends a node that converts a value to the layout of another.
static bool append_conversion(xnn_subgraph_t subgraph, uint32_t input_id, uint32_t output_id)
{
  struct xnn_node* node = xnn_subgraph_new_node(subgraph);
  if (node == NULL) {
    return false;
  }
  xnn_node_convert_layout(node, input_id, output_id);
  return true;
}

// What rewriting a graph works on.
struct rewriting {
  xnn_subgraph_t subgraph;
  uint32_t flags;
  // A copy of the nodes, and whether each runs in CNHW layout.
  struct xnn_node* nodes;
  const bool* in_cnhw;
  // What each value has been converted to, or XNN_INVALID_VALUE_ID.
  uint32_t num_values;
  uint32_t* converted;
  size_t num_conversions;
};

// Converts those inputs of a node that lie in the other layout, in front of the first node that needs it.
static enum xnn_status convert_inputs(struct rewriting* rewriting, struct xnn_node* node, bool in_cnhw)
{
  xnn_subgraph_t subgraph = rewriting->subgraph;
  for (uint32_t i = 0; i < node->num_inputs && node->type != xnn_node_type_invalid; i++) {
    const uint32_t value_id = node->inputs[i];
    const struct xnn_value* value = &subgraph->values[value_id];
    const bool from_cnhw = value->layout == xnn_layout_type_cnhw;
    if (!xnn_is_nm_image(value) || from_cnhw == in_cnhw || value_id >= rewriting->num_values) {
      continue;
    }
    if (!xnn_needs_nm_conversion(subgraph, node, i, from_cnhw, in_cnhw)) {
      node->flags |= XNN_FLAG_INPUT_NHWC;
      continue;
    }
    uint32_t* converted = &rewriting->converted[value_id];
    if (*converted == XNN_INVALID_VALUE_ID) {
      *converted = add_value(subgraph, value_id, in_cnhw ? xnn_layout_type_cnhw : xnn_layout_type_nhwc);
      if (*converted == XNN_INVALID_VALUE_ID || !append_conversion(subgraph, value_id, *converted)) {
        return xnn_status_out_of_memory;
      }
      rewriting->num_conversions += 1;
    }
    node->inputs[i] = *converted;
  }
  return xnn_status_success;
}

// Lets a node run in CNHW layout.
static enum xnn_status run_in_cnhw(const struct rewriting* rewriting, struct xnn_node* node)
{
  struct xnn_nm_choice* choice = node->nm_choice;
  if (choice == NULL) {
    xnn_node_run_in_cnhw(node);
    return xnn_status_success;
  }
  struct xnn_nm_layer layer;
  if ((node->flags & XNN_FLAG_INPUT_NHWC) != 0 &&
      xnn_node_get_nm_layer(rewriting->subgraph->values, node, &layer)) {
    // Its image was thought to be in CNHW, too: packing it from NHWC costs something else.
    const enum xnn_status status = xnn_examine_nm_cnhw(choice, &layer);
    if (status != xnn_status_success) {
      return status;
    }
  }
  xnn_choose_nm_cnhw(choice, rewriting->flags);
  xnn_node_carry_nm_choice(node, choice);
  return xnn_status_success;
}

// Lets a node, the last one of the graph, write its outputs in CNHW layout. What is external or persistent stays NHWC: the
// node writes to a value in front of it.
static enum xnn_status write_cnhw(struct rewriting* rewriting, uint32_t node_id)
{
  xnn_subgraph_t subgraph = rewriting->subgraph;
  for (uint32_t o = 0; o < subgraph->nodes[node_id].num_outputs; o++) {
    const uint32_t value_id = subgraph->nodes[node_id].outputs[o];
    struct xnn_value* value = &subgraph->values[value_id];
    if (!xnn_value_is_external_output(value) && !xnn_value_is_persistent(value)) {
      value->layout = xnn_layout_type_cnhw;
      continue;
    }
    const uint32_t before_id = add_value(subgraph, value_id, xnn_layout_type_cnhw);
    if (before_id == XNN_INVALID_VALUE_ID || !append_conversion(subgraph, before_id, value_id)) {
      return xnn_status_out_of_memory;
    }
    subgraph->nodes[node_id].outputs[o] = before_id;
    rewriting->converted[value_id] = before_id;
    rewriting->num_conversions += 1;
  }
  return xnn_status_success;
}

// Appends a node to the graph, with what it needs.
static enum xnn_status append_node(struct rewriting* rewriting, uint32_t n)
{
  struct xnn_node* original = &rewriting->nodes[n];
  // What was fused into another node is left behind.
  const bool in_cnhw = rewriting->in_cnhw[n] && original->type != xnn_node_type_invalid;
  enum xnn_status status = convert_inputs(rewriting, original, in_cnhw);
  if (status != xnn_status_success) {
    return status;
  }
  struct xnn_node* node = xnn_subgraph_new_node(rewriting->subgraph);
  if (node == NULL) {
    return xnn_status_out_of_memory;
  }
  const uint32_t id = node->id;
  *node = *original;
  node->id = id;
  if (in_cnhw) {
    status = run_in_cnhw(rewriting, node);
  }
  const bool writes_cnhw = in_cnhw && !xnn_node_leaves_cnhw(original);
  return status == xnn_status_success && writes_cnhw ? write_cnhw(rewriting, id) : status;
}

static enum xnn_status insert_conversions(struct rewriting* rewriting)
{
  xnn_subgraph_t subgraph = rewriting->subgraph;
  const uint32_t num_nodes = subgraph->num_nodes;
  rewriting->num_values = subgraph->num_values;
  rewriting->nodes = xnn_allocate_memory(num_nodes * sizeof(struct xnn_node));
  rewriting->converted = xnn_allocate_memory(subgraph->num_values * sizeof(uint32_t));
  enum xnn_status status = xnn_status_success;
  if (rewriting->nodes == NULL || rewriting->converted == NULL) {
    xnn_log_error("failed to allocate memory to rewrite %" PRIu32 " nodes", num_nodes);
    status = xnn_status_out_of_memory;
  } else {
    memcpy(rewriting->nodes, subgraph->nodes, num_nodes * sizeof(struct xnn_node));
    for (uint32_t v = 0; v < subgraph->num_values; v++) {
      rewriting->converted[v] = XNN_INVALID_VALUE_ID;
    }
    subgraph->num_nodes = 0;
    for (uint32_t n = 0; n < num_nodes && status == xnn_status_success; n++) {
      status = append_node(rewriting, n);
    }
  }
  xnn_release_memory(rewriting->nodes);
  xnn_release_memory(rewriting->converted);
  return status;
}

// Closes the gaps that fused nodes leave: XNNPACK cannot create another runtime from a graph that has some.
static void remove_fused_nodes(xnn_subgraph_t subgraph)
{
  uint32_t num_nodes = 0;
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    if (subgraph->nodes[n].type != xnn_node_type_invalid) {
      subgraph->nodes[num_nodes] = subgraph->nodes[n];
      subgraph->nodes[num_nodes].id = num_nodes;
      num_nodes += 1;
    }
  }
  subgraph->num_nodes = num_nodes;
}

// Whether an earlier runtime was created from this graph.
static bool is_rewritten(const struct xnn_subgraph* subgraph)
{
  for (uint32_t v = 0; v < subgraph->num_values; v++) {
    if (subgraph->values[v].layout == xnn_layout_type_cnhw) {
      return true;
    }
  }
  return false;
}

// Brings nodes to CNHW layout.
static enum xnn_status rewrite(xnn_subgraph_t subgraph, uint32_t flags, const bool* in_cnhw)
{
  const uint32_t num_nodes = subgraph->num_nodes;
  size_t num_cnhw = 0;
  for (uint32_t n = 0; n < num_nodes; n++) {
    num_cnhw += in_cnhw[n] && subgraph->nodes[n].type != xnn_node_type_invalid;
  }
  struct rewriting rewriting = {.subgraph = subgraph, .flags = flags, .in_cnhw = in_cnhw};
  enum xnn_status status = xnn_status_success;
  if (num_cnhw != 0) {
    status = insert_conversions(&rewriting);
  }
  xnn_log_info(
    "layouts: %zu of %" PRIu32 " nodes run in CNHW, %zu conversions", num_cnhw, num_nodes, rewriting.num_conversions);
  remove_fused_nodes(subgraph);
  xnn_subgraph_analyze_consumers_and_producers(subgraph);
  return status == xnn_status_success && num_cnhw != 0 ? xnn_subgraph_choose_bands(subgraph) : status;
}

enum xnn_status xnn_subgraph_rewrite_for_nm(xnn_subgraph_t subgraph, uint32_t flags)
{
  if (subgraph->num_nodes == 0) {
    return xnn_status_success;
  }
  if (is_rewritten(subgraph)) {
    const enum xnn_status again = xnn_examine_nm_choices_again(subgraph);
    remove_fused_nodes(subgraph);
    xnn_subgraph_analyze_consumers_and_producers(subgraph);
    return again == xnn_status_success ? xnn_subgraph_choose_bands(subgraph) : again;
  }
  enum xnn_status status = xnn_choose_nm_operators(subgraph, flags);
  if (status != xnn_status_success ||
      (flags & (XNN_FLAG_HINT_NM_SPARSE_INFERENCE | XNN_FLAG_FORCE_NM_SPARSE_INFERENCE)) == 0) {
    return status;
  }
  xnn_subgraph_analyze_consumers_and_producers(subgraph);
  xnn_subgraph_fuse_least_padding(subgraph);
  xnn_subgraph_analyze_consumers_and_producers(subgraph);
  bool* in_cnhw = xnn_allocate_zero_memory(subgraph->num_nodes * sizeof(bool));
  if (in_cnhw == NULL) {
    xnn_log_error("failed to allocate %zu bytes to choose layouts", subgraph->num_nodes * sizeof(bool));
    return xnn_status_out_of_memory;
  }
  if (subgraph->num_nodes > MAX_NODES) {
    xnn_log_warning(
      "layouts: %" PRIu32 " nodes stay in NHWC, at most %d are examined", subgraph->num_nodes, MAX_NODES);
  } else if ((flags & XNN_FLAG_FORCE_NM_NHWC) == 0) {
    status = xnn_choose_nm_layouts(subgraph, flags, in_cnhw);
  }
  if (status == xnn_status_success) {
    xnn_subgraph_fuse_additions(subgraph, flags, in_cnhw);
    status = rewrite(subgraph, flags, in_cnhw);
  }
  xnn_release_memory(in_cnhw);
  return status;
}
