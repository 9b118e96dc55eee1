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
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack-nm-operators.h"
#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nmconv.h"
#include "nm-convolution-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

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

void Compare(const Shape& s, size_t pixels, const std::vector<float>& dense, const std::vector<float>& sparse,
             double magnitude) {
  ASSERT_EQ(dense.size(), sparse.size());
  const double tolerance = magnitude * (s.row_size() + 2) * std::numeric_limits<float>::epsilon();
  for (size_t p = 0; p < pixels; p++) {
    for (size_t c = 0; c < s.output_stride(); c++) {
      const size_t i = p * s.output_stride() + c;
      if (c < s.groups * s.group_output_channels) {
        ASSERT_NEAR(dense[i], sparse[i], tolerance) << "pixel " << p << " channel " << c;
      } else {
        ASSERT_TRUE(std::isnan(sparse[i])) << "write between output pixels, pixel " << p << " channel " << c;
      }
    }
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
  Compare(s, dense_pixels, dense_output, sparse_output, /*magnitude=*/2.0);
}

}  // namespace

TEST(CONVOLUTION_NM_NHWC_F32, equals_dense_for_drawn_shapes) {
  xnnpack::ReplicableRandomDevice rng;
  const size_t num_layers = xnnpack::GetNumDrawnLayers(400, 60);
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
    Compare(shape, pixels, expected, output, /*magnitude=*/3.0);
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
    RunOperator(s, sparse.op.get(), true, nullptr, input, &sparse_output, &sparse_pixels);
    if (HasFatalFailure()) return;
    Compare(s, dense_pixels, dense_output, sparse_output, 2.0);
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

namespace {

// A graph of one convolution, and what its runtime says of it. Runs it, too, if there is an input.
xnn_nm_layer_info Inspect(const Shape& s, const std::vector<float>& filter, uint32_t runtime_flags,
                                const std::vector<float>* input = nullptr, std::vector<float>* output = nullptr) {
  xnn_subgraph_t subgraph = nullptr;
  EXPECT_EQ(xnn_status_success, xnn_create_subgraph(2, 0, &subgraph));
  const size_t input_dims[4] = {s.batch, s.height, s.width, s.groups * s.group_input_channels};
  const size_t output_dims[4] = {
    s.batch, s.height - s.kernel_height + 1, s.width - s.kernel_width + 1, s.groups * s.group_output_channels};
  const size_t filter_dims[4] = {
    s.groups * s.group_output_channels, s.kernel_height, s.kernel_width, s.group_input_channels};
  uint32_t input_id, output_id, filter_id;
  EXPECT_EQ(xnn_status_success, xnn_define_tensor_value(subgraph, xnn_datatype_fp32, 4, input_dims, nullptr, 0,
                                                        XNN_VALUE_FLAG_EXTERNAL_INPUT, &input_id));
  EXPECT_EQ(xnn_status_success, xnn_define_tensor_value(subgraph, xnn_datatype_fp32, 4, output_dims, nullptr, 1,
                                                        XNN_VALUE_FLAG_EXTERNAL_OUTPUT, &output_id));
  EXPECT_EQ(xnn_status_success, xnn_define_tensor_value(subgraph, xnn_datatype_fp32, 4, filter_dims, filter.data(),
                                                        XNN_INVALID_VALUE_ID, 0, &filter_id));
  EXPECT_EQ(xnn_status_success, xnn_define_convolution_2d(
    subgraph, 0, 0, 0, 0, s.kernel_height, s.kernel_width, 1, 1, 1, 1, s.groups, s.group_input_channels,
    s.group_output_channels, s.min, s.max, input_id, filter_id, XNN_INVALID_VALUE_ID, output_id, 0));
  xnn_runtime_t runtime = nullptr;
  EXPECT_EQ(xnn_status_success, xnn_create_runtime_v2(subgraph, nullptr, runtime_flags, &runtime));
  size_t count = 0;
  EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runtime, &count, nullptr));
  EXPECT_EQ(1, count);
  xnn_nm_layer_info info = {};
  EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runtime, &count, &info));
  EXPECT_EQ(filter_id, info.filter_id);
  if (input != nullptr) {
    output->assign(output_dims[0] * output_dims[1] * output_dims[2] * output_dims[3], kPoison);
    const xnn_external_value values[2] = {{0, const_cast<float*>(input->data())}, {1, output->data()}};
    EXPECT_EQ(xnn_status_success, xnn_setup_runtime(runtime, 2, values));
    EXPECT_EQ(xnn_status_success, xnn_invoke_runtime(runtime));
  }
  xnn_delete_runtime(runtime);
  xnn_delete_subgraph(subgraph);
  return info;
}

}  // namespace

