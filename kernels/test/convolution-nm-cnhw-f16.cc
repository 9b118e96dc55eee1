// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The N:M convolution of CNHW images of half precision against sums in double of the numbers as they are rounded.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack-nm-operators.h"
#include "xnnpack/math.h"
#include "nm-convolution-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

namespace xnnpack {
namespace {

using Halves = std::vector<xnn_float16>;

struct Layer {
  Shape shape;
  std::vector<float> input, filter, bias, residual;
  size_t output_height = 0, output_width = 0;
};

// What a number becomes in half precision.
float Round(float value) { return xnn_float16_to_float(xnn_float16_from_float(value)); }

Halves ToHalves(const std::vector<float>& values) {
  Halves halves;
  for (float value : values) halves.push_back(xnn_float16_from_float(value));
  return halves;
}

Layer DrawLayer(const Shape& shape, ReplicableRandomDevice& rng) {
  Layer layer;
  layer.shape = shape;
  const size_t outputs = shape.groups * shape.group_output_channels;
  layer.filter = Random(rng, outputs * shape.row_size());
  Prune(shape, Draw<size_t>(rng, 1, 40), rng, layer.filter);
  layer.input = Random(rng, shape.batch * shape.height * shape.width * shape.groups * shape.group_input_channels);
  layer.bias = Random(rng, outputs);
  return layer;
}

xnn_status Create(const Layer& layer, uint32_t flags, xnn_operator_t* op) {
  const Shape& s = layer.shape;
  return xnn_create_convolution2d_nm_cnhw_f16(
    s.top, s.right, s.bottom, s.left, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
    s.dilation_height, s.dilation_width, s.groups, s.group_input_channels, s.group_output_channels,
    layer.filter.data(), s.bias ? layer.bias.data() : nullptr, s.min, s.max, s.flags() | flags, nullptr, nullptr, op);
}

// Runs on an image in the layout of the flags, and returns an NHWC image. Draws the residual once its shape is known.
Halves RunSparse(Layer& layer, uint32_t flags, bool adds, ReplicableRandomDevice& rng) {
  const Shape& s = layer.shape;
  xnn_operator_t op = nullptr;
  EXPECT_EQ(xnn_status_success, Create(layer, flags, &op));
  OperatorPtr owner(op, xnn_delete_operator);
  ThreadpoolPtr threadpool(s.threads > 1 ? pthreadpool_create(s.threads) : nullptr, pthreadpool_destroy);
  size_t workspace_size = 0, alignment = 0;
  EXPECT_EQ(xnn_status_success, xnn_reshape_convolution2d_nm_cnhw_f16(
    op, s.batch, s.height, s.width, &workspace_size, &alignment, &layer.output_height, &layer.output_width,
    threadpool.get()));
  const size_t channels = s.groups * s.group_output_channels;
  const size_t pixels = s.batch * layer.output_height * layer.output_width;
  layer.residual = adds ? Random(rng, pixels * channels) : std::vector<float>();
  Halves input = ToHalves(flags == XNN_FLAG_INPUT_NHWC ?
    layer.input : Transpose(layer.input, s.groups * s.group_input_channels));
  input.resize(input.size() + XNN_EXTRA_BYTES, xnn_float16_from_float(kPoison));
  const Halves residual = ToHalves(Transpose(layer.residual, channels));
  Halves output(pixels * channels, xnn_float16_from_float(kPoison));
  std::vector<char> workspace(workspace_size + XNN_ALLOCATION_ALIGNMENT);
  void* aligned = reinterpret_cast<void*>(
    (reinterpret_cast<uintptr_t>(workspace.data()) + XNN_ALLOCATION_ALIGNMENT - 1) & ~uintptr_t{XNN_ALLOCATION_ALIGNMENT - 1});
  EXPECT_EQ(xnn_status_success, xnn_setup_convolution2d_nm_cnhw_f16(
    op, aligned, input.data(), adds ? residual.data() : nullptr, output.data()));
  EXPECT_EQ(xnn_status_success, xnn_run_operator(op, threadpool.get()));
  return Transpose(output, pixels);
}

// A sum of an output in double, and the variance of its error if it is rounded to half precision after each term: up to half
// a step of what it is by then, of either sign.
struct Sum {
  double value = 0.0, variance = 0.0;

  void Add(double term) {
    value += term;
    if (term != 0.0) variance += std::pow(std::ldexp(value, -11), 2) / 3.0;
  }

