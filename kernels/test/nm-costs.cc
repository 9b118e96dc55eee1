// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Costs and records of times change what is chosen, and never what is computed.

#include <algorithm>
#include <cmath>
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
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-records.h"
#include "xnnpack/nm-space.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/subgraph.h"
#include "nm-convolution-tester.h"
#include "nm-graph-tester.h"
#include "nm-plan-drawer.h"
#include "replicable_random_device.h"

using xnnpack::Costs;
using xnnpack::DefaultCosts;
using xnnpack::DrawCosts;
using xnnpack::DrawGraph;
using xnnpack::DrawRecords;
using xnnpack::ExpectSame;
using xnnpack::Graph;
using xnnpack::GraphRunner;
using xnnpack::kCnhw;
using xnnpack::kForce;
using xnnpack::kHint;
using xnnpack::kNhwc;
using xnnpack::kNumCosts;
using xnnpack::kNumGraphs;
using xnnpack::kVariants;
using xnnpack::ReplicableRandomDevice;
using xnnpack::SetCosts;
using xnnpack::SubgraphPtr;
using xnnpack::ThreadpoolPtr;

namespace {

// What N:M operators do not support, or is no data type at all.
constexpr xnn_datatype kNoTypes[] = {xnn_datatype_invalid, xnn_datatype_quint8, xnn_datatype_qint32,
                                     static_cast<xnn_datatype>(15)};

// A graph of one pruned convolution.
Graph OneLayer(ReplicableRandomDevice& rng) {
  Graph graph;
  graph.AddConvolution(rng, graph.AddInput({1, 20, 20, 64}), 64, 3, 1, 1, /*pruned_tile=*/32, true);
  graph.MarkOutputs();
  return graph;
}

// What became of the layer of such a graph.
xnn_nm_layer_info OnlyLayer(const GraphRunner& runner) {
  EXPECT_EQ(xnn_status_success, runner.status);
  xnn_nm_layer_info info = {};
  size_t count = 1;
  EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runner.runtime(), &count, &info));
  return info;
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
    const Costs costs = DrawCosts(rng, xnn_datatype_fp32);
    SCOPED_TRACE(testing::PrintToString(costs));
    ASSERT_EQ(xnn_status_success, SetCosts(subgraph.get(), xnn_datatype_fp32, costs));
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
        ASSERT_EQ(xnn_status_success, SetCosts(
          subgraphs.back().get(), xnn_datatype_fp32,
          r == 0 ? DefaultCosts(xnn_datatype_fp32) : DrawCosts(rng, xnn_datatype_fp32)));
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
  const Graph graph = OneLayer(rng);
  const auto reason = [&graph](const xnn_nm_costs& costs) {
    const SubgraphPtr subgraph = graph.Build();
    EXPECT_EQ(xnn_status_success, xnn_subgraph_set_nm_costs(subgraph.get(), xnn_datatype_fp32, &costs));
    GraphRunner runner(graph, subgraph.get(), kHint | kNhwc, nullptr);
    EXPECT_EQ(xnn_status_success, runner.status);
    return OnlyLayer(runner).reason;
  };
  xnn_nm_costs costs;
  ASSERT_EQ(xnn_status_success, xnn_get_nm_costs(xnn_datatype_fp32, &costs));
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
      Costs costs = DefaultCosts(xnn_datatype_fp32);
      costs[i] = wrong;
      EXPECT_EQ(xnn_status_invalid_parameter, SetCosts(subgraph.get(), xnn_datatype_fp32, costs))
        << "number " << i << " is " << wrong;
    }
  }
  EXPECT_EQ(xnn_status_success, xnn_subgraph_set_nm_costs(subgraph.get(), xnn_datatype_fp32, nullptr));
  GraphRunner runner(graph, subgraph.get(), kForce, nullptr);
  EXPECT_EQ(xnn_status_success, runner.status);
}

