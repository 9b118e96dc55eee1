// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What checks of quantized micro-kernels share: numbers to draw, and what sums become.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "xnnpack/microparams-init.h"
#include "xnnpack/microparams.h"
#include "nmcheck.h"

namespace nmcheck {

inline int8_t DrawByte(Random& random, bool extreme) {
  return extreme ? (random.Chance(4) ? INT8_MAX : INT8_MIN) : static_cast<int8_t>(random.Size(0, 255));
}

inline int32_t DrawBias(Random& random) { return static_cast<int32_t>(random.Size(0, 20000)) - 10000; }

// From scales with which all sums become 0 to those with which all are clamped.
inline float DrawScale(Random& random) {
  return std::ldexp(1.0f + random.Float() * 0.5f, -static_cast<int>(random.Size(0, 18)));
}

// How sums become bytes.
struct Requantization {
  int32_t zero_point, min, max;
  union xnn_qs8_qc8w_conv_minmax_params params;

  explicit Requantization(Random& random)
      : zero_point(DrawByte(random, false)),
        min(random.Chance(2) ? INT8_MIN : DrawByte(random, false)),
        max(random.Chance(2) ? INT8_MAX : DrawByte(random, false)) {
    if (min > max) std::swap(min, max);
    xnn_init_qs8_qc8w_conv_minmax_fp32_scalar_params(
      &params, static_cast<int8_t>(zero_point), static_cast<int8_t>(min), static_cast<int8_t>(max));
  }

  int32_t Apply(int32_t sum, float scale) const {
    const float low = static_cast<float>(min - zero_point), high = static_cast<float>(max - zero_point);
    const float scaled = std::min(std::max(static_cast<float>(sum) * scale, low), high);
    return static_cast<int32_t>(std::lrintf(scaled)) + zero_point;
  }
};

}  // namespace nmcheck