  // The farthest that it may be from the true sum: eight standard deviations, and its own rounding.
  double bound() const { return 8.0 * std::sqrt(variance) + std::ldexp(std::abs(value), -11) + std::ldexp(1.0, -14); }
};

Sum Reference(const Layer& layer, size_t image, size_t oy, size_t ox, size_t channel) {
  const Shape& s = layer.shape;
  const size_t group = channel / s.group_output_channels;
  const auto total = [](size_t outputs, uint32_t stride, uint32_t kernel, uint32_t dilation, size_t size) {
    const size_t needed = (outputs - 1) * stride + (kernel - 1) * dilation + 1;
    return needed > size ? needed - size : 0;
  };
  const size_t top = s.same ?
    total(layer.output_height, s.stride_height, s.kernel_height, s.dilation_height, s.height) / 2 : s.top;
  const size_t left = s.same ?
    total(layer.output_width, s.stride_width, s.kernel_width, s.dilation_width, s.width) / 2 : s.left;
  Sum sum;
  if (s.bias) sum.Add(Round(layer.bias[channel]));
  for (size_t ky = 0; ky < s.kernel_height; ky++) {
    for (size_t kx = 0; kx < s.kernel_width; kx++) {
      const size_t y = oy * s.stride_height + ky * s.dilation_height - top;
      const size_t x = ox * s.stride_width + kx * s.dilation_width - left;
      if (y >= s.height || x >= s.width) continue;
      for (size_t c = 0; c < s.group_input_channels; c++) {
        const size_t at = ((image * s.height + y) * s.width + x) * s.groups * s.group_input_channels;
        sum.Add(static_cast<double>(Round(layer.input[at + group * s.group_input_channels + c])) *
          Round(layer.filter[channel * s.row_size() + (ky * s.kernel_width + kx) * s.group_input_channels + c]));
      }
    }
  }
  return sum;
}

void Compare(Layer& layer, ReplicableRandomDevice& rng) {
  const Shape& s = layer.shape;
  const size_t channels = s.groups * s.group_output_channels;
  const bool few_channels = s.groups == 1 && s.group_input_channels <= 4;
  for (uint32_t flags : {0u, uint32_t{XNN_FLAG_INPUT_NHWC}}) {
    if (flags != 0 && !few_channels) continue;
    const bool adds = rng() % 2 == 0;
    const Halves actual = RunSparse(layer, flags, adds, rng);
    for (size_t i = 0; i < actual.size(); i++) {
      const size_t pixel = i / channels;
      const size_t image = pixel / (layer.output_height * layer.output_width);
      Sum sum = Reference(layer, image, pixel / layer.output_width % layer.output_height, pixel % layer.output_width,
                          i % channels);
      if (adds) sum.Add(Round(layer.residual[i]));
      const double expected = std::clamp<double>(sum.value, Round(s.min), Round(s.max));
      ASSERT_NEAR(expected, xnn_float16_to_float(actual[i]), sum.bound())
        << "at " << i << " flags " << flags << (adds ? " adds, " : ", ") << s.ToString();
    }
  }
}

class ConvolutionNmCnhwF16 : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr)); }
  ReplicableRandomDevice rng_;
};

TEST_F(ConvolutionNmCnhwF16, drawn_layers) {
  const size_t num_layers = GetNumDrawnLayers();
  ASSERT_NE(0u, num_layers);
  for (size_t i = 0; i < num_layers; i++) {
    Layer layer = DrawLayer(DrawShape(rng_), rng_);
    Compare(layer, rng_);
    if (HasFatalFailure()) return;
  }
}

TEST_F(ConvolutionNmCnhwF16, layers_of_resnet) {
  for (const Shape& shape : GetResNetShapes()) {
    Layer layer = DrawLayer(shape, rng_);
    Compare(layer, rng_);
    if (HasFatalFailure()) return;
  }
}

// Sums of many columns wait in the output for those of the next part.
TEST_F(ConvolutionNmCnhwF16, many_columns) {
  Shape shape;
  shape.height = shape.width = 2;
  shape.group_input_channels = 5000;
  shape.group_output_channels = 9;
  shape.kernel_height = 2;
  Layer layer = DrawLayer(shape, rng_);
  Compare(layer, rng_);
}

// Weights that are too large for half precision become infinite, as in the dense operator; those too small become zero.
TEST_F(ConvolutionNmCnhwF16, rounds_weights) {
  Shape shape;
  shape.height = shape.width = 1;
  shape.group_input_channels = 2;
  shape.group_output_channels = 3;
  shape.bias = false;
  Layer layer = DrawLayer(shape, rng_);
  layer.input = {1.0f, 1.0f};
  layer.filter = {1.0e6f, 0.0f, 1.0e-9f, 0.0f, 0.5f, 1.0f / 3.0f};
  const Halves output = RunSparse(layer, 0, false, rng_);
  EXPECT_EQ(std::numeric_limits<float>::infinity(), xnn_float16_to_float(output[0]));
  EXPECT_EQ(0.0f, xnn_float16_to_float(output[1]));
  EXPECT_NEAR(0.5f + 1.0f / 3.0f, xnn_float16_to_float(output[2]), 0.0005f);
}

TEST_F(ConvolutionNmCnhwF16, refuses_a_range_out_of_order) {
  Layer layer = DrawLayer(Shape(), rng_);
  layer.shape.min = 1.0f;
  layer.shape.max = 0.5f;
  xnn_operator_t op = nullptr;
  EXPECT_EQ(xnn_status_invalid_parameter, Create(layer, 0, &op));
  layer.shape.max = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(xnn_status_invalid_parameter, Create(layer, 0, &op));
}

}  // namespace
}  // namespace xnnpack
