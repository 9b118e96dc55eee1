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
#include "nm-half-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

namespace xnnpack {
namespace {

// Pixels of CNHW images lie without gaps.
Shape DrawPackedShape(ReplicableRandomDevice& rng) {
  Shape shape = DrawShape(rng);
  shape.input_stride_extra = shape.output_stride_extra = 0;
  return shape;
}

xnn_status Create(const HalfLayer& layer, uint32_t flags, xnn_operator_t* op) {
  const Shape& s = layer.shape;
  return xnn_create_convolution2d_nm_cnhw_f16(
    s.top, s.right, s.bottom, s.left, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
    s.dilation_height, s.dilation_width, s.groups, s.group_input_channels, s.group_output_channels,
    layer.filter.data(), s.bias ? layer.bias.data() : nullptr, s.min, s.max, s.flags() | flags, nullptr, nullptr, op);
}

// Runs on an image in the layout of the flags, and returns an NHWC image. Draws the residual once its shape is known.
Halves RunSparse(HalfLayer& layer, uint32_t flags, bool adds, ReplicableRandomDevice& rng) {
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

void Compare(HalfLayer& layer, ReplicableRandomDevice& rng) {
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
      HalfSum sum = Reference(layer, image, pixel / layer.output_width % layer.output_height, pixel % layer.output_width,
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
    HalfLayer layer = DrawHalfLayer(DrawPackedShape(rng_), rng_);
    Compare(layer, rng_);
    if (HasFatalFailure()) return;
  }
}

TEST_F(ConvolutionNmCnhwF16, layers_of_resnet) {
  for (const Shape& shape : GetResNetShapes()) {
    HalfLayer layer = DrawHalfLayer(shape, rng_);
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
  HalfLayer layer = DrawHalfLayer(shape, rng_);
  Compare(layer, rng_);
}

// Weights that are too large for half precision become infinite, as in the dense operator; those too small become zero.
TEST_F(ConvolutionNmCnhwF16, rounds_weights) {
  Shape shape;
  shape.height = shape.width = 1;
  shape.group_input_channels = 2;
  shape.group_output_channels = 3;
  shape.bias = false;
  HalfLayer layer = DrawHalfLayer(shape, rng_);
  layer.input = {1.0f, 1.0f};
  layer.filter = {1.0e6f, 0.0f, 1.0e-9f, 0.0f, 0.5f, 1.0f / 3.0f};
  const Halves output = RunSparse(layer, 0, false, rng_);
  EXPECT_EQ(std::numeric_limits<float>::infinity(), xnn_float16_to_float(output[0]));
  EXPECT_EQ(0.0f, xnn_float16_to_float(output[1]));
  EXPECT_NEAR(0.5f + 1.0f / 3.0f, xnn_float16_to_float(output[2]), 0.0005f);
}

TEST_F(ConvolutionNmCnhwF16, refuses_a_range_out_of_order) {
  HalfLayer layer = DrawHalfLayer(Shape(), rng_);
  layer.shape.min = 1.0f;
  layer.shape.max = 0.5f;
  xnn_operator_t op = nullptr;
  EXPECT_EQ(xnn_status_invalid_parameter, Create(layer, 0, &op));
  layer.shape.max = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(xnn_status_invalid_parameter, Create(layer, 0, &op));
}

}  // namespace
}  // namespace xnnpack
