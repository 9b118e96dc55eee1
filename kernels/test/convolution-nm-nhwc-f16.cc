// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The N:M convolution of NHWC images of half precision against sums in double of the numbers as they are rounded, and
// against the dense operator of half precision where there is one.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack-nm-operators.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/math.h"
#include "nm-convolution-tester.h"
#include "nm-half-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

namespace xnnpack {
namespace {

constexpr uint16_t kPoisonBits = 0x7E5A;  // NaN

xnn_status Create(const HalfLayer& layer, xnn_operator_t* op, xnn_weights_cache_t weights_cache = nullptr) {
  const Shape& s = layer.shape;
  return xnn_create_convolution2d_nm_nhwc_f16(
    s.top, s.right, s.bottom, s.left, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
    s.dilation_height, s.dilation_width, s.groups, s.group_input_channels, s.group_output_channels, s.input_stride(),
    s.output_stride(), layer.filter.data(), s.bias ? layer.bias.data() : nullptr, s.min, s.max, s.flags(), nullptr,
    weights_cache, op);
}

xnn_status CreateDense(const HalfLayer& layer, xnn_operator_t* op) {
  const Shape& s = layer.shape;
  return xnn_create_convolution2d_nhwc_f16(
    s.top, s.right, s.bottom, s.left, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
    s.dilation_height, s.dilation_width, s.groups, s.group_input_channels, s.group_output_channels, s.input_stride(),
    s.output_stride(), layer.filter.data(), s.bias ? layer.bias.data() : nullptr, s.min, s.max,
    s.flags() | XNN_FLAG_FP32_STATIC_WEIGHTS, nullptr, nullptr, op);
}

bool IsPoison(xnn_float16 value) { return xnn_float16_to_bits(value) == kPoisonBits; }

// Runs an operator, N:M or dense, and returns its image, poison between pixels. Draws the residual once its shape is known.
Halves RunLayer(HalfLayer& layer, xnn_operator_t op, bool is_nm, bool adds, ReplicableRandomDevice& rng) {
  const Shape& s = layer.shape;
  const ThreadpoolPtr threadpool(s.threads > 1 ? pthreadpool_create(s.threads) : nullptr, pthreadpool_destroy);
  size_t workspace_size = 0, alignment = 1;
  const auto reshape = is_nm ? xnn_reshape_convolution2d_nm_nhwc_f16 : xnn_reshape_convolution2d_nhwc_f16;
  EXPECT_EQ(xnn_status_success, reshape(
    op, s.batch, s.height, s.width, &workspace_size, &alignment, &layer.output_height, &layer.output_width,
    threadpool.get()));
  Halves output(s.batch * layer.output_height * layer.output_width * s.output_stride(),
                xnn_float16_from_bits(kPoisonBits));
  layer.residual = adds ? Random(rng, output.size()) : std::vector<float>();
  Halves input = ToHalves(layer.input);
  input.resize(input.size() + XNN_EXTRA_BYTES / sizeof(xnn_float16), xnn_float16_from_bits(kPoisonBits));
  const Halves residual = ToHalves(layer.residual);
  // Guards around the workspace; its content is poison, so that what is read was written before.
  constexpr size_t kGuards = 64;
  Halves workspace(workspace_size / sizeof(xnn_float16) + 2 * kGuards + 64, xnn_float16_from_bits(kPoisonBits));
  void* aligned = workspace.data() + kGuards;
  size_t space = (workspace.size() - kGuards) * sizeof(xnn_float16);
  EXPECT_NE(nullptr, std::align(alignment, workspace_size, aligned, space));
  EXPECT_EQ(xnn_status_success, is_nm ?
    xnn_setup_convolution2d_nm_nhwc_f16(op, aligned, input.data(), adds ? residual.data() : nullptr, output.data()) :
    xnn_setup_convolution2d_nhwc_f16(op, aligned, input.data(), output.data()));
  EXPECT_EQ(xnn_status_success, xnn_run_operator(op, threadpool.get()));
  const xnn_float16* end = reinterpret_cast<const xnn_float16*>(static_cast<const char*>(aligned) + workspace_size);
  const xnn_float16* guards = workspace.data();
  EXPECT_TRUE(std::all_of(guards, static_cast<const xnn_float16*>(aligned), IsPoison)) << "write before the workspace";
  EXPECT_TRUE(std::all_of(end, guards + workspace.size(), IsPoison)) << "write after the workspace";
  return output;
}

// What an output may be: near the sum, clamped.
void ExpectNear(const HalfLayer& layer, const Halves& actual, bool adds, const Halves* dense) {
  const Shape& s = layer.shape;
  for (size_t i = 0; i < actual.size(); i++) {
    const size_t pixel = i / s.output_stride(), channel = i % s.output_stride();
    if (channel >= s.groups * s.group_output_channels) {
      ASSERT_TRUE(IsPoison(actual[i])) << "write between output pixels, at " << i << " " << s.ToString();
      continue;
    }
    const size_t image = pixel / (layer.output_height * layer.output_width);
    HalfSum sum = Reference(layer, image, pixel / layer.output_width % layer.output_height, pixel % layer.output_width,
                            channel);
    if (adds) sum.Add(Round(layer.residual[i]));
    const double expected = std::clamp<double>(sum.value, Round(s.min), Round(s.max));
    ASSERT_NEAR(expected, xnn_float16_to_float(actual[i]), sum.bound())
      << "at " << i << (adds ? " adds, " : ", ") << s.ToString();
    if (dense != nullptr) {
      ASSERT_NEAR(xnn_float16_to_float((*dense)[i]), xnn_float16_to_float(actual[i]), 2.0 * sum.bound())
        << "dense, at " << i << ", " << s.ToString();
    }
  }
}

class ConvolutionNmNhwcF16 : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr)); }

  void Compare(HalfLayer& layer) {
    xnn_operator_t op = nullptr;
    ASSERT_EQ(xnn_status_success, Create(layer, &op));
    const OperatorPtr sparse(op, xnn_delete_operator);
    const bool adds = rng_() % 2 == 0;
    op = nullptr;
    const bool has_dense = !adds && CreateDense(layer, &op) == xnn_status_success;
    const OperatorPtr dense(op, xnn_delete_operator);
    num_dense_ += has_dense;
    const Halves expected = has_dense ? RunLayer(layer, dense.get(), /*is_nm=*/false, false, rng_) : Halves();
    const Halves actual = RunLayer(layer, sparse.get(), /*is_nm=*/true, adds, rng_);
    if (HasFailure()) return;
    ExpectNear(layer, actual, adds, has_dense ? &expected : nullptr);
  }

  size_t num_dense_ = 0;
  ReplicableRandomDevice rng_;
};

