// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What is told of the operators of a runtime that is profiled.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack-nm-profile.h"
#include "xnnpack-nm.h"
#include "xnnpack/nmconv.h"
#include "nm-graph-tester.h"
#include "replicable_random_device.h"

using xnnpack::DrawGraph;
using xnnpack::DrawInputs;
using xnnpack::Graph;
using xnnpack::GraphRunner;
using xnnpack::InputDims;
using xnnpack::kForce;
using xnnpack::kVariants;
using xnnpack::ReplicableRandomDevice;

namespace {

using Profiles = std::vector<xnn_nm_operator_profile>;

Profiles Query(const GraphRunner& runner) {
  size_t count = 0;
  EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_operator_profiles(runner.runtime(), &count, nullptr));
  Profiles profiles(count);
  EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_operator_profiles(runner.runtime(), &count, profiles.data()));
  EXPECT_EQ(profiles.size(), count);
  return profiles;
}

// Runs; sets what that took in all.
Profiles RunGraph(ReplicableRandomDevice& rng, const Graph& graph, GraphRunner& runner, uint64_t* nanoseconds) {
  const std::vector<std::vector<float>> inputs = DrawInputs(rng, InputDims(graph));
  std::vector<std::vector<size_t>> dims;
  std::vector<std::vector<float>> outputs;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(xnn_status_success, runner.Run(InputDims(graph), inputs, &dims, &outputs));
  *nanoseconds = static_cast<uint64_t>((std::chrono::steady_clock::now() - start).count());
  return Query(runner);
}

}  // namespace

TEST(NM_PROFILE, operators_of_drawn_graphs) {
  ReplicableRandomDevice rng;
  for (size_t i = 0; i < 12; i++) {
    const Graph graph = DrawGraph(rng, /*num_steps=*/6);
    for (const uint32_t flags : kVariants) {
      SCOPED_TRACE("flags " + std::to_string(flags) + "\n" + graph.ToString());
      GraphRunner runner(graph, flags | XNN_FLAG_BASIC_PROFILING, nullptr);
      ASSERT_EQ(xnn_status_success, runner.status);
      uint64_t all = 0, sum = 0;
      size_t conversions = 0;
      std::map<uint32_t, const xnn_nm_operator_profile*> by_node;
      const Profiles profiles = RunGraph(rng, graph, runner, &all);
      for (const xnn_nm_operator_profile& profile : profiles) {
        sum += profile.nanoseconds;
        conversions += profile.is_conversion ? 1 : 0;
        EXPECT_GE(profile.num_outputs, 1u);
        EXPECT_TRUE(by_node.emplace(profile.node_id, &profile).second);
      }
      EXPECT_GT(sum, 0u);
      EXPECT_LE(sum, all);
      EXPECT_EQ(runner.num_conversions, conversions);
      size_t num_layers = profiles.size();
      std::vector<xnn_nm_layer_info> layers(num_layers);
      ASSERT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runner.runtime(), &num_layers, layers.data()));
      layers.resize(num_layers);
      for (const xnn_nm_layer_info& layer : layers) {
        const xnn_nm_operator_profile* profile = by_node.at(layer.node_id);
        EXPECT_EQ(layer.filter_id, profile->inputs[1]);
        EXPECT_EQ(layer.output_id, profile->outputs[0]);
        EXPECT_GT(profile->multiplications, 0u);
        EXPECT_NE(nullptr, profile->kind);
        EXPECT_NE(uintptr_t{0}, profile->ukernel);
        EXPECT_EQ(layer.layout == xnn_nm_layout_cnhw, profile->kind == std::string("NMSpMM"));
      }
    }
  }
}

TEST(NM_PROFILE, counts_multiplications) {
  ReplicableRandomDevice rng;
  Graph graph;
  const size_t input = graph.AddInput({2, 9, 7, 8});
  graph.AddConvolution(rng, input, /*channels=*/16, /*kernel=*/3, /*stride=*/1, /*groups=*/2, /*pruned_tile=*/4,
                       /*bias=*/true);
  graph.MarkOutputs();
  const std::vector<size_t> output = graph.values.back().dims;
  GraphRunner runner(graph, kForce | XNN_FLAG_FORCE_NM_NHWC | XNN_FLAG_BASIC_PROFILING, nullptr);
  ASSERT_EQ(xnn_status_success, runner.status);
  uint64_t all = 0;
  const Profiles profiles = RunGraph(rng, graph, runner, &all);
  ASSERT_EQ(1u, profiles.size());
  EXPECT_EQ(output[0] * output[1] * output[2] * 16 * 3 * 3 * 4, profiles[0].multiplications);
  bool known = false;
  for (size_t i = 0; i < XNN_MAX_NMCONV_KERNELS; i++) {
    known |= profiles[0].ukernel == reinterpret_cast<uintptr_t>(xnn_init_f32_nmconv_config()[i].ukernel);
  }
  EXPECT_TRUE(known);
}

TEST(NM_PROFILE, says_where_there_is_none) {
  ReplicableRandomDevice rng;
  const Graph graph = DrawGraph(rng, /*num_steps=*/4);
  size_t count = 0;
  GraphRunner plain(graph, kForce, nullptr);
  ASSERT_EQ(xnn_status_success, plain.status);
  EXPECT_EQ(xnn_status_invalid_state, xnn_get_runtime_nm_operator_profiles(plain.runtime(), &count, nullptr));
  GraphRunner profiled(graph, kForce | XNN_FLAG_BASIC_PROFILING, nullptr);
  ASSERT_EQ(xnn_status_success, profiled.status);
  // Nothing has run, and there is no room.
  for (const xnn_nm_operator_profile& profile : Query(profiled)) EXPECT_EQ(0u, profile.nanoseconds);
  xnn_nm_operator_profile none;
  EXPECT_EQ(xnn_status_out_of_memory, xnn_get_runtime_nm_operator_profiles(profiled.runtime(), &count, &none));
  EXPECT_GT(count, 0u);
}
