// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What is decided for the layers of a graph. It is decided once, when a graph is optimized, and held by its nodes until
// their operators are created.

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-records.h"
#include "xnnpack/subgraph.h"

#ifdef __cplusplus
extern "C" {
#endif

struct xnn_nm_choice {
  // The decision: on the N:M operator of that layout where is_nm is set, else on the dense one.
  bool is_nm;
  enum xnn_nm_layout layout;
  // The operator adds the node's last input.
  bool adds;
  // Why, and for CNHW, whether its filter is worth it: a dense one may follow its neighbours.
  enum xnn_nm_reason reason;

  // What it follows from. Costs are the plan's. Predicted times are for one output pixel; without zeros nothing is known.
  const struct xnn_nm_costs* costs;
  const struct xnn_nm_records* records;
  struct xnn_nm_zeros zeros;
  // Where something was measured it replaces what is predicted.
  struct xnn_nm_measured measured[XNN_NUM_NM_CANDIDATE_KINDS];
  struct xnn_nmconv_analysis nhwc;
  struct xnn_nmspmm_analysis cnhw;
  float dense_cost;
  float nhwc_cost;
  // An addition after the dense operator.
  float addition_cost;
  // How many times as fast the N:M operator is on images so large that nothing but weights counts.
  float gain_on_large_images;

  // The node's own functions, for the dense operator.
  xnn_create_operator_fn create;
  xnn_reshape_operator_fn reshape;
  xnn_setup_operator_fn setup;
};

// All choices for a graph, which owns it.
struct xnn_nm_plan {
  // Predictions follow from these, by element type.
  struct xnn_nm_costs costs[XNN_NUM_NM_TYPES];
  struct xnn_nm_records records;
  struct xnn_nm_choice* choices;
  size_t num_choices;
};

// The plan of a graph, with this hardware's costs if it is new; or NULL where memory is short.
XNN_INTERNAL struct xnn_nm_plan* xnn_get_nm_plan(xnn_subgraph_t subgraph);

// The costs of an element type; those of f32 for all that is of none.
XNN_INLINE static const struct xnn_nm_costs* xnn_get_nm_plan_costs(
    const struct xnn_nm_plan* plan,
    enum xnn_datatype datatype)
{
  return &plan->costs[xnn_find_nm_type(datatype)];
}

// Deletes the plan, if there is any.
XNN_INTERNAL void xnn_delete_nm_plan(struct xnn_nm_plan* plan);

// Examines all layers of the graph that N:M operators support, and gives each a choice in NHWC layout. What an earlier
// runtime was planned with is gone, but for what nodes have been fused to.
//
// flags  of the runtime.
XNN_INTERNAL enum xnn_status xnn_choose_nm_operators(xnn_subgraph_t subgraph, uint32_t flags);

// Examines the layers of a graph again whose nodes keep their choices, because an earlier runtime has changed their layouts:
// XNNPACK may have fused other nodes into them since, and weights may have changed.
XNN_INTERNAL enum xnn_status xnn_examine_nm_choices_again(xnn_subgraph_t subgraph);

// How many times as fast as the dense operator one of that kind must be: any faster will do where both were measured.
XNN_INTERNAL float xnn_get_nm_min_speedup(
    const struct xnn_nm_choice* choice,
    enum xnn_nm_candidate_kind kind);

// Whether the layer gains from the N:M operator of NHWC images, if that adds the last input.
//
// flags  of the runtime.
XNN_INTERNAL enum xnn_nm_reason xnn_decide_nm_nhwc(
    const struct xnn_nm_choice* choice,
    uint32_t flags,
    bool adds);

// Changes the choice to the N:M operator of NHWC images that adds the node's last input.
XNN_INTERNAL void xnn_choose_nm_residual(struct xnn_nm_choice* choice);

// Analyzes the filter for CNHW images; layer tells which layout it reads.
XNN_INTERNAL enum xnn_status xnn_examine_nm_cnhw(
    struct xnn_nm_choice* choice,
    const struct xnn_nm_layer* layer);

// Changes the choice to the N:M operator of CNHW images, which have been examined.
XNN_INTERNAL void xnn_choose_nm_cnhw(struct xnn_nm_choice* choice, uint32_t flags);

// What users are told of a choice.
XNN_INTERNAL void xnn_describe_nm_choice(
    const struct xnn_nm_choice* choice,
    const struct xnn_nm_layer* layer,
    struct xnn_nm_layer_info* info);

#ifdef __cplusplus
}  // extern "C"
#endif
