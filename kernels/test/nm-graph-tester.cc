// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#include "nm-graph-tester.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/node-type.h"
#include "xnnpack/subgraph.h"
#include "nm-convolution-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

namespace xnnpack {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

size_t Count(const std::vector<size_t>& dims) {
  return std::accumulate(dims.begin(), dims.end(), size_t{1}, std::multiplies<size_t>());
}

uint32_t DefineStatic(xnn_subgraph_t subgraph, const std::vector<size_t>& dims, const std::vector<float>& data) {
  uint32_t id = XNN_INVALID_VALUE_ID;
  EXPECT_EQ(Count(dims), data.size());
  EXPECT_EQ(xnn_status_success,
            xnn_define_tensor_value(subgraph, xnn_datatype_fp32, dims.size(), dims.data(), data.data(),
                                    XNN_INVALID_VALUE_ID, /*flags=*/0, &id));
  return id;
}

// The context is the node.
void ReadFilterRow(const void* context, size_t row, void* elements) {
  const GraphNode& n = *static_cast<const GraphNode*>(context);
  const size_t row_size = n.filter.size() / n.num_rows;
  ASSERT_LT(row, n.num_rows);
  std::copy_n(n.filter.begin() + row * row_size, row_size, static_cast<float*>(elements));
}

uint32_t DefineByRows(xnn_subgraph_t subgraph, const std::vector<size_t>& dims, const GraphNode& n) {
  uint32_t id = XNN_INVALID_VALUE_ID;
  EXPECT_EQ(Count(dims), n.filter.size());
  EXPECT_EQ(n.num_rows, dims[0]);
  EXPECT_EQ(xnn_status_success,
            xnn_define_row_tensor_value(subgraph, xnn_datatype_fp32, dims.size(), dims.data(), ReadFilterRow, &n,
                                        XNN_INVALID_VALUE_ID, &id));
  return id;
}

xnn_status DefineConvolution(xnn_subgraph_t subgraph, const GraphNode& n, uint32_t input, uint32_t output,
                             size_t input_channels, size_t output_channels) {
  const bool depthwise = n.op == GraphOp::kDepthwise;
  const size_t group_input = depthwise ? 1 : input_channels / n.groups;
  const std::vector<size_t> filter_dims = depthwise ?
    std::vector<size_t>{1, n.kernel_height, n.kernel_width, output_channels} :
    std::vector<size_t>{output_channels, n.kernel_height, n.kernel_width, group_input};
  const uint32_t filter =
    n.num_rows != 0 ? DefineByRows(subgraph, filter_dims, n) : DefineStatic(subgraph, filter_dims, n.filter);
  const uint32_t bias = n.bias.empty() ? XNN_INVALID_VALUE_ID : DefineStatic(subgraph, {output_channels}, n.bias);
  const uint32_t flags = n.same ? XNN_FLAG_TENSORFLOW_SAME_PADDING : 0;
  const uint32_t* p = n.padding;
  if (depthwise) {
    return xnn_define_depthwise_convolution_2d(
      subgraph, p[0], p[1], p[2], p[3], n.kernel_height, n.kernel_width, n.stride, n.stride, n.dilation, n.dilation,
      /*depth_multiplier=*/1, input_channels, n.min, n.max, input, filter, bias, output, flags);
  }
  return xnn_define_convolution_2d(
    subgraph, p[0], p[1], p[2], p[3], n.kernel_height, n.kernel_width, n.stride, n.stride, n.dilation, n.dilation,
    n.groups, group_input, output_channels / n.groups, n.min, n.max, input, filter, bias, output, flags);
}

xnn_status DefineFullyConnected(xnn_subgraph_t subgraph, const GraphNode& n, uint32_t input, uint32_t output,
                                size_t input_channels, size_t output_channels) {
  const std::vector<size_t> filter_dims = {output_channels, input_channels};
  const uint32_t filter =
    n.num_rows != 0 ? DefineByRows(subgraph, filter_dims, n) : DefineStatic(subgraph, filter_dims, n.filter);
  const uint32_t bias = n.bias.empty() ? XNN_INVALID_VALUE_ID : DefineStatic(subgraph, {output_channels}, n.bias);
  return xnn_define_fully_connected(subgraph, n.min, n.max, input, filter, bias, output,
                                    n.to_matrix ? XNN_FLAG_TENSORFLOW_RESHAPE_2D : 0);
}

xnn_status DefineBinary(xnn_subgraph_t subgraph, const GraphNode& n, const std::vector<uint32_t>& inputs,
                        uint32_t output) {
  const xnn_binary_params params = {n.min, n.max};
  uint32_t a = inputs[0];
  uint32_t b = inputs.back();
  if (!n.constant.empty()) {
    (n.constant_first ? a : b) = DefineStatic(subgraph, n.constant_dims, n.constant);
  }
  return xnn_define_binary(subgraph, n.binary, &params, a, b, output, /*flags=*/0);
}

xnn_status DefineUnary(xnn_subgraph_t subgraph, const GraphNode& n, uint32_t input, uint32_t output) {
  xnn_unary_params params;
  if (n.unary == xnn_unary_clamp) {
    params.clamp.min = n.min;
    params.clamp.max = n.max;
  } else if (n.unary == xnn_unary_elu) {
    params.elu.alpha = 0.7f;
  } else {
    params.leaky_relu.negative_slope = 0.1f;
  }
  return xnn_define_unary(subgraph, n.unary, &params, input, output, /*flags=*/0);
}

xnn_status DefinePooling(xnn_subgraph_t subgraph, const GraphNode& n, uint32_t input, uint32_t output) {
  const uint32_t* p = n.padding;
  const uint32_t flags = n.same ? XNN_FLAG_TENSORFLOW_SAME_PADDING : 0;
  if (n.op == GraphOp::kMaxPool) {
    return xnn_define_max_pooling_2d(subgraph, p[0], p[1], p[2], p[3], n.kernel_height, n.kernel_width, n.stride,
                                     n.stride, n.dilation, n.dilation, n.min, n.max, input, output, flags);
  }
  return xnn_define_average_pooling_2d(subgraph, p[0], p[1], p[2], p[3], n.kernel_height, n.kernel_width, n.stride,
                                       n.stride, n.min, n.max, input, output, flags);
}

xnn_status DefinePad(xnn_subgraph_t subgraph, const GraphNode& n, uint32_t input, uint32_t output) {
  const size_t before[4] = {0, n.padding[0], n.padding[3], n.channel_padding};
  const size_t after[4] = {0, n.padding[2], n.padding[1], 0};
  return xnn_define_static_constant_pad(subgraph, before, after, n.padding_value, input, output, /*flags=*/0);
}

xnn_status DefineConcatenation(xnn_subgraph_t subgraph, const GraphNode& n, const std::vector<uint32_t>& in,
                               uint32_t output) {
  const int32_t axis = static_cast<int32_t>(n.axes[0]);
  switch (in.size()) {
    case 2:
      return xnn_define_concatenate2(subgraph, axis, in[0], in[1], output, /*flags=*/0);
    case 3:
      return xnn_define_concatenate3(subgraph, axis, in[0], in[1], in[2], output, /*flags=*/0);
    case 4:
      return xnn_define_concatenate4(subgraph, axis, in[0], in[1], in[2], in[3], output, /*flags=*/0);
    default:
      return xnn_define_concatenate5(subgraph, axis, in[0], in[1], in[2], in[3], in[4], output, /*flags=*/0);
  }
}

xnn_status DefineNode(xnn_subgraph_t subgraph, const Graph& graph, const GraphNode& n,
                      const std::vector<uint32_t>& ids) {
  std::vector<uint32_t> in;
  for (const size_t value : n.inputs) {
    in.push_back(ids[value]);
  }
  const uint32_t out = ids[n.output];
  const std::vector<size_t>& dims = graph.values[n.inputs[0]].dims;
  const std::vector<size_t>& output_dims = graph.values[n.output].dims;
  switch (n.op) {
    case GraphOp::kConvolution:
    case GraphOp::kDepthwise:
      return DefineConvolution(subgraph, n, in[0], out, dims[3], output_dims[3]);
    case GraphOp::kFullyConnected:
      return DefineFullyConnected(subgraph, n, in[0], out, dims.back(), output_dims.back());
    case GraphOp::kBinary:
      return DefineBinary(subgraph, n, in, out);
    case GraphOp::kUnary:
      return DefineUnary(subgraph, n, in[0], out);
    case GraphOp::kMaxPool:
    case GraphOp::kAveragePool:
      return DefinePooling(subgraph, n, in[0], out);
    case GraphOp::kPad:
      return DefinePad(subgraph, n, in[0], out);
    case GraphOp::kConcatenate:
      return DefineConcatenation(subgraph, n, in, out);
    case GraphOp::kMean:
      return xnn_define_static_reduce_v2(subgraph, xnn_reduce_mean, n.axes.size(), n.axes.data(), in[0], out,
                                         n.keep_dims ? XNN_FLAG_KEEP_DIMS : 0);
    case GraphOp::kResize:
      return xnn_define_static_resize_bilinear_2d(subgraph, output_dims[1], output_dims[2], in[0], out, /*flags=*/0);
    case GraphOp::kFlatten: {
      const size_t shape[2] = {0, output_dims[1]};
      return xnn_define_static_reshape(subgraph, 2, shape, in[0], out, /*flags=*/0);
    }
    case GraphOp::kCopy:
      return xnn_define_copy(subgraph, in[0], out, /*flags=*/0);
  }
  return xnn_status_invalid_parameter;
}

// Weights and biases that make outputs as large as inputs.
void DrawWeights(ReplicableRandomDevice& rng, const Shape& shape, size_t pruned_tile, bool bias, GraphNode* node) {
  const size_t channels = shape.groups * shape.group_output_channels;
  const float scale = 1.7f / std::sqrt(static_cast<float>(shape.row_size()));
  std::uniform_real_distribution<float> dist(-scale, scale);
  node->filter.resize(channels * shape.row_size());
  std::generate(node->filter.begin(), node->filter.end(), [&] { return dist(rng); });
  if (pruned_tile != 0) {
    Prune(shape, pruned_tile, rng, node->filter);
  }
  node->bias.resize(bias ? channels : 0);
  std::generate(node->bias.begin(), node->bias.end(), [&] { return dist(rng); });
}

}  // namespace

