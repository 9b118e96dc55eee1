// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Which graphs are drawn: what networks are made of, and what may go wrong between layouts.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "xnnpack.h"
#include "nm-convolution-tester.h"
#include "nm-graph-tester.h"
#include "replicable_random_device.h"

namespace xnnpack {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kTiles[] = {0, 4, 8, 8, 16, 32};

class Drawer {
 public:
  explicit Drawer(ReplicableRandomDevice& rng) : rng_(rng) {}

  Graph Draw(size_t num_steps) {
    batch_ = xnnpack::Draw<size_t>(rng_, 1, 4);
    const size_t size = xnnpack::Draw<size_t>(rng_, 3, 11);
    const size_t num_inputs = OneIn(3) ? 2 : 1;
    for (size_t i = 0; i < num_inputs; i++) {
      // At most four channels are read in NHWC.
      const size_t channels = OneIn(2) ? xnnpack::Draw<size_t>(rng_, 1, 4) : xnnpack::Draw<size_t>(rng_, 5, 40);
      graph_.AddInput({batch_, size, OneIn(2) ? size : size + 2, channels});
    }
    last_ = Convolution(0, DrawChannels(), 1);
    for (size_t i = 0; i < num_steps; i++) {
      Step();
    }
    // Some intermediate images are outputs, too; very few nodes are of no use.
    for (size_t v = 0; v < graph_.values.size(); v++) {
      graph_.values[v].output = !graph_.values[v].input &&
        (OneIn(10) || v == last_ || (graph_.values[v].num_consumers == 0 && !OneIn(20)));
    }
    return std::move(graph_);
  }

 private:
  bool OneIn(uint32_t n) { return rng_() % n == 0; }

  const std::vector<size_t>& Dims(size_t value) const { return graph_.values[value].dims; }

  // An image without infinities: nothing is expected of infinity times zero.
  bool IsImage(size_t value) const { return Dims(value).size() == 4 && infinite_.count(value) == 0; }

  // The latest image, sometimes an earlier one.
  size_t PickImage() {
    if (OneIn(4)) {
      const size_t value = rng_() % graph_.values.size();
      if (IsImage(value)) {
        return value;
      }
    }
    return last_;
  }

  // Another image of the same shape, or the same where there is none or chance has it.
  size_t PickAlike(size_t value) {
    std::vector<size_t> alike;
    for (size_t v = 0; v < graph_.values.size(); v++) {
      if (v != value && IsImage(v) && Dims(v) == Dims(value)) {
        alike.push_back(v);
      }
    }
    return alike.empty() || OneIn(8) ? value : alike[rng_() % alike.size()];
  }

  size_t Convolution(size_t input, size_t channels, uint32_t stride) {
    const bool grouped = OneIn(6) && Dims(input)[3] % 2 == 0 && channels % 2 == 0;
    const uint32_t kernel = OneIn(2) ? 1 : 3;
    const size_t value =
      graph_.AddConvolution(rng_, input, channels, kernel, stride, grouped ? 2 : 1, kTiles[rng_() % 6], !OneIn(4));
    GraphNode& node = graph_.nodes.back();
    if (OneIn(6)) {
      node.min = 0.0f;
      node.max = OneIn(2) ? kInfinity : 1.0f;
    }
    if (node.same && OneIn(2)) {
      // The same, said in another way.
      const size_t height = Dims(input)[1];
      const size_t width = Dims(input)[2];
      const uint32_t rows = static_cast<uint32_t>((Dims(value)[1] - 1) * stride + kernel - height);
      const uint32_t columns = static_cast<uint32_t>((Dims(value)[2] - 1) * stride + kernel - width);
      if (rows <= kernel && columns <= kernel && height >= kernel && width >= kernel) {
        node.same = false;
        node.padding[0] = rows / 2;
        node.padding[2] = rows - rows / 2;
        node.padding[3] = columns / 2;
        node.padding[1] = columns - columns / 2;
      }
    }
    return value;
  }

  size_t MaybeClamp(size_t value) {
    if (OneIn(2)) {
      return graph_.AddClamp(value, OneIn(4) ? -0.3f : 0.0f, OneIn(2) ? kInfinity : 0.8f);
    }
    return value;
  }

  size_t DrawChannels() {
    return OneIn(6) ? xnnpack::Draw<size_t>(rng_, 1, 4) : xnnpack::Draw<size_t>(rng_, 5, 48);
  }

  // One or two convolutions, then an addition of their input, perhaps projected.
  size_t Residual(size_t input) {
    const uint32_t stride = OneIn(4) ? 2 : 1;
    const bool project = stride == 2 || OneIn(4);
    const size_t channels = project ? DrawChannels() : Dims(input)[3];
    size_t value = input;
    if (OneIn(2)) {
      value = MaybeClamp(Convolution(value, DrawChannels(), 1));
    }
    value = Convolution(value, channels, stride);
    const size_t shortcut = project ? Convolution(input, channels, stride) : input;
    value = OneIn(2) ? graph_.AddBinary(xnn_binary_add, value, shortcut) :
                       graph_.AddBinary(xnn_binary_add, shortcut, value);
    return MaybeClamp(value);
  }

