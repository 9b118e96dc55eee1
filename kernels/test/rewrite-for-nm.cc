// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Graphs with the flags of N:M inference against the same graphs without.

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
#include "xnnpack/common.h"
#include "xnnpack/subgraph.h"
#include "nm-convolution-tester.h"
#include "nm-graph-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

using xnnpack::DrawGraph;
using xnnpack::DrawInputs;
using xnnpack::ExpectNear;
using xnnpack::ExpectSame;
using xnnpack::Graph;
using xnnpack::GraphNode;
using xnnpack::GraphOp;
using xnnpack::GraphRunner;
using xnnpack::InputDims;
using xnnpack::kCnhw;
using xnnpack::kForce;
using xnnpack::kHint;
using xnnpack::kNhwc;
using xnnpack::kNumGraphs;
using xnnpack::kVariants;
using xnnpack::ReplicableRandomDevice;
using xnnpack::SubgraphPtr;
using xnnpack::ThreadpoolPtr;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
using Dims = std::vector<std::vector<size_t>>;
using Tensors = std::vector<std::vector<float>>;

// A convolution whose filter is worth pruning, the addition of its input and a clamp, next to convolutions that pay off
// in CNHW. The addition is the second node.
Graph ResidualGraph(ReplicableRandomDevice& rng, size_t channels, bool bias) {
  Graph graph;
  const size_t input = graph.AddInput({2, 9, 7, channels});
  const size_t value = graph.AddConvolution(rng, input, channels, 3, 1, 1, /*pruned_tile=*/0, bias);
  std::vector<float>& filter = graph.nodes.back().filter;
  for (size_t i = 0; i < filter.size(); i++) {
    filter[i] = i % 4 == 0 ? filter[i] : 0.0f;
  }
  const size_t sum = graph.AddBinary(xnn_binary_add, input, value);
  const size_t clamped = graph.AddClamp(sum, 0.0f, 0.7f);
  const size_t other = graph.AddConvolution(rng, input, 32, 1, 1, 1, /*pruned_tile=*/8, true);
  GraphNode node;
  node.op = GraphOp::kConcatenate;
  node.axes = {3};
  node.inputs = {other, clamped};
  graph.AddConvolution(rng, graph.Add(node, {2, 9, 7, 32 + channels}), 24, 3, 1, 1, /*pruned_tile=*/8, true);
  graph.MarkOutputs();
  return graph;
}

}  // namespace

TEST(REWRITE_FOR_NM, drawn_graphs_equal_those_without_flags) {
  ReplicableRandomDevice rng;
  const ThreadpoolPtr threadpool(pthreadpool_create(2), pthreadpool_destroy);
  size_t num_cnhw = 0, num_fused_nhwc = 0, num_fused_cnhw = 0, num_conversions = 0, num_reading_bands = 0;
  for (size_t i = 0; i < kNumGraphs; i++) {
    const Graph graph = DrawGraph(rng, /*num_steps=*/1 + rng() % 9);
    SCOPED_TRACE("graph " + std::to_string(i) + "\n" + graph.ToString());
    GraphRunner plain(graph, 0, nullptr);
    ASSERT_EQ(xnn_status_success, plain.status);
    const Tensors inputs = DrawInputs(rng, InputDims(graph));
    Dims expected_dims;
    Tensors expected;
    ASSERT_EQ(xnn_status_success, plain.Run(InputDims(graph), inputs, &expected_dims, &expected));
    for (const uint32_t flags : kVariants) {
      SCOPED_TRACE("flags " + std::to_string(flags));
      GraphRunner runner(graph, flags, rng() % 4 == 0 ? threadpool.get() : nullptr);
      ASSERT_EQ(xnn_status_success, runner.status);
      Dims dims;
      Tensors outputs;
      ASSERT_EQ(xnn_status_success, runner.Run(InputDims(graph), inputs, &dims, &outputs));
      ExpectNear(expected_dims, expected, dims, outputs);
      if (testing::Test::HasFailure()) return;
      num_cnhw += runner.num_cnhw;
      num_conversions += runner.num_conversions;
      num_reading_bands += runner.num_reading_bands;
      ((flags & kCnhw) != 0 ? num_fused_cnhw : num_fused_nhwc) += runner.num_fused_additions;
      if ((flags & kNhwc) != 0) {
        EXPECT_EQ(0u, runner.num_cnhw);
        EXPECT_EQ(0u, runner.num_conversions);
      }
      if ((flags & XNN_FLAG_NO_OPERATOR_FUSION) != 0) {
        EXPECT_EQ(0u, runner.num_fused_additions);
      }
    }
  }
  EXPECT_GT(num_cnhw, 5 * kNumGraphs);
  EXPECT_GT(num_conversions, 5 * kNumGraphs);
  EXPECT_GT(num_reading_bands, kNumGraphs);
  EXPECT_GT(num_fused_nhwc, kNumGraphs / 3);
  EXPECT_GT(num_fused_cnhw, kNumGraphs / 3);
}

