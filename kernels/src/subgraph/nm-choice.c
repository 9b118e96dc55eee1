// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Which layers of a graph run on N:M operators, and why the others do not.

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-choice.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/nm-records.h"
#include "xnnpack/nm-space.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/subgraph.h"

// What a runtime is told of N:M inference.
#define NM_FLAGS (XNN_FLAG_HINT_NM_SPARSE_INFERENCE | XNN_FLAG_FORCE_NM_SPARSE_INFERENCE)

#define MAX_COST 1.0e9f
#define MAX_RECORDS 16384

const char* xnn_nm_reason_to_string(enum xnn_nm_reason reason)
{
  switch (reason) {
    case xnn_nm_reason_chosen:
      return "chosen";
    case xnn_nm_reason_disabled:
      return "the runtime was created without the N:M hint";
    case xnn_nm_reason_datatype:
      return "only static weights of f32, f16 or int8 are supported";
    case xnn_nm_reason_layout:
      return "the NCHW layout has no N:M operator";
    case xnn_nm_reason_depthwise:
      return "depthwise filters have no columns to share";
    case xnn_nm_reason_too_dense:
      return "too few columns are zero in every row of a tile";
    case xnn_nm_reason_too_small:
      return "the image is too small for what the zero columns save";
    case xnn_nm_reason_measured_slower:
      return "the dense operator was measured to be faster";
    case xnn_nm_reason_no_kernel:
      return "no micro-kernel supports this shape on this hardware";
  }
  return "unknown";
}

/*** The plan of a graph ***/

struct xnn_nm_plan* xnn_get_nm_plan(xnn_subgraph_t subgraph)
{
  if (subgraph->nm_plan == NULL) {
    subgraph->nm_plan = xnn_allocate_zero_memory(sizeof(struct xnn_nm_plan));
    if (subgraph->nm_plan == NULL) {
      xnn_log_error("failed to allocate %zu bytes for the choice of operators", sizeof(struct xnn_nm_plan));
      return NULL;
    }
    xnn_init_nm_type_costs(subgraph->nm_plan->costs);
  }
  return subgraph->nm_plan;
}

static void release_choices(struct xnn_nm_plan* plan)
{
  for (size_t i = 0; i < plan->num_choices; i++) {
    xnn_release_nm_zeros(&plan->choices[i].zeros);
    xnn_release_nmspmm_analysis(&plan->choices[i].cnhw);
  }
  xnn_release_memory(plan->choices);
  plan->choices = NULL;
  plan->num_choices = 0;
}

void xnn_delete_nm_plan(struct xnn_nm_plan* plan)
{
  if (plan != NULL) {
    release_choices(plan);
    xnn_release_memory(plan->records.records);
    xnn_release_memory(plan);
  }
}

enum xnn_status xnn_subgraph_set_nm_costs(
  xnn_subgraph_t subgraph,
  enum xnn_datatype datatype,
  const struct xnn_nm_costs* costs)
{
  struct xnn_nm_costs default_costs;
  const enum xnn_status status = xnn_get_nm_costs(datatype, &default_costs);
  if (status != xnn_status_success) {
    return status;
  }
  if (costs == NULL) {
    costs = &default_costs;
  }
  const float* numbers = (const float*) costs;
  for (size_t i = 0; i < sizeof(*costs) / sizeof(float); i++) {
    if (!(numbers[i] >= 0.0f && numbers[i] <= MAX_COST)) {
      xnn_log_error("failed to set costs: number %zu is %.7g, expected 0 to %.7g", i, numbers[i], MAX_COST);
      return xnn_status_invalid_parameter;
    }
  }
  struct xnn_nm_plan* plan = xnn_get_nm_plan(subgraph);
  if (plan == NULL) {
    return xnn_status_out_of_memory;
  }
  plan->costs[xnn_find_nm_type(datatype)] = *costs;
  return xnn_status_success;
}