TEST(CONVOLUTION_NM_NHWC_F32, graph_chooses_by_hint_and_weights) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  xnnpack::ReplicableRandomDevice rng;
  Shape s;
  s.kernel_height = s.kernel_width = 3;
  s.group_input_channels = 32;
  s.group_output_channels = 256;
  s.height = s.width = 24;
  std::vector<float> dense_filter(s.group_output_channels * s.row_size(), 0.5f);
  // Every channel keeps the same quarter of the columns: any tile of any hardware finds it.
  std::vector<float> pruned_filter(dense_filter);
  for (size_t i = 0; i < pruned_filter.size(); i++) {
    if (i % s.row_size() % 4 != 0) pruned_filter[i] = 0.0f;
  }

  EXPECT_EQ(xnn_nm_reason_disabled, Inspect(s, pruned_filter, 0).reason);
  EXPECT_EQ(xnn_nm_reason_chosen, Inspect(s, dense_filter, XNN_FLAG_FORCE_NM_SPARSE_INFERENCE).reason);
  // An unpruned filter stays dense, unless the IGEMM micro-kernel is known to be slow on this hardware.
  const xnn_nm_costs* costs = xnn_init_nm_costs();
  EXPECT_EQ(costs->igemm_percent > 1.2 * costs->nmconv_percent[0] ? xnn_nm_reason_chosen : xnn_nm_reason_too_dense,
            Inspect(s, dense_filter, XNN_FLAG_HINT_NM_SPARSE_INFERENCE).reason);
  // Channels that fit no dense tile change nothing.
  for (const size_t channels : {1, 8, 17, 33, 40, 65, 256}) {
    Shape odd = s;
    odd.kernel_height = odd.kernel_width = 1;
    odd.group_output_channels = channels;
    EXPECT_EQ(xnn_nm_reason_too_dense, Inspect(odd, dense_filter, XNN_FLAG_HINT_NM_SPARSE_INFERENCE).reason)
      << channels << " channels";
  }
  const xnn_nm_layer_info info = Inspect(s, pruned_filter, XNN_FLAG_HINT_NM_SPARSE_INFERENCE);
  EXPECT_EQ(xnn_nm_reason_chosen, info.reason);
  EXPECT_FLOAT_EQ(0.25f, info.element_density);
  EXPECT_FLOAT_EQ(0.25f, info.column_density);
  EXPECT_GT(info.tile_height, 0);
  EXPECT_GT(info.predicted_speedup, 1.5f);
  EXPECT_EQ(32, info.group_input_channels);
  EXPECT_EQ(256, info.group_output_channels);
  EXPECT_EQ(3, info.kernel_height);
}

