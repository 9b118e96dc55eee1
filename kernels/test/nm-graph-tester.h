// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Drawn graphs of f32 images, to compare what different flags of the runtime make of them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/subgraph.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

namespace xnnpack {

using SubgraphPtr = std::unique_ptr<xnn_subgraph, decltype(&xnn_delete_subgraph)>;
using RuntimePtr = std::unique_ptr<xnn_runtime, decltype(&xnn_delete_runtime)>;

// Graphs to draw, fewer under an emulator; and the flags of runtimes to try each with.
#if XNN_ARCH_RISCV
inline constexpr size_t kNumGraphs = 12;
#else
inline constexpr size_t kNumGraphs = 160;
#endif
inline constexpr uint32_t kHint = XNN_FLAG_HINT_NM_SPARSE_INFERENCE;
inline constexpr uint32_t kForce = XNN_FLAG_HINT_NM_SPARSE_INFERENCE | XNN_FLAG_FORCE_NM_SPARSE_INFERENCE;
inline constexpr uint32_t kNhwc = XNN_FLAG_FORCE_NM_NHWC;
inline constexpr uint32_t kCnhw = XNN_FLAG_FORCE_NM_CNHW;
inline constexpr uint32_t kVariants[] = {
  kHint, kHint | kNhwc, kHint | kCnhw, kForce, kForce | kNhwc, kForce | kCnhw,
  kForce | kCnhw | XNN_FLAG_NO_OPERATOR_FUSION,
  kForce | XNN_FLAG_YIELD_WORKERS | XNN_FLAG_TRANSIENT_INDIRECTION_BUFFER};

// A tensor between nodes; an image unless there are two dimensions.
struct GraphValue {
  std::vector<size_t> dims;
  bool input = false;
  bool output = false;
  size_t num_consumers = 0;
};

enum class GraphOp { kConvolution, kDepthwise, kFullyConnected, kBinary, kUnary, kMaxPool, kAveragePool, kPad, kConcatenate, kMean,
                     kResize, kFlatten, kCopy };

struct GraphNode {
  GraphOp op = GraphOp::kUnary;
  std::vector<size_t> inputs;
  size_t output = 0;
  // Convolution, pooling.
  uint32_t kernel_height = 1, kernel_width = 1, stride = 1, dilation = 1, groups = 1;
  bool same = false;
  float min = 0.0f, max = 0.0f;
  std::vector<float> filter, bias;
  // If not 0, XNNPACK asks for the filter row by row. For as long as it may, the node must stay where it is.
  size_t num_rows = 0;
  // Fully connected: the output is a matrix, whatever the input is.
  bool to_matrix = false;
  // Padding of rows and columns: top, right, bottom, left.
  uint32_t padding[4] = {0, 0, 0, 0};
  // Padding before and after channels.
  size_t channel_padding = 0;
  float padding_value = 0.0f;
  // Elementwise; the constant, if any, of the shape, is the first or second operand.
  xnn_unary_operator unary = xnn_unary_clamp;
  xnn_binary_operator binary = xnn_binary_add;
  std::vector<float> constant;
  std::vector<size_t> constant_dims;
  bool constant_first = false;
  // Concatenation, reduction.
  std::vector<int64_t> axes;
  bool keep_dims = false;

  std::string ToString() const;
};

class Graph {
 public:
  std::vector<GraphValue> values;
  std::vector<GraphNode> nodes;

  // Appends a value, or a node and its output. Returns the value.
  size_t AddInput(const std::vector<size_t>& dims);
  size_t Add(GraphNode node, const std::vector<size_t>& output_dims);
  size_t AddConvolution(ReplicableRandomDevice& rng, size_t input, size_t channels, uint32_t kernel, uint32_t stride,
                        uint32_t groups, size_t pruned_tile, bool bias);
  // Of the last axis of an input of any rank.
  size_t AddFullyConnected(ReplicableRandomDevice& rng, size_t input, size_t channels, size_t pruned_tile, bool bias,
                           bool to_matrix = false);
  size_t AddBinary(xnn_binary_operator op, size_t a, size_t b);
  size_t AddClamp(size_t input, float min, float max);
  // Lets what nobody reads be an output.
  void MarkOutputs();

  SubgraphPtr Build() const;
  std::string ToString() const;
};

// Draws about num_steps nodes; batch size 1 to 4.
Graph DrawGraph(ReplicableRandomDevice& rng, size_t num_steps);

// A runtime and what became of the graph in it.
class GraphRunner {
 public:
  // Whether the runtime could be created is in status. Keeps a reference to the graph.
  GraphRunner(const Graph& graph, uint32_t flags, pthreadpool_t threadpool);
  GraphRunner(const Graph& graph, xnn_subgraph_t subgraph, uint32_t flags, pthreadpool_t threadpool,
              xnn_weights_cache_t weights_cache = nullptr);

  // Runs on inputs in the order of the graph's values, which have dims, and stores outputs and their shapes.
  xnn_status Run(const std::vector<std::vector<size_t>>& dims, const std::vector<std::vector<float>>& inputs,
                 std::vector<std::vector<size_t>>* output_dims, std::vector<std::vector<float>>* outputs);

  xnn_runtime_t runtime() const { return runtime_.get(); }

  xnn_status status = xnn_status_success;
  // Layers that run on N:M operators; of them those in CNHW.
  size_t num_nm = 0;
  size_t num_cnhw = 0;
  size_t num_fused_additions = 0;
  size_t num_conversions = 0;
  // Nodes that read a value which lies in bands if there are threads.
  size_t num_reading_bands = 0;

 private:
  void Create(xnn_subgraph_t subgraph, uint32_t flags, pthreadpool_t threadpool, xnn_weights_cache_t weights_cache);

  const Graph& graph_;
  SubgraphPtr subgraph_;
  RuntimePtr runtime_;
};

// Draws inputs, runs the graph without flags and all runners, which were created with some, and expects the same outputs.
void ExpectSame(ReplicableRandomDevice& rng, const Graph& graph, const std::vector<GraphRunner*>& runners);
void ExpectSame(ReplicableRandomDevice& rng, const Graph& graph, GraphRunner& runner);

// Expects the same outputs but for so much of the largest number: sums in another order, in single precision.
void ExpectNear(const std::vector<std::vector<size_t>>& expected_dims, const std::vector<std::vector<float>>& expected,
                const std::vector<std::vector<size_t>>& dims, const std::vector<std::vector<float>>& outputs,
                float tolerance = 4.0e-5f);

// The dimensions of the inputs of the graph, and numbers in [-1, 1] to fill them.
std::vector<std::vector<size_t>> InputDims(const Graph& graph);
std::vector<std::vector<float>> DrawInputs(ReplicableRandomDevice& rng, const std::vector<std::vector<size_t>>& dims);

}  // namespace xnnpack
