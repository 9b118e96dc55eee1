// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Minimum cuts by shortest augmenting paths (Edmonds and Karp, 1972). Graphs of networks have hundreds of nodes.

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-min-cut.h"

#define SOURCE 0
#define SINK 1
#define NO_EDGE UINT32_MAX

// Edge 2 i and 2 i + 1 are each other's reverse.
struct edge {
  uint32_t to;
  uint32_t next;
  uint64_t capacity;
};

struct xnn_min_cut {
  size_t num_nodes;
  size_t num_edges;
  size_t max_edges;
  struct edge* edges;
  // The first edge of each node; the edge by which a path came to it; nodes to visit.
  uint32_t* first_edge;
  uint32_t* path_edge;
  uint32_t* queue;
};

struct xnn_min_cut* xnn_create_min_cut(size_t num_nodes, size_t max_edges)
{
  struct xnn_min_cut* cut = xnn_allocate_zero_memory(sizeof(struct xnn_min_cut));
  if (cut == NULL) {
    return NULL;
  }
  cut->num_nodes = num_nodes;
  cut->max_edges = 2 * max_edges;
  cut->edges = xnn_allocate_memory(max(cut->max_edges, 1) * sizeof(struct edge));
  cut->first_edge = xnn_allocate_memory(num_nodes * sizeof(uint32_t));
  cut->path_edge = xnn_allocate_memory(num_nodes * sizeof(uint32_t));
  cut->queue = xnn_allocate_memory(num_nodes * sizeof(uint32_t));
  if (cut->edges == NULL || cut->first_edge == NULL || cut->path_edge == NULL || cut->queue == NULL) {
    xnn_delete_min_cut(cut);
    return NULL;
  }
  memset(cut->first_edge, 0xFF, num_nodes * sizeof(uint32_t));
  return cut;
}

void xnn_delete_min_cut(struct xnn_min_cut* cut)
{
  if (cut != NULL) {
    xnn_release_memory(cut->edges);
    xnn_release_memory(cut->first_edge);
    xnn_release_memory(cut->path_edge);
    xnn_release_memory(cut->queue);
    xnn_release_memory(cut);
  }
}

static void add_half_edge(struct xnn_min_cut* cut, size_t from, size_t to, uint64_t capacity)
{
  assert(cut->num_edges < cut->max_edges);
  assert(from < cut->num_nodes && to < cut->num_nodes);
  struct edge* edge = &cut->edges[cut->num_edges];
  edge->to = (uint32_t) to;
  edge->capacity = capacity;
  edge->next = cut->first_edge[from];
  cut->first_edge[from] = (uint32_t) cut->num_edges;
  cut->num_edges += 1;
}

void xnn_add_min_cut_edge(struct xnn_min_cut* cut, size_t from, size_t to, uint64_t cost)
{
  add_half_edge(cut, from, to, cost);
  add_half_edge(cut, to, from, 0);
}

// Visits the nodes that the source reaches, nearest first. Returns whether the sink is among them.
static bool find_path(struct xnn_min_cut* cut)
{
  memset(cut->path_edge, 0xFF, cut->num_nodes * sizeof(uint32_t));
  size_t head = 0;
  size_t tail = 0;
  cut->queue[tail++] = SOURCE;
  while (head < tail) {
    const uint32_t node = cut->queue[head++];
    for (uint32_t e = cut->first_edge[node]; e != NO_EDGE; e = cut->edges[e].next) {
      const uint32_t to = cut->edges[e].to;
      if (cut->edges[e].capacity != 0 && to != SOURCE && cut->path_edge[to] == NO_EDGE) {
        cut->path_edge[to] = e;
        cut->queue[tail++] = to;
      }
    }
  }
  return cut->path_edge[SINK] != NO_EDGE;
}

bool xnn_solve_min_cut(struct xnn_min_cut* cut, bool* on_source_side)
{
  uint64_t total_flow = 0;
  while (find_path(cut)) {
    uint64_t flow = UINT64_MAX;
    for (uint32_t node = SINK; node != SOURCE; node = cut->edges[cut->path_edge[node] ^ 1].to) {
      flow = min(flow, cut->edges[cut->path_edge[node]].capacity);
    }
    // Earlier paths may have taken a part of an infinite edge.
    total_flow += flow;
    if (total_flow >= XNN_INFINITE_CUT_COST) {
      // Nothing separates source and sink.
      return false;
    }
    for (uint32_t node = SINK; node != SOURCE; node = cut->edges[cut->path_edge[node] ^ 1].to) {
      cut->edges[cut->path_edge[node]].capacity -= flow;
      cut->edges[cut->path_edge[node] ^ 1].capacity += flow;
    }
  }
  for (size_t node = 0; node < cut->num_nodes; node++) {
    on_source_side[node] = node == SOURCE || cut->path_edge[node] != NO_EDGE;
  }
  return true;
}