TEST(NM_RECORDS, any_records_give_the_same_numbers) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  const ThreadpoolPtr threadpool(pthreadpool_create(2), pthreadpool_destroy);
  size_t num_measured = 0;
  for (size_t i = 0; i < kNumGraphs; i++) {
    const Graph graph = DrawGraph(rng, /*num_steps=*/1 + rng() % 9);
    SCOPED_TRACE("graph " + std::to_string(i) + "\n" + graph.ToString());
    const SubgraphPtr subgraph = graph.Build();
    const std::vector<xnn_nm_record> records = DrawRecords(rng, subgraph.get());
    const float unit = std::ldexp(1.0f, static_cast<int>(rng() % 40) - 20);
    ASSERT_EQ(
      xnn_status_success, xnn_subgraph_set_nm_records(subgraph.get(), unit, records.size(), records.data()));
    const uint32_t flags = kVariants[rng() % std::size(kVariants)];
    GraphRunner runner(graph, subgraph.get(), flags, rng() % 2 == 0 ? threadpool.get() : nullptr);
    ExpectSame(rng, graph, runner);
    if (testing::Test::HasFailure()) return;
    size_t count = 64;
    xnn_nm_layer_info infos[64];
    ASSERT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runner.runtime(), &count, infos));
    num_measured += std::count_if(infos, infos + count, [](const xnn_nm_layer_info& info) { return info.measured; });
  }
  EXPECT_GT(num_measured, kNumGraphs / 2);
}

TEST(NM_RECORDS, the_fastest_that_was_measured_runs) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  const Graph graph = OneLayer(rng);
  const SubgraphPtr drawn = graph.Build();
  std::vector<xnn_nm_record> records;
  while (records.empty()) records = DrawRecords(rng, drawn.get());
  for (const xnn_nm_record& fastest : records) {
    std::vector<xnn_nm_record> times = records;
    for (xnn_nm_record& time : times) {
      time.nanoseconds = std::strcmp(time.candidate, fastest.candidate) == 0 ? 1.0f : 1.0e6f;
    }
    const SubgraphPtr subgraph = graph.Build();
    ASSERT_EQ(xnn_status_success, xnn_subgraph_set_nm_records(subgraph.get(), 1.0f, times.size(), times.data()));
    const bool cnhw = std::strncmp(fastest.candidate, "cnhw", 4) == 0;
    GraphRunner runner(graph, subgraph.get(), cnhw ? kHint | kCnhw : kHint | kNhwc, nullptr);
    ASSERT_EQ(xnn_status_success, runner.status);
    const xnn_nm_layer_info info = OnlyLayer(runner);
    SCOPED_TRACE(fastest.candidate);
    EXPECT_TRUE(info.measured);
    EXPECT_EQ(cnhw ? xnn_nm_layout_cnhw : xnn_nm_layout_nhwc, info.layout);
    if (std::strcmp(fastest.candidate, "dense") == 0) {
      EXPECT_NE(xnn_nm_reason_chosen, info.reason);
      const bool both = std::any_of(records.begin(), records.end(), [](const xnn_nm_record& record) {
        return std::strncmp(record.candidate, "nhwc", 4) == 0;
      });
      EXPECT_EQ(both, info.reason == xnn_nm_reason_measured_slower);
    } else {
      EXPECT_EQ(xnn_nm_reason_chosen, info.reason);
      const std::string tile = std::string(fastest.candidate).substr(5);
      const size_t columns = std::stoul(tile.substr(tile.find('x') + 1));
      EXPECT_EQ(columns, cnhw ? info.pixel_tile : info.tile_height);
    }
  }
}