std::string GraphNode::ToString() const {
  constexpr const char* kNames[] = {"convolution", "depthwise", "fully connected", "binary", "unary", "max",
                                    "average", "pad", "concatenate", "mean", "resize", "flatten", "copy"};
  std::ostringstream s;
  s << "v" << output << " = " << kNames[static_cast<int>(op)] << "(";
  for (const size_t input : inputs) {
    s << " v" << input;
  }
  s << " ) kernel " << kernel_height << "x" << kernel_width << " stride " << stride << " dilation " << dilation
    << " groups " << groups << " pad " << padding[0] << "," << padding[1] << "," << padding[2] << "," << padding[3]
    << (same ? " SAME" : "") << " value " << padding_value << " channels " << channel_padding << " clamp " << min
    << ".." << max << " unary " << unary << " binary " << binary << " constant " << constant.size()
    << (constant_first ? " first" : "") << (bias.empty() ? "" : " bias") << (to_matrix ? " matrix" : "")
    << (keep_dims ? " keep" : "");
  return s.str();
}

size_t Graph::AddInput(const std::vector<size_t>& dims) {
  values.push_back({dims, /*input=*/true});
  return values.size() - 1;
}

size_t Graph::Add(GraphNode node, const std::vector<size_t>& output_dims) {
  values.push_back({output_dims});
  node.output = values.size() - 1;
  for (const size_t input : node.inputs) {
    values[input].num_consumers += 1;
  }
  nodes.push_back(std::move(node));
  return nodes.back().output;
}

