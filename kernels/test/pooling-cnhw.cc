// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The pooling operators for CNHW images against the NHWC ones, for drawn shapes.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack/nm-pooling.h"
#include "xnnpack/common.h"
#include "xnnpack/operator-type.h"
#include "nm-convolution-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

using xnnpack::Draw;
using xnnpack::kPoison;
using xnnpack::OperatorPtr;
using xnnpack::Random;
using xnnpack::ReplicableRandomDevice;
using xnnpack::ThreadpoolPtr;
using xnnpack::Transpose;

namespace {

// Runs the NHWC pooling operator and returns its output.
std::vector<float> PoolNhwc(const xnn_pooling2d& p, bool max, size_t batch, size_t height, size_t width,
                            size_t channels, const std::vector<float>& input) {
  xnn_operator_t op = nullptr;
  size_t output_height = 0, output_width = 0;
  std::vector<float> padded(input);
  padded.resize(input.size() + XNN_EXTRA_BYTES / sizeof(float));
  std::vector<float> output;
  if (max) {
    EXPECT_EQ(xnn_status_success, xnn_create_max_pooling2d_nhwc_f32(
      p.padding_top, p.padding_right, p.padding_bottom, p.padding_left, p.pooling_height, p.pooling_width,
      p.stride_height, p.stride_width, p.dilation_height, p.dilation_width, p.output_min, p.output_max, p.flags, &op));
    OperatorPtr owner(op, xnn_delete_operator);
    EXPECT_EQ(xnn_status_success, xnn_reshape_max_pooling2d_nhwc_f32(
      op, batch, height, width, channels, channels, channels, &output_height, &output_width, nullptr));
    // Several passes read back what they wrote, and beyond.
    output.assign(batch * output_height * output_width * channels + XNN_EXTRA_BYTES / sizeof(float), kPoison);
    EXPECT_EQ(xnn_status_success, xnn_setup_max_pooling2d_nhwc_f32(op, padded.data(), output.data()));
    EXPECT_EQ(xnn_status_success, xnn_run_operator(op, nullptr));
    output.resize(batch * output_height * output_width * channels);
  } else {
    size_t workspace_size = 0, workspace_alignment = 0;
    EXPECT_EQ(xnn_status_success, xnn_create_average_pooling2d_nhwc_f32(
      p.padding_top, p.padding_right, p.padding_bottom, p.padding_left, p.pooling_height, p.pooling_width,
      p.stride_height, p.stride_width, p.output_min, p.output_max, p.flags, &op));
    OperatorPtr owner(op, xnn_delete_operator);
    EXPECT_EQ(xnn_status_success, xnn_reshape_average_pooling2d_nhwc_f32(
      op, batch, height, width, channels, channels, channels, &workspace_size, &workspace_alignment,
      &output_height, &output_width, nullptr));
    output.assign(batch * output_height * output_width * channels, kPoison);
    std::vector<float> workspace(workspace_size / sizeof(float) + 64);
    void* aligned = workspace.data();
    size_t space = workspace.size() * sizeof(float);
    if (workspace_size != 0) {
      EXPECT_NE(nullptr, std::align(workspace_alignment, workspace_size, aligned, space));
    }
    EXPECT_EQ(xnn_status_success,
              xnn_setup_average_pooling2d_nhwc_f32(op, aligned, padded.data(), output.data()));
    EXPECT_EQ(xnn_status_success, xnn_run_operator(op, nullptr));
  }
  return output;
}

bool HasFailed() { return testing::Test::HasFatalFailure() || testing::Test::HasNonfatalFailure(); }

}  // namespace

