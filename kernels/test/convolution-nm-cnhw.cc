// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The convolution operator for CNHW images against the NHWC one, for drawn shapes and patterns.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack-nm-operators.h"
#include "xnnpack/common.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-operator.h"
#include "nm-convolution-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

using xnnpack::DrawShape;
using xnnpack::kPoison;
using xnnpack::OperatorPtr;
using xnnpack::Prune;
using xnnpack::Random;
using xnnpack::ReplicableRandomDevice;
using xnnpack::Shape;
using xnnpack::ThreadpoolPtr;
using xnnpack::Transpose;

namespace {

// [channels][pixels] to bands of so many pixels; what the last band does not have is poisoned.
std::vector<float> ToBands(const std::vector<float>& in, size_t channels, size_t band_pixels) {
  const size_t pixels = in.size() / channels;
  std::vector<float> out((pixels + band_pixels - 1) / band_pixels * band_pixels * channels, kPoison);
  for (size_t c = 0; c < channels; c++) {
    for (size_t p = 0; p < pixels; p++) {
      out[(p / band_pixels * channels + c) * band_pixels + p % band_pixels] = in[c * pixels + p];
    }
  }
  return out;
}

// The other way.
std::vector<float> FromBands(const std::vector<float>& in, size_t channels, size_t pixels, size_t band_pixels) {
  std::vector<float> out(channels * pixels);
  for (size_t c = 0; c < channels; c++) {
    for (size_t p = 0; p < pixels; p++) {
      out[c * pixels + p] = in[(p / band_pixels * channels + c) * band_pixels + p % band_pixels];
    }
  }
  return out;
}

OperatorPtr CreateCnhw(const Shape& s, const float* filter, const float* bias, uint32_t flags, xnn_status* status,
                       xnn_weights_cache_t weights_cache = nullptr) {
  xnn_operator_t op = nullptr;
  *status = xnn_create_convolution2d_nm_cnhw_f32(
    s.top, s.right, s.bottom, s.left, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
    s.dilation_height, s.dilation_width, s.groups, s.group_input_channels, s.group_output_channels, filter, bias,
    s.min, s.max, s.flags() | flags, nullptr, weights_cache, &op);
  return OperatorPtr(op, xnn_delete_operator);
}

// The dense NHWC operator; residual may be empty. Returns the NHWC output, unclamped where there is a residual to add.
std::vector<float> Reference(const Shape& s, const std::vector<float>& filter, const float* bias,
                             const std::vector<float>& input, size_t* pixels) {
  xnn_operator_t op = nullptr;
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(xnn_status_success, xnn_create_convolution2d_nhwc_f32(
    s.top, s.right, s.bottom, s.left, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
    s.dilation_height, s.dilation_width, s.groups, s.group_input_channels, s.group_output_channels,
    s.groups * s.group_input_channels, s.groups * s.group_output_channels, filter.data(), bias, -infinity, infinity,
    s.flags(), nullptr, nullptr, &op));
  OperatorPtr owner(op, xnn_delete_operator);
  size_t workspace_size = 0, workspace_alignment = 0, height = 0, width = 0;
  EXPECT_EQ(xnn_status_success, xnn_reshape_convolution2d_nhwc_f32(
    op, s.batch, s.height, s.width, &workspace_size, &workspace_alignment, &height, &width, nullptr));
  *pixels = s.batch * height * width;
  std::vector<float> output(*pixels * s.groups * s.group_output_channels, kPoison);
  std::vector<float> padded(input);
  padded.resize(input.size() + XNN_EXTRA_BYTES / sizeof(float));
  std::vector<float> workspace(workspace_size / sizeof(float) + 1);
  EXPECT_EQ(xnn_status_success, xnn_setup_convolution2d_nhwc_f32(op, workspace.data(), padded.data(), output.data()));
  EXPECT_EQ(xnn_status_success, xnn_run_operator(op, nullptr));
  return output;
}

// Runs on exactly sized, poisoned memory, with guards around the workspace.
void RunCnhw(const Shape& s, xnn_operator_t op, const std::vector<float>& input, const float* residual,
             pthreadpool_t threadpool, std::vector<float>* output) {
  size_t workspace_size = 0, workspace_alignment = 0, height = 0, width = 0;
  ASSERT_EQ(xnn_status_success, xnn_reshape_convolution2d_nm_cnhw_f32(
    op, s.batch, s.height, s.width, &workspace_size, &workspace_alignment, &height, &width, threadpool));
  ASSERT_LE(workspace_size, pthreadpool_get_threads_count(threadpool) * 2 * static_cast<size_t>(xnn_init_nm_costs()->strips_size));
  if (output->empty()) {
    output->assign(s.batch * height * width * s.groups * s.group_output_channels, kPoison);
  }
  constexpr size_t kGuards = 64;
  std::vector<float> workspace(workspace_size / sizeof(float) + 2 * kGuards + 64, kPoison);
  void* aligned = workspace.data() + kGuards;
  size_t space = (workspace.size() - kGuards) * sizeof(float);
  if (workspace_size != 0) {
    ASSERT_NE(nullptr, std::align(workspace_alignment, workspace_size, aligned, space));
  }
  ASSERT_EQ(xnn_status_success,
            xnn_setup_convolution2d_nm_cnhw_f32(op, aligned, input.data(), residual, output->data()));
  ASSERT_EQ(xnn_status_success, xnn_run_operator(op, threadpool));
  for (const float* guard = workspace.data(); guard < aligned; guard++) {
    ASSERT_TRUE(std::isnan(*guard)) << "write before the workspace";
  }
  for (const float* guard = reinterpret_cast<float*>(reinterpret_cast<uintptr_t>(aligned) + workspace_size);
       guard < workspace.data() + workspace.size(); guard++) {
    ASSERT_TRUE(std::isnan(*guard)) << "write after the workspace";
  }
}

struct Variant {
  bool residual = false;
  bool residual_is_output = false;
  bool nhwc_input = false;
  bool input_bands = false;
  bool output_bands = false;
};

void TestEqualsNhwc(const Shape& s, size_t pruned_tile, const Variant& variant, ReplicableRandomDevice& rng) {
  SCOPED_TRACE(s.ToString() + " pruned tile " + std::to_string(pruned_tile) +
               (variant.residual ? variant.residual_is_output ? " onto output" : " residual" : "") +
               (variant.nhwc_input ? " NHWC input" : "") + (variant.input_bands ? " input in bands" : "") +
               (variant.output_bands ? " output in bands" : ""));
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  std::vector<float> filter = Random(rng, s.groups * s.group_output_channels * s.row_size());
  if (pruned_tile != 0) {
    Prune(s, pruned_tile, rng, filter);
  }
  const size_t output_channels = s.groups * s.group_output_channels;
  const std::vector<float> bias = Random(rng, output_channels);
  const std::vector<float> input = Random(rng, s.batch * s.height * s.width * s.groups * s.group_input_channels);
  const float* bias_data = s.bias ? bias.data() : nullptr;
  size_t pixels = 0;
  std::vector<float> expected = Transpose(Reference(s, filter, bias_data, input, &pixels), output_channels);
  if (testing::Test::HasFatalFailure()) return;
  const std::vector<float> residual = Random(rng, expected.size());
  for (size_t i = 0; i < expected.size(); i++) {
    expected[i] += variant.residual ? residual[i] : 0.0f;
    expected[i] = std::min(std::max(expected[i], s.min), s.max);
  }

  xnn_status status;
  const uint32_t flags = (variant.nhwc_input ? XNN_FLAG_INPUT_NHWC : 0) |
    (variant.input_bands ? XNN_FLAG_INPUT_BANDS : 0) | (variant.output_bands ? XNN_FLAG_OUTPUT_BANDS : 0);
  const OperatorPtr op = CreateCnhw(s, filter.data(), bias_data, flags, &status);
  ASSERT_EQ(xnn_status_success, status);
  ThreadpoolPtr threadpool(s.threads > 1 ? pthreadpool_create(s.threads) : nullptr, pthreadpool_destroy);
  const size_t input_channels = s.groups * s.group_input_channels;
  const size_t input_pixels = s.batch * s.height * s.width;
  const size_t input_band_pixels =
    variant.input_bands ? xnn_get_nmspmm_band_pixels(input_pixels, s.threads) : input_pixels;
  const size_t band_pixels = variant.output_bands ? xnn_get_nmspmm_band_pixels(pixels, s.threads) : pixels;
  const std::vector<float> banded_residual = ToBands(residual, output_channels, band_pixels);
  const float* residual_data = variant.residual ? banded_residual.data() : nullptr;
  std::vector<float> output(banded_residual.size(), kPoison);
  if (variant.residual_is_output) {
    output = banded_residual;
    residual_data = output.data();
  }
  RunCnhw(s, op.get(),
          variant.nhwc_input ? input : ToBands(Transpose(input, input_channels), input_channels, input_band_pixels),
          residual_data, threadpool.get(), &output);
  if (testing::Test::HasFatalFailure()) return;
  output = FromBands(output, output_channels, pixels, band_pixels);
  ASSERT_EQ(expected.size(), output.size());
  const double tolerance = 2.0 * (s.row_size() + 3) * std::numeric_limits<float>::epsilon();
  for (size_t i = 0; i < output.size(); i++) {
    ASSERT_NEAR(expected[i], output[i], tolerance) << "channel " << i / pixels << " pixel " << i % pixels;
  }
}

static bool HasFailed() { return testing::Test::HasFatalFailure() || testing::Test::HasNonfatalFailure(); }

}  // namespace

