// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Costs change what is chosen, and never what is computed.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "nm-convolution-tester.h"
#include "nm-graph-tester.h"
#include "replicable_random_device.h"

using xnnpack::DrawGraph;
using xnnpack::ExpectSame;
using xnnpack::Graph;
using xnnpack::GraphRunner;
using xnnpack::kForce;
using xnnpack::kHint;
using xnnpack::kNhwc;
using xnnpack::kNumGraphs;
using xnnpack::kVariants;
using xnnpack::ReplicableRandomDevice;
using xnnpack::SubgraphPtr;
using xnnpack::ThreadpoolPtr;

namespace {

constexpr size_t kNumCosts = sizeof(xnn_nm_costs) / sizeof(float);
static_assert(kNumCosts * sizeof(float) == sizeof(xnn_nm_costs), "costs are nothing but floats");

using Costs = std::vector<float>;

Costs DefaultCosts() {
  xnn_nm_costs costs;
  EXPECT_EQ(xnn_status_success, xnn_get_nm_costs(&costs));
  Costs result(kNumCosts);
  std::memcpy(result.data(), &costs, sizeof(costs));
  return result;
}

xnn_status Set(xnn_subgraph_t subgraph, const Costs& numbers) {
  xnn_nm_costs costs;
  std::memcpy(&costs, numbers.data(), sizeof(costs));
  return xnn_subgraph_set_nm_costs(subgraph, &costs);
}

// Some as they are, others a few times more or less, or at the ends of what is allowed.
Costs DrawCosts(ReplicableRandomDevice& rng) {
  Costs costs = DefaultCosts();
  for (float& cost : costs) {
    switch (rng() % 8) {
      case 0:
        cost = 0.0f;
        break;
      case 1:
        cost = 1.0e9f;
        break;
      case 2:
        cost = std::numeric_limits<float>::denorm_min();
        break;
      case 3:
      case 4:
        cost *= 0.25f * static_cast<float>(rng() % 16);
        cost = cost <= 1.0e9f ? cost : 1.0e9f;
        break;
      default:
        break;
    }
  }
  return costs;
}

}  // namespace

TEST(NM_COSTS, any_costs_give_the_same_numbers) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  const ThreadpoolPtr threadpool(pthreadpool_create(2), pthreadpool_destroy);
  size_t num_cnhw = 0, num_fused = 0;
  for (size_t i = 0; i < 2 * kNumGraphs; i++) {
    const Graph graph = DrawGraph(rng, /*num_steps=*/1 + rng() % 9);
    SCOPED_TRACE("graph " + std::to_string(i) + "\n" + graph.ToString());
    const SubgraphPtr subgraph = graph.Build();
    const Costs costs = DrawCosts(rng);
    SCOPED_TRACE(testing::PrintToString(costs));
    ASSERT_EQ(xnn_status_success, Set(subgraph.get(), costs));
    const uint32_t flags = kVariants[rng() % std::size(kVariants)];
    GraphRunner runner(graph, subgraph.get(), flags, rng() % 2 == 0 ? threadpool.get() : nullptr);
    ExpectSame(rng, graph, runner);
    if (testing::Test::HasFailure()) return;
    num_cnhw += runner.num_cnhw;
    num_fused += runner.num_fused_additions;
  }
  EXPECT_GT(num_cnhw, kNumGraphs / 2);
  EXPECT_GT(num_fused, kNumGraphs / 10);
}

TEST(NM_COSTS, runtimes_of_other_costs_share_a_weights_cache) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  for (size_t i = 0; i < kNumGraphs / 4; i++) {
    const Graph graph = DrawGraph(rng, /*num_steps=*/1 + rng() % 9);
    SCOPED_TRACE("graph " + std::to_string(i) + "\n" + graph.ToString());
    xnn_weights_cache_t cache = nullptr;
    ASSERT_EQ(xnn_status_success, xnn_create_weights_cache(&cache));
    {
      std::vector<SubgraphPtr> subgraphs;
      std::vector<GraphRunner> runners;
      const uint32_t flags = kVariants[rng() % std::size(kVariants)];
      for (size_t r = 0; r < 4; r++) {
        subgraphs.push_back(graph.Build());
        ASSERT_EQ(xnn_status_success, Set(subgraphs.back().get(), r == 0 ? DefaultCosts() : DrawCosts(rng)));
        runners.emplace_back(graph, subgraphs.back().get(), flags, nullptr, cache);
        ASSERT_EQ(xnn_status_success, runners.back().status);
      }
      ASSERT_EQ(xnn_status_success, xnn_finalize_weights_cache(cache, xnn_weights_cache_finalization_kind_hard));
      std::vector<GraphRunner*> all;
      for (GraphRunner& runner : runners) {
        all.push_back(&runner);
      }
      ExpectSame(rng, graph, all);
    }
    xnn_delete_weights_cache(cache);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(NM_COSTS, change_what_is_chosen) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  Graph graph;
  graph.AddConvolution(rng, graph.AddInput({1, 20, 20, 64}), 64, 3, 1, 1, /*pruned_tile=*/32, true);
  graph.MarkOutputs();
  const auto reason = [&graph](const xnn_nm_costs& costs) {
    const SubgraphPtr subgraph = graph.Build();
    EXPECT_EQ(xnn_status_success, xnn_subgraph_set_nm_costs(subgraph.get(), &costs));
    GraphRunner runner(graph, subgraph.get(), kHint | kNhwc, nullptr);
    EXPECT_EQ(xnn_status_success, runner.status);
    xnn_nm_layer_info info = {};
    size_t count = 1;
    EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runner.runtime(), &count, &info));
    return info.reason;
  };
  xnn_nm_costs costs;
  ASSERT_EQ(xnn_status_success, xnn_get_nm_costs(&costs));
  costs.min_speedup = 0.01f;
  EXPECT_EQ(xnn_nm_reason_chosen, reason(costs));
  costs.min_speedup = 1000.0f;
  EXPECT_EQ(xnn_nm_reason_too_dense, reason(costs));
  costs.min_speedup = 0.5f;
  costs.nhwc_operator = 1.0e9f;
  EXPECT_EQ(xnn_nm_reason_too_small, reason(costs));
}

TEST(NM_COSTS, refuses_what_is_no_cost) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  Graph graph;
  graph.AddConvolution(rng, graph.AddInput({1, 5, 5, 8}), 8, 1, 1, 1, /*pruned_tile=*/4, true);
  graph.MarkOutputs();
  const SubgraphPtr subgraph = graph.Build();
  for (const size_t i : {size_t{0}, kNumCosts / 2, kNumCosts - 1}) {
    for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), -1.0f, 1.1e9f,
                              std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
      Costs costs = DefaultCosts();
      costs[i] = wrong;
      EXPECT_EQ(xnn_status_invalid_parameter, Set(subgraph.get(), costs)) << "number " << i << " is " << wrong;
    }
  }
  EXPECT_EQ(xnn_status_success, xnn_subgraph_set_nm_costs(subgraph.get(), nullptr));
  GraphRunner runner(graph, subgraph.get(), kForce, nullptr);
  EXPECT_EQ(xnn_status_success, runner.status);
}
