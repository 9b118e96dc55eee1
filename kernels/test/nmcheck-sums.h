// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// How far sums of micro-kernels in f32 and f16 may be from the true ones.

#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "xnnpack/math.h"
#include "xnnpack/microparams.h"

namespace nmcheck {

// An element type, and the largest relative error of a rounded sum, and the largest absolute one of those that underflow.
template <typename T>
struct Element;
template <>
struct Element<float> {
  using Params = union xnn_f32_minmax_params;
  static constexpr double kRounding = 0x1p-24, kUnderflow = 0x1p-150;
};
template <>
struct Element<xnn_float16> {
  using Params = union xnn_f16_minmax_params;
  static constexpr double kRounding = 0x1p-11, kUnderflow = 0x1p-25;
};

// A sum as exact as double is, and how far a micro-kernel's may be from it, which adds products one by one. Each step
// rounds what the sum is by then, and all errors grow with each step; the residual may come first or last. Where a
// multiplication is not fused with its addition, the product is rounded, too.
class Sum {
 public:
  Sum(double bias, double residual) : value_(bias), residual_(residual), rounded_(std::abs(bias)) {}
  void Add(double product) {
    value_ += product;
    rounded_ += std::abs(value_) + std::abs(product);
    steps_ += 1.0;
  }
  double value() const { return value_ + residual_; }
  double Error(double rounding, double underflow) const {
    const double all_rounded = rounded_ + (steps_ + 2.0) * std::abs(residual_) + std::abs(value_);
    return (rounding * all_rounded + 2.0 * steps_ * underflow) * std::exp(rounding * (steps_ + 2.0));
  }

 private:
  double value_, residual_, rounded_;
  double steps_ = 0.0;
};

// Their values, which take long to convert.
template <typename T>
std::vector<float> ToFloats(const T* elements, size_t n) {
  return std::vector<float>(elements, elements + n);
}

// The sum of an output, of micro-kernels whose sums are of T or f32, after it was rounded to T.
template <typename T>
double GetError(const Sum& sum, bool f32_sums) {
  if (!f32_sums) return sum.Error(Element<T>::kRounding, Element<T>::kUnderflow);
  const double error = sum.Error(Element<float>::kRounding, Element<float>::kUnderflow);
  if (sizeof(T) == sizeof(float)) return error;
  return error + Element<T>::kRounding * (std::abs(sum.value()) + error) + Element<T>::kUnderflow;
}

}  // namespace nmcheck