TEST(CONVOLUTION_NM_CNHW_F32, equals_nhwc_for_drawn_shapes) {
  ReplicableRandomDevice rng;
  constexpr size_t kTiles[] = {0, 1, 4, 6, 8, 32};
  const size_t num_layers = xnnpack::GetNumDrawnLayers(400, 30);
  ASSERT_NE(0u, num_layers);
  for (size_t i = 0; i < num_layers; i++) {
    const Shape shape = DrawShape(rng);
    Variant variant;
    variant.nhwc_input = rng() % 4 == 0;
    variant.residual = rng() % 2 == 0;
    variant.residual_is_output = variant.residual && rng() % 2 == 0;
    TestEqualsNhwc(shape, kTiles[rng() % 6], variant, rng);
    if (HasFailed()) return;
  }
}

TEST(CONVOLUTION_NM_CNHW_F32, equals_nhwc_for_resnet_shapes) {
  ReplicableRandomDevice rng;
  for (const size_t size : xnnpack::kEmulated ? std::vector<size_t>{7, 14} : std::vector<size_t>{7, 14, 28}) {
    for (const uint32_t stride : {1, 2}) {
      for (const uint32_t kernel : {1, 3}) {
        for (const size_t tile : {0, 8, 32}) {
          Shape s;
          s.height = s.width = size;
          s.kernel_height = s.kernel_width = kernel;
          s.top = s.right = s.bottom = s.left = kernel / 2;
          s.stride_height = s.stride_width = stride;
          s.group_input_channels = 40;
          s.group_output_channels = 64;
          s.min = 0.0f;
          TestEqualsNhwc(s, tile, Variant{stride == 1, false, false}, rng);
          if (HasFailed()) return;
        }
      }
    }
  }
}

