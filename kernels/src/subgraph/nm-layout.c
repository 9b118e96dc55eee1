// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Chooses a layout, NHWC or CNHW, for each node of a graph.
//
// The choice is the cheapest there is under the cost rule: layers cost what their micro-kernels are said to cost in each
// layout, values that cross cost a transposition (one for all their consumers), everything else costs the same in both.
// With two layouts, that is a minimum cut. Conversions belong to the borders of a graph: while there are more than inputs
// and outputs, those between nodes that could share a layout are made dearer and the cut is solved again.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-choice.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-min-cut.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/subgraph.h"

// A quantized filter that keeps more of its weights was not pruned.
#define MIN_DENSITY 0.95

// Of what is not to be chosen: more than any graph costs.
#define FORCED_COST 1.0e14

// How often conversions within the graph are made twice as dear.
#define MAX_DOUBLINGS 16

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
  // The result.
  bool* in_cnhw;
  // Predicted time of each layer, 0 for other nodes; and of all.
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

static bool has_pixels(const struct xnn_value* value)
{
  return value->shape.num_dims == 4 && xnn_shape_multiply_all_dims(&value->shape) != 0;
}

// Predicts the time of a layer in both layouts. Without a micro-kernel for one of them it must stay NHWC.
static enum xnn_status predict(
  const struct xnn_subgraph* subgraph,
  const struct xnn_node* node,
  double* nhwc_cost,
  double* cnhw_cost,
  bool* is_sparse)
{
  struct xnn_nm_choice* choice = node->nm_choice;
  const struct xnn_value* output = &subgraph->values[node->outputs[0]];
  struct xnn_nm_layer layer;
  if (choice == NULL || choice->zeros.bits == NULL || !has_pixels(output) ||
      !xnn_node_get_nm_layer(subgraph->values, node, &layer)) {
    return xnn_status_unsupported_hardware;
  }
  const enum xnn_status status = xnn_examine_nm_cnhw(choice, &layer);
  if (status != xnn_status_success) {
    return status;
  }
  const double pixels = (double) xnn_count_pixels(output);
  // Quantization makes some zeros of what was not pruned.
  const double weights =
    (double) xnn_get_nm_row_size(&layer) * (double) layer.groups * (double) layer.group_output_channels;
  *is_sparse = layer.filter_scale != NULL ? (double) choice->cnhw.num_weights < MIN_DENSITY * weights :
    choice->nhwc.num_columns < xnn_get_nm_row_size(&layer) * choice->nhwc.num_tiles || !choice->cnhw.dense;
  *nhwc_cost = pixels * (choice->is_nm ? choice->nhwc_cost : choice->dense_cost / xnn_get_nm_min_speedup(choice, xnn_nm_candidate_cnhw));
  *cnhw_cost = pixels * choice->cnhw.cost;
  return xnn_status_success;
}

static uint64_t to_cost(double cost)
{
  // What is no number costs most, too.
  return cost < 0.0 ? 0 : cost < 1.0e15 ? (uint64_t) cost : UINT64_C(1000000000000000);
}

static bool is_produced_in_nhwc(
  const struct xnn_subgraph* subgraph,
  const struct layout_plan* plan,
  const struct xnn_value* value)
{
  return value->producer == XNN_INVALID_NODE_ID || !plan->supports_cnhw[value->producer] ||
    xnn_node_leaves_cnhw(&subgraph->nodes[value->producer]);
}

// Whether a conversion of the value would be within the graph, not at a border of what can run in CNHW.
static bool is_inner(const struct xnn_subgraph* subgraph, const struct layout_plan* plan, uint32_t value_id)
{
  if (is_produced_in_nhwc(subgraph, plan, &subgraph->values[value_id])) {
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
    if (!xnn_value_is_valid(value) || !xnn_is_nm_image(value)) {
      continue;
    }
    const bool from_cnhw = !is_produced_in_nhwc(subgraph, plan, value) && plan->in_cnhw[value->producer];
    bool is_converted = from_cnhw && (xnn_value_is_external_output(value) || xnn_value_is_persistent(value));
    for (uint32_t u = plan->first_use[v]; u < plan->first_use[v + 1]; u++) {
      const struct value_use* use = &plan->uses[u];
      is_converted |= xnn_needs_nm_conversion(
        subgraph, &subgraph->nodes[use->node], use->input, from_cnhw, plan->in_cnhw[use->node]);
    }
    count += is_converted;
  }
  return count;
}

static double predict_conversion(const struct xnn_subgraph* subgraph, const struct xnn_value* value)
{
  const struct xnn_nm_datatype* datatype = xnn_find_nm_datatype(value->datatype);
  return xnn_predict_conversion(
    xnn_shape_multiply_all_dims(&value->shape), (datatype == NULL ? &xnn_nm_f32 : datatype)->log2_element_size,
    xnn_get_nm_plan_costs(subgraph->nm_plan, value->datatype));
}