size_t Graph::AddConvolution(ReplicableRandomDevice& rng, size_t input, size_t channels, uint32_t kernel,
                             uint32_t stride, uint32_t groups, size_t pruned_tile, bool bias) {
  const std::vector<size_t> dims = values[input].dims;
  Shape shape;
  shape.kernel_height = shape.kernel_width = kernel;
  shape.groups = groups;
  shape.group_input_channels = dims[3] / groups;
  shape.group_output_channels = channels / groups;
  GraphNode node;
  node.op = GraphOp::kConvolution;
  node.inputs = {input};
  node.kernel_height = node.kernel_width = kernel;
  node.stride = stride;
  node.groups = groups;
  node.same = kernel > 1;
  node.min = -kInfinity;
  node.max = kInfinity;
  DrawWeights(rng, shape, pruned_tile, bias, &node);
  return Add(node, {dims[0], (dims[1] + stride - 1) / stride, (dims[2] + stride - 1) / stride, channels});
}

size_t Graph::AddFullyConnected(ReplicableRandomDevice& rng, size_t input, size_t channels, size_t pruned_tile,
                                bool bias, bool to_matrix) {
  std::vector<size_t> dims = values[input].dims;
  Shape shape;
  shape.group_input_channels = dims.back();
  shape.group_output_channels = channels;
  GraphNode node;
  node.op = GraphOp::kFullyConnected;
  node.inputs = {input};
  node.min = -kInfinity;
  node.max = kInfinity;
  node.to_matrix = to_matrix;
  DrawWeights(rng, shape, pruned_tile, bias, &node);
  if (to_matrix) {
    dims = {Count(dims) / dims.back(), channels};
  }
  dims.back() = channels;
  return Add(node, dims);
}

