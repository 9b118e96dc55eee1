// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Drawn graphs of quantized images: with N:M operators and their layout they give what they give without, bit for bit.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <list>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/subgraph.h"
#include "nm-convolution-tester.h"
#include "nm-graph-tester.h"
#include "nm-plan-drawer.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

namespace xnnpack {
namespace {

// Fewer under an emulator, but at several vector lengths.
constexpr size_t kNumQuantizedGraphs = kEmulated ? 3 : 40;

// An image between nodes.
struct Image {
  uint32_t id;
  std::array<size_t, 4> dims;
  float scale;
  int32_t zero_point;

  size_t size() const { return dims[0] * dims[1] * dims[2] * dims[3]; }
};

// A graph under construction. Drawing it again from the same numbers gives the same graph.
class QuantizedGraph {
 public:
  explicit QuantizedGraph(uint32_t seed) : rng_(seed) {
    xnn_subgraph_t subgraph = nullptr;
    EXPECT_EQ(xnn_status_success, xnn_create_subgraph(2, 0, &subgraph));
    subgraph_ = SubgraphPtr(subgraph, xnn_delete_subgraph);
    const size_t channels = Number(0, 2) == 0 ? 3 : Number(8, 40);
    input_ = Define({Number(1, 2), Number(6, 17), Number(6, 17), channels}, 0, XNN_VALUE_FLAG_EXTERNAL_INPUT);
    images_ = {input_};
    const size_t steps = Number(2, 9);
    for (size_t i = 0; i < steps; i++) AddNode();
    Finish();
  }

  xnn_subgraph_t subgraph() const { return subgraph_.get(); }
  const Image& input() const { return input_; }
  const Image& output() const { return output_; }
  const std::string& description() const { return description_; }

 private:
  size_t Number(size_t low, size_t high) { return low + rng_() % (high - low + 1); }

  Image Define(const std::array<size_t, 4>& dims, uint32_t external, uint32_t flags, const Image* like = nullptr) {
    Image image = {0, dims, 0.0f, 0};
    image.scale = like != nullptr ? like->scale : 0.02f + 0.001f * static_cast<float>(Number(0, 40));
    image.zero_point = like != nullptr ? like->zero_point : static_cast<int32_t>(Number(0, 60)) - 30;
    EXPECT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(
      subgraph_.get(), xnn_datatype_qint8, image.zero_point, image.scale, 4, dims.data(), nullptr,
      flags == 0 ? XNN_INVALID_VALUE_ID : external, flags, &image.id));
    return image;
  }

  const Image& AnyImage() { return images_[Number(images_.size() > 3 ? images_.size() - 3 : 0, images_.size() - 1)]; }

  void AddNode() {
    switch (Number(0, 9)) {
      case 0: AddPooling(); break;
      case 1: AddPadding(Number(0, 1) == 0 ? 0.3f : 0.0f); break;
      case 2: AddConcatenation(); break;
      case 3: AddClamp(); break;
      default: AddBlock(); break;
    }
  }

  Image Convolve(const Image& input, size_t channels, uint32_t kernel, uint32_t stride, bool clamps) {
    Shape shape;
    shape.kernel_height = shape.kernel_width = kernel;
    shape.group_input_channels = input.dims[3];
    shape.group_output_channels = channels;
    std::vector<float> pattern(channels * shape.row_size());
    for (float& value : pattern) value = static_cast<float>(static_cast<int>(rng_() % 255) - 127);
    if (Number(0, 5) != 0) PruneRows(shape, Number(4, 32), pattern);
    filters_.emplace_back(pattern.begin(), pattern.end());
    std::vector<float>& scales = scales_.emplace_back();
    std::vector<int32_t>& biases = biases_.emplace_back();
    for (size_t i = 0; i < channels; i++) {
      scales.push_back(0.001f + 0.0001f * static_cast<float>(Number(0, 50)));
      biases.push_back(static_cast<int32_t>(Number(0, 4000)) - 2000);
    }
    const std::array<size_t, 4> dims = {channels, kernel, kernel, input.dims[3]};
    uint32_t filter = 0, bias = 0;
    EXPECT_EQ(xnn_status_success, xnn_define_channelwise_quantized_tensor_value(
      subgraph_.get(), xnn_datatype_qcint8, scales.data(), 4, 0, dims.data(), filters_.back().data(),
      XNN_INVALID_VALUE_ID, 0, &filter));
    EXPECT_EQ(xnn_status_success, xnn_define_channelwise_quantized_tensor_value(
      subgraph_.get(), xnn_datatype_qcint32, scales.data(), 1, 0, &channels, biases.data(), XNN_INVALID_VALUE_ID, 0,
      &bias));
    const auto reduced = [&](size_t size) { return (size + stride - 1) / stride; };
    const Image output = Define({input.dims[0], reduced(input.dims[1]), reduced(input.dims[2]), channels}, 0, 0);
    EXPECT_EQ(xnn_status_success, xnn_define_convolution_2d(
      subgraph_.get(), 0, 0, 0, 0, kernel, kernel, stride, stride, 1, 1, 1, input.dims[3], channels,
      clamps ? 0.0f : -INFINITY, clamps ? 2.0f : INFINITY, input.id, filter, bias, output.id,
      XNN_FLAG_TENSORFLOW_SAME_PADDING));
    description_ += " conv" + std::to_string(kernel) + "x" + std::to_string(channels) + "/" + std::to_string(stride);
    return output;
  }

