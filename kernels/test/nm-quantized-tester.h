// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Drawn quantized convolutions, and what XNNPACK's dense operator makes of them.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "xnnpack.h"
#include "nm-convolution-tester.h"
#include "replicable_random_device.h"

namespace xnnpack {

// What is quantized in a convolution.
struct Quantization {
  int8_t input_zero_point = 0, output_zero_point = 0;
  float input_scale = 1.0f, output_scale = 1.0f;
  std::vector<float> filter_scale;
  int8_t min = INT8_MIN, max = INT8_MAX;
};

struct Layer {
  Shape shape;
  Quantization quantization;
  std::vector<int8_t> input, filter;
  std::vector<int32_t> bias;
};

inline int8_t DrawByte(ReplicableRandomDevice& rng) { return static_cast<int8_t>(rng() % 256); }

inline Layer DrawLayer(const Shape& shape, ReplicableRandomDevice& rng) {
  Layer layer;
  layer.shape = shape;
  const size_t outputs = shape.groups * shape.group_output_channels;
  std::vector<float> pattern = Random(rng, outputs * shape.row_size());
  Prune(shape, Draw<size_t>(rng, 1, 40), rng, pattern);
  for (float value : pattern) layer.filter.push_back(static_cast<int8_t>(std::lrintf(127.0f * value)));
  const size_t inputs = shape.batch * shape.height * shape.width * shape.groups * shape.group_input_channels;
  for (size_t i = 0; i < inputs; i++) layer.input.push_back(DrawByte(rng));
  for (size_t i = 0; i < outputs; i++) layer.bias.push_back(static_cast<int32_t>(rng() % 20001) - 10000);
  Quantization& q = layer.quantization;
  q.input_zero_point = DrawByte(rng);
  q.output_zero_point = DrawByte(rng);
  q.input_scale = std::ldexp(1.0f + static_cast<float>(rng() % 1000) * 0.001f, -6);
  // Sums of the whole range of outputs, some clamped.
  q.output_scale = q.input_scale * std::sqrt(static_cast<float>(shape.row_size())) * 60.0f;
  for (size_t i = 0; i < outputs; i++) q.filter_scale.push_back(0.25f + static_cast<float>(rng() % 1000) * 0.001f);
  if (rng() % 3 == 0) {
    q.min = DrawByte(rng);
    q.max = DrawByte(rng);
    if (q.min > q.max) std::swap(q.min, q.max);
  }
  return layer;
}

inline xnn_status CreateDense(const Layer& layer, xnn_operator_t* op) {
  const Shape& s = layer.shape;
  const Quantization& q = layer.quantization;
  return xnn_create_convolution2d_nhwc_qs8_qc8w(
    s.top, s.right, s.bottom, s.left, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
    s.dilation_height, s.dilation_width, s.groups, s.group_input_channels, s.group_output_channels,
    s.groups * s.group_input_channels, s.groups * s.group_output_channels, q.input_zero_point, q.input_scale,
    q.filter_scale.data(), layer.filter.data(), s.bias ? layer.bias.data() : nullptr, q.output_zero_point,
    q.output_scale, q.min, q.max, s.flags(), nullptr, nullptr, op);
}

// Where an operator's workspace begins in memory of XNN_ALLOCATION_ALIGNMENT bytes more.
inline void* Align(std::vector<char>& memory) {
  const uintptr_t mask = XNN_ALLOCATION_ALIGNMENT - 1;
  return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory.data()) + mask) & ~mask);
}

inline std::vector<int8_t> RunDense(const Layer& layer) {
  const Shape& s = layer.shape;
  xnn_operator_t op = nullptr;
  EXPECT_EQ(xnn_status_success, CreateDense(layer, &op));
  OperatorPtr owner(op, xnn_delete_operator);
  size_t workspace_size = 0, alignment = 0, height = 0, width = 0;
  EXPECT_EQ(xnn_status_success, xnn_reshape_convolution2d_nhwc_qs8_qc8w(
    op, s.batch, s.height, s.width, &workspace_size, &alignment, &height, &width, nullptr));
  std::vector<int8_t> input = layer.input;
  input.resize(input.size() + XNN_EXTRA_BYTES);
  std::vector<int8_t> output(s.batch * height * width * s.groups * s.group_output_channels);
  std::vector<char> workspace(workspace_size + XNN_ALLOCATION_ALIGNMENT);
  EXPECT_EQ(xnn_status_success, xnn_setup_convolution2d_nhwc_qs8_qc8w(op, Align(workspace), input.data(), output.data()));
  EXPECT_EQ(xnn_status_success, xnn_run_operator(op, nullptr));
  return output;
}

// A layer whose sums do not fit 32 bits.
inline Layer DrawExtremeLayer(ReplicableRandomDevice& rng) {
  Shape shape;
  shape.group_input_channels = 37;
  shape.group_output_channels = 21;
  Layer layer = DrawLayer(shape, rng);
  std::fill(layer.input.begin(), layer.input.end(), INT8_MIN);
  // As TFLite has them: XNNPACK's dense kernels add products of two in 16 bits, where -128 might not fit.
  std::fill(layer.filter.begin(), layer.filter.end(), static_cast<int8_t>(-127));
  for (size_t i = 0; i < layer.bias.size(); i++) layer.bias[i] = i % 2 == 0 ? INT32_MAX : INT32_MIN;
  return layer;
}

// Layers with one hostile number each, and how their creation must fail.
struct Hostile {
  Layer layer;
  xnn_status status;
};

inline std::vector<Hostile> DrawHostileLayers(ReplicableRandomDevice& rng) {
  Shape shape;
  shape.group_output_channels = 3;
  const Layer good = DrawLayer(shape, rng);
  std::vector<Hostile> layers;
  for (float bad : {0.0f, -1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(),
                    1.0e-40f}) {
    for (size_t member = 0; member < 3; member++) {
      Layer layer = good;
      (member == 0   ? layer.quantization.input_scale
       : member == 1 ? layer.quantization.output_scale
                     : layer.quantization.filter_scale[2]) = bad;
      layers.push_back({layer, xnn_status_invalid_parameter});
    }
  }
  Layer large = good;
  large.quantization.input_scale = 1.0e6f;
  large.quantization.output_scale = 1.0f;
  layers.push_back({large, xnn_status_unsupported_parameter});
  Layer range = good;
  range.quantization.min = 5;
  range.quantization.max = 4;
  layers.push_back({range, xnn_status_invalid_parameter});
  return layers;
}

}  // namespace xnnpack