size_t Graph::AddBinary(xnn_binary_operator op, size_t a, size_t b) {
  GraphNode node;
  node.op = GraphOp::kBinary;
  node.binary = op;
  node.inputs = {a, b};
  node.min = -kInfinity;
  node.max = kInfinity;
  // The first has at least as many axes.
  std::vector<size_t> dims = values[a].dims;
  const size_t more = dims.size() - values[b].dims.size();
  for (size_t i = more; i < dims.size(); i++) {
    dims[i] = std::max(dims[i], values[b].dims[i - more]);
  }
  return Add(node, dims);
}

size_t Graph::AddClamp(size_t input, float min, float max) {
  GraphNode node;
  node.inputs = {input};
  node.min = min;
  node.max = max;
  return Add(node, values[input].dims);
}

void Graph::MarkOutputs() {
  for (GraphValue& value : values) {
    value.output = value.output || (!value.input && value.num_consumers == 0);
  }
}

SubgraphPtr Graph::Build() const {
  xnn_subgraph_t subgraph = nullptr;
  EXPECT_EQ(xnn_status_success, xnn_initialize(nullptr));
  EXPECT_EQ(xnn_status_success, xnn_create_subgraph(values.size(), /*flags=*/0, &subgraph));
  std::vector<uint32_t> ids(values.size());
  for (size_t v = 0; v < values.size(); v++) {
    const uint32_t flags =
      (values[v].input ? XNN_VALUE_FLAG_EXTERNAL_INPUT : 0) | (values[v].output ? XNN_VALUE_FLAG_EXTERNAL_OUTPUT : 0);
    const uint32_t external_id = flags == 0 ? XNN_INVALID_VALUE_ID : static_cast<uint32_t>(v);
    EXPECT_EQ(xnn_status_success,
              xnn_define_tensor_value(subgraph, xnn_datatype_fp32, values[v].dims.size(), values[v].dims.data(),
                                      nullptr, external_id, flags, &ids[v]));
  }
  for (const GraphNode& node : nodes) {
    EXPECT_EQ(xnn_status_success, DefineNode(subgraph, *this, node, ids)) << node.ToString();
  }
  return SubgraphPtr(subgraph, xnn_delete_subgraph);
}