  void PruneRows(const Shape& shape, size_t tile, std::vector<float>& pattern) {
    for (size_t row = 0; row < shape.group_output_channels; row += tile) {
      for (size_t k = 0; k < shape.row_size(); k++) {
        if (Number(0, 3) == 0) continue;
        for (size_t r = row; r < std::min(row + tile, shape.group_output_channels); r++) {
          pattern[r * shape.row_size() + k] = 0.0f;
        }
      }
    }
  }

  // A convolution, or a residual block.
  void AddBlock() {
    const Image input = AnyImage();
    const uint32_t kernel = Number(0, 1) == 0 ? 1 : 3;
    if (Number(0, 1) == 0) {
      images_.push_back(Convolve(input, Number(8, 70), kernel, static_cast<uint32_t>(Number(1, 2)), Number(0, 1) == 0));
      return;
    }
    const Image inner = Convolve(input, Number(8, 70), 1, 1, true);
    const Image outer = Convolve(inner, input.dims[3], kernel, 1, false);
    const Image sum = Define(input.dims, 0, 0);
    const xnn_binary_params params = {-INFINITY, Number(0, 1) == 0 ? 1.5 : INFINITY};
    EXPECT_EQ(xnn_status_success, xnn_define_binary(
      subgraph_.get(), xnn_binary_add, &params, input.id, outer.id, sum.id, 0));
    description_ += " add";
    images_.push_back(sum);
  }

  void AddPooling() {
    const bool is_padded = Number(0, 1) == 0;
    // Padding with the least byte there is becomes part of the pooling.
    if (is_padded) AddPadding(-1.0e6f);
    const Image input = is_padded ? images_.back() : AnyImage();
    const auto reduced = [&](size_t size) { return is_padded ? (size - 1) / 2 : (size + 1) / 2; };
    const Image output = Define({input.dims[0], reduced(input.dims[1]), reduced(input.dims[2]), input.dims[3]}, 0, 0, &input);
    EXPECT_EQ(xnn_status_success, xnn_define_max_pooling_2d(
      subgraph_.get(), 0, 0, 0, 0, 3, 3, 2, 2, 1, 1, Number(0, 1) == 0 ? -0.5f : -INFINITY, INFINITY, input.id, output.id,
      is_padded ? 0 : XNN_FLAG_TENSORFLOW_SAME_PADDING));
    description_ += " pool";
    images_.push_back(output);
  }

  void AddPadding(float value) {
    const Image input = AnyImage();
    const size_t before[4] = {0, Number(0, 2), Number(0, 2), 0};
    const size_t after[4] = {0, Number(0, 2), Number(0, 2), 0};
    const Image output = Define({input.dims[0], before[1] + input.dims[1] + after[1],
                                 before[2] + input.dims[2] + after[2], input.dims[3]}, 0, 0, &input);
    EXPECT_EQ(xnn_status_success, xnn_define_static_constant_pad(
      subgraph_.get(), before, after, value, input.id, output.id, 0));
    description_ += " pad";
    images_.push_back(output);
  }

  void AddConcatenation() {
    const Image a = AnyImage();
    const Image b = Define(a.dims, 0, 0, &a);
    const xnn_unary_params clamp = {{-1.0f, 1.0f}};
    EXPECT_EQ(xnn_status_success, xnn_define_unary(subgraph_.get(), xnn_unary_clamp, &clamp, a.id, b.id, 0));
    const Image output = Define({a.dims[0], a.dims[1], a.dims[2], 2 * a.dims[3]}, 0, 0, &a);
    EXPECT_EQ(xnn_status_success, xnn_define_concatenate2(subgraph_.get(), 3, a.id, b.id, output.id, 0));
    description_ += " concat";
    images_.push_back(output);
  }

