// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The quantized N:M convolution of NHWC images against XNNPACK's dense one: bit for bit.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack-nm-operators.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-layer.h"
#include "nm-convolution-tester.h"
#include "nm-quantized-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

namespace xnnpack {
namespace {

// What is not to be read, or written.
constexpr int8_t kGarbage = 99;

xnn_status CreateSparse(const Layer& layer, xnn_operator_t* op, xnn_weights_cache_t cache = nullptr) {
  const Shape& s = layer.shape;
  const Quantization& q = layer.quantization;
  return xnn_create_convolution2d_nm_nhwc_qs8_qc8w(
    s.top, s.right, s.bottom, s.left, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
    s.dilation_height, s.dilation_width, s.groups, s.group_input_channels, s.group_output_channels, s.input_stride(),
    s.output_stride(), q.input_zero_point, q.input_scale, q.filter_scale.data(), layer.filter.data(),
    s.bias ? layer.bias.data() : nullptr, q.output_zero_point, q.output_scale, q.min, q.max, s.flags(), nullptr, cache,
    op);
}

// A weights cache that goes by keys alone, as TFLite's in a file does.
class KeyedCache {
 public:
  KeyedCache() {
    provider_.context = this;
    provider_.look_up = [](void* self, const xnn_weights_cache_look_up_key* key) {
      return static_cast<KeyedCache*>(self)->LookUp(*key);
    };
    provider_.reserve_space = [](void* self, size_t size) { return static_cast<KeyedCache*>(self)->Reserve(size); };
    provider_.look_up_or_insert = [](void* self, const xnn_weights_cache_look_up_key* key, void*, size_t) {
      KeyedCache& cache = *static_cast<KeyedCache*>(self);
      cache.keys_.emplace_back(*key, cache.blocks_.size() - 1);
      return cache.blocks_.size() - 1;
    };
    provider_.is_finalized = [](void*) { return true; };
    provider_.offset_to_addr = [](void* self, size_t offset) {
      return static_cast<void*>(Align(static_cast<KeyedCache*>(self)->blocks_[offset]));
    };
    provider_.delete_cache = [](void*) { return xnn_status_success; };
  }
  xnn_weights_cache_t get() { return &provider_; }
  size_t size() const { return blocks_.size(); }

 private:
  size_t LookUp(const xnn_weights_cache_look_up_key& key) const {
    for (const auto& [known, offset] : keys_) {
      if (known.seed == key.seed && known.kernel == key.kernel && known.bias == key.bias) return offset;
    }
    return SIZE_MAX;
  }
  void* Reserve(size_t size) {
    blocks_.emplace_back(size + 2 * XNN_ALLOCATION_ALIGNMENT);
    return Align(blocks_.back());
  }