  size_t Depthwise(size_t input) {
    const size_t channels = Dims(input)[3];
    const size_t value = graph_.AddConvolution(rng_, input, channels, 3, 1, 1, 0, true);
    GraphNode& node = graph_.nodes.back();
    node.op = GraphOp::kDepthwise;
    node.filter.resize(9 * channels);
    return value;
  }

  size_t Unary(size_t input) {
    constexpr xnn_unary_operator kOperators[] = {
      xnn_unary_abs, xnn_unary_elu, xnn_unary_hardswish, xnn_unary_leaky_relu, xnn_unary_negate, xnn_unary_sigmoid,
      xnn_unary_tanh};
    const size_t value = graph_.AddClamp(input, -0.5f, 0.9f);
    if (OneIn(2)) {
      graph_.nodes.back().unary = kOperators[rng_() % 7];
    }
    return value;
  }

  size_t Binary(size_t input) {
    constexpr xnn_binary_operator kOperators[] = {
      xnn_binary_add, xnn_binary_add, xnn_binary_add, xnn_binary_subtract, xnn_binary_maximum, xnn_binary_minimum};
    const size_t value = graph_.AddBinary(kOperators[rng_() % 6], input, PickAlike(input));
    if (OneIn(5)) {
      // The upper bound of a binary node is a clamp of its own.
      graph_.nodes.back().min = 0.0f;
    }
    return value;
  }

  // With one number for each channel, or one for all.
  size_t BinaryWithConstant(size_t input) {
    constexpr xnn_binary_operator kOperators[] = {
      xnn_binary_add, xnn_binary_multiply, xnn_binary_subtract, xnn_binary_maximum, xnn_binary_prelu};
    const size_t channels = Dims(input)[3];
    const size_t value = graph_.AddBinary(kOperators[rng_() % 5], input, input);
    GraphNode& node = graph_.nodes.back();
    graph_.values[input].num_consumers -= 1;
    node.inputs.pop_back();
    node.constant.resize(OneIn(5) ? 1 : channels);
    std::uniform_real_distribution<float> dist(-1.0f, 1.0f);
    std::generate(node.constant.begin(), node.constant.end(), [&] { return dist(rng_); });
    node.constant_dims = {node.constant.size()};
    if (OneIn(2)) {
      node.constant_dims = {1, 1, 1, node.constant.size()};
    }
    node.constant_first = node.binary != xnn_binary_prelu && OneIn(3);
    return value;
  }

  size_t Pool(size_t input, bool after_infinite_pad) {
    const std::vector<size_t> dims = Dims(input);
    GraphNode node;
    node.op = after_infinite_pad || OneIn(2) ? GraphOp::kMaxPool : GraphOp::kAveragePool;
    node.inputs = {input};
    node.kernel_height = xnnpack::Draw(rng_, 2u, 3u);
    node.kernel_width = xnnpack::Draw(rng_, 1u, 3u);
    // Strides beyond the kernel are refused.
    node.stride = node.kernel_width == 1 ? 1 : xnnpack::Draw(rng_, 1u, 2u);
    node.min = -kInfinity;
    node.max = OneIn(3) ? 0.5f : kInfinity;
    if (OneIn(3)) {
      node.same = true;
      return graph_.Add(node, {dims[0], (dims[1] + node.stride - 1) / node.stride,
                               (dims[2] + node.stride - 1) / node.stride, dims[3]});
    }
    for (size_t i = 0; i < 4; i++) {
      node.padding[i] = xnnpack::Draw(rng_, 0u, (i % 2 == 0 ? node.kernel_height : node.kernel_width) - 1);
    }
    const size_t height = dims[1] + node.padding[0] + node.padding[2];
    const size_t width = dims[2] + node.padding[1] + node.padding[3];
    if (height < node.kernel_height || width < node.kernel_width) {
      return input;
    }
    return graph_.Add(node, {dims[0], (height - node.kernel_height) / node.stride + 1,
                             (width - node.kernel_width) / node.stride + 1, dims[3]});
  }

  size_t Pad(size_t input, float value, uint32_t max_padding) {
    const std::vector<size_t> dims = Dims(input);
    GraphNode node;
    node.op = GraphOp::kPad;
    node.inputs = {input};
    for (uint32_t& padding : node.padding) {
      padding = xnnpack::Draw(rng_, 0u, max_padding);
    }
    node.channel_padding = OneIn(5) ? xnnpack::Draw<size_t>(rng_, 0, 3) : 0;
    node.padding_value = value;
    return graph_.Add(node, {dims[0], dims[1] + node.padding[0] + node.padding[2],
                             dims[2] + node.padding[1] + node.padding[3], dims[3] + node.channel_padding});
  }

