// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#include "nm-networks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "xnnpack.h"

namespace xnnpack {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNoClamp = kInfinity;
constexpr float kRelu6 = 6.0f;

class Builder {
 public:
  explicit Builder(const NetworkPattern& pattern) : pattern_(pattern) {}

  Graph Finish() {
    graph_.MarkOutputs();
    return std::move(graph_);
  }

  size_t Input() { return graph_.AddInput({1, 224, 224, 3}); }

  size_t Channels(size_t value) const { return graph_.values[value].dims[3]; }

  // A clamp between 0 and max, or none.
  size_t Convolution(size_t input, size_t channels, uint32_t kernel, uint32_t stride, float max,
                     bool depthwise = false) {
    GraphNode node = Window(input, kernel, stride, kernel / 2);
    node.op = depthwise ? GraphOp::kDepthwise : GraphOp::kConvolution;
    node.min = max == kNoClamp ? -kInfinity : 0.0f;
    node.max = max;
    node.bias.assign(channels, 0.5f);
    node.filter = Filter(channels, static_cast<size_t>(kernel) * kernel * (depthwise ? 1 : Channels(input)), depthwise);
    return AddWindow(std::move(node), channels);
  }

  size_t Relu(size_t input) { return graph_.AddClamp(input, 0.0f, kInfinity); }

  size_t Add(size_t a, size_t b) { return graph_.AddBinary(xnn_binary_add, a, b); }

  size_t Pool(GraphOp op, size_t input, uint32_t kernel, uint32_t stride, uint32_t padding) {
    GraphNode node = Window(input, kernel, stride, padding);
    node.op = op;
    node.min = -kInfinity;
    node.max = kInfinity;
    return AddWindow(std::move(node), Channels(input));
  }

  // Channels times a number each, plus another.
  size_t Normalize(size_t input) {
    for (const xnn_binary_operator op : {xnn_binary_multiply, xnn_binary_add}) {
      GraphNode node;
      node.op = GraphOp::kBinary;
      node.inputs = {input};
      node.binary = op;
      node.min = -kInfinity;
      node.max = kInfinity;
      node.constant.assign(Channels(input), 0.75f);
      node.constant_dims = {Channels(input)};
      input = graph_.Add(std::move(node), graph_.values[input].dims);
    }
    return input;
  }

  size_t Concatenate(size_t a, size_t b) {
    GraphNode node;
    node.op = GraphOp::kConcatenate;
    node.inputs = {a, b};
    node.axes = {3};
    std::vector<size_t> dims = graph_.values[a].dims;
    dims[3] += Channels(b);
    return graph_.Add(std::move(node), dims);
  }

  void Mean(size_t input) {
    GraphNode node;
    node.op = GraphOp::kMean;
    node.inputs = {input};
    node.axes = {1, 2};
    graph_.Add(std::move(node), {1, Channels(input)});
  }

 private:
  static GraphNode Window(size_t input, uint32_t kernel, uint32_t stride, uint32_t padding) {
    GraphNode node;
    node.inputs = {input};
    node.kernel_height = node.kernel_width = kernel;
    node.stride = stride;
    std::fill_n(node.padding, 4, padding);
    return node;
  }

  size_t AddWindow(GraphNode node, size_t channels) {
    const std::vector<size_t>& dims = graph_.values[node.inputs[0]].dims;
    const auto size = [&node](size_t input) {
      return (input + 2 * node.padding[0] - node.kernel_height) / node.stride + 1;
    };
    return graph_.Add(std::move(node), {dims[0], size(dims[1]), size(dims[2]), channels});
  }

  std::vector<float> Filter(size_t rows, size_t columns, bool depthwise) {
    std::vector<float> filter(rows * columns, 1.0f);
    const bool is_first = std::exchange(is_first_, false);
    if (is_first || depthwise || rows < pattern_.tile || pattern_.kept_of_4 == 4) {
      return filter;
    }
    size_t order[4] = {0, 1, 2, 3};
    for (size_t tile = 0; tile < rows; tile += pattern_.tile) {
      const size_t end = std::min(rows, tile + pattern_.tile);
      for (size_t group = 0; group < columns; group += 4) {
        std::shuffle(order, order + 4, random_);
        for (size_t i = pattern_.kept_of_4; i < 4; i++) {
          for (size_t row = tile; row < end && group + order[i] < columns; row++) {
            filter[row * columns + group + order[i]] = 0.0f;
          }
        }
      }
    }
    return filter;
  }