  xnn_weights_cache_provider provider_;
  std::deque<std::vector<char>> blocks_;
  std::vector<std::pair<xnn_weights_cache_look_up_key, size_t>> keys_;
};

// Brings pixels of so many channels so far apart; what lies between them is garbage.
std::vector<int8_t> Spread(const std::vector<int8_t>& image, size_t channels, size_t stride) {
  std::vector<int8_t> spread(image.size() / channels * stride, kGarbage);
  for (size_t i = 0; i < image.size(); i++) spread[i / channels * stride + i % channels] = image[i];
  return spread;
}

// Leaves out what lies between pixels, which must be garbage still.
std::vector<int8_t> Gather(const std::vector<int8_t>& spread, size_t channels, size_t stride) {
  std::vector<int8_t> image;
  for (size_t i = 0; i < spread.size(); i++) {
    if (i % stride < channels) {
      image.push_back(spread[i]);
    } else {
      EXPECT_EQ(kGarbage, spread[i]) << "at " << i;
    }
  }
  return image;
}

std::vector<int8_t> RunSparse(const Layer& layer, xnn_operator_t op) {
  const Shape& s = layer.shape;
  ThreadpoolPtr threadpool(s.threads > 1 ? pthreadpool_create(s.threads) : nullptr, pthreadpool_destroy);
  size_t workspace_size = 0, alignment = 0, height = 0, width = 0;
  EXPECT_EQ(xnn_status_success, xnn_reshape_convolution2d_nm_nhwc_qs8_qc8w(
    op, s.batch, s.height, s.width, &workspace_size, &alignment, &height, &width, threadpool.get()));
  std::vector<int8_t> input = Spread(layer.input, s.groups * s.group_input_channels, s.input_stride());
  input.resize(input.size() + XNN_EXTRA_BYTES, kGarbage);
  std::vector<int8_t> output(s.batch * height * width * s.output_stride(), kGarbage);
  std::vector<char> workspace(workspace_size + 2 * XNN_ALLOCATION_ALIGNMENT, kGarbage);
  EXPECT_EQ(xnn_status_success,
            xnn_setup_convolution2d_nm_nhwc_qs8_qc8w(op, Align(workspace), input.data(), output.data()));
  EXPECT_EQ(xnn_status_success, xnn_run_operator(op, threadpool.get()));
  const char* end = static_cast<const char*>(Align(workspace)) + workspace_size;
  EXPECT_TRUE(std::all_of(end, end + XNN_ALLOCATION_ALIGNMENT, [](char c) { return c == kGarbage; }));
  return Gather(output, s.groups * s.group_output_channels, s.output_stride());
}

void Compare(const Layer& layer) {
  const std::vector<int8_t> expected = RunDense(layer);
  xnn_operator_t op = nullptr;
  ASSERT_EQ(xnn_status_success, CreateSparse(layer, &op));
  OperatorPtr owner(op, xnn_delete_operator);
  const std::vector<int8_t> actual = RunSparse(layer, op);
  ASSERT_EQ(expected.size(), actual.size());
  for (size_t i = 0; i < expected.size(); i++) {
    ASSERT_EQ(static_cast<int>(expected[i]), static_cast<int>(actual[i])) << "at " << i << ", " << layer.shape.ToString();
  }
}

class ConvolutionNmNhwcQs8 : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr)); }
  ReplicableRandomDevice rng_;
};

TEST_F(ConvolutionNmNhwcQs8, drawn_layers) {
  const size_t num_layers = GetNumDrawnLayers();
  ASSERT_NE(0u, num_layers);
  for (size_t i = 0; i < num_layers; i++) {
    Compare(DrawLayer(DrawShape(rng_), rng_));
    if (HasFatalFailure()) return;
  }
}

TEST_F(ConvolutionNmNhwcQs8, layers_of_resnet) {
  for (const Shape& shape : GetResNetShapes()) {
    Compare(DrawLayer(shape, rng_));
    if (HasFatalFailure()) return;
  }
}

// Sums that do not fit 32 bits wrap around in both.
TEST_F(ConvolutionNmNhwcQs8, extreme_values) {
  Compare(DrawExtremeLayer(rng_));
}

TEST_F(ConvolutionNmNhwcQs8, can_be_reshaped_again) {
  Shape shape;
  shape.kernel_height = shape.kernel_width = 3;
  shape.same = true;
  shape.group_input_channels = 6;
  shape.group_output_channels = 30;
  Layer layer = DrawLayer(shape, rng_);
  xnn_operator_t op = nullptr;
  ASSERT_EQ(xnn_status_success, CreateSparse(layer, &op));
  OperatorPtr owner(op, xnn_delete_operator);
  for (const size_t size : {5, 13, 1, 9}) {
    layer.shape.height = size;
    layer.shape.width = size + 1;
    layer.input.assign(size * (size + 1) * 6, 0);
    for (int8_t& value : layer.input) value = DrawByte(rng_);
    EXPECT_EQ(RunDense(layer), RunSparse(layer, op)) << size;
  }
}