TEST(REWRITE_FOR_NM, drawn_graphs_can_be_reshaped) {
  ReplicableRandomDevice rng;
  size_t num_reshaped = 0;
  for (size_t i = 0; i < kNumGraphs / 2; i++) {
    const Graph graph = DrawGraph(rng, /*num_steps=*/1 + rng() % 6);
    SCOPED_TRACE("graph " + std::to_string(i) + "\n" + graph.ToString());
    const uint32_t flags = kVariants[i % 6];
    SCOPED_TRACE("flags " + std::to_string(flags));
    GraphRunner plain(graph, 0, nullptr);
    GraphRunner runner(graph, flags, nullptr);
    ASSERT_EQ(xnn_status_success, plain.status);
    ASSERT_EQ(xnn_status_success, runner.status);
    for (size_t round = 0; round < 4; round++) {
      Dims new_dims = InputDims(graph);
      // The second round is as at first, the last larger or smaller than ever.
      if (round != 1) {
        const size_t batch = xnnpack::Draw<size_t>(rng, 1, 5);
        const size_t growth = rng() % 2 == 0 ? 0 : xnnpack::Draw<size_t>(rng, 0, 2) * 8;
        for (std::vector<size_t>& dims : new_dims) {
          dims[0] = batch;
          dims[1] += growth;
          dims[2] += growth;
        }
      }
      SCOPED_TRACE("round " + std::to_string(round) + " " + testing::PrintToString(new_dims));
      const Tensors inputs = DrawInputs(rng, new_dims);
      Dims expected_dims, dims;
      Tensors expected, outputs;
      // Drawn graphs do not all go with all sizes.
      if (plain.Run(new_dims, inputs, &expected_dims, &expected) != xnn_status_success) {
        EXPECT_NE(xnn_status_success, runner.Run(new_dims, inputs, &dims, &outputs));
        break;
      }
      ASSERT_EQ(xnn_status_success, runner.Run(new_dims, inputs, &dims, &outputs));
      ExpectNear(expected_dims, expected, dims, outputs);
      if (testing::Test::HasFailure()) return;
      num_reshaped += 1;
    }
  }
  EXPECT_GT(num_reshaped, kNumGraphs);
}

TEST(REWRITE_FOR_NM, adds_the_image_that_the_convolution_reads) {
  ReplicableRandomDevice rng;
  // Up to four channels are read in NHWC.
  for (const size_t channels : {1, 3, 4, 5, 32}) {
    for (const bool bias : {false, true}) {
      for (const uint32_t flags : {kForce | kNhwc, kForce | kCnhw, kHint}) {
        SCOPED_TRACE(std::to_string(channels) + " channels, bias " + std::to_string(bias) + " flags " +
                     std::to_string(flags));
        const Graph graph = ResidualGraph(rng, channels, bias);
        GraphRunner runner(graph, flags, nullptr);
        ExpectSame(rng, graph, runner);
        if (testing::Test::HasFailure()) return;
        EXPECT_TRUE(flags == kHint || runner.num_fused_additions == 1) << runner.num_fused_additions;
      }
    }
  }
}

