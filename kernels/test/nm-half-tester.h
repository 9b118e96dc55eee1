// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Convolutions of half precision, and how far their outputs may be from true sums.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "xnnpack/math.h"
#include "nm-convolution-tester.h"
#include "replicable_random_device.h"

namespace xnnpack {

using Halves = std::vector<xnn_float16>;

struct HalfLayer {
  Shape shape;
  std::vector<float> input, filter, bias, residual;
  size_t output_height = 0, output_width = 0;
};

// What a number becomes in half precision.
inline float Round(float value) { return xnn_float16_to_float(xnn_float16_from_float(value)); }

inline Halves ToHalves(const std::vector<float>& values) {
  Halves halves;
  for (float value : values) halves.push_back(xnn_float16_from_float(value));
  return halves;
}

inline std::vector<float> ToFloats(const Halves& halves) {
  std::vector<float> values;
  for (xnn_float16 value : halves) values.push_back(xnn_float16_to_float(value));
  return values;
}

inline HalfLayer DrawHalfLayer(const Shape& shape, ReplicableRandomDevice& rng) {
  HalfLayer layer;
  layer.shape = shape;
  const size_t outputs = shape.groups * shape.group_output_channels;
  layer.filter = Random(rng, outputs * shape.row_size());
  Prune(shape, Draw<size_t>(rng, 1, 40), rng, layer.filter);
  layer.input = Random(rng, shape.batch * shape.height * shape.width * shape.input_stride());
  layer.bias = Random(rng, outputs);
  return layer;
}

// A sum of an output in double, and the variance of its error if it is rounded to half precision after each term: up to half
// a step of what it is by then, of either sign.
struct HalfSum {
  double value = 0.0, variance = 0.0;

  void Add(double term) {
    value += term;
    if (term != 0.0) variance += std::pow(std::ldexp(value, -11), 2) / 3.0;
  }

  // The farthest that it may be from the true sum: eight standard deviations, and its own rounding.
  double bound() const { return 8.0 * std::sqrt(variance) + std::ldexp(std::abs(value), -11) + std::ldexp(1.0, -14); }
};

inline HalfSum Reference(const HalfLayer& layer, size_t image, size_t oy, size_t ox, size_t channel) {
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
  HalfSum sum;
  if (s.bias) sum.Add(Round(layer.bias[channel]));
  for (size_t ky = 0; ky < s.kernel_height; ky++) {
    for (size_t kx = 0; kx < s.kernel_width; kx++) {
      const size_t y = oy * s.stride_height + ky * s.dilation_height - top;
      const size_t x = ox * s.stride_width + kx * s.dilation_width - left;
      if (y >= s.height || x >= s.width) continue;
      for (size_t c = 0; c < s.group_input_channels; c++) {
        const size_t at = ((image * s.height + y) * s.width + x) * s.input_stride();
        sum.Add(static_cast<double>(Round(layer.input[at + group * s.group_input_channels + c])) *
          Round(layer.filter[channel * s.row_size() + (ky * s.kernel_width + kx) * s.group_input_channels + c]));
      }
    }
  }
  return sum;
}

}  // namespace xnnpack