// Of 16 channels one is kept, then the 4 that it is one of: that costs no more, since they are multiplied together.
TEST_F(ConvolutionNmNhwcQs8, runs_are_kept_whole) {
  constexpr size_t kChannels = 16, kOutputs = 64;
  std::vector<int8_t> one(kOutputs * kChannels, 0), four = one;
  for (size_t row = 0; row < kOutputs; row++) {
    one[row * kChannels + 9] = 1;
    std::fill_n(four.begin() + row * kChannels + 8, 4, static_cast<int8_t>(1));
  }
  const std::vector<float> scales(kOutputs, 1.0f);
  struct xnn_nmconv_analysis analyses[2];
  for (size_t i = 0; i < 2; i++) {
    struct xnn_nm_layer layer = {};
    layer.datatype = &xnn_nm_qs8_qc8w;
    layer.kernel_height = layer.kernel_width = layer.stride_height = layer.stride_width = 1;
    layer.dilation_height = layer.dilation_width = layer.groups = 1;
    layer.group_input_channels = layer.input_channel_stride = kChannels;
    layer.group_output_channels = layer.output_channel_stride = kOutputs;
    layer.filter.data = i == 0 ? one.data() : four.data();
    layer.filter_scale = scales.data();
    struct xnn_nm_zeros zeros;
    ASSERT_EQ(xnn_status_success, xnn_find_nm_zeros(&layer, &zeros));
    EXPECT_EQ(xnn_status_success,
              xnn_analyze_nmconv(&layer, &zeros, xnn_init_qs8_nm_costs(), 0, nullptr, &analyses[i]));
    xnn_release_nm_zeros(&zeros);
  }
  const size_t kr = analyses[0].config->weights.kr;
  EXPECT_EQ(analyses[0].num_tiles * kr, analyses[0].num_columns);
  EXPECT_EQ(analyses[1].num_tiles * 4, analyses[1].num_columns);
  EXPECT_EQ(analyses[1].num_runs * kr, analyses[1].num_columns);
}

// Columns of several taps are multiplied together where the taps are together in memory: a cache tells that apart.
TEST_F(ConvolutionNmNhwcQs8, a_weights_cache_tells_dilations_apart) {
  Shape shape;
  shape.kernel_height = shape.kernel_width = 3;
  shape.group_input_channels = 3;
  shape.group_output_channels = 14;
  shape.height = shape.width = 9;
  Layer layer = DrawLayer(shape, rng_);
  Layer wider = layer;
  wider.shape.dilation_height = wider.shape.dilation_width = 2;
  KeyedCache cache;
  // Where the filter is goes for the cache.
  std::swap(wider.filter, layer.filter);
  std::swap(wider.bias, layer.bias);
  xnn_operator_t dilated = nullptr;
  ASSERT_EQ(xnn_status_success, CreateSparse(wider, &dilated, cache.get()));
  std::swap(wider.filter, layer.filter);
  std::swap(wider.bias, layer.bias);
  xnn_operator_t together = nullptr;
  ASSERT_EQ(xnn_status_success, CreateSparse(layer, &together, cache.get()));
  EXPECT_EQ(RunDense(layer), RunSparse(layer, together));
  EXPECT_EQ(RunDense(wider), RunSparse(wider, dilated));
  EXPECT_EQ(xnn_status_success, xnn_delete_operator(together));
  EXPECT_EQ(xnn_status_success, xnn_delete_operator(dilated));
}

TEST_F(ConvolutionNmNhwcQs8, refuses_what_the_dense_operator_refuses) {
  for (const Hostile& hostile : DrawHostileLayers(rng_)) {
    xnn_operator_t op = nullptr;
    EXPECT_EQ(hostile.status, CreateSparse(hostile.layer, &op));
    EXPECT_EQ(hostile.status, CreateDense(hostile.layer, &op));
  }
}

}  // namespace
}  // namespace xnnpack
