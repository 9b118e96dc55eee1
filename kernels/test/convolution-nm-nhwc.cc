// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The N:M convolution operator against the dense one on the same filter, for drawn shapes and patterns.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack-nm-operators.h"
#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/params.h"
#include "nm-convolution-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

using xnnpack::CompareNhwc;
using xnnpack::DrawShape;
using xnnpack::kPoison;
using xnnpack::OperatorPtr;
using xnnpack::Prune;
using xnnpack::Shape;
using xnnpack::ThreadpoolPtr;

namespace {

struct Created {
  OperatorPtr op{nullptr, xnn_delete_operator};
  xnn_status status;
};

Created Create(const Shape& s, const float* filter, const float* bias, bool nm,
               xnn_weights_cache_t weights_cache = nullptr) {
  xnn_operator_t op = nullptr;
  xnn_status status;
  if (nm) {
    status = xnn_create_convolution2d_nm_nhwc_f32(
      s.top, s.right, s.bottom, s.left, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
      s.dilation_height, s.dilation_width, s.groups, s.group_input_channels, s.group_output_channels,
      s.input_stride(), s.output_stride(), s.tile_height, filter, bias, s.min, s.max, s.flags(),
      nullptr, weights_cache, &op);
  } else {
    status = xnn_create_convolution2d_nhwc_f32(
      s.top, s.right, s.bottom, s.left, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
      s.dilation_height, s.dilation_width, s.groups, s.group_input_channels, s.group_output_channels,
      s.input_stride(), s.output_stride(), filter, bias, s.min, s.max, s.flags(), nullptr, nullptr, &op);
  }
  Created created;
  created.op.reset(op);
  created.status = status;
  return created;
}

// Runs one operator on one input. Output pixels are output_stride apart; what lies between them stays poisoned.
void RunOperator(const Shape& s, xnn_operator_t op, bool nm, pthreadpool_t threadpool, const std::vector<float>& input,
         std::vector<float>* output, size_t* pixels, const float* residual = nullptr) {
  size_t workspace_size = 0, workspace_alignment = 0, output_height = 0, output_width = 0;
  const auto reshape = nm ? xnn_reshape_convolution2d_nm_nhwc_f32 : xnn_reshape_convolution2d_nhwc_f32;
  ASSERT_EQ(xnn_status_success, reshape(op, s.batch, s.height, s.width, &workspace_size, &workspace_alignment,
                                        &output_height, &output_width, threadpool));
  *pixels = s.batch * output_height * output_width;
  output->assign(*pixels * s.output_stride(), kPoison);
  // Guards around the workspace; its content is poison, so that what is read was written before.
  constexpr size_t kGuards = 64;
  std::vector<float> workspace(workspace_size / sizeof(float) + 2 * kGuards + 64, kPoison);
  void* aligned = workspace.data() + kGuards;
  size_t space = (workspace.size() - kGuards) * sizeof(float);
  if (workspace_size != 0) {
    ASSERT_NE(nullptr, std::align(workspace_alignment, workspace_size, aligned, space));
  }
  ASSERT_EQ(xnn_status_success,
            nm ? xnn_setup_convolution2d_nm_nhwc_f32(op, aligned, input.data(), residual, output->data())
               : xnn_setup_convolution2d_nhwc_f32(op, aligned, input.data(), output->data()));
  ASSERT_EQ(xnn_status_success, xnn_run_operator(op, threadpool));
  for (const float* guard = workspace.data(); guard < aligned; guard++) {
    ASSERT_TRUE(std::isnan(*guard)) << "write before the workspace";
  }
  for (const float* guard = reinterpret_cast<float*>(reinterpret_cast<uintptr_t>(aligned) + workspace_size);
       guard < workspace.data() + workspace.size(); guard++) {
    ASSERT_TRUE(std::isnan(*guard)) << "write after the workspace";
  }
}

void TestEqualsDense(const Shape& s, size_t pruned_tile, xnnpack::ReplicableRandomDevice& rng) {
  SCOPED_TRACE(s.ToString() + " pruned tile " + std::to_string(pruned_tile));
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  std::uniform_real_distribution<float> dist(-1.0f, 1.0f);
  std::vector<float> filter(s.groups * s.group_output_channels * s.row_size());
  std::generate(filter.begin(), filter.end(), [&] { return dist(rng); });
  Prune(s, pruned_tile, rng, filter);
  std::vector<float> bias(s.groups * s.group_output_channels);
  std::generate(bias.begin(), bias.end(), [&] { return dist(rng); });
  // The dense kernels may read past the end; ours need no slack.
  std::vector<float> input(s.batch * s.height * s.width * s.input_stride());
  std::generate(input.begin(), input.end(), [&] { return dist(rng); });
  std::vector<float> padded_input(input);
  padded_input.resize(input.size() + XNN_EXTRA_BYTES / sizeof(float));

  ThreadpoolPtr threadpool(s.threads > 1 ? pthreadpool_create(s.threads) : nullptr, pthreadpool_destroy);
  const float* bias_data = s.bias ? bias.data() : nullptr;
  Created dense = Create(s, filter.data(), bias_data, /*nm=*/false);
  ASSERT_EQ(xnn_status_success, dense.status);
  Created sparse = Create(s, filter.data(), bias_data, /*nm=*/true);
  ASSERT_EQ(xnn_status_success, sparse.status);

  std::vector<float> dense_output, sparse_output;
  size_t dense_pixels = 0, sparse_pixels = 0;
  RunOperator(s, dense.op.get(), false, threadpool.get(), padded_input, &dense_output, &dense_pixels);
  RunOperator(s, sparse.op.get(), true, threadpool.get(), input, &sparse_output, &sparse_pixels);
  if (testing::Test::HasFatalFailure()) return;
  ASSERT_EQ(dense_pixels, sparse_pixels);
  CompareNhwc(s, dense_pixels, dense_output, sparse_output, /*magnitude=*/2.0);
}

}  // namespace

