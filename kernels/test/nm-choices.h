// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What the optimization of a graph chose for its nodes.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "xnnpack.h"
#include "xnnpack/subgraph.h"

namespace xnnpack {

// A convolution, or a conversion between layouts.
struct ChosenNode {
  bool is_conversion = false;
  // The choice in a few characters.
  std::string entry;
  // Heights of the blocks of rows, for the N:M operator of CNHW images.
  std::vector<uint8_t> block_rows;
};

// Optimizes the graph for a runtime of these flags and lists those nodes in order.
xnn_status ChooseNodes(xnn_subgraph_t subgraph, uint32_t flags, std::vector<ChosenNode>* nodes);

}  // namespace xnnpack