TEST(REWRITE_FOR_NM, runs_residual_blocks_in_cnhw_with_two_conversions) {
  ReplicableRandomDevice rng;
  Graph graph;
  size_t value = graph.AddInput({2, 12, 12, 16});
  for (size_t block = 0; block < 3; block++) {
    const uint32_t stride = block == 1 ? 2 : 1;
    const size_t channels = block == 0 ? 16 : 32;
    size_t branch = graph.AddConvolution(rng, value, channels, 3, stride, 1, 8, true);
    branch = graph.AddClamp(branch, 0.0f, kInfinity);
    branch = graph.AddConvolution(rng, branch, channels, 3, 1, 1, 8, true);
    const size_t shortcut =
      block == 1 ? graph.AddConvolution(rng, value, channels, 1, stride, 1, 8, true) : value;
    value = graph.AddClamp(graph.AddBinary(xnn_binary_add, branch, shortcut), 0.0f, kInfinity);
  }
  graph.MarkOutputs();
  GraphRunner runner(graph, kForce | kCnhw, nullptr);
  ExpectSame(rng, graph, runner);
  EXPECT_EQ(7u, runner.num_cnhw);
  EXPECT_EQ(3u, runner.num_fused_additions);
  EXPECT_EQ(2u, runner.num_conversions);
}

