// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Graphs whose filters are made row by row against the same graphs with filters in memory.

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
#include "xnnpack/hardware-config.h"
#include "nm-graph-tester.h"
#include "replicable_random_device.h"

using xnnpack::DrawGraph;
using xnnpack::DrawInputs;
using xnnpack::Graph;
using xnnpack::GraphNode;
using xnnpack::GraphOp;
using xnnpack::GraphRunner;
using xnnpack::InputDims;
using xnnpack::kHint;
using xnnpack::kNumGraphs;
using xnnpack::kVariants;
using xnnpack::ReplicableRandomDevice;
using xnnpack::SubgraphPtr;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

using Dims = std::vector<std::vector<size_t>>;
using Tensors = std::vector<std::vector<float>>;

// Makes every filter of the graph one that is asked for row by row.
size_t MakeByRows(Graph& graph) {
  size_t count = 0;
  for (GraphNode& node : graph.nodes) {
    if (node.op == GraphOp::kConvolution || node.op == GraphOp::kFullyConnected) {
      node.num_rows = graph.values[node.output].dims.back();
      count += 1;
    }
  }
  return count;
}

void ReadZeros(const void* context, size_t row, void* elements) {
  std::memset(elements, 0, *static_cast<const size_t*>(context));
}

}  // namespace

TEST(ROW_VALUES, filters_made_row_by_row_are_the_same) {
  ReplicableRandomDevice rng;
  const std::vector<uint32_t> variants = [] {
    std::vector<uint32_t> flags(std::begin(kVariants), std::end(kVariants));
    flags.insert(flags.end(), {0, XNN_FLAG_HINT_SPARSE_INFERENCE, XNN_FLAG_HINT_FP16_INFERENCE});
    return flags;
  }();
  size_t count = 0;
  for (size_t i = 0; i < kNumGraphs; i++) {
    Graph graph = DrawGraph(rng, 6);
    const Graph plain = graph;
    count += MakeByRows(graph);
    for (const uint32_t flags : variants) {
      SCOPED_TRACE("graph " + std::to_string(i) + " flags " + std::to_string(flags) + "\n" + graph.ToString());
      // With this one, plain graphs take another way, of another accuracy.
      GraphRunner expected(plain, (flags & XNN_FLAG_HINT_SPARSE_INFERENCE) != 0 ? 0 : flags, nullptr);
      GraphRunner runner(graph, flags, nullptr);
      ASSERT_EQ(xnn_status_success, expected.status);
      ASSERT_EQ(xnn_status_success, runner.status);
      EXPECT_EQ(expected.num_cnhw, runner.num_cnhw);
      EXPECT_EQ(expected.num_conversions, runner.num_conversions);
      const Tensors inputs = DrawInputs(rng, InputDims(graph));
      Dims expected_dims, dims;
      Tensors expected_outputs, outputs;
      ASSERT_EQ(xnn_status_success, expected.Run(InputDims(graph), inputs, &expected_dims, &expected_outputs));
      ASSERT_EQ(xnn_status_success, runner.Run(InputDims(graph), inputs, &dims, &outputs));
      // Packed weights are equal, and so is all that follows.
      ASSERT_EQ(expected_dims, dims);
      for (size_t o = 0; o < outputs.size(); o++) {
        ASSERT_EQ(0, std::memcmp(expected_outputs[o].data(), outputs[o].data(), outputs[o].size() * sizeof(float)));
      }
      if (testing::Test::HasFailure()) {
        return;
      }
    }
  }
  EXPECT_GT(count, kNumGraphs);
}

TEST(ROW_VALUES, refuses_rows_that_are_no_filter) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  static const size_t kRowSize = 4 * sizeof(float);
  const std::vector<size_t> filter_dims = {4, 1, 1, 4};
  const std::vector<size_t> image_dims = {1, 5, 5, 4};
  enum class Use { kFilter, kAddend, kFilterInF16 };
  for (const Use use : {Use::kFilter, Use::kAddend, Use::kFilterInF16}) {
    xnn_subgraph_t subgraph = nullptr;
    ASSERT_EQ(xnn_status_success, xnn_create_subgraph(2, /*flags=*/0, &subgraph));
    const SubgraphPtr owner(subgraph, xnn_delete_subgraph);
    uint32_t input = 0, output = 1, rows = 0;
    ASSERT_EQ(xnn_status_success,
              xnn_define_tensor_value(subgraph, xnn_datatype_fp32, 4, image_dims.data(), nullptr, 0,
                                      XNN_VALUE_FLAG_EXTERNAL_INPUT, &input));
    ASSERT_EQ(xnn_status_success,
              xnn_define_tensor_value(subgraph, xnn_datatype_fp32, 4, image_dims.data(), nullptr, 1,
                                      XNN_VALUE_FLAG_EXTERNAL_OUTPUT, &output));
    const uint32_t none = XNN_INVALID_VALUE_ID;
    EXPECT_EQ(xnn_status_invalid_parameter,
              xnn_define_row_tensor_value(subgraph, xnn_datatype_fp32, 4, filter_dims.data(), nullptr, &kRowSize, none,
                                          &rows));
    EXPECT_EQ(xnn_status_invalid_parameter,
              xnn_define_row_tensor_value(subgraph, xnn_datatype_fp32, 4, filter_dims.data(), ReadZeros, nullptr, none,
                                          &rows));
    EXPECT_EQ(xnn_status_unsupported_parameter,
              xnn_define_row_tensor_value(subgraph, xnn_datatype_fp16, 4, filter_dims.data(), ReadZeros, &kRowSize,
                                          none, &rows));
    ASSERT_EQ(xnn_status_success,
              xnn_define_row_tensor_value(subgraph, xnn_datatype_fp32, 4, filter_dims.data(), ReadZeros, &kRowSize,
                                          none, &rows));
    if (use == Use::kAddend) {
      const xnn_binary_params params = {-kInfinity, kInfinity};
      ASSERT_EQ(xnn_status_success, xnn_define_binary(subgraph, xnn_binary_add, &params, input, rows, output, 0));
    } else {
      ASSERT_EQ(xnn_status_success,
                xnn_define_convolution_2d(subgraph, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 4, 4, -kInfinity,
                                          kInfinity, input, rows, none, output, 0));
    }
    xnn_runtime_t runtime = nullptr;
    const uint32_t flags = use == Use::kFilterInF16 ? XNN_FLAG_FORCE_FP16_INFERENCE : kHint;
    const xnn_status status = xnn_create_runtime_v2(subgraph, nullptr, flags, &runtime);
    if (use == Use::kFilterInF16) {
      const bool has_f16 = xnn_is_f16_compatible_config(xnn_init_hardware_config());
      EXPECT_EQ(has_f16 ? xnn_status_success : xnn_status_unsupported_hardware, status);
    } else {
      EXPECT_EQ(use == Use::kFilter ? xnn_status_success : xnn_status_unsupported_parameter, status);
    }
    xnn_delete_runtime(runtime);
  }
}