TEST(POOLING_CNHW_F32, equals_nhwc_for_drawn_shapes) {
  ReplicableRandomDevice rng;
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  const size_t num_layers = xnnpack::GetNumDrawnLayers(400, 30);
  ASSERT_NE(0u, num_layers);
  for (size_t i = 0; i < num_layers; i++) {
    const bool max = i % 2 == 0;
    xnn_pooling2d p = {};
    // The NHWC operators want at least two taps, and strides no larger than the window.
    p.pooling_height = Draw(rng, 1u, 4u);
    p.pooling_width = Draw(rng, 2u, 4u);
    p.stride_height = Draw(rng, 1u, p.pooling_height);
    p.stride_width = Draw(rng, 1u, p.pooling_width);
    p.dilation_height = p.dilation_width = 1;
    if (rng() % 2 == 0) {
      p.flags = XNN_FLAG_TENSORFLOW_SAME_PADDING;
    } else {
      p.padding_top = Draw(rng, 0u, p.pooling_height - 1);
      p.padding_bottom = Draw(rng, 0u, p.pooling_height - 1);
      p.padding_left = Draw(rng, 0u, p.pooling_width - 1);
      p.padding_right = Draw(rng, 0u, p.pooling_width - 1);
    }
    p.output_min = rng() % 2 == 0 ? -0.25f : -std::numeric_limits<float>::infinity();
    p.output_max = rng() % 2 == 0 ? 0.25f : std::numeric_limits<float>::infinity();
    const size_t batch = Draw<size_t>(rng, 1, 3), height = Draw<size_t>(rng, 4, 20), width = Draw<size_t>(rng, 4, 20);
    const size_t channels = Draw<size_t>(rng, 1, 40);
    SCOPED_TRACE(testing::Message() << (max ? "max " : "average ") << batch << "x" << height << "x" << width << "x"
                 << channels << " pooling " << p.pooling_height << "x" << p.pooling_width << " stride "
                 << p.stride_height << "x" << p.stride_width << " pad " << p.padding_top << "," << p.padding_right
                 << "," << p.padding_bottom << "," << p.padding_left << " flags " << p.flags);
    const std::vector<float> input = Random(rng, batch * height * width * channels);
    const std::vector<float> expected =
      Transpose(PoolNhwc(p, max, batch, height, width, channels, input), channels);
    if (HasFailed()) return;

    xnn_operator_t op = nullptr;
    ASSERT_EQ(xnn_status_success, xnn_create_pooling2d_cnhw(
      &p, max ? xnn_operator_type_max_pooling_cnhw_f32 : xnn_operator_type_average_pooling_cnhw_f32, &op));
    OperatorPtr owner(op, xnn_delete_operator);
    ThreadpoolPtr threadpool(rng() % 4 == 0 ? pthreadpool_create(3) : nullptr, pthreadpool_destroy);
    size_t output_height = 0, output_width = 0;
    ASSERT_EQ(xnn_status_success, xnn_reshape_pooling2d_cnhw(
      op, batch, height, width, channels, &output_height, &output_width, threadpool.get()));
    ASSERT_EQ(expected.size(), batch * output_height * output_width * channels);
    std::vector<float> output(expected.size(), kPoison);
    const std::vector<float> transposed = Transpose(input, channels);
    ASSERT_EQ(xnn_status_success, xnn_setup_pooling2d_cnhw(op, transposed.data(), output.data()));
    ASSERT_EQ(xnn_status_success, xnn_run_operator(op, threadpool.get()));
    for (size_t j = 0; j < output.size(); j++) {
      ASSERT_NEAR(expected[j], output[j], 1e-6) << "element " << j;
    }
  }
}