TEST_F(ConvolutionNmNhwcF16, drawn_layers) {
  const size_t num_layers = GetNumDrawnLayers();
  ASSERT_NE(0u, num_layers);
  for (size_t i = 0; i < num_layers; i++) {
    HalfLayer layer = DrawHalfLayer(DrawShape(rng_), rng_);
    Compare(layer);
    if (HasFailure()) return;
  }
  if (xnn_is_f16_compatible_config(xnn_init_hardware_config())) {
    EXPECT_NE(0u, num_dense_);
  }
}

TEST_F(ConvolutionNmNhwcF16, layers_of_resnet) {
  for (const Shape& shape : GetResNetShapes()) {
    HalfLayer layer = DrawHalfLayer(shape, rng_);
    Compare(layer);
    if (HasFailure()) return;
  }
}

// Fully connected layers: each row of a matrix is a pixel.
TEST_F(ConvolutionNmNhwcF16, few_rows) {
  for (const size_t rows : {1, 2, 3, 5, 11, 30}) {
    for (const size_t outputs : {1, 31, 64, 131}) {
      Shape shape;
      shape.height = rows;
      shape.width = 1;
      shape.group_input_channels = 211;
      shape.group_output_channels = outputs;
      HalfLayer layer = DrawHalfLayer(shape, rng_);
      Compare(layer);
      if (HasFailure()) return;
    }
  }
}

// Weights that are too large for half precision become infinite, as in the dense operator; those too small become zero.
TEST_F(ConvolutionNmNhwcF16, rounds_weights) {
  Shape shape;
  shape.height = shape.width = 1;
  shape.group_input_channels = 2;
  shape.group_output_channels = 3;
  shape.bias = false;
  HalfLayer layer = DrawHalfLayer(shape, rng_);
  layer.input = {1.0f, 1.0f};
  layer.filter = {1.0e6f, 0.0f, 1.0e-9f, 0.0f, 0.5f, 1.0f / 3.0f};
  xnn_operator_t op = nullptr;
  ASSERT_EQ(xnn_status_success, Create(layer, &op));
  const OperatorPtr owner(op, xnn_delete_operator);
  const Halves output = RunLayer(layer, op, /*is_nm=*/true, /*adds=*/false, rng_);
  EXPECT_EQ(std::numeric_limits<float>::infinity(), xnn_float16_to_float(output[0]));
  EXPECT_EQ(0.0f, xnn_float16_to_float(output[1]));
  EXPECT_NEAR(0.5f + 1.0f / 3.0f, xnn_float16_to_float(output[2]), 0.0005f);
}

