// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Drawn shapes and patterns for the tests of N:M convolution operators.

#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack/common.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

namespace xnnpack {

using OperatorPtr = std::unique_ptr<xnn_operator, decltype(&xnn_delete_operator)>;
using ThreadpoolPtr = std::unique_ptr<pthreadpool, decltype(&pthreadpool_destroy)>;

constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();

// A convolution.
struct Shape {
  size_t batch = 1, height = 5, width = 5;
  uint32_t top = 0, right = 0, bottom = 0, left = 0;
  bool same = false;
  uint32_t kernel_height = 1, kernel_width = 1;
  uint32_t stride_height = 1, stride_width = 1;
  uint32_t dilation_height = 1, dilation_width = 1;
  uint32_t groups = 1;
  size_t group_input_channels = 1, group_output_channels = 1;
  size_t input_stride_extra = 0, output_stride_extra = 0;
  size_t tile_height = 0;
  float min = -std::numeric_limits<float>::infinity();
  float max = std::numeric_limits<float>::infinity();
  bool bias = true;
  size_t threads = 1;

  size_t input_stride() const { return groups * group_input_channels + input_stride_extra; }
  size_t output_stride() const { return groups * group_output_channels + output_stride_extra; }
  size_t row_size() const { return size_t{kernel_height} * kernel_width * group_input_channels; }
  uint32_t flags() const { return same ? XNN_FLAG_TENSORFLOW_SAME_PADDING : 0; }

