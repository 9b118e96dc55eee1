// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Chooses a layout, NHWC or CNHW, for each node of a graph, and inserts conversions where they meet.
//
// The choice is the cheapest there is under the cost rule: convolutions cost what their micro-kernels are said to cost in
// each layout, values that cross cost a transposition (one for all their consumers), everything else costs the same in
// both. With two layouts, that is a minimum cut. Conversions belong to the borders of a graph: while there are more than
// inputs and outputs, those between nodes that could share a layout are made dearer and the cut is solved again.

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"
#include "xnnpack/node-type.h"
#include "xnnpack/subgraph.h"

// How often conversions within the graph are made twice as dear.
#define MAX_DOUBLINGS 16
// Convolutions of at most that many channels read NHWC images as well as CNHW ones.
#define MAX_DIRECT_CHANNELS 4
// Larger graphs stay NHWC: the time to choose, a second for so many, grows faster than they do.
#define MAX_NODES 4096

// The nodes of the cut: source (CNHW), sink (NHWC), nodes of the graph, two helpers for each value.
#define CUT_NHWC 1
#define CUT_NODE(node) (2 + (node))
#define CUT_VALUE(subgraph, value) (2 + (size_t) (subgraph)->num_nodes + 2 * (size_t) (value))

// A node that reads a value, and as which of its inputs.
struct value_use {
  uint32_t node;
  uint32_t input;
};

// What is known of each node.
struct layout_plan {
  bool* supports_cnhw;
  bool* nhwc_output;
  // The result.
  bool* in_cnhw;
  // Predicted time of each convolution in weights of the dense micro-kernel, 0 for other nodes; and of all.
  double* nhwc_costs;
  double* cnhw_costs;
  double nhwc_cost;
  double cnhw_cost;
  size_t num_sparse;
  // How much dearer a value is to convert that nodes write and read which could do it in CNHW.
  double inner_conversion_factor;
  // Uses of all values, value by value; index of each value's first, and one past the last of all.
  struct value_use* uses;
  uint32_t* first_use;
};

static bool is_image(const struct xnn_value* value)
{
  return value->shape.num_dims == 4 && !xnn_value_is_static(value);
}

// Whether a node reads this input in NHWC layout at no further cost: a convolution's image, not what it adds.
static bool reads_nhwc(const struct xnn_subgraph* subgraph, const struct xnn_node* node, uint32_t input)
{
  return node->type == xnn_node_type_convolution_2d && input == 0 &&
    subgraph->values[node->inputs[0]].shape.dim[3] <= MAX_DIRECT_CHANNELS;
}

// Whether an input that is in CNHW, or not, must be converted for a node that runs in CNHW, or not.
static bool needs_conversion(
  const struct xnn_subgraph* subgraph,
  const struct xnn_node* node,
  uint32_t input,
  bool input_in_cnhw,
  bool node_in_cnhw)
{
  return input_in_cnhw != node_in_cnhw && !(node_in_cnhw && reads_nhwc(subgraph, node, input));
}

static bool has_pixels(const struct xnn_value* value)
{
  return value->shape.num_dims == 4 && xnn_shape_multiply_all_dims(&value->shape) != 0;
}

// Predicts the time of a convolution in both layouts. Returns false where it must stay NHWC.
static bool predict(
  const struct xnn_subgraph* subgraph,
  const struct xnn_node* node,
  uint32_t flags,
  double* nhwc_cost,
  double* cnhw_cost,
  bool* is_sparse)
{
  const struct xnn_value* output = &subgraph->values[node->outputs[0]];
  struct xnn_nm_convolution2d conv;
  if (!xnn_node_get_nm_convolution(subgraph->values, node, flags, &conv) || !has_pixels(output)) {
    return false;
  }
  struct xnn_nmconv_analysis nhwc;
  struct xnn_nm_convolution_info info = {0};
  float dense_cost = 0.0f;
  const enum xnn_nm_reason reason = xnn_choose_nm_nhwc(&conv, flags, &nhwc, &info, &dense_cost);
  const size_t pixels = output->shape.dim[0] * output->shape.dim[1] * output->shape.dim[2];
  struct xnn_nmspmm_analysis cnhw;
  if (dense_cost == 0.0f ||
      xnn_analyze_convolution2d_nm_cnhw_f32(&conv, pixels, &cnhw) != xnn_status_success) {
    return false;
  }
  *is_sparse = info.column_density < 1.0f || !cnhw.dense;
  const float cost = dense_cost /
    (reason == xnn_nm_reason_chosen ? info.predicted_speedup : XNN_NM_MIN_PREDICTED_SPEEDUP);
  *nhwc_cost = (double) cost * (double) pixels;
  *cnhw_cost = (double) cnhw.cost * (double) pixels;
  xnn_release_nmspmm_analysis(&cnhw);
  return true;
}