TEST(NM_RECORDS, of_another_layer_are_passed_over) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  const Graph graph = OneLayer(rng);
  std::vector<xnn_nm_record> records;
  while (records.empty()) records = DrawRecords(rng, graph.Build().get());
  const auto measured = [&](xnn_nm_record record) {
    const SubgraphPtr subgraph = graph.Build();
    std::strcpy(record.candidate, "dense");
    std::vector<xnn_nm_record> both = {record, record};
    std::strcpy(both[1].candidate, "cnhw-1x8x");
    EXPECT_EQ(xnn_status_success, xnn_subgraph_set_nm_records(subgraph.get(), 1.0f, both.size(), both.data()));
    GraphRunner runner(graph, subgraph.get(), kHint | kNhwc, nullptr);
    EXPECT_EQ(xnn_status_success, runner.status);
    return OnlyLayer(runner).measured;
  };
  xnn_nm_record record = records[0];
  record.nanoseconds = 1.0e-3f;
  EXPECT_TRUE(measured(record));
  record.stride_width += 1;
  EXPECT_FALSE(measured(record));
  record = records[0];
  record.element_density += record.element_density < 0.5f ? 0.03f : -0.03f;
  EXPECT_FALSE(measured(record));
  record = records[0];
  record.datatype = xnn_datatype_qint8;
  EXPECT_FALSE(measured(record));
}

TEST(NM_RECORDS, of_the_nearest_layer_count_alone) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  const Graph graph = OneLayer(rng);
  std::vector<xnn_nm_record> records;
  while (records.empty()) records = DrawRecords(rng, graph.Build().get());
  std::vector<xnn_nm_record> two = {records[0], records[0]};
  std::strcpy(two[0].candidate, "dense");
  two[0].nanoseconds = 1.0e-3f;
  two[0].element_density += two[0].element_density < 0.5f ? 0.01f : -0.01f;
  std::strcpy(two[1].candidate, "nothing");
  const SubgraphPtr subgraph = graph.Build();
  ASSERT_EQ(xnn_status_success, xnn_subgraph_set_nm_records(subgraph.get(), 1.0f, two.size(), two.data()));
  EXPECT_FALSE(OnlyLayer(GraphRunner(graph, subgraph.get(), kHint | kNhwc, nullptr)).measured);
}

TEST(NM_RECORDS, refuses_what_is_no_time) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  const SubgraphPtr subgraph = Graph().Build();
  xnn_nm_record record = {};
  record.datatype = xnn_datatype_fp32;
  record.nanoseconds = 1.0f;
  EXPECT_EQ(xnn_status_success, xnn_subgraph_set_nm_records(subgraph.get(), 1.0f, 1, &record));
  for (const float unit : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(), 2.0e9f}) {
    EXPECT_EQ(xnn_status_invalid_parameter, xnn_subgraph_set_nm_records(subgraph.get(), unit, 1, &record));
  }
  for (const float wrong : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(), 2.0e15f}) {
    record.nanoseconds = wrong;
    EXPECT_EQ(xnn_status_invalid_parameter, xnn_subgraph_set_nm_records(subgraph.get(), 1.0f, 1, &record));
  }
  record.nanoseconds = 1.0f;
  record.column_density_8 = 1.5f;
  EXPECT_EQ(xnn_status_invalid_parameter, xnn_subgraph_set_nm_records(subgraph.get(), 1.0f, 1, &record));
  record.column_density_8 = 1.0f;
  std::memset(record.candidate, 'x', sizeof(record.candidate));
  EXPECT_EQ(xnn_status_invalid_parameter, xnn_subgraph_set_nm_records(subgraph.get(), 1.0f, 1, &record));
  record.candidate[0] = '\0';
  for (const xnn_datatype wrong : kNoTypes) {
    record.datatype = wrong;
    EXPECT_EQ(xnn_status_invalid_parameter, xnn_subgraph_set_nm_records(subgraph.get(), 1.0f, 1, &record));
  }
  EXPECT_EQ(xnn_status_success, xnn_subgraph_set_nm_records(subgraph.get(), 1.0f, 0, nullptr));
}