std::string Graph::ToString() const {
  std::ostringstream s;
  for (size_t v = 0; v < values.size(); v++) {
    s << "v" << v << " " << testing::PrintToString(values[v].dims) << (values[v].input ? " input" : "")
      << (values[v].output ? " output" : "") << "\n";
  }
  for (const GraphNode& node : nodes) {
    s << node.ToString() << "\n";
  }
  return s.str();
}

void ExpectNear(const std::vector<std::vector<size_t>>& expected_dims, const std::vector<std::vector<float>>& expected,
                const std::vector<std::vector<size_t>>& dims, const std::vector<std::vector<float>>& outputs,
                float tolerance) {
  ASSERT_EQ(expected_dims, dims);
  for (size_t o = 0; o < expected.size(); o++) {
    float largest = 0.05f;
    for (const float value : expected[o]) {
      largest = std::isfinite(value) ? std::max(largest, std::abs(value)) : largest;
    }
    for (size_t i = 0; i < expected[o].size(); i++) {
      if (expected[o][i] != outputs[o][i]) {
        ASSERT_NEAR(expected[o][i], outputs[o][i], tolerance * largest) << "output " << o << " element " << i;
      }
    }
  }
}

void ExpectSame(ReplicableRandomDevice& rng, const Graph& graph, const std::vector<GraphRunner*>& runners) {
  GraphRunner plain(graph, 0, nullptr);
  ASSERT_EQ(xnn_status_success, plain.status);
  const std::vector<std::vector<float>> inputs = DrawInputs(rng, InputDims(graph));
  std::vector<std::vector<size_t>> expected_dims, dims;
  std::vector<std::vector<float>> expected, outputs;
  ASSERT_EQ(xnn_status_success, plain.Run(InputDims(graph), inputs, &expected_dims, &expected));
  for (GraphRunner* runner : runners) {
    ASSERT_EQ(xnn_status_success, runner->status);
    ASSERT_EQ(xnn_status_success, runner->Run(InputDims(graph), inputs, &dims, &outputs));
    ExpectNear(expected_dims, expected, dims, outputs);
  }
}

void ExpectSame(ReplicableRandomDevice& rng, const Graph& graph, GraphRunner& runner) {
  ExpectSame(rng, graph, std::vector<GraphRunner*>{&runner});
}

GraphRunner::GraphRunner(const Graph& graph, uint32_t flags, pthreadpool_t threadpool)
    : graph_(graph), subgraph_(graph.Build()), runtime_(nullptr, xnn_delete_runtime) {
  Create(subgraph_.get(), flags, threadpool, nullptr);
}

GraphRunner::GraphRunner(const Graph& graph, xnn_subgraph_t subgraph, uint32_t flags, pthreadpool_t threadpool,
                         xnn_weights_cache_t weights_cache)
    : graph_(graph), subgraph_(nullptr, xnn_delete_subgraph), runtime_(nullptr, xnn_delete_runtime) {
  Create(subgraph, flags, threadpool, weights_cache);
}

