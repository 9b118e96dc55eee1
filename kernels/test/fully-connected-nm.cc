// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Drawn fully connected layers on N:M operators against XNNPACK's dense operator: f32 but for the rounding of sums,
// quantized ones bit for bit.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "nm-convolution-tester.h"
#include "nm-graph-tester.h"
#include "nm-quantized-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

namespace xnnpack {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Multiply-adds of a drawn layer.
constexpr size_t kMaxWork = kEmulated ? size_t{1} << 19 : size_t{1} << 25;

struct Linear {
  // Of the input; the last one is that of its channels.
  std::vector<size_t> dims;
  size_t channels = 1;
  size_t tile = 0;
  bool bias = true, to_matrix = false, adds = false, one_scale = false;
  float min = -kInfinity, max = kInfinity;
  size_t threads = 1;

  size_t rows() const { return std::accumulate(dims.begin(), dims.end() - 1, size_t{1}, std::multiplies<size_t>()); }

  std::vector<size_t> output_dims() const {
    std::vector<size_t> output = to_matrix ? std::vector<size_t>{rows(), 0} : dims;
    output.back() = channels;
    return output;
  }

  std::string ToString() const {
    std::ostringstream s;
    s << testing::PrintToString(dims) << " -> " << channels << " tile " << tile << (bias ? " bias" : "")
      << (to_matrix ? " to a matrix" : "") << (adds ? " adds" : "")
      << (one_scale ? " one scale" : "") << " clamp " << min << ".." << max << " threads "
      << threads;
    return s.str();
  }
};

// A number up to a power of two, each magnitude as often, and odd ones.
size_t DrawSize(ReplicableRandomDevice& rng, uint32_t log2_most) {
  const size_t most = size_t{1} << Draw(rng, 0u, log2_most);
  return Draw<size_t>(rng, (most + 1) / 2, most);
}

Linear DrawLinear(ReplicableRandomDevice& rng) {
  Linear l;
  // Rows up to 512, channels up to 4096, as long as that is not too much work.
  size_t rows = DrawSize(rng, 9);
  const size_t inputs = DrawSize(rng, 12);
  l.channels = DrawSize(rng, 12);
  while (rows > 1 && rows * inputs * l.channels > kMaxWork) rows /= 2;
  while (inputs * l.channels > kMaxWork) l.channels /= 2;
  l.dims = {inputs};
  const size_t rank = Draw<size_t>(rng, 1, 3);
  for (size_t i = 1; i < rank; i++) {
    const size_t factor = rows % 2 == 0 ? 2 : 1;
    l.dims.insert(l.dims.begin(), factor);
    rows /= factor;
  }
  l.dims.insert(l.dims.begin(), rows);
  constexpr size_t kTiles[] = {0, 1, 2, 4, 5, 8, 16, 32, 64};
  l.tile = kTiles[rng() % std::size(kTiles)];
  l.bias = rng() % 4 != 0;
  l.to_matrix = rng() % 3 == 0;
  l.adds = rng() % 3 == 0;
  l.one_scale = rng() % 2 == 0;
  if (rng() % 3 == 0) {
    l.min = 0.0f;
    l.max = rng() % 2 == 0 ? 0.5f : kInfinity;
  }
  l.threads = Draw<size_t>(rng, 1, 3);
  return l;
}

class FullyConnectedNm : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr)); }

  ReplicableRandomDevice rng_;
};

/*** Single precision ***/

Graph MakeGraph(ReplicableRandomDevice& rng, const Linear& l) {
  Graph graph;
  const size_t input = graph.AddInput(l.dims);
  std::vector<size_t> other_dims = l.output_dims();
  // An axis more in front makes no difference but to the output's shape.
  if (rng() % 3 == 0) {
    other_dims.insert(other_dims.begin(), 1);
  }
  const size_t other = l.adds ? graph.AddInput(other_dims) : 0;
  const size_t value = graph.AddFullyConnected(rng, input, l.channels, l.tile, l.bias, l.to_matrix);
  GraphNode& node = graph.nodes.back();
  if (l.adds) {
    graph.AddClamp(graph.AddBinary(xnn_binary_add, other, value), l.min, l.max);
  } else {
    node.min = l.min;
    node.max = l.max;
  }
  if (rng() % 3 == 0) {
    graph.nodes[0].num_rows = l.channels;
  }
  graph.MarkOutputs();
  return graph;
}