enum xnn_status xnn_subgraph_set_nm_records(
  xnn_subgraph_t subgraph,
  float unit_ps,
  size_t num_records,
  const struct xnn_nm_record* records)
{
  if (!(unit_ps > 0.0f && unit_ps <= MAX_COST) || num_records > MAX_RECORDS) {
    xnn_log_error(
      "failed to set %zu records with a unit of %.7g ps: expected up to %d, and more than 0 to %.7g ps",
      num_records, unit_ps, MAX_RECORDS, MAX_COST);
    return xnn_status_invalid_parameter;
  }
  for (size_t i = 0; i < num_records; i++) {
    if (!xnn_is_nm_record(&records[i])) {
      xnn_log_error(
        "failed to set records: the type or a number of record %zu is out of its range, or its name has no end", i);
      return xnn_status_invalid_parameter;
    }
  }
  struct xnn_nm_plan* plan = xnn_get_nm_plan(subgraph);
  if (plan == NULL) {
    return xnn_status_out_of_memory;
  }
  const size_t size = num_records * sizeof(struct xnn_nm_record);
  struct xnn_nm_record* copy = num_records == 0 ? NULL : xnn_allocate_memory(size);
  if (num_records != 0) {
    if (copy == NULL) {
      xnn_log_error("failed to allocate %zu bytes for records", size);
      return xnn_status_out_of_memory;
    }
    memcpy(copy, records, size);
  }
  xnn_release_memory(plan->records.records);
  plan->records = (struct xnn_nm_records) {.records = copy, .num_records = num_records, .unit_ps = unit_ps};
  return xnn_status_success;
}

/*** Choices ***/

// The candidate of a kind that was measured fastest, or NULL.
static const struct xnn_nm_candidate* get_measured(
  const struct xnn_nm_choice* choice,
  enum xnn_nm_candidate_kind kind)
{
  const struct xnn_nm_measured* measured = &choice->measured[kind];
  return measured->is_known ? &measured->candidate : NULL;
}

// Replaces a predicted cost by the measured one, if there is any.
static void take_measured(
  const struct xnn_nm_choice* choice,
  enum xnn_nm_candidate_kind kind,
  float* cost)
{
  if (choice->measured[kind].is_known) {
    *cost = choice->measured[kind].cost;
  }
}

// Predicts the operator of NHWC images.
static enum xnn_status examine_nhwc(struct xnn_nm_choice* choice, const struct xnn_nm_layer* layer)
{
  const struct xnn_nm_costs* costs = choice->costs;
  const enum xnn_status status = xnn_analyze_nmconv(
    layer, &choice->zeros, costs, /*tile_height=*/0, get_measured(choice, xnn_nm_candidate_nhwc), &choice->nhwc);
  if (status != xnn_status_success) {
    return status;
  }
  const double all_columns = (double) xnn_get_nm_row_size(layer) * (double) choice->nhwc.num_tiles;
  const float column_density = (float) ((double) choice->nhwc.num_columns / all_columns);
  const float gain = xnn_get_dense_percent(layer, costs) / choice->nhwc.percent;
  choice->gain_on_large_images = gain / column_density;
  choice->nhwc_cost = choice->nhwc.cost + (float) xnn_predict_nhwc_overhead(layer, costs, &choice->nhwc);
  if (column_density == 1.0f) {
    // Output channels that fit the tiles of the dense operator badly do not speak for the other one; input channels do.
    const double columns = (double) choice->nhwc.num_runs * choice->nhwc.config->weights.kr / (double) choice->nhwc.num_tiles;
    const float more_columns = (float) (xnn_count_dense_columns(layer, costs) / columns);
    const float outputs = (float) layer->groups * (float) layer->group_output_channels;
    const float as_dense = choice->nhwc.cost * gain * more_columns + costs->dense_output * outputs +
      (float) xnn_predict_dense_weights(layer, costs);
    choice->dense_cost = math_min_f32(choice->dense_cost, as_dense);
  }
  return xnn_status_success;
}

// Predicts the operators of NHWC images.
static enum xnn_status examine(struct xnn_nm_choice* choice, const struct xnn_nm_layer* layer)
{
  xnn_release_nm_zeros(&choice->zeros);
  choice->nhwc.config = NULL;
  const struct xnn_nm_costs* costs = choice->costs;
  if (layer->datatype->init_gemm_config(layer->group_output_channels) == NULL ||
      xnn_check_nm_layer(layer, layer->datatype->cnhw_operator) != xnn_status_success) {
    return xnn_status_unsupported_hardware;
  }
  enum xnn_status status = xnn_find_nm_zeros(layer, &choice->zeros);
  if (status != xnn_status_success) {
    return status;
  }
  xnn_find_nm_records(choice->records, layer, &choice->zeros, choice->measured);
  choice->dense_cost = (float) xnn_predict_dense(layer, costs);
  status = examine_nhwc(choice, layer);
  if (status != xnn_status_success) {
    return status;
  }
  take_measured(choice, xnn_nm_candidate_dense, &choice->dense_cost);
  take_measured(choice, xnn_nm_candidate_nhwc, &choice->nhwc_cost);
  choice->addition_cost = costs->addition * (float) layer->groups * (float) layer->group_output_channels;
  return xnn_status_success;
}