TEST(CONVOLUTION_NM_NHWC_F32, equals_dense_for_drawn_shapes) {
  xnnpack::ReplicableRandomDevice rng;
  const size_t num_layers = xnnpack::GetNumDrawnLayers(400, 30);
  ASSERT_NE(0u, num_layers);
  for (size_t i = 0; i < num_layers; i++) {
    const Shape shape = DrawShape(rng);
    TestEqualsDense(shape, shape.tile_height == 0 ? 32 : shape.tile_height, rng);
    if (HasFatalFailure()) return;
  }
}

TEST(CONVOLUTION_NM_NHWC_F32, equals_dense_for_resnet_shapes) {
  xnnpack::ReplicableRandomDevice rng;
  for (const size_t channels : xnnpack::kEmulated ? std::vector<size_t>{48} : std::vector<size_t>{64, 128}) {
    for (const uint32_t stride : {1, 2}) {
      for (const uint32_t kernel : {1, 3}) {
        Shape s;
        s.height = s.width = 14;
        s.kernel_height = s.kernel_width = kernel;
        s.top = s.right = s.bottom = s.left = kernel / 2;
        s.stride_height = s.stride_width = stride;
        s.group_input_channels = channels;
        s.group_output_channels = 2 * channels;
        s.tile_height = 32;
        s.min = 0.0f;
        TestEqualsDense(s, 32, rng);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(CONVOLUTION_NM_NHWC_F32, adds_a_residual_before_clamping) {
  xnnpack::ReplicableRandomDevice rng;
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  const size_t num_layers = xnnpack::GetNumDrawnLayers(50, 15);
  for (size_t i = 0; i < num_layers; i++) {
    const Shape shape = DrawShape(rng);
    SCOPED_TRACE(shape.ToString());
    std::uniform_real_distribution<float> dist(-1.0f, 1.0f);
    const auto random = [&](size_t size) {
      std::vector<float> values(size);
      std::generate(values.begin(), values.end(), [&] { return dist(rng); });
      return values;
    };
    std::vector<float> filter = random(shape.groups * shape.group_output_channels * shape.row_size());
    Prune(shape, 32, rng, filter);
    const std::vector<float> input =
      random(shape.batch * shape.height * shape.width * shape.input_stride() + XNN_EXTRA_BYTES / sizeof(float));
    Shape unclamped = shape;
    unclamped.min = -std::numeric_limits<float>::infinity();
    unclamped.max = std::numeric_limits<float>::infinity();
    Created dense = Create(unclamped, filter.data(), nullptr, /*nm=*/false);
    ASSERT_EQ(xnn_status_success, dense.status);
    Created sparse = Create(shape, filter.data(), nullptr, /*nm=*/true);
    ASSERT_EQ(xnn_status_success, sparse.status);
    ThreadpoolPtr threadpool(shape.threads > 1 ? pthreadpool_create(shape.threads) : nullptr, pthreadpool_destroy);
    std::vector<float> expected, output;
    size_t pixels = 0;
    RunOperator(shape, dense.op.get(), false, nullptr, input, &expected, &pixels);
    if (HasFatalFailure()) return;
    const std::vector<float> residual = random(expected.size());
    for (size_t j = 0; j < expected.size(); j++) {
      expected[j] = std::min(std::max(expected[j] + residual[j], shape.min), shape.max);
    }
    RunOperator(shape, sparse.op.get(), true, threadpool.get(), input, &output, &pixels, residual.data());
    if (HasFatalFailure()) return;
    CompareNhwc(shape, pixels, expected, output, /*magnitude=*/3.0);
    if (HasFatalFailure()) return;
  }
}

TEST(CONVOLUTION_NM_NHWC_F32, same_padding_with_a_stride_larger_than_the_kernel) {
  xnnpack::ReplicableRandomDevice rng;
  for (size_t width = 1; width <= 12; width++) {
    Shape s;
    s.same = true;
    s.height = 4;
    s.width = width;
    s.kernel_height = 1;
    s.kernel_width = 2;
    s.stride_height = s.stride_width = 3;
    s.group_input_channels = 3;
    s.group_output_channels = 40;
    TestEqualsDense(s, 8, rng);
    if (HasFatalFailure()) return;
  }
}

void* Refuse(void*, void*, size_t) { return nullptr; }

TEST(CONVOLUTION_NM_NHWC_F32, can_be_reshaped_again) {
  xnnpack::ReplicableRandomDevice rng;
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  Shape s;
  s.kernel_height = s.kernel_width = 3;
  s.top = s.left = s.bottom = s.right = 1;
  s.group_input_channels = 8;
  s.group_output_channels = 70;
  std::uniform_real_distribution<float> dist(-1.0f, 1.0f);
  std::vector<float> filter(s.group_output_channels * s.row_size());
  std::generate(filter.begin(), filter.end(), [&] { return dist(rng); });
  Prune(s, 16, rng, filter);
  Created dense = Create(s, filter.data(), nullptr, false);
  Created sparse = Create(s, filter.data(), nullptr, true);
  ASSERT_EQ(xnn_status_success, dense.status);
  ASSERT_EQ(xnn_status_success, sparse.status);
  for (const size_t size : {5, 13, 2, 1, 9}) {
    s.height = size;
    s.width = size + 1;
    std::vector<float> input(s.height * s.width * s.input_stride() + XNN_EXTRA_BYTES / sizeof(float));
    std::generate(input.begin(), input.end(), [&] { return dist(rng); });
    std::vector<float> dense_output, sparse_output;
    size_t dense_pixels = 0, sparse_pixels = 0;
    RunOperator(s, dense.op.get(), false, nullptr, input, &dense_output, &dense_pixels);
    // Not every allocator can reallocate: ONNX Runtime's cannot.
    const auto reallocate = std::exchange(xnn_params.allocator.reallocate, Refuse);
    RunOperator(s, sparse.op.get(), true, nullptr, input, &sparse_output, &sparse_pixels);
    xnn_params.allocator.reallocate = reallocate;
    if (HasFatalFailure()) return;
    CompareNhwc(s, dense_pixels, dense_output, sparse_output, 2.0);
  }
}

TEST(CONVOLUTION_NM_NHWC_F32, shares_packed_weights_through_a_cache) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  xnnpack::ReplicableRandomDevice rng;
  Shape s;
  s.kernel_height = s.kernel_width = 3;
  s.group_input_channels = 12;
  s.group_output_channels = 80;
  std::uniform_real_distribution<float> dist(-1.0f, 1.0f);
  std::vector<float> filter(s.group_output_channels * s.row_size());
  std::generate(filter.begin(), filter.end(), [&] { return dist(rng); });
  Prune(s, 16, rng, filter);
  std::vector<float> input(s.height * s.width * s.input_stride());
  std::generate(input.begin(), input.end(), [&] { return dist(rng); });

  xnn_weights_cache_t cache = nullptr;
  ASSERT_EQ(xnn_status_success, xnn_create_weights_cache(&cache));
  {
    Created alone = Create(s, filter.data(), nullptr, true);
    Created first = Create(s, filter.data(), nullptr, true, cache);
    Created second = Create(s, filter.data(), nullptr, true, cache);
    ASSERT_EQ(xnn_status_success, alone.status);
    ASSERT_EQ(xnn_status_success, first.status);
    ASSERT_EQ(xnn_status_success, second.status);
    ASSERT_EQ(xnn_status_success, xnn_finalize_weights_cache(cache, xnn_weights_cache_finalization_kind_hard));
    std::vector<float> expected, output;
    size_t pixels = 0;
    RunOperator(s, alone.op.get(), true, nullptr, input, &expected, &pixels);
    RunOperator(s, first.op.get(), true, nullptr, input, &output, &pixels);
    if (HasFatalFailure()) return;
    EXPECT_EQ(expected, output);
    RunOperator(s, second.op.get(), true, nullptr, input, &output, &pixels);
    if (HasFatalFailure()) return;
    EXPECT_EQ(expected, output);
  }
  xnn_delete_weights_cache(cache);
}

TEST(CONVOLUTION_NM_NHWC_F32, refuses_invalid_parameters) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  const std::vector<float> filter(64, 1.0f);
  const Shape valid;
  ASSERT_EQ(xnn_status_success, Create(valid, filter.data(), nullptr, true).status);
  const auto refused = [&](auto change) {
    Shape s = valid;
    change(s);
    return Create(s, filter.data(), nullptr, true).status;
  };
  EXPECT_EQ(xnn_status_invalid_parameter, refused([](Shape& s) { s.kernel_height = 0; }));
  EXPECT_EQ(xnn_status_invalid_parameter, refused([](Shape& s) { s.stride_width = 0; }));
  EXPECT_EQ(xnn_status_invalid_parameter, refused([](Shape& s) { s.dilation_width = 0; }));
  EXPECT_EQ(xnn_status_invalid_parameter, refused([](Shape& s) { s.groups = 0; }));
  EXPECT_EQ(xnn_status_invalid_parameter, refused([](Shape& s) { s.group_input_channels = 0; }));
  EXPECT_EQ(xnn_status_invalid_parameter, refused([](Shape& s) { s.group_output_channels = 0; }));
  EXPECT_EQ(xnn_status_invalid_parameter, refused([](Shape& s) { s.min = 1.0f; s.max = 0.0f; }));
  EXPECT_EQ(xnn_status_invalid_parameter, refused([](Shape& s) { s.min = kPoison; }));
  EXPECT_EQ(xnn_status_invalid_parameter, refused([](Shape& s) { s.same = true; s.top = 1; }));
  EXPECT_EQ(xnn_status_invalid_parameter, refused([](Shape& s) { s.input_stride_extra = SIZE_MAX; }));
  EXPECT_EQ(xnn_status_unsupported_parameter, refused([](Shape& s) { s.group_input_channels = SIZE_MAX / 2; }));
  EXPECT_EQ(xnn_status_unsupported_parameter, refused([](Shape& s) { s.kernel_height = s.kernel_width = UINT32_MAX; }));
}

TEST(CONVOLUTION_NM_NHWC_F32, refuses_images_that_overflow) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  const std::vector<float> filter(9, 1.0f);
  Shape s;
  s.kernel_height = s.kernel_width = 3;
  Created created = Create(s, filter.data(), nullptr, true);
  ASSERT_EQ(xnn_status_success, created.status);
  size_t workspace_size, workspace_alignment;
  const auto reshape = [&](size_t batch, size_t height, size_t width) {
    return xnn_reshape_convolution2d_nm_nhwc_f32(created.op.get(), batch, height, width, &workspace_size,
                                                 &workspace_alignment, nullptr, nullptr, nullptr);
  };
  EXPECT_EQ(xnn_status_invalid_parameter, reshape(1, 0, 5));
  EXPECT_EQ(xnn_status_invalid_parameter, reshape(1, 5, 0));
  EXPECT_EQ(xnn_status_invalid_parameter, reshape(1, 2, 5));
  EXPECT_EQ(xnn_status_success, reshape(0, 5, 5));
  EXPECT_EQ(xnn_status_unsupported_parameter, reshape(1, 5, SIZE_MAX / 2));
  EXPECT_EQ(xnn_status_unsupported_parameter, reshape(SIZE_MAX / 8, 5, 5));
  EXPECT_EQ(xnn_status_unsupported_parameter, reshape(1, 5, size_t{1} << 30));
  EXPECT_EQ(xnn_status_success, reshape(1, 5, 5));
}