static uint64_t to_cost(double cost)
{
  return cost < 0.0 ? 0 : (uint64_t) min(cost, 1.0e15);
}

static bool is_produced_in_nhwc(const struct layout_plan* plan, const struct xnn_value* value)
{
  return value->producer == XNN_INVALID_NODE_ID || !plan->supports_cnhw[value->producer] ||
    plan->nhwc_output[value->producer];
}

// Whether a conversion of the value would be within the graph, not at a border of what can run in CNHW.
static bool is_inner(const struct xnn_subgraph* subgraph, const struct layout_plan* plan, uint32_t value_id)
{
  if (is_produced_in_nhwc(plan, &subgraph->values[value_id])) {
    return false;
  }
  for (uint32_t u = plan->first_use[value_id]; u < plan->first_use[value_id + 1]; u++) {
    if (plan->supports_cnhw[plan->uses[u].node]) {
      return true;
    }
  }
  return false;
}

// Conversions in the graph, as it is planned.
static size_t count_conversions(const struct xnn_subgraph* subgraph, const struct layout_plan* plan)
{
  size_t count = 0;
  for (uint32_t v = 0; v < subgraph->num_values; v++) {
    const struct xnn_value* value = &subgraph->values[v];
    if (!xnn_value_is_valid(value) || !is_image(value)) {
      continue;
    }
    const bool from_cnhw = !is_produced_in_nhwc(plan, value) && plan->in_cnhw[value->producer];
    bool is_converted = from_cnhw && (xnn_value_is_external_output(value) || xnn_value_is_persistent(value));
    for (uint32_t u = plan->first_use[v]; u < plan->first_use[v + 1]; u++) {
      const struct value_use* use = &plan->uses[u];
      is_converted |= needs_conversion(
        subgraph, &subgraph->nodes[use->node], use->input, from_cnhw, plan->in_cnhw[use->node]);
    }
    count += is_converted;
  }
  return count;
}

// Adds what it costs where a value's producer and its consumers differ.
static void add_value(
  const struct xnn_subgraph* subgraph,
  const struct layout_plan* plan,
  uint32_t value_id,
  struct xnn_min_cut* cut)
{
  const struct xnn_value* value = &subgraph->values[value_id];
  const bool produced_in_nhwc = is_produced_in_nhwc(plan, value);
  const size_t producer = produced_in_nhwc ? CUT_NHWC : CUT_NODE(value->producer);
  const double factor = is_inner(subgraph, plan, value_id) ? plan->inner_conversion_factor : 1.0;
  const uint64_t cost = to_cost(factor * xnn_predict_conversion(xnn_shape_multiply_all_dims(&value->shape)));
  // Any consumer in CNHW pulls to_cnhw there, which costs if the producer is not; and the other way around.
  const size_t to_cnhw = CUT_VALUE(subgraph, value_id);
  const size_t to_nhwc = to_cnhw + 1;
  xnn_add_min_cut_edge(cut, to_cnhw, producer, cost);
  xnn_add_min_cut_edge(cut, producer, to_nhwc, cost);
  for (uint32_t u = plan->first_use[value_id]; u < plan->first_use[value_id + 1]; u++) {
    const struct value_use* use = &plan->uses[u];
    const size_t consumer = plan->supports_cnhw[use->node] ? CUT_NODE(use->node) : CUT_NHWC;
    if (!(produced_in_nhwc && reads_nhwc(subgraph, &subgraph->nodes[use->node], use->input))) {
      xnn_add_min_cut_edge(cut, consumer, to_cnhw, XNN_INFINITE_CUT_COST);
    }
    xnn_add_min_cut_edge(cut, to_nhwc, consumer, XNN_INFINITE_CUT_COST);
  }
  if (xnn_value_is_external_output(value) || xnn_value_is_persistent(value)) {
    xnn_add_min_cut_edge(cut, to_nhwc, CUT_NHWC, XNN_INFINITE_CUT_COST);
  }
}