TEST_F(ConvolutionNmNhwcF16, can_be_reshaped_again) {
  Shape shape;
  shape.kernel_height = shape.kernel_width = 3;
  shape.top = shape.left = shape.bottom = shape.right = 1;
  shape.group_input_channels = 8;
  shape.group_output_channels = 70;
  HalfLayer layer = DrawHalfLayer(shape, rng_);
  xnn_operator_t op = nullptr;
  ASSERT_EQ(xnn_status_success, Create(layer, &op));
  const OperatorPtr owner(op, xnn_delete_operator);
  for (const size_t size : {5, 13, 2, 1, 9}) {
    layer.shape.height = size;
    layer.shape.width = size + 1;
    layer.input = Random(rng_, size * (size + 1) * shape.input_stride());
    const Halves output = RunLayer(layer, op, /*is_nm=*/true, /*adds=*/true, rng_);
    if (HasFailure()) return;
    ExpectNear(layer, output, /*adds=*/true, nullptr);
    if (HasFailure()) return;
  }
}

TEST_F(ConvolutionNmNhwcF16, shares_packed_weights_through_a_cache) {
  Shape shape;
  shape.kernel_height = shape.kernel_width = 3;
  shape.group_input_channels = 12;
  shape.group_output_channels = 80;
  HalfLayer layer = DrawHalfLayer(shape, rng_);
  xnn_weights_cache_t cache = nullptr;
  ASSERT_EQ(xnn_status_success, xnn_create_weights_cache(&cache));
  {
    xnn_operator_t ops[3] = {};
    ASSERT_EQ(xnn_status_success, Create(layer, &ops[0]));
    const OperatorPtr alone(ops[0], xnn_delete_operator);
    ASSERT_EQ(xnn_status_success, Create(layer, &ops[1], cache));
    const OperatorPtr first(ops[1], xnn_delete_operator);
    ASSERT_EQ(xnn_status_success, Create(layer, &ops[2], cache));
    const OperatorPtr second(ops[2], xnn_delete_operator);
    ASSERT_EQ(xnn_status_success, xnn_finalize_weights_cache(cache, xnn_weights_cache_finalization_kind_hard));
    const std::vector<float> expected = ToFloats(RunLayer(layer, ops[0], /*is_nm=*/true, false, rng_));
    EXPECT_EQ(expected, ToFloats(RunLayer(layer, ops[1], /*is_nm=*/true, false, rng_)));
    EXPECT_EQ(expected, ToFloats(RunLayer(layer, ops[2], /*is_nm=*/true, false, rng_)));
  }
  xnn_delete_weights_cache(cache);
}

TEST_F(ConvolutionNmNhwcF16, refuses_a_range_out_of_order) {
  HalfLayer layer = DrawHalfLayer(Shape(), rng_);
  layer.shape.min = 1.0f;
  layer.shape.max = 0.5f;
  xnn_operator_t op = nullptr;
  EXPECT_EQ(xnn_status_invalid_parameter, Create(layer, &op));
  layer.shape.max = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(xnn_status_invalid_parameter, Create(layer, &op));
}

// Also where elements of the copy are wider than those of the image.
TEST_F(ConvolutionNmNhwcF16, refuses_images_that_overflow) {
  Shape shape;
  shape.kernel_height = shape.kernel_width = 3;
  const HalfLayer layer = DrawHalfLayer(shape, rng_);
  xnn_operator_t op = nullptr;
  ASSERT_EQ(xnn_status_success, Create(layer, &op));
  const OperatorPtr owner(op, xnn_delete_operator);
  size_t workspace_size, alignment;
  const auto reshape = [&](size_t batch, size_t height, size_t width) {
    return xnn_reshape_convolution2d_nm_nhwc_f16(
      op, batch, height, width, &workspace_size, &alignment, nullptr, nullptr, nullptr);
  };
  EXPECT_EQ(xnn_status_invalid_parameter, reshape(1, 0, 5));
  EXPECT_EQ(xnn_status_invalid_parameter, reshape(1, 2, 5));
  EXPECT_EQ(xnn_status_success, reshape(0, 5, 5));
  EXPECT_EQ(xnn_status_unsupported_parameter, reshape(1, 5, SIZE_MAX / 2));
  EXPECT_EQ(xnn_status_unsupported_parameter, reshape(SIZE_MAX / 8, 5, 5));
  EXPECT_EQ(xnn_status_unsupported_parameter, reshape(1, 5, size_t{1} << 30));
  EXPECT_EQ(xnn_status_success, reshape(1, 5, 5));
}

}  // namespace
}  // namespace xnnpack