// Adds what it costs where a value's producer and its consumers differ.
static void add_value(
  const struct xnn_subgraph* subgraph,
  const struct layout_plan* plan,
  uint32_t value_id,
  struct xnn_min_cut* cut)
{
  const struct xnn_value* value = &subgraph->values[value_id];
  const bool produced_in_nhwc = is_produced_in_nhwc(subgraph, plan, value);
  const size_t producer = produced_in_nhwc ? CUT_NHWC : CUT_NODE(value->producer);
  const double factor = is_inner(subgraph, plan, value_id) ? plan->inner_conversion_factor : 1.0;
  const uint64_t cost = to_cost(factor * predict_conversion(subgraph, value));
  // Any consumer in CNHW pulls to_cnhw there, which costs if the producer is not; and the other way around.
  const size_t to_cnhw = CUT_VALUE(subgraph, value_id);
  const size_t to_nhwc = to_cnhw + 1;
  xnn_add_min_cut_edge(cut, to_cnhw, producer, cost);
  xnn_add_min_cut_edge(cut, producer, to_nhwc, cost);
  for (uint32_t u = plan->first_use[value_id]; u < plan->first_use[value_id + 1]; u++) {
    const struct value_use* use = &plan->uses[u];
    const size_t consumer = plan->supports_cnhw[use->node] ? CUT_NODE(use->node) : CUT_NHWC;
    if (!(produced_in_nhwc && xnn_reads_nhwc(subgraph, &subgraph->nodes[use->node], use->input))) {
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
    if (xnn_value_is_valid(&subgraph->values[v]) && xnn_is_nm_image(&subgraph->values[v])) {
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
  plan->first_use = xnn_allocate_zero_memory(((size_t) subgraph->num_values + 1) * sizeof(uint32_t));
  if (plan->uses == NULL || plan->first_use == NULL) {
    xnn_log_error("failed to allocate memory to list %zu uses of values", num_uses);
    return xnn_status_out_of_memory;
  }
  // First the number of each value's uses, then where they end, then, going back, where they start.
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    const struct xnn_node* node = &subgraph->nodes[n];
    for (uint32_t i = 0; i < node->num_inputs && node->type != xnn_node_type_invalid; i++) {
      plan->first_use[node->inputs[i]]++;
    }
  }
  for (uint32_t v = 1; v <= subgraph->num_values; v++) {
    plan->first_use[v] += plan->first_use[v - 1];
  }
  for (uint32_t n = subgraph->num_nodes; n-- != 0;) {
    const struct xnn_node* node = &subgraph->nodes[n];
    for (uint32_t i = node->type == xnn_node_type_invalid ? 0 : node->num_inputs; i-- != 0;) {
      plan->uses[--plan->first_use[node->inputs[i]]] = (struct value_use) {.node = n, .input = i};
    }
  }
  return xnn_status_success;
}

// Fills the plan.
static enum xnn_status fill_plan(
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
    plan->supports_cnhw[n] = xnn_node_supports_cnhw(subgraph, node);
    if (plan->supports_cnhw[n] && node->type == xnn_node_type_convolution_2d) {
      bool is_sparse = false;
      const enum xnn_status predicted =
        predict(subgraph, node, &plan->nhwc_costs[n], &plan->cnhw_costs[n], &is_sparse);
      if (predicted == xnn_status_out_of_memory) {
        return predicted;
      }
      plan->supports_cnhw[n] = predicted == xnn_status_success;
      if ((flags & XNN_FLAG_FORCE_NM_SPARSE_INFERENCE) != 0 && node->nm_choice != NULL && !node->nm_choice->is_nm) {
        // No N:M operator of NHWC images does what is forced.
        plan->nhwc_costs[n] = FORCED_COST;
        is_sparse = true;
      }
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

enum xnn_status xnn_choose_nm_layouts(const struct xnn_subgraph* subgraph, uint32_t flags, bool* in_cnhw)
{
  const uint32_t num_nodes = subgraph->num_nodes;
  const size_t memory_size = num_nodes * (2 * sizeof(double) + sizeof(bool));
  double* memory = xnn_allocate_zero_memory(memory_size);
  if (memory == NULL) {
    xnn_log_error("failed to allocate %zu bytes to choose layouts", memory_size);
    return xnn_status_out_of_memory;
  }
  struct layout_plan plan = {
    .supports_cnhw = (bool*) (memory + 2 * num_nodes),
    .in_cnhw = in_cnhw,
    .nhwc_costs = memory,
    .cnhw_costs = memory + num_nodes,
  };
  const enum xnn_status status = fill_plan(subgraph, flags, &plan);
  xnn_log_info(
    "layouts: all layers would take %.4g in NHWC, %.4g in CNHW (weights of the dense micro-kernel)",
    plan.nhwc_cost, plan.cnhw_cost);
  xnn_release_memory(plan.uses);
  xnn_release_memory(plan.first_use);
  xnn_release_memory(memory);
  return status;
}