// Fills plan->in_cnhw with the cheapest layouts.
static enum xnn_status cut_graph(
  const struct xnn_subgraph* subgraph,
  bool force_cnhw,
  struct layout_plan* plan)
{
  size_t max_edges = 0;
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    max_edges += 2 + 2 * subgraph->nodes[n].num_inputs;
  }
  max_edges += 3 * subgraph->num_values;
  const size_t num_cut_nodes = CUT_VALUE(subgraph, subgraph->num_values);
  struct xnn_min_cut* cut = xnn_create_min_cut(num_cut_nodes, max_edges);
  bool* on_source_side = xnn_allocate_memory(num_cut_nodes * sizeof(bool));
  enum xnn_status status = xnn_status_success;
  if (cut == NULL || on_source_side == NULL) {
    xnn_log_error("failed to allocate memory to choose the layouts of %zu nodes", (size_t) subgraph->num_nodes);
    status = xnn_status_out_of_memory;
    goto cleanup;
  }
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    if (plan->supports_cnhw[n] && subgraph->nodes[n].type == xnn_node_type_convolution_2d) {
      // What a node costs in a layout is cut where it is on the other side.
      xnn_add_min_cut_edge(
        cut, 0, CUT_NODE(n), force_cnhw ? XNN_INFINITE_CUT_COST / 1024 : to_cost(plan->nhwc_costs[n]));
      xnn_add_min_cut_edge(cut, CUT_NODE(n), CUT_NHWC, force_cnhw ? 0 : to_cost(plan->cnhw_costs[n]));
    }
  }
  for (uint32_t v = 0; v < subgraph->num_values; v++) {
    if (xnn_value_is_valid(&subgraph->values[v]) && is_image(&subgraph->values[v])) {
      add_value(subgraph, plan, v, cut);
    }
  }
  if (xnn_solve_min_cut(cut, on_source_side)) {
    for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
      plan->in_cnhw[n] = plan->supports_cnhw[n] && on_source_side[CUT_NODE(n)];
    }
  }

cleanup:
  xnn_delete_min_cut(cut);
  xnn_release_memory(on_source_side);
  return status;
}

// Lists the uses of each value.
static enum xnn_status list_uses(const struct xnn_subgraph* subgraph, struct layout_plan* plan)
{
  size_t num_uses = 0;
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    num_uses += subgraph->nodes[n].num_inputs;
  }
  plan->uses = xnn_allocate_memory(max(num_uses, 1) * sizeof(struct value_use));
  plan->first_use = xnn_allocate_zero_memory(((size_t) subgraph->num_values + 2) * sizeof(uint32_t));
  if (plan->uses == NULL || plan->first_use == NULL) {
    xnn_log_error("failed to allocate memory to list %zu uses of values", num_uses);
    return xnn_status_out_of_memory;
  }
  // Counted two entries on, so that an entry is where to put the next use, and in the end one past the last.
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    const struct xnn_node* node = &subgraph->nodes[n];
    for (uint32_t i = 0; i < node->num_inputs && node->type != xnn_node_type_invalid; i++) {
      plan->first_use[node->inputs[i] + 2]++;
    }
  }
  for (uint32_t v = 2; v < subgraph->num_values + 2; v++) {
    plan->first_use[v] += plan->first_use[v - 1];
  }
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    const struct xnn_node* node = &subgraph->nodes[n];
    for (uint32_t i = 0; i < node->num_inputs && node->type != xnn_node_type_invalid; i++) {
      plan->uses[plan->first_use[node->inputs[i] + 1]++] = (struct value_use) {.node = n, .input = i};
    }
  }
  return xnn_status_success;
}