// Bytes, which no other order of taps changes; threads share the ends of strips.
TEST(MAX_POOLING_CNHW_S8, equals_nhwc_for_drawn_shapes) {
  ReplicableRandomDevice rng;
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  const size_t num_layers = xnnpack::GetNumDrawnLayers(400, 30);
  ASSERT_NE(0u, num_layers);
  for (size_t i = 0; i < num_layers; i++) {
    xnn_pooling2d p = {};
    p.pooling_height = Draw(rng, 1u, 4u);
    p.pooling_width = Draw(rng, 2u, 4u);
    // The NHWC operator wants strides no larger than the window.
    p.stride_height = Draw(rng, 1u, p.pooling_height);
    p.stride_width = Draw(rng, 1u, p.pooling_width);
    p.dilation_height = p.dilation_width = Draw(rng, 1u, 2u);
    p.padding_top = Draw(rng, 0u, p.pooling_height - 1);
    p.padding_bottom = Draw(rng, 0u, p.pooling_height - 1);
    p.padding_left = Draw(rng, 0u, p.pooling_width - 1);
    p.padding_right = Draw(rng, 0u, p.pooling_width - 1);
    const int8_t min = rng() % 2 == 0 ? -50 : INT8_MIN, max = rng() % 2 == 0 ? 60 : INT8_MAX;
    p.output_min = min;
    p.output_max = max;
    const size_t batch = Draw<size_t>(rng, 1, 3), height = Draw<size_t>(rng, 8, 20), width = Draw<size_t>(rng, 8, 40);
    const size_t channels = Draw<size_t>(rng, 1, 40);
    SCOPED_TRACE(testing::Message() << batch << "x" << height << "x" << width << "x" << channels << " pooling "
                 << p.pooling_height << "x" << p.pooling_width << " stride " << p.stride_height << "x" << p.stride_width
                 << " dilation " << p.dilation_height << " pad " << p.padding_top << "," << p.padding_right << ","
                 << p.padding_bottom << "," << p.padding_left << " range " << int{min} << "," << int{max});
    std::vector<int8_t> input(batch * height * width * channels + XNN_EXTRA_BYTES);
    for (int8_t& value : input) value = static_cast<int8_t>(rng() % 256);

    xnn_operator_t op = nullptr;
    size_t output_height = 0, output_width = 0;
    ASSERT_EQ(xnn_status_success, xnn_create_max_pooling2d_nhwc_s8(
      p.padding_top, p.padding_right, p.padding_bottom, p.padding_left, p.pooling_height, p.pooling_width,
      p.stride_height, p.stride_width, p.dilation_height, p.dilation_width, min, max, /*flags=*/0, &op));
    OperatorPtr nhwc(op, xnn_delete_operator);
    ASSERT_EQ(xnn_status_success, xnn_reshape_max_pooling2d_nhwc_s8(
      nhwc.get(), batch, height, width, channels, channels, channels, &output_height, &output_width, nullptr));
    const size_t size = batch * output_height * output_width * channels;
    std::vector<int8_t> expected(size + XNN_EXTRA_BYTES);
    ASSERT_EQ(xnn_status_success, xnn_setup_max_pooling2d_nhwc_s8(nhwc.get(), input.data(), expected.data()));
    ASSERT_EQ(xnn_status_success, xnn_run_operator(nhwc.get(), nullptr));
    expected.resize(size);

    ASSERT_EQ(xnn_status_success, xnn_create_pooling2d_cnhw(&p, xnn_operator_type_max_pooling_cnhw_s8, &op));
    OperatorPtr cnhw(op, xnn_delete_operator);
    ThreadpoolPtr threadpool(rng() % 8 == 0 ? pthreadpool_create(3) : nullptr, pthreadpool_destroy);
    ASSERT_EQ(xnn_status_success, xnn_reshape_pooling2d_cnhw(
      cnhw.get(), batch, height, width, channels, &output_height, &output_width, threadpool.get()));
    ASSERT_EQ(size, batch * output_height * output_width * channels);
    input.resize(input.size() - XNN_EXTRA_BYTES);
    std::vector<int8_t> transposed = Transpose(input, channels);
    transposed.resize(transposed.size() + XNN_EXTRA_BYTES);
    std::vector<int8_t> output(size);
    ASSERT_EQ(xnn_status_success, xnn_setup_pooling2d_cnhw(cnhw.get(), transposed.data(), output.data()));
    ASSERT_EQ(xnn_status_success, xnn_run_operator(cnhw.get(), threadpool.get()));
    ASSERT_EQ(Transpose(expected, channels), output);
  }
}
