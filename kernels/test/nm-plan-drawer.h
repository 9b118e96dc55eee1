// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Drawn costs and records: what a graph is planned with.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-records.h"
#include "xnnpack/nm-space.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/subgraph.h"
#include "replicable_random_device.h"

namespace xnnpack {

inline constexpr size_t kNumCosts = sizeof(xnn_nm_costs) / sizeof(float);
static_assert(kNumCosts * sizeof(float) == sizeof(xnn_nm_costs), "costs are nothing but floats");

// Their numbers.
using Costs = std::vector<float>;

inline Costs DefaultCosts(xnn_datatype datatype) {
  xnn_nm_costs costs;
  EXPECT_EQ(xnn_status_success, xnn_get_nm_costs(datatype, &costs));
  Costs result(kNumCosts);
  std::memcpy(result.data(), &costs, sizeof(costs));
  return result;
}

inline xnn_status SetCosts(xnn_subgraph_t subgraph, xnn_datatype datatype, const Costs& numbers) {
  xnn_nm_costs costs;
  std::memcpy(&costs, numbers.data(), sizeof(costs));
  return xnn_subgraph_set_nm_costs(subgraph, datatype, &costs);
}

// Some as they are, others a few times more or less, or at the ends of what is allowed.
inline Costs DrawCosts(ReplicableRandomDevice& rng, xnn_datatype datatype) {
  Costs costs = DefaultCosts(datatype);
  for (float& cost : costs) {
    switch (rng() % 8) {
      case 0:
        cost = 0.0f;
        break;
      case 1:
        cost = 1.0e9f;
        break;
      case 2:
        cost = std::numeric_limits<float>::denorm_min();
        break;
      case 3:
      case 4:
        cost *= 0.25f * static_cast<float>(rng() % 16);
        cost = cost <= 1.0e9f ? cost : 1.0e9f;
        break;
      default:
        break;
    }
  }
  return costs;
}

// A record of each layer's candidates, or of some, with drawn times.
inline std::vector<xnn_nm_record> DrawRecords(ReplicableRandomDevice& rng, xnn_subgraph_t subgraph) {
  std::vector<xnn_nm_record> records;
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    xnn_nm_layer layer;
    xnn_nm_zeros zeros = {};
    if (!xnn_node_get_nm_layer(subgraph->values, &subgraph->nodes[n], &layer) ||
        xnn_find_nm_zeros(&layer, &zeros) != xnn_status_success) {
      continue;
    }
    float densities[XNN_NUM_NM_DENSITIES];
    EXPECT_EQ(xnn_status_success, xnn_get_nm_densities(&layer, &zeros, densities));
    xnn_release_nm_zeros(&zeros);
    std::vector<xnn_nm_candidate> candidates(XNN_MAX_NM_CANDIDATES);
    candidates.resize(xnn_list_nm_candidates(&layer, candidates.data()));
    for (const xnn_nm_candidate& candidate : candidates) {
      if (rng() % 4 == 0) continue;
      xnn_nm_record record = {
        layer.datatype->datatype, layer.batch_size, layer.input_height, layer.input_width, layer.output_height,
        layer.output_width, layer.groups,
        layer.group_input_channels, layer.group_output_channels, layer.kernel_height, layer.kernel_width,
        layer.stride_height, layer.stride_width, layer.dilation_height, layer.dilation_width, densities[0],
        densities[1], densities[2], "", std::ldexp(1.0f, static_cast<int>(rng() % 60) - 10)};
      xnn_name_nm_candidate(layer.datatype, &candidate, record.candidate);
      records.push_back(record);
    }
  }
  return records;
}

}  // namespace xnnpack