// Bottlenecks, the last of which ends in what runs in NHWC.
TEST(REWRITE_FOR_NM, lays_values_between_convolutions_in_bands) {
  ReplicableRandomDevice rng;
  Graph graph;
  size_t value = graph.AddInput({1, 15, 14, 24});
  value = graph.AddConvolution(rng, value, 64, 1, 1, 1, 8, true);
  for (size_t block = 0; block < 3; block++) {
    size_t branch = graph.AddConvolution(rng, value, 16, 1, 1, 1, 8, true);
    branch = graph.AddConvolution(rng, branch, 16, 3, 1, 1, 8, true);
    branch = graph.AddConvolution(rng, branch, 64, 1, 1, 1, 8, true);
    value = graph.AddClamp(graph.AddBinary(xnn_binary_add, branch, value), -0.5f, kInfinity);
  }
  const size_t strided = graph.AddConvolution(rng, value, 40, 1, 2, 1, 8, true);
  GraphNode resize;
  resize.op = GraphOp::kResize;
  resize.inputs = {value};
  graph.Add(resize, {1, 20, 17, 64});
  graph.AddConvolution(rng, strided, 8, 3, 1, 1, 8, true);
  graph.MarkOutputs();
  for (const size_t threads : {1, 2, 3, 5}) {
    SCOPED_TRACE(std::to_string(threads) + " threads");
    const ThreadpoolPtr threadpool(pthreadpool_create(threads), pthreadpool_destroy);
    GraphRunner runner(graph, kForce | kCnhw, threadpool.get());
    ASSERT_EQ(xnn_status_success, runner.status);
    EXPECT_EQ(3u, runner.num_fused_additions);
    // The 1x1 convolutions of each block, the strided one, and the conversion for what resizes; not the first.
    EXPECT_EQ(8u, runner.num_reading_bands);
    GraphRunner plain(graph, 0, nullptr);
    ASSERT_EQ(xnn_status_success, plain.status);
    // Larger, smaller, of bands and of none.
    for (const size_t size : {15, 40, 6, 23}) {
      const Dims new_dims = {{size % 2 + 1, size, 14, 24}};
      SCOPED_TRACE(testing::PrintToString(new_dims));
      const Tensors inputs = DrawInputs(rng, new_dims);
      Dims expected_dims, dims;
      Tensors expected, outputs;
      ASSERT_EQ(xnn_status_success, plain.Run(new_dims, inputs, &expected_dims, &expected));
      ASSERT_EQ(xnn_status_success, runner.Run(new_dims, inputs, &dims, &outputs));
      ExpectNear(expected_dims, expected, dims, outputs);
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(REWRITE_FOR_NM, fuses_no_addition_of_what_others_read) {
  ReplicableRandomDevice rng;
  for (const uint32_t flags : {kForce | kNhwc, kForce | kCnhw}) {
    for (const size_t variant : {0, 1, 2}) {
      SCOPED_TRACE("flags " + std::to_string(flags) + " variant " + std::to_string(variant));
      Graph graph;
      const size_t input = graph.AddInput({1, 6, 5, 8});
      const size_t value = graph.AddConvolution(rng, input, 8, 3, 1, 1, 4, true);
      if (variant == 0) {
        graph.AddBinary(xnn_binary_add, value, value);
      } else {
        graph.AddBinary(xnn_binary_add, value, input);
      }
      if (variant == 1) {
        graph.values[value].output = true;
      } else if (variant == 2) {
        graph.AddClamp(value, -0.5f, 0.5f);
      }
      graph.MarkOutputs();
      GraphRunner runner(graph, flags, nullptr);
      ExpectSame(rng, graph, runner);
      EXPECT_EQ(0u, runner.num_fused_additions);
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(REWRITE_FOR_NM, clamps_only_what_the_clamp_alone_reads) {
  ReplicableRandomDevice rng;
  for (const uint32_t flags : {kForce | kNhwc, kForce | kCnhw}) {
    for (const bool is_output : {false, true}) {
      Graph graph = ResidualGraph(rng, 8, true);
      const size_t sum = graph.nodes[1].output;
      if (is_output) {
        graph.values[sum].output = true;
      } else {
        graph.AddConvolution(rng, sum, 9, 1, 1, 1, 4, true);
        graph.MarkOutputs();
      }
      GraphRunner runner(graph, flags, nullptr);
      ExpectSame(rng, graph, runner);
      EXPECT_EQ(1u, runner.num_fused_additions);
      if (testing::Test::HasFailure()) return;
    }
  }
}

// Values that grew before a later operator failed to reshape are as large afterwards, but have no memory yet.
TEST(REWRITE_FOR_NM, plans_memory_after_a_reshape_that_failed) {
  ReplicableRandomDevice rng;
  const size_t side = xnnpack::kEmulated ? 40 : 90;
  for (const uint32_t flags : {0u, kForce | kNhwc, kForce | kCnhw}) {
    SCOPED_TRACE("flags " + std::to_string(flags));
    Graph graph;
    const size_t input = graph.AddInput({1, 6, 5, 8});
    const size_t addend = graph.AddInput({1, 1, 1, 16});
    const size_t value = graph.AddConvolution(rng, input, 32, 3, 1, 1, 8, true);
    GraphNode mean;
    mean.op = GraphOp::kMean;
    mean.axes = {1, 2};
    mean.keep_dims = true;
    mean.inputs = {graph.AddConvolution(rng, value, 16, 1, 1, 1, 4, true)};
    // From here on, sizes are the same.
    graph.AddBinary(xnn_binary_add, addend, graph.Add(mean, {1, 1, 1, 16}));
    graph.MarkOutputs();
    GraphRunner plain(graph, 0, nullptr);
    GraphRunner runner(graph, flags, nullptr);
    ASSERT_EQ(xnn_status_success, plain.status);
    ASSERT_EQ(xnn_status_success, runner.status);
    const Dims small = {{1, 6, 5, 8}, {1, 1, 1, 16}};
    const Dims mismatch = {{1, side, side + 1, 8}, {1, 1, 1, 15}};
    const Dims larger = {{1, side, side, 8}, {1, 1, 1, 16}};
    Dims expected_dims, dims;
    Tensors expected, outputs;
    ASSERT_EQ(xnn_status_success, runner.Run(small, DrawInputs(rng, small), &dims, &outputs));
    EXPECT_NE(xnn_status_success, runner.Run(mismatch, DrawInputs(rng, mismatch), &dims, &outputs));
    const Tensors inputs = DrawInputs(rng, larger);
    ASSERT_EQ(xnn_status_success, plain.Run(larger, inputs, &expected_dims, &expected));
    ASSERT_EQ(xnn_status_success, runner.Run(larger, inputs, &dims, &outputs));
    ExpectNear(expected_dims, expected, dims, outputs);
    if (testing::Test::HasFailure()) return;
  }
}

// Convolutions add images of their output's shape only, also where plain additions broadcast.
TEST(REWRITE_FOR_NM, does_not_read_beyond_a_reshaped_addend) {
  ReplicableRandomDevice rng;
  for (const uint32_t flags : {kForce | kNhwc, kForce | kCnhw}) {
    SCOPED_TRACE("flags " + std::to_string(flags));
    Graph graph;
    const size_t input = graph.AddInput({2, 6, 5, 8});
    const size_t addend = graph.AddInput({2, 6, 5, 16});
    const size_t value = graph.AddConvolution(rng, input, 16, 3, 1, 1, 4, true);
    const size_t sum = graph.AddBinary(xnn_binary_add, addend, value);
    graph.AddConvolution(rng, sum, 24, 3, 1, 1, 8, true);
    graph.MarkOutputs();
    GraphRunner runner(graph, flags, nullptr);
    ASSERT_EQ(xnn_status_success, runner.status);
    EXPECT_EQ(1u, runner.num_fused_additions);
    Dims dims;
    Tensors outputs;
    for (const Dims& mismatch : {Dims{{2, 6, 5, 8}, {1, 6, 5, 16}}, Dims{{2, 6, 5, 8}, {2, 6, 4, 16}},
                                 Dims{{1, 6, 5, 8}, {2, 6, 5, 16}}, Dims{{2, 7, 5, 8}, {2, 6, 5, 16}}}) {
      EXPECT_NE(xnn_status_success, runner.Run(mismatch, DrawInputs(rng, mismatch), &dims, &outputs));
    }
    const Dims match = {{3, 4, 5, 8}, {3, 4, 5, 16}};
    EXPECT_EQ(xnn_status_success, runner.Run(match, DrawInputs(rng, match), &dims, &outputs));
  }
}

TEST(REWRITE_FOR_NM, a_graph_can_be_used_twice) {
  ReplicableRandomDevice rng;
  for (const uint32_t first : kVariants) {
    for (const uint32_t second : {kVariants[0], kVariants[1], kVariants[2], kVariants[5], 0u}) {
      SCOPED_TRACE("flags " + std::to_string(first) + ", then " + std::to_string(second));
      Graph graph;
      const size_t input = graph.AddInput({2, 8, 9, 8});
      const size_t value = graph.AddConvolution(rng, input, 24, 3, 1, 1, 8, true);
      const size_t sum = graph.AddBinary(xnn_binary_add, value, value);
      graph.AddConvolution(rng, sum, 4, 1, 2, 1, 4, true);
      graph.MarkOutputs();
      const SubgraphPtr subgraph = graph.Build();
      GraphRunner earlier(graph, subgraph.get(), first, nullptr);
      ASSERT_EQ(xnn_status_success, earlier.status);
      GraphRunner runner(graph, subgraph.get(), second, nullptr);
      ExpectSame(rng, graph, runner);
      if (testing::Test::HasFailure()) return;
      ExpectSame(rng, graph, earlier);
      if (testing::Test::HasFailure()) return;
    }
  }
}

// Additions, clamps and padding become parts of other nodes in the first runtime.
TEST(REWRITE_FOR_NM, a_fused_graph_can_be_used_twice) {
  ReplicableRandomDevice rng;
  for (const uint32_t first : kVariants) {
    for (const uint32_t second : {kVariants[0], kVariants[3], kVariants[5], 0u}) {
      SCOPED_TRACE("flags " + std::to_string(first) + ", then " + std::to_string(second));
      const Graph graph = ResidualGraph(rng, xnnpack::kEmulated ? 8 : 32, true);
      const SubgraphPtr subgraph = graph.Build();
      GraphRunner earlier(graph, subgraph.get(), first, nullptr);
      GraphRunner runner(graph, subgraph.get(), second, nullptr);
      ExpectSame(rng, graph, {&runner, &earlier});
      if (testing::Test::HasFailure()) return;
    }
  }
}

// What the first runtime was told not to fuse, the second one fuses: a layer that read its input in place pads it.
TEST(REWRITE_FOR_NM, a_graph_can_be_fused_by_its_second_runtime) {
  ReplicableRandomDevice rng;
  const ThreadpoolPtr threadpool(pthreadpool_create(2), pthreadpool_destroy);
  for (const size_t size : {8, 30}) {
    Graph graph;
    const size_t value = graph.AddConvolution(rng, graph.AddInput({1, size, size, 8}), 24, 3, 1, 1, 8, true);
    const std::vector<size_t> dims = graph.values[value].dims;
    GraphNode pad;
    pad.op = GraphOp::kPad;
    pad.inputs = {value};
    std::fill(std::begin(pad.padding), std::end(pad.padding), 1);
    graph.AddConvolution(rng, graph.Add(pad, {1, dims[1] + 2, dims[2] + 2, 24}), 16, 1, 1, 1, 8, true);
    graph.MarkOutputs();
    const SubgraphPtr subgraph = graph.Build();
    GraphRunner earlier(graph, subgraph.get(), kForce | kCnhw | XNN_FLAG_NO_OPERATOR_FUSION, threadpool.get());
    ExpectSame(rng, graph, earlier);
    GraphRunner runner(graph, subgraph.get(), kForce | kCnhw, threadpool.get());
    ExpectSame(rng, graph, runner);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(REWRITE_FOR_NM, a_graph_can_be_used_again_with_other_weights) {
  ReplicableRandomDevice rng;
  for (const uint32_t flags : kVariants) {
    SCOPED_TRACE("flags " + std::to_string(flags));
    Graph graph;
    const size_t value = graph.AddConvolution(rng, graph.AddInput({1, 8, 9, 8}), 24, 3, 1, 1, 8, true);
    graph.AddConvolution(rng, value, 16, 3, 1, 1, 8, true);
    graph.MarkOutputs();
    const SubgraphPtr subgraph = graph.Build();
    GraphRunner earlier(graph, subgraph.get(), flags, nullptr);
    ExpectSame(rng, graph, earlier);
    for (GraphNode& node : graph.nodes) {
      for (float& weight : node.filter) {
        weight = weight == 0.0f ? 0.25f : weight;
      }
    }
    GraphRunner runner(graph, subgraph.get(), flags, nullptr);
    ExpectSame(rng, graph, runner);
    if (testing::Test::HasFailure()) return;
  }
}

// The second runtime drops a copy, so that a conversion writes to the caller's memory.
TEST(REWRITE_FOR_NM, a_graph_with_bands_can_be_used_twice) {
  ReplicableRandomDevice rng;
  const ThreadpoolPtr threadpool(pthreadpool_create(2), pthreadpool_destroy);
  for (const uint32_t second : {kForce | kCnhw, 0u}) {
    SCOPED_TRACE("flags " + std::to_string(second));
    Graph graph;
    const size_t input = graph.AddInput({1, 25, 25, 24});
    const size_t value = graph.AddConvolution(rng, input, 64, 3, 1, 1, 8, true);
    GraphNode copy;
    copy.op = GraphOp::kCopy;
    copy.inputs = {value};
    graph.Add(copy, graph.values[value].dims);
    const size_t other = graph.AddConvolution(rng, value, 32, 1, 1, 1, 8, true);
    graph.AddConvolution(rng, other, 16, 1, 1, 1, 8, true);
    graph.MarkOutputs();
    const SubgraphPtr subgraph = graph.Build();
    GraphRunner earlier(graph, subgraph.get(), kForce | kCnhw, threadpool.get());
    ASSERT_EQ(xnn_status_success, earlier.status);
    EXPECT_GT(earlier.num_reading_bands, 0u);
    GraphRunner runner(graph, subgraph.get(), second, threadpool.get());
    ExpectSame(rng, graph, runner);
    if (testing::Test::HasFailure()) return;
    ExpectSame(rng, graph, earlier);
    if (testing::Test::HasFailure()) return;
  }
}
