// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The quantized N:M convolution of CNHW images against XNNPACK's dense one of NHWC images: bit for bit.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack-nm-operators.h"
#include "nm-convolution-tester.h"
#include "nm-quantized-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

namespace xnnpack {
namespace {


xnn_status CreateSparse(const Layer& layer, uint32_t flags, xnn_operator_t* op, xnn_weights_cache_t cache = nullptr) {
  const Shape& s = layer.shape;
  const Quantization& q = layer.quantization;
  return xnn_create_convolution2d_nm_cnhw_qs8_qc8w(
    s.top, s.right, s.bottom, s.left, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
    s.dilation_height, s.dilation_width, s.groups, s.group_input_channels, s.group_output_channels, q.input_zero_point,
    q.input_scale, q.filter_scale.data(), layer.filter.data(), s.bias ? layer.bias.data() : nullptr,
    q.output_zero_point, q.output_scale, q.min, q.max, s.flags() | flags, nullptr, cache, op);
}

// Returns an NHWC image.
std::vector<int8_t> RunSparse(const Layer& layer, bool input_nhwc, xnn_operator_t op) {
  const Shape& s = layer.shape;
  OperatorPtr owner(op, xnn_delete_operator);
  ThreadpoolPtr threadpool(s.threads > 1 ? pthreadpool_create(s.threads) : nullptr, pthreadpool_destroy);
  size_t workspace_size = 0, alignment = 0, height = 0, width = 0;
  EXPECT_EQ(xnn_status_success, xnn_reshape_convolution2d_nm_cnhw_qs8_qc8w(
    op, s.batch, s.height, s.width, &workspace_size, &alignment, &height, &width, threadpool.get()));
  const size_t channels = s.groups * s.group_output_channels;
  std::vector<int8_t> input =
    input_nhwc ? layer.input : Transpose(layer.input, s.groups * s.group_input_channels);
  input.resize(input.size() + XNN_EXTRA_BYTES, 77);
  std::vector<int8_t> output(s.batch * height * width * channels, 99);
  std::vector<char> workspace(workspace_size + XNN_ALLOCATION_ALIGNMENT);
  EXPECT_EQ(xnn_status_success,
            xnn_setup_convolution2d_nm_cnhw_qs8_qc8w(op, Align(workspace), input.data(), output.data()));
  EXPECT_EQ(xnn_status_success, xnn_run_operator(op, threadpool.get()));
  return Transpose(output, height * width * s.batch);
}

void Compare(const Layer& layer) {
  const std::vector<int8_t> expected = RunDense(layer);
  const bool few_channels = layer.shape.groups == 1 && layer.shape.group_input_channels <= 4;
  for (bool input_nhwc : {false, true}) {
    if (input_nhwc && !few_channels) continue;
    xnn_operator_t op = nullptr;
    ASSERT_EQ(xnn_status_success, CreateSparse(layer, input_nhwc ? XNN_FLAG_INPUT_NHWC : 0, &op));
    const std::vector<int8_t> actual = RunSparse(layer, input_nhwc, op);
    ASSERT_EQ(expected.size(), actual.size());
    for (size_t i = 0; i < expected.size(); i++) {
      ASSERT_EQ(static_cast<int>(expected[i]), static_cast<int>(actual[i]))
        << "at " << i << (input_nhwc ? " of an NHWC image, " : ", ") << layer.shape.ToString();
    }
  }
}

class ConvolutionNmCnhwQs8 : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr)); }
  ReplicableRandomDevice rng_;
};

TEST_F(ConvolutionNmCnhwQs8, drawn_layers) {
  const size_t num_layers = GetNumDrawnLayers();
  ASSERT_NE(0u, num_layers);
  for (size_t i = 0; i < num_layers; i++) {
    Compare(DrawLayer(DrawShape(rng_), rng_));
    if (HasFatalFailure()) return;
  }
}

TEST_F(ConvolutionNmCnhwQs8, layers_of_resnet) {
  for (const Shape& shape : GetResNetShapes()) {
    Compare(DrawLayer(shape, rng_));
    if (HasFatalFailure()) return;
  }
}

// Sums that do not fit 32 bits wrap around in both.
TEST_F(ConvolutionNmCnhwQs8, extreme_values) {
  Compare(DrawExtremeLayer(rng_));
}

// Filters of the same bytes that are quantized otherwise are not packed alike: a cache tells them apart.
TEST_F(ConvolutionNmCnhwQs8, a_weights_cache_tells_quantizations_apart) {
  Shape shape;
  shape.group_input_channels = 33;
  shape.group_output_channels = 14;
  Layer layer = DrawLayer(shape, rng_);
  xnn_weights_cache_t cache = nullptr;
  ASSERT_EQ(xnn_status_success, xnn_create_weights_cache(&cache));
  std::unique_ptr<std::remove_pointer_t<xnn_weights_cache_t>, decltype(&xnn_delete_weights_cache)> owner(
    cache, xnn_delete_weights_cache);
  std::vector<Layer> layers;
  std::vector<xnn_operator_t> operators;
  // The bytes stay where they are, since a cache goes by that.
  const auto create = [&] {
    operators.push_back(nullptr);
    ASSERT_EQ(xnn_status_success, CreateSparse(layer, 0, &operators.back(), cache));
    layers.push_back(layer);
  };
  create();
  layer.quantization.input_zero_point ^= 5;
  create();
  layer.quantization.output_scale *= 1.5f;
  create();
  layer.quantization.filter_scale[3] *= 0.5f;
  create();
  ASSERT_EQ(xnn_status_success, xnn_finalize_weights_cache(cache, xnn_weights_cache_finalization_kind_hard));
  for (size_t i = 0; i < layers.size(); i++) {
    EXPECT_EQ(RunDense(layers[i]), RunSparse(layers[i], false, operators[i])) << i;
  }
}

TEST_F(ConvolutionNmCnhwQs8, refuses_what_the_dense_operator_refuses) {
  for (const Hostile& hostile : DrawHostileLayers(rng_)) {
    xnn_operator_t op = nullptr;
    EXPECT_EQ(hostile.status, CreateSparse(hostile.layer, 0, &op));
    EXPECT_EQ(hostile.status, CreateDense(hostile.layer, &op));
  }
}

}  // namespace
}  // namespace xnnpack
