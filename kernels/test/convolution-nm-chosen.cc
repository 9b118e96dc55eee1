// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What a graph of one convolution runs on, and why.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/nm-costs.h"
#include "nm-convolution-tester.h"
#include "replicable_random_device.h"

using xnnpack::CompareNhwc;
using xnnpack::kPoison;
using xnnpack::Shape;

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

// Of how many columns one is kept so that it is worth it on this hardware: of more where micro-kernels of ours are scalar
// and dense ones are not.
size_t Period() { return xnn_init_nm_costs()->nmconv_percent[0] < 200.0f ? 4 : 16; }

}  // namespace

TEST(CONVOLUTION_NM_CHOSEN_F32, chooses_by_hint_and_weights) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  xnnpack::ReplicableRandomDevice rng;
  Shape s;
  s.kernel_height = s.kernel_width = 3;
  s.group_input_channels = 32;
  s.group_output_channels = 256;
  s.height = s.width = 24;
  std::vector<float> dense_filter(s.group_output_channels * s.row_size(), 0.5f);
  // Every channel keeps the same columns: any tile of any hardware finds it.
  std::vector<float> pruned_filter(dense_filter);
  for (size_t i = 0; i < pruned_filter.size(); i++) {
    if (i % s.row_size() % Period() != 0) pruned_filter[i] = 0.0f;
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
  EXPECT_FLOAT_EQ(1.0f / Period(), info.element_density);
  EXPECT_FLOAT_EQ(1.0f / Period(), info.column_density);
  EXPECT_GT(info.tile_height, 0);
  EXPECT_GT(info.predicted_speedup, 1.5f);
  EXPECT_EQ(32, info.group_input_channels);
  EXPECT_EQ(256, info.group_output_channels);
  EXPECT_EQ(3, info.kernel_height);
}

TEST(CONVOLUTION_NM_CHOSEN_F32, says_that_other_types_have_no_such_operator) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  const std::vector<int8_t> filter(64, 0);
  xnn_subgraph_t subgraph = nullptr;
  ASSERT_EQ(xnn_status_success, xnn_create_subgraph(2, 0, &subgraph));
  const size_t dims[4] = {1, 5, 5, 8};
  const size_t filter_dims[4] = {8, 1, 1, 8};
  uint32_t input, output, weights;
  ASSERT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(subgraph, xnn_datatype_quint8, 0, 1.0f, 4, dims, nullptr,
                                                                  0, XNN_VALUE_FLAG_EXTERNAL_INPUT, &input));
  ASSERT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(subgraph, xnn_datatype_quint8, 0, 1.0f, 4, dims, nullptr,
                                                                  1, XNN_VALUE_FLAG_EXTERNAL_OUTPUT, &output));
  ASSERT_EQ(xnn_status_success, xnn_define_quantized_tensor_value(subgraph, xnn_datatype_quint8, 0, 1.0f, 4, filter_dims,
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

TEST(CONVOLUTION_NM_CHOSEN_F32, small_images_gain_less) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  Shape s;
  s.group_input_channels = 4 * Period();
  s.group_output_channels = 32;
  std::vector<float> filter(s.group_output_channels * s.row_size(), 0.0f);
  for (size_t i = 0; i < filter.size(); i += Period()) filter[i] = 0.5f;
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

TEST(CONVOLUTION_NM_CHOSEN_F32, computes_the_same_with_and_without_the_hint) {
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
    filter[i] = i % s.row_size() % Period() == 1 ? dist(rng) : 0.0f;
  }
  std::vector<float> input(s.height * s.width * s.input_stride() + XNN_EXTRA_BYTES / sizeof(float));
  std::generate(input.begin(), input.end(), [&] { return dist(rng); });
  std::vector<float> dense, sparse;
  EXPECT_EQ(xnn_nm_reason_disabled, Inspect(s, filter, 0, &input, &dense).reason);
  EXPECT_EQ(xnn_nm_reason_chosen, Inspect(s, filter, XNN_FLAG_HINT_NM_SPARSE_INFERENCE, &input, &sparse).reason);
  CompareNhwc(s, dense.size() / s.output_stride(), dense, sparse, 2.0);
}