// How many times as fast as the dense operator one of so much cost is.
static float get_speedup(const struct xnn_nm_choice* choice, bool adds, float cost)
{
  return (choice->dense_cost + (adds ? choice->addition_cost : 0.0f)) / cost;
}

static bool are_measured(const struct xnn_nm_choice* choice, enum xnn_nm_candidate_kind kind)
{
  return choice->measured[xnn_nm_candidate_dense].is_known && choice->measured[kind].is_known;
}

float xnn_get_nm_min_speedup(const struct xnn_nm_choice* choice, enum xnn_nm_candidate_kind kind)
{
  return are_measured(choice, kind) ? 1.0f : choice->costs->min_speedup;
}

enum xnn_nm_reason xnn_decide_nm_nhwc(
  const struct xnn_nm_choice* choice,
  uint32_t flags,
  bool adds)
{
  const float min_speedup = xnn_get_nm_min_speedup(choice, xnn_nm_candidate_nhwc);
  if ((flags & NM_FLAGS) == 0) {
    return xnn_nm_reason_disabled;
  }
  if (choice->nhwc.config == NULL) {
    return choice->zeros.bits == NULL ? xnn_nm_reason_no_kernel : xnn_nm_reason_too_dense;
  }
  if ((flags & XNN_FLAG_FORCE_NM_SPARSE_INFERENCE) != 0 || get_speedup(choice, adds, choice->nhwc_cost) >= min_speedup) {
    return xnn_nm_reason_chosen;
  }
  if (are_measured(choice, xnn_nm_candidate_nhwc)) {
    return xnn_nm_reason_measured_slower;
  }
  return choice->gain_on_large_images >= min_speedup ? xnn_nm_reason_too_small : xnn_nm_reason_too_dense;
}

static void choose_nhwc(struct xnn_nm_choice* choice, enum xnn_nm_reason reason)
{
  choice->layout = xnn_nm_layout_nhwc;
  choice->reason = reason;
  choice->is_nm = reason == xnn_nm_reason_chosen;
}

void xnn_choose_nm_residual(struct xnn_nm_choice* choice)
{
  choose_nhwc(choice, xnn_nm_reason_chosen);
  choice->adds = true;
}

enum xnn_status xnn_examine_nm_cnhw(
  struct xnn_nm_choice* choice,
  const struct xnn_nm_layer* layer)
{
  xnn_release_nmspmm_analysis(&choice->cnhw);
  const enum xnn_status status = xnn_analyze_nmspmm(
    layer, &choice->zeros, choice->costs, get_measured(choice, xnn_nm_candidate_cnhw), &choice->cnhw);
  take_measured(choice, xnn_nm_candidate_cnhw, &choice->cnhw.cost);
  return status;
}

void xnn_choose_nm_cnhw(struct xnn_nm_choice* choice, uint32_t flags)
{
  const bool is_forced = (flags & XNN_FLAG_FORCE_NM_SPARSE_INFERENCE) != 0;
  choice->layout = xnn_nm_layout_cnhw;
  choice->reason = choice->cnhw.dense && !is_forced ? xnn_nm_reason_too_dense : xnn_nm_reason_chosen;
  choice->is_nm = true;
}

// Gives a node back the functions for the dense operator.
static void forget_choice(struct xnn_node* node)
{
  if (node->nm_choice != NULL) {
    node->create = node->nm_choice->create;
    node->reshape = node->nm_choice->reshape;
    node->setup = node->nm_choice->setup;
    node->nm_choice = NULL;
  }
}