// Fills the plan.
static enum xnn_status choose_layouts(
  const struct xnn_subgraph* subgraph,
  uint32_t flags,
  struct layout_plan* plan)
{
  const bool force_cnhw = (flags & XNN_FLAG_FORCE_NM_CNHW) != 0;
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    const struct xnn_node* node = &subgraph->nodes[n];
    if (node->type == xnn_node_type_invalid) {
      continue;
    }
    plan->supports_cnhw[n] = xnn_node_supports_cnhw(subgraph, node, &plan->nhwc_output[n]);
    if (plan->supports_cnhw[n] && node->type == xnn_node_type_convolution_2d) {
      bool is_sparse = false;
      plan->supports_cnhw[n] =
        predict(subgraph, node, flags, &plan->nhwc_costs[n], &plan->cnhw_costs[n], &is_sparse);
      plan->num_sparse += is_sparse;
      plan->nhwc_cost += plan->nhwc_costs[n];
      plan->cnhw_cost += plan->cnhw_costs[n];
    }
  }
  // Without a zero column there is nothing to gain but what the dense operator should gain by itself.
  if (plan->num_sparse == 0 && !force_cnhw) {
    return xnn_status_success;
  }
  enum xnn_status status = list_uses(subgraph, plan);
  if (status != xnn_status_success) {
    return status;
  }
  size_t num_borders = 0;
  for (uint32_t v = 0; v < subgraph->num_values; v++) {
    const struct xnn_value* value = &subgraph->values[v];
    num_borders += xnn_value_is_valid(value) && xnn_value_is_external(value) && !xnn_value_is_static(value);
  }
  plan->inner_conversion_factor = 1.0;
  for (size_t i = 0; i <= MAX_DOUBLINGS; i++) {
    status = cut_graph(subgraph, force_cnhw, plan);
    if (status != xnn_status_success || count_conversions(subgraph, plan) <= num_borders) {
      return status;
    }
    plan->inner_conversion_factor *= 2.0;
  }
  return xnn_status_success;
}

// Appends a node that converts a value, and returns the converted value's identifier.
static uint32_t convert(xnn_subgraph_t subgraph, uint32_t value_id, enum xnn_layout_type layout)
{
  struct xnn_value* converted = xnn_subgraph_new_internal_value(subgraph);
  if (converted == NULL) {
    return XNN_INVALID_VALUE_ID;
  }
  const struct xnn_value* value = &subgraph->values[value_id];
  converted->type = value->type;
  converted->datatype = value->datatype;
  converted->shape = value->shape;
  converted->allocation_type = xnn_allocation_type_workspace;
  converted->layout = layout;
  const uint32_t converted_id = converted->id;
  struct xnn_node* node = xnn_subgraph_new_node(subgraph);
  if (node == NULL) {
    return XNN_INVALID_VALUE_ID;
  }
  xnn_node_convert_layout(node, value_id, converted_id);
  return converted_id;
}