void GraphRunner::Create(xnn_subgraph_t subgraph, uint32_t flags, pthreadpool_t threadpool,
                         xnn_weights_cache_t weights_cache) {
  xnn_runtime_t runtime = nullptr;
  status = xnn_create_runtime_v3(subgraph, weights_cache, threadpool, flags, &runtime);
  runtime_.reset(runtime);
  if (status != xnn_status_success) {
    return;
  }
  size_t count = 0;
  EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runtime, &count, nullptr));
  std::vector<xnn_nm_layer_info> infos(count);
  EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runtime, &count, infos.data()));
  for (const xnn_nm_layer_info& info : infos) {
    num_nm += info.reason == xnn_nm_reason_chosen || info.layout == xnn_nm_layout_cnhw;
    num_cnhw += info.layout == xnn_nm_layout_cnhw;
    num_fused_additions += info.fused_addition;
  }
  // The graph's own nodes transpose nothing.
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    num_conversions += subgraph->nodes[n].type == xnn_node_type_static_transpose;
    num_reading_bands += (subgraph->nodes[n].flags & XNN_FLAG_INPUT_BANDS) != 0;
  }
  EXPECT_EQ(xnn_status_success, xnn_get_runtime_num_layout_conversions(runtime, &count));
  EXPECT_EQ(num_conversions, count);
}

xnn_status GraphRunner::Run(const std::vector<std::vector<size_t>>& dims,
                            const std::vector<std::vector<float>>& inputs,
                            std::vector<std::vector<size_t>>* output_dims, std::vector<std::vector<float>>* outputs) {
  std::vector<xnn_external_value> externals;
  std::vector<std::vector<float>> padded;
  size_t index = 0;
  for (size_t v = 0; v < graph_.values.size(); v++) {
    if (graph_.values[v].input) {
      const uint32_t id = static_cast<uint32_t>(v);
      const xnn_status reshaped =
        xnn_reshape_external_value(runtime_.get(), id, dims[index].size(), dims[index].data());
      if (reshaped != xnn_status_success) {
        return reshaped;
      }
      padded.push_back(inputs[index++]);
      padded.back().resize(padded.back().size() + XNN_EXTRA_BYTES / sizeof(float), kPoison);
      externals.push_back({id, padded.back().data()});
    }
  }
  const xnn_status reshaped = xnn_reshape_runtime(runtime_.get());
  if (reshaped != xnn_status_success) {
    return reshaped;
  }
  constexpr size_t kGuards = 16;
  output_dims->clear();
  outputs->clear();
  outputs->reserve(graph_.values.size());
  for (size_t v = 0; v < graph_.values.size(); v++) {
    if (graph_.values[v].output) {
      size_t num_dims = 0;
      std::vector<size_t> shape(XNN_MAX_TENSOR_DIMS);
      EXPECT_EQ(xnn_status_success, xnn_get_external_value_shape(runtime_.get(), static_cast<uint32_t>(v), &num_dims,
                                                                 shape.data()));
      shape.resize(num_dims);
      output_dims->push_back(shape);
      outputs->emplace_back(Count(shape) + kGuards, kPoison);
      externals.push_back({static_cast<uint32_t>(v), outputs->back().data()});
    }
  }
  const xnn_status set_up = xnn_setup_runtime_v2(runtime_.get(), externals.size(), externals.data());
  if (set_up != xnn_status_success) {
    return set_up;
  }
  const xnn_status invoked = xnn_invoke_runtime(runtime_.get());
  for (std::vector<float>& output : *outputs) {
    for (size_t i = output.size() - kGuards; i < output.size(); i++) {
      EXPECT_TRUE(std::isnan(output[i])) << "write after an output";
    }
    output.resize(output.size() - kGuards);
  }
  return invoked;
}

std::vector<std::vector<size_t>> InputDims(const Graph& graph) {
  std::vector<std::vector<size_t>> dims;
  for (const GraphValue& value : graph.values) {
    if (value.input) {
      dims.push_back(value.dims);
    }
  }
  return dims;
}

std::vector<std::vector<float>> DrawInputs(ReplicableRandomDevice& rng, const std::vector<std::vector<size_t>>& dims) {
  std::uniform_real_distribution<float> dist(-1.0f, 1.0f);
  std::vector<std::vector<float>> inputs;
  for (const std::vector<size_t>& shape : dims) {
    inputs.emplace_back(Count(shape));
    std::generate(inputs.back().begin(), inputs.back().end(), [&] { return dist(rng); });
  }
  return inputs;
}

}  // namespace xnnpack