enum xnn_status xnn_choose_nm_operators(xnn_subgraph_t subgraph, uint32_t flags)
{
  struct xnn_nm_plan* plan = xnn_get_nm_plan(subgraph);
  if (plan == NULL) {
    return xnn_status_out_of_memory;
  }
  struct xnn_nm_layer layer;
  size_t num_layers = 0;
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    forget_choice(&subgraph->nodes[n]);
    num_layers += xnn_node_get_nm_layer(subgraph->values, &subgraph->nodes[n], &layer);
  }
  release_choices(plan);
  plan->choices = xnn_allocate_zero_memory(max(num_layers, 1) * sizeof(struct xnn_nm_choice));
  if (plan->choices == NULL) {
    xnn_log_error("failed to allocate %zu bytes for the choice of operators", num_layers * sizeof(struct xnn_nm_choice));
    return xnn_status_out_of_memory;
  }
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    struct xnn_node* node = &subgraph->nodes[n];
    if (!xnn_node_get_nm_layer(subgraph->values, node, &layer)) {
      continue;
    }
    struct xnn_nm_choice* choice = &plan->choices[plan->num_choices++];
    choice->costs = xnn_get_nm_plan_costs(plan, layer.datatype->datatype);
    choice->records = &plan->records;
    // An earlier runtime's plan may have fused an addition: no other operator can do it.
    const bool adds = (node->flags & XNN_FLAG_ADD_LAST_INPUT) != 0;
    if (adds || (flags & NM_FLAGS) != 0) {
      if (examine(choice, &layer) == xnn_status_out_of_memory) {
        return xnn_status_out_of_memory;
      }
    }
    if (adds) {
      xnn_choose_nm_residual(choice);
    } else {
      choose_nhwc(choice, xnn_decide_nm_nhwc(choice, flags, /*adds=*/false));
    }
    xnn_node_carry_nm_choice(node, choice);
  }
  return xnn_status_success;
}

enum xnn_status xnn_examine_nm_choices_again(xnn_subgraph_t subgraph)
{
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    const struct xnn_node* node = &subgraph->nodes[n];
    struct xnn_nm_choice* choice = node->nm_choice;
    struct xnn_nm_layer layer;
    if (choice == NULL || choice->reason == xnn_nm_reason_disabled ||
        !xnn_node_get_nm_layer(subgraph->values, node, &layer)) {
      continue;
    }
    enum xnn_status status = examine(choice, &layer);
    if (status == xnn_status_success && choice->layout == xnn_nm_layout_cnhw) {
      status = xnn_examine_nm_cnhw(choice, &layer);
    }
    // Without a micro-kernel the creation of the operator fails, and says so.
    if (status == xnn_status_out_of_memory) {
      return status;
    }
  }
  return xnn_status_success;
}

/*** What users are told ***/

static void describe_nhwc(
  const struct xnn_nm_choice* choice,
  const struct xnn_nm_layer* layer,
  struct xnn_nm_layer_info* info)
{
  const double columns = (double) xnn_get_nm_row_size(layer) * (double) choice->nhwc.num_tiles;
  info->column_density = (float) ((double) choice->nhwc.num_columns / columns);
  info->tile_height = choice->nhwc.config->nr;
  info->pixel_tile = choice->nhwc.config->mr;
  info->predicted_speedup = get_speedup(choice, choice->adds, choice->nhwc_cost);
}

static void describe_cnhw(
  const struct xnn_nm_choice* choice,
  double weights,
  struct xnn_nm_layer_info* info)
{
  info->column_density = (float) ((double) choice->cnhw.num_weights / weights);
  info->tile_height = choice->cnhw.config->mr;
  info->pixel_tile = choice->cnhw.config->nr;
  info->predicted_speedup = get_speedup(choice, choice->adds, choice->cnhw.cost);
}

void xnn_describe_nm_choice(
  const struct xnn_nm_choice* choice,
  const struct xnn_nm_layer* layer,
  struct xnn_nm_layer_info* info)
{
  info->reason = choice->reason;
  info->layout = choice->layout;
  info->fused_addition = choice->adds;
  info->column_density = 1.0f;
  const enum xnn_nm_candidate_kind kind = !choice->is_nm ? xnn_nm_candidate_dense :
    choice->layout == xnn_nm_layout_cnhw ? xnn_nm_candidate_cnhw : xnn_nm_candidate_nhwc;
  info->measured = choice->measured[kind].is_known;
  if (choice->zeros.bits != NULL) {
    const double weights =
      (double) xnn_get_nm_row_size(layer) * layer->groups * (double) layer->group_output_channels;
    info->element_density = (float) ((double) choice->zeros.num_nonzeroes / weights);
    if (choice->layout == xnn_nm_layout_cnhw) {
      describe_cnhw(choice, weights, info);
    } else if (choice->nhwc.config != NULL) {
      describe_nhwc(choice, layer, info);
    }
  }
  xnn_log_info(
    "convolution of %" PRIu32 " x %zu -> %zu channels, %" PRIu32 "x%" PRIu32 " kernel, %.1f%% of columns kept, "
    "predicted speedup %.2f: %s (%s)",
    layer->groups, layer->group_input_channels, layer->group_output_channels, layer->kernel_height,
    layer->kernel_width, 100.0f * info->column_density, info->predicted_speedup, choice->is_nm ? "N:M" : "dense",
    xnn_nm_reason_to_string(info->reason));
}
