// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Minimum cuts against all cuts there are.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack/nm-min-cut.h"
#include "nm-convolution-tester.h"
#include "replicable_random_device.h"

using xnnpack::Draw;
using xnnpack::ReplicableRandomDevice;

namespace {

struct Edge {
  size_t from, to;
  uint64_t cost;
};

// A cut is a set of bits: bit n where node n is on the source's side. Node 0 is the source, node 1 the sink.
constexpr uint64_t kImpossible = UINT64_MAX;

uint64_t CostOf(const std::vector<Edge>& edges, uint32_t cut) {
  uint64_t cost = 0;
  for (const Edge& edge : edges) {
    if ((cut >> edge.from & 1) != 0 && (cut >> edge.to & 1) == 0) {
      if (edge.cost == XNN_INFINITE_CUT_COST) {
        return kImpossible;
      }
      cost += edge.cost;
    }
  }
  return cost;
}

// Also checks that, of all the cheapest cuts, it is the one with the least on the source's side.
void ExpectCheapest(size_t num_nodes, const std::vector<Edge>& edges) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  std::unique_ptr<xnn_min_cut, decltype(&xnn_delete_min_cut)> cut(
    xnn_create_min_cut(num_nodes, edges.size()), xnn_delete_min_cut);
  ASSERT_NE(nullptr, cut);
  std::string text = std::to_string(num_nodes) + " nodes:";
  for (const Edge& edge : edges) {
    xnn_add_min_cut_edge(cut.get(), edge.from, edge.to, edge.cost);
    text += " " + std::to_string(edge.from) + "-" + std::to_string(edge.to) + ":" + std::to_string(edge.cost);
  }
  SCOPED_TRACE(text);
  uint64_t least = kImpossible;
  for (uint32_t labels = 0; labels < uint32_t{1} << (num_nodes - 2); labels++) {
    least = std::min(least, CostOf(edges, labels << 2 | 1));
  }
  const std::unique_ptr<bool[]> on_source_side(new bool[num_nodes]);
  ASSERT_EQ(least != kImpossible, xnn_solve_min_cut(cut.get(), on_source_side.get()));
  if (least == kImpossible) {
    return;
  }
  uint32_t found = 0;
  for (size_t node = 0; node < num_nodes; node++) {
    found |= static_cast<uint32_t>(on_source_side[node]) << node;
  }
  ASSERT_EQ(1u, found & 3) << "source and sink are not apart";
  ASSERT_EQ(least, CostOf(edges, found));
  for (uint32_t labels = 0; labels < uint32_t{1} << (num_nodes - 2); labels++) {
    const uint32_t other = labels << 2 | 1;
    if (CostOf(edges, other) == least) {
      ASSERT_EQ(found, found & other) << "more than needed is on the source's side";
    }
  }
}

}  // namespace

TEST(MIN_CUT, equals_all_cuts_of_drawn_graphs) {
  ReplicableRandomDevice rng;
  size_t num_impossible = 0;
  for (size_t i = 0; i < 3000; i++) {
    const size_t num_nodes = Draw<size_t>(rng, 2, 9);
    std::vector<Edge> edges(Draw<size_t>(rng, 0, 3 * num_nodes));
    const uint64_t max_cost = rng() % 2 == 0 ? 5 : UINT64_C(1000000000000000);
    for (Edge& edge : edges) {
      edge.from = rng() % num_nodes;
      edge.to = rng() % num_nodes;
      edge.cost = rng() % 6 == 0 ? XNN_INFINITE_CUT_COST : Draw<uint64_t>(rng, 0, max_cost);
      num_impossible += edge.from == 0 && edge.to == 1 && edge.cost == XNN_INFINITE_CUT_COST;
    }
    ExpectCheapest(num_nodes, edges);
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(num_impossible, 10u);
}

TEST(MIN_CUT, follows_flow_back) {
  // The shortest path takes what two longer ones need.
  ExpectCheapest(6, {{0, 2, 1}, {0, 3, 1}, {2, 5, 1}, {2, 4, 1}, {3, 4, 1}, {4, 1, 1}, {5, 1, 1}});
  ExpectCheapest(4, {{0, 2, 1000000}, {0, 3, 1000000}, {2, 3, 1}, {2, 1, 1000000}, {3, 1, 1000000}});
}

TEST(MIN_CUT, keeps_apart_what_nothing_connects) {
  ExpectCheapest(2, {});
  ExpectCheapest(3, {{0, 2, XNN_INFINITE_CUT_COST}});
  ExpectCheapest(3, {{2, 1, XNN_INFINITE_CUT_COST}});
  ExpectCheapest(3, {{0, 2, XNN_INFINITE_CUT_COST}, {2, 1, XNN_INFINITE_CUT_COST}});
  ExpectCheapest(3, {{0, 2, XNN_INFINITE_CUT_COST}, {2, 1, 0}, {1, 2, 7}, {2, 0, 7}});
}