// Rewrites the nodes in order, each conversion in front of the first node that needs it.
static enum xnn_status insert_conversions(xnn_subgraph_t subgraph, const struct layout_plan* plan, size_t* count)
{
  const uint32_t num_nodes = subgraph->num_nodes;
  const uint32_t num_values = subgraph->num_values;
  struct xnn_node* nodes = xnn_allocate_memory(num_nodes * sizeof(struct xnn_node));
  uint32_t* converted = xnn_allocate_memory(num_values * sizeof(uint32_t));
  enum xnn_status status = xnn_status_out_of_memory;
  if (nodes == NULL || converted == NULL) {
    xnn_log_error("failed to allocate memory to rewrite %" PRIu32 " nodes", num_nodes);
    goto cleanup;
  }
  memcpy(nodes, subgraph->nodes, num_nodes * sizeof(struct xnn_node));
  memset(converted, 0xFF, num_values * sizeof(uint32_t));
  subgraph->num_nodes = 0;
  for (uint32_t n = 0; n < num_nodes; n++) {
    const bool in_cnhw = plan->in_cnhw[n];
    const enum xnn_layout_type layout = in_cnhw ? xnn_layout_type_cnhw : xnn_layout_type_nhwc;
    for (uint32_t i = 0; i < nodes[n].num_inputs && nodes[n].type != xnn_node_type_invalid; i++) {
      const uint32_t value_id = nodes[n].inputs[i];
      const struct xnn_value* value = &subgraph->values[value_id];
      const bool from_cnhw = value->layout == xnn_layout_type_cnhw;
      if (!is_image(value) || from_cnhw == in_cnhw || value_id >= num_values) {
        continue;
      }
      if (!needs_conversion(subgraph, &nodes[n], i, from_cnhw, in_cnhw)) {
        nodes[n].flags |= XNN_FLAG_INPUT_NHWC;
        continue;
      }
      if (converted[value_id] == UINT32_MAX) {
        converted[value_id] = convert(subgraph, value_id, layout);
        if (converted[value_id] == XNN_INVALID_VALUE_ID) {
          goto cleanup;
        }
        *count += 1;
      }
      nodes[n].inputs[i] = converted[value_id];
    }
    struct xnn_node* node = xnn_subgraph_new_node(subgraph);
    if (node == NULL) {
      goto cleanup;
    }
    const uint32_t id = node->id;
    *node = nodes[n];
    node->id = id;
    if (in_cnhw) {
      xnn_node_run_in_cnhw(node);
    }
    // An external output is NHWC: what runs in CNHW writes to a value in front of it.
    for (uint32_t o = 0; o < nodes[n].num_outputs && in_cnhw && !plan->nhwc_output[n]; o++) {
      const uint32_t value_id = nodes[n].outputs[o];
      struct xnn_value* value = &subgraph->values[value_id];
      if (!xnn_value_is_external_output(value) && !xnn_value_is_persistent(value)) {
        value->layout = xnn_layout_type_cnhw;
        continue;
      }
      const uint32_t before_id = convert(subgraph, value_id, xnn_layout_type_cnhw);
      if (before_id == XNN_INVALID_VALUE_ID) {
        goto cleanup;
      }
      xnn_node_convert_layout(&subgraph->nodes[subgraph->num_nodes - 1], before_id, value_id);
      subgraph->nodes[id].outputs[o] = before_id;
      converted[value_id] = before_id;
      *count += 1;
    }
  }
  status = xnn_status_success;

cleanup:
  xnn_release_memory(nodes);
  xnn_release_memory(converted);
  return status;
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

enum xnn_status xnn_subgraph_rewrite_for_nm(xnn_subgraph_t subgraph, uint32_t flags)
{
  const uint32_t num_nodes = subgraph->num_nodes;
  if (num_nodes == 0 || is_rewritten(subgraph)) {
    return xnn_status_success;
  }
  xnn_subgraph_analyze_consumers_and_producers(subgraph);
  xnn_subgraph_fuse_infinite_padding(subgraph);
  xnn_subgraph_analyze_consumers_and_producers(subgraph);

  const size_t memory_size = num_nodes * (2 * sizeof(double) + 3 * sizeof(bool));
  double* memory = xnn_allocate_zero_memory(memory_size);
  if (memory == NULL) {
    xnn_log_error("failed to allocate %zu bytes to choose layouts", memory_size);
    return xnn_status_out_of_memory;
  }
  bool* decisions = (bool*) (memory + 2 * num_nodes);
  struct layout_plan plan = {
    .supports_cnhw = decisions,
    .nhwc_output = decisions + num_nodes,
    .in_cnhw = decisions + 2 * num_nodes,
    .nhwc_costs = memory,
    .cnhw_costs = memory + num_nodes,
  };
  enum xnn_status status = xnn_status_success;
  if (num_nodes > MAX_NODES) {
    xnn_log_warning("layouts: %" PRIu32 " nodes stay in NHWC, at most %d are examined", num_nodes, MAX_NODES);
  } else if ((flags & XNN_FLAG_FORCE_NM_NHWC) == 0) {
    status = choose_layouts(subgraph, flags, &plan);
  }
  if (status == xnn_status_success) {
    xnn_subgraph_fuse_additions(subgraph, flags, plan.in_cnhw);
    size_t num_conversions = 0;
    size_t num_cnhw = 0;
    for (uint32_t n = 0; n < num_nodes; n++) {
      num_cnhw += plan.in_cnhw[n] && subgraph->nodes[n].type != xnn_node_type_invalid;
    }
    if (num_cnhw != 0) {
      status = insert_conversions(subgraph, &plan, &num_conversions);
    }
    xnn_log_info(
      "layouts: %zu of %" PRIu32 " nodes run in CNHW, %zu conversions; all convolutions would take %.4g in NHWC, "
      "%.4g in CNHW (weights of the dense micro-kernel)",
      num_cnhw, num_nodes, num_conversions, plan.nhwc_cost, plan.cnhw_cost);
    xnn_subgraph_analyze_consumers_and_producers(subgraph);
    if (status == xnn_status_success && num_cnhw != 0) {
      status = xnn_subgraph_choose_bands(subgraph);
    }
  }
  xnn_release_memory(plan.uses);
  xnn_release_memory(plan.first_use);
  xnn_release_memory(memory);
  return status;
}