  size_t InfinitePadAndPool(size_t input) {
    const size_t padded = Pad(input, -kInfinity, OneIn(3) ? 3 : 1);
    const size_t value = Pool(padded, /*after_infinite_pad=*/true);
    infinite_.insert(padded);
    infinite_.insert(value);
    if (OneIn(4)) {
      graph_.AddClamp(padded, -2.0f, 2.0f);
    }
    return graph_.AddClamp(value, -2.0f, kInfinity);
  }

  size_t Concatenate(size_t input) {
    GraphNode node;
    node.op = GraphOp::kConcatenate;
    node.axes = {OneIn(4) ? 1 : OneIn(2) ? -1 : 3};
    node.inputs = {input};
    std::vector<size_t> dims = Dims(input);
    const size_t axis = node.axes[0] == 1 ? 1 : 3;
    const size_t num_inputs = xnnpack::Draw<size_t>(rng_, 2, 5);
    for (size_t i = 0; i < 20 && node.inputs.size() < num_inputs; i++) {
      const size_t value = rng_() % graph_.values.size();
      std::vector<size_t> other = Dims(value);
      if (IsImage(value)) {
        dims[axis] += other[axis];
        other[axis] = dims[axis];
        if (other == dims && dims[axis] < 64) {
          node.inputs.push_back(value);
        } else {
          dims[axis] -= Dims(value)[axis];
        }
      }
    }
    if (node.inputs.size() < 2) {
      node.inputs.push_back(input);
      dims[axis] += Dims(input)[axis];
    }
    std::shuffle(node.inputs.begin(), node.inputs.end(), rng_);
    return graph_.Add(node, dims);
  }

  size_t Mean(size_t input, bool keep_dims) {
    const std::vector<size_t> dims = Dims(input);
    GraphNode node;
    node.op = GraphOp::kMean;
    node.inputs = {input};
    node.keep_dims = keep_dims;
    node.axes = {1, 2};
    if (OneIn(4)) {
      node.axes = {-3, -2};
    }
    return graph_.Add(node, keep_dims ? std::vector<size_t>{dims[0], 1, 1, dims[3]} :
                                        std::vector<size_t>{dims[0], dims[3]});
  }

  // What channels are multiplied with depends on the image.
  size_t SqueezeAndExcite(size_t input) {
    size_t scale = Mean(input, /*keep_dims=*/true);
    if (OneIn(2)) {
      scale = Convolution(scale, Dims(input)[3], 1);
    }
    scale = graph_.AddClamp(scale, 0.0f, 1.0f);
    return OneIn(2) ? graph_.AddBinary(xnn_binary_multiply, input, scale) :
                      graph_.AddBinary(xnn_binary_multiply, scale, input);
  }

  size_t ResizeOrFlatten(size_t input) {
    const std::vector<size_t> dims = Dims(input);
    GraphNode node;
    node.inputs = {input};
    if (OneIn(2)) {
      node.op = GraphOp::kFlatten;
      graph_.Add(node, {dims[0], dims[1] * dims[2] * dims[3]});
      return input;
    }
    node.op = GraphOp::kResize;
    return graph_.Add(node, {dims[0], 6, 7, dims[3]});
  }

  // Of each pixel; its addition of an image may become part of it.
  size_t FullyConnected(size_t input) {
    const size_t channels = OneIn(2) ? Dims(input)[3] : DrawChannels();
    const size_t value = graph_.AddFullyConnected(rng_, input, channels, kTiles[rng_() % 6], !OneIn(4));
    return channels == Dims(input)[3] ? graph_.AddBinary(xnn_binary_add, input, value) : value;
  }

  void Step() {
    const size_t input = PickImage();
    switch (rng_() % 21) {
      case 0: case 1: case 2: case 3: case 4:
        last_ = MaybeClamp(Convolution(input, DrawChannels(), OneIn(4) ? 2 : 1));
        break;
      case 5: case 6: case 7: case 8:
        last_ = Residual(input);
        break;
      case 9:
        last_ = OneIn(2) ? Depthwise(input) : ResizeOrFlatten(input);
        break;
      case 10: case 11:
        last_ = Unary(input);
        break;
      case 12: case 13:
        last_ = Binary(input);
        break;
      case 14:
        last_ = BinaryWithConstant(input);
        break;
      case 15:
        last_ = Pool(input, /*after_infinite_pad=*/false);
        break;
      case 16:
        last_ = InfinitePadAndPool(input);
        break;
      case 17:
        last_ = Pad(input, OneIn(3) ? 0.25f : 0.0f, 2);
        break;
      case 18:
        last_ = Concatenate(input);
        break;
      case 19:
        last_ = MaybeClamp(FullyConnected(input));
        break;
      default:
        if (OneIn(2)) {
          Mean(input, OneIn(2));
        } else {
          last_ = SqueezeAndExcite(input);
        }
        break;
    }
  }

  ReplicableRandomDevice& rng_;
  Graph graph_;
  size_t batch_ = 1;
  size_t last_ = 0;
  std::set<size_t> infinite_;
};

}  // namespace

Graph DrawGraph(ReplicableRandomDevice& rng, size_t num_steps) { return Drawer(rng).Draw(num_steps); }

}  // namespace xnnpack