TEST_F(FullyConnectedNm, drawn_layers_are_the_dense_ones) {
  size_t num_chosen = 0;
  const size_t num_layers = GetNumDrawnLayers(200, 12);
  for (size_t i = 0; i < num_layers; i++) {
    const Linear l = DrawLinear(rng_);
    SCOPED_TRACE("layer " + std::to_string(i) + ": " + l.ToString());
    const Graph graph = MakeGraph(rng_, l);
    const ThreadpoolPtr threadpool(pthreadpool_create(l.threads), pthreadpool_destroy);
    GraphRunner forced(graph, kForce, threadpool.get());
    GraphRunner hinted(graph, kHint, threadpool.get());
    ASSERT_EQ(xnn_status_success, forced.status);
    ASSERT_EQ(xnn_status_success, hinted.status);
    EXPECT_EQ(1u, forced.num_nm);
    EXPECT_EQ(l.adds ? 1u : 0u, forced.num_fused_additions);
    num_chosen += hinted.num_nm;
    ExpectSame(rng_, graph, {&forced, &hinted});
    if (HasFailure()) return;
  }
  EXPECT_GT(num_chosen, num_layers / 10);
  EXPECT_LT(num_chosen, num_layers);
}

TEST_F(FullyConnectedNm, other_rows_after_a_reshape) {
  Graph graph;
  const size_t input = graph.AddInput({2, 5, 48});
  const size_t other = graph.AddInput({2, 5, 40});
  graph.AddBinary(xnn_binary_add, other, graph.AddFullyConnected(rng_, input, 40, 8, true));
  graph.MarkOutputs();
  GraphRunner plain(graph, 0, nullptr);
  GraphRunner runner(graph, kForce, nullptr);
  ASSERT_EQ(xnn_status_success, plain.status);
  ASSERT_EQ(xnn_status_success, runner.status);
  for (const size_t rows : {1, 7, 3, 64}) {
    const std::vector<std::vector<size_t>> dims = {{2, rows, 48}, {2, rows, 40}};
    const std::vector<std::vector<float>> inputs = DrawInputs(rng_, dims);
    std::vector<std::vector<size_t>> expected_dims, output_dims;
    std::vector<std::vector<float>> expected, outputs;
    ASSERT_EQ(xnn_status_success, plain.Run(dims, inputs, &expected_dims, &expected));
    ASSERT_EQ(xnn_status_success, runner.Run(dims, inputs, &output_dims, &outputs));
    ExpectNear(expected_dims, expected, output_dims, outputs);
  }
  // What is added must have the output's shape.
  const std::vector<std::vector<size_t>> dims = {{2, 7, 48}, {2, 8, 40}};
  std::vector<std::vector<size_t>> output_dims;
  std::vector<std::vector<float>> outputs;
  EXPECT_EQ(xnn_status_unsupported_parameter, runner.Run(dims, DrawInputs(rng_, dims), &output_dims, &outputs));
}

// Filters with rows of input channels are no layers of ours.
TEST_F(FullyConnectedNm, transposed_filters_stay_dense) {
  xnn_subgraph_t subgraph = nullptr;
  ASSERT_EQ(xnn_status_success, xnn_create_subgraph(2, 0, &subgraph));
  const SubgraphPtr owner(subgraph, xnn_delete_subgraph);
  const size_t input_dims[2] = {3, 8}, filter_dims[2] = {8, 16}, output_dims[2] = {3, 16};
  const std::vector<float> filter(8 * 16);
  uint32_t input = 0, weights = 0, output = 0;
  ASSERT_EQ(xnn_status_success, xnn_define_tensor_value(subgraph, xnn_datatype_fp32, 2, input_dims, nullptr, 0,
                                                        XNN_VALUE_FLAG_EXTERNAL_INPUT, &input));
  ASSERT_EQ(xnn_status_success, xnn_define_tensor_value(subgraph, xnn_datatype_fp32, 2, filter_dims, filter.data(),
                                                        XNN_INVALID_VALUE_ID, 0, &weights));
  ASSERT_EQ(xnn_status_success, xnn_define_tensor_value(subgraph, xnn_datatype_fp32, 2, output_dims, nullptr, 1,
                                                        XNN_VALUE_FLAG_EXTERNAL_OUTPUT, &output));
  ASSERT_EQ(xnn_status_success,
            xnn_define_fully_connected(subgraph, -kInfinity, kInfinity, input, weights, XNN_INVALID_VALUE_ID, output,
                                       XNN_FLAG_TRANSPOSE_WEIGHTS));
  xnn_runtime_t runtime = nullptr;
  ASSERT_EQ(xnn_status_success, xnn_create_runtime_v2(subgraph, nullptr, kForce, &runtime));
  const RuntimePtr runtime_owner(runtime, xnn_delete_runtime);
  size_t count = 1;
  xnn_nm_layer_info info;
  ASSERT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runtime, &count, &info));
  ASSERT_EQ(1u, count);
  EXPECT_NE(xnn_nm_reason_chosen, info.reason);
}

/*** Quantized ***/

