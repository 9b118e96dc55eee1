// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Well-known networks of f32 images with pruned random weights: what is chosen for them depends on nothing else.

#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "nm-graph-tester.h"

namespace xnnpack {

// How the filters of a network are pruned: of each four columns of a tile, so many are kept.
struct NetworkPattern {
  size_t tile = 32;
  size_t kept_of_4 = 1;
};

// The names that BuildNetwork knows.
const std::vector<std::string>& NetworkNames();

// One image of 224 x 224. Every convolution is pruned but the first, depthwise ones and those that are lower than a tile.
Graph BuildNetwork(const std::string& name, const NetworkPattern& pattern);

}  // namespace xnnpack