TEST(CONVOLUTION_NM_CNHW_F32, equals_nhwc_where_columns_are_packed_in_parts) {
  ReplicableRandomDevice rng;
  for (const size_t threads : {1, 3}) {
    for (const size_t tile : {0, 8}) {
      Shape s;
      s.height = s.width = 5;
      s.kernel_height = s.kernel_width = 5;
      s.same = true;
      // Strips of 8 floats and more: beyond 256 KiB.
      s.group_input_channels = 350;
      s.group_output_channels = 17;
      s.min = -3.0f;
      s.max = 3.0f;
      s.threads = threads;
      TestEqualsNhwc(s, tile, Variant{threads == 1, false, false}, rng);
      if (HasFailed()) return;
    }
  }
}

TEST(CONVOLUTION_NM_CNHW_F32, equals_nhwc_however_threads_share_the_work) {
  ReplicableRandomDevice rng;
  struct Work {
    size_t size;
    uint32_t kernel;
    size_t input_channels;
  };
  // Shared rows of a small image, pixels of one that fills a cache or exceeds it, and few packed strips.
  std::vector<Work> works = {{7, 1, 96}, {14, 1, 60}, {7, 3, 40}, {14, 3, 24}};
  if (!xnnpack::kEmulated) {
    works.push_back({70, 1, 40});
    works.push_back({70, 1, 80});
  }
  for (const Work& work : works) {
    for (const size_t threads : {2, 3, 5, 16}) {
      Shape s;
      s.height = s.width = work.size;
      s.kernel_height = s.kernel_width = work.kernel;
      s.top = s.right = s.bottom = s.left = work.kernel / 2;
      s.group_input_channels = work.input_channels;
      s.group_output_channels = 50;
      s.max = 1.0f;
      s.threads = threads;
      TestEqualsNhwc(s, 8, Variant{threads == 3, false, false}, rng);
      if (HasFailed()) return;
    }
  }
}