  void AddClamp() {
    const Image input = AnyImage();
    const Image output = Define(input.dims, 0, 0, &input);
    const xnn_unary_params clamp = {{-0.7f, 1.1f}};
    EXPECT_EQ(xnn_status_success, xnn_define_unary(subgraph_.get(), xnn_unary_clamp, &clamp, input.id, output.id, 0));
    description_ += " clamp";
    images_.push_back(output);
  }

  // The last image, or its mean, is the output. What nobody reads may be left.
  void Finish() {
    const Image last = images_.back();
    if (Number(0, 1) == 0) {
      output_ = Define({last.dims[0], 1, 1, last.dims[3]}, 1, XNN_VALUE_FLAG_EXTERNAL_OUTPUT);
      const int64_t axes[2] = {1, 2};
      EXPECT_EQ(xnn_status_success, xnn_define_static_reduce_v2(
        subgraph_.get(), xnn_reduce_mean, 2, axes, last.id, output_.id, XNN_FLAG_KEEP_DIMS));
      description_ += " mean";
    } else {
      const Image before = last;
      output_ = Define(before.dims, 1, XNN_VALUE_FLAG_EXTERNAL_OUTPUT, &before);
      const xnn_unary_params clamp = {{-2.0f, 2.0f}};
      EXPECT_EQ(xnn_status_success, xnn_define_unary(subgraph_.get(), xnn_unary_clamp, &clamp, before.id, output_.id, 0));
    }
  }

  std::mt19937 rng_;
  SubgraphPtr subgraph_{nullptr, xnn_delete_subgraph};
  std::vector<Image> images_;
  Image input_, output_;
  // Lists: values point to what they hold.
  std::list<std::vector<int8_t>> filters_;
  std::list<std::vector<float>> scales_;
  std::list<std::vector<int32_t>> biases_;
  std::string description_;
};

// Layers on N:M operators of each layout, and those that were measured.
struct Counts {
  size_t nhwc = 0, cnhw = 0, measured = 0;
};

// Runs on as many images as the input holds.
std::vector<int8_t> RunGraph(const QuantizedGraph& graph, uint32_t flags, pthreadpool_t threadpool,
                             const std::vector<int8_t>& input, Counts* counts) {
  xnn_runtime_t runtime = nullptr;
  EXPECT_EQ(xnn_status_success, xnn_create_runtime_v2(graph.subgraph(), threadpool, flags, &runtime));
  RuntimePtr owner(runtime, xnn_delete_runtime);
  std::array<size_t, 4> dims = graph.input().dims;
  dims[0] = input.size() / (graph.input().size() / dims[0]);
  EXPECT_EQ(xnn_status_success, xnn_reshape_external_value(runtime, graph.input().id, dims.size(), dims.data()));
  EXPECT_EQ(xnn_status_success, xnn_reshape_runtime(runtime));
  std::vector<int8_t> padded = input;
  padded.resize(input.size() + XNN_EXTRA_BYTES);
  const size_t size = graph.output().size() / graph.output().dims[0] * dims[0];
  std::vector<int8_t> output(size + XNN_EXTRA_BYTES);
  const std::array<xnn_external_value, 2> values = {{{graph.input().id, padded.data()}, {graph.output().id, output.data()}}};
  EXPECT_EQ(xnn_status_success, xnn_setup_runtime_v2(runtime, values.size(), values.data()));
  EXPECT_EQ(xnn_status_success, xnn_invoke_runtime(runtime));
  size_t count = 0;
  EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runtime, &count, nullptr));
  std::vector<xnn_nm_layer_info> infos(count);
  EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runtime, &count, infos.data()));
  for (const xnn_nm_layer_info& info : infos) {
    counts->cnhw += info.layout == xnn_nm_layout_cnhw;
    counts->nhwc += info.layout == xnn_nm_layout_nhwc && info.reason == xnn_nm_reason_chosen;
    counts->measured += info.measured;
  }
  output.resize(size);
  return output;
}