// What a runtime with these flags makes of the layer; shape says its zeros alone.
std::vector<int8_t> RunQuantized(const Linear& l, const Layer& layer, uint32_t flags, pthreadpool_t threadpool,
                                 bool* is_nm) {
  const Quantization& q = layer.quantization;
  xnn_subgraph_t subgraph = nullptr;
  EXPECT_EQ(xnn_status_success, xnn_create_subgraph(2, 0, &subgraph));
  const SubgraphPtr owner(subgraph, xnn_delete_subgraph);
  const std::vector<size_t> output_dims = l.output_dims();
  const size_t filter_dims[2] = {l.channels, l.dims.back()};
  uint32_t input = 0, filter = 0, bias = XNN_INVALID_VALUE_ID, output = 0;
  EXPECT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(
    subgraph, xnn_datatype_qint8, q.input_zero_point, q.input_scale, l.dims.size(), l.dims.data(), nullptr, 0,
    XNN_VALUE_FLAG_EXTERNAL_INPUT, &input));
  std::vector<float> bias_scale = q.filter_scale;
  for (float& scale : bias_scale) scale *= q.input_scale;
  if (l.one_scale) {
    EXPECT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(
      subgraph, xnn_datatype_qint8, 0, q.filter_scale[0], 2, filter_dims, layer.filter.data(), XNN_INVALID_VALUE_ID, 0,
      &filter));
  } else {
    EXPECT_EQ(xnn_status_success, xnn_define_channelwise_quantized_tensor_value(
      subgraph, xnn_datatype_qcint8, q.filter_scale.data(), 2, 0, filter_dims, layer.filter.data(), XNN_INVALID_VALUE_ID,
      0, &filter));
  }
  if (l.bias && l.one_scale) {
    EXPECT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(
      subgraph, xnn_datatype_qint32, 0, bias_scale[0], 1, &l.channels, layer.bias.data(), XNN_INVALID_VALUE_ID, 0,
      &bias));
  } else if (l.bias) {
    EXPECT_EQ(xnn_status_success, xnn_define_channelwise_quantized_tensor_value(
      subgraph, xnn_datatype_qcint32, bias_scale.data(), 1, 0, &l.channels, layer.bias.data(), XNN_INVALID_VALUE_ID, 0,
      &bias));
  }
  EXPECT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(
    subgraph, xnn_datatype_qint8, q.output_zero_point, q.output_scale, output_dims.size(), output_dims.data(), nullptr,
    1, XNN_VALUE_FLAG_EXTERNAL_OUTPUT, &output));
  EXPECT_EQ(xnn_status_success, xnn_define_fully_connected(
    subgraph, (q.min - q.output_zero_point) * q.output_scale, (q.max - q.output_zero_point) * q.output_scale, input,
    filter, bias, output, l.to_matrix ? XNN_FLAG_TENSORFLOW_RESHAPE_2D : 0));
  xnn_runtime_t runtime = nullptr;
  EXPECT_EQ(xnn_status_success, xnn_create_runtime_v2(subgraph, threadpool, flags, &runtime));
  const RuntimePtr runtime_owner(runtime, xnn_delete_runtime);
  size_t count = 1;
  xnn_nm_layer_info info;
  EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runtime, &count, &info));
  *is_nm = info.reason == xnn_nm_reason_chosen;
  std::vector<int8_t> in = layer.input;
  in.resize(in.size() + XNN_EXTRA_BYTES);
  std::vector<int8_t> out(l.rows() * l.channels);
  const xnn_external_value externals[2] = {{0, in.data()}, {1, out.data()}};
  EXPECT_EQ(xnn_status_success, xnn_reshape_runtime(runtime));
  EXPECT_EQ(xnn_status_success, xnn_setup_runtime_v2(runtime, 2, externals));
  EXPECT_EQ(xnn_status_success, xnn_invoke_runtime(runtime));
  return out;
}

TEST_F(FullyConnectedNm, drawn_quantized_layers_are_the_dense_ones_bit_for_bit) {
  size_t num_chosen = 0;
  const size_t num_layers = GetNumDrawnLayers(200, 12);
  for (size_t i = 0; i < num_layers; i++) {
    const Linear l = DrawLinear(rng_);
    SCOPED_TRACE("layer " + std::to_string(i) + ": " + l.ToString());
    Shape shape;
    shape.height = l.rows();
    shape.group_input_channels = l.dims.back();
    shape.group_output_channels = l.channels;
    shape.bias = l.bias;
    const Layer layer = DrawLayer(shape, rng_);
    const ThreadpoolPtr threadpool(pthreadpool_create(l.threads), pthreadpool_destroy);
    bool is_nm = false;
    const std::vector<int8_t> dense = RunQuantized(l, layer, 0, nullptr, &is_nm);
    ASSERT_FALSE(is_nm);
    ASSERT_EQ(dense, RunQuantized(l, layer, kForce, threadpool.get(), &is_nm));
    ASSERT_TRUE(is_nm);
    ASSERT_EQ(dense, RunQuantized(l, layer, kHint, threadpool.get(), &is_nm));
    num_chosen += is_nm;
    if (HasFailure()) return;
  }
  EXPECT_GT(num_chosen, num_layers / 10);
}

}  // namespace
}  // namespace xnnpack
