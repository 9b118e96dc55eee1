// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Graphs in half precision, with the flags of N:M inference against the same graphs without.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"
#include "nm-convolution-tester.h"
#include "nm-graph-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

namespace xnnpack {
namespace {

// Sums of a thousand terms in half precision, through up to nine nodes.
constexpr float kTolerance = 0.04f;
constexpr uint32_t kHalf = XNN_FLAG_FORCE_FP16_INFERENCE;

// Whether XNNPACK is to run graphs in half precision: on x86 wherever there is AVX2, elsewhere who runs the test knows.
bool ExpectsF16() {
#if XNN_ARCH_X86 || XNN_ARCH_X86_64
  return xnn_init_hardware_config()->use_x86_avx2;
#else
  return std::getenv("XNNPACK_TEST_F16") != nullptr;
#endif
}

class RewriteForNmF16 : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
    ASSERT_EQ(ExpectsF16(), xnn_is_f16_compatible_config(xnn_init_hardware_config()));
  }
  // Graphs to draw of so many: where there is no half precision one, which is refused.
  static size_t GetNumGraphs(size_t count) { return ExpectsF16() ? count : 1; }

  // Whether a graph runs in half precision without other flags. Not every operator has a micro-kernel everywhere.
  static bool Runs(const GraphRunner& plain) {
    if (!ExpectsF16()) {
      EXPECT_EQ(xnn_status_unsupported_hardware, plain.status);
    }
    return plain.status == xnn_status_success;
  }

  ReplicableRandomDevice rng_;
};

TEST_F(RewriteForNmF16, drawn_graphs_are_near_those_without_flags) {
  const ThreadpoolPtr threadpool(pthreadpool_create(2), pthreadpool_destroy);
  size_t num_graphs = 0, num_cnhw = 0, num_fused = 0;
  for (size_t i = 0; i < GetNumGraphs(kNumGraphs); i++) {
    const Graph graph = DrawGraph(rng_, /*num_steps=*/1 + rng_() % 9);
    SCOPED_TRACE("graph " + std::to_string(i) + "\n" + graph.ToString());
    GraphRunner plain(graph, kHalf, nullptr);
    if (!Runs(plain)) continue;
    num_graphs += 1;
    const std::vector<std::vector<float>> inputs = DrawInputs(rng_, InputDims(graph));
    std::vector<std::vector<size_t>> expected_dims, dims;
    std::vector<std::vector<float>> expected, outputs;
    ASSERT_EQ(xnn_status_success, plain.Run(InputDims(graph), inputs, &expected_dims, &expected));
    for (const uint32_t flags : kVariants) {
      SCOPED_TRACE("flags " + std::to_string(flags));
      GraphRunner runner(graph, kHalf | flags, rng_() % 4 == 0 ? threadpool.get() : nullptr);
      ASSERT_EQ(xnn_status_success, runner.status);
      ASSERT_EQ(xnn_status_success, runner.Run(InputDims(graph), inputs, &dims, &outputs));
      ExpectNear(expected_dims, expected, dims, outputs, kTolerance);
      if (HasFailure()) return;
      num_cnhw += runner.num_cnhw;
      num_fused += runner.num_fused_additions;
    }
  }
  if (ExpectsF16()) {
    EXPECT_GT(num_graphs, kNumGraphs / 2);
    EXPECT_GT(num_cnhw, num_graphs);
    EXPECT_GT(num_fused, num_graphs / 4);
  }
}

// What runs in half precision is near what runs in single precision.
TEST_F(RewriteForNmF16, drawn_graphs_are_near_those_of_single_precision) {
  size_t num_graphs = 0;
  for (size_t i = 0; i < GetNumGraphs(kNumGraphs / 4); i++) {
    const Graph graph = DrawGraph(rng_, /*num_steps=*/1 + rng_() % 5);
    SCOPED_TRACE("graph " + std::to_string(i) + "\n" + graph.ToString());
    if (!Runs(GraphRunner(graph, kHalf, nullptr))) continue;
    num_graphs += 1;
    GraphRunner single(graph, 0, nullptr);
    GraphRunner half(graph, kHalf | kForce | kCnhw, nullptr);
    ASSERT_EQ(xnn_status_success, single.status);
    ASSERT_EQ(xnn_status_success, half.status);
    const std::vector<std::vector<float>> inputs = DrawInputs(rng_, InputDims(graph));
    std::vector<std::vector<size_t>> expected_dims, dims;
    std::vector<std::vector<float>> expected, outputs;
    ASSERT_EQ(xnn_status_success, single.Run(InputDims(graph), inputs, &expected_dims, &expected));
    ASSERT_EQ(xnn_status_success, half.Run(InputDims(graph), inputs, &dims, &outputs));
    ExpectNear(expected_dims, expected, dims, outputs, kTolerance);
    if (HasFailure()) return;
  }
  EXPECT_TRUE(!ExpectsF16() || num_graphs > kNumGraphs / 8) << num_graphs;
}

// A residual block, all of it in one layout, its addition fused.
void RunResidualBlock(ReplicableRandomDevice& rng, uint32_t layout, size_t num_cnhw, size_t num_conversions) {
  Graph graph;
  const size_t input = graph.AddInput({2, 12, 12, 16});
  size_t value = graph.AddConvolution(rng, input, 32, 3, 1, 1, 8, true);
  value = graph.AddClamp(value, 0.0f, 6.0f);
  value = graph.AddConvolution(rng, value, 16, 1, 1, 1, 8, true);
  value = graph.AddClamp(graph.AddBinary(xnn_binary_add, input, value), 0.0f, 6.0f);
  graph.AddConvolution(rng, value, 24, 3, 2, 1, 8, true);
  graph.MarkOutputs();
  GraphRunner plain(graph, kHalf, nullptr);
  GraphRunner runner(graph, kHalf | kForce | layout, nullptr);
  if (!ExpectsF16()) {
    EXPECT_EQ(xnn_status_unsupported_hardware, plain.status);
    EXPECT_EQ(xnn_status_unsupported_hardware, runner.status);
    return;
  }
  ASSERT_EQ(xnn_status_success, plain.status);
  ASSERT_EQ(xnn_status_success, runner.status);
  EXPECT_EQ(num_cnhw, runner.num_cnhw);
  EXPECT_EQ(1u, runner.num_fused_additions);
  EXPECT_EQ(num_conversions, runner.num_conversions);
  const std::vector<std::vector<float>> inputs = DrawInputs(rng, InputDims(graph));
  std::vector<std::vector<size_t>> expected_dims, dims;
  std::vector<std::vector<float>> expected, outputs;
  ASSERT_EQ(xnn_status_success, plain.Run(InputDims(graph), inputs, &expected_dims, &expected));
  ASSERT_EQ(xnn_status_success, runner.Run(InputDims(graph), inputs, &dims, &outputs));
  ExpectNear(expected_dims, expected, dims, outputs, kTolerance);
}

TEST_F(RewriteForNmF16, runs_a_residual_block_in_cnhw) {
  RunResidualBlock(rng_, kCnhw, /*num_cnhw=*/3, /*num_conversions=*/2);
}

TEST_F(RewriteForNmF16, runs_a_residual_block_in_nhwc) {
  RunResidualBlock(rng_, kNhwc, /*num_cnhw=*/0, /*num_conversions=*/0);
}

}  // namespace
}  // namespace xnnpack