TEST(CONVOLUTION_NM_CNHW_F32, equals_nhwc_in_bands) {
  ReplicableRandomDevice rng;
  size_t num_banded = 0;
  const uint32_t max_channels = xnnpack::kEmulated ? 24 : 60;
  for (const size_t size : xnnpack::kEmulated ? std::vector<size_t>{14, 17} : std::vector<size_t>{14, 17, 28, 40}) {
    for (const size_t threads : {2, 3, 7}) {
      for (const bool output_bands : {false, true}) {
        for (const uint32_t variant : {0, 1, 2, 3}) {
          Shape s;
          s.batch = 1 + rng() % 2;
          s.height = size;
          s.width = size + rng() % 2;
          // In place; packed in every second row and column; with neighbours; in two groups.
          s.kernel_height = s.kernel_width = variant < 2 ? 1 : 3;
          s.stride_height = s.stride_width = variant == 1 ? 2 : 1;
          s.same = variant >= 2;
          s.groups = variant == 3 ? 2 : 1;
          s.group_input_channels = 1 + rng() % max_channels;
          s.group_output_channels = 1 + rng() % max_channels;
          s.min = -1.0f;
          s.threads = threads;
          const bool residual = rng() % 2 == 0;
          const size_t pixels = s.batch * s.height * s.width;
          num_banded += xnn_get_nmspmm_band_pixels(pixels, threads) != pixels;
          const bool residual_is_output = residual && rng() % 2 == 0;
          TestEqualsNhwc(s, rng() % 2 * 8, Variant{residual, residual_is_output, false, variant < 2, output_bands}, rng);
          if (HasFailed()) return;
        }
      }
    }
  }
  EXPECT_GT(num_banded, 10u);
}

TEST(CONVOLUTION_NM_CNHW_F32, refuses_to_read_bands_with_neighbours_or_groups) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  const std::vector<float> filter(4 * 9, 1.0f);
  for (const size_t variant : {0, 1, 2, 3}) {
    Shape s;
    s.kernel_width = variant == 1 ? 3 : 1;
    s.left = variant == 2 ? 1 : 0;
    s.groups = variant == 3 ? 2 : 1;
    xnn_status status;
    CreateCnhw(s, filter.data(), nullptr, XNN_FLAG_INPUT_BANDS, &status);
    EXPECT_EQ(variant == 0 ? xnn_status_success : xnn_status_invalid_parameter, status) << variant;
  }
  Shape s;
  xnn_status status;
  CreateCnhw(s, filter.data(), nullptr, XNN_FLAG_INPUT_BANDS | XNN_FLAG_INPUT_NHWC, &status);
  EXPECT_EQ(xnn_status_invalid_parameter, status);
}

TEST(CONVOLUTION_NM_CNHW_F32, bands_have_whole_cache_lines_and_cover_the_image) {
  for (size_t pixels = 0; pixels < 2000; pixels++) {
    EXPECT_EQ(pixels, xnn_get_nmspmm_band_pixels(pixels, 1));
    for (const size_t threads : {2, 3, 5, 16, 1000}) {
      const size_t band = xnn_get_nmspmm_band_pixels(pixels, threads);
      if (band != pixels) {
        ASSERT_EQ(0u, band % 16) << pixels << " pixels, " << threads << " threads";
        ASSERT_GE(band * threads, pixels) << pixels << " pixels, " << threads << " threads";
        ASSERT_GE(pixels, band * (threads - 1) + band / 2) << pixels << " pixels, " << threads << " threads";
      }
    }
  }
}

TEST(CONVOLUTION_NM_CNHW_F32, can_be_reshaped_again) {
  ReplicableRandomDevice rng;
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  Shape s;
  s.kernel_height = s.kernel_width = 3;
  s.top = s.left = s.bottom = s.right = 1;
  s.group_input_channels = 8;
  s.group_output_channels = 70;
  std::vector<float> filter = Random(rng, s.group_output_channels * s.row_size());
  Prune(s, 16, rng, filter);
  xnn_status status;
  const OperatorPtr op = CreateCnhw(s, filter.data(), nullptr, 0, &status);
  ASSERT_EQ(xnn_status_success, status);
  for (const size_t size : {5, 13, 2, 1, 9}) {
    s.height = size;
    s.width = size + 1;
    const std::vector<float> input = Random(rng, s.height * s.width * s.group_input_channels);
    size_t pixels = 0;
    const std::vector<float> expected =
      Transpose(Reference(s, filter, nullptr, input, &pixels), s.group_output_channels);
    std::vector<float> output;
    RunCnhw(s, op.get(), Transpose(input, s.group_input_channels), nullptr, nullptr, &output);
    if (HasFailed()) return;
    for (size_t i = 0; i < output.size(); i++) {
      ASSERT_NEAR(expected[i], output[i], 1e-4) << size << " " << i;
    }
  }
}