  std::string ToString() const {
    std::ostringstream s;
    s << batch << "x" << height << "x" << width << " pad " << top << "," << right << "," << bottom << "," << left
      << (same ? " SAME" : "") << " kernel " << kernel_height << "x" << kernel_width
      << " stride " << stride_height << "x" << stride_width << " dilation " << dilation_height << "x" << dilation_width
      << " groups " << groups << " channels " << group_input_channels << "->" << group_output_channels
      << " extra strides " << input_stride_extra << "," << output_stride_extra << " tile " << tile_height
      << " threads " << threads;
    return s.str();
  }
};

// NHWC images of a shape, equal but for the rounding of sums of numbers up to so large; between pixels is poison still.
inline void CompareNhwc(const Shape& s, size_t pixels, const std::vector<float>& dense, const std::vector<float>& sparse,
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

// Under an emulator, but at several vector lengths.
constexpr bool kEmulated = XNN_ARCH_RISCV;

// Layers to draw: so many, or as many as XNNPACK_TEST_DRAWN_LAYERS says.
inline size_t GetNumDrawnLayers(size_t usual = 400, size_t emulated = 12) {
  const char* said = std::getenv("XNNPACK_TEST_DRAWN_LAYERS");
  return said != nullptr ? std::strtoul(said, nullptr, 10) : kEmulated ? emulated : usual;
}

// Zeroes whole columns of tiles of consecutive output channels, a different density in each.
inline void Prune(const Shape& shape, size_t tile, ReplicableRandomDevice& rng, std::vector<float>& filter) {
  const size_t row_size = shape.row_size();
  for (size_t g = 0; g < shape.groups; g++) {
    size_t index = 0;
    for (size_t oc = 0; oc < shape.group_output_channels; oc += tile, index++) {
      // The first tile is all zero, the second all dense, the others between.
      const uint32_t kept_percent = index == 0 ? 0 : index == 1 ? 100 : rng() % 101;
      for (size_t k = 0; k < row_size; k++) {
        if (rng() % 100 >= kept_percent) {
          for (size_t row = oc; row < std::min(oc + tile, shape.group_output_channels); row++) {
            filter[(g * shape.group_output_channels + row) * row_size + k] = 0.0f;
          }
        }
      }
    }
  }
}

template <class T>
T Draw(ReplicableRandomDevice& rng, T low, T high) {
  return std::uniform_int_distribution<T>(low, high)(rng);
}

inline Shape DrawShape(ReplicableRandomDevice& rng) {
  Shape s;
  s.batch = Draw<size_t>(rng, 1, 3);
  s.height = Draw<size_t>(rng, 1, 17);
  s.width = Draw<size_t>(rng, 1, 17);
  s.kernel_height = Draw(rng, 1u, 5u);
  s.kernel_width = Draw(rng, 1u, 5u);
  s.stride_height = Draw(rng, 1u, 4u);
  s.stride_width = Draw(rng, 1u, 4u);
  s.dilation_height = Draw(rng, 1u, 3u);
  s.dilation_width = Draw(rng, 1u, 3u);
  s.groups = rng() % 4 == 0 ? Draw(rng, 2u, 4u) : 1;
  s.group_input_channels = Draw<size_t>(rng, 1, 19);
  s.group_output_channels = Draw<size_t>(rng, 1, 150);
  if (rng() % 3 == 0) {
    s.same = true;
  } else if (rng() % 2 == 0) {
    s.top = Draw(rng, 0u, 4u);
    s.right = Draw(rng, 0u, 4u);
    s.bottom = Draw(rng, 0u, 4u);
    s.left = Draw(rng, 0u, 4u);
  }
  // Operators refuse images that are smaller than the kernel.
  if (!s.same) {
    s.height = std::max<size_t>(s.height, (s.kernel_height - 1) * s.dilation_height + 1);
    s.width = std::max<size_t>(s.width, (s.kernel_width - 1) * s.dilation_width + 1);
  }
  if (rng() % 3 == 0) {
    s.input_stride_extra = Draw<size_t>(rng, 1, 5);
    s.output_stride_extra = Draw<size_t>(rng, 1, 5);
  }
  if (rng() % 3 == 0) {
    s.min = -0.5f;
    s.max = 0.5f;
  }
  s.bias = rng() % 5 != 0;
  s.threads = rng() % 4 == 0 ? 3 : 1;
  constexpr size_t kTileHeights[] = {0, 4, 8, 16, 24, 32, 64};
  s.tile_height = kTileHeights[rng() % 7];
  return s;
}

// Shapes as those of a ResNet's layers, each for one and three threads.
inline std::vector<Shape> GetResNetShapes() {
  std::vector<Shape> shapes;
  for (const auto& [side, inputs, outputs, kernel, stride] : std::vector<std::array<uint32_t, 5>>{
         {14, 64, 64, 1, 1}, {14, 32, 64, 3, 1}, {15, 32, 40, 3, 2}, {7, 128, 96, 3, 1}, {28, 16, 24, 1, 2},
         {32, 3, 32, 7, 2}, {9, 300, 33, 3, 1}}) {
    Shape shape;
    shape.height = shape.width = side;
    shape.kernel_height = shape.kernel_width = kernel;
    shape.stride_height = shape.stride_width = stride;
    shape.group_input_channels = inputs;
    shape.group_output_channels = outputs;
    shape.same = kernel > 1;
    for (size_t threads : {1, 3}) {
      shape.threads = threads;
      shapes.push_back(shape);
    }
  }
  return shapes;
}

// Numbers in [-1, 1].
inline std::vector<float> Random(ReplicableRandomDevice& rng, size_t size) {
  std::uniform_real_distribution<float> dist(-1.0f, 1.0f);
  std::vector<float> values(size);
  std::generate(values.begin(), values.end(), [&] { return dist(rng); });
  return values;
}

// [pixels][channels] to [channels][pixels].
template <class T>
std::vector<T> Transpose(const std::vector<T>& in, size_t channels) {
  std::vector<T> out(in.size());
  const size_t pixels = in.size() / channels;
  for (size_t p = 0; p < pixels; p++) {
    for (size_t c = 0; c < channels; c++) {
      out[c * pixels + p] = in[p * channels + c];
    }
  }
  return out;
}

}  // namespace xnnpack