TEST(REWRITE_FOR_NM_QS8, drawn_graphs_equal_those_without_flags) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  ThreadpoolPtr three(pthreadpool_create(3), pthreadpool_destroy);
  Counts counts;
  for (size_t i = 0; i < kNumQuantizedGraphs; i++) {
    const uint32_t seed = static_cast<uint32_t>(rng());
    const QuantizedGraph dense(seed);
    std::vector<int8_t> input(dense.input().size());
    for (int8_t& value : input) value = static_cast<int8_t>(rng() % 256);
    Counts none;
    const std::vector<int8_t> expected = RunGraph(dense, 0, nullptr, input, &none);
    EXPECT_EQ(0, none.nhwc + none.cnhw);
    std::vector<int8_t> more = input;
    more.insert(more.end(), input.begin(), input.end());
    const std::vector<int8_t> more_expected = RunGraph(QuantizedGraph(seed), 0, nullptr, more, &none);
    for (uint32_t flags : {kHint, kHint | kCnhw, kForce, kForce | kNhwc, kForce | kCnhw,
                           kForce | kCnhw | XNN_FLAG_NO_OPERATOR_FUSION}) {
      for (pthreadpool_t threadpool : {pthreadpool_t{nullptr}, three.get()}) {
        const QuantizedGraph graph(seed);
        const std::vector<int8_t> actual = RunGraph(graph, flags, threadpool, input, &counts);
        ASSERT_EQ(expected, actual) << "seed " << seed << ", flags " << flags << ":" << graph.description();
        if (flags == (kForce | kCnhw)) {
          // Another runtime of the same graph, and more images.
          ASSERT_EQ(more_expected, RunGraph(graph, flags, threadpool, more, &counts))
            << "seed " << seed << ":" << graph.description();
        }
      }
    }
  }
  EXPECT_GT(counts.nhwc, kNumQuantizedGraphs);
  EXPECT_GT(counts.cnhw, kNumQuantizedGraphs);
}

// An image of 7x7 pixels, padded all around, and the maxima of 3x3 pixels, every second; or padding that the pooling does.
SubgraphPtr PaddedPooling(xnn_datatype datatype, float padding, uint32_t width, bool pooling_pads) {
  xnn_subgraph_t created = nullptr;
  EXPECT_EQ(xnn_status_success, xnn_create_subgraph(2, 0, &created));
  const auto define = [&](size_t size, uint32_t external, uint32_t flags) {
    const std::array<size_t, 4> dims = {1, size, size, 4};
    uint32_t id = 0;
    EXPECT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(
      created, datatype, datatype == xnn_datatype_qint8 ? -5 : 20, 0.1f, 4, dims.data(), nullptr, external, flags, &id));
    return id;
  };
  const uint32_t input = define(7, 0, XNN_VALUE_FLAG_EXTERNAL_INPUT);
  const uint32_t output = define(3 + width, 1, XNN_VALUE_FLAG_EXTERNAL_OUTPUT);
  uint32_t pooled = input;
  if (!pooling_pads) {
    pooled = define(7 + 2 * width, XNN_INVALID_VALUE_ID, 0);
    const size_t paddings[4] = {0, width, width, 0};
    EXPECT_EQ(xnn_status_success, xnn_define_static_constant_pad(created, paddings, paddings, padding, input, pooled, 0));
    width = 0;
  }
  EXPECT_EQ(xnn_status_success, xnn_define_max_pooling_2d(
    created, width, width, width, width, 3, 3, 2, 2, 1, 1, -INFINITY, INFINITY, pooled, output, 0));
  return SubgraphPtr(created, xnn_delete_subgraph);
}

std::vector<uint8_t> RunPooling(xnn_subgraph_t subgraph, uint32_t flags, const std::vector<uint8_t>& image, size_t size) {
  xnn_runtime_t runtime = nullptr;
  EXPECT_EQ(xnn_status_success, xnn_create_runtime_v2(subgraph, nullptr, flags, &runtime));
  const RuntimePtr owner(runtime, xnn_delete_runtime);
  std::vector<uint8_t> input = image, output(size + XNN_EXTRA_BYTES);
  input.resize(image.size() + XNN_EXTRA_BYTES);
  const std::array<xnn_external_value, 2> values = {{{0, input.data()}, {1, output.data()}}};
  EXPECT_EQ(xnn_status_success, xnn_setup_runtime(runtime, values.size(), values.data()));
  EXPECT_EQ(xnn_status_success, xnn_invoke_runtime(runtime));
  output.resize(size);
  return output;
}