  const NetworkPattern pattern_;
  bool is_first_ = true;
  std::mt19937 random_{1};
  Graph graph_;
};

Graph ResNet(const NetworkPattern& pattern, const std::vector<size_t>& blocks, bool bottleneck) {
  Builder net(pattern);
  size_t x = net.Convolution(net.Input(), 64, 7, 2, kNoClamp);
  x = net.Pool(GraphOp::kMaxPool, net.Relu(x), 3, 2, 1);
  for (size_t stage = 0; stage < 4; stage++) {
    const size_t width = size_t{64} << stage;
    const size_t channels = bottleneck ? 4 * width : width;
    for (size_t block = 0; block < blocks[stage]; block++) {
      const uint32_t stride = stage != 0 && block == 0 ? 2 : 1;
      const bool projects = stride != 1 || net.Channels(x) != channels;
      const size_t shortcut = projects ? net.Convolution(x, channels, 1, stride, kNoClamp) : x;
      size_t y = x;
      if (bottleneck) {
        y = net.Relu(net.Convolution(y, width, 1, 1, kNoClamp));
        y = net.Relu(net.Convolution(y, width, 3, stride, kNoClamp));
        y = net.Convolution(y, channels, 1, 1, kNoClamp);
      } else {
        y = net.Relu(net.Convolution(y, width, 3, stride, kNoClamp));
        y = net.Convolution(y, channels, 3, 1, kNoClamp);
      }
      x = net.Relu(net.Add(y, shortcut));
    }
  }
  net.Mean(x);
  return net.Finish();
}

Graph Vgg(const NetworkPattern& pattern) {
  Builder net(pattern);
  size_t x = net.Input();
  const size_t widths[5] = {64, 128, 256, 512, 512};
  const size_t depths[5] = {2, 2, 3, 3, 3};
  for (size_t stage = 0; stage < 5; stage++) {
    for (size_t i = 0; i < depths[stage]; i++) {
      x = net.Relu(net.Convolution(x, widths[stage], 3, 1, kNoClamp));
    }
    x = net.Pool(GraphOp::kMaxPool, x, 2, 2, 0);
  }
  net.Mean(x);
  return net.Finish();
}

Graph MobileNetV2(const NetworkPattern& pattern) {
  struct Stage {
    size_t expansion, channels, blocks;
    uint32_t stride;
  };
  constexpr Stage kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                               {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  Builder net(pattern);
  size_t x = net.Convolution(net.Input(), 32, 3, 2, kRelu6);
  for (const Stage& stage : kStages) {
    for (size_t block = 0; block < stage.blocks; block++) {
      const uint32_t stride = block == 0 ? stage.stride : 1;
      const size_t inner = net.Channels(x) * stage.expansion;
      const size_t expanded = stage.expansion == 1 ? x : net.Convolution(x, inner, 1, 1, kRelu6);
      const size_t filtered = net.Convolution(expanded, inner, 3, stride, kRelu6, /*depthwise=*/true);
      const size_t y = net.Convolution(filtered, stage.channels, 1, 1, kNoClamp);
      x = stride == 1 && net.Channels(x) == stage.channels ? net.Add(x, y) : y;
    }
  }
  net.Mean(net.Convolution(x, 1280, 1, 1, kRelu6));
  return net.Finish();
}

Graph DenseNet121(const NetworkPattern& pattern) {
  constexpr size_t kGrowth = 32;
  const size_t layers[4] = {6, 12, 24, 16};
  Builder net(pattern);
  size_t x = net.Relu(net.Convolution(net.Input(), 64, 7, 2, kNoClamp));
  x = net.Pool(GraphOp::kMaxPool, x, 3, 2, 1);
  for (size_t stage = 0; stage < 4; stage++) {
    for (size_t layer = 0; layer < layers[stage]; layer++) {
      const size_t y = net.Relu(net.Convolution(net.Relu(net.Normalize(x)), 4 * kGrowth, 1, 1, kNoClamp));
      x = net.Concatenate(x, net.Convolution(y, kGrowth, 3, 1, kNoClamp));
    }
    if (stage != 3) {
      x = net.Convolution(net.Relu(net.Normalize(x)), net.Channels(x) / 2, 1, 1, kNoClamp);
      x = net.Pool(GraphOp::kAveragePool, x, 2, 2, 0);
    }
  }
  net.Mean(net.Relu(net.Normalize(x)));
  return net.Finish();
}

using Network = std::function<Graph(const NetworkPattern&)>;

Network OfResNet(const std::vector<size_t>& blocks, bool bottleneck) {
  return [=](const NetworkPattern& pattern) { return ResNet(pattern, blocks, bottleneck); };
}

const std::map<std::string, Network>& Networks() {
  static const std::map<std::string, Network> networks = {
    {"densenet121", DenseNet121},
    {"mobilenet_v2", MobileNetV2},
    {"resnet18", OfResNet({2, 2, 2, 2}, false)},
    {"resnet34", OfResNet({3, 4, 6, 3}, false)},
    {"resnet50", OfResNet({3, 4, 6, 3}, true)},
    {"resnet101", OfResNet({3, 4, 23, 3}, true)},
    {"resnet152", OfResNet({3, 8, 36, 3}, true)},
    {"vgg16", Vgg},
  };
  return networks;
}

}  // namespace

const std::vector<std::string>& NetworkNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result;
    for (const auto& [name, build] : Networks()) {
      result.push_back(name);
    }
    return result;
  }();
  return names;
}

Graph BuildNetwork(const std::string& name, const NetworkPattern& pattern) { return Networks().at(name)(pattern); }

}  // namespace xnnpack
