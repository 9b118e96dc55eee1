// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// A minimum cut of a graph.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack/common.h"

#ifdef __cplusplus
extern "C" {
#endif

// Which nodes of a graph to cut from the others, so that what is cut through and what is left costs least.
struct xnn_min_cut;

XNN_INTERNAL struct xnn_min_cut* xnn_create_min_cut(size_t num_nodes, size_t max_edges);
XNN_INTERNAL void xnn_delete_min_cut(struct xnn_min_cut* cut);

// Makes it cost that much to leave node `from` on the source's side and node `to` on the sink's. Node 0 is the source,
// node 1 is the sink.
XNN_INTERNAL void xnn_add_min_cut_edge(struct xnn_min_cut* cut, size_t from, size_t to, uint64_t cost);

#define XNN_INFINITE_CUT_COST (UINT64_MAX / 4)

// Stores for each node whether it is on the source's side of a cheapest cut. Returns false if infinite costs leave none.
XNN_INTERNAL bool xnn_solve_min_cut(struct xnn_min_cut* cut, bool* on_source_side);

#ifdef __cplusplus
}  // extern "C"
#endif