TEST(CONVOLUTION_NM_CNHW_F32, shares_packed_weights_through_a_cache) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  ReplicableRandomDevice rng;
  Shape s;
  s.kernel_height = s.kernel_width = 3;
  s.group_input_channels = 12;
  s.group_output_channels = 80;
  std::vector<float> filter = Random(rng, s.group_output_channels * s.row_size());
  Prune(s, 16, rng, filter);
  const std::vector<float> input = Random(rng, s.height * s.width * s.group_input_channels);
  xnn_weights_cache_t cache = nullptr;
  ASSERT_EQ(xnn_status_success, xnn_create_weights_cache(&cache));
  {
    xnn_status status;
    const OperatorPtr alone = CreateCnhw(s, filter.data(), nullptr, 0, &status);
    ASSERT_EQ(xnn_status_success, status);
    const OperatorPtr first = CreateCnhw(s, filter.data(), nullptr, 0, &status, cache);
    ASSERT_EQ(xnn_status_success, status);
    const OperatorPtr second = CreateCnhw(s, filter.data(), nullptr, 0, &status, cache);
    ASSERT_EQ(xnn_status_success, status);
    ASSERT_EQ(xnn_status_success, xnn_finalize_weights_cache(cache, xnn_weights_cache_finalization_kind_hard));
    std::vector<float> expected;
    RunCnhw(s, alone.get(), input, nullptr, nullptr, &expected);
    for (const xnn_operator_t op : {first.get(), second.get()}) {
      std::vector<float> output;
      RunCnhw(s, op, input, nullptr, nullptr, &output);
      if (HasFailed()) return;
      EXPECT_EQ(expected, output);
    }
  }
  xnn_delete_weights_cache(cache);
}

TEST(CONVOLUTION_NM_CNHW_F32, cuts_rows_where_their_columns_change) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  // Tiles of 3, 5 and 4 rows: no block spans two, so that no zero is multiplied.
  constexpr size_t kRowSize = 100;
  std::vector<float> filter(12 * kRowSize);
  size_t weights = 0;
  for (size_t row = 0; row < 12; row++) {
    const size_t tile = row < 3 ? 0 : row < 8 ? 1 : 2;
    for (size_t k = tile; k < kRowSize; k += 3) {
      filter[row * kRowSize + k] = 1.0f;
      weights += 1;
    }
  }
  xnn_nm_layer layer = {};
  layer.datatype = &xnn_nm_f32;
  layer.kernel_height = layer.kernel_width = layer.stride_height = layer.stride_width = 1;
  layer.groups = 1;
  layer.group_input_channels = kRowSize;
  layer.group_output_channels = 12;
  layer.filter.data = filter.data();
  xnn_nm_zeros zeros;
  ASSERT_EQ(xnn_status_success, xnn_find_nm_zeros(&layer, &zeros));
  EXPECT_EQ(weights, zeros.num_nonzeroes);
  xnn_nmspmm_analysis analysis;
  ASSERT_EQ(xnn_status_success, xnn_analyze_nmspmm(&layer, &zeros, xnn_init_nm_costs(), /*only=*/nullptr, &analysis));
  EXPECT_EQ(weights, analysis.num_weights);
  EXPECT_EQ(kRowSize, analysis.num_packed);
  EXPECT_FALSE(analysis.dense);
  size_t num_rows = 0;
  for (size_t i = 0; i < analysis.num_blocks; i++) {
    num_rows += analysis.block_rows[i];
  }
  EXPECT_EQ(12, num_rows);
  xnn_release_nmspmm_analysis(&analysis);
  xnn_release_nm_zeros(&zeros);
}

TEST(CONVOLUTION_NM_CNHW_F32, refuses_images_that_overflow) {
  ASSERT_EQ(xnn_status_success, xnn_initialize(nullptr));
  const std::vector<float> filter(9, 1.0f);
  Shape s;
  s.kernel_height = s.kernel_width = 3;
  xnn_status status;
  const OperatorPtr op = CreateCnhw(s, filter.data(), nullptr, 0, &status);
  ASSERT_EQ(xnn_status_success, status);
  size_t workspace_size, workspace_alignment;
  const auto reshape = [&](size_t batch, size_t height, size_t width) {
    return xnn_reshape_convolution2d_nm_cnhw_f32(op.get(), batch, height, width, &workspace_size,
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
  Shape padded = s;
  padded.top = padded.left = UINT32_MAX / 2;
  const OperatorPtr absurd = CreateCnhw(padded, filter.data(), nullptr, 0, &status);
  ASSERT_EQ(xnn_status_success, status);
  EXPECT_EQ(xnn_status_unsupported_parameter, xnn_reshape_convolution2d_nm_cnhw_f32(
    absurd.get(), 1, 5, 5, &workspace_size, &workspace_alignment, nullptr, nullptr, nullptr));
}