TEST(REWRITE_FOR_NM_QS8, padding_with_the_least_byte_is_part_of_pooling) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  std::vector<uint8_t> image(7 * 7 * 4);
  for (uint8_t& byte : image) byte = static_cast<uint8_t>(rng() % 256);
  for (const xnn_datatype datatype : {xnn_datatype_qint8, xnn_datatype_quint8}) {
    for (const float padding : {-1.0e6f, -1.0f}) {
      // With three there are windows of padding alone.
      for (const uint32_t width : {1, 2, 3}) {
        SCOPED_TRACE("type " + std::to_string(datatype) + ", padding " + std::to_string(padding) + " of " + std::to_string(width));
        const SubgraphPtr graph = PaddedPooling(datatype, padding, width, /*pooling_pads=*/false);
        const size_t size = (3 + width) * (3 + width) * 4;
        const std::vector<uint8_t> expected = RunPooling(graph.get(), XNN_FLAG_NO_OPERATOR_FUSION, image, size);
        const bool is_fused = padding < -100.0f && width < 3;
        if (is_fused) {
          const SubgraphPtr other = PaddedPooling(datatype, padding, width, /*pooling_pads=*/true);
          EXPECT_EQ(expected, RunPooling(other.get(), 0, image, size));
        }
        xnn_subgraph_analyze_consumers_and_producers(graph.get());
        xnn_subgraph_fuse_least_padding(graph.get());
        EXPECT_EQ(is_fused, graph->nodes[0].type == xnn_node_type_invalid);
        EXPECT_EQ(is_fused ? width : 0, graph->nodes[1].params.pooling_2d.padding_left);
      }
    }
  }
}

TEST(REWRITE_FOR_NM_QS8, any_costs_and_records_give_the_same_bytes) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  Counts none, counts;
  constexpr size_t kNumCosts = 40;
  for (size_t i = 0; i < kNumCosts; i++) {
    const uint32_t seed = static_cast<uint32_t>(rng());
    const QuantizedGraph plain(seed), graph(seed);
    std::vector<int8_t> input(plain.input().size());
    for (int8_t& value : input) value = static_cast<int8_t>(rng() % 256);
    const std::vector<int8_t> expected = RunGraph(plain, 0, nullptr, input, &none);
    ASSERT_EQ(xnn_status_success, SetCosts(graph.subgraph(), xnn_datatype_qint8, DrawCosts(rng, xnn_datatype_qint8)));
    const std::vector<xnn_nm_record> records = DrawRecords(rng, graph.subgraph());
    ASSERT_EQ(
      xnn_status_success, xnn_subgraph_set_nm_records(graph.subgraph(), 1.0f, records.size(), records.data()));
    const uint32_t flags = kVariants[rng() % std::size(kVariants)];
    ASSERT_EQ(expected, RunGraph(graph, flags, nullptr, input, &counts))
      << "seed " << seed << ", flags " << flags << ":" << graph.description();
  }
  EXPECT_EQ(0, none.nhwc + none.cnhw);
  EXPECT_GT(counts.cnhw, 0);
  EXPECT_GT(counts.measured, kNumCosts / 2);
}

// The layer of a network, with everything that its records may name.
TEST(REWRITE_FOR_NM_QS8, records_of_its_type_decide_for_a_layer) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  uint32_t seed = 0;
  std::vector<xnn_nm_record> records;
  // Some graphs have no layer.
  while (records.empty()) {
    seed = static_cast<uint32_t>(rng());
    records = DrawRecords(rng, QuantizedGraph(seed).subgraph());
  }
  std::vector<int8_t> input(QuantizedGraph(seed).input().size(), 3);
  const auto count = [&](xnn_datatype datatype, bool dense_is_fastest) {
    for (xnn_nm_record& record : records) {
      record.datatype = datatype;
      record.nanoseconds = (std::strcmp(record.candidate, "dense") == 0) == dense_is_fastest ? 1.0f : 1.0e9f;
    }
    const QuantizedGraph graph(seed);
    EXPECT_EQ(xnn_status_success, xnn_subgraph_set_nm_records(graph.subgraph(), 1.0f, records.size(), records.data()));
    Counts counts;
    RunGraph(graph, kHint, nullptr, input, &counts);
    return std::make_pair(counts.nhwc + counts.cnhw, counts.measured);
  };
  EXPECT_GT(count(xnn_datatype_qint8, /*dense_is_fastest=*/true).second, 0);
  EXPECT_EQ(0, count(xnn_datatype_fp32, /*dense_is_fastest=*/true).second);
  EXPECT_LE(count(xnn_datatype_qint8, true).first, count(xnn_datatype_qint8, false).first);
}

}  // namespace
}  // namespace xnnpack