TEST(CONVOLUTION_NM_NHWC_F32, graph_says_that_other_types_have_no_such_operator) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  const std::vector<int8_t> filter(64, 0);
  xnn_subgraph_t subgraph = nullptr;
  ASSERT_EQ(xnn_status_success, xnn_create_subgraph(2, 0, &subgraph));
  const size_t dims[4] = {1, 5, 5, 8};
  const size_t filter_dims[4] = {8, 1, 1, 8};
  uint32_t input, output, weights;
  ASSERT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(subgraph, xnn_datatype_qint8, 0, 1.0f, 4, dims, nullptr,
                                                                  0, XNN_VALUE_FLAG_EXTERNAL_INPUT, &input));
  ASSERT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(subgraph, xnn_datatype_qint8, 0, 1.0f, 4, dims, nullptr,
                                                                  1, XNN_VALUE_FLAG_EXTERNAL_OUTPUT, &output));
  ASSERT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(subgraph, xnn_datatype_qint8, 0, 1.0f, 4, filter_dims,
                                                                  filter.data(), XNN_INVALID_VALUE_ID, 0, &weights));
  ASSERT_EQ(xnn_status_success, xnn_define_convolution_2d(
    subgraph, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 8, 8, -std::numeric_limits<float>::infinity(),
    std::numeric_limits<float>::infinity(), input, weights, XNN_INVALID_VALUE_ID, output, 0));
  for (const uint32_t flags : {0, XNN_FLAG_HINT_NM_SPARSE_INFERENCE, XNN_FLAG_FORCE_NM_SPARSE_INFERENCE}) {
    xnn_runtime_t runtime = nullptr;
    ASSERT_EQ(xnn_status_success, xnn_create_runtime_v2(subgraph, nullptr, flags, &runtime));
    xnn_nm_layer_info info = {};
    size_t count = 1;
    EXPECT_EQ(xnn_status_success, xnn_get_runtime_nm_layer_info(runtime, &count, &info));
    EXPECT_EQ(xnn_nm_reason_datatype, info.reason);
    EXPECT_EQ(1.0f, info.column_density);
    xnn_delete_runtime(runtime);
  }
  xnn_delete_subgraph(subgraph);
}

TEST(CONVOLUTION_NM_NHWC_F32, small_images_gain_less) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  Shape s;
  s.group_input_channels = 16;
  s.group_output_channels = 32;
  std::vector<float> filter(s.group_output_channels * s.row_size(), 0.0f);
  for (size_t i = 0; i < filter.size(); i += 4) filter[i] = 0.5f;
  s.height = s.width = 64;
  const xnn_nm_layer_info large = Inspect(s, filter, XNN_FLAG_HINT_NM_SPARSE_INFERENCE);
  EXPECT_EQ(xnn_nm_reason_chosen, large.reason);
  s.height = s.width = 1;
  const xnn_nm_layer_info small = Inspect(s, filter, XNN_FLAG_HINT_NM_SPARSE_INFERENCE);
  EXPECT_LE(small.predicted_speedup, large.predicted_speedup);
  // Where it is known what an operator costs besides its weights, a pixel of few channels does not reward it.
  if (xnn_init_nm_costs()->nhwc_operator > 0.0f) {
    s.group_input_channels = 4;
    filter.resize(s.group_output_channels * s.row_size());
    const xnn_nm_layer_info small = Inspect(s, filter, XNN_FLAG_HINT_NM_SPARSE_INFERENCE);
    EXPECT_EQ(xnn_nm_reason_too_small, small.reason);
    EXPECT_STREQ(
      "the image is too small for what the zero columns save", xnn_nm_reason_to_string(small.reason));
  }
}

TEST(CONVOLUTION_NM_NHWC_F32, graph_computes_the_same_with_and_without_the_hint) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  xnnpack::ReplicableRandomDevice rng;
  Shape s;
  s.height = 9;
  s.width = 11;
  s.kernel_height = s.kernel_width = 3;
  s.group_input_channels = 24;
  s.group_output_channels = 256;
  s.min = 0.0f;
  std::uniform_real_distribution<float> dist(-1.0f, 1.0f);
  std::vector<float> filter(s.group_output_channels * s.row_size());
  for (size_t i = 0; i < filter.size(); i++) {
    filter[i] = i % s.row_size() % 4 == 1 ? dist(rng) : 0.0f;
  }
  std::vector<float> input(s.height * s.width * s.input_stride() + XNN_EXTRA_BYTES / sizeof(float));
  std::generate(input.begin(), input.end(), [&] { return dist(rng); });
  std::vector<float> dense, sparse;
  EXPECT_EQ(xnn_nm_reason_disabled, Inspect(s, filter, 0, &input, &dense).reason);
  EXPECT_EQ(xnn_nm_reason_chosen, Inspect(s, filter, XNN_FLAG_HINT_NM_SPARSE_INFERENCE, &input, &sparse).reason);
  Compare(s, dense.size() / s.output_stride(), dense, sparse, 2.0);
}