TEST(NM_COSTS, are_known_by_name) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  xnn_nm_costs costs;
  ASSERT_EQ(xnn_status_success, xnn_get_nm_costs(xnn_datatype_fp32, &costs));
  const float values[2] = {3.0f, 4.0f};
  EXPECT_EQ(xnn_status_success, xnn_set_nm_cost(&costs, "conversion", 0, 1, values));
  EXPECT_EQ(3.0f, costs.conversion);
  EXPECT_EQ(xnn_status_success, xnn_set_nm_cost(&costs, "pack_percent", 1, 2, values));
  EXPECT_EQ(4.0f, costs.pack_percent[2]);
  EXPECT_EQ(xnn_status_success, xnn_set_nm_cost(&costs, "nmspmm_percent", 1, 2, values));
  EXPECT_EQ(4.0f, costs.nmspmm_percent[1][1]);
  EXPECT_EQ(xnn_status_invalid_parameter, xnn_set_nm_cost(&costs, "conversion", 1, 1, values));
  EXPECT_EQ(xnn_status_invalid_parameter, xnn_set_nm_cost(&costs, "conversion", 0, 2, values));
  EXPECT_EQ(xnn_status_invalid_parameter, xnn_set_nm_cost(&costs, "pack_percent", 3, 2, values));
  EXPECT_EQ(xnn_status_invalid_parameter, xnn_set_nm_cost(&costs, "nmspmm_percent", XNN_MAX_NMSPMM_KERNELS, 1, values));
  EXPECT_EQ(xnn_status_invalid_parameter, xnn_set_nm_cost(&costs, "weather", 0, 1, values));
}

TEST(NM_COSTS, each_type_has_its_own) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  const Graph graph = OneLayer(rng);
  const auto reason = [&graph](xnn_datatype datatype) {
    const SubgraphPtr subgraph = graph.Build();
    xnn_nm_costs costs;
    EXPECT_EQ(xnn_status_success, xnn_get_nm_costs(datatype, &costs));
    costs.min_speedup = 1000.0f;
    EXPECT_EQ(xnn_status_success, xnn_subgraph_set_nm_costs(subgraph.get(), datatype, &costs));
    return OnlyLayer(GraphRunner(graph, subgraph.get(), kHint | kNhwc, nullptr)).reason;
  };
  EXPECT_EQ(xnn_nm_reason_too_dense, reason(xnn_datatype_fp32));
  EXPECT_NE(xnn_nm_reason_too_dense, reason(xnn_datatype_qint8));
}

TEST(NM_COSTS, refuses_what_is_no_type) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  const SubgraphPtr subgraph = Graph().Build();
  xnn_nm_costs costs;
  ASSERT_EQ(xnn_status_success, xnn_get_nm_costs(xnn_datatype_fp32, &costs));
  for (const xnn_datatype wrong : kNoTypes) {
    EXPECT_EQ(xnn_status_invalid_parameter, xnn_get_nm_costs(wrong, &costs));
    EXPECT_EQ(xnn_status_invalid_parameter, xnn_subgraph_set_nm_costs(subgraph.get(), wrong, &costs));
    EXPECT_EQ(xnn_status_invalid_parameter, xnn_subgraph_set_nm_costs(subgraph.get(), wrong, nullptr));
  }
}

TEST(NM_TYPES, are_known_by_name) {
  size_t count = 0;
  while (const char* name = xnn_get_nm_datatype_name(count)) {
    const xnn_datatype datatype = xnn_get_nm_datatype(name);
    ASSERT_NE(nullptr, xnn_find_nm_datatype(datatype)) << name;
    EXPECT_EQ(count, xnn_find_nm_type(datatype)) << name;
    xnn_nm_costs costs, all[XNN_NUM_NM_TYPES];
    EXPECT_EQ(xnn_status_success, xnn_get_nm_costs(datatype, &costs));
    xnn_init_nm_type_costs(all);
    EXPECT_EQ(0, std::memcmp(&costs, &all[count], sizeof(costs))) << name;
    count++;
  }
  EXPECT_EQ(XNN_NUM_NM_TYPES, count);
  EXPECT_EQ(xnn_datatype_fp32, xnn_get_nm_datatype("f32"));
  EXPECT_EQ(xnn_datatype_qint8, xnn_get_nm_datatype("qs8"));
  for (const char* wrong : {"", "f", "f32 ", "F32", "qs8%n", "f64"}) {
    EXPECT_EQ(xnn_datatype_invalid, xnn_get_nm_datatype(wrong)) << wrong;
  }
}
